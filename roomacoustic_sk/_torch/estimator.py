"""Base classes of the estimators with a network: how they are fitted and how they are applied."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from torch import nn

from roomacoustic_sk._base import RoomEstimator
from roomacoustic_sk._segmentation import Segmentation, warn_of_repeats
from roomacoustic_sk._state import State, input_state, restore_input
from roomacoustic_sk._torch.batches import BatchLoader, KeptBatches, WarmUpLoader, apply_to_segments
from roomacoustic_sk._torch.checkpoints import FitCheckpoint, FitIdentity, check_checkpoint_dir
from roomacoustic_sk._torch.runtime import (
    draw_seed,
    isolated,
    resolve_autocast,
    resolve_compile,
    resolve_device,
    seeded,
)
from roomacoustic_sk._torch.training import (
    Objective,
    RoomNet,
    Training,
    check_callbacks,
    history_frame,
    train_net,
)
from roomacoustic_sk._torch.weights import weights_of, with_weights
from roomacoustic_sk._validation import (
    MILLISECONDS,
    PER_CENT,
    ArgumentValueError,
    as_path,
    check_choice,
    check_flag,
    check_number,
    check_random_state,
    check_sample_rate,
    check_verbose,
    describe,
    warn,
)

Groups = tuple[ArrayLike | None, ArrayLike | None, ArrayLike | None]
"""`rir_groups`, `source_groups` and `room_groups` as users pass them."""


NO_PART_OF_A_FIT = ("callbacks", "checkpoint_dir", "encoder", "random_state", "verbose")
"""Parameters that do not change a fit or show elsewhere: a given encoder and the seed in the initial weights."""


LONGEST_SEGMENT, SHORTEST_HOP = 600.0, 0.001
"""Longest segment and shortest hop, in s: a batch of longer ones, or the results at shorter ones, fill the memory."""


LONGEST_RESTORED = 1 << 25
"""Longest segment in samples, 10 minutes at 48 kHz, of an estimator from a file: networks are tried on one."""


class Streams(NamedTuple):
    """Random states of a fit: training draws new batches in every epoch, validation the same ones in every pass."""

    training: RandomState
    validation: int


class Task(ABC):
    """The definition of one fit, created by an estimator from checked arguments, before anything is changed.

    Parameters
    ----------
    start : RoomNet, optional
        The net to resume from.
    """

    label: str  # of the progress bar

    def __init__(self, start: RoomNet | None = None) -> None:
        self.start = start

    @abstractmethod
    def hold_out(self, random_state: RandomState) -> NDArray[np.bool_]:
        """Choose the items for validation."""

    def streams(self, random_state: RandomState) -> Streams:
        """Return the random states; resumed training draws other batches, with the same items held out."""
        seed, n_epochs = draw_seed(random_state), 0 if self.start is None else len(self.start.history)
        return Streams(RandomState([seed, n_epochs]), seed)

    @abstractmethod
    def build(self) -> nn.Module:
        """Return the module to train, initialised."""

    @abstractmethod
    def loaders(
        self, module: Any, device: torch.device, autocast: bool, held_out: NDArray[np.bool_], streams: Streams
    ) -> tuple[BatchLoader | WarmUpLoader, BatchLoader | KeptBatches | None]:
        """Return the loaders for training and, if anything is held out, for validation."""

    @abstractmethod
    def learns_from(self) -> tuple[Any, ...]:
        """Return arrays, numbers and digests that identify the data of the task."""

    @abstractmethod
    def objective(self) -> Objective:
        """Return the objective: the loss and the score that is monitored."""

    def compiling_pays(self, module: Any) -> bool:
        """Return whether compiling the module speeds up long training runs on a CPU."""
        return False


class TrainedEstimator(BaseEstimator):
    """An estimator with a network: `module_` is applied, `net_` trains it.

    Subclasses check their arguments, create a `Task`, and pass it to `_train` within `_fitting`.
    """

    module_: Any
    net_: RoomNet
    lr: float
    batch_size: int
    max_epochs: int
    patience: int
    validation_fraction: float
    device: Any
    callbacks: list[Any] | None
    checkpoint_dir: Any
    random_state: Any
    verbose: int
    _MEASURED: ClassVar[tuple[str, ...]] = ("train_loss", "valid_loss")  # columns of the history
    warm_start: bool = False
    precision: str = "float32"
    compile: str | bool = False

    def _check_parameters(self) -> None:
        """Refuse parameters that are out of range; subclasses check their own."""
        check_number(self.lr, name="lr", low=0, low_open=True, limit=1e38)
        for parameter in ("patience", "batch_size"):
            check_number(getattr(self, parameter), name=parameter, low=1, integer=True)
        check_number(self.max_epochs, name="max_epochs", low=0, integer=True)
        check_number(self.validation_fraction, name="validation_fraction", low=0, high=0.9, fix=PER_CENT)
        check_choice(self.precision, name="precision", options=["auto", "float32", "bfloat16"])
        check_choice(self.compile, name="compile", options=["auto", True, False])
        check_flag(self.warm_start, name="warm_start")
        check_verbose(self.verbose)
        check_random_state(self.random_state)
        check_callbacks(self.callbacks)
        check_checkpoint_dir(self.checkpoint_dir, self.random_state)

    @contextmanager
    def _fitting(self) -> Iterator[None]:
        """Restore the estimator if the block raises, and re-raise a Ctrl-C that ended training."""
        before = vars(self).copy()
        try:
            with isolated():
                yield
        except BaseException:
            self.__dict__ = before
            raise
        if not self.net_.interrupted:
            return
        try:
            warn(
                f"Training was interrupted after {self.n_iter_} complete epochs; the best weights so far are kept.",
                ConvergenceWarning,
            )
        finally:
            raise KeyboardInterrupt

    def _train(self, task: Task, *, partial: bool = False) -> RoomNet:
        """Train a task: hold out validation data, build the module and its loaders, train the net.

        With `partial`, train one epoch and write no checkpoint.
        """
        random_state = check_random_state(self.random_state)
        device = resolve_device(self.device)
        held_out = task.hold_out(random_state)
        streams = task.streams(random_state)
        autocast = resolve_autocast(self.precision, device)
        with seeded(streams.training, device):
            module = task.build() if task.start is None else copy.deepcopy(task.start.module_)
            train, valid = task.loaders(module, device, autocast, held_out, streams)
            max_epochs = 1 if partial else self.max_epochs
            n_steps = max_epochs * len(train)
            training = Training(
                lr=self.lr,
                max_epochs=max_epochs,
                patience=self.patience,
                device=device,
                autocast=autocast,
                compiled=resolve_compile(self.compile, task.compiling_pays(module), device, n_steps),
                callbacks=tuple(self.callbacks or ()),
                verbose=self.verbose,
                label=task.label,
                checkpoint=self._checkpoint(task, module, streams) if max_epochs and not partial else None,
            )
            return train_net(module, task.objective(), train, valid, training, task.start)

    def _checkpoint(self, task: Task, module: nn.Module, streams: Streams) -> FitCheckpoint | None:
        """Return the checkpoint of a fit, named after everything that the fit depends on."""
        if self.checkpoint_dir is None:
            return None
        folder = as_path(self.checkpoint_dir, name="checkpoint_dir")
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ArgumentValueError(
                f"checkpoint_dir must be a folder that can be created, got {str(folder)!r}: {error.strerror}."
            ) from error
        name = type(self).__name__
        parameters = {key: value for key, value in self.get_params(deep=False).items() if key not in NO_PART_OF_A_FIT}
        identity = FitIdentity(name, parameters, tuple(self.callbacks or ()), task.learns_from(), module)
        return FitCheckpoint(folder / f"{name}-{identity.digest(streams.training)[:16]}.pt", streams.training)

    def _keep(self, task: Task, net: RoomNet) -> None:
        """Set the fitted attributes, unless Ctrl-C came before an epoch was complete."""
        history = history_frame(net, self._MEASURED)
        n_before = 0 if task.start is None else len(history_frame(task.start, self._MEASURED))
        if net.interrupted and len(history) == n_before:
            raise KeyboardInterrupt
        self.net_, self.module_ = net, self._applied(net.module_)
        self.history_, self.n_iter_ = history, len(history)

    def _applied(self, module: Any) -> Any:
        """Return the part of the trained module that is applied."""
        return module

    def _fitted_state(self) -> dict[str, Any] | None:
        """Return what a fit has learned, see `_state`; None before the first fit.

        Subclasses add their own attributes, and read them in `_restore` before they call this class's, which calls
        their `_rebuild`.
        """
        if not hasattr(self, "module_"):
            return None
        history = {"epoch": self.history_["epoch"].to_numpy(np.int64)}
        for column in (*self._MEASURED, "dur"):
            history[column] = self.history_[column].to_numpy(np.float64)
        return input_state(self) | {"weights": weights_of(self.net_.module_), "history": history}

    def _restore(self, state: State) -> None:
        """Set the fitted attributes from `_fitted_state`'s; `net_` has no optimiser, as after unpickling."""
        restore_input(self, state)
        weights = state.part("weights")
        module = with_weights(lambda: self._rebuild(weights), weights)
        epochs = self._epochs_of(state.part("history"))
        self.net_ = RoomNet.of_trained(module, epochs, _device_or_cpu(self.device))
        self.module_ = self._applied(self.net_.module_)
        self.history_, self.n_iter_ = history_frame(self.net_, self._MEASURED), len(epochs)

    def _epochs_of(self, history: State) -> list[dict[str, Any]]:
        """Return one dictionary for each epoch, as skorch keeps them."""
        columns = {"epoch": history.array("epoch", shape=(None,), kinds="i")}
        for column in (*self._MEASURED, "dur"):
            columns[column] = history.array(column, shape=columns["epoch"].shape, finite=column == "dur")
        rows = zip(*(values.tolist() for values in columns.values()), strict=True)
        return [{"batches": []} | dict(zip(columns, row, strict=True)) for row in rows]

    def _rebuild(self, weights: State) -> nn.Module:
        """Return a module with the architecture of the trained one, from what has been restored and its weights."""
        raise NotImplementedError

    def __getstate__(self) -> dict[str, Any]:
        # The optimiser's state is twice as large as the weights and is needed only to resume training. The weights
        # are already in the net, so module_ is left out.
        state = dict(super().__getstate__())
        if "net_" in state:
            state["net_"] = self.net_.for_pickling(with_optimizer=self.warm_start)
            del state["module_"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "net_" in state:
            self.module_ = self._applied(self.net_.module_)


def _device_or_cpu(device: Any) -> torch.device:
    """Return the device of a `device` parameter; the CPU where this machine lacks it."""
    try:
        return resolve_device(device)
    except ArgumentValueError:
        return torch.device("cpu")


class RecordingEstimator(RoomEstimator, TrainedEstimator):
    """A trained estimator of recordings, whose network is trained on segments of one length."""

    network: str | Callable[..., nn.Module]
    segment_duration: float
    hop_duration: float | None
    segment_length_: int
    _BUILT_WITH: ClassVar[tuple[str, ...]]  # names of the parameters that the network is built with
    _built_with: dict[str, Any]  # their values in the first fit

    def _check_parameters(self) -> None:
        super()._check_parameters()
        check_sample_rate(self.sample_rate)
        for name, low in (("segment_duration", 0.0), ("hop_duration", SHORTEST_HOP)):
            duration = getattr(self, name)
            if duration is not None or name == "segment_duration":
                check_number(duration, name=name, low=0, low_open=True, limit=LONGEST_SEGMENT, fix=MILLISECONDS)
                check_number(duration, name=name, unit="s", low=low)

    def _check_warm_start(self) -> None:
        """Refuse to resume with a network other than that of the first fit."""
        for parameter, built in self._built_with.items():
            given = getattr(self, parameter)
            if given is not built and given != built:
                raise ArgumentValueError(
                    f"{parameter} must be unchanged to resume from a fitted estimator ({describe(built)}), got "
                    f"{describe(given)}. Use warm_start=False, or a clone, to start over."
                )

    def _fitted_state(self) -> dict[str, Any] | None:
        state = super()._fitted_state()
        if state is None:
            return None
        return state | {"segment_length": self.segment_length_, "built_with": dict(self._built_with)}

    def _restore(self, state: State) -> None:
        built_with = state.part("built_with")
        # Files of before a parameter existed were written with its default, which it now has.
        parameters = self.get_params(deep=False)
        self._built_with = {
            name: built_with.value(name) if name in built_with else parameters[name] for name in self._BUILT_WITH
        }
        first = type(self)(**self.get_params(deep=False) | self._built_with)  # has the parameters of the first fit
        first._check_parameters()
        longest = min(first._samples_in(LONGEST_SEGMENT), LONGEST_RESTORED)
        self.segment_length_ = state.whole("segment_length", low=1, high=longest)
        super()._restore(state)

    def _apply(
        self, X: Any, shortest: int, n_outputs: int, batch_size: int, module: nn.Module | None = None
    ) -> NDArray[np.float32]:
        """Average the output of `module_`, or of another module, over the segments of each recording."""
        self._check_parameters()  # they may have been set after fit
        if self.sample_rate != self._built_with["sample_rate"]:
            raise ArgumentValueError(
                f"sample_rate must be that of the fit, {self._built_with['sample_rate']} Hz, got {self.sample_rate} "
                "Hz. Resample the recordings, or fit a clone."
            )
        recordings = self._check_recordings(X, shortest, reset=False)
        warn_of_repeats(recordings, shortest)
        hop = self.segment_length_ if self.hop_duration is None else self._samples_in(self.hop_duration)
        segmentation = Segmentation(self.segment_length_, shortest, hop)
        applied = self.module_ if module is None else module
        return apply_to_segments(applied, recordings, segmentation, n_outputs, batch_size)
