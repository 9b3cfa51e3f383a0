"""Checkpoints: the whole state of a fit after every epoch, in a file, from which the same fit resumes."""

from __future__ import annotations

import contextlib
import os
import pickle
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import is_zipfile

import joblib
import numpy as np
import torch
from numpy.random import RandomState
from skorch import NeuralNet
from skorch.callbacks import Callback, Checkpoint
from skorch.history import History
from torch import nn

from roomacoustic_sk._validation import ArgumentTypeError, ArgumentValueError, as_path, describe

ABANDONED = 3600.0
"""Age in s from which on an unfinished file belongs to no process: writing takes a second."""

FORMAT = 1
"""Version of the files; a file of another version is refused."""


def check_checkpoint_dir(checkpoint_dir: Any, random_state: Any) -> None:
    """Refuse anything but None or a folder that can be made, and fits that cannot be repeated.

    Raises
    ------
    TypeError
        If it is neither None nor a path.
    ValueError
        If it is the path of a file, or `random_state` is None: a restarted fit would be another one.
    """
    if checkpoint_dir is None:
        return
    if not isinstance(checkpoint_dir, (str, os.PathLike)) or not str(checkpoint_dir):
        raise ArgumentTypeError(f"checkpoint_dir must be None or the path of a folder, got {describe(checkpoint_dir)}.")
    folder = as_path(checkpoint_dir, name="checkpoint_dir")
    if folder.exists() and not folder.is_dir():
        raise ArgumentValueError(f"checkpoint_dir must be a folder, got the file {str(checkpoint_dir)!r}.")
    if random_state is None:
        raise ArgumentValueError(
            "random_state must be given with checkpoint_dir, got None. Use an integer: only a fit that starts the same "
            "way again can resume."
        )


class FitIdentity(NamedTuple):
    """What two fits must share for one to resume the other."""

    estimator: str  # name of its class
    parameters: Mapping[str, Any]
    callbacks: tuple[Any, ...]
    data: tuple[Any, ...]  # recordings or features, targets and labels
    module: nn.Module  # initialised

    def digest(self, random_state: RandomState) -> str:
        """Return a name for files, the same whenever the same fit is started again."""
        weights = {name: value.detach().cpu().numpy() for name, value in self.module.state_dict().items()}
        parameters = {name: _plain(value) for name, value in self.parameters.items()}
        callbacks = [_plain(callback) for callback in self.callbacks]
        draws = random_state.get_state()
        return joblib.hash((FORMAT, self.estimator, parameters, callbacks, self.data, weights, draws))


def _plain(value: Any) -> Any:
    """Return what can be compared between two runs of Python: a value itself, or of an object its class and parameters.

    Generators are left out: what they draw shows in the initial weights.
    """
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return sorted((str(key), _plain(item)) for key, item in value.items())
    kind = value if isinstance(value, type) or callable(value) else type(value)
    name = f"{kind.__module__}.{getattr(kind, '__qualname__', type(kind).__qualname__)}"
    if isinstance(value, Callback):
        parameters = sorted(value.get_params(deep=False).items())  # skorch counts private attributes among them
        return name, {key: _plain(parameter) for key, parameter in parameters if not key.startswith("_")}
    return name


class FitCheckpoint(Checkpoint):
    """Save the state of a fit after every epoch, and resume from it when training begins.

    skorch's checkpoint writes weights, optimiser and history to several files. A fit that is to resume as if nothing
    had happened needs them all from one moment, together with its generators and the state of its callbacks. It must be
    the last callback: the others reset themselves when training begins, and update themselves when an epoch ends.

    Parameters
    ----------
    path : Path
        The file.
    random_state : RandomState
        Draws the batches of the fit.

    Notes
    -----
    Of a callback those attributes are saved whose names end with an underscore and that are numbers, text, tensors,
    lists or dictionaries of such, or have a `state_dict`.
    """

    def __init__(self, path: Path, random_state: RandomState) -> None:
        self.path, self.random_state = path, random_state
        super().__init__(
            monitor=None, f_params=None, f_optimizer=None, f_criterion=None, f_history=None, event_name=None
        )
        self.state = _load(path) if path.exists() else None
        for left in path.parent.glob(f"{path.stem}.*.unfinished"):  # of a process that was killed while it wrote
            with contextlib.suppress(FileNotFoundError):
                if time.time() - left.stat().st_mtime > ABANDONED:  # else another process may be at it
                    left.unlink()

    @property
    def n_epochs(self) -> int:
        """Epochs that need not be trained again."""
        return 0 if self.state is None else int(self.state["n_epochs"])

    def on_train_begin(self, net: NeuralNet, **kwargs: Any) -> None:
        """Restore what was saved."""
        self.n_epochs_before = len(net.history)
        if self.state is None:
            return
        state = self.state
        try:
            net.module_.load_state_dict(state["module"])
            net.optimizer_.load_state_dict(state["optimizer"])
            net.history_ = History(state["history"])
            for (_, callback), saved in zip(self._others(net), state["callbacks"], strict=True):
                _restore(callback, saved)
            self.random_state.set_state(tuple(state["random_state"]))
            torch.set_rng_state(state["torch_rng"])
            for cuda_state in state["cuda_rng"]:
                torch.cuda.set_rng_state(cuda_state, torch.device(net.device))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            raise unreadable(self.path, error) from error

    def save_model(self, net: NeuralNet) -> None:
        """Write the state after an epoch, whole or not at all."""
        device = torch.device(net.device)
        state = {
            "format": FORMAT,
            "n_epochs": len(net.history) - self.n_epochs_before,
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "history": _storable(net.history.to_list()),
            "callbacks": [_state_of(callback) for _, callback in self._others(net)],
            "random_state": _storable(list(self.random_state.get_state())),
            "torch_rng": torch.get_rng_state(),
            "cuda_rng": [torch.cuda.get_rng_state(device)] if device.type == "cuda" else [],
        }
        unfinished = self.path.with_suffix(f".{os.getpid()}.unfinished")
        try:
            with unfinished.open("wb") as file:
                torch.save(state, file)
                file.flush()
                os.fsync(file.fileno())
            unfinished.replace(self.path)
        except RuntimeError as error:
            if isinstance(error.__context__, KeyboardInterrupt):  # torch's writer raises it when it is interrupted
                raise KeyboardInterrupt from error
            raise
        except OSError as error:
            raise ArgumentValueError(
                f"checkpoint_dir must be a folder that can be written to, got {str(self.path.parent)!r}: "
                f"{error.strerror}."
            ) from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _others(self, net: NeuralNet) -> list[tuple[str, Any]]:
        return [(name, callback) for name, callback in net.callbacks_ if callback is not self]


def unreadable(path: Path, error: Exception) -> ArgumentValueError:
    """Return the error for a file that is no checkpoint."""
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return ArgumentValueError(
        f"checkpoint_dir must hold checkpoints of this version, got {path}, which cannot be read ({reason}). Delete "
        "the file to train from the start."
    )


def _load(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are read, nothing in the file is executed."""
    try:
        if not is_zipfile(path):  # torch reads other formats, too, with warnings
            raise ValueError("it is no archive of tensors")
        state = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ValueError(f"its format is not {FORMAT}")
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError) as error:
        raise unreadable(path, error) from error
    return state


_UNKNOWN = object()


def _storable(value: Any) -> Any:
    """Return a value made of what a file of weights can hold; other values become `_UNKNOWN`."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if value is None or isinstance(value, (bool, int, float, str, torch.Tensor)):
        return value
    if isinstance(value, (list, tuple)):
        items = [_storable(item) for item in value]
        return _UNKNOWN if any(item is _UNKNOWN for item in items) else items
    if isinstance(value, Mapping):
        stored = {key: _storable(item) for key, item in value.items()}
        return _UNKNOWN if any(item is _UNKNOWN for item in stored.values()) else stored
    return _UNKNOWN


def _state_of(callback: Any) -> dict[str, Any]:
    """Return the attributes of a callback that training changes."""
    state = {}
    for name, value in vars(callback).items():
        if not name.endswith("_") or name.startswith("_"):
            continue
        has_state = hasattr(value, "load_state_dict") and not isinstance(value, type)
        stored = _storable(value.state_dict() if has_state else value)
        if stored is not _UNKNOWN:
            state[name] = stored
        elif has_state:
            raise ArgumentValueError(
                f"callbacks must have states of numbers, text and tensors to be saved in checkpoint_dir, got others in "
                f"{name} of {type(callback).__name__}. Leave one of the two out."
            )
    return state


def _restore(callback: Any, state: dict[str, Any]) -> None:
    """Set the attributes of a callback that were saved."""
    for name, value in state.items():
        holder = vars(callback).get(name)
        if holder is not None and hasattr(holder, "load_state_dict"):  # a scheduler of the step size
            holder.load_state_dict(value)
        else:
            setattr(callback, name, value)
