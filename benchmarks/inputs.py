"""Synthetic inputs: what is in them does not matter for speed, only how much of it there is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch

RATE = 16_000
"""Sampling rate, in Hz."""
CLIP = 4 * RATE
"""Samples in a clip."""


@dataclass(frozen=True)
class Size:
    """How much work each benchmark does: `--size`."""

    classes: int
    """Responses in the training data of the encoder, each with three clips, and classes in a batch."""
    steps: int
    """Training steps of a fit of the encoder."""
    clips: int
    """Clips that are embedded, and clips of the supervised training."""
    grid: int
    """Responses, and dry segments, of the grid that is convolved."""
    responses: int
    """Responses whose parameters are computed."""
    rooms: int
    """Rooms that are simulated."""
    rays: int
    """Rays of the reference simulation."""
    epochs: int
    """Epochs of the training of a head, on 1 000 embeddings."""
    memory: tuple[int, ...]
    """Clips in the measurements of memory."""
    stores: tuple[float, ...]
    """Sizes of the stores that are trained on, in GB; the smallest one is also read whole, for comparison."""


SIZES = {
    "full": Size(24, 8, 96, 24, 200, 3, 80_000, 10, (512, 2_048), (2.0, 20.0)),
    "tiny": Size(4, 1, 8, 3, 12, 1, 80_000, 1, (32,), (0.02,)),
}


def noise(n_clips: int, n_times: int = CLIP, seed: int = 0) -> NDArray[np.float32]:
    """Return bursts of noise that decay by 60 dB, each clip's in a time of its own; one by one, to save memory."""
    rng = np.random.default_rng(seed)
    times = np.arange(n_times, dtype=np.float32)
    clips = np.empty((n_clips, n_times), dtype=np.float32)
    for clip, period in zip(clips, rng.uniform(0.1 * RATE, RATE, n_clips).astype(np.float32), strict=True):
        clip[:] = rng.standard_normal(n_times, dtype=np.float32) * 10 ** (-3 * (times % period) / period)
    return clips


def decays(n_responses: int, seed: int = 0) -> NDArray[np.float64]:
    """Return responses of 1.5 s with RT60 from 0.3 to 1.0 s, and a noise floor some 100 dB below their start."""
    rng = np.random.default_rng(seed)
    times = np.arange(int(1.5 * RATE)) / RATE
    envelope = 10 ** (-3 * times / rng.uniform(0.3, 1.0, (n_responses, 1)))
    return rng.standard_normal(envelope.shape) * envelope + 1e-5 * rng.standard_normal(envelope.shape)


def rooms_and_speech(n_rirs: int, n_segments: int) -> tuple[Bunch, Bunch]:
    """Return responses of 1 s and dry segments of 4 s."""
    ids, sources = np.arange(n_rirs), np.arange(n_segments)
    target = pd.DataFrame(index=ids)
    rooms = Bunch(rirs=list(noise(n_rirs, RATE)), sample_rate=RATE, target=target, rir=ids, room=ids)
    return rooms, Bunch(segments=noise(n_segments, seed=1), sample_rate=RATE, source=sources, speaker=sources)
