"""How many numbers must describe a room."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TASKS, TESTS, frame, markdown, mean, metric, prose, score, section, select, verdict

if TYPE_CHECKING:
    from experiments.data import Lab

SIZES = (64, 256)  # 64: the default, and the paper's
EPOCHS = 6


@dataclass(frozen=True, kw_only=True)
class Embedding(Key):
    """The number of features of the default network's embedding."""

    n_embedding: int


class EmbeddingSize(Study):
    """The study `embedding_size`."""

    name = "embedding_size"
    question = "Do 64 numbers limit what can be estimated, or would 256 tell more?"

    def keys(self) -> list[Embedding]:
        """Return the sizes."""
        return [Embedding(n_embedding=n_embedding) for n_embedding in SIZES]

    def run(self, key: Embedding, lab: Lab, checkpoints: Path) -> Outcome:
        """Train an encoder for an eighth of the steps of Table 2, and its heads."""
        from experiments.encoders import short_training
        from experiments.heads import embed, fit_heads
        from roomacoustic_sk.networks import CompactRoomCNN

        settings = {"network": partial(CompactRoomCNN, n_embedding=key.n_embedding)}
        encoder = short_training(settings, lab.upstream("compact", "soft"), EPOCHS, lab, key.seed, checkpoints)
        rows = fit_heads(embed(encoder, lab.downstream), lab.downstream, key.seed)
        history = encoder.history_[["train_loss", "valid_loss"]].round(4).to_dict("list")
        return Outcome({"rows": rows, "history": history}, float(encoder.history_["dur"].sum()))

    def section(self, results: Sequence[Result]) -> str:
        """Return scores by size."""
        table = frame(results)
        rows = [
            [TASKS[task], test, *(score(table, task, test=test, n_embedding=size) for size in SIZES)]
            for task in TASKS
            for test in TESTS
        ]
        tasks = [task for task in TASKS if task != "volume"]

        few, many = (select(table, n_embedding=size) for size in SIZES)
        gained = {}
        for test in TESTS:
            of_tasks = [
                mean(many, metric(t), task=t, test=test) - mean(few, metric(t), task=t, test=test) for t in tasks
            ]
            gained[test] = sum(of_tasks) / len(tasks)
        no_limit = verdict(f"{SIZES[0]} numbers are no limit here", holds=max(gained.values()) < 0.01)
        text = prose(f"""
            `network="compact"` with an embedding of {SIZES[0]} and of {SIZES[1]} numbers: soft sampling, tau 0.1,
            {EPOCHS} epochs, an eighth of those of Table 2.
        """)
        picture = "![Scores against the size of the embedding](figures/embedding_size.png)"
        findings = prose(f"""
            With {SIZES[1]} numbers for {SIZES[0]}, r changes by {gained[TESTS[0]]:+.3f} on seen RIRs and by
            {gained[TESTS[1]]:+.3f} in unseen rooms, in the mean over the tasks without the volume: {no_limit}.
            Limitation: one seed, short training.
        """)
        header = ["task", "test", *(f"{size} numbers" for size in SIZES)]
        return section("Size of the embedding", text, markdown(header, rows), picture, findings)
