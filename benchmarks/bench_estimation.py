"""Estimates from a waveform, against the same network and head applied by torch alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
import torch
from inputs import CLIP, Size, noise
from sklearn.pipeline import make_pipeline

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor

OURS = "roomacoustic_sk"
SECONDS = {"clip of 4 s": 1, "recording of 60 s": 15}
"""Segments in what is estimated from."""


@pytest.fixture(scope="module", params=SECONDS)
def estimation(request: pytest.FixtureRequest, size: Size) -> tuple[str, dict[str, Callable[[], Any]]]:
    """Return what is estimated from, and ways to do so."""
    n_segments = SECONDS[request.param]
    X, y = noise(8), np.linspace(0.2, 1.0, 8)
    encoder = ContrastiveRoomEncoder(max_epochs=0, n_classes=2, n_views=2, validation_fraction=0, random_state=0)
    pipeline = make_pipeline(encoder, RoomRegressor(max_epochs=2, validation_fraction=0, random_state=0))
    pipeline.fit(X, y, contrastiveroomencoder__rir_groups=np.arange(8) // 4)
    embeddings = encoder.transform(X)
    mean, deviation = embeddings.mean(axis=0), embeddings.std(axis=0)
    network, head = reference.encoder("compact"), reference.mlp()
    reference.copy_weights(pipeline[0].module_, network)
    reference.copy_weights(pipeline[1].module_, head)
    recording = [noise(1, n_segments * CLIP, seed=1)[0]]

    def by_torch() -> np.ndarray:
        embedding = reference.embed(network, recording[0].reshape(n_segments, CLIP)).mean(axis=0, keepdims=True)
        embedding /= np.linalg.norm(embedding)
        with torch.inference_mode():
            output = head(torch.from_numpy((embedding - mean) / deviation)).numpy()
        return output[:, 0] * y.std() + y.mean()

    np.testing.assert_allclose(pipeline.predict(recording), by_torch(), rtol=1e-3)
    return request.param, {OURS: lambda: pipeline.predict(recording), "torch": by_torch}


@pytest.mark.parametrize("implementation", [OURS, "torch"])
def bench_estimation(measure, estimation, implementation):
    """Time an estimate by a pipeline of encoder and head."""
    of_what, implementations = estimation
    measure(implementations[implementation], group=f"estimate from a {of_what}", rounds=7)
