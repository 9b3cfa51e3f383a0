"""Values that numpy, torch or pandas would take without a word, and that would give a wrong number or a raw error."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

from roomacoustic_sk import RoomClassifier, RoomRegressor, SupervisedRoomClassifier, SupervisedRoomRegressor
from roomacoustic_sk.datasets import fetch_librispeech, load_measured_rirs, load_recordings, load_speech
from roomacoustic_sk.losses import SupConLoss, retrieval
from roomacoustic_sk.metrics import bias, pearson_r, regression_metrics, relative_rmse, rmse

Y = np.linspace(0.2, 1.0, 20)
METRICS = pytest.mark.parametrize("metric", [bias, pearson_r, regression_metrics, relative_rmse, rmse])


@METRICS
@pytest.mark.parametrize("values", [pd.date_range("2020", periods=20), Y.astype("m8[s]"), Y + 1j])
def test_dates_times_and_complex_numbers_are_no_estimates(metric, values):
    with pytest.raises((TypeError, ValueError), match=f"{metric.__name__}: y_true must be real .*(dates|complex)"):
        metric(values, Y)
    with pytest.raises((TypeError, ValueError), match=f"{metric.__name__}: y_pred must be real numbers"):
        metric(Y, values)


@METRICS
@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_values_whose_squares_are_lost_are_refused(metric, scale):
    with pytest.raises(ValueError, match=f"{metric.__name__}: y_true must have values whose squares float64 holds"):
        metric(scale * Y, Y)


@METRICS
def test_frames_in_another_order_are_refused(metric):
    frame = pd.DataFrame({"rt60": Y, "c50": 10 * Y})
    with pytest.raises(ValueError, match=f"{metric.__name__}: y_true and y_pred must have their columns in the same"):
        metric(frame, frame[["c50", "rt60"]])
    with pytest.raises(ValueError, match=f"{metric.__name__}: y_true and y_pred must have their index in the same"):
        metric(frame["rt60"], frame["rt60"][::-1])
    metric(frame["rt60"], pd.Series(Y, index=range(100, 120)))  # of another origin: by position
    metric(frame["rt60"], Y.tolist())


def test_dates_are_no_targets():
    for estimator in (
        RoomRegressor(validation_fraction=0),
        SupervisedRoomRegressor(max_epochs=0, segment_duration=0.5),
    ):
        X = np.random.default_rng(0).standard_normal((20, 8000))
        with pytest.raises(TypeError, match=r"Regressor: y must be real numbers, got dates or times"):
            estimator.fit(X, pd.date_range("2020", periods=20).to_numpy())


@pytest.mark.parametrize("classes", [[1, "1", 2, "2"], ["hall", None, "x", "x"], [2**53, 2**53 + 1, 0.5, 0.5]])
def test_lists_of_classes_of_several_kinds_are_refused(classes):
    X = np.random.default_rng(0).standard_normal((4, 8000))
    for estimator in (RoomClassifier(), SupervisedRoomClassifier(segment_duration=0.5)):
        with pytest.raises(ValueError, match=r"Classifier: y must (hold labels|not have missing labels)"):
            estimator.fit(X, classes)


def test_sparse_targets_are_refused():
    X = np.random.default_rng(0).standard_normal((20, 8000))
    for estimator in (RoomRegressor(), SupervisedRoomRegressor(segment_duration=0.5)):
        with pytest.raises(TypeError, match="Regressor: y must be"):
            estimator.fit(X, csr_matrix(X[:, :1]))


@pytest.mark.parametrize("scale", [1e-35, 1e-20, 1e20, 1e35])
def test_the_norm_of_embeddings_matters_at_no_scale(scale):
    z = torch.randn(12, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(12) // 3
    torch.testing.assert_close(SupConLoss(0.1)(scale * z, labels), SupConLoss(0.1)(z, labels))
    assert retrieval(scale * z, labels) == retrieval(z, labels)


def test_what_is_not_finite_is_no_share_of_retrieval():
    z, labels = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)), torch.arange(8) // 2
    for broken in (float("nan"), float("inf")):
        spoilt = z.clone()
        spoilt[3, 1] = broken
        assert retrieval(spoilt, labels).isnan()
    with pytest.raises(ValueError, match="retrieval: labels must not be missing, got NaN"):
        retrieval(z, labels * float("nan"))
    with pytest.raises(ValueError, match="SupConLoss: labels must not be missing, got NaN"):
        SupConLoss()(z, labels * float("nan"))
    for few in (0, 1):
        with pytest.raises(ValueError, match=f"retrieval: embeddings must be at least two, got {few}"):
            retrieval(z[:few], labels[:few])


def test_a_home_folder_of_nobody_is_refused():
    X, nowhere = np.random.default_rng(0).standard_normal((40, 4)), "~nobody-of-this-name/x"
    calls = {
        "source": [lambda: load_recordings(nowhere), lambda: load_measured_rirs(nowhere)],
        "folder": [lambda: load_speech(nowhere)],
        "data_home": [lambda: fetch_librispeech(data_home=nowhere)],
        "checkpoint_dir": [lambda: RoomRegressor(checkpoint_dir=nowhere, random_state=0).fit(X, X[:, 0])],
    }
    for name, several in calls.items():
        for call in several:
            with pytest.raises(ValueError, match=rf"^\w+: {name} must be a path, got '~nobody"):
                call()


def test_a_home_that_is_no_folder_is_refused(tmp_path: Path):
    (tmp_path / "file").touch()
    for home in (tmp_path / "file", tmp_path / "file" / "below", "a\0b"):
        with pytest.raises(ValueError, match="fetch_librispeech: data_home must be a folder that can be written"):
            fetch_librispeech(data_home=home, base_url="http://127.0.0.1:9", attempts=1, verbose=0)
