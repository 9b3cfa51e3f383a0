"""The file: arrays in the safetensors format, with a structure in JSON and a checksum as its metadata.

A safetensors file is the length of its header (8 bytes), the header in JSON and the arrays' bytes. Among the metadata
in the header, the text ``roomacoustic_sk`` is a JSON object:

- ``format``: the version of this format;
- ``sha256``: the SHA-256 of the whole file, with 64 zeros in place of this value;
- anything else: the structure, which says what the arrays belong to.

Everything here is checked before anything in it is used: sizes first, then the checksum, then the content.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import stat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

from roomacoustic_sk._validation import ArgumentValueError, MissingFileError

FORMAT = 1
"""Version of the files that are written; files of this one and of all earlier ones are read."""

LARGEST_FILE = 1 << 32
LARGEST_HEADER = 8 << 20
DEEPEST = 64
"""Limits in bytes, and of brackets within brackets in the JSON: what a hostile file may cost before it is refused."""

DTYPES = {"F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL"}
"""safetensors' names of the types of arrays."""

_OURS, _FORMAT, _CHECKSUM = "roomacoustic_sk", "format", "sha256"
_NO_CHECKSUM = "0" * 64
_TEXT = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)


class Content(NamedTuple):
    """What a file holds."""

    structure: dict[str, Any]
    arrays: dict[str, NDArray[Any]]


class UnreadableError(Exception):
    """A file, or a part of it, is not as `save` writes it; the message says why."""


def to_bytes(content: Content) -> bytes:
    """Return the bytes of a file."""
    structure = {_FORMAT: FORMAT, _CHECKSUM: _NO_CHECKSUM} | content.structure
    metadata = {_OURS: json.dumps(structure, allow_nan=False, separators=(",", ":"))}
    # safetensors takes the memory as it lies; `ascontiguousarray` would make vectors of scalars.
    data = safetensors.numpy.save(
        {name: np.array(array, order="C") for name, array in content.arrays.items()}, metadata
    )
    n_header = int.from_bytes(data[:8], "little")
    if n_header > LARGEST_HEADER or len(data) > LARGEST_FILE:
        raise ArgumentValueError(
            f"estimator must fit into a file of {LARGEST_FILE >> 30} GiB with a header of {LARGEST_HEADER >> 20} MiB, "
            f"got {len(data)} and {n_header} bytes. Save its parts one by one."
        )
    at = _place_of_checksum(data, _NO_CHECKSUM)
    return b"".join([data[:at], _sha256(data, at).encode(), memoryview(data)[at + len(_NO_CHECKSUM) :]])


def _place_of_checksum(data: bytes, checksum: str) -> int:
    """Return the place of the checksum in a file, which its header has exactly once."""
    end, entry = 8 + int.from_bytes(data[:8], "little"), rf"\"{_CHECKSUM}\":\"{checksum}\"".encode()
    at = data.find(entry, 8, end)
    if at < 0 or data.find(entry, at + 1, end) >= 0:
        raise UnreadableError("it is damaged: its checksum is not where it should be")
    return at + len(entry) - len(checksum) - 2


def _sha256(data: bytes, at: int) -> str:
    """Return the SHA-256 of a file with zeros in place of the checksum."""
    found = hashlib.sha256(data[:at])
    found.update(_NO_CHECKSUM.encode())
    found.update(memoryview(data)[at + len(_NO_CHECKSUM) :])
    return found.hexdigest()


def from_bytes(data: bytes) -> Content:
    """Return the content of a file, checked for damage.

    Raises
    ------
    UnreadableError
        If it is no such file, is damaged, or of a newer version.
    """
    n_header = _header_length(data[:8], len(data))
    header = _parsed(data[8 : 8 + n_header])
    metadata = header.pop("__metadata__", None)
    text = metadata.get(_OURS) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise UnreadableError("it is no file of roomacoustic_sk, or damaged: it has no metadata")
    structure = _parsed(text.encode("utf-8", "surrogatepass"))
    written, checksum = structure.pop(_FORMAT, None), structure.pop(_CHECKSUM, None)
    if type(written) is not int or written < 1:
        raise UnreadableError("it is damaged: it has no version")
    if written > FORMAT:
        raise UnreadableError(
            f"it is written by a newer version of roomacoustic_sk (format {written}; this version reads up to "
            f"{FORMAT}), or damaged. Update roomacoustic_sk"
        )
    if not isinstance(checksum, str) or not re.fullmatch("[0-9a-f]{64}", checksum):
        raise UnreadableError("it is damaged: it has no checksum")
    if _sha256(data, _place_of_checksum(data, checksum)) != checksum:
        raise UnreadableError("it is damaged: its checksum is that of other content")
    for name, entry in header.items():
        if not isinstance(entry, dict) or entry.get("dtype") not in DTYPES:
            raise UnreadableError(f"its array {name[:80]!r} has an unknown type")
    try:
        arrays = safetensors.numpy.load(data)
    except (SafetensorError, ValueError, OverflowError) as error:
        raise UnreadableError(f"its arrays are malformed: {error}") from error
    return Content(structure, arrays)


def _header_length(start: bytes, size: int) -> int:
    """Return the length of the header from the first 8 bytes of a file of this size."""
    n_header = int.from_bytes(start, "little")
    if size < 8 or not 2 <= n_header <= min(size - 8, LARGEST_HEADER):
        raise UnreadableError("it is no file of roomacoustic_sk, or damaged at its start or end")
    return n_header


def _parsed(text: bytes) -> dict[str, Any]:
    """Parse a JSON object whose depth is bounded."""
    bare = np.frombuffer(_TEXT.sub(b"", text), dtype=np.uint8)
    opened, closed = np.isin(bare, list(b"[{")), np.isin(bare, list(b"]}"))
    if len(bare) and np.cumsum(opened.astype(np.int32) - closed).max() > DEEPEST:
        raise UnreadableError(f"its structure is nested more than {DEEPEST} times")
    try:
        parsed = json.loads(text.decode("utf-8"), parse_constant=_no_constant)
    except ValueError as error:  # of JSON, of UTF-8, or a number of too many digits
        raise UnreadableError(f"its header or structure is no JSON: {str(error)[:120]}") from error
    if not isinstance(parsed, dict):
        raise UnreadableError("its header or structure is no JSON object")
    return parsed


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def read(path: Path) -> bytes:
    """Return the bytes of a regular file of a plausible size; others, such as pipes, would never end."""
    try:
        with open(path, "rb", opener=_open_at_once) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise UnreadableError("it is no regular file")
            if status.st_size > LARGEST_FILE:
                raise UnreadableError(f"it is larger than {LARGEST_FILE >> 30} GiB")
            start = file.read(8)
            _header_length(start, status.st_size)  # before the rest is read
            return start + file.read(status.st_size - 8)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise MissingFileError(f"path must be an existing file, got {str(path)!r}.") from error


def _open_at_once(path: str, flags: int) -> int:
    """Open a file; a pipe without a writer does not block."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def write(path: Path, data: bytes) -> None:
    """Write a file whole or not at all: beside its place first, then in it."""
    target = Path(os.path.realpath(path))  # a link stays one
    if target.is_dir() or not target.parent.is_dir():
        what = "a folder" if target.is_dir() else "one in a folder that does not exist"
        raise MissingFileError(f"path must be a file in an existing folder, got {what}: {str(path)!r}.")
    unfinished = target.with_name(f".{secrets.token_hex(8)}.unfinished")
    try:
        with unfinished.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise
