"""The study of intervals: what it measures, on targets whose coverage and widths are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from experiments.results import Result
from experiments.studies.intervals import AMOUNTS, CALIBRATION_ROOMS, Intervals, Part, estimated_snr, judge, judge_all
from roomacoustic_sk import RoomRegressor


def drawn_part(n_rooms, seed, n_clips=4):
    """Return a part whose reverberation times and clarity are functions of the embedding, and errors."""
    rng = np.random.default_rng(seed)
    room = np.repeat(np.arange(n_rooms), n_clips)
    X = rng.standard_normal((n_rooms, 4))[room] + 0.1 * rng.standard_normal((len(room), 4))
    error = rng.standard_normal((n_rooms, 3))[room]
    target = pd.DataFrame({"rt60": np.exp(0.3 * X[:, 0] + 0.1 * error[:, 0]), "rt60_mid": np.exp(0.1 * error[:, 1])})
    target["c50"] = 5 + X[:, 1] + error[:, 2]
    target.loc[target.index % 10 == 0, "rt60_mid"] = np.nan
    return Part(X.astype(np.float32), target, room, rng.uniform(0, 1, (len(room), 2)))


def test_the_full_size_calibrates_and_tests_in_400_rooms():
    assert AMOUNTS["paper"].calibration_rooms == max(CALIBRATION_ROOMS) == 400
    assert AMOUNTS["paper"].test_rooms >= 400


def test_coverage_is_counted_where_the_target_is_known():
    n = 300
    true = np.where(np.arange(n) % 3 == 0, np.nan, np.arange(n, dtype=float))
    part = Part(np.zeros((n, 1)), pd.DataFrame({"c50": true}), np.arange(n), np.stack([np.arange(n), np.zeros(n)], 1))
    interval = np.stack([np.full(n, -1.0), np.where(np.arange(n) < 150, 1e3, 0.0)], axis=1)
    found = judge(interval, part, "c50", -np.arange(n))
    assert found["coverage"] == 0.5
    assert [found[f"duration, {i}"] for i in range(3)] == pytest.approx([1, 0.5, 0], abs=0.02)
    assert [found[f"estimated RT60, {i}"] for i in range(3)] == pytest.approx([0, 0.5, 1], abs=0.02)
    assert found["lowest third"] == 0
    assert found["width"] == pytest.approx((1001 + 1) / 2)


def test_intervals_of_known_errors_cover_90_per_cent():
    train = drawn_part(100, 0)
    transforms = {"rt60": "log", "rt60_mid": "log", "c50": "bounded"}
    head = RoomRegressor(target_transform=transforms, batch_size=64, lr=4e-3, max_epochs=10, random_state=0)
    head.fit(train.X, train.target)
    test = drawn_part(400, 1, 2)
    estimates = pd.DataFrame(head.predict(test.X), columns=head.target_names_)
    rows = pd.DataFrame(judge_all(head, drawn_part(100, 2), test, estimates, train.target))
    assert rows.groupby("n_rooms")["draw"].max().to_dict() == {20: 19, 50: 19, 100: 0}
    assert rows.groupby(["n_rooms", "target"])["coverage"].mean().between(0.87, 0.96).all()
    of_c50 = rows[(rows["target"] == "c50") & (rows["n_rooms"] == 100)].iloc[0]
    # 90 % of a normal distribution lie within 1.645 standard deviations, here 1 dB; of the targets, those of sqrt(2).
    assert of_c50["width"] == pytest.approx(2 * 1.645, rel=0.25)
    assert of_c50["constant_width"] == pytest.approx(2 * 1.645, rel=0.25)
    assert of_c50["prior_width"] == pytest.approx(2 * 1.645 * np.sqrt(2), rel=0.2)


def test_an_snr_is_estimated_from_bursts_in_noise():
    rng = np.random.default_rng(0)
    bursts = np.where(np.arange(64_000) % 8_000 < 4_000, 1.0, 0.0) * rng.standard_normal(64_000)
    for snr in (0, 10, 30):
        noise = np.sqrt(0.5) * 10 ** (-snr / 20) * rng.standard_normal(64_000)
        assert estimated_snr(bursts + noise, 16_000) == pytest.approx(snr, abs=1.5)
    assert np.isfinite(estimated_snr(rng.standard_normal(8_000), 16_000))


def test_the_section_needs_nothing_but_results():
    thirds = {f"{name}, {i}": 0.9 for name in ("estimated RT60", "estimated SNR", "duration") for i in range(3)}
    numbers = {"coverage": 0.912, "lowest third": 0.85, "width": 0.4, "constant_width": 0.5, "prior_width": 1.5}
    targets = ("rt60", "rt60_mid", "c50")
    result = {
        "rows": [{"n_rooms": n, "draw": 0, "target": t} | numbers | thirds for n in (20, 400) for t in targets],
        "heads": [
            {"target": t, "head": h, "pearson_r": 0.8} for t in targets for h in ("several targets", "one target")
        ],
        "flagged": {"test": 0.04, "dry speech": 0.5, "noise": 1.0},
        "counts": {part: {"clips": 1600, "rooms": 400} for part in ("train", "calibration", "test")},
    }
    origin = {"data": {"size": "paper", "speech": "real"}, "command": "", "commit": "", "machine": {}, "versions": {}}
    origin |= {"processor_features": None, "seconds": {}}
    results = [Result("intervals", {"encoder": "quickstart"}, seed, result=result, **origin) for seed in range(3)]
    section = Intervals().section(results)
    assert "| 400 | RT60 [s] | 91.2 ± 0.0 % | 85.0 ± 0.0 % | 0.40 | 0.50 | 1.50 |" in section
    assert "| C50 [dB] | 0.800 ± 0.000 | 0.800 ± 0.000 |" in section
    assert "nan" not in section
