"""What passes as data and is none: silence, constants, pauses, channels that cancel each other.

One definition each, in NumPy alone: values that differ by no more than rounding are constant; a waveform that is silent
or constant has no sound; a segment far below the loudest of its recording is a pause, and does not count in a mean;
channels cancel if their mean has lost nearly all of their power. Whoever reads data refuses them or leaves them out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SILENCE = 1e-15
"""Peak up to which a recording counts as silent."""

ROUNDING = {"float32": 1e-6, "float64": 1e-12}
"""Range of values, relative to their largest magnitude, that rounding alone may cause: some steps of the format."""

PAUSE = 1e-3
"""Level, relative to the loudest segment of its recording, up to which a segment counts as a pause: -60 dB."""

CANCELLED = 1e-3
"""Power of a mean of channels, relative to that of uncorrelated channels, up to which they cancel: -30 dB."""


def is_constant(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return for each column whether its values are equal up to rounding, which leaves a spurious deviation.

    Columns that float32 holds exactly were computed in float32, and are rounded accordingly.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        in_float32 = (values == values.astype(np.float32)).all(axis=0)
    rounding = np.where(in_float32, ROUNDING["float32"], ROUNDING["float64"])
    return np.ptp(values, axis=0) <= rounding * np.abs(values).max(axis=0)


def has_sound(lowest: NDArray[Any], highest: NDArray[Any]) -> NDArray[np.bool_]:
    """Return whether waveforms with these lowest and highest samples are neither silent nor constant."""
    peak = np.maximum(highest, -lowest)
    with np.errstate(invalid="ignore"):  # infinity less infinity
        return (peak > SILENCE) & (highest - lowest > ROUNDING["float32"] * peak)


def levels(segments: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the root-mean-square of each segment (n, n_times) about its mean; 0 if it has no sound."""
    power = np.einsum("ij,ij->i", segments, segments) / segments.shape[1]
    level = np.sqrt(np.maximum(power - segments.mean(axis=1) ** 2, 0))
    return np.where(has_sound(segments.min(axis=1), segments.max(axis=1)), level, np.float32(0))


def sounding(level: NDArray[np.float32], owner: NDArray[np.intp], n_recordings: int) -> NDArray[np.bool_]:
    """Return which segments, each of the recording `owner`, count in its mean: all but pauses."""
    loudest = np.zeros(n_recordings, dtype=level.dtype)
    np.maximum.at(loudest, owner, level)
    return level > PAUSE * loudest[owner]


def mix_powers(channels: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the energy of the mean (n_times,) of channels (n_times, n_channels), if uncorrelated, and as it is.

    Those of successive pieces add up.
    """
    uncorrelated = np.einsum("ij,ij->", channels, channels) / channels.shape[1] ** 2
    return np.array([uncorrelated, np.dot(mean, mean)], dtype=np.float64)


def is_cancelled(uncorrelated: float, mean: float) -> bool:
    """Return whether channels with these `mix_powers` cancel in their mean."""
    return bool(uncorrelated > 0 and mean <= CANCELLED * uncorrelated)


def cancels(channels: NDArray[np.float32], mean: NDArray[np.float32]) -> bool:
    """Return whether channels (n_times, n_channels) cancel in their mean (n_times,), as those of opposite phase do."""
    return channels.shape[1] > 1 and is_cancelled(*mix_powers(channels, mean))
