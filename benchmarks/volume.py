"""What can be known of a room's volume in rooms that were not seen: from the response itself, and from speech.

    python benchmarks/volume.py --speech LibriSpeech/train-clean-100 results/encoders/bandwise-soft-tau0.1-seed1.joblib

Extra trees learn whether a room has more than 160 m3 from all parameters of its true impulse responses, broadband and
in octave bands, in 100 or 500 rooms, and are asked about the 50 unseen rooms of `table2.py`, and about the 500 others:
a yardstick for what can be expected of speech that went through them. Encoders that `table2.py` kept with `--encoders`
are read as in the table, with heads that learn from its 100 rooms. Intervals come from drawing the tested rooms anew,
with all their clips: there are only 50 of them. Writes `benchmarks/volume.json`; takes five minutes and one more an
encoder.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import joblib
import numpy as np
from arguments import add_data_arguments, existing_file, output_of
from more_rooms import other_rooms
from record import add
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.impute import SimpleImputer
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch
from table2 import HEAD, LARGE_ROOM, SIZES, Data

from roomacoustic_sk import RoomClassifier
from roomacoustic_sk.acoustics import DecayRangeWarning, clarity, room_parameters

BANDS = (125, 250, 500, 1000, 2000, 4000)  # Hz
LIMITS = (0.005, 0.01, 0.02, 0.08)  # s; 0.05 is among the parameters
N_DRAWS = 1000


def all_parameters(rooms: Bunch) -> np.ndarray:
    """Return what ISO 3382-1 says of each response, broadband and in octave bands, and its clarity for other limits."""
    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        for rir in rooms.rirs:
            rows = [room_parameters(rir, rooms.sample_rate, bands=bands) for bands in (None, BANDS)]
            values = [value for row in rows for value in row.values()]
            found.append(np.hstack([*values, *(clarity(rir, rooms.sample_rate, limit=limit) for limit in LIMITS)]))
    return np.array(found)


def is_large(clips: Bunch) -> np.ndarray:
    """Return which rows are of a large room."""
    return clips.target["volume"].to_numpy() > LARGE_ROOM


def judge(large: np.ndarray, probability: np.ndarray, rooms: np.ndarray) -> dict[str, Any]:
    """Return accuracy and area under the ROC curve, each with a 95 % interval over the rooms that are asked about."""
    clips_of = [np.flatnonzero(rooms == room) for room in np.unique(rooms)]
    random_state = np.random.RandomState(0)
    drawn_rooms = random_state.choice(len(clips_of), (N_DRAWS, len(clips_of)))
    draws = [np.arange(len(rooms)), *(np.concatenate([clips_of[room] for room in drawn]) for drawn in drawn_rooms)]
    scores = {
        "accuracy": [np.mean((probability[draw] > 0.5) == large[draw]) for draw in draws],
        "area under ROC": [roc_auc_score(large[draw], probability[draw]) for draw in draws],
    }
    found = {"majority": round(float(max(large.mean(), 1 - large.mean())), 3), "rooms": len(clips_of)}
    for name, (value, *drawn) in scores.items():
        found[name] = round(float(value), 3)
        found[f"{name}, 95 % interval"] = np.quantile(drawn, [0.025, 0.975]).round(3).tolist()
    return found


def main() -> None:
    """Ask responses, then encoders."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "encoders", nargs="*", type=existing_file, help="trained encoders that table2.py kept with --encoders"
    )
    add_data_arguments(parser, SIZES)
    args = parser.parse_args()
    data, output = Data(args.speech, SIZES[args.size], args.cache), output_of(args, "volume.json")

    def keep(name: str, found: dict[str, Any]) -> None:
        add(output, name, found)
        print(f"{name}: {found}", flush=True)

    rooms = {"seen": data.seen_rooms, "more": other_rooms(data, args.size), "unseen": data.unseen_rooms}
    X = {name: all_parameters(part) for name, part in rooms.items()}
    n = {name: len(np.unique(part.room)) for name, part in rooms.items()}
    for learned, asked in (("seen", "unseen"), ("more", "unseen"), ("seen", "more")):
        trees = make_pipeline(SimpleImputer(), ExtraTreesClassifier(500, min_samples_leaf=2, random_state=0, n_jobs=-1))
        trees.fit(X[learned], is_large(rooms[learned]))
        probability = trees.predict_proba(X[asked])[:, 1]
        name = f"true responses, learned from {n[learned]} rooms, asked about {n[asked]} others"
        keep(name, judge(is_large(rooms[asked]), probability, rooms[asked].room))
    for path in args.encoders:
        train, asked = data.downstream["train"], data.downstream["unseen rooms"]
        encoder = joblib.load(path)
        head = RoomClassifier(**HEAD, random_state=0)
        head.fit(encoder.transform(train.data), is_large(train), source_groups=train.source)
        probability = head.predict_proba(encoder.transform(asked.data))[:, 1]
        keep(f"speech, {path.stem}, heads of {n['seen']} rooms", judge(is_large(asked), probability, asked.room))


if __name__ == "__main__":
    main()
