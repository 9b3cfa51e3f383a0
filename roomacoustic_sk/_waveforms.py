"""What the estimators that take waveforms share: checks, one network, and its application segment by segment."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.utils.validation import validate_data
from torch import nn

from roomacoustic_sk._segments import SpectrogramCache, check_time_axis, embed, row_lengths, warn_of_repeats
from roomacoustic_sk._validation import (
    Rows,
    check_callbacks,
    check_choice,
    check_groups,
    check_number,
    check_rows,
    check_sample_rate,
    describe,
)
from roomacoustic_sk.networks import NETWORKS, RoomNetwork


class RowsEstimator(BaseEstimator):
    """An estimator of waveforms: an array of rows at a sampling rate, or a list of recordings of any length."""

    sample_rate: int

    def _check_sample_rate(self) -> None:
        check_sample_rate(self.sample_rate, caller=type(self).__name__)

    def _check_rows(self, X: Any, shortest: int, *, reset: bool, allow_silent: bool = False) -> Rows:
        """Return waveforms to fit (`reset`) or to apply the estimator to."""
        name = type(self).__name__
        rows = check_rows(X, caller=name, allow_integers=True, allow_silent=allow_silent)
        check_time_axis(rows, shortest, caller=name)
        if isinstance(rows, list):
            return rows
        try:
            validate_data(self, X if hasattr(X, "shape") else rows, reset=reset, skip_check_array=True)
        except ValueError as error:
            if "features as input" not in str(error):
                raise
            raise ValueError(
                f"{error} If their sample rate is not {self.sample_rate} Hz, resample them first. If it is, and they "
                "are only longer or shorter, pass a list of 1-D arrays, list(X)."
            ) from error
        return rows


class WaveformEstimator(RowsEstimator):
    """An estimator with a network that sees recordings of any length as segments of one length."""

    network: str | Callable[[int], nn.Module]
    segment_duration: float
    hop_duration: float | None
    lr: float
    batch_size: int
    max_epochs: int
    validation_fraction: float
    patience: int
    precision: str
    compile: str | bool
    callbacks: list[Any] | None
    warm_start: bool
    segment_length_: int
    _built_with: dict[str, Any]  # the parameters that the network was built with

    def _check_parameters(self) -> None:
        """Refuse parameters that are out of range; children add those of their own."""
        name = type(self).__name__
        if isinstance(self.network, nn.Module):
            given = type(self.network).__name__
            raise TypeError(
                f"{name}: network must be a class that is called with the samples in a segment, got a {given} that is "
                f"built already. Pass {given} itself."
            )
        if not callable(self.network):
            check_choice(self.network, list(NETWORKS), caller=name, name="network")
        check_choice(self.precision, ["auto", "float32", "bfloat16"], caller=name, name="precision")
        check_choice(self.compile, ["auto", True, False], caller=name, name="compile")
        check_choice(self.warm_start, [True, False], caller=name, name="warm_start")
        self._check_sample_rate()
        for parameter in ("segment_duration", "lr"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=0, low_open=True)
        if self.hop_duration is not None:
            check_number(self.hop_duration, caller=name, name="hop_duration", low=0, low_open=True)
        check_number(self.max_epochs, caller=name, name="max_epochs", low=0, integer=True)
        for parameter in ("patience", "batch_size"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=1, integer=True)
        check_number(self.validation_fraction, caller=name, name="validation_fraction", low=0, high=0.9)
        check_callbacks(self.callbacks, caller=name)

    def _check_groups(self, groups: dict[str, ArrayLike | None], n_rows: int) -> dict[str, NDArray[Any]]:
        """Return those group labels that are given, one label a row."""
        return {
            key: check_groups(labels, n_rows, caller=type(self).__name__, name=key)
            for key, labels in groups.items()
            if labels is not None
        }

    def _check_warm_start(self) -> None:
        """Refuse to go on with another network than the one begun with."""
        for parameter, built in self._built_with.items():
            given = getattr(self, parameter)
            if given is not built and given != built:
                raise ValueError(
                    f"{type(self).__name__}: {parameter} must stay as it was to go on with a fitted estimator "
                    f"({describe(built)}), got {describe(given)}. Use warm_start=False, or a clone, to start anew."
                )

    def _samples_in(self, duration: float) -> int:
        return max(round(duration * self.sample_rate), 1)

    def _apply(
        self, module: nn.Module, X: Any, *, shortest: int, n_outputs: int, batch_size: int
    ) -> NDArray[np.float32]:
        """Return the mean over each recording's segments of what a module says."""
        self._check_parameters()  # they may have been set after fit
        rows = self._check_rows(X, shortest, reset=False)
        warn_of_repeats(row_lengths(rows), shortest, self.sample_rate, caller=type(self).__name__, stacklevel=4)
        hop = self.segment_length_ if self.hop_duration is None else self._samples_in(self.hop_duration)
        return embed(
            module,
            rows,
            length=self.segment_length_,
            shortest=shortest,
            hop=hop,
            batch_size=batch_size,
            n_features=n_outputs,
        )


def spectrogram_cache(
    network: RoomNetwork, rows: Rows, length: int, device: torch.device, autocast: bool
) -> SpectrogramCache | None:
    """Return what gives a network its spectrograms in training, each computed once, where that is of use.

    It is for arrays whose rows are one segment each, for networks that take spectrograms, on a CPU. Of rows that are
    computed when asked for, all spectrograms must fit: they are too many otherwise to come up again.
    """
    front_end = network.front_end
    if front_end is None or device.type != "cpu":
        return None
    if isinstance(rows, list) or rows.shape[1] != length:
        return None
    cache = SpectrogramCache(rows, front_end, torch.bfloat16 if autocast else torch.float32)
    return cache if cache.holds_all or isinstance(rows, np.ndarray) else None


def count_outputs(network: nn.Module, n_times: int, *, caller: str) -> int:
    """Return the length of a network's embedding, by a trial, or raise if its output is no embedding."""
    network.eval()
    with torch.inference_mode():
        output = network(torch.zeros(2, n_times))
    if output.ndim != 2 or len(output) != 2:
        raise ValueError(
            f"{caller}: network must map waveforms (n, n_times) to features (n, n_features), "
            f"got an output of shape {tuple(output.shape)} for an input of shape (2, {n_times})."
        )
    return output.shape[1]


def warn_of_missing_targets(y: Any, *, caller: str) -> None:
    """Warn before the encoder is trained, for minutes, that what follows it will not take these targets."""
    if y is None:
        return
    missing = pd.isna(np.asarray(y))
    n_missing = int(missing.reshape(len(missing), -1).any(axis=1).sum())
    if n_missing:
        warnings.warn(
            f"{caller}: y has missing targets in {n_missing} of {len(missing)} rows. The encoder needs no y, but "
            "an estimator after it will refuse them: drop these rows, e.g. X[keep] with keep = ~numpy.isnan(y).",
            UserWarning,
            stacklevel=3,
        )


def check_one_room_each(rir_groups: NDArray[Any], room_groups: NDArray[Any], *, caller: str) -> None:
    """Refuse labels that put one RIR into several rooms, as when the two are mixed up."""
    pairs = pd.DataFrame({"rir": rir_groups, "room": room_groups}).drop_duplicates()
    several = pairs.loc[pairs["rir"].duplicated(), "rir"].tolist()
    if several:
        rir = several[0]
        rooms = pairs.loc[pairs["rir"] == rir, "room"].tolist()
        raise ValueError(
            f"{caller}: room_groups must name one room for each RIR, got {len(rooms)} rooms for RIR {rir!r} "
            f"({', '.join(map(repr, rooms[:3]))}{', ...' if len(rooms) > 3 else ''}). Are the two mixed up?"
        )
