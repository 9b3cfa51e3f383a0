"""Whether the paper's network, trained end to end, learns its clips by heart, and what more clips change.

    python benchmarks/by_heart.py --speech LibriSpeech/train-clean-100

The supervised baseline of `table2.py`, for C50 and for the volume, learns from the clips of Table 2, then from three
times as many: other pairs of the same 1 000 responses and of other segments of the same speakers. Losses of every epoch
are kept, those of C50 as shares of the spread (1 is what the mean makes), those of the volume as cross-entropies (0.683
is what the classes' shares make). It stops as in Table 2. Results go to `benchmarks/by_heart.json`; a run that was
stopped goes on where it was. Takes half an hour with one thread, and 13 GB.
"""

from __future__ import annotations

import argparse
from itertools import product
from typing import Any

from arguments import add_data_arguments, output_of
from record import add, load
from sklearn.utils import Bunch
from table2 import SIZES, Data, classify, labels_of, regress

from roomacoustic_sk import SupervisedRoomClassifier, SupervisedRoomRegressor
from roomacoustic_sk.networks import NETWORKS

TIMES = (1, 3)


def train(task: str, clips: dict[str, Bunch], parameters: dict[str, Any]) -> dict[str, Any]:
    """Train end to end for a task; return errors in the tests and the losses of all epochs."""
    X, labels = {key: part.data for key, part in clips.items()}, labels_of(clips["train"])
    if task == "volume":
        estimator = SupervisedRoomClassifier(verbose=1, **parameters)
        rows = classify(estimator, X, clips, labels)
    else:
        estimator = SupervisedRoomRegressor(verbose=1, **parameters)
        rows = regress(task, estimator, X, clips, labels)
    return {"rows": rows} | estimator.history_[["train_loss", "valid_loss"]].round(3).to_dict("list")


def main() -> None:
    """Train on few clips and on many."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_arguments(parser, SIZES)
    parser.add_argument("--network", choices=list(NETWORKS), default="paper")
    parser.add_argument("--tasks", nargs="+", choices=("c50", "volume"), default=["c50", "volume"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    data, output = Data(args.speech, SIZES[args.size], args.cache), output_of(args, "by_heart.json")
    clips = data.downstream
    for times, seed in product(TIMES, args.seeds):
        n_clips = times * data.size.train_clips
        if len(clips["train"].data) != n_clips:
            del clips["train"]  # both would not fit into memory
            clips["train"] = data.clips(data.seen_rooms, data.speech(1, n_clips // 2), n_clips)
        for task in args.tasks:
            key = f"{args.network}, {task}, {n_clips} clips, seed {seed}"
            if key not in load(output)["measured"]:
                common = {"network": args.network, "max_epochs": data.size.supervised_epochs, "random_state": seed}
                found = train(task, clips, common)
                add(output, key, found)
                print(f"{key}: {found}", flush=True)


if __name__ == "__main__":
    main()
