"""Whether the paper's network, trained end to end, memorises its clips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TASKS, markdown, metric, prose, section

if TYPE_CHECKING:
    from experiments.data import Lab


@dataclass(frozen=True, kw_only=True)
class Clips(Key):
    """A task, and how many times as many clips as in Table 2."""

    network: str
    task: str
    times: int


class Memorisation(Study):
    """The study `memorisation`."""

    name = "memorisation"
    question = "Does the paper's network memorise its clips when it is trained end to end, and do more clips help?"

    def keys(self) -> list[Clips]:
        """Return C50 and volume, from the clips of Table 2 and from three times as many: 13 GB."""
        return [Clips(network="paper", task=task, times=times) for times, task in product((1, 3), ("c50", "volume"))]

    def run(self, key: Clips, lab: Lab, checkpoints: Path) -> Outcome:
        """Train end to end; return errors, and the losses of all epochs."""
        from experiments.data import labels_of
        from experiments.heads import fit_and_judge
        from roomacoustic_sk import SupervisedRoomClassifier, SupervisedRoomRegressor

        n_clips = key.times * lab.size.train_clips
        clips = {"train": lab.train_clips(n_clips=n_clips)} | lab.tests
        kind = SupervisedRoomClassifier if key.task == "volume" else SupervisedRoomRegressor
        estimator = kind(
            network=key.network,
            max_epochs=lab.size.supervised_epochs,
            random_state=key.seed,
            checkpoint_dir=checkpoints,
            verbose=1,
        )
        X = {part: some.data for part, some in clips.items()}
        rows = fit_and_judge(key.task, estimator, X, clips, labels_of(clips["train"]))
        history = estimator.history_
        losses = history[["train_loss", "valid_loss"]].round(3).to_dict("list")
        return Outcome({"rows": rows, "n_clips": n_clips} | losses, float(history["dur"].sum()))

    def section(self, results: Sequence[Result]) -> str:
        """Return losses and scores."""
        lines = []
        for one in sorted(results, key=lambda one: (one.key["task"], one.key["times"])):
            found, task = one.result, one.key["task"]
            valid = found["valid_loss"]
            best = valid.index(min(valid))
            scores = [row[metric(task)] for row in found["rows"]]
            lines.append(
                [
                    TASKS[task],
                    f"{found['n_clips']:,}".replace(",", " "),
                    str(best + 1),
                    f"{found['train_loss'][best]:.3f} / {valid[best]:.3f}",
                    f"{found['train_loss'][-1]:.3f} / {valid[-1]:.3f}",
                    *(f"{value:.3f}" for value in scores),
                ]
            )
        header = ["task", "clips", "best epoch", "its loss, training / validation", "last loss"]
        header += ["seen RIRs", "unseen rooms"]
        text = prose("""
            `network="paper"` trained end to end, on the clips of Table 2 and on three times as many clips of the same
            responses and talkers. Loss of C50: mean squared error over the variance; of the volume: cross-entropy.
            Scores: r of C50, accuracy of the volume.
        """)
        few = next(one.result for one in results if one.key["task"] == "volume" and one.key["times"] == 1)
        best = few["valid_loss"].index(min(few["valid_loss"]))
        findings = prose(f"""
            The network memorises the volume of its clips: training loss falls to {few["train_loss"][-1]:.2f}, but
            validation loss is lowest in epoch {best + 1} and rises to {few["valid_loss"][-1]:.2f}. Three times as many
            clips lower the validation loss of both tasks, but scores on new talkers change little. We suspect that
            more talkers are needed rather than more clips. Limitation: one seed.
        """)
        return section("Memorisation", text, markdown(header, lines), findings)
