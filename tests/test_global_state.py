"""Other libraries' global state: torch's default number format, device and gradients, NumPy's errors, locks, masks."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from unittest import mock

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold
from toys import ENCODER, RATE, SUPERVISED, decaying_noise, diffuse, noise

from roomacoustic_sk import ContrastiveRoomEncoder, RoomClassifier, RoomRegressor, SupervisedRoomRegressor
from roomacoustic_sk.acoustics import clarity, reverberation_time
from roomacoustic_sk.features import DecaySlopeFeatures
from roomacoustic_sk.metrics import rmse
from roomacoustic_sk.model_selection import RoomDisjointSplit
from roomacoustic_sk.samplers import MultiviewBatchSampler

SMALL = ENCODER | {"n_classes": 2, "validation_fraction": 0}
X = decaying_noise(np.repeat([0.2, 0.4, 0.6], 4))
RIR, SOURCE = np.divmod(np.arange(12), 4)
Y, Z = np.repeat([0.2, 0.4, 0.6], 4), noise(12, 8)
pytestmark = pytest.mark.filterwarnings("ignore:.*no validation")

FITS = {
    "encoder": lambda: ContrastiveRoomEncoder(**SMALL).fit(X, rir_groups=RIR, source_groups=SOURCE).transform(X),
    "paper": lambda: SupervisedRoomRegressor(**SUPERVISED | {"network": "paper"}).fit(X, Y).predict(X),
    "supervised": lambda: SupervisedRoomRegressor(**SUPERVISED).fit(X, Y).predict(X),
    "regressor": lambda: RoomRegressor(max_epochs=2, random_state=0).fit(Z, Y).predict(Z),
    "classifier": lambda: RoomClassifier(max_epochs=2, random_state=0).fit(Z, RIR).predict_proba(Z),
}


@contextlib.contextmanager
def default_dtype(dtype):
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype
    finally:
        torch.set_default_dtype(torch.float32)


STATES = {
    "float64": lambda: default_dtype(torch.float64),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "another device": lambda: torch.device("meta"),
    "inference mode": torch.inference_mode,
    "no gradients": torch.no_grad,
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "NumPy raises": lambda: np.errstate(all="raise"),
}


@pytest.mark.parametrize("fit", FITS.values(), ids=FITS)
def test_results_do_not_depend_on_global_state(fit):
    expected = fit()
    for name, state in STATES.items():
        with state():
            found = fit()
        np.testing.assert_array_equal(found, expected, err_msg=name)


def test_numpy_errors_that_raise_change_no_parameter():
    silent_end = np.concatenate([diffuse(0.2, 0.5), np.zeros(4000)])
    for call in (
        lambda: clarity(silent_end, RATE, truncation=None),
        lambda: reverberation_time(1e-9 * silent_end, RATE, bands=[500, 1000], truncation=None),
        lambda: DecaySlopeFeatures().fit_transform(X),
        lambda: rmse([0.0, 1.0], [1e-160, 1.0]),
    ):
        expected = call()
        with np.errstate(all="raise"):
            np.testing.assert_array_equal(call(), expected)


def test_only_the_device_in_use_is_seeded():
    touched, state = set(), torch.get_rng_state()
    with (
        mock.patch("torch.cuda.device_count", return_value=8),
        mock.patch("torch.cuda.get_rng_state", side_effect=lambda device=0: touched.add(device) or state),
        mock.patch("torch.cuda.set_rng_state", side_effect=lambda new, device=0: touched.add(device)),
        mock.patch("torch.cuda.manual_seed_all", side_effect=lambda seed: touched.add("all")),
    ):
        RoomRegressor(device="cpu", max_epochs=1, random_state=0).fit(Z, Y)
    assert not touched


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_process_forked_beside_a_fit_can_fit():
    stop = threading.Event()

    def fit_on():
        while not stop.is_set():
            RoomRegressor(max_epochs=3).fit(Z, Y)

    thread = threading.Thread(target=fit_on)
    thread.start()
    try:
        time.sleep(0.3)
        child = os.fork()
        if not child:
            RoomRegressor(max_epochs=1).fit(Z, Y)
            os._exit(0)
        deadline = time.monotonic() + 20
        while not (ended := os.waitpid(child, os.WNOHANG)[0]) and time.monotonic() < deadline:
            time.sleep(0.05)
        if not ended:
            os.kill(child, 9)
            os.waitpid(child, 0)
        assert ended
    finally:
        stop.set()
        thread.join()


MASK = [True] + [False] * 11


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("y_true", lambda: rmse(np.ma.array(Y, mask=MASK), Y)),
        ("y_pred", lambda: rmse(Y, np.ma.array(Y, mask=MASK))),
        ("rirs", lambda: reverberation_time(np.ma.masked_less(diffuse(0.3, 0.5), 0), RATE)),
        ("rirs", lambda: reverberation_time([np.ma.masked_less(diffuse(0.3, 0.5), 0)], RATE)),
        ("rir_groups", lambda: MultiviewBatchSampler(np.ma.array(RIR, mask=MASK))),
        ("room_groups", lambda: list(RoomDisjointSplit(KFold(3), np.ma.array(RIR, mask=MASK)).split(Z))),
        ("X", lambda: RoomRegressor().fit(np.ma.masked_less(Z, 0), Y)),
        ("y", lambda: RoomRegressor().fit(Z, np.ma.array(Y, mask=MASK))),
        ("y", lambda: RoomClassifier().fit(Z, np.ma.array(RIR, mask=MASK))),
        ("X", lambda: ContrastiveRoomEncoder(**SMALL).fit(np.ma.masked_less(X, 0), rir_groups=RIR)),
        ("y", lambda: SupervisedRoomRegressor(**SUPERVISED).fit(X, np.ma.array(Y, mask=MASK))),
    ],
)
def test_masked_values_are_refused(name, call):
    with pytest.raises(ValueError, match=rf"^\w+: {name} must not have masked values"):
        call()


def test_arrays_without_a_masked_value_are_taken():
    assert rmse(np.ma.array(Y), Y) == 0


def test_splits_from_a_generator_are_kept_and_checked():
    room = np.repeat(range(6), 2)
    split = RoomDisjointSplit((parts for parts in GroupKFold(3).split(Z, groups=room)), room)
    for _ in range(2):
        assert split.get_n_splits(Z) == len(list(split.split(Z))) == 3
    GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=split).fit(Z, Y)
    shared = RoomDisjointSplit(iter([(np.arange(7), np.arange(7, 12))]), room)
    assert shared.get_n_splits(Z) == 1
    with pytest.raises(ValueError, match="cv must not put a room into both training and test, got room 3"):
        shared.split(Z)


@pytest.mark.parametrize("labels", [[1, "a"] * 6, [(0, 1), 2] * 6, [None, 1] * 6, [b"a", "a"] * 6, [{}, []] * 6])
def test_labels_of_several_kinds_are_refused_by_name(labels):
    column = np.empty(12, dtype=object)
    column[:] = labels
    for call in (
        lambda: MultiviewBatchSampler(column),
        lambda: ContrastiveRoomEncoder(**SMALL).fit(X, rir_groups=column),
    ):
        with pytest.raises((TypeError, ValueError), match=r"^\w+: rir_groups must "):
            call()


@pytest.mark.parametrize(
    ("stereo", "fix"),
    [
        (np.stack([X[0], X[0]], axis=1), r"with 2 channels along the second axis. Choose a channel, X\[:, 0\]"),
        (np.stack([X, X], axis=2), r"Choose a channel .*X\[:, :, 0\]"),
        (np.stack([X, X], axis=1), r"Choose a channel .*X\[:, 0\]"),
        ([np.stack([X[0], X[0]], axis=1)], r"Choose a channel of each, e.g. X\[0\]\[0\] or \[:, 0\]"),
    ],
)
def test_recordings_of_several_channels_are_told_to_choose_one(stereo, fix):
    encoder = ContrastiveRoomEncoder(**SMALL | {"max_epochs": 0}).fit(X, rir_groups=RIR)
    for model in (encoder, DecaySlopeFeatures().fit(X)):
        with pytest.raises(ValueError, match=fix):
            model.transform(stereo)
