"""Heads: small networks that read room parameters from embeddings (Sec. 3.4 and 3.5 of the paper)."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from roomacoustic_sk._targets import Classification, Regression
from roomacoustic_sk._torch import resolve_device, seeded
from roomacoustic_sk._training import ArrayDataset, BatchLoader, ShuffledBatches, TrainedNetMixin, train_net
from roomacoustic_sk._validation import check_callbacks, check_choice, check_groups, check_number
from roomacoustic_sk.networks import MLPHead
from roomacoustic_sk.samplers import HELD_OUT, labels_to_hold_out, share_of_labels

VALIDATION_BATCH = 1024
MIN_HELD_OUT = 10
"""With fewer rows to hold out, their loss says little: then the training loss decides."""


class _RoomHead(TrainedNetMixin, BaseEstimator):
    """What both heads share: parameters, and the training of a standardising MLP."""

    # Group labels are taken without being asked for, where metadata routing is enabled.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

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
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self) -> None:
        name = type(self).__name__
        for parameter in ("n_hidden", "batch_size", "max_epochs", "patience"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=1, integer=True)
        check_callbacks(self.callbacks, caller=name)
        check_number(self.lr, caller=name, name="lr", low=0, low_open=True)
        check_number(self.validation_fraction, caller=name, name="validation_fraction", low=0, high=0.9)
        check_choice(self.hold_out, list(HELD_OUT), caller=name, name="hold_out")

    _target: Any  # how the targets are learned

    def _fit_net(
        self,
        X: NDArray[Any],
        y: NDArray[Any],
        labels: dict[str, ArrayLike | None],
        target: Regression | Classification,
    ) -> Self:
        """Train an MLP on standardised features, with rows held out for early stopping."""
        name = type(self).__name__
        groups = {
            key: check_groups(given, len(X), caller=name, name=key)
            for key, given in labels.items()
            if given is not None
        }
        wholes = labels_to_hold_out(self.hold_out, groups, len(X), caller=name)
        random_state = check_random_state(self.random_state)
        device = resolve_device(self.device, caller=name)
        self._feature_mean, deviation = X.mean(axis=0), X.std(axis=0)
        self._feature_scale = np.where(deviation > 0, deviation, 1.0)
        X, y = self._standardise(X), target.encode(y)
        held_out = share_of_labels(wholes, self.validation_fraction, random_state)
        if not MIN_HELD_OUT <= held_out.sum() < len(X):
            held_out[:] = False
        dataset = ArrayDataset(X, y)

        def loader(items: NDArray[np.intp], batch_size: int, random_state: Any) -> BatchLoader:
            return BatchLoader(dataset, ShuffledBatches(items, batch_size, random_state), random_state)

        train = loader(np.flatnonzero(~held_out), self.batch_size, random_state)
        valid = loader(np.flatnonzero(held_out), VALIDATION_BATCH, 0) if held_out.any() else None
        with seeded(random_state):
            self.net_ = train_net(
                nn.Sequential(MLPHead(X.shape[1], target.n_outputs, self.n_hidden), target.output_layer()),
                target.loss(),
                train,
                valid,
                lr=self.lr,
                max_epochs=self.max_epochs,
                patience=self.patience,
                device=device,
                callbacks=self.callbacks,
                verbose=self.verbose,
                label="head",
            )
        self._target = target
        return self

    def _standardise(self, X: NDArray[Any]) -> NDArray[np.float32]:
        return ((X - self._feature_mean) / self._feature_scale).astype(np.float32)

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Run the trained network on features."""
        check_is_fitted(self, "net_")
        features = self._standardise(validate_data(self, X, reset=False, dtype=[np.float64, np.float32]))
        device = next(self.net_.module_.parameters()).device
        with torch.inference_mode():
            return self.net_.module_(torch.from_numpy(features).to(device)).double().cpu().numpy()


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
    random_state : int, RandomState or None, default=None
        Seeds weights, batches and the held-out rows. Global generators are left alone.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net.
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
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.non_negative = non_negative
        super().__init__(
            n_hidden=n_hidden,
            lr=lr,
            batch_size=batch_size,
            max_epochs=max_epochs,
            validation_fraction=validation_fraction,
            hold_out=hold_out,
            patience=patience,
            device=device,
            callbacks=callbacks,
            random_state=random_state,
            verbose=verbose,
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

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
        self._check_parameters()
        X, y = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        labels = {"rir_groups": rir_groups, "source_groups": source_groups, "room_groups": room_groups}
        return self._fit_net(X, y, labels, Regression(y, self.non_negative))

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
    random_state : int, RandomState or None, default=None
        Seeds weights, batches and the held-out rows. Global generators are left alone.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    net_ : skorch.NeuralNet
        The trained net.
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
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=2)
        target = Classification(y, caller="RoomClassifier")
        self.classes_ = target.classes
        labels = {"rir_groups": rir_groups, "source_groups": source_groups, "room_groups": room_groups}
        return self._fit_net(X, y, labels, target)

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
