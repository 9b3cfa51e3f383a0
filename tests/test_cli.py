"""The command line, called in this process; and in processes of its own where pipes and signals matter."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import types
import warnings
from collections import namedtuple

import numpy as np
import pandas as pd
import pytest
import torch
from toys import RATE, diffuse, fit_encoder, noise, write_audio

from roomacoustic_sk import ContrastiveRoomEncoder, load, save
from roomacoustic_sk.cli import main
from roomacoustic_sk.datasets import load_measured_rirs, simulate_rooms

PROGRAM = [sys.executable, "-m", "roomacoustic_sk"]


def run(*arguments):
    """Call the command line; return its exit status."""
    try:
        return main([str(argument) for argument in arguments])
    except SystemExit as end:
        return end.code


def stdin_of(monkeypatch, text):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


# --- estimate -------------------------------------------------------------------------------------------------------

INDEX = ["file", "channel", "start", "end"]


def estimates_of(file, rt60=0.5):
    """Return a frame as `estimate_room` gives it, of one recording."""
    index = pd.MultiIndex.from_tuples([(file, 0, 0.0, 2.5)], names=INDEX)
    values = {"rt60": rt60, "rt60_low": 0.4, "rt60_high": 0.625, "c50": np.nan, "c50_low": np.nan, "c50_high": np.nan}
    return pd.DataFrame({**values, "speech": 2.0, "flags": "too_noisy", "model": "toy 1"}, index=index)


@pytest.fixture
def estimates(monkeypatch):
    """Replace the estimator by one that refuses files named bad, and notes what it is asked for."""
    module = types.ModuleType("roomacoustic_sk.estimate")
    asked = {}

    def iterate_estimates(recordings, sample_rate=None, **options):
        asked.update(options, recordings=list(recordings))
        for file in recordings:
            bad = "bad" in os.path.basename(file)
            yield module.FileEstimates(file, None if bad else estimates_of(file), "it is broken" if bad else None)

    module.FileEstimates = namedtuple("FileEstimates", "file frame error")
    module.iterate_estimates = iterate_estimates
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return asked


@pytest.fixture
def folder(tmp_path):
    """Files of which nothing is read, in a folder with spaces and letters beyond ASCII in its name."""
    folder = tmp_path / "Büro 1"
    folder.mkdir()
    for name in ("a.wav", "bad.wav", "c.wav"):
        (folder / name).touch()
    return folder


def test_json_lines_have_all_names_and_null_for_missing_numbers(estimates, folder, capsys):
    assert run("estimate", folder / "a.wav", "--format", "jsonl") == 0
    [line] = capsys.readouterr().out.splitlines()
    file = str(folder / "a.wav")
    assert file in line  # readable as it stands
    assert json.loads(line) == {
        **{"file": file, "channel": 0, "start": 0.0, "end": 2.5},
        **{"rt60": 0.5, "rt60_low": 0.4, "rt60_high": 0.625, "c50": None, "c50_low": None, "c50_high": None},
        **{"speech": 2.0, "flags": "too_noisy", "model": "toy 1"},
    }


def test_a_bad_file_does_not_stop_the_rest_and_sets_the_status(estimates, folder, capsys):
    assert run("estimate", folder, "--format", "jsonl") == 1
    captured = capsys.readouterr()
    rows = [json.loads(line) for line in captured.out.splitlines()]
    assert [os.path.basename(row["file"]) for row in rows] == ["a.wav", "bad.wav", "c.wav"]
    assert rows[1] == {"file": str(folder / "bad.wav"), "error": "it is broken"}
    assert captured.err == f"roomacoustic-sk: {folder / 'bad.wav'}: it is broken\n"


def test_results_keep_the_order_of_the_arguments(estimates, folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    names = [folder / "c.wav", tmp_path / "empty", tmp_path / "none.wav", folder / "a.wav"]
    assert run("estimate", *names, "--format", "jsonl") == 1
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == list(map(str, names))
    assert "must hold audio files" in rows[1]["error"]
    assert rows[2]["error"] == "no such file or folder"


def test_names_are_read_from_stdin(estimates, folder, monkeypatch, capsys):
    stdin_of(monkeypatch, f"{folder}/a.wav\r\n\n  \n{folder}/c.wav".encode())
    assert run("estimate", "-", "--format", "csv") == 0
    table = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert table["file"].tolist() == [f"{folder}/a.wav", f"{folder}/c.wav"]
    assert table.columns[:5].tolist() == [*INDEX, "rt60"]
    assert table["c50"].isna().all()


def test_the_table_has_intervals_beside_the_estimates(estimates, folder, capsys):
    assert run("estimate", folder / "a.wav", folder / "c.wav") == 0
    header, first, second = capsys.readouterr().out.splitlines()
    assert "0.50 [0.40, 0.62]" in first
    assert header.index("rt60 [s]") == first.index("0.50 [") == second.index("0.50 [")
    assert header.index("c50 [dB]") == first.index("-", first.index("]"))


def test_options_reach_the_estimator(estimates, folder):
    options = ["--window", "10", "--channel", "1", "--bands", "--model", "m.rsk", "--n-jobs", "2"]
    assert run("estimate", folder / "a.wav", *options) == 0
    estimates.pop("recordings")
    assert estimates == {"window": 10.0, "channel": 1, "bands": True, "model": "m.rsk", "n_jobs": 2}


@pytest.mark.filterwarnings("default")
def test_results_go_to_a_file_whole_or_not_at_all(estimates, folder, tmp_path, capsys, monkeypatch):
    target = tmp_path / "results.csv"
    assert run("estimate", folder / "a.wav", "--format", "csv", "--output", target) == 0
    assert capsys.readouterr().out == ""
    complete = target.read_text()
    assert complete.count("\n") == 2

    def interrupted(*arguments, **options):
        try:
            raise KeyboardInterrupt
            yield
        finally:
            warnings.warn("4 tasks have been cancelled", UserWarning, stacklevel=1)  # as joblib does

    monkeypatch.setattr(sys.modules["roomacoustic_sk.estimate"], "iterate_estimates", interrupted)
    assert run("estimate", folder / "a.wav", "--output", target) == 130
    assert target.read_text() == complete
    assert list(tmp_path.glob(".*")) == []
    assert capsys.readouterr().err == ""


def test_an_output_without_a_result_is_not_written(estimates, folder, tmp_path, capsys):
    target = tmp_path / "results.csv"
    target.write_text("of before")
    assert run("estimate", folder / "bad.wav", "--format", "csv", "--output", target) == 1
    assert capsys.readouterr().err.splitlines()[-1] == "roomacoustic-sk: no file could be read: nothing is written."
    assert target.read_text() == "of before"


def test_a_folder_has_what_ffmpeg_reads_too(estimates, folder):
    (folder / "memo.m4a").write_bytes(b"")
    assert run("estimate", folder) == 1
    assert [os.path.basename(file) for file in estimates["recordings"]] == ["a.wav", "bad.wav", "c.wav", "memo.m4a"]


# --- Usage and errors -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["estimate"],
        ["estimate", "a.wav", "--window", "0.5"],
        ["estimate", "a.wav", "--channel", "left"],
        ["estimate", "a.wav", "--n-jobs", "0"],
        ["acoustics", "a.wav", "--parameters", "X30"],
        ["embed", "a.wav", "--model", "m.rsk", "--output", "f.txt"],
        ["simulate", "out", "--n-rooms", "-3"],
    ],
)
def test_wrong_usage_is_one_line_and_status_2(arguments, capsys):
    assert run(*arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("roomacoustic-sk: ")
    assert captured.err.count("\n") == 1


def test_an_unforeseen_error_is_one_line_without_a_traceback(estimates, folder, monkeypatch, capsys):
    def broken(*arguments, **options):
        raise RuntimeError("two\nlines")

    monkeypatch.setattr(sys.modules["roomacoustic_sk.estimate"], "iterate_estimates", broken)
    assert run("estimate", folder / "a.wav") == 1
    assert capsys.readouterr().err == "roomacoustic-sk: RuntimeError: two lines (--debug shows where)\n"
    with pytest.raises(RuntimeError):
        run("--debug", "estimate", folder / "a.wav")


@pytest.mark.parametrize("output", [".", "missing/results.csv"])
def test_an_output_that_cannot_be_written_is_told_first(output, estimates, folder, tmp_path, capsys):
    assert run("estimate", folder / "a.wav", "--output", tmp_path / output) == 1
    assert estimates == {}
    assert str(tmp_path / output) in capsys.readouterr().err


def test_help_and_version_load_no_heavy_library():
    program = (
        "import sys; from roomacoustic_sk.cli import main\n"
        "try: main(['estimate', '--help'])\nexcept SystemExit: pass\n"
        "assert not {'numpy', 'pandas', 'torch', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, timeout=60)
    done = subprocess.run([*PROGRAM, "--version"], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("roomacoustic-sk 0.")


@pytest.fixture
def busy(tmp_path):
    """A process that evaluates one response after the other, and has just written a result."""
    file = write_audio(tmp_path / "a.wav", 0.1 * diffuse(0.3, 0.6))
    command = [*PROGRAM, "acoustics", *[str(file)] * 3_000, "--format", "jsonl", "--bands", "none"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert json.loads(process.stdout.readline())["file"] == str(file)
        yield process


def test_a_reader_that_leaves_ends_it_quietly(busy):
    busy.stdout.close()
    assert busy.stderr.read() == b""
    assert busy.wait(60) == 141


def test_ctrl_c_ends_it_quietly(busy):
    busy.send_signal(signal.SIGINT)
    assert busy.communicate(timeout=60)[1] == b""
    assert busy.returncode == 130


def test_recordings_are_heard_in_one_thread_and_torch_is_left_as_it_was(monkeypatch, tmp_path):
    seen, before, transform = [], torch.get_num_threads(), ContrastiveRoomEncoder.transform

    def watched(self, X):
        seen.append(torch.get_num_threads())
        return transform(self, X)

    monkeypatch.setattr(ContrastiveRoomEncoder, "transform", watched)
    torch.set_num_threads(2)
    try:
        file = write_audio(tmp_path / "speech.wav", 0.1 * noise(3 * RATE, seed=1) * np.hanning(3 * RATE))
        assert run("estimate", file, "--format", "csv") == 0
        assert run("embed", file, "--output", tmp_path / "e.csv") == 0
        assert set(seen) == {1}
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


# --- acoustics ------------------------------------------------------------------------------------------------------


@pytest.fixture
def responses(tmp_path):
    """Two responses of a room, of 0.5 and 0.7 s."""
    return [write_audio(tmp_path / f"{rt60}.wav", 0.5 * diffuse(rt60, 1.5), subtype="FLOAT") for rt60 in (0.5, 0.7)]


def test_audio_on_stdin_is_no_list_of_names(responses, monkeypatch, capsys):
    with responses[0].open("rb") as audio:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(audio))
        assert run("acoustics", "-") == 1
        assert "stdin must hold names of files, one a line, got binary data" in capsys.readouterr().err


def test_acoustics_gives_known_decays_with_their_clauses(responses, capsys):
    assert run("acoustics", responses[0], "--format", "jsonl") == 0
    rows = pd.DataFrame([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert rows["band"].tolist()[1:] == [125, 250, 500, 1000, 2000, 4000]
    assert np.isnan(rows["band"][0])
    np.testing.assert_allclose(rows["T30"], 0.5, rtol=0.15)
    assert run("acoustics", responses[0]) == 0
    lines = capsys.readouterr().out.splitlines()
    [row] = [line.split() for line in lines if line.startswith("T30")]
    assert row[1:5] == ["ISO", "3382-1,", "3.4", "s"]
    assert float(row[5]) == pytest.approx(0.5, rel=0.05)
    assert float(row[6]) == pytest.approx((float(row[9]) + float(row[10])) / 2, abs=0.001)


def test_positions_are_averaged_with_their_standard_deviation(responses, capsys):
    assert run("acoustics", *responses, "--bands", "none", "--parameters", "T20") == 0
    single, mean = capsys.readouterr().out.split("mean and standard deviation (SD) of 2 responses")
    first, second = (float(line.split()[-1]) for line in single.splitlines() if line.startswith("T20"))
    mean, deviation = (float(line.split()[-1]) for line in mean.splitlines() if line.startswith("T20"))
    assert mean == pytest.approx((first + second) / 2, abs=0.001)
    assert deviation == pytest.approx(abs(first - second) / 2**0.5, abs=0.001)


@pytest.mark.filterwarnings("default")
def test_a_sweep_and_what_it_gave_must_be_deconvolved_first(responses, tmp_path, capsys):
    time = np.arange(3 * RATE) / RATE
    sweep = np.sin(2 * np.pi * 20 * 3 / np.log(350) * (350 ** (time / 3) - 1))
    recorded = np.convolve(sweep, diffuse(0.5, 1.0))
    files = [
        write_audio(tmp_path / "sweep.wav", 0.5 * sweep),
        write_audio(tmp_path / "recorded.wav", recorded / np.abs(recorded).max() / 2),
    ]
    assert run("acoustics", *files, responses[0]) == 1
    captured = capsys.readouterr()
    assert f"{responses[0]}, channel 0" in captured.out
    errors = captured.err.splitlines()
    assert len(errors) == 2
    assert all("deconvolve it first" in error and "pyfar.dsp.deconvolve" in error for error in errors)


# --- simulate and train ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated(tmp_path_factory):
    """A folder of 3 simulated rooms with 2 responses each."""
    folder = tmp_path_factory.mktemp("cli") / "rooms"
    assert run("simulate", folder, "--n-rooms", 3, "--seed", 7) == 0
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_simulated_responses_are_read_back_to_the_last_bit(simulated):
    rooms, read = simulate_rooms(3, 2, random_state=7), load_measured_rirs(simulated / "rirs.csv")
    assert all(np.array_equal(one, other) for one, other in zip(rooms.rirs, read.rirs, strict=True))
    assert read.room.tolist() == rooms.room.astype(str).tolist()
    geometry = ["volume", "length", "width", "height", "distance"]
    pd.testing.assert_frame_equal(read.target[geometry], rooms.target[geometry], check_exact=True)


@pytest.mark.slow
def test_nothing_of_a_simulated_decay_is_taken_for_noise(simulated, capsys):
    written = pd.read_csv(simulated / "rirs.csv")
    read = load_measured_rirs(simulated / "rirs.csv")
    for label in ("rt60", "rt60_mid", "edt", "c50", "drr"):
        np.testing.assert_array_equal(read.target[label], written[label])
    files = [simulated / name for name in written["file"]]
    assert run("acoustics", *files, "--noise-free", "--bands", "none", "--format", "csv") == 0
    found = pd.read_csv(io.StringIO(capsys.readouterr().out))
    np.testing.assert_allclose(found["C50"], written["c50"], atol=0.01)


@pytest.mark.slow
def test_simulate_overwrites_only_when_asked(simulated, capsys):
    before = (simulated / "rirs.csv").read_bytes()
    assert run("simulate", simulated, "--n-rooms", 1) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (simulated / "rirs.csv").read_bytes() == before


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_train_resumes_and_gives_the_same_estimator(simulated, tmp_path, capsys):
    small = ["--epochs", 1, "--steps", 2, "--duration", 1, "--segments", 12, "--checkpoints", tmp_path / "checkpoints"]
    first, again = tmp_path / "first.rsk", tmp_path / "again.rsk"
    assert run("train", simulated, first, *small) == 0
    written = time.time_ns()
    assert run("train", simulated, again, *small) == 0
    assert all(file.stat().st_mtime_ns < written for file in (tmp_path / "checkpoints").rglob("*") if file.is_file())
    X = noise(2, RATE, seed=3).astype(np.float32)
    assert np.array_equal(load(first).predict(X), load(again).predict(X))
    assert run("train", simulated, first, *small) == 1  # no second time over it
    capsys.readouterr()
    assert run("info", first) == 0
    told = capsys.readouterr().out
    assert "RoomParameterEstimator" in told
    assert "rt60_mid, c50, drr" in told
    assert "roomacoustic_sk 0." in told


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_recordings_without_labels_train_an_encoder(tmp_path, capsys):
    for i in range(6):
        write_audio(tmp_path / "recordings" / f"{i}.wav", 0.1 * noise(2 * RATE, seed=i))
    small = ["--epochs", 1, "--steps", 2, "--duration", 0.5]
    assert run("train", tmp_path / "recordings", tmp_path / "encoder.rsk", *small) == 0
    assert load(tmp_path / "encoder.rsk").transform(noise(2, RATE).astype(np.float32)).shape == (2, 64)
    assert run("train", tmp_path / "recordings", tmp_path / "e.rsk", "--speech", tmp_path, *small) == 1
    assert "--speech" in capsys.readouterr().err


# --- embed and info -------------------------------------------------------------------------------------------------


def test_embeddings_are_those_of_transform(bursts, tmp_path, capsys):
    X, groups = bursts
    encoder = fit_encoder(X, groups)
    save(encoder, tmp_path / "encoder.rsk")
    stereo = write_audio(tmp_path / "stereo ü.wav", X[:2].T / np.abs(X).max(), subtype="FLOAT")
    (tmp_path / "text.wav").write_text("no sound")
    files = [tmp_path / "text.wav", stereo]
    for name in ("e.csv", "e.npz"):
        assert run("embed", *files, "--model", tmp_path / "encoder.rsk", "--output", tmp_path / name) == 1
        [error] = capsys.readouterr().err.splitlines()
        assert "text.wav" in error
    expected = encoder.transform(X[:2] / np.abs(X).max())
    arrays = np.load(tmp_path / "e.npz")
    np.testing.assert_allclose(arrays["embeddings"], expected, atol=1e-6)
    assert arrays["files"].tolist() == [str(stereo)] * 2
    assert arrays["channels"].tolist() == [0, 1]
    table = pd.read_csv(tmp_path / "e.csv", index_col=["file", "channel"])
    np.testing.assert_allclose(table, expected, atol=1e-6)
    assert table.index.tolist() == [(str(stereo), 0), (str(stereo), 1)]


def test_a_silent_channel_leaves_the_embeddings_of_the_others(bursts, tmp_path, capsys):
    X, groups = bursts
    save(fit_encoder(X, groups), tmp_path / "encoder.rsk")
    both = np.stack([np.zeros(X.shape[1]), X[0] / np.abs(X[0]).max()], axis=1)
    file = write_audio(tmp_path / "half.wav", both, subtype="FLOAT")
    assert run("embed", file, "--model", tmp_path / "encoder.rsk", "--output", tmp_path / "e.csv") == 1
    assert "half.wav: channel 0: " in capsys.readouterr().err
    assert pd.read_csv(tmp_path / "e.csv")["channel"].tolist() == [1]


def test_info_tells_format_level_and_clipping(tmp_path, capsys):
    tone = np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    loud = np.clip(noise(2 * RATE), -1, 1)
    file = write_audio(tmp_path / "two.wav", np.column_stack([tone / 2, loud]), subtype="PCM_16")
    assert run("info", file) == 0
    told = capsys.readouterr().out
    for fact in ("16000 Hz", "2.000 s", "Signed 16 bit PCM", "-9.0 dB RMS, -6.0 dB peak"):
        assert fact in told
    first, second = (line for line in told.splitlines() if "level of channel" in line)
    assert "clipped" in second
    assert "clipped" not in first
