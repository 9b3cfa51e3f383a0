"""Fixtures that several test files share, and one thread for each test process."""

from __future__ import annotations

import os

# Set before NumPy and torch are imported. Test processes run side by side, and on arrays this small, threads that wait
# for each other cost more than they give. Subprocesses and joblib's workers inherit it.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PRA_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from collections.abc import Iterator  # noqa: E402
from pathlib import Path  # noqa: E402

import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from archive_server import Server, serve  # noqa: E402
from numpy.typing import NDArray  # noqa: E402
from toys import N_ROOMS, decaying_noise, reverberant_bursts, room_grid_labels  # noqa: E402

from roomacoustic_sk import _download  # noqa: E402

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real speech and measured responses that may lie beside the checkout."""
    if not SHARED_DATA.is_dir():
        pytest.skip(
            f"no real data: {SHARED_DATA.name}/ of LibriSpeech and measured responses is not beside the checkout"
        )
    return SHARED_DATA


@pytest.fixture(scope="session")
def bursts() -> tuple[NDArray[np.float32], dict[str, NDArray[np.intp]]]:
    """X and the fit parameters of an encoder: 20 sources through 4 responses."""
    X, rir, source = reverberant_bursts(20)
    return X, {"rir_groups": rir, "source_groups": source}


@pytest.fixture(scope="session")
def room_grid() -> tuple[NDArray[np.float32], NDArray[np.float64], dict[str, NDArray[np.intp]]]:
    """X, reverberation times and group labels of 6 sources in 6 rooms with 2 responses each."""
    groups = room_grid_labels()
    rt60 = np.geomspace(0.1, 1.0, N_ROOMS)[groups["room_groups"]]
    return decaying_noise(rt60), rt60, groups


@pytest.fixture
def seeded_torch() -> Iterator[None]:
    """Let networks begin with the same weights in every run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield


@pytest.fixture
def server() -> Iterator[Server]:
    """A server on this machine that serves an archive."""
    with serve() as server:
        yield server


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Repeat downloads at once."""
    monkeypatch.setattr(_download.time, "sleep", lambda seconds: None)
