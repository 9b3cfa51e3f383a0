"""What passes as data and is none: silence, constants, pauses, clipped peaks, channels that cancel each other.

One definition each, in NumPy alone: values that differ by no more than rounding are constant; a waveform that is silent
or constant has no sound; a segment far below the loudest of its recording is a pause, and does not count in a mean; a
waveform is clipped if many of its samples share its highest or lowest value, more than lie just below; channels cancel
if their mean has lost nearly all of their power. Whoever reads data refuses them, leaves them out or warns of them.
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

CLIPPED, MANY = 1e-4, 1e-3
"""Share of samples at the highest or lowest value of a clipped waveform, with and without some of them in a row."""

FLAT, A_FEW = 3, 16
"""Samples in a row at that value that are no coincidence, and so few that may share it by chance."""

NEAR, FINE = 0.05, 5
"""Share of the peak that is "just below" it, and the number of quantisation steps that it must have."""


def zero_of(dtype: np.dtype[Any]) -> int:
    """Return the sample value of silence: the middle of the range in unsigned PCM, otherwise 0."""
    return (np.iinfo(dtype).max + 1) // 2 if np.issubdtype(dtype, np.unsignedinteger) else 0


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


def is_clipped(waveform: NDArray[Any]) -> bool:
    """Return whether the peaks of a waveform (n_times,) are cut off, at full scale or at any other level.

    Sound approaches its extreme values and hardly ever keeps them. Waveforms of few levels, as quiet ones in 8 or 16
    bits, keep every level, and cannot be told.
    """
    zero = zero_of(waveform.dtype)
    waveform = waveform.astype(np.float64) - zero if zero else waveform
    low, high = float(waveform.min()), float(waveform.max())
    span, peak = high - low, max(high, -low)
    for extreme, is_at in ((high, np.greater_equal), (low, np.less_equal)):
        inward = -span if extreme == high else span
        cut = is_at(waveform, extreme + 1e-6 * inward)
        n_cut = np.count_nonzero(cut)
        if n_cut < max(FLAT, CLIPPED * len(waveform)) or abs(extreme) <= NEAR * peak:  # silence is no cut
            continue
        n_near = np.count_nonzero(is_at(waveform, extreme + NEAR / 2 * inward)) - n_cut
        flat = _has_run(cut) or (n_near and n_cut > max(A_FEW, MANY * len(waveform)))  # none near: a periodic sound
        if flat and n_near < n_cut and _is_fine(waveform, span):
            return True
    return False


def _has_run(cut: NDArray[np.bool_]) -> bool:
    at = np.flatnonzero(cut)
    return bool(np.any(at[FLAT - 1 :] - at[: 1 - FLAT] == FLAT - 1))


def _is_fine(waveform: NDArray[Any], span: float) -> bool:
    """Return whether the steps between levels are small beside the peak, by some thousands of loud samples."""
    loud = waveform[np.abs(waveform) > 0.01 * span][:4096]  # small numbers are stored in smaller steps
    levels = np.unique(loud).astype(np.float64)
    return len(levels) > 1 and float(np.diff(levels).min()) * FINE <= NEAR / 2 * span
