"""Devices, seeds and number formats of torch, kept away from the user's global state."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from torch import Tensor

_ONE_AT_A_TIME = threading.RLock()


def resolve_device(device: Any, *, caller: str) -> torch.device:
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
        raise ValueError(
            f'{caller}: device must be "auto" or a torch device such as "cpu" or "cuda", got {device!r}.'
        ) from error
    if resolved.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f'{caller}: device must be available, got {device!r} without CUDA. Use device="auto".')
    return resolved


def resolve_autocast(precision: str, device: torch.device) -> bool:
    """Say whether convolutions run in bfloat16: "auto" does where the processor computes in it."""
    if precision != "auto":
        return precision == "bfloat16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.backends.cpu.get_cpu_capability()
    return "AVX512" in capabilities and torch.ops.mkldnn._is_mkldnn_bf16_supported()


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
