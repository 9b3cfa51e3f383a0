"""`load_recordings`: audio files on disk, read on demand."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from roomacoustic_sk._recordings import BLOCK_SAMPLES, Recordings, RecordingsInMemory, cut_segment
from roomacoustic_sk._validation import (
    ArgumentValueError,
    MissingFileError,
    as_list,
    as_path,
    check_choice,
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
    shown,
)
from roomacoustic_sk.datasets._reading import read_segment

MEAN = -1  # in place of a channel's number: the mean of all


@door
def load_recordings(
    source: str | Path | Iterable[str | Path],
    *,
    duration: float | None = 4.0,
    hop_duration: float | None = None,
    channel: int | Literal["mix", "each"] = "mix",
    sample_rate: int = 16000,
    lazy: bool = True,
    verbose: int = 0,
) -> Bunch:
    """Find recordings, whole or cut into segments of one length, and read them from disk on demand.

    For recordings that are already reverberant: to estimate room parameters, or to train an encoder on them. All
    entries from one file count as recordings of the same transmission path, unless `rir_groups` is passed to the
    encoder. Every estimator takes `data`, whatever the lengths, and refuses it at a sampling rate other than its own
    (but for an array in memory, which has none).

    Parameters
    ----------
    source : str, Path or iterable of them
        An audio file (WAV, FLAC, Ogg, MP3 and whatever else the installed libsndfile reads), a folder with such files
        in it or below it, where links to folders are followed, or a sequence of files.
    duration : float or None, default=4.0
        Length of a segment in seconds. Shorter files are skipped. None keeps recordings whole, of any length; the
        estimators read a long one in segments.
    hop_duration : float, default=None
        Seconds from one segment of a file to the next; None uses `duration`. The remainder at a file's end is skipped.
        Not used if `duration` is None.
    channel : {"mix", "each"} or int, default="mix"
        "mix" averages the channels of a file, and is refused when a recording is read whose channels cancel each
        other; "each" makes a recording of each channel, one channel of a file after the other; an integer takes that
        channel, counted from 0.
    sample_rate : int, default=16000
        Sampling rate of the recordings in Hz; files at other rates are resampled.
    lazy : bool, default=True
        Whether `data` is read on demand. If False, it is in memory: with ``duration=None`` recordings that know their
        rate, otherwise an array, which does not.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        - data : array-like of shape (n_recordings, n_times), float32; with ``duration=None`` of shape (n_recordings,),
          where each entry is a recording
        - file : ndarray of str, shape (n_recordings,), path of the recording's file, below `source` if that is a folder
        - channel : ndarray of int, shape (n_recordings,), the channel, from 0; -1 for the mean of several
        - start : ndarray of shape (n_recordings,), start of the recording in its file in seconds
        - duration : ndarray of shape (n_recordings,), length of the recording in seconds
        - sample_rate : int, in Hz
        - DESCR : str, with the number of files skipped

    Raises
    ------
    FileNotFoundError
        If the folder or a file does not exist.
    ValueError
        If there are no audio files, if one is empty, truncated or not audio or lacks the channel, or if none is long
        enough. Reading `data` raises it for samples that are not finite and channels that cancel, and names the file.

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

    Two microphones, each a recording of its own, whole:

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pair = 0.1 * np.random.default_rng(0).standard_normal((120_000, 2))
    ...     soundfile.write(pathlib.Path(folder) / "pair.flac", pair, 48_000)
    ...     recordings = load_recordings(folder, duration=None, channel="each")
    ...     recordings.data[1].shape, recordings.channel.tolist(), recordings.duration.tolist()
    ((40000,), [0, 1], [2.5, 2.5])
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
    whole = _whole_recordings(infos, _channels(channel, infos, names), sample_rate)
    if duration is None:
        n_times, cuts = None, whole
        description = f"{len(cuts.file)} whole recordings at {sample_rate} Hz from {len(paths)} files."
    else:
        n_times, hop = round(duration * sample_rate), duration if hop_duration is None else hop_duration
        cuts = _segments(whole, n_times, max(round(hop * sample_rate), 1))
        n_short = len(paths) - len(np.unique(cuts.file))
        description = (
            f"{len(cuts.file)} segments of {duration:g} s at {sample_rate} Hz, {hop:g} s apart, from "
            f"{len(paths) - n_short} files.\nLeft out: {n_short} files shorter than {duration:g} s."
        )
    if not len(cuts.file):
        raise ArgumentValueError(
            f"source must contain files of at least {duration:g} s, got at most "
            f"{whole.lengths.max() / sample_rate:.3g} s. Use a shorter duration."
        )
    data: Any = AudioRecordings(AudioFiles(paths, infos), cuts, sample_rate, n_times)
    if not lazy:
        data = RecordingsInMemory(list(data), sample_rate) if n_times is None else np.asarray(data)
    said = {"mix": "the mean of each file", "each": "each a recording"}.get(str(channel), f"number {channel}")
    return Bunch(
        data=data,
        file=np.array(names)[cuts.file],
        channel=cuts.channel,
        start=cuts.start / sample_rate,
        duration=cuts.lengths / sample_rate,
        sample_rate=sample_rate,
        DESCR=f"Recordings: {description}\nChannels: {said}.\nOther files: {others}.",
    )


def _find(source: str | Path | Iterable[str | Path]) -> tuple[list[Path], list[str], str]:
    """Return the absolute paths of the files, their names, and what was found beside them."""
    others = "none"
    if isinstance(source, (str, os.PathLike)):
        root = as_path(source, name="source")
        if root.is_dir():
            paths, others = find_audio_files(root, name="source")
            names = [path.relative_to(root).as_posix() for path in paths]
        elif root.exists():
            paths, names = [root], [root.as_posix()]
        else:
            raise MissingFileError(
                "source must be an audio file, a folder with audio files or a sequence of files, got a path that does "
                f"not exist: {shown(root)}."
            )
    else:
        listed = as_list(source, name="source", expected="a folder or a sequence of paths")
        paths = [as_path(path, name="source") for path in listed]
        names = [path.as_posix() for path in paths]
    if not paths:
        raise ArgumentValueError(f"source must be a file, a folder or a sequence of files, got {describe(source)}.")
    return [path.absolute() for path in paths], names, others


class Cuts(NamedTuple):
    """Recordings cut from files, shape (n_recordings,) each."""

    file: NDArray[np.intp]  # index
    channel: NDArray[np.intp]  # or `MEAN`
    start: NDArray[np.intp]  # sample, counted at the sampling rate of the recordings
    lengths: NDArray[np.intp]  # samples, counted likewise

    def take(self, indices: NDArray[np.intp]) -> Cuts:
        """Return some of them."""
        return Cuts(*(values[indices] for values in self))


def _channels(channel: Any, infos: Sequence[AudioInfo], names: Sequence[str]) -> list[Sequence[int]]:
    """Return the channels to read of each file."""
    if isinstance(channel, str) or channel is None:
        check_choice(channel, ("mix", "each"), name="channel")
        numbers = [range(info.n_channels) for info in infos]
        return [[MEAN] if channel == "mix" and len(these) > 1 else these for these in numbers]
    check_number(channel, name="channel", low=0, integer=True)
    for info, name in zip(infos, names, strict=True):
        if channel >= info.n_channels:
            raise ArgumentValueError(
                f"channel must be in every file, counted from 0, got {channel}, but {shown(name)} has "
                f"{info.n_channels} channel(s). Choose another channel, or leave the file out."
            )
    return [[int(channel)]] * len(infos)


def _whole_recordings(infos: Sequence[AudioInfo], channels: Sequence[Sequence[int]], sample_rate: int) -> Cuts:
    """Return the whole length of some channels of files."""
    file = np.repeat(np.arange(len(infos)), [len(these) for these in channels])
    lengths = np.array([info.n_times_at(sample_rate) for info in infos])[file]
    return Cuts(file, np.concatenate(channels).astype(np.intp), np.zeros(len(file), dtype=np.intp), lengths)


def _segments(whole: Cuts, n_times: int, hop: int) -> Cuts:
    """Cut segments from whole recordings."""
    starts = [np.arange(0, length - n_times + 1, hop) for length in whole.lengths]
    cuts = whole.take(np.repeat(np.arange(len(starts)), [len(these) for these in starts]))
    return cuts._replace(start=np.concatenate(starts), lengths=np.full(len(cuts.file), n_times))


class AudioFiles(NamedTuple):
    """Files and their headers."""

    paths: list[Path]
    infos: list[AudioInfo]


class AudioRecordings(Recordings):
    """Segments of audio files, or whole files, read on demand.

    Segments that follow each other in a file are read together, since opening a file and finding a place in it takes
    longer than reading on.

    Parameters
    ----------
    files : AudioFiles
        Files and their headers.
    cuts : Cuts
        Where each recording is.
    sample_rate : int
        Sampling rate, in Hz; files at other rates are resampled.
    n_times : int, optional
        Number of samples in every segment, if all have the same length.
    """

    def __init__(self, files: AudioFiles, cuts: Cuts, sample_rate: int, n_times: int | None) -> None:
        super().__init__(cuts.lengths, sample_rate, n_times)
        self.files, self.cuts = files, cuts
        self.origin: NDArray[np.intp] = cuts.file

    def _read(self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int) -> list[NDArray[np.float32]]:
        wanted = self.cuts.take(indices)
        wanted = wanted._replace(start=wanted.start + starts, lengths=np.minimum(wanted.lengths - starts, n_times))
        segments: list[NDArray[np.float32]] = [np.empty(0, np.float32)] * len(indices)
        for run in _runs(wanted):
            first, stop = int(wanted.start[run[0]]), max(int(wanted.start[i] + wanted.lengths[i]) for i in run)
            file, channel = int(wanted.file[run[0]]), int(wanted.channel[run[0]])
            samples = read_segment(
                self.files.paths[file],
                self.sample_rate,
                start=first,
                n_times=stop - first,
                channel=None if channel == MEAN else channel,
                info=self.files.infos[file],
            )
            for i in run:
                begin = int(wanted.start[i]) - first
                segments[i] = cut_segment(samples[begin : begin + int(wanted.lengths[i])], 0, n_times)
        return segments

    def where(self, indices: NDArray[np.intp], starts: NDArray[np.intp]) -> str:
        """Return the files and the times in them, for an error message."""
        named = []
        for i, start in zip(indices[:3], starts, strict=False):
            file, channel = self.cuts.file[i], self.cuts.channel[i]
            beside = f", channel {channel}" if channel > 0 else ""
            time = (self.cuts.start[i] + start) / self.sample_rate
            named.append(f"{shown(self.files.paths[file])} at {time:.2f} s{beside}")
        return ", ".join(named) + (f", ... ({len(indices)} in all)" if len(indices) > 3 else "")

    def take(self, indices: NDArray[np.intp]) -> AudioRecordings:
        """Return some of the recordings, without reading them."""
        return AudioRecordings(self.files, self.cuts.take(indices), self.sample_rate, self.n_times)


def _runs(cuts: Cuts) -> Iterator[list[int]]:
    """Yield the numbers of cuts to read together: those of one channel that overlap or follow each other.

    A mean is read cut by cut, as each is refused if its channels cancel.
    """
    run, stop = list[int](), 0
    for i in np.lexsort((cuts.start, cuts.channel, cuts.file)).tolist():
        first = run[0] if run else i
        together = (
            bool(run)
            and (cuts.file[i], cuts.channel[i]) == (cuts.file[first], cuts.channel[first])
            and cuts.channel[i] != MEAN
            and cuts.start[i] <= stop
            and cuts.start[i] + cuts.lengths[i] - cuts.start[first] <= BLOCK_SAMPLES
        )
        if run and not together:
            yield run
            run, stop = [], 0
        run.append(i)
        stop = max(stop, int(cuts.start[i] + cuts.lengths[i]))
    yield run
