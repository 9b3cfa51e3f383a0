"""Errors by hand, against scipy and scikit-learn, and as scorers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score
from sklearn.model_selection import GridSearchCV, cross_validate

from roomacoustic_sk import metrics
from roomacoustic_sk.metrics import (
    bias,
    bias_scorer,
    pearson_r,
    pearson_r_scorer,
    regression_metrics,
    relative_rmse,
    relative_rmse_scorer,
    rmse,
    rmse_scorer,
)

METRICS = [rmse, relative_rmse, pearson_r, bias]


@pytest.fixture
def pair():
    rng = np.random.default_rng(0)
    true = rng.gamma(2.0, 0.5, (50, 3)) * [1.0, 10.0, 200.0]
    return true, 0.8 * true + rng.normal(size=(50, 3)) * [0.2, 2.0, 40.0] + [0.1, -1.0, 20.0]


def test_values_are_those_worked_out_by_hand():
    true, predicted = [1.0, 2.0, 3.0, 6.0], [2.0, 2.0, 5.0, 7.0]
    # errors 1, 0, 2, 1; mean of the truth 3, its variance (4 + 1 + 0 + 9) / 4
    assert rmse(true, predicted) == pytest.approx(math.sqrt(6 / 4))
    assert relative_rmse(true, predicted) == pytest.approx(math.sqrt(6 / 14))
    assert bias(true, predicted) == pytest.approx(1.0)
    # deviations -2, -1, 0, 3 and -2, -2, 1, 3
    assert pearson_r(true, predicted) == pytest.approx(15 / math.sqrt(14 * 18))


def test_bias_is_positive_where_estimates_are_too_large():
    assert bias([1.0, 2.0], [2.0, 3.0]) == 1.0
    assert bias([1.0, 2.0], [0.0, 1.0]) == -1.0


def test_pearson_r_equals_scipys(pair):
    for true, predicted in zip(*(values.T for values in pair), strict=True):
        assert pearson_r(true, predicted) == pytest.approx(stats.pearsonr(true, predicted).statistic, rel=1e-12)
        assert pearson_r(true, -predicted) == pytest.approx(-pearson_r(true, predicted), rel=1e-12)


def test_relative_rmse_is_the_root_of_the_unexplained_variance(pair):
    for true, predicted in zip(*(values.T for values in pair), strict=True):
        assert relative_rmse(true, predicted) == pytest.approx(math.sqrt(1 - r2_score(true, predicted)), rel=1e-12)


def test_the_constant_mean_has_relative_rmse_1_and_correlation_0(pair):
    true = pair[0][:, 0]
    said = np.full_like(true, true.mean())
    assert relative_rmse(true, said) == pytest.approx(1.0)
    assert pearson_r(true, said) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_errors_of_several_targets_are_averaged(metric, pair):
    true, predicted = pair
    each = [metric(true[:, i], predicted[:, i]) for i in range(3)]
    assert metric(true, predicted) == pytest.approx(np.mean(each), rel=1e-12)
    assert metric(true[:, :1], predicted[:, :1]) == pytest.approx(each[0], rel=1e-12)


@pytest.mark.parametrize("unit", [1e-15, 1e-3, 1e6])
def test_ratios_are_free_of_units_and_errors_scale_with_them(unit, pair):
    true, predicted = pair[0][:, 0], pair[1][:, 0]
    for metric in (relative_rmse, pearson_r):
        assert metric(unit * true, unit * predicted) == pytest.approx(metric(true, predicted), rel=1e-9)
    for metric in (rmse, bias):
        assert metric(unit * true, unit * predicted) == pytest.approx(unit * metric(true, predicted), rel=1e-9)


@pytest.mark.parametrize("constant", [0.0, 0.1, 1.0, 12_345.678])
@pytest.mark.parametrize("n_values", [1, 3, 7, 100])
def test_ratios_are_nan_where_the_truth_is_constant(constant, n_values):
    true, predicted = np.full(n_values, constant), np.random.default_rng(0).normal(size=n_values)
    assert math.isnan(relative_rmse(true, predicted))
    assert math.isnan(pearson_r(true, predicted))


@pytest.mark.parametrize("constant", [0.0, 0.1, 12_345.678])
def test_constant_estimates_do_not_correlate(constant):
    true = np.random.default_rng(0).normal(size=7)
    assert pearson_r(true, np.full(7, constant)) == 0.0


def test_rounding_does_not_count_as_spread():
    true, rounded = np.random.default_rng(0).normal(size=7), np.full(7, 0.1)
    rounded[::2] = np.nextafter(0.1, 1.0)
    assert pearson_r(true, rounded) == 0.0
    assert math.isnan(pearson_r(rounded, true))
    assert math.isnan(relative_rmse(rounded, true))


def test_all_metrics_at_once_agree_with_the_single_ones(pair):
    found = regression_metrics(*pair)
    assert found == {metric.__name__: metric(*pair) for metric in METRICS}
    assert all(type(value) is float for value in found.values())


@pytest.mark.parametrize("metric", METRICS)
def test_invalid_input_is_refused(metric):
    name = metric.__name__
    with pytest.raises(ValueError, match=rf"{name}: y_true and y_pred must have the same shape.*\(2,\).*\(3,\)"):
        metric([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="must have the same shape"):
        metric(np.ones((4, 1)), np.ones(4))  # would broadcast to 4 x 4
    with pytest.raises(ValueError, match="must have the same shape"):
        metric([], [])
    with pytest.raises(ValueError, match=f"{name}: y_true must be finite, got NaN or infinity in 1 of its values"):
        metric([1.0, np.nan], [1.0, 2.0])
    with pytest.raises(ValueError, match=f"{name}: y_pred must be finite, got NaN or infinity in 2 of its values"):
        metric([1.0, 2.0], [np.inf, np.nan])


def test_all_metrics_at_once_name_the_function_that_was_called():
    with pytest.raises(ValueError, match=r"^regression_metrics: y_true and y_pred must have the same shape"):
        regression_metrics([1.0, 2.0], [1.0])


def test_greater_scores_are_better():
    X, y = np.array([[0.0], [1.0], [2.0]]), np.array([0.0, 1.0, 2.0])
    good = LinearRegression().fit(X, [0.1, 0.9, 2.2])
    poor = LinearRegression().fit(X, [2.0, 1.0, 1.0])
    for scorer in (rmse_scorer, relative_rmse_scorer, pearson_r_scorer, bias_scorer):
        assert scorer(good, X, y) > scorer(poor, X, y)
    assert rmse_scorer(poor, X, y) == -rmse(y, poor.predict(X))
    assert relative_rmse_scorer(poor, X, y) == -relative_rmse(y, poor.predict(X))
    assert pearson_r_scorer(poor, X, y) == pearson_r(y, poor.predict(X))
    assert bias_scorer(poor, X, y) == -abs(bias(y, poor.predict(X)))


def test_the_bias_score_is_greatest_without_bias():
    X, y = np.zeros((3, 1)), np.array([1.0, 2.0, 3.0])
    scores = [bias_scorer(DummyRegressor(strategy="constant", constant=c).fit(X, y), X, y) for c in (1.0, 2.0, 3.0)]
    assert scores == [-1.0, 0.0, -1.0]


def test_scorers_work_in_cross_validation_and_grid_search(pair):
    X, y = pair[1], pair[0]
    scoring = {"rmse": rmse_scorer, "relative": relative_rmse_scorer, "r": pearson_r_scorer, "bias": bias_scorer}
    scores = cross_validate(LinearRegression(), X, y, cv=3, scoring=scoring, error_score="raise")
    assert np.all(scores["test_rmse"] < 0)
    assert np.all(scores["test_r"] > 0.5)
    search = GridSearchCV(LinearRegression(), {"positive": [True, False]}, scoring=rmse_scorer, cv=3).fit(X, y)
    assert search.best_score_ == search.cv_results_["mean_test_score"].max()


def test_all_metrics_and_scorers_are_public():
    functions = {name for name, value in vars(metrics).items() if getattr(value, "__module__", "") == metrics.__name__}
    scorers = {name for name in vars(metrics) if name.endswith("_scorer") and name != "make_scorer"}
    assert set(metrics.__all__) == {name for name in functions | scorers if not name.startswith("_")}
