"""Targets as used in training, standardised or coded as integers, and their conversion back to the user's units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import issparse
from scipy.special import softmax
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import assert_all_finite, check_array
from torch import Tensor, nn

from roomacoustic_sk._sound import is_constant
from roomacoustic_sk._state import State
from roomacoustic_sk._validation import (
    ArgumentValueError,
    check_choice,
    check_flag,
    check_real,
    check_unmasked,
    name_rows,
    restated,
)

TRANSFORMS = ("identity", "log", "bounded", "compressed")
"""Options of `target_transform`."""

MARGIN = 0.1
"""How far bounded estimates may lie outside the range of the training targets, as a share of that range."""

LARGEST_EXPONENT = 700.0
"""Largest argument of exponentials, short of infinity."""


@dataclass(frozen=True, eq=False)
class Targets:
    """Targets of a regression as a user passes them: an array of floats, and the names of its columns."""

    values: NDArray[np.float64]  # (n_recordings,) or (n_recordings, n_targets), NaN where unknown
    labels: list[Any] | None  # of the columns of a frame or of a series, None for anything else

    def __len__(self) -> int:
        return len(self.values)

    @property
    def columns(self) -> NDArray[np.float64]:
        """The values in two dimensions, (n_recordings, n_targets)."""
        return self.values.reshape(len(self.values), -1)

    @classmethod
    def checked(cls, y: Any, estimator: Any) -> Self:
        """Check targets; with several of them, some of a recording's may be unknown (NaN), but not all.

        Raises
        ------
        ValueError
            If they are not numbers, infinite or, for a single target, NaN; if columns share a name.
        """
        labels = _labels_of(y)
        if labels is not None and len({str(label) for label in labels}) < len(labels):
            raise ArgumentValueError(f"y must have columns of different names, got {[str(label) for label in labels]}.")
        values = _as_floats(y, estimator)
        if values.ndim == 1 or values.shape[1] == 1:
            assert_all_finite(values, input_name="y")
        return cls(values, labels)

    @property
    def names(self) -> list[str]:
        """Names of the targets: of the columns, or y0, y1, ..."""
        if self.labels is not None:
            return [str(label) for label in self.labels]
        return [f"y{i}" for i in range(self.columns.shape[1])]


def _labels_of(y: Any) -> list[Any] | None:
    """Return the labels of the columns of a frame, or the name of a series, if there are any."""
    columns = getattr(y, "columns", None)
    if columns is not None:
        return list(columns)
    name = getattr(y, "name", None)
    return [name] if isinstance(name, str) and getattr(y, "ndim", 0) == 1 else None


def _plain(name: str) -> str:
    """Return a name without punctuation, in lower case."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _as_floats(y: Any, estimator: Any) -> NDArray[np.float64]:
    check_unmasked(y, name="y")
    check_real(y if issparse(y) else np.asarray(y), name="y")
    return check_array(
        y, ensure_2d=False, ensure_all_finite="allow-nan", dtype=np.float64, input_name="y", estimator=estimator
    )


class Regression:
    """Targets of a regression, transformed and standardised so that values in s, dB and m3 have equal weight.

    The network learns the standardised scale. "log" and "compressed" bend a target's scale before it is standardised;
    "bounded" and "compressed" limit the network's output.

    Parameters
    ----------
    targets : Targets
        Targets of the first fit.
    non_negative : bool or mapping of str to bool
        Keep estimates at 0 or above: of all targets, or of those named.
    target_transform : str or mapping of str to str
        A name in `TRANSFORMS` for all targets, or for those named; the others keep "identity".

    Attributes
    ----------
    names : list of str
        Names of the targets.
    n_outputs : int
        Number of outputs that the network needs.
    """

    def __init__(self, targets: Targets, non_negative: Any = False, target_transform: Any = "identity") -> None:
        self._single, self.names, self._named = targets.values.ndim == 1, targets.names, targets.labels is not None
        self.transforms = [
            check_choice(transform, TRANSFORMS, name="target_transform")
            for transform in self._of_each(target_transform, "identity", name="target_transform")
        ]
        self.non_negative = np.array(
            [check_flag(flag, name="non_negative") for flag in self._of_each(non_negative, False, name="non_negative")]
        )
        values = targets.columns
        _check_known(values, self.names)
        self.n_outputs = values.shape[1]
        self._complete = bool(np.isfinite(values).all())
        self._check_range(values)
        self._learn_scale(values)

    def _of_each(self, option: Any, default: Any, *, name: str) -> list[Any]:
        """Return an option of each target: one for all, or a mapping by name."""
        if not isinstance(option, Mapping):
            return [option] * len(self.names)
        unknown = [target for target in option if target not in self.names]
        if unknown:
            raise ArgumentValueError(f"{name} must name targets of y, {self.names}, got {unknown[0]!r}.")
        return [option.get(target, default) for target in self.names]

    def _is(self, *transforms: str) -> NDArray[np.bool_]:
        """Return which targets have one of these transforms."""
        return np.isin(self.transforms, transforms)

    def _check_range(self, values: NDArray[np.float64]) -> None:
        """Refuse targets that their transform, or estimates at 0 or above, cannot represent."""
        lowest = np.where(np.isnan(values), np.inf, values).min(axis=0)
        negative = np.flatnonzero(self.non_negative & (lowest < 0))
        if len(negative):
            raise ArgumentValueError(
                "non_negative must be False for negative targets, such as ratios in dB, got True and "
                f"{lowest[negative].min():.3g} in {self._column(negative[0])}."
            )
        without_log = np.flatnonzero(self._is("log") & (lowest <= 0))
        if len(without_log):
            raise ArgumentValueError(
                "target_transform must not be 'log' for targets that are not above 0, got 'log' and "
                f"{lowest[without_log].min():.3g} in {self._column(without_log[0])}."
            )

    def _column(self, i: int) -> str:
        """Return how an error names a target."""
        return f"y[{self.names[i]!r}]" if self._named else "y"

    def _learn_scale(self, values: NDArray[np.float64]) -> None:
        """Learn the scale of each target from its known values."""
        self._centre, self._unit = np.zeros(self.n_outputs), np.ones(self.n_outputs)
        for i in np.flatnonzero(self._is("compressed")):
            low, self._centre[i], high = np.nanquantile(values[:, i], [0.25, 0.5, 0.75])
            self._unit[i] = (high - low) or np.nanstd(values[:, i]) or 1.0
        bent = self._bent(values)
        with np.errstate(over="ignore", invalid="ignore"):
            deviation = np.nanstd(bent, axis=0)
        self._constant = np.array([is_constant(column[~np.isnan(column)]) for column in bent.T])
        for wrong, bound in ((~np.isfinite(deviation), "finite"), (~self._constant & (deviation == 0), "above 0")):
            if wrong.any():
                raise ArgumentValueError(
                    f"y must have values whose squares are {bound}, got a largest value of "
                    f"{np.nanmax(np.abs(values)):.3g}. Scale it."
                )
        self._mean, self._scale = np.nanmean(bent, axis=0), np.where(self._constant, 1.0, deviation)
        low, high = ((edge(bent, axis=0) - self._mean) / self._scale for edge in (np.nanmin, np.nanmax))
        bounded, margin = self._is("bounded", "compressed") & ~self._constant, MARGIN * (high - low)
        self._low, self._high = np.where(bounded, low - margin, -np.inf), np.where(bounded, high + margin, np.inf)
        # Each target counts the same, however many of its values are known.
        self._weight = 1 / np.mean(~np.isnan(values), axis=0)

    def _bent(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Transform targets (n_recordings, n_outputs), before they are standardised."""
        log, compressed = self._is("log"), self._is("compressed")
        if log.any() or compressed.any():
            values = values.copy()
            values[:, log] = np.log(values[:, log])
            values[:, compressed] = np.arcsinh(((values - self._centre) / self._unit)[:, compressed])
        return values

    def state(self) -> dict[str, Any]:
        """Return all attributes, as plain values and arrays."""
        return {
            "single": self._single,
            "names": self.names,
            "named": self._named,
            "transforms": self.transforms,
            "complete": self._complete,
            "non_negative": self.non_negative,
            "constant": self._constant,
            "centre": self._centre,
            "unit": self._unit,
            "mean": self._mean,
            "scale": self._scale,
            "low": self._low,
            "high": self._high,
            "weight": self._weight,
        }

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Return the targets that `state` describes."""
        target = cls.__new__(cls)
        target._single, target._named, target._complete = map(state.flag, ("single", "named", "complete"))
        target.names, target.transforms = state.texts("names"), state.texts("transforms")
        n_outputs = target.n_outputs = len(target.names)
        if not n_outputs or (target._single and n_outputs > 1) or len(target.transforms) != n_outputs:
            raise ArgumentValueError("names must be those of one target or more, each with a transform.")
        for transform in target.transforms:
            check_choice(transform, TRANSFORMS, name="transforms")
        target.non_negative = state.array("non_negative", shape=(n_outputs,), kinds="b")
        target._constant = state.array("constant", shape=(n_outputs,), kinds="b")
        for name in ("centre", "unit", "mean", "scale", "weight"):
            setattr(target, f"_{name}", state.array(name, shape=(n_outputs,)))
        for name in ("low", "high"):  # infinite where there is no bound
            setattr(target, f"_{name}", state.array(name, shape=(n_outputs,), finite=False))
        if min(target._unit.min(), target._scale.min(), target._weight.min()) <= 0:
            raise ArgumentValueError("unit, scale and weight must be above 0.")
        if not (target._low < target._high).all():
            raise ArgumentValueError("low must be below high.")
        return target

    def _unbent(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Undo `_bent`, and keep to 0 or above what may not be negative."""
        log, compressed = self._is("log"), self._is("compressed")
        if log.any() or compressed.any():
            values = values.copy()
            limited = np.clip(values, -LARGEST_EXPONENT, LARGEST_EXPONENT)
            values[:, log] = np.exp(limited[:, log])
            values[:, compressed] = (self._centre + self._unit * np.sinh(limited))[:, compressed]
        # Rounding may put a clamped output slightly below 0, and an interval may reach below.
        return np.where(self.non_negative, np.maximum(values, 0.0), values)

    def select(self, y: Any, estimator: Any, *, some: bool = False) -> NDArray[np.float64]:
        """Return targets (n_recordings, n_outputs) that estimates are compared with; those unknown are NaN.

        If the targets of the fit had names, columns of a frame are found by name, whatever their order. With `some`,
        those that the frame lacks, or a series, are unknown.

        Raises
        ------
        ValueError
            If a column is missing, or their number is not that of the fit.
        """
        if some and getattr(y, "name", None) in self.names:
            y = y.to_frame()
        columns = getattr(y, "columns", None)
        if columns is not None and self._named:
            labels = {str(label): label for label in columns}
            missing = [name for name in self.names if name not in labels]
            if some and len(missing) < len(self.names):
                self._check_spelling(labels, missing)
                y, labels = y.reindex(columns=[*columns, *missing]), labels | {name: name for name in missing}
                missing = []
            if missing:
                raise ArgumentValueError(
                    f"y must have the columns of the fit, {self.names}, got none that is named {missing[0]!r}."
                )
            y = y[[labels[name] for name in self.names]]
        with restated(f"y must be an array of numbers, one for each recording and each of {self.names}"):
            values = _as_floats(y, estimator)
        values = values.reshape(len(values), -1)
        if values.shape[1] != self.n_outputs:
            raise ArgumentValueError(
                f"y must have one column for each target of the fit, {self.names}, got {values.shape[1]}."
            )
        return values

    def _check_spelling(self, given: Mapping[str, Any], missing: list[str]) -> None:
        """Refuse columns that differ from missing targets in nothing but upper and lower case or punctuation."""
        plain = {_plain(name): name for name in given if name not in self.names}
        for name in missing:
            if (like := plain.get(_plain(name))) is not None:
                raise ArgumentValueError(
                    f"y must name targets as the fit did, {self.names}, got {like!r}. Rename it to {name!r}."
                )

    def standardised(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return targets (n_recordings, n_outputs) on the scale of the network's outputs, NaN where unknown."""
        self._check_range(values)
        return (self._bent(values) - self._mean) / self._scale

    def encode(self, targets: Targets) -> NDArray[np.float32]:
        """Return targets of shape (n_recordings, n_outputs) for the loss."""
        return self.standardised(targets.columns).astype(np.float32)

    def check_same_kind(self, targets: Targets) -> None:
        """Refuse targets whose shape or names differ from those of the first fit."""
        values = targets.columns
        if (targets.values.ndim == 1) != self._single or values.shape[1] != self.n_outputs:
            raise ArgumentValueError(
                f"y must have the same shape as in the first fit, (n_recordings"
                f"{',' if self._single else f', {self.n_outputs}'}), to resume from it, got {targets.values.shape}. "
                "Use warm_start=False to start over."
            )
        if not self._single and targets.names != self.names:
            raise ArgumentValueError(
                f"y must have the same targets as in the first fit, {self.names}, to resume from it, got "
                f"{targets.names}. Use warm_start=False to start over."
            )
        _check_known(values, self.names)
        self._check_range(values)

    def output_layer(self) -> nn.Module:
        """Return the last layer of the network."""
        floor = _Floor(self._lowest().astype(np.float32))
        bounded = np.isfinite(self._high)
        if not bounded.any():
            return floor
        return nn.Sequential(_Bounds(self._low.astype(np.float32), self._high.astype(np.float32)), floor)

    def _lowest(self) -> NDArray[np.float64]:
        """Return the output that stands for 0 of each target which may not be negative."""
        lowest = np.full((1, self.n_outputs), -np.inf)
        kept = self.non_negative & ~self._is("log")  # exponentials are positive anyway
        zero = self._bent(np.where(kept, 0.0, 1.0)[None])
        return np.where(kept, (zero - self._mean) / self._scale, lowest)[0]

    def loss(self) -> nn.Module:
        """Return the loss to minimise."""
        return nn.MSELoss() if self._complete else _KnownMSELoss(self._weight.astype(np.float32))

    def estimates(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return estimates in the targets' units and shape."""
        values = self._unbent(outputs * np.where(self._constant, 0.0, self._scale) + self._mean)
        return values[:, 0] if self._single else values

    def around_estimates(self, outputs: NDArray[np.float64], half_widths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return bounds (n_recordings, n_outputs, 2), from half widths on the scale of the network."""
        centre = self.centred(outputs)
        edges = [self._unbent((centre + side * half_widths) * self._scale + self._mean) for side in (-1, 1)]
        return np.stack(edges, axis=2)

    def centred(self, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the network's outputs; of a target that was constant, the constant."""
        return np.where(self._constant, 0.0, outputs)


def _check_known(values: NDArray[np.float64], names: list[str]) -> None:
    """Refuse infinite targets, recordings without any target, and targets without any value."""
    broken = np.flatnonzero(np.isinf(values).any(axis=1) | np.isnan(values).all(axis=1))
    if len(broken):
        several = ", of all its targets," if len(names) > 1 else ""
        raise ArgumentValueError(f"y must be finite, got NaN or infinity{several} in {name_rows(broken)}.")
    unknown = np.flatnonzero(np.isnan(values).all(axis=0))
    if len(unknown):
        raise ArgumentValueError(f"y must have known values of each target, got only NaN for {names[unknown[0]]!r}.")


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

    def state(self) -> dict[str, Any]:
        """Return all attributes, as plain values and arrays."""
        return {"classes": self.classes}

    @classmethod
    def of_state(cls, state: State) -> Self:
        """Return the classes that `state` describes."""
        classes = state.array("classes", shape=(None,), kinds="biufUO")
        with restated("classes must be class labels"):
            target = cls(classes)
        if not np.array_equal(target.classes, classes):
            raise ArgumentValueError("classes must be sorted and different.")
        return target

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
        # Not among the weights: it follows from the targets.
        self.register_buffer("floor", torch.from_numpy(floor), persistent=False)

    def forward(self, outputs: Tensor) -> Tensor:
        return torch.maximum(outputs, self.floor)


class _Bounds(nn.Module):
    """Limit outputs smoothly to a range, in units of the standardised targets; outputs without a range pass."""

    middle: Tensor
    reach: Tensor
    bounded: Tensor

    def __init__(self, low: NDArray[np.float32], high: NDArray[np.float32]) -> None:
        super().__init__()
        bounded = np.isfinite(high)
        low, high = np.where(bounded, low, -1).astype(np.float32), np.where(bounded, high, 1).astype(np.float32)
        # Not among the weights: they follow from the targets.
        self.register_buffer("middle", torch.from_numpy((low + high) / 2), persistent=False)
        self.register_buffer("reach", torch.from_numpy((high - low) / 2), persistent=False)
        self.register_buffer("bounded", torch.from_numpy(bounded), persistent=False)

    def forward(self, outputs: Tensor) -> Tensor:
        limited = self.middle + self.reach * torch.tanh((outputs - self.middle) / self.reach)
        return torch.where(self.bounded, limited, outputs)


class _KnownMSELoss(nn.Module):
    """Mean squared error over known targets; unknown ones are NaN and weigh nothing."""

    weight: Tensor

    def __init__(self, weight: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("weight", torch.from_numpy(weight))

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        errors = torch.where(targets.isnan(), 0.0, outputs - targets.nan_to_num())
        return (self.weight * errors.square()).mean()
