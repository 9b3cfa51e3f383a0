"""Where results go, and in which format."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    import pandas as pd

Write = Callable[[str], None]

FORMATS = ("table", "csv", "jsonl")


def add_output(parser: argparse.ArgumentParser) -> None:
    """Declare the format of the results, and the file that takes them."""
    parser.add_argument("--format", choices=FORMATS, default="table", help="format of the results (default: table)")
    parser.add_argument("--output", metavar="FILE", help="write the results to a file, whole or not at all")


@contextmanager
def opened(output: str | None, fmt: str) -> Iterator[Write]:
    """Open the file for the results, or stdout, where each piece is seen at once."""
    if output is not None:
        with written(Path(output)) as path, path.open("w", encoding="utf-8", errors="backslashreplace") as file:
            yield _writer(file)
        return
    encoding = None if fmt == "table" else "utf-8"
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name with bytes that are no text; in JSON, the escape of a lone surrogate.
        sys.stdout.reconfigure(encoding=encoding, errors="backslashreplace")
    yield _writer(sys.stdout)


def _writer(file: TextIO) -> Write:
    from tqdm import tqdm

    def write(text: str) -> None:
        tqdm.write(text, file=file, end="")  # beside a progress bar
        file.flush()

    return write


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """Give a file beside a path, and put it in its place once it is complete."""
    check_can_be_written(path)
    target = Path(os.path.realpath(path))  # a link stays one
    unfinished = target.with_name(f".{secrets.token_hex(8)}.unfinished{target.suffix}")
    try:
        unfinished.touch()  # told now, not after the work
        yield unfinished
        unfinished.replace(target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            unfinished.unlink(missing_ok=True)
        if isinstance(error, PermissionError) and error.filename == os.fspath(unfinished):
            raise PermissionError(error.errno, error.strerror, os.fspath(path)) from error
        raise


def check_can_be_written(path: Path) -> None:
    """Refuse a path that is a folder, or in none."""
    if path.is_dir():
        raise IsADirectoryError(21, "is a folder, not a file", os.fspath(path))
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(2, "its folder does not exist", os.fspath(path))


# --- Formats --------------------------------------------------------------------------------------------------------


def json_line(row: dict[str, Any]) -> str:
    """Return a row as JSON; missing and infinite numbers are null."""
    return json.dumps({name: _plain(value) for name, value in row.items()}, ensure_ascii=False) + "\n"


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value  # a NumPy scalar
    if value is None or isinstance(value, (str, bool, int)):
        return value
    return value if isinstance(value, float) and math.isfinite(value) else None


class JsonLines:
    """One object a row."""

    def __init__(self, write: Write) -> None:
        self._write = write

    def rows(self, frame: pd.DataFrame) -> None:
        """Write the rows of a frame, with the names of its index."""
        for row in frame.reset_index().to_dict("records"):
            self._write(json_line({str(name): value for name, value in row.items()}))

    def failure(self, file: str, error: str) -> None:
        """Write the object of a file that failed."""
        self._write(json_line({"file": file, "error": error}))


class Csv:
    """Comma-separated values with one header; missing numbers are empty."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._columns: list[str] | None = None

    def rows(self, frame: pd.DataFrame) -> None:
        """Write the rows of a frame, with the names of its index."""
        is_first = self._columns is None
        flat = frame.reset_index()
        self._columns = list(flat.columns) if self._columns is None else self._columns
        self._write(flat.to_csv(columns=self._columns, header=is_first, index=False, lineterminator="\n"))

    def failure(self, file: str, error: str) -> None:
        """Write nothing: a table of numbers has no room for a message, which is on stderr."""


def writer_of(fmt: str, write: Write) -> JsonLines | Csv:
    """Return what writes results for programs."""
    return JsonLines(write) if fmt == "jsonl" else Csv(write)
