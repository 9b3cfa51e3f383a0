"""Recordings: one type behind every kind of `X`, what a waveform is, and what is checked when.

One policy for all kinds. When recordings are passed in, all that needs no samples is checked: kind, shape, type of the
samples, sampling rate. Samples are checked when they are first read, and before anything is computed from them: they
are finite, not silent, and of a level that float32 can square. Arrays and lists in memory are read as soon as they are
passed in; files, stores on disk and clips that are convolved on demand are read a few segments at a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse

from roomacoustic_sk._validation import ArgumentTypeError, ArgumentValueError, describe, name_rows, warn

BLOCK_SAMPLES = 1 << 22
"""Samples read at once where recordings are read one after another: 16 MB."""

SILENCE, LOUDEST = 1e-15, 1e15
"""Peak up to which a recording counts as silent, and above which sums of squares may leave the range of float32."""


LARGEST = float(np.finfo(np.float32).max)

DIGEST_SAMPLES = 1 << 16
"""Samples that are read of a recording to recognise it."""


# --- What a waveform is -------------------------------------------------------------------------------------------


def zero_of(dtype: np.dtype[Any]) -> int:
    """Return the sample that stands for silence: the middle of the range in unsigned PCM."""
    return (np.iinfo(dtype).max + 1) // 2 if np.issubdtype(dtype, np.unsignedinteger) else 0


def cut_segment(waveform: NDArray[Any], start: int, n_times: int) -> NDArray[np.float32]:
    """Return samples of a waveform as float32; one that is too short is repeated from its beginning.

    Integer samples are taken as PCM: unsigned ones have their zero in the middle, all are divided by their full scale.
    A part that needs no change is a view of the waveform, not a copy.
    """
    segment = waveform[start : start + n_times]
    if np.issubdtype(segment.dtype, np.integer):
        zero = zero_of(segment.dtype)
        segment = (segment.astype(np.float64) - zero) / (np.iinfo(segment.dtype).max + 1.0 - zero)
    segment = segment.astype(np.float32, copy=False)
    return segment if len(segment) == n_times else np.resize(segment, n_times)


def _peak(waveform: NDArray[Any]) -> float:
    """Return the largest distance from zero, as float: the lowest integer has no positive counterpart."""
    return max(float(waveform.max()) - zero_of(waveform.dtype), zero_of(waveform.dtype) - float(waveform.min()))


def check_waveforms(
    X: Any, *, name: str = "X", allow_silent: bool = False, allow_integers: bool = False
) -> NDArray[Any] | list[NDArray[Any]]:
    """Return waveforms in memory as a 2-D array or a list of 1-D arrays, in the precision they came in, checked.

    Parameters
    ----------
    X : array-like of shape (n_recordings, n_times), or sequence of 1-D arrays
        Waveforms.
    name : str
        The argument, for the error message.
    allow_silent : bool
        Whether recordings of zeros may pass.
    allow_integers : bool
        Whether integers may pass, for callers to whom the level does not matter.

    Returns
    -------
    ndarray of shape (n_recordings, n_times) or list of ndarray of shape (n_times_of_the_recording,)

    Raises
    ------
    TypeError
        If it is no array or sequence, or the samples are no real floating-point numbers.
    ValueError
        If the shape is wrong, there is no recording, or one is empty, silent, not finite or beyond all levels.
    """
    waveforms = _arrays_of(X, name)
    if len(waveforms) == 0:
        raise ArgumentValueError(f"{name} must have at least one row, got none.")
    for dtype in {waveform.dtype for waveform in waveforms}:
        check_dtype(dtype, name, allow_integers)
    empty = np.flatnonzero([waveform.size == 0 for waveform in waveforms])
    if len(empty):
        raise ArgumentValueError(f"{name} must have samples in every row, got {name_rows(empty)} without any.")
    _check_peaks(np.array([_peak(waveform) for waveform in waveforms]), name, name_rows, allow_silent)
    return waveforms


def _arrays_of(X: Any, name: str) -> NDArray[Any] | list[NDArray[Any]]:
    """Return anything that holds waveforms as a 2-D array or a list of 1-D arrays."""
    expected = f"{name} must be a 2-D array (n_rows, n_times) or a list of 1-D arrays"
    if isinstance(X, Mapping):  # a Bunch, or an HDF5 file
        fields = ", ".join(map(str, list(X)[:8]))
        raise ArgumentTypeError(f"{expected}, got a {type(X).__name__} with {fields}. Pass one of its fields.")
    if issparse(X):
        raise ArgumentTypeError(f"{expected}, got a sparse one. Waveforms are dense: pass {name}.toarray().")
    if hasattr(X, "to_numpy"):  # pandas and its like
        X = X.to_numpy()
    elif hasattr(X, "__array__"):
        X = np.asarray(X)
    if not isinstance(X, Iterable) or isinstance(X, str):
        raise ArgumentTypeError(f"{expected}, got {describe(X)}.")
    if isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 2:
        # A frame of numbers of mixed kinds, or one column of arrays.
        X = X[:, 0] if X.shape[1] == 1 and X.size and np.ndim(X[0, 0]) == 1 else X.astype(np.float64)
    if isinstance(X, np.ndarray) and X.dtype != object:
        check_shape(X.shape, describe(X), name)
        return X
    waveforms = [np.asarray(waveform) for waveform in X]
    for i, waveform in enumerate(waveforms):
        if waveform.ndim != 1:
            raise ArgumentValueError(f"{name} must hold 1-D arrays, got {describe(waveform)} in row {i}.")
    return waveforms


def check_shape(shape: tuple[int, ...], described: str, name: str) -> None:
    """Refuse arrays that are not 2-D, or have recordings without samples."""
    if len(shape) != 2:
        fix = f" Reshape your data with {name}.reshape(1, -1) if it is one recording." if len(shape) == 1 else ""
        raise ArgumentValueError(
            f"{name} must be a 2-D array (n_rows, n_times) or a list of 1-D arrays, got {described}.{fix}"
        )
    if shape[1] == 0:
        raise ArgumentValueError(
            f"{name} must have samples in every row, got 0 feature(s) (shape={tuple(shape)}) while a minimum of 1 is "
            "required."
        )


def check_dtype(dtype: np.dtype[Any], name: str, allow_integers: bool) -> None:
    """Refuse samples that are no real numbers, and integers whose full scale matters and is not known."""
    if issubclass(dtype.type, (np.floating, np.integer) if allow_integers else (np.floating,)):
        return
    if np.issubdtype(dtype, np.complexfloating):
        raise ArgumentValueError(f"{name} must hold real samples, got dtype {dtype}. Complex data not supported.")
    fix = (
        f" Divide integer PCM by its full scale first, e.g. {name} / 32768.0 for int16."
        if np.issubdtype(dtype, np.signedinteger)
        else ""
    )
    kinds = "floating-point or integer" if allow_integers else "floating-point"
    raise ArgumentTypeError(f"{name} must hold {kinds} samples, got dtype {dtype}.{fix}")


def _check_peaks(peaks: NDArray[np.float64], name: str, where: Any, allow_silent: bool) -> None:
    """Refuse recordings that are not finite, silent, or so loud that float32 cannot hold their power."""
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


def _hash(value: Any) -> str:
    """Return a hash of arrays and numbers."""
    import joblib  # late: acoustics needs none of it

    return joblib.hash(value)


# --- Recordings ---------------------------------------------------------------------------------------------------


class Recordings(ABC):
    """Recordings of one length or of several, read a few segments at a time.

    They look like an array: `len`, `shape`, iteration, and indexing, by which an integer gives the recording as a 1-D
    float32 array, and a slice, a mask or an array of integers gives fewer recordings of the same kind, still not read.
    `numpy.asarray` reads them all where they are of one length.

    Parameters
    ----------
    lengths : ndarray of shape (n_recordings,)
        Samples in each recording.
    sample_rate : int
        Sampling rate, in Hz.
    n_times : int, optional
        Samples in every recording, where they are the rows of an array.

    Attributes
    ----------
    origin : ndarray of shape (n_recordings,) of int, or None
        The recording that each entry was cut from, where entries are segments of longer recordings.
    """

    dtype = np.dtype(np.float32)
    origin: NDArray[np.intp] | None = None

    def __init__(self, lengths: NDArray[np.intp], sample_rate: int, n_times: int | None = None) -> None:
        self.lengths, self.sample_rate, self.n_times = lengths, sample_rate, n_times
        self._heard: dict[int, bool] = {}  # of recordings that had a silent segment: whether another is not

    @abstractmethod
    def _read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Return `n_times` samples of recordings from given samples on; short recordings are repeated to fill them."""

    @abstractmethod
    def take(self, indices: NDArray[np.intp]) -> Self:
        """Return some of the recordings, not read."""

    def read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int, *, allow_silent: bool = False
    ) -> NDArray[np.float32]:
        """Return segments of recordings, shape (n, n_times), checked.

        Recordings shorter than `n_times` samples are repeated from their beginning. A segment of zeros is refused only
        if it is all of its recording: speech pauses, and editors fill pauses with zeros.
        """
        segments = np.asarray(self._read(indices, starts, n_times))
        peaks = np.maximum(segments.max(axis=1), -segments.min(axis=1)).astype(np.float64)
        for i in np.flatnonzero(peaks <= SILENCE):
            if self.lengths[indices[i]] > n_times and self._is_heard(int(indices[i])):
                peaks[i] = 1.0  # a pause

        def where(wrong: NDArray[np.intp]) -> str:
            return self.where(indices[wrong], starts[wrong])

        _check_peaks(peaks, "X", where, allow_silent)
        return segments

    def _is_heard(self, index: int) -> bool:
        """Tell whether a recording is not silent as a whole; it is read for that once at most."""
        if index not in self._heard:
            length, here = int(self.lengths[index]), np.array([index])
            starts = np.arange(0, length, BLOCK_SAMPLES)
            self._heard[index] = any(
                np.abs(self._read(here, starts[i : i + 1], min(BLOCK_SAMPLES, length - start))[0]).max() > SILENCE
                for i, start in enumerate(starts.tolist())
            )
        return self._heard[index]

    def where(self, indices: NDArray[np.intp], starts: NDArray[np.intp]) -> str:
        """Say for an error where segments are: 'row 3', or for files 'talk.wav at 2.5 s'."""
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
        """Number of recordings and, for the rows of an array, of samples."""
        return (len(self),) if self.n_times is None else (len(self), self.n_times)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple) and len(key) == 2 and key[1] is Ellipsis:  # what scikit-learn's splits ask for
            key = key[0]
        try:
            indices = np.arange(len(self))[key]
        except (IndexError, TypeError) as error:
            fix = ". Take columns of numpy.asarray(...)." if isinstance(key, tuple) else "."
            raise IndexError(
                f"{type(self).__name__}: rows must be asked for by number, slice or mask, within the {len(self)} that "
                f"there are: {error}{fix}"
            ) from error
        if np.ndim(indices) > 1:
            raise IndexError(f"{type(self).__name__}: rows must be asked for in one dimension, got {np.ndim(indices)}.")
        return self._whole(np.array([indices]))[0] if np.ndim(indices) == 0 else self.take(indices)

    def _whole(self, indices: NDArray[np.intp]) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        """Return whole recordings, unchecked, as many samples of each as the longest of them has."""
        return self._read(indices, np.zeros(len(indices), dtype=np.intp), int(self.lengths[indices].max()))

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        for indices in self._blocks():
            yield from self._whole(indices)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(f"{type(self).__name__}: an array of these rows must be computed, got copy=False.")
        longest = int(self.lengths.max(initial=self.n_times or 0))
        if (self.lengths < longest).any():
            raise ValueError(
                f"{type(self).__name__}: recordings must be of one length to become an array, got {self.lengths.min()} "
                f"to {longest} samples. list(...) reads them one by one."
            )
        result = np.empty((len(self), longest), dtype=self.dtype if dtype is None else dtype)
        for indices in self._blocks():
            result[indices] = self._whole(indices)
        return result

    def _blocks(self) -> list[NDArray[np.intp]]:
        """Split the recordings into runs of moderate size; those of different lengths come one by one."""
        n_at_once = 1 if self.n_times is None else max(BLOCK_SAMPLES // max(self.n_times, 1), 1)
        return [np.arange(first, min(first + n_at_once, len(self))) for first in range(0, len(self), n_at_once)]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of shape {self.shape}, read when asked for>"


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
    """Rows of an array that lies elsewhere: Zarr, HDF5, Dask, a memory map, anything with `shape` and indexing.

    It is never read whole. A read asks the store for no sample that is in no segment, and for what lies side by side at
    once: stores decode whole chunks, and a chunk of many rows would be decoded again for each of them.

    Parameters
    ----------
    array : array-like of shape (n_recordings, n_times)
        The store.
    sample_rate : int
        Sampling rate, in Hz.
    indices : ndarray of shape (n_recordings,), optional
        Rows of the store, for some of them.
    """

    def __init__(self, array: Any, sample_rate: int, indices: NDArray[np.intp] | None = None) -> None:
        self.array = array
        self.indices = np.arange(array.shape[0]) if indices is None else indices
        super().__init__(np.full(len(self.indices), array.shape[1]), sample_rate, array.shape[1])
        self._takes_slices = self._check_slices()

    def _check_slices(self) -> bool:
        """Find out whether parts of neighbouring rows can be read together, by reading one sample."""
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
        """Return part of some rows, in the store's own number format."""
        if self._takes_slices:
            return np.asarray(self.array[block.first : block.last, block.start : block.stop])
        return [np.asarray(self.array[row])[block.start : block.stop] for row in range(block.first, block.last)]

    def take(self, indices: NDArray[np.intp]) -> StoredRecordings:
        """Return some of the recordings, not read."""
        return StoredRecordings(self.array, self.sample_rate, self.indices[indices])


def _within_float32(samples: NDArray[Any]) -> NDArray[Any]:
    """Keep finite samples finite in float32, so that those beyond it are refused as too loud."""
    if samples.dtype != np.float64:
        return samples
    return np.where(np.isinf(samples), samples, np.clip(samples, -LARGEST, LARGEST))


class _Block(NamedTuple):
    """Neighbouring rows of a store, from one sample to another, and the segments that lie in them."""

    first: int
    last: int  # one after the last row
    start: int
    stop: int
    segments: list[int]


def _blocks_of(rows: NDArray[np.intp], starts: NDArray[np.intp], n_times: int) -> list[_Block]:
    """Return the fewest blocks that hold segments and nothing else: joined along time, then along neighbouring rows."""
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
    """Return anything that holds recordings as `Recordings`, checked as far as that needs no reading from elsewhere.

    Parameters
    ----------
    X : array-like of shape (n_recordings, n_times), sequence of 1-D arrays, store or Recordings
        Waveforms.
    sample_rate : int
        Sampling rate that they are expected at, in Hz.
    name : str
        The argument, for the error message.
    allow_silent : bool
        Whether recordings of zeros may pass.

    Raises
    ------
    TypeError, ValueError
        As `check_waveforms`, and if recordings that know their sampling rate are at another one.
    """
    if isinstance(X, Recordings):
        if len(X) == 0:
            raise ArgumentValueError(f"{name} must have at least one row, got none.")
        if X.sample_rate != sample_rate:
            raise ArgumentValueError(
                f"{name} must be at sample_rate={sample_rate} Hz, got recordings at {X.sample_rate} Hz. Load them with "
                f"sample_rate={sample_rate}, or fit an estimator for {X.sample_rate} Hz."
            )
        return X
    if _lies_elsewhere(X):
        check_shape(X.shape, f"a {type(X).__name__} of shape {tuple(X.shape)}", name)
        if X.shape[0] == 0:
            raise ArgumentValueError(f"{name} must have at least one row, got none.")
        check_dtype(np.dtype(X.dtype), name, allow_integers=True)
        return StoredRecordings(X, sample_rate)
    waveforms = check_waveforms(X, name=name, allow_silent=allow_silent, allow_integers=True)
    return RecordingsInMemory(waveforms, sample_rate)


def _lies_elsewhere(X: Any) -> bool:
    """Tell stores from what is in memory: arrays that offer their memory (DLPack), frames, sparse matrices."""
    if isinstance(X, np.memmap):
        return X.ndim == 2
    in_memory = hasattr(X, "__dlpack__") or hasattr(X, "to_numpy") or issparse(X) or isinstance(X, Mapping)
    return not in_memory and hasattr(X, "shape") and hasattr(X, "dtype") and hasattr(X, "__getitem__")


# --- Segments -----------------------------------------------------------------------------------------------------


class Segmentation(NamedTuple):
    """How recordings are cut into segments, in samples."""

    length: int  # of a segment
    shortest: int  # recordings shorter than that are repeated from their beginning
    hop: int  # from one segment of a long recording to the next

    def segments(self, lengths: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Yield the lengths of segments, and the recordings and starts of all segments of that length.

        Long recordings are cut into segments `hop` apart, the last one flush with the end; shorter ones are whole.
        """
        taken = np.clip(lengths, self.shortest, self.length)
        for size in np.unique(taken):
            pieces = [
                (i, start) for i in np.flatnonzero(taken == size) for start in self._starts(int(lengths[i]), int(size))
            ]
            indices, starts = np.array(pieces, dtype=np.intp).T
            yield int(size), indices, starts

    def _starts(self, n_times: int, size: int) -> NDArray[np.intp]:
        last = max(n_times - size, 0)
        return np.unique(np.append(np.arange(0, last, self.hop), last))


def choose_segment_length(recordings: Recordings, wanted: int, shortest: int, *, share: int = 1) -> int:
    """Return the samples in a training segment: `wanted`, or fewer, with a warning, where recordings are too short.

    Parameters
    ----------
    recordings : Recordings
        What is trained on.
    wanted, shortest : int
        What was asked for, and the least that the network takes, in samples.
    share : int
        A segment is at most this part of the longest recording: 1 for all of it, 2 for half of it.

    Raises
    ------
    ValueError
        If the network does not take segments as short as wanted.
    """
    rate, longest = recordings.sample_rate, int(recordings.lengths.max())
    if wanted < shortest:
        raise ArgumentValueError(
            f"segment_duration must be at least {shortest / rate:g} s for this network, got {wanted / rate:g} s."
        )
    length = max(min(wanted, longest // share), shortest)
    if length < wanted:
        reason = f"the longest recording has {longest / rate:g} s"
        if share > 1:
            reason = f"segments of unlabelled recordings differ by their place, and {reason}"
        warn(f"segment_duration reduced from {wanted / rate:g} s to {length / rate:g} s: {reason}.")
    return length


def warn_of_repeats(recordings: Recordings, needed: int) -> None:
    """Warn that recordings shorter than what the network needs are repeated from their beginning."""
    lengths = recordings.lengths
    n_short = int(np.sum(lengths < needed))
    if n_short:
        warn(
            f"{n_short} of {len(lengths)} rows of X are shorter than the {needed / recordings.sample_rate:g} s needed "
            f"({lengths.min()} to {needed} samples): they were repeated from their beginning to fill it."
        )
