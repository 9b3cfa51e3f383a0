"""The estimators among scikit-learn's own: its checks, group labels through its tools, and everyday use."""

from __future__ import annotations

import copy
import io
import os
import threading
import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import torch
from joblib.externals.loky import get_reusable_executor
from sklearn.base import clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingRegressor
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - importing it enables the search
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    KFold,
    RandomizedSearchCV,
    cross_validate,
    learning_curve,
    permutation_test_score,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.svm import SVC
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import parametrize_with_checks
from skorch.callbacks import Callback
from toys import (
    ENCODER,
    N_SOURCES,
    RIRS_A_ROOM,
    SUPERVISED,
    THREAD_VARIABLES,
    fit_encoder,
    numbered_recordings,
    room_grid_labels,
)

from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomClassifier,
    RoomRegressor,
    RoomRegressorEnsemble,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
)
from roomacoustic_sk.features import DecaySlopeFeatures

HEAD = {"validation_fraction": 0, "max_epochs": 2, "n_hidden": 16, "random_state": 0}
SILENCE = {
    "check_estimators_dtypes": "feeds rows of zeros, and a silent recording is refused: it says nothing about a room"
}


def pipeline(**parameters):
    return Pipeline([("enc", ContrastiveRoomEncoder(**ENCODER | parameters)), ("reg", RoomRegressor(**HEAD))])


def prefixed(groups, prefix="enc__"):
    return {f"{prefix}{name}": labels for name, labels in groups.items()}


def expected_failures(estimator):
    return (
        {}
        if isinstance(estimator, (RoomRegressor, RoomRegressorEnsemble, RoomClassifier, DecaySlopeFeatures))
        else SILENCE
    )


@pytest.mark.filterwarnings("ignore")  # the checks provoke some: recordings of a few samples are repeated
@parametrize_with_checks(
    [
        ContrastiveRoomEncoder(**ENCODER),
        DecaySlopeFeatures(),
        RoomRegressor(**HEAD | {"max_epochs": 10, "lr": 0.01}),
        RoomRegressorEnsemble(RoomRegressor(**HEAD | {"max_epochs": 10, "lr": 0.01}), n_estimators=2, random_state=0),
    ],
    expected_failed_checks=expected_failures,
)
def test_estimators_pass_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.slow  # their relatives above have the same base classes
@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [
        RoomClassifier(**HEAD | {"max_epochs": 10, "lr": 0.01}),
        SupervisedRoomRegressor(**SUPERVISED),
        SupervisedRoomClassifier(**SUPERVISED),
    ],
    expected_failed_checks=expected_failures,
)
def test_further_estimators_pass_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


# --- Group labels through scikit-learn ------------------------------------------------------------------------------


class LabelRecorder(Callback):
    """Note, across clones, the recordings behind the samplers of each fit."""

    seen: list = []  # noqa: RUF012 - shared on purpose: clones must write to one list

    def on_train_begin(self, net, X=None, **kwargs):
        train, valid = X
        sources = [loader.source for loader in (train, valid)]
        numbers = [source.recordings[i][0] for source in sources for i in source.indices]
        LabelRecorder.seen.append(np.array(numbers).astype(int))


@pytest.fixture
def numbered():
    """Rows that hold their own number, and group labels; the recorder is empty."""
    LabelRecorder.seen.clear()
    groups = room_grid_labels()
    n_recordings = len(groups["rir_groups"])
    X = numbered_recordings(n_recordings).astype(np.float64)
    return X, np.arange(n_recordings, dtype=float), groups


class CheckedEncoder(ContrastiveRoomEncoder):
    """An encoder that refuses labels of other recordings than its own."""

    def fit(self, X, y=None, *, rir_groups=None, source_groups=None, room_groups=None):
        index = np.abs(X[:, 0]).astype(int) - 1
        np.testing.assert_array_equal(rir_groups, index // N_SOURCES)
        np.testing.assert_array_equal(source_groups, index % N_SOURCES)
        np.testing.assert_array_equal(room_groups, index // N_SOURCES // RIRS_A_ROOM)
        LabelRecorder.seen.append(index)
        return super().fit(X, y, rir_groups=rir_groups, source_groups=source_groups, room_groups=room_groups)


def checked_pipeline():
    return Pipeline([("enc", CheckedEncoder(**ENCODER)), ("reg", RoomRegressor(**HEAD))])


SEARCHES = {
    "GridSearchCV": lambda pipe, prefix: GridSearchCV(
        pipe, {f"{prefix}sampling": ["soft", "hard"]}, cv=GroupKFold(2), error_score="raise", refit=False
    ),
    "RandomizedSearchCV": lambda pipe, prefix: RandomizedSearchCV(
        pipe, {f"{prefix}tau": [0.1, 0.5, 1.0]}, n_iter=2, cv=GroupKFold(2), error_score="raise", refit=False
    ),
    "HalvingGridSearchCV": lambda pipe, prefix: HalvingGridSearchCV(
        pipe,
        {f"{prefix}tau": [0.1, 1.0]},
        cv=GroupKFold(2),
        error_score="raise",
        refit=False,
        resource=f"{prefix}steps_per_epoch",
        min_resources=1,
        max_resources=2,
        factor=2,
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("routing", [False, True])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("search", SEARCHES)
def test_searches_pass_each_fold_only_its_own_labels(search, nested, routing, numbered):
    X, y, groups = numbered
    pipe = Pipeline([("inner", checked_pipeline()["enc"]), ("reg", RoomRegressor(**HEAD))])
    prefix = "inner__"
    if nested:
        pipe, prefix = (
            Pipeline([("inner", Pipeline([("enc", CheckedEncoder(**ENCODER))])), pipe.steps[1]]),
            "inner__enc__",
        )
    with sklearn.config_context(enable_metadata_routing=routing):
        if routing:
            labels, splitting = groups, {"groups": groups["room_groups"]}
        else:
            labels, splitting = prefixed(groups, prefix), {"groups": groups["room_groups"]}
        SEARCHES[search](pipe, prefix).fit(X, y, **labels, **splitting)
    folds = [set(train) for train, _ in GroupKFold(2).split(X, groups=groups["room_groups"])]
    assert len(LabelRecorder.seen) >= 4
    assert all(set(indices.tolist()) in folds for indices in LabelRecorder.seen)


@pytest.mark.parametrize("routing", [False, True])
def test_cross_validation_passes_each_fold_its_own_labels(routing, numbered):
    X, y, groups = numbered
    labels = groups | {"groups": groups["room_groups"]} if routing else prefixed(groups)
    given = {} if routing else {"groups": groups["room_groups"]}
    with sklearn.config_context(enable_metadata_routing=routing):
        scores = cross_validate(checked_pipeline(), X, y, cv=GroupKFold(2), params=labels, error_score="raise", **given)
    assert np.isfinite(scores["test_score"]).all()
    assert len(LabelRecorder.seen) == 2


def test_a_pipeline_passes_group_labels_to_the_encoder(room_grid):
    X, y, groups = room_grid
    pipe = pipeline().fit(X, y, **prefixed(groups))
    assert pipe.predict(X).shape == (72,)
    assert np.array_equal(pipe["enc"].transform(X), fit_encoder(X, groups).transform(X))


def test_a_grid_search_splits_group_labels_and_refits(room_grid):
    X, y, groups = room_grid
    search = GridSearchCV(pipeline(), {"enc__sampling": ["soft", "hard"]}, cv=GroupKFold(2), error_score="raise")
    search.fit(X, y, groups=groups["room_groups"], **prefixed(groups))
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (72,)


def test_group_labels_are_routed_as_metadata(room_grid):
    X, y, groups = room_grid
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = pipeline().fit(X, y, **groups)
        assert np.array_equal(pipe["enc"].transform(X), fit_encoder(X, groups).transform(X))
        search = GridSearchCV(pipe, {"enc__tau": [0.1, 1.0]}, cv=2, error_score="raise").fit(X, y, **groups)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_the_samplers_see_only_the_training_fold(numbered):
    X, y, groups = numbered
    pipe = Pipeline(
        [("enc", ContrastiveRoomEncoder(**ENCODER, callbacks=[LabelRecorder()])), ("reg", RoomRegressor(**HEAD))]
    )
    GridSearchCV(pipe, {"enc__tau": [0.1]}, cv=GroupKFold(3), refit=False, error_score="raise").fit(
        X, y, groups=groups["room_groups"], **prefixed(groups)
    )
    folds = list(GroupKFold(3).split(X, groups=groups["room_groups"]))
    assert [set(seen - 1) for seen in LabelRecorder.seen] == [set(train) for train, _ in folds]
    for seen, (_, test) in zip(LabelRecorder.seen, folds, strict=True):
        assert not set(groups["room_groups"][seen - 1]) & set(groups["room_groups"][test])


def test_prefixes_and_routing_give_the_same_scores(room_grid):
    X, y, groups = room_grid
    search = GridSearchCV(pipeline(), {"enc__tau": [0.1, 1.0]}, cv=GroupKFold(2), error_score="raise", refit=False)
    labels = prefixed(groups) | {"reg__source_groups": groups["source_groups"]}
    by_prefix = clone(search).fit(X, y, groups=groups["room_groups"], **labels)
    with sklearn.config_context(enable_metadata_routing=True):
        by_routing = clone(search).fit(X, y, groups=groups["room_groups"], **groups)
    for key in ("split0_test_score", "split1_test_score"):
        assert np.array_equal(by_prefix.cv_results_[key], by_routing.cv_results_[key])


def test_labels_of_a_wrong_length_are_refused_in_a_search(room_grid):
    X, y, groups = room_grid
    search = GridSearchCV(pipeline(), {"enc__tau": [0.1]}, cv=GroupKFold(2), error_score="raise")
    with pytest.raises(ValueError, match=r"rir_groups must be 1-D with"):
        search.fit(X, y, groups=groups["room_groups"], enc__rir_groups=groups["rir_groups"][:-1])


@pytest.mark.slow
def test_the_supervised_baseline_fits_into_the_same_grid(room_grid):
    X, y, groups = room_grid
    search = GridSearchCV(
        pipeline(n_classes=3),
        [
            {"enc__sampling": ["soft", "hard", "position_independent"]},
            {"enc": ["passthrough"], "reg": [SupervisedRoomRegressor(**SUPERVISED)]},
            {"enc": [DecaySlopeFeatures(bands=[1000])]},
        ],
        cv=GroupKFold(2),
        error_score="raise",
    )
    for routing in (False, True):
        with sklearn.config_context(enable_metadata_routing=routing):
            labels = groups if routing else prefixed(groups) | prefixed(groups, "reg__")
            search.fit(X, y, groups=groups["room_groups"], **labels)
            assert np.isfinite(search.cv_results_["mean_test_score"]).all()
            assert len(search.cv_results_["params"]) == 5


def test_a_frozen_encoder_is_not_fitted_again_in_a_search(room_grid):
    X, y, groups = room_grid
    encoder = ContrastiveRoomEncoder(**ENCODER).fit(X, **groups)
    before = encoder.transform(X)
    pipe = make_pipeline(FrozenEstimator(encoder), RidgeCV())
    search = GridSearchCV(pipe, {"ridgecv__fit_intercept": [True, False]}, cv=3, error_score="raise").fit(X, y)
    assert np.array_equal(search.best_estimator_[0].transform(X), before)
    assert np.array_equal(encoder.transform(X), before)


# --- Parallel jobs --------------------------------------------------------------------------------------------------


class ThreadCounter(Callback):
    """Write down the torch threads of each fit, with the worker it ran in."""

    def __init__(self, folder):
        self.folder = folder

    def on_train_begin(self, net, **kwargs):
        name = f"{os.getpid()}-{threading.get_ident()}-{torch.get_num_threads()}"
        (self.folder / name).touch()


@pytest.mark.slow
def test_parallel_searches_give_the_same_scores_without_more_threads(room_grid, tmp_path, monkeypatch):
    X, y, groups = room_grid
    scores = []
    for n_jobs in (1, 2):
        # joblib limits the threads of new workers, where nobody else has: the suite's own limit must not hide it.
        for variable in THREAD_VARIABLES:
            monkeypatch.delenv(variable, raising=False)
        get_reusable_executor().shutdown(wait=True)
        folder = tmp_path / str(n_jobs)
        folder.mkdir()
        search = GridSearchCV(
            pipeline(callbacks=[ThreadCounter(folder)]),
            {"enc__sampling": ["soft", "hard"]},
            cv=GroupKFold(2),
            n_jobs=n_jobs,
            error_score="raise",
            refit=False,
        )
        search.fit(X, y, groups=groups["room_groups"], **prefixed(groups))
        scores.append([search.cv_results_[f"split{i}_test_score"] for i in range(2)])
    get_reusable_executor().shutdown(wait=True)
    assert np.array_equal(*scores)
    workers = [path.name.split("-") for path in folder.iterdir()]
    assert str(os.getpid()) not in {process for process, _, _ in workers}
    assert 2 * max(int(n_threads) for _, _, n_threads in workers) <= max(joblib.cpu_count(), 2)


# --- Everyday use ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder(room_grid):
    """A fitted encoder."""
    X, _, groups = room_grid
    return ContrastiveRoomEncoder(**ENCODER).fit(X, **groups)


def test_parallel_threads_give_the_same_embeddings(room_grid):
    X, _, groups = room_grid
    state = torch.get_rng_state()

    def embeddings():
        return ContrastiveRoomEncoder(**ENCODER).fit(X, **groups).transform(X)

    alone = embeddings()
    for threaded in joblib.Parallel(n_jobs=2, backend="threading")(joblib.delayed(embeddings)() for _ in range(4)):
        assert np.array_equal(threaded, alone)
    assert torch.equal(torch.get_rng_state(), state)


def test_embeddings_as_a_pandas_frame_go_into_pca(encoder, room_grid):
    X, _, _ = room_grid
    framed = copy.deepcopy(encoder).set_output(transform="pandas")
    embeddings = framed.transform(X)
    assert embeddings.columns.tolist() == [f"contrastiveroomencoder{i}" for i in range(64)]
    assert PCA(2).set_output(transform="pandas").fit_transform(embeddings).shape == (len(X), 2)
    np.testing.assert_array_equal(embeddings.to_numpy(), encoder.transform(X))


def test_waveforms_may_be_frames_series_or_memory_maps(encoder, room_grid, tmp_path):
    X, _, _ = room_grid
    expected = encoder.transform(X)
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame(X)), expected)
    np.testing.assert_array_equal(encoder.transform(pd.DataFrame({"wave": list(X)})), expected)
    np.testing.assert_array_equal(encoder.transform(pd.Series(list(X), index=np.arange(len(X))[::-1])), expected)
    np.save(tmp_path / "X.npy", X)
    np.testing.assert_array_equal(encoder.transform(np.load(tmp_path / "X.npy", mmap_mode="r")), expected)


def test_a_frozen_encoder_feeds_a_linear_model(encoder, room_grid):
    X, y, _ = room_grid
    model = make_pipeline(FrozenEstimator(encoder), RidgeCV(np.logspace(-6, 1, 8))).fit(X, y)
    assert model.score(X, y) > 0.2


def test_targets_can_be_transformed(room_grid):
    X, y, groups = room_grid
    model = TransformedTargetRegressor(SupervisedRoomRegressor(**SUPERVISED), func=np.log, inverse_func=np.exp)
    assert (model.fit(X, y, source_groups=groups["source_groups"]).predict(X) > 0).all()


def test_estimators_can_be_stacked(encoder, room_grid):
    X, y, _ = room_grid
    stack = StackingRegressor(
        [
            ("contrastive", make_pipeline(FrozenEstimator(encoder), RidgeCV())),
            ("supervised", SupervisedRoomRegressor(**SUPERVISED)),
        ],
        cv=2,
    )
    assert stack.fit(X, y).predict(X).shape == y.shape


def test_permutation_tests_and_learning_curves_work(encoder, room_grid):
    X, y, _ = room_grid
    model = make_pipeline(FrozenEstimator(encoder), RoomRegressor(**HEAD))
    cv = KFold(2, shuffle=True, random_state=0)
    _, permuted, p_value = permutation_test_score(model, X, y, cv=cv, n_permutations=3, random_state=0)
    assert len(permuted) == 3
    assert 0 < p_value <= 1
    sizes, _, scores = learning_curve(
        model, X, y, cv=cv, train_sizes=[0.5, 1.0], shuffle=True, random_state=0, error_score="raise"
    )
    assert sizes.tolist() == [18, 36]
    assert np.isfinite(scores).all()


def test_classifiers_are_interchangeable_with_scikit_learns(encoder, room_grid):
    X, y, _ = room_grid
    large = y > 0.3
    for classifier in (RoomClassifier(**HEAD), SVC()):
        assert make_pipeline(FrozenEstimator(encoder), classifier).fit(X, large).predict(X).dtype == bool
    assert SupervisedRoomClassifier(**SUPERVISED).fit(X, large).predict(X).dtype == bool


@pytest.mark.parametrize(
    "make",
    [
        lambda: ContrastiveRoomEncoder(**ENCODER),
        lambda: SupervisedRoomRegressor(**SUPERVISED),
        lambda: make_pipeline(ContrastiveRoomEncoder(**ENCODER), RoomRegressor(**HEAD)),
    ],
)
def test_estimators_have_an_html_view_and_survive_copies(make, room_grid):
    X, y, _ = room_grid
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # recordings too short for views without labels
        model = make().fit(X, y)
    apply = model.predict if hasattr(model, "predict") else model.transform
    assert type(model).__name__ in estimator_html_repr(model)
    file = io.BytesIO()
    joblib.dump(model, file)
    file.seek(0)
    for twin in (joblib.load(file), copy.deepcopy(model)):
        again = twin.predict if hasattr(twin, "predict") else twin.transform
        assert np.array_equal(again(X), apply(X))
    fresh = clone(model)
    assert not hasattr(fresh, "n_features_in_")


def test_arrays_of_another_length_are_refused_and_lists_accepted(encoder, room_grid):
    X, _, _ = room_grid
    message = "X has 16000 features, but ContrastiveRoomEncoder is expecting 8000 features.*not at 16000 Hz.*list"
    long = np.hstack([X, X])
    with pytest.raises(ValueError, match=message):
        encoder.transform(long)
    assert encoder.transform(list(long)).shape == (len(X), 64)
