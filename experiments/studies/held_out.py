"""What early stopping should hold out, and what an ensemble of heads gains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TASKS, frame, markdown, mean, prose, score, section, select

if TYPE_CHECKING:
    from experiments.data import Lab

TESTS = ("seen RIRs", "unseen rooms", "other rooms")
HELD_OUT = {"source": "sources", "rir": "responses", "room": "rooms"}
ENSEMBLES = ("source", "rir")
END_TO_END = "bandwise-end-to-end"


@dataclass(frozen=True, kw_only=True)
class Stop(Key):
    """Heads of an encoder of Table 2, or a network trained end to end, and what their training holds out."""

    learner: str
    hold_out: str
    heads: int | None = None  # whose estimates are averaged, of an encoder


class HeldOut(Study):
    """The study `held_out`."""

    name = "held_out"
    question = (
        "What should the training of heads hold out: sources, responses or rooms? Does an ensemble of heads help?"
    )
    free: ClassVar = {"seed": int, "heads": int}

    def keys(self) -> list[Stop]:
        """Return single heads, ensembles of eight, and the network trained end to end."""
        encoders = [f"bandwise-soft-tau0.1-seed{seed}" for seed in range(3)]
        keys = [Stop(learner=e, hold_out=h, heads=1, seed=s) for e, h, s in product(encoders, HELD_OUT, range(3))]
        keys += [Stop(learner=e, hold_out=h, heads=8) for e, h in product(encoders, ENSEMBLES)]
        return keys + [Stop(learner=END_TO_END, hold_out="rir", seed=seed) for seed in range(3)]

    def run(self, key: Stop, lab: Lab, checkpoints: Path) -> Outcome:
        """Train, and test on the clips of Table 2 and in other rooms."""
        from experiments.encoders import kept_encoder
        from experiments.heads import embed, fit_heads

        clips = lab.downstream | {"other rooms": lab.other_test}
        if key.learner == END_TO_END:
            return _end_to_end(key, clips, lab, checkpoints)
        encoder, commit = kept_encoder(key.learner, lab, checkpoints)
        rows = fit_heads(embed(encoder, clips), clips, key.seed, key.hold_out, key.heads or 1)
        return Outcome({"rows": rows, "encoder_commit": commit})

    def section(self, results: Sequence[Result]) -> str:
        """Return the table over what was held out."""
        table = frame(results)
        kinds = {name: {"hold_out": held_out, "heads": 1} for held_out, name in HELD_OUT.items()}
        kinds |= {f"{HELD_OUT[held_out]}, ensemble of 8": {"hold_out": held_out, "heads": 8} for held_out in ENSEMBLES}
        frozen = table[table["learner"] != END_TO_END]
        ours = table[table["learner"] == END_TO_END]
        rows = []
        for task in TASKS:
            rows += [
                [TASKS[task], name, *(score(frozen, task, test=t, **k) for t in TESTS)] for name, k in kinds.items()
            ]
            if task in set(ours["task"]):
                rows.append([TASKS[task], "responses, end to end", *(score(ours, task, test=test) for test in TESTS)])
        singles = frozen[frozen["heads"] == 1].drop_duplicates(["learner", "hold_out", "seed"])
        count = singles["hold_out"].value_counts()
        gains = {
            task: mean(frozen, "pearson_r", task=task, test="other rooms", hold_out="rir", heads=1)
            - mean(frozen, "pearson_r", task=task, test="other rooms", hold_out="source", heads=1)
            for task in ("rt60", "log rt60", "c50")
        }
        single = select(frozen, task="log rt60", test="unseen rooms", hold_out="rir", heads=1)["pearson_r"]
        seen = {
            hold_out: 100 * mean(frozen, "accuracy", task="volume", test="seen RIRs", hold_out=hold_out, heads=1)
            for hold_out in HELD_OUT
        }
        n_ensembles = frozen[frozen["heads"] == 8]["learner"].nunique()
        n_supervised = ours["seed"].nunique()
        ensemble = mean(frozen, "pearson_r", task="rt60", test="other rooms", hold_out="rir", heads=8) - mean(
            frozen, "pearson_r", task="rt60", test="other rooms", hold_out="rir", heads=1
        )
        text = prose(f"""
            Early stopping of heads monitors held-out clips. Should whole sources be held out (the default), whole
            responses, or whole rooms? Frozen encoders *bandwise, soft, tau 0.1* of Table 2. Mean ± SD over
            {count["source"]} heads that hold out sources, {count["rir"]} that hold out responses and {count["room"]}
            that hold out rooms, over the ensembles of {n_ensembles} encoders and over {n_supervised} networks trained
            end to end. *Other rooms*: 500 rooms that are not used anywhere in Table 2.
        """)
        findings = prose(f"""
            For use in new rooms, hold out responses (`hold_out="rir"`): in the other rooms r rises by
            {gains["rt60"]:.3f} for RT60, {gains["log rt60"]:.3f} for its logarithm and {gains["c50"]:.3f} for C50. The
            cost is slightly lower accuracy on seen RIRs, for example {seen["rir"]:.1f} % instead of
            {seen["source"]:.1f} % for the volume. Holding out whole rooms costs more ({seen["room"]:.1f} %). In the
            other rooms, ensembles of eight heads that held out responses raise r of RT60 by another {ensemble:.3f}
            ([how](guide.md#advice-for-good-estimates)); they do not help for the volume.

            Limitation: single heads vary by about as much as these differences. In the unseen rooms, r of *RT60, log*
            ranges from {single.min():.3f} to {single.max():.3f} over heads that held out responses.
        """)
        return section("What to hold out", text, markdown(["task", "held out", *TESTS], rows), findings)


def _end_to_end(key: Stop, clips: dict[str, Any], lab: Lab, checkpoints: Path) -> Outcome:
    """Train the network with labels, for each target."""
    import time

    from experiments.data import labels_of
    from experiments.heads import TARGETS, fit_and_judge
    from roomacoustic_sk import SupervisedRoomRegressor

    started = time.perf_counter()
    X, labels = {part: some.data for part, some in clips.items()}, labels_of(clips["train"])
    estimator = SupervisedRoomRegressor(
        network=key.learner.split("-")[0],
        max_epochs=lab.size.supervised_epochs,
        hold_out=key.hold_out,
        random_state=key.seed,
        checkpoint_dir=checkpoints,
        verbose=1,
    )
    rows = [row for task in TARGETS for row in fit_and_judge(task, estimator, X, clips, labels)]
    return Outcome({"rows": rows}, time.perf_counter() - started)
