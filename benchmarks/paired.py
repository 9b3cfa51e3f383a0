"""Seconds of fit, transform, convolution and labels beside those of another commit, in turn, in one run.

    git clone . ../before && git -C ../before checkout d98403a
    python benchmarks/paired.py ../before --rounds 9        # some 15 minutes; results in paired.json

Two processes, one for each commit, take turns: each round times one call in both, in alternating order. Figures are
medians over the rounds, of seconds and of the ratio within a round. One thread each.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arguments import existing_folder

HERE = Path(__file__).parent
FILE = HERE / "paired.json"
RATE, CLIP = 16_000, 64_000


def noise(n_clips: int, seed: int = 0) -> np.ndarray:
    """Return clips of decaying noise bursts."""
    decay = 10 ** (-3 * (np.arange(CLIP) % 8_000) / 8_000)
    return (np.random.default_rng(seed).standard_normal((n_clips, CLIP)) * decay).astype(np.float32)


def tasks() -> dict[str, Callable[[], Any]]:
    """Return what is timed, by name."""
    import pandas as pd
    from sklearn.utils import Bunch

    from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor, SupervisedRoomRegressor, acoustics
    from roomacoustic_sk.datasets import make_reverberant_speech
    from roomacoustic_sk.features import DecaySlopeFeatures

    X, rir, source, new = noise(144), np.repeat(np.arange(24), 6), np.tile(np.arange(6), 24), noise(96, seed=3)
    ids, segments = np.arange(32), noise(16, seed=2)
    rirs = [row[:RATE] for row in noise(32, seed=1)]
    rooms = Bunch(rirs=rirs, sample_rate=RATE, target=pd.DataFrame(index=ids), rir=ids, room=ids)
    speech = Bunch(segments=segments, sample_rate=RATE, source=ids[:16], speaker=ids[:16])
    times = np.arange(2 * RATE) / RATE
    decays = 10 ** (-3 * times / np.linspace(0.3, 1.0, 40)[:, None])
    responses = np.random.default_rng(2).standard_normal(decays.shape) * decays
    Z = np.random.default_rng(0).standard_normal((1_000, 64))
    lazy = make_reverberant_speech(rooms, speech, lazy=True)
    plain: dict[str, Any] = {"precision": "float32", "compile": False, "random_state": 0}
    quick = plain | {"validation_fraction": 0, "patience": 9, "steps_per_epoch": 4}
    encoders = {
        network: ContrastiveRoomEncoder(
            network=network, max_epochs=0, n_classes=2, n_views=2, validation_fraction=0, random_state=0
        ).fit(X[:12], rir_groups=np.arange(12) // 6)
        for network in ("bandwise", "paper")
    }

    def fit(network: str) -> Any:
        encoder = ContrastiveRoomEncoder(network=network, max_epochs=2, **quick)
        return encoder.fit(X, rir_groups=rir, source_groups=source)

    def fit_lazy() -> Any:
        encoder = ContrastiveRoomEncoder(max_epochs=1, n_classes=16, n_views=2, **quick)
        return encoder.fit(lazy.data, rir_groups=lazy.rir)

    return {
        "fit, bandwise": lambda: fit("bandwise"),
        "fit, paper": lambda: fit("paper"),
        "fit, lazy clips": fit_lazy,
        "fit, supervised": lambda: SupervisedRoomRegressor(max_epochs=1, **plain).fit(
            X[:64], source[:64].astype(float)
        ),
        "fit, head": lambda: RoomRegressor(max_epochs=10, patience=50, random_state=0).fit(Z, Z[:, 0]),
        "transform, bandwise": lambda: encoders["bandwise"].transform(new),
        "transform, paper": lambda: encoders["paper"].transform(new),
        "transform, a list of 8 s": lambda: encoders["bandwise"].transform(list(new.reshape(-1, 2 * CLIP))),
        "transform, lazy clips": lambda: encoders["bandwise"].transform(lazy.data[:128]),
        "slopes": lambda: DecaySlopeFeatures().fit_transform(X[:24]),
        "convolve": lambda: make_reverberant_speech(rooms, speech),
        "labels, broadband": lambda: acoustics.room_parameters(responses, RATE),
        "labels, four bands": lambda: acoustics.room_parameters(responses[:10], RATE, bands=[250.0, 500, 1000, 2000]),
        "reverberation_time": lambda: acoustics.reverberation_time(responses, RATE),
    }


def work() -> None:
    """Time what standard input names, and print seconds; at its end, the peak of this process's memory in MB."""
    import torch

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    timed = tasks()
    print(json.dumps(list(timed)), flush=True)
    for line in sys.stdin:
        started = time.perf_counter()
        if line.strip() != "memory":
            timed[line.strip()]()
            print(time.perf_counter() - started, flush=True)
        else:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, flush=True)


class Worker:
    """A process that times calls of one checkout."""

    def __init__(self, checkout: Path) -> None:
        environment = os.environ | {"PYTHONPATH": str(checkout.resolve()), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(Path(__file__).resolve()), "--work"]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=HERE, env=environment
        )
        self.names = json.loads(self._read())

    def _read(self) -> str:
        return (self.process.stdout or sys.stdin).readline()

    def ask(self, name: str) -> float:
        """Return the seconds of a call, or the peak of memory."""
        stdin = self.process.stdin or sys.stdout
        stdin.write(f"{name}\n")
        stdin.flush()
        return float(self._read())


def main() -> None:
    """Let two checkouts take turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=existing_folder, nargs="?", help="checkout of the other commit")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--work", action="store_true", help="be one of the two processes")
    args = parser.parse_args()
    if args.work:
        work()
        return
    from record import provenance, save

    before, after = Worker(args.before), Worker(HERE.parent)
    found = {}
    for name in after.names:
        before.ask(name), after.ask(name)
        pairs = []
        for i in range(args.rounds):
            workers = (before, after) if i % 2 else (after, before)
            seconds = {worker: worker.ask(name) for worker in workers}
            pairs.append((seconds[before], seconds[after]))
        old, new = np.array(pairs).T
        ratio = new / old
        found[name] = {
            "before_s": round(float(np.median(old)), 4),
            "after_s": round(float(np.median(new)), 4),
            "ratio": round(float(np.median(ratio)), 3),
            "ratio_lowest": round(float(ratio.min()), 3),
            "ratio_highest": round(float(ratio.max()), 3),
        }
        print(name, found[name], flush=True)
    found["peak of memory, MB"] = {"before": round(before.ask("memory")), "after": round(after.ask("memory"))}
    print(found["peak of memory, MB"])
    save(FILE, {"measured": found, "rounds": args.rounds, "made": provenance()})


if __name__ == "__main__":
    main()
