"""Conformal intervals over rooms: the quantile against other libraries and by hand, coverage on drawn rooms."""

from __future__ import annotations

import numpy as np
import pytest
from crepes import ConformalRegressor
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge

from roomacoustic_sk.intervals import (
    FEWEST_ROOMS,
    Evidence,
    RoomIntervals,
    TrainingSpread,
    check_quality,
    ridge_path,
    room_quantile,
    rooms_needed,
)

SHARED = 0.7
"""Share of the variance of errors that the clips of a room have in common."""


def drawn_rooms(n_rooms, n_clips, seed, *, uneven=False):
    """Return evidence, absolute errors (n, 1), room labels and the quality number that rules the errors' size."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 2 * n_clips, n_rooms) if uneven else np.full(n_rooms, n_clips)
    rooms = np.repeat(np.arange(n_rooms), counts)
    n = len(rooms)
    quality = rng.uniform(-1, 1, (n, 2))  # as an SNR and a duration, in other units
    estimates = rng.standard_normal((n_rooms, 1))[rooms]
    coordinates = rng.standard_normal((n_rooms, 4))[rooms] + 0.5 * rng.standard_normal((n, 4))
    size = np.exp(1.2 * np.maximum(-quality[:, 0], 0) + 0.4 * estimates[:, 0] + 0.3 * coordinates[:, 0])
    common, own = rng.standard_normal(n_rooms)[rooms], rng.standard_normal(n)
    errors = np.abs(size * (np.sqrt(SHARED) * common + np.sqrt(1 - SHARED) * own))
    evidence = Evidence(estimates, coordinates, np.sqrt((coordinates**2).mean(axis=1)), 10 * quality + 20)
    return evidence, errors[:, None], rooms, quality[:, 0]


def unconditional(evidence):
    """Return evidence that says nothing."""
    n = len(evidence.estimates)
    return Evidence(np.zeros((n, 1)), np.zeros((n, 1)), np.ones(n))


# --- The quantile ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("n_rooms", [20, 47, 100, 251])  # crepes rounds 0.1 * 20 down to 1
def test_with_one_clip_a_room_the_quantile_is_that_of_crepes(n_rooms, coverage):
    errors = np.random.default_rng(n_rooms).exponential(size=n_rooms)
    intervals = ConformalRegressor().fit(errors).predict_int(np.zeros(1), confidence=coverage)
    found = room_quantile(errors, np.arange(n_rooms), coverage)
    np.testing.assert_allclose([[-found, found]], intervals)


@pytest.mark.parametrize("per_cent", [50, 75, 80, 90, 95, 96])
@pytest.mark.parametrize("n_rooms", [24, 25, 99, 199, 400])
def test_with_one_clip_a_room_the_quantile_is_exact(n_rooms, per_cent):
    errors = np.random.default_rng(n_rooms).exponential(size=n_rooms)
    rank = -(-(n_rooms + 1) * per_cent // 100)  # the smallest whole number of at least coverage * (K + 1)
    expected = np.sort(errors)[rank - 1] if rank <= n_rooms else np.inf
    assert room_quantile(errors, np.arange(n_rooms), per_cent / 100) == expected


def test_rooms_weigh_the_same_whatever_their_number_of_clips():
    scores, rooms = [1, 2, 3, 4, 10, 20], ["a", "a", "a", "a", "b", "c"]
    # Weights of a quarter for each room: 1/16 for each clip of "a", 1/4 for "b" and "c", 1/4 at infinity.
    expected = {1 / 16: 1, 2 / 16: 2, 0.2: 4, 0.25: 4, 0.26: 10, 0.5: 10, 0.51: 20, 0.75: 20, 0.76: np.inf}
    assert {coverage: room_quantile(scores, rooms, coverage) for coverage in expected} == expected


def test_the_quantile_neither_depends_on_order_nor_on_copies_of_clips():
    rng = np.random.default_rng(0)
    scores, rooms = rng.exponential(size=60), rng.integers(0, 25, 60)
    order = rng.permutation(60)
    expected = room_quantile(scores, rooms, 0.9)
    assert room_quantile(scores[order], rooms[order], 0.9) == expected
    assert room_quantile(np.tile(scores, 3), np.tile(rooms, 3), 0.9) == expected


@pytest.mark.parametrize(("coverage", "n_rooms"), [(0.5, 9), (0.9, 9), (0.91, 11), (0.95, 19), (0.99, 99)])
def test_the_rooms_needed_are_the_fewest_with_a_finite_quantile(coverage, n_rooms):
    assert rooms_needed(coverage) == n_rooms
    assert np.isfinite(room_quantile(np.arange(n_rooms), np.arange(n_rooms), coverage))
    if n_rooms > FEWEST_ROOMS:
        assert room_quantile(np.arange(n_rooms - 1), np.arange(n_rooms - 1), coverage) == np.inf


def test_a_quantile_over_clips_covers_too_little_if_rooms_share_errors():
    """By how much: 12 rooms of 50 clips, beside the quantile over rooms."""
    covered = {"clips": [], "rooms": []}
    for seed in range(300):
        rng = np.random.default_rng(seed)
        rooms = np.repeat(np.arange(12), 50)
        errors = np.abs(rng.standard_normal(13)[np.append(rooms, [12] * 50)] + 0.2 * rng.standard_normal(650))
        for name, labels in (("clips", np.arange(600)), ("rooms", rooms)):
            covered[name].append(np.mean(errors[600:] <= room_quantile(errors[:600], labels, 0.9)))
    # A quantile of 12 independent errors covers little more than 0.9 * 12 / 13 = 0.83.
    assert np.mean(covered["clips"]) < 0.87
    assert 0.9 <= np.mean(covered["rooms"]) < 0.97


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([], [], 0.9), "scores must be 1-D and finite"),
        (([np.nan], ["a"], 0.9), "scores must be 1-D and finite"),
        (([1.0], ["a", "b"], 0.9), "room_groups must be 1-D with 1 labels"),
        (([1.0], ["a"], 90), "coverage must be a number above 0 and at most 1, got 90. It is a share"),
        (([1.0], ["a"], 1.0), "coverage must be below 1, got 1"),
        (([1.0], ["a"], 0), "coverage must be a number above 0"),
    ],
)
def test_a_quantile_of_nonsense_is_refused(arguments, message):
    with pytest.raises(ValueError, match=f"room_quantile: {message}"):
        room_quantile(*arguments)


# --- Intervals ------------------------------------------------------------------------------------------------------


def test_a_constant_scale_gives_split_conformal_intervals():
    errors, rooms = np.random.default_rng(3).exponential(size=(50, 2)), np.arange(50)
    evidence = Evidence(np.zeros((50, 2)), np.zeros((50, 1)), np.ones(50))
    found = RoomIntervals.calibrated(evidence, errors, rooms).half_widths(evidence, 0.8)
    expected = [room_quantile(errors[:, i], rooms, 0.8) for i in range(2)]
    np.testing.assert_allclose(found, np.tile(expected, (50, 1)))


@pytest.mark.parametrize(("n_rooms", "n_clips", "uneven"), [(20, 4, False), (50, 4, True), (100, 1, False)])
def test_intervals_cover_90_per_cent_of_clips_of_new_rooms(n_rooms, n_clips, uneven):
    covered = []
    for seed in range(20):
        evidence, errors, rooms, _ = drawn_rooms(n_rooms, n_clips, seed, uneven=uneven)
        intervals = RoomIntervals.calibrated(evidence, errors, rooms)
        new, truth, _, _ = drawn_rooms(1000, 1, 1000 + seed)
        covered.append(np.mean(truth <= intervals.half_widths(new, 0.9)))
    # The mean of 20 draws has a standard error of about 0.01; with 20 rooms of several clips, coverage is above 0.9.
    assert 0.88 < np.mean(covered) < 0.955


def test_the_regression_of_the_scale_is_that_of_scikit_learn():
    rng = np.random.default_rng(0)
    X, y, weights = rng.standard_normal((40, 6)), rng.standard_normal(40), rng.uniform(0.1, 2, 40)
    X[:, 5] = X[:, 4]  # which has no unique solution without a penalty
    slopes, offsets = ridge_path(X, y, weights, [0.5, 20.0, np.inf])
    for i, penalty in enumerate((0.5, 20.0)):
        model = Ridge(penalty).fit(X, y, sample_weight=weights)
        np.testing.assert_allclose(slopes[:, i], model.coef_, atol=1e-9)
        assert offsets[i] == pytest.approx(model.intercept_)
    assert not slopes[:, 2].any()
    assert offsets[2] == pytest.approx(np.average(y, weights=weights))


def test_intervals_are_narrower_where_quality_is_high_and_cover_as_much():
    evidence, errors, rooms, _ = drawn_rooms(400, 2, 0)
    new, truth, _, quality = drawn_rooms(3000, 1, 1)
    half = RoomIntervals.calibrated(evidence, errors, rooms).half_widths(new, 0.9)
    plain = RoomIntervals.calibrated(unconditional(evidence), errors, rooms).half_widths(unconditional(new), 0.9)
    assert np.median(half) < 0.8 * np.median(plain)
    third = np.digitize(quality, np.quantile(quality, [1 / 3, 2 / 3]))
    covered, covered_plain = ([np.mean((truth <= width)[third == i]) for i in range(3)] for width in (half, plain))
    assert min(covered) > 0.85
    assert max(covered) < 0.95
    assert min(covered_plain) < 0.83  # the same width for all is too narrow where quality is low
    assert np.median(half[third == 0]) > 1.3 * np.median(half[third == 2])


def test_without_quality_the_width_still_follows_the_embedding():
    evidence, errors, rooms, _ = drawn_rooms(400, 2, 0)
    new = drawn_rooms(1000, 1, 1)[0]
    half = RoomIntervals.calibrated(evidence._replace(quality=None), errors, rooms).half_widths(
        new._replace(quality=None), 0.9
    )
    assert np.corrcoef(np.log(half[:, 0]), 0.4 * new.estimates[:, 0] + 0.3 * new.coordinates[:, 0])[0, 1] > 0.9


def test_widths_of_extreme_inputs_stay_within_those_of_the_calibration():
    evidence, errors, rooms, _ = drawn_rooms(100, 2, 0)
    intervals = RoomIntervals.calibrated(evidence, errors, rooms)
    known = intervals.half_widths(evidence, 0.9)
    far = Evidence(*(1e6 * part for part in evidence))
    assert intervals.half_widths(far, 0.9).max() <= 1.5 * known.max()


def test_each_target_is_calibrated_in_the_rooms_where_it_is_known():
    evidence, errors, rooms, _ = drawn_rooms(30, 3, 0)
    both = np.hstack([errors, errors])
    both[rooms >= 8, 1] = np.nan
    evidence = evidence._replace(estimates=np.hstack([evidence.estimates] * 2))
    intervals = RoomIntervals.calibrated(evidence, both, rooms)
    assert intervals.n_rooms().tolist() == [30, 8]
    half = intervals.half_widths(evidence, 0.9)
    assert np.isfinite(half[:, 0]).all()
    assert np.isnan(half[:, 1]).all()
    assert np.isnan(intervals.half_widths(evidence, 0.99)).all()  # which needs 99 rooms
    assert np.isnan(intervals.half_widths(evidence, 0.5)[:, 1]).all()


@pytest.mark.parametrize("n_rooms", [1, 2, 9])
def test_few_rooms_and_exact_estimates_raise_no_error(n_rooms):
    evidence, errors, rooms, _ = drawn_rooms(n_rooms, 3, 0)
    for some in (errors, np.zeros_like(errors)):
        half = RoomIntervals.calibrated(evidence, some, rooms).half_widths(evidence, 0.9)
        assert np.isfinite(half).all() == (n_rooms >= 9)


# --- How far an input lies from the training data -------------------------------------------------------------------


def test_distances_are_those_of_probabilistic_principal_components():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 40)) * np.geomspace(1, 0.01, 40)
    spread, model = TrainingSpread.of(X), PCA(16).fit(X)
    new = 2 * X[:50] + 0.1
    centred = new - model.mean_
    along = centred @ model.components_.T
    rest = model.noise_variance_ * 499 / 500
    expected = (along**2 / (model.explained_variance_ * 499 / 500)).sum(axis=1)
    expected += ((centred - along @ model.components_) ** 2).sum(axis=1) / rest
    np.testing.assert_allclose(spread.distances(new), np.sqrt(expected / 40), rtol=1e-3)


def test_distances_of_training_data_are_1_on_average_and_grow_outside():
    X = np.random.default_rng(0).standard_normal((1000, 30)) * np.geomspace(1, 0.01, 30)
    spread = TrainingSpread.of(X)
    assert np.mean(spread.distances(X) ** 2) == pytest.approx(1, rel=1e-6)
    assert spread.distances(10 * X).mean() > 9
    outside = X.copy()
    outside[:, -1] += 10  # where the training data hardly vary
    assert spread.distances(outside).min() > 10 * spread.distances(X).max()


@pytest.mark.parametrize("X", [np.zeros((5, 3)), np.eye(2), np.ones((4, 1))])
def test_data_without_spread_have_finite_distances(X):
    spread = TrainingSpread.of(X)
    assert np.isfinite(spread.distances(X)).all()
    assert (spread.distances(X + 10) > spread.distances(X) + 5).all()


def test_novelty_exceeds_a_level_in_as_many_new_rooms_as_it_says():
    exceeded = []
    for seed in range(30):
        evidence, errors, rooms, _ = drawn_rooms(60, 3, seed)
        intervals = RoomIntervals.calibrated(evidence, errors, rooms)
        new = drawn_rooms(500, 1, 1000 + seed)[0]
        exceeded.append(np.mean(intervals.novelty(new.distances) > 0.9))
    assert 0.05 < np.mean(exceeded) <= 0.105
    assert intervals.novelty(np.array([0.0, 1e9])) == pytest.approx([0, 60 / 61])
    closest, second = np.sort(intervals.distances)[:2]  # only those that lie closer count
    assert intervals.novelty(np.array([closest, second])) == pytest.approx([0, 1 / 3 / 61])


# --- Quality --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("quality", "message"),
    [
        ([1.0, 2.0, 3.0], r"quality must have the shape \(n_recordings, k\), with 3 recordings"),
        ([[1.0]], r"quality must have the shape \(n_recordings, k\), with 3 recordings"),
        (np.empty((3, 0)), r"quality must have the shape"),
        ([[1.0], [np.nan], [2.0]], "quality must be finite, got NaN or infinity in row 1"),
        ([[1.0], [1e200], [2.0]], "quality must be at most 1e\\+100, got 1e\\+200. Scale it"),
        ([["a"], ["b"], ["c"]], "quality must be an array of numbers"),
    ],
)
def test_quality_of_a_wrong_shape_or_not_finite_is_refused(quality, message):
    with pytest.raises(ValueError, match=message):
        check_quality(quality, 3)
