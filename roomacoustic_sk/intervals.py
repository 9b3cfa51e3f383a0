"""Intervals around estimates by conformal prediction over rooms, and how far an input lies from the training data.

Clips of one room share its acoustics, so their errors are alike, and a quantile over clips would be too confident: 1000
clips of 10 rooms tell little more than 10 clips. What is exchangeable are the rooms. `room_quantile` therefore gives
every room the same weight, divided among its clips, and keeps one more weight for the new room (hierarchical conformal
prediction, Lee, Barber and Willett, arXiv:2306.06342, Sec. 3). Drawing one clip of each room at random would have the
same coverage, but would waste the other clips and depend on the draw; with one clip a room, both are split conformal
prediction. The coverage is that of a random clip of a random new room.

Intervals are wider where errors were larger: errors are divided by a scale (`ErrorScale`) that is learned from the
calibration rooms, and each room is judged by a scale that was learned without it. With a constant scale the coverage is
guaranteed; with a learned one it is so approximately, as in cross-conformal prediction (Vovk, 2015).

Libraries for conformal prediction (crepes, MAPIE) know single clips, not rooms; `tests/test_intervals.py` compares the
quantile with that of crepes, for one clip a room.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import GroupKFold
from sklearn.utils.extmath import randomized_svd

from roomacoustic_sk._labels import check_groups
from roomacoustic_sk._state import State
from roomacoustic_sk._validation import ArgumentValueError, as_array, check_number, describe, door, name_rows

__all__ = ["room_quantile", "rooms_needed"]

FEWEST_ROOMS = 9
"""Smallest number of calibration rooms: with fewer, no finite interval covers 90 % of new rooms."""

N_FOLDS = 10
"""Parts of the calibration rooms that are judged by a scale learned on the others."""

PENALTIES = (np.inf, 300.0, 100.0, 30.0, 10.0, 3.0, 1.0)
"""Penalties of the scale's regression, of which the best in rooms left out is taken; infinity stands for a constant."""

SMALLEST_ERROR = 0.05
"""Errors below this share of the median error count as that large: the logarithm of 0 would rule the regression."""

FARTHEST = 3.0
"""Limit of standardised numbers, in standard deviations, from which the scale is computed."""

LARGEST_QUALITY = 1e100
"""Largest number of quality, whose square must be finite."""

N_DIRECTIONS = 16
"""Largest number of principal directions of the training data."""

ROUNDING = 1e-9
"""Tolerance of sums of weights."""


@door
def rooms_needed(coverage: float) -> int:
    """Return how many calibration rooms an interval needs.

    Parameters
    ----------
    coverage : float
        Share of new clips that the interval shall cover, above 0 and below 1.

    Returns
    -------
    int
        The smallest K with ``coverage <= K / (K + 1)``, and at least 9.

    Raises
    ------
    TypeError, ValueError
        If `coverage` is no number above 0 and below 1.

    Examples
    --------
    >>> from roomacoustic_sk.intervals import rooms_needed
    >>> rooms_needed(0.9), rooms_needed(0.95)
    (9, 19)
    """
    check_coverage(coverage)
    return max(FEWEST_ROOMS, math.ceil(coverage / (1 - coverage) - ROUNDING))


@door
def room_quantile(scores: ArrayLike, room_groups: ArrayLike, coverage: float) -> float:
    """Return the level that the score of a clip of a new room does not exceed, with a given probability.

    The quantile is taken of the distribution in which each of K rooms has the weight 1 / (K + 1), divided equally among
    its clips, and infinity has the rest. The level is at or above the score of a random clip of a new room with
    probability `coverage` or more, whatever the distribution of scores within and among rooms, if the rooms are
    exchangeable (Lee, Barber and Willett, arXiv:2306.06342, Theorem 1). With one clip a room it is the
    ``ceil(coverage * (K + 1))``-th smallest score: split conformal prediction.

    Parameters
    ----------
    scores : array-like of shape (n_clips,)
        Scores of the calibration clips, e.g. absolute errors.
    room_groups : array-like of shape (n_clips,)
        The room of each clip.
    coverage : float
        Probability, above 0 and below 1.

    Returns
    -------
    float
        The level; infinity if there are fewer than ``coverage / (1 - coverage)`` rooms.

    Raises
    ------
    TypeError, ValueError
        If scores are no finite numbers, labels are misaligned, or `coverage` is not above 0 and below 1.

    Examples
    --------
    >>> from roomacoustic_sk.intervals import room_quantile
    >>> room_quantile([3.0, 1.0, 2.0], ["hall", "office", "studio"], 0.5)
    2.0
    """
    values = as_array(scores, name="scores", expected="an array of numbers", dtype=float)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ArgumentValueError(f"scores must be 1-D and finite, at least one of them, got {describe(values)}.")
    check_coverage(coverage)
    rooms = np.unique(check_groups(room_groups, len(values), name="room_groups"), return_inverse=True)[1]
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(room_weights(rooms)[order]) / (rooms.max() + 2)
    above = np.flatnonzero(reached >= coverage - ROUNDING)
    return float(values[order[above[0]]]) if len(above) else np.inf


def check_coverage(coverage: Any) -> float:
    """Return `coverage` as a float above 0 and below 1, or raise."""
    check_number(coverage, name="coverage", low=0, high=1, low_open=True, fix="It is a share: divide per cent by 100.")
    if coverage == 1:
        raise ArgumentValueError("coverage must be below 1, got 1: only an infinite interval is never wrong.")
    return float(coverage)


def room_weights(rooms: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return a weight for each clip; those of a room add up to 1."""
    return 1 / np.bincount(rooms)[rooms]


def check_quality(quality: Any, n_recordings: int, names: Sequence[str] = ()) -> NDArray[np.float64]:
    """Return quality numbers as an array (n_recordings, k), or raise; columns of a frame are found by their names."""
    labels = quality_names(quality)
    if names and labels and set(labels) != set(names):
        raise ArgumentValueError(f"quality must have the columns of calibrate, {list(names)}, got {labels}.")
    values = as_array(quality, name="quality", expected="an array of numbers", dtype=float)
    if values.ndim != 2 or len(values) != n_recordings or not values.shape[1]:
        raise ArgumentValueError(
            f"quality must have the shape (n_recordings, k), with {n_recordings} recordings and k numbers for each of "
            f"them, got {describe(values)}."
        )
    broken = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(broken):
        raise ArgumentValueError(f"quality must be finite, got NaN or infinity in {name_rows(broken)}.")
    largest = np.abs(values).max(initial=0.0)
    if largest > LARGEST_QUALITY:
        raise ArgumentValueError(f"quality must be at most {LARGEST_QUALITY:g}, got {largest:.3g}. Scale it.")
    return values[:, [labels.index(name) for name in names]] if names and labels else values


def quality_names(quality: Any) -> list[str]:
    """Return the names of the columns of a frame as text; none of anything else."""
    if not isinstance(quality, pd.DataFrame):
        return []
    names = [str(label) for label in quality.columns]
    if len(set(names)) < len(names):
        raise ArgumentValueError(f"quality must have columns of different names, got {names}.")
    return names


@dataclass(frozen=True, eq=False)
class TrainingSpread:
    """Where the training data lie in the space of embeddings: their mean and principal directions.

    What lies outside the principal directions is measured in units of the mean deviation there (probabilistic principal
    component analysis, Tipping and Bishop, 1999).
    """

    mean: NDArray[np.float64]  # (n_features,)
    directions: NDArray[np.float64]  # (n_directions, n_features), orthonormal
    deviations: NDArray[np.float64]  # (n_directions,)
    rest: float  # deviation in each other direction

    @classmethod
    def of(cls, embeddings: NDArray[Any]) -> Self:
        """Learn it from embeddings (n_recordings, n_features)."""
        X = np.asarray(embeddings, dtype=np.float64)
        mean, (n, n_features) = X.mean(axis=0), X.shape
        n_directions = min(N_DIRECTIONS, n - 1, n_features)
        _, singular, directions = randomized_svd(X - mean, n_directions, random_state=0)
        total = float(((X - mean) ** 2).sum()) / n
        variances = singular**2 / n
        n_others = n_features - n_directions
        rest = max(total - variances.sum(), 0.0) / n_others if n_others else 0.0
        # Neither 0, nor so small that rounding looks far away.
        smallest = 1e-6 * total / n_features or 1.0
        return cls(mean, directions, np.sqrt(np.maximum(variances, smallest)), float(np.sqrt(max(rest, smallest))))

    def state(self) -> dict[str, Any]:
        """Return all attributes, as plain values and arrays."""
        return vars(self).copy()

    @classmethod
    def of_state(cls, state: State, n_features: int) -> Self:
        """Return the spread that `state` describes."""
        deviations = state.array("deviations", shape=(None,))
        mean = state.array("mean", shape=(n_features,))
        directions = state.array("directions", shape=(len(deviations), n_features))
        return cls(mean, directions, deviations, state.number("rest", low=0))

    def coordinates(self, embeddings: NDArray[Any]) -> NDArray[np.float64]:
        """Return embeddings along the principal directions, in standard deviations: (n_recordings, n_directions)."""
        return (embeddings - self.mean) @ self.directions.T / self.deviations

    def distances(self, embeddings: NDArray[Any]) -> NDArray[np.float64]:
        """Return how far embeddings lie from the mean of the training data, in standard deviations, per direction."""
        centred, along = embeddings - self.mean, self.coordinates(embeddings)
        across = (centred**2).sum(axis=1) - ((along * self.deviations) ** 2).sum(axis=1)
        return np.sqrt(((along**2).sum(axis=1) + np.maximum(across, 0.0) / self.rest**2) / len(self.mean))


class Evidence(NamedTuple):
    """What the width of an interval may depend on, of each recording."""

    estimates: NDArray[np.float64]  # (n_recordings, n_targets), standardised
    coordinates: NDArray[np.float64]  # (n_recordings, n_directions) of the embedding
    distances: NDArray[np.float64]  # (n_recordings,) from the training data
    quality: NDArray[np.float64] | None = None  # (n_recordings, k), from the user

    @property
    def numbers(self) -> NDArray[np.float64]:
        """All but the coordinates: those that may matter each on its own, (n_recordings, n_numbers)."""
        quality = [] if self.quality is None else [self.quality]
        return np.column_stack([self.estimates, np.log(self.distances + 1e-12), *quality])


@dataclass(frozen=True, eq=False)
class ErrorScale:
    """The size of an error to expect, whose logarithm is a quadratic function of the evidence.

    It is linear in the embedding's coordinates, which together weigh as much as one number.
    """

    mean: NDArray[np.float64]  # (n_numbers,) of the evidence
    deviation: NDArray[np.float64]
    slopes: NDArray[np.float64]  # (n_regressors, n_targets)
    offset: NDArray[np.float64]  # (n_targets,)
    low: NDArray[np.float64]  # (n_targets,) range of the logarithm in the calibration rooms
    high: NDArray[np.float64]

    @classmethod
    def learned(
        cls, evidence: Evidence, errors: NDArray[np.float64], rooms: NDArray[np.intp]
    ) -> tuple[Self, NDArray[np.float64]]:
        """Learn it from absolute errors (n_clips, n_targets), NaN where unknown.

        Returns
        -------
        ErrorScale
            Learned in all rooms.
        ndarray of shape (n_clips, n_targets)
            The scale of each clip, as learned in other rooms.
        """
        numbers = evidence.numbers
        deviation = numbers.std(axis=0)
        mean, deviation = numbers.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
        regressors = _regressors(evidence, mean, deviation)
        n_targets = errors.shape[1]
        slopes, offset = np.zeros((regressors.shape[1], n_targets)), np.zeros(n_targets)
        low, high, elsewhere = np.zeros(n_targets), np.zeros(n_targets), np.zeros(errors.shape)
        for i in range(n_targets):
            known = ~np.isnan(errors[:, i])
            if len(np.unique(rooms[known])) < FEWEST_ROOMS:
                continue
            fitted = _fit_log_scale(regressors[known], errors[known, i], rooms[known])
            slopes[:, i], offset[i], elsewhere[known, i] = fitted
            low[i], high[i] = elsewhere[known, i].min(), elsewhere[known, i].max()
        return cls(mean, deviation, slopes, offset, low, high), np.exp(elsewhere)

    def state(self) -> dict[str, Any]:
        """Return all attributes, as arrays."""
        return vars(self).copy()

    @classmethod
    def of_state(cls, state: State, n_numbers: int, n_targets: int) -> Self:
        """Return the scale that `state` describes."""
        mean, deviation = (state.array(name, shape=(n_numbers,)) for name in ("mean", "deviation"))
        slopes = state.array("slopes", shape=(None, n_targets))
        offset, low, high = (state.array(name, shape=(n_targets,)) for name in ("offset", "low", "high"))
        return cls(mean, deviation, slopes, offset, low, high)

    def __call__(self, evidence: Evidence) -> NDArray[np.float64]:
        """Return the scale of each recording and target, within the range of the calibration rooms."""
        logarithm = self.offset + _regressors(evidence, self.mean, self.deviation) @ self.slopes
        return np.exp(np.clip(logarithm, self.low, self.high))


def _regressors(evidence: Evidence, mean: NDArray[np.float64], deviation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return what the logarithm of the scale is a linear function of, (n_recordings, n_regressors)."""
    numbers = np.clip((evidence.numbers - mean) / deviation, -FARTHEST, FARTHEST)
    coordinates = np.clip(evidence.coordinates, -FARTHEST, FARTHEST) / math.sqrt(evidence.coordinates.shape[1])
    return np.hstack([numbers, numbers**2, coordinates])


def _fit_log_scale(
    X: NDArray[np.float64], errors: NDArray[np.float64], rooms: NDArray[np.intp]
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Regress the logarithm of errors; return slopes, offset, and the logarithm of each clip's scale.

    The penalty is the one whose predictions in rooms left out are best.
    """
    y = np.log(np.maximum(errors, max(SMALLEST_ERROR * float(np.median(errors)), np.finfo(float).tiny)))
    rooms = np.unique(rooms, return_inverse=True)[1]
    weights = room_weights(rooms)
    predicted = np.empty((len(y), len(PENALTIES)))
    for train, test in GroupKFold(min(N_FOLDS, rooms.max() + 1)).split(X, groups=rooms):
        slopes, offsets = ridge_path(X[train], y[train], weights[train], PENALTIES)
        predicted[test] = X[test] @ slopes + offsets
    losses = weights @ (predicted - y[:, None]) ** 2
    losses[1:] += ROUNDING * losses[0]  # a tie goes to the constant
    best = int(np.argmin(losses))
    slopes, offsets = ridge_path(X, y, weights, PENALTIES[best : best + 1])
    if PENALTIES[best] == np.inf:  # the same for all clips, those left out included
        predicted[:, best] = offsets[0]
    return slopes[:, 0], float(offsets[0]), predicted[:, best]


def ridge_path(
    X: NDArray[np.float64], y: NDArray[np.float64], weights: NDArray[np.float64], penalties: Sequence[float]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return slopes (n_regressors, n_penalties) and offsets of weighted ridge regressions, from one decomposition."""
    mean_x, mean_y = np.average(X, axis=0, weights=weights), np.average(y, weights=weights)
    centred = np.sqrt(weights)[:, None] * (X - mean_x)
    curvature, axes = np.linalg.eigh(centred.T @ centred)
    along = axes.T @ (centred.T @ (np.sqrt(weights) * (y - mean_y)))
    slopes = axes @ (along[:, None] / (np.maximum(curvature, 0.0)[:, None] + np.asarray(penalties)))
    return slopes, mean_y - mean_x @ slopes


@dataclass(frozen=True, eq=False)
class RoomIntervals:
    """What calibration learns: the scale of errors, and how large they are relative to it in the calibration rooms."""

    scale: ErrorScale
    scores: NDArray[np.float64]  # (n_clips, n_targets): errors divided by their scale, NaN where unknown
    rooms: NDArray[np.intp]  # (n_clips,)
    distances: NDArray[np.float64]  # (n_clips,) from the training data
    n_quality: int  # numbers of quality that belong to each recording
    quality_names: tuple[str, ...] = ()  # of their columns, if they had names

    @classmethod
    def calibrated(
        cls, evidence: Evidence, errors: NDArray[np.float64], rooms: NDArray[np.intp], quality_names: Sequence[str] = ()
    ) -> Self:
        """Learn intervals from absolute errors (n_clips, n_targets) in rooms that no training saw."""
        # Numbered as they come, so that the folds do not depend on how rooms are spelled.
        rooms = pd.factorize(rooms)[0]
        scale, of_clips = ErrorScale.learned(evidence, errors, rooms)
        n_quality = 0 if evidence.quality is None else evidence.quality.shape[1]
        return cls(scale, errors / of_clips, rooms, evidence.distances, n_quality, tuple(quality_names))

    def state(self) -> dict[str, Any]:
        """Return all attributes, as plain values and arrays."""
        return vars(self) | {"scale": self.scale.state(), "quality_names": list(self.quality_names)}

    @classmethod
    def of_state(cls, state: State, n_targets: int) -> Self:
        """Return the intervals that `state` describes."""
        scores = state.array("scores", shape=(None, n_targets), finite=False)
        rooms = state.array("rooms", shape=(len(scores),), kinds="i")
        distances, n_quality = state.array("distances", shape=(len(scores),)), state.whole("n_quality")
        if not len(scores) or not np.array_equal(np.unique(rooms), np.arange(rooms.max() + 1)):
            raise ArgumentValueError("rooms must be numbered from 0, without a gap.")
        part = state.part("scale")
        scale = ErrorScale.of_state(part, len(part.array("mean", shape=(None,))), n_targets)
        names = state.texts("quality_names") if "quality_names" in state else []
        if names and len(set(names)) != n_quality:
            raise ArgumentValueError(f"quality_names must be {n_quality} different names, got {names}.")
        return cls(scale, scores, rooms, distances, n_quality, tuple(names))

    def n_rooms(self) -> NDArray[np.intp]:
        """Return in how many rooms each target is known."""
        return np.array([len(np.unique(self.rooms[~np.isnan(scores)])) for scores in self.scores.T])

    def half_widths(self, evidence: Evidence, coverage: float) -> NDArray[np.float64]:
        """Return half the width of each interval, (n_recordings, n_targets); NaN for a target of too few rooms."""
        levels = np.full(self.scores.shape[1], np.nan)
        for i in np.flatnonzero(self.n_rooms() >= rooms_needed(coverage)):
            known = ~np.isnan(self.scores[:, i])
            levels[i] = room_quantile(self.scores[known, i], self.rooms[known], coverage)
        return levels * self.scale(evidence)

    def novelty(self, distances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return which share of the calibration rooms lies closer to the training data, the new room among the rest.

        It is 1 less a conformal p-value: above 0.99 for at most 1 % of the clips of new rooms that are exchangeable
        with the calibration rooms.
        """
        order = np.argsort(self.distances, kind="stable")
        reached = np.concatenate([[0.0], np.cumsum(room_weights(self.rooms)[order])]) / (self.rooms.max() + 2)
        return reached[np.searchsorted(self.distances[order], distances, side="left")]
