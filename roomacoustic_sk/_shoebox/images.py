"""Image sources of shoebox rooms (Allen and Berkley, J. Acoust. Soc. Am. 65, 1979).

`pyroomacoustics.Room` would hold all images in memory at once, gigabytes at the order that a reverberant room needs;
here they are computed and summed one layer at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._shoebox.bands import OctaveBands
from roomacoustic_sk._shoebox.rooms import TransmissionPath

Array = NDArray[Any]

HALF_FILTER, OVERSAMPLING = 40, 8
"""Filter length on each side of a pulse in samples, as in pyroomacoustics, and possible pulse positions per sample."""

IMAGES_AT_ONCE = 500_000
"""Number of image sources summed at a time (about 100 MB)."""


def _images_on_axis(path: TransmissionPath, axis: int, max_index: int) -> tuple[Array, Array, Array]:
    """Index, distance to the microphone along one axis, and amplitude (n, n_bands) of a line of images."""
    index = np.arange(-max_index, max_index + 1)
    size, source = path.size[axis], path.source[axis]
    offset = index * size + np.where(index % 2 == 0, source, size - source) - path.microphone[axis]
    low, high = (np.abs(index) + (index < 0)) // 2, (np.abs(index) + (index > 0)) // 2
    reflection = np.sqrt((1 - path.absorption[2 * axis : 2 * axis + 2]) * (1 - path.scattering))
    return index, offset, reflection[0] ** low[:, None] * reflection[1] ** high[:, None]


def image_sources(
    path: TransmissionPath, *, nearest: float = 0.0, farthest: float = np.inf, max_order: int | None = None
) -> Iterator[tuple[Array, Array, int]]:
    """Yield image sources in blocks: distances (n,), reflection factors (n, n_bands) and the highest order.

    Parameters
    ----------
    path : TransmissionPath
        The room, its walls, source and microphone.
    nearest, farthest : float
        Range of the distances, the lower end included [m].
    max_order : int or None
        Highest order of reflection; None for all images within the range.
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


def sum_pulses(
    images: Iterator[tuple[Array, Array, int]], n_times: int, bands: OctaveBands, rate: int
) -> tuple[Array, int]:
    """Return the sums of reflection factors at their times of arrival (n_bands, n_points), and the highest order."""
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


def specular_sound(pulses: Array, bands: OctaveBands, rate: int) -> Array:
    """Turn pulses into the sound of the image sources, summed over bands and delayed by `HALF_FILTER` samples."""
    from scipy.signal import upfirdn  # takes a second

    distance = np.maximum(np.arange(pulses.shape[1]), 1) * (bands.speed / (rate * OVERSAMPLING))
    points = np.arange(-HALF_FILTER * OVERSAMPLING, HALF_FILTER * OVERSAMPLING + 1) / OVERSAMPLING
    low_pass = np.sinc(points) * np.cos(np.pi * points / (2 * HALF_FILTER)) ** 2
    attenuated = pulses * np.exp(-0.5 * bands.air[:, None] * distance) / distance
    return bands.filtered(upfirdn(low_pass, attenuated, down=OVERSAMPLING)).sum(axis=0)
