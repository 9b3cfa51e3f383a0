"""When the paper's network leaves the plateau at which contrastive training begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import markdown, prose, section

if TYPE_CHECKING:
    from experiments.data import Lab

EPOCHS = {"paper": 6, "tiny": 3}
SEGMENTS = {"paper": 352, "tiny": 20}  # a fifth validates
CHANCE = 4.263  # ln 71: 72 clips a batch


@dataclass(frozen=True, kw_only=True)
class Condition(Key):
    """A short training of the paper's network."""

    sampling: str
    tau: float
    warm_up: int | None = None  # epochs of soft batches before
    travel_time: str | None = None  # "left-in", or None where clips begin with the direct sound


class Plateau(Study):
    """The study `plateau`."""

    name = "plateau"
    question = "What decides whether contrastive training of the paper's network leaves its initial plateau?"

    def keys(self) -> list[Condition]:
        """Return hard and soft batches at two temperatures, and two variants of hard ones."""
        return [
            Condition(sampling="hard", tau=0.1),
            Condition(sampling="soft", tau=0.1),
            Condition(sampling="hard", tau=1.0),
            Condition(sampling="soft", tau=1.0),
            Condition(sampling="hard", tau=0.1, travel_time="left-in"),
            Condition(sampling="hard", tau=0.1, warm_up=3),
        ]

    def run(self, key: Condition, lab: Lab, checkpoints: Path) -> Outcome:
        """Train on one response each of the upstream rooms."""
        from experiments.encoders import fit_in_stages
        from roomacoustic_sk import ContrastiveRoomEncoder
        from roomacoustic_sk.datasets import make_reverberant_speech

        rooms = lab.rooms(lab.size.upstream_rooms, 1, 0)
        speech, remove_delay = lab.speech(0, SEGMENTS[lab.size.name]), key.travel_time is None
        grid = make_reverberant_speech(rooms, speech, remove_delay=remove_delay, lazy=True, random_state=0)
        encoder = ContrastiveRoomEncoder(
            network="paper",
            tau=key.tau,
            steps_per_epoch=lab.size.steps,
            warm_start=True,
            random_state=key.seed,
            verbose=1,
        )
        n_epochs = EPOCHS[lab.size.name]
        stages = {"soft": min(key.warm_up or 0, n_epochs)} | {key.sampling: n_epochs}
        fit_in_stages(encoder, grid, stages, checkpoints)
        history = encoder.history_
        losses = history[["train_loss", "valid_loss"]].round(3).to_dict("list")
        return Outcome(losses, float(history["dur"].sum()))

    def section(self, results: Sequence[Result]) -> str:
        """Return the losses of each condition."""
        by_name = {one.name: one for one in results}
        lines = []
        for key in self.keys():
            one = by_name[key.name]
            train, valid = one.result["train_loss"], one.result["valid_loss"]
            left = next((epoch for epoch, loss in enumerate(train, start=1) if loss < CHANCE - 0.06), None)
            sampling = key.sampling if key.warm_up is None else f"{key.sampling} after {key.warm_up} epochs of soft"
            lines.append(
                [
                    sampling,
                    f"{key.tau:g}",
                    "removed" if key.travel_time is None else "left in",
                    str(len(train)),
                    "not in these epochs" if left is None else f"epoch {left}",
                    f"{train[-1]:.2f} / {valid[-1]:.2f}",
                ]
            )
        text = prose(f"""
            If all embeddings are alike, each of the 71 other clips in a batch of 72 is as likely as any other to be
            the match, so the loss starts at its chance level, ln 71 = {CHANCE}. `network="paper"`, 64 responses,
            {SEGMENTS["paper"]} segments. Off the plateau: training loss below {CHANCE - 0.06:.2f}.
        """)
        findings = prose("""
            Within these few epochs, the sampling decides. In a hard batch, clips with different responses contain the
            same words. This network appears to encode the words first, which does not help there, so the loss falls
            most quickly if all embeddings become alike. Soft batches take it off the plateau, and hard batches can
            follow: `soft_warm_up=True` does this by itself. Limitation: one seed each.
        """)
        header = ["sampling", "tau", "travel time", "epochs", "off the plateau", "last loss, training / validation"]
        return section("The plateau", text, markdown(header, lines), findings)
