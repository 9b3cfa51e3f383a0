"""Quickstart: from simulated rooms to estimates of room parameters.

Simulate rooms, make reverberant speech, train a contrastive encoder, freeze it, train small heads on its embeddings,
and evaluate how well they estimate reverberation time (RT60), clarity (C50) and volume from clips of new speakers, both
through the responses of the training set and in unseen rooms.

    python examples/quickstart.py                                   # synthetic speech, 4 minutes on 2 cores
    python examples/quickstart.py --speech LibriSpeech/train-clean-100 --size large          # real speech

The results are printed next to two baselines: a constant prediction (the mean or majority of the training set), and the
same heads on the same encoder without training.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.metrics import accuracy_score
from sklearn.utils import Bunch
from skorch.callbacks import LRScheduler

from roomacoustic_sk import ContrastiveRoomEncoder, RoomClassifier, RoomRegressor
from roomacoustic_sk.datasets import (
    load_speech,
    make_reverberant_speech,
    make_speech,
    simulate_rooms,
    split_by_speaker,
)
from roomacoustic_sk.metrics import regression_metrics

LARGE_ROOM = 160.0  # m3, the paper's boundary between small and large rooms
SPEEDS = (0.85, 1.2)  # of the encoder's speech: the more it varies, the less of it is memorised
# Broadband RT60 is dominated by the lowest octaves, where speech has little energy; 500 Hz and 1 kHz are well excited.
TASKS = {"rt60": "RT60 [s]", "rt60_mid": "RT60 at mid frequencies [s]", "c50": "C50 [dB]"}
NETWORKS = ("compact", "bandwise", "pooled", "paper")
LOGARITHMIC = ("rt60", "rt60_mid")  # positive, with a long tail: heads learn the logarithm


@dataclass
class Size:
    """The amount of data and training."""

    upstream_rirs: int  # one per room, as in the paper
    upstream_segments: dict[str, int]  # of speech, by network, each through every upstream RIR; a fifth validates
    downstream_rooms: int
    rirs_per_room: int
    unseen_rooms: int
    train_clips: int
    test_clips: int  # through seen RIRs, and as many in unseen rooms
    epochs: dict[str, int]  # by network


def networks(*values: Any) -> dict[str, Any]:
    """Return a dict with one value for each network."""
    return dict(zip(NETWORKS, values, strict=True))


SIZES = {
    "tiny": Size(8, networks(20, 20, 20, 20), 6, 2, 4, 100, 50, networks(1, 1, 1, 1)),
    "small": Size(40, networks(400, 200, 200, 200), 60, 1, 40, 1000, 400, networks(4, 6, 6, 12)),
    "large": Size(64, networks(3000, 3000, 3000, 1500), 160, 2, 80, 4000, 1000, networks(48, 28, 28, 24)),
}


def load_sources(args: argparse.Namespace, size: Size) -> list[Bunch]:
    """Return dry speech for the encoder, the heads and the tests, without common speakers."""
    counts = size.upstream_segments[args.network], size.train_clips // 2, size.test_clips // 2
    if args.speech is None:
        # Each call creates its own speakers.
        return [make_speech(n // 5, n, random_state=args.seed + i, n_jobs=-1) for i, n in enumerate(counts)]
    sample = load_speech(args.speech, n_segments=1000, random_state=args.seed)
    parts = split_by_speaker(sample, (0.5, 0.25, 0.25), random_state=args.seed)
    return [
        load_speech(
            args.speech,
            speakers=np.unique(part.speaker),
            n_segments=n,
            speed_range=speeds,
            random_state=args.seed,
            verbose=1,
        )
        for part, n, speeds in zip(parts, counts, (SPEEDS, (1, 1), (1, 1)), strict=True)
    ]


def make_data(args: argparse.Namespace, size: Size) -> tuple[Bunch, dict[str, Bunch]]:
    """Return the upstream grid, and the downstream clips: for training, through seen RIRs, and in unseen rooms."""
    common = {"n_jobs": -1, "verbose": 1, "memory": args.output / "cache"}  # a second run reuses the rooms
    upstream_rooms = simulate_rooms(size.upstream_rirs, 1, random_state=args.seed, **common)
    seen_rooms = simulate_rooms(size.downstream_rooms, size.rirs_per_room, random_state=args.seed + 1, **common)
    unseen_rooms = simulate_rooms(size.unseen_rooms, size.rirs_per_room, random_state=args.seed + 2, **common)
    upstream_speech, train_speech, test_speech = load_sources(args, size)
    # Real recordings do not start when the sound leaves the source, so clips must not reveal its travel time.
    common = {"n_jobs": -1, "verbose": 1, "remove_delay": not args.keep_delay, "random_state": args.seed}
    # Lazy: clips are convolved as the batches need them, so that the grid is never in memory as a whole.
    upstream = make_reverberant_speech(upstream_rooms, upstream_speech, lazy=True, **common)
    common |= {"pairing": "random"}
    return upstream, {
        "train": make_reverberant_speech(seen_rooms, train_speech, n_samples=size.train_clips, **common),
        "seen RIRs": make_reverberant_speech(seen_rooms, test_speech, n_samples=size.test_clips, **common),
        "unseen rooms": make_reverberant_speech(unseen_rooms, test_speech, n_samples=size.test_clips, **common),
    }


def fit_encoder(
    args: argparse.Namespace, upstream: Bunch, epochs: int, sample_rate: int = 16_000
) -> ContrastiveRoomEncoder:
    """Return a trained contrastive encoder; with 0 epochs, it keeps its initial weights."""
    encoder = ContrastiveRoomEncoder(
        network=args.network,
        sample_rate=sample_rate,
        max_epochs=epochs,
        patience=max(epochs, 1),  # the learning rate decays to zero over all epochs, so all of them are run
        callbacks=[LRScheduler("CosineAnnealingLR", T_max=max(epochs, 1))],
        random_state=args.seed,
        checkpoint_dir=args.checkpoints,
        verbose=1,
    )
    return encoder.fit(upstream.data, rir_groups=upstream.rir, source_groups=upstream.source, room_groups=upstream.room)


def evaluate(name: str, features: dict[str, np.ndarray], clips: dict[str, Bunch], heads: dict) -> tuple[list, dict]:
    """Fit a head for each task on the training clips; return a table row for each test, and the estimates."""
    rows, estimates = [], {}
    for task, label in TASKS.items():
        # A few responses do not decay far enough for a label in every band.
        known = {key: part.target[task].notna().to_numpy() for key, part in clips.items()}
        head = heads["logarithmic" if task in LOGARITHMIC else "regressor"]()
        head.fit(features["train"][known["train"]], clips["train"].target[task][known["train"]])
        for test in ("seen RIRs", "unseen rooms"):
            estimates[task, test] = head.predict(features[test])
            errors = regression_metrics(clips[test].target[task][known[test]], estimates[task, test][known[test]])
            rows.append({"task": label, "test": test, "from": name} | errors)
    large = {key: part.target["volume"].to_numpy() > LARGE_ROOM for key, part in clips.items()}
    head = heads["classifier"]().fit(features["train"], large["train"])
    for test in ("seen RIRs", "unseen rooms"):
        accuracy = accuracy_score(large[test], head.predict(features[test]))
        rows.append({"task": f"volume > {LARGE_ROOM:g} m3", "test": test, "from": name, "accuracy": accuracy})
    return rows, estimates


def draw(path: Path, embeddings: np.ndarray, clips: Bunch, estimates: dict[str, np.ndarray], title: str) -> None:
    """Save a figure of estimated against true values, and of the embeddings' principal plane, coloured by RT60."""
    figure, axes = plt.subplots(1, len(TASKS) + 1, figsize=(4.3 * (len(TASKS) + 1), 4.2), layout="constrained")
    for ax, (task, label) in zip(axes, TASKS.items(), strict=False):
        known = clips.target[task].notna().to_numpy()
        true, estimated = clips.target[task][known], estimates[task][known]
        ax.scatter(true, estimated, alpha=0.4, s=10)
        ax.axline((0, 0), slope=1, color="black", linestyle="--", linewidth=1)
        r = regression_metrics(true, estimated)["pearson_r"]
        ax.set(title=f"{label}, r = {r:.2f}", xlabel=f"true {label}", ylabel=f"estimated {label}")
    plane = PCA(2).fit_transform(embeddings)
    points = axes[-1].scatter(*plane.T, c=clips.target["rt60"], s=10, cmap="viridis")
    axes[-1].set(title="embeddings", xlabel="1st principal component", ylabel="2nd principal component")
    figure.colorbar(points, ax=axes[-1], label="RT60 [s]")
    figure.suptitle(title)
    figure.savefig(path, dpi=150)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line, or other arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, help="folder of real speech, e.g. LibriSpeech; synthetic if not given")
    parser.add_argument("--network", choices=NETWORKS, default="compact")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--epochs", type=int, help="maximum number of epochs of the encoder, instead of that of --size")
    parser.add_argument(
        "--keep-delay", action="store_true", help="start clips when the sound is emitted, not when it arrives"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the figure and the table")
    parser.add_argument("--checkpoints", type=Path, help="folder for the state of the training: it resumes from there")
    args = parser.parse_args(arguments)
    if args.speech is not None and not args.speech.is_dir():
        parser.error(f"--speech must be a folder that exists, got {str(args.speech)!r}")
    return args


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the whole experiment; return the table, the history of the training, and the counts of the data."""
    args, started = parse_arguments(arguments), time.perf_counter()
    size = SIZES[args.size]
    args.output.mkdir(parents=True, exist_ok=True)
    upstream, clips = make_data(args, size)
    parts = {"upstream": upstream} | clips
    speech = "SYNTHETIC speech (no recordings)" if upstream.synthetic else f"speech of {args.speech.name}"
    print(f"\n{speech}; clips, RIRs, rooms, speakers:")
    counts = {}
    for name, part in parts.items():
        counts[name] = {"clips": len(part.data)} | {
            f"{k}s": len(np.unique(part[k])) for k in ("rir", "room", "speaker")
        }
        print(f"  {name}: {', '.join(map(str, counts[name].values()))}")

    encoders = {
        "contrastive": fit_encoder(args, upstream, size.epochs[args.network] if args.epochs is None else args.epochs),
        "untrained": fit_encoder(args, upstream, 0),
    }
    history = encoders["contrastive"].history_
    print(f"validation loss by epoch: {', '.join(f'{loss:.2f}' for loss in history['valid_loss'])}")
    regressor = partial(RoomRegressor, random_state=args.seed)
    mlp = {
        "regressor": regressor,
        "logarithmic": lambda: TransformedTargetRegressor(regressor(), func=np.log, inverse_func=np.exp),
        "classifier": partial(RoomClassifier, random_state=args.seed),
    }
    majority = partial(DummyClassifier, strategy="most_frequent")
    baseline = {"regressor": DummyRegressor, "logarithmic": DummyRegressor, "classifier": majority}
    rows = []
    for name, encoder in encoders.items():
        features = {key: encoder.transform(part.data) for key, part in clips.items()}
        found, estimates = evaluate(name, features, clips, mlp)
        rows += found
        if name == "contrastive":
            path = args.output / f"quickstart_{args.network}.png"
            test = {task: estimates[task, "seen RIRs"] for task in TASKS}
            draw(
                path,
                features["seen RIRs"],
                clips["seen RIRs"],
                test,
                f"{args.network} network, {speech}, seen RIRs, new speakers",
            )
    rows += evaluate("mean or majority", features, clips, baseline)[0]
    table = pd.DataFrame(rows).set_index(["task", "test", "from"]).sort_index(level=[0, 1], sort_remaining=False)
    table.to_csv(args.output / f"quickstart_{args.network}.csv")
    print(f"\n{table.round(3).to_string(na_rep='')}")
    print(f"\n{speech}, {args.network} network, {time.perf_counter() - started:.0f} s. Figure: {path}")
    return {"table": table, "history": history, "counts": counts}


if __name__ == "__main__":
    main()
