"""`RoomParameterEstimator`: waveforms in, room parameters with intervals out, from an encoder and a head."""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from roomacoustic_sk._base import RoomEstimator
from roomacoustic_sk._recordings import as_recordings
from roomacoustic_sk._regression import RoomRegressorMixin
from roomacoustic_sk._speech_activity import quality_of
from roomacoustic_sk._state import State
from roomacoustic_sk._validation import ArgumentTypeError, ArgumentValueError, describe, door

__all__ = ["RoomParameterEstimator"]


class RoomEstimates(NamedTuple):
    """Estimates of some recordings, with all that tells how far they can be relied upon.

    Attributes
    ----------
    values : ndarray of shape (n_recordings, n_targets)
        Estimates in the targets' units.
    intervals : ndarray of shape (n_recordings, n_targets, 2)
        Lower and upper bounds.
    novelty : ndarray of shape (n_recordings,)
        From 0 to 1, how unusual the recordings are.
    """

    values: NDArray[np.float64]
    intervals: NDArray[np.float64]
    novelty: NDArray[np.float64]


class RoomParameterEstimator(RegressorMixin, BaseEstimator):
    """Estimate room parameters from recordings of any length, with intervals: an encoder and a head in one.

    The encoder turns recordings into embeddings, one head estimates all targets from them. Intervals also depend on
    two numbers of quality that are computed from the waveforms, when they are calibrated and when they are used: the
    logarithm of the seconds of speech, and an estimate of the signal-to-noise ratio in dB.

    Parameters
    ----------
    encoder : estimator
        A `ContrastiveRoomEncoder`, or another transformer of recordings of this package. `fit` trains a clone of it,
        unless it is wrapped in scikit-learn's `FrozenEstimator`.
    head : RoomRegressor
        Estimates the targets from embeddings. `fit` trains a clone of it, unless it is frozen.

    Attributes
    ----------
    encoder_ : estimator
        The fitted encoder.
    head_ : RoomRegressor
        The fitted head. If it was passed in frozen, it is the same object, and `calibrate` calibrates it.
    target_names_ : list of str
        Names of the targets.

    Raises
    ------
    TypeError, ValueError
        By `fit`: if `encoder` or `head` is of another kind; as the encoder and the head do.

    See Also
    --------
    roomacoustic_sk.estimate_room : Estimates from files, with flags for recordings that are no good.
    roomacoustic_sk.load_pretrained : An estimator that is part of the package.

    Notes
    -----
    With ``encoder=FrozenEstimator(encoder), head=FrozenEstimator(head)``, both fitted, `fit` trains nothing and needs
    no data. A head that is already calibrated must have been given `quality(X)`.

    `estimate_room` names its columns after the targets, and calls `rt60` what is `rt60_mid` here and in the data sets:
    the mean of the octave bands at 500 Hz and 1 kHz, not the broadband `rt60`.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import ContrastiveRoomEncoder, RoomParameterEstimator, RoomRegressor
    >>> rng = np.random.default_rng(0)
    >>> rt60 = np.repeat(np.geomspace(0.1, 1.0, 12), 4)
    >>> decay = 10 ** (-3 * (np.arange(16_000) % 4_000) / 16_000 / rt60[:, None])
    >>> X, room = rng.standard_normal(decay.shape) * decay, np.repeat(np.arange(12), 4)
    >>> encoder = ContrastiveRoomEncoder(
    ...     segment_duration=0.5, n_classes=2, n_views=2, steps_per_epoch=2, max_epochs=1, validation_fraction=0
    ... )
    >>> estimator = RoomParameterEstimator(encoder, RoomRegressor(max_epochs=2, validation_fraction=0))
    >>> estimator = estimator.fit(X, rt60, rir_groups=room, source_groups=np.arange(48))
    >>> estimator = estimator.calibrate(X, rt60, room_groups=room)  # better: rooms that are new
    >>> estimator.predict(X[:3]).shape, estimator.predict_interval(X[:3]).shape
    ((3, 1), (3, 1, 2))
    """

    # With metadata routing enabled, group labels are requested by default.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    encoder_: Any
    head_: Any

    def __init__(self, encoder: Any, head: Any) -> None:
        self.encoder = encoder
        self.head = head

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    @property
    def sample_rate(self) -> int:
        """Sampling rate of the recordings, in Hz."""
        return int(_inner(self.encoder_ if hasattr(self, "encoder_") else self.encoder).sample_rate)

    def _check_parameters(self) -> None:
        encoder, head = _inner(self.encoder), _inner(self.head)
        if not isinstance(encoder, RoomEstimator) or not hasattr(encoder, "transform"):
            raise ArgumentTypeError(
                f"encoder must be a transformer of recordings, such as ContrastiveRoomEncoder, got {describe(encoder)}."
            )
        if not isinstance(head, RoomRegressorMixin) or isinstance(head, RoomEstimator):
            raise ArgumentTypeError(f"head must be a RoomRegressor, got {describe(head)}.")

    @door
    def fit(
        self,
        X: Any = None,
        y: Any = None,
        *,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
    ) -> Self:
        """Train the encoder, then the head on its embeddings; what is frozen stays as it is.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms at the encoder's sampling rate; not needed if both parts are frozen.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            Targets, NaN where unknown; the columns of a frame are named.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            Group labels, as for `ContrastiveRoomEncoder`; the head gets them, too.

        Returns
        -------
        RoomParameterEstimator
            Itself.
        """
        self._check_parameters()
        labels = {"rir_groups": rir_groups, "source_groups": source_groups, "room_groups": room_groups}
        encoder, head = clone(self.encoder), clone(self.head)
        trains_encoder, trains_head = (not isinstance(part, FrozenEstimator) for part in (encoder, head))
        if X is None and (trains_encoder or trains_head):
            raise ArgumentValueError("X must be given unless both encoder and head are frozen, got None.")
        if trains_encoder:
            encoder.fit(X, **labels)
        check_is_fitted(_inner(encoder))
        if trains_head:
            head.fit(_embed(_inner(encoder), X), y, **labels)
        check_is_fitted(_inner(head))
        self.encoder_, self.head_ = _inner(encoder), _inner(head)
        self.target_names_ = list(self.head_.target_names_)
        return self

    @door
    def transform(self, X: Any) -> NDArray[Any]:
        """Embed recordings.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms of any length, at the encoder's sampling rate.

        Returns
        -------
        ndarray of shape (n_recordings, n_features)
            Embeddings.
        """
        check_is_fitted(self, "head_")
        return _embed(self.encoder_, X)

    @door
    def quality(self, X: Any) -> NDArray[np.float64]:
        """Return the numbers that tell how much can be heard of the room in recordings.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms.

        Returns
        -------
        ndarray of shape (n_recordings, 2)
            Logarithm of the seconds of speech, and the estimated signal-to-noise ratio in dB, from -10 to 60.
        """
        recordings = as_recordings(X, self.sample_rate)
        return np.array([quality_of(waveform, self.sample_rate) for waveform in recordings])

    @door
    def predict(self, X: Any) -> NDArray[np.float64]:
        """Estimate the targets.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms of any length.

        Returns
        -------
        ndarray of shape (n_recordings, n_targets)
            Estimates in the targets' units; the columns are those of `target_names_`.
        """
        return _by_target(self._fitted_head().predict(self.transform(X)))

    @door
    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Return the coefficient of determination, averaged over the targets, each on its known values.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            True targets, NaN where unknown.
        sample_weight : array-like of shape (n_recordings,), optional
            Weights of the recordings.

        Returns
        -------
        float
            Mean R² of the targets.
        """
        return float(self._fitted_head().score(self.transform(X), y, sample_weight))

    @door
    def calibrate(self, X: Any, y: Any, room_groups: ArrayLike) -> Self:
        """Learn the width of intervals from rooms that no training saw; estimates stay as they are.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            True targets, NaN where unknown.
        room_groups : array-like of shape (n_recordings,)
            The room of each recording: at least 9 for intervals of 90 %, better 100.

        Returns
        -------
        RoomParameterEstimator
            Itself.

        See Also
        --------
        roomacoustic_sk.RoomRegressor.calibrate : The method.
        """
        self._fitted_head().calibrate(self.transform(X), y, room_groups, quality=self.quality(X))
        return self

    @door
    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[np.float64]:
        """Return bounds of the targets that hold for a given share of clips of new rooms.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms.
        coverage : float, default=0.9
            Probability that an interval contains the true value, each target on its own.

        Returns
        -------
        ndarray of shape (n_recordings, n_targets, 2)
            Lower and upper bounds in the targets' units.

        Raises
        ------
        NotFittedError
            If `calibrate` has not been called since the last `fit`.
        """
        head = self._fitted_head()
        return head.predict_interval(self.transform(X), coverage, quality=self.quality(X))

    @door
    def novelty(self, X: Any) -> NDArray[np.float64]:
        """Return how unusual recordings are, compared to the rooms of `calibrate`.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms.

        Returns
        -------
        ndarray of shape (n_recordings,)
            From 0 to 1: the share of calibration rooms that lie closer to the training data.
        """
        return self._fitted_head().novelty(self.transform(X))

    @door
    def estimate(self, embeddings: ArrayLike, quality: ArrayLike, coverage: float = 0.9) -> RoomEstimates:
        """Return estimates, intervals and novelty of recordings that have been embedded.

        Several embeddings of a room may be averaged before, and their seconds of speech added up.

        Parameters
        ----------
        embeddings : array-like of shape (n_recordings, n_features)
            As `transform` returns them.
        quality : array-like of shape (n_recordings, 2)
            As `quality` returns it.
        coverage : float, default=0.9
            Probability that an interval contains the true value.

        Returns
        -------
        RoomEstimates
            Estimates, intervals and novelty.
        """
        head = self._fitted_head()
        return RoomEstimates(
            _by_target(head.predict(embeddings)),
            head.predict_interval(embeddings, coverage, quality=quality),
            head.novelty(embeddings),
        )

    def _fitted_head(self) -> Any:
        """Return the fitted head, or raise."""
        check_is_fitted(self, "head_")
        return self.head_

    def _fitted_state(self) -> dict[str, Any] | None:
        return {"encoder": self.encoder_, "head": self.head_} if hasattr(self, "head_") else None

    def _restore(self, state: State) -> None:
        encoder, head = state.value("encoder"), state.value("head")
        fitted = type(self)(encoder, head)
        fitted._check_parameters()
        check_is_fitted(encoder)
        check_is_fitted(head)
        self.encoder_, self.head_, self.target_names_ = encoder, head, list(head.target_names_)


def _inner(part: Any) -> Any:
    """Return what a `FrozenEstimator` holds, or the estimator itself."""
    return part.estimator if isinstance(part, FrozenEstimator) else part


def _embed(encoder: Any, X: Any) -> NDArray[Any]:
    """Embed recordings, which may be of another length than those of the fit."""
    return np.asarray(encoder.transform(as_recordings(X, encoder.sample_rate)))


def _by_target(estimates: NDArray[np.float64]) -> NDArray[np.float64]:
    return estimates.reshape(len(estimates), -1)
