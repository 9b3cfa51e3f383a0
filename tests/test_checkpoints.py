"""A fit that was killed resumes from its checkpoint and ends as if nothing had happened."""

from __future__ import annotations

import io
import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.utils import Bunch
from skorch.callbacks import Callback, LRScheduler
from toys import same_weights, weights

from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomClassifier,
    RoomRegressor,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
)
from roomacoustic_sk.datasets import make_reverberant_speech

N_RIRS, N_SOURCES, N_TIMES = 3, 14, 9_600
rir, source = np.repeat(np.arange(N_RIRS), N_SOURCES), np.tile(np.arange(N_SOURCES), N_RIRS)
LABELS = {"rir_groups": rir, "source_groups": source}
COMMON = {"max_epochs": 5, "random_state": 0}


class Killed(BaseException):
    """Ends a process at once, as far as Python code can."""


class Killer(Callback):
    """Ends training in the middle of an epoch; counts training batches."""

    _n_batches = 0  # skorch takes public attributes for parameters
    _epoch = 0  # never

    def on_batch_end(self, net, training=False, **kwargs):
        self._n_batches += training
        if len(net.history) == self._epoch and training:
            raise Killed


@pytest.fixture(scope="module")
def clips():
    decay = np.exp(-np.linspace(0, 1, N_TIMES) * np.array([3.0, 6.0, 12.0])[rir, None])
    return (np.random.default_rng(0).standard_normal(decay.shape) * decay).astype(np.float32)


def encoder(**parameters):
    """Return a small encoder; `segment_duration` below the clips' 0.6 s gives random segments."""
    small = {"segment_duration": 0.5, "n_classes": 2, "steps_per_epoch": 2, "validation_steps": 1, "network": "pooled"}
    return ContrastiveRoomEncoder(**{**COMMON, **small, **parameters})


def supervised(kind, **parameters):
    """Return a small supervised estimator."""
    return kind(network="pooled", segment_duration=0.6, **{**COMMON, **parameters})


def fitted(estimator, X):
    """Fit an estimator on the clips, or a head on some of their samples."""
    if isinstance(estimator, ContrastiveRoomEncoder):
        return estimator.fit(X, **LABELS)
    y = rir % 2 if hasattr(estimator, "predict_proba") else rir * 0.3
    is_head = isinstance(estimator, (RoomRegressor, RoomClassifier))
    return estimator.fit(X[:, :40] if is_head else X, y, **LABELS)


def killed(estimator, X, epoch):
    """Start a fit and end it in an epoch."""
    killer = next(callback for callback in estimator.callbacks if isinstance(callback, Killer))
    killer._epoch = epoch
    with pytest.raises(Killed):
        fitted(estimator, X)
    killer._epoch = 0


def assert_same_fit(one, other):
    """Two fits have the same history and the same weights, to the last bit."""
    columns = [column for column in one.history_ if column != "dur"]
    assert one.history_[columns].equals(other.history_[columns])
    assert same_weights(weights(one.module_), weights(other.module_))


ESTIMATORS = {
    "encoder": lambda **p: encoder(**p),
    "encoder, paper's network with dropout": lambda **p: encoder(network="paper", segment_duration=0.6, **p),
    "regressor": lambda **p: supervised(SupervisedRoomRegressor, **p),
    "classifier": lambda **p: supervised(SupervisedRoomClassifier, **p),
    "head": lambda **p: RoomRegressor(validation_fraction=0.3, **{**COMMON, **p}),
    "classifying head": lambda **p: RoomClassifier(validation_fraction=0.3, **{**COMMON, **p}),
}


@pytest.mark.parametrize(
    "kind", [kind if kind in ("encoder", "head") else pytest.param(kind, marks=pytest.mark.slow) for kind in ESTIMATORS]
)
def test_killed_fits_end_as_if_never_killed(kind, clips, tmp_path):
    make = ESTIMATORS[kind]

    def callbacks():
        return [LRScheduler("CosineAnnealingLR", T_max=5), Killer()]

    whole = fitted(make(callbacks=callbacks()), clips)
    for epoch in (1, 2, 4):  # the first time before anything was saved
        killed(make(callbacks=callbacks(), checkpoint_dir=tmp_path), clips, epoch)
    assert_same_fit(whole, fitted(make(callbacks=callbacks(), checkpoint_dir=tmp_path), clips))


def test_at_most_one_epoch_is_trained_again(clips, tmp_path):
    killer = Killer()
    resumed = encoder(callbacks=[killer], checkpoint_dir=tmp_path)
    killed(resumed, clips, 4)
    killer._n_batches = 0
    fitted(resumed, clips)
    assert killer._n_batches == 2 * resumed.steps_per_epoch  # epochs 4 and 5
    killer._n_batches = 0
    fitted(resumed, clips)
    assert killer._n_batches == 0  # a finished fit is read
    assert resumed.n_iter_ == 5


def test_other_fits_do_not_resume(clips, tmp_path):
    first = fitted(encoder(checkpoint_dir=tmp_path, max_epochs=1), clips)
    louder = clips.copy()
    louder[3, 5] *= 1.5
    others = [
        (encoder(checkpoint_dir=tmp_path, max_epochs=1, tau=0.2), clips, LABELS),
        (encoder(checkpoint_dir=tmp_path, max_epochs=1, random_state=1), clips, LABELS),
        (encoder(checkpoint_dir=tmp_path, max_epochs=1, callbacks=[LRScheduler("StepLR", step_size=1)]), clips, LABELS),
        (encoder(checkpoint_dir=tmp_path, max_epochs=1), louder, LABELS),
        (encoder(checkpoint_dir=tmp_path, max_epochs=1), clips, {**LABELS, "source_groups": source[::-1]}),
    ]
    for number, (estimator, X, labels) in enumerate(others, start=2):
        estimator.fit(X, **labels)
        assert len(list(tmp_path.iterdir())) == number
    again = fitted(encoder(checkpoint_dir=tmp_path, max_epochs=1, verbose=0), clips)
    assert len(list(tmp_path.iterdir())) == len(others) + 1
    assert_same_fit(first, again)


def test_patience_is_counted_across_a_kill(clips, tmp_path):
    head = RoomRegressor(lr=1e-6, patience=3, max_epochs=50, validation_fraction=0.3, random_state=0)
    y = np.random.default_rng(1).standard_normal(len(clips))  # noise: validation soon gets worse
    whole = clone(head).set_params(lr=0.05).fit(clips[:, :40], y)
    assert whole.n_iter_ < 50
    killer = Killer()
    killer._epoch = whole.n_iter_ - 1
    resumed = clone(head).set_params(lr=0.05, checkpoint_dir=tmp_path, callbacks=[killer])
    with pytest.raises(Killed):
        resumed.fit(clips[:, :40], y)
    killer._epoch = 0
    assert_same_fit(whole, resumed.fit(clips[:, :40], y))


def test_interrupted_fits_resume(clips, tmp_path):
    class Interrupter(Callback):
        _armed = True

        def on_batch_end(self, net, training=False, **kwargs):
            if self._armed and len(net.history) == 3:
                raise KeyboardInterrupt

    interrupter = Interrupter()
    stopped = encoder(callbacks=[interrupter], checkpoint_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted after 2 whole epochs"):
        fitted(stopped, clips)
    interrupter._armed = False
    assert_same_fit(fitted(encoder(callbacks=[]), clips), fitted(stopped, clips))


def test_lazy_clips_are_the_same_after_resuming(clips, tmp_path):
    lengths = (500, 4_000, 9_000)  # of responses whose transforms differ in length
    target = pd.DataFrame(index=range(N_RIRS))
    rooms = Bunch(
        rirs=[clips[0, :n] for n in lengths], sample_rate=16_000, target=target, rir=[0, 1, 2], room=[0, 1, 2]
    )
    sources = np.arange(N_SOURCES)
    speech = Bunch(segments=clips[:N_SOURCES], sample_rate=16_000, source=sources, speaker=sources)
    lazy = make_reverberant_speech(rooms, speech, lazy=True).data
    killer, options = Killer(), {"segment_duration": 0.6, "n_classes": 3}
    stopped = encoder(callbacks=[killer], checkpoint_dir=tmp_path, **options)
    killed(stopped, lazy, 3)
    assert_same_fit(fitted(encoder(callbacks=[], **options), lazy), fitted(stopped, lazy))


def test_resumed_warm_starts_resume(clips, tmp_path):
    def twice(**parameters):
        estimator = fitted(encoder(warm_start=True, max_epochs=2, sampling="soft", **parameters), clips)
        return fitted(estimator.set_params(sampling="hard"), clips)

    killer = Killer()
    whole = twice()
    started = fitted(
        encoder(warm_start=True, max_epochs=2, sampling="soft", callbacks=[killer], checkpoint_dir=tmp_path), clips
    )
    killed(started.set_params(sampling="hard"), clips, 4)
    resumed = twice(callbacks=[killer], checkpoint_dir=tmp_path)
    assert_same_fit(whole, resumed)
    assert resumed.n_iter_ == 4


def test_a_soft_warm_up_that_is_over_stays_so(clips, tmp_path, monkeypatch):
    monkeypatch.setattr("roomacoustic_sk.encoder.plateau_level", lambda *args: np.inf)  # over after an epoch
    killer, warm = Killer(), {"sampling": "hard", "soft_warm_up": True}
    estimator = encoder(**warm, callbacks=[killer], checkpoint_dir=tmp_path)
    killed(estimator, clips, 3)
    assert_same_fit(fitted(encoder(**warm, callbacks=[]), clips), fitted(estimator, clips))


def test_state_of_own_callbacks_is_kept(clips, tmp_path):
    class Counter(Callback):
        def on_train_begin(self, net, **kwargs):
            self.epochs_seen_ = []

        def on_epoch_end(self, net, **kwargs):
            self.epochs_seen_.append(len(net.history))

    counter, killer = Counter(), Killer()
    estimator = encoder(callbacks=[counter, killer], checkpoint_dir=tmp_path)
    killed(estimator, clips, 3)
    fitted(estimator, clips)
    assert counter.epochs_seen_ == [1, 2, 3, 4, 5]


def test_partial_fit_writes_no_checkpoint(clips, tmp_path):
    encoder(checkpoint_dir=tmp_path).partial_fit(clips, **LABELS)
    assert not list(tmp_path.iterdir())


def test_the_fits_of_a_search_share_a_folder(clips, tmp_path):
    head = RoomRegressor(
        max_epochs=2, validation_fraction=0.0, random_state=0, checkpoint_dir=tmp_path / "new" / "folder"
    )
    search = GridSearchCV(head, {"lr": [1e-3, 1e-2]}, cv=2).fit(clips[:, :40], rir * 0.3)
    assert len(list((tmp_path / "new" / "folder").iterdir())) == 5  # two folds, two step sizes, and the best on all
    plain = GridSearchCV(clone(head).set_params(checkpoint_dir=None), {"lr": [1e-3, 1e-2]}, cv=2)
    plain.fit(clips[:, :40], rir * 0.3)
    np.testing.assert_array_equal(search.cv_results_["mean_test_score"], plain.cv_results_["mean_test_score"])


@pytest.mark.slow
def test_a_killed_process_leaves_a_checkpoint_that_can_be_read(tmp_path):
    code = """
import os, signal, sys, numpy as np
from skorch.callbacks import Callback
from roomacoustic_sk import RoomRegressor
class Killer(Callback):
    def on_epoch_begin(self, net, **kwargs):
        if sys.argv[2] == "kill" and len(net.history) == 3:
            os.kill(os.getpid(), signal.SIGKILL)
X = np.random.default_rng(0).standard_normal((40, 4))
head = RoomRegressor(max_epochs=4, validation_fraction=0.0, random_state=0, callbacks=[Killer()])
head.set_params(checkpoint_dir=None if sys.argv[2] == "whole" else sys.argv[1])
print(head.fit(X, X[:, 0]).predict(X).tolist())
"""
    done = {}
    for what in ("kill", "resume", "whole"):
        command = [sys.executable, "-c", code, str(tmp_path), what]
        done[what] = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done["kill"].returncode == -signal.SIGKILL
    assert done["resume"].returncode == 0, done["resume"].stderr
    assert done["resume"].stdout == done["whole"].stdout != ""


class Hostile:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.mkdir, (self.path,)


@pytest.mark.parametrize("content", ["nothing", "noise", "a pickle", "half a file", "another dictionary"])
def test_unreadable_checkpoints_are_refused_and_not_executed(content, clips, tmp_path):
    folder, trap = tmp_path / "checkpoints", tmp_path / "trap"
    estimator = encoder(checkpoint_dir=folder, max_epochs=1)
    fitted(estimator, clips)
    (path,) = folder.iterdir()
    if content == "another dictionary":
        torch.save({"format": 1, "n_epochs": 1}, path)
    else:
        contents = {
            "nothing": b"",
            "noise": np.random.default_rng(0).bytes(1000),
            "a pickle": pickle.dumps(Hostile(trap)),
            "half a file": path.read_bytes()[: path.stat().st_size // 2],
        }
        path.write_bytes(contents[content])
    with pytest.raises(ValueError, match=r"ContrastiveRoomEncoder: checkpoint_dir must hold .*Delete the file to"):
        fitted(estimator, clips)
    assert not trap.exists()
    assert estimator.n_iter_ == 1  # as it was


def test_a_folder_that_cannot_be_used_is_refused(clips, tmp_path):
    (tmp_path / "file").write_text("")
    for wrong, message in [
        (tmp_path / "file", "checkpoint_dir must be a folder, got the file"),
        (tmp_path / "file" / "below", "checkpoint_dir must be a folder that can be created, got"),
        (3, "checkpoint_dir must be None or the path of a folder, got 3"),
        ("", "checkpoint_dir must be None or the path of a folder, got ''"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            fitted(encoder(checkpoint_dir=wrong), clips)


def test_checkpoints_need_a_seed(clips, tmp_path):
    with pytest.raises(ValueError, match=r"random_state must be given with checkpoint_dir, got None. Use an integer"):
        fitted(encoder(checkpoint_dir=tmp_path, random_state=None), clips)


def test_ctrl_c_while_a_checkpoint_is_written_is_a_ctrl_c(clips, tmp_path, monkeypatch):
    save, n_saved = torch.save, []

    class Interrupted(io.BytesIO):
        def write(self, data):
            raise KeyboardInterrupt

    def interrupted(state, file):
        n_saved.append(1)
        save(state, file if len(n_saved) < 3 else Interrupted())

    monkeypatch.setattr(torch, "save", interrupted)
    estimator = encoder(checkpoint_dir=tmp_path)
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted"):
        fitted(estimator, clips)
    assert estimator.n_iter_ >= 2
    monkeypatch.undo()
    assert_same_fit(fitted(encoder(), clips), fitted(encoder(checkpoint_dir=tmp_path), clips))


def test_a_full_disk_keeps_the_last_checkpoint(clips, tmp_path, monkeypatch):
    whole = fitted(encoder(callbacks=[Killer()]), clips)
    save, n_saved = torch.save, []

    def fails(state, file):
        n_saved.append(1)
        if len(n_saved) == 3:
            file.write(b"half")
            raise OSError(28, "No space left on device")
        save(state, file)

    monkeypatch.setattr(torch, "save", fails)
    with pytest.raises(
        ValueError, match=r"checkpoint_dir must be a folder that can be written to, got .*No space left"
    ):
        fitted(encoder(callbacks=[Killer()], checkpoint_dir=tmp_path), clips)
    assert len(list(tmp_path.iterdir())) == 1
    assert_same_fit(whole, fitted(encoder(callbacks=[Killer()], checkpoint_dir=tmp_path), clips))


def test_only_abandoned_writes_are_cleared_away(clips, tmp_path):
    estimator = encoder(checkpoint_dir=tmp_path, max_epochs=1)
    fitted(estimator, clips)
    (path,) = tmp_path.iterdir()
    written_now, abandoned = (path.with_suffix(f".{pid}.unfinished") for pid in (1, 2))
    for leftover in (written_now, abandoned):
        leftover.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    fitted(estimator, clips)
    assert written_now.exists()  # another process may be at it
    assert not abandoned.exists()
