"""Embeddings of clips, against the same network applied clip by clip, and their spectrogram against librosa's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
import torch
from inputs import Size, noise

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk.networks import BandSpectrogram

OURS = "roomacoustic_sk"


@pytest.fixture(scope="module", params=["compact", "bandwise", "paper", "pooled"])
def transform(request: pytest.FixtureRequest, size: Size) -> tuple[str, dict[str, Callable[[], Any]]]:
    """Return a network's name and ways to apply it."""
    network = request.param
    X = noise(size.clips)
    encoder = ContrastiveRoomEncoder(
        network=network, max_epochs=0, n_classes=2, n_views=2, validation_fraction=0, random_state=0
    ).fit(X[:8], rir_groups=np.arange(8) // 4)
    module = reference.encoder(network)
    reference.copy_weights(encoder.module_, module)
    np.testing.assert_allclose(encoder.transform(X), reference.embed(module, X), atol=1e-4)
    return network, {OURS: lambda: encoder.transform(X), "torch": lambda: reference.embed(module, X)}


@pytest.mark.parametrize("implementation", [OURS, "torch"])
def bench_transform(measure, transform, size, implementation):
    """Time embeddings of clips of 4 s."""
    network, implementations = transform
    group = f"transform, {network} network"
    measure(implementations[implementation], group=group, count=size.clips, unit="clip", rounds=2)


@pytest.fixture(scope="module")
def spectrogram(size: Size) -> dict[str, Callable[[], Any]]:
    """Return ways to compute the spectrogram of the default network."""
    librosa = pytest.importorskip("librosa", reason="librosa computes the spectrogram to compare with")
    X, front_end = noise(size.clips), BandSpectrogram()
    bands = front_end.weights.numpy()

    def ours() -> np.ndarray:
        with torch.inference_mode():
            return front_end(torch.from_numpy(X)).numpy()[:, 0]

    def by_librosa() -> np.ndarray:
        found = []
        for clip in X:
            clip = clip / np.sqrt(np.mean(clip**2))
            power = np.abs(librosa.stft(clip, n_fft=512, hop_length=128, center=False)) ** 2
            level = np.log(np.maximum(bands @ power, reference.floor(512)))
            found.append((level - level.mean(axis=1, keepdims=True)) / level.std(ddof=1))
        return np.stack(found)

    np.testing.assert_allclose(ours(), by_librosa(), atol=1e-3)
    return {OURS: ours, "librosa": by_librosa}


@pytest.mark.parametrize("implementation", [OURS, "librosa"])
def bench_spectrogram(measure, spectrogram, size, implementation):
    """Time spectrograms of clips of 4 s."""
    measure(spectrogram[implementation], group="spectrogram", count=size.clips, unit="clip", rounds=2)
