"""An encoder and a head in one estimator: trained, frozen, calibrated and saved."""

from __future__ import annotations

import copy

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from toys import ENCODER, RATE, decaying_noise, fit_encoder, random_rt60

from roomacoustic_sk import ContrastiveRoomEncoder, RoomParameterEstimator, RoomRegressor, load, save
from roomacoustic_sk.features import DecaySlopeFeatures

HEAD = {
    "n_hidden": 16,
    "max_epochs": 3,
    "validation_fraction": 0,
    "random_state": 0,
    "target_transform": {"rt60_mid": "log"},
}


def targets_of(rt60):
    return pd.DataFrame({"rt60_mid": rt60, "c50": -8 - 12 * np.log(rt60)})


@pytest.fixture(scope="module")
def parts(room_grid):
    """A fitted encoder and a fitted head."""
    X, rt60, groups = room_grid
    encoder = fit_encoder(X, groups)
    return encoder, RoomRegressor(**HEAD).fit(encoder.transform(X), targets_of(rt60))


@pytest.fixture(scope="module")
def calibration():
    """Recordings of 20 rooms, a second long."""
    rt60 = np.repeat(random_rt60(20), 3)
    return decaying_noise(rt60, RATE), targets_of(rt60), np.repeat(np.arange(20), 3)


@pytest.fixture(scope="module")
def calibrated(parts, calibration):
    """Both parts in one, calibrated."""
    encoder, head = parts
    return (
        RoomParameterEstimator(FrozenEstimator(encoder), FrozenEstimator(copy.deepcopy(head)))
        .fit()
        .calibrate(*calibration)
    )


def test_fit_trains_clones_of_both_parts(room_grid, parts):
    X, rt60, groups = room_grid
    encoder, head = ContrastiveRoomEncoder(**ENCODER), RoomRegressor(**HEAD)
    estimator = RoomParameterEstimator(encoder, head).fit(X, targets_of(rt60), **groups)
    assert not hasattr(encoder, "module_")
    assert not hasattr(head, "module_")
    assert estimator.target_names_ == ["rt60_mid", "c50"]
    alone = RoomRegressor(**HEAD).fit(parts[0].transform(X), targets_of(rt60), **groups)
    np.testing.assert_array_equal(estimator.transform(X), parts[0].transform(X))
    np.testing.assert_array_equal(estimator.predict(X), alone.predict(parts[0].transform(X)))
    assert estimator.score(X, targets_of(rt60)) == alone.score(parts[0].transform(X), targets_of(rt60))


def test_frozen_parts_are_kept_and_fit_needs_no_data(parts, calibrated):
    assert calibrated.encoder_ is parts[0]
    X = decaying_noise([0.3, 0.6])
    np.testing.assert_array_equal(calibrated.predict(X), parts[1].predict(parts[0].transform(X)))


def test_a_frozen_encoder_stays_while_the_head_is_trained(room_grid, parts):
    X, rt60, groups = room_grid
    estimator = RoomParameterEstimator(
        FrozenEstimator(parts[0]), RoomRegressor(**HEAD | {"target_transform": "log"})
    ).fit(X, rt60, **groups)
    assert estimator.encoder_ is parts[0]
    assert estimator.predict(X).shape == (len(X), 1)


def test_intervals_use_the_quality_of_the_waveforms(calibrated, calibration):
    X = calibration[0][:5]
    embeddings, quality = calibrated.transform(X), calibrated.quality(X)
    expected = calibrated.head_.predict_interval(embeddings, 0.8, quality=quality)
    np.testing.assert_array_equal(calibrated.predict_interval(X, 0.8), expected)
    assert quality.shape == (5, 2)
    together = calibrated.estimate(embeddings, quality, 0.8)
    np.testing.assert_array_equal(together.values, calibrated.predict(X))
    np.testing.assert_array_equal(together.intervals, expected)
    np.testing.assert_array_equal(together.novelty, calibrated.novelty(X))


def test_recordings_of_any_length_are_taken(calibrated):
    long = decaying_noise([0.3], 3 * RATE)[0]
    assert calibrated.predict([long, long[:RATE]]).shape == (2, 2)
    assert calibrated.predict(long[None]).shape == (1, 2)


def test_a_saved_estimator_is_equal_to_the_last_bit(calibrated, calibration, tmp_path):
    save(calibrated, tmp_path / "rooms.rsk")
    again, X = load(tmp_path / "rooms.rsk"), calibration[0][:7]
    assert again.target_names_ == calibrated.target_names_
    assert again.sample_rate == RATE
    np.testing.assert_array_equal(again.predict(X), calibrated.predict(X))
    np.testing.assert_array_equal(again.predict_interval(X), calibrated.predict_interval(X))
    np.testing.assert_array_equal(again.novelty(X), calibrated.novelty(X))


def test_the_encoder_may_be_hand_crafted_features(room_grid):
    X, rt60, _ = room_grid
    estimator = RoomParameterEstimator(DecaySlopeFeatures(), RoomRegressor(**HEAD)).fit(X, targets_of(rt60))
    assert np.isfinite(estimator.predict(X)).all()


def test_wrong_parts_and_missing_data_are_refused(parts):
    encoder, head = parts
    with pytest.raises(TypeError, match="encoder must be a transformer of recordings"):
        RoomParameterEstimator(head, head).fit()
    with pytest.raises(TypeError, match="head must be a RoomRegressor"):
        RoomParameterEstimator(encoder, encoder).fit()
    with pytest.raises(ValueError, match="X must be given"):
        RoomParameterEstimator(FrozenEstimator(encoder), head).fit()
    with pytest.raises(NotFittedError):
        RoomParameterEstimator(FrozenEstimator(encoder), FrozenEstimator(clone(head))).fit()
    with pytest.raises(NotFittedError):
        RoomParameterEstimator(encoder, head).predict(decaying_noise([0.3]))
