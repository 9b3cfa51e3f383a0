"""Room impulse responses of shoebox rooms, each with a proof that its decay is complete.

Image sources follow Allen and Berkley (J. Acoust. Soc. Am. 65, 1979). `pyroomacoustics.Room` would hold all images
of an order at once, gigabytes at the order that a live room needs; here they are laid out and summed a layer at a
time. Octave bands, materials and the air are pyroomacoustics', and a test holds the responses against its `ShoeBox`.
All runs in one thread: rooms, not samples, are shared among the cores.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import sosfiltfilt, upfirdn

from roomacoustic_sk.acoustics import DECAY_RANGES, DecayRangeWarning, reverberation_time
from roomacoustic_sk.datasets._rays import TransmissionPath, trace_rays

Array = NDArray[Any]

BIN_SECONDS = 0.004
"""Width of the energy histogram's bins, the time resolution of the ear (pyroomacoustics' value, too)."""

FIRST_SECONDS, GROWTH = 0.25, 1.25
"""Duration at which the search for a complete response of image sources starts, and by what it is multiplied."""

HALF_FILTER, OVERSAMPLING = 40, 8
"""Samples on either side of a pulse (pyroomacoustics' value, too), and points a sample at which pulses may lie."""

AIM = 0.3
"""Share of the tolerance that is aimed at while rays and images last, as estimates may agree by chance."""

IMAGES_AT_ONCE = 500_000
"""Image sources that are summed at the same time (about 100 MB)."""


class Method(NamedTuple):
    """How rooms are simulated, and when a response counts as complete."""

    name: str  # "hybrid" or "ism"
    sample_rate: int  # Hz
    air_absorption: bool
    image_order: int  # hybrid: highest order of the image sources
    n_rays: int  # hybrid: rays to start with
    max_rays: int
    receiver_reach: float  # m, hybrid: from the microphone to the sides of the box in which rays count
    max_images: int  # ism
    max_duration: float  # s, of a response
    decay_range: str
    depth: float  # dB, how far down responses are simulated and kept
    tolerance: float  # relative change of the reverberation time


class Response(NamedTuple):
    """A response and the proof that goes with it."""

    rir: NDArray[np.float32]
    rt60: float  # s, NaN where the response does not tell
    complete: bool
    n_rays: int  # 0 if there are none
    image_order: int
    n_raised: int  # how often rays or images had to be added
    rt60_change: float  # relative change of the reverberation time by that


class _Bands(NamedTuple):
    """Octave bands of a sampling rate, and what pyroomacoustics knows of them."""

    bank: Any
    air: Array  # (n_bands,) energy attenuation [1/m]
    speed: float  # of sound [m/s]


def octave_bands(sample_rate: int) -> Any:
    """Return pyroomacoustics' filter bank, whose bands sum to the signal itself."""
    import pyroomacoustics as pra

    return pra.ShoeBox([1, 1, 1], fs=sample_rate).octave_bands


def _bands(method: Method) -> _Bands:
    import pyroomacoustics as pra

    bank, speed = octave_bands(method.sample_rate), pra.constants.get("c")
    table = pra.parameters.Physics.from_speed(speed).get_air_absorption()
    air = np.asarray(bank(**table)) if method.air_absorption else np.zeros(bank.n_bands)
    return _Bands(bank, air, speed)


# --- Image sources --------------------------------------------------------------------------------------------


def _images_on_axis(path: TransmissionPath, axis: int, max_index: int) -> tuple[Array, Array, Array]:
    """Index, distance to the microphone along one axis, and amplitude (n, n_bands) of the images in a row."""
    index = np.arange(-max_index, max_index + 1)
    size, source = path.size[axis], path.source[axis]
    offset = index * size + np.where(index % 2 == 0, source, size - source) - path.microphone[axis]
    low, high = (np.abs(index) + (index < 0)) // 2, (np.abs(index) + (index > 0)) // 2
    reflection = np.sqrt((1 - path.absorption[2 * axis : 2 * axis + 2]) * (1 - path.scattering))
    return index, offset, reflection[0] ** low[:, None] * reflection[1] ** high[:, None]


def image_sources(
    path: TransmissionPath, *, nearest: float = 0.0, farthest: float = np.inf, max_order: int | None = None
) -> Iterator[tuple[Array, Array, int]]:
    """Yield image sources, many at a time: distances (n,), reflection factors (n, n_bands) and the highest order.

    Parameters
    ----------
    path : TransmissionPath
        The room, its walls, source and microphone.
    nearest, farthest : float
        Range of the distances, the lower end included [m].
    max_order : int or None
        Highest order of reflection; without one, all images within the range.
    """
    counts = [max_order if max_order is not None else int(farthest / size) + 2 for size in path.size]
    (ix, dx, ax), (iy, dy, ay), (iz, dz, az) = (_images_on_axis(path, axis, counts[axis]) for axis in range(3))
    plane_order = np.abs(ix)[:, None] + np.abs(iy)
    plane_squared = dx[:, None] ** 2 + dy**2
    distances, reflections, highest = [], [], 0
    for layer, (index, offset) in enumerate(zip(iz, dz, strict=True)):
        squared = plane_squared + offset**2
        chosen = (squared >= nearest**2) & (squared < farthest**2)
        if max_order is not None:
            chosen &= plane_order <= max_order - abs(index)
        x, y = np.nonzero(chosen)
        if len(x):
            distances.append(np.sqrt(squared[x, y]))
            reflections.append(ax[x] * ay[y] * az[layer])
            highest = max(highest, int(plane_order[x, y].max() + abs(index)))
        if distances and (layer == len(iz) - 1 or sum(map(len, distances)) > IMAGES_AT_ONCE):
            yield np.concatenate(distances), np.concatenate(reflections), highest
            distances, reflections = [], []


def _pulses(images: Iterator[tuple[Array, Array, int]], n_times: int, bands: _Bands, rate: int) -> tuple[Array, int]:
    """Sum reflection factors at the points where they arrive (n_bands, n_points), and tell the highest order."""
    pulses, highest = np.zeros((len(bands.air), n_times * OVERSAMPLING)), 0
    for distance, reflection, order in images:
        place = distance * (rate * OVERSAMPLING / bands.speed)
        point = place.astype(int)
        for band, weights in enumerate(reflection.T):
            later = weights * (place - point)  # shared by the two points nearest to it
            pulses[band] += np.bincount(point, weights - later, pulses.shape[1])
            pulses[band] += np.bincount(point + 1, later, pulses.shape[1])
        highest = max(highest, order)
    return pulses, highest


def _specular(pulses: Array, bands: _Bands, rate: int) -> Array:
    """Turn pulses into the sound of the image sources, `HALF_FILTER` samples late, in all bands together."""
    distance = np.maximum(np.arange(pulses.shape[1]), 1) * (bands.speed / (rate * OVERSAMPLING))
    points = np.arange(-HALF_FILTER * OVERSAMPLING, HALF_FILTER * OVERSAMPLING + 1) / OVERSAMPLING
    low_pass = np.sinc(points) * np.cos(np.pi * points / (2 * HALF_FILTER)) ** 2
    attenuated = pulses * np.exp(-0.5 * bands.air[:, None] * distance) / distance
    return _filtered(upfirdn(low_pass, attenuated, down=OVERSAMPLING), bands).sum(axis=0)


def _filtered(signals: Array, bands: _Bands) -> Array:
    """Each signal in its own octave band."""
    return np.stack([bands.bank.analysis(signal, band=band) for band, signal in enumerate(signals)])


# --- Diffuse sound ----------------------------------------------------------------------------------------------


def _envelopes(histogram: Array, n_times: int, first_seconds: float, bands: _Bands, rate: int) -> Array:
    """Amplitude of the diffuse sound at each sample (n_bands, n_times), from the energy in each bin."""
    seconds = np.arange(n_times) / rate
    centres = (np.arange(len(histogram)) + 0.5) * BIN_SECONDS
    power = np.stack([np.interp(seconds, centres, energy, right=0) for energy in histogram.T]) / (BIN_SECONDS * rate)
    power[:, seconds < first_seconds] = 0
    return np.sqrt(power * np.exp(-bands.air[:, None] * bands.speed * seconds))


def _diffuse(histogram: Array, first_seconds: float, noise_seed: int, bands: _Bands, rate: int) -> Array:
    """Noise with the energy of the rays, as many reflections are Gaussian (Schroeder, J. Acoust. Soc. Am. 34, 1962)."""
    n_times = int(len(histogram) * BIN_SECONDS * rate)
    noise = np.random.default_rng(noise_seed).standard_normal(n_times)
    carriers = bands.bank.analysis(noise).T
    return (carriers * _envelopes(histogram, n_times, first_seconds, bands, rate)).sum(axis=0)


def _mean_histogram(one: Array, n_one: int, other: Array, n_other: int) -> Array:
    """Mean of two histograms of different lengths, weighted by their rays."""
    n_bins = max(len(one), len(other))
    one, other = (np.pad(histogram, ((0, n_bins - len(histogram)), (0, 0))) for histogram in (one, other))
    return (n_one * one + n_other * other) / (n_one + n_other)


# --- Complete responses -----------------------------------------------------------------------------------------


def _decay_time(rir: Array, method: Method, seconds: float) -> float:
    """Reverberation time of a noise-free response; NaN unless it is complete for as long as that needs.

    `acoustics` looks at the response alone, and can take for a decay what the filters make of a sudden end. So the
    decay to 10 dB below the evaluation range must also fit into the `seconds` for which the response is complete.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        times = reverberation_time([rir], method.sample_rate, decay_range=method.decay_range, truncation=None)
    needed = (10 - DECAY_RANGES[method.decay_range][1]) / 60 * times[0]
    return float(times[0]) if needed <= seconds else np.nan


def _change(decay_times: list[float], n_compared: int) -> float:
    """Largest relative change from earlier decay times to the last; NaN if there are too few or one is missing."""
    if len(decay_times) < n_compared:
        return np.nan
    return float(np.max(np.abs(np.divide(decay_times[-n_compared:-1], decay_times[-1]) - 1)))


def _trimmed(rir: Array, depth: float) -> NDArray[np.float32]:
    """Cut a response where what is left of it lies `depth` dB below the whole."""
    energy = np.cumsum(rir[::-1] ** 2)[::-1]
    return rir[: int(np.flatnonzero(energy >= energy[0] * 10 ** (-depth / 10))[-1]) + 1].astype(np.float32)


def _without_offset(rir: Array, rate: int) -> Array:
    """Take out what lies below 10 Hz, where image sources, all of one sign, pile up (Allen and Berkley, 1979)."""
    import pyroomacoustics as pra

    high_pass = pra.utilities.design_highpass_filter_sos(
        rate, pra.constants.get("rir_hpf_fc"), **pra.constants.get("rir_hpf_kwargs")
    )
    return sosfiltfilt(high_pass, rir)


def simulate_ism(path: TransmissionPath, method: Method) -> Response:
    """Simulate by image sources alone: all that arrive within a time, prolonged until the decay time is settled."""
    bands, rate = _bands(method), method.sample_rate
    # There is one image source to each volume of the room.
    farthest = np.cbrt(3 * method.max_images * path.size.prod() / (4 * np.pi))
    max_seconds = min(farthest / bands.speed, method.max_duration)
    pulses = np.zeros((len(bands.air), 0))
    decay_times: list[float] = []
    seconds, order, change = 0.0, 0, np.nan
    while not change <= AIM * method.tolerance and seconds < max_seconds:
        longer = min(seconds * GROWTH or FIRST_SECONDS, max_seconds)
        images = image_sources(path, nearest=seconds * bands.speed, farthest=longer * bands.speed)
        more, highest = _pulses(images, int(longer * rate) + 2, bands, rate)
        more[:, : pulses.shape[1]] += pulses
        pulses, order, seconds = more, max(order, highest), longer
        rir = _trimmed(_without_offset(_specular(pulses, bands, rate), rate), method.depth)
        decay_times.append(_decay_time(rir, method, seconds))
        change = _change(decay_times, 2)
    return Response(rir, decay_times[-1], change <= method.tolerance, 0, order, len(decay_times) - 2, change)


def simulate_hybrid(path: TransmissionPath, method: Method, rng: np.random.Generator) -> Response:
    """Simulate by image sources up to an order, and rays for all other sound, doubled until the decay is settled.

    Rays are random, and two numbers of them may agree by chance: three must.
    """
    bands, rate = _bands(method), method.sample_rate
    images = image_sources(path, max_order=method.image_order)
    farthest = (method.image_order + 1) * np.linalg.norm(path.size)
    specular = _specular(_pulses(images, int(farthest / bands.speed * rate) + 2, bands, rate)[0], bands, rate)
    first_seconds = float(np.linalg.norm(path.source - path.microphone)) / bands.speed
    noise_seed = int(rng.integers(2**63))  # the same noise for any number of rays
    histogram = np.zeros((1, len(bands.air)))
    decay_times: list[float] = []
    n_rays, change = 0, np.nan
    while not change <= AIM * method.tolerance and 2 * n_rays <= method.max_rays:
        n_more = n_rays or method.n_rays
        more = trace_rays(
            path,
            n_more,
            specular_order=method.image_order,
            reach=method.receiver_reach,
            bin_width=BIN_SECONDS * bands.speed,
            floor=10 ** (-method.depth / 10),
            max_distance=method.max_duration * bands.speed,
            rng=rng,
        )
        histogram = _mean_histogram(histogram, n_rays, more, n_more)
        n_rays += n_more
        diffuse = _diffuse(histogram, first_seconds, noise_seed, bands, rate)
        both = np.zeros(max(len(specular), len(diffuse) + HALF_FILTER))
        both[: len(specular)] += specular
        both[HALF_FILTER : HALF_FILTER + len(diffuse)] += diffuse
        rir = _trimmed(_without_offset(both, rate), method.depth)
        decay_times.append(_decay_time(rir, method, method.max_duration))
        change = _change(decay_times, 3)
    complete, n_raised = change <= method.tolerance, len(decay_times) - 3
    return Response(rir, decay_times[-1], complete, n_rays, method.image_order, n_raised, change)
