"""The page on speed is what its results say, and the benchmarks run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REPORT = ROOT / "benchmarks" / "report.py"


@pytest.fixture(scope="module")
def report():
    """Return the module that writes the page."""
    spec = importlib.util.spec_from_file_location("speed_report", REPORT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measured(implementation, turn, seconds, count=1):
    """One entry of a file of results."""
    return {
        "group": "task",
        "params": {"implementation": implementation, "turn": turn},
        "extra_info": {"count": count, "unit": "clip"},
        "stats": {"median": seconds},
    }


def test_speed_page_is_written_from_the_committed_results(report):
    assert report.PAGE.read_text() == report.page(report.results())


def test_results_say_where_they_come_from(report):
    assert report.results()
    for result in report.results():
        assert result["command"].startswith("pytest benchmarks")
        assert len(result["commit_info"]["id"]) == 40
        assert "sse2" in result["machine_info"]["cpu"]["flags"]
        assert {"torch_threads", "torch_cpu_capability", "environment", "versions"} <= result["machine_info"].keys()


def test_results_keep_statistics_without_single_measurements(report):
    for result in report.results():
        for one in result["benchmarks"]:
            assert "median" in one["stats"]
            assert "data" not in one["stats"]


def test_each_reference_is_beside_ours_in_every_turn(report):
    for result in report.results():
        turns = {}
        for one in result["benchmarks"]:
            if "turn" in one["params"] and not report.is_epoch(one):
                key = one["group"], one["params"]["turn"]
                turns.setdefault(key, set()).add(one["params"]["implementation"])
        assert turns
        assert all(len(implementations) > 1 and report.OURS in implementations for implementations in turns.values())


def test_ratio_is_the_median_of_the_turns(report):
    # A turn on a busy machine is slow for both, which leaves its ratio as it is.
    seconds = {report.OURS: [0.1, 0.4, 0.1], "other": [0.2, 1.2, 0.4]}
    entries = [measured(name, turn, values[turn], count=10) for turn in range(3) for name, values in seconds.items()]
    assert report.speed_rows(entries) == [
        ("task", report.OURS, "10 ms per clip", "1"),
        ("task", "other", "40 ms per clip", "3.00 (2.00 to 4.00)"),
    ]


def test_an_epoch_is_split_into_its_parts(report):
    step = {"convolution": 72.0, "spectrogram": 36.0, "network": 144.0, "training": 216.0, "epoch": 234.0}
    entries = [
        measured(part, turn, ms / 1e3) | {"group": "epoch, some network"}
        for part, ms in step.items()
        for turn in range(3)
    ]
    entries[-1] = measured("epoch", 2, 9.0) | {"group": "epoch, some network"}
    entries[-1]["extra_info"]["seconds"] = 0.234  # of whole epochs, the second alone
    assert report.epoch_rows(entries) == [("some network", "1.00", "0.50", "2.00", "-0.50", "0.25", "3.25")]
    assert report.speed_rows(entries) == []


def test_report_needs_no_torch_and_finds_the_page_up_to_date():
    loaded = "print('torch' in sys.modules, 'numpy' in sys.modules)"
    program = f"import runpy, sys; sys.argv[1:] = ['--check']; runpy.run_path({str(REPORT)!r}, run_name='__main__'); "
    done = subprocess.run([sys.executable, "-c", program + loaded], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


@pytest.mark.slow
def test_all_benchmarks_run_with_little_work():
    pytest.importorskip("pytest_benchmark", reason="pytest-benchmark measures: pip install '.[benchmarks]'")
    # Each process of the memory benchmarks imports torch for seconds: one of each task will do.
    some = "not (memory and (skorch or torch or hdf5 or array))"
    options = ["--size=tiny", "--turns=1", "--benchmark-disable", "-q", "-k", some]
    command = [sys.executable, "-m", "pytest", "benchmarks", *options]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PRA_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    assert " passed" in done.stdout
