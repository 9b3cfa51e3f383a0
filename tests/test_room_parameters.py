"""`RoomParameterEstimator` hears speech alone, of any length, and is an encoder and a head in one."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from toys import RATE, fit_encoder

from roomacoustic_sk import ContrastiveRoomEncoder, RoomParameterEstimator, RoomRegressor, load, save
from roomacoustic_sk.room_parameters import hear_waveforms

N_ROOMS = 20


def spoken(seconds: float, rt60: float, seed: int) -> np.ndarray:
    """Return bursts of noise through a decay."""
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * RATE)) / RATE
    dry = rng.standard_normal(len(time)) * (np.sin(2 * np.pi * 1.7 * time) > 0.3)
    decay = 10 ** (-3 * np.arange(RATE // 2) / RATE / rt60) * rng.standard_normal(RATE // 2)
    n = len(time) + len(decay)
    wet = np.fft.irfft(np.fft.rfft(dry, n) * np.fft.rfft(decay, n), n)[: len(time)]
    return (wet / np.abs(wet).max() + 1e-4 * rng.standard_normal(len(time))).astype(np.float32)


@pytest.fixture(scope="module")
def recordings() -> tuple[list[np.ndarray], pd.DataFrame, np.ndarray]:
    """X of different lengths, targets and rooms."""
    room = np.repeat(np.arange(N_ROOMS), 3)
    rt60 = np.geomspace(0.1, 0.9, N_ROOMS)[room]
    X = [spoken(1.0 + 0.25 * (i % 5), t, i) for i, t in enumerate(rt60)]
    return X, pd.DataFrame({"rt60_mid": rt60, "c50": -20 * np.log10(rt60)}), room


@pytest.fixture(scope="module")
def estimator(recordings) -> RoomParameterEstimator:
    X, y, room = recordings
    encoder = ContrastiveRoomEncoder(
        network="compact",
        n_classes=6,
        n_views=2,
        validation_fraction=0,
        max_epochs=0,
        segment_duration=1.0,
        random_state=0,
    )
    head = RoomRegressor(target_transform={"rt60_mid": "log"}, validation_fraction=0, max_epochs=30, random_state=0)
    return RoomParameterEstimator(encoder, head).fit(X, y, rir_groups=room).calibrate(X, y, room)


def test_estimates_intervals_and_novelty_come_from_one_pass(estimator, recordings) -> None:
    X, y, _ = recordings
    found = estimator.estimate(X)
    assert estimator.target_names_ == ["rt60_mid", "c50"]
    assert_array_equal(found.values, estimator.predict(X))
    assert_array_equal(found.intervals, estimator.predict_interval(X))
    assert_array_equal(found.novelty, estimator.novelty(X))
    assert estimator.score(X, y) > 0.3
    assert (found.intervals[..., 0] < found.values).all()


def test_a_head_that_is_handed_over_keeps_its_intervals(estimator, recordings) -> None:
    X, y, room = recordings
    head = RoomRegressor(validation_fraction=0, max_epochs=1, random_state=0)
    embeddings = estimator.encoder_.transform(X)
    head.fit(embeddings, y, rir_groups=room).calibrate(embeddings, y, room)
    before = head.predict_interval(embeddings)
    together = RoomParameterEstimator.of_fitted(estimator.encoder_, head).calibrate(X, y, room)
    assert_array_equal(head.predict_interval(embeddings), before)
    assert np.isfinite(together.predict_interval(X)).all()


def test_long_pauses_change_nothing(estimator) -> None:
    speech, rng = spoken(3.0, 0.4, 0), np.random.default_rng(0)
    pause = (1e-4 * rng.standard_normal(6 * RATE)).astype(np.float32)
    with_pause = np.concatenate([speech, pause])
    apart, joined = (
        estimator.transform([np.concatenate([speech, pause[: 2 * RATE]])]),
        estimator.transform([with_pause]),
    )
    assert float((apart * joined).sum()) > 0.999


class OneForEach:
    """An encoder that gives each recording a dimension of its own."""

    sample_rate = RATE
    module_ = SimpleNamespace(min_times=RATE // 2)

    def transform(self, recordings):
        return np.eye(len(recordings), dtype=np.float32)


def test_stretches_are_averaged_by_their_duration() -> None:
    pause = np.zeros(5 * RATE, dtype=np.float32)
    heard = hear_waveforms(OneForEach(), [np.concatenate([spoken(4.0, 0.2, 0), pause, spoken(2.0, 0.8, 1)])])
    share = heard.embeddings[0, 0] / heard.embeddings[0].sum()
    assert heard.embeddings.shape == (1, 2)
    assert_allclose(share, 4 / 6, atol=0.05)
    assert_allclose(np.linalg.norm(heard.embeddings[0]), 1, rtol=1e-6)


def test_quality_is_seconds_of_speech_and_snr(estimator) -> None:
    rng = np.random.default_rng(0)
    clean = spoken(3.0, 0.1, 0)
    noisy = (clean + 0.1 * np.sqrt(np.mean(clean**2)) * rng.standard_normal(len(clean))).astype(np.float32)
    short = clean[: len(clean) // 2]
    quality = hear_waveforms(estimator.encoder_, [clean, noisy, short]).quality
    assert quality[1, 1] < quality[0, 1] - 5
    assert quality[2, 0] < quality[0, 0] - 0.4


@pytest.mark.parametrize("frozen", [False, True])
def test_a_saved_estimator_is_equal_to_the_last_bit(estimator, recordings, tmp_path, frozen: bool) -> None:
    X, _, _ = recordings
    if frozen:
        estimator = RoomParameterEstimator.of_fitted(estimator.encoder_, estimator.head_)
    save(estimator, tmp_path / "room.rsk")
    loaded = load(tmp_path / "room.rsk")
    before, after = estimator.estimate(X), loaded.estimate(X)
    for one, other in zip(before, after, strict=True):
        assert_array_equal(one, other)


def test_frozen_parts_stay_as_they_are(estimator, recordings) -> None:
    X, y, _ = recordings
    again = RoomParameterEstimator(FrozenEstimator(estimator.encoder_), FrozenEstimator(estimator.head_)).fit(X, y)
    assert again.encoder_ is estimator.encoder_
    assert_array_equal(again.predict(X[:3]), estimator.predict(X[:3]))
    other = RoomParameterEstimator(
        FrozenEstimator(estimator.encoder_), RoomRegressor(validation_fraction=0, max_epochs=1)
    ).fit(X, y["c50"])
    assert other.predict(X[:3]).shape == (3,)


def test_fit_leaves_its_parts_unfitted_and_clones(estimator) -> None:
    assert not hasattr(estimator.encoder, "module_")
    assert not clone(estimator).__sklearn_is_fitted__()
    with pytest.raises(NotFittedError):
        clone(estimator).predict([np.zeros(RATE, dtype=np.float32)])


def test_an_uncalibrated_head_gives_no_intervals(estimator, recordings) -> None:
    X, y, _room = recordings
    head = RoomRegressor(validation_fraction=0, max_epochs=1, random_state=0).fit(estimator.transform(X), y)
    fresh = RoomParameterEstimator.of_fitted(estimator.encoder_, head)
    assert np.isnan(fresh.estimate(X[:2]).intervals).all()
    with pytest.raises(NotFittedError, match="calibrate"):
        fresh.predict_interval(X[:2])


def test_other_parts_are_refused(recordings) -> None:
    X, y, _ = recordings
    head, encoder = RoomRegressor(), ContrastiveRoomEncoder()
    with pytest.raises(TypeError, match=r"encoder must be a ContrastiveRoomEncoder.*got a RoomRegressor"):
        RoomParameterEstimator(head, head).fit(X, y)
    with pytest.raises(TypeError, match=r"head must be a RoomRegressor.*got a ContrastiveRoomEncoder"):
        RoomParameterEstimator(encoder, encoder).fit(X, y)
    with pytest.raises(NotFittedError):
        RoomParameterEstimator.of_fitted(encoder, head)


def test_labels_reach_encoder_and_head(bursts) -> None:
    X, groups = bursts
    encoder = fit_encoder(X, groups, network="compact")
    estimator = RoomParameterEstimator(
        clone(encoder), RoomRegressor(validation_fraction=0, max_epochs=1, random_state=0)
    )
    estimator.fit(X, np.arange(len(X), dtype=float), **groups)
    assert_array_equal(estimator.encoder_.transform(X), encoder.transform(X))
