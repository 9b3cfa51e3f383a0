"""Group labels: accepted kinds, refusals by name, and held-out labels."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from toys import exactly

from roomacoustic_sk._labels import GroupLabels, check_groups, held_out_if_enough


@pytest.mark.parametrize(
    "labels",
    [
        [0, 1, 2],
        np.array([0.5, 1.5, 1.5]),
        ["a", "b", "b"],
        np.array(["a", "b", "c"], dtype=object),
        pd.Series(["a", "b", "b"], index=[7, 8, 9]),
        pd.Series([1, 2, 2], dtype="Int64"),
        pd.Categorical(["a", "b", "a"]),
        (True, False, True),
    ],
)
def test_labels_of_any_kind_pass(labels):
    checked = check_groups(labels, 3, name="rir_groups")
    assert checked.tolist() == np.asarray(labels).tolist()


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0, 1], "g must be 1-D with 3 labels, got an array of shape (2,) and dtype int64."),
        ([["a"]] * 3, "g must be 1-D with 3 labels, got an array of shape (3, 1) and dtype <U1."),
        (None, "g must be 1-D with 3 labels, got an array of shape () and dtype object."),
        ([0, np.nan, 1], "g must not have missing labels, got some in row 1."),
        (["a", None, None], "g must not have missing labels, got some in rows 1, 2."),
        (np.array(["a", np.nan, "b"], dtype=object), "g must not have missing labels, got some in row 1."),
        (pd.Series(["a", "b", None], dtype="string"), "g must not have missing labels, got some in row 2."),
        (pd.Series([1, None, 2], dtype="Int64"), "g must not have missing labels, got some in row 1."),
        (pd.Categorical(["a", None, "b"]), "g must not have missing labels, got some in row 1."),
        (np.array(["2020", "NaT", "2021"], "datetime64[Y]"), "g must not have missing labels, got some in row 1."),
    ],
)
def test_misaligned_and_missing_labels_are_refused(labels, message):
    with pytest.raises(ValueError, match=exactly(message)):
        check_groups(labels, 3, name="g")


@pytest.mark.parametrize(
    ("labels", "kinds"),
    [
        ([1, "1", 2], "int and str"),
        (["a", 0.5, "b"], "float and str"),
        (np.array(["a", "b", 3], dtype=object), "int and str"),
        (pd.Series(["a", 1, 2]), "int and str"),
        ((b"a", 1, 2), "bytes and int"),
    ],
)
def test_labels_of_mixed_kinds_are_refused(labels, kinds):
    message = f"rir_groups must hold labels of one kind, got {kinds}. Convert them all to str."
    with pytest.raises(ValueError, match=exactly(message)):
        GroupLabels.checked(3, labels)


def test_labels_are_coded_in_sorted_order_and_parts_are_recoded():
    labels = GroupLabels.checked(5, ["b", "a", "c", "a", "b"], room_groups=[7, 7, 3, 7, 7])
    assert labels.rir.tolist() == [1, 0, 2, 0, 1]
    assert labels.source is None
    assert labels.room.tolist() == [1, 1, 0, 1, 1]
    assert labels.given == ["rir_groups", "room_groups"]
    part = labels.take(np.array([False, False, True, False, True]))
    assert (part.n_recordings, part.rir.tolist(), part.room.tolist()) == (2, [1, 0], [0, 1])


def test_a_response_in_two_rooms_is_refused_on_request():
    arguments = 4, [0, 0, 1, 1], None, ["x", "y", "x", "x"]
    assert GroupLabels.checked(*arguments).room.tolist() == [0, 1, 0, 0]
    message = (
        r"room_groups must name one room for each RIR, got 2 rooms for RIR 0 \('x', 'y'\). "
        "Are rir_groups and room_groups swapped"
    )
    with pytest.raises(ValueError, match=message):
        GroupLabels.checked(*arguments, one_room_each=True)


def test_labels_that_cannot_be_held_out_are_refused():
    labels = GroupLabels.checked(4, [0, 0, 1, 1])
    assert labels.to_hold_out("source").tolist() == [0, 1, 2, 3]
    with pytest.raises(ValueError, match=r"rir_groups must have at least 3 different labels if hold_out='rir'"):
        labels.to_hold_out("rir")
    with pytest.raises(ValueError, match=r"room_groups must be given if hold_out='room', got None"):
        labels.to_hold_out("room")


def test_too_little_to_hold_out_gives_one_warning():
    held_out = np.array([True, False, False])
    assert held_out_if_enough(held_out, lambda part: "") is held_out
    with pytest.warns(UserWarning, match="no validation: they are too few. The training loss decides when to stop"):
        assert not held_out_if_enough(held_out, lambda part: "they are too few").any()
