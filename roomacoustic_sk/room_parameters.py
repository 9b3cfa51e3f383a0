"""`RoomParameterEstimator`: recordings of any length in, room parameters with intervals out."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, MetaEstimatorMixin, RegressorMixin, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted

from roomacoustic_sk._recordings import Recordings, RecordingsInMemory, as_recordings
from roomacoustic_sk._regression import RoomRegressorMixin
from roomacoustic_sk._speech_activity import FRAME_SECONDS, find_speech, stretches
from roomacoustic_sk._state import State
from roomacoustic_sk._torch.estimator import RecordingEstimator
from roomacoustic_sk._validation import ArgumentTypeError, ArgumentValueError, describe, door

__all__ = ["RoomParameterEstimator"]

SECONDS_AT_ONCE = 120.0
"""Seconds of speech that are embedded at a time, which bounds the memory."""


class RoomEstimates(NamedTuple):
    """Estimates of some recordings, from one pass over them.

    Attributes
    ----------
    values : ndarray of shape (n_recordings, n_targets)
        In the targets' units.
    intervals : ndarray of shape (n_recordings, n_targets, 2)
        Lower and upper bounds; NaN if the head was not calibrated.
    novelty : ndarray of shape (n_recordings,)
        How unusual a recording is, from 0 to 1, see `RoomRegressor.novelty`; NaN if the head was not calibrated.
    """

    values: NDArray[np.float64]
    intervals: NDArray[np.float64]
    novelty: NDArray[np.float64]


class Heard(NamedTuple):
    """What is made of recordings before the head: their embeddings, and numbers of quality."""

    embeddings: NDArray[np.float32]  # (n_recordings, n_features)
    quality: NDArray[np.float64]  # (n_recordings, 2): logarithm of the seconds of speech, and estimated SNR in dB


class RoomParameterEstimator(MetaEstimatorMixin, RegressorMixin, BaseEstimator):
    """Estimate room parameters from recordings of any length: an encoder and a head, with intervals.

    Speech and the two seconds after it are used, since the decay after a word tells most; longer pauses are left out.
    Each stretch is embedded on its own, and the embeddings are averaged by duration. `calibrate` and `predict_interval`
    take into account how many seconds of speech there are and how far they stand out of the noise.

    Parameters
    ----------
    encoder : ContrastiveRoomEncoder
        The encoder, or one that is trained, in scikit-learn's `FrozenEstimator`.
    head : RoomRegressor or RoomRegressorEnsemble
        The head, for one or several targets, or a trained one likewise.

    Attributes
    ----------
    encoder_, head_ : estimator
        The fitted ones.
    target_names_ : list of str
        Names of the targets.

    Raises
    ------
    TypeError
        By `fit`, if encoder and head are of other classes.
    ValueError
        As the encoder and the head do.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor
    >>> from roomacoustic_sk.room_parameters import RoomParameterEstimator
    >>> rng = np.random.default_rng(0)
    >>> rt60 = rng.uniform(0.2, 0.8, 40)
    >>> X = (rng.standard_normal((40, 16_000)) * 10 ** (-3 * np.arange(16_000) / 16_000 / rt60[:, None])).astype("f4")
    >>> encoder = ContrastiveRoomEncoder(segment_duration=1.0, n_classes=8, max_epochs=0, validation_fraction=0)
    >>> estimator = RoomParameterEstimator(encoder, RoomRegressor(max_epochs=5, validation_fraction=0))
    >>> estimator.fit(X, rt60, rir_groups=np.arange(40) // 4).predict(X[:3]).shape
    (3,)
    """

    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    def __init__(self, encoder: Any, head: Any) -> None:
        self.encoder = encoder
        self.head = head

    @classmethod
    def of_fitted(cls, encoder: Any, head: Any) -> Self:
        """Return an estimator of an encoder and a head that are trained already, and calibrated or not.

        Parameters
        ----------
        encoder : ContrastiveRoomEncoder
            A fitted encoder.
        head : RoomRegressor or RoomRegressorEnsemble
            A head that was fitted on its embeddings. If it was calibrated, then with the numbers of quality of this
            class; it is simpler to call `calibrate` of what is returned, which leaves `head` as it is.

        Returns
        -------
        RoomParameterEstimator
            Fitted; `fit` would leave both as they are.
        """
        cls(encoder, head)._check_parameters()
        check_is_fitted(encoder)
        check_is_fitted(head)
        head = copy.copy(head)  # `calibrate` changes its intervals, but not those of the one passed in
        estimator = cls(FrozenEstimator(encoder), FrozenEstimator(head))
        estimator.encoder_, estimator.head_ = encoder, head
        return estimator

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "head_")

    def _check_parameters(self) -> None:
        for name, (kind, is_one) in KINDS.items():
            given = _thawed(getattr(self, name))
            if not is_one(given):
                raise ArgumentTypeError(
                    f"{name} must be a {kind}, or a fitted one in a FrozenEstimator, got {describe(given)}."
                )

    @property
    def target_names_(self) -> list[str]:
        """Names of the targets, in the order of the columns of `predict`."""
        check_is_fitted(self)
        return list(self.head_.target_names_)

    @property
    def sample_rate_(self) -> int:
        """Sampling rate of the recordings, in Hz."""
        check_is_fitted(self)
        return int(self.encoder_.sample_rate)

    @door
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
    ) -> Self:
        """Train the encoder, and the head on its embeddings; frozen ones stay as they are.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), list of 1-D arrays, or what `load_recordings` reads
            Reverberant speech at the encoder's sampling rate.
        y : array-like of shape (n_recordings,) or frame of shape (n_recordings, n_targets)
            Targets, NaN where unknown.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            Labels, as for `ContrastiveRoomEncoder.fit` and `RoomRegressor.fit`.

        Returns
        -------
        RoomParameterEstimator
            Itself.
        """
        self._check_parameters()
        groups = {"rir_groups": rir_groups, "source_groups": source_groups, "room_groups": room_groups}
        encoder, head = clone(self.encoder), clone(self.head)
        if not isinstance(encoder, FrozenEstimator):
            encoder.fit(X, **groups)
        encoder = _thawed(encoder)
        if not isinstance(head, FrozenEstimator):
            head.fit(_hear(encoder, X).embeddings, y, **groups)
        self.encoder_, self.head_ = encoder, _thawed(head)
        return self

    @door
    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed the speech of recordings.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), list of 1-D arrays, or what `load_recordings` reads
            Recordings of any length.

        Returns
        -------
        ndarray of shape (n_recordings, n_features)
            Embeddings of norm 1.
        """
        check_is_fitted(self)
        return _hear(self.encoder_, X).embeddings

    @door
    def predict(self, X: Any) -> NDArray[np.float64]:
        """Estimate the targets.

        Parameters
        ----------
        X : array-like
            Recordings, as for `transform`.

        Returns
        -------
        ndarray of shape (n_recordings,) or (n_recordings, n_targets)
            Estimates in the targets' units; the columns are those of `target_names_`.
        """
        check_is_fitted(self)
        return self.head_.predict(_hear(self.encoder_, X).embeddings)

    @door
    def calibrate(self, X: Any, y: Any, room_groups: ArrayLike) -> Self:
        """Learn the width of intervals from rooms that no training saw; estimates stay as they are.

        A frozen head is calibrated, too; only its weights are frozen.

        Parameters
        ----------
        X : array-like
            Recordings, as for `transform`.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            True targets, NaN where unknown.
        room_groups : array-like of shape (n_recordings,)
            The room of each recording; see `RoomRegressor.calibrate` for how many are needed.

        Returns
        -------
        RoomParameterEstimator
            Itself.
        """
        check_is_fitted(self)
        heard = _hear(self.encoder_, X)
        self.head_.calibrate(heard.embeddings, y, room_groups, quality=heard.quality)
        return self

    @door
    def predict_interval(self, X: Any, coverage: float = 0.9) -> NDArray[np.float64]:
        """Return bounds of the targets that hold for a given share of clips of new rooms.

        Parameters
        ----------
        X : array-like
            Recordings, as for `transform`.
        coverage : float, default=0.9
            Probability that the interval of a clip of a new room contains the true value.

        Returns
        -------
        ndarray of shape (n_recordings, n_targets, 2)
            Lower and upper bounds in the targets' units.

        Raises
        ------
        NotFittedError
            If the head has not been calibrated.
        """
        check_is_fitted(self)
        heard = _hear(self.encoder_, X)
        return self.head_.predict_interval(heard.embeddings, coverage, quality=heard.quality)

    @door
    def novelty(self, X: Any) -> NDArray[np.float64]:
        """Return how unusual recordings are, compared with those of `calibrate`.

        Parameters
        ----------
        X : array-like
            Recordings, as for `transform`.

        Returns
        -------
        ndarray of shape (n_recordings,)
            From 0 to 1; see `RoomRegressor.novelty`.
        """
        check_is_fitted(self)
        return self.head_.novelty(_hear(self.encoder_, X).embeddings)

    @door
    def estimate(self, X: Any, coverage: float = 0.9) -> RoomEstimates:
        """Return estimates, intervals and novelty from one pass over the recordings.

        Parameters
        ----------
        X : array-like
            Recordings, as for `transform`.
        coverage : float, default=0.9
            As for `predict_interval`.

        Returns
        -------
        RoomEstimates
            With NaN for intervals and novelty if the head has not been calibrated.
        """
        check_is_fitted(self)
        return self._estimate(_hear(self.encoder_, X), coverage)

    def _estimate(self, heard: Heard, coverage: float) -> RoomEstimates:
        values = self.head_.predict(heard.embeddings).reshape(len(heard.embeddings), -1)
        if not hasattr(self.head_, "intervals_"):
            return RoomEstimates(values, np.full((*values.shape, 2), np.nan), np.full(len(values), np.nan))
        quality = heard.quality if self.head_.intervals_.n_quality else None
        intervals = self.head_.predict_interval(heard.embeddings, coverage, quality=quality)
        return RoomEstimates(values, intervals, self.head_.novelty(heard.embeddings))

    def _fitted_state(self) -> dict[str, Any] | None:
        if not self.__sklearn_is_fitted__():
            return None
        # Of frozen ones, the parameters hold what is fitted.
        frozen = {name: isinstance(getattr(self, name), FrozenEstimator) for name in ("encoder", "head")}
        return {f"{name}_": None if frozen[name] else getattr(self, f"{name}_") for name in frozen}

    def _restore(self, state: State) -> None:
        self._check_parameters()
        for name, (kind, is_one) in KINDS.items():
            fitted = state.value(f"{name}_")
            fitted = _thawed(getattr(self, name)) if fitted is None else fitted
            if not is_one(fitted):
                raise ArgumentValueError(f"{name}_ must be a {kind}, got {describe(fitted)}.")
            check_is_fitted(fitted)
            setattr(self, f"{name}_", fitted)


def _is_encoder(estimator: Any) -> bool:
    return isinstance(estimator, RecordingEstimator) and isinstance(estimator, TransformerMixin)


def _is_head(estimator: Any) -> bool:
    return isinstance(estimator, RoomRegressorMixin) and not isinstance(estimator, RecordingEstimator)


KINDS = {"encoder": ("ContrastiveRoomEncoder", _is_encoder), "head": ("RoomRegressor", _is_head)}
"""What must be passed in, by its name in messages, and how it is told; both stand on this module's floor."""


def _thawed(estimator: Any) -> Any:
    """Return the estimator in a FrozenEstimator, or itself."""
    return estimator.estimator if isinstance(estimator, FrozenEstimator) else estimator


def _hear(encoder: Any, X: Any) -> Heard:
    """Embed the speech of recordings, and judge their quality."""
    recordings = as_recordings(X, encoder.sample_rate)
    embeddings, quality = [], []
    for waveforms in _in_blocks(recordings):
        some = hear_waveforms(encoder, waveforms)
        embeddings.append(some.embeddings)
        quality.append(some.quality)
    return Heard(np.concatenate(embeddings), np.concatenate(quality))


def _in_blocks(recordings: Recordings) -> Iterator[list[NDArray[np.float32]]]:
    """Yield whole recordings, as many at a time as last about `SECONDS_AT_ONCE`."""
    block: list[NDArray[np.float32]] = []
    n_times = 0
    for i, length in enumerate(recordings.lengths.tolist()):
        block.append(recordings.read(np.array([i]), np.zeros(1, dtype=np.intp), length)[0])
        n_times += length
        if n_times >= SECONDS_AT_ONCE * recordings.sample_rate:
            yield block
            block, n_times = [], 0
    if block:
        yield block


def hear_waveforms(encoder: Any, waveforms: list[NDArray[np.float32]]) -> Heard:
    """Embed the speech of waveforms: each stretch on its own, averaged by duration; all of it where none is found."""
    parts, owners, quality = [], [], []
    rate, shortest = encoder.sample_rate, encoder.module_.min_times
    for i, waveform in enumerate(waveforms):
        waveform = waveform - waveform.mean(dtype=np.float64).astype(np.float32)  # an offset hides what is soft
        activity = find_speech(waveform, rate)
        found = stretches(activity, len(waveform), rate, shortest)
        # Scraps between zeros tell nothing of a decay: their speech does not count.
        found = [part for part in found if part.stop - part.start >= min(shortest, len(waveform))]
        seconds = max(activity.seconds_in(found, rate), FRAME_SECONDS)
        quality.append((float(np.log(seconds)), activity.snr))
        found = found or [slice(0, len(waveform))]
        parts += [waveform[part] for part in found]
        owners += [i] * len(found)
    # The waveforms have been checked; that some are clipped was said where they were read.
    embeddings = encoder.transform(RecordingsInMemory(parts, rate))
    total = np.zeros((len(waveforms), embeddings.shape[1]))
    np.add.at(total, owners, embeddings * np.array([len(part) for part in parts])[:, None])
    norms = np.linalg.norm(total, axis=1, keepdims=True)
    return Heard((total / norms).astype(np.float32), np.array(quality))
