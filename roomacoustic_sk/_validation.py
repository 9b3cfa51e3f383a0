"""Numbers and choices, and one shape of errors and warnings.

A check raises "tau must be a number above 0, got 0."; the public function that the user called, marked by `door`, puts
its name in front: "SupConLoss: tau must be ...". Each message names the argument, the expected value, the value
received and, if there is one, a fix.
"""

from __future__ import annotations

import functools
import numbers
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse

from roomacoustic_sk._lazy import LazyRows

P = ParamSpec("P")
R = TypeVar("R")

PACKAGE = str(Path(__file__).parent) + os.sep

_open_door: ContextVar[str] = ContextVar("open_door", default="")


class NamedError(Exception):
    """An error that begins with the name of the public function that the user called."""

    door = ""

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.door}: {message}" if self.door else message


class ArgumentValueError(NamedError, ValueError):
    """An argument has a value that it must not have."""


class ArgumentTypeError(NamedError, TypeError):
    """An argument is of the wrong kind."""


class SimulationError(NamedError, RuntimeError):
    """Rooms cannot be simulated as the arguments ask."""


class MissingFileError(NamedError, FileNotFoundError):
    """A file or folder is not where an argument says."""


def door(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a public function or method: errors and warnings from inside bear its name, or that of its class."""
    is_method = "." in function.__qualname__.rpartition("<locals>.")[2]

    @functools.wraps(function)
    def opened(*args: P.args, **kwargs: P.kwargs) -> R:
        if _open_door.get():  # one public function calls another: the user knows the first
            return function(*args, **kwargs)
        name = type(args[0]).__name__ if is_method else function.__name__
        token = _open_door.set(name)
        try:
            return function(*args, **kwargs)
        except NamedError as error:
            error.door = name
            raise
        finally:
            _open_door.reset(token)

    return opened


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Warn in the name of the public function that the user called, at the line that called it."""
    name, frame = _open_door.get(), sys._getframe(1)
    inside = level = 1
    while frame.f_back is not None:
        frame, level = frame.f_back, level + 1
        if frame.f_code.co_filename.startswith(PACKAGE):
            inside = level
    warnings.warn(f"{name}: {message}" if name else message, category, stacklevel=inside + 2)


Rows = NDArray[Any] | list[NDArray[Any]] | LazyRows
"""Waveforms: one 2-D array, a list of 1-D arrays of different lengths, or rows computed when asked for."""


def _prefix(caller: str) -> str:
    return f"{caller}: " if caller else ""


def describe(value: Any) -> str:
    """Say in a few words what a value is, for the 'got ...' of an error."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if value is None or isinstance(value, (str, bool, numbers.Number)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)} items"
    return f"a {type(value).__name__}"


def name_rows(indices: NDArray[Any], shown: int = 5) -> str:
    """'row 3' or 'rows 1, 4, 8, ... (12 in all)'."""
    listed = ", ".join(str(i) for i in indices[:shown])
    if len(indices) == 1:
        return f"row {listed}"
    return f"rows {listed}" + (f", ... ({len(indices)} in all)" if len(indices) > shown else "")


def check_number(
    value: Any,
    *,
    name: str,
    caller: str = "",
    low: float = -np.inf,
    high: float = np.inf,
    integer: bool = False,
    low_open: bool = False,
) -> Any:
    """Return `value` if it is a (whole) number between `low` and `high`, else raise.

    Raises
    ------
    TypeError
        If it is no number, or not whole where a whole one is needed.
    ValueError
        If it lies outside the range or is NaN.
    """
    kind = numbers.Integral if integer else numbers.Real
    expected = ("a whole number" if integer else "a number") + (
        f" above {low:g}" if low_open else f" of at least {low:g}" if np.isfinite(low) else ""
    )
    expected += f" and at most {high:g}" if np.isfinite(high) else ""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise ArgumentTypeError(f"{_prefix(caller)}{name} must be {expected}, got {describe(value)}.")
    number = float(value)
    if not (low < number if low_open else low <= number) or not number <= high:
        raise ArgumentValueError(f"{_prefix(caller)}{name} must be {expected}, got {describe(value)}.")
    return value


def check_choice(value: Any, options: Sequence[Any], *, name: str, caller: str = "") -> Any:
    """Return `value` if it is one of `options`, else raise a ValueError that lists them."""
    if not any(value is option or (isinstance(value, str) and value == option) for option in options):
        raise ArgumentValueError(f"{_prefix(caller)}{name} must be one of {list(options)}, got {describe(value)}.")
    return value


def check_callbacks(callbacks: Any, *, caller: str = "") -> None:
    """Refuse what is no list of skorch callbacks, plain or as pairs of name and callback.

    Raises
    ------
    TypeError
        If it is neither None nor such a list.
    """
    expected = f"{_prefix(caller)}callbacks must be None or a list of skorch callbacks"
    if callbacks is None:
        return
    if not isinstance(callbacks, (list, tuple)):
        raise ArgumentTypeError(f"{expected}, got {describe(callbacks)}. Put it into a list: [...].")
    for item in callbacks:
        callback = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        if isinstance(callback, type) or not hasattr(callback, "on_train_begin"):
            raise ArgumentTypeError(
                f"{expected}, got {describe(callback)} in it. Derive it from skorch.callbacks.Callback."
            )


def check_sample_rate(sample_rate: Any, *, name: str = "sample_rate", caller: str = "") -> int:
    """Return a sampling rate as a whole number of Hz, else raise."""
    check_number(sample_rate, caller=caller, name=f"{name} (in Hz)", low=0, low_open=True)
    if not float(sample_rate).is_integer():
        raise ArgumentValueError(f"{_prefix(caller)}{name} must be a whole number of Hz, got {describe(sample_rate)}.")
    return int(sample_rate)


def check_rows(
    X: Any, *, caller: str = "", name: str = "X", allow_silent: bool = False, allow_integers: bool = False
) -> Rows:
    """Return waveforms as a 2-D array or a list of 1-D arrays, in the precision they came in.

    Parameters
    ----------
    X : array-like of shape (n_rows, n_times), or sequence of 1-D arrays
        Waveforms.
    caller, name : str
        Who asks, and what its argument is called, for the error message.
    allow_silent : bool
        Whether rows of zeros may pass.
    allow_integers : bool
        Whether integers may pass, for callers to whom the level does not matter; unsigned ones have their zero in the
        middle.

    Returns
    -------
    ndarray of shape (n_rows, n_times) or list of ndarray of shape (n_times_of_row,)
        Rows that are computed when asked for come back as they are: what they are made of was checked.

    Raises
    ------
    TypeError
        If it is no array or sequence, or the samples are no real floating-point numbers.
    ValueError
        If the shape is wrong, there is no row, a row is empty, silent or not finite.
    """
    if isinstance(X, LazyRows) and len(X):
        return X
    expected = f"{_prefix(caller)}{name} must be a 2-D array (n_rows, n_times) or a list of 1-D arrays"
    if issparse(X):
        raise ArgumentTypeError(f"{expected}, got a sparse one. Waveforms are dense: pass {name}.toarray().")
    if hasattr(X, "to_numpy"):  # pandas and its like
        X = X.to_numpy()
    elif hasattr(X, "__array__"):
        X = np.asarray(X)
    if not isinstance(X, Iterable) or isinstance(X, str):
        raise ArgumentTypeError(f"{expected}, got {describe(X)}.")
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 2:
        # A frame of numbers of mixed kinds, or one column of arrays.
        X = X[:, 0] if X.shape[1] == 1 and X.size and np.ndim(X[0, 0]) == 1 else X.astype(np.float64)
    if isinstance(X, np.ndarray) and X.dtype != object:
        if X.ndim != 2:
            mend = f" Reshape your data with {name}.reshape(1, -1) if it is one recording." if X.ndim == 1 else ""
            raise ArgumentValueError(f"{expected}, got {describe(X)}.{mend}")
        if X.shape[1] == 0:
            raise ArgumentValueError(
                f"{_prefix(caller)}{name} must have samples in every row, got 0 feature(s) (shape={X.shape}) while a "
                "minimum of 1 is required."
            )
        rows: Rows = X
    else:
        rows = [np.asarray(row) for row in X]
        for i, row in enumerate(rows):
            if row.ndim != 1:
                raise ArgumentValueError(
                    f"{_prefix(caller)}{name} must hold 1-D arrays, got {describe(row)} in row {i}."
                )
    if len(rows) == 0:
        raise ArgumentValueError(f"{_prefix(caller)}{name} must have at least one row, got none.")
    _check_dtypes(rows, caller=caller, name=name, allow_integers=allow_integers)
    empty = np.flatnonzero([row.size == 0 for row in rows])
    if len(empty):
        raise ArgumentValueError(
            f"{_prefix(caller)}{name} must have samples in every row, got {name_rows(empty)} without any."
        )
    peak = np.array([_peak(row) for row in rows])
    broken = np.flatnonzero(~np.isfinite(peak))
    if len(broken):
        raise ArgumentValueError(f"{_prefix(caller)}{name} must be finite, got NaN or infinity in {name_rows(broken)}.")
    silent = np.flatnonzero(peak == 0)
    if len(silent) and not allow_silent:
        raise ArgumentValueError(
            f"{_prefix(caller)}{name} must not be silent, got nothing but zeros in {name_rows(silent)}."
        )
    return rows


def _peak(row: NDArray[Any]) -> float:
    """Return the largest distance from zero, as float: the lowest integer has no positive counterpart."""
    return max(float(row.max()) - zero_of(row.dtype), zero_of(row.dtype) - float(row.min()))


def zero_of(dtype: np.dtype[Any]) -> int:
    """Return the sample that stands for silence: the middle of the range in unsigned PCM."""
    return (np.iinfo(dtype).max + 1) // 2 if np.issubdtype(dtype, np.unsignedinteger) else 0


def _check_dtypes(rows: Rows, *, caller: str = "", name: str, allow_integers: bool) -> None:
    """Refuse samples that are no real numbers, and integers whose full scale matters and is not known."""
    allowed = (np.floating, np.integer) if allow_integers else (np.floating,)
    dtype = next((row.dtype for row in rows if not issubclass(row.dtype.type, allowed)), None)
    if dtype is not None:
        mend = (
            f" Divide integer PCM by its full scale first, e.g. {name} / 32768.0 for int16."
            if np.issubdtype(dtype, np.signedinteger)
            else ""
        )
        kinds = "floating-point or integer" if allow_integers else "floating-point"
        if np.issubdtype(dtype, np.complexfloating):
            raise ArgumentValueError(
                f"{_prefix(caller)}{name} must hold real samples, got dtype {dtype}. Complex data not supported."
            )
        raise ArgumentTypeError(f"{_prefix(caller)}{name} must hold {kinds} samples, got dtype {dtype}.{mend}")


def check_groups(groups: ArrayLike, n_rows: int, *, name: str, caller: str = "") -> NDArray[Any]:
    """Return group labels as a 1-D array with one label a row, else raise.

    Raises
    ------
    ValueError
        If the labels are not 1-D, not as many as the rows, or missing (NaN or None) somewhere.
    """
    labels = np.asarray(groups)
    if labels.ndim != 1 or len(labels) != n_rows:
        raise ArgumentValueError(
            f"{_prefix(caller)}{name} must be 1-D with one label a row ({n_rows} rows), got {describe(labels)}."
        )
    if labels.dtype == object:
        from pandas import isna  # knows None, NaN, NaT and NA

        missing = np.flatnonzero(isna(labels))
    else:
        missing = np.flatnonzero(labels != labels)
    if len(missing):
        raise ArgumentValueError(
            f"{_prefix(caller)}{name} must not have missing labels, got some in {name_rows(missing)}."
        )
    return labels
