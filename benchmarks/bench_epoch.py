"""Where the time of an epoch goes: convolution, spectrogram, network, validation, of clips convolved on demand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from inputs import Size, rooms_and_speech
from sklearn.utils import Bunch

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk.datasets import make_reverberant_speech
from roomacoustic_sk.losses import SupConLoss
from roomacoustic_sk.networks import NETWORKS, PartwiseProjection, ProjectionHead

PARTS = ("convolution", "spectrogram", "network", "training", "epoch")
"""What is timed: three parts of a step, the training of an epoch, and that with validation."""
VIEWS = 3
STEPS_PER_VALIDATION = 4  # training steps for each validation batch, by default


@pytest.fixture(scope="module")
def grid(size: Size) -> Bunch:
    """Return more clips than fit into the cache of spectrograms."""
    rooms, speech = rooms_and_speech(8 * size.classes, 30 * size.classes)
    return make_reverberant_speech(rooms, speech, lazy=True, random_state=0)


@pytest.fixture(scope="module", params=["compact", "bandwise", "paper"])
def epoch(request: pytest.FixtureRequest, size: Size, grid: Bunch) -> tuple[str, dict[str, Callable[[], float | None]]]:
    """Return a network's name and ways to run a part of an epoch, each for as many clips as a batch has."""
    network, n_clips = request.param, VIEWS * size.classes
    indices = np.random.default_rng(0).permutation(len(grid.data))[:n_clips]
    module = NETWORKS[network]()
    projection = PartwiseProjection(module.parts) if len(module.parts) > 1 else ProjectionHead()
    whole = torch.nn.Sequential(module, projection)
    optimizer, loss = torch.optim.Adam(whole.parameters()), SupConLoss(0.1)
    clips, labels = torch.from_numpy(np.asarray(grid.data[indices])), torch.arange(n_clips) // VIEWS
    with torch.no_grad():
        spectrograms = module.spectrogram(clips)

    def convolve() -> None:
        np.asarray(grid.data[indices])

    def transform() -> None:
        with torch.no_grad():
            module.spectrogram(clips)

    def step() -> None:
        optimizer.zero_grad()
        loss(whole(spectrograms), labels).backward()
        optimizer.step()

    def epoch_of_two(validation_fraction: float) -> float:
        """Return the seconds of the second epoch, in which all that repeats is ready."""
        encoder = ContrastiveRoomEncoder(
            network=network, n_classes=size.classes, n_views=VIEWS, max_epochs=2, steps_per_epoch=size.steps,
            validation_steps=max(size.steps // STEPS_PER_VALIDATION, 1), validation_fraction=validation_fraction,
            precision="float32", compile=False, random_state=0,
        )  # fmt: skip
        encoder.fit(grid.data, rir_groups=grid.rir, source_groups=grid.source)
        return float(encoder.history_["dur"].iloc[1]) / size.steps

    return network, {
        "convolution": convolve,
        "spectrogram": transform,
        "network": step,
        "training": lambda: epoch_of_two(0.0),
        "epoch": lambda: epoch_of_two(0.2),
    }


@pytest.mark.parametrize("implementation", PARTS)
def bench_epoch(benchmark, measure, epoch, implementation):
    """Time a part for a batch; of the epochs, only the second counts, and is divided by its number of steps."""
    network, parts = epoch
    measured: list[float | None] = []
    measure(lambda: measured.append(parts[implementation]()), group=f"epoch, {network} network", unit="step", rounds=2)
    seconds = [one for one in measured if one is not None]
    if seconds:
        benchmark.extra_info["seconds"] = min(seconds)
