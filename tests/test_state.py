"""States from files are checked value by value, and nothing in them is passed over."""

from __future__ import annotations

import numpy as np
import pytest

from roomacoustic_sk._state import State, input_state, restore_input
from roomacoustic_sk.features import DecaySlopeFeatures

VALUES = {
    "flag": True,
    "whole": 3,
    "number": 0.5,
    "texts": ["a", "b"],
    "array": np.ones((2, 3)),
    "part": {"whole": 1},
}


def test_values_come_back_as_they_are_and_arrays_as_copies():
    state = State(VALUES)
    assert state.flag("flag")
    assert (state.whole("whole"), state.number("number"), state.number("whole")) == (3, 0.5, 3)
    assert state.texts("texts") == ["a", "b"]
    array = state.array("array", shape=(None, 3))
    array[:] = 0
    assert VALUES["array"].all()
    assert "part" in state
    assert "other" not in state
    part = state.part("part")
    with pytest.raises(ValueError, match=r"^part\.whole must not be in the fitted state"):
        state.check_all_read()
    assert part.whole("whole") == 1
    state.check_all_read()


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda state: state.flag("whole"), "whole must be True or False, got 3"),
        (lambda state: state.whole("number"), "number must be a whole number"),
        (lambda state: state.whole("flag"), "flag must be a whole number"),
        (lambda state: state.whole("whole", high=2), "whole must be .* at most 2, got 3"),
        (lambda state: state.number("texts"), "texts must be a number"),
        (lambda state: state.texts("whole"), "whole must be a list of text"),
        (lambda state: state.array("whole", shape=()), "whole must be an array"),
        (lambda state: state.array("array", shape=(2, 3), kinds="i"), "array must be an array of kind 'i'"),
        (lambda state: state.array("array", shape=(2, 4)), r"array must have the shape \(2, 4\), got \(2, 3\)"),
        (lambda state: state.array("array", shape=(None,)), "array must have the shape"),
        (lambda state: state.part("array"), "array must be a dictionary"),
        (lambda state: state.part("part").flag("missing"), r"part\.missing must be in the fitted state, got none"),
    ],
)
def test_values_of_another_kind_are_refused(read, message):
    with pytest.raises((ValueError, TypeError), match=f"^{message}"):
        read(State(VALUES))


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_refused_unless_allowed(broken):
    state = State({"number": broken, "array": np.array([broken])})
    with pytest.raises(ValueError, match="number must be"):
        state.number("number")
    with pytest.raises(ValueError, match="array must be finite"):
        state.array("array", shape=(1,))
    assert len(state.array("array", shape=(1,), finite=False)) == 1


def test_what_scikit_learn_notes_about_the_input_comes_back():
    first, second = DecaySlopeFeatures(), DecaySlopeFeatures()
    assert input_state(first) == {}
    first.n_features_in_, first.feature_names_in_ = 2, np.array(["a", "b"], dtype=object)
    restore_input(second, State(input_state(first)))
    assert second.n_features_in_ == 2
    assert second.feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature_names_in_ must be text"):
        restore_input(second, State(input_state(first) | {"feature_names_in_": np.array(["a", 1], dtype=object)}))
