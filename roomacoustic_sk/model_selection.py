"""Cross-validation that cannot leak rooms from training into testing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import BaseCrossValidator, check_cv

from roomacoustic_sk._labels import check_groups, warn_of_lookalikes
from roomacoustic_sk._validation import ArgumentValueError, door, restated


class RoomDisjointSplit(BaseCrossValidator):
    """Wrap another splitter, and refuse any split whose training and test sets share a room.

    If clips from the same room are in both the training and the test set, every result is too optimistic. A splitter
    sees only the groups that it is given: splitting by RIR or by speaker can still leave a room in both sets. This
    splitter knows the rooms.

    Parameters
    ----------
    cv : int or cross-validation splitter
        Splits the recordings, e.g. ``GroupKFold(4)``.
    room_groups : array-like of shape (n_recordings,)
        Label of each recording's room, for exactly the recordings that are split: in nested cross-validation, the
        inner search needs a separate splitter for each outer fold.

    Raises
    ------
    ValueError
        By `split`, before anything is trained: if a room is in both sets of a split, or if there is not exactly one
        label per recording.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.model_selection import GroupKFold
    >>> from roomacoustic_sk.model_selection import RoomDisjointSplit
    >>> room = np.repeat([0, 1, 2, 3], 6)
    >>> rir = np.arange(24) // 3  # two responses per room
    >>> X = np.zeros((24, 1))
    >>> len(list(RoomDisjointSplit(GroupKFold(2), room).split(X, groups=room)))
    2
    >>> len(list(RoomDisjointSplit(GroupKFold(8), room).split(X, groups=rir)))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    roomacoustic_sk._validation.ArgumentValueError: RoomDisjointSplit: cv must not put a room into both ...
    """

    # With metadata routing enabled, groups are requested by default, as in scikit-learn's own group splitters.
    __metadata_request__split: ClassVar = {"groups": True}

    def __init__(self, cv: Any, room_groups: ArrayLike) -> None:
        # Splits from a generator come only once, and are needed for their number and then for the training.
        self.cv = list(cv) if isinstance(cv, Iterator) else cv
        self.room_groups = room_groups

    @door
    def split(self, X: Any, y: Any = None, groups: Any = None) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Return an iterator over training and test indices, after checking all splits.

        Parameters
        ----------
        X : array-like of shape (n_recordings, ...)
            Recordings, or features computed from them.
        y : array-like of shape (n_recordings,), optional
            Targets, for splitters that need them.
        groups : array-like of shape (n_recordings,), optional
            Groups, for splitters that need them.

        Returns
        -------
        iterator of (ndarray, ndarray)
            Training indices and test indices.

        Raises
        ------
        ValueError
            If a room is in both sets of a split, or if there is not exactly one label per recording.
        """
        n_recordings = X.shape[0] if hasattr(X, "shape") else len(X)
        room = check_groups(self.room_groups, n_recordings, name="room_groups")
        warn_of_lookalikes(room, "rooms")
        splits = self._splits(X, y, groups, n_recordings)
        for number, (train, test) in enumerate(splits):
            shared = np.intersect1d(room[train], room[test])
            if len(shared):
                raise ArgumentValueError(
                    f"cv must not put a room into both training and test, got room {shared[0]} in both sets of "
                    f"split {number} ({len(shared)} rooms in all). Use GroupKFold with groups=room_groups."
                )
        return iter(splits)

    def _splitter(self, y: Any) -> Any:
        with restated("cv must be a number of folds, a scikit-learn splitter or an iterable of splits"):
            return check_cv(self.cv, y)

    def _splits(
        self, X: Any, y: Any, groups: Any, n_recordings: int
    ) -> list[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Return the splits of `cv` as pairs of indices."""
        splitter = self._splitter(y)
        with restated("cv must split these recordings"):
            splits = [(np.asarray(train), np.asarray(test)) for train, test in splitter.split(X, y, groups)]
            return [(np.arange(n_recordings)[train], np.arange(n_recordings)[test]) for train, test in splits]

    @door
    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : array-like, optional
            As for `split`, for splitters that need them.

        Returns
        -------
        int
            Number of splits.
        """
        splitter = self._splitter(y)
        with restated("cv must split these recordings"):
            return splitter.get_n_splits(X, y, groups)
