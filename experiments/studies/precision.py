"""Whether the fast number formats learn the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TASKS, TESTS, frame, markdown, metric, prose, section, select

if TYPE_CHECKING:
    from experiments.data import Lab

ARITHMETIC = {"float32": "float32", "fast": "auto"}  # fast: bfloat16 where the processor has it, compiled
EPOCHS = {"bandwise": 6, "pooled": 6, "paper": 12}
CLIPS = {"train_clips": 4096, "test_clips": 1024}


@dataclass(frozen=True, kw_only=True)
class Training(Key):
    """A network, and how it computes."""

    network: str
    arithmetic: str


class Precision(Study):
    """The study `precision`."""

    name = "precision"
    question = "Do bfloat16 and compiling change what is learned?"

    def keys(self) -> list[Training]:
        """Return both ways with three seeds."""
        found = product(range(3), EPOCHS, ARITHMETIC)
        return [Training(network=network, arithmetic=arithmetic, seed=seed) for seed, network, arithmetic in found]

    def run(self, key: Training, lab: Lab, checkpoints: Path) -> Outcome:
        """Train an encoder on the paper's grid with hard sampling; fit heads on it."""
        from experiments.data import labels_of
        from experiments.heads import embed, fit_all
        from roomacoustic_sk import ContrastiveRoomEncoder, RoomClassifier, RoomRegressor

        if lab.size.name == "paper":
            lab = lab.resized(**CLIPS)
        upstream = lab.upstream("paper", "hard")
        n_epochs = EPOCHS[key.network] if lab.size.name == "paper" else 1
        encoder = ContrastiveRoomEncoder(
            network=key.network,
            sampling="hard",
            max_epochs=n_epochs,
            patience=n_epochs,
            steps_per_epoch=lab.size.steps,
            precision=ARITHMETIC[key.arithmetic],
            compile=key.arithmetic == "fast" and key.network != "paper",
            random_state=key.seed,
            checkpoint_dir=checkpoints,
            verbose=1,
        )
        encoder.fit(upstream.data, **labels_of(upstream))
        clips, history = lab.downstream, encoder.history_
        head: dict[str, Any] = {"validation_fraction": 0.2, "random_state": key.seed}
        regressor, classifier = partial(RoomRegressor, **head), partial(RoomClassifier, **head)
        rows = fit_all(embed(encoder, clips), clips, regressor, classifier, {"source_groups": clips["train"].source})
        more = {"valid_loss": float(history["valid_loss"].min()), "epochs": len(history)}
        return Outcome({"rows": rows} | more, float(history["dur"].sum()))

    def section(self, results: Sequence[Result]) -> str:
        """Return both ways beside each other, with their difference and the spread over seeds."""
        table, lines = frame(results), []
        n_noise = 0
        for network, task, test in product([n for n in EPOCHS if n in set(table["network"])], TASKS, TESTS):
            part = select(table, network=network, task=task, test=test)
            both = {name: select(part, arithmetic=name)[metric(task)] for name in ARITHMETIC}
            difference = both["fast"].mean() - both["float32"].mean()
            over_seeds = float(np.sqrt(np.mean([values.std() ** 2 for values in both.values()])))
            n_noise += abs(difference) < 1.6 * over_seeds  # twice the standard error of a difference of 3-seed means
            numbers = (both["float32"].mean(), both["fast"].mean())
            shown = [*(f"{value:.3f}" for value in numbers), f"{difference:+.3f}", f"{over_seeds:.3f}"]
            lines.append([network, TASKS[task], test, *shown])
        header = ["network", "task", "test", "float32", "fast", "difference", "SD over seeds"]
        text = prose("""
            Encoders trained in float32, not compiled, against the fast defaults (bfloat16 if the processor has it,
            compiled); hard sampling, tau 0.1, three seeds, heads on fewer clips than in Table 2. r, and accuracy of
            the volume.
        """)
        findings = prose(f"""
            {n_noise} of the {len(lines)} differences are within twice their standard error. Use `precision="float32"`
            if a few hundredths of r matter. Limitation: three seeds.
        """)
        return section("Fast number formats", text, markdown(header, lines), findings)
