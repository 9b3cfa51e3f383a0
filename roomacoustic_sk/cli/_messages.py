"""Messages on stderr: errors and warnings take one line each, and do not tear a progress bar apart."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PROGRAM = "roomacoustic-sk"

SUCCESS, FAILURE = 0, 1
"""Exit statuses of a command."""

ENDING = (KeyboardInterrupt, BrokenPipeError, GeneratorExit)
"""What ends a command before its time; joblib then warns of tasks that nobody waits for any more."""


def say(message: str) -> None:
    """Write a line to stderr."""
    from tqdm import tqdm

    line = f"{PROGRAM}: {' '.join(message.split())}"
    encoding = sys.stderr.encoding or "utf-8"
    tqdm.write(line.encode(encoding, "backslashreplace").decode(encoding), file=sys.stderr)


def reason(error: BaseException) -> str:
    """Say in a line why something failed."""
    from roomacoustic_sk._validation import NamedError  # late: it needs NumPy

    if isinstance(error, NamedError):
        return str(error.args[0])  # without the function's name, which nobody has called here
    if isinstance(error, OSError) and error.strerror:
        return error.strerror if error.filename is None else f"{error.filename}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"out of memory {error}"
    if isinstance(error, ImportError):
        return str(error)
    return f"{type(error).__name__}: {error} (--debug shows where)"


@contextmanager
def warnings_as_lines(about: str = "", *, known: tuple[type[Warning], ...] = ()) -> Iterator[None]:
    """Show warnings as lines, with the file they are about in place of the line of code.

    Not those that repeat what the results say (`known`).
    """
    before = warnings.showwarning

    def show(message: Any, category: Any, filename: str, lineno: int, file: Any = None, line: Any = None) -> None:
        if not issubclass(category, known) and not isinstance(sys.exception(), ENDING):
            say(f"warning: {about}: {message}" if about else f"warning: {message}")

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = before
