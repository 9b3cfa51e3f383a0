"""Devices, seeds and number formats of torch, kept away from the user's global state."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor, nn

from roomacoustic_sk._validation import ArgumentValueError

COMPILING_STEPS = 2_000
"""Training steps from which on compiling pays: it takes 5 to 20 s, and saves about 20 ms a step of 72 clips."""

_ONE_AT_A_TIME = threading.RLock()


def resolve_device(device: Any) -> torch.device:
    """Return the torch device that a `device` parameter means; "auto" is CUDA where there is one, else the CPU.

    Raises
    ------
    ValueError
        If torch knows no such device, or it is not there.
    """
    if isinstance(device, str) and device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ArgumentValueError(
            f'device must be "auto" or a torch device such as "cpu" or "cuda", got {device!r}.'
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ArgumentValueError(f'device must be available, got {device!r} without CUDA. Use device="auto".')
    return resolved


def device_of(module: nn.Module) -> torch.device:
    """Return where a module is; one without weights is anywhere."""
    return next((weight.device for weight in module.parameters()), torch.device("cpu"))


def resolve_autocast(precision: str, device: torch.device) -> bool:
    """Say whether convolutions run in bfloat16: "auto" does where the processor computes in it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capabilities and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def has_compiler() -> bool:
    """Say whether this machine has what torch compiles with on a CPU: a C++ compiler and Python's headers."""
    compiler = os.environ.get("CXX", "clang++" if sys.platform == "darwin" else "g++")
    return shutil.which(compiler) is not None and Path(sysconfig.get_path("include"), "Python.h").exists()


def resolve_compile(compile: str | bool, pays: bool, device: torch.device, n_steps: int) -> bool:
    """Say whether to compile a network: "auto" does where it pays for the seconds that it costs.

    Raises
    ------
    ValueError
        If it was asked for and there is no compiler.
    """
    if compile is True and device.type == "cpu" and not has_compiler():
        raise ArgumentValueError(
            'compile must be False or "auto" where there is no C++ compiler (or no headers of Python), '
            "got True. Install g++, or name another compiler in the environment variable CXX."
        )
    if compile != "auto":
        return bool(compile)
    return pays and n_steps >= COMPILING_STEPS and device.type == "cpu" and has_compiler()


def full_precision(x: Tensor) -> torch.autocast:
    """Keep a stretch of code out of bfloat16: logarithms, deviations and unit norms need all their digits."""
    return torch.autocast(x.device.type, enabled=False)


@contextmanager
def seeded(random_state: np.random.RandomState) -> Iterator[None]:
    """Seed torch inside the block and leave its global generators as they were.

    Threads enter one after another: they share these generators, and would draw from each other's.
    """
    with _ONE_AT_A_TIME, torch.random.fork_rng():
        torch.manual_seed(draw_seed(random_state))
        yield


def draw_seed(random_state: Any) -> int:
    """Draw a whole number that seeds another generator."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
