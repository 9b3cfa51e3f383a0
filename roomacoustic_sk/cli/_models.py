"""Estimators by name or path."""

from __future__ import annotations

from typing import Any


def load_encoder(path: str) -> Any:
    """Return the saved estimator, or the part of a pipeline, that gives embeddings."""
    from sklearn.pipeline import Pipeline

    from roomacoustic_sk._validation import ArgumentValueError
    from roomacoustic_sk.persistence import load

    model = load(path)
    if isinstance(model, Pipeline) and not hasattr(model, "transform"):
        model = model[:-1]
    if not hasattr(model, "transform"):
        raise ArgumentValueError(
            f"--model must have an encoder, which gives embeddings, got a {type(model).__name__} in {path!r}."
        )
    return model
