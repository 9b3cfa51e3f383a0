"""Steps that vary impulse responses and clips, each an object with a range for every quantity that it draws.

A step is called with a waveform, its sampling rate and a generator, and returns a new waveform; it keeps nothing. Steps
on responses run before training, in `datasets.augment_responses`, which computes their labels anew. Steps on clips run
whenever a clip is read, in `datasets.augment_clips`.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._decay import crossing, cut_at_onset, decay_time, integrate, octave_band
from roomacoustic_sk._ranges import DECAY_RANGES
from roomacoustic_sk._sound import has_sound
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    as_list,
    check_choice,
    check_number,
    check_range,
    check_unmasked,
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

DIRECT = 0.005
"""Time in s from the onset that belongs to the direct sound, which is not reshaped."""

TINY = 1e-300

LOUDEST = 1e15
"""Peak above which the power of a recording is no number worth having."""

MAX_DRAWS = 100
"""Number of excerpts of noise drawn until one is not silent."""

EARLY = 0.05
"""Time in s that a reshaped response lasts at least, in silence if need be, so that its clarity can be told."""

TRUSTED = 0.8
"""Share of a decay, up to the noise or the end, that is kept; noise with the decay's own slope stands for the rest."""

LOWEST_LEVEL = -200.0
"""Level in dB at which the line of a decay ends: the powers of a short decay in a long response would be no numbers."""

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
    As in Bryan (2020, section 3.2), but each octave follows its own decay curve, stretched in time behind the direct
    sound, in place of one exponential: a curve that bends keeps its shape, and nothing ever rises. The last part of a
    decay, where noise or the end of the response is near, is replaced by Gaussian noise that continues the decay to
    -65 dB, so that a longer decay raises no noise and a shorter one leaves none. A response without any decay is
    returned as it is.

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
        centres, onset = octave_centres(sample_rate), _onset(response, sample_rate)
        decays = _octave_decays(response[onset:], sample_rate, centres)
        if not decays:
            return response
        ratios = ratio * 2 ** (tilt * np.log2(np.divide(centres, 1000)))
        lengths = [decay.duration(one) for decay, one in zip(decays, ratios, strict=True)]
        n_times = onset + int(min(self.longest * sample_rate, max(lengths)))
        n_times = max(n_times, int(EARLY * sample_rate) + 1)
        tails = split_octaves(rng.standard_normal(n_times), sample_rate)
        reshaped = np.zeros(n_times)
        for band, tail, decay, one in zip(split_octaves(response, sample_rate), tails, decays, ratios, strict=True):
            reshaped[:onset] += band[:onset]
            reshaped[onset:] += decay.reshaped(band[onset:], tail[onset:], one)
        return reshaped.astype(response.dtype)


def octave_centres(sample_rate: int) -> list[float]:
    """Return the centres in Hz of the octaves that lie below half of the sampling rate."""
    return [centre for centre in LOWEST_OCTAVE * 2.0 ** np.arange(12) if centre * 2**0.5 < sample_rate / 2]


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


class _OctaveDecay(NamedTuple):
    """The decay curve of an octave, from the onset on; it never rises. Behind what is known, a line continues it."""

    levels: Array  # dB re the beginning, as far as the decay is trusted
    slope: float  # dB a sample, of the line behind
    direct: int  # samples at the beginning that are left as they are

    def level(self, times: Array) -> Array:
        """Return the level in dB at times in samples."""
        last = len(self.levels) - 1
        known = np.interp(times, np.arange(len(self.levels)), self.levels)
        return np.maximum(known + self.slope * np.maximum(times - last, 0), LOWEST_LEVEL)

    def duration(self, ratio: float) -> float:
        """Return how many samples it takes to decay by `TAIL_DEPTH`, that many times more slowly."""
        left = max(TAIL_DEPTH + self.levels[-1], 0) / -self.slope
        return self.direct + ratio * (len(self.levels) + left)

    def reshaped(self, band: Array, tail: Array, ratio: float) -> Array:
        """Return a band that decays by `ratio` more slowly; `tail` is noise of the band, as long as the result."""
        times, n_known = np.arange(len(tail)), min(len(self.levels), len(band))
        level = self.level(times)
        of_band, of_curve = np.square(band[self.direct : n_known]), 10 ** (level / 10)
        lost = of_curve[min(self.direct, len(tail) - 1)] - of_curve[min(n_known, len(tail) - 1)]
        energy = of_band.sum() / max(lost, TINY)  # that the curve's beginning stands for
        noise = tail / tail.std() * np.sqrt(energy * of_curve * -self.slope * np.log(10) / 10)
        share = np.clip((n_known - times) / max(n_known // 10, 1), 0, 1)  # of the band itself
        padded = np.zeros(len(tail))
        padded[: min(len(band), len(tail))] = band[: len(tail)]
        continued = padded * np.sin(share * np.pi / 2) + noise * np.cos(share * np.pi / 2)  # of equal power in sum
        slower = self.level(self.direct + np.maximum(times - self.direct, 0) / ratio)
        return continued * np.where(times > self.direct, 10 ** ((slower - level) / 20), 1)


def _octave_decays(onward: Array, sample_rate: int, centres: Sequence[float]) -> list[_OctaveDecay]:
    """Return the decay of each octave, that of the nearest one where an octave has none; nothing if none has."""
    onward = cut_at_onset(onward, sample_rate)
    direct = int(DIRECT * sample_rate)
    found: dict[int, _OctaveDecay] = {}
    for i, centre in enumerate(centres):
        decay = integrate(onward, octave_band(centre, sample_rate), sample_rate, "lundeby")
        if not np.isfinite(decay_time(decay, *DECAY_RANGES["T20"])):
            continue
        end = min(len(decay.energy), np.fmin(crossing(decay), len(onward)))
        n_known = int(TRUSTED * end)
        if n_known < 4 * direct:
            continue
        energy = np.maximum(decay.energy[:n_known], TINY)
        levels = np.minimum.accumulate(10 * np.log10(energy / energy[0]))
        slope = (levels[-1] - levels[n_known // 2]) / (n_known - 1 - n_known // 2)
        if slope < 0:
            found[i] = _OctaveDecay(levels, float(slope), direct)
    return [found[min((abs(i - known), known) for known in found)[1]] for i in range(len(centres))] if found else []


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
        listed = as_list(self.recordings, name="recordings", expected="a sequence of arrays")
        object.__setattr__(self, "recordings", tuple(listed))  # of a generator, too
        for i, recording in enumerate(listed):
            one = np.asarray(check_unmasked(recording, name="recordings"))
            is_noise = one.ndim == 1 and one.dtype.kind == "f" and len(one) and np.isfinite(one).all()
            if not is_noise or not has_sound(one.min(), one.max()) or np.abs(one).max() > LOUDEST:
                raise ArgumentValueError(
                    f"recordings must be 1-D arrays of finite floating-point samples that are not constant, got "
                    f"{describe(recording)} as recording {i}."
                )

    def __call__(self, clip: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the clip with noise."""
        snr, colour = rng.uniform(*self.snr), rng.uniform(*self.colour)
        noise = self._excerpt(len(clip), rng) if len(self.recordings) else _coloured(len(clip), colour, rng)
        power, of_noise = np.mean(np.square(clip, dtype=np.float64)), np.mean(np.square(noise, dtype=np.float64))
        if not of_noise > 0:
            raise ArgumentValueError(f"recordings must have sound everywhere, got silence in all of {MAX_DRAWS} draws.")
        return clip + noise * np.sqrt(power / of_noise) * _ratio(-snr)

    def _excerpt(self, n_times: int, rng: np.random.Generator) -> Array:
        excerpt = np.zeros(n_times)
        for _ in range(MAX_DRAWS):  # until it is no digital silence
            recording = np.asarray(self.recordings[int(rng.integers(len(self.recordings)))], dtype=np.float64)
            start = int(rng.integers(max(len(recording) - n_times, 0) + 1))
            excerpt = np.resize(recording[start : start + n_times], n_times)
            if has_sound(excerpt.min(), excerpt.max()):
                break
        return excerpt


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
            check_range(getattr(self, name), name=name, unit="Hz", low=1 if name == "low" else 100, high=200_000)
        if self.low[1] >= self.high[0]:
            raise ArgumentValueError(f"low must lie below high = {self.high} Hz, got {self.low} Hz.")

    def __call__(self, clip: Array, sample_rate: int, rng: np.random.Generator) -> Array:
        """Return the filtered clip."""
        from scipy.signal import butter, sosfilt  # takes a second

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
