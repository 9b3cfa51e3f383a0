"""Stores that look as large as they are asked to be, but take little disk.

Recordings are noise of 4 s. Up to 1 024 of them have samples of their own, and the others share those: a Zarr array has
hard links to the files of their chunks, an HDF5 dataset is a virtual one that repeats another. So decoding and memory
are measured, not how fast a disk is.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from inputs import CLIP

MAX_OWN = 1024
"""Recordings with samples of their own: more than HDF5's cache holds."""


def n_recordings(gigabytes: float) -> int:
    """Return how many recordings of 4 s in float32 make up so many GB."""
    return -(-int(gigabytes * 1e9) // (4 * CLIP))


def _recording(number: int) -> np.ndarray:
    return 0.1 * np.random.default_rng(number).standard_normal(CLIP, dtype=np.float32)


def write_zarr(path: Path, gigabytes: float) -> None:
    """Write some chunks, and link the others to them."""
    import zarr

    n = n_recordings(gigabytes)
    encoding = {"name": "default", "separator": "."}
    array = zarr.create_array(path, shape=(n, CLIP), chunks=(1, CLIP), dtype="f4", chunk_key_encoding=encoding)
    for i in range(min(n, MAX_OWN)):
        array[i] = _recording(i)
    for i in range(MAX_OWN, n):
        (path / f"c.{i}.0").hardlink_to(path / f"c.{i % MAX_OWN}.0")


def write_hdf5(path: Path, gigabytes: float) -> None:
    """Write a dataset of some chunks, and a virtual one that repeats it."""
    import h5py

    n = n_recordings(gigabytes)
    n_own = min(n, MAX_OWN)
    own = h5py.VirtualSource(".", "own", shape=(n_own, CLIP))
    layout = h5py.VirtualLayout((n, CLIP), "f4")
    for first in range(0, n, n_own):
        layout[first : first + n_own] = own[: min(n - first, n_own)]
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("own", (n_own, CLIP), "f4", chunks=(1, CLIP), compression="gzip", shuffle=True)
        for i in range(n_own):
            dataset[i] = _recording(i)
        file.create_virtual_dataset("recordings", layout)


def open_zarr(path: Path) -> Any:
    """Return the array."""
    import zarr

    return zarr.open_array(path, mode="r")


def open_hdf5(path: Path) -> Any:
    """Return the dataset."""
    import h5py

    return h5py.File(path)["recordings"]


def read_whole(path: Path) -> np.ndarray:
    """Return all recordings of a Zarr array, in memory."""
    return open_zarr(path)[:]
