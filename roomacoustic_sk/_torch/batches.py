"""Batches of segments and features for training, and the application of a module to whole recordings."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator, Sized
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from roomacoustic_sk._recordings import Recordings, RecordingsInMemory
from roomacoustic_sk._segmentation import Segmentation
from roomacoustic_sk._sound import has_sound, levels, sounding
from roomacoustic_sk._torch.runtime import device_of, isolated
from roomacoustic_sk._torch.spectrograms import Spectrogram
from roomacoustic_sk._torch.time_blocks import scratch
from roomacoustic_sk._validation import ArgumentValueError, check_random_state

SPECTROGRAM_BYTES = 11 << 27
"""Memory limit of cached spectrograms: 1.5 GB, enough for 10 800 clips of 4 s with the paper's network."""

STORED_SPECTROGRAM_BYTES = 1 << 30
"""The same for recordings that are not in memory: 1.1 GB, so that training on a store takes less than 2 GB in total."""


LEVEL_SEGMENTS = 512
"""Largest number of segments from which the level of the training set is learned."""

MAX_DRAWS = 20
"""Number of draws of another segment in place of a silent one."""


# --- Which items are in a batch -----------------------------------------------------------------------------------


class BatchSampler(Sized, Iterable[NDArray[np.intp]], Protocol):
    """Yields the items of each batch in a pass."""


class ShuffledBatches:
    """Every item once per pass, in random order, in batches of nearly equal size, none smaller than `smallest`."""

    def __init__(self, items: NDArray[np.intp], batch_size: int, random_state: Any, smallest: int = 1) -> None:
        self.items, self.random_state = items, random_state
        self.n_batches = max(min(-(-len(items) // batch_size), len(items) // smallest), 1)

    def __len__(self) -> int:
        return self.n_batches

    def __iter__(self) -> Iterator[NDArray[np.intp]]:
        order = check_random_state(self.random_state).permutation(self.items)
        yield from np.array_split(order, self.n_batches)


class BatchLoader:
    """The loader that skorch iterates over: the batches of a sampler, gathered from a source.

    An int as `random_state` gives the same segments in every pass, as needed for validation. Batches that take long to
    gather are gathered while the network learns from the batch before.
    """

    def __init__(self, source: FeatureSource | SegmentSource, sampler: BatchSampler, random_state: Any) -> None:
        self.source, self.sampler, self.random_state = source, sampler, random_state

    def __len__(self) -> int:
        return len(self.sampler)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        random_state = check_random_state(self.random_state)
        source = self.source.of_pass(random_state)
        batches = (source.gather(items, random_state) for items in self.sampler)
        yield from batches if source.is_ready else _ahead(batches)


class KeptBatches:
    """Batches of a loader that yields the same in every pass, their spectrograms computed in the first and kept.

    Parameters
    ----------
    loader : BatchLoader
        A loader whose `random_state` is an int.
    front_end : Module
        Computes spectrograms.
    dtype : torch.dtype
        Number format of the spectrograms; bfloat16 loses nothing if the convolutions round to it anyway.
    limit : int
        Largest number of bytes. If the batches take more, none are kept, and all are gathered in each pass.
    """

    def __init__(
        self, loader: BatchLoader, front_end: nn.Module, dtype: torch.dtype, limit: int = STORED_SPECTROGRAM_BYTES
    ) -> None:
        self.loader, self.front_end, self.dtype, self.limit = loader, front_end, dtype, limit
        self.kept: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        if self.kept:
            yield from self.kept
            return
        gathered: list[tuple[Tensor, Tensor]] = []
        n_bytes = 0
        for waveforms, targets in self.loader:
            with torch.no_grad():
                spectrograms = self.front_end(waveforms).to(self.dtype)
            yield spectrograms, targets
            n_bytes += spectrograms.nbytes
            if n_bytes <= self.limit:
                gathered.append((spectrograms, targets))
            else:
                gathered.clear()
        if n_bytes <= self.limit:
            self.kept = gathered


def kept_batches(
    loader: BatchLoader, front_end: nn.Module | None, device: torch.device, autocast: bool
) -> BatchLoader | KeptBatches:
    """Return a loader for validation that keeps its batches' spectrograms, where that helps and none are cached."""
    if front_end is None or device.type != "cpu" or loader.source.spectrograms is not None:
        return loader
    return KeptBatches(loader, front_end, torch.bfloat16 if autocast else torch.float32)


class WarmUpLoader:
    """Batches of one loader until training has left its initial plateau, then those of another, as many in a pass."""

    def __init__(self, first: BatchLoader, then: BatchLoader) -> None:
        self.first, self.then, self.is_over = first, then, False

    def __len__(self) -> int:
        return len(self.then)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        yield from self.then if self.is_over else self.first


def _ahead(batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches in their order; a thread gathers the next one while the last one is in use.

    Errors, and a KeyboardInterrupt, reach the caller. What is drawn does not depend on the thread: there is only one.
    """
    context = copy_context()  # warnings name the public function that was called

    def gather() -> tuple[Tensor, Tensor] | None:
        return context.run(lambda: next(batches, None))

    with ThreadPoolExecutor(1, thread_name_prefix="batches") as thread:
        coming = thread.submit(gather)
        while (batch := coming.result()) is not None:
            coming = thread.submit(gather)
            yield batch


# --- What an item is ----------------------------------------------------------------------------------------------


class FeatureSource:
    """Feature vectors, each with its target."""

    is_ready = True
    spectrograms = None

    def __init__(self, X: NDArray[Any], y: NDArray[Any]) -> None:
        self.X, self.y = torch.from_numpy(X), torch.from_numpy(y)

    def of_pass(self, random_state: np.random.RandomState) -> FeatureSource:
        """Return the source of one pass: itself, since features do not vary."""
        return self

    def gather(self, items: NDArray[np.intp], random_state: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """Return the features and targets of a batch."""
        return self.X[items], self.y[items]


class SpectrogramCache:
    """Spectrograms of recordings as long as a segment, each computed once and kept in the convolutions' number format.

    Parameters
    ----------
    recordings : Recordings
        Recordings of one length.
    front_end : Module
        Computes spectrograms.
    dtype : torch.dtype
        Number format of the cache; bfloat16 loses nothing if the convolutions round to it anyway.
    limit : int
        Maximum number of bytes. Spectrograms that do not fit are computed each time.
    """

    def __init__(
        self, recordings: Recordings, front_end: nn.Module, dtype: torch.dtype, limit: int = SPECTROGRAM_BYTES
    ) -> None:
        self.recordings, self.front_end, self.dtype = recordings, front_end, dtype
        shape = self._compute(np.zeros(1, dtype=np.intp)).shape[1:]
        capacity = min(len(recordings), limit // (math.prod(shape) * dtype.itemsize))
        self.kept = torch.empty((capacity, *shape), dtype=dtype)
        self.n_kept = 0
        self.place = np.full(len(recordings), -1)  # position of each recording in the cache

    @property
    def holds_all(self) -> bool:
        """Whether the spectrograms of all recordings fit."""
        return len(self.kept) == len(self.recordings)

    def _compute(self, indices: NDArray[np.intp]) -> Tensor:
        waveforms = self.recordings.read(indices, np.zeros_like(indices), int(self.recordings.lengths[0]))
        with torch.no_grad():
            return self.front_end(torch.from_numpy(waveforms)).to(self.dtype)

    def gather(self, indices: NDArray[np.intp]) -> Tensor:
        """Return the spectrograms of recordings, shape (n, 1, n_frequencies, n_frames)."""
        new = np.unique(indices[self.place[indices] < 0])
        if not len(new):
            return self.kept[self.place[indices]]
        computed = self._compute(new)
        first, last = self.n_kept, min(self.n_kept + len(new), len(self.kept))
        self.kept[first:last] = computed[: last - first]
        self.place[new[: last - first]], self.n_kept = np.arange(first, last), last
        result = torch.empty((len(indices), *computed.shape[1:]), dtype=self.dtype)
        fresh = np.isin(indices, new)
        result[fresh] = computed[np.searchsorted(new, indices[fresh])]
        result[~fresh] = self.kept[self.place[indices[~fresh]]]
        return result


def learn_level(front_end: nn.Module | None, source: SegmentSource, items: NDArray[np.intp]) -> None:
    """Let a front end that keeps levels learn them from segments of some items, evenly chosen."""
    if not isinstance(front_end, Spectrogram) or front_end.training_level is None:
        return
    chosen = items[np.linspace(0, len(items) - 1, min(len(items), LEVEL_SEGMENTS)).astype(int)]
    random_state = np.random.RandomState(0)
    segments, _ = source.of_pass(random_state).gather(chosen, random_state)
    with torch.no_grad():
        front_end.learn_level(segments)


def spectrogram_cache(
    front_end: nn.Module | None,
    recordings: Recordings,
    length: int,
    device: torch.device,
    autocast: bool,
    limit: int | None = None,
) -> SpectrogramCache | None:
    """Return a cache of spectrograms for training, or None if it would not help.

    It is used on a CPU, for networks that take spectrograms and arrays of recordings that are one segment each. For
    recordings that are not in memory, all spectrograms must fit: otherwise there are too many of them for the cached
    ones to be reused often.
    """
    if front_end is None or recordings.varies or device.type != "cpu" or recordings.n_times != length:
        return None
    in_memory = isinstance(recordings, RecordingsInMemory)
    if limit is None:
        limit = SPECTROGRAM_BYTES if in_memory else STORED_SPECTROGRAM_BYTES
    cache = SpectrogramCache(recordings, front_end, torch.bfloat16 if autocast else torch.float32, limit)
    return cache if cache.holds_all or in_memory else None


class SegmentSource:
    """Random segments of recordings, each with its item's target.

    Parameters
    ----------
    recordings : Recordings
        Recordings to cut segments from.
    indices : ndarray of shape (n_items,)
        The recording of each item.
    targets : ndarray of shape (n_items, ...)
        The label or target of each item.
    length : int
        Number of samples in a segment.
    spectrograms : SpectrogramCache, optional
        Provides the segments' spectrograms instead of their samples.
    """

    def __init__(
        self,
        recordings: Recordings,
        indices: NDArray[np.intp],
        targets: NDArray[Any],
        length: int,
        spectrograms: SpectrogramCache | None = None,
    ) -> None:
        self.recordings, self.indices, self.length, self.spectrograms = recordings, indices, length, spectrograms
        self.targets = torch.from_numpy(targets)
        self._last_start = np.maximum(recordings.lengths - length, 0)

    @property
    def is_ready(self) -> bool:
        """Whether batches are only copied, and no clip is read, computed or varied."""
        return self.spectrograms is not None or isinstance(self.recordings, RecordingsInMemory)

    def of_pass(self, random_state: np.random.RandomState) -> SegmentSource:
        """Return the source of one pass, whose recordings are drawn anew if they vary."""
        if not self.recordings.varies:
            return self
        anew = copy.copy(self)
        anew.recordings = self.recordings.drawn_anew(int(random_state.randint(1, np.iinfo(np.int32).max)))
        return anew

    def gather(self, items: NDArray[np.intp], random_state: np.random.RandomState) -> tuple[Tensor, Tensor]:
        """Return the segments (n, length), or their spectrograms, and the targets (n, ...) of a batch."""
        indices = self.indices[items]
        if self.spectrograms is not None:
            return self.spectrograms.gather(indices), self.targets[items]
        starts = random_state.randint(0, self._last_start[indices] + 1)
        segments = self.recordings.read(indices, starts, self.length)
        self._replace_pauses(segments, indices, random_state)
        return torch.from_numpy(segments), self.targets[items]

    def _replace_pauses(
        self, segments: NDArray[np.float32], indices: NDArray[np.intp], random_state: np.random.RandomState
    ) -> None:
        """Draw other segments of recordings in place of those without sound, if that finds any."""
        choice = np.flatnonzero(self._last_start[indices] > 0)
        for _ in range(MAX_DRAWS):
            drawn = segments if len(choice) == len(segments) else segments[choice]
            choice = choice[~has_sound(drawn.min(axis=1), drawn.max(axis=1))]
            if not len(choice):
                return
            starts = random_state.randint(0, self._last_start[indices[choice]] + 1)
            segments[choice] = self.recordings.read(indices[choice], starts, self.length)


# --- Application --------------------------------------------------------------------------------------------------


def apply_to_segments(
    module: nn.Module, recordings: Recordings, segmentation: Segmentation, n_outputs: int, batch_size: int
) -> NDArray[np.float32]:
    """Average the module's output, in float32, over the segments of each recording, pauses left out.

    Raises
    ------
    ValueError
        If all segments of a recording are silent or constant, or an output is not finite.
    """
    device = device_of(module)
    total = np.zeros((len(recordings), n_outputs), dtype=np.float32)
    count = np.zeros((len(recordings), 1), dtype=np.float32)
    several = recordings.lengths > segmentation.length  # for a single segment, `read` refuses silence
    module.eval()
    with isolated(), torch.inference_mode(), scratch.kept():
        for size, indices, starts in segmentation.segments(recordings.lengths):
            outputs = np.empty((len(indices), n_outputs), dtype=np.float32)
            level = np.ones(len(indices), dtype=np.float32)
            for first in range(0, len(indices), batch_size):
                batch = slice(first, first + batch_size)
                segments = recordings.read(indices[batch], starts[batch], size)
                outputs[batch] = module(torch.from_numpy(segments).to(device)).float().cpu().numpy()
                if several[indices[batch]].any():
                    level[batch] = levels(segments)
            chosen = sounding(level, indices, len(recordings))
            np.add.at(total, indices[chosen], outputs[chosen])
            np.add.at(count, indices[chosen], 1)
    silent = np.flatnonzero(count == 0)
    if len(silent):
        where = recordings.where(silent, np.zeros_like(silent))
        raise ArgumentValueError(f"X must not be silent, got nothing but zeros or constants in {where}.")
    broken = np.flatnonzero(~np.isfinite(total).all(axis=1))
    if len(broken):
        where = recordings.where(broken, np.zeros_like(broken))
        raise ArgumentValueError(f"network must map X to finite numbers, got NaN or infinity for {where}.")
    return total / count
