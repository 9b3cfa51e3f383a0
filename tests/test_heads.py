"""The regression and classification heads on known functions."""

from __future__ import annotations

import contextlib
import pickle
import warnings

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.ensemble import BaggingRegressor
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_val_score
from torch import nn
from toys import BatchWatcher, Interrupter, outputs

from roomacoustic_sk import RoomClassifier, RoomRegressor
from roomacoustic_sk.metrics import rmse_scorer

HEADS = [RoomRegressor, RoomClassifier]
QUICK = {"max_epochs": 3, "random_state": 0}
LEARNING = {"batch_size": 64, "lr": 4e-3, "random_state": 0}  # in few steps


def embeddings(n_items=300, seed=0):
    """Return unit vectors of 8 numbers, as an encoder gives them."""
    X = np.random.default_rng(seed).standard_normal((n_items, 8))
    return (X / np.linalg.norm(X, axis=1, keepdims=True)).astype(np.float32)


def reverberation_time(X):
    """A curved function of the embedding, in s."""
    return np.exp(1.5 * X[:, 0] * X[:, 1] + X[:, 2])


def size(X):
    """Three classes of rooms."""
    return np.array(["large", "medium", "small"])[np.digitize(X[:, 0], [-0.2, 0.2])]


def targets(head, X):
    return reverberation_time(X) if head is RoomRegressor else size(X)


@pytest.fixture(scope="module")
def data():
    return embeddings(), embeddings(200, seed=1)


# --- Regression -----------------------------------------------------------------------------------------------------


def test_a_regressor_learns_a_curved_function_better_than_a_linear_one():
    X, new = embeddings(800), embeddings(300, seed=1)
    y, true = reverberation_time(X), reverberation_time(new)
    head = RoomRegressor(**LEARNING, max_epochs=20).fit(X, y)
    assert head.score(new, true) > 0.9 > LinearRegression().fit(X, y).score(new, true)


def test_a_regressor_learns_several_targets_of_different_units_at_once(data):
    X, new = data
    truth = [np.stack([reverberation_time(x), 30 * x[:, 3] - 5, 5_000 + 2_000 * x[:, 4]], axis=1) for x in data]
    head = RoomRegressor(**LEARNING, max_epochs=40).fit(X, truth[0])
    predicted = head.predict(new)
    assert predicted.shape == (200, 3)
    assert r2_score(truth[1], predicted, multioutput="raw_values").min() > 0.75


def test_the_shape_of_the_targets_is_kept(data):
    X, y = data[0], reverberation_time(data[0])
    assert RoomRegressor(**QUICK).fit(X, y).predict(X).shape == (300,)
    assert RoomRegressor(**QUICK).fit(X, y[:, None]).predict(X).shape == (300, 1)


@pytest.mark.parametrize("non_negative", [False, True])
def test_estimates_scale_with_the_unit_of_the_targets(data, non_negative):
    X, y = data[0], reverberation_time(data[0])
    seconds = RoomRegressor(**QUICK, non_negative=non_negative).fit(X, y).predict(X)
    milliseconds = RoomRegressor(**QUICK, non_negative=non_negative).fit(X, 1_000 * y).predict(X)
    np.testing.assert_allclose(milliseconds, 1_000 * seconds, rtol=1e-3, atol=1e-2)
    if not non_negative:
        shifted = RoomRegressor(**QUICK).fit(X, y - 40).predict(X)
        np.testing.assert_allclose(shifted, seconds - 40, atol=1e-4)


def test_estimates_do_not_depend_on_the_scale_and_offset_of_the_features(data):
    X, y = data[0].astype(np.float64), reverberation_time(data[0])
    expected = RoomRegressor(**QUICK).fit(X, y).predict(X)
    scale, offset = np.geomspace(1e-6, 1e6, 8), np.linspace(-5, 5, 8)
    changed = scale * (X + offset)
    np.testing.assert_allclose(RoomRegressor(**QUICK).fit(changed, y).predict(changed), expected, rtol=1e-3, atol=1e-3)


def test_constant_features_and_targets_are_accepted(data):
    X, y = data[0].copy(), reverberation_time(data[0])
    X[:, 3] = 7.0
    assert np.isfinite(RoomRegressor(**QUICK).fit(X, y).predict(X)).all()
    constant = RoomRegressor(**QUICK).fit(X, np.full(300, 2.5)).predict(X)
    np.testing.assert_allclose(constant, 2.5, atol=0.5)


def test_non_negative_heads_learn_and_never_go_below_zero():
    X, new = embeddings(600), embeddings(300, seed=1)
    y, true = (np.maximum(5 * x[:, 0] + 5 * x[:, 1], 0.0) for x in (X, new))  # half of them are 0
    free = RoomRegressor(**LEARNING, max_epochs=20).fit(X, y)
    kept = RoomRegressor(**LEARNING, max_epochs=20, non_negative=True).fit(X, y)
    assert free.predict(new).min() < 0
    assert 0 <= kept.predict(new).min() < 1e-6
    assert kept.score(new, true) > 0.95
    assert kept.history_["valid_loss"].min() < 0.1 * kept.history_["valid_loss"].iloc[0]
    far = 100 * embeddings(300, seed=2)
    assert 0 <= kept.predict(far).min() < 1e-6


def test_the_floor_also_acts_in_training(data):
    X = data[0]
    head = RoomRegressor(**QUICK, non_negative=True).fit(X, np.maximum(X[:, 0], 0))
    floor = head.net_.module_[-1].floor.item()
    with torch.inference_mode():
        assert head.net_.module_(torch.randn(500, 8) * 10).min().item() == floor
    assert floor == pytest.approx(-np.maximum(X[:, 0], 0).mean() / np.maximum(X[:, 0], 0).std(), rel=1e-5)


def test_each_target_has_its_own_floor(data):
    X, new = data
    y = np.stack([np.maximum(5 * X[:, 0], 0), 1_000 + 3_000 * np.abs(X[:, 1])], axis=1)
    predicted = RoomRegressor(max_epochs=15, non_negative=True, random_state=0).fit(X, y).predict(new)
    assert 0 <= predicted.min(axis=0)[0] < 1e-6
    assert r2_score(np.maximum(5 * new[:, 0], 0), predicted[:, 0]) > 0.8


# --- Classification -------------------------------------------------------------------------------------------------


def test_a_classifier_learns_classes_named_by_strings(data):
    X, new = data
    head = RoomClassifier(**LEARNING, max_epochs=30).fit(X, size(X))
    assert head.classes_.tolist() == ["large", "medium", "small"]
    assert set(head.predict(new)) == {"large", "medium", "small"}
    assert head.score(new, size(new)) > 0.85


@pytest.mark.parametrize(
    "name", [lambda y: y == "large", lambda y: np.where(y == "large", 7, -3), lambda y: np.array(y, dtype=object)]
)
def test_classes_keep_their_kind(data, name):
    X = data[0]
    y = name(size(X))
    head = RoomClassifier(max_epochs=10, random_state=0).fit(X, y)
    np.testing.assert_array_equal(head.classes_, np.unique(y))
    assert head.predict(X).dtype == np.unique(y).dtype
    assert head.score(X, y) > 0.8


def test_probabilities_sum_to_1_and_the_likeliest_class_is_predicted(data):
    X, new = data
    head = RoomClassifier(**QUICK).fit(X, size(X))
    probabilities = head.predict_proba(new)
    assert probabilities.shape == (200, 3)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-12)
    assert probabilities.min() >= 0
    np.testing.assert_array_equal(head.classes_[probabilities.argmax(axis=1)], head.predict(new))
    with pytest.warns(UserWarning, match="X should resemble the features of the fit"):
        np.testing.assert_allclose(head.predict_proba(1e6 * new).sum(axis=1), 1)


def test_probabilities_are_calibrated_on_labels_drawn_by_chance():
    X = np.zeros((2_000, 2), np.float32)
    y = np.random.default_rng(0).random(2_000) < 0.3
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # constant features must not divide by zero
        probabilities = RoomClassifier(**LEARNING, max_epochs=5).fit(X, y).predict_proba(X[:1])
    assert probabilities[0, 1] == pytest.approx(0.3, abs=0.06)


# --- Training -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_heads_are_the_papers_network(head, data):
    X = np.tile(data[0], 8)  # 64 features
    fitted = head(**QUICK).fit(X, reverberation_time(X) if head is RoomRegressor else X[:, 0] > 0)
    layers = [layer for layer in fitted.net_.module_.modules() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in layers] == [256, 256, 1 if head is RoomRegressor else 2]
    if head is RoomRegressor:
        assert sum(p.numel() for p in fitted.net_.module_.parameters()) == 82_689
    assert isinstance(fitted.net_.optimizer_, torch.optim.Adam)
    assert fitted.net_.optimizer_.param_groups[0]["lr"] == 1e-3


@pytest.mark.parametrize("head", HEADS)
def test_each_recording_is_seen_once_an_epoch_in_batches_of_16_at_most(head, data):
    X, watcher = data[0], BatchWatcher()
    head(max_epochs=2, random_state=0, validation_fraction=0.1, callbacks=[watcher]).fit(X, targets(head, X))
    sizes = [len(inputs) for inputs, _ in watcher.seen[True]]
    assert len(sizes) == 2 * 17
    assert set(sizes) == {15, 16}
    for epoch in (watcher.seen[True][:17], watcher.seen[True][17:]):
        assert len(set(recordings_of(epoch, X))) == 270


@pytest.mark.parametrize("head", HEADS)
def test_a_seed_determines_the_head_to_the_last_bit(head, data):
    X, new = data
    found = [
        outputs(head(max_epochs=2, random_state=seed).fit(X, targets(head, X)), new)
        for seed in (3, 3, np.random.RandomState(3), 4)
    ]
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert not np.allclose(found[0], found[3])


@pytest.mark.parametrize("head", HEADS)
def test_global_generators_neither_change_nor_matter(head, data):
    X = data[0]
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first = outputs(head(**QUICK).fit(X, targets(head, X)), X)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    torch.manual_seed(99)
    assert np.array_equal(outputs(head(**QUICK).fit(X, targets(head, X)), X), first)


@pytest.mark.parametrize("head", HEADS)
def test_training_stops_early_and_keeps_the_best_weights(head):
    X = embeddings(400)
    rng = np.random.default_rng(0)
    y = rng.normal(size=400) if head is RoomRegressor else rng.integers(0, 2, 400)  # nothing can be learned
    fitted = head(max_epochs=100, patience=3, validation_fraction=0.5, random_state=0).fit(X, y)
    losses = fitted.history_["valid_loss"]
    assert fitted.n_iter_ == len(losses) == losses.idxmin() + 1 + 3 < 100

    # The recordings to hold out are drawn first, from the seed.
    held_out = np.random.RandomState(0).permutation(400)[:200]
    found, expected = outputs(fitted, X)[held_out], y[held_out]
    if head is RoomRegressor:
        loss = np.mean((found - expected) ** 2) / y.var()
    else:
        loss = -np.log(found[np.arange(200), expected]).mean()
    assert loss == pytest.approx(losses.min(), rel=1e-4)


def recordings_of(batches, X):
    """Return the indices in `X` of the items of batches, recognised by their first feature."""
    known = ((X[:, 0] - X[:, 0].mean()) / X[:, 0].std()).astype(np.float32)
    seen = np.concatenate([inputs[:, 0] for inputs, _ in batches])
    return np.abs(known[:, None] - seen).argmin(axis=0)


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("hold_out", ["source", "rir", "room"])
def test_hold_out_takes_whole_labels_of_the_named_kind(head, hold_out):
    X, wholes, others = embeddings(), np.arange(300) // 10, np.arange(300) % 7
    labels = {f"{name}_groups": wholes if name == hold_out else others for name in ("source", "rir", "room")}
    watcher = BatchWatcher()
    head(**QUICK | {"max_epochs": 1}, hold_out=hold_out, callbacks=[watcher]).fit(X, targets(head, X), **labels)
    trained, validated = (recordings_of(watcher.seen[training], X) for training in (True, False))
    assert np.array_equal(np.sort(np.concatenate([trained, validated])), np.arange(300))
    assert not set(wholes[trained]) & set(wholes[validated])
    assert len(set(wholes[validated])) == 3  # a tenth of 30


@pytest.mark.parametrize("head", HEADS)
def test_missing_labels_to_hold_out_are_refused(head, data):
    X = data[0]
    with pytest.raises(ValueError, match="room_groups must be given if hold_out='room', got None"):
        head(**QUICK, hold_out="room").fit(X, targets(head, X), rir_groups=np.arange(300))
    with pytest.raises(ValueError, match=r"rir_groups must have at least 3 different labels if hold_out='rir'.* got 2"):
        head(**QUICK, hold_out="rir").fit(X, targets(head, X), rir_groups=np.arange(300) % 2)
    with pytest.raises(ValueError, match=r"hold_out must be one of .'source', 'rir', 'room'., got 'speaker'"):
        head(**QUICK, hold_out="speaker").fit(X, targets(head, X))
    with pytest.raises(ValueError, match=r"rir_groups must be 1-D with 300 labels"):
        head(**QUICK).fit(X, targets(head, X), rir_groups=[1, 2])


def test_bagged_heads_are_averaged_and_hold_out_different_labels():
    class SharedWatcher(BatchWatcher):
        seen: dict = {True: [], False: []}  # noqa: RUF012 - shared by clones on purpose

        def on_train_begin(self, net, **kwargs):
            pass

    X, rir, watcher = embeddings(), np.arange(300) // 10, SharedWatcher()
    head = RoomRegressor(**QUICK | {"max_epochs": 1}, hold_out="rir", callbacks=[watcher])
    several = BaggingRegressor(head, n_estimators=3, bootstrap=False, random_state=0)
    with sklearn.config_context(enable_metadata_routing=True):
        several.fit(X, targets(RoomRegressor, X), rir_groups=rir)
    alone = [one.predict(X) for one in several.estimators_]
    np.testing.assert_allclose(several.predict(X), np.mean(alone, axis=0), rtol=1e-6)
    assert np.std(alone, axis=0).min() > 0
    validated = recordings_of(watcher.seen[False], X)
    for part in np.split(validated, 3):
        assert len(part) == 30
        assert len(set(rir[part])) == 3
    assert len(set(rir[validated])) > 3


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(("n_items", "fraction"), [(300, 0), (99, 0.09), (20, 0.4)])
def test_without_enough_to_hold_out_the_training_loss_decides(head, n_items, fraction):
    X = embeddings(n_items)
    said = contextlib.nullcontext()
    if fraction:
        n_held_out = round(fraction * n_items)
        message = (
            f"{head.__name__}: no validation: validation_fraction={fraction} holds out {n_held_out} of {n_items} "
            "recordings"
        )
        said = pytest.warns(UserWarning, match=message)
    with said:
        history = head(**QUICK, validation_fraction=fraction).fit(X, targets(head, X)).history_
    assert list(history.columns) == ["epoch", "train_loss", "valid_loss", "dur"]
    assert history["valid_loss"].isna().all()
    assert history["train_loss"].notna().all()


@pytest.mark.parametrize("head", HEADS)
def test_an_interrupted_fit_keeps_the_completed_epochs(head, data):
    X, fitted = data[0], head(random_state=0, callbacks=[Interrupter(18)])  # the first step of the second epoch
    with (
        pytest.raises(KeyboardInterrupt),
        pytest.warns(ConvergenceWarning, match="Training was interrupted after 1 whole epochs"),
    ):
        fitted.fit(X, targets(head, X))
    one_epoch = head(random_state=0, max_epochs=1).fit(X, targets(head, X))
    assert np.array_equal(outputs(fitted, X), outputs(one_epoch, X))


@pytest.mark.parametrize("head", HEADS)
def test_a_progress_bar_is_shown_only_with_verbose(head, data, capsys):
    X = data[0]
    head(**QUICK).fit(X, targets(head, X))
    assert capsys.readouterr() == ("", "")
    head(**QUICK, verbose=1).fit(X, targets(head, X))
    out, err = capsys.readouterr()
    assert out == ""
    assert "head: 100%" in err


# --- Life in scikit-learn -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("verbose", [0, 1])
def test_heads_can_be_cloned_pickled_and_fitted_again(head, data, verbose):
    X, new = data
    fitted = head(**QUICK, verbose=verbose).fit(X, targets(head, X))
    expected = fitted.predict(new)
    assert np.array_equal(pickle.loads(pickle.dumps(fitted)).predict(new), expected)
    copy = clone(fitted)
    assert not hasattr(copy, "net_")
    assert np.array_equal(copy.fit(X, targets(head, X)).predict(new), expected)
    assert np.array_equal(fitted.fit(X, targets(head, X)).predict(new), expected)


def test_a_pickled_head_holds_no_training_data():
    X = embeddings(20_000)
    pickled = pickle.dumps(RoomRegressor(max_epochs=1, batch_size=1024, n_hidden=16).fit(X, X[:, 0]))
    assert len(pickled) < 50_000 < X.nbytes


def test_heads_work_in_cross_validation_and_grid_search(data):
    X = data[0]
    search = GridSearchCV(RoomRegressor(**QUICK), {"n_hidden": [8, 64]}, scoring=rmse_scorer, cv=2, error_score="raise")
    assert search.fit(X, reverberation_time(X)).best_params_ == {"n_hidden": 64}
    scores = cross_val_score(RoomClassifier(**QUICK), X, size(X), cv=2, error_score="raise")
    assert scores.min() > 0.4


@pytest.mark.parametrize("head", HEADS)
def test_lists_and_double_precision_are_accepted(head, data):
    X, y = data[0], targets(head, data[0])
    expected = outputs(head(**QUICK).fit(X, y), X)
    fitted = head(**QUICK).fit(X.astype(np.float64).tolist(), y.tolist())
    np.testing.assert_allclose(outputs(fitted, X.tolist()), expected, atol=1e-4)


@pytest.mark.parametrize("head", HEADS)
def test_fitting_does_not_change_the_data(head, data):
    X, y = data[0].copy(), targets(head, data[0])
    before = X.copy(), y.copy()
    head(**QUICK).fit(X, y).predict(X)
    assert np.array_equal(X, before[0])
    assert np.array_equal(y, before[1])


# --- What is refused ------------------------------------------------------------------------------------------------


def with_wrong_value(X, value):
    broken = X.copy()
    broken[3, 2] = value
    return broken


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (with_wrong_value(X, np.nan), y), "Input X contains NaN"),
        (lambda X, y: (with_wrong_value(X, np.inf), y), "Input X contains infinity"),
        (lambda X, y: (X[:-1], y), "inconsistent numbers of samples"),
        (lambda X, y: (X[0], y), "Expected 2D array, got 1D array"),
        (lambda X, y: (X[:1], y[:1]), "minimum of 2 is required"),
        (lambda X, y: (X, None), "requires y to be passed, but the target y is None"),
    ],
)
def test_invalid_features_are_refused_and_leave_the_head_unfitted(head, data, change, message):
    fitted = head(**QUICK)
    with pytest.raises(ValueError, match=message):
        fitted.fit(*change(data[0], targets(head, data[0])))
    with pytest.raises(NotFittedError):
        fitted.predict(data[0])


def test_invalid_targets_are_refused(data):
    X, y = data[0], reverberation_time(data[0])
    with pytest.raises(ValueError, match="Input y contains NaN"):
        RoomRegressor().fit(X, np.where(y > 1, np.nan, y))
    with pytest.raises(ValueError, match="could not convert string to float"):
        RoomRegressor().fit(X, size(X))
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        RoomClassifier().fit(X, y)
    classifier = RoomClassifier()
    with pytest.raises(ValueError, match=r"RoomClassifier: y must have at least two classes, got one class, 'small'"):
        classifier.fit(X, np.full(300, "small"))
    with pytest.raises(NotFittedError):
        classifier.predict(X)


@pytest.mark.parametrize("head", HEADS)
def test_features_of_another_length_are_refused_in_prediction(head, data):
    fitted = head(**QUICK).fit(data[0], targets(head, data[0]))
    with pytest.raises(ValueError, match=r"X has 7 features, but .* is expecting 8 features"):
        fitted.predict(data[1][:, :7])
    with pytest.raises(ValueError, match="Input X contains NaN"):
        fitted.predict(np.full((2, 8), np.nan))


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_hidden": 0}, ValueError, "n_hidden must be a whole number of at least 1, got 0"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be a whole number of at least 1, got 1.5"),
        ({"max_epochs": 0}, ValueError, "max_epochs must be a whole number of at least 1, got 0"),
        ({"patience": "ten"}, TypeError, "patience must be a whole number of at least 1, got 'ten'"),
        ({"lr": 0}, ValueError, "lr must be a number above 0, got 0"),
        ({"lr": float("nan")}, ValueError, "lr must be a number above 0, got nan"),
        ({"validation_fraction": -0.1}, ValueError, "validation_fraction must be a number of at least"),
        ({"device": "tpu please"}, ValueError, 'device must be "auto" or a torch device'),
    ],
)
def test_invalid_parameters_are_named(head, data, parameters, error, message):
    with pytest.raises(error, match=f"^{head.__name__}: {message}"):
        head(**parameters).fit(data[0], targets(head, data[0]))


@pytest.mark.parametrize("head", HEADS)
def test_an_unfitted_head_refuses_to_predict(head, data):
    with pytest.raises(NotFittedError):
        head().predict(data[0])
