"""Base class of all estimators that take recordings: the sampling rate and the check of `X`, without torch."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data

from roomacoustic_sk._recordings import Recordings, as_recordings, check_time_axis
from roomacoustic_sk._validation import ArgumentValueError, check_sample_rate


class RoomEstimator(BaseEstimator):
    """An estimator that takes recordings at a given sampling rate."""

    sample_rate: int

    def _samples_in(self, duration: float) -> int:
        return max(round(duration * self.sample_rate), 1)

    def _check_recordings(self, X: Any, shortest: int, *, reset: bool, allow_silent: bool = False) -> Recordings:
        """Check `X` and return it as recordings, for fitting (`reset`) or for applying the estimator.

        The length of an array must be that of the fit, since another one points to another sampling rate. Recordings
        that know their rate may have any length.
        """
        if len(getattr(X, "shape", ())) == 2:
            check_time_axis(X, shortest, "X")  # before any sample is looked at
        recordings = as_recordings(X, check_sample_rate(self.sample_rate), allow_silent=allow_silent)
        n_times = recordings.n_times
        if n_times is None or (recordings is X and not reset):
            return recordings
        expected = n_times if reset else getattr(self, "n_features_in_", n_times)  # not set by a fit on a list
        if n_times != expected:
            raise ArgumentValueError(
                f"X has {n_times} features, but {type(self).__name__} is expecting {expected} features as input. If "
                f"the recordings are not at {self.sample_rate} Hz, resample them first. If they only differ in length, "
                "pass a list of 1-D arrays, list(X)."
            )
        validate_data(self, X if hasattr(X, "shape") else recordings, reset=reset, skip_check_array=True)
        return recordings
