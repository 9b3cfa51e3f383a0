"""How much memory each part takes beyond its input, and how seconds and memory grow with 1, 4 and 16 times the data.

    python benchmarks/memory.py                     # everything
    python benchmarks/memory.py fit_paper labels    # some of it

Each figure comes from a process of its own. Results replace those of the same names in `benchmarks/memory.json`;
`speed_report.py` makes a page of them. Everything takes about five minutes, on Linux.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from record import load, provenance, save
from sklearn.utils import Bunch

from roomacoustic_sk import ContrastiveRoomEncoder, acoustics
from roomacoustic_sk.datasets import load_recordings, make_reverberant_speech, simulate_rooms

HERE = Path(__file__).parent
RATE, CLIP = 16_000, 64_000
STEPS = 32
Work = tuple[Callable[[], Any], int]  # what is measured, after how many steps or rows its seconds are counted


def noise(n_rows: int, n_times: int = CLIP, seed: int = 0) -> np.ndarray:
    """Return clips of decaying noise bursts, filled block by block so that nothing but they takes memory."""
    rng = np.random.default_rng(seed)
    decay = (10 ** (-3 * (np.arange(n_times) % 8_000) / 8_000)).astype(np.float32)
    clips = np.empty((n_rows, n_times), dtype=np.float32)
    for i in range(n_rows):
        clips[i] = rng.standard_normal(n_times, dtype=np.float32) * decay
    return clips


def rooms_and_speech(n_rirs: int, n_segments: int) -> tuple[Bunch, Bunch]:
    """Return responses of 1 s and segments of 4 s."""
    ids, sources = np.arange(n_rirs), np.arange(n_segments)
    rooms = Bunch(
        rirs=list(noise(n_rirs, RATE)), sample_rate=RATE, target=pd.DataFrame(index=ids), rir=ids, room=ids // 10
    )
    return rooms, Bunch(segments=noise(n_segments, seed=1), sample_rate=RATE, source=sources, speaker=sources)


def encoder(network: str, n_steps: int, **more: Any) -> ContrastiveRoomEncoder:
    """Return an encoder to be trained for two epochs."""
    return ContrastiveRoomEncoder(
        network=network, max_epochs=2, steps_per_epoch=n_steps, validation_steps=8, random_state=0, **more
    )


def fit(n: int, network: str) -> Work:
    """Two epochs, each as many views as there are clips, through 64 responses."""
    X, rir, source = noise(n), np.arange(n) % 64, np.arange(n) // 64
    steps = max(n // 72, 1)
    return lambda: encoder(network, steps).fit(X, rir_groups=rir, source_groups=source), 2 * steps


def transform(n: int, network: str) -> Work:
    """Embed clips."""
    X = noise(n)
    fitted = encoder(network, 1, n_classes=2, n_views=2).set_params(max_epochs=0)
    fitted.fit(X[:8], rir_groups=np.arange(8) // 4)
    return lambda: fitted.transform(X), n


def convolve(n: int) -> Work:
    """Convolve a grid of 32 responses with n / 32 segments, all kept."""
    rooms, speech = rooms_and_speech(32, n // 32)
    return lambda: make_reverberant_speech(rooms, speech, n_jobs=2), n


def labels(n: int) -> Work:
    """T20 and C50 of responses of 0.5 s."""
    rirs = noise(n, RATE)[:, :8_000]

    def work() -> None:
        acoustics.reverberation_time(rirs, RATE, decay_range="T20")
        acoustics.clarity(rirs, RATE)

    return work, n


def simulate(n: int) -> Work:
    """Simulate n responses of n / 4 rooms, in this process."""
    return lambda: simulate_rooms(n // 4, 4, random_state=0), n


def lazy(n: int, network: str) -> Work:
    """Train on n responses x n segments, convolved when they are asked for."""
    data = make_reverberant_speech(*rooms_and_speech(n, n), lazy=True)
    trained = encoder(network, STEPS, sampling="hard")
    return lambda: trained.fit(data.data, rir_groups=data.rir, source_groups=data.source), 2 * STEPS


def in_memory(n: int, network: str) -> Work:
    """Train on the same kind of grid in memory, n clips, for as many steps; each clip is met about once."""
    n_segments = n // 64
    data = make_reverberant_speech(*rooms_and_speech(64, n_segments))
    trained = encoder(network, STEPS, sampling="hard")
    return lambda: trained.fit(data.data, rir_groups=data.rir, source_groups=data.source), 2 * STEPS


def files(n: int, network: str) -> Work:
    """Train on n recordings on disk, FLAC files of 60 s, read segment by segment."""
    import soundfile

    folder = tempfile.TemporaryDirectory()
    for i in range(n):  # one at a time: the highest memory of a process is that of its whole life
        soundfile.write(Path(folder.name) / f"{i}.flac", 0.1 * noise(1, 60 * RATE, seed=i)[0], RATE)
    recordings = load_recordings(folder.name, duration=4.0)
    rows, file = recordings.data, recordings.file

    def work() -> None:
        encoder(network, STEPS).fit(rows, rir_groups=file)
        folder.cleanup()

    return work, 2 * STEPS


MEASURED: dict[str, tuple[Callable[..., Work], tuple[Any, ...], tuple[int, ...]]] = {
    "fit_paper": (fit, ("paper",), (512, 2_048, 8_192)),
    "fit_pooled": (fit, ("pooled",), (512, 2_048, 8_192)),
    "fit_bandwise": (fit, ("bandwise",), (512, 2_048, 8_192)),
    "transform_paper": (transform, ("paper",), (512, 2_048, 8_192)),
    "transform_pooled": (transform, ("pooled",), (512, 2_048, 8_192)),
    "transform_bandwise": (transform, ("bandwise",), (512, 2_048, 8_192)),
    "convolve": (convolve, (), (512, 2_048, 8_192)),
    "labels": (labels, (), (500, 2_000, 8_000)),
    "simulate": (simulate, (), (8, 32, 128)),
    "in_memory_paper": (in_memory, ("paper",), (4_608,)),
    "lazy_paper": (lazy, ("paper",), (100, 1_000)),
    "in_memory_pooled": (in_memory, ("pooled",), (4_608,)),
    "lazy_pooled": (lazy, ("pooled",), (100, 1_000)),
    "files_pooled": (files, ("pooled",), (30, 120)),
}


def resident_bytes() -> int:
    """Return the memory that this process has now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def measure(name: str, n: int) -> dict[str, float]:
    """Measure one work in this process."""
    make, more, _ = MEASURED[name]
    work, count = make(n, *more)
    before, started = resident_bytes(), time.perf_counter()
    work()
    seconds = time.perf_counter() - started
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "input_gb": round(before / 1e9, 3),
        "beyond_input_gb": round((peak - before) / 1e9, 3),
        "peak_gb": round(peak / 1e9, 3),
        "seconds": round(seconds, 2),
        "ms_each": round(1e3 * seconds / count, 2),
    }


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], choices=[*MEASURED, []])
    parser.add_argument("--one", type=int, help="measure the first name with so many rows in this very process")
    parser.add_argument("--output", type=Path, default=HERE / "memory.json", help="file whose rows are replaced")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.names[0], args.one)))
        return
    results = load(args.output)
    for name in args.names or MEASURED:
        for n in MEASURED[name][2]:
            command = [sys.executable, __file__, name, "--one", str(n)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{name}, {n} rows: {done.stderr[-2000:]}")
            results["measured"][f"{name}, {n}"] = json.loads(done.stdout.splitlines()[-1])
            print(f"{name}, {n}: {results['measured'][f'{name}, {n}']}", flush=True)
            results["made"][name] = provenance()
            save(args.output, results)


if __name__ == "__main__":
    main()
