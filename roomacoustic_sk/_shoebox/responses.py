"""Impulse responses of shoebox rooms, extended or refined until their decay has converged.

Octave bands, materials and air absorption are those of pyroomacoustics, and a test compares the responses with its
`ShoeBox`. Everything runs in one thread: the cores work on different rooms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._decay import WHOLE_SPECTRUM, cut_at_onset, decay_time, integrate
from roomacoustic_sk._shoebox.bands import OctaveBands, octave_bands
from roomacoustic_sk._shoebox.images import HALF_FILTER, image_sources, specular_sound, sum_pulses
from roomacoustic_sk._shoebox.rays import BIN_SECONDS, diffuse_sound, mean_histogram, trace_rays
from roomacoustic_sk._shoebox.rooms import TransmissionPath
from roomacoustic_sk._validation import check_number, door
from roomacoustic_sk.acoustics import DECAY_RANGES

Array = NDArray[Any]

FIRST_SECONDS, GROWTH = 0.25, 1.25
"""Initial duration of a response from image sources, and the factor by which it is extended until complete."""

AIM = 0.3
"""Share of the tolerance to aim for as long as the limits allow, since estimates may agree by chance."""


MOST_REFLECTIONS, MOST_RAYS, MOST_IMAGES = 200, 1 << 24, 10**12
"""Largest order, numbers of rays (of which half, traced at once, take 1 GB) and of images (which take days)."""


class ResponseSpec(NamedTuple):
    """Requirements on a response, whatever the simulation method, and when it counts as complete."""

    sample_rate: int  # Hz
    air_absorption: bool
    max_duration: float  # s
    decay_range: str
    tolerance: float  # relative change of the reverberation time

    @property
    def depth(self) -> float:
        """Decay down to which responses are simulated and kept, in dB."""
        return 25 - DECAY_RANGES[self.decay_range][1]


class Response(NamedTuple):
    """A response and the result of its check for convergence."""

    rir: NDArray[np.float32]
    rt60: float  # s, NaN if the response is not complete for long enough to evaluate it
    complete: bool
    n_rays: int  # 0 if there are none
    image_order: int
    n_raised: int  # how often rays or images had to be added
    rt60_change: float  # relative change of the reverberation time when they were last added


# --- Complete responses -----------------------------------------------------------------------------------------


def _decay_time(rir: Array, spec: ResponseSpec, seconds: float) -> float:
    """Reverberation time of a noise-free response; NaN unless it is complete for long enough.

    The decay curve is computed from the response alone, where the filters can make a sudden end look like a decay. So
    the decay to 10 dB below the evaluation range must also fit into the `seconds` for which the response is complete.
    """
    upper, lower = DECAY_RANGES[spec.decay_range]
    curve = integrate(cut_at_onset(rir, spec.sample_rate), WHOLE_SPECTRUM, spec.sample_rate, None)
    time = float(decay_time(curve, upper, lower) / spec.sample_rate)
    return time if (10 - lower) / 60 * time <= seconds else np.nan


def _time_to_the_cut(rir: Array, spec: ResponseSpec) -> float:
    """Reverberation time by plain Schroeder integration, which takes the sudden end of a response for its decay."""
    upper, lower = DECAY_RANGES[spec.decay_range]
    energy = np.cumsum(cut_at_onset(rir, spec.sample_rate)[::-1] ** 2)[::-1]
    levels = 10 * np.log10(energy / energy[0])
    chosen = np.flatnonzero((levels <= upper) & (levels >= lower))
    if len(chosen) < 2:
        return np.nan
    slope = float(np.polyfit(chosen / spec.sample_rate, levels[chosen], 1)[0])
    return -60 / slope


def _change(decay_times: list[float], n_compared: int) -> float:
    """Largest relative change from earlier decay times to the last one; NaN if there are too few or one is missing."""
    if len(decay_times) < n_compared:
        return np.nan
    return float(np.max(np.abs(np.divide(decay_times[-n_compared:-1], decay_times[-1]) - 1)))


def _trimmed(rir: Array, depth: float) -> NDArray[np.float32]:
    """Cut a response where its remaining energy is `depth` dB below its total energy."""
    energy = np.cumsum(rir[::-1] ** 2)[::-1]
    return rir[: int(np.flatnonzero(energy >= energy[0] * 10 ** (-depth / 10))[-1]) + 1].astype(np.float32)


def _without_offset(rir: Array, rate: int) -> Array:
    """Remove content below 10 Hz, where image sources, all of one sign, accumulate (Allen and Berkley, 1979)."""
    import pyroomacoustics as pra
    from scipy.signal import sosfiltfilt  # takes a second

    high_pass = pra.utilities.design_highpass_filter_sos(
        rate, pra.constants.get("rir_hpf_fc"), **pra.constants.get("rir_hpf_kwargs")
    )
    return sosfiltfilt(high_pass, rir)


# --- Methods ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hybrid:
    """Simulate rooms by image sources up to an order, and by ray tracing with scattering for all other sound.

    The number of rays is doubled until the reverberation time has converged. As rays are random, two results may agree
    by chance, so three in a row must agree.

    Parameters
    ----------
    image_order : int, default=3
        Highest order of the image sources.
    n_rays : int, default=8000
        Number of rays to start with. At least four times as many are traced.
    max_rays : int, default=256000
        Largest number of rays, at least four times `n_rays`.
    receiver_reach : float, default=None
        Rays are counted in a box that extends this far from the microphone in every direction, within the room [m].
        None for 1 m or, in rooms above 512 m3, an eighth of the edge of a cube of that volume, which holds a like share
        of the rays.

    Raises
    ------
    TypeError, ValueError
        If an argument is not a number or out of range.

    Notes
    -----
    Sound with at most `image_order` reflections, all of them specular, is exact (Allen and Berkley, 1979). For all
    other sound, rays provide the energy, in octave bands and bins of 4 ms, and noise provides the fine structure.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import Hybrid, simulate_rooms
    >>> rooms = simulate_rooms(1, 1, method=Hybrid(n_rays=4000), materials=0.5, random_state=0)
    >>> int(rooms.proof["n_rays"][0])
    16000
    """

    image_order: int = 3
    n_rays: int = 8000
    max_rays: int = 256000
    receiver_reach: float | None = None

    name: ClassVar[str] = "hybrid"
    scatters: ClassVar[bool] = True
    converges: ClassVar[bool] = True
    raised: ClassVar[str] = "twice and four times the rays"

    @door
    def __post_init__(self) -> None:
        check_number(self.image_order, name="image_order", low=0, limit=MOST_REFLECTIONS, integer=True)
        check_number(self.n_rays, name="n_rays", low=1, limit=MOST_RAYS // 4, integer=True)
        check_number(self.max_rays, name="max_rays", low=4 * self.n_rays, limit=MOST_RAYS, integer=True)
        if self.receiver_reach is not None:
            check_number(self.receiver_reach, name="receiver_reach", low=0, low_open=True, limit=1e6)

    def describe(self) -> str:
        """Return a one-line description of the simulation."""
        reach = "1 m away, farther in large rooms" if self.receiver_reach is None else f"{self.receiver_reach:g} m away"
        return f"image sources to order {self.image_order}, rays with scattering beyond (counted up to {reach})"

    def _reach(self, path: TransmissionPath) -> float:
        """Return how far from the microphone rays are counted in a room."""
        if self.receiver_reach is not None:
            return self.receiver_reach
        return max(1.0, float(np.cbrt(path.size.prod())) / 8)

    def simulate(self, path: TransmissionPath, spec: ResponseSpec, rng: np.random.Generator) -> Response:
        """Simulate one response; `rng` draws the rays and the noise."""
        bands, rate = octave_bands(spec.sample_rate, air_absorption=spec.air_absorption), spec.sample_rate
        images = image_sources(path, max_order=self.image_order)
        farthest = (self.image_order + 1) * np.linalg.norm(path.size)
        pulses, _ = sum_pulses(images, int(farthest / bands.speed * rate) + 2, bands, rate)
        specular = specular_sound(pulses, bands, rate)
        first_seconds = float(np.linalg.norm(path.source - path.microphone)) / bands.speed
        noise_seed = int(rng.integers(2**63))  # the same noise for any number of rays
        histogram = np.zeros((1, len(bands.air)))
        decay_times: list[float] = []
        n_rays, change = 0, np.nan
        while not change <= AIM * spec.tolerance and 2 * n_rays <= self.max_rays:
            n_more = n_rays or self.n_rays
            more = trace_rays(
                path,
                n_more,
                specular_order=self.image_order,
                reach=self._reach(path),
                bin_width=BIN_SECONDS * bands.speed,
                floor=10 ** (-spec.depth / 10),
                max_distance=spec.max_duration * bands.speed,
                rng=rng,
            )
            histogram = mean_histogram(histogram, n_rays, more, n_more)
            n_rays += n_more
            diffuse = diffuse_sound(histogram, first_seconds, noise_seed, bands, rate)
            both = np.zeros(max(len(specular), len(diffuse) + HALF_FILTER))
            both[: len(specular)] += specular
            both[HALF_FILTER : HALF_FILTER + len(diffuse)] += diffuse
            rir = _trimmed(_without_offset(both, rate), spec.depth)
            decay_times.append(_decay_time(rir, spec, spec.max_duration))
            change = _change(decay_times, 3)
        complete, n_raised = change <= spec.tolerance, len(decay_times) - 3
        return Response(rir, decay_times[-1], complete, n_rays, self.image_order, n_raised, change)


@dataclass(frozen=True)
class ImageSources:
    """Simulate rooms by image sources alone, with specularly reflecting walls, as in the paper.

    All image sources that arrive within a certain time are summed, and that time is extended by a quarter until the
    reverberation time has converged.

    Parameters
    ----------
    max_images : int, default=20_000_000
        Largest number of image sources in a response.
    order : int, optional
        Order at which all responses are cut, as in much published work and probably in the paper; `max_images` then
        does not matter. The cut comes before the sound has decayed, and earlier in small rooms: ``rt60``, which plain
        Schroeder integration gives here, measures the cut, other labels may be NaN, `complete` is False, and an
        estimator that is trained on them is wrong in rooms.

    Raises
    ------
    TypeError, ValueError
        If the argument is not an integer or below 1.

    Notes
    -----
    The rooms that `max_images` cannot complete are the reverberant ones: about a third of the default rooms, with the
    default limit. The remaining rooms are therefore not a representative sample.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import ImageSources, simulate_rooms
    >>> rooms = simulate_rooms(1, 1, method=ImageSources(max_images=1_000_000), materials=0.5, random_state=0)
    >>> bool(rooms.complete[0]), int(rooms.proof["n_rays"][0])
    (True, 0)
    """

    max_images: int = 20_000_000
    order: int | None = None

    name: ClassVar[str] = "ism"
    scatters: ClassVar[bool] = False
    raised: ClassVar[str] = "a duration longer by a quarter"

    @property
    def converges(self) -> bool:
        """Whether sound is added until the reverberation time no longer changes."""
        return self.order is None

    @door
    def __post_init__(self) -> None:
        check_number(self.max_images, name="max_images", low=1, limit=MOST_IMAGES, integer=True)
        if self.order is not None:
            check_number(self.order, name="order", low=1, limit=MOST_REFLECTIONS, integer=True)

    def describe(self) -> str:
        """Return a one-line description of the simulation."""
        cut = "" if self.order is None else f", cut at order {self.order}: the labels measure that cut"
        return f"image sources alone, no scattering{cut}"

    def simulate(self, path: TransmissionPath, spec: ResponseSpec, rng: np.random.Generator) -> Response:
        """Simulate one response; nothing is drawn from `rng`."""
        bands, rate = octave_bands(spec.sample_rate, air_absorption=spec.air_absorption), spec.sample_rate
        if self.order is not None:
            return self._cut(path, self.order, spec, bands)
        # There is one image source per room volume.
        farthest = np.cbrt(3 * self.max_images * path.size.prod() / (4 * np.pi))
        max_seconds = min(farthest / bands.speed, spec.max_duration)
        pulses = np.zeros((len(bands.air), 0))
        decay_times: list[float] = []
        seconds, order, change = 0.0, 0, np.nan
        while not change <= AIM * spec.tolerance and seconds < max_seconds:
            longer = min(seconds * GROWTH or FIRST_SECONDS, max_seconds)
            images = image_sources(path, nearest=seconds * bands.speed, farthest=longer * bands.speed)
            more, highest = sum_pulses(images, int(longer * rate) + 2, bands, rate)
            more[:, : pulses.shape[1]] += pulses
            pulses, order, seconds = more, max(order, highest), longer
            rir = _trimmed(_without_offset(specular_sound(pulses, bands, rate), rate), spec.depth)
            decay_times.append(_decay_time(rir, spec, seconds))
            change = _change(decay_times, 2)
        return Response(rir, decay_times[-1], change <= spec.tolerance, 0, order, len(decay_times) - 2, change)

    def _cut(self, path: TransmissionPath, order: int, spec: ResponseSpec, bands: OctaveBands) -> Response:
        """Sum the image sources up to an order; the reverberation time is that of the cut response."""
        rate = spec.sample_rate
        farthest = min((order + 1) * float(np.linalg.norm(path.size)), spec.max_duration * bands.speed)
        images = image_sources(path, farthest=farthest, max_order=order)
        pulses, highest = sum_pulses(images, int(farthest / bands.speed * rate) + 2, bands, rate)
        rir = _trimmed(_without_offset(specular_sound(pulses, bands, rate), rate), spec.depth)
        return Response(rir, _time_to_the_cut(rir, spec), False, 0, highest, 0, np.nan)
