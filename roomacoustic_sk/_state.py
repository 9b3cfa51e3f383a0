"""What a fit has learned, as names, numbers, text and arrays, and the checks with which it is taken from a file.

An estimator gives its state by `_fitted_state()` and takes it by `_restore(state)`. The first returns a dictionary of
None, booleans, numbers, text, arrays of numbers or labels, and lists, tuples and dictionaries of such. The second
reads the same names from a `State`, where every value is checked before it is used, since a file may hold anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from roomacoustic_sk._validation import ArgumentValueError, check_flag, check_number, describe


class State:
    """The fitted state of an estimator, or a part of it, as a file holds it.

    Parameters
    ----------
    values : mapping
        The values by name.
    where : str
        Prefix of the names in messages.
    """

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self._values, self._where = dict(values), where
        self._read: set[str] = set()
        self._parts: list[State] = []

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def names(self) -> list[str]:
        """Return all names."""
        return list(self._values)

    def value(self, name: str) -> Any:
        """Return a value of any kind; the caller checks it."""
        if name not in self._values:
            raise ArgumentValueError(f"{self._where}{name} must be in the fitted state, got none.")
        self._read.add(name)
        return self._values[name]

    def flag(self, name: str) -> bool:
        """Return True or False."""
        return check_flag(self.value(name), name=self._where + name)

    def whole(self, name: str, low: int = 0, high: float = 2**62) -> int:
        """Return a whole number within limits."""
        return int(check_number(self.value(name), name=self._where + name, low=low, high=high, integer=True))

    def number(self, name: str, low: float = -np.inf, high: float = np.inf) -> float:
        """Return a finite number within limits."""
        value = float(check_number(self.value(name), name=self._where + name, low=low, high=high))
        if not np.isfinite(value):
            raise ArgumentValueError(f"{self._where}{name} must be finite, got {value}.")
        return value

    def texts(self, name: str) -> list[str]:
        """Return a list of text, such as names."""
        value = self.value(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise ArgumentValueError(f"{self._where}{name} must be a list of text, got {describe(value)}.")
        return list(value)

    def array(self, name: str, *, shape: tuple[int | None, ...], kinds: str = "f", finite: bool = True) -> NDArray[Any]:
        """Return a new array of a shape (None is any length) and of one of the `kinds` of numpy's dtypes."""
        array = self.value(name)
        if not isinstance(array, np.ndarray) or array.dtype.kind not in kinds:
            raise ArgumentValueError(f"{self._where}{name} must be an array of kind {kinds!r}, got {describe(array)}.")
        fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
        if not fits:
            raise ArgumentValueError(f"{self._where}{name} must have the shape {shape}, got {array.shape}.")
        if finite and array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ArgumentValueError(f"{self._where}{name} must be finite, got NaN or infinity in it.")
        return array.copy()

    def part(self, name: str) -> State:
        """Return the state of a part."""
        values = self.value(name)
        if not isinstance(values, Mapping):
            raise ArgumentValueError(f"{self._where}{name} must be a dictionary, got {describe(values)}.")
        self._parts.append(State(values, f"{self._where}{name}."))
        return self._parts[-1]

    def check_all_read(self) -> None:
        """Refuse values that nobody has asked for: they would be lost."""
        unread = sorted(set(self._values) - self._read)
        if unread:
            raise ArgumentValueError(f"{self._where}{unread[0]} must not be in the fitted state; it is not known.")
        for part in self._parts:
            part.check_all_read()


def input_state(estimator: BaseEstimator) -> dict[str, Any]:
    """Return what scikit-learn notes about `X`: the number of its features and, of a frame, their names."""
    names = ("n_features_in_", "feature_names_in_")
    return {name: getattr(estimator, name) for name in names if hasattr(estimator, name)}


def restore_input(estimator: BaseEstimator, state: State) -> None:
    """Set what `input_state` returned."""
    if "n_features_in_" in state:
        estimator.n_features_in_ = state.whole("n_features_in_", low=1)
    if "feature_names_in_" in state:
        names = state.array("feature_names_in_", shape=(estimator.n_features_in_,), kinds="O")
        if not all(isinstance(name, str) for name in names):
            raise ArgumentValueError("feature_names_in_ must be text.")
        estimator.feature_names_in_ = names
