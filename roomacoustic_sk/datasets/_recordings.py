"""Recordings on disk, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from roomacoustic_sk._lazy import LazyRows
from roomacoustic_sk._validation import check_number, check_sample_rate, describe
from roomacoustic_sk.datasets._audio import AudioInfo, audio_info, list_audio_files, read_audio

CALLER = "load_recordings"


def load_recordings(
    source: str | Path | Iterable[str | Path],
    *,
    duration: float = 4.0,
    hop_duration: float | None = None,
    sample_rate: int = 16000,
    lazy: bool = True,
    verbose: int = 0,
) -> Bunch:
    """Cut recordings into segments of one length, which are read from disk when they are asked for.

    For recordings that are reverberant already: to describe their rooms, or to train an encoder on them with each file,
    or what is known of it, as a transmission path of its own (``rir_groups``).

    Parameters
    ----------
    source : str, Path or iterable of them
        Folder with WAV, FLAC, OGG and MP3 files in it or below it, or the files themselves.
    duration : float, default=4.0
        Length of a segment in seconds. Shorter files are passed over.
    hop_duration : float, default=None
        Seconds from one segment of a file to the next; None takes `duration`. What is left at a file's end is passed
        over.
    sample_rate : int, default=16000
        Sampling rate of the segments in Hz; files at other rates are resampled, channels averaged.
    lazy : bool, default=True
        Whether `data` reads segments when they are asked for, or is an array in memory.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        - data : array-like of shape (n_segments, n_times), float32
        - file : ndarray of str, shape (n_segments,), path of the segment's file, below `source` if that is a folder
        - start : ndarray of shape (n_segments,), begin of the segment in its file in seconds
        - sample_rate : int, in Hz
        - DESCR : str, with the number of files passed over

    Raises
    ------
    FileNotFoundError
        If the folder or a file does not exist.
    ValueError
        If there are no audio files, one is empty, truncated or no audio, or none is long enough.

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
    sample_rate = check_sample_rate(sample_rate, caller=CALLER)
    check_number(duration, caller=CALLER, name="duration (in s)", low=0, low_open=True)
    hop_duration = duration if hop_duration is None else hop_duration
    check_number(hop_duration, caller=CALLER, name="hop_duration (in s)", low=0, low_open=True)
    if isinstance(source, (str, Path)):
        root = Path(source).expanduser()
        paths = list_audio_files(root, caller=CALLER)
        names = [path.relative_to(root).as_posix() for path in paths]
    else:
        paths = [Path(path).expanduser() for path in source]
        names = [path.as_posix() for path in paths]
    if not paths:
        raise ValueError(f"{CALLER}: source must be a folder or name files, got {describe(source)}.")
    infos = [audio_info(path, caller=CALLER) for path in tqdm(paths, desc="headers", disable=not verbose)]
    n_times, hop = round(duration * sample_rate), max(round(hop_duration * sample_rate), 1)
    starts = [np.arange(0, info.n_times_at(sample_rate) - n_times + 1, hop) for info in infos]
    file = np.repeat(np.arange(len(paths)), [len(these) for these in starts])
    if not len(file):
        longest = max(info.n_times_at(sample_rate) for info in infos) / sample_rate
        raise ValueError(
            f"{CALLER}: source must have files of {duration:g} s at least, got {longest:.3g} s at most. Use a shorter "
            "duration."
        )
    start = np.concatenate(starts)
    data: Any = AudioRows(paths, infos, file, start, n_times, sample_rate)
    n_short = sum(len(these) == 0 for these in starts)
    return Bunch(
        data=data if lazy else np.asarray(data),
        file=np.array(names)[file],
        start=start / sample_rate,
        sample_rate=sample_rate,
        DESCR=(
            f"Recordings: {len(file)} segments of {duration:g} s at {sample_rate} Hz, {hop_duration:g} s apart, from "
            f"{len(paths) - n_short} files.\nLeft out: {n_short} files shorter than {duration:g} s."
        ),
    )


class AudioRows(LazyRows):
    """Segments of audio files that are read when they are asked for.

    Parameters
    ----------
    paths : list of Path
        Files.
    infos : list of AudioInfo
        Their headers.
    file, start : ndarray of shape (n_rows,)
        Which file each segment is from, and its first sample at `sample_rate`.
    n_times, sample_rate : int
        Samples in a segment, and their rate in Hz.
    """

    def __init__(
        self,
        paths: list[Path],
        infos: list[AudioInfo],
        file: NDArray[np.intp],
        start: NDArray[np.intp],
        n_times: int,
        sample_rate: int,
    ) -> None:
        self.paths, self.infos, self.file, self.start = paths, infos, file, start
        self.n_times, self.sample_rate = n_times, sample_rate

    @property
    def shape(self) -> tuple[int, int]:
        """Number of segments, samples in a segment."""
        return len(self.file), self.n_times

    def gather(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return these segments as an array of shape (n_rows, n_times)."""
        result = np.empty((len(rows), self.n_times), dtype=np.float32)
        for segment, file, start in zip(result, self.file[rows], self.start[rows], strict=True):
            segment[:] = read_audio(
                self.paths[file],
                self.sample_rate,
                start=int(start),
                n_times=self.n_times,
                info=self.infos[file],
                caller=CALLER,
            )
        return result

    def _take(self, rows: NDArray[np.intp]) -> AudioRows:
        return AudioRows(self.paths, self.infos, self.file[rows], self.start[rows], self.n_times, self.sample_rate)
