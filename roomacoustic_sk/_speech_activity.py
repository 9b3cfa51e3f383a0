"""Which parts of a recording hold speech, by a level rule, and how good the recording is, in NumPy alone.

Levels are those of 20 ms frames, after a first difference, which takes away rumble. A frame is active if it is well
above the noise and not far below the loudest speech.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FRAME_SECONDS = 0.02
FRAMES_AT_ONCE = 4096

NOISE, SPEECH = 0.1, 0.98
"""Quantiles of the frames' levels that stand for the noise and for loud speech, which may be rare."""

ABOVE_NOISE, BELOW_SPEECH = 6.0, 30.0
"""Level in dB above the noise, and at most below loud speech, from which a frame is active."""

LEAST_RANGE = 5.0
"""Range of the levels in dB below which nothing stands out: steady noise has 1 to 3 dB, speech at 0 dB SNR 6 dB."""

QUIETEST = -120.0
"""Level in dB, relative to the loudest frame, below which all frames are equally silent."""

GAP = 0.3  # s; a shorter break between words is speech
TAIL = 2.0  # s after speech whose decay tells the room
HEAD = 0.1  # s before speech, where a soft sound may begin

LOWEST_SNR, HIGHEST_SNR = -10.0, 60.0
"""Limits of an estimated SNR, in dB."""

TELEPHONE_EDGE = 3900.0
"""Frequency in Hz above which a narrow-band recording holds nothing."""

NOTHING = -50.0
"""Level in dB of the band above that edge, relative to the band from 300 Hz to 3 kHz, that counts as nothing."""


class Activity(NamedTuple):
    """Where a recording holds speech, and how far it stands out."""

    active: NDArray[np.bool_]  # of each frame, short gaps included
    snr: float  # dB, estimated

    @property
    def seconds(self) -> float:
        """Seconds of speech."""
        return float(self.active.sum()) * FRAME_SECONDS

    def quality(self) -> tuple[float, float]:
        """Return what the reliability of an estimate depends on: log of the seconds of speech, and the SNR in dB."""
        return float(np.log(max(self.seconds, FRAME_SECONDS))), self.snr


def find_speech(waveform: Array, sample_rate: int) -> Activity:
    """Find speech in a waveform (n_times,)."""
    power = frame_powers(waveform, sample_rate)
    loudest = power.max(initial=0.0)
    if not loudest > 0:
        return Activity(np.zeros(len(power), dtype=bool), LOWEST_SNR)
    levels = np.maximum(10 * np.log10(np.maximum(power / loudest, 1e-30)), QUIETEST)
    noise, speech = np.quantile(levels, [NOISE, SPEECH])
    if speech - noise < LEAST_RANGE:
        return Activity(np.zeros(len(power), dtype=bool), LOWEST_SNR)
    active = levels > max(min(noise + ABOVE_NOISE, speech), speech - BELOW_SPEECH)
    of_noise = power[levels <= noise].mean()
    above = power[active].mean() / max(of_noise, 1e-30 * loudest) - 1
    snr = float(np.clip(10 * np.log10(max(above, 1e-30)), LOWEST_SNR, HIGHEST_SNR))
    return Activity(_without_gaps(active, round(GAP / FRAME_SECONDS)), snr)


def frame_powers(waveform: Array, sample_rate: int) -> NDArray[np.float64]:
    """Return the power of each frame of the waveform's first difference."""
    length = max(round(FRAME_SECONDS * sample_rate), 1)
    n_frames = max(len(waveform) // length, 1)
    powers = []
    for first in range(0, n_frames, FRAMES_AT_ONCE):
        part = waveform[first * length : min(first + FRAMES_AT_ONCE, n_frames) * length].astype(np.float64)
        steps = np.diff(part, prepend=part[:1])
        powers.append(
            np.mean(steps[: len(steps) // length * length or None].reshape(-1, min(length, len(steps))) ** 2, 1)
        )
    return np.concatenate(powers)


def _without_gaps(active: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    """Fill gaps of at most so many frames."""
    at = np.flatnonzero(active)
    filled = active.copy()
    for before, after in pairwise(at):
        if after - before - 1 <= longest:
            filled[before:after] = True
    return filled


def stretches(active: NDArray[np.bool_], n_times: int, sample_rate: int, shortest: int = 1) -> list[slice]:
    """Return the parts of a recording to use, in samples: speech and the decay after it; long pauses are left out.

    None is shorter than `shortest` unless the recording is.
    """
    length = max(round(FRAME_SECONDS * sample_rate), 1)
    at = np.flatnonzero(np.diff(np.concatenate([[0], active.astype(np.int8), [0]])))
    found: list[slice] = []
    for first, stop in zip(at[::2] * length, at[1::2] * length, strict=True):
        begin = max(int(first) - round(HEAD * sample_rate), 0)
        end = min(max(int(stop) + round(TAIL * sample_rate), begin + shortest), n_times)
        begin = max(min(begin, end - shortest), 0)
        if found and begin <= found[-1].stop:
            found[-1] = slice(found[-1].start, end)
        else:
            found.append(slice(begin, end))
    return found


def is_narrow_band(waveform: Array, sample_rate: int) -> bool:
    """Return whether nothing lies above the band of a telephone, although the sampling rate would allow it."""
    if sample_rate < 2.5 * TELEPHONE_EDGE:
        return False
    size = min(2048, len(waveform))
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    frames = frames[:: max(len(frames) // 256, 1)] * np.hanning(size)
    power = np.mean(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0)
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    low = power[(frequencies > 300) & (frequencies < 3000)].mean()
    high = power[(frequencies > 1.1 * TELEPHONE_EDGE) & (frequencies < 0.45 * sample_rate)].mean()
    return bool(high < low * 10 ** (NOTHING / 10))


def looks_like_response(waveform: Array, sample_rate: int) -> bool:
    """Return whether a waveform is one onset and a steady decay, as an impulse response is and speech is not."""
    power = frame_powers(waveform, sample_rate)
    peak, total = int(np.argmax(power)), power.sum()
    if not total > 0 or power[: max(peak - 1, 0)].sum() > 0.01 * total:
        return False
    curve = 10 * np.log10(np.maximum(np.cumsum(power[::-1])[::-1][peak:] / total, 1e-12))
    decay = 10 * np.log10(np.maximum(power[peak:] / power[peak], 1e-12))
    end = int(np.searchsorted(-curve, 30.0))  # frames until the energy left has fallen by 30 dB
    if end < 3:  # a click
        return len(decay) > 3 and bool((decay[3:] < -20).all())
    slope = np.polyfit(np.arange(end), decay[:end], 1)
    residual = decay[:end] - np.polyval(slope, np.arange(end))
    return bool(slope[0] < 0 and decay[:end].min() < -15 and residual.std() < 6)
