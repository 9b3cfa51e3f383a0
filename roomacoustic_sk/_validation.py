"""Checks of numbers and choices, and a common form of errors and warnings.

A check raises "tau must be a number above 0, got 0."; the public function that the user called, marked by `door`,
prefixes its name: "SupConLoss: tau must be ...". Each message names the argument, the expected value, the value
received and, if there is one, a fix.
"""

from __future__ import annotations

import functools
import math
import numbers
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from types import FrameType
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
R = TypeVar("R")

PACKAGE = __name__.partition(".")[0]
BETWEEN = ("sklearn", "joblib", "skorch", "torch")  # libraries that call us on the user's behalf

LOWEST_RATE, HIGHEST_RATE = 1_000, 10_000_000
"""Range of sampling rates in Hz: below it, rates are in kHz; above it, there is no acoustics in air."""

LOWEST_BAND, LOWEST_AUDIBLE = 10.0, 20.0
"""Centre frequency of an octave band, in Hz, below which it is in kHz, and below which it may be."""

LONGEST_SHOWN = 200
"""Characters of a value that are shown in a message."""

LARGEST_LAYER = 16_384
"""Largest number of neurons or channels in a layer of a network: two such layers take 1 GB."""

PER_CENT = "It is a share: divide per cent by 100."
MILLISECONDS = "The unit is s: divide milliseconds by 1000."
CENTIMETRES = "The unit is m: divide centimetres by 100, millimetres by 1000."
"""Fixes for values in another unit."""

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
            # NumPy's own defaults, whatever the user has set.
            with np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"):
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
        shown = repr(value)
        return shown if len(shown) <= LONGEST_SHOWN else f"{shown[:LONGEST_SHOWN]}..."
    if isinstance(value, (list, tuple)):
        return f"a {type(value).__name__} of {len(value)} items"
    return f"a {type(value).__name__}"


def name_rows(indices: NDArray[Any], shown: int = 5) -> str:
    """Return 'row 3', or 'rows 1, 4, 8, ... (12 in all)'."""
    listed = ", ".join(str(i) for i in indices[:shown])
    if len(indices) == 1:
        return f"row {listed}"
    return f"rows {listed}" + (f", ... ({len(indices)} in all)" if len(indices) > shown else "")


@contextmanager
def restated(expected: str) -> Iterator[None]:
    """Turn errors of other libraries inside the block into ours: `expected`, "y must ...", and what they say."""
    try:
        yield
    except NamedError:
        raise
    except (ValueError, TypeError, OverflowError, AttributeError, RuntimeError, IndexError) as error:
        kind = ArgumentTypeError if isinstance(error, TypeError) else ArgumentValueError
        reason = " ".join((str(error) or type(error).__name__).split()).rstrip(".")
        raise kind(f"{expected}: {reason}.") from error


def check_unmasked(values: Any, *, name: str) -> Any:
    """Return `values`, refused if they are, or hold, a NumPy array with masked entries: those would count as data."""
    parts = values if isinstance(values, (list, tuple)) else (values,)
    n_masked = sum(int(np.ma.count_masked(part)) for part in parts if isinstance(part, np.ma.MaskedArray))
    if n_masked or any(part is np.ma.masked for part in parts):
        raise ArgumentValueError(
            f"{name} must not have masked values, got {max(n_masked, 1)}. Leave them out, or fill them with "
            "numpy.ma.filled."
        )
    return values


def as_array(values: Any, *, name: str, expected: str, dtype: Any = None) -> NDArray[Any]:
    """Return anything array-like as an array without masked values; `expected` ends the sentence "X must be ..."."""
    check_unmasked(values, name=name)
    with restated(f"{name} must be {expected}"):
        array = np.asarray(values)
        if dtype is not None:
            check_real(array, name=name)
        return array if dtype is None else array.astype(dtype, copy=False)


def check_real(array: NDArray[Any], *, name: str) -> None:
    """Refuse dates, times and complex numbers, which numpy turns into real ones without a word."""
    if not isinstance(array, np.ndarray):
        raise ArgumentTypeError(f"{name} must be a dense array, got {describe(array)}. Pass {name}.toarray().")
    if array.dtype.kind in "mM":
        raise ArgumentTypeError(f"{name} must be real numbers, got dates or times.")
    if array.dtype.kind == "c":
        raise ArgumentValueError(f"{name} must be real numbers, got complex ones. Complex data not supported.")


def as_list(values: Any, *, name: str, expected: str) -> list[Any]:
    """Return the items of anything iterable that is no text and no mapping; `expected` ends "X must be ..."."""
    check_unmasked(values, name=name)
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise ArgumentTypeError(f"{name} must be {expected}, got {describe(values)}.")
    with restated(f"{name} must be {expected}"):
        return list(values)


def as_path(path: Any, *, name: str) -> Path:
    """Return a path as users give it, with the home folder for a tilde, or raise."""
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentTypeError(f"{name} must be a path, got {describe(path)}.")
    with restated(f"{name} must be a path, got {path!r}"):
        return Path(path).expanduser()


def check_random_state(random_state: Any) -> np.random.RandomState:
    """Return a generator for a `random_state`, as scikit-learn does, or raise."""
    from sklearn.utils import check_random_state as of_sklearn  # late: acoustics needs none of it

    with restated("random_state must be None, a whole number from 0 to 4294967295 or a numpy.random.RandomState"):
        return of_sklearn(random_state)


def check_n_jobs(n_jobs: Any) -> int | None:
    """Return a number of jobs as joblib takes it, or raise."""
    if n_jobs is None:
        return None
    check_number(n_jobs, name="n_jobs", low=-1024, high=1024, integer=True)
    if n_jobs == 0:
        raise ArgumentValueError("n_jobs must be None, a number of jobs or -1 for all cores, got 0.")
    return int(n_jobs)


def check_range(
    value: Any, *, name: str, low: float = -np.inf, high: float = np.inf, low_open: bool = False, unit: str = ""
) -> tuple[float, float]:
    """Return a range as a pair (lowest, highest) of floats, or raise."""
    if not is_flat(value) or len(value) != 2:
        raise ArgumentTypeError(f"{name} must be a pair (lowest, highest), got {describe(value)}.")
    for number in value:
        check_number(number, name=name, unit=unit, low=low, low_open=low_open, high=high)
    if value[0] > value[1]:
        raise ArgumentValueError(f"{name} must be a pair (lowest, highest), got {tuple(value)}. Swap them.")
    return float(value[0]), float(value[1])


def check_numbers(
    values: Any,
    *,
    name: str,
    low: float,
    high: float = np.inf,
    limit: float = np.inf,
    integer: bool = False,
    unit: str = "",
    fix: str = "",
) -> list[Any]:
    """Return a non-empty sequence of numbers within limits, as for `check_number`, or raise."""
    check_unmasked(values, name=name)
    if not is_flat(values):
        raise ArgumentTypeError(f"{name} must be a sequence of numbers, got {describe(values)}.")
    if not len(values):
        raise ArgumentValueError(f"{name} must have at least one number, got none.")
    for value in values:
        check_number(value, name=name, low=low, high=high, limit=limit, integer=integer, unit=unit, fix=fix)
    return list(values)


def check_layers(*named: tuple[str, Any]) -> None:
    """Refuse numbers of neurons or channels that are no whole numbers from 1 to `LARGEST_LAYER`."""
    for name, size in named:
        check_number(size, name=name, low=1, limit=LARGEST_LAYER, integer=True)


def allocate(shape: tuple[int, ...], *, name: str, dtype: Any = np.float32) -> NDArray[Any]:
    """Return an array with arbitrary content, or raise an error that names the arguments which make it that large."""
    try:
        return np.empty(shape, dtype=dtype)
    except (MemoryError, ValueError, OverflowError) as error:
        gigabytes = math.prod(map(_as_float, shape)) * np.dtype(dtype).itemsize / 1e9
        raise ArgumentValueError(
            f"{name} must leave a result that fits into memory, got one of {gigabytes:.3g} GB."
        ) from error


def check_number(
    value: Any,
    *,
    name: str,
    low: float = -np.inf,
    high: float = np.inf,
    integer: bool = False,
    low_open: bool = False,
    limit: float = np.inf,
    unit: str = "",
    fix: str = "",
) -> Any:
    """Return `value` if it is a number, or an integer, between `low` and `high`; otherwise raise.

    Parameters
    ----------
    value : object
        The argument.
    name : str
        Its name.
    low, high : float
        Its range.
    integer : bool
        Whether it must be whole.
    low_open : bool
        Whether it must be above `low`.
    limit : float
        A bound so far beyond use that messages name it only if it is exceeded.
    unit : str
        Its unit, for the message. It may then not be infinite: only numbers without a unit may mean "no limit".
    fix : str
        A sentence that is added if the number is out of range.

    Raises
    ------
    TypeError
        If it is not a number, or not an integer if one is required.
    ValueError
        If it is out of range or NaN.
    """
    kind = numbers.Integral if integer else numbers.Real
    allowed = ("a whole number" if integer else "a number") + (
        f" above {low:g}" if low_open else f" of at least {_as_float(low):g}" if _as_float(low) > -np.inf else ""
    )
    allowed += f" and at most {high:g}" if np.isfinite(high) else ""
    described = f"{name} (in {unit})" if unit else name
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, kind):
        raise ArgumentTypeError(f"{described} must be {allowed}, got {describe(value)}.")
    number = _as_float(value)
    if not (low < number if low_open else low <= number) or not number <= high or (unit and np.isinf(number)):
        raise ArgumentValueError(f"{described} must be {allowed}, got {describe(value)}.{fix and f' {fix}'}")
    if number > limit:
        raise ArgumentValueError(f"{described} must be at most {limit:g}, got {describe(value)}.{fix and f' {fix}'}")
    return value


MOST_BANDS = 200
"""Largest number of bands: ten octaves in steps of a twentieth."""


def check_bands(bands: Any, expected: str = "a sequence of centre frequencies") -> list[float]:
    """Return the centre frequencies of octave bands in Hz, refused if they are in kHz.

    Warns if one is below what people hear, since 16 could be either.
    """
    if not is_flat(bands) or not len(bands):
        raise ArgumentValueError(f"bands must be {expected}, got {describe(bands)}.")
    if len(bands) > MOST_BANDS:
        raise ArgumentValueError(f"bands must be at most {MOST_BANDS}, got {len(bands)}.")
    for centre in bands:
        check_number(centre, name="bands", unit="Hz", low=0, low_open=True)
        if centre < LOWEST_BAND:
            raise ArgumentValueError(
                f"bands must be in Hz, at least {LOWEST_BAND:g}, got {centre:g}. If they are in kHz, multiply by 1000."
            )
    infrasound = [centre for centre in bands if centre < LOWEST_AUDIBLE]
    if infrasound:
        warn(f"bands should be in Hz, got {infrasound[0]:g} Hz, which is inaudible. If it is in kHz, multiply by 1000.")
    return list(bands)


def _as_float(value: Any) -> float:
    """Return a number as a float; whole numbers beyond its range become infinite."""
    try:
        return float(value)
    except OverflowError:
        return np.inf if value > 0 else -np.inf


def is_flat(values: Any) -> bool:
    """Return whether values are a sequence, or a 1-D array, none of whose items is one."""
    if isinstance(values, (type, str, bytes, Mapping)) or not hasattr(values, "__getitem__"):
        return False
    return hasattr(values, "__len__") and getattr(values, "ndim", 1) == 1 and not any(map(_has_length, values))


def _has_length(item: Any) -> bool:
    return hasattr(item, "__len__") and not isinstance(item, (str, bytes)) and getattr(item, "ndim", 1) > 0


def check_verbose(verbose: Any) -> float:
    """Return a level of output: a number of at least 0, or a bool."""
    return verbose if isinstance(verbose, bool) else check_number(verbose, name="verbose", low=0)


def check_flag(value: Any, *, name: str) -> bool:
    """Return `value` as a bool if it is one; otherwise raise."""
    if not isinstance(value, (bool, np.bool_)):
        raise ArgumentTypeError(f"{name} must be True or False, got {describe(value)}.")
    return bool(value)


def check_choice(value: Any, options: Sequence[Any], *, name: str) -> Any:
    """Return `value` if it is one of `options`; otherwise raise a ValueError that lists them."""
    if not any(value is option or (isinstance(value, str) and value == option) for option in options):
        raise ArgumentValueError(f"{name} must be one of {list(options)}, got {describe(value)}.")
    return value


def check_sample_rate(sample_rate: Any, *, name: str = "sample_rate") -> int:
    """Return a sampling rate as an integer, in Hz, or raise if it is not one."""
    check_number(sample_rate, name=f"{name} (in Hz)", low=0, low_open=True)
    if sample_rate < LOWEST_RATE:
        raise ArgumentValueError(
            f"{name} must be in Hz, at least {LOWEST_RATE}, got {describe(sample_rate)}. If it is in kHz, pass "
            f"{1000 * float(sample_rate):g}."
        )
    if not _as_float(sample_rate).is_integer():
        raise ArgumentValueError(f"{name} must be a whole number of Hz, got {describe(sample_rate)}.")
    check_number(sample_rate, name=name, unit="Hz", limit=HIGHEST_RATE)
    return int(sample_rate)
