"""Ensembles of heads: their average, their intervals, and how they are saved and passed on."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor, RoomRegressorEnsemble, load, save

HEAD = {"target_transform": {"rt60": "log"}, "batch_size": 64, "lr": 4e-3, "max_epochs": 8}


def rooms(n_rooms: int, seed: int) -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    """Return embeddings of two clips a room, two targets that partly depend on them, and the room of each."""
    rng = np.random.default_rng(seed)
    room = np.repeat(np.arange(n_rooms), 2)
    X = rng.standard_normal((2 * n_rooms, 6))
    noise = 0.3 * rng.standard_normal((2, 2 * n_rooms))
    y = {"rt60": np.exp(0.4 * X[:, 0] * X[:, 1] + noise[0]), "c50": 5 + 4 * X[:, 2] + noise[1]}
    return X, pd.DataFrame(y), room


@pytest.fixture(scope="module")
def data() -> tuple[np.ndarray, pd.DataFrame, np.ndarray]:
    return rooms(60, 0)


@pytest.fixture(scope="module")
def ensemble(data) -> RoomRegressorEnsemble:
    X, y, room = data
    fitted = RoomRegressorEnsemble(RoomRegressor(**HEAD, hold_out="room"), n_estimators=4, random_state=0)
    fitted.fit(X, y, room_groups=room)
    return fitted.calibrate(*rooms(60, 1))


def test_estimates_are_averaged_on_the_scale_that_is_learned(ensemble, data) -> None:
    X = data[0]
    of_heads = np.array([head.predict(X) for head in ensemble.estimators_])
    expected = np.column_stack([np.exp(np.log(of_heads[:, :, 0]).mean(axis=0)), of_heads[:, :, 1].mean(axis=0)])
    assert_allclose(ensemble.predict(X), expected, rtol=1e-6)
    assert ensemble.target_names_ == ["rt60", "c50"]
    assert len(ensemble.estimators_) == 4


def test_the_average_is_better_than_heads_are_on_average(ensemble) -> None:
    X, y, _ = rooms(200, 2)
    assert ensemble.score(X, y) > np.mean([head.score(X, y) for head in ensemble.estimators_])


def test_each_head_has_its_own_weights_and_held_out_rooms(ensemble, data) -> None:
    seeds = {head.random_state for head in ensemble.estimators_}
    assert len(seeds) == 4
    estimates = [head.predict(data[0][:1])[0, 0] for head in ensemble.estimators_]
    assert len(set(estimates)) == 4


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_seed_fixes_all_heads_whatever_the_number_of_jobs(ensemble, data, n_jobs: int) -> None:
    X, y, room = data
    head = RoomRegressor(**HEAD, hold_out="room")
    again = RoomRegressorEnsemble(head, n_estimators=4, n_jobs=n_jobs, random_state=0).fit(X, y, room_groups=room)
    assert_array_equal(again.predict(X), ensemble.predict(X))
    assert not hasattr(head, "module_")


def test_one_head_is_that_head(data) -> None:
    X, y, _ = data
    one = RoomRegressorEnsemble(RoomRegressor(**HEAD), n_estimators=1, random_state=3).fit(X, y)
    alone = RoomRegressor(**HEAD, random_state=one.estimators_[0].random_state).fit(X, y)
    assert_array_equal(one.predict(X), alone.predict(X))


def test_intervals_of_an_ensemble_hold_and_are_lost_with_a_fit(ensemble) -> None:
    X, y, _ = rooms(200, 3)
    bounds = ensemble.predict_interval(X, coverage=0.8)
    inside = (bounds[:, :, 0] <= y) & (y <= bounds[:, :, 1])
    assert_allclose(inside.mean(), 0.8, atol=0.08)
    assert ensemble.novelty(X).max() < 1
    assert ensemble.novelty(X + 50).min() > 0.95
    again = RoomRegressorEnsemble(RoomRegressor(**HEAD), n_estimators=1, random_state=0).fit(X, y)
    again.calibrate(*rooms(20, 4))
    with pytest.raises(NotFittedError, match="calibrate"):
        again.fit(X, y).predict_interval(X)


def test_a_saved_ensemble_is_equal_to_the_last_bit(ensemble, data, tmp_path) -> None:
    save(ensemble, tmp_path / "ensemble.rsk")
    loaded = load(tmp_path / "ensemble.rsk")
    for method in ("predict", "predict_interval", "novelty"):
        assert_array_equal(getattr(loaded, method)(data[0]), getattr(ensemble, method)(data[0]))
    assert loaded.n_features_in_ == 6
    assert loaded.get_params()["estimator__hold_out"] == "room"


def test_heads_of_other_data_are_no_ensemble(data, tmp_path) -> None:
    X, y, _ = data
    mixed = RoomRegressorEnsemble(RoomRegressor(**HEAD), n_estimators=2, random_state=0).fit(X, y)
    mixed.estimators_[1] = RoomRegressor(**HEAD, random_state=0).fit(X, y + 1)
    with pytest.raises(ValueError, match="estimators must be fitted on the same features and targets"):
        save(mixed, tmp_path / "mixed.rsk")


def test_a_grid_search_sweeps_heads_and_passes_labels_on(data) -> None:
    X, y, room = data
    head = RoomRegressorEnsemble(RoomRegressor(max_epochs=1, validation_fraction=0), random_state=0)
    pipe = Pipeline([("scale", StandardScaler()), ("reg", head)])
    grid = {"reg__n_estimators": [1, 2], "reg__estimator__lr": [1e-3]}
    search = GridSearchCV(pipe, grid, cv=GroupKFold(2)).fit(X, y, groups=room, reg__room_groups=room)
    assert search.best_params_["reg__n_estimators"] in (1, 2)
    with pytest.raises(ValueError, match="room_groups must be 1-D with 120 labels"):
        pipe.fit(X, y, reg__room_groups=room[1:])


class InterruptSecondFit(Callback):
    """Press Ctrl-C when a second net begins to train."""

    begun = 0

    def on_train_begin(self, net, **kwargs) -> None:
        InterruptSecondFit.begun += 1
        if InterruptSecondFit.begun == 2:
            raise KeyboardInterrupt


def test_ctrl_c_leaves_the_fit_before(data) -> None:
    X, y, _ = data
    ensemble = RoomRegressorEnsemble(RoomRegressor(**HEAD), n_estimators=2, random_state=0).fit(X, y)
    before = ensemble.predict(X)
    ensemble.set_params(estimator__callbacks=[InterruptSecondFit()], random_state=1)
    with pytest.raises(KeyboardInterrupt):
        ensemble.fit(X, y)
    assert InterruptSecondFit.begun == 2
    assert_array_equal(ensemble.predict(X), before)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"estimator": ContrastiveRoomEncoder()}, TypeError, "estimator must be None or a RoomRegressor, got a Contr"),
        (
            {"estimator": FrozenEstimator(RoomRegressor())},
            TypeError,
            "estimator must be None or a RoomRegressor, got a Froz",
        ),
        ({"estimator": RoomRegressor(lr=0)}, ValueError, "lr must be a number above 0, got 0"),
        ({"n_estimators": 0}, ValueError, "n_estimators must be a whole number of at least 1, got 0"),
        ({"n_jobs": 0}, ValueError, "n_jobs must be None, a number of jobs or -1"),
        ({"estimator": RoomRegressor(checkpoint_dir="kept")}, ValueError, "random_state"),
    ],
)
def test_invalid_parameters_are_named(data, parameters, error, message) -> None:
    with pytest.raises(error, match=f"^RoomRegressorEnsemble: .*{message}"):
        RoomRegressorEnsemble(**parameters).fit(*data[:2])


def test_an_unfitted_ensemble_refuses_to_predict(data) -> None:
    for method in ("predict", "predict_interval", "novelty"):
        with pytest.raises(NotFittedError):
            getattr(RoomRegressorEnsemble(), method)(data[0])
