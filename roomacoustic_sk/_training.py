"""How every network here is trained: batches of arrays, one skorch net, early stopping, progress.

skorch passes fit parameters whole to every batch, so what belongs to a row (its label or target) travels in a
`Dataset` here, and the batch sampler is built by the caller from the rows it trains on.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, PassthroughScoring
from skorch.utils import to_tensor
from torch import Tensor, nn
from torch.utils.data import Dataset
from tqdm.auto import tqdm

from roomacoustic_sk._fused import scratch

PLATEAU_PATIENCE = 20
"""Epochs that a contrastive loss may stay at its chance level before training stops; it usually leaves after 2 to 6."""


class ArrayDataset(Dataset):
    """Rows of a feature array, each with its target."""

    def __init__(self, X: NDArray[Any], y: NDArray[Any]) -> None:
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)

    def __len__(self) -> int:
        return len(self.X)

    def gather(self, items: NDArray[np.intp], random_state: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """Return the features and targets of a batch."""
        return self.X[items], self.y[items]


class ShuffledBatches:
    """Every item once a pass, in random order, in batches of nearly equal size, none smaller than `smallest`."""

    def __init__(self, items: NDArray[np.intp], batch_size: int, random_state: Any, smallest: int = 1) -> None:
        self.items, self.random_state = items, random_state
        self.n_batches = max(min(-(-len(items) // batch_size), len(items) // smallest), 1)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[NDArray[np.intp]]:
        order = check_random_state(self.random_state).permutation(self.items)
        yield from np.array_split(order, self.n_batches)


class BatchLoader:
    """What skorch iterates over: the batches that a sampler names, gathered from arrays in memory.

    An int as `random_state` gives the same segments in every pass, as validation wants it.
    """

    def __init__(self, dataset: Any, batch_sampler: Any, random_state: Any) -> None:
        self.dataset, self.batch_sampler, self.random_state = dataset, batch_sampler, random_state

    def __len__(self) -> int:
        return len(self.batch_sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        random_state = check_random_state(self.random_state)
        for items in self.batch_sampler:
            yield self.dataset.gather(items, random_state)


class RoomNet(NeuralNet):
    """A skorch net that is fitted on two loaders, ``net.fit((train, valid), None)``, and keeps neither.

    Parameters
    ----------
    module, criterion, **kwargs
        As for `skorch.NeuralNet`.
    autocast : bool
        Whether the module runs in bfloat16 where it can.
    """

    def __init__(self, module: Any, *, criterion: Any, autocast: bool = False, **kwargs: Any) -> None:
        self.autocast = autocast
        super().__init__(module, criterion=criterion, **kwargs)

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Return the loaders for training and validation."""
        return X

    def get_iterator(self, dataset: Any, training: bool = False) -> Any:
        """Return the loader itself."""
        return dataset

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **fit_params: Any) -> Any:
        """Train, and warn if somebody interrupts it."""
        try:
            return super().fit_loop(X, y, epochs, **fit_params)
        except _Stop:
            raise
        except KeyboardInterrupt:
            done = sum("dur" in epoch for epoch in self.history)
            warnings.warn(
                f"Training was interrupted after {done} whole epochs; the best weights so far are kept.",
                ConvergenceWarning,
                stacklevel=2,
            )
            raise

    _compiled: Any = None

    @contextmanager
    def compiled(self, enabled: bool) -> Iterator[None]:
        """Compile the module inside the block only: what is asked of it later has other shapes and number formats."""
        self._compiled = torch.compile(self.module_.forward) if enabled else None
        try:
            yield
        finally:
            self._compiled = None

    def infer(self, x: Tensor, **fit_params: Any) -> Tensor:
        """Run the module on a batch."""
        module = self.module_ if self._compiled is None else self._compiled
        with torch.autocast(torch.device(self.device).type, torch.bfloat16, enabled=self.autocast):
            return module(to_tensor(x, device=self.device))


class _Stop(KeyboardInterrupt):
    """Training ends as planned; skorch stops at any KeyboardInterrupt."""


class BatchScore(Callback):
    """Score of every validation batch, which skorch averages over the epoch as it does losses."""

    def __init__(self, name: str, score: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.name, self.score = name, score

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, y_pred: Any = None, **kwargs: Any
    ) -> None:
        """Score a batch."""
        if not training:
            net.history.record_batch(self.name, float(self.score(y_pred, to_tensor(batch[1], device=net.device))))


class PatientEarlyStopping(EarlyStopping):
    """Early stopping that keeps the best weights and does not count epochs on the plateau at the start.

    A contrastive loss stays at its chance level for some epochs before it moves, and patience counted there would
    stop it before it has begun.

    Parameters
    ----------
    patience : int
        Epochs without a new best.
    monitor : str
        Which loss or score.
    plateau : float
        Training loss that must have been undercut before epochs count; infinity where there is no plateau.
    lower_is_better : bool
        Whether the monitored value is a loss.
    """

    def __init__(self, patience: int, monitor: str, plateau: float = np.inf, lower_is_better: bool = True) -> None:
        self.plateau = plateau
        super().__init__(
            monitor=monitor, patience=patience, threshold=0.0, lower_is_better=lower_is_better, load_best=True
        )

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Start counting anew."""
        super().on_train_begin(net, **kwargs)
        self.left_plateau_ = False
        self.n_plateau_epochs_ = 0

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Count an epoch without a new best, unless training is still on the plateau."""
        loss = net.history[-1, "train_loss"]
        self.left_plateau_ = self.left_plateau_ or loss < self.plateau
        if not self.left_plateau_:
            self.misses_ = -1  # one below 0: the count that follows never reaches the patience
            self.n_plateau_epochs_ += 1
        try:
            super().on_epoch_end(net, **kwargs)
        except KeyboardInterrupt as stop:
            raise _Stop from stop
        if self.n_plateau_epochs_ >= max(self.patience, PLATEAU_PATIENCE):
            warnings.warn(
                f"Training stopped: after {self.n_plateau_epochs_} epochs train_loss is still {loss:.4g}, where it is "
                f"by chance ({self.plateau:.4g} had to be undercut). "
                "Nothing was learnt: check that the group labels belong to the rows, or change lr or tau.",
                ConvergenceWarning,
                stacklevel=2,
            )
            raise _Stop


class FitProgress(Callback):
    """One progress bar over all training steps, with the losses beside it."""

    def __init__(self, n_steps: int, label: str) -> None:
        self.n_steps, self.label = n_steps, label

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open the bar."""
        self.bar_ = tqdm(total=self.n_steps * net.max_epochs, desc=self.label, unit="step")

    def on_batch_end(self, net: NeuralNet, training: bool = False, **kwargs: Any) -> None:
        """Count a training step."""
        self.bar_.update(training)

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Show the epoch's losses."""
        shown: dict[str, Any] = {
            key: f"{net.history[-1, key]:.3g}" for key in ("train_loss", "valid_loss") if key in net.history[-1]
        }
        self.bar_.set_postfix({"epoch": len(net.history)} | shown)

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Close the bar, shortened to what was done if training stopped early; an open one cannot be pickled."""
        self.bar_.total = self.bar_.n
        self.bar_.close()
        del self.bar_


class TrainedNetMixin:
    """What an estimator with a trained `net_` tells about its training."""

    net_: RoomNet
    _measured: tuple[str, ...] = ("train_loss", "valid_loss")

    @property
    def history_(self) -> pd.DataFrame:
        """Whole epochs, what was measured in them, and their seconds."""
        epochs = pd.DataFrame(self.net_.history.to_list()).reindex(columns=["epoch", *self._measured, "dur"])
        return epochs[epochs["dur"].notna()]  # an epoch that was interrupted has no duration

    @property
    def n_iter_(self) -> int:
        """Number of whole epochs trained."""
        return len(self.history_)


def train_net(
    module: nn.Module,
    criterion: nn.Module,
    train: BatchLoader,
    valid: BatchLoader | None,
    *,
    lr: float,
    max_epochs: int,
    patience: int,
    plateau: float = np.inf,
    score: Callable[[Tensor, Tensor], Tensor] | None = None,
    monitor: str = "loss",
    device: torch.device,
    autocast: bool = False,
    compiled: bool = False,
    callbacks: list[Any] | None = None,
    verbose: int = 0,
    label: str,
    start: RoomNet | None = None,
) -> RoomNet:
    """Return a net trained on the loss ``criterion(module(x), y)``, with its best weights.

    Parameters
    ----------
    module, criterion : Module
        Initialised.
    train, valid : BatchLoader
        Without `valid`, the training loss decides which weights are best and when to stop.
    lr, max_epochs, patience
        Step size of Adam, epochs at most (with 0 the net stays as initialised), epochs without improvement.
    plateau : float
        See `PatientEarlyStopping`.
    score : callable, optional
        ``score(module(x), y)`` of validation batches, the higher the better; its name is the callable's.
    monitor : str
        What decides which weights are best and when to stop: "loss" or the name of the score, in validation.
    device, autocast, compiled, callbacks
        Where it runs, whether in bfloat16, whether compiled, and further skorch callbacks.
    verbose : int
        0 is silent, 1 a progress bar, 2 or more skorch's table of epochs.
    label : str
        What the progress bar is called.
    start : RoomNet, optional
        A net of the same module to go on from: its history and the state of its optimizer are carried over.

    Returns
    -------
    RoomNet
    """
    ours: list[Callback] = []
    if score is not None and valid is not None:
        name = f"valid_{score.__name__}"
        ours += [BatchScore(name, score), PassthroughScoring(name, lower_is_better=False)]
    monitor = "train_loss" if valid is None else f"valid_{monitor}"
    ours.append(PatientEarlyStopping(patience, monitor, plateau, lower_is_better=monitor.endswith("loss")))
    if verbose == 1:
        ours.append(FitProgress(len(train), label))
    net = RoomNet(
        module,
        criterion=criterion,
        autocast=autocast,
        optimizer=torch.optim.Adam,
        lr=lr,
        max_epochs=max_epochs,
        device=str(device),
        callbacks=ours + list(callbacks or []),
        verbose=int(verbose > 1),
    )
    net.initialize()
    if start is not None:
        net.history_ = start.history_
        net.optimizer_.load_state_dict(start.optimizer_.state_dict())
        net.set_params(lr=lr)
        for group in net.optimizer_.param_groups:
            group.setdefault("initial_lr", lr)  # a scheduler of the step size that is new asks for it
    if max_epochs:
        try:
            with net.compiled(compiled):
                net.partial_fit((train, valid), None)
        finally:
            scratch.clear()
    net.module_.eval()
    return net
