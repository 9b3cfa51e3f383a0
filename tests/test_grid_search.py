"""The grid search of the examples runs as documented."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "grid_search.py"


@pytest.mark.slow
def test_the_grid_search_ranks_all_settings_and_the_baseline(tmp_path):
    command = [
        sys.executable,
        "-W",
        "error::UserWarning",
        SCRIPT,
        "--size",
        "tiny",
        "--output",
        tmp_path,
        "--jobs",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "SYNTHETIC" in done.stdout
    table = pd.read_csv(tmp_path / "grid_search_rt60.csv")
    assert table["estimator"].value_counts().to_dict() == {"contrastive": 6, "supervised": 1}
    assert set(table["sampling"].dropna()) == {"soft", "hard", "position_independent"}
    assert np.isfinite(table[["RMSE/SD", "r", "fit [s]"]].to_numpy()).all()
    assert table["RMSE/SD"].is_monotonic_increasing
