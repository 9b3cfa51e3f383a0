"""Targets as used in training, standardised or coded as integers, and their conversion back to the user's units."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.utils.multiclass import check_classification_targets
from torch import Tensor, nn

from roomacoustic_sk._sound import is_constant
from roomacoustic_sk._validation import ArgumentValueError, check_flag, check_real, name_rows, restated


class Regression:
    """Targets of a regression, standardised so that values in s, dB and m3 have equal weight.

    Parameters
    ----------
    y : ndarray of shape (n_recordings,) or (n_recordings, n_targets)
        Targets.
    non_negative : bool
        Keep estimates at 0 or above.

    Attributes
    ----------
    n_outputs : int
        Number of outputs that the network needs.
    """

    def __init__(self, y: NDArray[Any], non_negative: bool) -> None:
        self._single, self.non_negative = y.ndim == 1, check_flag(non_negative, name="non_negative")
        check_real(y, name="y")
        targets = y.reshape(len(y), -1).astype(np.float64)
        broken = np.flatnonzero(~np.isfinite(targets).all(axis=1))
        if len(broken):
            raise ArgumentValueError(f"y must be finite, got NaN or infinity in {name_rows(broken)}.")
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = targets.std(axis=0)
        if not np.isfinite(deviation).all():
            raise ArgumentValueError(
                f"y must have values whose squares are finite, got a largest value of {np.abs(targets).max():.3g}. "
                "Scale it."
            )
        self._constant = is_constant(targets)
        if (deviation[~self._constant] == 0).any():
            raise ArgumentValueError(
                f"y must have values whose squares are above 0, got a largest value of {np.abs(targets).max():.3g}. "
                "Scale it."
            )
        self._mean, self._scale = targets.mean(axis=0), np.where(self._constant, 1.0, deviation)
        self.n_outputs = targets.shape[1]
        self._check_sign(y)

    def _check_sign(self, y: NDArray[Any]) -> None:
        """Refuse negative targets if estimates cannot be negative."""
        if self.non_negative and y.min() < 0:
            raise ArgumentValueError(
                f"non_negative must be False for negative targets, such as ratios in dB, got True and {y.min():.3g} in "
                "y."
            )

    def encode(self, y: NDArray[Any]) -> NDArray[np.float32]:
        """Return targets of shape (n_recordings, n_outputs) for the loss."""
        return ((y.reshape(len(y), -1) - self._mean) / self._scale).astype(np.float32)

    def check_same_kind(self, y: NDArray[Any]) -> None:
        """Refuse targets whose shape differs from that of the first fit."""
        if (y.ndim == 1) != self._single or y.reshape(len(y), -1).shape[1] != self.n_outputs:
            raise ArgumentValueError(
                f"y must have the same shape as in the first fit, (n_recordings"
                f"{',' if self._single else f', {self.n_outputs}'}), to resume from it, got {y.shape}. Use "
                "warm_start=False to start over."
            )
        self._check_sign(y)

    def output_layer(self) -> nn.Module:
        """Return the last layer of the network."""
        lowest = -self._mean / self._scale if self.non_negative else np.full(self.n_outputs, -np.inf)
        return _Floor(lowest.astype(np.float32))

    def loss(self) -> nn.Module:
        """Return the loss to minimise."""
        return nn.MSELoss()

    def estimates(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return estimates in the targets' units and shape."""
        values = outputs * np.where(self._constant, 0.0, self._scale) + self._mean
        if self.non_negative:
            values = np.maximum(values, 0.0)  # rounding may put a clamped output slightly below 0
        return values[:, 0] if self._single else values


class Classification:
    """Class labels, coded as integers from 0.

    Parameters
    ----------
    y : ndarray of shape (n_recordings,)
        Class labels of any type.

    Attributes
    ----------
    classes : ndarray of shape (n_classes,)
        The classes, sorted.
    n_outputs : int
        Number of outputs that the network needs, one per class.

    Raises
    ------
    ValueError
        If the labels are continuous or all of one class.
    """

    def __init__(self, y: NDArray[Any]) -> None:
        with restated("y must hold classes, not numbers of a continuous range, in one column"):
            check_classification_targets(y)
        self.classes = np.unique(y)
        self.n_outputs = len(self.classes)
        if self.n_outputs < 2:
            raise ArgumentValueError(f"y must have at least two classes, got one class, {self.classes.tolist()[0]!r}.")

    def encode(self, y: NDArray[Any]) -> NDArray[np.int64]:
        """Return the codes of labels, for the loss."""
        return np.searchsorted(self.classes, y).astype(np.int64)

    def check_same_kind(self, y: NDArray[Any]) -> None:
        """Refuse classes that were not in the first fit."""
        unknown = np.setdiff1d(np.unique(y), self.classes) if y.dtype.kind == self.classes.dtype.kind else np.unique(y)
        if len(unknown):
            raise ArgumentValueError(
                f"y must contain only classes of the first fit, {self.classes.tolist()}, to resume from it, "
                f"got {unknown.tolist()[0]!r}. Use warm_start=False to start over."
            )

    def output_layer(self) -> nn.Module:
        """Return the last layer of the network, whose outputs are logits."""
        return nn.Identity()

    def loss(self) -> nn.Module:
        """Return the loss to minimise."""
        return nn.CrossEntropyLoss()

    def probabilities(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the probability of each class, shape (n_recordings, n_classes)."""
        return softmax(outputs, axis=1)

    def estimates(self, outputs: NDArray[np.float64]) -> NDArray[Any]:
        """Return the most likely classes."""
        return self.classes[outputs.argmax(axis=1)]


class _Floor(nn.Module):
    """Clamp outputs from below: the paper's final ReLU, in units of the standardised targets."""

    floor: Tensor

    def __init__(self, floor: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("floor", torch.from_numpy(floor))

    def forward(self, outputs: Tensor) -> Tensor:
        return torch.maximum(outputs, self.floor)
