"""Numbers and choices that pass, the messages for others, and the name that a public function puts in front."""

from __future__ import annotations

import pickle
import subprocess
import warnings

import numpy as np
import pytest
from toys import exactly

from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_choice,
    check_number,
    check_sample_rate,
    describe,
    door,
    warn,
)


@pytest.mark.parametrize(
    ("value", "description"),
    [
        (np.zeros((2, 3), np.int16), "an array of shape (2, 3) and dtype int16"),
        (None, "None"),
        ("soft", "'soft'"),
        (True, "True"),
        (1.5, "1.5"),
        ([1, 2, 3], "a list of 3 items"),
        ((1,), "a tuple of 1 items"),
        ({}, "a dict"),
        (subprocess, "a module"),
    ],
)
def test_values_are_described_in_a_few_words(value, description):
    assert describe(value) == description


def test_numbers_in_range_pass_as_they_are():
    assert check_number(0.1, name="x", low=0, high=1) == 0.1
    assert check_number(np.float32(2.5), name="x") == 2.5
    assert check_number(np.int64(3), name="x", low=3, high=3, integer=True) == 3
    assert check_number(0, name="x", low=0, high=0.9) == 0
    assert check_number(float("inf"), name="x", low=1) == float("inf")


@pytest.mark.parametrize(
    ("value", "limits", "error", "message"),
    [
        ("1", {}, TypeError, "x must be a number, got '1'."),
        (None, {"low": 0}, TypeError, "x must be a number of at least 0, got None."),
        (True, {}, TypeError, "x must be a number, got True."),
        (np.True_, {}, TypeError, "x must be a number, got a bool."),
        (1j, {}, TypeError, "x must be a number, got 1j."),
        ([1], {}, TypeError, "x must be a number, got a list of 1 items."),
        (2.0, {"integer": True, "low": 1}, TypeError, "x must be a whole number of at least 1, got 2.0."),
        (-1, {"low": 0}, ValueError, "x must be a number of at least 0, got -1."),
        (0, {"low": 0, "low_open": True}, ValueError, "x must be a number above 0, got 0."),
        (2, {"low": 0, "high": 0.9}, ValueError, "x must be a number of at least 0 and at most 0.9, got 2."),
        (float("nan"), {}, ValueError, "x must be a number, got nan."),
        (float("nan"), {"low": 0, "low_open": True}, ValueError, "x must be a number above 0, got nan."),
    ],
)
def test_invalid_numbers_are_refused(value, limits, error, message):
    with pytest.raises(error, match=exactly(message)):
        check_number(value, name="x", **limits)


def test_choices_are_compared_as_strings_or_by_identity():
    assert check_choice("b", ["a", "b"], name="x") == "b"
    assert check_choice(None, ["a", None], name="x") is None
    with pytest.raises(ValueError, match=exactly("x must be one of ['a', 'b'], got 'c'.")):
        check_choice("c", ["a", "b"], name="x")
    with pytest.raises(ValueError, match=r"must be one of \['a'\], got an array of shape \(2,\)"):
        check_choice(np.array(["a", "a"]), ["a"], name="x")


def test_sample_rates_are_whole_numbers_of_hz():
    assert check_sample_rate(16_000) == 16_000
    rate = check_sample_rate(44_100.0)
    assert (rate, type(rate)) == (44_100, int)


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (0, ValueError, "sample_rate (in Hz) must be a number above 0, got 0."),
        (-16_000, ValueError, "sample_rate (in Hz) must be a number above 0, got -16000."),
        (22_050.5, ValueError, "sample_rate must be a whole number of Hz, got 22050.5."),
        (float("inf"), ValueError, "sample_rate must be a whole number of Hz, got inf."),
        ("16k", TypeError, "sample_rate (in Hz) must be a number above 0, got '16k'."),
        (None, TypeError, "sample_rate (in Hz) must be a number above 0, got None."),
    ],
)
def test_invalid_sample_rates_are_refused(rate, error, message):
    with pytest.raises(error, match=exactly(message)):
        check_sample_rate(rate)


@door
def divide(x):
    """A public function."""
    warn("x is odd")
    return check_number(x, name="x", low=0)


class Estimator:
    """A public class."""

    @door
    def fit(self, x):
        """Call another public function."""
        return divide(x)


@pytest.mark.parametrize(("call", "name"), [(divide, "divide"), (Estimator().fit, "Estimator")])
@pytest.mark.parametrize(("value", "error"), [(-1, ArgumentValueError), ("a", ArgumentTypeError)])
def test_errors_name_the_function_that_the_user_called(call, name, value, error):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=f"^{name}: x must be a number of at least 0, got ") as caught:
            call(value)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # as from a worker process
    assert issubclass(error, ValueError if value == -1 else TypeError)


@pytest.mark.parametrize(("call", "name"), [(divide, "divide"), (Estimator().fit, "Estimator")])
def test_warnings_name_the_function_and_point_at_the_call(call, name):
    with pytest.warns(UserWarning, match=f"^{name}: x is odd$") as seen:
        call(1)
    assert seen[0].filename == __file__


def test_an_error_outside_of_a_public_function_has_no_name():
    with pytest.raises(ValueError, match=r"^x must be"):
        check_number(-1, name="x", low=0)
    with pytest.raises(ZeroDivisionError, match=r"^division by zero$"):
        door(lambda x: 1 / x)(0)
