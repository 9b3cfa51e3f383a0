"""What both regressors offer beside `fit`: estimates, their score, and intervals that are calibrated on rooms."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import RegressorMixin
from sklearn.exceptions import NotFittedError, UndefinedMetricWarning
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from roomacoustic_sk._labels import GroupLabels
from roomacoustic_sk._state import State
from roomacoustic_sk._torch.targets import Regression
from roomacoustic_sk._validation import ArgumentValueError, NamedError, door, restated, warn
from roomacoustic_sk.intervals import (
    Evidence,
    RoomIntervals,
    TrainingSpread,
    check_coverage,
    check_quality,
    quality_names,
    rooms_needed,
)

FARTHEST_TARGET = 6.0
"""Distance of a target from those of the fit, in standard deviations, from which on its unit is doubted."""

MOST_EMBEDDINGS = 4096
"""Largest number of embeddings of the training data from which their spread is learned."""


class NotCalibratedError(NamedError, NotFittedError):
    """Intervals were asked for before `calibrate`."""


class Heard(NamedTuple):
    """What a network makes of recordings."""

    embeddings: NDArray[Any]  # (n_recordings, n_features)
    outputs: NDArray[np.float64]  # (n_recordings, n_outputs) on the scale of the standardised targets


class RoomRegressorMixin(RegressorMixin):
    """Estimates in the targets' units, their score, and intervals; subclasses say how a recording is heard."""

    intervals_: RoomIntervals
    target_names_: list[str]
    _target: Any  # a Regression
    _spread: TrainingSpread  # of the training data

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @abstractmethod
    def _hear(self, X: Any) -> Heard:
        """Run the trained network."""

    def _keep_regression(self, target: Regression, embeddings: NDArray[Any]) -> None:
        """Set the fitted attributes of a fit, whose embeddings are given; intervals belonged to the fit before."""
        self.target_names_ = list(target.names)
        some = np.linspace(0, len(embeddings) - 1, min(len(embeddings), MOST_EMBEDDINGS)).astype(int)
        self._spread = TrainingSpread.of(embeddings[some])
        self.__dict__.pop("intervals_", None)

    def _fitted_state(self) -> dict[str, Any] | None:
        state = super()._fitted_state()
        if state is None:
            return None
        return state | {"spread": self._spread.state(), "intervals": self._intervals_state()}

    def _intervals_state(self) -> dict[str, Any] | None:
        return self.intervals_.state() if hasattr(self, "intervals_") else None

    def _restore(self, state: State) -> None:
        super()._restore(state)
        self.target_names_ = list(self._target.names)
        spread = state.part("spread")
        self._spread = TrainingSpread.of_state(spread, len(spread.array("mean", shape=(None,))))
        self._restore_intervals(state)

    def _restore_intervals(self, state: State) -> None:
        if state.value("intervals") is not None:
            self.intervals_ = RoomIntervals.of_state(state.part("intervals"), self._target.n_outputs)

    @door
    def predict(self, X: Any) -> NDArray[np.float64]:
        """Estimate the targets.

        Parameters
        ----------
        X : array-like
            Embeddings or waveforms, as for `fit`.

        Returns
        -------
        ndarray of shape (n_recordings,) or (n_recordings, n_targets)
            Estimates in the targets' units. The columns are those of `target_names_`.
        """
        return self._target_of_fit().estimates(self._hear(X).outputs)

    def _target_of_fit(self) -> Regression:
        check_is_fitted(self, "target_names_")
        return self._target

    @door
    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return the coefficient of determination, averaged over the targets, each on its known values.

        Parameters
        ----------
        X : array-like
            Embeddings or waveforms, as for `fit`.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            True targets, NaN where unknown. Columns of a frame are found by the names in `target_names_`.
        sample_weight : array-like of shape (n_recordings,), optional
            Weights of the recordings.

        Returns
        -------
        float
            Mean R² of the targets; NaN, with a warning, if a target has fewer than two known values.
        """
        true = self._target_of_fit().select(y, self)
        estimates = self.predict(X)
        _check_length(true, len(estimates))
        estimates = estimates.reshape(true.shape)
        known = ~np.isnan(true)
        with restated("X, y and sample_weight must have one entry for each recording"):
            if known.all():
                return float(r2_score(true, estimates, sample_weight=sample_weight))
            if known.sum(axis=0).min() < 2:
                few = self.target_names_[int(known.sum(axis=0).argmin())]
                warn(f"score is NaN: y has fewer than two known values of {few!r}.", UndefinedMetricWarning)
                return float("nan")
            weights = np.ones(len(true)) if sample_weight is None else np.asarray(sample_weight, dtype=float)
            scores = [
                r2_score(true[rows, i], estimates[rows, i], sample_weight=weights[rows])
                for i, rows in enumerate(known.T)
            ]
        return float(np.mean(scores))

    @door
    def calibrate(self, X: Any, y: Any, room_groups: ArrayLike, quality: ArrayLike | None = None) -> Self:
        """Learn the width of intervals from rooms that no training saw; estimates stay as they are.

        Rooms of the head's training, or of its encoder's, have smaller errors than new ones, so that intervals would be
        too narrow. Call it again on rooms of your own: intervals then hold for rooms like those.

        Parameters
        ----------
        X : array-like
            Embeddings or waveforms, as for `fit`. Several clips of a room are welcome: every room counts the same.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            True targets, NaN where unknown. Columns of a frame are found by the names in `target_names_`; intervals of
            targets that a frame lacks will be NaN.
        room_groups : array-like of shape (n_recordings,)
            The room of each recording. At least 9 rooms are needed for intervals of up to 90 %, 19 for 95 %; with 100
            and more, the coverage comes close to what is asked for, and the width adapts well.
        quality : array-like of shape (n_recordings, k), optional
            Numbers that tell how reliable an estimate is and that an embedding does not hold, such as seconds of speech
            and an estimated signal-to-noise ratio in dB. `predict_interval` then needs the same numbers; columns of a
            frame are found by name.

        Returns
        -------
        estimator
            Itself.

        Warns
        -----
        UserWarning
            If a target is known in some rooms, but fewer than 9: its intervals will be NaN. If targets lie so far from
            those of the fit that they may have another unit.
        """
        target = self._target_of_fit()
        true = target.select(y, self, some=True)
        evidence, outputs = self._evidence(X, quality)
        _check_length(true, len(outputs))
        rooms = GroupLabels.checked(len(true), room_groups=room_groups).room
        if rooms is None:
            raise ArgumentValueError("room_groups must be given: intervals are calibrated over rooms, got None.")
        standardised = target.standardised(true)
        self._warn_of_other_units(true, standardised)
        if np.isnan(standardised).all():
            raise ArgumentValueError(f"y must have known values of a target, {self.target_names_}, got only NaN.")
        errors = np.abs(standardised - evidence.estimates)
        self.intervals_ = RoomIntervals.calibrated(evidence, errors, rooms, quality_names(quality))
        self._warn_of_few_rooms(self.intervals_, 0.9)
        return self

    @door
    def predict_interval(self, X: Any, coverage: float = 0.9, quality: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return bounds of the targets that hold for a given share of clips of new rooms.

        Parameters
        ----------
        X : array-like
            Embeddings or waveforms, as for `fit`.
        coverage : float, default=0.9
            Probability that the interval of a clip of a new room contains the true value, each target on its own, if
            that room is exchangeable with those of `calibrate`.
        quality : array-like of shape (n_recordings, k), optional
            The numbers of quality, if `calibrate` was given some.

        Returns
        -------
        ndarray of shape (n_recordings, n_targets, 2)
            Lower and upper bounds in the targets' units; NaN, with a warning, for targets known in too few calibration
            rooms.

        Raises
        ------
        NotFittedError
            If `calibrate` has not been called since the last `fit`.
        """
        target, intervals = self._target_of_fit(), self._calibrated("predict_interval")
        check_coverage(coverage)
        if (quality is not None) != (intervals.n_quality > 0):
            came = "None" if quality is None else "some"
            raise ArgumentValueError(
                f"quality must be given if, and only if, calibrate was given it ({intervals.n_quality} numbers), got "
                f"{came}. Call calibrate of the estimator that predicts."
            )
        evidence, outputs = self._evidence(X, quality, intervals.quality_names)
        if quality is not None and evidence.quality is not None and evidence.quality.shape[1] != intervals.n_quality:
            raise ArgumentValueError(
                f"quality must have {intervals.n_quality} numbers for each recording, as in calibrate, got "
                f"{evidence.quality.shape[1]}."
            )
        self._warn_of_few_rooms(intervals, coverage)
        return target.around_estimates(outputs, intervals.half_widths(evidence, coverage))

    @door
    def novelty(self, X: Any) -> NDArray[np.float64]:
        """Return how unusual recordings are, compared to rooms that are new to the training.

        Recordings whose embeddings lie farther from the training data than nearly all of the calibration rooms are
        unlike them, and neither estimates nor intervals can be relied upon.

        Parameters
        ----------
        X : array-like
            Embeddings or waveforms, as for `fit`.

        Returns
        -------
        ndarray of shape (n_recordings,)
            From 0 to 1: the share of calibration rooms that lie closer to the training data. A clip of a room like
            those of `calibrate` exceeds 0.95 with a probability of at most 5 %. With K rooms, K / (K + 1) is the
            largest value.

        Warns
        -----
        UserWarning
            If it cannot reach 0.95, for fewer than 19 rooms.

        Raises
        ------
        NotFittedError
            If `calibrate` has not been called since the last `fit`.
        """
        self._target_of_fit()
        intervals = self._calibrated("novelty")
        n_rooms, needed = intervals.rooms.max() + 1, rooms_needed(0.95)
        if n_rooms < needed:
            warn(
                f"room_groups of calibrate should name at least {needed} rooms for novelty to reach 0.95, got "
                f"{n_rooms}: it is at most {n_rooms / (n_rooms + 1):.3f}."
            )
        return intervals.novelty(self._spread.distances(self._hear(X).embeddings))

    def _calibrated(self, method: str) -> RoomIntervals:
        if not hasattr(self, "intervals_"):
            raise NotCalibratedError(
                f"calibrate must be called before {method}, on rooms that no training saw, and again after each fit."
            )
        return self.intervals_

    def _evidence(self, X: Any, quality: Any, names: Sequence[str] = ()) -> tuple[Evidence, NDArray[np.float64]]:
        """Return what the width of intervals may depend on, and the network's outputs."""
        embeddings, outputs = self._hear(X)
        checked = None if quality is None else check_quality(quality, len(outputs), names)
        coordinates, distances = self._spread.coordinates(embeddings), self._spread.distances(embeddings)
        return Evidence(self._target.centred(outputs), coordinates, distances, checked), outputs

    def _warn_of_other_units(self, true: NDArray[np.float64], standardised: NDArray[np.float64]) -> None:
        distance = np.where(np.isnan(standardised), 0.0, np.abs(standardised))
        row, column = np.unravel_index(int(distance.argmax()), distance.shape)
        if distance[row, column] > FARTHEST_TARGET:
            warn(
                f"y should have the units of the fit, got {true[row, column]:.4g} for "
                f"{self.target_names_[int(column)]!r}, {distance[row, column]:.0f} standard deviations from the mean "
                "of the training. Is that ms, or per cent?"
            )

    def _warn_of_few_rooms(self, intervals: RoomIntervals, coverage: float) -> None:
        needed = rooms_needed(coverage)
        counts = zip(self.target_names_, intervals.n_rooms(), strict=True)
        few = {name: int(n) for name, n in counts if 0 < n < needed}  # those without any were left out on purpose
        if few:
            known = ", ".join(f"{name!r} in {n}" for name, n in few.items())
            warn(
                f"room_groups of calibrate should name at least {needed} rooms in which a target is known, for a "
                f"coverage of {coverage:g}, got {known}. Intervals of these targets are NaN."
            )


def _check_length(true: NDArray[Any], n_recordings: int) -> None:
    """Refuse targets of another number of recordings."""
    if len(true) != n_recordings:
        raise ArgumentValueError(
            f"y must have one entry for each of the {n_recordings} recordings in X, got {len(true)}."
        )
