"""Targets on the scale of the network: names, unknown values, transforms, bounds, and the way back."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator

from roomacoustic_sk._torch.targets import MARGIN, TRANSFORMS, Regression, Targets


def checked(y):
    return Targets.checked(y, BaseEstimator())


def drawn_targets(n=200, seed=0):
    """Return reverberation times in s, ratios in dB with a long tail, and volumes in m3."""
    rng = np.random.default_rng(seed)
    ratio = np.where(rng.random(n) < 0.1, rng.uniform(20, 40, n), rng.normal(5, 4, n))
    return pd.DataFrame({"rt60": rng.lognormal(-0.7, 0.6, n), "c50": ratio, "volume": rng.lognormal(5, 1, n)})


def through(target, outputs):
    """Return what the last layer of a network makes of outputs."""
    with torch.inference_mode():
        return target.output_layer()(torch.tensor(outputs, dtype=torch.float32)).double().numpy()


# --- Names and unknown values ---------------------------------------------------------------------------------------


def test_names_are_those_of_columns_or_numbered():
    y = drawn_targets()
    assert checked(y).names == ["rt60", "c50", "volume"]
    assert checked(y.to_numpy()).names == ["y0", "y1", "y2"]
    assert checked(y.to_numpy().tolist()).names == ["y0", "y1", "y2"]
    assert checked(y["c50"]).names == ["c50"]
    assert checked(y["c50"].to_numpy()).names == ["y0"]
    assert checked(y.set_axis([0, 1, 2], axis=1)).names == ["0", "1", "2"]


def test_columns_of_one_name_are_refused():
    with pytest.raises(ValueError, match=r"y must have columns of different names, got \['a', 'a'\]"):
        checked(pd.DataFrame(np.ones((3, 2)), columns=["a", "a"]))


def test_a_single_target_must_be_known_throughout():
    for y in ([1.0, np.nan], [[1.0], [np.nan]], pd.Series([1.0, None])):
        with pytest.raises(ValueError, match="Input y contains NaN"):
            checked(y)


def test_recordings_and_targets_without_a_value_are_refused():
    with pytest.raises(ValueError, match="y must be finite, got NaN or infinity, of all its targets, in row 1"):
        Regression(checked([[1.0, 2.0], [np.nan, np.nan], [3.0, 4.0]]))
    with pytest.raises(ValueError, match="y must have known values of each target, got only NaN for 'b'"):
        Regression(checked(pd.DataFrame({"a": [1.0, 2.0], "b": [np.nan, np.nan]})))
    with pytest.raises(ValueError, match="Input y contains infinity"):
        checked([[1.0, np.inf], [1.0, 2.0]])


def test_the_scale_of_a_target_is_that_of_its_known_values():
    y = drawn_targets()
    y.loc[::3, "c50"] = np.nan
    alone = Regression(checked(y["c50"].dropna()))
    together = Regression(checked(y))
    encoded = together.encode(checked(y))
    np.testing.assert_array_equal(encoded[y["c50"].notna(), 1], alone.encode(checked(y["c50"].dropna()))[:, 0])
    assert np.isnan(encoded[::3, 1]).all()
    assert np.nanmean(encoded**2, axis=0) == pytest.approx(1, abs=1e-5)


def test_the_loss_is_the_mean_over_targets_each_on_its_known_values():
    y = drawn_targets()
    y.loc[::3, "c50"] = np.nan
    y.loc[1:150, "volume"] = np.nan
    target = Regression(checked(y))
    encoded = target.encode(checked(y))
    outputs = torch.randn(200, 3, generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = target.loss()(outputs, torch.from_numpy(encoded))
    expected = np.nanmean((outputs.detach().numpy() - encoded) ** 2, axis=0).mean()
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    loss.backward()
    assert torch.equal(outputs.grad == 0, torch.from_numpy(np.isnan(encoded)))


def test_columns_are_found_by_name_in_any_order():
    y = drawn_targets()
    target = Regression(checked(y))
    other = y.assign(material="wood")[["volume", "material", "c50", "rt60"]]
    np.testing.assert_array_equal(target.select(other, BaseEstimator()), y)
    np.testing.assert_array_equal(target.select(y.to_numpy(), BaseEstimator()), y)
    with pytest.raises(ValueError, match=r"y must have the columns of the fit, .* got none that is named 'volume'"):
        target.select(y[["rt60", "c50"]], BaseEstimator())
    with pytest.raises(ValueError, match=r"y must have one column for each target of the fit, .* got 2"):
        target.select(y.to_numpy()[:, :2], BaseEstimator())
    unnamed = Regression(checked(y.to_numpy()))
    np.testing.assert_array_equal(unnamed.select(y, BaseEstimator()), y)


# --- Transforms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("name", ["rt60", "c50", "volume"])
def test_targets_come_back_from_every_transform(transform, name):
    y = drawn_targets()[name]
    if transform == "log" and y.min() <= 0:
        return
    target = Regression(checked(y), target_transform=transform)
    z = target.standardised(y.to_numpy()[:, None])
    assert z.mean() == pytest.approx(0, abs=1e-12)
    assert z.std() == pytest.approx(1)
    np.testing.assert_allclose(target.estimates(z), y, rtol=1e-10)


def test_the_logarithm_of_a_target_is_standardised():
    y = drawn_targets()
    z = Regression(checked(y), target_transform={"rt60": "log"}).standardised(y.to_numpy())
    log = np.log(y["rt60"])
    np.testing.assert_allclose(z[:, 0], (log - log.mean()) / log.std(ddof=0))
    np.testing.assert_allclose(z[:, 1:], Regression(checked(y)).standardised(y.to_numpy())[:, 1:], rtol=1e-9)


@pytest.mark.parametrize("transform", ["bounded", "compressed"])
def test_bounded_estimates_never_leave_the_range_of_the_training_by_far(transform):
    y = drawn_targets()
    target = Regression(checked(y), target_transform={"c50": transform})
    outputs = np.linspace(-1e4, 1e4, 2001)[:, None] * np.ones(3)
    estimates = target.estimates(through(target, outputs))
    low, high = y["c50"].min(), y["c50"].max()
    reach = MARGIN * (high - low)
    if transform == "bounded":
        assert estimates[:, 1].min() == pytest.approx(low - reach, abs=1e-3)
        assert estimates[:, 1].max() == pytest.approx(high + reach, abs=1e-3)
    else:  # a tenth of the range on the compressed scale
        assert low - 2 * (high - low) < estimates[:, 1].min() < low
        assert high < estimates[:, 1].max() < high + 2 * (high - low)
    assert np.ptp(estimates[:, 0]) > 1000 * np.ptp(y["rt60"])  # a target without bounds
    assert (np.diff(estimates, axis=0) >= 0).all()


def test_bounds_leave_estimates_in_the_middle_of_the_range_alone():
    y = pd.Series(np.linspace(-10, 40, 100), name="c50")
    target = Regression(checked(y), target_transform="bounded")
    small = np.linspace(-0.2, 0.2, 9)[:, None]
    np.testing.assert_allclose(through(target, small), small, atol=0.002)


def test_far_values_count_less_when_compressed():
    y = drawn_targets()[["c50"]]
    far = np.array([[25.0], [35.0]])
    near = np.array([[0.0], [10.0]])
    difference = {}
    for transform in ("identity", "compressed"):
        target = Regression(checked(y), target_transform=transform)
        difference[transform] = [np.ptp(target.standardised(part)) for part in (near, far)]
    assert difference["identity"][0] == pytest.approx(difference["identity"][1])
    assert difference["compressed"][1] < 0.4 * difference["compressed"][0]


def test_only_the_targets_named_are_kept_at_0_or_above():
    y = drawn_targets()
    target = Regression(
        checked(y),
        non_negative={"rt60": True, "volume": True},
        target_transform={"rt60": "log", "volume": "compressed"},
    )
    outputs = through(target, np.full((2, 3), -100.0))
    estimates = target.estimates(outputs)
    assert (estimates[:, [0, 2]] >= 0).all()
    assert estimates[0, 2] == pytest.approx(0, abs=1e-2)
    assert (estimates[:, 1] < -100).all()
    bounds = target.around_estimates(outputs, np.full((2, 3), 50.0))
    assert (bounds[:, [0, 2], 0] >= 0).all()
    assert (bounds[:, 1, 0] < estimates[:, 1]).all()
    assert np.isfinite(bounds).all()


def test_bounds_of_intervals_are_symmetric_on_the_scale_of_the_network():
    y = drawn_targets()
    target = Regression(checked(y), target_transform={"rt60": "log"})
    z = np.zeros((1, 3))
    bounds, middle = target.around_estimates(z, np.full((1, 3), 2.0)), target.estimates(z)
    np.testing.assert_allclose(np.sqrt(bounds[:, 0].prod(axis=1)), middle[:, 0])  # geometric mean
    np.testing.assert_allclose(bounds[:, 1:].mean(axis=2), middle[:, 1:])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"target_transform": "sqrt"}, "target_transform must be one of .*'identity', 'log'.*, got 'sqrt'"),
        ({"target_transform": {"edt": "log"}}, r"target_transform must name targets of y, \['rt60', .*got 'edt'"),
        ({"target_transform": {"rt60": None}}, "target_transform must be one of"),
        ({"target_transform": "log"}, r"target_transform must not be 'log' .* not above 0, got .* in y\['c50'\]"),
        ({"non_negative": {"edt": True}}, r"non_negative must name targets of y, .*got 'edt'"),
        ({"non_negative": True}, r"non_negative must be False for negative targets, .* in y\['c50'\]"),
    ],
)
def test_options_that_targets_do_not_allow_are_refused(parameters, message):
    with pytest.raises(ValueError, match=message):
        Regression(checked(drawn_targets()), **parameters)


def test_a_constant_target_is_estimated_exactly_by_every_transform():
    for transform in TRANSFORMS:
        target = Regression(checked(np.full(9, 2.5)), target_transform=transform)
        np.testing.assert_allclose(target.estimates(through(target, np.array([[-3.0], [7.0]]))), 2.5, rtol=1e-12)
