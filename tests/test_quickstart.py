"""The quickstart runs as the README describes it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

SCRIPT = Path(__file__).resolve().parents[1] / "examples" / "quickstart.py"


@pytest.mark.slow
def test_the_quickstart_compares_with_baselines_and_saves_a_figure(tmp_path):
    command = [sys.executable, SCRIPT, "--size", "tiny", "--output", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "SYNTHETIC" in done.stdout
    table = pd.read_csv(tmp_path / "out" / "quickstart_compact.csv")
    assert set(table["from"]) == {"contrastive", "untrained", "mean or majority"}
    assert set(table["test"]) == {"seen RIRs", "unseen rooms"}
    is_volume = table["task"].str.startswith("volume")
    assert np.isfinite(table.loc[~is_volume, ["rmse", "relative_rmse", "pearson_r", "bias"]].to_numpy()).all()
    assert table.loc[is_volume, "accuracy"].between(0, 1).all()
    assert (tmp_path / "out" / "quickstart_compact.png").stat().st_size > 10_000
