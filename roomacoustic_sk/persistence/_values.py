"""Values of parameters and fitted attributes as JSON and arrays, and back.

None, booleans, whole and finite numbers, text and lists stand for themselves. Anything else is an object with a single
key, which names its kind and for which a function below makes the value.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import nn

from roomacoustic_sk._validation import ArgumentValueError, describe
from roomacoustic_sk.networks import NETWORKS
from roomacoustic_sk.persistence._file import UnreadableError

FUNCTIONS: dict[str, Callable[..., Any]] = {
    f"numpy.{function.__name__}": function
    for function in (np.log, np.exp, np.log2, np.exp2, np.log10, np.log1p, np.expm1, np.sqrt, np.square)
}
"""Functions that a file may name, such as those of a TransformedTargetRegressor."""

CLASSES = {network.__name__: network for network in NETWORKS.values()}
"""Networks that a file may name, beside the names that estimators take."""

LONGEST_RANGE = 16
"""Length from which on the indices 0, 1, 2, ... are written as their number."""

LARGEST_EXPANSION = 1 << 28
"""Bytes that all ranges and text arrays of a file may take in memory, beyond their size in the file."""

SUPPORTED = (
    "None, True, False, numbers, text, NumPy arrays of numbers or text, RandomState, torch.device, networks of "
    "roomacoustic_sk, numpy.log, numpy.exp and the like, scikit-learn's estimators, and lists, tuples and "
    "dictionaries of such"
)


class Sink(Protocol):
    """Takes what JSON cannot hold."""

    def add_array(self, array: NDArray[Any], name: str) -> None:
        """Take an array."""

    def add_estimator(self, estimator: BaseEstimator, where: str) -> int:
        """Take an estimator and return its number."""

    def add_network(self, network: Any, where: str) -> str:
        """Take a network of the user's and return its name."""


class Source(Protocol):
    """Gives what a `Sink` took."""

    def array(self, name: str) -> NDArray[Any]:
        """Return an array."""

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return all arrays whose names begin so, by the rest of their names."""

    def estimator(self, index: int) -> BaseEstimator:
        """Return an estimator."""

    def network(self, name: str) -> Any:
        """Return a network of the user's."""

    def expand(self, n_bytes: int) -> None:
        """Account for memory that is not in the file."""


# --- To JSON --------------------------------------------------------------------------------------------------------


def encode(value: Any, sink: Sink, name: str, where: str) -> Any:
    """Return a value as JSON.

    Parameters
    ----------
    value : object
        The value.
    sink : Sink
        Takes arrays and estimators in it.
    name : str
        Name of its arrays, different for each value.
    where : str
        The place of the value, for messages.
    """
    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if type(value) in (list, tuple):
        items = [encode(item, sink, f"{name}/{i}", where) for i, item in enumerate(value)]
        return items if type(value) is list else {"tuple": items}
    if type(value) is dict and all(isinstance(key, str) for key in value):
        return _encode_dict(value, sink, name, where)
    if isinstance(value, np.generic) and value.dtype.kind in "biuf" and value.itemsize <= 8:
        sink.add_array(np.asarray(value), name)
        return {"scalar": name}
    if type(value) is np.ndarray:
        return _encode_array(value, sink, name, where)
    if isinstance(value, BaseEstimator):
        return {"estimator": sink.add_estimator(value, where)}
    if type(value) is np.random.RandomState:
        return {"random_state": _encode_generator(value, sink, name, where)}
    if isinstance(value, torch.device):
        return {"device": str(value)}
    return _encode_callable(value, sink, name, where)


def refused(value: Any, where: str) -> ArgumentValueError:
    """Return the error for a value that a file cannot hold."""
    got = value.__qualname__ if callable(value) and hasattr(value, "__qualname__") else describe(value)
    return ArgumentValueError(f"estimator must consist of {SUPPORTED}; got {got} as {where}.")


def _encode_dict(value: dict[str, Any], sink: Sink, name: str, where: str) -> Any:
    arrays = [item for item in value.values() if type(item) is np.ndarray and _is_plain(item)]
    if value and len(arrays) == len(value):  # the weights of a network: their names are those of the arrays
        for key, array in value.items():
            sink.add_array(array, f"{name}/{key}")
        return {"arrays": f"{name}/"}
    return {"dict": {key: encode(item, sink, f"{name}/{key}", f"{where}, {key}") for key, item in value.items()}}


def _encode_array(array: NDArray[Any], sink: Sink, name: str, where: str) -> Any:
    if array.dtype.kind in "UO":
        items = array.ravel().tolist()
        if not all(item is None or type(item) in (str, bool, int) or _is_finite_float(item) for item in items):
            raise refused(array, where)
        dtype = array.dtype.str if array.dtype.kind == "U" else "object"
        return {"text": {"dtype": dtype.lstrip("<>="), "shape": list(array.shape), "items": items}}
    if not _is_plain(array):
        raise refused(array, where)
    long = array.dtype == np.int64 and array.ndim == 1 and len(array) >= LONGEST_RANGE
    if long and np.array_equal(array, np.arange(len(array))):  # as for an estimator that takes all features
        return {"range": len(array)}
    sink.add_array(array, name)
    return {"array": name}


def _is_plain(array: NDArray[Any]) -> bool:
    """Return whether a file holds an array as it is: numbers of at most 8 bytes, or truth values."""
    return array.dtype.kind in "biuf" and array.dtype.itemsize <= 8


def _is_finite_float(value: Any) -> bool:
    """Return whether a value is a number that JSON can hold."""
    return type(value) is float and math.isfinite(value)


def _encode_generator(generator: np.random.RandomState, sink: Sink, name: str, where: str) -> Any:
    state = generator.get_state(legacy=False)
    if not isinstance(state, dict) or state["bit_generator"] != "MT19937":
        raise refused(generator, where)
    numbers = {"position": int(state["state"]["pos"]), "has_gauss": int(state["has_gauss"])}
    sink.add_array(state["state"]["key"], name)
    return {"key": name, "gauss": float(state["gauss"])} | numbers


def _encode_callable(value: Any, sink: Sink, name: str, where: str) -> Any:
    for known, function in FUNCTIONS.items():
        if value is function:
            return {"function": known}
    keywords: dict[str, Any] = {}
    if isinstance(value, functools.partial) and not value.args:
        value, keywords = value.func, value.keywords
    for known, network in CLASSES.items():
        if value is network:
            return {"network": {"name": known, "keywords": encode(keywords, sink, name, where)}}
    if callable(value) and name.endswith("/network") and not keywords:
        return {"own_network": sink.add_network(value, where)}
    raise refused(value, where)


# --- From JSON ------------------------------------------------------------------------------------------------------


def decode(value: Any, source: Source) -> Any:
    """Return the value that JSON stands for.

    Raises
    ------
    UnreadableError
        If it is not what `encode` returns.
    """
    if (isinstance(value, float) and not math.isfinite(value)) or (isinstance(value, int) and abs(value) >= 2**64):
        raise UnreadableError("it has a number that is too large")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return [decode(item, source) for item in value]
    kind, content = next(iter(value.items())) if len(value) == 1 else ("", None)
    if kind not in _KINDS:
        raise UnreadableError(f"it has a value of an unknown kind, {str(list(value))[:80]}")
    expected, function = _KINDS[kind]
    if not isinstance(content, expected) or isinstance(content, bool):
        raise UnreadableError(f"it has a malformed value of the kind {kind!r}")
    return function(content, source)


def _fields(content: dict[str, Any], kinds: dict[str, type]) -> list[Any]:
    """Return the values of exactly the keys in `kinds`, which must be of these types."""
    if content.keys() != kinds.keys() or not all(type(content[key]) is kind for key, kind in kinds.items()):
        raise UnreadableError(f"it has a malformed value, with {str(list(content))[:80]}")
    return [content[key] for key in kinds]


def _float(content: str, source: Source) -> float:
    if content not in ("nan", "inf", "-inf"):
        raise UnreadableError(f"it has a malformed number, {content[:80]!r}")
    return float(content)


def _scalar(content: str, source: Source) -> Any:
    array = source.array(content)
    if array.ndim:
        raise UnreadableError(f"its array {content[:80]!r} must be a single number")
    return array[()]


def _range(content: int, source: Source) -> NDArray[np.int64]:
    source.expand(8 * max(content, 0))
    return np.arange(content)


def _text(content: dict[str, Any], source: Source) -> NDArray[Any]:
    dtype, shape, items = _fields(content, {"dtype": str, "shape": list, "items": list})
    if not all(type(n) is int and 0 <= n <= len(items) for n in shape) or math.prod(shape) != len(items):
        raise UnreadableError("it has text whose shape does not fit")
    if dtype == "object":
        if any(isinstance(item, (list, dict)) for item in items):
            raise UnreadableError("it has labels that are no numbers or text")
        array = np.empty(len(items), dtype=object)
        array[:] = items
        return array.reshape(shape)
    width = int(dtype[1:]) if re.fullmatch("U[0-9]{1,6}", dtype) else -1
    if width < 0 or any(type(item) is not str or len(item) > width for item in items):
        raise UnreadableError(f"it has text that is not of the type {dtype[:20]!r}")
    source.expand(4 * width * len(items))
    return np.array(items, dtype=dtype).reshape(shape)


def _random_state(content: dict[str, Any], source: Source) -> np.random.RandomState:
    name, gauss, position, has_gauss = _fields(content, {"key": str, "gauss": float, "position": int, "has_gauss": int})
    key = source.array(name)
    # numpy would read beyond the end of the key at other positions.
    if key.dtype != np.uint32 or key.shape != (624,) or not 0 <= position <= 624 or has_gauss not in (0, 1):
        raise UnreadableError("it has a malformed RandomState")
    generator = np.random.RandomState()
    generator.set_state(("MT19937", key, position, has_gauss, gauss))
    return generator


def _device(content: str, source: Source) -> torch.device:
    try:
        return torch.device(content)
    except (RuntimeError, ValueError) as error:
        raise UnreadableError(f"it has an unknown device, {content[:80]!r}") from error


def _function(content: str, source: Source) -> Callable[..., Any]:
    if content not in FUNCTIONS:
        raise UnreadableError(f"it names a function that files may not name, {content[:80]!r}")
    return FUNCTIONS[content]


def _network(content: dict[str, Any], source: Source) -> Callable[..., nn.Module]:
    name, keywords = _fields(content, {"name": str, "keywords": dict})
    if name not in CLASSES:
        raise UnreadableError(f"it names a network that roomacoustic_sk does not have, {name[:80]!r}")
    found = decode(keywords, source)
    if not isinstance(found, dict):
        raise UnreadableError("it has a network with malformed parameters")
    return functools.partial(CLASSES[name], **found) if found else CLASSES[name]


_KINDS: dict[str, tuple[type, Callable[..., Any]]] = {
    "float": (str, _float),
    "tuple": (list, lambda content, source: tuple(decode(item, source) for item in content)),
    "dict": (dict, lambda content, source: {key: decode(item, source) for key, item in content.items()}),
    "array": (str, lambda content, source: source.array(content)),
    "arrays": (str, lambda content, source: source.arrays(content)),
    "scalar": (str, _scalar),
    "range": (int, _range),
    "text": (dict, _text),
    "estimator": (int, lambda content, source: source.estimator(content)),
    "random_state": (dict, _random_state),
    "device": (str, _device),
    "function": (str, _function),
    "network": (dict, _network),
    "own_network": (str, lambda content, source: source.network(content)),
}
"""The type of the JSON value and the function for each kind of value."""
