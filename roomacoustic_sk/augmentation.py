"""Steps that vary impulse responses and clips, each an object with a range for every quantity that it draws.

A step is called with a waveform, its sampling rate and a generator, and returns a new waveform; it keeps nothing. Steps
on responses run before training, in `datasets.augment_responses`, which computes their labels anew. Steps on clips run
whenever a clip is read, in `datasets.augment_clips`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

from roomacoustic_sk._decay import crossing, cut_at_onset, decay_time, integrate, octave_band
from roomacoustic_sk._ranges import DECAY_RANGES
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_choice,
    check_number,
    check_range,
    describe,
    door,
    is_flat,
)

__all__ = ["AddNoise", "Clip", "Code", "Gain", "LimitBand", "ReshapeDecay", "ScaleDirectSound", "Sometimes"]

Array = NDArray[Any]
Range = tuple[float, float]
Step = Callable[[Array, int, np.random.Generator], Array]
"""Returns a varied copy of a 1-D waveform, given its sampling rate and a generator."""

LOWEST_OCTAVE = 125.0
"""Centre in Hz of the lowest octave that is reshaped by itself; it takes everything below with it."""

TRUSTED = 0.8
"""Share of a decay, up to the noise or the end, that is kept; noise with the decay's own slope stands for the rest."""

TAIL_DEPTH = 65.0
"""Decay in dB down to which a reshaped response is continued."""


def _draw_log(rng: np.random.Generator, span: Range) -> float:
    return float(np.exp(rng.uniform(*np.log(span))))


def _ratio(decibels: float) -> float:
    """Return the factor of an amplitude."""
    return float(10 ** (decibels / 20))


# --- Responses ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ScaleDirectSound:
    """Raise or lower the direct sound, as a talker nearer to or farther from the microphone does.

    Parameters
    ----------
    gain : (float, float), default=(-6.0, 20.0)
        Range from which the gain of the direct sound is drawn [dB].
    window : float, default=0.0025
        The direct sound is what lies within this time of its onset [s]; the gain fades to 0 dB in its last quarter.

    Notes
    -----
    Bryan, "Impulse response data augmentation and deep neural networks for blind room acoustic parameter estimation",
    ICASSP 2020, section 3.1.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.augmentation import ScaleDirectSound
    >>> response = np.zeros(1000)
    >>> response[[100, 400]] = 1.0, 0.1
    >>> louder = ScaleDirectSound(gain=(20.0, 20.0))(response, 16000, np.random.default_rng(0))
    >>> louder[[100, 400]].round(3).tolist()
    [10.0, 0.1]
    """

    gain: Range = (-6.0, 20.0)
    window: float = 0.0025

    @door
    def __post_init__(self) -> None:
        check_range(self.gain, name="gain", unit="dB", low=-100, high=100)
        check_number(
            self.window, name="window", unit="s", low=0, low_open=True, high=0.05, fix="50 ms is no longer direct."
        )

    def __call__(self, response: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the response with another level of the direct sound."""
        factor = _ratio(rng.uniform(*self.gain))
        seconds = np.abs(np.arange(len(response)) - _onset(response, sample_rate)) / sample_rate
        share = np.clip(4 * (1 - seconds / self.window), 0, 1)
        return response * (1 + (factor - 1) * np.sin(share * np.pi / 2) ** 2)


@dataclass(frozen=True)
class ReshapeDecay:
    """Make a response decay faster or more slowly, in octave bands, down to silence.

    Parameters
    ----------
    ratio : (float, float), default=(0.5, 2.0)
        Range of the factor of all decay times, drawn on a logarithmic scale.
    tilt : (float, float), default=(-0.15, 0.15)
        Range of a further factor for each octave above 1 kHz (and its inverse below), as an exponent of 2.
    longest : float, default=10.0
        Longest response [s].

    Notes
    -----
    Each octave is multiplied by an exponential (Bryan 2020, section 3.2). The last part of its decay, where noise or
    the end of the response is near, is replaced by Gaussian noise that continues the decay to -65 dB, so that a longer
    decay raises no noise and a shorter one leaves none. A response without any decay is returned as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import reverberation_time
    >>> from roomacoustic_sk.augmentation import ReshapeDecay
    >>> rng = np.random.default_rng(0)
    >>> response = rng.standard_normal(16000) * 10 ** (-3 * np.arange(16000) / 16000 / 0.5)
    >>> longer = ReshapeDecay(ratio=(2.0, 2.0), tilt=(0.0, 0.0))(response, 16000, rng)
    >>> round(float(reverberation_time(longer, 16000)), 1)
    1.0
    """

    ratio: Range = (0.5, 2.0)
    tilt: Range = (-0.15, 0.15)
    longest: float = 10.0

    @door
    def __post_init__(self) -> None:
        check_range(self.ratio, name="ratio", low=0.05, high=20)
        check_range(self.tilt, name="tilt", low=-1, high=1)
        check_number(self.longest, name="longest", unit="s", low=0, low_open=True, high=100)

    def __call__(self, response: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the response with other decay times."""
        ratio, tilt = _draw_log(rng, self.ratio), rng.uniform(*self.tilt)
        centres = octave_centres(sample_rate)
        times, ends = _decays(response, sample_rate, centres)
        known = np.flatnonzero(np.isfinite(times))
        if not len(known):
            return response
        nearest = known[np.abs(known[:, None] - np.arange(len(times))).argmin(axis=0)]
        times, ends = times[nearest], ends[nearest]
        wanted = times * ratio * 2 ** (tilt * np.log2(np.divide(centres, 1000)))
        onset = _onset(response, sample_rate)
        n_times = onset + int(min(self.longest, TAIL_DEPTH / 60 * wanted.max()) * sample_rate)
        noise = rng.standard_normal(n_times)
        reshaped = np.zeros(n_times)
        bands, tails = split_octaves(response, sample_rate), split_octaves(noise, sample_rate)
        for band, tail, time, end, new_time in zip(bands, tails, times, ends, wanted, strict=True):
            seconds = (np.arange(n_times) - onset) / sample_rate
            continued = _continued(band, tail, time, onset + round(end * sample_rate), seconds, sample_rate)
            reshaped += continued * 10 ** (-3 * np.maximum(seconds, 0) * (1 / new_time - 1 / time))
        return reshaped.astype(response.dtype)


def octave_centres(sample_rate: int) -> list[float]:
    """Return the centres in Hz of the octaves that lie below half of the sampling rate."""
    return [centre for centre in LOWEST_OCTAVE * 2.0 ** np.arange(12) if centre * 2**0.5 < sample_rate / 2]


def _decays(response: Array, sample_rate: int, centres: Sequence[float]) -> tuple[Array, Array]:
    """Return T20 in each octave, NaN where there is none, and when the decay meets the noise or the end, in s."""
    onward = cut_at_onset(response, sample_rate)
    decays = [integrate(onward, octave_band(centre, sample_rate), sample_rate, "lundeby") for centre in centres]
    times = np.array([decay_time(decay, *DECAY_RANGES["T20"]) for decay in decays])
    ends = np.fmin([crossing(decay) for decay in decays], len(onward))
    return times / sample_rate, ends / sample_rate


def split_octaves(waveform: Array, sample_rate: int) -> list[Array]:
    """Split a waveform into octaves that sum to it, without a delay; neighbours overlap on a logarithmic scale."""
    spectrum = np.fft.rfft(waveform, 2 * len(waveform))
    frequencies = np.fft.rfftfreq(2 * len(waveform), 1 / sample_rate)
    centres = octave_centres(sample_rate)
    octave = np.clip(np.log2(np.maximum(frequencies, 1e-3) / LOWEST_OCTAVE), 0, len(centres) - 1)
    weights = [np.clip(1 - np.abs(octave - i), 0, 1) for i in range(len(centres))]
    return [np.fft.irfft(spectrum * weight)[: len(waveform)] for weight in weights]


def _onset(response: Array, sample_rate: int) -> int:
    to_the_last_sound = np.trim_zeros(response, "b")
    return len(to_the_last_sound) - len(cut_at_onset(to_the_last_sound, sample_rate))


def _continued(band: Array, tail: Array, time: float, end: int, seconds: Array, sample_rate: int) -> Array:
    """Replace a band's decay near its end, and behind, by noise of the same decay; `tail` is noise of that band."""
    onset = int(np.argmax(seconds >= 0))
    kept = onset + int(TRUSTED * (min(end, len(band)) - onset))
    middle = np.arange(onset + (kept - onset) // 2, kept)
    of_decay = np.sum(10 ** (-6 * (middle - onset) / sample_rate / time))
    power = np.sum(np.square(band[middle])) / max(of_decay, 1e-300)  # that the decay has at its onset
    noise = tail / tail.std() * np.sqrt(power) * 10 ** (-3 * np.maximum(seconds, 0) / time)
    n_fade = max((kept - onset) // 10, 1)
    share = np.clip((kept - np.arange(len(seconds))) / n_fade, 0, 1)  # of the response itself
    padded = np.zeros(len(seconds))
    padded[: min(len(band), len(seconds))] = band[: len(seconds)]
    return padded * np.sin(share * np.pi / 2) + noise * np.cos(share * np.pi / 2)  # of equal power in sum


# --- Clips --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AddNoise:
    """Add noise, of recordings or artificial, at a drawn signal-to-noise ratio.

    Parameters
    ----------
    snr : (float, float), default=(0.0, 40.0)
        Range of the ratio of the mean powers of clip and noise [dB].
    recordings : sequence of 1-D arrays, default=()
        Recordings of noise at the clips' sampling rate, of which an excerpt is drawn; shorter ones are repeated. If
        there are none, the noise is Gaussian.
    colour : (float, float), default=(0.0, 2.0)
        Range of the exponent by which the power of Gaussian noise falls with frequency: 0 white, 1 pink, 2 brown.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.augmentation import AddNoise
    >>> clip = np.sin(np.arange(16000) / 10)
    >>> noisy = AddNoise(snr=(20.0, 20.0))(clip, 16000, np.random.default_rng(0))
    >>> round(float(10 * np.log10(np.mean(clip**2) / np.mean((noisy - clip) ** 2))), 3)
    20.0
    """

    snr: Range = (0.0, 40.0)
    recordings: Sequence[Array] = field(default=(), repr=False)
    colour: Range = (0.0, 2.0)

    @door
    def __post_init__(self) -> None:
        check_range(self.snr, name="snr", unit="dB", low=-100, high=200)
        check_range(self.colour, name="colour", low=-4, high=4)
        for i, recording in enumerate(self.recordings):
            one = np.asarray(recording)
            if one.ndim != 1 or one.dtype.kind != "f" or not len(one) or not np.isfinite(one).all() or not np.ptp(one):
                raise ArgumentValueError(
                    f"recordings must be 1-D arrays of finite floating-point samples that are not constant, got "
                    f"{describe(recording)} as recording {i}."
                )

    def __call__(self, clip: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the clip with noise."""
        snr, colour = rng.uniform(*self.snr), rng.uniform(*self.colour)
        noise = self._excerpt(len(clip), rng) if len(self.recordings) else _coloured(len(clip), colour, rng)
        power, of_noise = np.mean(np.square(clip, dtype=np.float64)), np.mean(np.square(noise, dtype=np.float64))
        if not of_noise > 0:  # an excerpt of digital silence
            return clip
        return clip + noise * np.sqrt(power / of_noise) * _ratio(-snr)

    def _excerpt(self, n_times: int, rng: np.random.Generator) -> Array:
        recording = np.asarray(self.recordings[int(rng.integers(len(self.recordings)))])
        start = int(rng.integers(max(len(recording) - n_times, 0) + 1))
        return np.resize(recording[start : start + n_times], n_times)


def _coloured(n_times: int, exponent: float, rng: np.random.Generator) -> Array:
    """Return Gaussian noise whose power falls with the frequency, above 1/1000 of the sampling rate."""
    spectrum = np.fft.rfft(rng.standard_normal(n_times))
    frequencies = np.maximum(np.fft.rfftfreq(n_times), 1e-3)
    return np.fft.irfft(spectrum * frequencies ** (-exponent / 2), n_times)


@dataclass(frozen=True)
class Gain:
    """Change the level.

    Parameters
    ----------
    gain : (float, float), default=(-30.0, 10.0)
        Range of the gain [dB].

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.augmentation import Gain
    >>> Gain(gain=(-20.0, -20.0))(np.ones(2), 16000, np.random.default_rng(0)).round(3).tolist()
    [0.1, 0.1]
    """

    gain: Range = (-30.0, 10.0)

    @door
    def __post_init__(self) -> None:
        check_range(self.gain, name="gain", unit="dB", low=-200, high=200)

    def __call__(self, clip: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the clip at another level."""
        return clip * _ratio(rng.uniform(*self.gain))


@dataclass(frozen=True)
class LimitBand:
    """Limit the frequency range, as microphones, telephones and codecs do.

    Parameters
    ----------
    low, high : (float, float), default=(20.0, 300.0) and (3000.0, 20000.0)
        Ranges of the lower and of the upper cut-off frequency, drawn on a logarithmic scale [Hz]. An upper one above
        0.49 of the sampling rate changes nothing there.

    Notes
    -----
    A Butterworth filter of fourth order; it runs forwards, as that of a device does.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.augmentation import LimitBand
    >>> clip = np.sin(2 * np.pi * 6000 * np.arange(16000) / 16000)
    >>> telephone = LimitBand(low=(300.0, 300.0), high=(3400.0, 3400.0))
    >>> bool(np.std(telephone(clip, 16000, np.random.default_rng(0))) < 0.05)
    True
    """

    low: Range = (20.0, 300.0)
    high: Range = (3000.0, 20000.0)

    @door
    def __post_init__(self) -> None:
        for name in ("low", "high"):
            check_range(getattr(self, name), name=name, unit="Hz", low=0, low_open=True, high=200_000)
        if self.low[1] >= self.high[0]:
            raise ArgumentValueError(f"low must lie below high = {self.high} Hz, got {self.low} Hz.")

    def __call__(self, clip: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the filtered clip."""
        low, high = _draw_log(rng, self.low), _draw_log(rng, self.high)
        if low >= 0.49 * sample_rate:
            raise ArgumentValueError(
                f"low must lie below half of the sampling rate of {sample_rate} Hz, got {low:g} Hz."
            )
        cut_offs, kind = ([low, high], "bandpass") if high < 0.49 * sample_rate else (low, "highpass")
        return sosfilt(butter(4, cut_offs, kind, fs=sample_rate, output="sos"), clip)


@dataclass(frozen=True)
class Clip:
    """Clip the highest peaks, as a recorder that is set too high does.

    Parameters
    ----------
    depth : (float, float), default=(0.0, 12.0)
        Range of how far below the peak the clip is cut [dB].

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.augmentation import Clip
    >>> Clip(depth=(20.0, 20.0))(np.array([1.0, 0.05]), 16000, np.random.default_rng(0)).round(3).tolist()
    [0.1, 0.05]
    """

    depth: Range = (0.0, 12.0)

    @door
    def __post_init__(self) -> None:
        check_range(self.depth, name="depth", unit="dB", low=0, high=100)

    def __call__(self, clip: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the clipped clip."""
        limit = np.abs(clip).max() * _ratio(-rng.uniform(*self.depth))
        return np.clip(clip, -limit, limit)


CODECS: dict[str, tuple[str, str]] = {
    "mp3": ("MP3", "MPEG_LAYER_III"),
    "vorbis": ("OGG", "VORBIS"),
    "opus": ("OGG", "OPUS"),
    "gsm": ("WAV", "GSM610"),
    "ulaw": ("WAV", "ULAW"),
    "adpcm": ("WAV", "IMA_ADPCM"),
}
"""Containers and codings of libsndfile by name."""

CODEC_RATES: dict[str, tuple[int, ...]] = {
    "mp3": (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000),
    "opus": (8000, 12000, 16000, 24000, 48000),
}
"""Sampling rates of the codecs that do not have all of them."""


@dataclass(frozen=True)
class Code:
    """Encode and decode, by one of several codecs.

    Parameters
    ----------
    codecs : sequence of {"mp3", "vorbis", "opus", "gsm", "ulaw", "adpcm"}, default=("mp3", "vorbis", "opus")
        Codecs of which one is drawn.
    compression : (float, float), default=(0.3, 1.0)
        Range of the compression of "mp3", "vorbis" and "opus", from 0 (best quality) to 1.

    Notes
    -----
    libsndfile codes, through soundfile. A clip at a rate that a codec does not have is left as it is.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.augmentation import Code
    >>> clip = 0.5 * np.sin(np.arange(16000) / 10)
    >>> coded = Code(codecs=("ulaw",))(clip, 16000, np.random.default_rng(0))
    >>> bool(0 < np.abs(coded - clip).max() < 0.02)
    True
    """

    codecs: Sequence[str] = ("mp3", "vorbis", "opus")
    compression: Range = (0.3, 1.0)

    @door
    def __post_init__(self) -> None:
        if not is_flat(self.codecs) or not len(self.codecs):
            raise ArgumentTypeError(f"codecs must be a sequence of names, got {describe(self.codecs)}.")
        for codec in self.codecs:
            check_choice(codec, tuple(CODECS), name="codecs")
        check_range(self.compression, name="compression", low=0, high=1)

    def __call__(self, clip: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the decoded clip, as long as it was."""
        import soundfile

        codec, compression = self.codecs[int(rng.integers(len(self.codecs)))], rng.uniform(*self.compression)
        if codec in CODEC_RATES and sample_rate not in CODEC_RATES[codec]:
            return clip
        container, coding = CODECS[codec]
        peak = float(np.abs(clip).max())
        scale = min(1.0, 0.99 / peak) if peak > 0 else 1.0  # what is beyond full scale would be clipped
        file = io.BytesIO()
        options = {"compression_level": compression} if codec in ("mp3", "vorbis", "opus") else {}
        soundfile.write(file, clip * scale, sample_rate, format=container, subtype=coding, **options)
        file.seek(0)
        decoded, _ = soundfile.read(file)
        coded = np.zeros(len(clip))
        coded[: min(len(clip), len(decoded))] = decoded[: len(clip)]
        return coded / scale


@dataclass(frozen=True)
class Sometimes:
    """Take a step for some waveforms only.

    Parameters
    ----------
    step : callable
        A step of this module, or any function of a waveform, its sampling rate and a generator.
    probability : float, default=0.5
        Share of the waveforms for which the step is taken.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.augmentation import Clip, Sometimes
    >>> rng = np.random.default_rng(0)
    >>> step = Sometimes(Clip(depth=(20.0, 20.0)), probability=0.3)
    >>> int(sum(step(np.ones(3), 16000, rng)[0] < 1 for _ in range(1000)))
    289
    """

    step: Step
    probability: float = 0.5

    @door
    def __post_init__(self) -> None:
        check_steps([self.step], name="step")
        check_number(self.probability, name="probability", low=0, high=1)

    def __call__(self, waveform: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the waveform, varied or not."""
        return self.step(waveform, sample_rate, rng) if rng.random() < self.probability else waveform


def check_steps(steps: Any, *, name: str = "steps") -> tuple[Step, ...]:
    """Return one step or several as a tuple, or raise."""
    listed = tuple(steps) if isinstance(steps, (list, tuple)) else (steps,)
    for step in listed:
        if not callable(step) or isinstance(step, type):
            raise ArgumentTypeError(
                f"{name} must be functions of (waveform, sample_rate, rng), such as the objects of "
                f"roomacoustic_sk.augmentation, got {describe(step)}."
            )
    if not listed:
        raise ArgumentValueError(f"{name} must have at least one step, got none.")
    return listed


def apply_steps(
    steps: Sequence[Step], waveform: Array, sample_rate: int, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Return a waveform after all steps, in float32, or raise if one of them does not return such a waveform."""
    for step in steps:
        varied = np.asarray(step(waveform, sample_rate, rng))
        if varied.ndim != 1 or varied.dtype.kind != "f" or not np.isfinite(varied).all():
            raise ArgumentValueError(
                f"steps must return a 1-D array of finite floating-point samples, got {describe(varied)} from {step!r}."
            )
        waveform = varied
    return waveform.astype(np.float32)
