"""What the shared checks let pass, and what they say of the rest."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array

from roomacoustic_sk._validation import (
    check_choice,
    check_groups,
    check_number,
    check_rows,
    check_sample_rate,
    describe,
)


def exactly(message):
    return f"^{re.escape(message)}$"


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
    assert check_number(0.1, caller="f", name="x", low=0, high=1) == 0.1
    assert check_number(np.float32(2.5), caller="f", name="x") == 2.5
    assert check_number(np.int64(3), caller="f", name="x", low=3, high=3, integer=True) == 3
    assert check_number(0, caller="f", name="x", low=0, high=0.9) == 0
    assert check_number(float("inf"), caller="f", name="x", low=1) == float("inf")


@pytest.mark.parametrize(
    ("value", "limits", "error", "message"),
    [
        ("1", {}, TypeError, "f: x must be a number, got '1'."),
        (None, {"low": 0}, TypeError, "f: x must be a number of at least 0, got None."),
        (True, {}, TypeError, "f: x must be a number, got True."),
        (np.True_, {}, TypeError, "f: x must be a number, got a bool."),
        (1j, {}, TypeError, "f: x must be a number, got 1j."),
        ([1], {}, TypeError, "f: x must be a number, got a list of 1 items."),
        (2.0, {"integer": True, "low": 1}, TypeError, "f: x must be a whole number of at least 1, got 2.0."),
        (-1, {"low": 0}, ValueError, "f: x must be a number of at least 0, got -1."),
        (0, {"low": 0, "low_open": True}, ValueError, "f: x must be a number above 0, got 0."),
        (2, {"low": 0, "high": 0.9}, ValueError, "f: x must be a number of at least 0 and at most 0.9, got 2."),
        (float("nan"), {}, ValueError, "f: x must be a number, got nan."),
        (float("nan"), {"low": 0, "low_open": True}, ValueError, "f: x must be a number above 0, got nan."),
    ],
)
def test_numbers_out_of_range_and_other_things_are_refused(value, limits, error, message):
    with pytest.raises(error, match=exactly(message)):
        check_number(value, caller="f", name="x", **limits)


def test_choices_are_compared_as_strings_or_by_identity():
    assert check_choice("b", ["a", "b"], caller="f", name="x") == "b"
    assert check_choice(None, ["a", None], caller="f", name="x") is None
    with pytest.raises(ValueError, match=exactly("f: x must be one of ['a', 'b'], got 'c'.")):
        check_choice("c", ["a", "b"], caller="f", name="x")
    with pytest.raises(ValueError, match=r"must be one of \['a'\], got an array of shape \(2,\)"):
        check_choice(np.array(["a", "a"]), ["a"], caller="f", name="x")


def test_sample_rates_are_whole_numbers_of_hz():
    assert check_sample_rate(16_000, caller="f") == 16_000
    rate = check_sample_rate(44_100.0, caller="f")
    assert (rate, type(rate)) == (44_100, int)


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (0, ValueError, "f: sample_rate (in Hz) must be a number above 0, got 0."),
        (-16_000, ValueError, "f: sample_rate (in Hz) must be a number above 0, got -16000."),
        (22_050.5, ValueError, "f: sample_rate must be a whole number of Hz, got 22050.5."),
        (float("inf"), ValueError, "f: sample_rate must be a whole number of Hz, got inf."),
        ("16k", TypeError, "f: sample_rate (in Hz) must be a number above 0, got '16k'."),
        (None, TypeError, "f: sample_rate (in Hz) must be a number above 0, got None."),
    ],
)
def test_wrong_sample_rates_are_refused(rate, error, message):
    with pytest.raises(error, match=exactly(message)):
        check_sample_rate(rate, caller="f")


def test_waveforms_pass_as_they_are_without_a_copy():
    X = np.random.default_rng(0).normal(size=(3, 100)).astype(np.float32)
    assert check_rows(X, caller="f") is X
    rows = [X[0], X[1, :50].astype(np.float64)]
    checked = check_rows(rows, caller="f")
    assert [row.dtype for row in checked] == [np.float32, np.float64]
    assert all(np.shares_memory(a, b) for a, b in zip(checked, rows, strict=True))


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_sequences_of_rows_of_different_lengths_pass_as_a_list(kind):
    checked = check_rows(kind([[0.1, 0.2], [0.3], np.array([0.4, 0.5, 0.6])]), caller="f")
    assert [row.tolist() for row in checked] == [[0.1, 0.2], [0.3], [0.4, 0.5, 0.6]]


def test_an_object_array_of_rows_passes_as_a_list():
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.ones(3), np.ones(2)]
    assert [len(row) for row in check_rows(ragged, caller="f")] == [3, 2]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_integers_pass_where_the_level_does_not_matter(dtype):
    X = np.full((2, 10), np.iinfo(dtype).min, dtype)
    assert check_rows(X, caller="f", allow_integers=True) is X
    X[:, ::2] = 0  # the lowest integer has no positive counterpart, and must not be taken for silence
    assert check_rows(X, caller="f", allow_integers=True) is X


def test_silence_passes_where_it_may():
    assert len(check_rows(np.zeros((2, 10)), caller="f", allow_silent=True)) == 2


X = np.ones((6, 10))


def with_value(value, *rows):
    changed = X.copy()
    changed[list(rows), 3] = value
    return changed


def silent(*rows):
    changed = X.copy()
    changed[list(rows)] = 0
    return changed


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            X[0],
            ValueError,
            "f: X must be a 2-D array (n_rows, n_times) or a list of 1-D arrays, got an array of shape (10,) and dtype "
            "float64. Reshape your data with X.reshape(1, -1) if it is one recording.",
        ),
        (
            X[None],
            ValueError,
            "f: X must be a 2-D array (n_rows, n_times) or a list of 1-D arrays, got an array of shape (1, 6, 10) and "
            "dtype float64.",
        ),
        ([X, X], ValueError, "f: X must hold 1-D arrays, got an array of shape (6, 10) and dtype float64 in row 0."),
        ([X[0], 3.0], ValueError, "f: X must hold 1-D arrays, got an array of shape () and dtype float64 in row 1."),
        (None, TypeError, "f: X must be a 2-D array (n_rows, n_times) or a list of 1-D arrays, got None."),
        (3.0, TypeError, "f: X must be a 2-D array (n_rows, n_times) or a list of 1-D arrays, got 3.0."),
        (X[:0], ValueError, "f: X must have at least one row, got none."),
        ([], ValueError, "f: X must have at least one row, got none."),
        (
            X[:2, :0],
            ValueError,
            "f: X must have samples in every row, got 0 feature(s) (shape=(2, 0)) while a minimum of 1 is required.",
        ),
        ([X[0], X[0, :0]], ValueError, "f: X must have samples in every row, got row 1 without any."),
        (with_value(np.nan, 4), ValueError, "f: X must be finite, got NaN or infinity in row 4."),
        (with_value(np.inf, 0, 2), ValueError, "f: X must be finite, got NaN or infinity in rows 0, 2."),
        (list(with_value(-np.inf, 1)), ValueError, "f: X must be finite, got NaN or infinity in row 1."),
        (silent(3), ValueError, "f: X must not be silent, got nothing but zeros in row 3."),
        (
            silent(*range(6)),
            ValueError,
            "f: X must not be silent, got nothing but zeros in rows 0, 1, 2, 3, 4, ... (6 in all).",
        ),
        (
            X.astype(np.int16),
            TypeError,
            "f: X must hold floating-point samples, got dtype int16. Divide integer PCM by its full scale first, e.g. "
            "X / 32768.0 for int16.",
        ),
        (
            [X[0], X[1].astype(complex)],
            ValueError,
            "f: X must hold real samples, got dtype complex128. Complex data not supported.",
        ),
        (
            csr_array(X),
            TypeError,
            "f: X must be a 2-D array (n_rows, n_times) or a list of 1-D arrays, got a sparse one. Waveforms are "
            "dense: pass X.toarray().",
        ),
        (X > 0, TypeError, "f: X must hold floating-point samples, got dtype bool."),
        (X.astype(str), TypeError, "f: X must hold floating-point samples, got dtype <U32."),
    ],
)
def test_waveforms_that_are_none_are_refused(rows, error, message):
    with pytest.raises(error, match=exactly(message)):
        check_rows(rows, caller="f")


def test_messages_name_the_argument():
    with pytest.raises(ValueError, match=exactly("f: rirs must be finite, got NaN or infinity in row 4.")):
        check_rows(with_value(np.nan, 4), caller="f", name="rirs")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.uint8, np.uint16])
def test_integers_pass_where_they_may_and_silence_is_the_middle_of_unsigned_ones(dtype):
    zero = 128 if dtype is np.uint8 else 32_768 if dtype is np.uint16 else 0
    rows = np.full((2, 10), zero, dtype)
    rows[0, 3] += 1
    with pytest.raises(ValueError, match="f: X must not be silent, got nothing but zeros in row 1"):
        check_rows(rows, caller="f", allow_integers=True)
    assert check_rows(rows[:1], caller="f", allow_integers=True).dtype == dtype


def test_truth_values_are_no_samples():
    with pytest.raises(TypeError, match="f: X must hold floating-point or integer samples, got dtype bool"):
        check_rows(np.ones((2, 10), bool), caller="f", allow_integers=True)


def test_a_frame_with_a_column_of_arrays_is_a_list_of_rows():
    rows = check_rows(pd.DataFrame({"wave": [np.ones(3), np.ones(5)]}), caller="f")
    assert [len(row) for row in rows] == [3, 5]


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 2],
        np.array([0.5, 1.5, 1.5]),
        ["a", "b", "b"],
        np.array(["a", "b", 3], dtype=object),
        pd.Series(["a", "b", "b"], index=[7, 8, 9]),
        pd.Series([1, 2, 2], dtype="Int64"),
        pd.Categorical(["a", "b", "a"]),
        (True, False, True),
    ],
)
def test_labels_of_any_kind_pass(labels):
    checked = check_groups(labels, 3, caller="f", name="rir_groups")
    assert checked.tolist() == np.asarray(labels).tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "f: g must be 1-D with one label a row (3 rows), got an array of shape (2,) and dtype int64."),
        ([["a"]] * 3, "f: g must be 1-D with one label a row (3 rows), got an array of shape (3, 1) and dtype <U1."),
        (None, "f: g must be 1-D with one label a row (3 rows), got an array of shape () and dtype object."),
        ([0, np.nan, 1], "f: g must not have missing labels, got some in row 1."),
        (["a", None, None], "f: g must not have missing labels, got some in rows 1, 2."),
        (np.array(["a", np.nan, "b"], dtype=object), "f: g must not have missing labels, got some in row 1."),
        (pd.Series(["a", "b", None], dtype="string"), "f: g must not have missing labels, got some in row 2."),
        (pd.Series([1, None, 2], dtype="Int64"), "f: g must not have missing labels, got some in row 1."),
        (pd.Categorical(["a", None, "b"]), "f: g must not have missing labels, got some in row 1."),
        (np.array(["2020", "NaT", "2021"], "datetime64[Y]"), "f: g must not have missing labels, got some in row 1."),
    ],
)
def test_labels_that_are_misaligned_or_missing_are_refused(labels, message):
    with pytest.raises(ValueError, match=exactly(message)):
        check_groups(labels, 3, caller="f", name="g")


def test_pandas_objects_hold_rows_as_arrays_do():
    waveforms = np.random.default_rng(0).standard_normal((3, 8))
    assert np.array_equal(check_rows(pd.DataFrame(waveforms), caller="f"), waveforms)
    ragged = check_rows(pd.Series([waveforms[0], waveforms[1, :5]]), caller="f")
    assert [len(row) for row in ragged] == [8, 5]
