"""What the training of an estimate should hold out to stop early: sources, impulse responses or rooms.

    python benchmarks/held_out.py results/encoders/bandwise-soft-tau0.1-seed1.joblib --speech train-clean-100
    python benchmarks/held_out.py bandwise --tasks rt60 c50 --seeds 0 --speech train-clean-100

Heads of a frozen encoder that `table2.py` kept with `--encoders`, or a network trained end to end where its name is
given, learn from the clips of Table 2 and are asked about its tests and about 2 048 clips in 500 other rooms, among
which to choose (`more_rooms.py` has heads learn from these). With `--heads 8` the estimates of eight heads, trained
from seeds of their own, are averaged. Results go to `benchmarks/held_out.json`; a run that was stopped goes on where it
was.
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import joblib
from arguments import add_data_arguments, output_of
from more_rooms import other_rooms
from record import add, load
from sklearn.utils import Bunch
from table2 import SIZES, TASKS, Data, labels_of, read_embeddings, regress

from roomacoustic_sk import SupervisedRoomRegressor
from roomacoustic_sk.networks import NETWORKS
from roomacoustic_sk.samplers import HELD_OUT


def all_clips(data: Data, size: str) -> dict[str, Bunch]:
    """Return the clips of Table 2 and, as a further test, others in many other rooms."""
    rooms, speech = other_rooms(data, size), data.speech(2, data.size.test_clips)
    return data.downstream | {"other rooms": data.clips(rooms, speech, data.size.test_clips)}


def encoder_or_network(text: str) -> Path | str:
    """Take the file of an encoder, or the name of a network."""
    if text in NETWORKS:
        return text
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"must be a file that exists, or one of {list(NETWORKS)}, got {text!r}")
    return Path(text)


def end_to_end(network: str, tasks: list[str], clips: dict[str, Bunch], parameters: dict[str, Any]) -> list[dict]:
    """Train the network for each task."""
    X, labels = {key: part.data for key, part in clips.items()}, labels_of(clips["train"])
    estimator = SupervisedRoomRegressor(network=network, verbose=1, **parameters)
    return [row for task in tasks for row in regress(task, estimator, X, clips, labels)]


def main() -> None:
    """Hold out one thing after the other."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=encoder_or_network, help="an encoder that table2.py kept, or a network's name")
    add_data_arguments(parser, SIZES)
    parser.add_argument("--tasks", nargs="+", choices=list(TASKS), default=list(TASKS), help="of a network")
    parser.add_argument("--hold-out", nargs="+", choices=list(HELD_OUT), default=list(HELD_OUT))
    parser.add_argument("--heads", type=int, default=1, help="of an encoder, whose estimates are averaged")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], help="of the heads, or of the network")
    args = parser.parse_args()
    data, frozen = Data(args.speech, SIZES[args.size], args.cache), isinstance(args.encoder, Path)
    output = output_of(args, "held_out.json")
    clips = all_clips(data, args.size)
    if frozen:
        encoder = joblib.load(args.encoder)
        X = {key: encoder.transform(part.data) for key, part in clips.items()}
    name = args.encoder.stem if frozen else f"{args.encoder}, end to end"
    for hold_out, seed in product(args.hold_out, args.seeds):
        heads = f", {args.heads} heads" if frozen and args.heads > 1 else ""
        key = f"{name}, {hold_out}{heads}, seed {seed}"
        if key in load(output)["measured"]:
            continue
        if frozen:
            rows = read_embeddings(X, clips, seed, hold_out, args.heads)
        else:
            common = {"max_epochs": data.size.supervised_epochs, "random_state": seed, "hold_out": hold_out}
            rows = end_to_end(args.encoder, args.tasks, clips, common)
        add(output, key, rows)
        shown = [f"{row['task']}, {row['test']} {row.get('pearson_r', row.get('accuracy')):.3f}" for row in rows]
        print(f"{key}: {'; '.join(shown)}", flush=True)


if __name__ == "__main__":
    main()
