"""Ray tracing in a shoebox room with partly diffuse reflections.

pyroomacoustics also traces rays, but its results are not accurate enough for labels. Compared with image sources and
diffuse-field theory, as this module is in the tests, its reverberation (0.10.1) is 1 to 3 dB too loud, and clarity and
direct-to-reverberant ratio are too low by the same amount: the last order of the image sources is counted twice; energy
scattered towards the receiver ("diffuse rain") is not subtracted from the ray, and stops at a level that depends on the
number of rays; and the noise that carries the energy is 1.3 dB too strong. Here energy is conserved: at a wall, a ray
leaves specularly or, with the probability `scattering` (ISO 17497-1), in a random direction that follows Lambert's law.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._shoebox.bands import OctaveBands
from roomacoustic_sk._shoebox.rooms import TransmissionPath

Array = NDArray[Any]

BIN_SECONDS = 0.004
"""Bin width of the energy histogram, about the time resolution of the ear, as in pyroomacoustics."""

SORTING_PERIOD = 4
"""Number of reflections between removals of finished rays."""

TINY = np.float32(1e-12)


# --- Energy -----------------------------------------------------------------------------------------------------


def _enter_and_leave(position: Array, inverse: Array, low: Array, high: Array) -> tuple[Array, Array]:
    """Distances along each ray at which it enters and leaves the slab between two planes, for each axis (3, n).

    `inverse` is the reciprocal of the direction (Kay and Kajiya, SIGGRAPH 1986).
    """
    to_low, to_high = (low[:, None] - position) * inverse, (high[:, None] - position) * inverse
    return np.minimum(to_low, to_high), np.maximum(to_low, to_high)


def _lambert(rng: np.random.Generator, axis: Array, inward: Array) -> Array:
    """Random directions (3, n) into the room from walls normal to `axis`, by Lambert's cosine law."""
    rays = np.arange(len(axis))
    sine_squared, azimuth = rng.random((2, len(axis)), dtype=np.float32)
    azimuth *= 2 * np.pi
    direction = np.empty((3, len(axis)), dtype=np.float32)
    direction[axis, rays] = inward * np.sqrt(1 - sine_squared)
    direction[(axis + 1) % 3, rays] = np.sqrt(sine_squared) * np.cos(azimuth)
    direction[(axis + 2) % 3, rays] = np.sqrt(sine_squared) * np.sin(azimuth)
    return direction


def _histogram(bins: list[Array], energies: list[Array]) -> Array:
    """Sum the energies (n_bands, n) that fall into each bin."""
    place = np.concatenate(bins)
    return np.stack([np.bincount(place, weights, minlength=1) for weights in np.concatenate(energies).T], axis=1)


def trace_rays(
    path: TransmissionPath,
    n_rays: int,
    *,
    specular_order: int,
    reach: float,
    bin_width: float,
    floor: float,
    max_distance: float,
    rng: np.random.Generator,
) -> Array:
    """Trace rays from the source and collect the energy that passes the microphone.

    Parameters
    ----------
    path : TransmissionPath
        The room, its walls, source and microphone.
    n_rays : int
        Number of rays.
    specular_order : int
        Rays with at most this many reflections, all of them specular, are not counted: image sources cover them.
    reach : float
        Rays are counted in a box that extends this far from the microphone in every direction, within the room [m].
    bin_width : float
        Width of a bin of the histogram, in metres travelled.
    floor, max_distance : float
        A ray ends when every band has fallen to this fraction of its energy, or after this distance [m].
    rng : numpy.random.Generator
        Draws the directions.

    Returns
    -------
    ndarray of shape (n_bins, n_bands)
        Energy without air absorption, in units in which the direct sound has 1 / distance**2.
    """
    size = path.size.astype(np.float32)
    box_low = np.maximum(path.microphone - reach, 0).astype(np.float32)
    box_high = np.minimum(path.microphone + reach, path.size).astype(np.float32)
    reflection = (1 - path.absorption).astype(np.float32)
    direction = rng.standard_normal((3, n_rays), dtype=np.float32)
    direction /= np.sqrt((direction**2).sum(axis=0))
    position = np.repeat(path.source.astype(np.float32)[:, None], n_rays, axis=1)
    travelled = np.zeros(n_rays, dtype=np.float32)
    energy = np.ones((n_rays, reflection.shape[1]), dtype=np.float32)
    specular = np.ones(n_rays, dtype=bool)
    bins, energies = [], []
    order = 0
    while len(travelled):
        inverse = 1 / np.where(direction == 0, TINY, direction)
        x, y, z = np.maximum(-position * inverse, (size[:, None] - position) * inverse)
        way = np.minimum(np.minimum(x, y), z)
        axis = np.where(way == x, 0, np.where(way == y, 1, 2))
        enters, leaves = _enter_and_leave(position, inverse, box_low, box_high)
        enter = np.maximum(np.maximum(enters[0], enters[1]), np.maximum(enters[2], 0))
        leave = np.minimum(np.minimum(leaves[0], leaves[1]), leaves[2])
        passes = leave > enter
        if order <= specular_order:
            passes &= ~specular
        heard = np.flatnonzero(passes)
        enter, leave = enter[heard], leave[heard]
        bins.append(((travelled[heard] + (enter + leave) / 2) / bin_width).astype(int))
        energies.append(energy[heard] * (leave - enter)[:, None])

        rays = np.arange(len(way))
        normal = direction[axis, rays]
        inward = -np.sign(normal)
        position += direction * way
        position[axis, rays] = np.where(inward > 0, 0, size[axis])
        travelled += way
        energy *= reflection[2 * axis + (inward < 0)]
        direction[axis, rays] = -normal
        diffuse = np.flatnonzero(rng.random(len(way), dtype=np.float32) < path.scattering)
        direction[:, diffuse] = _lambert(rng, axis[diffuse], inward[diffuse])
        specular[diffuse] = False
        order += 1

        if order % SORTING_PERIOD == 0:
            alive = np.flatnonzero((energy > floor).any(axis=1) & (travelled < max_distance))
            position, direction = position.take(alive, axis=1), direction.take(alive, axis=1)
            energy = energy[alive]
            travelled, specular = travelled[alive], specular[alive]
    # Energy density is the path length of all rays in the box over its volume; a ray carries 4 pi / n_rays.
    return _histogram(bins, energies) * 4 * np.pi / (n_rays * (box_high - box_low).prod())


# --- Diffuse sound ----------------------------------------------------------------------------------------------


def _envelopes(histogram: Array, n_times: int, first_seconds: float, bands: OctaveBands, rate: int) -> Array:
    """Amplitude of the diffuse sound at each sample (n_bands, n_times), from the energy in each bin."""
    seconds = np.arange(n_times) / rate
    centres = (np.arange(len(histogram)) + 0.5) * BIN_SECONDS
    power = np.stack([np.interp(seconds, centres, energy, right=0) for energy in histogram.T]) / (BIN_SECONDS * rate)
    power[:, seconds < first_seconds] = 0
    return np.sqrt(power * np.exp(-bands.air[:, None] * bands.speed * seconds))


def diffuse_sound(histogram: Array, first_seconds: float, noise_seed: int, bands: OctaveBands, rate: int) -> Array:
    """Noise with the energy of the rays: dense reflections are Gaussian (Schroeder, J. Acoust. Soc. Am. 34, 1962)."""
    n_times = int(len(histogram) * BIN_SECONDS * rate)
    noise = np.random.default_rng(noise_seed).standard_normal(n_times)
    carriers = bands.bank.analysis(noise).T
    return (carriers * _envelopes(histogram, n_times, first_seconds, bands, rate)).sum(axis=0)


def mean_histogram(one: Array, n_one: int, other: Array, n_other: int) -> Array:
    """Mean of two histograms of different lengths, weighted by their numbers of rays."""
    n_bins = max(len(one), len(other))
    one, other = (np.pad(histogram, ((0, n_bins - len(histogram)), (0, 0))) for histogram in (one, other))
    return (n_one * one + n_other * other) / (n_one + n_other)
