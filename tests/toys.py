"""Small data, networks and callbacks that several test files use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import soundfile
import torch
import zarr
from numpy.typing import ArrayLike, NDArray
from skorch.callbacks import Callback
from torch import nn

from roomacoustic_sk import ContrastiveRoomEncoder

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "PRA_NUM_THREADS")
"""Environment variables that limit threads; `conftest` sets them."""

RATE = 16_000
"""Sampling rate of all toy sounds, in Hz, unless said otherwise."""

CLIP = RATE // 2
"""Samples of a toy clip: the shortest that the default network takes."""


def exactly(message: str) -> str:
    """Return a pattern that matches this message and no other."""
    return f"^{re.escape(message)}$"


# --- Sounds ---------------------------------------------------------------------------------------------------------


def noise(*shape: int, level: float = 0.0, seed: int = 0) -> NDArray[np.float64]:
    """Return white noise with a power of `level` dB."""
    return np.random.default_rng(seed).standard_normal(shape) * 10 ** (level / 20)


def exponential(rt60: float, duration: float, rate: int = RATE) -> NDArray[np.float64]:
    """Return a response that falls by 60 dB in `rt60` seconds."""
    return 10 ** (-3 * np.arange(round(duration * rate)) / rate / rt60)


def diffuse(rt60: float, duration: float, seed: int = 0) -> NDArray[np.float64]:
    """Return noise that decays exponentially, as late reverberation does."""
    decay = exponential(rt60, duration)
    return noise(len(decay), seed=seed) * decay


def decaying_noise(rt60: ArrayLike, n_times: int = CLIP, period: int = 4_000, seed: int = 0) -> NDArray[np.float32]:
    """Return one recording for each reverberation time: bursts of noise, one a `period`, that decay at its rate."""
    rt60 = np.asarray(rt60)
    time = np.arange(n_times) % period / RATE
    return (noise(len(rt60), n_times, seed=seed) * 10 ** (-3 * time / rt60[:, None])).astype(np.float32)


def random_rt60(n_recordings: int, seed: int = 0) -> NDArray[np.float64]:
    """Return reverberation times between 0.1 s and 1 s."""
    return 10 ** np.random.default_rng([seed, 1]).uniform(-1, 0, n_recordings)


N_RIRS = 4
RT60 = np.geomspace(0.05, 1.6, N_RIRS)
"""Reverberation times of the responses behind `reverberant_bursts`, in s."""


def reverberant_bursts(
    n_sources: int, first_source: int = 0, n_times: int = CLIP
) -> tuple[NDArray[np.float32], NDArray[np.intp], NDArray[np.intp]]:
    """Return X, response labels and source labels: each of `n_sources` sequences of bursts through each response."""
    rirs = noise(N_RIRS, CLIP, seed=1) * 10 ** (-3 * np.arange(CLIP) / RATE / RT60[:, None])
    X = []
    for source in range(first_source, first_source + n_sources):
        rng = np.random.default_rng([2, source])
        dry = np.zeros(n_times)
        for start in rng.integers(0, n_times - 500, n_times // 4_000):
            dry[start : start + 400] = rng.standard_normal(400)
        n_fft = n_times + CLIP
        X.append(np.fft.irfft(np.fft.rfft(dry, n_fft) * np.fft.rfft(rirs, n_fft))[:, :n_times])
    labels = np.arange(first_source, first_source + n_sources)
    return np.concatenate(X).astype(np.float32), np.tile(np.arange(N_RIRS), n_sources), np.repeat(labels, N_RIRS)


N_ROOMS, RIRS_A_ROOM, N_SOURCES = 6, 2, 6


def room_grid_labels() -> dict[str, NDArray[np.intp]]:
    """Return the group labels of a full grid of responses and sources; responses 2i and 2i + 1 are of room i."""
    rir, source = np.divmod(np.arange(N_ROOMS * RIRS_A_ROOM * N_SOURCES), N_SOURCES)
    return {"rir_groups": rir, "source_groups": source, "room_groups": rir // RIRS_A_ROOM}


def numbered_recordings(n_recordings: int, n_times: int = CLIP) -> NDArray[np.float32]:
    """Return recordings of their numbers, from 1 on, with changing signs, so that batches tell where they come from."""
    numbered = np.repeat(np.arange(1.0, n_recordings + 1, dtype=np.float32)[:, None], n_times, axis=1)
    numbered[:, 1::2] *= -1  # a constant is no sound
    return numbered


# --- Recordings in files and stores ---------------------------------------------------------------------------------


def write_audio(path: Path, samples: NDArray[Any], rate: int = RATE, subtype: str | None = None) -> Path:
    """Write an audio file, in a folder made for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def in_zarr(X: NDArray[Any], folder: Path, chunks: tuple[int, int] = (2, 100)) -> zarr.Array:
    """Return recordings as a Zarr array on disk."""
    stored = zarr.create_array(folder / "waves.zarr", shape=X.shape, chunks=chunks, dtype=X.dtype)
    stored[:] = X
    return zarr.open_array(folder / "waves.zarr", mode="r")


def in_hdf5(X: NDArray[Any], folder: Path, chunks: tuple[int, int] = (2, 100)) -> h5py.Dataset:
    """Return recordings as an HDF5 dataset on disk."""
    with h5py.File(folder / "waves.h5", "w") as file:
        file.create_dataset("waves", data=X, chunks=chunks, compression="gzip")
    return h5py.File(folder / "waves.h5")["waves"]


def files_below(folder: Path) -> list[str]:
    """Return the names of all files and folders below a folder, in order."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


# --- Estimators and networks ----------------------------------------------------------------------------------------

TRAINING = {
    "network": "pooled",
    "segment_duration": 0.5,
    "max_epochs": 1,
    "precision": "float32",
    "random_state": 0,
}
"""A training that takes a fraction of a second on toy clips; the default network would take three times as long."""

ENCODER = TRAINING | {"n_classes": 4, "n_views": 2, "steps_per_epoch": 2, "validation_steps": 1}
SUPERVISED = TRAINING | {"n_hidden": 16}


def fit_encoder(X: Any, groups: dict[str, Any], **parameters: Any) -> ContrastiveRoomEncoder:
    """Return an encoder that was trained for a moment."""
    return ContrastiveRoomEncoder(**ENCODER | parameters).fit(X, **groups)


class TinyNetwork(nn.Module):
    """A user's own network: 12 features of clips of any length."""

    def __init__(self, n_times: int) -> None:
        super().__init__()
        self.n_times = n_times
        self.filters = nn.Conv1d(1, 12, 64, stride=32, padding=32)

    def forward(self, waveforms: torch.Tensor) -> torch.Tensor:
        return self.filters(waveforms[:, None]).abs().mean(dim=2)


def outputs(model: Any, X: Any) -> NDArray[np.float64]:
    """Return all that an estimator with a head gives for X: probabilities, or else estimates."""
    return model.predict_proba(X) if hasattr(model, "predict_proba") else model.predict(X)


def weights(module: nn.Module) -> dict[str, torch.Tensor]:
    """Return a copy of all weights and averages of a module."""
    return {key: value.clone() for key, value in module.state_dict().items()}


def same_weights(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Tell whether two modules have the same weights."""
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


# --- Callbacks ------------------------------------------------------------------------------------------------------


class BatchWatcher(Callback):
    """Keep the inputs and the targets of every batch, of training (True) and of validation (False)."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.seen: dict[bool, list[tuple[NDArray[Any], NDArray[Any]]]] = {True: [], False: []}

    def on_batch_begin(self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any) -> None:
        self.seen[training].append((batch[0].float().numpy().copy(), batch[1].numpy().copy()))


class Interrupter(Callback):
    """Press Ctrl-C in a training step, counted from 1."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.n_steps = 0

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        self.n_steps += training
        if training and self.n_steps == self.step:
            raise KeyboardInterrupt
