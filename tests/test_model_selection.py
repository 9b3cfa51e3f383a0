"""Splits that share a room between training and test are refused before anything is trained."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, cross_val_score

from roomacoustic_sk.model_selection import RoomDisjointSplit

ROOM = np.repeat(["a", "b", "c", "d"], 6)
RIR = np.arange(24) // 3
X, Y = np.zeros((24, 1)), np.arange(24.0)


def test_room_disjoint_splits_are_passed_through():
    ours = RoomDisjointSplit(GroupKFold(4), ROOM)
    for mine, theirs in zip(ours.split(X, groups=ROOM), GroupKFold(4).split(X, groups=ROOM), strict=True):
        np.testing.assert_array_equal(mine[0], theirs[0])
        np.testing.assert_array_equal(mine[1], theirs[1])
    assert ours.get_n_splits(X, groups=ROOM) == 4
    assert RoomDisjointSplit(3, ROOM).get_n_splits() == 3


@pytest.mark.parametrize(
    ("cv", "groups"), [(GroupKFold(8), RIR), (KFold(3, shuffle=True, random_state=0), None), (5, None)]
)
def test_a_room_in_both_parts_is_refused(cv, groups):
    with pytest.raises(
        ValueError, match=r"cv must not put a room into both training and test, got room \w in both sets"
    ):
        next(RoomDisjointSplit(cv, ROOM).split(X, groups=groups))


def test_searches_refuse_shared_rooms_before_training():
    class Untrainable(DummyRegressor):
        def fit(self, X, y):
            raise AssertionError

    with pytest.raises(ValueError, match="cv must not put a room"):
        cross_val_score(Untrainable(), X, Y, cv=RoomDisjointSplit(GroupKFold(8), ROOM), groups=RIR)
    search = GridSearchCV(DummyRegressor(), {"strategy": ["mean", "median"]}, cv=RoomDisjointSplit(GroupKFold(4), ROOM))
    assert search.fit(X, Y, groups=ROOM).n_splits_ == 4


def test_groups_are_routed_as_metadata():
    with sklearn.config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            DummyRegressor(), {"strategy": ["mean", "median"]}, cv=RoomDisjointSplit(GroupKFold(4), ROOM)
        )
        assert search.fit(X, Y, groups=ROOM).n_splits_ == 4


def test_labels_of_a_wrong_length_are_refused():
    with pytest.raises(ValueError, match=r"room_groups must be 1-D with 24 labels"):
        next(RoomDisjointSplit(2, ROOM[:-1]).split(X))


def test_all_splits_are_checked_before_the_first_is_taken():
    with pytest.raises(ValueError, match=r"^RoomDisjointSplit: cv must not put a room"):
        RoomDisjointSplit(GroupKFold(8), ROOM).split(X, groups=RIR)
    with pytest.raises(ValueError, match=r"^RoomDisjointSplit: room_groups must be 1-D"):
        RoomDisjointSplit(2, ROOM[:-1]).split(X)
    splits = RoomDisjointSplit(GroupKFold(4), ROOM).split(X, groups=ROOM)
    assert iter(splits) is splits
