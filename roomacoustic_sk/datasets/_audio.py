"""Reading audio files: headers, and whole files or parts of them, at any sampling rate."""

from __future__ import annotations

import errno
import math
import os
import re
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from roomacoustic_sk._sound import cancels
from roomacoustic_sk._validation import (
    ArgumentValueError,
    MissingFileError,
    as_path,
    check_number,
    check_sample_rate,
    warn,
)
from roomacoustic_sk.datasets._containers import find_parts
from roomacoustic_sk.datasets._parts import Part, Truncated, Unclear, Window

R = TypeVar("R")

FORMATS = {  # suffix: libsndfile's name; suffixes that other kinds of files have as well (.mat, .htk, .sf) are left out
    ".aif": "AIFF", ".aifc": "AIFF", ".aiff": "AIFF", ".au": "AU", ".avr": "AVR", ".bwf": "WAV", ".caf": "CAF",
    ".flac": "FLAC", ".ircam": "IRCAM", ".mp3": "MP3", ".nist": "NIST", ".oga": "OGG", ".ogg": "OGG", ".opus": "OGG",
    ".paf": "PAF", ".pvf": "PVF", ".rf64": "RF64", ".snd": "AU", ".sph": "NIST", ".svx": "SVX", ".voc": "VOC",
    ".w64": "W64", ".wav": "WAV", ".wave": "WAV",
}  # fmt: skip
OTHER_AUDIO = frozenset(
    [
        ".3gp",
        ".aac",
        ".ac3",
        ".amr",
        ".ape",
        ".awb",
        ".dff",
        ".dsf",
        ".dts",
        ".htk",
        ".iff",
        ".m4a",
        ".m4b",
        ".mka",
        ".mp1",
        ".mp2",
        ".mp4",
        ".mpc",
        ".opu",
        ".pcm",
        ".ra",
        ".raw",
        ".rm",
        ".sd2",
        ".sds",
        ".sf",
        ".shn",
        ".spx",
        ".tta",
        ".wma",
        ".wv",
        ".webm",
        ".xi",
    ]
)
"""Suffixes of audio that libsndfile does not read, or does not know for certain: such files are named in a warning."""

RESAMPLING_HALF_LENGTH = 10  # zero crossings on each side of scipy.signal.resample_poly's default filter
VORBIS_PREROLL = 32768  # frames; after a seek near the end, the first ones may be wrong (libsndfile issue 885)
BLOCK = 1 << 20  # samples decoded at once: what a header claims is allocated only as it turns out to be there
FRAMES_PER_BYTE = 65535 // 9  # no format packs more: the longest FLAC block in its shortest frame
RATES = (1000, 1_000_000)  # Hz
LONGEST_SEGMENT = 1e6  # s, of a segment that readers cut, or of the step between two
LARGEST_FACTOR = 250_000  # of resampling: its filter has 20 times as many taps


class AudioInfo(NamedTuple):
    """The header of an audio file."""

    sample_rate: int
    n_times: int
    n_channels: int

    @property
    def parts(self) -> tuple[tuple[Part, int], ...]:
        """The parts of a file that is not read as a whole, see `InParts`."""
        return ()

    @property
    def duration(self) -> float:
        """Length in seconds."""
        return self.n_times / self.sample_rate

    def n_times_at(self, sample_rate: int) -> int:
        """Length in samples after resampling to `sample_rate` Hz, as `read_audio` returns it."""
        up, down = _ratio(self.sample_rate, sample_rate)
        return -(-self.n_times * up // down)


class InParts(AudioInfo):
    """The header of a file that is read part by part: files joined end to end, or one whose header is wrong."""

    parts: tuple[tuple[Part, int], ...] = ()  # with the length of each in samples


def _ratio(old_rate: int, new_rate: int) -> tuple[int, int]:
    """Return the smallest integers `up, down` with ``new_rate / old_rate == up / down``."""
    common = math.gcd(old_rate, new_rate)
    return new_rate // common, old_rate // common


def shown(path: str | Path) -> str:
    """Return a path for a message: bytes that are not UTF-8 as escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


class AudioFolder(NamedTuple):
    """The audio files in a folder and below it, and the files beside them."""

    files: list[Path]
    others: str  # what was passed over, for a description


def list_audio_files(folder: str | Path) -> list[Path]:
    """List the audio files in a folder and below it, sorted by path: see `find_audio_files`."""
    return find_audio_files(folder).files


def find_audio_files(folder: str | Path, *, name: str = "folder") -> AudioFolder:
    """Find the audio files in a folder and all folders below it, sorted by path.

    Files are taken by suffix, if the installed libsndfile reads the format. Links to folders are followed; each folder
    is read once, under its own name if it is below `folder`. Hidden files and folders (such as the ``._*`` files of
    macOS archives) are skipped.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or is not a folder.
    ValueError
        If it contains no audio files, or if a folder cannot be read.

    Warns
    -----
    UserWarning
        If audio files of other formats, or links to files that do not exist, are passed over.
    """
    root = as_path(folder, name=name)
    if not root.is_dir():
        what = "a file" if root.exists() else "a path that does not exist"
        raise MissingFileError(f"{name} must be a folder with audio files, got {what}: {shown(root)}.")
    suffixes = _readable_suffixes()
    files: list[str] = []
    unread: list[str] = []
    others: Counter[str] = Counter()
    for entry in _entries(root, name):
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix in suffixes and _found(entry.is_file):
            files.append(entry.path)
        elif suffix in suffixes or suffix in OTHER_AUDIO or suffix in FORMATS:
            unread.append(entry.path)
        else:
            others[suffix or "no suffix"] += 1
    what = ", ".join(f"{n} {suffix}" for suffix, n in sorted(others.items())) or "none"
    if not files:
        beside = unread[0] if unread else None
        got = "none" if beside is None else f"only files that libsndfile does not read, such as {shown(beside)},"
        raise ArgumentValueError(
            f"{name} must hold audio files ({', '.join(sorted(suffixes))}), got {got} in {shown(root)} or below it."
        )
    if unread:
        named = ", ".join(shown(os.path.relpath(path, root)) for path in sorted(unread)[:3])
        warn(
            f"{len(unread)} of {len(unread) + len(files)} audio files in {shown(root)} are passed over, since "
            f"libsndfile does not read their format or they are broken links: {named}"
            f"{', ...' if len(unread) > 3 else ''}. Convert them to FLAC or WAV to use them."
        )
        what += f"; audio that is not read: {len(unread)}"
    return AudioFolder(sorted(map(Path, files)), what)


def _readable_suffixes() -> set[str]:
    """Return the suffixes of the formats that the installed libsndfile reads."""
    import soundfile

    formats = soundfile.available_formats()
    opus = "OPUS" in soundfile.available_subtypes("OGG") if "OGG" in formats else False
    return {suffix for suffix, name in FORMATS.items() if name in formats and (opus or suffix != ".opus")}


def _found(test: Callable[[], bool]) -> bool:
    """Return what a test of an entry says; False for a link that leads to itself."""
    try:
        return test()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return False
        raise


def _entries(root: Path, name: str) -> Iterator[os.DirEntry[str]]:
    """Yield the files below a folder, without hidden ones: folders first, then those behind links, each once."""
    seen: set[tuple[int, int]] = set()
    folders, links = [os.fspath(root)], list[str]()
    while folders or links:
        links.sort(key=lambda link: (link.count(os.sep), link), reverse=True)  # the shortest way to a folder counts
        path = folders.pop() if folders else links.pop()
        try:
            status = os.stat(path)
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(path) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if not _found(entry.is_dir):
                        yield entry
                    elif entry.is_symlink():
                        links.append(entry.path)
                    else:
                        folders.append(entry.path)
        except OSError as error:
            raise ArgumentValueError(
                f"{name} must hold folders that can be read, got {shown(path)}: {error.strerror}."
            ) from error


def _unreadable(path: Path, why: str, fix: str = "Replace it, or move it out of the way") -> ArgumentValueError:
    return ArgumentValueError(f"path must be a readable audio file, got {shown(path)}, {why}. {fix}.")


def _name(path: Path) -> str | bytes:
    """Return a path as libsndfile takes it, whatever bytes it has."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def audio_info(path: str | Path) -> AudioInfo:
    """Find out the format and the length of an audio file, without decoding it if its header can be believed.

    A length that is unknown or wrong in the header, as in files that were written to a pipe, is found by decoding the
    file once, and so are the lengths of files joined end to end.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, not audio, or truncated.
    """
    import soundfile

    path = Path(path).expanduser()
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:  # a null character in the path
        raise MissingFileError(f"path must be an audio file, got a path that is not a file: {shown(path)}.") from error
    if not stat.S_ISREG(status.st_mode):
        raise MissingFileError(f"path must be an audio file, got a path that is not a file: {shown(path)}.")
    size = status.st_size
    if size == 0:
        raise _unreadable(path, "which is empty (0 bytes)")
    try:
        parts = find_parts(path, size)
        if parts:
            return _info_of_parts(path, parts)
        with soundfile.SoundFile(_name(path)) as file:
            info = AudioInfo(file.samplerate, _n_times(file, size), file.channels)
    except soundfile.LibsndfileError as error:
        raise _unreadable(path, f"which libsndfile cannot read ({error.error_string})") from error
    except Truncated as error:
        raise _unreadable(path, str(error), "Copy or download it again") from error
    except Unclear as error:
        raise _unreadable(path, *str(error).rsplit(". ", 1)) from error
    _check_format(path, info)
    return info


def _n_times(file: Any, size: int) -> int:
    """Return the length of an open file, which has no parts, in samples."""
    if file.frames <= size * FRAMES_PER_BYTE and file.seekable() and not file.subtype.startswith("DWVW"):
        if file.format == "SVX" and re.search(r"^ *BODY .*should be", file.extra_info, re.MULTILINE):
            raise Truncated("which is truncated (shorter than its header says)")
        return int(file.frames)
    return sum(len(block) for block in _blocks(file, None))  # in whole blocks by its header, or absurd


def _check_format(path: Path, info: AudioInfo) -> None:
    """Refuse files without samples, and rates that no sound has and that would take a lot of memory to convert."""
    low, high = RATES
    if not low <= info.sample_rate <= high:
        why = f"whose header states a sampling rate of {info.sample_rate} Hz, outside {low} to {high} Hz"
        raise _unreadable(path, why, "Correct its header, or leave it out")
    if info.n_times <= 0:
        raise _unreadable(path, "which has no samples")


def _info_of_parts(path: Path, parts: Iterable[Part]) -> AudioInfo:
    """Decode a file part by part to find out its length."""
    formats, counted = [], list[tuple[Part, int]]()
    for part in parts:
        sample_rate, n_channels, n_times = _in_part(path, part, _measure)
        formats.append((sample_rate, n_channels))
        counted.append((part, n_times))
    if len(set(formats)) > 1:
        listed = " and ".join(f"{channels} channels at {rate} Hz" for rate, channels in dict.fromkeys(formats))
        raise Unclear(f"in which files of different formats are joined ({listed}). Split it")
    info = InParts(formats[0][0], sum(n_times for _, n_times in counted), formats[0][1])
    _check_format(path, info)
    info.parts = tuple((part, n_times) for part, n_times in counted if n_times)
    return info


def _measure(file: Any) -> tuple[int, int, int]:
    """Return the sampling rate, the number of channels and the length of an open file, which is decoded for it."""
    return file.samplerate, file.channels, sum(len(block) for block in _blocks(file, None))


def _in_part(path: Path, part: Part, work: Callable[[Any], R]) -> R:
    """Do some work on a part of a file, opened as a file of its own.

    It is done in another thread: libsndfile reads the part by calling Python, where a KeyboardInterrupt would be lost.
    """
    import soundfile

    window = Window(path, part)
    results: list[R] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            with window, soundfile.SoundFile(window) as file:
                results.append(work(file))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        while thread.is_alive():
            thread.join(1.0)
    except BaseException:
        window.stopped = True
        raise
    if window.error is not None:
        raise window.error
    if errors:
        raise errors[0]
    return results[0]


def _blocks(file: Any, n_frames: int | None) -> Iterator[NDArray[np.float32]]:
    """Decode a number of frames from here on, or all, in blocks; fewer if there are not as many."""
    step = max(1, BLOCK // file.channels)
    while n_frames is None or n_frames > 0:
        asked = step if n_frames is None else min(step, n_frames)
        frames = file.read(asked, dtype="float32", always_2d=True)
        yield frames
        if len(frames) < asked:
            return
        if n_frames is not None:
            n_frames -= asked


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
        A file in any format that libsndfile reads. Integer formats are scaled to [-1, 1).
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
    if max(up, down) > LARGEST_FACTOR:
        raise _unreadable(
            path,
            f"which is at {info.sample_rate} Hz and cannot be resampled to {sample_rate} Hz ({up}:{down})",
            "Resample it to a common rate",
        )
    margin = -(-RESAMPLING_HALF_LENGTH * max(up, down) // up) if up != down else 0
    # Starting at a multiple of `down` puts the resampled part on the sample grid of the whole resampled file.
    first = max(0, start * down // up - margin) // down * down
    stop = min(info.n_times, -(-(start + n_times) * down // up) + margin + 1)
    samples = _read_frames(path, first, stop - first, channel, info)
    if up != down:
        samples = resample_poly(samples, up, down)
    offset = start - first * up // down
    return np.ascontiguousarray(samples[offset : offset + n_times], dtype=np.float32)


def _read_frames(path: Path, first: int, n_frames: int, channel: int | None, info: AudioInfo) -> NDArray[np.float32]:
    """Read frames at the file's own rate and take or average the channels."""
    import soundfile

    try:
        samples = np.concatenate([*_read_parts(path, first, n_frames, channel, info)] or [np.empty(0, np.float32)])
    except Unclear as error:
        raise _unreadable(path, *str(error).rsplit(". ", 1)) from error
    except (soundfile.LibsndfileError, OSError) as error:
        if not path.is_file():
            raise MissingFileError(
                f"path must be an audio file, got one that no longer exists: {shown(path)}."
            ) from error
        audio_info(path)  # which names a file that was cut since it was listed
        raise _unreadable(path, f"which is damaged: {getattr(error, 'error_string', error)}") from error
    if len(samples) < n_frames:
        audio_info(path)
        why = f"which is damaged: {len(samples)} of {n_frames} samples from {first} on could be decoded"
        raise _unreadable(path, why)
    if samples.ndim == 2:
        samples = _mix_down(samples, name="path", where=shown(path))
    finite = np.isfinite(samples)
    if not finite.all():
        at = (first + finite.argmin()) / info.sample_rate
        raise _unreadable(path, f"which has NaN or infinite samples, first at {at:.2f} s")
    return samples


def _mix_down(frames: NDArray[np.float32], *, name: str, where: str) -> NDArray[np.float32]:
    """Return the mean of channels (n_times, n_channels), refused if it cancels them.

    Raises
    ------
    ValueError
        If channels of opposite phase leave nothing but a residue, which would pass as a recording.
    """
    mixed = frames.mean(axis=1)
    if cancels(frames, mixed):
        raise ArgumentValueError(
            f"{name} must be a recording whose channels can be averaged, got channels of opposite phase, which cancel, "
            f"in {where}. Invert one of them, or keep a single channel."
        )
    return mixed


def _read_parts(
    path: Path, first: int, n_frames: int, channel: int | None, info: AudioInfo
) -> Iterator[NDArray[np.float32]]:
    """Yield the samples of a stretch of a file, in all channels or in one, from one part after another."""
    import soundfile

    end = 0
    for part, n_times in info.parts or ((None, info.n_times),):
        begin, end = end, end + n_times
        start, stop = max(first, begin) - begin, min(first + n_frames, end) - begin
        if start >= stop:
            continue
        read = partial(_read_stretch, first=start, stop=stop, channel=channel, info=info)
        if part is not None:
            yield _in_part(path, part, read)
            continue
        with soundfile.SoundFile(_name(path)) as file:
            yield read(file)


def _read_stretch(file: Any, first: int, stop: int, channel: int | None, info: AudioInfo) -> NDArray[np.float32]:
    """Read frames of an open file, in all channels or in one."""
    if (file.samplerate, file.channels) != (info.sample_rate, info.n_channels):
        raise Unclear("which has changed since it was listed. List it again")
    _skip(file, first)
    blocks = _blocks(file, stop - first)
    return np.concatenate([b if channel is None and b.shape[1] > 1 else b[:, channel or 0] for b in blocks])


def _skip(file: Any, n_frames: int) -> None:
    """Go to a frame, decoding what comes before it where libsndfile cannot seek."""
    preroll = n_frames
    if file.seekable():
        preroll = min(n_frames, VORBIS_PREROLL if file.format == "OGG" else 0)
        file.seek(n_frames - preroll)
    for _ in _blocks(file, preroll):
        pass
