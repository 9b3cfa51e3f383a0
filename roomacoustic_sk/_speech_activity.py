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

QUIETEST = -110.0
"""Level in dB, relative to the loudest frame, below which a frame is digital silence: sound was cut there, or muted."""

GAP = 0.3  # s; a shorter break between words is speech
TAIL = 2.0  # s after speech whose decay tells the room
HEAD = 0.1  # s before speech, where a soft sound may begin

LOWEST_SNR, HIGHEST_SNR = -10.0, 60.0
"""Limits of an estimated SNR, in dB."""

TELEPHONE_BAND = (2800.0, 3400.0)
"""Upper end in Hz of what a telephone transmits."""

TELEPHONE_EDGE = 4000.0
"""Frequency in Hz above which a narrow-band recording holds nothing."""

NOTHING = -25.0
"""Level in dB above that edge, relative to the band below it, that counts as nothing; speech has -20 dB and more."""


LEAST_FALL = 22.0
"""Fall in dB of the line through the levels of a response, while its energy falls by 30 dB: measured responses have
29 dB and more, speech whose first word is the loudest up to 16 dB."""

VOICE_BAND = (250.0, 1000.0)
"""Frequencies in Hz in which speech is strongest."""

NARROWER = -48.0
"""Level in dB of the upper end of a telephone's band, relative to the voice's, below which not even a telephone's band
was transmitted; speech in measured rooms has -41 dB and more, low-passed at 1.5 kHz it has -56 dB and less."""


class Activity(NamedTuple):
    """Where a recording holds speech, and how far it stands out."""

    active: NDArray[np.bool_]  # of each frame, short gaps included
    snr: float  # dB, estimated
    muted: NDArray[np.bool_]  # frames of digital silence

    @property
    def seconds(self) -> float:
        """Seconds of speech."""
        return float(self.active.sum()) * FRAME_SECONDS

    def seconds_in(self, parts: list[slice], sample_rate: int) -> float:
        """Return the seconds of speech in parts of the recording, in samples."""
        length = max(round(FRAME_SECONDS * sample_rate), 1)
        return (
            float(sum(self.active[part.start // length : part.stop // length].sum() for part in parts)) * FRAME_SECONDS
        )


def find_speech(waveform: Array, sample_rate: int) -> Activity:
    """Find speech in a waveform (n_times,)."""
    power = frame_powers(waveform, sample_rate)
    loudest = power.max(initial=0.0)
    nothing = np.zeros(len(power), dtype=bool)
    if not loudest > 0:
        return Activity(nothing, LOWEST_SNR, ~nothing)
    levels = 10 * np.log10(np.maximum(power / loudest, 1e-30))
    muted = levels < QUIETEST
    noise, speech = np.quantile(levels[~muted], [NOISE, SPEECH])
    if speech - noise < LEAST_RANGE:
        return Activity(nothing, LOWEST_SNR, muted)
    active = levels > max(min(noise + ABOVE_NOISE, speech), speech - BELOW_SPEECH)
    of_noise = power[~muted & (levels <= noise)].mean()
    above = power[active].mean() / of_noise - 1
    snr = float(np.clip(10 * np.log10(max(above, 1e-30)), LOWEST_SNR, HIGHEST_SNR))
    return Activity(_without_gaps(active, muted, round(GAP / FRAME_SECONDS)), snr, muted)


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


def _without_gaps(active: NDArray[np.bool_], muted: NDArray[np.bool_], longest: int) -> NDArray[np.bool_]:
    """Fill gaps of at most so many frames, unless the sound is muted there."""
    filled = active.copy()
    for before, after in pairwise(np.flatnonzero(active)):
        if after - before - 1 <= longest and not muted[before:after].any():
            filled[before:after] = True
    return filled


def stretches(activity: Activity, n_times: int, sample_rate: int, shortest: int = 1) -> list[slice]:
    """Return the parts of a recording to use, in samples: speech and the decay after it; long pauses are left out.

    A part ends where the sound is muted: what ends there is no decay. None is shorter than `shortest` unless the
    recording, or the sound up to there, is.
    """
    length = max(round(FRAME_SECONDS * sample_rate), 1)
    found: list[slice] = []
    for first, stop in _runs(~activity.muted):
        low, high = first * length, n_times if stop == len(activity.muted) else stop * length
        parts: list[slice] = []
        for begin_frame, end_frame in _runs(activity.active[first:stop]):
            begin = max((first + begin_frame) * length - round(HEAD * sample_rate), low)
            end = min(max((first + end_frame) * length + round(TAIL * sample_rate), begin + shortest), high)
            begin = max(min(begin, end - shortest), low)
            if parts and begin <= parts[-1].stop:
                parts[-1] = slice(parts[-1].start, end)
            else:
                parts.append(slice(begin, end))
        found += parts
    return found


def _runs(frames: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the first frame of each run of True, and the one after its last."""
    at = np.flatnonzero(np.diff(np.concatenate([[0], frames.astype(np.int8), [0]])))
    return [(int(first), int(stop)) for first, stop in zip(at[::2], at[1::2], strict=True)]


def is_narrow_band(waveform: Array, sample_rate: int) -> bool:
    """Return whether nothing lies above the band of a telephone, or not even that band is filled."""
    if sample_rate < 2.5 * TELEPHONE_EDGE:  # it allows no more
        return False
    size = min(2048, len(waveform))
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    frames = frames[:: max(len(frames) // 256, 1)] * np.hanning(size)
    power = np.mean(np.abs(np.fft.rfft(frames, axis=1)) ** 2, axis=0)
    frequencies = np.fft.rfftfreq(size, 1 / sample_rate)
    voice, low = (_mean_within(power, frequencies, band) for band in (VOICE_BAND, TELEPHONE_BAND))
    high = np.median(power[(frequencies > 1.1 * TELEPHONE_EDGE) & (frequencies < 0.45 * sample_rate)])
    return bool(high < low * 10 ** (NOTHING / 10) or low < voice * 10 ** (NARROWER / 10))


def _mean_within(power: Array, frequencies: Array, band: tuple[float, float]) -> float:
    return float(power[(frequencies > band[0]) & (frequencies < band[1])].mean())


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
    return bool(-slope[0] * end > LEAST_FALL and residual.std() < 6)
