"""Heads: small networks that read room parameters from embeddings (Sec. 3.4 and 3.5 of the paper)."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from roomacoustic_sk._labels import HELD_OUT, GroupLabels, held_out_if_enough, share_of_labels
from roomacoustic_sk._torch.batches import BatchLoader, FeatureSource, ShuffledBatches
from roomacoustic_sk._torch.estimator import Groups, Streams, Task, TrainedEstimator
from roomacoustic_sk._torch.runtime import device_of
from roomacoustic_sk._torch.targets import Classification, Regression
from roomacoustic_sk._torch.training import Objective
from roomacoustic_sk._validation import check_choice, check_number, door
from roomacoustic_sk.networks import MLPHead

VALIDATION_BATCH = 1024
MIN_HELD_OUT = 10
"""With fewer embeddings held out, their loss is too noisy: then the training loss decides."""


class _RoomHead(TrainedEstimator):
    """What both heads share: the training of a standardising MLP, and its application."""

    # Group labels are taken without being asked for, where metadata routing is enabled.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    n_hidden: int
    hold_out: str
    _target: Any  # how the targets are learned

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_number(self.max_epochs, name="max_epochs", low=1, integer=True)
        check_number(self.n_hidden, name="n_hidden", low=1, integer=True)
        check_choice(self.hold_out, list(HELD_OUT), name="hold_out")

    def _fit(self, X: NDArray[Any], y: NDArray[Any], groups: Groups, target: Any) -> None:
        """Train an MLP on standardised features."""
        labels = GroupLabels.checked(len(X), *groups)
        deviation = X.std(axis=0)
        self._feature_mean, self._feature_scale = X.mean(axis=0), np.where(deviation > 0, deviation, 1.0)
        task = _HeadTask(self, self._standardised(X), target.encode(y), labels, target)
        net = self._train(task)
        self._keep(task, net)
        self._target = target

    def _standardised(self, X: NDArray[Any]) -> NDArray[np.float32]:
        return ((X - self._feature_mean) / self._feature_scale).astype(np.float32)

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Run the trained network on features."""
        check_is_fitted(self, "module_")
        features = self._standardised(validate_data(self, X, reset=False, dtype=[np.float64, np.float32]))
        with torch.inference_mode():
            return self.module_(torch.from_numpy(features).to(device_of(self.module_))).double().cpu().numpy()


class _HeadTask(Task):
    """The training of a head on standardised features."""

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
                f"{len(held_out)} rows, and needs at least {MIN_HELD_OUT} of them and a rest"
            )

        return held_out_if_enough(share_of_labels(wholes, self.head.validation_fraction, random_state), problem)

    def streams(self, random_state: RandomState) -> Streams:
        """Return where to draw from: a head is never resumed."""
        return Streams(random_state, 0)

    def build(self) -> nn.Module:
        """Return an MLP."""
        mlp = MLPHead(self.n_features, self.target.n_outputs, self.head.n_hidden)
        return nn.Sequential(mlp, self.target.output_layer())

    def loaders(
        self, module: Any, device: torch.device, autocast: bool, held_out: NDArray[np.bool_], streams: Streams
    ) -> tuple[BatchLoader, BatchLoader | None]:
        """Return all features once an epoch, in random order."""

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


class RoomRegressor(RegressorMixin, _RoomHead):
    """Estimate room parameters from embeddings: the paper's 2 x 256 MLP.

    Features and targets are standardised inside, so targets may be in s, dB or m3 and several at once.

    Parameters
    ----------
    non_negative : bool, default=False
        Keep estimates at 0 or above, in training too: the paper's final ReLU, for reverberation time or volume.
    n_hidden : int, default=256
        Neurons of each of the two hidden layers.
    lr : float, default=1e-3
        Step size of Adam.
    batch_size : int, default=16
        Rows in a training step.
    max_epochs : int, default=100
        Epochs at most.
    validation_fraction : float, default=0.1
        Share of what `hold_out` names held out to stop early and to keep the best weights. 0, or fewer than ten such
        rows, holds out none: then the training loss decides.
    hold_out : {"source", "rir", "room"}, default="source"
        Whether whole sources (rows where `source_groups` is not given), impulse responses or rooms are held out: what
        will be new where the estimator is used. For rooms not seen in training "rir" does best (docs/results.md).
    patience : int, default=10
        Epochs without a new best after which training stops.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch callbacks, optional
        Further hooks into training.
    checkpoint_dir : str or path, optional
        Folder for checkpoints: `fit` saves its state there after every epoch, and the same `fit`, started again after
        it was killed or interrupted, resumes after the last whole epoch and gives the same result. Needs
        `random_state`. Fits with other parameters or data have files of their own; delete the folder when done.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches and the held-out rows. Global generators are left alone.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network with the best weights, which `predict` applies.
    net_ : skorch.NeuralNet
        The net that trained it.
    history_ : pandas.DataFrame
        Epoch, losses and seconds, one row an epoch; the losses are mean squared errors of standardised targets.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Length of the embeddings.

    Raises
    ------
    TypeError, ValueError
        By `fit`: a parameter out of range, features or targets that are not finite or of different lengths.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import RoomRegressor
    >>> X = np.random.default_rng(0).standard_normal((200, 4))
    >>> rt60 = np.exp(0.3 * X[:, 0])
    >>> head = RoomRegressor(non_negative=True, max_epochs=20, random_state=0).fit(X, rt60)
    >>> head.score(X, rt60) > 0.9
    True
    """

    def __init__(
        self,
        *,
        non_negative: bool = False,
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

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

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
        X : array-like of shape (n_rows, n_features)
            Embeddings.
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
            Targets, e.g. reverberation times in s.
        rir_groups, source_groups, room_groups : array-like of shape (n_rows,), optional
            The labels that the encoder takes. Whole labels of those that `hold_out` names are held out; the other two
            are checked and not used.

        Returns
        -------
        RoomRegressor
            Itself.
        """
        with self._fitting():
            self._check_parameters()
            X, y = validate_data(
                self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True, ensure_min_samples=2
            )
            groups = rir_groups, source_groups, room_groups
            self._fit(X, y, groups, Regression(y, self.non_negative))
        return self

    @door
    def predict(self, X: Any) -> NDArray[np.float64]:
        """Estimate the targets.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Embeddings.

        Returns
        -------
        ndarray of shape (n_rows,) or (n_rows, n_targets)
            Estimates in the targets' units.
        """
        outputs = self._outputs(X)
        return self._target.estimates(outputs)


class RoomClassifier(ClassifierMixin, _RoomHead):
    """Classify rooms from embeddings, small or large for one: the paper's 2 x 256 MLP with a softmax.

    Parameters
    ----------
    n_hidden : int, default=256
        Neurons of each of the two hidden layers.
    lr : float, default=1e-3
        Step size of Adam.
    batch_size : int, default=16
        Rows in a training step.
    max_epochs : int, default=100
        Epochs at most.
    validation_fraction : float, default=0.1
        Share of what `hold_out` names held out to stop early and to keep the best weights. 0, or fewer than ten such
        rows, holds out none: then the training loss decides.
    hold_out : {"source", "rir", "room"}, default="source"
        Whether whole sources (rows where `source_groups` is not given), impulse responses or rooms are held out: what
        will be new where the estimator is used. For rooms not seen in training "rir" does best (docs/results.md).
    patience : int, default=10
        Epochs without a new best after which training stops.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch callbacks, optional
        Further hooks into training.
    checkpoint_dir : str or path, optional
        Folder for checkpoints: `fit` saves its state there after every epoch, and the same `fit`, started again after
        it was killed or interrupted, resumes after the last whole epoch and gives the same result. Needs
        `random_state`. Fits with other parameters or data have files of their own; delete the folder when done.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches and the held-out rows. Global generators are left alone.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    module_ : torch.nn.Module
        The network with the best weights, which `predict` applies.
    net_ : skorch.NeuralNet
        The net that trained it.
    history_ : pandas.DataFrame
        Epoch, losses and seconds, one row an epoch; the losses are cross-entropies.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Length of the embeddings.

    Raises
    ------
    TypeError, ValueError
        By `fit`: a parameter out of range, features that are not finite, one class only, continuous targets.

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
        X : array-like of shape (n_rows, n_features)
            Embeddings.
        y : array-like of shape (n_rows,)
            Classes.
        rir_groups, source_groups, room_groups : array-like of shape (n_rows,), optional
            The labels that the encoder takes. Whole labels of those that `hold_out` names are held out; the other two
            are checked and not used.

        Returns
        -------
        RoomClassifier
            Itself.
        """
        with self._fitting():
            self._check_parameters()
            X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=2)
            target = Classification(y)
            groups = rir_groups, source_groups, room_groups
            self._fit(X, y, groups, target)
            self.classes_ = target.classes
        return self

    @door
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Estimate the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Embeddings.

        Returns
        -------
        ndarray of shape (n_rows, n_classes)
            Probabilities, in the order of `classes_`.
        """
        outputs = self._outputs(X)
        return self._target.probabilities(outputs)

    @door
    def predict(self, X: Any) -> NDArray[Any]:
        """Estimate the class.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Embeddings.

        Returns
        -------
        ndarray of shape (n_rows,)
            Classes.
        """
        outputs = self._outputs(X)
        return self._target.estimates(outputs)
