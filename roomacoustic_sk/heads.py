"""Heads: small networks that read room parameters from embeddings (Sec. 3.4 and 3.5 of the paper)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from scipy.special import softmax
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from roomacoustic_sk._torch import resolve_device, seeded
from roomacoustic_sk._training import ArrayDataset, BatchLoader, ShuffledBatches, train_net
from roomacoustic_sk._validation import check_number
from roomacoustic_sk.networks import MLPHead


class _Floored(nn.Module):
    """Keep outputs at or above a floor: the paper's final ReLU, in the units of standardised targets."""

    floor: Tensor

    def __init__(self, floor: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("floor", torch.from_numpy(floor))

    def forward(self, outputs: Tensor) -> Tensor:
        return torch.maximum(outputs, self.floor)


class _RoomHead(BaseEstimator):
    """What both heads share: parameters, and the training of a standardising MLP."""

    def __init__(
        self,
        *,
        n_hidden: int = 256,
        lr: float = 1e-3,
        batch_size: int = 16,
        max_epochs: int = 100,
        validation_fraction: float = 0.1,
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
        self.patience = patience
        self.device = device
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self) -> None:
        name = type(self).__name__
        for parameter in ("n_hidden", "batch_size", "max_epochs", "patience"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=1, integer=True)
        check_number(self.lr, caller=name, name="lr", low=0, low_open=True)
        check_number(self.validation_fraction, caller=name, name="validation_fraction", low=0, high=0.9)

    def _fit_net(self, X: NDArray[Any], y: NDArray[Any], n_outputs: int, last: nn.Module, loss: nn.Module) -> None:
        """Train an MLP on standardised features, with rows held out for early stopping."""
        random_state = check_random_state(self.random_state)
        device = resolve_device(self.device, caller=type(self).__name__)
        self._feature_mean, deviation = X.mean(axis=0), X.std(axis=0)
        self._feature_scale = np.where(deviation > 0, deviation, 1.0)
        X = self._standardise(X)
        order = random_state.permutation(len(X))
        # With fewer than ten rows to hold out, their loss says little: then the training loss decides.
        n_valid = round(self.validation_fraction * len(X))
        held_out, kept = np.split(order, [n_valid if n_valid >= 10 else 0])
        train = BatchLoader(
            ArrayDataset(X[kept], y[kept]), ShuffledBatches(len(kept), self.batch_size, random_state), random_state
        )
        valid = None
        if len(held_out):
            valid = BatchLoader(ArrayDataset(X[held_out], y[held_out]), ShuffledBatches(len(held_out), 1024, 0), 0)
        with seeded(random_state):
            self.net_ = train_net(
                nn.Sequential(MLPHead(X.shape[1], n_outputs, self.n_hidden), last),
                loss,
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

    def _standardise(self, X: NDArray[Any]) -> NDArray[np.float32]:
        return ((X - self._feature_mean) / self._feature_scale).astype(np.float32)

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Run the trained network on features."""
        check_is_fitted(self, "net_")
        features = self._standardise(validate_data(self, X, reset=False, dtype=[np.float64, np.float32]))
        device = next(self.net_.module_.parameters()).device
        with torch.inference_mode():
            return self.net_.module_(torch.from_numpy(features).to(device)).double().cpu().numpy()

    @property
    def history_(self) -> pd.DataFrame:
        """Epochs, their losses and seconds."""
        epochs = pd.DataFrame(self.net_.history.to_list())
        return epochs.reindex(columns=["epoch", "train_loss", "valid_loss", "dur"])

    @property
    def n_iter_(self) -> int:
        """Number of epochs trained."""
        return len(self.net_.history)


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
        Share of the rows held out to stop early and to keep the best weights. 0, or fewer than ten such rows, holds
        out none: then the training loss decides.
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

    def fit(self, X: Any, y: Any) -> RoomRegressor:
        """Train the head.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Embeddings.
        y : array-like of shape (n_rows,) or (n_rows, n_targets)
            Targets, e.g. reverberation times in s.

        Returns
        -------
        RoomRegressor
            Itself.
        """
        self._check_parameters()
        X, y = validate_data(
            self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True, ensure_min_samples=2
        )
        self._single_target = y.ndim == 1
        targets = y.reshape(len(y), -1).astype(np.float64)
        self._target_mean, deviation = targets.mean(axis=0), targets.std(axis=0)
        self._target_scale = np.where(deviation > 0, deviation, 1.0)
        standardised = ((targets - self._target_mean) / self._target_scale).astype(np.float32)
        lowest = -self._target_mean / self._target_scale if self.non_negative else np.full(targets.shape[1], -np.inf)
        self._fit_net(X, standardised, targets.shape[1], _Floored(lowest.astype(np.float32)), nn.MSELoss())
        return self

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
        estimates = self._outputs(X) * self._target_scale + self._target_mean
        if self.non_negative:
            estimates = np.maximum(estimates, 0.0)  # rounding may leave a floored output a hair below 0
        return estimates[:, 0] if self._single_target else estimates


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
        Share of the rows held out to stop early and to keep the best weights. 0, or fewer than ten such rows, holds
        out none: then the training loss decides.
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

    def fit(self, X: Any, y: Any) -> RoomClassifier:
        """Train the head.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_features)
            Embeddings.
        y : array-like of shape (n_rows,)
            Classes.

        Returns
        -------
        RoomClassifier
            Itself.
        """
        self._check_parameters()
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError(f"RoomClassifier: y must have at least two classes, got {self.classes_.tolist()}.")
        self._fit_net(X, codes.astype(np.int64), len(self.classes_), nn.Identity(), nn.CrossEntropyLoss())
        return self

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
        return softmax(self._outputs(X), axis=1)

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
        return self.classes_[outputs.argmax(axis=1)]
