"""Random shoebox rooms: ranges, their checks, and random draws from them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._shoebox.bands import filter_bank
from roomacoustic_sk._validation import (
    CENTIMETRES,
    PER_CENT,
    ArgumentValueError,
    SimulationError,
    check_number,
    check_unmasked,
    describe,
    is_flat,
)

Array = NDArray[np.float64]
Material = str | float

SABINE = 0.161
"""Reverberation time by volume and absorption area, in s/m (ISO 354)."""

WALLS = ("west", "east", "south", "north", "floor", "ceiling")
"""pyroomacoustics' names: the length extends from west to east, the width from south to north."""


class TransmissionPath(NamedTuple):
    """A source and a microphone in a shoebox room; lengths in metres."""

    size: Array  # (3,) length, width, height
    absorption: Array  # (6, n_bands) energy absorption: west, east, south, north, floor, ceiling
    scattering: float  # share of the reflected energy that is not reflected specularly
    source: Array  # (3,)
    microphone: Array  # (3,)


class RoomRanges(NamedTuple):
    """The ranges and choices from which rooms are drawn."""

    size: Array  # (3, 2) lowest and highest length, width, height [m]
    wall_distance: float  # m
    source_distance: float  # m
    materials: tuple[tuple[Material, ...], ...]  # choices for each wall
    absorption: dict[Material, Array]  # in octave bands
    scattering: tuple[float, float]


LARGEST_ROOM = {"length": 200.0, "width": 200.0, "height": 100.0}
"""Largest dimensions of a room in m; larger ones are in cm or mm."""

MAX_POSITIONS = 1_000_000
"""Maximum number of pairs of positions drawn for one that is far enough apart."""


def _check_range(
    value: Any,
    name: str,
    *,
    high: float = np.inf,
    limit: float = np.inf,
    fix: str,
    low_open: bool = True,
) -> tuple[float, float]:
    """Return a range as a pair (lowest, highest), both equal for a single number, or raise."""
    check_unmasked(value, name=name)
    pair = tuple(value) if is_flat(value) else (value, value)
    if len(pair) != 2:
        raise ArgumentValueError(f"{name} must be a number or a pair (lowest, highest), got {describe(value)}.")
    for number in pair:
        check_number(number, name=name, low=0, low_open=low_open, high=high, limit=limit, fix=fix)
    if pair[0] > pair[1]:
        raise ArgumentValueError(f"{name} must be a pair (lowest, highest), got {pair}. Swap them.")
    return float(pair[0]), float(pair[1])


def _check_geometry(size: Array, wall_distance: float, source_distance: float) -> None:
    """Refuse distances for which the smallest room is too small."""
    inner = size[:, 0] - 2 * wall_distance
    if inner.min() <= 0:
        name = ("length", "width", "height")[inner.argmin()]
        raise ArgumentValueError(
            f"{name} must be above 2 * wall_distance = {2 * wall_distance:g} m, "
            f"got {size[inner.argmin(), 0]:g} m. Make the rooms larger or wall_distance smaller."
        )
    # Beyond this, such positions exist, but hardly any random pair is that far apart.
    largest = 0.8 * np.linalg.norm(inner)
    if largest < source_distance:
        raise ArgumentValueError(
            f"source_distance must be at most {largest:.3g} m to fit into the smallest room, "
            f"got {source_distance:g} m. Make the rooms larger or source_distance smaller."
        )


def _check_material(material: Any) -> Material:
    """Return a material's name in the database or its absorption coefficient, or raise."""
    import pyroomacoustics as pra

    if isinstance(material, str):
        if material not in pra.parameters.materials_absorption_table:
            raise ArgumentValueError(
                f"materials must be names of pyroomacoustics' database, got {material!r}. "
                "List them with list(pyroomacoustics.parameters.materials_absorption_table)."
            )
        return material
    check_number(material, name="materials (absorption)", low=0, low_open=True, high=1, fix=PER_CENT)
    return float(material)


def _check_materials(materials: Any) -> tuple[tuple[Material, ...], ...]:
    """Return the materials to choose from for each wall."""
    import pyroomacoustics as pra

    check_unmasked(materials, name="materials")
    if materials is None:
        names = sorted(set(pra.parameters.materials_absorption_table) - {"anechoic"})
        return (tuple(names),) * len(WALLS)
    if isinstance(materials, dict):
        if set(materials) != set(WALLS):
            raise ArgumentValueError(f"materials must have the keys {list(WALLS)}, got {list(materials)}.")
        return tuple((_check_material(materials[wall]),) for wall in WALLS)
    if isinstance(materials, (list, tuple)):
        if not materials:
            raise ArgumentValueError("materials must have at least one to choose from, got none.")
        return (tuple(_check_material(material) for material in materials),) * len(WALLS)
    return ((_check_material(materials),),) * len(WALLS)


def _absorption_in_bands(materials: set[Material], sample_rate: int) -> dict[Material, Array]:
    """Absorption coefficients in the octave bands at the sampling rate."""
    import pyroomacoustics as pra

    bank, table = filter_bank(sample_rate), pra.parameters.materials_absorption_table
    return {
        material: np.full(bank.n_bands, material)
        if isinstance(material, float)
        else np.asarray(bank(coeffs=table[material]["coeffs"], center_freqs=table[material].get("center_freqs")))
        for material in materials
    }


def check_ranges(
    *,
    length: Any,
    width: Any,
    height: Any,
    wall_distance: Any,
    source_distance: Any,
    materials: Any,
    scattering: Any,
    sample_rate: int,
) -> RoomRanges:
    """Check and return the ranges of rooms, with the absorption in the octave bands at the sampling rate.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or the rooms are too small for the distances.
    """
    for name, distance in (("wall_distance", wall_distance), ("source_distance", source_distance)):
        check_number(distance, name=name, low=0, low_open=True, limit=LARGEST_ROOM["length"], fix=CENTIMETRES)
    sizes = {"length": length, "width": width, "height": height}
    size = np.array([_check_range(sizes[name], name, limit=LARGEST_ROOM[name], fix=CENTIMETRES) for name in sizes])
    _check_geometry(size, wall_distance, source_distance)
    choices = _check_materials(materials)
    return RoomRanges(
        size=size,
        wall_distance=float(wall_distance),
        source_distance=float(source_distance),
        materials=choices,
        absorption=_absorption_in_bands({material for choice in choices for material in choice}, sample_rate),
        scattering=_check_range(scattering, "scattering", high=1, low_open=False, fix=PER_CENT),
    )


def _draw_positions(ranges: RoomRanges, size: Array, rng: np.random.Generator) -> Array:
    """Draw positions of source and microphone, away from the walls and from each other (2, 3)."""
    for _ in range(MAX_POSITIONS):
        pair = rng.uniform(ranges.wall_distance, size - ranges.wall_distance, (2, 3))
        if np.linalg.norm(pair[0] - pair[1]) >= ranges.source_distance:
            return pair
    raise SimulationError(
        f"source_distance must be reached by random positions in a room of {' x '.join(f'{x:.3g}' for x in size)} m, "
        f"got {ranges.source_distance:g} m, which none of {MAX_POSITIONS} pairs reached. Make it smaller."
    )


def shortest_reverberation(ranges: RoomRanges) -> float:
    """Return the reverberation time in s, after Sabine and without air, of the driest of all possible rooms.

    That is the smallest room, whose walls are of the most absorbing materials, in the octave band that they absorb
    best: no room reverberates for less.
    """
    x, y, z = ranges.size[:, 0]
    areas = np.array([y * z, y * z, x * z, x * z, x * y, x * y])
    best = np.array([max(ranges.absorption[material].max() for material in choice) for choice in ranges.materials])
    return float(SABINE * x * y * z / (areas @ best))


def draw_room(
    ranges: RoomRanges, n_paths: int, rng: np.random.Generator
) -> tuple[list[Material], list[TransmissionPath]]:
    """Draw a room, its materials and its transmission paths."""
    size = rng.uniform(ranges.size[:, 0], ranges.size[:, 1])
    materials = [choice[rng.integers(len(choice))] for choice in ranges.materials]
    absorption = np.stack([ranges.absorption[material] for material in materials])
    scattering = rng.uniform(*ranges.scattering)
    positions = [_draw_positions(ranges, size, rng) for _ in range(n_paths)]
    return materials, [TransmissionPath(size, absorption, scattering, *pair) for pair in positions]
