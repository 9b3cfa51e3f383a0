"""What `examples/quickstart.py` gives, on real speech at its large size and on synthetic speech at its small one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from experiments.results import REPOSITORY, Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TESTS, markdown, prose, section, select

if TYPE_CHECKING:
    from experiments.data import Lab

EXAMPLE = REPOSITORY / "examples" / "quickstart.py"


@dataclass(frozen=True, kw_only=True)
class Example(Key):
    """Options of the example."""

    network: str
    travel_time: str | None = None  # "left-in", or None where clips begin with the direct sound


class Quickstart(Study):
    """The study `quickstart`."""

    name = "quickstart"
    question = "What does the quickstart give on LibriSpeech?"
    size = "large"

    def keys(self) -> list[Example]:
        """Return the band-wise and the pooled network, and the paper's with the travel time left in."""
        networks = [Example(network="bandwise"), Example(network="pooled")]
        return [*networks, Example(network="paper", travel_time="left-in")]

    def run(self, key: Example, lab: Lab, checkpoints: Path) -> Outcome:
        """Run the example."""
        size = self.size if lab.size.name == "paper" else lab.size.name
        options = ["--network", key.network, "--size", size, "--seed", str(key.seed)]
        options += ["--output", str(lab.cache.parent), "--checkpoints", str(checkpoints)]
        options += ["--keep-delay"] if key.travel_time == "left-in" else []
        options += ["--speech", str(lab.folder)] if lab.folder is not None and self.speech == "given" else []
        found = load_example(EXAMPLE).main(options)
        rows = found["table"].reset_index().to_dict("records")
        history = found["history"]
        losses = {"valid_loss": history["valid_loss"].round(2).tolist()}
        rows = [{name: value for name, value in row.items() if pd.notna(value)} for row in rows]
        return Outcome({"rows": rows, "counts": found["counts"]} | losses, float(history["dur"].sum()))

    def section(self, results: Sequence[Result]) -> str:
        """Return the example's table, and the other networks in a sentence each."""
        by_network = {one.key["network"]: one for one in results}
        default = by_network["bandwise"]
        pooled, paper = (_r(by_network[name]) for name in ("pooled", "paper"))
        findings = prose(f"""
            `--network pooled`, at an earlier commit and with hard batches, gave r of {pooled["RT60 [s]"]} for RT60 and
            {pooled["C50 [dB]"]} for C50 (seen RIRs / unseen rooms).

            *Travel time left in* (`--network paper --keep-delay`, an earlier commit): each clip then starts with
            silence for as long as the sound takes to reach the microphone. That distinguishes responses, so the
            validation loss falls to {min(by_network["paper"].result["valid_loss"]):.2f}, but the embedding says little
            about reverberation: r of {paper["RT60 [s]"]} for RT60 and {paper["C50 [dB]"]} for C50. Limitation: one
            seed each.
        """)
        return section("The quickstart on LibriSpeech", _sizes(default), _table(default), findings)


class SyntheticQuickstart(Quickstart):
    """The study `quickstart_synthetic`."""

    name = "quickstart_synthetic"
    question = "What does the quickstart give on synthetic speech, its default?"
    speech = "synthetic"
    size = "small"

    def keys(self) -> list[Example]:
        """Return the default network, and the band-wise one."""
        return [Example(network="compact"), Example(network="bandwise")]

    def section(self, results: Sequence[Result]) -> str:
        """Return the example's table, with the default network and with the band-wise one."""
        by_network = {one.key["network"]: one for one in results}
        parts = []
        for network in ("compact", "bandwise"):
            parts += [f"`--network {network}`:", _sizes(by_network[network]), _table(by_network[network])]
        return section("The quickstart on synthetic speech", *parts)


def load_example(path: Path) -> Any:
    """Import a program of `examples/`, which is no package."""
    import importlib.util
    import sys

    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def _r(one: Result) -> dict[str, str]:
    """Return r of each task on seen RIRs and in unseen rooms."""
    rows = pd.DataFrame(one.result["rows"]).query("`from` == 'contrastive'").dropna(subset="pearson_r")
    table = rows.pivot(index="task", columns="test", values="pearson_r")
    return {str(task): " / ".join(f"{row[test]:.3f}" for test in TESTS) for task, row in table.iterrows()}


def _sizes(one: Result) -> str:
    """Return how much was learned from, and the command."""
    counts = one.result["counts"]
    names = {"upstream": "encoder training", "train": "head training"}
    parts = "; ".join(
        f"{names.get(part, f'test, {part}')}: {n['clips']} clips, {n['rirs']} RIRs of {n['rooms']} rooms, "
        f"{n['speakers']} talkers"
        for part, n in counts.items()
    )
    threads = f"{one.machine['threads']} thread{'s' if one.machine['threads'] != 1 else ''}"
    return prose(f"`{one.command}`, {one.seconds['total']:.0f} s with {threads}. {parts}.")


def _table(one: Result) -> str:
    """Return errors, r beside that of the untrained encoder, and accuracies of the volume."""
    rows, lines = pd.DataFrame(one.result["rows"]), []
    for (task, test), part in rows[rows["pearson_r"].notna()].groupby(["task", "test"], sort=True):
        row, untrained = (select(part, **{"from": source}).iloc[0] for source in ("contrastive", "untrained"))
        digits = {"rmse": 3, "relative_rmse": 2, "bias": 3, "pearson_r": 3}
        numbers = [f"{row[name]:.{n}f}" for name, n in digits.items()]
        lines.append([str(task), str(test), *numbers, f"{untrained['pearson_r']:.3f}"])
    accuracy = rows[rows["accuracy"].notna()].pivot(index="from", columns="test", values="accuracy")
    shares = "; ".join(
        f"{source}: {100 * row[TESTS[0]]:.0f} % on seen RIRs, {100 * row[TESTS[1]]:.0f} % in unseen rooms"
        for source, row in accuracy.iterrows()
    )
    table = markdown(["task", "test", "RMSE", "RMSE/SD", "bias", "r", "r, untrained"], lines)
    return f"{table}\n\n{prose(f'Accuracy of the volume: {shares}.')}"
