"""Audio files: where they are, what opens them, and what their headers say."""

from __future__ import annotations

import errno
import io
import math
import os
import re
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    MissingFileError,
    NamedError,
    as_path,
    describe,
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

BLOCK = 1 << 20  # samples decoded at once: what a header claims is allocated only as it turns out to be there
FRAMES_PER_BYTE = 65535 // 9  # no format packs more: the longest FLAC block in its shortest frame
RATES = (1000, 1_000_000)  # Hz
REPLACE = "Replace it, or move it out of the way"
LARGEST_STREAM = 1 << 31  # bytes that are read into memory of a file object that cannot seek
LONGEST_SEGMENT = 1e6  # s, of a segment that readers cut, or of the step between two


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
        up, down = ratio(self.sample_rate, sample_rate)
        return -(-self.n_times * up // down)


class InParts(AudioInfo):
    """The header of a file that is read part by part: files joined end to end, or one whose header is wrong."""

    parts: tuple[tuple[Part, int], ...] = ()  # with the length of each in samples


def ratio(old_rate: int, new_rate: int) -> tuple[int, int]:
    """Return the smallest integers `up, down` with ``new_rate / old_rate == up / down``."""
    common = math.gcd(old_rate, new_rate)
    return new_rate // common, old_rate // common


EMPTY_ID3 = b"ID3\4" + bytes(5) + b"\n" + bytes(10)
"""A tag of MP3 files (ID3v2.4) that holds ten zeros, which is the least that libsndfile takes."""


class FileObject:
    """A file object that holds an audio file, from its position on.

    One that cannot seek, such as a pipe, is read into memory.

    Parameters
    ----------
    file : file object
        Opened for reading bytes.

    Raises
    ------
    TypeError
        If it was opened as text.
    ValueError
        If it cannot be read, or is a pipe that does not end.
    """

    def __init__(self, file: Any) -> None:
        label = getattr(file, "name", None)  # a path, the number of a pipe, or nothing
        self._label = f"a file object ({label})" if isinstance(label, str) else "a file object"
        if isinstance(file, io.TextIOBase):
            raise ArgumentTypeError(
                f"path must be a path or a file object opened for bytes, got {self}, opened as text. "
                "Open it with mode 'rb', or pass its buffer."
            )
        with self.reading():
            try:
                self._start = file.tell()
                self.size = file.seek(0, io.SEEK_END) - self._start
                self._file = file
            except (AttributeError, io.UnsupportedOperation, OSError):
                self._start, self._file = 0, self._in_memory(file)
                self.size = self._file.getbuffer().nbytes

    def _in_memory(self, file: Any) -> io.BytesIO:
        """Read a pipe to its end."""
        data = io.BytesIO()
        while piece := file.read(BLOCK):
            data.write(piece)
            if data.tell() > LARGEST_STREAM:
                raise ArgumentValueError(
                    f"path must be a file object of at most {LARGEST_STREAM / 2**30:g} GiB if it cannot seek, got "
                    f"{self}, which is longer. Write it to a file, and pass its path."
                )
        return data

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Name the file object in what it raises, whatever kind it is of."""
        try:
            yield
        except NamedError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise ArgumentValueError(f"path must be a file object that can be read, got {self}: {reason}.") from error

    def read_at(self, offset: int, n_bytes: int) -> bytes:
        """Return bytes from an offset on, fewer only at the end."""
        with self.reading():
            self._file.seek(self._start + offset)
            pieces = [b""]
            while n_bytes > 0 and (piece := self._file.read(n_bytes)):  # raw files may return less
                pieces.append(piece)
                n_bytes -= len(piece)
        return b"".join(pieces)

    def open(self, mode: Literal["rb"], buffering: int = -1) -> io.RawIOBase:
        """Return the bytes as a file of its own, at its beginning."""
        return _View(self)

    def __str__(self) -> str:
        return self._label


class _View(io.RawIOBase):
    """The bytes of a file object, with a position of its own."""

    def __init__(self, source: FileObject) -> None:
        self._source, self._at = source, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._source.size}[whence])
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read bytes into a buffer."""
        data = self._source.read_at(self._at, min(len(buffer), max(0, self._source.size - self._at)))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)


AudioSource = Path | FileObject


def shown(path: str | AudioSource) -> str:
    """Return a path, or a file object, for a message: bytes that are not UTF-8 as escapes."""
    if isinstance(path, FileObject):
        return str(path)
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
    suffixes = readable_suffixes()
    files: list[str] = []
    unread: list[str] = []
    others: Counter[str] = Counter()
    for entry in entries(root, name):
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


def readable_suffixes() -> set[str]:
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


def entries(root: Path, name: str) -> Iterator[os.DirEntry[str]]:
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


def as_source(file: Any, *, name: str) -> AudioSource:
    """Return a path, or a file object, as users give it, or raise."""
    if hasattr(file, "read"):
        return file if isinstance(file, FileObject) else FileObject(file)
    if not isinstance(file, (str, os.PathLike)):
        fix = " Pass io.BytesIO(...) of them." if isinstance(file, (bytes, bytearray)) else ""
        raise ArgumentTypeError(f"{name} must be a path or a file object opened for bytes, got {describe(file)}.{fix}")
    return Path(file).expanduser()


def unreadable(path: AudioSource, why: str, fix: str = REPLACE) -> ArgumentValueError:
    return ArgumentValueError(f"path must be a readable audio file, got {shown(path)}, {why}. {fix}.")


def _name(path: Any) -> str | bytes:
    """Return a path as libsndfile takes it, whatever bytes it has."""
    return os.fspath(path) if os.name == "nt" else os.fsencode(path)


def audio_info(path: str | AudioSource) -> AudioInfo:
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

    source = path if isinstance(path, FileObject) else Path(path).expanduser()
    size = _size(source)
    if size == 0:
        fix = "Rewind it with seek(0), or replace it" if isinstance(source, FileObject) else REPLACE
        raise unreadable(source, "which is empty (0 bytes)", fix)
    try:
        parts = find_parts(source, size)
        if parts:
            return _info_of_parts(source, parts)
        info = AudioInfo(*in_file(source, None, partial(_measure, size=size)))
    except soundfile.LibsndfileError as error:
        raise unreadable(source, f"which libsndfile cannot read ({error.error_string})") from error
    except Truncated as error:
        raise unreadable(source, str(error), "Copy or download it again") from error
    except Unclear as error:
        raise unreadable(source, *str(error).rsplit(". ", 1)) from error
    _check_format(source, info)
    return info


def _size(source: AudioSource) -> int:
    """Return the number of bytes of a file object or a regular file."""
    if isinstance(source, FileObject):
        return source.size
    try:
        status = os.stat(source)
    except (OSError, ValueError) as error:
        raise MissingFileError(
            f"path must be an audio file, got a path that is not a file: {shown(source)}."
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise MissingFileError(f"path must be an audio file, got a path that is not a file: {shown(source)}.")
    return status.st_size


def _n_times(file: Any, size: int | None) -> int:
    """Return the length of an open file in samples, by its header if it is of `size` bytes and has no parts."""
    if size is None:
        return sum(len(block) for block in read_blocks(file, None))
    if file.frames <= size * FRAMES_PER_BYTE and file.seekable() and not file.subtype.startswith("DWVW"):
        if file.format == "SVX" and re.search(r"^ *BODY .*should be", file.extra_info, re.MULTILINE):
            raise Truncated("which is truncated (shorter than its header says)")
        return int(file.frames)
    return sum(len(block) for block in read_blocks(file, None))  # in whole blocks by its header, or absurd


def _check_format(path: AudioSource, info: AudioInfo) -> None:
    """Refuse files without samples, and rates that no sound has and that would take a lot of memory to convert."""
    low, high = RATES
    if not low <= info.sample_rate <= high:
        why = f"whose header states a sampling rate of {info.sample_rate} Hz, outside {low} to {high} Hz"
        raise unreadable(path, why, "Correct its header, or leave it out")
    if info.n_times <= 0:
        raise unreadable(path, "which has no samples")


def _info_of_parts(path: AudioSource, parts: Iterable[Part]) -> AudioInfo:
    """Decode a file part by part to find out its length."""
    formats, counted = [], list[tuple[Part, int]]()
    for part in parts:
        sample_rate, n_times, n_channels = in_file(path, part, _measure)
        formats.append((sample_rate, n_channels))
        counted.append((part, n_times))
    if len(set(formats)) > 1:
        listed = " and ".join(f"{channels} channels at {rate} Hz" for rate, channels in dict.fromkeys(formats))
        raise Unclear(f"in which files of different formats are joined ({listed}). Split it")
    info = InParts(formats[0][0], sum(n_times for _, n_times in counted), formats[0][1])
    _check_format(path, info)
    info.parts = tuple((part, n_times) for part, n_times in counted if n_times)
    return info


def _measure(file: Any, size: int | None = None) -> tuple[int, int, int]:
    """Return the sampling rate, the length and the number of channels of an open file."""
    return file.samplerate, _n_times(file, size), file.channels


def in_file(source: AudioSource, part: Part | None, work: Callable[[Any], R]) -> R:
    """Do some work on a file, or a part of it, opened by libsndfile."""
    import soundfile

    if part is None and isinstance(source, FileObject):
        with source.open("rb", buffering=0) as file:
            is_bare_mp3 = re.match(rb"\xff[\xe0-\xff]", file.read(2) or b"") is not None
        # libsndfile does not recognise MP3 that it cannot open by name, unless there is a tag in front.
        part = Part(0, source.size, prefix=EMPTY_ID3 if is_bare_mp3 else b"")
    if part is not None:
        return _in_part(source, part, work)
    with soundfile.SoundFile(_name(source)) as file:
        return work(file)


def _in_part(path: AudioSource, part: Part, work: Callable[[Any], R]) -> R:
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


def read_blocks(file: Any, n_frames: int | None) -> Iterator[NDArray[np.float32]]:
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
