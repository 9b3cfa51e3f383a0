"""Cross-validation that cannot leak rooms from training into test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator, check_cv

from roomacoustic_sk._labels import check_groups
from roomacoustic_sk._validation import ArgumentValueError, door


class RoomDisjointSplit(BaseCrossValidator):
    """Split as another splitter does, and refuse a split whose training and test share a room.

    Clips through responses of one room in training and test flatter every result. A splitter sees only the groups that
    it is given: those of RIRs or speakers may well leave a room in both parts. This one knows the rooms.

    Parameters
    ----------
    cv : int or cross-validation splitter
        Splits the rows, e.g. ``GroupKFold(4)``.
    room_groups : array-like of shape (n_rows,)
        Label of each row's room, of all rows that are split: an inner search of nested cross-validation needs one of
        its own for each outer fold.

    Raises
    ------
    ValueError
        By `split`, before anything is trained: a room in both parts of a split, or not one label a row.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GroupKFold
    >>> from roomacoustic_sk.model_selection import RoomDisjointSplit
    >>> room = np.repeat([0, 1, 2, 3], 6)
    >>> rir = np.arange(24) // 3  # two responses a room
    >>> X = np.zeros((24, 1))
    >>> len(list(RoomDisjointSplit(GroupKFold(2), room).split(X, groups=room)))
    2
    >>> len(list(RoomDisjointSplit(GroupKFold(8), room).split(X, groups=rir)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    roomacoustic_sk._validation.ArgumentValueError: RoomDisjointSplit: cv must not put a room into training ...
    """

    # As of scikit-learn's own group splitters, where metadata routing is enabled.
    __metadata_request__split: ClassVar = {"groups": True}

    def __init__(self, cv: Any, room_groups: ArrayLike) -> None:
        self.cv = cv
        self.room_groups = room_groups

    @door
    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Return an iterator over the rows of training and test, once all splits are checked.

        Parameters
        ----------
        X : array-like of shape (n_rows, ...)
            The rows.
        y : array-like of shape (n_rows,), optional
            Targets, for splitters that need them.
        groups : array-like of shape (n_rows,), optional
            Groups, for splitters that need them.

        Returns
        -------
        iterator of (ndarray, ndarray)
            Numbers of the rows of training and of test.

        Raises
        ------
        ValueError
            If a room is in both parts of a split, or there is not one label a row.
        """
        room = check_groups(self.room_groups, len(X), name="room_groups")
        splits = [(np.asarray(train), np.asarray(test)) for train, test in check_cv(self.cv, y).split(X, y, groups)]
        for number, (train, test) in enumerate(splits):
            shared = np.intersect1d(room[train], room[test])
            if len(shared):
                raise ArgumentValueError(
                    f"cv must not put a room into training and test, got room {shared[0]} in both parts of "
                    f"split {number} ({len(shared)} rooms in all). Use GroupKFold with groups=room_groups."
                )
        return iter(splits)

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : array-like, optional
            As for `split`, for splitters that need them.

        Returns
        -------
        int
            How many splits there are.
        """
        return check_cv(self.cv, y).get_n_splits(X, y, groups)
