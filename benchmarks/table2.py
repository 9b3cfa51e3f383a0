"""Table 2 of the paper, cell by cell, on rooms whose labels are true, with both networks, baselines and floors.

    python benchmarks/table2.py --speech LibriSpeech/train-clean-100                 # all cells: many hours on 2 cores
    python benchmarks/table2.py --speech ... --networks paper --seeds 0 --taus 0.1   # some of them
    python benchmarks/table2_report.py                                               # the table, from finished cells

Two runs of other seeds side by side, each with OMP_NUM_THREADS=1, finish 1.3 times as many cells on 2 cores.

Each finished cell is a file of its own in `benchmarks/table2/`, so a run may be stopped at any time and goes on where
it was; the embeddings of five rooms (Fig. 4 of the paper) lie beside it. Rooms and speech are the same in every cell;
a seed draws initial weights, batches and heads.

Upstream: 64 rooms with one response each, 160 segments of speech of the upstream speakers, of which 32 validate;
position-independent sampling has four responses a room, one for each (room, segment), so that there are as many clips
as in the other samplings. The other networks learn from 3 000 segments at varied speed, and "bandwise" from all four
responses of each room with every segment, 768 000 clips that are convolved when they are asked for. "paper-varied"
and "pooled-varied" are these networks on the clips of "bandwise": so the network's share in a difference is told from
that of the data. "paper-speech" stands between "paper" and "paper-varied": varied segments, one response a room. On
varied segments the paper's network stays on its plateau for 20 of 24 epochs with hard batches, so in hard and
position-independent cells it learns from soft ones for the first four epochs.

Downstream: 1 000 responses of 100 other rooms; 8 192 clips to train, 2 048 to stop early, 2 048 of further speakers to
test through the same responses, and 2 048 of these in 50 rooms more. Clips begin when the sound arrives: with its
travel time left in, encoders tell responses apart by it (docs/results.md).
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd
import sklearn
import torch
from arguments import add_data_arguments, output_of, positive
from record import provenance, save
from sklearn.compose import TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import BaggingClassifier, BaggingRegressor, ExtraTreesClassifier, ExtraTreesRegressor
from sklearn.metrics import accuracy_score, precision_score, recall_score, silhouette_score
from sklearn.utils import Bunch
from sklearn.utils.parallel import Parallel, delayed
from skorch.callbacks import LRScheduler

from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomClassifier,
    RoomRegressor,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
)
from roomacoustic_sk.datasets import (
    load_speech,
    make_reverberant_speech,
    make_speech,
    simulate_rooms,
    split_by_speaker,
)
from roomacoustic_sk.features import DecaySlopeFeatures
from roomacoustic_sk.metrics import regression_metrics

HERE = Path(__file__).parent
LARGE_ROOM = 160.0  # m3
TAUS = (0.01, 0.1, 1.0)
EPOCHS = {"paper": 24, "paper-speech": 24, "paper-varied": 24, "pooled": 28, "pooled-varied": 48, "bandwise": 48}
WARM_UP = {"paper-speech": 4, "paper-varied": 4}  # epochs of soft batches before those of another sampling
SAMPLINGS = ("soft", "hard", "position_independent")
UPSTREAM_RIRS = 4  # of a room; all samplings but the position-independent one use the first of them
TASKS = {  # which target, whether its logarithm is learned
    "rt60": ("rt60", False),  # as in the paper
    "log rt60": ("rt60", True),
    "log rt60_mid": ("rt60_mid", True),
    "c50": ("c50", False),
}
TESTS = ("seen RIRs", "unseen rooms")
HEAD = {"validation_fraction": 0.2, "patience": 6}
LABELS = ("rir", "speaker")  # what the embeddings of five rooms may cluster by


@dataclass
class Size:
    """How much is simulated and trained."""

    name: str
    upstream_rooms: int
    upstream_segments: int
    varied_segments: int  # at varied speed, for all networks but the paper's
    downstream_rooms: int
    rirs_per_room: int
    unseen_rooms: int
    train_clips: int  # a fifth of them stops early
    test_clips: int
    epochs: dict[str, int]
    supervised_epochs: int
    steps: int


SIZES = {
    "paper": Size("paper", 64, 160, 3000, 100, 10, 50, 10_240, 2048, EPOCHS, 24, 128),
    "tiny": Size("tiny", 8, 20, 20, 6, 2, 4, 100, 50, dict.fromkeys(EPOCHS, 1), 1, 2),
}


@dataclass(frozen=True)
class Cell:
    """One number of the table, for all tasks."""

    network: str
    method: str  # a sampling, "supervised", "untrained", or a floor: "mean", "slopes"
    tau: float | None
    seed: int

    @property
    def name(self) -> str:
        """Name of the cell's file."""
        tau = "" if self.tau is None else f"-tau{self.tau:g}"
        return f"{self.network}-{self.method}{tau}-seed{self.seed}"


def base(network: str) -> str:
    """Return the name of the network itself, without that of the clips that it learns from."""
    return network.split("-")[0]


def cells(networks: list[str], methods: list[str], taus: list[float], seeds: list[int]) -> Iterator[Cell]:
    """Yield the cells, the floors first, then seed by seed."""
    for floor in ("mean", "slopes"):
        if floor in methods:
            yield Cell("no", floor, None, 0)
    for seed, network in product(seeds, networks):
        for method in methods:
            if method in SAMPLINGS:
                yield from (Cell(network, method, tau, seed) for tau in taus)
            elif method in ("supervised", "untrained") and network == base(network):  # the others' are the same
                yield Cell(network, method, None, seed)


def responses(rooms: Bunch, chosen: Any) -> Bunch:
    """Return some of the responses of rooms."""
    return Bunch(
        rirs=[rooms.rirs[i] for i in chosen],
        target=rooms.target.iloc[chosen].reset_index(drop=True),
        rir=rooms.rir[chosen],
        room=rooms.room[chosen],
        sample_rate=rooms.sample_rate,
    )


class Data:
    """Rooms and speech of all cells, made when they are first needed."""

    def __init__(self, speech: Path | None, size: Size, cache: Path, encoders: Path | None = None) -> None:
        self.folder, self.size, self.cache, self.encoders = speech, size, cache, encoders
        self.rooms = partial(simulate_rooms, n_jobs=-1, memory=cache, verbose=1)

    @cached_property
    def speakers(self) -> list[Any]:
        """Speakers of the encoders, of the heads and of the tests."""
        if self.folder is None:
            return [None, None, None]
        sample = load_speech(self.folder, n_segments=1000, random_state=0)
        return [np.unique(part.speaker) for part in split_by_speaker(sample, (0.5, 0.25, 0.25), random_state=0)]

    def speech(self, part: int, n_segments: int, speeds: tuple[float, float] = (1.0, 1.0)) -> Bunch:
        """Return segments of one part's speakers, at random offsets."""
        if self.folder is None:
            return make_speech(n_segments // 5, n_segments, random_state=part)
        return load_speech(
            self.folder, speakers=self.speakers[part], n_segments=n_segments, speed_range=speeds, random_state=part
        )

    @cached_property
    def upstream_rooms(self) -> Bunch:
        """Responses for the encoders."""
        return self.rooms(self.size.upstream_rooms, UPSTREAM_RIRS, random_state=0)

    @cached_property
    def seen_rooms(self) -> Bunch:
        """Responses for the heads."""
        return self.rooms(self.size.downstream_rooms, self.size.rirs_per_room, random_state=1)

    @cached_property
    def unseen_rooms(self) -> Bunch:
        """Responses of the rooms that no head learns from."""
        return self.rooms(self.size.unseen_rooms, UPSTREAM_RIRS, random_state=2)

    def upstream(self, network: str, sampling: str) -> Bunch:
        """Return the grid for an encoder."""
        if network == "paper":
            speech = self.speech(0, self.size.upstream_segments)
        else:
            speech = self.speech(0, self.size.varied_segments, (0.85, 1.2))
        grid = make_reverberant_speech(self.upstream_rooms, speech, remove_delay=True, lazy=True, random_state=0)
        rir = grid.rir % UPSTREAM_RIRS
        if network in ("bandwise", "paper-varied", "pooled-varied"):
            chosen = np.ones(len(rir), dtype=bool)
        elif sampling == "position_independent":  # another response of the room for each segment in turn
            source = np.unique(grid.source, return_inverse=True)[1]
            chosen = rir == (source + grid.room) % UPSTREAM_RIRS
        else:
            chosen = rir == 0
        part = Bunch(**{key: grid[key][chosen] for key in ("data", "rir", "source", "room", "speaker")})
        if network == "paper":  # few enough to be convolved once
            part.data = np.asarray(part.data)
        return part

    def clips(self, rooms: Bunch, speech: Bunch, n_clips: int) -> Bunch:
        """Return clips of segments and responses that are paired at random."""
        return make_reverberant_speech(
            rooms,
            speech,
            pairing="random",
            n_samples=n_clips,
            remove_delay=True,
            random_state=0,
            n_jobs=-1,
            verbose=1,
        )

    @cached_property
    def downstream(self) -> dict[str, Bunch]:
        """Clips for the heads, and both tests."""
        size = self.size
        heads, tests = self.speech(1, size.train_clips // 2), self.speech(2, size.test_clips)
        return {
            "train": self.clips(self.seen_rooms, heads, size.train_clips),
            "seen RIRs": self.clips(self.seen_rooms, tests, size.test_clips),
            "unseen rooms": self.clips(self.unseen_rooms, tests, size.test_clips),
        }

    @cached_property
    def five_rooms(self) -> Bunch:
        """Speech of some test speakers through one response each of five unseen rooms (Fig. 4 of the paper)."""
        speech = self.speech(2, self.size.test_clips)
        first = np.arange(min(5, self.size.unseen_rooms)) * UPSTREAM_RIRS
        speakers = np.unique(speech.speaker)[:8]
        said = np.concatenate([np.flatnonzero(speech.speaker == speaker)[:5] for speaker in speakers])
        some_speech = speech | {key: speech[key][said] for key in ("segments", "source", "speaker")}
        return make_reverberant_speech(responses(self.unseen_rooms, first), some_speech, remove_delay=True)

    @cached_property
    def slopes(self) -> dict[str, Any]:
        """Decay slopes of all downstream clips."""
        return {key: DecaySlopeFeatures(n_jobs=-1).fit_transform(part.data) for key, part in self.downstream.items()}


def logarithmic(regressor: Any) -> Any:
    """Learn the logarithm of the target."""
    return TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp)


def labels_of(clips: Bunch) -> dict[str, Any]:
    """Return the group labels of clips as fit parameters."""
    return {f"{name}_groups": clips[name] for name in ("rir", "source", "room")}


def tests_of(clips: dict[str, Bunch]) -> list[str]:
    """Return the names of the tests among the clips."""
    return [key for key in clips if key != "train"]


def regress(task: str, estimator: Any, X: dict[str, Any], clips: dict[str, Bunch], fit: dict[str, Any]) -> list[dict]:
    """Fit an estimator of a room parameter; return its errors in the tests."""
    target, takes_logarithm = TASKS[task]
    known = {key: part.target[target].notna().to_numpy() for key, part in clips.items()}
    y = {key: part.target[target].to_numpy()[known[key]] for key, part in clips.items()}
    estimator = logarithmic(estimator) if takes_logarithm else estimator
    learned = known["train"] if not known["train"].all() else slice(None)  # so that nothing is copied
    estimator.fit(X["train"][learned], y["train"], **{k: v[learned] for k, v in fit.items()})
    estimates = {test: estimator.predict(X[test][known[test]]) for test in tests_of(clips)}
    return [{"task": task, "test": test} | regression_metrics(y[test], estimates[test]) for test in estimates]


def classify(estimator: Any, X: dict[str, Any], clips: dict[str, Bunch], fit: dict[str, Any]) -> list[dict]:
    """Fit a classifier of room volume; return its scores, averaged over both classes, in the tests."""
    large = {key: part.target["volume"].to_numpy() > LARGE_ROOM for key, part in clips.items()}
    estimator.fit(X["train"], large["train"], **fit)
    rows = []
    for test in tests_of(clips):
        found = estimator.predict(X[test])
        common = {"average": "macro", "zero_division": 0}
        scores = {
            "accuracy": accuracy_score(large[test], found),
            "precision": precision_score(large[test], found, **common),
            "recall": recall_score(large[test], found, **common),
        }
        rows.append({"task": "volume", "test": test} | scores)
    return rows


def read_heads(X: dict[str, Any], clips: dict[str, Bunch], regressor: Any, classifier: Any, fit: dict) -> list[dict]:
    """Fit heads for all tasks, as many at a time as there are threads."""
    jobs = [delayed(regress)(task, regressor(), X, clips, fit) for task in TASKS]
    jobs.append(delayed(classify)(classifier(), X, clips, fit))
    return [row for rows in Parallel(n_jobs=torch.get_num_threads())(jobs) for row in rows]


def without_waveforms(clips: dict[str, Bunch]) -> dict[str, Bunch]:
    """Return what heads need to know of the clips."""
    return {key: Bunch(target=part.target) for key, part in clips.items()}


def read_embeddings(
    X: dict[str, Any], clips: dict[str, Bunch], seed: int, hold_out: str = "source", n_heads: int = 1
) -> list[dict]:
    """Fit the heads of frozen encoders for all tasks, or for each of them several whose estimates are averaged."""
    common = {**HEAD, "hold_out": hold_out, "random_state": seed}
    regressor, classifier = partial(RoomRegressor, **common), partial(RoomClassifier, **common)
    if n_heads > 1:  # which differ by their weights, their batches and what they hold out
        several = {"n_estimators": n_heads, "bootstrap": False, "random_state": seed}
        regressor = partial(BaggingRegressor, regressor(), **several)
        classifier = partial(BaggingClassifier, classifier(), **several)
    with sklearn.config_context(enable_metadata_routing=True):  # without it, bagging passes on no labels
        return read_heads(X, without_waveforms(clips), regressor, classifier, labels_of(clips["train"]))


def train_encoder(cell: Cell, data: Data, epochs: int) -> tuple[ContrastiveRoomEncoder, int]:
    """Train the encoder of a cell; return how many seconds it took, too."""
    sampling = cell.method if cell.method in SAMPLINGS else "hard"
    upstream = data.upstream(cell.network, sampling)
    n_soft = min(WARM_UP.get(cell.network, 0), epochs - 1) if epochs and sampling != "soft" else 0
    encoder = ContrastiveRoomEncoder(
        network=base(cell.network),
        tau=0.1 if cell.tau is None else cell.tau,
        steps_per_epoch=data.size.steps,
        patience=max(epochs, 1),  # the step size falls to zero over all epochs; the best weights are kept
        callbacks=[LRScheduler("CosineAnnealingLR", T_max=max(epochs, 1))],
        warm_start=n_soft > 0,
        random_state=cell.seed,
        verbose=1,
    )
    groups, started = labels_of(upstream), time.perf_counter()
    if n_soft:
        encoder.set_params(sampling="soft", max_epochs=n_soft).fit(upstream.data, **groups)
    encoder.set_params(sampling=sampling, max_epochs=epochs - n_soft).fit(upstream.data, **groups)
    return encoder, round(time.perf_counter() - started)


def contrastive(cell: Cell, data: Data, epochs: int) -> tuple[list[dict], dict[str, Any]]:
    """Train an encoder, freeze it, and read its embeddings; with 0 epochs it is the untrained one."""
    encoder, seconds = train_encoder(cell, data, epochs)
    if data.encoders is not None:
        data.encoders.mkdir(parents=True, exist_ok=True)
        joblib.dump(encoder, data.encoders / f"{cell.name}.joblib")
    history = encoder.history_[["train_loss", "valid_loss", "valid_retrieval"]].round(4).to_dict("list")
    X = {key: encoder.transform(part.data) for key, part in data.downstream.items()}
    five = data.five_rooms
    embeddings = encoder.transform(five.data)
    silhouettes = {
        label: round(float(silhouette_score(embeddings, five[label], metric="cosine")), 4) for label in LABELS
    }
    rows = read_embeddings(X, data.downstream, cell.seed)
    more = {"fit_seconds": seconds, "history": history, "silhouette": silhouettes}
    return rows, more | {"five_rooms": {"embeddings": embeddings.astype(np.float16)} | {k: five[k] for k in LABELS}}


def supervised(cell: Cell, data: Data, _: int) -> tuple[list[dict], dict[str, Any]]:
    """Train encoder and head end to end, task by task."""
    common = {
        "network": base(cell.network),
        "max_epochs": data.size.supervised_epochs,
        "random_state": cell.seed,
    }
    X = {key: part.data for key, part in data.downstream.items()}
    fit, started = labels_of(data.downstream["train"]), time.perf_counter()
    rows = []
    for task in TASKS:
        rows += regress(task, SupervisedRoomRegressor(verbose=1, **common), X, data.downstream, fit)
    rows += classify(SupervisedRoomClassifier(verbose=1, **common), X, data.downstream, fit)
    return rows, {"fit_seconds": round(time.perf_counter() - started)}


def floor(cell: Cell, data: Data, _: int) -> tuple[list[dict], dict[str, Any]]:
    """Predict the mean or the majority, or grow trees on decay slopes."""
    if cell.method == "mean":
        X = {key: np.zeros((len(part.data), 1)) for key, part in data.downstream.items()}
        regressor, classifier = DummyRegressor, partial(DummyClassifier, strategy="most_frequent")
    else:
        X = data.slopes
        common = {"n_estimators": 300, "min_samples_leaf": 2, "random_state": cell.seed}
        regressor = partial(ExtraTreesRegressor, **common)
        classifier = partial(ExtraTreesClassifier, **common)
    return read_heads(X, without_waveforms(data.downstream), regressor, classifier, {}), {}


def run(cell: Cell, data: Data) -> dict[str, Any]:
    """Return the result of a cell."""
    started = time.perf_counter()
    if cell.method in SAMPLINGS:
        job, epochs = contrastive, data.size.epochs[cell.network]
    else:
        job, epochs = {"untrained": contrastive, "supervised": supervised}.get(cell.method, floor), 0
    rows, more = job(cell, data, epochs)
    spread = {key: part.target[["rt60", "rt60_mid", "c50"]].std().to_dict() for key, part in data.downstream.items()}
    return {
        "cell": asdict(cell),
        "rows": rows,
        "epochs": epochs,
        "size": data.size.name,
        "synthetic": data.folder is None,
        "target_sd": spread,
        "seconds": round(time.perf_counter() - started),
        **more,
        **provenance(),
    }


def origin(result: dict[str, Any]) -> tuple[str, bool]:
    """Return the size of a finished cell's data, and whether its speech is synthetic."""
    return result.get("size", "paper"), result["synthetic"]  # the first cells were all of this size


def describe(result: dict[str, Any]) -> str:
    """Say from what data a finished cell was made."""
    size, synthetic = origin(result)
    return f"size {size}, {'SYNTHETIC' if synthetic else 'real'} speech"


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    methods = [*SAMPLINGS, "supervised", "untrained", "mean", "slopes"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_arguments(parser, SIZES)
    parser.add_argument("--networks", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--methods", nargs="+", choices=methods, default=methods)
    parser.add_argument("--taus", nargs="+", type=positive, default=list(TAUS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--encoders", type=Path, help="folder that trained encoders are kept in; not kept if not given")
    return parser.parse_args()


def main() -> None:
    """Run the cells that are not finished yet."""
    args = parse_arguments()
    data, folder = Data(args.speech, SIZES[args.size], args.cache, args.encoders), output_of(args, "table2")
    todo = list(cells(args.networks, args.methods, args.taus, args.seeds))
    for number, cell in enumerate(todo, start=1):
        path = folder / f"{cell.name}.json"
        if not path.exists():
            result = run(cell, data)
            if "five_rooms" in result:  # for figures.py
                folder.mkdir(parents=True, exist_ok=True)
                np.savez_compressed(path.with_suffix(".npz"), **result.pop("five_rooms"))
            save(path, result)
        result = json.loads(path.read_text())
        if origin(result) != (args.size, args.speech is None):
            raise SystemExit(f"{path} was made from other data, {describe(result)}. Give another --output.")
        main_rows = pd.DataFrame(result["rows"]).query("test == 'seen RIRs'").set_index("task")
        figures = [f"{task} r {main_rows.loc[task, 'pearson_r']:.3f}" for task in TASKS]
        figures.append(f"volume {main_rows.loc['volume', 'accuracy']:.1%}")
        print(f"[{number}/{len(todo)}] {cell.name}: {', '.join(figures)} ({result['seconds']} s)", flush=True)


if __name__ == "__main__":
    main()
