"""The paper's sweep of temperature and batch construction, compared with the supervised baseline by cross-validation.

For each setting and fold, `GridSearchCV` trains a new encoder and head on part of the rooms and scores the estimates of
RT60 in the others. In each fold, scikit-learn passes the matching group labels on to the samplers.

    python examples/grid_search.py                          # synthetic speech, within 10 minutes on 2 cores
    python examples/grid_search.py --speech LibriSpeech/train-clean-100 --size large
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from joblib import cpu_count
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor, SupervisedRoomRegressor
from roomacoustic_sk.datasets import load_speech, make_reverberant_speech, make_speech, simulate_rooms
from roomacoustic_sk.metrics import pearson_r_scorer, relative_rmse_scorer

TARGETS = ("rt60", "rt60_mid", "c50", "edt")
LOGARITHMIC = ("rt60", "rt60_mid", "edt")  # positive, with a long tail


@dataclass
class Size:
    """The amount of data and training."""

    rooms: int
    rirs_per_room: int
    segments: int  # of speech, each through every RIR
    duration: float  # of a segment, in s
    classes: int  # per batch: RIRs or, for position-independent sampling, rooms, which every fold must provide
    epochs: int
    steps: int  # per epoch of the encoder
    folds: int
    taus: tuple[float, ...]


SIZES = {
    "tiny": Size(4, 2, 30, 1.0, 2, 1, 2, 2, (0.1, 1.0)),
    "small": Size(36, 3, 16, 2.0, 24, 4, 64, 3, (0.01, 0.1, 1.0)),
    "large": Size(64, 3, 60, 4.0, 24, 8, 128, 4, (0.01, 0.1, 1.0)),
}


def make_data(args: argparse.Namespace, size: Size) -> Bunch:
    """Return reverberant speech: each segment through each RIR."""
    common = {"n_jobs": -1, "verbose": 1}
    rooms = simulate_rooms(
        size.rooms, size.rirs_per_room, random_state=args.seed, memory=args.output / "cache", **common
    )
    if args.speech is None:
        speech = make_speech(size.segments // 2, size.segments, duration=size.duration, random_state=args.seed)
    else:
        speech = load_speech(
            args.speech, duration=size.duration, n_segments=size.segments, random_state=args.seed, verbose=1
        )
    return make_reverberant_speech(rooms, speech, remove_delay=True, random_state=args.seed, **common)


def make_search(size: Size, seed: int, n_jobs: int) -> GridSearchCV:
    """Return the search over the encoder's settings, with the supervised baseline as one more candidate."""
    encoder = ContrastiveRoomEncoder(
        segment_duration=size.duration,
        n_classes=size.classes,
        max_epochs=size.epochs,
        steps_per_epoch=size.steps,
        validation_steps=max(size.steps // 4, 1),
        random_state=seed,
    )
    supervised = SupervisedRoomRegressor(
        segment_duration=size.duration, max_epochs=size.epochs, batch_size=32, random_state=seed
    )
    sweep = {"enc__tau": size.taus, "enc__sampling": ["soft", "hard", "position_independent"]}
    baseline = {"enc": ["passthrough"], "reg": [supervised]}
    return GridSearchCV(
        Pipeline([("enc", encoder), ("reg", RoomRegressor(random_state=seed))]),
        [sweep, baseline],
        cv=GroupKFold(size.folds),
        scoring={"relative_rmse": relative_rmse_scorer, "pearson_r": pearson_r_scorer},
        refit=False,
        error_score="raise",
        n_jobs=n_jobs,
        verbose=2,
    )


def tabulate(search: GridSearchCV) -> pd.DataFrame:
    """Return one row per candidate, the best one first."""
    results = pd.DataFrame(search.cv_results_)
    contrastive = results["param_enc__tau"].notna()
    table = pd.DataFrame(
        {
            "estimator": contrastive.map({True: "contrastive", False: "supervised"}),
            "sampling": results["param_enc__sampling"].fillna(""),
            "tau": results["param_enc__tau"].map("{:g}".format, na_action="ignore").fillna(""),
            "RMSE/SD": -results["mean_test_relative_rmse"],
            "+-": results["std_test_relative_rmse"],
            "r": results["mean_test_pearson_r"],
            "fit [s]": results["mean_fit_time"],
        }
    )
    return table.sort_values("RMSE/SD").reset_index(drop=True)


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line, or other arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=Path, help="folder of real speech, e.g. LibriSpeech; synthetic if not given")
    parser.add_argument("--size", choices=list(SIZES), default="small")
    parser.add_argument("--target", choices=TARGETS, default="rt60")
    parser.add_argument("--jobs", type=int, default=cpu_count(), help="fits in parallel, each with its own threads")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=Path("results"), help="folder for the table")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> pd.DataFrame:
    """Run the sweep; return its table."""
    args, started = parse_arguments(arguments), time.perf_counter()
    size = SIZES[args.size]
    args.output.mkdir(parents=True, exist_ok=True)
    data = make_data(args, size)
    known = data.target[args.target].notna().to_numpy()  # some responses do not decay far enough for a label
    X, y = data.data[known], data.target[args.target][known].to_numpy()
    y = np.log(y) if args.target in LOGARITHMIC else y
    rir, source, room = data.rir[known], data.source[known], data.room[known]
    # joblib assigns each of its processes a share of the cores; without processes, all of them are used here.
    torch.set_num_threads(max(cpu_count() // args.jobs, 1))
    search = make_search(size, args.seed, args.jobs)
    search.fit(
        X,
        y,
        groups=room,
        enc__rir_groups=rir,
        enc__source_groups=source,
        enc__room_groups=room,
        reg__source_groups=source,
    )
    table = tabulate(search)
    table.to_csv(args.output / f"grid_search_{args.target}.csv", index=False)
    speech = "SYNTHETIC speech (no recordings)" if data.synthetic else f"speech of {args.speech.name}"
    scale = "ln " if args.target in LOGARITHMIC else ""
    print(f"\n{scale}{args.target} in unseen rooms, {size.folds} folds over {size.rooms} rooms, {len(X)} clips:")
    print(table.round(3).to_string())
    print(f"\n{speech}, {time.perf_counter() - started:.0f} s on {cpu_count()} cores")
    return table


if __name__ == "__main__":
    main()
