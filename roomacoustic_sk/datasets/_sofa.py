"""Impulse responses of rooms in SOFA files (AES69), read by sofar: every measurement, receiver and emitter."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from roomacoustic_sk._validation import ArgumentValueError, MissingFileError, NamedError
from roomacoustic_sk.datasets._audio import RATES, shown
from roomacoustic_sk.datasets._reading import resample

SOFA_SUFFIX = ".sofa"

FREE_FIELD = ("SimpleFreeField", "FreeField", "SimpleHeadphone")
"""Beginnings of the names of conventions whose responses are of no room, whatever their files say of one."""

TEMPLATE = (1.0, 2.0, 3.0)
"""Sides in m of the room in sofar's templates of the conventions, which documents none."""

LARGEST_COMPRESSION = 1032
"""Bytes that deflate, the compression of these files, gives for one at most: what a file claims beyond is not there."""

LARGEST_GEOMETRY = 10_000_000
"""Values that one variable beside the samples may have: positions of millions of measurements."""

DIMENSIONS = ("M", "R", "E", "N")
"""Measurements, receivers, emitters and samples, as AES69 names them; files state their order."""


class SofaResponses(NamedTuple):
    """The responses of a SOFA file, one for each measurement, receiver and emitter."""

    rirs: list[NDArray[np.float32]]
    labels: pd.DataFrame  # measurement, receiver, emitter: numbers from 0
    documented: pd.DataFrame  # distance, length, width, height [m], volume [m3]; NaN where the file says nothing
    room: str  # its short name, empty where the file gives none


def read_sofa(path: Path, sample_rate: int, receiver: int | None = None) -> SofaResponses:
    """Read the impulse responses of a SOFA file, resampled: of all receivers, or of one, counted from 0.

    Raises
    ------
    ImportError
        If sofar is not installed.
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is broken, has no impulse responses, or those of a free field (such as head-related ones).
    """
    try:
        from sofar import SofaStream
    except ImportError as error:
        raise ImportError(f"{shown(path)} is read by sofar: pip install 'roomacoustic_sk[sofa]'.") from error
    if not path.is_file():
        raise MissingFileError(f"path must be a SOFA file, got a path that is not a file: {shown(path)}.")
    try:
        with SofaStream(os.fspath(path)) as sofa:
            return _read(sofa, path, sample_rate, receiver)
    except NamedError:
        raise
    except MemoryError as error:
        raise _refused(path, "whose samples do not fit into memory") from error
    except Exception as error:  # of sofar, netCDF4 or HDF5, which have no error in common
        reason = " ".join(str(error).split()) or type(error).__name__
        raise _refused(path, f"which cannot be read ({reason.rstrip('.')}). Copy or download it again") from error


def _refused(path: Path, why: str) -> ArgumentValueError:
    return ArgumentValueError(f"path must be a SOFA file with impulse responses of a room, got {shown(path)}, {why}.")


def _read(sofa: Any, path: Path, sample_rate: int, receiver: int | None) -> SofaResponses:
    _check_kind(sofa, path)
    variable = _entry(sofa, "Data_IR")
    sizes = dict(zip(variable.dimensions, variable.shape, strict=True))
    n_measurements, n_receivers, n_emitters, n_times = (sizes.get(name, 1) for name in DIMENSIONS)
    if receiver is not None and not 0 <= receiver < n_receivers:
        raise ArgumentValueError(
            f"channel must be a receiver of every SOFA file, got {receiver}, and {n_receivers} in {shown(path)}."
        )
    receivers = range(n_receivers) if receiver is None else [receiver]
    chosen = pd.MultiIndex.from_product(
        [range(n_measurements), receivers, range(n_emitters)], names=["measurement", "receiver", "emitter"]
    ).to_frame(index=False)
    if not len(chosen) or not n_times:
        raise _refused(path, "which has no samples")
    old_rate = _sampling_rate(sofa, path)
    rirs = [
        resample(samples, old_rate, sample_rate)
        for of_measurement in _samples(variable, path, n_measurements)
        for samples in of_measurement[receivers].reshape(-1, n_times)
    ]
    room = str(_entry(sofa, "GLOBAL_RoomShortName", "")).strip()
    return SofaResponses(rirs, chosen, _documented(sofa, chosen, n_measurements), room)


def _entry(sofa: Any, name: str, missing: Any = None) -> Any:
    """Return an entry of an open file by the name that sofar gives it, `missing` where the file has none."""
    return getattr(sofa, name, missing)


def _check_kind(sofa: Any, path: Path) -> None:
    """Refuse files without impulse responses, or with those of no room, from their headers."""
    convention, kind = str(_entry(sofa, "GLOBAL_SOFAConventions", "")), str(_entry(sofa, "GLOBAL_DataType", ""))
    if not convention:
        raise _refused(path, "which names no convention of AES69")
    if str(_entry(sofa, "GLOBAL_RoomType", "")).lower() == "free field" or convention.startswith(FREE_FIELD):
        raise _refused(
            path,
            f"whose responses are of no room ({convention}, free field), such as head-related ones. Leave it out, or "
            "correct its RoomType if it was measured in a room",
        )
    variable = _entry(sofa, "Data_IR")
    if variable is None:
        raise _refused(path, f"which has data of type {kind or 'unknown'} and no impulse responses (Data.IR)")
    if not {"M", "R", "N"} <= set(variable.dimensions) <= {*DIMENSIONS}:
        raise _refused(path, f"whose Data.IR has dimensions {', '.join(variable.dimensions)}")
    for part in ("Receiver", "Emitter"):
        if "harmonics" in str(_entry(sofa, f"{part}Position_Type", "")).lower():
            raise _refused(path, f"whose {part.lower()}s are spherical harmonics, not positions. Decode it first")
    claimed, size = variable.dtype.itemsize * int(np.prod(variable.shape, dtype=object)), path.stat().st_size
    if claimed > LARGEST_COMPRESSION * size:
        raise _refused(path, f"whose header claims {claimed:.3g} bytes of samples in a file of {size}")


def _sampling_rate(sofa: Any, path: Path) -> int:
    """Return the sampling rate in Hz, which must be the same in all measurements."""
    variable = _entry(sofa, "Data_SamplingRate")
    rates = np.array([]) if variable is None else np.unique(_numbers(variable))
    low, high = RATES
    if len(rates) != 1 or not low <= rates[0] <= high or rates[0] % 1:
        said = ", ".join(f"{rate:g}" for rate in rates[:3]) or "no"
        raise _refused(path, f"whose sampling rate must be one whole number of Hz from {low} to {high}: {said}")
    return int(rates[0])


def _samples(variable: Any, path: Path, n_measurements: int) -> Iterator[NDArray[np.float64]]:
    """Yield the samples of one measurement after the other, of shape (n_receivers, n_emitters, n_times)."""
    order = [variable.dimensions.index(name) for name in DIMENSIONS if name in variable.dimensions]
    for measurement in range(n_measurements):
        place = tuple(
            slice(measurement, measurement + 1) if name == "M" else slice(None) for name in variable.dimensions
        )
        samples = np.ma.filled(np.ma.asarray(variable[place], np.float64), np.nan)
        if not np.isfinite(samples).all():
            raise _refused(path, f"which has missing, NaN or infinite samples in measurement {measurement}")
        samples = samples.transpose(order)[0]
        yield samples if samples.ndim == 3 else samples[:, None]


# --- Documented geometry ----------------------------------------------------------------------------------------


def _documented(sofa: Any, chosen: pd.DataFrame, n_measurements: int) -> pd.DataFrame:
    """Return the geometry of the chosen responses; zeros, the defaults of many conventions, say nothing."""
    first, last = (_table(sofa, f"RoomCorner{corner}", n_measurements, kind="RoomCorners") for corner in "AB")
    sides = np.abs(last - first)[chosen["measurement"]]
    sides = np.where((sides == TEMPLATE).all(axis=1, keepdims=True), np.nan, sides)
    volume = np.full(n_measurements, np.nan)
    if (variable := _entry(sofa, "RoomVolume")) is not None:
        values = np.ravel(_numbers(variable))
        volume = np.broadcast_to(values, n_measurements) if len(values) in (1, n_measurements) else volume
        volume = np.where(volume > 0, volume, np.nan)
    found = pd.DataFrame(dict(zip(("length", "width", "height"), sides.T, strict=True)))
    found["volume"] = volume[chosen["measurement"]]
    sources = _positions(sofa, "Source", "Emitter", n_measurements)
    microphones = _positions(sofa, "Listener", "Receiver", n_measurements)
    emitter, receiver = (
        np.minimum(chosen[name], len(positions[0]) - 1)
        for name, positions in (("emitter", sources), ("receiver", microphones))
    )
    at = chosen["measurement"].to_numpy()
    found["distance"] = np.linalg.norm(sources[at, emitter] - microphones[at, receiver], axis=1)
    found = found.where((found > 0) & (found < np.inf))
    found["volume"] = found["volume"].fillna(found["length"] * found["width"] * found["height"])
    return found


def _positions(sofa: Any, whole: str, part: str, n_measurements: int) -> NDArray[np.float64]:
    """Return where emitters or receivers are, in m, of shape (n_measurements, n_parts, 3); NaN where not documented.

    AES69: they are placed relative to the source or the listener, whose view is their x axis and whose up is their z.
    """
    origin = _table(sofa, f"{whole}Position", n_measurements)
    variable = _entry(sofa, f"{part}Position")
    if variable is None:
        return origin[:, None]
    offsets = _numbers(variable)
    offsets = offsets[..., None] if offsets.ndim == 2 else offsets  # (n_parts, 3, n_measurements or 1)
    if offsets.ndim != 3 or offsets.shape[1] != 3 or offsets.shape[2] not in (1, n_measurements):
        return np.full((n_measurements, 1, 3), np.nan)
    offsets = _cartesian(np.moveaxis(offsets, 2, 0), _entry(sofa, f"{part}Position_Type", "cartesian"))
    if not offsets.any():
        return origin[:, None] + offsets
    kind = f"{whole}View"
    x = _table(sofa, kind, n_measurements, missing=(1.0, 0.0, 0.0), kind=kind)
    z = _table(sofa, f"{whole}Up", n_measurements, missing=(0.0, 0.0, 1.0), kind=kind)
    with np.errstate(divide="ignore", invalid="ignore"):  # a view without length leads nowhere: NaN
        axes = np.stack([x, np.cross(z, x), z], axis=1)
        axes /= np.linalg.norm(axes, axis=2, keepdims=True)
    return origin[:, None] + offsets @ axes


def _table(
    sofa: Any, name: str, n_measurements: int, *, missing: tuple[float, ...] = (np.nan,) * 3, kind: str = ""
) -> NDArray[np.float64]:
    """Return one position for each measurement in m, of shape (n_measurements, 3); files may state it once for all."""
    variable = _entry(sofa, name)
    values = np.array([missing]) if variable is None else _numbers(variable)
    if values.ndim != 2 or values.shape[1] != 3 or len(values) not in (1, n_measurements):
        return np.full((n_measurements, 3), np.nan)
    values = _cartesian(values, "cartesian" if variable is None else _entry(sofa, f"{kind or name}_Type", "cartesian"))
    return np.broadcast_to(values, (n_measurements, 3))


def _numbers(variable: Any) -> NDArray[np.float64]:
    """Return the values of a variable, NaN where they are missing."""
    if variable.size > LARGEST_GEOMETRY:
        raise ValueError(f"{variable.name} claims {variable.size} values")
    return np.ma.filled(np.ma.asarray(variable[:], np.float64), np.nan)


def _cartesian(positions: NDArray[np.float64], kind: Any) -> NDArray[np.float64]:
    """Return positions (..., 3) in m; spherical ones are azimuth and elevation in degrees, and radius in m."""
    if str(kind).lower() == "cartesian":
        return positions
    if str(kind).lower() != "spherical":
        return np.full_like(positions, np.nan)
    azimuth, elevation, radius = np.radians(positions[..., 0]), np.radians(positions[..., 1]), positions[..., 2]
    level = radius * np.cos(elevation)
    return np.stack([level * np.cos(azimuth), level * np.sin(azimuth), radius * np.sin(elevation)], axis=-1)
