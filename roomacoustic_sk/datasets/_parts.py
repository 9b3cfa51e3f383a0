"""Parts of a file that are audio files of their own, and their bytes."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, Protocol

from roomacoustic_sk._validation import ArgumentValueError

NEAR = 1 << 13  # bytes near the beginning and the end of a file, read at once


class Openable(Protocol):
    """A path, or anything else that opens the bytes of a file."""

    def open(self, mode: Literal["rb"], buffering: int = -1) -> Any:
        """Return the bytes as a file of its own, at its beginning."""


class Part(NamedTuple):
    """A range of bytes that is an audio file of its own, and bytes of it to replace when it is read."""

    start: int
    size: int
    patches: tuple[tuple[int, bytes], ...] = ()  # offset from `start`, bytes
    prefix: bytes = b""  # to put before it


class Truncated(ArgumentValueError):  # noqa: N818 - the reader turns it into the user's error
    """The file ends before its sound does."""


class Unclear(ArgumentValueError):  # noqa: N818
    """The header contradicts the file in a way that cannot be resolved."""


class Source:
    """The bytes of an open file, by offset."""

    def __init__(self, file: io.RawIOBase, size: int) -> None:
        self._file, self.size = file, size
        self._head = self._tail = file.read(NEAR) or b""

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return some bytes, fewer at the end of the file; those near its ends are read once."""
        if offset >= self.size:
            return b""
        if offset + n_bytes <= len(self._head) or self.size <= NEAR:
            return self._head[offset : offset + n_bytes]
        near_end = offset - (self.size - NEAR)
        if near_end < 0:
            return self._fetch(offset, n_bytes)
        if self._tail is self._head:
            self._tail = self._fetch(self.size - NEAR, NEAR)
        return self._tail[near_end : near_end + n_bytes]

    def _fetch(self, offset: int, n_bytes: int) -> bytes:
        self._file.seek(offset)
        return self._file.read(n_bytes) or b""

    def find_all(self, pattern: bytes, offset: int) -> Iterator[int]:
        """Yield where a pattern occurs, from an offset on."""
        step = 1 << 20
        while offset < self.size:
            block = self.read(offset, step + len(pattern) - 1)
            at = block.find(pattern)
            while at >= 0:
                yield offset + at
                at = block.find(pattern, at + 1)
            offset += step


def after_id3(source: Source, offset: int, head: bytes) -> int:
    """Return the offset after an ID3v2 tag, if there is one."""
    if head[:3] != b"ID3" or len(head) < 10:
        return offset
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]  # seven bits each
    return min(offset + 10 + size + (10 if head[5] & 0x10 else 0), source.size)


def before_tags(source: Source) -> int:
    """Return where the tags at the end of the file begin: ID3v1, Lyrics3 and APE."""
    end = source.size
    if source.read(end - 128, 3) == b"TAG" if end >= 128 else False:
        end -= 128
    if end >= 32:
        tag = source.read(end - 32, 32)
        if tag[:8] == b"APETAGEX":
            size = int.from_bytes(tag[12:16], "little") + (32 if tag[23] & 0x80 else 0)
            end = max(0, end - size)
    if end >= 15 and source.read(end - 9, 9) == b"LYRICS200":
        size_text = source.read(end - 15, 6)
        end = max(0, end - 15 - int(size_text)) if size_text.isdigit() else end
    return end


def crc_table(n_bits: int, polynomial: int) -> list[int]:
    """Return the remainder of each byte."""
    top, mask, table = 1 << n_bits - 1, (1 << n_bits) - 1, []
    for value in range(256):
        value <<= n_bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table


class Window(io.RawIOBase):
    """A part of a file, as a file that libsndfile reads through callbacks."""

    def __init__(self, path: Openable, part: Part) -> None:
        self._file, self._part, self._at = path.open("rb"), part, 0
        self._size = len(part.prefix) + part.size
        self.stopped = False
        """Whether nobody waits for the rest."""
        self.error: BaseException | None = None
        """What was raised in a callback: C code cannot pass it on, so the caller does."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to an offset."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the offset."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read bytes into a buffer."""
        try:
            shift = len(self._part.prefix)
            n_bytes = 0 if self.stopped else max(0, min(len(buffer), self._size - self._at))
            data = bytearray(self._part.prefix[self._at : self._at + n_bytes])
            if len(data) < n_bytes:
                self._file.seek(self._part.start + self._at + len(data) - shift)
                data += self._file.read(n_bytes - len(data))
            for offset, patch in self._part.patches:
                first, stop = max(offset, self._at), min(offset + len(patch), self._at + len(data))
                if first < stop:
                    data[first - self._at : stop - self._at] = patch[first - offset : stop - offset]
            buffer[: len(data)] = data
            self._at += len(data)
            return len(data)
        except BaseException as error:
            self.error = error
            return 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
