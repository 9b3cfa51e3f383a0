"""Heads of frozen encoders, networks trained end to end and baselines: fitted for a task, judged in the tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingClassifier, BaggingRegressor
from sklearn.metrics import accuracy_score, precision_score, recall_score
from sklearn.utils import Bunch
from sklearn.utils.parallel import Parallel, delayed

from experiments.data import is_large, labels_of
from roomacoustic_sk import RoomClassifier, RoomRegressor
from roomacoustic_sk.metrics import regression_metrics

TARGETS = {  # of a task: the target, and whether its logarithm is learned
    "rt60": ("rt60", False),  # as in the paper
    "log rt60": ("rt60", True),
    "log rt60_mid": ("rt60_mid", True),
    "c50": ("c50", False),
}
HEAD: dict[str, Any] = {"validation_fraction": 0.2, "patience": 6}

Rows = list[dict[str, Any]]
Clips = Mapping[str, Bunch]


def logarithmic(regressor: Any) -> Any:
    """Learn the logarithm of the target."""
    return TransformedTargetRegressor(regressor, func=np.log, inverse_func=np.exp)


def regressions(clips: Clips) -> list[str]:
    """Return the tasks whose target the clips have."""
    return [task for task, (target, _) in TARGETS.items() if target in clips["train"].target]


def fit_and_judge(task: str, estimator: Any, X: Mapping[str, Any], clips: Clips, fit: Mapping[str, Any]) -> Rows:
    """Fit an estimator of a task on the clips "train"; return its errors in all other clips.

    Parameters
    ----------
    task : str
        A name in `TARGETS`, or "volume".
    estimator : estimator
        A regressor, or for the volume a classifier.
    X : mapping of str to features
        What it learns from and is tested on.
    clips : mapping of str to Bunch
        Their targets.
    fit : mapping of str to array
        Fit parameters of the training clips.
    """
    if task == "volume":
        return _classify(estimator, X, clips, fit)
    target, takes_logarithm = TARGETS[task]
    known = {key: part.target[target].notna().to_numpy() for key, part in clips.items()}
    y = {key: part.target[target].to_numpy()[known[key]] for key, part in clips.items()}
    estimator = logarithmic(estimator) if takes_logarithm else estimator
    learned = known["train"] if not known["train"].all() else slice(None)  # so that nothing is copied
    estimator.fit(X["train"][learned], y["train"], **{name: values[learned] for name, values in fit.items()})
    return [
        {"task": task, "test": test} | regression_metrics(y[test], estimator.predict(X[test][known[test]]))
        for test in clips
        if test != "train"
    ]


def _classify(estimator: Any, X: Mapping[str, Any], clips: Clips, fit: Mapping[str, Any]) -> Rows:
    """Fit a classifier of room volume; return its scores, precision and recall averaged over both classes."""
    large = {key: is_large(part) for key, part in clips.items()}
    estimator.fit(X["train"], large["train"], **fit)
    rows, common = [], {"average": "macro", "zero_division": 0}
    for test in clips:
        if test != "train":
            found = estimator.predict(X[test])
            scores = {
                "accuracy": accuracy_score(large[test], found),
                "precision": precision_score(large[test], found, **common),
                "recall": recall_score(large[test], found, **common),
            }
            rows.append({"task": "volume", "test": test} | {name: float(score) for name, score in scores.items()})
    return rows


def fit_all(
    X: Mapping[str, Any], clips: Clips, regressor: Callable[[], Any], classifier: Callable[[], Any], fit: Mapping
) -> Rows:
    """Fit an estimator for each task, as many at a time as torch has threads."""
    targets = {key: Bunch(target=part.target) for key, part in clips.items()}  # no waveforms for the workers
    jobs = [delayed(fit_and_judge)(task, regressor(), X, targets, fit) for task in regressions(clips)]
    jobs.append(delayed(fit_and_judge)("volume", classifier(), X, targets, fit))
    return [row for rows in Parallel(n_jobs=torch.get_num_threads())(jobs) for row in rows]


def fit_heads(X: Mapping[str, Any], clips: Clips, seed: int, hold_out: str = "source", n_heads: int = 1) -> Rows:
    """Fit the heads of a frozen encoder for all tasks, or for each of them an ensemble whose estimates are averaged."""
    common: dict[str, Any] = {**HEAD, "hold_out": hold_out, "random_state": seed}
    regressor: Callable[[], Any] = partial(RoomRegressor, **common)
    classifier: Callable[[], Any] = partial(RoomClassifier, **common)
    if n_heads > 1:  # which differ by their weights, their batches and what they hold out
        ensemble = {"n_estimators": n_heads, "bootstrap": False, "random_state": seed}
        regressor = partial(BaggingRegressor, regressor(), **ensemble)
        classifier = partial(BaggingClassifier, classifier(), **ensemble)
    with sklearn.config_context(enable_metadata_routing=True):  # without it, bagging passes on no labels
        return fit_all(X, clips, regressor, classifier, labels_of(clips["train"]))


def embed(encoder: Any, clips: Clips) -> dict[str, np.ndarray]:
    """Return the embeddings of all clips."""
    return {key: encoder.transform(part.data) for key, part in clips.items()}
