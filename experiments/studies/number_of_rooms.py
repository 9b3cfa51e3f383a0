"""How many rooms heads must be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TASKS, frame, markdown, mean, prose, score, section, select

if TYPE_CHECKING:
    from experiments.data import Lab

ENCODER = "bandwise-soft-tau0.1-seed1"
DEFAULT = tuple(f"compact-soft-tau0.1-seed{seed}" for seed in range(3))  # encoders of the default network
SHARES = ("quarter", "half", "all", "others")  # of the rooms of Table 2; others: rooms in no cell of it
COUNTS = {"paper": (25, 50, 100, 500), "tiny": (5, 5, 6, 8)}


@dataclass(frozen=True, kw_only=True)
class Rooms(Key):
    """Heads of an encoder of Table 2 that are trained on some rooms."""

    encoder: str
    rooms: str


class NumberOfRooms(Study):
    """The study `number_of_rooms`."""

    name = "number_of_rooms"
    question = "How many rooms must heads be trained on for estimates in unseen rooms?"

    def keys(self) -> list[Rooms]:
        """Return growing numbers of rooms, and most rooms for the default network; clips are made once for all."""
        found = [Rooms(encoder=ENCODER, rooms=rooms, seed=seed) for rooms, seed in product(SHARES, range(3))]
        return [*found, *(Rooms(encoder=encoder, rooms=SHARES[-1], seed=seed) for seed, encoder in enumerate(DEFAULT))]

    def run(self, key: Rooms, lab: Lab, checkpoints: Path) -> Outcome:
        """Train heads on as many clips as in Table 2, and test them in its unseen rooms."""
        from experiments.encoders import kept_encoder
        from experiments.heads import embed, fit_heads

        encoder, commit = kept_encoder(key.encoder, lab, checkpoints)
        n_rooms = dict(zip(SHARES, COUNTS[lab.size.name], strict=True))
        # Some of these responses were in the training of some heads, but not of others: no test on seen RIRs.
        clips = {"train": lab.train_clips(n_rooms[key.rooms]), "unseen rooms": lab.tests["unseen rooms"]}
        rows = fit_heads(embed(encoder, clips), clips, key.seed)
        counts = {"n_rooms": n_rooms[key.rooms], "n_responses": len(np.unique(clips["train"].rir))}
        return Outcome({"rows": rows, "encoder_commit": commit} | counts)

    def section(self, results: Sequence[Result]) -> str:
        """Return scores in unseen rooms against the number of rooms."""
        both = frame(results)
        table, of_default = select(both, encoder=ENCODER), both[both["encoder"].isin(DEFAULT)]
        counts = {one.key["rooms"]: (one.result["n_rooms"], one.result["n_responses"]) for one in results}
        rows = [
            [str(counts[share][0]), str(counts[share][1]), *(score(table, task, rooms=share) for task in TASKS)]
            for share in SHARES
        ]
        rows.append([f"{rows[-1][0]}, default network", rows[-1][1], *(score(of_default, task) for task in TASKS)])
        r = {share: mean(table, "pearson_r", task="rt60", rooms=share) for share in SHARES}
        text = prose(f"""
            Heads on the frozen encoder `{ENCODER}`, trained on the same number of clips in each line; three seeds of
            the heads; tested in the 50 unseen rooms of Table 2. The {counts["quarter"][0]} and {counts["half"][0]}
            rooms are part of the {counts["all"][0]} rooms of Table 2; the {counts["others"][0]} are a different draw.
            Last line: encoders of the default network, {of_default["encoder"].nunique()} seeds with one of the heads
            each.
        """)
        findings = prose(f"""
            Broadband RT60 needs many rooms: r rises from {r["quarter"]:.3f} with {counts["quarter"][0]} rooms to
            {r["all"]:.3f} with {counts["all"][0]} and {r["others"]:.3f} with {counts["others"][0]}, the last two with
            the same number of responses. The last step does not help RT60 at mid frequencies or C50, for which a few
            rooms are enough. No number of rooms is enough to predict the volume. Limitation: one draw of rooms each.
        """)
        return section("Number of rooms", text, markdown(["rooms", "responses", *TASKS.values()], rows), findings)
