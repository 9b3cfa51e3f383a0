"""Studies run from end to end at the size tiny, resume where they were killed, and stop when they are interrupted."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest

from experiments import __main__ as command
from experiments import data
from experiments.conditions import CONDITIONS
from experiments.results import REPOSITORY, load, load_all
from roomacoustic_sk.datasets import simulate_rooms

# The size tiny has fewer responses than a batch of the default size needs, of which the encoder warns.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::UserWarning")]
TABLE2 = ["--network", "paper", "--method", "soft", "hard", "--tau", "0.1", "--seed", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of results and cache; rooms in it are of one absorbing material, which takes a tenth of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data, "simulate_rooms", partial(simulate_rooms, materials=0.4))
        yield tmp_path_factory.mktemp("experiments")


@pytest.fixture(scope="module")
def run(folder):
    """Run a study in this process; return its results."""

    def run_study(name, *options):
        places = ["--size", "tiny", "--output", str(folder), "--cache", str(folder / "cache")]
        assert command.main([name, *options, *places]) == 0
        return load_all(folder / name)

    return run_study


@pytest.fixture(scope="module")
def cells(run):
    """Two cells of Table 2."""
    return run("table2", *TABLE2)


def test_cells_of_table2_have_all_tasks_tests_and_origins(cells, folder):
    assert {cell.name for cell in cells} == {"paper-hard-tau0.1-seed0", "paper-soft-tau0.1-seed0"}
    for cell in cells:
        assert cell.data == {"size": "tiny", "speech": "synthetic"}
        assert cell.seconds["total"] > cell.seconds["training"] > 0
        assert {(row["task"], row["test"]) for row in cell.result["rows"]} == {
            (task, test)
            for task in ("rt60", "log rt60", "log rt60_mid", "c50", "volume")
            for test in ("seen RIRs", "unseen rooms")
        }
        with np.load(folder / "table2" / f"{cell.name}.npz") as five:
            assert len(five["embeddings"]) == len(five["rir"]) == len(five["speaker"])
    assert not list((folder / "table2").glob("*.checkpoints"))


def test_baselines_and_end_to_end_training_fill_their_cells(run, cells):
    names = {
        cell.name for cell in run("table2", "--network", "no", "paper", "--method", "mean", "supervised", "--seed", "0")
    }
    assert names - {cell.name for cell in cells} == {"no-mean-seed0", "paper-supervised-seed0"}


def test_a_report_of_a_trial_stands_beside_it(cells, folder):
    assert command.main(["report", "--results", str(folder)]) == 0
    assert "(0.879)" in (folder / "table2.md").read_text()


def test_one_kept_encoder_serves_several_studies(run, folder):
    run("table2", "--network", "compact", "--method", "soft", "--tau", "0.1", "--seed", "0")
    kept = folder / "cache" / "encoders" / "tiny-synthetic" / "compact-soft-tau0.1-seed0.joblib"
    written = kept.stat().st_mtime_ns
    (length,) = run("recording_length")
    seen = [row for row in length.result["rows"] if row["task"] == "c50" and row["test"] == "seen RIRs"]
    assert [(row["seconds"], row["speakers"]) for row in seen] == [
        (1, 1), (2, 1), (4, 1), (8, 1), (16, 2), (32, 4), (64, 8)
    ]  # fmt: skip
    of_encoder = ["--encoder", "compact-soft-tau0.1-seed0", "--seed", "0"]
    rooms = run("number_of_rooms", *of_encoder, "--rooms", "others", "most")
    assert [(one.result["n_rooms"], len(one.result["rows"])) for one in rooms] == [(10, 5), (8, 5)]
    assert kept.stat().st_mtime_ns == written
    learners = ["--learner", "bandwise-soft-tau0.1-seed1", "--hold-out", "source", "rir", "room", "--seed", "0"]
    stops = run("held_out", *learners, "--heads", "1", "2")
    assert len(stops) == 6
    for one in stops:
        assert {row["test"] for row in one.result["rows"]} == {"seen RIRs", "unseen rooms", "other rooms"}


def test_cells_on_shared_speech_use_the_encoder_of_flat_walls(run, folder):
    cells = run(
        "table2", "--network", "paper-shared", "no-shared", "--method", "soft", "slopes", "--tau", "0.1", "--seed", "0"
    )
    own = [one for one in cells if one.key["network"].endswith("-shared")]
    assert [one.name for one in own] == ["no-shared-slopes-seed0", "paper-shared-soft-tau0.1-seed0"]
    for one in own:
        assert {row["task"] for row in one.result["rows"]} == {"rt60", "log rt60", "c50", "volume"}
    encoders = folder / "cache" / "encoders" / "tiny-synthetic"
    assert (encoders / "paper-flat-soft-tau0.1-seed0.joblib").exists()


def test_speech_is_varied_and_embeddings_are_of_several_sizes(run):
    kinds = run("speech_variety", "--kind", "varied", "equalised", "synthetic", "--segments", "32")
    assert [one.result["n_clips"] for one in kinds] == [8 * 4 * 20] * len(kinds)
    sizes = run("embedding_size")
    assert [one.key["n_embedding"] for one in sizes] == [256, 64]
    for one in [*kinds, *sizes]:
        assert np.isfinite(one.result["history"]["valid_loss"]).all()


def test_shared_speech_is_tested_in_other_pairs(folder):
    lab = data.Lab(None, data.SIZES["tiny"], folder / "cache", folder).under(CONDITIONS["shared"])
    train, tests = lab.train_clips(), lab.tests
    assert all(np.isin(test.source, lab.shared_speech.source).all() for test in tests.values())
    seen = tests["seen RIRs"]
    assert np.isin(seen.rir, train.rir).all()
    assert not np.isin(np.asarray(seen.data)[:, :1000].sum(axis=1), np.asarray(train.data)[:, :1000].sum(axis=1)).any()
    assert lab.under(CONDITIONS["shared"]) is lab


def test_clips_with_the_travel_time_begin_later_by_it(folder):
    lab = data.Lab(None, data.SIZES["tiny"], folder / "cache", folder)
    without, within = (lab.under(CONDITIONS[name]).train_clips() for name in ("shared", "travel"))
    delay = np.round(without.target["distance"] / 343 * 16000).astype(int)
    for before, after, samples in zip(without.data[:10], within.data[:10], delay[:10], strict=True):
        # The direct sound is found a few samples early, and an interpolated response begins up to 40 samples late.
        near = [np.corrcoef(before[: -samples - n], after[samples + n :])[0, 1] for n in range(-16, 41)]
        assert max(near) > 0.99
        assert np.corrcoef(before, after)[0, 1] < 0.9


def test_flat_walls_absorb_the_mean_over_frequency():
    from pyroomacoustics.parameters import materials_absorption_table as table

    found = data.mean_absorption()
    assert len(found) == len(table)
    assert found[sorted(table).index("hard_surface")] == pytest.approx(np.mean(table["hard_surface"]["coeffs"]))
    assert all(0 < mean < 1 for mean in found)


def test_weights_of_several_epochs_of_one_training_are_compared(run):
    (one,) = run("checkpoint_choice", "--network", "paper", "--method", "soft")
    criteria = {"lowest loss", "lowest loss at tau 1", "highest retrieval", "last"}
    assert {row["criterion"] for row in one.result["rows"]} == criteria
    assert all(len(judged) == 1 for judged in one.result["epochs"].values())


def test_losses_of_few_clips_and_of_many_are_kept(run):
    found = run("memorisation")
    assert {(one.key["task"], one.result["n_clips"]) for one in found} == {
        (task, n) for task in ("c50", "volume") for n in (100, 300)
    }
    assert all(len(one.result["train_loss"]) == len(one.result["valid_loss"]) == 1 for one in found)


def test_volume_is_judged_with_intervals_over_rooms(run):
    found = run("volume", "--heard", "responses")
    assert {(one.result["train_rooms"], one.result["test_rooms"]) for one in found} == {(6, 4), (8, 4), (6, 8)}
    for one in found:
        low, high = one.result["accuracy_interval"]
        assert 0 <= low <= one.result["accuracy"] <= high <= 1


def test_intervals_are_judged_in_rooms_of_their_own(run):
    found = run("intervals", "--seed", "0", "1")
    assert len(found) == 2
    for one in found:
        assert {row["target"] for row in one.result["rows"]} == {"rt60", "rt60_mid", "c50"}
        assert {row["n_rooms"] for row in one.result["rows"]} == {12}
        assert all(0 <= row["lowest third"] <= row["coverage"] <= 1 for row in one.result["rows"])
        assert all(0 < row["width"] < 100 for row in one.result["rows"])
        assert len(one.result["heads"]) == 6
        assert one.result["counts"]["test"] == {"clips": 32, "rooms": 8}
    assert found[0].result["heads"] != found[1].result["heads"]


def test_pictures_are_made_from_finished_cells(run, cells, folder):
    pytest.importorskip("umap", reason="Figure 4 needs umap-learn, an optional dependency")
    found = {one.key["figure"]: one.result for one in run("figures", "--network", "paper")}
    silhouettes = {cell.key["method"]: cell.result["silhouette"] for cell in cells}
    assert {method: one["silhouette"] for method, one in found["embeddings"]["planes"].items()} == silhouettes


PLATEAU = ["plateau", "--size", "tiny", "--sampling", "hard", "--warm-up", "3"]


@contextlib.contextmanager
def started(log, *options) -> Iterator[subprocess.Popen]:
    """Start a study in a process of its own; at the end, kill it with its workers if it still runs."""
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "experiments", *PLATEAU, *map(str, options)],
            cwd=REPOSITORY,
            env=os.environ | {"OMP_NUM_THREADS": "1", "LOKY_MAX_CPU_COUNT": "1"},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory):
    """The folder of rooms, a result that was not killed, and the seconds from start to result."""
    folder = tmp_path_factory.mktemp("plateau")
    simulate_rooms(8, 1, random_state=0, memory=folder / "cache")
    begin = time.perf_counter()
    with started(folder / "log", "--output", folder, "--cache", folder / "cache") as process:
        assert process.wait(120) == 0, (folder / "log").read_text()
    (path,) = folder.glob("plateau/*.json")
    return folder / "cache", load(path), time.perf_counter() - begin


def test_a_study_that_is_killed_ten_times_gives_the_same_result(tmp_path, unkilled):
    cache, expected, seconds = unkilled
    random_state, n_killed = np.random.RandomState(0), 0
    log, options = tmp_path / "log", ("--output", tmp_path, "--cache", cache)
    for _ in range(10):
        with started(log, *options) as process:
            time.sleep(random_state.uniform(0, 0.6 * seconds))
            n_killed += process.poll() is None
    assert n_killed >= 5
    with started(log, *options) as process:
        assert process.wait(120) == 0, log.read_text()
    (path,) = tmp_path.glob("plateau/*.json")
    assert load(path).result == expected.result
    assert [one.name for one in path.parent.iterdir()] == [path.name]


def test_interruption_of_a_training_ends_with_one_line_and_130(tmp_path, unkilled):
    cache, _, _ = unkilled
    with started(tmp_path / "log", "--output", tmp_path, "--cache", cache) as process:
        while not list(tmp_path.rglob("*.pt")):  # the first epoch is done
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    output = (tmp_path / "log").read_text()
    assert output.strip().splitlines()[-1] == "Interrupted. Finished results are kept; the same command resumes."
    assert "Traceback" not in output
    assert not list(tmp_path.rglob("*.json"))
