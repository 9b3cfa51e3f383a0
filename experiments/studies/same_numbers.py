"""Whether the code still computes what an earlier commit computed, to the last bit."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from experiments.results import REPOSITORY, Key, RefusedError, Result
from experiments.study import Outcome, Study
from experiments.tables import markdown, prose, section

if TYPE_CHECKING:
    from experiments.data import Lab

PROGRAM = REPOSITORY / "experiments" / "reference_numbers.py"


@dataclass(frozen=True, kw_only=True)
class Before(Key):
    """The commit to compare with."""

    commit: str


class SameNumbers(Study):
    """Comparison with an earlier commit."""

    name = "same_numbers"
    question = "Do small fixed trainings, simulations and labels give the same numbers as at an earlier commit?"
    speech = "synthetic"
    free: ClassVar = {"commit": str}

    def keys(self) -> list[Before]:
        """Return the commit before the last change of structure."""
        return [Before(commit="d98403a")]

    def run(self, key: Before, lab: Lab, checkpoints: Path) -> Outcome:
        """Compute the numbers with both versions of the package, one after the other, in one thread: two minutes."""
        with tempfile.TemporaryDirectory() as folder:
            asked = ["git", "archive", key.commit, "roomacoustic_sk"]
            done = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, check=False)
            if done.returncode:
                raise RefusedError(f"--commit: must be a commit of this repository, got {key.commit!r}")
            with tarfile.open(fileobj=BytesIO(done.stdout)) as archive:
                archive.extractall(folder, filter="data")
            before, now = (numbers_of(package, Path(folder)) for package in (Path(folder), REPOSITORY))
        differences = {name: float(np.nanmax(np.abs(now[name] - values))) for name, values in before.items()}
        largest = max(differences, key=lambda name: differences[name])
        found = {"arrays": len(differences), "largest_difference": differences[largest], "in": largest}
        return Outcome(found)

    def section(self, results: Sequence[Result]) -> str:
        """Return the largest differences."""
        lines = [
            [one.commit, one.key["commit"], str(one.result["arrays"]), f"{one.result['largest_difference']:.3g}"]
            for one in results
        ]
        text = prose("""
            A fixed set of small training runs, simulations and labels, computed with one thread and compared with the
            results of an earlier commit. A largest difference of 0 means identical to the last bit.
        """)
        return section(
            "Reproducibility across commits",
            text,
            markdown(["commit", "before", "arrays", "largest difference"], lines),
        )


def numbers_of(package: Path, folder: Path) -> dict[str, np.ndarray]:
    """Return the numbers that the package in a folder computes, in a process of its own."""
    output = folder / "numbers.npz"
    threads = {"OMP_NUM_THREADS": "1", "PRA_NUM_THREADS": "1", "PYTHONPATH": str(package)}
    subprocess.run([sys.executable, "-P", PROGRAM, output], env=os.environ | threads, cwd=folder, check=True)
    with np.load(output) as stored:
        return dict(stored)
