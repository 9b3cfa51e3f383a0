"""Multi-view batches built from group labels (Sec. 3.2 and Fig. 1 of the paper)."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import maximum_bipartite_matching

from roomacoustic_sk._labels import HELD_OUT, GroupLabels, check_labels, held_out_if_enough, share_of_labels
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_choice,
    check_number,
    check_random_state,
    describe,
    door,
)

__all__ = ["HELD_OUT", "MultiviewBatchSampler", "hold_out", "labels_to_hold_out", "largest_batch", "share_of_labels"]

SAMPLINGS = ("soft", "hard", "position_independent")
_MAX_TRIES = 50


class MultiviewBatchSampler:
    """Batches of N classes with M views each, for a contrastive loss.

    ==========================  ==========  ===================================================================
    `sampling`                  a class is  its M views are
    ==========================  ==========  ===================================================================
    ``"soft"``                  an RIR      M random recordings of the class, of different sources if known
    ``"hard"``                  an RIR      recordings of M sources, the same M for every class in the batch
    ``"position_independent"``  a room      as hard, and through different RIRs of the room as far as possible
    ==========================  ==========  ===================================================================

    Parameters
    ----------
    rir_groups : array-like of shape (n_recordings,)
        Label of each recording's room impulse response.
    source_groups : array-like of shape (n_recordings,), optional
        Label of each recording's dry source signal. Hard and position-independent sampling need it.
    room_groups : array-like of shape (n_recordings,), optional
        Label of each recording's room. Position-independent sampling needs it.
    sampling : {"soft", "hard", "position_independent"}, default="soft"
        How batches are built, see above.
    n_classes : int, default=24
        Number of classes in a batch (N), at least 2.
    n_views : int, default=3
        Number of views of each class (M), at least 2.
    n_batches : int, default=128
        Number of batches per pass.
    random_state : int, RandomState or None, default=None
        An int gives the same batches in every pass, as needed for validation; a RandomState gives new ones, as needed
        for training.

    Attributes
    ----------
    labels : ndarray of shape (n_recordings,) of int
        Class of each recording, for the loss: the index of its RIR or, for position-independent sampling, of its room.

    Raises
    ------
    ValueError
        If labels needed by the strategy are missing, or no such batch can be drawn from them.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.samplers import MultiviewBatchSampler
    >>> rir, source = np.divmod(np.arange(12), 4)  # a grid of 3 RIRs with 4 sources
    >>> sampler = MultiviewBatchSampler(
    ...     rir, source_groups=source, sampling="hard", n_classes=2, n_views=2, n_batches=1, random_state=0
    ... )
    >>> (batch,) = sampler
    >>> rir[batch], source[batch]
    (array([2, 2, 1, 1]), array([0, 2, 0, 2]))
    """

    @door
    def __init__(
        self,
        rir_groups: ArrayLike,
        *,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
        sampling: str = "soft",
        n_classes: int = 24,
        n_views: int = 3,
        n_batches: int = 128,
        random_state: Any = None,
    ) -> None:
        check_choice(sampling, SAMPLINGS, name="sampling")
        rir_groups = check_labels(rir_groups, name="rir_groups")
        views = Views.of(GroupLabels.checked(len(rir_groups), rir_groups, source_groups, room_groups), sampling)
        self._draw_from(views, n_classes, n_views, n_batches, random_state)

    @classmethod
    def of_views(cls, views: Views, n_classes: int, n_views: int, n_batches: int, random_state: Any) -> Self:
        """Return a sampler of views that have already been looked up."""
        sampler = cls.__new__(cls)
        sampler._draw_from(views, n_classes, n_views, n_batches, random_state)
        return sampler

    def _draw_from(self, views: Views, n_classes: int, n_views: int, n_batches: int, random_state: Any) -> None:
        self.sampling, self.labels, self._views = views.sampling, views.labels, views
        self.n_classes = check_number(n_classes, name="n_classes", low=2, integer=True)
        self.n_views = check_number(n_views, name="n_views", low=2, integer=True)
        self.n_batches = check_number(n_batches, name="n_batches", low=1, limit=sys.maxsize, integer=True)
        check_random_state(random_state)
        self.random_state = random_state
        if self.n_classes > views.n_classes:
            raise ArgumentValueError(
                f"n_classes must be at most the {views.n_classes} classes in the labels for "
                f"sampling={views.sampling!r}, got {n_classes}."
            )
        views.draw(self.n_classes, self.n_views, np.random.RandomState(0))  # raises if that is impossible

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[NDArray[np.intp]]:
        random_state = check_random_state(self.random_state)
        for _ in range(self.n_batches):
            yield self._views.draw(self.n_classes, self.n_views, random_state)


@door
def largest_batch(
    rir_groups: ArrayLike,
    *,
    source_groups: ArrayLike | None = None,
    room_groups: ArrayLike | None = None,
    sampling: str = "soft",
    n_classes: int = 24,
    n_views: int = 3,
) -> tuple[int, int]:
    """Return the size of the largest batch that the labels allow, up to the requested size.

    The number of views is reduced only if no two classes can provide the requested number.

    Parameters
    ----------
    rir_groups, source_groups, room_groups : array-like of shape (n_recordings,)
        Labels, as for `MultiviewBatchSampler`.
    sampling : {"soft", "hard", "position_independent"}, default="soft"
        How batches are built.
    n_classes, n_views : int
        Requested size.

    Returns
    -------
    tuple of int
        Possible numbers of classes and of views.

    Raises
    ------
    ValueError
        If not even two classes with two views are possible.

    Examples
    --------
    >>> from roomacoustic_sk.samplers import largest_batch
    >>> largest_batch([0, 0, 1, 1, 2, 2])
    (3, 2)
    """
    for name, number in (("n_classes", n_classes), ("n_views", n_views)):
        check_number(number, name=name, low=2, integer=True)
    rir_groups = check_labels(rir_groups, name="rir_groups")
    labels = GroupLabels.checked(len(rir_groups), rir_groups, source_groups, room_groups)
    return Views.of(labels, sampling).largest_batch(n_classes, n_views)


@door
def hold_out(
    groups: dict[str, Any],
    fraction: float,
    *,
    sampling: str,
    random_state: np.random.RandomState,
    whole_rirs: bool = False,
) -> NDArray[np.bool_]:
    """Choose the recordings for validation: training and validation share RIRs but no source signal, as in the paper.

    Whole sources are held out. Without source labels, every recording is a source of its own, and recordings of each
    RIR are held out; if an RIR has too few of them, whole RIRs are held out instead.

    Parameters
    ----------
    groups : dict of str to ndarray of shape (n_recordings,)
        ``rir_groups`` and, if known, ``source_groups`` and ``room_groups``.
    fraction : float
        Fraction of the sources, or of the recordings of each RIR.
    sampling : str
        Strategy for which both parts must provide batches.
    random_state : RandomState
        Draws the held-out recordings.
    whole_rirs : bool
        Hold out whole RIRs if there are no source labels, e.g. when all items of an RIR are from one recording.

    Returns
    -------
    ndarray of shape (n_recordings,) of bool
        True for validation; all False, with a warning, if the labels do not allow both parts.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.samplers import hold_out
    >>> rir, source = np.divmod(np.arange(20), 10)
    >>> groups = {"rir_groups": rir, "source_groups": source}
    >>> held_out = hold_out(groups, 0.2, sampling="soft", random_state=np.random.RandomState(0))
    >>> np.unique(source[held_out])
    array([2, 8])
    """
    labels = GroupLabels.checked(len(check_labels(_rir_groups(groups), name="rir_groups")), **groups)
    check_number(fraction, name="fraction", low=0, high=1)
    random_state = check_random_state(random_state)
    check_choice(sampling, SAMPLINGS, name="sampling")
    return hold_out_views(labels, fraction, sampling, random_state, whole_rirs=whole_rirs)


def _rir_groups(groups: Any) -> Any:
    """Return the labels of the responses among group labels, or raise."""
    unknown = [] if not isinstance(groups, Mapping) else sorted(set(map(str, groups)) - set(HELD_OUT.values()))
    if not isinstance(groups, Mapping) or unknown or "rir_groups" not in groups:
        got = f"{unknown[0]!r} among them" if unknown else describe(groups)
        raise ArgumentTypeError(
            f"groups must be a dict with rir_groups and perhaps source_groups and room_groups, got {got}."
        )
    return groups["rir_groups"]


def hold_out_views(
    labels: GroupLabels, fraction: float, sampling: str, random_state: np.random.RandomState, *, whole_rirs: bool
) -> NDArray[np.bool_]:
    """Choose the views for validation as `hold_out` does, from checked labels."""
    rir = labels.rir
    if rir is None:
        raise ArgumentValueError("rir_groups must be given to hold out views, got None.")
    if fraction == 0:
        return np.zeros(len(rir), dtype=bool)
    if labels.source is not None:
        held_out = share_of_labels(labels.source, fraction, random_state)
    elif not whole_rirs and np.bincount(rir).min() * fraction >= 2:
        held_out = np.zeros(len(rir), dtype=bool)
        for indices in _split_by(rir):
            held_out[indices] = share_of_labels(indices, fraction, random_state)
    else:
        held_out = share_of_labels(rir, fraction, random_state)

    def problem(held_out: NDArray[np.bool_]) -> str:
        try:
            for part in (held_out, ~held_out):
                Views.of(labels.take(part), sampling).largest_batch(2, 2)
        except ValueError:
            Views.of(labels, sampling).largest_batch(2, 2)  # raises if even all labels together are insufficient
            return (
                f"the labels are too few to hold out {fraction:g} of the sources and still draw batches from both "
                f"parts for sampling={sampling!r}"
            )
        return ""

    return held_out_if_enough(held_out, problem)


def labels_to_hold_out(hold_out: str, groups: dict[str, Any], n_rows: int, *, caller: str = "") -> NDArray[Any]:
    """Return the labels by which recordings are held out, in whole groups, for early stopping.

    Parameters
    ----------
    hold_out : {"source", "rir", "room"}
        What has to be new in validation.
    groups : dict of str to ndarray of shape (n_rows,)
        The available labels, by their names as fit parameters.
    n_rows : int
        Number of recordings.
    caller : str
        Ignored.

    Returns
    -------
    ndarray of shape (n_rows,)
        Without source labels, every recording is a source of its own.

    Raises
    ------
    ValueError
        If RIRs or rooms are to be held out and their labels are missing or have fewer than three different values.

    Examples
    --------
    >>> from roomacoustic_sk.samplers import labels_to_hold_out
    >>> labels_to_hold_out("source", {}, 3)
    array([0, 1, 2])
    """
    check_choice(hold_out, list(HELD_OUT), name="hold_out")
    check_number(n_rows, name="n_rows", low=1, integer=True)
    found = GroupLabels.checked(n_rows, **groups).to_hold_out(hold_out)
    return np.asarray(groups.get(HELD_OUT[hold_out], found))


def _split_by(codes: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Return the indices of each code."""
    return np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])


class Views(ABC):
    """The recordings of each class, looked up once, from which batches are drawn."""

    sampling: str
    labels: NDArray[np.intp]
    n_classes: int

    @staticmethod
    def of(labels: GroupLabels, sampling: str) -> Views:
        """Look up recordings by their labels, as the sampling strategy requires."""
        check_choice(sampling, SAMPLINGS, name="sampling")
        rir = _given(labels.rir, "rir_groups", sampling)
        if sampling == "soft":
            return _SoftViews(rir, labels.source)
        source = _given(labels.source, "source_groups", sampling)
        if sampling == "hard":
            return _SharedSourceViews(rir, source, sampling=sampling)
        return _SharedSourceViews(_given(labels.room, "room_groups", sampling), source, rir=rir, sampling=sampling)

    @abstractmethod
    def most_classes(self, n_views: int) -> int:
        """Return the largest number of classes in a batch with `n_views` views each."""

    @abstractmethod
    def most_views(self) -> int:
        """Return a number of views that no batch of two classes exceeds."""

    @abstractmethod
    def impossible(self, n_classes: int, n_views: int) -> ValueError:
        """Return the error that explains why such a batch cannot be drawn."""

    @abstractmethod
    def draw(self, n_classes: int, n_views: int, random_state: np.random.RandomState) -> NDArray[np.intp]:
        """Return the indices of a batch, class by class."""

    def largest_batch(self, n_classes: int, n_views: int) -> tuple[int, int]:
        """Return the largest possible numbers of classes and views, up to those requested."""
        classes = self.most_classes(n_views)
        if classes >= 2:
            return min(n_classes, classes), n_views
        most = min(n_views - 1, self.most_views()) if n_views > 2 else 0
        for views in range(most, 1, -1):
            classes = min(n_classes, self.most_classes(views))
            if classes >= 2:
                return classes, views
        raise self.impossible(2, 2)


def _given(groups: NDArray[np.intp] | None, name: str, sampling: str) -> NDArray[np.intp]:
    """Refuse a missing label that the sampling strategy needs."""
    if groups is None:
        raise ArgumentValueError(
            f"{name} must be given for sampling={sampling!r}, got None. "
            'Pass one label per recording, or use sampling="soft", which needs only rir_groups.'
        )
    return groups


class _SoftViews(Views):
    """The recordings of each class; the views of a class are drawn independently of the other classes."""

    def __init__(self, labels: NDArray[np.intp], source: NDArray[np.intp] | None) -> None:
        self.labels = labels
        self.sampling = "soft"
        self._source = source
        self._indices_of = _split_by(labels)
        self.n_classes = len(self._indices_of)
        self._n_views_of = np.array([self._n_sources(indices) for indices in self._indices_of])

    @property
    def _distinct(self) -> str:
        return "" if self._source is None else "(recordings of the same source count as one) "

    def _n_sources(self, indices: NDArray[np.intp]) -> int:
        return len(indices) if self._source is None else len(np.unique(self._source[indices]))

    def most_classes(self, n_views: int) -> int:
        return int(np.sum(self._n_views_of >= n_views))

    def most_views(self) -> int:
        return int(np.sort(self._n_views_of)[-2:].min()) if self.n_classes > 1 else 0

    def impossible(self, n_classes: int, n_views: int) -> ValueError:
        return ArgumentValueError(
            f"rir_groups must have at least {n_classes} RIRs with {n_views} different recordings each "
            f'{self._distinct}for sampling="soft", got {self.most_classes(n_views)} such RIRs out of {self.n_classes}. '
            "Contrastive learning needs at least two RIRs with two recordings each."
        )

    def draw(self, n_classes: int, n_views: int, random_state: np.random.RandomState) -> NDArray[np.intp]:
        able = np.flatnonzero(self._n_views_of >= n_views)
        if len(able) < n_classes:
            raise self.impossible(n_classes, n_views)
        chosen = random_state.choice(able, n_classes, replace=False)
        return np.concatenate([self._views(self._indices_of[i], n_views, random_state) for i in chosen])

    def _views(self, indices: NDArray[np.intp], n_views: int, random_state: np.random.RandomState) -> NDArray[np.intp]:
        if self._source is None:
            return random_state.choice(indices, n_views, replace=False)
        shuffled = random_state.permutation(indices)
        first = np.unique(self._source[shuffled], return_index=True)[1]  # one random recording of each source
        return shuffled[random_state.choice(first, n_views, replace=False)]


class _SharedSourceViews(Views):
    """The recordings of each (class, source) cell; all classes in a batch have views of the same sources.

    With `rir`, a class is a room, and its views are from different RIRs as far as possible.
    """

    def __init__(
        self,
        labels: NDArray[np.intp],
        source: NDArray[np.intp],
        *,
        rir: NDArray[np.intp] | None = None,
        sampling: str,
    ) -> None:
        self.labels = labels
        self.sampling = sampling
        self._rir = rir
        self.n_classes, self._n_sources = int(labels.max()) + 1, int(source.max()) + 1
        cells = labels * self._n_sources + source
        self._order = np.argsort(cells, kind="stable")
        size = np.bincount(cells, minlength=self.n_classes * self._n_sources)
        self._cell_start = np.concatenate([[0], np.cumsum(size)])
        self._has = (size > 0).reshape(self.n_classes, self._n_sources)
        self._widest: dict[int, tuple[NDArray[np.intp], list[int]]] = {}  # by the number of views

    def most_classes(self, n_views: int) -> int:
        """Return the number of classes that share `n_views` sources, as found by a greedy search."""
        return len(self._widest_sources(n_views)[0])

    def most_views(self) -> int:
        """Return the largest number of sources that two classes share."""
        if self.n_classes < 2:
            return 0
        rows = csr_array(self._has.astype(np.int32))
        shared = (rows @ rows.T).tocoo()
        return int(shared.data[shared.row != shared.col].max(initial=0))

    def _widest_sources(self, n_views: int) -> tuple[NDArray[np.intp], list[int]]:
        """Return many classes and `n_views` sources that they share."""
        if n_views not in self._widest:
            self._widest[n_views] = self._find_widest_sources(n_views)
        return self._widest[n_views]

    def _find_widest_sources(self, n_views: int) -> tuple[NDArray[np.intp], list[int]]:
        if self._n_sources < n_views:
            return np.arange(0), []
        found = self._greedy_sources(n_views, int(self._has.sum(axis=0).argmax()))
        if len(found[0]) >= 2:
            return found
        # Starting from the most common source failed: try all others. With two views this misses no pair.
        return max((self._greedy_sources(n_views, i) for i in range(self._n_sources)), key=lambda found: len(found[0]))

    def _greedy_sources(self, n_views: int, first: int) -> tuple[NDArray[np.intp], list[int]]:
        """Add to a first source, one by one, the source that most of its classes still share."""
        classes, sources = np.flatnonzero(self._has[:, first]), [first]
        while len(sources) < n_views:
            shared = self._has[classes].sum(axis=0)
            shared[sources] = -1
            sources.append(int(shared.argmax()))
            classes = classes[self._has[classes, sources[-1]]]
        return classes, sources

    def impossible(self, n_classes: int, n_views: int) -> ValueError:
        return ArgumentValueError(
            f"source_groups must have {n_views} sources shared by {n_classes} classes for "
            f"sampling={self.sampling!r}, got {self.most_classes(n_views)} classes that share this many, out of "
            f"{self.n_classes} classes and {self._n_sources} sources. Record each source through several RIRs (a grid "
            'of RIRs and sources), reduce the number of classes or views, or use sampling="soft".'
        )

    def draw(self, n_classes: int, n_views: int, random_state: np.random.RandomState) -> NDArray[np.intp]:
        widest = self._widest_sources(n_views)
        if len(widest[0]) < n_classes:
            raise self.impossible(n_classes, n_views)
        tries = (self._draw_sources(n_classes, n_views, random_state) for _ in range(_MAX_TRIES))
        # If few sets of sources are shared by so many classes, random draws may all fail.
        classes, sources = next(filter(None, tries), widest)
        chosen = random_state.choice(classes, n_classes, replace=False)
        return np.concatenate([self._views(i, sources, random_state) for i in chosen])

    def _draw_sources(
        self, n_classes: int, n_views: int, random_state: np.random.RandomState
    ) -> tuple[NDArray[np.intp], list[int]] | None:
        """Draw sources one by one among those that enough classes still share; None at a dead end."""
        classes = np.arange(self.n_classes)
        sources: list[int] = []
        for _ in range(n_views):
            shared = self._has[classes].sum(axis=0) >= n_classes
            shared[sources] = False
            if not shared.any():
                return None
            sources.append(int(random_state.choice(np.flatnonzero(shared))))
            classes = classes[self._has[classes, sources[-1]]]
        return classes, sources

    def _cell(self, label: int, source: int) -> NDArray[np.intp]:
        cell = label * self._n_sources + source
        return self._order[self._cell_start[cell] : self._cell_start[cell + 1]]

    def _views(self, label: int, sources: list[int], random_state: np.random.RandomState) -> NDArray[np.intp]:
        cells = [random_state.permutation(self._cell(label, source)) for source in sources]
        if self._rir is not None:
            cells = _from_different_rirs(cells, self._rir, random_state)
        return np.array([cell[0] for cell in cells])


def _from_different_rirs(
    cells: list[NDArray[np.intp]], rir: NDArray[np.intp], random_state: np.random.RandomState
) -> list[NDArray[np.intp]]:
    """Give as many cells as possible a recording of a different RIR: a maximum matching of views and RIRs."""
    rirs = random_state.permutation(np.unique(rir[np.concatenate(cells)]))
    offered = csr_array(np.array([np.isin(rirs, rir[cell]) for cell in cells]))
    match = maximum_bipartite_matching(offered, perm_type="column")
    return [cell if j < 0 else cell[rir[cell] == rirs[j]] for cell, j in zip(cells, match, strict=True)]
