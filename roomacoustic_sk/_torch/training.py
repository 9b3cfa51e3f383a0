"""Training of every network: a skorch net on two loaders, early stopping, interruption, divergence, progress.

skorch passes fit parameters whole to every batch, so a source of batches holds each item together with its label or
target, and the caller builds the batch sampler from the items to train on.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from sklearn.exceptions import ConvergenceWarning
from skorch import NeuralNet
from skorch.callbacks import Callback, EarlyStopping, PassthroughScoring
from skorch.history import History
from skorch.utils import to_tensor
from torch import Tensor, nn
from tqdm.auto import tqdm

from roomacoustic_sk._torch.batches import BatchLoader, KeptBatches, WarmUpLoader
from roomacoustic_sk._torch.checkpoints import FitCheckpoint
from roomacoustic_sk._torch.runtime import load_compiler
from roomacoustic_sk._torch.time_blocks import scratch
from roomacoustic_sk._validation import ArgumentTypeError, NamedError, describe, warn

PLATEAU_PATIENCE = 20
"""Number of epochs that a contrastive loss may stay at chance level before training stops; it usually takes 2 to 6."""


class DivergedError(NamedError, RuntimeError):
    """Training ended without finite weights."""


class Score(NamedTuple):
    """A score of validation batches, averaged over the epoch; larger is better."""

    name: str
    function: Callable[[Tensor, Tensor], Tensor]


class Objective(NamedTuple):
    """The loss to minimise, and the criterion for the best weights and for early stopping."""

    criterion: nn.Module  # loss of (module(x), target)
    plateau: float = np.inf  # training loss below which patience starts to count
    score: Score | None = None
    monitors_score: bool = False  # otherwise the loss decides


@dataclass(frozen=True)
class Training:
    """Settings of a training run that do not depend on the data."""

    lr: float
    max_epochs: int
    patience: int
    device: torch.device
    autocast: bool = False  # bfloat16 wherever the module supports it
    compiled: bool = False
    callbacks: tuple[Any, ...] = ()
    verbose: int = 0  # 0 is silent, 1 a progress bar, 2 or more skorch's table of epochs
    label: str = ""  # of the progress bar
    checkpoint: FitCheckpoint | None = None


class RoomNet(NeuralNet):
    """A skorch net that is fitted on two loaders, ``net.fit((train, valid), None)``, and keeps neither.

    Parameters
    ----------
    module, criterion, **kwargs
        As for `skorch.NeuralNet`.
    autocast : bool
        Whether the module runs in bfloat16 wherever it supports it.
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

    interrupted = False
    _epochs_left: int | None = None

    def fit_epochs(self, loaders: Any, n_epochs: int) -> None:
        """Train on the loaders for up to `n_epochs` epochs, fewer than `max_epochs` where a fit resumes."""
        self._epochs_left = n_epochs
        self.partial_fit(loaders, None)
        self._epochs_left = None

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **fit_params: Any) -> Any:
        """Train, and remember whether the user interrupted it."""
        self.interrupted = False
        try:
            return super().fit_loop(X, y, self._epochs_left if epochs is None else epochs, **fit_params)
        except _Stop:
            raise
        except KeyboardInterrupt:
            self.interrupted = True
            raise

    def notify(self, method_name: str, **kwargs: Any) -> None:
        """Call the callbacks; skorch's early stopping, if a user passes one, raises the same error as Ctrl-C."""
        getattr(self, method_name)(self, **kwargs)
        for _, callback in self.callbacks_:
            try:
                getattr(callback, method_name)(self, **kwargs)
            except KeyboardInterrupt as stop:
                if isinstance(callback, EarlyStopping) and callback.misses_ == callback.patience:
                    raise _Stop from stop
                raise

    _compiled: Any = None

    @contextmanager
    def compiled(self, enabled: bool) -> Iterator[None]:
        """Compile the module inside the block only, since later calls have other shapes and number formats."""
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

    @classmethod
    def of_trained(cls, module: nn.Module, history: list[dict[str, Any]], device: torch.device) -> RoomNet:
        """Return the net of a module that was trained elsewhere, with its epochs but without an optimiser."""
        net = cls(module, criterion=nn.Identity, optimizer=_NoOptimizer, device=str(device), callbacks=None)
        net.initialize()
        net.module_.eval()
        net.history_, net.optimizer_ = History(history), None
        return net

    def for_pickling(self, *, with_optimizer: bool) -> RoomNet:
        """Return a net with the same module and history that holds only one copy of the weights."""
        light = copy.copy(self)
        light.module = type(self.module_)
        if not with_optimizer:
            light.optimizer_ = None
        return light


class _NoOptimizer:
    """Stands for the optimiser where nothing is trained: any of torch's takes 2 s to import a compiler."""

    def __init__(self, params: Any, lr: float) -> None:
        pass


class _Stop(KeyboardInterrupt):
    """A planned end of training; skorch stops at any KeyboardInterrupt."""


class BatchScore(Callback):
    """Records a score of every validation batch; skorch averages it over the epoch, as it does losses."""

    def __init__(self, name: str, score: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.name, self.score = name, score

    def on_batch_end(
        self, net: NeuralNet, batch: Any = None, training: bool = False, y_pred: Any = None, **kwargs: Any
    ) -> None:
        """Score a batch."""
        if not training:
            net.history.record_batch(self.name, float(self.score(y_pred, to_tensor(batch[1], device=net.device))))


class PatientEarlyStopping(EarlyStopping):
    """Early stopping that keeps the best weights and does not count epochs on the initial plateau.

    A contrastive loss stays at its chance level for some epochs before it decreases. Patience counted from the start
    could stop training before learning begins. Training that has diverged never recovers, so it is stopped at once.

    Parameters
    ----------
    patience : int
        Number of epochs without improvement.
    monitor : str
        Name of the loss or score to monitor.
    plateau : float
        Training loss below which epochs start to count; infinity if there is no plateau.
    lower_is_better : bool
        Whether the monitored value is a loss.
    """

    def __init__(self, patience: int, monitor: str, plateau: float = np.inf, lower_is_better: bool = True) -> None:
        self.plateau, self.most_misses = plateau, patience
        # With a finite patience, skorch would raise a KeyboardInterrupt, indistinguishable from the user's.
        super().__init__(
            monitor=monitor, patience=np.inf, threshold=0.0, lower_is_better=lower_is_better, load_best=True
        )

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Start counting."""
        super().on_train_begin(net, **kwargs)
        self.left_plateau_ = False
        self.n_plateau_epochs_ = 0
        self.diverged_ = False

    def on_epoch_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Count an epoch without improvement, unless training is still on the plateau."""
        epoch = net.history[-1]
        if not is_finite(net.module_, epoch["train_loss"], epoch.get("valid_loss", 0.0)):
            self.diverged_ = True
            raise _Stop
        loss = epoch["train_loss"]
        self.left_plateau_ = self.left_plateau_ or loss < self.plateau
        if not self.left_plateau_:
            self.misses_ = -1  # so that the count that follows never reaches the patience
            self.n_plateau_epochs_ += 1
        super().on_epoch_end(net, **kwargs)
        if self.misses_ >= self.most_misses:
            raise _Stop
        if self.n_plateau_epochs_ >= max(self.most_misses, PLATEAU_PATIENCE):
            warn(
                f"Training stopped: after {self.n_plateau_epochs_} epochs train_loss is still {loss:.4g}, at chance "
                f"level (learning shows below {self.plateau:.4g}). "
                "Nothing was learnt: check that the group labels match the recordings, or change lr or tau.",
                ConvergenceWarning,
            )
            raise _Stop


class WarmUp(Callback):
    """Ends the warm-up of a loader after the first epoch whose training loss is below the plateau."""

    loader: WarmUpLoader | None

    def __init__(self, loader: WarmUpLoader, plateau: float) -> None:
        self.loader, self.plateau = loader, plateau

    def on_epoch_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Look at the epochs so far, which may be those of an earlier fit or of a checkpoint."""
        losses = (epoch.get("train_loss", np.inf) for epoch in net.history.to_list())
        if self.loader is not None:
            self.loader.is_over = any(loss < self.plateau for loss in losses)

    def on_train_end(self, net: NeuralNet, **kwargs: Any) -> None:
        """Let go of the loader, which holds the recordings: the net keeps its callbacks, and pickles hold them."""
        self.loader = None


def is_finite(module: nn.Module, *losses: float) -> bool:
    """Return whether losses and all weights of a module are finite, and its running averages are not NaN."""
    weights = all(bool(torch.isfinite(weight).all()) for weight in module.parameters())
    averages = not any(bool(torch.isnan(buffer).any()) for buffer in module.buffers())
    return weights and averages and bool(np.isfinite(losses).all())


class FitProgress(Callback):
    """A progress bar over all training steps, with the losses next to it."""

    def __init__(self, n_steps: int, label: str, n_epochs_done: int = 0) -> None:
        self.n_steps, self.label, self.n_epochs_done = n_steps, label, n_epochs_done

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Open the bar."""
        total, done = self.n_steps * net.max_epochs, self.n_steps * self.n_epochs_done
        self.bar_ = tqdm(total=total, initial=done, desc=self.label, unit="step")

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
        """Close the bar, at the steps done so far if training stopped early; an open bar cannot be pickled."""
        self.bar_.total = self.bar_.n
        self.bar_.close()
        del self.bar_


def check_callbacks(callbacks: Any) -> None:
    """Refuse anything but a list of skorch callbacks, or of pairs of name and callback.

    Raises
    ------
    TypeError
        If `callbacks` is neither None nor such a list.
    """
    expected = "callbacks must be None or a list of skorch callbacks"
    if callbacks is None:
        return
    if not isinstance(callbacks, (list, tuple)):
        raise ArgumentTypeError(f"{expected}, got {describe(callbacks)}. Put it into a list: [...].")
    for item in callbacks:
        callback = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        if isinstance(callback, type) or not hasattr(callback, "on_train_begin"):
            raise ArgumentTypeError(
                f"{expected}, got {describe(callback)} in it. Derive it from skorch.callbacks.Callback."
            )


def history_frame(net: RoomNet, measured: tuple[str, ...]) -> pd.DataFrame:
    """Return the complete epochs of a net, with the measured values and durations in s."""
    epochs = pd.DataFrame(net.history.to_list()).reindex(columns=["epoch", *measured, "dur"])
    return epochs[epochs["dur"].notna()]  # an epoch that was interrupted has no duration


def train_net(
    module: nn.Module,
    objective: Objective,
    train: BatchLoader | WarmUpLoader,
    valid: BatchLoader | KeptBatches | None,
    training: Training,
    start: RoomNet | None = None,
) -> RoomNet:
    """Train a net and return it with its best weights; its attribute `interrupted` tells whether the user ended it.

    Parameters
    ----------
    module : Module
        The initialised module.
    objective : Objective
        The loss and the score that is monitored.
    train, valid : BatchLoader
        Without `valid`, the training loss decides which weights are best and when to stop.
    training : Training
        Number of epochs, learning rate, device and so on; with 0 epochs the net is left as initialised.
    start : RoomNet, optional
        A net with a module of the same architecture to resume from; its history and its optimiser's state are copied.

    Raises
    ------
    DivergedError
        If no epoch ended with finite losses and weights.

    Warns
    -----
    ConvergenceWarning
        If training diverged after at least one good epoch, or never left the plateau.
    """
    ours: list[Callback] = []
    monitor = "train_loss" if valid is None else "valid_loss"
    if objective.score is not None and valid is not None:
        name = f"valid_{objective.score.name}"
        ours += [BatchScore(name, objective.score.function), PassthroughScoring(name, lower_is_better=False)]
        monitor = name if objective.monitors_score else monitor
    stopping = PatientEarlyStopping(
        training.patience, monitor, objective.plateau, lower_is_better=monitor in ("train_loss", "valid_loss")
    )
    ours.append(stopping)
    if isinstance(train, WarmUpLoader):
        ours.append(WarmUp(train, objective.plateau))
    last = [] if training.checkpoint is None else [training.checkpoint]
    n_epochs_done = 0 if training.checkpoint is None else training.checkpoint.n_epochs
    if training.verbose == 1:
        ours.append(FitProgress(len(train), training.label, n_epochs_done))
    net = RoomNet(
        module,
        criterion=objective.criterion,
        autocast=training.autocast,
        optimizer=torch.optim.Adam,
        lr=training.lr,
        max_epochs=training.max_epochs,
        device=str(training.device),
        callbacks=[*ours, *training.callbacks, *last],
        verbose=int(training.verbose > 1),
    )
    load_compiler()
    net.initialize()
    if start is not None:
        _resume(net, start)
    if training.max_epochs:
        with scratch.kept(), net.compiled(training.compiled):
            net.fit_epochs((train, valid), training.max_epochs - n_epochs_done)
        if not net.interrupted:
            _check_divergence(net, stopping)
    net.module_.eval()
    return net


def _resume(net: RoomNet, start: RoomNet) -> None:
    """Copy the history and the optimiser's state of a net, which is left unchanged."""
    net.history_ = copy.deepcopy(start.history_)
    if start.optimizer_ is None:
        warn(
            "Training resumes with a new optimiser, whose first steps may undo some of the training: files of "
            "roomacoustic_sk.save hold no optimiser, nor do pickles made with warm_start=False."
        )
    else:
        net.optimizer_.load_state_dict(copy.deepcopy(start.optimizer_.state_dict()))
    net.set_params(lr=net.lr)
    for group in net.optimizer_.param_groups:
        group.setdefault("initial_lr", net.lr)  # needed by a newly added learning rate scheduler


def _check_divergence(net: RoomNet, stopping: PatientEarlyStopping) -> None:
    """Raise if no epoch ended with finite losses and weights; warn if the last one did not."""
    if not is_finite(net.module_) or (stopping.diverged_ and not stopping.best_epoch_):
        raise DivergedError(
            f"training must end with finite weights, got NaN or infinity after {len(net.history)} epochs with "
            f"lr={net.lr:g}. Use a smaller lr, or check for extreme targets or samples."
        )
    if stopping.diverged_:
        warn(
            f"Training diverged in epoch {len(net.history)}: its loss is not finite. The weights of epoch "
            f"{stopping.best_epoch_} are kept. Use a smaller lr.",
            ConvergenceWarning,
        )
