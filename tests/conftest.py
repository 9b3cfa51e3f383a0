"""Fixtures that several test files share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real speech and measured responses that may lie beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(
            f"no real data: {SHARED_DATA.name}/ of LibriSpeech and measured responses is not beside the checkout"
        )
    return SHARED_DATA


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Compute in one thread: for networks this small, threads that wait for each other cost far more than they give."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)
