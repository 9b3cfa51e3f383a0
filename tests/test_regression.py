"""Several targets and intervals of both regressors, and how they are used with scikit-learn."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from toys import CLIP, SUPERVISED, decaying_noise, random_rt60

from roomacoustic_sk import RoomRegressor, SupervisedRoomRegressor

LEARNING = {"batch_size": 64, "lr": 4e-3, "random_state": 0, "max_epochs": 12}
QUICK = {"max_epochs": 2, "random_state": 0}
N_ROOMS = 200  # for calibration


def embedded_rooms(n_rooms, n_clips=5, seed=0):
    """Return embeddings whose first numbers tell the room, rooms, targets, and the SNR that rules their errors."""
    rng = np.random.default_rng(seed)
    rooms = np.repeat(np.arange(n_rooms), n_clips)
    of_room = rng.standard_normal((n_rooms, 8))
    snr = rng.uniform(0, 30, len(rooms))
    error = (1 + 2 * (snr < 10)) * (rng.standard_normal(n_rooms)[rooms] + 0.3 * rng.standard_normal(len(rooms)))
    X = (of_room[rooms] + 0.05 * rng.standard_normal((len(rooms), 8))).astype(np.float32)
    log_rt60 = 0.5 * of_room[rooms, 0] + 0.1 * error
    y = pd.DataFrame({"rt60": np.exp(log_rt60), "c50": 5 + 4 * of_room[rooms, 1] + error, "volume": 100.0})
    return X, rooms, y[["rt60", "c50"]], snr[:, None]


@pytest.fixture(scope="module")
def data():
    """The rooms of the training."""
    return embedded_rooms(80)


@pytest.fixture(scope="module")
def head(data):
    """A head that was calibrated on other rooms, with the SNR as quality."""
    X, _, y, _ = data
    fitted = RoomRegressor(target_transform={"rt60": "log"}, **LEARNING).fit(X, y)
    X, rooms, y, snr = embedded_rooms(N_ROOMS, seed=1)
    return fitted.calibrate(X, y, rooms, quality=snr)


@pytest.fixture(scope="module")
def model():
    """A supervised regressor of two targets, and clips of new rooms with their targets."""
    rt60 = random_rt60(60)
    y = pd.DataFrame({"rt60": rt60, "drr": np.where(np.arange(60) % 3, -20 * np.log10(rt60), np.nan)})
    fitted = SupervisedRoomRegressor(**SUPERVISED, target_transform={"rt60": "log"}).fit(decaying_noise(rt60), y)
    new = random_rt60(30, seed=1)
    return fitted, decaying_noise(new, seed=1), pd.DataFrame({"rt60": new, "drr": -20 * np.log10(new)})


# --- Several targets ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["calibrate", "score"])
def test_masked_targets_are_refused_after_the_fit_as_well(method: str) -> None:
    X = np.random.default_rng(0).standard_normal((20, 4))
    head = RoomRegressor(max_epochs=1, validation_fraction=0, random_state=0).fit(X, X[:, :2])
    masked = np.ma.masked_array(X[:, :2], X[:, :2] > 1)
    given = (X, masked, np.arange(20)) if method == "calibrate" else (X, masked)
    with pytest.raises((ValueError, TypeError), match="y must not have masked values"):
        getattr(head, method)(*given)


def test_a_frame_of_targets_gives_columns_of_estimates_in_its_order(data):
    X, _, y, _ = data
    fitted = RoomRegressor(**LEARNING).fit(X, y)
    assert fitted.target_names_ == ["rt60", "c50"]
    assert fitted.predict(X).shape == (400, 2)
    swapped = RoomRegressor(**LEARNING).fit(X, y[["c50", "rt60"]])
    assert swapped.target_names_ == ["c50", "rt60"]
    assert np.corrcoef(swapped.predict(X)[:, 0], y["c50"])[0, 1] > 0.9
    assert RoomRegressor(**QUICK).fit(X, y["c50"]).predict(X).shape == (400,)


def test_a_frame_and_its_array_give_the_same_estimates(data):
    X, _, y, _ = data
    by_frame, by_array = (RoomRegressor(**QUICK).fit(X, targets).predict(X) for targets in (y, y.to_numpy()))
    np.testing.assert_array_equal(by_frame, by_array)


def test_nan_in_one_target_does_not_cost_the_recording_for_the_others(data):
    X, _, y, _ = data
    broken = y.copy()
    broken.loc[np.arange(400) % 2 == 0, "rt60"] = np.nan
    new, _, truth, _ = embedded_rooms(100, seed=2)
    full, partial = (RoomRegressor(**LEARNING).fit(X, targets).predict(new) for targets in (y, broken))
    r = [[np.corrcoef(found[:, i], truth.iloc[:, i])[0, 1] for i in range(2)] for found in (full, partial)]
    assert r[1][1] > r[0][1] - 0.02
    assert r[1][0] > r[0][0] - 0.1
    kept = RoomRegressor(**LEARNING).fit(X, y.assign(rt60=y["rt60"].where(np.arange(400) < 20)))
    assert np.corrcoef(kept.predict(new)[:, 1], truth["c50"])[0, 1] > r[0][1] - 0.02


def test_unknown_targets_do_not_reach_the_loss(data):
    """Whatever stands in rows that are unknown, two targets of the same values get the same estimates as one."""
    X, _, y, _ = data
    history = RoomRegressor(**QUICK).fit(X, y.assign(c50=y["c50"].where(np.arange(400) % 4 > 0))).history_
    assert np.isfinite(history[["train_loss", "valid_loss"]].to_numpy()).all()


def test_recordings_of_which_nothing_is_known_are_refused(data):
    X, _, y, _ = data
    broken = y.copy()
    broken.iloc[7] = np.nan
    for estimator in (RoomRegressor(**QUICK), SupervisedRoomRegressor(**SUPERVISED)):
        waves = X if isinstance(estimator, RoomRegressor) else decaying_noise(np.full(400, 0.3))
        with pytest.raises(ValueError, match=f"{type(estimator).__name__}: y must be finite, .* of all its targets"):
            estimator.fit(waves, broken)
        with pytest.raises(NotFittedError):
            estimator.predict(waves)


def test_score_is_the_mean_over_targets_each_on_its_known_values(head):
    X, _, y, _ = embedded_rooms(50, seed=3)
    estimates = head.predict(X)
    assert head.score(X, y) == r2_score(y, estimates)
    broken = y.copy()
    broken.loc[:100, "c50"] = np.nan
    broken.loc[200:, "rt60"] = np.nan
    expected = np.mean([r2_score(y["rt60"][:200], estimates[:200, 0]), r2_score(y["c50"][101:], estimates[101:, 1])])
    assert head.score(X, broken) == pytest.approx(expected)
    assert head.score(X, broken[["c50", "rt60"]]) == pytest.approx(expected)
    weights = np.linspace(0, 1, 250)
    expected = np.mean(
        [
            r2_score(y["rt60"][:200], estimates[:200, 0], sample_weight=weights[:200]),
            r2_score(y["c50"][101:], estimates[101:, 1], sample_weight=weights[101:]),
        ]
    )
    assert head.score(X, broken, sample_weight=weights) == pytest.approx(expected)
    broken["c50"] = np.where(np.arange(250) == 3, 1.0, np.nan)
    with pytest.warns(UndefinedMetricWarning, match="RoomRegressor: score is NaN: y has fewer than two known .*'c50'"):
        assert np.isnan(head.score(X, broken))


def test_a_grid_search_over_scales_works_with_unknown_targets(data):
    X, rooms, y, _ = data
    y = y.assign(c50=y["c50"].where(np.arange(400) % 5 > 0))
    pipe = Pipeline([("scale", StandardScaler()), ("reg", RoomRegressor(**LEARNING | {"max_epochs": 4}))])
    grid = {
        "reg__target_transform": ["identity", {"rt60": "log", "c50": "bounded"}],
        "reg__non_negative": [{"rt60": True}],
    }
    search = GridSearchCV(pipe, grid, cv=GroupKFold(3), error_score="raise").fit(X, y, groups=rooms)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(set(search.cv_results_["mean_test_score"])) == 2
    assert search.best_estimator_[-1].target_names_ == ["rt60", "c50"]


def test_a_target_transformed_from_outside_agrees_with_the_logarithm(data):
    X, _, y, _ = data
    outside = TransformedTargetRegressor(RoomRegressor(**QUICK), func=np.log, inverse_func=np.exp)
    inside = RoomRegressor(**QUICK, target_transform="log")
    expected = outside.fit(X, y["rt60"].to_numpy()).predict(X)
    np.testing.assert_allclose(inside.fit(X, y["rt60"]).predict(X), expected, rtol=1e-6)


def test_estimates_of_bounded_targets_do_not_run_away(data):
    X, _, y, _ = data
    free, bounded = (RoomRegressor(**LEARNING, target_transform=t).fit(X, y["c50"]) for t in ("identity", "bounded"))
    far = 40 * X
    low, high = y["c50"].min(), y["c50"].max()
    assert np.abs(free.predict(far)).max() > 3 * max(abs(low), abs(high))
    margin = 0.1 * (high - low) + 1e-3
    assert low - margin <= bounded.predict(far).min() < bounded.predict(far).max() <= high + margin


def test_a_supervised_regressor_learns_targets_with_unknown_values(model):
    fitted, X, y = model
    assert fitted.target_names_ == ["rt60", "drr"]
    assert fitted.predict(X).shape == (30, 2)
    assert (fitted.predict(X)[:, 0] > 0).all()
    assert np.isfinite(fitted.score(X, y.assign(drr=np.where(np.arange(30) > 9, y["drr"], np.nan))))


def test_a_warm_start_needs_the_targets_of_the_first_fit(model):
    _, X, y = model
    fitted = SupervisedRoomRegressor(**SUPERVISED | {"max_epochs": 0}, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match=r"y must have the same targets as in the first fit, \['rt60', 'drr'\]"):
        fitted.fit(X, y[["drr", "rt60"]])
    with pytest.raises(ValueError, match="target_transform must be unchanged to resume from a fitted estimator"):
        fitted.set_params(target_transform="log").fit(X, y)


# --- Intervals ------------------------------------------------------------------------------------------------------


def test_intervals_contain_the_estimates_and_cover_new_rooms(head):
    X, _, y, snr = embedded_rooms(1000, n_clips=1, seed=4)
    interval = head.predict_interval(X, quality=snr)
    assert interval.shape == (1000, 2, 2)
    estimates = head.predict(X)
    assert (interval[:, :, 0] < estimates).all()
    assert (estimates < interval[:, :, 1]).all()
    assert (interval[:, 0] > 0).all()  # the logarithm is learned
    covered = (interval[:, :, 0] <= y) & (y <= interval[:, :, 1])
    # The coverage of intervals from 200 rooms varies by 0.021 (a beta distribution), that in 1000 clips by 0.01.
    assert covered.mean().to_list() == pytest.approx([0.9, 0.9], abs=0.05)
    narrow = head.predict_interval(X, coverage=0.5, quality=snr)
    assert (np.diff(narrow) < np.diff(interval)).all()
    assert 0.4 < ((narrow[:, :, 0] <= y) & (y <= narrow[:, :, 1])).to_numpy().mean() < 0.65


def test_intervals_are_wider_at_a_low_snr(head):
    X, _, _, _ = embedded_rooms(100, n_clips=1, seed=5)
    noisy, quiet = (np.diff(head.predict_interval(X, quality=np.full((100, 1), snr))[:, 1]) for snr in (5.0, 25.0))
    assert np.median(noisy / quiet) > 1.5


def test_calibration_changes_neither_estimates_nor_parameters(data):
    X, rooms, y, _ = data
    fitted = RoomRegressor(**QUICK).fit(X, y)
    before, parameters = fitted.predict(X), fitted.get_params()
    weights = {name: value.clone() for name, value in fitted.module_.state_dict().items()}
    assert fitted.calibrate(X, y, rooms) is fitted
    assert np.array_equal(fitted.predict(X), before)
    assert fitted.get_params() == parameters
    assert all(np.array_equal(value, weights[name]) for name, value in fitted.module_.state_dict().items())


def test_calibrating_again_replaces_the_intervals_alone(data):
    X, _, y, _ = data
    fitted = RoomRegressor(**LEARNING).fit(X, y)
    widths = []
    for factor in (1, 2):
        own, rooms, truth, _ = embedded_rooms(40, seed=6)
        truth["c50"] = fitted.predict(own)[:, 1] + factor * (truth["c50"] - fitted.predict(own)[:, 1])
        widths.append(np.diff(fitted.calibrate(own, truth, rooms).predict_interval(X)).mean(axis=0)[:, 0])
    assert widths[1] / widths[0] == pytest.approx([1, 2], rel=1e-6)


def test_some_targets_are_enough_to_calibrate(head, data):
    own, rooms, y, snr = embedded_rooms(40, seed=6)
    both = copy.copy(head).calibrate(own, y, rooms, quality=snr).predict_interval(data[0], quality=data[3])
    for known in (y[["c50"]], y["c50"], y[["c50"]].assign(temperature=20.0)):
        some = copy.copy(head).calibrate(own, known, rooms, quality=snr).predict_interval(data[0], quality=data[3])
        assert np.isnan(some[:, 0]).all()
        assert np.array_equal(some[:, 1], both[:, 1])
    for wrong, message in (
        (y[["c50"]].set_axis(["C50"], axis=1), r"y must have the columns of the fit, \['rt60', 'c50'\], got none"),
        (y.rename(columns={"c50": "C 50"}), "y must name targets as the fit did, .*got 'C 50'. Rename it to 'c50'"),
        (y * np.nan, "y must have known values of a target, .*got only NaN"),
    ):
        with pytest.raises(ValueError, match=message):
            head.calibrate(own, wrong, rooms, quality=snr)


def test_targets_in_another_unit_are_doubted_in_calibrate(head):
    own, rooms, y, snr = embedded_rooms(40, seed=6)
    with pytest.warns(UserWarning, match=r"y should have the units of the fit, got .* for 'rt60'.*Is that ms"):
        copy.copy(head).calibrate(own, y.assign(rt60=1000 * y["rt60"]), rooms, quality=snr)


def test_without_calibration_an_error_names_calibrate(data):
    X, rooms, y, _ = data
    fitted = RoomRegressor(**QUICK)
    with pytest.raises(NotFittedError):
        fitted.predict_interval(X)
    fitted.fit(X, y)
    for method in ("predict_interval", "novelty"):
        with pytest.raises(NotFittedError, match=f"RoomRegressor: calibrate must be called before {method}"):
            getattr(fitted, method)(X)
    fitted.calibrate(X, y, rooms).predict_interval(X)
    with pytest.raises(NotFittedError, match="calibrate must be called before predict_interval"):
        fitted.fit(X, y).predict_interval(X)  # of another network


@pytest.mark.parametrize("n_rooms", [1, 8])
def test_below_9_rooms_intervals_are_nan_with_a_warning(data, n_rooms):
    X, rooms, y, _ = data
    fitted = RoomRegressor(**QUICK).fit(X, y)
    few = rooms < n_rooms
    message = f"RoomRegressor: room_groups of calibrate should name at least 9 rooms .*'rt60' in {n_rooms}, 'c50' in"
    with pytest.warns(UserWarning, match=message):
        fitted.calibrate(X[few], y[few], rooms[few])
    with pytest.warns(UserWarning, match=message):
        interval = fitted.predict_interval(X)
    assert interval.shape == (400, 2, 2)
    assert np.isnan(interval).all()


def test_a_target_that_few_rooms_know_is_nan_and_named(data):
    X, rooms, y, _ = data
    fitted = RoomRegressor(**QUICK).fit(X, y)
    with pytest.warns(UserWarning, match="got 'c50' in 5. Intervals of these targets are NaN"):
        fitted.calibrate(X, y.assign(c50=y["c50"].where(rooms < 5)), rooms)
    with pytest.warns(UserWarning, match="got 'c50' in 5"):
        interval = fitted.predict_interval(X)
    assert np.isfinite(interval[:, 0]).all()
    assert np.isnan(interval[:, 1]).all()
    with pytest.warns(UserWarning, match="at least 99 rooms .* for a coverage of 0.99, got 'rt60' in 80"):
        assert np.isnan(fitted.predict_interval(X, coverage=0.99)).all()


def test_intervals_of_a_pipeline_come_from_its_last_step(data):
    X, _, y, _ = data
    pipe = Pipeline([("scale", StandardScaler()), ("reg", RoomRegressor(**QUICK))]).fit(X, y)
    own, rooms, truth, _ = embedded_rooms(20, seed=7)
    pipe[-1].calibrate(pipe[:-1].transform(own), truth, rooms)
    interval = pipe[-1].predict_interval(pipe[:-1].transform(X))
    estimates = pipe.predict(X)[:, :, None]
    assert ((interval[..., :1] <= estimates) & (estimates <= interval[..., 1:])).all()


def test_unusual_embeddings_are_novel(head):
    X, _, _, _ = embedded_rooms(300, n_clips=1, seed=8)
    novelty = head.novelty(X)
    assert novelty.min() >= 0
    assert (novelty > 0.95).mean() < 0.1
    assert head.novelty(5 * X).min() > novelty.mean()
    np.testing.assert_allclose(head.novelty(100 * X), N_ROOMS / (N_ROOMS + 1))


def test_a_score_needs_a_target_for_each_recording(data):
    X, _, y, _ = data
    head = RoomRegressor(**QUICK).fit(X, y)
    unknown = y.copy()
    unknown.iloc[0, 1] = np.nan
    for targets in (y[: len(y) // 2], unknown[: len(y) // 2]):
        with pytest.raises(ValueError, match=rf"y must have one entry for each of the {len(X)} recordings in X, got"):
            head.score(X, targets)


def test_numbers_of_quality_are_found_by_name(head):
    X, rooms, y, snr = embedded_rooms(30, seed=10)
    snr = np.ravel(snr)
    quality = pd.DataFrame({"snr": snr, "seconds": np.linspace(1, 9, len(X))})
    other = clone(head).fit(X, y, rir_groups=rooms).calibrate(X, y, rooms, quality=quality)
    expected = other.predict_interval(X, quality=quality)
    assert np.array_equal(other.predict_interval(X, quality=quality[["seconds", "snr"]]), expected)
    assert np.array_equal(other.predict_interval(X, quality=quality.to_numpy()), expected)
    with pytest.raises(ValueError, match=r"quality must have the columns of calibrate, \['snr', 'seconds'\], got"):
        other.predict_interval(X, quality=quality.rename(columns={"snr": "SNR"}))
    numbered = quality.set_axis([1, 2], axis=1)
    other.calibrate(X, y, rooms, quality=numbered)
    assert np.array_equal(other.predict_interval(X, quality=numbered[[2, 1]]), expected)


def test_intervals_do_not_depend_on_how_rooms_are_spelled(head):
    X, rooms, y, snr = embedded_rooms(30, seed=10)
    spelled = np.array([f"room {29 - room}" for room in rooms])
    found = [pickle.loads(pickle.dumps(head)).calibrate(X, y, names, quality=snr) for names in (rooms, spelled)]
    first, second = (one.predict_interval(X, quality=snr) for one in found)
    assert np.array_equal(first, second)


def test_a_calibrated_head_survives_pickling_and_a_clone_is_new(head):
    X, _, _, snr = embedded_rooms(10, seed=9)
    again = pickle.loads(pickle.dumps(head))
    assert np.array_equal(again.predict_interval(X, quality=snr), head.predict_interval(X, quality=snr))
    assert np.array_equal(again.novelty(X), head.novelty(X))
    assert not hasattr(clone(head), "intervals_")


def test_a_supervised_regressor_offers_intervals_too(model):
    fitted, X, y = model
    before = fitted.predict(X)
    seconds = np.linspace(1, 9, 30)[:, None]
    fitted.calibrate(X, y, np.arange(30) // 2, quality=seconds)
    assert np.array_equal(fitted.predict(X), before)
    interval = fitted.predict_interval(X, coverage=0.8, quality=seconds)
    assert interval.shape == (30, 2, 2)
    assert ((interval[:, :, 0] <= before) & (before <= interval[:, :, 1])).all()
    noise = np.random.default_rng(0).standard_normal((5, CLIP)) * np.hanning(CLIP) ** 8
    with pytest.warns(UserWarning, match=r"at least 19 rooms for novelty to reach 0.95, got 15: it is at most 0.938"):
        assert fitted.novelty(noise).min() == 15 / 16
    long = fitted.predict_interval([np.tile(X[0], 3)], coverage=0.8, quality=seconds[:1])
    assert np.isfinite(long).all()


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"room_groups": None}, "room_groups must be given"),
        ({"room_groups": [1, 2]}, "room_groups must be 1-D with 400 labels"),
        ({"y": np.ones(400)}, r"y must have one column for each target of the fit, \['rt60', 'c50'\], got 1"),
        ({"X": np.ones((3, 8))}, "y must have one entry for each of the 3 recordings in X, got 400"),
        ({"quality": np.ones(400)}, r"quality must have the shape \(n_recordings, k\), with 400 recordings"),
        ({"quality": np.full((400, 1), np.nan)}, "quality must be finite"),
        ({"y": np.full((400, 2), "a")}, "y must be an array of numbers"),
    ],
)
def test_wrong_arguments_of_calibrate_are_named(head, data, change, message):
    X, rooms, y, _ = data
    with pytest.raises(ValueError, match=f"RoomRegressor: {message}"):
        head.calibrate(**{"X": X, "y": y, "room_groups": rooms} | change)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"coverage": 90}, "coverage must be a number above 0 and at most 1, got 90. It is a share"),
        ({"coverage": 1.0}, "coverage must be below 1, got 1"),
        ({"quality": None}, r"quality must be given if, and only if, calibrate was given it \(1 numbers\), got None"),
        ({"quality": np.ones((400, 2))}, "quality must have 1 numbers for each recording, as in calibrate, got 2"),
    ],
)
def test_wrong_arguments_of_predict_interval_are_named(head, data, arguments, message):
    with pytest.raises(ValueError, match=f"RoomRegressor: {message}"):
        head.predict_interval(data[0], **{"quality": data[3]} | arguments)


def test_fits_that_differ_in_a_dict_have_checkpoints_of_their_own(data, tmp_path):
    X, _, y, _ = data
    chosen = [(True, "identity"), (False, "identity"), (True, "log"), (True, "bounded")]
    options = [{"non_negative": {"rt60": flag}, "target_transform": {"rt60": name}} for flag, name in chosen]
    for i, option in enumerate(options, start=1):
        RoomRegressor(**QUICK, **option, checkpoint_dir=tmp_path).fit(X, y)
        assert len(list(tmp_path.glob("*.pt"))) == i
    RoomRegressor(**QUICK, **options[0], checkpoint_dir=tmp_path).fit(X, y)
    assert len(list(tmp_path.glob("*.pt"))) == len(options)
