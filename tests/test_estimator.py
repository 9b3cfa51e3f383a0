"""The recipe of fit: nothing half-fitted, small pickles, and continued training."""

from __future__ import annotations

import pickle
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from skorch.callbacks import Callback, LRScheduler
from toys import ENCODER, SUPERVISED, Interrupter, TinyNetwork, fit_encoder, same_weights, weights

from roomacoustic_sk import ContrastiveRoomEncoder, SupervisedRoomClassifier, SupervisedRoomRegressor

# --- Fits that raise ------------------------------------------------------------------------------------------------


class Failing(Callback):
    """Raise an error at the end of an epoch."""

    def on_epoch_end(self, net, **kwargs):
        raise OSError("disk full")


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_fit_that_raises_leaves_the_encoder_unchanged(bursts, warm_start):
    X, groups = bursts
    encoder = fit_encoder(X, groups, max_epochs=1, warm_start=warm_start)
    before, embeddings, state = vars(encoder).copy(), encoder.transform(X), pickle.dumps(encoder.net_.optimizer_)
    callbacks = [Failing()]
    with pytest.raises(OSError, match="disk full"):
        encoder.set_params(callbacks=callbacks).fit(X, **groups)
    assert vars(encoder) == before | {"callbacks": callbacks}
    assert np.array_equal(encoder.transform(X), embeddings)
    assert len(encoder.net_.history) == 1
    assert pickle.dumps(encoder.net_.optimizer_) == state
    fresh = ContrastiveRoomEncoder(**ENCODER | {"callbacks": callbacks})
    with pytest.raises(OSError, match="disk full"):
        fresh.fit(X, **groups)
    with pytest.raises(NotFittedError):
        fresh.transform(X)
    assert vars(fresh).keys() == fresh.get_params().keys()


@pytest.mark.parametrize("fitted_before", [False, True])
def test_an_interrupted_first_epoch_leaves_the_encoder_unchanged(bursts, fitted_before):
    X, groups = bursts
    encoder = fit_encoder(X, groups, max_epochs=1) if fitted_before else ContrastiveRoomEncoder(**ENCODER)
    before = vars(encoder).copy()
    callbacks = [Interrupter(1)]
    with pytest.raises(KeyboardInterrupt):
        encoder.set_params(callbacks=callbacks, n_views=2).fit(X, **groups)
    assert vars(encoder) == before | {"callbacks": callbacks}


# --- Pickles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [0, 1])
def test_pickled_encoders_work_and_hold_no_training_data(bursts, verbose):
    X, groups = bursts
    encoder = fit_encoder(X, groups, network=TinyNetwork, verbose=verbose)
    pickled = pickle.dumps(encoder)
    assert np.array_equal(pickle.loads(pickled).transform(X), encoder.transform(X))
    assert len(pickled) < 100_000 < X.nbytes / 10


@pytest.mark.parametrize("warm_start", [False, True])
def test_only_resumable_pickles_hold_the_optimiser(bursts, warm_start):
    X, groups = bursts
    encoder = fit_encoder(X, groups, network="paper", segment_duration=0.25, warm_start=warm_start)
    n_bytes = sum(weight.nbytes for weight in encoder.network_.parameters())
    pickled = pickle.dumps(encoder)
    assert encoder.net_.optimizer_.state  # the encoder itself is as it was
    again = pickle.loads(pickled)
    assert again.module_ is again.net_.module_[0]
    assert (again.net_.optimizer_ is None) != warm_start
    assert len(pickled) < (4 if warm_start else 1) * n_bytes + 80_000
    expected = encoder.set_params(warm_start=True).fit(X, **groups)
    with nullcontext() if warm_start else pytest.warns(UserWarning, match="Training resumes with a new optimiser"):
        further = again.set_params(warm_start=True).fit(X, **groups)
    assert further.n_iter_ == expected.n_iter_ == 2
    assert np.array_equal(further.transform(X), expected.transform(X)) == warm_start


# --- Continued training ---------------------------------------------------------------------------------------------


def flat_parameters(model):
    return torch.cat([parameter.detach().flatten() for parameter in model.net_.module_.parameters()])


@pytest.mark.parametrize("estimator", [ContrastiveRoomEncoder, SupervisedRoomRegressor, SupervisedRoomClassifier])
def test_warm_start_resumes_where_the_last_fit_ended(estimator, room_grid):
    X, rt60, groups = room_grid
    y = rt60 > 0.3 if estimator is SupervisedRoomClassifier else rt60
    options = ENCODER if estimator is ContrastiveRoomEncoder else SUPERVISED
    model = estimator(**options | {"max_epochs": 2}, warm_start=True).fit(X, y, **groups)
    learned, before = weights(model.net_.module_), flat_parameters(model)
    model.set_params(max_epochs=0).fit(X, y, **groups)
    assert same_weights(weights(model.net_.module_), learned)
    model.set_params(max_epochs=1).fit(X, y, **groups)
    assert model.n_iter_ == 3
    assert model.history_["epoch"].tolist() == [1, 2, 3]
    change = flat_parameters(model) - before
    assert 0 < change.norm() < before.norm() / 2
    assert model.set_params(warm_start=False).fit(X, y, **groups).n_iter_ == 1


def test_warm_start_draws_new_batches_and_holds_out_the_same_sources(room_grid):
    X, _, groups = room_grid
    held_out, order = [], []

    class Watcher(Callback):
        def on_train_begin(self, net, X=None, **kwargs):
            held_out.append(X[1].source.indices.tolist())

        def on_batch_begin(self, net, batch=None, training=False, **kwargs):
            if training:
                order.append(batch[0].numpy())

    encoder = ContrastiveRoomEncoder(**ENCODER | {"steps_per_epoch": 1}, warm_start=True, callbacks=[Watcher()])
    encoder.fit(X, **groups).fit(X, **groups)
    assert held_out[0] == held_out[1]
    assert not np.array_equal(*order)


def test_a_resumed_training_may_have_new_batches_and_a_new_schedule(room_grid):
    X, _, groups = room_grid
    encoder = ContrastiveRoomEncoder(**ENCODER | {"max_epochs": 2}, warm_start=True).fit(X, **groups)
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.1)
    encoder.set_params(sampling="hard", callbacks=[schedule]).fit(X, **groups)
    assert encoder.history_["epoch"].tolist() == [1, 2, 3, 4]
    steps = [epoch.get("event_lr") for epoch in encoder.net_.history]
    assert steps[:2] == [None, None]
    assert steps[3] == pytest.approx(steps[2] / 10)


def test_resuming_with_another_network_is_refused(room_grid):
    X, _, groups = room_grid
    encoder = ContrastiveRoomEncoder(**ENCODER | {"network": "bandwise"}, warm_start=True).fit(X, **groups)
    message = r"network must be unchanged to resume from a fitted estimator \('bandwise'\), got 'paper'"
    with pytest.raises(ValueError, match=message):
        encoder.set_params(network="paper").fit(X, **groups)
    with pytest.raises(ValueError, match=message):
        encoder.partial_fit(X, **groups)
    assert encoder.set_params(warm_start=False).fit(X, **groups).transform(X).shape == (len(X), 64)


def test_partial_fit_trains_one_epoch_on_the_given_data(room_grid):
    X, _, groups = room_grid
    encoder = ContrastiveRoomEncoder(**ENCODER)
    for first in (0, 3):  # three rooms, then the others
        part = (groups["room_groups"] >= first) & (groups["room_groups"] < first + 3)
        encoder.partial_fit(X[part], **{name: labels[part] for name, labels in groups.items()})
    assert encoder.n_iter_ == 2
    assert encoder.history_["valid_loss"].isna().all()
    assert encoder.transform(X).shape == (len(X), 64)
    with pytest.raises(ValueError, match="X has 7999 features, but ContrastiveRoomEncoder is expecting 8000 features"):
        encoder.partial_fit(X[:, :-1], **groups)
