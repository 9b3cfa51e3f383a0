"""Impulse responses as they come out of measurements and editors: decays with noise, and what is done to them later.

Everything is drawn from a generator. `TREATMENTS` maps a name to a function of (response, sample rate, generator), and
`HELD_OUT` has further ones, which played no part when the reading of decays was designed.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import soundfile
from scipy.signal import butter, istft, lfilter, resample_poly, sosfilt, stft

Array = np.ndarray
Generator = np.random.Generator
Treatment = Callable[[Array, int, Generator], Array]

RATES = (8000, 16000, 24000, 44100, 48000)


# --- Responses --------------------------------------------------------------------------------------------------


class Synthetic(NamedTuple):
    """A response made of direct sound, sparse reflections and a decay of its own in each octave."""

    samples: Array
    clean: Array  # the same without noise
    sample_rate: int
    peak_to_noise: float  # dB


def coloured_noise(n_times: int, rng: Generator, exponent: float = 0.0) -> Array:
    """Gaussian noise of unit power whose spectrum falls as 1 / f ** exponent above 20 / n_times of the rate."""
    spectrum = np.fft.rfft(rng.standard_normal(n_times))
    frequencies = np.maximum(np.arange(len(spectrum)), 20)
    samples = np.fft.irfft(spectrum * frequencies ** (-exponent / 2), n_times)
    return samples / samples.std()


def octave_weights(n_times: int, sample_rate: int) -> dict[float, Array]:
    """Weights of the octaves from 63 Hz up over the bins of a spectrum; they sum to 1."""
    centres = [c for c in 62.5 * 2.0 ** np.arange(9) if c < 0.5 * sample_rate]
    octave = np.log2(np.maximum(np.fft.rfftfreq(n_times, 1 / sample_rate), 1) / 62.5)
    octave = np.clip(octave, 0, len(centres) - 1)
    near = {c: np.clip(1 - np.abs(octave - i), 0, 1) for i, c in enumerate(centres)}
    return {c: np.sqrt(weight) for c, weight in near.items()}


def reverberation(times: dict[float, float], n_times: int, sample_rate: int, rng: Generator) -> Array:
    """Gaussian noise that decays in each octave by 60 dB in its own time."""
    spectrum = np.fft.rfft(rng.standard_normal(n_times))
    seconds = np.arange(n_times) / sample_rate
    tail = np.zeros(n_times)
    for centre, weight in octave_weights(n_times, sample_rate).items():
        tail += np.fft.irfft(spectrum * weight, n_times) * 10 ** (-3 * seconds / times[centre])
    return tail


def octave_times(rt: float, rng: Generator) -> dict[float, float]:
    """Reverberation times of the octaves: `rt` at 1 kHz, longer or shorter below, shorter above (air, furniture)."""
    low, high = rng.uniform(-0.15, 0.3), rng.uniform(-0.35, 0.0)
    octaves = np.arange(-4, 5)  # from 1 kHz
    return {1000 * 2.0**i: rt * 2 ** (-low * i if i < 0 else high * i) for i in octaves}


def synthetic(
    rng: Generator, *, rt: float | None = None, peak_to_noise: float | None = None, sample_rate: int | None = None
) -> Synthetic:
    """Draw a response: 0.15 to 6 s, noise 20 to 80 dB below its peak, white to brown."""
    rate = int(rng.choice(RATES, p=(0.25, 0.4, 0.1, 0.15, 0.1))) if sample_rate is None else sample_rate
    rt = float(np.exp(rng.uniform(np.log(0.15), np.log(6.0)))) if rt is None else rt
    peak_to_noise = float(rng.uniform(20, 80)) if peak_to_noise is None else peak_to_noise
    n_times = round((rt * peak_to_noise / 60 * rng.uniform(1.1, 2.5) + 0.15) * rate)
    tail = reverberation(octave_times(rt, rng), n_times, rate, rng)
    delay = round(rng.uniform(0.001, 0.015) * rate)
    clean = np.concatenate([np.zeros(delay), tail])[:n_times]
    energy = np.sqrt((clean**2).sum())
    clean[0] += energy * 10 ** (rng.uniform(-10, 8) / 20)
    for _ in range(rng.integers(3, 15)):
        at = rng.uniform(0.002, 0.06)
        clean[int(at * rate)] += rng.normal() * 0.2 * energy * 10 ** (-3 * at / rt)
    if rng.random() < 0.7:  # a loudspeaker has no DC and no infinite bandwidth
        clean = sosfilt(butter(2, [rng.uniform(30, 120), 0.45 * rate], "bandpass", fs=rate, output="sos"), clean)
    clean *= rng.uniform(0.05, 0.95) / np.abs(clean).max()
    noise = coloured_noise(n_times, rng, float(rng.choice([0.0, 0.0, 1.0, 1.5])))
    return Synthetic(clean + np.abs(clean).max() * 10 ** (-peak_to_noise / 20) * noise, clean, rate, peak_to_noise)


def floor_of(response: Array) -> float:
    """RMS of the quietest of twenty parts of a response."""
    parts = np.array_split(response, 20)
    return float(min(np.sqrt(np.mean(part**2)) for part in parts)) + 1e-12


# --- Fades ------------------------------------------------------------------------------------------------------


def _fade(shape: Callable[[Array, Generator], Array]) -> Treatment:
    """Make a fade-out over the last tenth to six tenths; `shape` gives the gain from the remaining share."""

    def fade(response: Array, sample_rate: int, rng: Generator) -> Array:
        n_fade = max(int(rng.uniform(0.1, 0.6) * len(response)), 2)
        gain = np.ones(len(response))
        gain[-n_fade:] = shape(np.linspace(1, 0, n_fade, endpoint=False), rng)
        return response * gain

    return fade


fade_linear = _fade(lambda left, rng: left)
fade_cosine = _fade(lambda left, rng: np.sin(left * np.pi / 2) ** 2)
fade_exponential = _fade(lambda left, rng: 10 ** (-(1 - left) * rng.uniform(40, 100) / 20))
fade_sqrt = _fade(lambda left, rng: np.sqrt(left))
fade_log = _fade(lambda left, rng: np.log10(1 + 9 * left))
fade_square = _fade(lambda left, rng: left**2)
fade_quarter_sine = _fade(lambda left, rng: np.sin(left * np.pi / 2))
fade_gaussian = _fade(lambda left, rng: np.exp(-0.5 * ((1 - left) * rng.uniform(2, 4)) ** 2))


# --- Gates, expanders, denoising --------------------------------------------------------------------------------


def _envelope(response: Array, sample_rate: int, seconds: float = 0.01) -> Array:
    decay = np.exp(-1 / (seconds * sample_rate))
    return np.sqrt(lfilter([1 - decay], [1, -decay], response**2) + 1e-30)


def _threshold(response: Array, rng: Generator) -> float:
    """Return a level that somebody might choose to silence the noise: at the noise, or above it."""
    return floor_of(response) * 10 ** (rng.uniform(0, 20) / 20)


def gate(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Mute what is below a threshold, with a release of 5 to 100 ms."""
    is_open = _envelope(response, sample_rate) > _threshold(response, rng)
    release = np.exp(-1 / (rng.uniform(0.005, 0.1) * sample_rate))
    released = lfilter([1 - release], [1, -release], is_open.astype(float))
    return response * np.maximum(is_open, released)  # it opens at once


def gated_noise(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Lower everything behind an instant by 6 to 40 dB, as a gate of finite range does."""
    start = int(rng.uniform(0.3, 0.9) * len(response))
    step = np.arange(len(response)) - start
    ramp = np.clip(step / max(rng.uniform(0.001, 0.05) * sample_rate, 1), 0, 1)
    return response * 10 ** (-ramp * rng.uniform(6, 40) / 20)


def expander(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Expand downwards below a threshold, 1.5 to 4 dB for one."""
    excess = np.minimum(_envelope(response, sample_rate) / _threshold(response, rng), 1)
    return response * excess ** (rng.uniform(1.5, 4) - 1)


def spectral_subtraction(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Subtract the spectrum of the last tenth, down to a spectral floor, as denoisers do."""
    size = 512 if sample_rate < 20000 else 1024
    if len(response) < 8 * size:
        return gated_noise(response, sample_rate, rng)
    spectrum = stft(response, nperseg=size)[2]
    power = np.abs(spectrum) ** 2
    noise = power[:, -max(power.shape[1] // 10, 3) :].mean(axis=1, keepdims=True)
    gain = np.sqrt(np.maximum(1 - rng.uniform(1, 3) * noise / (power + 1e-30), 10 ** (-rng.uniform(10, 40) / 10)))
    return istft(spectrum * gain, nperseg=size)[1][: len(response)]


# --- Behind the end ---------------------------------------------------------------------------------------------


def _padding(response: Array, sample_rate: int, rng: Generator) -> int:
    return int(rng.uniform(0.2, 1.5) * len(response))


def _dither(kind: str) -> Treatment:
    def pad(response: Array, sample_rate: int, rng: Generator) -> Array:
        step, n_times = 2.0**-15, _padding(response, sample_rate, rng)
        uniform = rng.uniform(-0.5, 0.5, (2, n_times + 1))
        dither = {"rectangular": uniform[0], "triangular": uniform.sum(0)}.get(kind, uniform[0])
        dither = np.diff(dither) if kind == "shaped" else dither[:-1]
        return np.concatenate([response, step * np.round(dither + rng.uniform(-0.3, 0.3))])

    return pad


def zeros_behind(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Append digital silence."""
    return np.concatenate([response, np.zeros(_padding(response, sample_rate, rng))])


def quieter_noise_behind(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Append noise of another origin, 10 to 50 dB below the noise of the response."""
    level = floor_of(response) * 10 ** (-rng.uniform(10, 50) / 20)
    return np.concatenate([response, level * rng.standard_normal(_padding(response, sample_rate, rng))])


def louder_noise_behind(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Append noise 3 to 25 dB above the noise of the response."""
    level = floor_of(response) * 10 ** (rng.uniform(3, 25) / 20)
    return np.concatenate([response, level * rng.standard_normal(_padding(response, sample_rate, rng))])


def sixteen_bit(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Round to 16 bit at a low level."""
    step = 2.0**-15 / (10 ** (-rng.uniform(0, 30) / 20))
    return np.round(response / step) * step


# --- Other takes ------------------------------------------------------------------------------------------------


def _take(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Another take of the same room: the same envelope, other signs, another level and another cut."""
    take = response * np.sign(rng.standard_normal(len(response)))
    return take[: int(rng.uniform(0.3, 1) * len(take))] * 10 ** (rng.uniform(-12, 3) / 20)


def joined_take(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Join another take, without a gap."""
    kept = response[: int(rng.uniform(0.5, 1) * len(response))]
    return np.concatenate([kept, _take(response, sample_rate, rng)])


def joined_take_with_gap(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Join another take, behind digital silence."""
    gap = np.zeros(int(rng.uniform(0.01, 1.0) * sample_rate))
    return np.concatenate([response, gap, _take(response, sample_rate, rng)])


def joined_to_another_room(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Join the quieter response of another room."""
    other = synthetic(rng, sample_rate=sample_rate, rt=rng.uniform(0.2, 1.5)).samples
    other *= np.abs(response).max() / np.abs(other).max() * 10 ** (-rng.uniform(0, 30) / 20)
    return np.concatenate([response, other])


def looped(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Repeat the whole response two to four times."""
    return np.tile(response, int(rng.integers(2, 5)))


def looped_tail(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Prolong a response by repeating its last part."""
    last = response[-int(rng.uniform(0.05, 0.4) * len(response)) :]
    return np.concatenate([response, np.tile(last, int(rng.integers(1, 6)))])


def several_responses(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Put two to five takes into one file, the given one first."""
    takes = [_take(response, sample_rate, rng) for _ in range(rng.integers(1, 5))]
    return np.concatenate([response, *takes])


# --- Disturbances -----------------------------------------------------------------------------------------------


def dc_step(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Add an offset from an instant on."""
    step = np.zeros(len(response))
    step[int(rng.uniform(0, 0.95) * len(response)) :] = np.abs(response).max() * 10 ** (-rng.uniform(30, 70) / 20)
    return response + step


def hum(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Add mains hum with harmonics, perhaps from an instant on."""
    seconds = np.arange(len(response)) / sample_rate
    mains = float(rng.choice([50, 60]))
    tones = np.zeros(len(response))
    for k in (1, 2, 3, 5):
        tones += np.sin(2 * np.pi * mains * k * seconds + rng.uniform(0, 6)) * rng.uniform(0, 1) / k
    starts = int(rng.uniform(0, 0.8) * len(response)) if rng.random() < 0.5 else 0
    tones[:starts] = 0
    return response + np.abs(response).max() * 10 ** (-rng.uniform(25, 70) / 20) * tones


def clicks(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Add one to four clicks of 1 to 20 samples, 10 to 60 dB below the peak."""
    treated = response.copy()
    for _ in range(rng.integers(1, 5)):
        at, n_click = int(rng.uniform(0.05, 1) * (len(response) - 21)), int(rng.integers(1, 21))
        level = np.abs(response).max() * 10 ** (-rng.uniform(10, 60) / 20)
        treated[at : at + n_click] += level * rng.choice([-1, 1], n_click)
    return treated


def noise_burst(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Add a door, a cough: a burst of noise 10 to 25 dB above the noise, of 50 to 500 ms."""
    n_burst = min(int(rng.uniform(0.05, 0.5) * sample_rate), len(response) // 2)
    at = int(rng.uniform(0.1, 1) * (len(response) - n_burst))
    treated = response.copy()
    burst = np.hanning(n_burst) * coloured_noise(n_burst, rng, 1.0)
    treated[at : at + n_burst] += floor_of(response) * 10 ** (rng.uniform(10, 25) / 20) * burst
    return treated


def slowly_rising_noise(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Add noise whose level moves by 5 to 20 dB up or down over the response (traffic)."""
    drift = np.linspace(0, rng.uniform(5, 20), len(response))
    drift = drift[::-1] if rng.random() < 0.5 else drift
    return response + floor_of(response) * 10 ** (drift / 20) * coloured_noise(len(response), rng, 0.5)


# --- The measurement --------------------------------------------------------------------------------------------


def early_cut(response: Array, sample_rate: int, rng: Generator) -> Array:
    """End the file early."""
    return response[: max(int(rng.uniform(0.15, 0.9) * len(response)), int(0.06 * sample_rate))]


def pre_delay(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Start seconds early, with silence or with the noise of the response."""
    n_times = int(rng.uniform(0.2, 4) * sample_rate)
    return np.concatenate([floor_of(response) * rng.standard_normal(n_times) * rng.integers(0, 2), response])


def _distortion(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Make the products of a weakly non-linear loudspeaker in a swept measurement: fainter, each shorter."""
    products = [response * 10 ** (-(rng.uniform(18, 30) + 8 * k) / 20) for k in range(int(rng.integers(1, 4)))]
    signs = np.sign(rng.standard_normal(len(response)))
    return np.concatenate([p[: len(p) // (k + 1)] * signs[: len(p) // (k + 1)] for k, p in enumerate(products)][::-1])


def distortion_in_front(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Harmonic distortion of a sweep, which lies in front of the response."""
    return np.concatenate([_distortion(response, sample_rate, rng), response])


def distortion_behind(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Put the distortion behind the response, where circular deconvolution leaves it."""
    return np.concatenate([response, _distortion(response, sample_rate, rng)])


def _coded(kind: str, subtype: str) -> Treatment:
    def code(response: Array, sample_rate: int, rng: Generator) -> Array:
        rates = (8000, 16000, 24000, 48000)
        if subtype == "OPUS" and sample_rate not in rates:
            return response
        file = io.BytesIO()
        soundfile.write(file, response, sample_rate, format=kind, subtype=subtype)
        file.seek(0)
        return soundfile.read(file)[0]

    return code


def resampled(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Go down by a third and back up: nothing left above."""
    return resample_poly(resample_poly(response, 2, 3), 3, 2)


def clipped(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Clip the direct sound."""
    limit = np.abs(response).max() * 10 ** (-rng.uniform(1, 10) / 20)
    return np.clip(response, -limit, limit)


def compressed(response: Array, sample_rate: int, rng: Generator) -> Array:
    """Pull the noise up slowly behind the decay, as automatic gain control does."""
    gain = np.clip((np.arange(len(response)) / len(response) - rng.uniform(0.3, 0.8)) * rng.uniform(20, 60), 0, 25)
    return response * 10 ** (gain / 20)


TREATMENTS: dict[str, Treatment] = {
    "fade_linear": fade_linear,
    "fade_cosine": fade_cosine,
    "fade_exponential": fade_exponential,
    "fade_sqrt": fade_sqrt,
    "fade_log": fade_log,
    "gate": gate,
    "gated_noise": gated_noise,
    "expander": expander,
    "spectral_subtraction": spectral_subtraction,
    "dither_rectangular": _dither("rectangular"),
    "dither_triangular": _dither("triangular"),
    "dither_shaped": _dither("shaped"),
    "zeros_behind": zeros_behind,
    "quieter_noise_behind": quieter_noise_behind,
    "joined_take": joined_take,
    "joined_take_with_gap": joined_take_with_gap,
    "joined_to_another_room": joined_to_another_room,
    "looped": looped,
    "several_responses": several_responses,
    "dc_step": dc_step,
    "hum": hum,
    "clicks": clicks,
    "mp3": _coded("MP3", "MPEG_LAYER_III"),
    "ogg": _coded("OGG", "VORBIS"),
    "opus": _coded("OGG", "OPUS"),
    "early_cut": early_cut,
    "pre_delay": pre_delay,
    "distortion_in_front": distortion_in_front,
    "distortion_behind": distortion_behind,
}

HELD_OUT: dict[str, Treatment] = {
    "fade_square": fade_square,
    "fade_quarter_sine": fade_quarter_sine,
    "fade_gaussian": fade_gaussian,
    "louder_noise_behind": louder_noise_behind,
    "looped_tail": looped_tail,
    "noise_burst": noise_burst,
    "slowly_rising_noise": slowly_rising_noise,
    "sixteen_bit": sixteen_bit,
    "resampled": resampled,
    "clipped": clipped,
    "compressed": compressed,
}


def two_slopes(rng: Generator) -> Synthetic:
    """Draw a response of two decays, the slower one 8 to 30 dB below the faster one (coupled rooms)."""
    fast = synthetic(rng, rt=float(np.exp(rng.uniform(np.log(0.15), np.log(1.5)))))
    rate, n_times = fast.sample_rate, len(fast.samples)
    slow_rt = 60 / fast.peak_to_noise * n_times / rate * rng.uniform(0.5, 1.0)
    slow = reverberation(octave_times(slow_rt, rng), n_times, rate, rng)
    slow *= np.sqrt((fast.clean**2).sum() / (slow**2).sum()) * 10 ** (-rng.uniform(8, 30) / 20)
    return fast._replace(samples=fast.samples + slow, clean=fast.clean + slow)
