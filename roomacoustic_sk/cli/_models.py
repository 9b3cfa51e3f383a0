"""Estimators by name or path, and how they compute."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple


class Encoder(NamedTuple):
    """What gives embeddings, and the sampling rate of its recordings in Hz."""

    transformer: Any
    sample_rate: int


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread in the block; `--n-jobs` asks for more processes.

    A recording is so little work that a second thread gains nothing; where another process keeps a core busy, the two
    wait for each other, and estimates take seven times as long.
    """
    import torch

    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(n_threads)


def load_encoder(model: str) -> Encoder:
    """Return the encoder of an estimator that is shipped, or saved in a file."""
    from sklearn.pipeline import Pipeline

    from roomacoustic_sk._validation import ArgumentValueError
    from roomacoustic_sk.persistence import load
    from roomacoustic_sk.room_parameters import RoomParameterEstimator

    if Path(model).suffix or Path(model).exists():
        estimator = load(model)
    else:
        from roomacoustic_sk.pretrained import load_pretrained

        estimator = load_pretrained(model)
    if isinstance(estimator, RoomParameterEstimator):
        return Encoder(estimator, estimator.sample_rate_)
    if isinstance(estimator, Pipeline) and not hasattr(estimator, "transform"):
        estimator = estimator[:-1]  # without the head
    first = estimator[0] if isinstance(estimator, Pipeline) else estimator
    if not hasattr(estimator, "transform") or not hasattr(first, "sample_rate"):
        raise ArgumentValueError(
            f"--model must have an encoder, which gives embeddings, got {type(estimator).__name__} in {model!r}."
        )
    return Encoder(estimator, first.sample_rate)
