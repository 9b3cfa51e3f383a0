"""Slopes of decays have their analytic values, each in its own band."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.signal import butter, sosfilt
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.pipeline import make_pipeline
from toys import RATE, decaying_noise, exponential, noise

from roomacoustic_sk import features
from roomacoustic_sk.features import DecaySlopeFeatures


def bursts(rt60, seconds=4.0, seed=0):
    """Return noise bursts, one every half second, that decay at the rates of the reverberation times."""
    return decaying_noise(rt60, round(seconds * RATE), period=RATE // 2, seed=seed)


def single_decays(rt60, n_recordings, seed=0):
    """Return bursts of noise that fall by 60 dB, once."""
    return noise(n_recordings, round(rt60 * RATE), seed=seed) * exponential(rt60, rt60)


@pytest.mark.parametrize("rt60", [0.6, 1.2, 2.4])
@pytest.mark.parametrize("band", [250, 1000, 4000])
def test_the_median_slope_of_a_decay_is_60_db_over_the_reverberation_time(band, rt60):
    features = DecaySlopeFeatures(bands=[band], windows=[0.2], percentiles=[50])
    slopes = features.fit_transform(single_decays(rt60, 40))[:, 0]
    assert slopes.mean() == pytest.approx(-60 / rt60, rel=0.03)


def test_each_band_has_its_own_decay():
    low = sosfilt(butter(8, 700, "lowpass", fs=RATE, output="sos"), single_decays(1.2, 40))
    high = sosfilt(butter(8, 1_400, "highpass", fs=RATE, output="sos"), single_decays(0.6, 40, seed=1))
    X = low.copy()
    X[:, : high.shape[1]] += high
    features = DecaySlopeFeatures(bands=[250, 4000], windows=[0.2], percentiles=[20, 50]).fit_transform(X)
    assert features[:, 1].mean() == pytest.approx(-60 / 1.2, rel=0.05)
    assert features[:, 4].mean() == pytest.approx(-60 / 0.6, rel=0.05)


def test_columns_are_named_after_band_window_and_percentile():
    X = single_decays(0.6, 3)
    alone = DecaySlopeFeatures(bands=[500], windows=[0.08], percentiles=[10]).fit_transform(X)
    features = DecaySlopeFeatures(bands=[250, 500], windows=[0.2, 0.08], percentiles=[50, 10]).set_output(
        transform="pandas"
    )
    table = features.fit_transform(X)
    assert table.columns[0] == "slope_250Hz_0.2s_p50"
    np.testing.assert_array_equal(table[["slope_500Hz_0.08s_p10", "level_500Hz_p5", "level_500Hz_p50"]], alone)


def test_slopes_depend_neither_on_level_nor_on_sample_format():
    X = bursts([0.3, 0.9])
    expected = DecaySlopeFeatures().fit_transform(X)
    np.testing.assert_allclose(DecaySlopeFeatures().fit_transform(1e-3 * X), expected, rtol=1e-4, atol=1e-4)
    pcm = np.round(X / np.abs(X).max() * 32_000).astype(np.int16)
    np.testing.assert_allclose(
        DecaySlopeFeatures(bands=[1000]).fit_transform(pcm)[:, 14:28],
        DecaySlopeFeatures(bands=[1000]).fit_transform(X)[:, 14:28],
        rtol=0.1,
        atol=8,
    )


def test_extra_trees_estimate_the_reverberation_time_from_slopes():
    rt60 = np.exp(np.random.default_rng(2).uniform(np.log(0.2), np.log(2), 90))
    model = make_pipeline(DecaySlopeFeatures(), ExtraTreesRegressor(50, random_state=0))
    model.fit(bursts(rt60[:60], 2.0), np.log(rt60[:60]))
    assert np.corrcoef(model.predict(bursts(rt60[60:], 2.0, seed=5)), np.log(rt60[60:]))[0, 1] > 0.97


def test_slopes_depend_neither_on_n_jobs_nor_on_other_recordings(tmp_path):
    X = bursts(np.linspace(0.2, 1, 40), 1.0)
    expected = DecaySlopeFeatures().fit_transform(X)
    assert expected.shape == (40, 6 * (2 * 14 + 2))
    np.testing.assert_array_equal(DecaySlopeFeatures(n_jobs=2).fit_transform(X), expected)
    mixed = [X[3], np.concatenate([X[4], X[5]]), X[6]]
    np.testing.assert_array_equal(DecaySlopeFeatures().fit(X).transform(mixed)[[0, 2]], expected[[3, 6]])


def test_short_recordings_are_repeated_with_a_warning():
    X = bursts([0.3, 0.5], 0.25)
    with pytest.warns(
        UserWarning, match="DecaySlopeFeatures: 2 of 2 recordings in X are shorter than the 0.4 s needed"
    ):
        found = DecaySlopeFeatures().fit(X).transform(X)
    np.testing.assert_allclose(found, DecaySlopeFeatures().fit_transform(np.hstack([X, X])[:, :6_400]), rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"bands": []}, ValueError, "bands must have at least one number, got none"),
        ({"bands": [8000]}, ValueError, r"bands \(in Hz\) must be a number above 0 and at most 5656"),
        ({"windows": [0.01]}, ValueError, r"windows \(in s\) must be a number of at least 0.03"),
        ({"percentiles": [101]}, ValueError, "percentiles must be a number of at least 0 and at most 100"),
        ({"sample_rate": "16k"}, TypeError, "sample_rate"),
    ],
)
def test_invalid_parameters_are_named(parameters, error, message):
    with pytest.raises(error, match=f"DecaySlopeFeatures: {message}"):
        DecaySlopeFeatures(**parameters).fit(bursts([0.5]))


def test_a_recording_in_pieces_has_the_features_of_the_whole(monkeypatch):
    X = list(bursts([0.4, 0.8], seconds=7.003))
    X.append(np.concatenate([np.zeros(20_000), X[0][:33_333], np.zeros(20_000)]).astype(np.float32))
    whole = DecaySlopeFeatures().fit_transform(X)
    monkeypatch.setattr(features, "BLOCK_SAMPLES", 10_001)
    np.testing.assert_array_equal(DecaySlopeFeatures().fit_transform(X), whole)
    np.testing.assert_array_equal(DecaySlopeFeatures().fit_transform(np.array(X[:2])), whole[:2])
