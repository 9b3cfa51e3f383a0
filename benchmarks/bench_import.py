"""Imports in fresh processes, against Python alone and the packages that cannot be done without."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
STATEMENTS = {
    "import of the package": {
        "roomacoustic_sk": "import roomacoustic_sk",
        "Python": "pass",
    },
    "import of acoustics": {
        "roomacoustic_sk": "import roomacoustic_sk.acoustics",
        "numpy and scipy": "import numpy, scipy.fft, scipy.signal",
        "pyrato": "import pyrato",
    },
    "import of the encoder": {
        "roomacoustic_sk": "from roomacoustic_sk import ContrastiveRoomEncoder",
        "torch and skorch": "import torch, skorch, pandas",
    },
}


def run(statement: str) -> str:
    """Run a statement in a process of its own; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", statement]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


@pytest.fixture(scope="module")
def acoustics_without_torch() -> None:
    """Check that the import of acoustics is one without torch."""
    assert run("import sys, roomacoustic_sk.acoustics; print('torch' in sys.modules)") == "False\n"


@pytest.mark.usefixtures("acoustics_without_torch")
@pytest.mark.parametrize(
    ("group", "implementation"),
    [(group, implementation) for group, statements in STATEMENTS.items() for implementation in statements],
)
def bench_import(measure, group, implementation):
    """Time the start of Python, an import and the end."""
    if implementation == "pyrato":
        pytest.importorskip("pyrato", reason="pyrato is the reference implementation")
    measure(lambda: run(STATEMENTS[group][implementation]), group=group)
