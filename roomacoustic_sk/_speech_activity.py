"""Where speech is in a recording, and how much can be heard of the room in it: a rule on the level of short frames.

A frame is active if its level lies within a range below the loudest frames and clearly above the quietest ones. The
decay after a word carries the reverberation time, so active frames and the two seconds after them are used; longer
pauses hold nothing but noise. Levels are those of the variance within a frame, which an offset or slow rumble does not
raise. All durations are in seconds: the rule is the same at every sampling rate.
"""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

FRAME = 0.02
"""Length of a frame, in s."""

AFTER_SPEECH = 2.0
"""Time after active frames that is used as well, in s: the decay."""

LOUD_SHARE, LOUD_FRAMES = 0.05, 25
"""The level of speech is that which this share of the frames reach, or this many (0.5 s) in long recordings."""

QUIET_SHARE = 0.1
"""The level of noise is that which this share of the frames stay below."""

SPEECH_RANGE = 30.0
"""Frames are active down to this many dB below the level of speech ..."""

ABOVE_NOISE = 6.0
"""... and above the level of noise by this many dB, or half the distance of both levels if that is less."""

SHORTEST_RUN = 3
"""Fewer active frames in a row are a click."""

DIGITAL_SILENCE = 1e-10
"""Power, relative to the loudest frames, up to which a frame is no sound of the room and tells nothing of its noise."""

SNR_RANGE = (-10.0, 60.0)
"""Range of estimated signal-to-noise ratios, in dB."""

SMALLEST_CONTRAST = 5.0
"""Distance of the two levels, in dB, below which the level is as steady as that of noise or a hum: no speech."""

SHORTEST_SPEECH = 1.0
"""Seconds of speech from which on estimates are given."""

LOWEST_SNR = 0.0
"""Signal-to-noise ratio from which on estimates are given, in dB."""

NOTHING = 1e-3
"""Seconds that stand for no speech in the logarithm."""

SPOKEN_BAND, UPPER_BAND = (300.0, 3400.0), (4000.0, 7500.0)
"""Frequencies that a telephone transmits, and above its limit, in Hz."""

NARROW = -45.0
"""Power per Hz in the upper band relative to the spoken one, in dB, below which a recording is that of a telephone."""

FALL, RETURN, RISE = 20.0, 15.0, 6.0
"""Decay of a response, in dB: it falls this far, does not return to this level below its peak, nor rise on its way."""

BEFORE_PEAK = 0.05
"""Largest share of a response's energy that comes before its loudest frame."""

BLOCK = 1 << 20
"""Samples whose spectrum is computed at once."""


def frame_powers(waveform: NDArray[np.floating], sample_rate: int) -> NDArray[np.float64]:
    """Return the variance within each frame of a waveform (n_times,); a remainder is left out."""
    size = frame_length(sample_rate)
    if len(waveform) < size:
        return np.array([np.var(waveform, dtype=np.float64)]) if len(waveform) else np.empty(0)
    frames = waveform[: len(waveform) // size * size].reshape(-1, size)
    return frames.var(axis=1, dtype=np.float64)


def frame_length(sample_rate: int) -> int:
    """Return the number of samples in a frame."""
    return max(round(FRAME * sample_rate), 1)


class Levels(NamedTuple):
    """Powers of speech and of noise in a recording."""

    speech: float
    noise: float

    @classmethod
    def of(cls, powers: NDArray[np.float64]) -> Self:
        """Return the levels of a recording from its `frame_powers`; zeros if it has no sound."""
        if not len(powers) or not powers.max() > 0:
            return cls(0.0, 0.0)
        descending = np.sort(powers)[::-1]
        n_loud = int(np.clip(np.ceil(LOUD_SHARE * len(powers)), 1, LOUD_FRAMES))
        speech = float(descending[n_loud - 1])
        speech = speech if speech > 0 else float(descending[0])
        heard = powers[powers > DIGITAL_SILENCE * speech]
        return cls(speech, max(float(np.quantile(heard, QUIET_SHARE)), speech * 10 ** (-SNR_RANGE[1] / 10)))

    @property
    def contrast(self) -> float:
        """Distance of both levels in dB."""
        return float(10 * np.log10(self.speech / self.noise)) if self.noise > 0 else 0.0

    def active(self, powers: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which frames are speech."""
        if self.contrast < SMALLEST_CONTRAST:
            return np.zeros(len(powers), dtype=bool)
        above_noise = self.noise * 10 ** (min(ABOVE_NOISE, self.contrast / 2) / 10)
        return _without_clicks(powers > max(self.speech * 10 ** (-SPEECH_RANGE / 10), above_noise))


def _without_clicks(active: NDArray[np.bool_]) -> NDArray[np.bool_]:
    kept = np.zeros(len(active), dtype=bool)
    for start, stop in runs(active):
        kept[start:stop] = stop - start >= SHORTEST_RUN
    return kept


def runs(flags: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return start and stop of each run of True."""
    changes = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return [(int(start), int(stop)) for start, stop in changes.reshape(-1, 2)]


class Activity(NamedTuple):
    """Speech in some frames of a recording."""

    active: NDArray[np.bool_]  # (n_frames,)
    powers: NDArray[np.float64]  # (n_frames,)
    levels: Levels  # of the whole recording

    @classmethod
    def of(cls, powers: NDArray[np.float64], levels: Levels | None = None) -> Self:
        """Return the activity in frames; the levels are those of the frames themselves unless given."""
        levels = Levels.of(powers) if levels is None else levels
        return cls(levels.active(powers), powers, levels)

    @property
    def seconds(self) -> float:
        """Seconds of speech."""
        return float(FRAME * np.count_nonzero(self.active))

    @property
    def snr(self) -> float:
        """Mean power of speech in active frames relative to that of noise, in dB, within `SNR_RANGE`."""
        if not self.active.any():
            return SNR_RANGE[0]
        speech = max(float(self.powers[self.active].mean()) - self.levels.noise, 0.0)
        ratio = speech / self.levels.noise
        return float(np.clip(10 * np.log10(ratio), *SNR_RANGE)) if ratio > 0 else SNR_RANGE[0]

    @property
    def quality(self) -> tuple[float, float]:
        """Logarithm of the seconds of speech, and the signal-to-noise ratio in dB."""
        return float(np.log(max(self.seconds, NOTHING))), self.snr

    def stretches(self) -> list[tuple[int, int]]:
        """Return first frame and end of each stretch of speech and the time after it."""
        n_after = round(AFTER_SPEECH / FRAME)
        used = np.zeros(len(self.active), dtype=bool)
        for start, stop in runs(self.active):
            used[start : stop + n_after] = True
        return runs(used)


def quality_of(waveform: NDArray[np.floating], sample_rate: int) -> tuple[float, float]:
    """Return the numbers of quality of a waveform (n_times,), see `Activity.quality`."""
    return Activity.of(frame_powers(waveform, sample_rate)).quality


def is_response(powers: NDArray[np.float64]) -> bool:
    """Return whether a recording with these `frame_powers` is one event that decays: an impulse response, or a clap."""
    if not len(powers) or not powers.max() > 0:
        return False
    peak = int(np.argmax(powers))
    if powers[: max(peak - 1, 0)].sum() > BEFORE_PEAK * powers.sum():
        return False
    after = powers[peak:] / powers[peak]
    fallen = np.flatnonzero(after < 10 ** (-FALL / 10))
    if not len(fallen):
        return False
    falling, rest = after[: fallen[0] + 1], after[fallen[0] :]
    rises = falling / np.minimum.accumulate(falling)
    return bool(rises.max() <= 10 ** (RISE / 10) and rest.max() <= 10 ** (-RETURN / 10))


class Spectrum:
    """Power of a recording in the spoken and in the upper band, summed piece by piece."""

    def __init__(self, sample_rate: int) -> None:
        self._size = max(round(0.064 * sample_rate), 16)
        frequencies = np.fft.rfftfreq(self._size, 1 / sample_rate)
        upper = UPPER_BAND[0], min(UPPER_BAND[1], 0.45 * sample_rate)
        self._bands = [(frequencies >= low) & (frequencies <= high) for low, high in (SPOKEN_BAND, upper)]
        self._window = np.hanning(self._size)
        self._powers = np.zeros(2)

    def add(self, waveform: NDArray[np.floating]) -> None:
        """Add a piece."""
        n_frames = len(waveform) // self._size
        at_once = max(BLOCK // self._size, 1)
        frames = waveform[: n_frames * self._size].reshape(-1, self._size)
        for first in range(0, n_frames, at_once):
            block = frames[first : first + at_once]
            power = (np.abs(np.fft.rfft((block - block.mean(axis=1, keepdims=True)) * self._window)) ** 2).sum(axis=0)
            self._powers += [power[band].mean() if band.any() else np.nan for band in self._bands]

    @property
    def is_narrow(self) -> bool:
        """Whether there is nothing above the limit of a telephone, although the sampling rate would allow it."""
        spoken, upper = self._powers
        return bool(spoken > 0 and upper < spoken * 10 ** (NARROW / 10))
