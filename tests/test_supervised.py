"""The supervised baseline on toy rooms: noise that decays at the room's own rate."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from skorch.callbacks import Callback
from toys import (
    CLIP,
    SUPERVISED,
    BatchWatcher,
    TinyNetwork,
    decaying_noise,
    fit_encoder,
    outputs,
    random_rt60,
    same_weights,
    weights,
)

from roomacoustic_sk import (
    RoomRegressor,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
)

ESTIMATORS = [SupervisedRoomRegressor, SupervisedRoomClassifier]


def clips(n_recordings, seed=0, n_times=CLIP):
    """Return noise bursts that decay at a rate of their own, and the reverberation times."""
    rt60 = random_rt60(n_recordings, seed)
    return decaying_noise(rt60, n_times, seed=seed), rt60


@pytest.fixture(scope="module")
def data():
    """Clips and reverberation times."""
    return clips(60)


@pytest.fixture(scope="module")
def encoder(data):
    """A contrastive encoder with its random initial weights."""
    X, _ = data
    return fit_encoder(X, {"rir_groups": np.arange(60) // 3}, network="bandwise", max_epochs=0, random_state=1)


def targets_for(estimator, rt60):
    return rt60 if estimator is SupervisedRoomRegressor else np.where(rt60 > 0.3, "long", "short")


@pytest.mark.slow
def test_reverberation_times_of_new_clips_are_estimated():
    X, rt60 = clips(300)
    model = SupervisedRoomRegressor(**SUPERVISED | {"max_epochs": 8, "non_negative": True}).fit(X, rt60)
    X, rt60 = clips(100, seed=1)
    assert np.corrcoef(model.predict(X), rt60)[0, 1] > 0.9
    assert model.history_["valid_loss"].iloc[-1] < 0.5


@pytest.mark.slow
def test_classes_of_new_clips_are_estimated():
    X, rt60 = clips(300)
    model = SupervisedRoomClassifier(**SUPERVISED | {"max_epochs": 8}).fit(
        X, targets_for(SupervisedRoomClassifier, rt60)
    )
    X, rt60 = clips(100, seed=1)
    y = targets_for(SupervisedRoomClassifier, rt60)
    assert model.classes_.tolist() == ["long", "short"]
    assert model.score(X, y) > 0.8
    probabilities = model.predict_proba(X)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert np.array_equal(model.classes_[probabilities.argmax(axis=1)], model.predict(X))


def test_several_targets_of_different_units_are_learned_at_once(data):
    X, rt60 = data
    y = np.stack([rt60, -20 * np.log10(rt60)], axis=1)
    model = SupervisedRoomRegressor(**SUPERVISED | {"max_epochs": 3}).fit(X, y)
    assert model.predict(X).shape == (60, 2)
    assert SupervisedRoomRegressor(**SUPERVISED).fit(X, y[:, :1]).predict(X).shape == (60, 1)
    assert model.predict(X)[:, 1].mean() == pytest.approx(y[:, 1].mean(), abs=y[:, 1].std())


def test_estimates_scale_with_the_unit_of_the_targets(data):
    X, rt60 = data
    in_s = SupervisedRoomRegressor(**SUPERVISED).fit(X, rt60).predict(X)
    in_ms = SupervisedRoomRegressor(**SUPERVISED).fit(X, 1_000 * rt60 + 7).predict(X)
    np.testing.assert_allclose(in_ms, 1_000 * in_s + 7, rtol=1e-4)


def test_non_negative_estimates_never_go_below_zero(data):
    X, rt60 = data
    y = np.where(rt60 > np.median(rt60), 10.0, 0.0)
    estimates = {}
    for non_negative in (True, False):
        model = SupervisedRoomRegressor(**SUPERVISED | {"non_negative": non_negative}).fit(X, y)
        with torch.no_grad():
            list(model.module_.parameters())[-1].fill_(-100.0)  # a network that wants to go far below
        estimates[non_negative] = model.predict(X)
    np.testing.assert_array_equal(estimates[True], 0)
    assert estimates[False].max() < 0


def test_dropout_is_on_in_training_and_off_in_prediction(data):
    X, rt60 = data
    modes = []

    class ModeWatcher(Callback):
        def on_grad_computed(self, net, **kwargs):
            modes.extend(m.training for m in net.module_.modules() if isinstance(m, torch.nn.Dropout))

    model = SupervisedRoomRegressor(**SUPERVISED, callbacks=[ModeWatcher()]).fit(X, rt60)
    assert modes
    assert all(modes)
    assert np.array_equal(model.predict(X), model.predict(X))


@pytest.mark.parametrize("hold_out", ["source", "rir", "room"])
def test_batches_keep_targets_aligned_and_hold_out_whole_labels(data, hold_out):
    X, _ = data
    y, wholes, others = np.arange(60.0), np.arange(60) // 4, np.arange(60) % 7
    labels = {f"{name}_groups": wholes if name == hold_out else others for name in ("source", "rir", "room")}
    watcher = BatchWatcher()
    # Of other networks, the batches would be spectrograms.
    options = SUPERVISED | {"network": TinyNetwork}
    SupervisedRoomRegressor(**options, hold_out=hold_out, callbacks=[watcher]).fit(X, y, **labels)
    seen = {}
    for training, batches in watcher.seen.items():
        waveforms = np.concatenate([x for x, _ in batches])
        indices = np.array([np.flatnonzero((x == X).all(axis=1))[0] for x in waveforms])
        standardised = np.concatenate([t for _, t in batches])[:, 0]
        np.testing.assert_allclose(standardised, (indices - y.mean()) / y.std(), rtol=1e-5)
        assert len(np.unique(indices)) == len(indices)
        seen[training] = indices
    assert len(seen[True]) + len(seen[False]) == 60
    assert not set(wholes[seen[True]]) & set(wholes[seen[False]])
    assert len(set(wholes[seen[False]])) == 3  # a fifth of 15
    assert max(len(x) for x, _ in watcher.seen[True]) <= 16


def test_long_recordings_are_estimated_as_the_mean_of_their_segments(data):
    X, rt60 = data
    model = SupervisedRoomRegressor(**SUPERVISED).fit(X, rt60)
    long = np.concatenate([X[0], X[1], X[2, :1_000]])
    parts = model.predict(np.stack([X[0], X[1], long[-CLIP:]]))
    np.testing.assert_allclose(model.predict([long]), [parts.mean()], rtol=1e-5)
    first = model.predict([long, X[5]])
    np.testing.assert_allclose(first[1:], model.predict(X[5:6]), rtol=1e-5)


def test_a_fraction_of_zero_or_a_single_source_holds_nothing_out(data):
    X, rt60 = data
    model = SupervisedRoomRegressor(**SUPERVISED | {"validation_fraction": 0}).fit(X, rt60)
    assert model.history_["valid_loss"].isna().all()
    with pytest.warns(UserWarning, match="no validation: validation_fraction=0.2 leaves 0 of 60 recordings"):
        model = SupervisedRoomRegressor(**SUPERVISED).fit(X, rt60, source_groups=np.zeros(60))
    assert model.history_["valid_loss"].isna().all()


@pytest.mark.filterwarnings("ignore:.*no validation")
@pytest.mark.parametrize("n_recordings", [2, 3, 5, 9])
def test_a_few_recordings_and_small_batches_suffice(n_recordings, data):
    X, rt60 = data
    model = SupervisedRoomRegressor(**SUPERVISED | {"batch_size": 2}).fit(X[:n_recordings], rt60[:n_recordings])
    assert np.isfinite(model.predict(X)).all()
    with pytest.raises(ValueError, match="X must have at least two recordings, got one sample"):
        model.fit(X[:1], rt60[:1])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_a_seed_determines_the_model_to_the_last_bit(estimator, data):
    X, rt60 = data
    y = targets_for(estimator, rt60)
    state = np.random.get_state()[1].copy(), torch.random.get_rng_state()  # noqa: NPY002 - the state to leave alone

    def fitted(**parameters):
        return outputs(estimator(**SUPERVISED | parameters).fit(X, y), X)

    assert np.array_equal(fitted(), fitted())
    assert not np.array_equal(fitted(), fitted(random_state=1))
    assert np.array_equal(np.random.get_state()[1], state[0])  # noqa: NPY002 - the state to leave alone
    assert torch.equal(torch.random.get_rng_state(), state[1])


# --- Starting from an encoder ---------------------------------------------------------------------------------------


def test_a_frozen_encoder_stays_unchanged_while_the_head_learns(encoder, data):
    X, rt60 = data
    before = weights(encoder.network_)
    model = SupervisedRoomRegressor(**SUPERVISED | {"max_epochs": 3}, encoder=encoder, freeze_encoder=True).fit(X, rt60)
    assert same_weights(before, weights(model.network_))
    with torch.inference_mode():
        features = torch.from_numpy(encoder.transform(X))
        standardised = model.net_.module_[1:](features).numpy()[:, 0]
    np.testing.assert_allclose(model.predict(X), rt60.mean() + rt60.std() * standardised, rtol=1e-4)
    assert model.history_["train_loss"].is_monotonic_decreasing


def test_fine_tuning_trains_a_copy_of_the_encoder(encoder, data):
    X, rt60 = data
    before = weights(encoder.network_)
    untouched = SupervisedRoomRegressor(**SUPERVISED | {"max_epochs": 0}, encoder=encoder).fit(X, rt60)
    assert same_weights(before, weights(untouched.network_))
    model = SupervisedRoomRegressor(**SUPERVISED, encoder=encoder).fit(X, rt60)
    assert not same_weights(before, weights(model.network_))
    assert same_weights(before, weights(encoder.network_))


def test_a_clone_keeps_an_encoder_wrapped_in_frozen_estimator(encoder, data):
    X, rt60 = data
    model = SupervisedRoomRegressor(**SUPERVISED, encoder=FrozenEstimator(encoder))
    np.testing.assert_array_equal(clone(model).fit(X, rt60).predict(X), model.fit(X, rt60).predict(X))


def test_unusable_encoders_are_refused(encoder, data):
    X, rt60 = data
    unfitted = clone(encoder)
    with pytest.raises(ValueError, match=r"encoder must be a fitted ContrastiveRoomEncoder.*FrozenEstimator"):
        SupervisedRoomRegressor(**SUPERVISED, encoder=unfitted).fit(X, rt60)
    with pytest.raises(ValueError, match="sample_rate must match the encoder's, 16000 Hz, got 8000 Hz"):
        SupervisedRoomRegressor(**SUPERVISED, encoder=encoder, sample_rate=8_000).fit(X, rt60)
    with pytest.raises(ValueError, match="encoder must be given if freeze_encoder is True, got None"):
        SupervisedRoomClassifier(**SUPERVISED, freeze_encoder=True).fit(X, rt60 > 0.3)


def test_an_encoder_keeps_its_segment_length(encoder, data):
    X, rt60 = clips(20, n_times=2 * CLIP)
    model = SupervisedRoomRegressor(**SUPERVISED | {"segment_duration": 1.0}, encoder=encoder).fit(X, rt60)
    assert model.segment_length_ == CLIP


# --- Fitted state ---------------------------------------------------------------------------------------------------


def test_warm_start_keeps_the_standardisation_of_the_targets(data):
    X, rt60 = data
    model = SupervisedRoomRegressor(**SUPERVISED, warm_start=True).fit(X, rt60)
    before = model.predict(X)
    model.set_params(max_epochs=0).fit(X, 100 * rt60)
    assert np.array_equal(model.predict(X), before)


def test_warm_start_refuses_other_targets_and_networks(data):
    X, rt60 = data
    y = np.stack([rt60, rt60], axis=1)
    one, two = (SupervisedRoomRegressor(**SUPERVISED, warm_start=True).fit(X, targets) for targets in (rt60, y))
    with pytest.raises(
        ValueError, match=r"y must have the same shape as in the first fit, \(n_recordings,\), .* got \(60, 2\)"
    ):
        one.fit(X, y)
    with pytest.raises(ValueError, match=r"y must have the same shape as in the first fit, \(n_recordings, 2\)"):
        two.fit(X, rt60)
    with pytest.raises(ValueError, match=r"n_hidden must be unchanged to resume from a fitted estimator \(16\), got 8"):
        one.set_params(n_hidden=8).fit(X, rt60)
    classifier = SupervisedRoomClassifier(**SUPERVISED, warm_start=True).fit(X, rt60 > 0.3)
    with pytest.raises(ValueError, match=r"y must contain only classes of the first fit, \[False, True\], .* got 'a'"):
        classifier.fit(X, np.where(rt60 > 0.3, "a", "b"))


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_models_can_be_pickled_without_their_training_data(estimator, data):
    X, rt60 = data
    model = estimator(**SUPERVISED).fit(X, targets_for(estimator, rt60))
    dump = pickle.dumps(model)
    assert np.array_equal(pickle.loads(dump).predict(X), model.predict(X))
    half = pickle.dumps(estimator(**SUPERVISED).fit(X[::2], targets_for(estimator, rt60[::2])))
    assert abs(len(dump) - len(half)) < 1_000


# --- What is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, y: (np.where(np.arange(CLIP) == 9, np.nan, X), y), "X must be finite"),
        (lambda X, y: (X, y[:-1]), "inconsistent numbers of samples"),
        (lambda X, y: (X, np.where(y > 0.5, np.nan, y)), "Input y contains NaN"),
        (lambda X, y: (X, None), "requires y to be passed"),
        (lambda X, y: (X.T, y), "Pass X.T"),
    ],
)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_invalid_data_are_refused(estimator, data, change, message):
    model = estimator(**SUPERVISED)
    with pytest.raises(ValueError, match=message):
        model.fit(*change(*data))
    with pytest.raises(NotFittedError):
        model.predict(data[0])


def test_invalid_labels_and_targets_are_refused(data):
    X, rt60 = data
    with pytest.raises(ValueError, match=r"source_groups must be 1-D with 60 labels"):
        SupervisedRoomRegressor(**SUPERVISED).fit(X, rt60, source_groups=[1, 2])
    with pytest.raises(ValueError, match=r"rir_groups must be 1-D with 60 labels"):
        SupervisedRoomRegressor(**SUPERVISED).fit(X, rt60, rir_groups=[1, 2])
    with pytest.raises(ValueError, match="rir_groups must be given if hold_out='rir', got None"):
        SupervisedRoomRegressor(**SUPERVISED, hold_out="rir").fit(X, rt60, source_groups=np.arange(60))
    with pytest.raises(ValueError, match=r"hold_out must be one of .'source', 'rir', 'room'., got 'speaker'"):
        SupervisedRoomRegressor(**SUPERVISED, hold_out="speaker").fit(X, rt60)
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        SupervisedRoomClassifier(**SUPERVISED).fit(X, rt60)
    with pytest.raises(ValueError, match="y must have at least two classes, got one class, 'small'"):
        SupervisedRoomClassifier(**SUPERVISED).fit(X, np.full(60, "small"))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"network": "deep"},
            ValueError,
            r"network must be one of \['paper', 'pooled', 'bandwise', 'compact'\], got 'deep'",
        ),
        ({"n_hidden": 0}, ValueError, "n_hidden must be a whole number of at least 1"),
        ({"batch_size": 1.5}, TypeError, "batch_size must be a whole number"),
        ({"batch_size": 1}, ValueError, "batch_size must be a whole number of at least 2, got 1"),
        ({"lr": 0}, ValueError, "lr must be a number above 0"),
        ({"patience": 0}, ValueError, "patience must be a whole number of at least 1"),
        ({"validation_fraction": 1}, ValueError, "validation_fraction must be a number of at least 0 and at most 0.9"),
        ({"freeze_encoder": "yes"}, TypeError, "freeze_encoder must be True or False, got 'yes'"),
        ({"callbacks": BatchWatcher()}, TypeError, r"callbacks must be .*got a BatchWatcher. Put it into a list"),
        (
            {"callbacks": [print]},
            TypeError,
            r"callbacks must be None or a list of skorch callbacks, got a builtin_func",
        ),
        ({"callbacks": [BatchWatcher]}, TypeError, r"callbacks must be None or a list of skorch callbacks, got a type"),
        ({"warm_start": None}, TypeError, "warm_start must be True or False, got None"),
        ({"segment_duration": 0.1}, ValueError, "segment_duration must be at least 0.5 s for this network, got 0.1 s"),
    ],
)
def test_invalid_parameters_are_named(data, parameters, error, message):
    X, rt60 = data
    with pytest.raises(error, match=f"SupervisedRoomRegressor: {message}"):
        SupervisedRoomRegressor(**SUPERVISED | parameters).fit(X, rt60)


def test_the_head_is_the_papers_and_its_parameters_are_counted(data):
    X, rt60 = data
    model = SupervisedRoomRegressor(segment_duration=0.5, max_epochs=0, random_state=0).fit(X, rt60)
    head = RoomRegressor(max_epochs=1, validation_fraction=0).fit(
        np.random.default_rng(0).standard_normal((20, 64)), np.arange(20.0)
    )
    count = [sum(p.numel() for p in module.parameters()) for module in (model.net_.module_[1], head.net_.module_[0])]
    assert count == [82_689, 82_689]
