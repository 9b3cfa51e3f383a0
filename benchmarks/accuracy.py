"""Does the fast way learn the same? Trainings in plain float32 and with the fast defaults, three seeds each.

    python benchmarks/accuracy.py --speech LibriSpeech/train-clean-100

Rooms, speech and heads are those of `table2.py`, with hard sampling at tau 0.1. Each finished training is kept in
`benchmarks/accuracy.json`, so a run may be stopped and goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import time
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from arguments import add_cache_argument, existing_folder
from record import provenance, save
from table2 import SIZES, Data, read_heads, without_waveforms

from roomacoustic_sk import ContrastiveRoomEncoder, RoomClassifier, RoomRegressor

HERE = Path(__file__).parent
WAYS = {"plain float32": {"precision": "float32", "compile": False}, "fast": {"precision": "auto", "compile": True}}
EPOCHS = {"bandwise": 6, "pooled": 6, "paper": 12}


def train(network: str, way: str, seed: int, data: Data) -> dict:
    """Train an encoder, freeze it, and read its embeddings."""
    upstream = data.upstream("paper", "hard")  # the smaller grid, in memory
    more = WAYS[way] if network != "paper" else {"precision": WAYS[way]["precision"], "compile": False}
    encoder = ContrastiveRoomEncoder(
        network=network,
        sampling="hard",
        max_epochs=EPOCHS[network],
        patience=EPOCHS[network],
        steps_per_epoch=data.size.steps,
        random_state=seed,
        verbose=1,
        **more,
    )
    started = time.perf_counter()
    encoder.fit(upstream.data, rir_groups=upstream.rir, source_groups=upstream.source, room_groups=upstream.room)
    seconds = round(time.perf_counter() - started)
    X = {key: encoder.transform(part.data) for key, part in data.downstream.items()}
    rows = read_heads(
        X,
        without_waveforms(data.downstream),
        partial(RoomRegressor, validation_fraction=0.2, random_state=seed),
        partial(RoomClassifier, validation_fraction=0.2, random_state=seed),
        {"source_groups": data.downstream["train"].source},
    )
    best = float(encoder.history_["valid_loss"].min())
    return {"network": network, "way": way, "seed": seed, "fit_seconds": seconds, "valid_loss": best, "rows": rows}


def compare(trainings: list[dict]) -> pd.DataFrame:
    """Return the mean of each way, their difference, and the spread over seeds of the plain way, for each metric."""
    flat = [
        {"network": one["network"], "way": one["way"], "seed": one["seed"], "task": row["task"], "test": row["test"]}
        | {"value": row.get("pearson_r", row.get("accuracy"))}
        for one in trainings
        for row in one["rows"]
    ]
    table = pd.DataFrame(flat).pivot_table(
        index=["network", "task", "test"], columns="way", values="value", aggfunc=["mean", "std"], sort=False
    )
    found = table["mean"].copy()
    found["difference"] = found["fast"] - found["plain float32"]
    found["spread over seeds"] = np.sqrt((table["std"] ** 2).mean(axis=1))
    return found


def main() -> None:
    """Train what is not trained yet, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=existing_folder, required=True)
    parser.add_argument("--networks", nargs="+", choices=list(EPOCHS), default=list(EPOCHS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--output", type=Path, default=HERE / "accuracy.json")
    add_cache_argument(parser)
    args = parser.parse_args()
    size = SIZES["paper"]
    size.train_clips, size.test_clips = 4096, 1024
    data = Data(args.speech, size, args.cache)
    trainings = json.loads(args.output.read_text())["trainings"] if args.output.exists() else []
    done = {(one["network"], one["way"], one["seed"]) for one in trainings}
    for seed, network, way in product(args.seeds, args.networks, WAYS):
        if (network, way, seed) not in done:
            trainings.append(train(network, way, seed, data))
            save(args.output, {"trainings": trainings, "epochs": EPOCHS} | provenance())
            print({k: v for k, v in trainings[-1].items() if k != "rows"}, flush=True)
    print(compare(trainings).round(3).to_string())


if __name__ == "__main__":
    main()
