"""Audio files are found, and file objects are read from their position on."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from toys import RATE, noise

from roomacoustic_sk.datasets import _audio, read_audio
from roomacoustic_sk.datasets._audio import list_audio_files

SOUND = noise(RATE, 2, level=-20)


def encoded(kind: str = "WAV", sound: NDArray[np.float64] = SOUND) -> bytes:
    """Return the bytes of an audio file."""
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format=kind)
    return file.getvalue()


@contextmanager
def piped(data: bytes) -> Iterator[BinaryIO]:
    """Yield the reading end of a pipe through which bytes come."""
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as end:
            end.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb") as end:
        yield end
        end.read()
    writer.join()


def test_audio_files_are_listed_in_order_from_all_subfolders(tmp_path: Path) -> None:
    for name in ("b/2.FLAC", "a/1.wav", "b/c/3.ogg", "4.mp3", ".hidden/5.wav", "b/._2.flac", "b/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = [path.relative_to(tmp_path).as_posix() for path in list_audio_files(tmp_path)]
    assert found == ["4.mp3", "a/1.wav", "b/2.FLAC", "b/c/3.ogg"]


def test_invalid_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ValueError, match=r"^folder must hold audio files .* got none"):
        list_audio_files(tmp_path)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        list_audio_files(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="got a file"):
        list_audio_files(tmp_path / "notes.txt")


# --- File objects ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF"])
def test_file_objects_give_the_samples_of_the_file(tmp_path: Path, kind: str) -> None:
    data = encoded(kind)
    (tmp_path / "a").write_bytes(data)
    expected = read_audio(tmp_path / "a", 8000)
    np.testing.assert_array_equal(read_audio(io.BytesIO(data), 8000), expected)
    for buffering in (-1, 0):
        with (tmp_path / "a").open("rb", buffering=buffering) as file:
            np.testing.assert_array_equal(read_audio(file, 8000), expected)
    with piped(data) as pipe:
        np.testing.assert_array_equal(read_audio(pipe, 8000), expected)


def test_a_file_object_is_read_from_its_position_on() -> None:
    data = encoded()
    file = io.BytesIO(b"a header of another format" + data)
    file.seek(26)
    np.testing.assert_array_equal(read_audio(file), read_audio(io.BytesIO(data)))
    file.seek(0, io.SEEK_END)
    with pytest.raises(ValueError, match=r"^read_audio: path .* got a file object, which is empty .* Rewind it"):
        read_audio(file)


class Dribble(io.RawIOBase):
    """A file that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self.rest = memoryview(data)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        n_bytes = min(len(buffer), len(self.rest), 1000)
        buffer[:n_bytes], self.rest = self.rest[:n_bytes], self.rest[n_bytes:]
        return n_bytes


class ShortReads(io.BytesIO):
    """A file that can seek and gives a few bytes at a time."""

    def read(self, n_bytes: int | None = -1) -> bytes:
        return super().read(min(n_bytes or 0, 1000))


def test_short_reads_do_not_end_a_file() -> None:
    np.testing.assert_array_equal(read_audio(ShortReads(encoded())), read_audio(io.BytesIO(encoded())))
    np.testing.assert_array_equal(read_audio(Dribble(encoded())), read_audio(io.BytesIO(encoded())))


def test_streams_and_joined_files_are_read_whole_from_file_objects() -> None:
    data = bytearray(encoded())
    data[40:44] = (0x7FFFF000).to_bytes(4, "little")  # as SoX writes to a pipe
    with piped(bytes(data)) as pipe:
        assert read_audio(pipe).shape == (2, RATE)
    joined = read_audio(io.BytesIO(encoded() + encoded("WAV", SOUND[::-1])))
    np.testing.assert_allclose(joined, np.concatenate([SOUND, SOUND[::-1]]).T, atol=1e-4)


class StaleFile(io.BytesIO):
    """A file whose end cannot be read."""

    def read(self, n_bytes: int | None = -1) -> bytes:
        if self.tell() > 20_000:
            raise OSError("Stale file handle")
        return super().read(n_bytes)


def test_bad_file_objects_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded()
    with pytest.raises(ValueError, match=r"^read_audio: path .* got a file object, which is truncated: 31956 of 64000"):
        read_audio(io.BytesIO(data[:32000]))
    with pytest.raises(ValueError, match=r"got a file object, which libsndfile cannot read"):
        read_audio(io.BytesIO(b"This is a letter, not a sound. " * 100))
    with pytest.raises(ValueError, match=r"can be read, got a file object: Stale file handle"):
        read_audio(StaleFile(data))
    (tmp_path / "cut.wav").write_bytes(data[:32000])
    with (
        (tmp_path / "cut.wav").open("rb") as file,
        pytest.raises(ValueError, match=r"file object \(.*cut\.wav\), which"),
    ):
        read_audio(file)
    with pytest.raises(ValueError, match=r"can be read, got a file object \(.*cut\.wav\): .*closed file"):
        read_audio(file)
    with (
        (tmp_path / "cut.wav").open() as text,
        pytest.raises(TypeError, match=r"opened as text. Open it with mode 'rb'"),
    ):
        read_audio(text)
    with pytest.raises(TypeError, match=r"path must be a path or a file object .*, got a bytes. Pass io.BytesIO"):
        read_audio(data)
    monkeypatch.setattr(_audio, "LARGEST_STREAM", 1 << 20)
    endless = Dribble(bytes(1 << 22))
    with pytest.raises(
        ValueError, match=r"at most 0.000976562 GiB if it cannot seek, got a file object, which is longer"
    ):
        read_audio(endless)
    assert len(endless.rest) > 1 << 21


def test_a_sample_of_a_file_object_that_is_not_finite_is_named() -> None:
    file, sound = io.BytesIO(), SOUND.copy()
    sound[4000, 1] = np.nan
    soundfile.write(file, sound, RATE, format="WAV", subtype="FLOAT")
    file.seek(0)
    with pytest.raises(ValueError, match=r"got a file object, which has NaN or infinite samples, first at 0.25 s"):
        read_audio(file, 8000)
