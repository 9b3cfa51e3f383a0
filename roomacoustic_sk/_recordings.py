"""Recordings: a common type for every kind of `X`, with its checks.

The same policy holds for all kinds. When recordings are passed in, everything that can be checked without reading
samples is checked: type, shape, sample format, sampling rate. Samples are checked when they are first read and before
anything is computed from them: they must be finite, neither silent nor constant, and small enough for their squares to
fit into float32. Arrays and lists in memory are read as soon as they are passed in; files, stores on disk and clips
that are convolved on demand are read a few segments at a time.

What is no sound is defined in `_sound`; here and in `apply_to_segments` it is refused or left out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from roomacoustic_sk._sound import SILENCE, has_sound, is_clipped, zero_of
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_unmasked,
    describe,
    name_rows,
    restated,
    warn,
)

BLOCK_SAMPLES = 1 << 22
"""Number of samples read at once when recordings are read one after another: 16 MB."""

LOUDEST = 1e15
"""Peak above which sums of squares may overflow float32."""

LOUD_OFFSET = 50.0
"""Ratio of peak to range above which a constant offset (DC) hides the sound: networks and features see 80 dB."""

A_FEW = 8
"""So few samples in each of many rows are channels side by side, and may be equal by chance."""

LARGEST = float(np.finfo(np.float32).max)
DIGEST_SAMPLES = 1 << 16
"""Samples that are read of a recording to recognise it."""


# --- What a waveform is -------------------------------------------------------------------------------------------


def cut_segment(waveform: NDArray[Any], start: int, n_times: int) -> NDArray[np.float32]:
    """Return a segment of a waveform as float32; a segment that is too short is repeated from its beginning.

    Integer samples are treated as PCM: they are divided by their full scale, and unsigned ones have their zero in the
    middle of the range. A segment that needs no conversion is a view of the waveform, not a copy.
    """
    segment = waveform[start : start + n_times]
    if np.issubdtype(segment.dtype, np.integer):
        zero = zero_of(segment.dtype)
        segment = (segment.astype(np.float64) - zero) / (np.iinfo(segment.dtype).max + 1.0 - zero)
    segment = segment.astype(np.float32, copy=False)
    return segment if len(segment) == n_times else np.resize(segment, n_times)


def _range(waveform: NDArray[Any]) -> tuple[float, float]:
    """Return the lowest and the highest sample, relative to silence, as floats: the lowest integer has no opposite."""
    zero = zero_of(waveform.dtype)
    return float(waveform.min()) - zero, float(waveform.max()) - zero


def check_waveforms(
    X: Any, *, name: str = "X", allow_silent: bool = False, allow_integers: bool = False, allow_constant: bool = True
) -> NDArray[Any] | list[NDArray[Any]]:
    """Check waveforms in memory and return them as a 2-D array or a list of 1-D arrays, in their original precision.

    Parameters
    ----------
    X : array-like of shape (n_recordings, n_times), or sequence of 1-D arrays
        Waveforms.
    name : str
        The argument, for the error message.
    allow_silent : bool
        Whether to accept recordings of zeros.
    allow_integers : bool
        Whether to accept integers, for callers that do not depend on the level.
    allow_constant : bool
        Whether to accept waveforms of a single value, as an impulse response of one sample is.

    Returns
    -------
    ndarray of shape (n_recordings, n_times) or list of ndarray of shape (n_times_of_the_recording,)

    Raises
    ------
    TypeError
        If `X` is not an array or sequence, or its samples are not real floating-point numbers.
    ValueError
        If the shape is wrong, if there is no recording, or if one is empty, silent, not finite, far too loud, or partly
        masked.
    """
    waveforms = _arrays_of(X, name)
    if len(waveforms) == 0:
        raise ArgumentValueError(f"{name} must have at least one waveform, got none.")
    for dtype in {waveform.dtype for waveform in waveforms}:
        check_dtype(dtype, name, allow_integers)
    empty = np.flatnonzero([waveform.size == 0 for waveform in waveforms])
    if len(empty):
        raise ArgumentValueError(f"{name} must have samples in every waveform, got {name_rows(empty)} without any.")
    lowest, highest = np.array([_range(waveform) for waveform in waveforms]).T
    _check_ranges(lowest, highest, name, name_rows, allow_silent)
    warn_of_clipping(waveforms, name, name_rows)
    if not allow_constant:
        check_offsets(lowest, highest, name, name_rows, np.array([len(waveform) > A_FEW for waveform in waveforms]))
    return waveforms


def _arrays_of(X: Any, name: str) -> NDArray[Any] | list[NDArray[Any]]:
    """Return anything that holds waveforms as a 2-D array or a list of 1-D arrays."""
    expected = f"{name} must be a 2-D array (n_waveforms, n_times) or a list of 1-D arrays"
    if isinstance(X, Mapping):  # e.g. a Bunch or an HDF5 file
        fields = ", ".join(map(str, list(X)[:8]))
        raise ArgumentTypeError(f"{expected}, got a {type(X).__name__} with {fields}. Pass one of its fields.")
    if issparse(X):
        raise ArgumentTypeError(f"{expected}, got a sparse matrix. Waveforms are dense: pass {name}.toarray().")
    check_unmasked(X, name=name)
    with restated(expected):
        if hasattr(X, "to_numpy"):  # pandas and similar libraries
            X = X.to_numpy()
        elif hasattr(X, "__array__"):
            X = np.asarray(X)
    if isinstance(X, np.ndarray) and X.ndim == 0:
        check_shape(X.shape, describe(X), name)
    if not isinstance(X, Iterable) or isinstance(X, (str, bytes)):
        raise ArgumentTypeError(f"{expected}, got {describe(X)}.")
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 2:
        X = _of_frame(X, expected)
    if isinstance(X, np.ndarray) and X.dtype != object:
        check_shape(X.shape, describe(X), name)
        return X
    with restated(expected):
        waveforms = [np.asarray(check_unmasked(waveform, name=name)) for waveform in X]
    for i, waveform in enumerate(waveforms):
        if waveform.ndim != 1:
            fix = f" Choose a channel of each, e.g. {name}[{i}][0] or [:, 0]." if waveform.ndim == 2 else ""
            raise ArgumentValueError(f"{name} must hold 1-D arrays, got {describe(waveform)} in row {i}.{fix}")
    return waveforms


def _of_frame(X: NDArray[Any], expected: str) -> NDArray[Any]:
    """Return the values of a frame: of numbers of mixed types, perhaps missing, or of a single column of arrays."""
    if X.shape[1] == 1 and X.size and np.ndim(X[0, 0]) == 1:
        return X[:, 0]
    from pandas import isna  # knows None, NaN, NaT and NA

    with restated(expected):
        return np.where(isna(X), np.nan, X).astype(np.float64)


def check_shape(shape: tuple[int, ...], described: str, name: str) -> None:
    """Refuse arrays that are not 2-D, or whose recordings have no samples."""
    if len(shape) != 2:
        fix = f" Reshape your data with {name}.reshape(1, -1) if it is one recording." if len(shape) == 1 else ""
        if len(shape) == 3:
            channel = "[:, :, 0]" if shape[2] <= shape[1] else "[:, 0]"
            fix = f" Choose a channel if these are recordings of several channels, e.g. {name}{channel}."
        raise ArgumentValueError(
            f"{name} must be a 2-D array (n_waveforms, n_times) or a list of 1-D arrays, got {described}.{fix}"
        )
    if shape[1] == 0:
        raise ArgumentValueError(
            f"{name} must have samples in every waveform, got 0 feature(s) (shape={tuple(shape)}) while a minimum of 1 "
            "is required."
        )


def check_dtype(dtype: np.dtype[Any], name: str, allow_integers: bool) -> None:
    """Refuse samples that are not real numbers, and integers if the level matters: their full scale is unknown."""
    if issubclass(dtype.type, (np.floating, np.integer) if allow_integers else (np.floating,)):
        return
    if np.issubdtype(dtype, np.complexfloating):
        raise ArgumentValueError(f"{name} must hold real samples, got dtype {dtype}. Complex data not supported.")
    fix = ""
    if np.issubdtype(dtype, np.signedinteger):
        fix = f" Divide integer PCM by its full scale first, e.g. {name} / 32768.0 for int16."
    kinds = "floating-point or integer" if allow_integers else "floating-point"
    raise ArgumentTypeError(f"{name} must hold {kinds} samples, got dtype {dtype}.{fix}")


def check_time_axis(X: Any, shortest: int, name: str) -> None:
    """Refuse an array whose axes are swapped: few samples in each of many rows, as of channels."""
    n_rows, n_times = X.shape
    if n_times <= A_FEW and n_rows >= max(shortest, 1000):
        raise ArgumentValueError(
            f"{name} must be of shape (n_recordings, n_times), got {(n_rows, n_times)}, which looks transposed, with "
            f"{n_times} channels along the second axis. Choose a channel, {name}[:, 0][None], or pass {name}.T if each "
            "channel is a recording of its own."
        )
    if n_times < shortest <= n_rows:
        raise ArgumentValueError(
            f"{name} must be of shape (n_recordings, n_times), got {(n_rows, n_times)}, which looks transposed. Pass "
            f"{name}.T."
        )


def _check_ranges(lowest: NDArray[Any], highest: NDArray[Any], name: str, where: Any, allow_silent: bool) -> None:
    """Refuse recordings that are not finite, silent, or so loud that float32 cannot hold their power."""
    peaks = np.maximum(highest, -lowest)
    broken = np.flatnonzero(~np.isfinite(peaks))
    if len(broken):
        raise ArgumentValueError(f"{name} must be finite, got NaN or infinity in {where(broken)}.")
    loud = np.flatnonzero(peaks > LOUDEST)
    if len(loud):
        raise ArgumentValueError(
            f"{name} must not exceed {LOUDEST:g} in magnitude, got a peak of {peaks[loud[0]]:.3g} in {where(loud)}. "
            "Scale it."
        )
    silent = np.flatnonzero(peaks <= SILENCE)
    if len(silent) and not (allow_silent and not peaks[silent].any()):
        level = f"no sample above {SILENCE:g}" if peaks[silent].any() else "nothing but zeros"
        raise ArgumentValueError(f"{name} must not be silent, got {level} in {where(silent)}.")


def check_offsets(lowest: NDArray[Any], highest: NDArray[Any], name: str, where: Any, among: NDArray[np.bool_]) -> None:
    """Refuse recordings of one value, and warn of those whose constant offset (DC) hides their sound."""
    peaks = np.maximum(highest, -lowest)
    constant = np.flatnonzero(among & (peaks > SILENCE) & ~has_sound(lowest, highest))
    if len(constant):
        raise ArgumentValueError(
            f"{name} must have sound, got a constant value of {highest[constant[0]]:.3g} in {where(constant)}. Leave "
            "such recordings out."
        )
    offset = np.flatnonzero(among & (LOUD_OFFSET * (highest - lowest) < peaks) & (peaks > SILENCE))
    if len(offset):
        warn(
            f"{name} should have no constant offset (DC), got one that is more than {LOUD_OFFSET:g} times as large as "
            f"the sound in {where(offset)}. Subtract the mean of each recording."
        )


def warn_of_clipping(waveforms: Iterable[NDArray[Any]], name: str, where: Any) -> None:
    """Warn of recordings whose peaks are cut off."""
    clipped = np.flatnonzero([is_clipped(waveform) for waveform in waveforms])
    if len(clipped):
        warn(
            f"{name} should not be clipped, got peaks that are cut off in {where(clipped)}. Levels, decays and spectra "
            "are wrong there: record at a lower level, or leave them out."
        )


def _hash(value: Any) -> str:
    """Return a hash of arrays and numbers."""
    import joblib  # late: acoustics needs none of it

    return joblib.hash(value)


# --- Recordings ---------------------------------------------------------------------------------------------------


class Recordings(ABC):
    """Recordings of one length or of several, read a few segments at a time.

    They behave like an array, with `len`, `shape`, iteration and indexing. Indexing by an integer returns a recording
    as a 1-D float32 array; indexing by a slice, a mask or an array of integers returns a subset of the same type,
    without reading it. `numpy.asarray` reads all recordings if they have the same length.

    Parameters
    ----------
    lengths : ndarray of shape (n_recordings,)
        Number of samples in each recording.
    sample_rate : int
        Sampling rate, in Hz.
    n_times : int, optional
        Number of samples in every recording, if they are the rows of an array.

    Attributes
    ----------
    origin : ndarray of shape (n_recordings,) of int, or None
        The recording that each entry was cut from, if entries are segments of longer recordings.
    """

    dtype = np.dtype(np.float32)
    origin: NDArray[np.intp] | None = None
    varies = False  # whether training reads them in another variation in each epoch

    def __init__(self, lengths: NDArray[np.intp], sample_rate: int, n_times: int | None = None) -> None:
        self.lengths, self.sample_rate, self.n_times = lengths, sample_rate, n_times
        self._heard: dict[int, bool] = {}  # for recordings with a silent segment: whether any other is not silent

    @abstractmethod
    def _read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Return segments of `n_times` samples from `starts` on; short recordings are repeated to fill them."""

    @abstractmethod
    def take(self, indices: NDArray[np.intp]) -> Self:
        """Return some of the recordings, without reading them."""

    def drawn_anew(self, seed: int) -> Self:
        """Return the recordings in the variation of a seed; those that do not vary, as they are."""
        return self

    def for_training(self) -> Self:
        """Return the recordings for many readings; what that keeps in memory is freed with what is returned."""
        return self

    def read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int, *, allow_silent: bool = False
    ) -> NDArray[np.float32]:
        """Read and check segments of recordings, shape (n, n_times).

        Recordings shorter than `n_times` samples are repeated from their beginning. A segment of zeros, or of
        another constant, is refused only if its whole recording is: speech has pauses, and audio editors may fill them.
        """
        segments = np.asarray(self._read(indices, starts, n_times))
        lowest, highest = segments.min(axis=1).astype(np.float64), segments.max(axis=1).astype(np.float64)
        for i in np.flatnonzero(~has_sound(lowest, highest) & np.isfinite(lowest) & np.isfinite(highest)):
            if self.lengths[indices[i]] > n_times and self._is_heard(int(indices[i])):
                lowest[i], highest[i] = -1.0, 1.0  # a pause

        def where(wrong: NDArray[np.intp]) -> str:
            return self.where(indices[wrong], starts[wrong])

        _check_ranges(lowest, highest, "X", where, allow_silent)
        check_offsets(lowest, highest, "X", where, self.lengths[indices] > A_FEW)
        if not self.varies:  # a step may clip on purpose
            warn_of_clipping(segments, "X", where)
        return segments

    def _is_heard(self, index: int) -> bool:
        """Return whether any part of a recording is neither silent nor constant; it is read at most once for this."""
        if index not in self._heard:
            length, here = int(self.lengths[index]), np.array([index])
            starts = np.arange(0, length, BLOCK_SAMPLES)
            blocks = (
                np.asarray(self._read(here, starts[i : i + 1], min(BLOCK_SAMPLES, length - start)))
                for i, start in enumerate(starts.tolist())
            )
            self._heard[index] = any(has_sound(block.min(axis=1), block.max(axis=1)).all() for block in blocks)
        return self._heard[index]

    def where(self, indices: NDArray[np.intp], starts: NDArray[np.intp]) -> str:
        """Return where segments are, for an error message: 'row 3', or for files 'talk.wav at 2.5 s'."""
        return name_rows(np.unique(indices))

    def digest(self) -> str:
        """Return what tells these recordings from others: a hash of their lengths and of the beginnings of sixteen."""
        chosen = np.unique(np.linspace(0, len(self) - 1, 16).astype(np.intp))
        samples = [
            self._read(chosen[i : i + 1], np.zeros(1, dtype=np.intp), DIGEST_SAMPLES) for i in range(len(chosen))
        ]
        return _hash((self.lengths, self.sample_rate, [np.asarray(sample) for sample in samples]))

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of recordings and, if they are the rows of an array, of samples."""
        return (len(self),) if self.n_times is None else (len(self), self.n_times)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:  # used by scikit-learn's splitting
            key = key[0]
        try:
            indices = np.arange(len(self))[key]
        except (IndexError, TypeError) as error:
            fix = ". Take columns of numpy.asarray(...)." if isinstance(key, tuple) else "."
            raise IndexError(
                f"{type(self).__name__}: recordings must be indexed by integer, slice or mask, within the "
                f"{len(self)} available: {error}{fix}"
            ) from error
        if np.ndim(indices) > 1:
            raise IndexError(
                f"{type(self).__name__}: recordings must be indexed in one dimension, got "
                f"{np.ndim(indices)} dimensions."
            )
        return self._whole(np.array([indices]))[0] if np.ndim(indices) == 0 else self.take(indices)

    def _whole(self, indices: NDArray[np.intp]) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Return whole recordings, unchecked, each repeated to the length of the longest."""
        return self._read(indices, np.zeros(len(indices), dtype=np.intp), int(self.lengths[indices].max()))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for indices in self._blocks():
            yield from self._whole(indices)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(
                f"{type(self).__name__}: an array of these recordings cannot be made without a copy, got copy=False."
            )
        longest = int(self.lengths.max(initial=self.n_times or 0))
        if (self.lengths < longest).any():
            raise ValueError(
                f"{type(self).__name__}: recordings must have the same length to form an array, got "
                f"{self.lengths.min()} to {longest} samples. list(...) reads them one by one."
            )
        result = np.empty((len(self), longest), dtype=self.dtype if dtype is None else dtype)
        for indices in self._blocks():
            result[indices] = self._whole(indices)
        return result

    def _blocks(self) -> list[NDArray[np.intp]]:
        """Split the recordings into blocks of moderate size; recordings of different lengths come one by one."""
        n_at_once = 1 if self.n_times is None else max(BLOCK_SAMPLES // max(self.n_times, 1), 1)
        return [np.arange(first, min(first + n_at_once, len(self))) for first in range(0, len(self), n_at_once)]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of shape {self.shape}, read on demand>"


class RecordingsInMemory(Recordings):
    """A 2-D array or a list of 1-D arrays, whose samples were checked when it was passed in.

    Parameters
    ----------
    waveforms : ndarray of shape (n_recordings, n_times) or list of ndarray
        As `check_waveforms` returns them.
    sample_rate : int
        Sampling rate, in Hz.
    """

    def __init__(self, waveforms: NDArray[Any] | list[NDArray[Any]], sample_rate: int) -> None:
        self.waveforms = waveforms
        lengths = np.array([len(waveform) for waveform in waveforms])
        super().__init__(lengths, sample_rate, waveforms.shape[1] if isinstance(waveforms, np.ndarray) else None)

    def digest(self) -> str:
        """Return a hash of all samples."""
        return _hash((self.sample_rate, self.waveforms))

    def _read(self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int) -> list[NDArray[np.float32]]:
        return [cut_segment(self.waveforms[i], start, n_times) for i, start in zip(indices, starts, strict=True)]

    def read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int, *, allow_silent: bool = False
    ) -> NDArray[np.float32]:
        """Return segments of recordings, shape (n, n_times)."""
        return np.stack(self._read(indices, starts, n_times))

    def take(self, indices: NDArray[np.intp]) -> RecordingsInMemory:
        """Return some of the recordings."""
        if isinstance(self.waveforms, np.ndarray):
            return RecordingsInMemory(self.waveforms[indices], self.sample_rate)
        return RecordingsInMemory([self.waveforms[i] for i in indices], self.sample_rate)


class StoredRecordings(Recordings):
    """Rows of an array outside memory: Zarr, HDF5, Dask, a memory map, anything with `shape` and indexing.

    The array is never read whole. A read requests only samples that are in a segment, and adjacent samples together:
    stores decode whole chunks, and a chunk of many rows would otherwise be decoded again for each row.

    Parameters
    ----------
    array : array-like of shape (n_recordings, n_times)
        The store.
    sample_rate : int
        Sampling rate, in Hz.
    indices : ndarray of shape (n_recordings,), optional
        Rows of the store to use; all by default.
    """

    def __init__(self, array: Any, sample_rate: int, indices: NDArray[np.intp] | None = None) -> None:
        self.array = array
        self.indices = np.arange(array.shape[0]) if indices is None else indices
        super().__init__(np.full(len(self.indices), array.shape[1]), sample_rate, array.shape[1])
        self._takes_slices = self._check_slices()

    def _check_slices(self) -> bool:
        """Return whether parts of adjacent rows can be read together, found by reading one sample."""
        try:
            first = int(self.indices[0])
            return np.shape(self.array[first : first + 1, 0:1]) == (1, 1)
        except (TypeError, IndexError, ValueError):
            return False

    def _read(self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int) -> NDArray[np.float32]:
        segments = np.empty((len(indices), n_times), dtype=np.float32)
        rows = self.indices[indices]
        for block in _blocks_of(rows, starts, n_times):
            samples = self._read_block(block)
            for i in block.segments:
                row = _within_float32(samples[rows[i] - block.first])
                segments[i] = cut_segment(row, int(starts[i]) - block.start, n_times)
        return segments

    def _read_block(self, block: _Block) -> NDArray[Any] | list[NDArray[Any]]:
        """Read a block of some rows, in the store's own number format."""
        if self._takes_slices:
            return _unmasked(self.array[block.first : block.last, block.start : block.stop])
        return [_unmasked(self.array[row])[block.start : block.stop] for row in range(block.first, block.last)]

    def take(self, indices: NDArray[np.intp]) -> StoredRecordings:
        """Return some of the recordings, without reading them."""
        return StoredRecordings(self.array, self.sample_rate, self.indices[indices])


def _unmasked(samples: Any) -> NDArray[Any]:
    """Return what a store gives as an array; some, such as netCDF's, mask missing samples."""
    return np.asarray(check_unmasked(samples, name="X"))


def _within_float32(samples: NDArray[Any]) -> NDArray[Any]:
    """Keep finite samples finite in float32, so that those beyond its range are refused as too loud."""
    if samples.dtype != np.float64:
        return samples
    return np.where(np.isinf(samples), samples, np.clip(samples, -LARGEST, LARGEST))


class _Block(NamedTuple):
    """A block of adjacent rows and samples of a store, and the segments in it."""

    first: int
    last: int  # one past the last row
    start: int
    stop: int
    segments: list[int]


def _blocks_of(rows: NDArray[np.intp], starts: NDArray[np.intp], n_times: int) -> list[_Block]:
    """Return blocks that cover the segments and nothing else, joined along time, then along adjacent rows."""
    in_rows: list[_Block] = []
    for i in np.lexsort((starts, rows)).tolist():
        row, start = int(rows[i]), int(starts[i])
        last = in_rows[-1] if in_rows else None
        if last is not None and last.first == row and start <= last.stop:
            last.segments.append(i)
            in_rows[-1] = last._replace(stop=start + n_times)
        else:
            in_rows.append(_Block(row, row + 1, start, start + n_times, [i]))
    blocks = in_rows[:1]
    for block in in_rows[1:]:
        last = blocks[-1]
        if (last.last, last.start, last.stop) == (block.first, block.start, block.stop):
            last.segments.extend(block.segments)
            blocks[-1] = last._replace(last=block.last)
        else:
            blocks.append(block)
    return blocks


def as_recordings(X: Any, sample_rate: int, *, name: str = "X", allow_silent: bool = False) -> Recordings:
    """Convert any container of recordings to `Recordings`, checking all that can be checked without reading a store.

    Parameters
    ----------
    X : array-like of shape (n_recordings, n_times), sequence of 1-D arrays, store or Recordings
        Waveforms.
    sample_rate : int
        Expected sampling rate, in Hz.
    name : str
        The argument, for the error message.
    allow_silent : bool
        Whether to accept recordings of zeros.

    Raises
    ------
    TypeError, ValueError
        As `check_waveforms`, and if recordings that know their sampling rate are at another one.
    """
    if isinstance(X, Recordings):
        if len(X) == 0:
            raise ArgumentValueError(f"{name} must have at least one waveform, got none.")
        if X.sample_rate != sample_rate:
            raise ArgumentValueError(
                f"{name} must be at sample_rate={sample_rate} Hz, got recordings at {X.sample_rate} Hz. Load them with "
                f"sample_rate={sample_rate}, or fit an estimator for {X.sample_rate} Hz."
            )
        return X
    if _lies_elsewhere(X):
        check_shape(X.shape, f"a {type(X).__name__} of shape {tuple(X.shape)}", name)
        if X.shape[0] == 0:
            raise ArgumentValueError(f"{name} must have at least one waveform, got none.")
        check_dtype(np.dtype(X.dtype), name, allow_integers=True)
        return StoredRecordings(X, sample_rate)
    waveforms = check_waveforms(X, name=name, allow_silent=allow_silent, allow_integers=True, allow_constant=False)
    return RecordingsInMemory(waveforms, sample_rate)


def _lies_elsewhere(X: Any) -> bool:
    """Return whether `X` is a store, not in memory as arrays (which support DLPack), frames and sparse matrices are."""
    if isinstance(X, np.memmap):
        return X.ndim == 2
    in_memory = hasattr(X, "__dlpack__") or hasattr(X, "to_numpy") or issparse(X) or isinstance(X, Mapping)
    return not in_memory and hasattr(X, "shape") and hasattr(X, "dtype") and hasattr(X, "__getitem__")
