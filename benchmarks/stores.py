"""Memory and seconds of training on a store of 20 GB, and of embedding one of 2.2 GB, which are passed as they are.

    python benchmarks/stores.py                              # Zarr and HDF5, about four minutes
    python benchmarks/stores.py --kinds zarr --rows-per-chunk 16
    python benchmarks/stores.py --kinds memmap --gigabytes 5

Recordings are noise of 4 s. The stores look as large as they are said to be, but share 1024 recordings among them:
a Zarr array has hard links to the files of their chunks, an HDF5 dataset is a virtual one that repeats another. So they
take little disk, and what is measured is decoding and memory, not how fast a disk is. A memory map cannot share and is
written whole, which takes as much disk as it has gigabytes, so it is only measured when asked for. Its peak counts the
pages of the file that were touched, which the system takes back when it needs them.

Each store is read in a process of its own, and the peak is that of the whole process with all that it imports. Results
replace those of the same names in `benchmarks/stores.json`. Needs zarr and h5py, and Linux or macOS.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from arguments import positive
from record import add

from roomacoustic_sk import ContrastiveRoomEncoder

HERE = Path(__file__).parent
RATE, CLIP = 16_000, 64_000
N_ROWS = 1024  # at least, that have samples of their own: more than the caches of HDF5 hold
ROWS_PER_RIR = 100
TRANSFORMED_GB = 2.2
STEPS, EPOCHS = 16, 2


class Size(NamedTuple):
    """Size of a store."""

    n_chunks: int
    rows_per_chunk: int

    @classmethod
    def of(cls, gigabytes: float, rows_per_chunk: int) -> Size:
        """Return the size of a store that looks as large, in whole chunks."""
        return cls(-(-int(gigabytes * 1e9) // (4 * CLIP * rows_per_chunk)), rows_per_chunk)

    @property
    def n_own(self) -> int:
        """Chunks with samples of their own."""
        return min(-(-N_ROWS // self.rows_per_chunk), self.n_chunks)

    @property
    def shape(self) -> tuple[int, int]:
        """Recordings, and samples in each."""
        return self.n_chunks * self.rows_per_chunk, CLIP


def noise(chunk: int, n_rows: int) -> np.ndarray:
    """Return recordings of noise, each of its own."""
    return 0.1 * np.random.default_rng(chunk).standard_normal((n_rows, CLIP), dtype=np.float32)


# --- Stores -------------------------------------------------------------------------------------------------------


def write_zarr(path: Path, size: Size) -> None:
    """Write some chunks, and link the others to them."""
    import zarr

    array = zarr.create_array(
        path,
        shape=size.shape,
        chunks=(size.rows_per_chunk, CLIP),
        dtype="f4",
        chunk_key_encoding={"name": "default", "separator": "."},
    )
    for chunk in range(size.n_chunks):
        if chunk < size.n_own:
            first = chunk * size.rows_per_chunk
            array[first : first + size.rows_per_chunk] = noise(chunk, size.rows_per_chunk)
        else:
            (path / f"c.{chunk}.0").hardlink_to(path / f"c.{chunk % size.n_own}.0")


def open_zarr(path: Path) -> Any:
    """Return the array."""
    import zarr

    return zarr.open_array(path, mode="r")


def write_hdf5(path: Path, size: Size) -> None:
    """Write a dataset of some chunks, and a virtual one that repeats it."""
    import h5py

    real = h5py.VirtualSource(".", "chunks", shape=(size.n_own * size.rows_per_chunk, CLIP))
    layout = h5py.VirtualLayout(size.shape, "f4")
    for first in range(0, size.shape[0], real.shape[0]):
        n_rows = min(size.shape[0] - first, real.shape[0])
        layout[first : first + n_rows] = real[:n_rows]
    with h5py.File(path, "w") as file:
        chunks = file.create_dataset(
            "chunks", real.shape, "f4", chunks=(size.rows_per_chunk, CLIP), compression="gzip", shuffle=True
        )
        for chunk in range(size.n_own):
            first = chunk * size.rows_per_chunk
            chunks[first : first + size.rows_per_chunk] = noise(chunk, size.rows_per_chunk)
        file.create_virtual_dataset("waves", layout)


def open_hdf5(path: Path) -> Any:
    """Return the dataset."""
    import h5py

    return h5py.File(path)["waves"]


def write_memmap(path: Path, size: Size) -> None:
    """Write all samples, where the disk has room for them."""
    if 4 * np.prod(size.shape, dtype=np.int64) > 0.9 * shutil.disk_usage(path.parent).free:
        raise SystemExit(f"{path.parent} has no room for a memory map of shape {size.shape}: pass fewer --gigabytes")
    chunks = [noise(chunk, size.rows_per_chunk).tobytes() for chunk in range(size.n_own)]
    with path.open("wb") as file:
        for chunk in range(size.n_chunks):
            file.write(chunks[chunk % size.n_own])


def open_memmap(path: Path) -> Any:
    """Return the array."""
    return np.memmap(path, np.float32, "r").reshape(-1, CLIP)


KINDS: dict[str, tuple[Callable[[Path, Size], None], Callable[[Path], Any]]] = {
    "zarr": (write_zarr, open_zarr),
    "hdf5": (write_hdf5, open_hdf5),
    "memmap": (write_memmap, open_memmap),
}


# --- Measurement --------------------------------------------------------------------------------------------------


def peak_gb() -> float:
    """Return the most memory that this process had."""
    scale = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 1e9, 3)


def measure(kind: str, folder: Path) -> dict[str, Any]:
    """Train on the large store and embed the small one, in this process."""
    _, open_store = KINDS[kind]
    large, small = open_store(folder / "large"), open_store(folder / "small")
    rir, source = np.divmod(np.arange(large.shape[0]), ROWS_PER_RIR)
    encoder = ContrastiveRoomEncoder(
        max_epochs=EPOCHS,
        steps_per_epoch=STEPS,
        validation_steps=STEPS // 2,
        precision="float32",
        compile=False,
        random_state=0,
    )
    measured: dict[str, Any] = {"rows": large.shape[0], "gb": round(4 * large.shape[0] * CLIP / 1e9, 2)}
    measured["before_peak_gb"] = peak_gb()
    started = time.perf_counter()
    encoder.fit(large, rir_groups=rir, source_groups=source)
    measured["fit_seconds"] = round(time.perf_counter() - started, 2)
    measured["fit_peak_gb"] = peak_gb()
    started = time.perf_counter()
    embedded = encoder.transform(small)
    measured["transform_seconds"] = round(time.perf_counter() - started, 2)
    measured["transform_rows"] = len(embedded)
    measured["peak_gb"] = peak_gb()
    return measured


def main() -> None:
    """Build, measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kinds", nargs="+", choices=list(KINDS), default=["zarr", "hdf5"])
    parser.add_argument("--gigabytes", type=positive, default=20.0, help="apparent size of the store to train on")
    parser.add_argument("--rows-per-chunk", type=int, default=1, help="recordings that are compressed together")
    parser.add_argument(
        "--folder", type=Path, help="where stores are built and removed again; the system's if not given"
    )
    parser.add_argument("--output", type=Path, default=HERE / "stores.json", help="file whose rows are replaced")
    parser.add_argument("--measure", type=Path, help="measure the stores in this folder in this very process")
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.kinds[0], args.measure)))
        return
    for kind in args.kinds:
        with tempfile.TemporaryDirectory(dir=args.folder) as folder:
            for name, gigabytes in (("large", args.gigabytes), ("small", TRANSFORMED_GB)):
                KINDS[kind][0](Path(folder) / name, Size.of(gigabytes, args.rows_per_chunk))
            command = [sys.executable, __file__, "--kinds", kind, "--measure", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{kind}: {done.stderr[-2000:]}")
        measured = json.loads(done.stdout.splitlines()[-1])
        name = f"{kind}, {args.gigabytes:g} GB, {args.rows_per_chunk} row{'s' * (args.rows_per_chunk > 1)} a chunk"
        print(f"{name}: {measured}", flush=True)
        add(args.output, name, measured)


if __name__ == "__main__":
    main()
