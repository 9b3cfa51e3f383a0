"""Devices, seeds, number formats and compilation in torch, without changing the user's global state."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import sysconfig
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from roomacoustic_sk._validation import ArgumentValueError, check_random_state, describe, restated

COMPILING_STEPS = 2_000
"""Number of training steps from which compiling pays: it takes 5 to 30 s and saves about 20 ms per step of 72 clips."""

R = TypeVar("R")

_one_at_a_time = threading.RLock()
_while_importing = threading.RLock()


def _unlock_in_child() -> None:
    """Give a forked process a lock of its own: the thread that holds the parent's does not exist there."""
    global _one_at_a_time
    _one_at_a_time = threading.RLock()


if hasattr(os, "register_at_fork"):  # not on Windows, which does not fork
    os.register_at_fork(after_in_child=_unlock_in_child)
    os.register_at_fork(  # a fork in the midst of an import would leave the module locked in the child
        before=_while_importing.acquire,
        after_in_parent=_while_importing.release,
        after_in_child=_while_importing.release,
    )


def resolve_device(device: Any) -> torch.device:
    """Return the torch device given by a `device` parameter; "auto" uses CUDA if it is available, otherwise the CPU.

    Raises
    ------
    ValueError
        If torch does not know the device, or it is not available.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError, ValueError, OverflowError) as error:
        raise ArgumentValueError(
            f'device must be "auto" or a torch device such as "cpu" or "cuda", got {describe(device)}.'
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentValueError(f'device must be available, got {device!r} without CUDA. Use device="auto".')
    if resolved.type != "cpu":
        with restated(f'device must be available to compute on, got {device!r}; use device="auto"'):
            torch.ones(1, device=resolved).item()
    return resolved


def device_of(module: nn.Module) -> torch.device:
    """Return the device of a module; the CPU if it has no weights."""
    return next((weight.device for weight in module.parameters()), torch.device("cpu"))


def resolve_autocast(precision: str, device: torch.device) -> bool:
    """Return whether convolutions run in bfloat16; with "auto", if the processor supports it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capabilities and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def has_compiler() -> bool:
    """Return whether this machine has what torch needs to compile for a CPU: a C++ compiler and Python's headers."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return shutil.which(compiler) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def resolve_compile(compile: str | bool, pays: bool, device: torch.device, n_steps: int) -> bool:
    """Return whether to compile a network; with "auto", if it saves more time than it takes.

    Raises
    ------
    ValueError
        If compilation is requested and there is no compiler.
    """
    if compile is True and device.type == "cpu" and not has_compiler():
        raise ArgumentValueError(
            'compile must be False or "auto" if there is no C++ compiler (or no Python headers), '
            "got True. Install g++, or set the environment variable CXX to another compiler."
        )
    if compile != "auto":
        return bool(compile)
    return pays and n_steps >= COMPILING_STEPS and device.type == "cpu" and has_compiler()


def never_compiled(function: Callable[..., R]) -> Callable[..., R]:
    """Keep `torch.compile` out of a function; `torch.compiler.disable` alone takes 2 s to import torch's compiler."""

    @functools.wraps(function)
    def called(*args: Any) -> R:
        if torch.compiler.is_compiling():  # true while the compiler reads this line
            return torch.compiler.disable(function)(*args)
        return function(*args)

    return called


def load_compiler() -> None:
    """Import torch's compiler, which optimisers need; a fork in another thread waits for the end of the import."""
    with _while_importing:
        torch.compiler.disable(load_compiler)


def full_precision(x: Tensor) -> torch.autocast:
    """Exempt a block from bfloat16: logarithms, standard deviations and unit norms need full precision."""
    return torch.autocast(x.device.type, enabled=False)


@contextmanager
def isolated() -> Iterator[None]:
    """Compute inside the block as torch does by default, whatever default the user or another library has set.

    Gradients can be computed, new tensors are float32 on the CPU, and operations keep their number format. Of these,
    only the default number format is shared by all threads; it is set back at the end, and only if it was another one.
    """
    dtype = torch.get_default_dtype()
    with ExitStack() as settings:
        settings.enter_context(torch.inference_mode(False))
        settings.enter_context(torch.enable_grad())
        if torch.get_default_device().type != "cpu":  # every operation takes longer under a default device
            settings.enter_context(torch.device("cpu"))
        for device_type in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device_type):
                settings.enter_context(torch.autocast(device_type, enabled=False))
        if dtype != torch.float32:
            settings.enter_context(_one_at_a_time)
            torch.set_default_dtype(torch.float32)
            settings.callback(torch.set_default_dtype, dtype)
        yield


@contextmanager
def seeded(random_state: np.random.RandomState, device: torch.device) -> Iterator[None]:
    """Seed torch inside the block, on the CPU and on `device` alone, and restore its global generators afterwards.

    Only one thread may enter at a time, because all threads share these generators.
    """
    seed = draw_seed(random_state)
    with _one_at_a_time, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        if device.type == "cuda":
            torch.default_generator.manual_seed(seed)
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        elif device.type == "cpu":
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)
        yield


def draw_seed(random_state: Any) -> int:
    """Draw an integer that seeds another generator."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
