"""One training: early stopping, interruption, divergence and progress."""

from __future__ import annotations

import contextlib
import copy
import pickle

import numpy as np
import pytest
import torch
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from skorch.callbacks import Callback, EarlyStopping
from skorch.history import History
from torch import nn
from toys import CLIP, ENCODER, Interrupter, fit_encoder, reverberant_bursts

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk._torch.training import PLATEAU_PATIENCE, PatientEarlyStopping
from roomacoustic_sk.losses import SupConLoss, retrieval

# --- Early stopping -------------------------------------------------------------------------------------------------


class FakeNet:
    """As much of a skorch net as early stopping looks at."""

    verbose = 0

    def __init__(self):
        self.history = History()
        self.module_ = nn.Linear(1, 1)


def run_early_stopping(losses, patience, plateau=np.inf):
    """Return the number of epochs until it stops training, and the epoch whose weights are kept."""
    net, stopping = FakeNet(), PatientEarlyStopping(patience, "train_loss", plateau)
    stopping.on_train_begin(net)
    for epoch, loss in enumerate(losses, start=1):
        net.history.new_epoch()
        net.history.record("epoch", epoch)
        net.history.record("train_loss", loss)
        nn.init.constant_(net.module_.weight, epoch)
        try:
            stopping.on_epoch_end(net)
        except KeyboardInterrupt:
            break
    stopping.on_train_end(net)
    return epoch, net.module_.weight.item()


@pytest.mark.parametrize(
    ("losses", "patience", "plateau", "expected"),
    [
        ([4.0, 4.1, 4.2, 4.3, 4.4], 3, np.inf, (4, 1)),
        ([4.0, 3.0, 3.1, 2.9, 3.0, 3.0, 3.0, 3.0], 3, np.inf, (7, 4)),
        ([4.0, 3.9, 3.8, 3.7], 1, np.inf, (4, 4)),
        # seven epochs on the plateau do not count
        ([4.2, 4.1, 4.2, 4.2, 4.2, 4.2, 4.2, 2.0, 1.9, 2.0, 2.0, 2.0, 1.0], 3, 4.0, (12, 9)),
        ([4.2, 4.3, 4.2, 3.9, 4.3, 4.3], 2, 4.0, (6, 4)),  # and back above it, they do
        ([4.2, 4.1, 4.3, 4.3, 4.3], 1, 4.0, (5, 2)),
        ([3.0] + [np.nan] * 10, 4, np.inf, (2, 1)),  # diverged
    ],
)
def test_patience_starts_after_the_plateau_and_keeps_the_best_weights(losses, patience, plateau, expected):
    assert run_early_stopping(losses, patience, plateau) == expected


@pytest.mark.parametrize(
    ("losses", "patience", "plateau", "expected"),
    [
        ([4.2] * 100, 4, 4.0, (PLATEAU_PATIENCE, 1)),
        ([4.2] * 100, 30, 4.0, (30, 1)),
    ],
)
def test_training_that_never_leaves_the_plateau_stops_with_a_warning(losses, patience, plateau, expected):
    with pytest.warns(ConvergenceWarning, match="Nothing was learnt"):
        assert run_early_stopping(losses, patience, plateau) == expected


@pytest.mark.slow
def test_epochs_at_chance_level_do_not_exhaust_the_patience(bursts):
    X, groups = bursts
    with pytest.warns(ConvergenceWarning, match=f"after {PLATEAU_PATIENCE} epochs train_loss is still"):
        stuck = fit_encoder(X, groups, network="bandwise", lr=1e-12, patience=1, steps_per_epoch=1, max_epochs=100)
    assert stuck.n_iter_ == PLATEAU_PATIENCE
    assert np.allclose(stuck.history_["valid_loss"], np.log(4 * 2 - 1), atol=0.02)


def test_the_monitored_score_decides_which_epoch_is_kept():
    """Confidence in the wrong places raises the loss while more clips find their like."""
    for monitor, lower_is_better, kept in (("valid_retrieval", False, 2), ("valid_loss", True, 1)):
        net, stopping = FakeNet(), PatientEarlyStopping(1, monitor, np.inf, lower_is_better)
        stopping.on_train_begin(net)
        for epoch, (loss, share) in enumerate([(3.0, 0.2), (4.0, 0.3)], start=1):
            net.history.new_epoch()
            for key, value in {"epoch": epoch, "train_loss": 1.0, "valid_loss": loss, "valid_retrieval": share}.items():
                net.history.record(key, value)
            nn.init.constant_(net.module_.weight, epoch)
            with contextlib.suppress(KeyboardInterrupt):
                stopping.on_epoch_end(net)
        stopping.on_train_end(net)
        assert net.module_.weight.item() == kept


class LoaderWatcher(Callback):
    """Keep the validation batches."""

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        self.dataset_valid = dataset_valid


class Spoiler(Callback):
    """Make all projections equal at the end of the last epoch's training."""

    def on_batch_begin(self, net, training=False, **kwargs):
        if not training and len(net.history) == net.max_epochs:
            with torch.no_grad():
                net.module_[1][-1].weight.zero_()


@pytest.mark.slow
@pytest.mark.parametrize("scoring", ["retrieval", "loss"])
def test_the_weights_kept_are_those_of_the_best_epoch(scoring):
    X, rir, source = reverberant_bursts(40)
    watcher = LoaderWatcher()
    encoder = fit_encoder(
        X,
        {"rir_groups": rir, "source_groups": source},
        lr=2e-3,
        n_views=4,
        steps_per_epoch=12,
        validation_steps=3,
        max_epochs=4,
        scoring=scoring,
        callbacks=[watcher, Spoiler()],
    )
    losses, shares = encoder.history_["valid_loss"], encoder.history_["valid_retrieval"]
    assert losses.iloc[-1] == pytest.approx(np.log(4 * 4 - 1), rel=1e-5)  # spoilt: at chance
    assert losses.min() < losses.iloc[-1] - 0.05
    assert shares.max() > shares.iloc[-1] + 0.05
    with torch.inference_mode():
        batches = [(encoder.net_.module_(x), labels) for x, labels in watcher.dataset_valid]
    if scoring == "loss":
        assert np.mean([SupConLoss(0.1)(*batch).item() for batch in batches]) == pytest.approx(losses.min(), rel=1e-5)
    assert np.mean([retrieval(*batch).item() for batch in batches]) == pytest.approx(
        shares.max() if scoring == "retrieval" else shares[losses.idxmin()], rel=1e-5
    )


def test_a_users_early_stopping_ends_the_fit(bursts):
    X, groups = bursts
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, threshold_mode="abs")
    assert fit_encoder(X, groups, max_epochs=5, callbacks=[stopping]).n_iter_ == 2


# --- Interruption ---------------------------------------------------------------------------------------------------


def test_an_interrupted_fit_keeps_the_completed_epochs(bursts):
    X, groups = bursts
    encoder = ContrastiveRoomEncoder(**ENCODER | {"max_epochs": 5, "callbacks": [Interrupter(3)]})
    with (
        pytest.raises(KeyboardInterrupt),
        pytest.warns(ConvergenceWarning, match="^ContrastiveRoomEncoder: Training was interrupted after 1 whole"),
    ):
        encoder.fit(X, **groups)
    assert encoder.n_iter_ == len(encoder.history_) == 1
    assert not encoder.network_.training
    assert np.array_equal(encoder.transform(X), fit_encoder(X, groups, max_epochs=1).transform(X))


@pytest.mark.filterwarnings("ignore:.*Training was interrupted")
def test_ctrl_c_is_passed_on_while_weights_are_copied(bursts, monkeypatch):
    X, groups = bursts
    encoder, copied = ContrastiveRoomEncoder(**ENCODER | {"max_epochs": 5}), []

    def interrupted(weights):
        copied.append(weights)
        if len(copied) == 2:
            raise KeyboardInterrupt
        return copy.deepcopy(weights)

    monkeypatch.setattr("skorch.callbacks.training.deepcopy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(X, **groups)
    assert len(copied) == 2
    assert np.isfinite(encoder.transform(X)).all()


def test_ctrl_c_is_passed_on_where_warnings_are_errors(bursts):
    X, groups = bursts
    encoder = ContrastiveRoomEncoder(**ENCODER | {"max_epochs": 5, "callbacks": [Interrupter(3)]})
    with pytest.raises(KeyboardInterrupt):  # the suite's filter makes errors of warnings
        encoder.fit(X, **groups)
    assert np.isfinite(encoder.transform(X)).all()


# --- Divergence -----------------------------------------------------------------------------------------------------


def test_immediate_divergence_is_an_error(bursts):
    X, groups = bursts
    encoder = ContrastiveRoomEncoder(**ENCODER | {"lr": 1e9})
    with pytest.raises(RuntimeError, match="ContrastiveRoomEncoder: training must end with finite weights"):
        encoder.fit(X, **groups)
    with pytest.raises(NotFittedError):
        encoder.transform(X)


class Diverging(Callback):
    """Make the weights infinite in the second epoch."""

    def on_batch_begin(self, net, training=False, **kwargs):
        if training and len(net.history) == 2:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(torch.inf)


def test_later_divergence_keeps_the_best_weights_with_a_warning(bursts):
    X, groups = bursts
    with pytest.warns(ConvergenceWarning, match="Training diverged in epoch 2: .*weights of epoch 1 are kept"):
        encoder = fit_encoder(X, groups, max_epochs=5, callbacks=[Diverging()])
    assert encoder.n_iter_ == 2
    assert np.array_equal(encoder.transform(X), fit_encoder(X, groups, max_epochs=1).transform(X))


# --- Progress -------------------------------------------------------------------------------------------------------


def test_verbose_chooses_between_nothing_a_progress_bar_and_a_table(bursts, capsys):
    X, groups = bursts
    fit_encoder(X, groups)
    assert capsys.readouterr() == ("", "")
    fit_encoder(X, groups, verbose=1, max_epochs=2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "encoder: 100%" in err
    assert "4/4" in err
    assert "train_loss" in err
    fit_encoder(X, groups, verbose=2)
    out, err = capsys.readouterr()
    assert "train_loss" in out
    assert err == ""


def losses_of(room_grid, **parameters):
    """Return the training loss of each of three epochs, nothing held out."""
    X, _, groups = room_grid
    settings = {"max_epochs": 3, "validation_fraction": 0} | parameters
    return fit_encoder(X, groups, **settings).history_["train_loss"].tolist()


@pytest.mark.parametrize("sampling", ["hard", "position_independent"])
def test_a_soft_warm_up_lasts_until_the_loss_is_below_chance(room_grid, monkeypatch, sampling):
    soft = losses_of(room_grid, sampling="soft")
    warm = {"sampling": sampling, "soft_warm_up": True}
    monkeypatch.setattr("roomacoustic_sk.encoder.plateau_level", lambda *args: -np.inf)  # never below
    assert losses_of(room_grid, **warm) == soft
    monkeypatch.setattr("roomacoustic_sk.encoder.plateau_level", lambda *args: np.inf)  # after one epoch
    ended = losses_of(room_grid, **warm)
    assert ended[0] == soft[0]
    assert ended[1] != soft[1]
    plain = losses_of(room_grid, sampling=sampling)
    assert plain[0] != soft[0]
    assert losses_of(room_grid, sampling="soft", soft_warm_up=True) == soft


def test_an_encoder_that_warmed_up_holds_no_recordings(room_grid):
    X, _, groups = room_grid
    sizes = [
        len(pickle.dumps(fit_encoder(X, groups, sampling="hard", soft_warm_up=warm, max_epochs=1)))
        for warm in (False, True)
    ]
    assert sizes[1] - sizes[0] < 0.1 * X.nbytes


def test_a_soft_warm_up_needs_labels_for_soft_batches():
    X = np.random.default_rng(0).standard_normal((16, CLIP)).astype(np.float32)
    room, source = np.repeat([0, 1], 8), np.tile(np.arange(8), 2)
    groups = {"rir_groups": np.arange(16), "source_groups": source, "room_groups": room}  # each RIR has one source
    settings = {"sampling": "position_independent", "n_classes": 2, "validation_fraction": 0}
    fit_encoder(X, groups, **settings)
    with pytest.raises(ValueError, match="soft_warm_up must be False where the group labels do not allow soft batches"):
        fit_encoder(X, groups, **settings, soft_warm_up=True)
