"""Checks of numbers and choices, and a common form of errors and warnings.

A check raises "tau must be a number above 0, got 0."; the public function that the user called, marked by `door`,
prefixes its name: "SupConLoss: tau must be ...". Each message names the argument, the expected value, the value
received and, if there is one, a fix.
"""

from __future__ import annotations

import functools
import numbers
import sys
import warnings
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

PACKAGE = __name__.partition(".")[0]
BETWEEN = ("sklearn", "joblib", "skorch", "torch")  # libraries that call us on the user's behalf

_open_door: ContextVar[str] = ContextVar("open_door", default="")


class NamedError(Exception):
    """An error whose message begins with the name of the public function that the user called."""

    door = ""

    def __str__(self) -> str:
        message = super().__str__()
        return f"{self.door}: {message}" if self.door else message


class ArgumentValueError(NamedError, ValueError):
    """An argument has an invalid value."""


class ArgumentTypeError(NamedError, TypeError):
    """An argument has the wrong type."""


class SimulationError(NamedError, RuntimeError):
    """Rooms cannot be simulated as requested."""


class MissingFileError(NamedError, FileNotFoundError):
    """A file or folder named by an argument does not exist."""


def door(function: Callable[P, R]) -> Callable[P, R]:
    """Mark a public function or method: errors and warnings raised inside carry its name, or that of its class."""
    is_method = "." in function.__qualname__.rpartition("<locals>.")[2]

    @functools.wraps(function)
    def opened(*args: P.args, **kwargs: P.kwargs) -> R:
        if _open_door.get():  # called by another public function, whose name the user knows
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
    """Issue a warning that names the public function that the user called and points to the user's line."""
    name = _open_door.get()
    frame: FrameType | None = sys._getframe(1)
    packages = []
    while frame is not None:
        packages.append(frame.f_globals.get("__name__", "").partition(".")[0])
        frame = frame.f_back
    ours = max(i for i, package in enumerate(packages) if package == PACKAGE)
    users = (i for i, package in enumerate(packages) if i > ours and package not in BETWEEN)
    level = next(users, ours)
    warnings.warn(f"{name}: {message}" if name else message, category, stacklevel=level + 2)


def describe(value: Any) -> str:
    """Describe a value briefly, for the 'got ...' part of an error message."""
    if isinstance(value, np.ndarray):
        return f"an array of shape {value.shape} and dtype {value.dtype}"
    if value is None or isinstance(value, (str, bool, numbers.Number)):
        return repr(value)
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)} items"
    return f"a {type(value).__name__}"


def name_rows(indices: NDArray[Any], shown: int = 5) -> str:
    """Return 'row 3', or 'rows 1, 4, 8, ... (12 in all)'."""
    listed = ", ".join(str(i) for i in indices[:shown])
    if len(indices) == 1:
        return f"row {listed}"
    return f"rows {listed}" + (f", ... ({len(indices)} in all)" if len(indices) > shown else "")


def check_number(
    value: Any,
    *,
    name: str,
    low: float = -np.inf,
    high: float = np.inf,
    integer: bool = False,
    low_open: bool = False,
) -> Any:
    """Return `value` if it is a number, or an integer, between `low` and `high`; otherwise raise.

    Raises
    ------
    TypeError
        If it is not a number, or not an integer if one is required.
    ValueError
        If it is out of range or NaN.
    """
    kind = numbers.Integral if integer else numbers.Real
    expected = ("a whole number" if integer else "a number") + (
        f" above {low:g}" if low_open else f" of at least {low:g}" if np.isfinite(low) else ""
    )
    expected += f" and at most {high:g}" if np.isfinite(high) else ""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise ArgumentTypeError(f"{name} must be {expected}, got {describe(value)}.")
    number = float(value)
    if not (low < number if low_open else low <= number) or not number <= high:
        raise ArgumentValueError(f"{name} must be {expected}, got {describe(value)}.")
    return value


def check_choice(value: Any, options: Sequence[Any], *, name: str) -> Any:
    """Return `value` if it is one of `options`; otherwise raise a ValueError that lists them."""
    if not any(value is option or (isinstance(value, str) and value == option) for option in options):
        raise ArgumentValueError(f"{name} must be one of {list(options)}, got {describe(value)}.")
    return value


def check_sample_rate(sample_rate: Any, *, name: str = "sample_rate") -> int:
    """Return a sampling rate as an integer, in Hz, or raise if it is not one."""
    check_number(sample_rate, name=f"{name} (in Hz)", low=0, low_open=True)
    if not float(sample_rate).is_integer():
        raise ArgumentValueError(f"{name} must be a whole number of Hz, got {describe(sample_rate)}.")
    return int(sample_rate)
