"""Arguments that several commands have: files, and numbers within limits."""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from roomacoustic_sk.cli._messages import reason

FROM_STDIN = "-"


def count(text: str) -> int:
    """Return a number of things, above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def seconds(text: str) -> float:
    """Return a duration in s, above 0."""
    number = float(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds above 0, got {text}")
    return number


def window(text: str) -> float:
    """Return the length of a window in s, from 1 on."""
    number = float(text)
    if not 1 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 1 on, got {text}")
    return number


def jobs(text: str) -> int:
    """Return a number of jobs as joblib takes it: -1 for all cores."""
    number = int(text)
    if number == 0:
        raise argparse.ArgumentTypeError("must be a number of jobs, or -1 for all cores, got 0")
    return number


def seed(text: str) -> int:
    """Return a seed as NumPy takes it."""
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"must be between 0 and {2**32 - 1}, got {text}")
    return number


def channel(text: str) -> int | str:
    """Return "each", "mix" or the number of a channel."""
    if text in ("each", "mix"):
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be each, mix or a number from 0 on, got {text!r}")
    return int(text)


def add_files(parser: argparse.ArgumentParser, *, metavar: str, what: str) -> None:
    """Declare the files that a command reads."""
    parser.add_argument("files", nargs="+", metavar=metavar, help=f"{what}, or - to read their names from stdin")


class Listed(NamedTuple):
    """A file that was named, or that lies in a folder that was; or why a folder has none."""

    name: str
    error: str | None = None


def listed(names: Sequence[str], in_folder: Callable[[Path], list[Path]] | None = None) -> list[Listed]:
    """List files in the order in which they were named, folders with the audio files in them and below.

    These are the files that libsndfile reads, unless `in_folder` finds others.
    """
    return [file for name in _with_names_from_stdin(names) for file in _files_of(name, in_folder)]


def _with_names_from_stdin(names: Sequence[str]) -> Iterator[str]:
    for name in names:
        if name != FROM_STDIN:
            yield name
            continue
        for line in sys.stdin.buffer:
            if b"\0" in line:
                raise ValueError("stdin must hold names of files, one a line, got binary data.")
            if (line := line.rstrip(b"\r\n")).strip():
                yield os.fsdecode(line)


def _files_of(name: str, in_folder: Callable[[Path], list[Path]] | None) -> list[Listed]:
    if not os.path.lexists(name):
        hint = ": quotes keep the shell from expanding it" if any(sign in name for sign in "*?[") else ""
        return [Listed(name, f"no such file or folder{hint}")]
    if not os.path.isdir(name):
        return [Listed(name)]
    from roomacoustic_sk.datasets._audio import list_audio_files

    try:
        return [Listed(os.fspath(path)) for path in (in_folder or list_audio_files)(Path(name))]
    except (ValueError, OSError) as error:
        return [Listed(name, reason(error))]
