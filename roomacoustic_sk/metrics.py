"""Error measures for room parameter estimates, as reported in the paper, and their scikit-learn scorers."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import make_scorer, root_mean_squared_error

from roomacoustic_sk._sound import is_constant
from roomacoustic_sk._validation import ArgumentValueError, as_array, describe, door

__all__ = [
    "bias",
    "bias_scorer",
    "pearson_r",
    "pearson_r_scorer",
    "regression_metrics",
    "relative_rmse",
    "relative_rmse_scorer",
    "rmse",
    "rmse_scorer",
]

SMALLEST, LARGEST = 1e-150, 1e150
"""Range of the largest magnitude: beyond it, squares are zero or infinite."""


def _check_pair(y_true: ArrayLike, y_pred: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return two finite float arrays of the same shape, 1-D or 2-D."""
    true, predicted = (
        as_array(values, name=name, expected="an array of numbers", dtype=float)
        for name, values in (("y_true", y_true), ("y_pred", y_pred))
    )
    _check_aligned(y_true, y_pred)
    if true.shape != predicted.shape or true.ndim not in (1, 2) or len(true) == 0:
        raise ArgumentValueError(
            "y_true and y_pred must have the same shape, (n_recordings,) or (n_recordings, n_targets), "
            f"got {describe(true)} and {describe(predicted)}."
        )
    for name, values in (("y_true", true), ("y_pred", predicted)):
        if not np.isfinite(values).all():
            n_broken = int(np.sum(~np.isfinite(values)))
            raise ArgumentValueError(f"{name} must be finite, got NaN or infinity in {n_broken} of its values.")
        largest = np.abs(values).max()
        if largest and not SMALLEST < largest < LARGEST:
            raise ArgumentValueError(
                f"{name} must have values whose squares float64 holds, got a largest value of {largest:.3g}. Scale it."
            )
    return true, predicted


def _check_aligned(y_true: Any, y_pred: Any) -> None:
    """Refuse frames and series with the same labels in another order: they are compared by position."""
    for axis in ("index", "columns"):
        first, second = (getattr(values, axis, None) for values in (y_true, y_pred))
        if first is None or second is None or callable(first) or callable(second) or len(first) != len(second):
            continue  # not of pandas: lists have a method index
        if not first.equals(second) and set(first) == set(second):
            raise ArgumentValueError(
                f"y_true and y_pred must have their {axis} in the same order, got the same labels in another. Reorder "
                "one, e.g. y_pred.reindex_like(y_true)."
            )


@door
def rmse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the root-mean-square error, in the target's unit.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True and estimated values; with several targets, their errors are averaged.

    Returns
    -------
    float
        0 if every estimate is exact.

    Raises
    ------
    ValueError
        If the shapes differ, the arrays are empty, or a value is not finite.

    Examples
    --------
    >>> from roomacoustic_sk.metrics import rmse
    >>> rmse([1.0, 2.0], [1.0, 4.0])
    1.4142135623730951
    """
    return float(root_mean_squared_error(*_check_pair(y_true, y_pred)))


@door
def relative_rmse(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Divide the RMSE by the standard deviation of the true values.

    0 is perfect; 1 is as bad as always predicting their mean.

    Unlike the RMSE, it can be compared across data sets with different spreads.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True and estimated values; with several targets, their errors are averaged.

    Returns
    -------
    float
        NaN if the true values are all equal.

    Raises
    ------
    ValueError
        If the shapes differ, the arrays are empty, or a value is not finite.

    Examples
    --------
    >>> from roomacoustic_sk.metrics import relative_rmse
    >>> relative_rmse([1.0, 3.0], [2.0, 2.0])
    1.0
    """
    true, predicted = _check_pair(y_true, y_pred)
    error, spread = np.sqrt(np.mean((predicted - true) ** 2, axis=0)), np.std(true, axis=0)
    return float(np.mean(np.divide(error, spread, out=np.full_like(error, np.nan), where=~is_constant(true))))


@door
def pearson_r(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return Pearson's correlation coefficient between true and estimated values.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True and estimated values; with several targets, their coefficients are averaged.

    Returns
    -------
    float
        NaN if the true values are all equal; 0 if the estimates are, since they then carry no information.

    Raises
    ------
    ValueError
        If the shapes differ, the arrays are empty, or a value is not finite.

    Examples
    --------
    >>> from roomacoustic_sk.metrics import pearson_r
    >>> round(pearson_r([1.0, 2.0, 3.0], [3.0, 5.0, 7.0]), 12)
    1.0
    """
    true, predicted = _check_pair(y_true, y_pred)
    covariance = np.mean((true - true.mean(axis=0)) * (predicted - predicted.mean(axis=0)), axis=0)
    spreads = np.std(true, axis=0) * np.std(predicted, axis=0)
    r = np.divide(covariance, spreads, out=np.zeros_like(spreads), where=~is_constant(predicted) & (spreads > 0))
    return float(np.mean(np.where(is_constant(true), np.nan, r)))


@door
def bias(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Return the mean of estimate minus true value, in the target's unit.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True and estimated values; with several targets, their biases are averaged.

    Returns
    -------
    float
        Above 0 if the estimates are too large on average.

    Raises
    ------
    ValueError
        If the shapes differ, the arrays are empty, or a value is not finite.

    Examples
    --------
    >>> from roomacoustic_sk.metrics import bias
    >>> bias([1.0, 2.0], [1.5, 3.5])
    1.0
    """
    true, predicted = _check_pair(y_true, y_pred)
    return float(np.mean(predicted - true))


@door
def regression_metrics(y_true: ArrayLike, y_pred: ArrayLike) -> dict[str, float]:
    """Return all four measures at once, by name.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_recordings,) or (n_recordings, n_targets)
        True and estimated values.

    Returns
    -------
    dict of str to float
        ``rmse``, ``relative_rmse``, ``pearson_r`` and ``bias``.

    Raises
    ------
    ValueError
        If the shapes differ, the arrays are empty, or a value is not finite.

    Examples
    --------
    >>> from roomacoustic_sk.metrics import regression_metrics
    >>> sorted(regression_metrics([1.0, 2.0], [1.0, 3.0]))
    ['bias', 'pearson_r', 'relative_rmse', 'rmse']
    """
    return {metric.__name__: metric(y_true, y_pred) for metric in (rmse, relative_rmse, pearson_r, bias)}


def _absolute_bias(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    return abs(bias(y_true, y_pred))


rmse_scorer = make_scorer(rmse, greater_is_better=False)
relative_rmse_scorer = make_scorer(relative_rmse, greater_is_better=False)
pearson_r_scorer = make_scorer(pearson_r)
bias_scorer = make_scorer(_absolute_bias, greater_is_better=False)
