"""Heads: small networks that estimate room parameters from embeddings (Sec. 3.4 and 3.5 of the paper)."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, MetaEstimatorMixin, clone
from sklearn.utils import check_random_state
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_consistent_length, check_is_fitted, validate_data
from torch import nn

from roomacoustic_sk._labels import HELD_OUT, GroupLabels, check_classes, held_out_if_enough, share_of_labels
from roomacoustic_sk._regression import Heard, RoomRegressorMixin
from roomacoustic_sk._sound import is_constant
from roomacoustic_sk._state import State, input_state
from roomacoustic_sk._torch.batches import BatchLoader, FeatureSource, ShuffledBatches
from roomacoustic_sk._torch.checkpoints import check_checkpoint_dir
from roomacoustic_sk._torch.estimator import Groups, Streams, Task, TrainedEstimator
from roomacoustic_sk._torch.runtime import device_of, isolated
from roomacoustic_sk._torch.targets import Classification, Regression, Targets
from roomacoustic_sk._torch.training import Objective
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_choice,
    check_layers,
    check_n_jobs,
    check_number,
    check_unmasked,
    describe,
    door,
    name_rows,
    restated,
    warn,
)
from roomacoustic_sk.networks import MLPHead

VALIDATION_BATCH = 1024
MIN_HELD_OUT = 10
"""Minimum number of held-out embeddings; the loss on fewer is too noisy, so the training loss decides instead."""


FEATURES = "X and y must be a 2-D array (n_recordings, n_features) of finite numbers and one target for each recording"
"""Start of the message for what scikit-learn refuses."""

STRANGE = 1e3
"""Distance from the features of the fit, in standard deviations, at which new ones have another origin or unit."""


class _RoomHead(TrainedEstimator):
    """Base class of both heads: training of an MLP on standardised features, and prediction."""

    # With metadata routing enabled, group labels are requested by default.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    n_hidden: int
    hold_out: str
    _TARGET: ClassVar[type[Regression] | type[Classification]]
    _target: Any  # encodes the targets for the loss, and decodes the network's outputs

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_number(self.max_epochs, name="max_epochs", low=1, integer=True)
        check_layers(("n_hidden", self.n_hidden))
        check_choice(self.hold_out, list(HELD_OUT), name="hold_out")

    def _fit(self, X: NDArray[Any], y: Any, groups: Groups, target: Any) -> None:
        """Train an MLP on standardised features."""
        labels = GroupLabels.checked(len(X), *groups)
        with np.errstate(over="ignore", invalid="ignore"):
            deviation, mean = X.std(axis=0), X.mean(axis=0)
        constant = is_constant(X)
        if not np.isfinite(deviation).all() or (deviation[~constant] == 0).any():
            raise ArgumentValueError(
                f"X must have features whose squares are finite and above 0, got magnitudes up to {np.abs(X).max():.3g}"
                ". Scale it."
            )
        self._feature_mean, self._feature_scale = mean, np.where(constant, 1.0, deviation).astype(X.dtype)
        task = _HeadTask(self, self._standardised(X), target.encode(y), labels, target)
        net = self._train(task)
        self._keep(task, net)
        self._target = target

    def _fitted_state(self) -> dict[str, Any] | None:
        state = super()._fitted_state()
        if state is None:
            return None
        features = {"feature_mean": self._feature_mean, "feature_scale": self._feature_scale}
        return state | features | {"target": self._target.state()}

    def _restore(self, state: State) -> None:
        n_features = state.whole("n_features_in_", low=1)
        self._feature_mean = state.array("feature_mean", shape=(n_features,))
        self._feature_scale = state.array("feature_scale", shape=(n_features,))
        if (self._feature_scale <= 0).any():
            raise ArgumentValueError("feature_scale must be above 0.")
        self._target = self._TARGET.of_state(state.part("target"))
        super()._restore(state)

    def _rebuild(self, weights: State) -> nn.Module:
        n_hidden = len(weights.array("0.0.bias", shape=(None,)))  # the parameter may have been set since
        mlp = MLPHead(len(self._feature_mean), self._target.n_outputs, n_hidden)
        return nn.Sequential(mlp, self._target.output_layer())

    def _standardised(self, X: NDArray[Any]) -> NDArray[np.float32]:
        return ((X - self._feature_mean) / self._feature_scale).astype(np.float32)

    def _checked_features(self, X: Any) -> NDArray[np.float32]:
        """Return features standardised as in the fit."""
        check_is_fitted(self, "module_")
        check_unmasked(X, name="X")
        with restated(FEATURES):
            X = validate_data(self, X, reset=False, dtype=[np.float64, np.float32])
        with np.errstate(over="ignore"):
            features = self._standardised(X)
        _warn_of_strange(features)
        return features

    def _outputs(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """Run the trained network on standardised features."""
        with isolated(), torch.inference_mode():
            outputs = self.module_(torch.from_numpy(features).to(device_of(self.module_))).double().cpu().numpy()
        broken = np.flatnonzero(~np.isfinite(outputs).all(axis=1))
        if len(broken):
            raise ArgumentValueError(
                f"X must resemble the features of the fit, got some without a finite estimate in {name_rows(broken)}."
            )
        return outputs


def _warn_of_strange(features: NDArray[np.float32]) -> None:
    """Warn of features so far from those of the fit that they have another origin or unit."""
    farthest = np.abs(features).max(axis=1)
    strange = np.flatnonzero(farthest > STRANGE)
    if len(strange):
        warn(
            f"X should resemble the features of the fit, got some {farthest.max():.3g} standard deviations away from "
            f"their mean, in {name_rows(strange)}. Such estimates mean nothing: were these features computed as those "
            "of the fit were?"
        )


class _HeadTask(Task):
    """Training of a head on standardised features."""

    label = "head"

    def __init__(
        self,
        head: _RoomHead,
        X: NDArray[np.float32],
        y: NDArray[Any],
        labels: GroupLabels,
        target: Regression | Classification,
    ) -> None:
        super().__init__()
        self.head, self.source, self.labels, self.target = head, FeatureSource(X, y), labels, target
        self.n_features = X.shape[1]

    def hold_out(self, random_state: RandomState) -> NDArray[np.bool_]:
        """Hold out whole sources, responses or rooms, if that leaves enough of both parts."""
        wholes = self.labels.to_hold_out(self.head.hold_out)

        def problem(held_out: NDArray[np.bool_]) -> str:
            if MIN_HELD_OUT <= held_out.sum() < len(held_out):
                return ""
            return (
                f"validation_fraction={self.head.validation_fraction:g} holds out {held_out.sum()} of "
                f"{len(held_out)} recordings; at least {MIN_HELD_OUT} are needed, and some must remain for training"
            )

        return held_out_if_enough(share_of_labels(wholes, self.head.validation_fraction, random_state), problem)

    def streams(self, random_state: RandomState) -> Streams:
        """Return the random states; training of a head is never resumed."""
        return Streams(random_state, 0)

    def build(self) -> nn.Module:
        """Return an MLP."""
        mlp = MLPHead(self.n_features, self.target.n_outputs, self.head.n_hidden)
        return nn.Sequential(mlp, self.target.output_layer())

    def loaders(
        self, module: Any, device: torch.device, autocast: bool, held_out: NDArray[np.bool_], streams: Streams
    ) -> tuple[BatchLoader, BatchLoader | None]:
        """Return loaders that pass over all features once per epoch, in random order."""

        def loader(part: NDArray[np.bool_], batch_size: int, random_state: Any) -> BatchLoader:
            sampler = ShuffledBatches(np.flatnonzero(part), batch_size, random_state)
            return BatchLoader(self.source, sampler, random_state)

        train = loader(~held_out, self.head.batch_size, streams.training)
        return train, loader(held_out, VALIDATION_BATCH, streams.validation) if held_out.any() else None

    def learns_from(self) -> tuple[Any, ...]:
        """Return the features, their targets and their labels."""
        return self.source.X.numpy(), self.source.y.numpy(), tuple(self.labels)

    def objective(self) -> Objective:
        """Return the target's loss."""
        return Objective(self.target.loss())


class RoomRegressor(RoomRegressorMixin, _RoomHead):
    """Estimate room parameters from embeddings: the paper's 2 x 256 MLP.

    Features and targets are standardised internally, so targets may be in s, dB or m3, and there may be several.

    Parameters
    ----------
    non_negative : bool or dict of str to bool, default=False
        Keep estimates at 0 or above, in training too: the paper's final ReLU, for reverberation time or volume. With
        several targets, a dict by name, e.g. ``{"rt60": True}``; the others are left free.
    target_transform : str or dict of str to str, default="identity"
        The scale on which a target is learned, for all targets or, in a dict, by name; the others keep "identity".

        - "identity": as it is
        - "log": its logarithm, for positive targets with a long tail such as reverberation time or volume
        - "bounded": as it is, but estimates cannot leave the range of the training targets by more than a tenth of it
        - "compressed": values far from the median count less (inverse hyperbolic sine of the distance from the median
          in interquartile ranges), and estimates are bounded likewise; for ratios in dB, which near talkers stretch to
          40 dB
    n_hidden : int, default=256
        Number of neurons in each of the two hidden layers.
    lr : float, default=1e-3
        Learning rate of Adam.
    batch_size : int, default=16
        Number of recordings per training step.
    max_epochs : int, default=100
        Maximum number of epochs.
    validation_fraction : float, default=0.1
        Fraction of the sources, responses or rooms, see `hold_out`, held out for early stopping and for selecting the
        best weights. With 0, or if that is fewer than ten recordings, nothing is held out and the training loss
        decides.
    hold_out : {"source", "rir", "room"}, default="source"
        Whether to hold out whole sources (single recordings if `source_groups` is not given), impulse responses or
        rooms: choose whichever will be new when the estimator is used. For rooms not seen in training, "rir" does best
        (docs/results.md).
    patience : int, default=10
        Number of epochs without improvement after which training stops.
    device : str or torch.device, default="auto"
        "auto" uses CUDA if it is available, otherwise the CPU.
    callbacks : list of skorch callbacks, optional
        Additional callbacks for training.
    checkpoint_dir : str or path-like, optional
        Folder for checkpoints. `fit` saves its state there after every epoch; the same `fit`, restarted after it was
        killed or interrupted, resumes after the last complete epoch and gives the same result. Needs `random_state`.
        Fits with other parameters or data have their own files; delete the folder when done.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches and the choice of held-out recordings. Global random generators are left unchanged.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network with the best weights, used by `predict`.
    net_ : skorch.NeuralNet
        The skorch net that trained it.
    target_names_ : list of str
        Names of the targets: the columns of a frame, or y0, y1, ...
    intervals_ : RoomIntervals
        What `calibrate` has learned; `fit` removes it.
    history_ : pandas.DataFrame
        One row per epoch: epoch, losses and duration in s. The losses are mean squared errors of standardised targets.
    n_iter_ : int
        Number of epochs trained.
    n_features_in_ : int
        Length of the embeddings.

    Raises
    ------
    TypeError, ValueError
        By `fit`: if a parameter is out of range; if features are not finite; if targets are infinite, or all targets of
        a recording are NaN; if their lengths differ.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import RoomRegressor
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> rt60 = np.exp(0.3 * X[:, 0])
    >>> head = RoomRegressor(non_negative=True, max_epochs=20, random_state=0).fit(X, rt60)
    >>> head.score(X, rt60) > 0.9
    True

    Several targets, some of them unknown, and intervals from rooms that were not in the training:

    >>> import pandas as pd
    >>> targets = pd.DataFrame({"rt60": rt60, "c50": np.where(X[:, 3] > 1, np.nan, 9 - 12 * np.log(rt60))})
    >>> head = RoomRegressor(target_transform={"rt60": "log"}, max_epochs=20, random_state=0)
    >>> head = head.fit(X[:100], targets[:100]).calibrate(X[100:], targets[100:], room_groups=np.arange(100) // 5)
    >>> head.target_names_, head.predict_interval(X[:7], coverage=0.8).shape
    (['rt60', 'c50'], (7, 2, 2))
    """

    _TARGET: ClassVar = Regression

    def __init__(
        self,
        *,
        non_negative: bool | dict[str, bool] = False,
        target_transform: str | dict[str, str] = "identity",
        n_hidden: int = 256,
        lr: float = 1e-3,
        batch_size: int = 16,
        max_epochs: int = 100,
        validation_fraction: float = 0.1,
        hold_out: str = "source",
        patience: int = 10,
        device: Any = "auto",
        callbacks: list[Any] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.non_negative = non_negative
        self.target_transform = target_transform
        self.n_hidden = n_hidden
        self.lr = lr
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.hold_out = hold_out
        self.patience = patience
        self.device = device
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

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
        """Train the head.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            Embeddings.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            Targets, e.g. reverberation times in s. With several targets, unknown values may be NaN: the recording
            still counts for the others.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            Group labels, as for `ContrastiveRoomEncoder`. Those selected by `hold_out` define the groups that are held
            out whole; the others are checked but not used.

        Returns
        -------
        RoomRegressor
            Itself.
        """
        with self._fitting():
            self._check_parameters()
            check_unmasked(X, name="X")
            check_unmasked(y, name="y")
            if y is None:
                raise ArgumentValueError(
                    "y must be given, as a regressor requires y to be passed, but the target y is None."
                )
            with restated(FEATURES):
                X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
                targets = Targets.checked(y, self)
                check_consistent_length(X, targets.values)
            groups = rir_groups, source_groups, room_groups
            target = Regression(targets, self.non_negative, self.target_transform)
            self._fit(X, targets, groups, target)
            self._keep_regression(target, self._standardised(X))
        return self

    def _hear(self, X: Any) -> Heard:
        features = self._checked_features(X)
        return Heard(features, self._outputs(features))

    def _takes_what(self, other: RoomRegressor) -> bool:
        """Return whether another fitted head has the same scales of features and targets."""
        scales = [
            {"mean": head._feature_mean, "scale": head._feature_scale} | head._target.state() for head in (self, other)
        ]
        return all(np.array_equal(value, scales[1][name]) for name, value in scales[0].items())


class RoomRegressorEnsemble(RoomRegressorMixin, MetaEstimatorMixin, BaseEstimator):
    """Estimate room parameters by several heads, whose estimates are averaged.

    The heads differ in their initial weights, their batches and in what they hold out. In rooms unlike those of the
    training, such as measured ones after simulated ones, single heads scatter; their average is about as good as the
    best of them (docs/results.md). The average is taken on the scale that is learned, e.g. of the logarithm.

    Parameters
    ----------
    estimator : RoomRegressor, optional
        The head that is trained several times, each time with another `random_state`; ``RoomRegressor()`` if None.
    n_estimators : int, default=5
        Number of heads.
    n_jobs : int or None, default=None
        Number of heads that are trained at a time, in joblib's terms.
    random_state : int, RandomState or None, default=None
        Draws the `random_state` of each head.

    Attributes
    ----------
    estimators_ : list of RoomRegressor
        The heads.
    target_names_ : list of str
        Names of the targets: the columns of a frame, or y0, y1, ...
    intervals_ : RoomIntervals
        What `calibrate` has learned; `fit` removes it.
    n_features_in_ : int
        Length of the embeddings.

    Raises
    ------
    TypeError, ValueError
        By `fit`: if `estimator` is no RoomRegressor, and as that does.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import RoomRegressor, RoomRegressorEnsemble
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> rt60 = np.exp(0.3 * X[:, 0])
    >>> head = RoomRegressor(target_transform="log", max_epochs=20)
    >>> RoomRegressorEnsemble(head, n_estimators=3, random_state=0).fit(X, rt60).score(X, rt60) > 0.9
    True
    """

    # With metadata routing enabled, group labels are requested by default.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    estimators_: list[RoomRegressor]

    def __init__(
        self,
        estimator: RoomRegressor | None = None,
        n_estimators: int = 5,
        *,
        n_jobs: int | None = None,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.n_estimators = n_estimators
        self.n_jobs = n_jobs
        self.random_state = random_state

    def _head(self) -> RoomRegressor:
        return RoomRegressor() if self.estimator is None else self.estimator

    def _check_parameters(self) -> None:
        head = self._head()
        if not isinstance(head, RoomRegressor):
            raise ArgumentTypeError(f"estimator must be None or a RoomRegressor, got {describe(head)}.")
        head._check_parameters()
        check_number(self.n_estimators, name="n_estimators", low=1, integer=True)
        check_n_jobs(self.n_jobs)
        check_random_state(self.random_state)
        check_checkpoint_dir(head.checkpoint_dir, self.random_state)

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
        """Train the heads.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            Embeddings.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            Targets, as for `RoomRegressor.fit`.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            Group labels, as for `RoomRegressor.fit`.

        Returns
        -------
        RoomRegressorEnsemble
            Itself.
        """
        self._check_parameters()
        groups = {"rir_groups": rir_groups, "source_groups": source_groups, "room_groups": room_groups}
        seeds = check_random_state(self.random_state).randint(np.iinfo(np.int32).max, size=self.n_estimators)
        jobs = (delayed(_fitted)(clone(self._head()).set_params(random_state=int(s)), X, y, groups) for s in seeds)
        self._keep_heads(Parallel(n_jobs=self.n_jobs)(jobs))
        self.__dict__.pop("intervals_", None)
        return self

    def _keep_heads(self, heads: list[RoomRegressor]) -> None:
        """Set the fitted attributes; heads that were fitted on the same data share their scales and names."""
        first = heads[0]
        self.estimators_, self.target_names_ = heads, list(first.target_names_)
        self._target, self._spread = first._target, first._spread
        for name, value in input_state(first).items():
            setattr(self, name, value)

    def _hear(self, X: Any) -> Heard:
        features = self.estimators_[0]._checked_features(X)
        return Heard(features, np.mean([head._outputs(features) for head in self.estimators_], axis=0))

    def _fitted_state(self) -> dict[str, Any] | None:
        if not hasattr(self, "estimators_"):
            return None
        return {"estimators": self.estimators_, "intervals": self._intervals_state()}

    def _restore(self, state: State) -> None:
        heads = state.value("estimators")
        if not isinstance(heads, list) or not heads or not all(isinstance(head, RoomRegressor) for head in heads):
            raise ArgumentValueError(f"estimators must be a list of RoomRegressor, got {describe(heads)}.")
        for head in heads:
            check_is_fitted(head)
            if not head._takes_what(heads[0]):
                raise ArgumentValueError("estimators must be fitted on the same features and targets.")
        self._keep_heads(heads)
        self._restore_intervals(state)


def _fitted(head: RoomRegressor, X: Any, y: Any, groups: dict[str, ArrayLike | None]) -> RoomRegressor:
    return head.fit(X, y, **groups)


class RoomClassifier(ClassifierMixin, _RoomHead):
    """Classify rooms from embeddings, e.g. as small or large: the paper's 2 x 256 MLP with a softmax.

    Parameters
    ----------
    n_hidden : int, default=256
        Number of neurons in each of the two hidden layers.
    lr : float, default=1e-3
        Learning rate of Adam.
    batch_size : int, default=16
        Number of recordings per training step.
    max_epochs : int, default=100
        Maximum number of epochs.
    validation_fraction : float, default=0.1
        Fraction of the sources, responses or rooms, see `hold_out`, held out for early stopping and for selecting the
        best weights. With 0, or if that is fewer than ten recordings, nothing is held out and the training loss
        decides.
    hold_out : {"source", "rir", "room"}, default="source"
        Whether to hold out whole sources (single recordings if `source_groups` is not given), impulse responses or
        rooms: choose whichever will be new when the estimator is used. For rooms not seen in training, "rir" does best
        (docs/results.md).
    patience : int, default=10
        Number of epochs without improvement after which training stops.
    device : str or torch.device, default="auto"
        "auto" uses CUDA if it is available, otherwise the CPU.
    callbacks : list of skorch callbacks, optional
        Additional callbacks for training.
    checkpoint_dir : str or path-like, optional
        Folder for checkpoints. `fit` saves its state there after every epoch; the same `fit`, restarted after it was
        killed or interrupted, resumes after the last complete epoch and gives the same result. Needs `random_state`.
        Fits with other parameters or data have their own files; delete the folder when done.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches and the choice of held-out recordings. Global random generators are left unchanged.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    module_ : torch.nn.Module
        The network with the best weights, used by `predict`.
    net_ : skorch.NeuralNet
        The skorch net that trained it.
    history_ : pandas.DataFrame
        One row per epoch: epoch, losses and duration in s. The losses are cross-entropies.
    n_iter_ : int
        Number of epochs trained.
    n_features_in_ : int
        Length of the embeddings.

    Raises
    ------
    TypeError, ValueError
        By `fit`: if a parameter is out of range; if features are not finite; if targets are continuous or all of one
        class.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import RoomClassifier
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> large = X[:, 0] > 0
    >>> head = RoomClassifier(max_epochs=10, random_state=0).fit(X, large)
    >>> head.predict_proba(X).shape, head.score(X, large) > 0.9
    ((200, 2), True)
    """

    _TARGET: ClassVar = Classification

    def __init__(
        self,
        *,
        n_hidden: int = 256,
        lr: float = 1e-3,
        batch_size: int = 16,
        max_epochs: int = 100,
        validation_fraction: float = 0.1,
        hold_out: str = "source",
        patience: int = 10,
        device: Any = "auto",
        callbacks: list[Any] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_hidden = n_hidden
        self.lr = lr
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.hold_out = hold_out
        self.patience = patience
        self.device = device
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.random_state = random_state
        self.verbose = verbose

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
        """Train the head.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            Embeddings.
        y : array-like of shape (n_recordings,)
            Classes.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            Group labels, as for `ContrastiveRoomEncoder`. Those selected by `hold_out` define the groups that are held
            out whole; the others are checked but not used.

        Returns
        -------
        RoomClassifier
            Itself.
        """
        with self._fitting():
            self._check_parameters()
            check_unmasked(X, name="X")
            check_unmasked(y, name="y")
            y = check_classes(y)
            with restated(FEATURES):
                X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=2)
            target = Classification(y)
            groups = rir_groups, source_groups, room_groups
            self._fit(X, y, groups, target)
            self.classes_ = target.classes
        return self

    def _restore(self, state: State) -> None:
        super()._restore(state)
        self.classes_ = self._target.classes

    @door
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Estimate the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            Embeddings.

        Returns
        -------
        ndarray of shape (n_recordings, n_classes)
            Probabilities, in the order of `classes_`.
        """
        outputs = self._outputs(self._checked_features(X))
        return self._target.probabilities(outputs)

    @door
    def predict(self, X: Any) -> NDArray[Any]:
        """Estimate the class.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_features)
            Embeddings.

        Returns
        -------
        ndarray of shape (n_recordings,)
            Classes.
        """
        outputs = self._outputs(self._checked_features(X))
        return self._target.estimates(outputs)
