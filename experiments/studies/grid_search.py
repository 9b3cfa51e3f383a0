"""What `examples/grid_search.py` gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from experiments.results import REPOSITORY, Key, Result
from experiments.studies.quickstart import load_example
from experiments.study import Outcome, Study
from experiments.tables import frame, markdown, prose, section

if TYPE_CHECKING:
    from experiments.data import Lab

EXAMPLE = REPOSITORY / "examples" / "grid_search.py"


class GridSearch(Study):
    """The study `grid_search`."""

    name = "grid_search"
    question = "Which temperature and sampling does a grid search find, with the supervised baseline in the same grid?"
    speech = "synthetic"

    def keys(self) -> list[Key]:
        """Return one search."""
        return [Key()]

    def run(self, key: Key, lab: Lab, checkpoints: Path) -> Outcome:
        """Run the example; its seconds a fit are part of its table."""
        size = "small" if lab.size.name == "paper" else lab.size.name
        options = ["--size", size, "--seed", str(key.seed), "--output", str(lab.cache.parent)]
        table = load_example(EXAMPLE).main(options).round(4)
        rows = [{name: value for name, value in row.items() if value != ""} for row in table.to_dict("records")]
        return Outcome({"rows": rows})

    def section(self, results: Sequence[Result]) -> str:
        """Return the table of the search."""
        lines = [
            [
                row["estimator"],
                "" if pd.isna(row["sampling"]) else row["sampling"].replace("_", "-"),
                "" if pd.isna(row["tau"]) else f"{float(row['tau']):g}",
                *(f"{row[name]:.2f}" for name in ("RMSE/SD", "+-", "r")),
                f"{row['fit [s]']:.0f}",
            ]
            for row in frame(results).to_dict("records")
        ]
        text = prose(f"""
            `{results[0].command}`, {results[0].seconds["total"]:.0f} s: the logarithm of RT60 in unseen rooms,
            synthetic speech, mean and SD over the folds.
        """)
        findings = prose("With so little training, the settings differ by no more than the spread over the folds.")
        header = ["estimator", "sampling", "tau", "RMSE/SD", "±", "r", "fit [s]"]
        return section("Grid search", text, markdown(header, lines), findings)
