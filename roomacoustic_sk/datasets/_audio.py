"""Reading audio files: headers, and whole files or parts of them, at any sampling rate."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from roomacoustic_sk._recordings import mix_down
from roomacoustic_sk._validation import ArgumentValueError, MissingFileError, check_number, check_sample_rate

AUDIO_SUFFIXES = (".flac", ".mp3", ".ogg", ".wav")
RESAMPLING_HALF_LENGTH = 10  # zero crossings on each side of scipy.signal.resample_poly's default filter
VORBIS_PREROLL = 32768  # frames; after a seek near the end, the first ones may be wrong (libsndfile issue 885)


class AudioInfo(NamedTuple):
    """The header of an audio file."""

    sample_rate: int
    n_times: int
    n_channels: int

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_times / self.sample_rate

    def n_times_at(self, sample_rate: int) -> int:
        """Length in samples after resampling to `sample_rate` Hz, as `read_audio` returns it."""
        up, down = _ratio(self.sample_rate, sample_rate)
        return -(-self.n_times * up // down)


def _ratio(old_rate: int, new_rate: int) -> tuple[int, int]:
    """Return the smallest integers `up, down` with ``new_rate / old_rate == up / down``."""
    common = math.gcd(old_rate, new_rate)
    return new_rate // common, old_rate // common


def list_audio_files(folder: str | Path) -> list[Path]:
    """List the WAV, FLAC, OGG and MP3 files in a folder and all folders below it, sorted by path.

    Hidden files and folders (such as the ``._*`` files of macOS archives) are skipped.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or is not a folder.
    ValueError
        If it contains no audio files.
    """
    root = Path(folder).expanduser()
    if not root.is_dir():
        what = "a file" if root.exists() else "a path that does not exist"
        raise MissingFileError(f"folder must be a folder with audio files, got {what}: {root}.")
    files = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES
        and path.is_file()
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
    )
    if not files:
        raise ArgumentValueError(
            f"folder must hold audio files ({', '.join(AUDIO_SUFFIXES)}), got none in {root} or below it."
        )
    return files


def _unreadable(path: Path, why: str) -> ArgumentValueError:
    return ArgumentValueError(f"path must be a readable audio file, got {path}, {why}. Remove or replace it.")


def audio_info(path: str | Path) -> AudioInfo:
    """Read the header of an audio file, without its samples.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, not audio, or visibly truncated (shorter than its header states).
    """
    import soundfile

    path = Path(path).expanduser()
    if not path.is_file():
        raise MissingFileError(f"path must be an audio file, got a path that is not a file: {path}.")
    if path.stat().st_size == 0:
        raise _unreadable(path, "which is empty (0 bytes)")
    try:
        header = soundfile.info(str(path), verbose=True)
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, f"which libsndfile cannot open ({error.error_string})") from error
    # libsndfile opens a truncated WAV or Ogg file as a shorter one; for WAV, only its log mentions it.
    cut_wav = any(line.startswith("data") and "should be" in line for line in header.extra_info.splitlines())
    if cut_wav or (header.format == "OGG" and not _ogg_is_complete(path)):
        raise _unreadable(path, "which is truncated (shorter than its header says)")
    if header.frames <= 0:
        raise _unreadable(path, "which has no samples")
    return AudioInfo(header.samplerate, header.frames, header.channels)


def _ogg_is_complete(path: Path) -> bool:
    """Whether the last page of an Ogg file carries the end-of-stream flag (RFC 3533, section 6)."""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2 * 65307))  # 65307 bytes: the longest page
        tail = file.read()
    page = tail.rfind(b"OggS")
    return page >= 0 and len(tail) > page + 5 and bool(tail[page + 5] & 4)


def read_audio(
    path: str | Path,
    sample_rate: int,
    *,
    start: int = 0,
    n_times: int | None = None,
    channel: int | None = None,
    info: AudioInfo | None = None,
) -> NDArray[np.float32]:
    """Read an audio file, or a part of it, as one channel at a given sampling rate.

    Only the requested part is read and decoded, plus the few milliseconds by which the resampling filter extends beyond
    it, so that a part equals the same slice of the whole file.

    Parameters
    ----------
    path : str or Path
        A WAV, FLAC, OGG or MP3 file. Integer formats are scaled to [-1, 1).
    sample_rate : int
        Sampling rate of the result in Hz; files at another rate go through `scipy.signal.resample_poly`.
    start : int, default=0
        First sample, counted at `sample_rate`.
    n_times : int, default=None
        Number of samples, counted at `sample_rate`. None reads to the end.
    channel : int, default=None
        Channel to read, from 0. None averages all channels, which suits speech; for impulse responses from several
        microphones, choose one, since their mean is not the response of any microphone.
    info : AudioInfo, default=None
        The file's header, if it has been read already.

    Returns
    -------
    ndarray of shape (n_times,), float32
        The samples.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, truncated, not audio or not finite, or lacks the requested part or channel.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np, soundfile
    >>> from roomacoustic_sk.datasets._audio import read_audio
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "tone.wav"
    ...     soundfile.write(path, np.sin(2 * np.pi * 440 * np.arange(44100) / 44100), 44100)
    ...     read_audio(path, sample_rate=16000, start=4000, n_times=8000).shape
    (8000,)
    """
    sample_rate = check_sample_rate(sample_rate)
    path = Path(path).expanduser()
    info = audio_info(path) if info is None else info
    length = info.n_times_at(sample_rate)
    check_number(start, name="start", low=0, high=length - 1, integer=True)
    if n_times is None:
        n_times = length - start
    check_number(n_times, name=f"n_times (from {start} on)", low=1, high=length - start, integer=True)
    if channel is not None:
        check_number(channel, name="channel", low=0, high=info.n_channels - 1, integer=True)

    up, down = _ratio(info.sample_rate, sample_rate)
    margin = -(-RESAMPLING_HALF_LENGTH * max(up, down) // up) if up != down else 0
    # Starting at a multiple of `down` puts the resampled part on the sample grid of the whole resampled file.
    first = max(0, start * down // up - margin) // down * down
    stop = min(info.n_times, -(-(start + n_times) * down // up) + margin + 1)
    samples = _read_frames(path, first, stop - first, channel)
    if up != down:
        samples = resample_poly(samples, up, down)
    offset = start - first * up // down
    return np.ascontiguousarray(samples[offset : offset + n_times], dtype=np.float32)


def _read_frames(path: Path, first: int, n_frames: int, channel: int | None) -> NDArray[np.float32]:
    """Read frames at the file's own rate and take or average the channels."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            rate = file.samplerate
            preroll = min(first, VORBIS_PREROLL if file.format == "OGG" else 0)
            file.seek(first - preroll)
            frames = file.read(preroll + n_frames, dtype="float32", always_2d=True)[preroll:]
    except soundfile.LibsndfileError as error:
        if not path.is_file():
            raise MissingFileError(f"path must be an audio file, got one that no longer exists: {path}.") from error
        why = f"which is truncated or damaged: libsndfile says '{error.error_string}'"
        raise _unreadable(path, why) from error
    if len(frames) < n_frames:
        why = f"which is truncated: {len(frames)} of {n_frames} samples from {first} on could be read"
        raise _unreadable(path, why)
    samples = mix_down(frames, name="path", where=str(path)) if channel is None else frames[:, channel]
    finite = np.isfinite(samples)
    if not finite.all():
        raise _unreadable(path, f"which has NaN or infinite samples, first at {(first + finite.argmin()) / rate:.2f} s")
    return samples
