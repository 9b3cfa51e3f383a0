"""Room acoustic parameters of one decay curve (ISO 3382-1:2009, 3.4 and Annex A), and their short names."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from roomacoustic_sk._decay import (
    BENT,
    NONLINEAR,
    RINGING,
    Array,
    Band,
    crossing,
    curvature,
    early_and_late,
    fit_line,
    integrate,
    is_ringing,
    nonlinearity,
    peak_to_noise,
    usable_range,
)
from roomacoustic_sk._validation import (
    MILLISECONDS,
    ArgumentTypeError,
    ArgumentValueError,
    check_number,
    describe,
    is_flat,
)

EARLY_RANGE = (0.0, -10.0)
"""Evaluation range of the early decay time in dB (ISO 3382-1, A.2.2)."""

UPPER_LEVEL = -5.0
"""Level in dB at which the evaluation range of a reverberation time begins: T20 is from -5 to -25 dB (3.4)."""

DIRECT_WINDOW = 0.0025
"""Time after the onset, in s, that counts as direct sound (Zahorik, 2002)."""

LONGEST_LIMIT = 5.0
"""Longest time between early and late sound, in s: longer ones are in ms."""


class Curve:
    """The decay curve of one response in one band."""

    def __init__(self, response: Array, band: Band, sample_rate: int, truncation: str | None) -> None:
        self.decay = integrate(response, band, sample_rate, truncation)
        self.is_ringing = is_ringing(self.decay, response, band, sample_rate, truncation)
        self.sample_rate = sample_rate
        self._band = band
        # In bands, early and late sound are windowed before they are filtered (A.3), so the response is needed again.
        self._response = np.empty(0) if band.sos is None else response
        self._energies: dict[int, tuple[float, float]] = {}

    @property
    def reason(self) -> str:
        """What hides the end of the decay, or all of it."""
        return RINGING if self.is_ringing else self.decay.end.reason

    def early_and_late(self, limit: float) -> tuple[float, float]:
        """Energy before and after a time in s, computed once for all parameters that ask for it."""
        n_early = max(round(limit * self.sample_rate), 1)
        if n_early not in self._energies:
            self._energies[n_early] = early_and_late(self._response, self._band, self.decay, n_early, self.sample_rate)
        return self._energies[n_early]


class Parameter(NamedTuple):
    """What is evaluated of each curve."""

    name: str
    needs: str  # the part of the curve that is needed, for the warning; empty without one
    evaluate: Callable[[Curve], Any]
    limit: float = 0.0  # s; responses must be longer
    argument: str = ""  # that gave the limit


def decay_time(levels: tuple[float, float], *, name: str = "reverberation_time") -> Parameter:
    """Make the parameter that extrapolates the decay between two levels to 60 dB, in s."""
    upper, lower = levels

    def time(curve: Curve) -> float:
        samples, left_over = fit_line(curve.decay, upper, lower)
        if curve.is_ringing or (upper < 0 and left_over > NONLINEAR):  # reflections bend the early decay anyway
            return np.nan
        return samples / curve.sample_rate

    return Parameter(name, f"the decay from {upper:g} to {lower:g} dB", time)


def balance(limit: float, *, name: str = "clarity", argument: str = "limit") -> Parameter:
    """Make the parameter that compares the energy before and after a time limit, in dB."""
    _check_limit(limit, name=argument)

    def ratio(curve: Curve) -> float:
        early, late = curve.early_and_late(limit)
        return 10 * np.log10(early / late) if late >= curve.decay.end.floor and late > 0 < early else np.nan

    return Parameter(name, f"the energy after {limit:g} s", ratio, limit, argument)


def direct(
    direct_window: float, *, name: str = "direct_to_reverberant_ratio", argument: str = "direct_window"
) -> Parameter:
    """Make the direct-to-reverberant ratio: clarity at the end of the direct sound."""
    return balance(direct_window, name=name, argument=argument)


def share(limit: float, *, name: str = "definition", argument: str = "limit") -> Parameter:
    """Make the parameter that is the share of the energy before a time limit."""
    _check_limit(limit, name=argument)

    def part(curve: Curve) -> float:
        early, late = curve.early_and_late(limit)
        energy, end, _ = curve.decay
        return early / (early + late) if end.floor <= max(late, 0.01 * energy[0]) else np.nan

    return Parameter(name, f"the energy after {limit:g} s", part, limit, argument)


def centre(*, name: str = "centre_time") -> Parameter:
    """Make the parameter that is the mean arrival time, the integral of the decay curve over its first value, in s."""

    def mean(curve: Curve) -> float:
        energy, end, _ = curve.decay
        if not 0.01 * energy[0] >= end.floor:
            return np.nan
        return float(energy[1:].sum() / energy[0] / curve.sample_rate)

    return Parameter(name, "the decay from 0 to -20 dB", mean)


def _check_limit(limit: Any, *, name: str) -> None:
    check_number(limit, name=name, unit="s", low=0, low_open=True, limit=LONGEST_LIMIT, fix=MILLISECONDS)


def diagnosis(levels: tuple[float, float]) -> list[Parameter]:
    """Make what tells how far a reverberation time can be relied on, without warnings (ISO 3382-2, Annex B)."""
    time = decay_time(levels)

    def reason(curve: Curve) -> str:
        if not np.isnan(time.evaluate(curve)):
            return ""
        return curve.reason if curve.is_ringing or not nonlinearity(curve.decay, *levels) > NONLINEAR else BENT

    evaluated: dict[str, Callable[[Curve], Any]] = {
        "nonlinearity": lambda curve: nonlinearity(curve.decay, *levels),
        "curvature": lambda curve: curvature(curve.decay),
        "usable_range": lambda curve: usable_range(curve.decay),
        "crossing_time": lambda curve: crossing(curve.decay) / curve.sample_rate,
        "peak_to_noise": lambda curve: peak_to_noise(curve.decay),
        "reason": reason,
    }
    return [Parameter(name, "", evaluate) for name, evaluate in evaluated.items()]


def first_range(curves: Sequence[Curve], ranges: dict[str, Parameter]) -> tuple[float, str | None]:
    """Mean decay time of some curves over the first range that all of them have, and which range that is."""
    for name, parameter in ranges.items():
        time = float(np.mean([parameter.evaluate(curve) for curve in curves]))
        if not np.isnan(time):
            return time, name
    return np.nan, None


# --- Short names ------------------------------------------------------------------------------------------------

KNOWN = "'EDT', 'T20', 'T30' (any range from T10 to T60), 'C50', 'C80', 'D50' (any limit in ms), 'Ts' and 'DRR'"
SHALLOWEST_RANGE, DEEPEST_RANGE = 10, 60  # dB, of a reverberation time


def parameters_of(names: Any) -> list[Parameter]:
    """Return the parameters of a sequence of short names, each once.

    Raises
    ------
    TypeError
        If it is no sequence.
    ValueError
        If it is empty, or a name is not known.
    """
    if not is_flat(names):
        raise ArgumentTypeError(
            f"parameters must be a sequence of names such as ['T30', 'C80'], got {describe(names)}."
        )
    found: dict[str, Parameter] = {}
    for name in names:
        parameter = _named(name) if isinstance(name, str) else None
        if parameter is None:
            raise ArgumentValueError(f"parameters must be among {KNOWN}, got {describe(name)}.")
        found[name] = parameter
    if not found:
        raise ArgumentValueError(f"parameters must have at least one of {KNOWN}, got none.")
    return list(found.values())


def levels_of(name: str) -> tuple[float, float] | None:
    """Return the evaluation range of a reverberation time by its short name, None if it is not one's."""
    match = re.fullmatch(r"T([1-9]\d)", name, re.ASCII)
    if match is None or not SHALLOWEST_RANGE <= int(match[1]) <= DEEPEST_RANGE:
        return None
    return UPPER_LEVEL, UPPER_LEVEL - int(match[1])


def _named(name: str) -> Parameter | None:
    """Return the parameter of a short name, None if there is none."""
    if name == "EDT":
        return decay_time(EARLY_RANGE, name=name)
    if name == "Ts":
        return centre(name=name)
    if name == "DRR":
        return direct(DIRECT_WINDOW, name=name, argument="the direct sound of DRR in parameters")
    if levels := levels_of(name):
        return decay_time(levels, name=name)
    match = re.fullmatch(r"([CD])([1-9]\d{0,3})", name, re.ASCII)
    if match is None or int(match[2]) > 1000 * LONGEST_LIMIT:
        return None
    make, limit = {"C": balance, "D": share}[match[1]], int(match[2]) / 1000
    return make(limit, name=name, argument=f"the limit of {name} in parameters")
