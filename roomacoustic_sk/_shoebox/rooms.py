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
    log_size: bool  # whether the dimensions are drawn on a logarithmic scale
    wall_distance: tuple[float, float]  # m, the least distance from the walls is drawn from it for each path
    source_distance: float | tuple[float, float]  # m, the least one, or the range from which it is drawn
    materials: tuple[tuple[Material, ...], ...]  # choices for each wall
    hard: tuple[Material, ...]  # choices for the hard walls of a room, whose share is drawn; none if empty
    absorption: dict[Material, Array]  # in octave bands
    scattering: tuple[float, float]


class Preset(NamedTuple):
    """Default ranges of rooms for one use; lengths in metres."""

    length: tuple[float, float]
    width: tuple[float, float]
    height: tuple[float, float]
    wall_distance: float | tuple[float, float]
    source_distance: float | tuple[float, float]
    log_size: bool = False
    hard_walls: bool = False  # whether a share of the walls, drawn for each room, is of hard materials


PRESETS = {
    "paper": Preset((3, 10), (3, 10), (3, 5), wall_distance=0.5, source_distance=0.5),
    "everyday": Preset((1.8, 15), (1.5, 10), (2.2, 6), (0.1, 1.0), (0.1, 15.0), log_size=True, hard_walls=True),
    "wide": Preset((1.5, 40), (1.2, 30), (1.1, 15), (0.05, 1.0), (0.03, 50.0), log_size=True, hard_walls=True),
}
"""Ranges by name: the paper's (section 4.1); homes, offices, schools, stairs; and all from a car to a concert hall."""

HARD = 0.06
"""Highest mean absorption, in the octaves of 500 Hz and 1 kHz, of a hard wall: concrete, brick, plaster, tiles."""


LARGEST_ROOM = {"length": 200.0, "width": 200.0, "height": 100.0}
"""Largest dimensions of a room in m; larger ones are in cm or mm."""

MAX_POSITIONS = 1_000_000
"""Maximum number of pairs of positions drawn for one that is far enough apart."""

WALL_SHARE = 0.4
"""Largest least distance from the walls, as a share of the smallest dimension of a room."""

POSITIONS_AT_ONCE = 1000
"""Number of pairs of positions drawn for one distance, before another distance is drawn."""


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


def _check_distance(value: Any, name: str) -> float | tuple[float, float]:
    """Return a least distance, or the range of one, or raise."""
    low, high = _check_range(value, name, limit=LARGEST_ROOM["length"], fix=CENTIMETRES)
    return (low, high) if is_flat(value) else low


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
        if material in pra.parameters.materials_absorption_table:
            return material
        try:
            material = float(material)  # as the target of simulated rooms has it
        except ValueError:
            raise ArgumentValueError(
                f"materials must be names of pyroomacoustics' database or absorption coefficients, got {material!r}. "
                "List the names with list(pyroomacoustics.parameters.materials_absorption_table)."
            ) from None
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
    if is_flat(materials):
        if not len(materials):
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
    preset: Preset,
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

    None stands for the value of the preset.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or the rooms are too small for the distances.
    """
    given = {"length": length, "width": width, "height": height}
    sizes = {name: getattr(preset, name) if value is None else value for name, value in given.items()}
    from_walls = _check_distance(preset.wall_distance if wall_distance is None else wall_distance, "wall_distance")
    apart = _check_distance(preset.source_distance if source_distance is None else source_distance, "source_distance")
    size = np.array([_check_range(sizes[name], name, limit=LARGEST_ROOM[name], fix=CENTIMETRES) for name in sizes])
    from_walls = from_walls if isinstance(from_walls, tuple) else (from_walls, from_walls)
    _check_geometry(size, from_walls[0], apart[0] if isinstance(apart, tuple) else apart)
    choices = _check_materials(materials)
    absorption = _absorption_in_bands({material for choice in choices for material in choice}, sample_rate)
    hard = preset.hard_walls and materials is None
    return RoomRanges(
        size=size,
        log_size=preset.log_size,
        wall_distance=from_walls,
        source_distance=apart,
        materials=choices,
        hard=_hard_materials() if hard else (),
        absorption=absorption,
        scattering=_check_range(scattering, "scattering", high=1, low_open=False, fix=PER_CENT),
    )


def _hard_materials() -> tuple[Material, ...]:
    """Return the materials of hard walls."""
    in_octaves = _absorption_in_bands(set(_check_materials(None)[0]), 16000)  # from 125 Hz on
    return tuple(sorted(name for name, absorption in in_octaves.items() if absorption[2:4].mean() <= HARD))


def _draw_positions(ranges: RoomRanges, size: Array, rng: np.random.Generator) -> Array:
    """Draw positions of source and microphone, away from the walls and from each other (2, 3)."""
    low, high = ranges.wall_distance
    if low < high:
        low = rng.uniform(low, max(low, min(high, WALL_SHARE * size.min())))
    if isinstance(ranges.source_distance, tuple):
        return _draw_apart(ranges.source_distance, low, size, rng)
    for _ in range(MAX_POSITIONS):
        pair = rng.uniform(low, size - low, (2, 3))
        if np.linalg.norm(pair[0] - pair[1]) >= ranges.source_distance:
            return pair
    raise _out_of_reach(size, ranges.source_distance)


def _draw_apart(distances: tuple[float, float], from_walls: float, size: Array, rng: np.random.Generator) -> Array:
    """Draw positions whose distance is drawn on a logarithmic scale, as far as the room goes."""
    farthest = min(distances[1], float(np.linalg.norm(size - 2 * from_walls)))
    for _ in range(MAX_POSITIONS // POSITIONS_AT_ONCE if farthest >= distances[0] else 0):
        distance = np.exp(rng.uniform(*np.log([distances[0], farthest])))
        direction = rng.standard_normal((POSITIONS_AT_ONCE, 3))
        microphones = rng.uniform(from_walls, size - from_walls, (POSITIONS_AT_ONCE, 3))
        sources = microphones + distance * direction / np.linalg.norm(direction, axis=1, keepdims=True)
        inside = np.flatnonzero(((sources >= from_walls) & (sources <= size - from_walls)).all(axis=1))
        if len(inside):
            return np.stack([sources[inside[0]], microphones[inside[0]]])
    raise _out_of_reach(size, distances[0])


def _out_of_reach(size: Array, distance: float) -> SimulationError:
    return SimulationError(
        f"source_distance must be reached by random positions in a room of {' x '.join(f'{x:.3g}' for x in size)} m, "
        f"got {distance:g} m, which none of {MAX_POSITIONS} pairs reached. Make it smaller."
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
    size = _draw_size(ranges, rng)
    materials = [choice[rng.integers(len(choice))] for choice in ranges.materials]
    if ranges.hard:
        share = rng.random()
        materials = [ranges.hard[rng.integers(len(ranges.hard))] if rng.random() < share else one for one in materials]
    absorption = np.stack([ranges.absorption[material] for material in materials])
    scattering = rng.uniform(*ranges.scattering)
    positions = [_draw_positions(ranges, size, rng) for _ in range(n_paths)]
    return materials, [TransmissionPath(size, absorption, scattering, *pair) for pair in positions]


def _draw_size(ranges: RoomRanges, rng: np.random.Generator) -> Array:
    if ranges.log_size:
        return np.exp(rng.uniform(np.log(ranges.size[:, 0]), np.log(ranges.size[:, 1])))
    return rng.uniform(ranges.size[:, 0], ranges.size[:, 1])
