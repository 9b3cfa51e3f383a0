"""Recordings of any kind that `estimate_room` reads: files, also by ffmpeg, folders of them, and waveforms."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._recordings import Recordings, as_recordings
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_sample_rate,
    describe,
)
from roomacoustic_sk.datasets._audio import audio_info, entries, find_audio_files, readable_suffixes
from roomacoustic_sk.datasets._reading import read_segment, resample

BY_FFMPEG = {".m4a", ".mp4", ".webm", ".aac", ".mov", ".3gp", ".wma", ".amr"}
"""Suffixes of files that libsndfile does not read and ffmpeg does."""

FFMPEG_SECONDS = 600

MOST_CHANNELS = 64
"""Columns of an array of many more rows up to which they are channels rather than samples."""

Channel = int | Literal["each", "mix"]

Read = Callable[[int | str, int, int], NDArray[np.float32]]
"""Reads a channel from a sample on, for a number of samples."""


class Opened(NamedTuple):
    """A recording whose samples can be read."""

    channels: list[int | str]
    n_times: int  # at the model's rate
    own_rate: int  # Hz
    n_own: int  # samples at its own rate
    read: Read  # at the model's rate
    raw: Read  # at its own rate


@dataclass(frozen=True)
class WaveformSource:
    """A waveform in memory, or in a store."""

    name: str
    recordings: Recordings
    index: int

    @contextmanager
    def opened(self, channel: Channel, rate: int) -> Iterator[Opened]:
        """Offer the samples."""
        if channel not in ("each", "mix", 0):
            raise ArgumentValueError(f"channel must be 0 for a waveform, got {channel}.")
        own, n_own = self.recordings.sample_rate, int(self.recordings.lengths[self.index])

        def raw(channel: int | str, start: int, n_times: int) -> NDArray[np.float32]:
            return self.recordings.read(np.array([self.index]), np.array([start]), n_times, allow_silent=True)[0]

        if own == rate:
            yield Opened([0], n_own, own, n_own, raw, raw)
        else:
            whole = resample(raw(0, 0, n_own), own, rate)

            def read(channel: int | str, start: int, n_times: int) -> NDArray[np.float32]:
                return whole[start : start + n_times]

            yield Opened([0], len(whole), own, n_own, read, raw)


@dataclass(frozen=True)
class FileSource:
    """An audio file."""

    name: str
    path: Path

    @contextmanager
    def opened(self, channel: Channel, rate: int) -> Iterator[Opened]:
        """Offer the samples, decoded by ffmpeg first if need be."""
        with _decoded(self.path) as path:
            info = audio_info(path)

            def read(channel: int | str, start: int, n_times: int, at: int = rate) -> NDArray[np.float32]:
                chosen = None if channel == "mix" else int(channel)
                return read_segment(path, at, start=start, n_times=n_times, channel=chosen, info=info)

            channels: list[int | str] = list(range(info.n_channels)) if channel == "each" else [channel]
            raw = partial(read, at=info.sample_rate)
            yield Opened(channels, info.n_times_at(rate), info.sample_rate, info.n_times, read, raw)


Source = WaveformSource | FileSource


@contextmanager
def _decoded(path: Path) -> Iterator[Path]:
    """Offer a file that libsndfile reads."""
    if path.suffix.lower() not in BY_FFMPEG:
        yield path
        return
    with tempfile.TemporaryDirectory() as folder:
        yield _by_ffmpeg(path, Path(folder) / "decoded.wav")


def _by_ffmpeg(path: Path, target: Path) -> Path:
    """Decode a file by ffmpeg."""
    if not path.is_file():
        raise FileNotFoundError(f"recordings must be audio files, got one that does not exist: {path}.")
    program = shutil.which("ffmpeg")
    convert = f"ffmpeg -i {path.name} {path.stem}.wav"
    if program is None:
        raise ArgumentValueError(
            f"recordings must be WAV, FLAC, Ogg or MP3 unless ffmpeg is installed, got {path.name}. Install ffmpeg, or "
            f"convert it elsewhere: {convert}"
        )
    command = [program, "-nostdin", "-v", "error", "-protocol_whitelist", "file", "-i", f"file:{path.resolve()}"]
    command += ["-vn", "-c:a", "pcm_f32le", "-f", "wav", str(target)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=FFMPEG_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ArgumentValueError(f"recordings must be decoded by ffmpeg within 10 minutes, got {path.name}.") from error
    if done.returncode or not target.exists():
        why = (done.stderr.strip().splitlines() or ["no reason"])[-1]
        raise ArgumentValueError(f"recordings must be files that ffmpeg reads, got {path.name} ({why}).")
    return target


def sources_of(recordings: Any, sample_rate: Any) -> tuple[list[Source], bool]:
    """Return all recordings, and whether there is but one that was passed as such."""
    if isinstance(recordings, (str, os.PathLike)):
        if not os.fspath(recordings):
            raise ArgumentValueError("recordings must be the path of a file or folder, got an empty one.")
        path = Path(recordings)
        if path.is_dir():
            return _in_folder(path, str), False
        return [FileSource(str(recordings), path)], True
    if isinstance(recordings, Mapping):
        if "data" not in recordings:
            raise ArgumentValueError(f"recordings must have a field data if it is a Bunch, got {list(recordings)[:5]}.")
        return sources_of(recordings["data"], recordings.get("sample_rate", sample_rate))
    if isinstance(recordings, Recordings):
        return _waveforms(recordings), False
    if isinstance(recordings, np.ndarray) or hasattr(recordings, "shape"):
        array = np.asarray(recordings) if np.ndim(recordings) == 1 else recordings
        if array.ndim == 1 and array.dtype.kind in "OU" and len(array) and isinstance(array[0], (str, os.PathLike)):
            return sources_of(list(array), sample_rate)
        single = array.ndim == 1 and array.dtype.kind != "O"
        if array.ndim == 2 and array.shape[1] <= MOST_CHANNELS < array.shape[0]:
            raise ArgumentValueError(
                f"recordings must have the shape (n_recordings, n_times), got {tuple(array.shape)}, which looks like "
                "channels in columns. Pass its transpose."
            )
        return _waveforms(_in_memory([array] if single else array, sample_rate)), single
    if not isinstance(recordings, Iterable):
        raise ArgumentTypeError(
            f"recordings must be an audio file, a folder, a waveform or a list of them, got {describe(recordings)}."
        )
    listed = list(recordings)
    if not listed:
        raise ArgumentValueError("recordings must have at least one recording, got none.")
    if not any(isinstance(item, (str, os.PathLike)) for item in listed):
        return _waveforms(_in_memory(listed, sample_rate)), False
    found: list[Source] = []
    for item in listed:
        if not isinstance(item, (str, os.PathLike)):
            raise ArgumentTypeError(f"recordings must be all files or all waveforms, got {describe(item)} among files.")
        path = Path(item)
        found += _in_folder(path, partial(os.path.join, item)) if path.is_dir() else [FileSource(str(item), path)]
    return found, False


def _in_folder(folder: Path, shown: Callable[[str], str]) -> list[Source]:
    """Return the audio files in a folder and below it."""
    return [FileSource(shown(str(path.relative_to(folder))), path) for path in audio_files(folder)]


def audio_files(folder: Path) -> list[Path]:
    """List the files in a folder and below it that libsndfile or ffmpeg reads."""
    files = [Path(entry.path) for entry in entries(folder, "recordings")]
    if any(path.suffix.lower() in BY_FFMPEG for path in files):
        suffixes = readable_suffixes() | BY_FFMPEG
        return sorted(path for path in files if path.suffix.lower() in suffixes)
    return find_audio_files(folder, name="recordings").files


def _waveforms(recordings: Recordings) -> list[Source]:
    return [WaveformSource(str(i), recordings, i) for i in range(len(recordings))]


def _in_memory(waveforms: Any, sample_rate: Any) -> Recordings:
    """Return waveforms as recordings."""
    if sample_rate is None:
        raise ArgumentValueError("sample_rate must be given for waveforms, in Hz, got None.")
    return as_recordings(waveforms, check_sample_rate(sample_rate), name="recordings", allow_silent=True)
