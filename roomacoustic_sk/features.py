"""Classical, hand-crafted features of reverberant speech: how fast levels rise and fall, band by band."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from joblib import Parallel, delayed
from numpy.typing import ArrayLike, NDArray
from sklearn.base import TransformerMixin

from roomacoustic_sk._base import RoomEstimator
from roomacoustic_sk._recordings import BLOCK_SAMPLES
from roomacoustic_sk._segmentation import warn_of_repeats
from roomacoustic_sk._state import State, input_state, restore_input
from roomacoustic_sk._validation import (
    MILLISECONDS,
    check_bands,
    check_n_jobs,
    check_number,
    check_numbers,
    check_sample_rate,
    door,
)

FRAME = 0.01  # s
FLOOR_DB = 80.0  # below the band's loudest frame; digital silence has no logarithm
LONGEST_WINDOW = 10.0  # s; longer ones are in ms
RECORDINGS_AT_ONCE = 16
LEVEL_PERCENTILES = (5, 50)

__all__ = ["DecaySlopeFeatures"]


class DecaySlopeFeatures(TransformerMixin, RoomEstimator):
    r"""Percentiles of the slopes with which levels rise and fall, band by band.

    Speech stops a few times per second, and then the level decays as fast as the room allows. Over all short windows
    of a clip, the steepest slopes indicate the reverberation time, and the depth of the decays indicates the clarity.
    Combined with a random forest, these features are the classical baseline that a learned encoder has to beat.

    Parameters
    ----------
    bands : sequence of float, default=(125, 250, 500, 1000, 2000, 4000)
        Centre frequencies of the octave bands, in Hz.
    windows : sequence of float, default=(0.08, 0.2)
        Durations over which slopes are fitted, in s.
    percentiles : sequence of float, default=(0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99)
        Percentiles of the slopes.
    sample_rate : int, default=16000
        Sampling rate of the waveforms, in Hz.
    n_jobs : int, default=None
        Number of threads, as in joblib; -1 takes all cores.

    Attributes
    ----------
    n_features_in_ : int
        Number of samples per recording in the training data, if that was an array.

    Raises
    ------
    TypeError, ValueError
        By `fit` and `transform`: if waveforms are not finite or of the wrong shape; if bands extend beyond half the
        sampling rate; if windows are shorter than three frames.

    Notes
    -----
    Levels are computed over frames of 10 ms, :math:`L_i = 10 \lg \sum x^2`, in octave bands (Butterworth, 4th order).
    The slope over a window is that of the least-squares line, in dB/s. Each band has two more features, the 5th and
    50th percentiles of the level relative to the band's loudest frame, in dB. Levels are floored at 80 dB below that
    frame, and a silent recording has slopes of 0. Recordings shorter than twice the longest window are repeated from
    their beginning, with a warning. Nothing is learned; `fit` only checks its arguments.

    References
    ----------
    J. Y. C. Wen, E. A. P. Habets, P. A. Naylor, "Blind estimation of reverberation time based on the distribution of
    signal decay rates", ICASSP 2008.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.features import DecaySlopeFeatures
    >>> noise = np.random.default_rng(0).standard_normal((2, 16_000))
    >>> rt60 = np.array([[1.0], [2.0]])
    >>> decays = noise * 10 ** (-3 * np.arange(16_000) / 16_000 / rt60)
    >>> features = DecaySlopeFeatures(bands=[1000], windows=[0.2], percentiles=[50]).fit_transform(decays)
    >>> features[:, 0].round(-1)  # -60 dB / RT60
    array([-60., -30.])
    """

    # With metadata routing enabled, group labels are requested by default.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    def __init__(
        self,
        *,
        bands: Sequence[float] = (125, 250, 500, 1000, 2000, 4000),
        windows: Sequence[float] = (0.08, 0.2),
        percentiles: Sequence[float] = (0.5, 1, 2, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 99),
        sample_rate: int = 16_000,
        n_jobs: int | None = None,
    ) -> None:
        self.bands = bands
        self.windows = windows
        self.percentiles = percentiles
        self.sample_rate = sample_rate
        self.n_jobs = n_jobs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        return tags

    def _check_parameters(self) -> None:
        check_sample_rate(self.sample_rate)
        check_numbers(self.bands, name="bands", unit="Hz", low=-np.inf)
        for band in self.bands:
            check_number(band, name="bands", unit="Hz", low=0, low_open=True, high=self.sample_rate / 2**1.5)
        check_bands(self.bands)
        check_numbers(self.windows, name="windows", unit="s", low=3 * FRAME, limit=LONGEST_WINDOW, fix=MILLISECONDS)
        check_numbers(self.percentiles, name="percentiles", low=0, high=100)
        check_n_jobs(self.n_jobs)

    def _shortest(self) -> int:
        return round(2 * max(self.windows) * self.sample_rate)

    @door
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
    ) -> Self:
        """Check the parameters and the waveforms.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms at `sample_rate`.
        y : None
            Ignored.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            Ignored; accepted so that this transformer can replace the encoder in a grid search.

        Returns
        -------
        DecaySlopeFeatures
            Itself.
        """
        self._check_parameters()
        self._check_recordings(X, self._shortest(), reset=True, allow_silent=True)
        return self

    @door
    def transform(self, X: Any) -> NDArray[np.float64]:
        """Compute the features of recordings.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Waveforms at `sample_rate`.

        Returns
        -------
        ndarray of shape (n_recordings, n_features)
            For each band the percentiles of the slopes in dB/s, window by window, then two level percentiles in dB.
        """
        from scipy.signal import butter  # takes a second

        self._check_parameters()
        shortest = self._shortest()
        recordings = self._check_recordings(X, shortest, reset=False, allow_silent=True)
        warn_of_repeats(recordings, shortest)
        filters = [
            butter(4, [band / 2**0.5, band * 2**0.5], "bandpass", fs=self.sample_rate, output="sos")
            for band in self.bands
        ]
        lengths = np.maximum(recordings.lengths, shortest)

        def read(indices: NDArray[np.intp], start: int, stop: int) -> NDArray[np.float32]:
            return recordings.read(indices, np.full_like(indices, start), stop - start, allow_silent=True)

        def pieces(i: int) -> Iterator[NDArray[np.float32]]:
            step = -(-max(BLOCK_SAMPLES, shortest) // self._frame) * self._frame
            stop = int(lengths[i]) // self._frame * self._frame
            for start in range(0, stop, step):
                yield read(np.array([i]), start, min(start + step, stop))[0]

        def describe(first: int) -> NDArray[np.float64]:
            indices = np.arange(first, min(first + RECORDINGS_AT_ONCE, len(lengths)))
            n_times = int(lengths[first])
            if (lengths[indices] == n_times).all() and n_times * len(indices) <= BLOCK_SAMPLES:
                return np.array([self._describe([clip], filters) for clip in read(indices, 0, n_times)])
            return np.array([self._describe(pieces(int(i)), filters) for i in indices])

        starts = range(0, len(lengths), RECORDINGS_AT_ONCE)
        return np.concatenate(Parallel(n_jobs=self.n_jobs, prefer="threads")(delayed(describe)(i) for i in starts))

    def get_feature_names_out(self, input_features: ArrayLike | None = None) -> NDArray[np.object_]:
        """Return the names of the features that `transform` computes.

        Parameters
        ----------
        input_features : None
            Ignored.

        Returns
        -------
        ndarray of str
            E.g. "slope_500Hz_0.08s_p10", the 10th percentile of the slopes over 0.08 s at 500 Hz, and
            "level_500Hz_p5".
        """
        return np.array(
            [
                name
                for band in self.bands
                for name in (
                    *(f"slope_{band:g}Hz_{window:g}s_p{p:g}" for window in self.windows for p in self.percentiles),
                    *(f"level_{band:g}Hz_p{p:g}" for p in LEVEL_PERCENTILES),
                )
            ],
            dtype=object,
        )

    def _fitted_state(self) -> dict[str, Any]:
        """Return what `fit` notes about the recordings; nothing is learned."""
        return input_state(self)

    def _restore(self, state: State) -> None:
        """Set what `_fitted_state` returned."""
        restore_input(self, state)

    @property
    def _frame(self) -> int:
        """Samples in a frame."""
        return round(FRAME * self.sample_rate)

    def _describe(
        self, pieces: Iterable[NDArray[np.float32]], filters: list[NDArray[np.float64]]
    ) -> NDArray[np.float64]:
        """Return the features of a recording, whose pieces but the last have whole frames."""
        from scipy.signal import sosfilt

        states = [np.zeros((len(band_filter), 2)) for band_filter in filters]
        energies: list[list[NDArray[np.float64]]] = [[] for _ in filters]
        for piece in pieces:
            samples = piece[: len(piece) // self._frame * self._frame].astype(np.float64)
            for i, band_filter in enumerate(filters):
                filtered, states[i] = sosfilt(band_filter, samples, zi=states[i])
                energies[i].append(np.square(filtered).reshape(-1, self._frame).sum(axis=1))
        return np.concatenate([self._statistics(np.concatenate(energy)) for energy in energies])

    def _statistics(self, energy: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the percentiles of a band's slopes, window by window, and of its level."""
        loudest = max(energy.max(), np.finfo(np.float64).tiny)
        levels = 10 * np.log10(np.maximum(energy / loudest, 10 ** (-FLOOR_DB / 10)))
        slopes = [_slopes(levels, round(window / FRAME)) for window in self.windows]
        return np.concatenate(
            [*(np.percentile(s, self.percentiles) for s in slopes), np.percentile(levels, LEVEL_PERCENTILES)]
        )


def _slopes(levels: NDArray[np.float64], n_frames: int) -> NDArray[np.float64]:
    """Return the least-squares slope over every window of `n_frames` frames, in dB/s."""
    time = FRAME * (np.arange(n_frames) - (n_frames - 1) / 2)
    return np.convolve(levels, time[::-1], "valid") / np.sum(time**2)
