"""The peak of memory of one task, in this very process.

    python benchmarks/memory.py fit roomacoustic_sk 512
    python benchmarks/memory.py train_on_store zarr FOLDER 16

Prints JSON: resident memory before the task, with its input and all imports, and the peak, in GB; and a number that
implementations of the same task agree on. `bench_memory.py` runs this.
"""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import reference
import stores
from inputs import noise

from roomacoustic_sk import ContrastiveRoomEncoder

CLASSES, VIEWS = 24, 3
Task = Callable[[], float]


def _groups(n: int) -> dict[str, np.ndarray]:
    n_rirs = min(64, n // 4)
    return {"rir_groups": np.arange(n) % n_rirs, "source_groups": np.arange(n) // n_rirs}


def _encoder(epochs: int, steps: int = 1, n_classes: int = CLASSES) -> ContrastiveRoomEncoder:
    return ContrastiveRoomEncoder(
        n_classes=n_classes, n_views=VIEWS, max_epochs=epochs, steps_per_epoch=steps, validation_fraction=0,
        compile=False, random_state=0,
    )  # fmt: skip


def fit(implementation: str, n: str) -> Task:
    """Train for one epoch of as many views as there are clips."""
    X = noise(int(n))
    groups, steps = _groups(len(X)), max(len(X) // (CLASSES * VIEWS), 1)
    n_classes = min(CLASSES, len(np.unique(groups["rir_groups"])))

    def ours() -> float:
        _encoder(1, steps, n_classes).fit(X, **groups)
        return float(steps)

    def by_skorch() -> float:
        net = reference.contrastive_net("compact", groups["rir_groups"], n_classes, VIEWS, steps)
        net.fit(X, groups["rir_groups"])
        return float(len(net.history[-1, "batches"]))

    return {"roomacoustic_sk": ours, "skorch": by_skorch}[implementation]


def transform(implementation: str, n: str) -> Task:
    """Embed clips."""
    X = noise(int(n))
    encoder = _encoder(0, n_classes=2).fit(X[:12], rir_groups=np.arange(12) // 6)
    module = reference.encoder("compact")
    reference.copy_weights(encoder.module_, module)
    return {
        "roomacoustic_sk": lambda: float(encoder.transform(X).sum()),
        "torch": lambda: float(reference.embed(module, X).sum()),
    }[implementation]


def train_on_store(kind: str, folder: str, steps: str) -> Task:
    """Train for one epoch on a store, or on the same recordings in an array, up to the loss."""
    if kind == "array":
        X = stores.read_whole(Path(folder) / "zarr")
    else:
        X = {"zarr": stores.open_zarr, "hdf5": stores.open_hdf5}[kind](Path(folder) / kind)
    rir, source = np.divmod(np.arange(X.shape[0]), min(100, X.shape[0] // 32))

    def work() -> float:
        encoder = _encoder(1, int(steps)).fit(X, rir_groups=rir, source_groups=source)
        return float(encoder.history_["train_loss"].iloc[-1])

    return work


def resident_gb(field: str) -> float:
    """Return what Linux says of this process's memory: VmRSS now, VmHWM at most.

    Not `getrusage`, whose peak a new process inherits from the one that started it.
    """
    if not Path("/proc/self/status").exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e9  # macOS counts bytes, and inherits nothing
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{field}:"))) * 1024 / 1e9


def main() -> None:
    """Run one task and print what it took."""
    task, *arguments = sys.argv[1:]
    work = {"fit": fit, "transform": transform, "train_on_store": train_on_store}[task](*arguments)
    before = resident_gb("VmRSS")
    result = work()
    print(json.dumps({"before_gb": round(before, 3), "peak_gb": round(resident_gb("VmHWM"), 3), "result": result}))


if __name__ == "__main__":
    main()
