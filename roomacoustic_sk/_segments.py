"""Recordings of any length, seen by the networks as segments of one length."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from roomacoustic_sk._fused import scratch
from roomacoustic_sk._lazy import LazyRows
from roomacoustic_sk._validation import Rows, name_rows, zero_of

SPECTROGRAM_BYTES = 11 << 27
"""Memory for spectrograms that are computed once: 1.5 GB, enough for 10 800 clips of 4 s with the paper's network."""


def cut_segment(row: NDArray[Any], start: int, length: int) -> NDArray[np.float32]:
    """Return `length` samples of a recording as float32; one that is too short is repeated from its beginning.

    Integer samples are taken as PCM: unsigned ones have their zero in the middle, all are divided by their full scale.
    What needs no change is a view of the recording, not a copy.
    """
    segment = row[start : start + length]
    if np.issubdtype(segment.dtype, np.integer):
        zero = zero_of(segment.dtype)
        segment = (segment.astype(np.float64) - zero) / (np.iinfo(segment.dtype).max + 1.0 - zero)
    segment = segment.astype(np.float32, copy=False)
    return segment if len(segment) == length else np.resize(segment, length)


def take_rows(rows: Rows, indices: NDArray[np.intp]) -> NDArray[Any] | list[NDArray[Any]]:
    """Return some of the recordings; those that have to be computed first are checked as the others were before."""
    if not isinstance(rows, LazyRows):
        return [rows[i] for i in indices]
    computed = rows.gather(indices)
    peak = np.abs(computed).max(axis=1)
    for wrong, fault in ((~np.isfinite(peak), "be finite"), (peak == 0, "not be silent")):
        if wrong.any():
            raise ValueError(f"{type(rows).__name__}: rows must {fault}, got {name_rows(np.unique(indices[wrong]))}.")
    return computed


def row_lengths(rows: Rows) -> NDArray[np.intp]:
    """Return the samples in each recording."""
    if isinstance(rows, list):
        return np.array([len(row) for row in rows])
    return np.full(rows.shape[0], rows.shape[1])


class SpectrogramCache:
    """Spectrograms of recordings as long as a segment, each computed once and kept as the convolutions want it.

    Parameters
    ----------
    X : ndarray or LazyRows of shape (n_rows, n_times)
        Recordings.
    front_end : Module
        Computes spectrograms.
    dtype : torch.dtype
        Number format to keep them in; bfloat16 loses nothing where the convolutions round to it anyway.
    limit : int
        Bytes to keep at most. What does not fit is computed each time.
    """

    def __init__(
        self, X: NDArray[Any] | LazyRows, front_end: nn.Module, dtype: torch.dtype, limit: int = SPECTROGRAM_BYTES
    ) -> None:
        self.X, self.front_end, self.dtype = X, front_end, dtype
        shape = self._compute(np.zeros(1, dtype=np.intp)).shape[1:]
        capacity = min(len(X), limit // (math.prod(shape) * dtype.itemsize))
        self.kept = torch.empty((capacity, *shape), dtype=dtype)
        self.n_kept = 0
        self.place = np.full(len(X), -1)  # of each row among those kept

    @property
    def holds_all(self) -> bool:
        """Whether all recordings' spectrograms fit."""
        return len(self.kept) == len(self.X)

    def _compute(self, rows: NDArray[np.intp]) -> Tensor:
        waveforms = np.stack([cut_segment(row, 0, self.X.shape[1]) for row in take_rows(self.X, rows)])
        with torch.no_grad():
            return self.front_end(torch.from_numpy(waveforms)).to(self.dtype)

    def gather(self, rows: NDArray[np.intp]) -> Tensor:
        """Return the spectrograms of rows, shape (n_rows, 1, n_frequencies, n_frames)."""
        new = np.unique(rows[self.place[rows] < 0])
        if not len(new):
            return self.kept[self.place[rows]]
        computed = self._compute(new)
        first, last = self.n_kept, min(self.n_kept + len(new), len(self.kept))
        self.kept[first:last] = computed[: last - first]
        self.place[new[: last - first]], self.n_kept = np.arange(first, last), last
        result = torch.empty((len(rows), *computed.shape[1:]), dtype=self.dtype)
        fresh = np.isin(rows, new)
        result[fresh] = computed[np.searchsorted(new, rows[fresh])]
        result[~fresh] = self.kept[self.place[rows[~fresh]]]
        return result


class SegmentDataset(Dataset):
    """Random segments of recordings, each with its row's label.

    Parameters
    ----------
    X : ndarray of shape (n_rows, n_times), list of ndarray of shape (n_times,) or LazyRows
        Recordings.
    labels : ndarray of shape (n_items,)
        One label an item.
    rows : ndarray of shape (n_items,)
        The recording of each item.
    length : int
        Samples in a segment.
    spectrograms : SpectrogramCache, optional
        Gives the segments' spectrograms instead of their samples.
    """

    def __init__(
        self,
        X: Rows,
        labels: NDArray[Any],
        rows: NDArray[np.intp],
        length: int,
        spectrograms: SpectrogramCache | None = None,
    ) -> None:
        self.X, self.rows, self.length, self.spectrograms = X, rows, length, spectrograms
        self.labels = torch.from_numpy(labels)

    def __len__(self) -> int:
        return len(self.rows)

    def gather(self, items: NDArray[np.intp], random_state: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """Return the segments (n, length), or their spectrograms, and labels (n,) of a batch."""
        if self.spectrograms is not None:
            return self.spectrograms.gather(self.rows[items]), self.labels[items]
        rows = take_rows(self.X, self.rows[items])
        last_start = np.array([max(len(row) - self.length, 0) for row in rows])
        starts = random_state.randint(0, last_start + 1)
        segments = np.stack([cut_segment(row, i, self.length) for row, i in zip(rows, starts, strict=True)])
        return torch.from_numpy(segments), self.labels[items]


def check_time_axis(rows: Rows, shortest_clip: int, *, caller: str) -> None:
    """Refuse an array that is surely transposed: fewer samples than a clip needs, and rows enough for one."""
    if not isinstance(rows, list) and rows.shape[1] < shortest_clip <= rows.shape[0]:
        raise ValueError(
            f"{caller}: X must be of shape (n_rows, n_times), got {rows.shape}, which looks like time along the rows. "
            "Pass X.T."
        )


def choose_segment_length(
    rows: Rows, wanted: int, shortest: int, sample_rate: int, *, caller: str, share: int = 1, fixed: bool = False
) -> int:
    """Return the samples in a training segment: `wanted`, or fewer where the recordings are too short for it.

    Parameters
    ----------
    rows : array of shape (n_rows, n_times) or list of 1-D arrays
        Recordings.
    wanted, shortest : int
        What was asked for, and the least that the network takes, in samples.
    sample_rate : int
        In Hz, for the warnings.
    caller : str
        Who asks.
    share : int
        A segment is at most this part of the longest recording: 1 for all of it, 2 for half of it.
    fixed : bool
        Whether the length is settled already, so that shorter recordings are repeated to fill it.

    Returns
    -------
    int
        Warns where it is not `wanted`, where recordings will be repeated to fill it, and where no recording leaves a
        share to choose from.

    Raises
    ------
    ValueError
        If the network does not take segments as short as wanted.
    """
    if wanted < shortest:
        raise ValueError(
            f"{caller}: segment_duration must be at least {shortest / sample_rate:g} s for this network, "
            f"got {wanted / sample_rate:g} s."
        )
    lengths = row_lengths(rows)
    length = wanted if fixed else max(min(wanted, lengths.max() // share), shortest)
    if share > 1 and lengths.max() <= length:
        warnings.warn(
            f"{caller}: X should have recordings longer than {length / sample_rate:g} s where there are no rir_groups, "
            f"for their views are random segments of them, got {lengths.max() / sample_rate:g} s at most. The views "
            "of a recording are all the same now, and teach next to nothing.",
            UserWarning,
            stacklevel=4,
        )
    if length < wanted:
        longest = f"the longest recording has {lengths.max() / sample_rate:g} s"
        reason = longest if share == 1 else f"segments of unlabelled recordings differ by their place, and {longest}"
        warnings.warn(
            f"{caller}: segment_duration reduced from {wanted / sample_rate:g} s to {length / sample_rate:g} s: "
            f"{reason}.",
            UserWarning,
            stacklevel=4,
        )
    warn_of_repeats(lengths, length, sample_rate, caller=caller, stacklevel=5)
    return int(length)


def warn_of_repeats(lengths: NDArray[np.intp], needed: int, sample_rate: int, *, caller: str, stacklevel: int) -> None:
    """Warn that recordings shorter than what the network needs are repeated from their beginning."""
    n_short = int(np.sum(lengths < needed))
    if n_short:
        warnings.warn(
            f"{caller}: {n_short} of {len(lengths)} rows of X are shorter than the {needed / sample_rate:g} s needed "
            f"({lengths.min()} to {needed} samples): they were repeated from their beginning to fill it.",
            UserWarning,
            stacklevel=stacklevel,
        )


def embed(
    network: nn.Module,
    rows: Rows,
    *,
    length: int,
    shortest: int,
    hop: int,
    batch_size: int,
    n_features: int,
) -> NDArray[np.float32]:
    """Return the mean over each recording's segments of what the network says, in float32.

    Recordings longer than `length` are cut into segments `hop` apart, the last one flush with the end; shorter ones
    are taken whole if they have `shortest` samples, else repeated up to it.
    """
    device = next(network.parameters()).device
    total = np.zeros((len(rows), n_features), dtype=np.float32)
    count = np.zeros((len(rows), 1), dtype=np.float32)
    network.eval()
    with torch.inference_mode():
        for owners, segments in _batches_of_segments(rows, length, shortest, hop, batch_size):
            np.add.at(total, owners, network(torch.from_numpy(segments).to(device)).float().cpu().numpy())
            np.add.at(count, owners, 1)
    scratch.clear()
    return total / count


def _batches_of_segments(
    rows: Rows, length: int, shortest: int, hop: int, batch_size: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.float32]]]:
    """Yield the rows and samples of segments, segments of one length together."""
    lengths = row_lengths(rows)
    taken = np.clip(lengths, shortest, length)
    for size in np.unique(taken):
        pieces = [(i, start) for i in np.flatnonzero(taken == size) for start in _starts(lengths[i], size, hop)]
        for first in range(0, len(pieces), batch_size):
            batch = pieces[first : first + batch_size]
            owners = np.array([i for i, _ in batch])
            taken_rows = zip(take_rows(rows, owners), batch, strict=True)
            yield owners, np.stack([cut_segment(row, at, size) for row, (_, at) in taken_rows])


def _starts(n_times: int, size: int, hop: int) -> NDArray[np.intp]:
    """Return where the segments of a recording begin; the last one ends where the recording does."""
    last = max(n_times - size, 0)
    return np.unique(np.append(np.arange(0, last, hop), last))
