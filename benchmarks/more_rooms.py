"""How many rooms the heads must learn from: errors in unseen rooms against the number of rooms behind the labels.

    python benchmarks/more_rooms.py results/encoders/bandwise-soft-tau0.1-seed1.joblib --speech ...

The encoder is one that `table2.py` kept with `--encoders`. Heads learn from as many clips of the same speakers as in
every cell of Table 2, through responses of some of its 100 rooms, all of them, or of 500 others, of which only two
responses each are taken, so that there are 1 000 as before; they are asked about the unseen rooms of Table 2. Writes
`benchmarks/more_rooms.json`. Takes ten minutes, of which simulating 500 rooms takes the most.
"""

from __future__ import annotations

import argparse

import joblib
import numpy as np
import pandas as pd
from arguments import add_data_arguments, existing_file, output_of
from record import provenance, save
from sklearn.utils import Bunch
from table2 import SIZES, TESTS, Data, read_embeddings, responses

ROOMS = {"paper": (25, 50, 100, 500), "tiny": (6, 8)}  # the last ones others than those of Table 2


def other_rooms(data: Data, size: str) -> Bunch:
    """Return two responses each of many rooms that are in no cell of Table 2."""
    return data.rooms(ROOMS[size][-1], 2, random_state=3)


def room_sets(data: Data, size: str) -> dict[str, Bunch]:
    """Return responses of growing numbers of rooms."""
    *some, others = ROOMS[size]
    table = data.seen_rooms
    sets = {n: responses(table, np.flatnonzero(np.isin(table.room, np.unique(table.room)[:n]))) for n in some}
    return sets | {others: other_rooms(data, size)}


def main() -> None:
    """Fit heads on more and more rooms."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=existing_file, help="a trained encoder that table2.py kept with --encoders")
    add_data_arguments(parser, SIZES)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the heads")
    args = parser.parse_args()
    size = SIZES[args.size]
    data, encoder = Data(args.speech, size, args.cache), joblib.load(args.encoder)
    tests = {test: data.downstream[test] for test in TESTS}
    X_tests = {test: encoder.transform(clips.data) for test, clips in tests.items()}
    speech = data.speech(1, size.train_clips // 2)
    rows = []
    for n_rooms, rooms in room_sets(data, args.size).items():
        clips = data.clips(rooms, speech, size.train_clips)
        X = {"train": encoder.transform(clips.data)} | X_tests
        for seed in args.seeds:
            found = read_embeddings(X, {"train": clips} | tests, seed)
            here = {"rooms": n_rooms, "responses": len(rooms.rirs), "seed": seed}
            rows += [here | row for row in found if row["test"] == "unseen rooms"]  # the other test was seen by some
        table = pd.DataFrame(rows)
        table["r or accuracy"] = table["pearson_r"].fillna(table["accuracy"])
        print(table.groupby(["rooms", "task"], sort=False)["r or accuracy"].mean().unstack("task").round(3), flush=True)
    save(output_of(args, "more_rooms.json"), {"rows": rows, "encoder": args.encoder.stem} | provenance())


if __name__ == "__main__":
    main()
