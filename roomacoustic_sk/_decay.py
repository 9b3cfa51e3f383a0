"""From an impulse response to its decay curve (ISO 3382-1:2009, 5.3.3): onset, octave band, noise floor, integral."""

from __future__ import annotations

import itertools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt

Array = NDArray[np.float64]

PLAIN_MARGIN = 10.0
"""By how much (10 dB) a plain decay curve must lie above the energy that its end cuts off (5.3.3): 2 % in T30."""

COMPENSATED_MARGIN = 2.5
"""The same (4 dB) where the noise is subtracted and the missing energy added: 5 % in T20 and T30, as a rule.

The standard asks for 10 dB, for curves that hold the noise. Measured and simulated responses with white noise added
gave T20 within 4.7 % and T30 within 3.3 % of the truth in 95 of 100 cases; at 10 dB within 2 %, and half the results.
"""

TINY = np.finfo(np.float64).tiny


class Band(NamedTuple):
    """An octave band, or the whole spectrum."""

    sos: Array | None  # None passes everything
    centre: float  # Hz


WHOLE_SPECTRUM = Band(None, np.nan)


class End(NamedTuple):
    """Where the integration of a squared response stops, and what is known of the rest."""

    sample: int
    noise: float  # power, to be subtracted from every sample before
    missing: float  # energy of the decay behind, to be added
    floor: float  # the decay curve cannot be trusted below this energy; infinite: nowhere


class Decay(NamedTuple):
    """The decay curve of one response in one band."""

    energy: Array  # what is still to come at each sample
    end: End


def cut_at_onset(response: NDArray[Any], sample_rate: int) -> Array:
    """Let a response begin where it first rises above 20 dB below its peak (A.3.4), and cut zeros at its end.

    Of several sounds in a file the first counts that is within 10 dB of the loudest: fainter ones in front of it,
    with a pause of 0.1 s behind them, are harmonic distortion of a sweep, or noise.
    """
    magnitude = np.abs(response)
    peak = magnitude.max()
    loud = int(np.argmax(magnitude >= 0.316 * peak))
    audible = np.flatnonzero(magnitude[: loud + 1] >= 0.1 * peak)
    onset = int(audible[np.flatnonzero(np.diff(audible, prepend=-np.inf) > 0.1 * sample_rate)[-1]])
    n_zeros = 0 if magnitude[-1] else int(np.argmax(magnitude[::-1] > 0))
    return response[onset : len(response) - n_zeros].astype(np.float64)


def octave_band(centre: float, sample_rate: int) -> Band:
    """Design a sixth-order Butterworth band-pass of one octave (IEC 61260)."""
    edges = (centre / np.sqrt(2), centre * np.sqrt(2))
    return Band(butter(3, edges, btype="bandpass", fs=sample_rate, output="sos"), centre)


def squared(response: Array, band: Band, sample_rate: int) -> Array:
    """Square a response, filtered backwards in time.

    A filter that runs forwards rings after the sound and lengthens short decays. Run backwards it rings before the
    sound, and an exponential decay keeps its slope however short it is (ISO 3382-2:2008, 7.3). What rings before the
    onset belongs to the direct sound and is counted at the onset.
    """
    if band.sos is None:
        return response**2
    n_ringing = int(10 * sample_rate / band.centre)  # the filter itself falls by 60 dB in 7 periods of its centre
    power = sosfilt(band.sos, np.concatenate([np.zeros(n_ringing), response])[::-1])[::-1] ** 2
    power[n_ringing] += power[:n_ringing].sum()
    return power[n_ringing:]


def line(levels: Array) -> tuple[float, float]:
    """Fit the least-squares line to equally spaced levels: its value at the first one, and its slope per step."""
    n = len(levels)
    last, mean = (n - 1) / 2, float(levels.mean())
    slope = 12 * float(np.arange(-last, last + 1) @ levels) / (n * (n * n - 1))
    return mean - slope * last, slope


def block_levels(power: Array, n_block: int) -> Array:
    """Return the level in dB of the mean power in consecutive blocks; a last incomplete one is left out."""
    n_blocks = len(power) // n_block
    means = power[: n_blocks * n_block].reshape(n_blocks, n_block).mean(axis=1)
    return 10 * np.log10(np.maximum(means, TINY))


def _first(condition: NDArray[np.bool_]) -> int:
    """Return where a condition is first met, or the length where it never is."""
    first = int(np.argmax(condition)) if len(condition) else 0
    return first if len(condition) and condition[first] else len(condition)


def end_of_record(power: Array) -> End:
    """Take a response as it is, and estimate how much energy its end cuts off.

    Equal parts of an exponential decay have energies in geometric series, so the last two fifths tell the rest. A
    noise floor has parts of equal energy; the bound on their ratio keeps the rest finite, and large.
    """
    fifth = max(len(power) // 5, 1)
    last, before = power[-fifth:].sum(), power[-2 * fifth : -fifth].sum()
    ratio = min(last / max(before, TINY), 0.99)
    return End(len(power), 0.0, 0.0, PLAIN_MARGIN * last * ratio / (1 - ratio))


class Blocks(NamedTuple):
    """Levels of consecutive parts of a squared response."""

    edges: list[int]  # samples, one more than there are blocks
    levels: Array  # dB


def growing_blocks(power: Array, n_block: int) -> Blocks:
    """Average over blocks, each at least a tenth as long as the time before it.

    So the steep start of a decay and its slow end are both resolved, and long noise is averaged well.
    """
    edges = [0]
    while edges[-1] < len(power):
        edges.append(edges[-1] + max(n_block, edges[-1] // 10))
    if len(edges) > 2:
        edges.pop()  # the last block takes in what is left
    edges[-1] = len(power)
    means = np.add.reduceat(power, edges[:-1]) / np.diff(edges)
    return Blocks(edges, 10 * np.log10(np.maximum(means, TINY)))


def lower_hull(times: list[float], levels: list[float]) -> list[int]:
    """Return which points are corners of the lower convex hull (Andrew, 1979)."""
    corners: list[int] = []
    for i, (time, level) in enumerate(zip(times, levels, strict=True)):
        while len(corners) > 1:
            first, last = corners[-2:]
            rise, run = level - levels[first], time - times[first]
            if (levels[last] - levels[first]) * run < rise * (times[last] - times[first]):
                break
            corners.pop()
        corners.append(i)
    return corners


def before_next_sound(levels: Array) -> int:
    """Return how many blocks there are before the level, once it has fallen, rises again."""
    lowest = np.minimum.accumulate(levels)
    risen = (levels > lowest + RISE) & (lowest < np.maximum.accumulate(levels) - DEPTH)
    return int(np.argmin(levels[: np.argmax(risen)])) + 1 if risen.any() else len(levels)


def trusted_length(power: Array, n_block: int) -> int:
    """Return for how long a response can be the decay of one sound over stationary noise.

    Both are sums of exponentials, and so is what they make together: its level is convex over time. A level that
    rises again is another sound; one that falls faster than before was faded, gated, expanded, or cut.
    """
    edges, levels = growing_blocks(power, n_block)
    if len(levels) < 4:
        return len(power)
    levels[0] = levels[1:].max()  # the direct sound is no decay
    n_blocks = before_next_sound(levels)
    start = int(np.flatnonzero(levels[:n_blocks] >= levels[:n_blocks].max() - EARLY)[-1])
    centres = [0.5 * (a + b) for a, b in itertools.pairwise(edges)]
    spread = np.sqrt(n_block / np.diff(edges))
    bends = np.abs(np.diff(levels, 2)) / spread[1:-1]
    deviation = max(DEVIATION, float(np.median(bends)) / 1.65)  # of Gaussian second differences
    tolerance = BEND + DEVIATIONS * deviation * spread
    while n_blocks - start > 2:
        part = slice(start, n_blocks)
        corners = lower_hull(centres[part], levels[part].tolist())
        hull = np.interp(centres[part], [centres[start + i] for i in corners], levels[part][corners])
        excess = levels[part] - hull - tolerance[part]
        corner = int(np.argmax(excess))
        if excess[corner] <= 0:
            break
        n_blocks = start + max(corner, 1)
    return edges[n_blocks]


BROAD = 0.01
RISE = 6.0
DEPTH = 15.0
EARLY = 10.0
BEND = 2.5
DEVIATION = 1.1
DEVIATIONS = 2.5


def end_at_noise(power: Array, n_block: int) -> End:
    """Find the noise floor and where the decay meets it (Lundeby et al., Acustica 81, 1995).

    Their steps: levels of blocks, noise from the last tenth, line through the decay down to 10 dB above the noise,
    crossing; then, with five blocks for 10 dB, noise from 10 dB behind the crossing, line through the last 20 dB
    and crossing until it stays. The block of the direct sound is left out: where it stands far above the
    reverberation, the fall behind it is no decay of the room.
    """
    n_tenth = max(len(power) // 10, 1)
    noise = power[-n_tenth:].mean()
    n_block, dynamic, slope, crossing = max(min(n_block, n_tenth), 1), np.inf, np.nan, np.inf
    for _ in range(6):
        levels = block_levels(power, n_block)
        noise_level = 10 * np.log10(max(noise, TINY))
        first = int(np.argmax(levels)) + 1
        stop = first + _first(levels[first:] < noise_level + 10)
        start = first + _first(levels[first:stop] < noise_level + 10 + dynamic)
        start = max(min(start, stop - 5), first)  # never less than 10 dB: a response may end in a sudden fall
        if stop - start < 2:
            return End(len(power), 0.0, 0.0, np.inf)
        level, fall = line(levels[start:stop])
        if fall >= 0:
            break  # what was found before holds
        slope, previous = fall / n_block, crossing  # dB a sample
        crossing = (start + 0.5) * n_block + (noise_level - level) / slope
        if abs(crossing - previous) < -0.1 / slope:  # 0.1 dB of decay
            break
        n_block, dynamic = max(min(int(-2 / slope), len(power)), 1), 20.0
        noise = power[min(int(crossing - 10 / slope), len(power) - n_tenth) :].mean()
    if np.isnan(slope):
        return End(len(power), 0.0, 0.0, np.inf)
    return _with_missing_energy(power, noise, slope, crossing)


def _with_missing_energy(power: Array, noise: float, slope: float, crossing: float) -> End:
    """Continue the decay behind its crossing with the noise (Eq. 3), and bound what is uncertain about it.

    Where the crossing lies in the last tenth, which is too short to tell noise from decay, the whole record counts as
    decay and is continued from its end. Otherwise the first half of the noise should have no more energy than the
    second but for the rest of the decay; if it has, a slower decay is hidden there.
    """
    n_neper = -10 / np.log(10) / slope  # samples in which the decay loses a factor of e
    if crossing > 0.9 * len(power):
        missing = max(noise, TINY) * 10 ** (slope * (len(power) - crossing) / 10) * n_neper
        return End(len(power), 0.0, missing, COMPENSATED_MARGIN * missing)
    end = max(int(crossing), 1)
    half, missing = (len(power) - end) // 2, noise * n_neper
    unexplained = power[end : end + half].sum() - power[-half:].sum() - missing
    return End(end, noise, missing, COMPENSATED_MARGIN * max(missing, unexplained))


def integrate(response: Array, band: Band, sample_rate: int, truncation: str | None) -> Decay:
    """Integrate a squared response backwards, from its end to its onset (Eq. 1, with truncation Eq. 3)."""
    power = squared(response, band, sample_rate)
    if truncation is None:
        end = end_of_record(power)
    else:
        duration = 0.01 if band.sos is None else 0.01 + 0.8 / band.centre  # s; Lundeby: 10 to 50 ms
        n_trust = int(max(duration, BROAD if band.sos is None else 16 * np.sqrt(2) / band.centre) * sample_rate)
        power = power[: trusted_length(power, n_trust)]
        end = end_at_noise(power, int(duration * sample_rate))
    return Decay(np.cumsum((power[: end.sample] - end.noise)[::-1])[::-1] + end.missing, end)


def decay_time(decay: Decay, upper: float, lower: float) -> float:
    """Extrapolate the line through the curve between two levels (dB re total) to 60 dB; in samples."""
    first, last = decay.energy[0] * 10 ** (upper / 10), decay.energy[0] * 10 ** (lower / 10)
    if not last >= decay.end.floor:
        return np.nan
    start, stop = _first(decay.energy <= first), _first(decay.energy <= last)
    if stop - start < 2:
        return np.nan
    return -60 / line(10 * np.log10(decay.energy[start:stop]))[1]


def early_and_late(response: Array, band: Band, decay: Decay, n_early: int, sample_rate: int) -> tuple[float, float]:
    """Energy before and after a sample; in bands, both parts are windowed before they are filtered (A.3)."""
    end, noise, missing, _ = decay.end
    if n_early >= end:
        return float(decay.energy[0]), 0.0
    if band.sos is None:
        return float(decay.energy[0] - decay.energy[n_early]), float(decay.energy[n_early])
    late = np.concatenate([np.zeros(n_early), response[n_early:]])
    early_energy = squared(response[:n_early], band, sample_rate).sum() - noise * n_early
    late_energy = squared(late, band, sample_rate)[:end].sum() - noise * (end - n_early) + missing
    return float(early_energy), float(late_energy)
