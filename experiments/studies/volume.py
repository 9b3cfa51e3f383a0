"""What can be known of the volume of an unseen room, from its responses and from speech."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import LARGE_ROOM, markdown, prose, section

if TYPE_CHECKING:
    from experiments.data import Lab

BANDS = (125, 250, 500, 1000, 2000, 4000)  # Hz
LIMITS = (0.005, 0.01, 0.02, 0.08)  # s; 0.05 is among the parameters
N_DRAWS = 1000


@dataclass(frozen=True, kw_only=True)
class Source(Key):
    """What is heard, and the rooms that are learned from and tested in: seen and unseen of Table 2, or others."""

    heard: str  # "responses", or speech by an encoder of Table 2
    train: str
    test: str


class Volume(Study):
    """The study `volume`."""

    name = "volume"
    question = "How well can large rooms be told from small ones that were never seen, at best and from speech?"

    def keys(self) -> list[Source]:
        """Return true responses, then speech."""
        rooms = (("seen", "unseen"), ("others", "unseen"), ("seen", "others"))
        keys = [Source(heard="responses", train=train, test=test) for train, test in rooms]
        encoders = (f"bandwise-soft-tau0.1-seed{seed}" for seed in (1, 2))
        return keys + [Source(heard=encoder, train="seen", test="unseen") for encoder in encoders]

    def run(self, key: Source, lab: Lab, checkpoints: Path) -> Outcome:
        """Fit trees on parameters of true responses, or a head on embeddings of speech."""
        rooms = {"seen": lab.seen_rooms, "unseen": lab.unseen_rooms}
        rooms |= {"others": lab.other_rooms} if "others" in (key.train, key.test) else {}
        if key.heard == "responses":
            found = _from_responses(rooms[key.train], rooms[key.test], key.seed)
        else:
            found = _from_speech(key, lab, checkpoints)
        return Outcome(found | {"train_rooms": len(np.unique(rooms[key.train].room))})

    def section(self, results: Sequence[Result]) -> str:
        """Return accuracies with their intervals."""
        header = ["heard", "trained on", "tested in", "accuracy", "95 % interval", "majority class", "area under ROC"]
        rows, found = [], {(one.key["heard"], one.key["train"], one.key["test"]): one.result for one in results}
        for (heard, _, _), one in sorted(found.items(), key=lambda item: (item[0][0] != "responses", item[0])):
            low, high = (100 * bound for bound in one["accuracy_interval"])
            rows.append(
                [
                    heard,
                    f"{one['train_rooms']} rooms",
                    f"{one['test_rooms']} rooms",
                    f"{100 * one['accuracy']:.1f} %",
                    f"{low:.1f} to {high:.1f} %",
                    f"{100 * one['majority']:.1f} %",
                    f"{one['roc_auc']:.2f}",
                ]
            )
        best = found["responses", "others", "unseen"]
        low, high = found["responses", "seen", "unseen"]["accuracy_interval"]
        text = prose(f"""
            Is a room larger than {LARGE_ROOM:g} m³? Extra trees on all parameters of the true responses, broadband and
            in octave bands, are compared with heads on embeddings of speech. Intervals: bootstrap over the tested
            rooms.
        """)
        findings = prose(f"""
            Even the exact parameters of the responses say little about the volume of an unseen room:
            {100 * best["accuracy"]:.1f} % at best in the {best["test_rooms"]} unseen rooms. A method that estimates
            these parameters from speech is unlikely to do much better. Limitations: {best["test_rooms"]} rooms are
            too few to settle the question (the interval for 100 rooms is {100 * (high - low):.0f} points wide), and
            early reflections, echo density and room modes were not tried.
        """)
        picture = "![Accuracy for the volume, from responses and from speech](figures/volume.png)"
        return section("Volume of unseen rooms", text, markdown(header, rows), picture, findings)


def _from_responses(train: Any, test: Any, seed: int) -> dict[str, Any]:
    """Learn the volume from the parameters of true responses."""
    from sklearn.ensemble import ExtraTreesClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline

    from experiments.data import is_large

    trees = ExtraTreesClassifier(500, min_samples_leaf=2, random_state=seed, n_jobs=-1)
    model = make_pipeline(SimpleImputer(), trees).fit(all_parameters(train), is_large(train))
    return judge(is_large(test), model.predict_proba(all_parameters(test))[:, 1], test.room)


def _from_speech(key: Source, lab: Lab, checkpoints: Path) -> dict[str, Any]:
    """Learn the volume from embeddings."""
    from experiments.data import is_large
    from experiments.encoders import kept_encoder
    from experiments.heads import HEAD
    from roomacoustic_sk import RoomClassifier

    encoder, commit = kept_encoder(key.heard, lab, checkpoints)
    train, test = lab.train_clips(), lab.tests["unseen rooms"]
    head = RoomClassifier(**HEAD, random_state=key.seed)
    head.fit(encoder.transform(train.data), is_large(train), source_groups=train.source)
    found = judge(is_large(test), head.predict_proba(encoder.transform(test.data))[:, 1], test.room)
    return found | {"encoder_commit": commit}


def all_parameters(rooms: Any) -> np.ndarray:
    """Return all ISO 3382-1 parameters of each response, broadband and in octave bands, and clarity at other limits."""
    from roomacoustic_sk.acoustics import DecayRangeWarning, clarity, room_parameters

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        for rir in rooms.rirs:
            parts = [room_parameters(rir, rooms.sample_rate, bands=bands) for bands in (None, BANDS)]
            values = [value for part in parts for value in part.values()]
            found.append(np.hstack([*values, *(clarity(rir, rooms.sample_rate, limit=limit) for limit in LIMITS)]))
    return np.array(found)


def judge(large: np.ndarray, probability: np.ndarray, rooms: np.ndarray) -> dict[str, Any]:
    """Return accuracy and area under the ROC curve, each with a 95 % interval from drawing rooms with replacement."""
    from sklearn.metrics import roc_auc_score

    clips_of = [np.flatnonzero(rooms == room) for room in np.unique(rooms)]
    drawn_rooms = np.random.RandomState(0).choice(len(clips_of), (N_DRAWS, len(clips_of)))
    draws = [np.arange(len(rooms)), *(np.concatenate([clips_of[room] for room in drawn]) for drawn in drawn_rooms)]
    draws = [draw for draw in draws if 0 < large[draw].mean() < 1]  # a draw of one class has no ROC curve
    scores = {
        "accuracy": [np.mean((probability[draw] > 0.5) == large[draw]) for draw in draws],
        "roc_auc": [roc_auc_score(large[draw], probability[draw]) for draw in draws],
    }
    found = {"majority": round(float(max(large.mean(), 1 - large.mean())), 3), "test_rooms": len(clips_of)}
    for name, (value, *drawn) in scores.items():
        found[name] = round(float(value), 3)
        found[f"{name}_interval"] = np.quantile(drawn, [0.025, 0.975]).round(3).tolist()
    return found
