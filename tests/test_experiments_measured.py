"""Errors in measured rooms: of whom, on which clips, and what they are."""

from __future__ import annotations

import json
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch
from toys import RATE, diffuse, write_audio

from experiments import __main__ as command
from experiments import measured
from experiments.measured_page import measured_section
from experiments.recipe import AMOUNTS, LOWEST_SNR, MEASURED_COPIES, SNR, Amount, Recipe
from experiments.tables import KINDS
from roomacoustic_sk.datasets import simulate_rooms

RT60 = {"office": 0.3, "hall": 0.9, "house_dining": 0.5}  # the last one trains, and does not test


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of responses of three rooms."""
    folder = tmp_path_factory.mktemp("rirs")
    rows = []
    for room, rt60 in RT60.items():
        for i in range(2):
            response = diffuse(rt60, 1.5 * rt60, seed=i)
            write_audio(folder / f"{room}{i}.wav", response / np.abs(response).max(), subtype="FLOAT")
            rows.append({"file": f"{room}{i}.wav", "set": "mine", "room": room, "condition": "as it is"})
    pd.DataFrame(rows).to_csv(folder / "rirs.csv", index=False)
    return folder / "rirs.csv"


@pytest.fixture
def recipe(table, tmp_path):
    return Recipe(AMOUNTS["tiny"], None, None, tmp_path, [table])


def always(rt60):
    """Return an estimator that has one answer, with an interval of 0.2 s, and does not know C50."""

    def estimate(sounds):
        assert all(len(sound) == measured.SECONDS * RATE for sound in sounds)
        values = np.full(len(sounds), rt60)
        return pd.DataFrame({"rt60_mid": values, "rt60_mid_low": values - 0.1, "rt60_mid_high": values + 0.1})

    return estimate


def test_each_estimator_is_scored_in_each_room_that_tests(recipe):
    estimators, sets = {"short": always(0.3), "long": always(0.9)}, list(measured.measured_sets(recipe))
    rows = list(measured.score(estimators, recipe, sets, [None, 10.0]))
    assert {(row["estimator"], row["set"], row["snr"]) for row in rows} == {
        (estimator, room, snr) for estimator in ("short", "long") for room in ("office", "hall") for snr in (None, 10.0)
    }
    for row in rows:
        is_right = (row["estimator"] == "short") == (row["set"] == "office")
        assert row["target"] == "rt60_mid"
        assert row["n"] == 40
        assert abs(row["bias"]) == pytest.approx(0.0 if is_right else 0.6, abs=0.1)
        assert row["coverage"] == float(is_right)
    printed = measured.table_of(rows)
    assert "10 dB" in printed
    assert "clean" in printed


def test_errors_are_those_of_known_values_that_were_estimated():
    found = pd.DataFrame({"c50": [1.0, 2.0, np.nan, 4.0], "c50_low": [0.0] * 4, "c50_high": [3.0] * 4})
    true = pd.DataFrame({"c50": [1.0, 4.0, 5.0, np.nan]})
    assert measured.errors(found, true, "c50") == {
        "n": 2,
        "told": 0.667,
        "true": 2.5,
        "rmse": pytest.approx(2**0.5, abs=1e-3),
        "bias": -1.0,
        "coverage": 0.5,
        "width": 3.0,
    }
    assert measured.errors(found, true, "c50", chosen=False)["n"] == 0


def test_a_saved_estimator_is_scored_by_command(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("roomacoustic_sk.load", lambda path: path)
    monkeypatch.setattr(measured, "estimates_of", lambda path: always(0.3))
    (tmp_path / "model.rsk").touch()
    arguments = ["measured", "--rirs", str(table), "--model", str(tmp_path / "model.rsk")]
    arguments += ["--cache", str(tmp_path), "--output", str(tmp_path / "errors.json")]
    assert command.main(arguments) == 0
    assert "model.rsk" in capsys.readouterr().out
    written = json.loads((tmp_path / "errors.json").read_text())
    assert {row["set"] for row in written["rows"]} == {"office", "hall"}
    assert command.main([*arguments[:3], "--model", "missing.rsk", "--cache", str(tmp_path)]) == 1
    assert "missing.rsk must be a file, got no such file" in capsys.readouterr().err


def test_a_broken_table_is_refused_before_anything_is_trained(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("experiments.default_model.train", None)
    (tmp_path / "notes.csv").write_text("a text, with a comma\n")
    assert command.main(["measured", "--rirs", str(tmp_path / "notes.csv"), "--cache", str(tmp_path)]) == 1
    assert "experiments measured: --rirs: load_measured_rirs: " in capsys.readouterr().err
    assert command.main(["measured", "--rirs", str(tmp_path), "--cache", str(tmp_path)]) == 1
    assert "must be a file, got a folder" in capsys.readouterr().err


def test_what_stands_beside_must_be_installed(table, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "blind_rt60", None)
    monkeypatch.setattr("roomacoustic_sk.load", lambda path: path)
    (tmp_path / "model.rsk").touch()
    arguments = ["--rirs", str(table), "--model", str(tmp_path / "model.rsk"), "--cache", str(tmp_path)]
    assert command.main(["measured", *arguments, "--beside", "blind-rt60"]) == 1
    assert "pip install blind-rt60" in capsys.readouterr().err


FEW = Amount((1, 4, 1, 1), 10, 1, 2, 60, 20)
ORDINARY = {"preset": "paper", "materials": 0.3}


@pytest.fixture(scope="module")
def without(table, tmp_path_factory):
    """Return a recipe that leaves some steps out, in one cache; its rooms are ordinary ones, which take less time."""
    cache = tmp_path_factory.mktemp("ablations")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("experiments.recipe.simulate_rooms", lambda *args, **kw: simulate_rooms(*args, **kw | ORDINARY))
        yield lambda *steps: Recipe(FEW, None, None, cache, [table], steps)


def heard(recipe):
    """Return the clips of the heads, their labels and their SNR."""
    parts = list(recipe.clips("heads", 60))
    labels = [label for _, clips in parts for label in clips.rir.tolist()]
    snr = np.concatenate([clips.target["snr"] for _, clips in parts])
    return [sound for sounds, _ in parts for sound in sounds], labels, snr


def treble(sounds):
    """Return the share of power above 7.9 kHz, beyond all limits of the band."""
    spectra = [np.abs(np.fft.rfft(sound)) ** 2 for sound in sounds]
    return np.median([power[int(7.9 / 8 * len(power)) :].sum() / power.sum() for power in spectra])


def test_measured_rooms_may_be_left_out(without):
    is_measured = [
        [label.startswith("measured") for label in recipe.rooms("heads").rir]
        for recipe in (without(), without("measured"))
    ]
    assert list(map(sum, is_measured)) == [2 + 2 * MEASURED_COPIES, 0]


@pytest.mark.parametrize("step", ["direct", "decay"])
def test_a_variation_of_responses_may_be_left_out(without, step):
    whole, part = (recipe.rooms("heads").rirs for recipe in (without(), without(step)))
    same = [np.array_equal(one, other) for one, other in zip(whole, part, strict=True)]
    assert 0 < np.mean(same) < 1


def test_noise_may_be_left_out(without):
    _, labels, snr = heard(without())
    assert snr.min() == LOWEST_SNR
    assert any(label.startswith("noise") for label in labels)
    _, labels, snr = heard(without("noise"))
    assert snr.min() == SNR[1]
    assert not any(label.startswith("noise") for label in labels)


def test_limits_of_the_band_may_be_left_out(without):
    limited, whole = (heard(recipe)[0] for recipe in (without("noise"), without("noise", "band")))
    changed = [not np.array_equal(one, other) for one, other in zip(limited, whole, strict=True)]
    assert 0.1 < np.mean(changed) < 0.6
    first = changed.index(True)
    assert treble(limited[first : first + 1]) < treble(whole[first : first + 1])


def test_ablations_leave_all_but_the_heads_as_it_is(without):
    for part in ("encoder", "calibration", "test"):
        whole, some = (recipe.rooms(part).rirs for recipe in (without(), without("measured", "direct", "noise")))
        assert np.array_equal(np.concatenate(whole), np.concatenate(some))


def test_simulated_rooms_are_told_apart_by_kind(without, monkeypatch):
    target = pd.DataFrame({"volume": [30, 2000, 2000, 90], "drr": [0.0, 9.0, 0.0, 6.0]})
    rooms = Bunch(rirs=[np.ones(9)] * 4, rir=np.arange(4), target=target)
    monkeypatch.setattr(Recipe, "rooms", lambda self, part: {"test": rooms}[part])
    found = {name: some.rir.tolist() for name, some in measured.simulated_sets(without())}
    assert found == {"simulated, large": [1, 2], "simulated, near": [1, 3], "simulated, ordinary": [0]}


@pytest.mark.parametrize(("kind", "column"), [("near", "drr"), ("large", "volume")])
def test_rooms_of_a_kind_may_be_left_out(without, kind, column, monkeypatch):
    whole = without().rooms("heads").target[column][:8]
    monkeypatch.setitem(KINDS, kind, (column, whole.median()))
    left = without(kind).rooms("heads").target[column]
    assert left.tolist()[:4] == whole[whole <= whole.median()].tolist()


def test_an_unknown_ablation_is_refused(table, tmp_path, capsys):
    options = ["measured", "--rirs", str(table), "--cache", str(tmp_path), "--without", "hope"]
    assert command.main(options) == 1
    assert (
        "--without must name some of measured, large, near, direct, decay, noise, band, got 'hope'"
        in capsys.readouterr().err
    )


def test_the_supervised_baseline_is_trained_once(without, monkeypatch):
    monkeypatch.setattr(measured, "SUPERVISED_EPOCHS", 1)
    recipe = without()
    sounds = [np.random.default_rng(i).standard_normal(round(measured.SECONDS * RATE)).astype("f4") for i in range(2)]
    found = measured.supervised(recipe)(sounds)
    assert list(found) == list(measured.TARGETS)
    assert np.isfinite(found).all(axis=None)
    monkeypatch.setattr("roomacoustic_sk.SupervisedRoomRegressor", None)  # it was kept
    pd.testing.assert_frame_equal(measured.supervised(recipe)(sounds), found)


def test_the_page_shows_each_estimator_beside_the_others(tmp_path):
    assert measured_section(tmp_path) == ""
    (tmp_path / "measured").mkdir()
    for estimator, rmse in (("slopes", 0.25), ("default.rsk", 0.125)):
        rows = [
            {"estimator": estimator, "set": "office", "target": "rt60_mid", "n": 5, "true": 0.5}
            | {"snr": snr, "rmse": rmse * factor}
            for factor, snr in ((1, None), (2, 20.0))
        ]
        (tmp_path / "measured" / f"{estimator}.json").write_text(json.dumps({"rows": [*rows, rows[0] | {"n": 0}]}))
    lines = measured_section(tmp_path).splitlines()
    assert "| RT60 at mid frequencies [s] | office (0.5) |" in lines
    assert lines[-2:] == ["| the estimator in the package | 0.12 / 0.25 |", "| decay slopes, trees | 0.25 / 0.50 |"]
