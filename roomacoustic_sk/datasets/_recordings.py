"""`load_recordings`: audio files on disk, read on demand."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from roomacoustic_sk._recordings import Recordings, cut_segment
from roomacoustic_sk._validation import (
    ArgumentValueError,
    as_list,
    as_path,
    check_flag,
    check_number,
    check_sample_rate,
    check_verbose,
    describe,
    door,
)
from roomacoustic_sk.datasets._audio import (
    LONGEST_SEGMENT,
    AudioInfo,
    audio_info,
    find_audio_files,
    read_audio,
    shown,
)


@door
def load_recordings(
    source: str | Path | Iterable[str | Path],
    *,
    duration: float | None = 4.0,
    hop_duration: float | None = None,
    sample_rate: int = 16000,
    lazy: bool = True,
    verbose: int = 0,
) -> Bunch:
    """Find recordings, whole or cut into segments of one length, and read them from disk on demand.

    For recordings that are already reverberant: to estimate room parameters, or to train an encoder on them. Segments
    of one file count as recordings of the same transmission path, unless `rir_groups` is passed to the encoder.

    Parameters
    ----------
    source : str, Path or iterable of them
        Folder with audio files (WAV, FLAC, Ogg, MP3 and whatever else the installed libsndfile reads) in it or below
        it, where links to folders are followed, or the files themselves.
    duration : float or None, default=4.0
        Length of a segment in seconds. Shorter files are skipped. None loads whole recordings, of any length.
    hop_duration : float, default=None
        Seconds from one segment of a file to the next; None uses `duration`. The remainder at a file's end is skipped.
        Not used if `duration` is None.
    sample_rate : int, default=16000
        Sampling rate of the segments in Hz; files at other rates are resampled, channels averaged.
    lazy : bool, default=True
        Whether `data` reads segments on demand. If False, it is an array in memory (a list with ``duration=None``).
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        - data : array-like of shape (n_segments, n_times), float32; with ``duration=None`` of shape (n_files,), where
          each entry is a recording
        - file : ndarray of str, shape (n_segments,), path of the segment's file, below `source` if that is a folder
        - start : ndarray of shape (n_segments,), start of the segment in its file in seconds
        - sample_rate : int, in Hz
        - DESCR : str, with the number of files skipped

    Raises
    ------
    FileNotFoundError
        If the folder or a file does not exist.
    ValueError
        If there are no audio files, if one is empty, truncated or not audio, or if none is long enough. Reading `data`
        raises it for samples that are not finite, and names the file.

    Notes
    -----
    A file whose end is missing is refused when it is listed, with two exceptions: IRCAM, PAF and PVF files, and VOC
    files above 16 MB, do not state their length; and an Ogg file that was cut exactly between two pages looks like one
    whose recorder wrote no end-of-stream mark. Both are read as far as they go.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, soundfile
    >>> from roomacoustic_sk.datasets import load_recordings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("office", "hall"):
    ...         noise = 0.1 * np.random.default_rng(0).standard_normal(40_000)
    ...         soundfile.write(pathlib.Path(folder) / f"{name}.wav", noise, 16_000)
    ...     recordings = load_recordings(folder, duration=1.0)
    ...     recordings.data.shape, recordings.data[3].shape, recordings.file.tolist()
    ((4, 16000), (16000,), ['hall.wav', 'hall.wav', 'office.wav', 'office.wav'])
    """
    sample_rate = check_sample_rate(sample_rate)
    check_flag(lazy, name="lazy")
    check_verbose(verbose)
    if duration is not None:
        check_number(duration, name="duration", unit="s", low=0, low_open=True, limit=LONGEST_SEGMENT)
        if round(duration * sample_rate) < 1:
            raise ArgumentValueError(
                f"duration (in s) must be at least one sample, {1 / sample_rate:g} s, got {duration:g}."
            )
    if hop_duration is not None:
        check_number(hop_duration, name="hop_duration", unit="s", low=0, low_open=True, limit=LONGEST_SEGMENT)
    paths, names, others = _find(source)
    infos = [audio_info(path) for path in tqdm(paths, desc="headers", disable=not verbose)]
    lengths = np.array([info.n_times_at(sample_rate) for info in infos])
    if duration is None:
        n_times, file, start = None, np.arange(len(paths)), np.zeros(len(paths), dtype=np.intp)
        description = f"{len(paths)} whole recordings at {sample_rate} Hz."
    else:
        n_times, hop = round(duration * sample_rate), duration if hop_duration is None else hop_duration
        file, start = _grid(lengths, n_times, max(round(hop * sample_rate), 1))
        n_short = int(np.sum(lengths < n_times))
        description = (
            f"{len(file)} segments of {duration:g} s at {sample_rate} Hz, {hop:g} s apart, from "
            f"{len(paths) - n_short} files.\nLeft out: {n_short} files shorter than {duration:g} s."
        )
        lengths = np.full(len(file), n_times)
    if not len(file):
        longest = max(info.n_times_at(sample_rate) for info in infos) / sample_rate
        raise ArgumentValueError(
            f"source must contain files of at least {duration:g} s, got at most {longest:.3g} s. "
            "Use a shorter duration."
        )
    data: Any = AudioRecordings(AudioFiles(paths, infos), file, start, lengths, sample_rate, n_times)
    if not lazy:
        data = list(data) if n_times is None else np.asarray(data)
    return Bunch(
        data=data,
        file=np.array(names)[file],
        start=start / sample_rate,
        sample_rate=sample_rate,
        DESCR=f"Recordings: {description}\nOther files: {others}.",
    )


def _find(source: str | Path | Iterable[str | Path]) -> tuple[list[Path], list[str], str]:
    """Return the absolute paths of the files, their names, and what was found beside them."""
    others = "none"
    if isinstance(source, (str, os.PathLike)):
        root = as_path(source, name="source")
        paths, others = find_audio_files(root, name="source")
        names = [path.relative_to(root).as_posix() for path in paths]
    else:
        listed = as_list(source, name="source", expected="a folder or a sequence of paths")
        paths = [as_path(path, name="source") for path in listed]
        names = [path.as_posix() for path in paths]
    if not paths:
        raise ArgumentValueError(f"source must be a folder or a list of files, got {describe(source)}.")
    return [path.absolute() for path in paths], names, others


def _grid(lengths: NDArray[np.intp], n_times: int, hop: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the file and the first sample of every segment."""
    starts = [np.arange(0, length - n_times + 1, hop) for length in lengths]
    return np.repeat(np.arange(len(lengths)), [len(these) for these in starts]), np.concatenate(starts)


class AudioFiles(NamedTuple):
    """Files and their headers."""

    paths: list[Path]
    infos: list[AudioInfo]


class AudioRecordings(Recordings):
    """Segments of audio files, or whole files, read on demand.

    Parameters
    ----------
    files : AudioFiles
        Files and their headers.
    origin, start, lengths : ndarray of shape (n_recordings,)
        Index of each segment's file, its first sample and its number of samples, counted at `sample_rate`.
    sample_rate : int
        Sampling rate, in Hz; files at other rates are resampled.
    n_times : int, optional
        Number of samples in every segment, if all have the same length.
    """

    def __init__(
        self,
        files: AudioFiles,
        origin: NDArray[np.intp],
        start: NDArray[np.intp],
        lengths: NDArray[np.intp],
        sample_rate: int,
        n_times: int | None,
    ) -> None:
        super().__init__(lengths, sample_rate, n_times)
        self.files, self.start = files, start
        self.origin: NDArray[np.intp] = origin

    def _read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        return [self._read_one(int(i), int(start), n_times) for i, start in zip(indices, starts, strict=True)]

    def _read_one(self, index: int, start: int, n_times: int) -> NDArray[np.float32]:
        file, there = self.origin[index], min(n_times, int(self.lengths[index]) - start)
        samples = read_audio(
            self.files.paths[file],
            self.sample_rate,
            start=int(self.start[index]) + start,
            n_times=there,
            info=self.files.infos[file],
        )
        return cut_segment(samples, 0, n_times)

    def where(self, indices: NDArray[np.intp], starts: NDArray[np.intp]) -> str:
        """Return the files and the times in them, for an error message."""
        named = [
            f"{shown(self.files.paths[self.origin[i]])} at {(self.start[i] + start) / self.sample_rate:.2f} s"
            for i, start in zip(indices[:3], starts, strict=False)
        ]
        return ", ".join(named) + (f", ... ({len(indices)} in all)" if len(indices) > 3 else "")

    def take(self, indices: NDArray[np.intp]) -> AudioRecordings:
        """Return some of the recordings, without reading them."""
        parts = self.origin[indices], self.start[indices], self.lengths[indices]
        return AudioRecordings(self.files, *parts, self.sample_rate, self.n_times)
