"""Other estimators of scikit-learn, by skops: only its default trusted types, in an archive that cannot expand."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV

from roomacoustic_sk._validation import ArgumentValueError
from roomacoustic_sk.persistence._file import LARGEST_HEADER, UnreadableError

SCHEMA = "schema.json"
NODES = {
    "CachedNode", "DTypeNode", "DictNode", "FunctionNode", "JsonNode", "ListNode", "NdArrayNode", "ObjectNode",
    "SliceNode", "TupleNode", "TypeNode",
}  # fmt: skip
"""Kinds of skops' nodes that are read: parameters and arrays, but no methods, generators, trees or nested archives."""

INSTALL = "skops 0.16 or newer must be installed: pip install 'roomacoustic_sk[skops]'"


def encode(estimator: BaseEstimator, where: str) -> NDArray[np.uint8]:
    """Return an estimator of scikit-learn as bytes.

    Raises
    ------
    ValueError
        If it is not scikit-learn's, or consists of more than the parameters and arrays that skops trusts.
    """
    name = type(estimator).__name__ + (f" as {where}" if where else "")
    if not type(estimator).__module__.startswith("sklearn."):
        raise ArgumentValueError(
            f"estimator must consist of estimators of roomacoustic_sk and scikit-learn, got {name}."
        )
    skops = _skops(f"estimator must not need skops, got {name}")
    try:
        data = skops.dumps(estimator)
        decode(data)
    except Exception as error:  # skops raises many kinds
        raise ArgumentValueError(
            f"estimator must consist of estimators that can be saved without running code, got {name}, "
            f"of which skops says: {_line(error)}.{_what_to_save(estimator)}"
        ) from error
    return np.frombuffer(data, dtype=np.uint8)


def _what_to_save(estimator: BaseEstimator) -> str:
    return " Save its best_estimator_." if isinstance(estimator, (GridSearchCV, RandomizedSearchCV)) else ""


def decode(data: bytes) -> BaseEstimator:
    """Return the estimator of scikit-learn that bytes describe.

    Raises
    ------
    UnreadableError
        If they describe anything else, or an untrusted type.
    """
    skops = _skops("path must be a file that needs no skops, or it")
    try:
        _check_archive(data)
        untrusted = skops.get_untrusted_types(data=data)
        if untrusted:
            raise UnreadableError(f"it has types that skops does not trust: {', '.join(untrusted)[:200]}")
        estimator = skops.loads(data, trusted=[])
    except UnreadableError:
        raise
    except Exception as error:  # skops raises many kinds
        raise UnreadableError(f"skops cannot read a part of it: {_line(error)}") from error
    if not isinstance(estimator, BaseEstimator) or isinstance(estimator, type):
        raise UnreadableError(f"it has a {type(estimator).__name__} in place of an estimator")
    return estimator


def _line(error: Exception) -> str:
    return f"{' '.join(str(error).split())[:300] or type(error).__name__}".rstrip(".")


def _skops(expected: str) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise ArgumentValueError(f"{expected}. {INSTALL}.") from error
    return skops.io


def _check_archive(data: bytes) -> None:
    """Refuse archives whose content is larger than they are, and nodes other than `NODES`."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise UnreadableError("it has a compressed archive")
        if sum(entry.file_size for entry in entries) > len(data):
            raise UnreadableError("it has an archive whose entries overlap")
        for entry in entries:
            if entry.filename == SCHEMA:
                if entry.file_size > LARGEST_HEADER:
                    raise UnreadableError(f"it has a schema of more than {LARGEST_HEADER >> 20} MiB")
                _check_nodes(json.loads(archive.read(entry)))
            elif entry.filename.endswith(".npy"):
                _check_npy(archive.read(entry))
            else:
                raise UnreadableError("it has an archive with more than arrays, such as sparse matrices")


def _check_nodes(schema: Any) -> None:
    """Refuse a schema with nodes other than `NODES`, or with folders for caches, whose pickles a fit would read."""
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending += node
        if isinstance(node, dict):
            pending += node.values()
            if node.get("__loader__", "JsonNode") not in NODES:
                raise UnreadableError(f"it has a {str(node['__loader__'])[:80]}, which is not supported")
            memory = node.get("memory")
            if isinstance(memory, dict) and memory.get("content") != "null":
                raise UnreadableError("it has a cache (the parameter memory), which is not supported")


def _check_npy(data: bytes) -> None:
    """Refuse an array whose header promises more than there is: numpy would allocate it."""
    file = io.BytesIO(data)
    version = npy.read_magic(file)
    header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = header(file)
    n_items = 1
    for n in shape:
        n_items *= int(n)
    if dtype.hasobject or min(shape, default=0) < 0 or n_items * dtype.itemsize != len(data) - file.tell():
        raise UnreadableError("it has an array whose size is not that of its shape")
