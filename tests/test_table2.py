"""The benchmark of Table 2 runs cell by cell, goes on where it was, and its report says what is there."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


def run(script: str, *arguments) -> str:
    """Run a benchmark and return what it prints."""
    command = [sys.executable, BENCHMARKS / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder with some finished cells, the arguments that made them, and what was printed."""
    folder = tmp_path_factory.mktemp("table2")
    arguments = [
        "--size",
        "tiny",
        "--seeds",
        0,
        "--taus",
        0.1,
        "--output",
        folder / "cells",
        "--cache",
        folder / "cache",
    ]
    arguments += ["--networks", "paper", "--methods", "soft", "hard", "untrained", "mean"]
    return folder, arguments, run("table2.py", *arguments)


def test_every_cell_is_a_file_with_figures_and_provenance(finished):
    folder, _, printed = finished
    names = {"no-mean-seed0", "paper-hard-tau0.1-seed0", "paper-soft-tau0.1-seed0"}
    assert {path.stem for path in (folder / "cells").glob("*.json")} == names | {"paper-untrained-seed0"}
    assert printed.count("r ") >= 4
    for path in (folder / "cells").glob("*.json"):
        cell = json.loads(path.read_text())
        assert cell["synthetic"] is True
        assert {"command", "commit", "machine", "versions", "seconds"} <= set(cell)
        assert {(row["task"], row["test"]) for row in cell["rows"]} == {
            (task, test)
            for task in ("rt60", "log rt60", "log rt60_mid", "c50", "volume")
            for test in ("seen RIRs", "unseen rooms")
        }


def test_a_finished_cell_is_not_run_again(finished):
    folder, arguments, _ = finished
    before = {path: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.json")}
    next(iter(before)).unlink()
    run("table2.py", *arguments)
    after = {path: path.stat().st_mtime_ns for path in (folder / "cells").glob("*.json")}
    assert after.keys() == before.keys()
    assert sum(after[path] != before[path] for path in before) == 1


def test_the_report_stands_beside_the_papers_figures_and_says_what_is_undecided(finished):
    folder, _, _ = finished
    page = run("table2_report.py", "--cells", folder / "cells")  # beside the cells, and not over the committed page
    assert (folder / "cells" / "table2.md").read_text().strip() == page.strip()
    assert "SYNTHETIC" in page
    assert "(0.879)" in page  # the paper's r of RT60 with hard sampling at tau 0.1
    assert "not decided: too few cells" in page


def made_up_cell(method: str, tau: float | None, seed: int, r: float, network: str = "paper") -> dict:
    """Return what the report reads of a cell, every correlation being `r`."""
    rows = [{"task": task, "test": "seen RIRs", "pearson_r": r, "rmse": 1 - r, "relative_rmse": 1 - r, "bias": 0.0}
            for task in ("rt60", "log rt60", "log rt60_mid", "c50")]  # fmt: skip
    rows.append({"task": "volume", "test": "seen RIRs", "accuracy": r, "precision": r, "recall": r})
    cell = {"network": network, "method": method, "tau": tau, "seed": seed}
    return {"cell": cell, "rows": rows, "synthetic": True, "target_sd": {"seen RIRs": {"rt60": 1.0, "c50": 1.0}}}


def test_claims_are_decided_by_differences_within_seeds(tmp_path):
    """Differences to the supervised cell of the same seed: 0.01, 0.01, 0.02; to the untrained one 0.1, 0.2, 0.3."""
    cells = [made_up_cell("soft", 0.1, seed, 0.7 + 0.1 * seed) for seed in range(3)]
    cells += [made_up_cell("hard", 0.1, seed, 0.7 + 0.1 * seed) for seed in range(3)]
    # A temperature that not all seeds and samplings have does not count.
    cells += [made_up_cell("hard", 1.0, 0, 0.1), made_up_cell("soft", 1.0, 0, 0.1), made_up_cell("soft", 0.01, 1, 0.1)]
    cells += [made_up_cell("supervised", None, seed, 0.69 + 0.1 * seed - 0.01 * (seed == 2)) for seed in range(3)]
    cells += [made_up_cell("untrained", None, seed, 0.6) for seed in range(3)]
    cells += [made_up_cell("soft", 0.1, seed, 0.89 + 0.1 * seed, "paper-varied") for seed in range(2)]
    # At tau 1 the bandwise networks have learned nothing, which is no verdict on those at tau 0.1.
    for seed in range(2):
        cells += [made_up_cell("hard", tau, seed, r, "bandwise") for tau, r in ((0.1, 0.9 + 0.04 * seed), (1.0, 0.1))]
        cells.append(made_up_cell("untrained", None, seed, 0.1 + 0.04 * seed, "bandwise"))
    for cell in cells:
        path = tmp_path / "-".join(str(value) for value in cell["cell"].values())
        path.with_name(f"{path.name}.json").write_text(json.dumps(cell))
    page = run("table2_report.py", "--cells", tmp_path, "--output", tmp_path / "page.md")
    claims = page.splitlines()
    on_par = next(line for line in claims if "on par" in line and "| RT60 |" in line)
    # The mean is 0.0133; the interval reaches 4.303 standard errors of 0.00333.
    assert "| 0.1 | +0.013 | -0.001 to +0.028 | 3 | confirmed" in on_par
    undecided = [line for line in claims if "far behind" in line and "| 3 |" in line]
    assert len(undecided) == 2
    assert all("+0.200 | -0.048 to +0.448 | 3 | not decided" in line for line in undecided)
    varied = page[page.index('claims, network="paper-varied"') :].splitlines()  # beside the same supervised cells
    on_par = next(line for line in varied if "on par" in line and "| RT60 |" in line)
    assert "+0.200 | +0.200 to +0.200 | 2 | confirmed" in on_par
    of_bandwise = page[page.index('claims, network="bandwise"') :].splitlines()
    far_behind = [line for line in of_bandwise if "far behind" in line and "| C50 |" in line]
    assert "| 0.1 | +0.800 | +0.800 to +0.800 | 2 | confirmed" in far_behind[0]
    assert "| 1 | -0.020 |" in far_behind[1]
    assert "| mean | +0.390 |" in far_behind[2]
    assert any("too few cells" in line for line in claims if line.startswith("| position-independent"))


def test_the_committed_page_is_what_the_committed_cells_give(tmp_path):
    run("table2_report.py", "--output", tmp_path / "page.md")
    assert (BENCHMARKS.parent / "docs" / "table2.md").read_text() == (tmp_path / "page.md").read_text()


def fail(script: str, *arguments) -> str:
    """Run a benchmark that must refuse; return the last line that it says."""
    command = [sys.executable, BENCHMARKS / script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_cells_of_other_data_are_neither_gone_on_with_nor_reported_together(tmp_path):
    made_up = made_up_cell("soft", 0.1, 0, 0.5)
    for name, size in (("paper-soft-tau0.1-seed0", "paper"), ("other", "tiny")):
        (tmp_path / f"{name}.json").write_text(json.dumps(made_up | {"size": size}))
    arguments = ["--size", "tiny", "--networks", "paper", "--methods", "soft", "--taus", 0.1, "--seeds", 0]
    assert "made from other data, size paper, SYNTHETIC speech" in fail("table2.py", *arguments, "--output", tmp_path)
    told = fail("table2_report.py", "--cells", tmp_path, "--output", tmp_path / "page.md")
    assert told.endswith("different data: size paper, SYNTHETIC speech; size tiny, SYNTHETIC speech.")
    (tmp_path / "other.json").write_text("{")
    assert "other.json is no finished cell" in fail("table2_report.py", "--cells", tmp_path)


@pytest.mark.parametrize(
    ("script", "arguments", "told"),
    [
        ("table2.py", ["--speech", "/nonexistent"], "argument --speech: must be a folder that exists"),
        ("table2.py", ["--taus", "0"], "argument --taus: must be above 0, got '0'"),
        (
            "held_out.py",
            ["bandwize"],
            "argument encoder: must be a file that exists, or one of ['paper', 'pooled', 'bandwise'], got 'bandwize'",
        ),
        ("plateau.py", ["--speech", "/nonexistent"], "argument --speech: must be a folder that exists"),
        ("more_rooms.py", ["bandwise"], "argument encoder: must be a file that exists, got 'bandwise'"),
    ],
)
def test_bad_arguments_are_told_in_one_line_before_anything_is_made(script, arguments, told):
    assert told in fail(script, *arguments)


def test_trials_do_not_go_where_the_committed_figures_are(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    from arguments import output_of

    def place(**given):
        return output_of(argparse.Namespace(**{"size": "paper", "speech": Path("speech"), "output": None} | given), "x")

    assert place() == BENCHMARKS / "x"
    assert place(size="tiny") == place(speech=None) == BENCHMARKS.parent / "results" / "x"
    assert place(size="tiny", output=Path("mine")) == Path("mine")


def test_the_figures_are_drawn_from_finished_cells_with_their_numbers(finished):
    pytest.importorskip("umap", reason="the figures need umap-learn, an optional dependency")
    folder, _, _ = finished
    places = ["--cells", folder / "cells", "--pictures", folder, "--output", folder / "figures.json"]
    run("figures.py", "--size", "tiny", "--network", "paper", "--cache", folder / "cache", *places)
    for name in ("figure3.png", "figure4_paper.png"):
        assert (folder / name).stat().st_size > 10_000
    measured = json.loads((folder / "figures.json").read_text())["measured"]
    assert measured["figure 3"]["downstream"]["volume"]["count"] == 12
    for method in ("soft", "hard"):
        cell = json.loads((folder / "cells" / f"paper-{method}-tau0.1-seed0.json").read_text())
        assert measured["figure 4, paper"][method]["embedding"] == cell["silhouette"]


def test_a_kept_encoder_is_heard_out_on_longer_recordings_and_with_heads_of_more_rooms_and_other_stops(finished):
    folder, arguments, _ = finished
    pooled = [*arguments[: arguments.index("--networks")], "--networks", "bandwise", "--methods", "soft"]
    run("table2.py", *pooled, "--encoders", folder / "encoders")
    where = ["--output", folder / "length.json", "--cache", folder / "cache"]
    encoder = folder / "encoders" / "bandwise-soft-tau0.1-seed0.joblib"
    run("recording_length.py", encoder, "--size", "tiny", "--responses", 6, *where)
    rows = json.loads((folder / "length.json").read_text())["rows"]
    seen = [row for row in rows if row["task"] == "c50" and row["test"] == "seen RIRs"]
    assert [(row["seconds"], row["speakers"]) for row in seen] == [
        (1, 1), (2, 1), (4, 1), (8, 1), (12, 1), (24, 2), (48, 4), (96, 8)
    ]  # fmt: skip
    assert seen[0]["relative_rmse"] > seen[-1]["relative_rmse"]
    assert (folder / "length.png").stat().st_size > 0
    rooms = ["--size", "tiny", "--seeds", 0, "--cache", folder / "cache", "--output", folder / "rooms.json"]
    run("more_rooms.py", encoder, *rooms)
    rows = json.loads((folder / "rooms.json").read_text())["rows"]
    assert [row["rooms"] for row in rows if row["task"] == "c50"] == [6, 8]
    stops = ["--size", "tiny", "--seeds", 0, "--cache", folder / "cache", "--output", folder / "stops.json"]
    run("held_out.py", encoder, *stops)
    run("held_out.py", encoder, "--hold-out", "rir", "--heads", 2, *stops)
    run("held_out.py", "pooled", "--tasks", "c50", "--hold-out", "rir", *stops)
    measured = json.loads((folder / "stops.json").read_text())["measured"]
    assert list(measured) == [f"{encoder.stem}, {held_out}, seed 0" for held_out in ("source", "rir", "room")] + [
        f"{encoder.stem}, rir, 2 heads, seed 0",
        "pooled, end to end, rir, seed 0",
    ]
    for rows in measured.values():
        assert {row["test"] for row in rows} == {"seen RIRs", "unseen rooms", "other rooms"}


def test_weights_of_several_epochs_of_one_training_are_compared(tmp_path):
    places = ["--output", tmp_path / "kept.json", "--cache", tmp_path / "cache"]
    run("kept_weights.py", "--size", "tiny", "--networks", "paper", "--samplings", "soft", *places)
    (found,) = json.loads((tmp_path / "kept.json").read_text())["measured"].values()
    assert set(found["kept"]) == {"lowest loss", "lowest loss at tau 1", "highest retrieval", "last"}
    assert all(len(judged) == 1 for judged in found["epochs"].values())
    assert found["kept"]["last"]["epoch"] == 1


def test_losses_of_few_clips_and_of_many_are_kept(tmp_path, finished):
    folder, _, _ = finished
    places = ["--output", tmp_path / "heart.json", "--cache", folder / "cache"]
    run("by_heart.py", "--size", "tiny", *places)
    measured = json.loads((tmp_path / "heart.json").read_text())["measured"]
    assert set(measured) == {f"paper, {task}, {n} clips, seed 0" for task in ("c50", "volume") for n in (100, 300)}
    assert all(len(found["train_loss"]) == len(found["valid_loss"]) == 1 for found in measured.values())


def test_volume_is_judged_with_intervals_over_rooms(tmp_path, finished):
    folder, _, _ = finished
    places = ["--output", tmp_path / "volume.json", "--cache", folder / "cache"]
    run("volume.py", "--size", "tiny", *places)
    measured = json.loads((tmp_path / "volume.json").read_text())["measured"]
    assert set(measured) == {
        f"true responses, learned from {learned} rooms, asked about {asked} others"
        for learned, asked in ((6, 4), (8, 4), (6, 8))
    }
    for found in measured.values():
        low, high = found["accuracy, 95 % interval"]
        assert 0 <= low <= found["accuracy"] <= high <= 1
