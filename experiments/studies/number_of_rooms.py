"""How many rooms heads must be trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from experiments.results import Key, RefusedError, Result
from experiments.study import Outcome, Study
from experiments.tables import TASKS, frame, markdown, mean, metric, prose, score, section, select

if TYPE_CHECKING:
    from experiments.data import Lab

ENCODER = "bandwise-soft-tau0.1-seed1"
DEFAULT = tuple(f"compact-soft-tau0.1-seed{seed}" for seed in range(3))  # encoders of the default network
SHARES = ("quarter", "half", "all", "others")  # of the rooms of Table 2; others: rooms in no cell of it
GROWING = ("all", "others", "most")  # for the default network
COUNTS = {
    "paper": {"quarter": 25, "half": 50, "all": 100, "others": 500, "most": 2000},
    "tiny": {"quarter": 5, "half": 5, "all": 6, "others": 8, "most": 10},
}


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
        """Return growing numbers of rooms for either network; clips of the same rooms are made once."""
        found = [Rooms(encoder=ENCODER, rooms=rooms, seed=seed) for rooms, seed in product(SHARES, range(3))]
        of_default = product(GROWING, enumerate(DEFAULT))
        return [*found, *(Rooms(encoder=encoder, rooms=rooms, seed=seed) for rooms, (seed, encoder) in of_default)]

    def run(self, key: Rooms, lab: Lab, checkpoints: Path) -> Outcome:
        """Train heads on as many clips as in Table 2, and test them in its unseen rooms."""
        from experiments.encoders import kept_encoder
        from experiments.heads import embed, fit_heads

        encoder, commit = kept_encoder(key.encoder, lab, checkpoints)
        n_rooms = COUNTS[lab.size.name]
        # Some of these responses were in the training of some heads, but not of others: no test on seen RIRs.
        clips = {"train": lab.train_clips(n_rooms[key.rooms]), "unseen rooms": lab.tests["unseen rooms"]}
        rows = fit_heads(embed(encoder, clips), clips, key.seed)
        counts = {"n_rooms": n_rooms[key.rooms], "n_responses": len(np.unique(clips["train"].rir))}
        return Outcome({"rows": rows, "encoder_commit": commit} | counts)

    def section(self, results: Sequence[Result]) -> str:
        """Return scores in unseen rooms against the number of rooms."""
        table = frame(results)
        counts = {one.key["rooms"]: (one.result["n_rooms"], one.result["n_responses"]) for one in results}
        growing = [share for share in GROWING if share in set(table.loc[table["encoder"].isin(DEFAULT), "rooms"])]
        rows = []
        for network, shares in (("bandwise", SHARES), ("compact", growing)):
            part = table[table["encoder"].str.startswith(network)]
            rows += [
                [network, *map(str, counts[share]), *(score(part, task, rooms=share) for task in TASKS)]
                for share in shares
            ]
        r = {share: mean(select(table, encoder=ENCODER), "pearson_r", task="rt60", rooms=share) for share in SHARES}
        of_default = table[table["encoder"].isin(DEFAULT)]
        if len(growing) < 2:
            raise RefusedError(f"The section of {self.name} needs two numbers of rooms for the default network.")
        before, most = growing[-2:]
        seeds = set.intersection(*(set(select(of_default, rooms=share)["seed"]) for share in (before, most)))
        of_default = of_default[of_default["seed"].isin(seeds)]
        gained = {
            task: mean(of_default, metric(task), task=task, rooms=most)
            - mean(of_default, metric(task), task=task, rooms=before)
            for task in TASKS
        }
        text = prose(f"""
            Heads on frozen encoders, trained on the same number of clips in each line and tested in the 50 unseen rooms
            of Table 2. *bandwise*: `{ENCODER}` with three seeds of the heads; *compact*, the default network: an
            encoder and its heads for each of three seeds. The {counts["quarter"][0]} and {counts["half"][0]} rooms are
            part of the {counts["all"][0]} rooms of Table 2; more rooms are different draws.
        """)
        picture = "![Scores in unseen rooms against the number of rooms](figures/number_of_rooms.png)"
        findings = prose(f"""
            Broadband RT60 needs many rooms: with the bandwise network r rises from {r["quarter"]:.3f} with
            {counts["quarter"][0]} rooms to {r["all"]:.3f} with {counts["all"][0]} and {r["others"]:.3f} with
            {counts["others"][0]}, the last two with the same number of responses. From {counts[before][0]} to
            {counts[most][0]} rooms, r of the compact network changes by {gained["rt60"]:+.3f} for RT60,
            {gained["log rt60"]:+.3f} for its logarithm and {gained["c50"]:+.3f} for C50 (seeds of both:
            {len(seeds)}). None of these numbers is enough to predict the volume. Limitation: one draw of rooms each.
        """)
        table_of_scores = markdown(["network", "rooms", "responses", *TASKS.values()], rows)
        return section("Number of rooms", text, table_of_scores, picture, findings)
