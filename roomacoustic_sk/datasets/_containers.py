"""Where the sound in an audio file begins and ends: lengths that headers misstate, and files joined end to end.

libsndfile believes a header. Writers that could not go back leave one that states no length, or a wrong one; tools and
streams join files end to end. `find_parts` looks at the bytes themselves, as few of them as possible, and returns the
parts that libsndfile reads rightly one by one.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._validation import ArgumentValueError

PLACEHOLDER = (
    0x7F000000  # writers to a pipe state at least this many bytes: SoX 0x7F000008 or 0x7FFFF000, ffmpeg 2**32-1
)
TRAILER = 512  # bytes after the last chunk that may be anything
TAIL = 1 << 16  # bytes
NEAR = 1 << 13  # bytes near the beginning and the end of a file, read at once
PROBES = (0.29, 0.5, 0.71)  # places in a long FLAC file at which frame numbers must increase


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


def find_parts(path: Path, size: int) -> tuple[Part, ...]:
    """Return the parts of a file of `size` bytes that is not read rightly as a whole; none for a file that is.

    Raises
    ------
    Truncated
        If the end of the file is missing.
    Unclear
        If the header accounts for only a part of the sound.
    """
    with path.open("rb", buffering=0) as file:
        source = Source(file, size)
        head = source.read(0, 64)
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"caff", b"riff", b"NIST", b"2BIT"):
            return _chain(source)
        start = _after_id3(source, 0, head)
        head = head[start : start + 4] if start + 4 <= len(head) else source.read(start, 4)
        if head == b"fLaC":
            return _flac(source, start)
        if head == b"OggS":
            return _ogg(source)
        if start or (len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0):
            return _mp3(source, start)
    return ()


def _after_id3(source: Source, offset: int, head: bytes) -> int:
    """Return the offset after an ID3v2 tag, if there is one."""
    if head[:3] != b"ID3" or len(head) < 10:
        return offset
    size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]  # seven bits each
    return min(offset + 10 + size + (10 if head[5] & 0x10 else 0), source.size)


# --- Containers that state how long they are ----------------------------------------------------------------------


class _Sound(NamedTuple):
    """The samples of a container as its header states them; offsets from the start of the file."""

    field: int  # offset of the length, of `width` bytes
    code: str  # of struct
    first: int  # offset of the first sample
    stated: int  # bytes of sound
    end: int  # where the container ends
    counted: int = 0  # bytes of a header that the length counts too


def _chain(source: Source) -> tuple[Part, ...]:
    """Follow containers joined end to end."""
    parts: list[Part] = []
    start, odd = 0, False
    while start < source.size:
        head = source.read(start, 64)
        sound = next((find(source, start, head) for magic, find in CONTAINERS.items() if head.startswith(magic)), None)
        if sound is None:  # not one that we know: what libsndfile reads of it counts
            if parts:
                break
            return ()
        part, end = _part_of(source, start, head[:4], sound)
        odd = odd or bool(part.patches) or start + part.size < end
        parts.append(part)
        start = end
    return tuple(parts) if odd or len(parts) > 1 else ()


def _part_of(source: Source, start: int, magic: bytes, sound: _Sound) -> tuple[Part, int]:
    """Return the part that begins with a container, and where the next one begins."""
    there = source.size - sound.first
    unknown = sound.stated >= PLACEHOLDER and (sound.stated > there or sound.stated >= 0x7FFFF000)
    if sound.code.endswith("Q"):
        unknown = sound.stated >= 1 << 62
    if sound.stated == 0 and there > TRAILER and not _is_chunks(source, sound.first):
        unknown = True
    if unknown:
        end = next(_others(source, magic, sound.first), source.size)
        stop = _before_list(source, end) if magic in (b"RIFF", b"RIFX") else end
        there = stop - sound.first
        if there >= 1 << 32 and not sound.code.endswith("Q"):
            raise Unclear(
                f"which holds {there / 2**30:.1f} GiB of sound, more than its header can state. "
                "Convert it to FLAC or RF64"
            )
        if magic in (b"RIFF", b"RIFX") and sound.stated and stop == end:
            return Part(start, end - start), end  # as libsndfile reads it
        length = struct.pack(sound.code, there + sound.counted)
        return Part(start, stop - start, ((sound.field - start, length),)), end
    if sound.stated > there:
        if sound.stated in (source.size, source.size - 8, source.size - start):  # a writer's mistake, no sound lost
            return Part(start, source.size - start), source.size
        raise Truncated(f"which is truncated: {there} of {sound.stated} bytes of sound are there")
    end = max(sound.end, sound.first + sound.stated)
    for candidate in (sound.first + sound.stated, end, end + end % 2):
        if source.read(candidate, 4) == magic and any(_others(source, magic, candidate)):
            return Part(start, candidate - start), candidate
    _check_rest(source, sound)
    if magic in READ_TO_THE_END and sound.first + sound.stated < source.size:
        return Part(start, sound.first + sound.stated - start), source.size
    return Part(start, source.size - start), source.size


def _others(source: Source, magic: bytes, offset: int) -> Iterator[int]:
    """Yield where further containers of the same kind begin."""
    inside = {b"RIFF": b"WAVE", b"RIFX": b"WAVE", b"RF64": b"WAVE", b"FORM": b"AIF"}.get(magic, b"")
    for at in source.find_all(magic, offset):
        head = source.read(at, 40)
        if inside:
            if head[8 : 8 + len(inside)] == inside:
                yield at
        elif magic != b".snd" or (len(head) == 40 and 24 <= int.from_bytes(head[4:8], "big") < 4096):
            yield at


def _before_list(source: Source, end: int) -> int:
    """Return where a chunk of metadata at the end begins."""
    first = max(0, end - 4096)
    tail = source.read(first, end - first)
    at = tail.rfind(b"LIST")
    whole = at >= 0 and len(tail) - at >= 8 and at + 8 + int.from_bytes(tail[at + 4 : at + 8], "little") == len(tail)
    return first + at if whole else end


def _is_chunks(source: Source, offset: int) -> bool:
    """Whether the rest of a file is RIFF chunks, tags or padding, and not sound."""
    while offset + 8 <= source.size:
        head = source.read(offset, 8)
        if head[:3] in (b"ID3", b"TAG") or head == b"APETAGEX":
            return True
        name, size = head[:4], int.from_bytes(head[4:], "little")
        if not all(32 <= byte < 127 for byte in name) or offset + 8 + size > source.size + 1:
            break
        offset += 8 + size + size % 2
    return offset + 8 > source.size or not any(source.read(offset, 1 << 16))


def _check_rest(source: Source, sound: _Sound) -> None:
    """Refuse a file that goes on long after the sound that its header states."""
    after = sound.first + sound.stated
    if sound.code != "<I" or source.size - after <= TRAILER:  # only WAV files grow without their header
        return
    if not any(_is_chunks(source, offset) for offset in (after, after + 1)):
        raise Unclear(
            f"whose header accounts for {sound.stated} of {source.size - sound.first} bytes after it. "
            "Have a tool that ignores the length in the header rewrite it (sox --ignore-length)"
        )


def _riff(source: Source, start: int, head: bytes) -> _Sound | None:
    """Find the samples of a WAV file (RIFF, its big-endian form RIFX, and RF64)."""
    if head[8:12] != b"WAVE":
        return None
    order = ">" if head[:4] == b"RIFX" else "<"
    size = struct.unpack(order + "I", head[4:8])[0]
    long: tuple[int, int, int] | None = None  # field, size of the file, size of the samples, by the chunk ds64
    offset = start + 12
    while offset + 8 <= source.size:
        name, n_bytes = struct.unpack(order + "4sI", source.read(offset, 8))
        if name == b"ds64":
            field = source.read(offset + 8, 16)
            if len(field) == 16:
                long = (offset + 16, *struct.unpack("<QQ", field))
        if name == b"data":
            if head[:4] == b"RF64" and long is not None and n_bytes == 0xFFFFFFFF:
                return _Sound(long[0], "<Q", offset + 8, long[2], start + 8 + long[1])
            return _Sound(offset + 4, order + "I", offset + 8, n_bytes, start + 8 + size)
        offset += 8 + n_bytes + n_bytes % 2
    return None


def _aiff(source: Source, start: int, head: bytes) -> _Sound | None:
    """Find the samples of an AIFF file."""
    if head[8:11] != b"AIF":
        return None
    offset = start + 12
    while offset + 8 <= source.size:
        name, n_bytes = struct.unpack(">4sI", source.read(offset, 8))
        if name == b"SSND":
            stated = max(0, n_bytes - 8)
            return _Sound(offset + 4, ">I", offset + 16, stated, start + 8 + int.from_bytes(head[4:8], "big"), 8)
        offset += 8 + n_bytes + n_bytes % 2
    return None


def _au(source: Source, start: int, head: bytes) -> _Sound | None:
    """Find the samples of an AU file."""
    first, stated = struct.unpack(">II", head[4:12]) if len(head) >= 12 else (0, 0)
    return _Sound(start + 8, ">I", start + first, stated, start + first + stated) if first >= 24 else None


def _caf(source: Source, start: int, head: bytes) -> _Sound | None:
    """Find the samples of a CAF file, whose length may be unknown (-1)."""
    offset = start + 8
    while offset + 12 <= source.size:
        name, n_bytes = struct.unpack(">4sQ", source.read(offset, 12))
        if name == b"data":
            end = offset + 12 + n_bytes
            return _Sound(offset + 4, ">Q", offset + 16, max(0, n_bytes - 4), end, 4)  # four bytes count edits
        offset += 12 + n_bytes
    return None


def _w64(source: Source, start: int, head: bytes) -> _Sound | None:
    """Find the samples of a Wave64 file: chunks with a name of 16 bytes and a size that includes its own header."""
    if len(head) < 40:
        return None
    offset, end = start + 40, start + int.from_bytes(head[16:24], "little")
    while offset + 24 <= source.size:
        chunk = source.read(offset, 24)
        n_bytes = int.from_bytes(chunk[16:], "little")
        if chunk[:4] == b"data":
            return _Sound(offset + 16, "<Q", offset + 24, max(0, n_bytes - 24), end, 24)
        if n_bytes < 24:
            return None
        offset += n_bytes + -n_bytes % 8
    return None


def _nist(source: Source, start: int, head: bytes) -> _Sound | None:
    """Find the samples of a NIST Sphere file, whose header is text."""
    lines = source.read(start, 1024).decode("latin-1").splitlines()
    values = {fields[0]: fields[2] for fields in (line.split() for line in lines) if len(fields) == 3}
    names = ("sample_count", "channel_count", "sample_n_bytes")
    if not all(values.get(name, "").isdigit() for name in names) or not lines[1:2] or not lines[1].strip().isdigit():
        return None
    stated = int(values[names[0]]) * int(values[names[1]]) * int(values[names[2]])
    first = start + int(lines[1])
    return _Sound(start, "", first, stated, first + stated)


def _avr(source: Source, start: int, head: bytes) -> _Sound | None:
    """Find the samples of an AVR file."""
    if len(head) < 30:
        return None
    channels, bits = (2 if head[12:14] == b"\xff\xff" else 1), int.from_bytes(head[14:16], "big")
    stated = int.from_bytes(head[26:30], "big") * channels * bits // 8
    return _Sound(start + 26, "", start + 128, stated, start + 128 + stated)


READ_TO_THE_END = (b"riff", b".snd", b"NIST", b"2BIT")  # by libsndfile, whatever their headers say
CONTAINERS = {
    b"RIFF": _riff,
    b"RIFX": _riff,
    b"RF64": _riff,
    b"FORM": _aiff,
    b".snd": _au,
    b"caff": _caf,
    b"riff": _w64,
    b"NIST_1A": _nist,
    b"2BIT": _avr,
}


# --- FLAC (RFC 9639) ----------------------------------------------------------------------------------------------


SYNCS = (b"\xff\xf8", b"\xff\xf9")  # of frames that are numbered by block and by sample


class _FlacStream(NamedTuple):
    """What STREAMINFO states."""

    block: int  # samples in a block
    largest: int  # bytes of the largest frame, 0 if unknown
    n_times: int  # 0 if unknown


def _flac(source: Source, start: int) -> tuple[Part, ...]:
    """Look for a length that is unknown or wrong, and for a second stream."""
    end = _before_tags(source)
    stream = _stream_info(source, start)
    if _flac_is_plain(source, start, end, stream):
        return ()
    starts = [start, *(at for at in source.find_all(b"fLaC", start + 4) if _is_flac(source.read(at, 8)))]
    stops = [*starts[1:], end]
    parts = tuple(_flac_part(source, at, stop) for at, stop in zip(starts, stops, strict=True))
    return parts if len(parts) > 1 or parts[0].patches else ()


def _stream_info(source: Source, start: int) -> _FlacStream:
    info = source.read(start + 8, 34)
    if len(info) < 34:
        raise Truncated("which is truncated: it ends in its header")
    return _FlacStream(
        int.from_bytes(info[2:4], "big"),
        int.from_bytes(info[7:10], "big"),
        int.from_bytes(info[10:18], "big") & (1 << 36) - 1,
    )


def _is_flac(head: bytes) -> bool:
    return head[:4] == b"fLaC" and head[4] & 0x7F == 0 and head[5:8] == b"\0\0\x22"


def _flac_part(source: Source, start: int, stop: int) -> Part:
    """Return one stream, with the length that its last frame says if its header says another."""
    stream = _stream_info(source, start)
    tail = _flac_tail(source, start, stop, stream)
    n_times = _end_of_last_frame(tail, stream)
    possible = 0 < stream.n_times <= (stop - start) // 9 * 65535  # a block of at most 65535 samples has 9 bytes or more
    if n_times is None and possible and _is_whole_within(source.read(max(start, stop - 8 * TAIL), 8 * TAIL), stream):
        n_times = stream.n_times
    if n_times is None:
        raise Truncated("which is truncated: its last frame is incomplete")
    if n_times == stream.n_times:
        return Part(start, stop - start)
    if possible and n_times < stream.n_times:
        raise Truncated(f"which is truncated: {n_times} of {stream.n_times} samples are there")
    word = int.from_bytes(source.read(start + 18, 8), "big")
    return Part(start, stop - start, ((18, (word >> 36 << 36 | n_times).to_bytes(8, "big")),))


def _flac_tail(source: Source, start: int, stop: int, stream: _FlacStream) -> bytes:
    """Return bytes from the end of a stream that the last frame fits into."""
    first = max(start + 42, stop - (stream.largest + 16 if stream.largest else TAIL))
    return source.read(first, stop - first)


def _flac_is_plain(source: Source, start: int, end: int, stream: _FlacStream) -> bool:
    """Whether the last frame is whole and the one that STREAMINFO leads us to expect, in one stream."""
    tail = _flac_tail(source, start, end, stream)
    if not stream.n_times or b"fLaC" in tail or _end_of_last_frame(tail, stream) != stream.n_times:
        return False
    if len(tail) == end - start - 42:
        return True
    n_bytes = stream.largest + 16 if stream.largest else TAIL
    positions = (start + 42 + int(share * (end - start - 42)) for share in PROBES)
    found = [_first_frame(source.read(at, n_bytes), stream) for at in positions]
    numbers = [number for number in found if number is not None]
    return all(a < b for a, b in zip([-1, *numbers], [*numbers, stream.n_times], strict=True))


def _frames_from_end(tail: bytes, stream: _FlacStream) -> Iterator[tuple[int, int]]:
    """Yield where frames seem to begin, from the last one back, and the number of samples up to their ends."""
    for sync in SYNCS:
        at = len(tail)
        while (at := tail.rfind(sync, 0, at)) >= 0:
            frame = _frame(tail, at, stream)
            if frame is not None:
                yield at, sum(frame)


def _is_whole_within(tail: bytes, stream: _FlacStream) -> bool:
    """Whether the last frame that the header leads us to expect is whole, and something else follows it."""
    for at, n_times in _frames_from_end(tail, stream):
        crc = 0
        for i, byte in enumerate(tail[at:], at + 1):
            crc = (crc << 8 & 0xFFFF) ^ CRC16[crc >> 8 ^ byte]
            if crc == 0 and (tail[i : i + 3] in (b"ID3", b"TAG", b"APE", b"LYR") or not any(tail[i:])):
                return n_times == stream.n_times
    return False


def _end_of_last_frame(tail: bytes, stream: _FlacStream) -> int | None:
    """Return the number of samples up to the end of the last frame, or None if that frame is not whole."""
    return next((n_times for at, n_times in _frames_from_end(tail, stream) if _crc16(tail[at:]) == 0), None)


def _first_frame(block: bytes, stream: _FlacStream) -> int | None:
    """Return the first sample of the first frame that begins in a block of bytes."""
    for sync in SYNCS:
        at = -1
        while (at := block.find(sync, at + 1)) >= 0:
            frame = _frame(block, at, stream)
            if frame is not None and frame[1] == stream.block:
                return frame[0]
    return None


def _frame(data: bytes, at: int, stream: _FlacStream) -> tuple[int, int] | None:
    """Return the first sample of a frame and their number, or None if no frame begins here (RFC 9639, section 9.1)."""
    head = data[at : at + 16]
    if len(head) < 6 or head[1] not in (0xF8, 0xF9) or head[3] & 1:
        return None
    n_more = 0 if head[4] < 0x80 else 8 - (head[4] ^ 0xFF).bit_length() - 1  # as in UTF-8
    code, rate = head[2] >> 4, head[2] & 15
    n_size = {6: 1, 7: 2}.get(code, 0)
    stop = 5 + n_more + n_size + {12: 1, 13: 2, 14: 2}.get(rate, 0)
    if n_more > 6 or code == 0 or rate == 15 or len(head) <= stop or _crc8(head[:stop]) != head[stop]:
        return None
    number = head[4] if not n_more else head[4] & (1 << 6 - n_more) - 1
    for byte in head[5 : 5 + n_more]:
        number = number << 6 | byte & 63
    if n_size:
        n_times = int.from_bytes(head[5 + n_more : 5 + n_more + n_size], "big") + 1
    else:
        n_times = 192 if code == 1 else 576 << code - 2 if code < 6 else 256 << code - 8
    return (number if head[1] & 1 else number * stream.block), n_times


def _remainders(n_bits: int, polynomial: int) -> list[int]:
    """Return the remainder of each byte."""
    top, mask, table = 1 << n_bits - 1, (1 << n_bits) - 1, []
    for value in range(256):
        value <<= n_bits - 8
        for _ in range(8):
            value = (value << 1 ^ polynomial if value & top else value << 1) & mask
        table.append(value)
    return table


CRC8 = bytes(_remainders(8, 0x07))
CRC16 = _remainders(16, 0x8005)
CRC32 = _remainders(32, 0x04C11DB7)


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = CRC8[crc ^ byte]
    return crc


CRC_BLOCK = 256  # bytes
CRC_PLACES = 256 * np.arange(CRC_BLOCK)


@cache
def _crc16_tables() -> tuple[NDArray[np.uint16], list[list[int]]]:
    """Return the remainders of each byte value at each place in a block, and of a remainder a block further on."""
    table = np.array(CRC16, dtype=np.uint16)
    places = [table]
    for _ in range(CRC_BLOCK - 1):
        places.append((places[-1] << 8) ^ table[places[-1] >> 8])
    shift = [places[CRC_BLOCK - 2 + k].tolist() for k in (0, 1)]
    return np.concatenate(places[CRC_BLOCK - 1 :: -1]), shift


def _crc16(data: bytes) -> int:
    """Return the CRC of a frame (polynomial 0x8005), which is 0 if it includes its own: blocks at once, then joined."""
    places, (low, high) = _crc16_tables()
    padded = np.frombuffer(bytes(-len(data) % CRC_BLOCK) + data, dtype=np.uint8).reshape(-1, CRC_BLOCK)
    blocks = np.bitwise_xor.reduce(places.take(padded + CRC_PLACES), axis=1).tolist()
    crc = 0
    for block in blocks:
        crc = low[crc & 255] ^ high[crc >> 8] ^ block
    return crc


# --- Ogg (RFC 3533) -----------------------------------------------------------------------------------------------


class _OggPage(NamedTuple):
    start: int
    flags: int
    serial: bytes
    number: int
    lacing: bytes
    stop: int


def _ogg_pages(source: Source) -> Iterator[_OggPage]:
    """Go from page to page.

    Raises
    ------
    Truncated
        If the last page is incomplete.
    """
    at = 0
    while at < source.size:
        head = source.read(at, 27 + 255)
        if head[:4] != b"OggS":
            if source.size - at < 4 and b"OggS".startswith(head):
                raise Truncated("which is truncated: its last page is incomplete")
            at = next(source.find_all(b"OggS", at + 1), source.size)
            continue
        lacing = head[27 : 27 + head[26]] if len(head) > 26 else b""
        stop = at + 27 + len(lacing) + sum(lacing)
        if len(head) < 27 or len(lacing) < head[26] or stop > source.size:
            raise Truncated("which is truncated: its last page is incomplete")
        yield _OggPage(at, head[5], head[14:18], int.from_bytes(head[18:22], "little"), lacing, stop)
        at = stop


def _ogg(source: Source) -> tuple[Part, ...]:
    """Split a chained file at its links, and check that no page is missing."""
    starts: list[int] = []
    ends: list[_OggPage] = []  # the last page of each link
    numbers: dict[bytes, int] = {}
    page = None
    for page in _ogg_pages(source):
        if page.flags & 2:  # the first of a stream; those of streams side by side follow each other
            if not ends or not ends[-1].flags & 2:
                starts.append(page.start)
                ends.append(page)
                numbers = {}
        elif page.number > numbers.get(page.serial, page.number - 1) + 1:
            raise Unclear(
                f"which lacks {page.number - numbers[page.serial] - 1} of its pages. Copy or download it again"
            )
        numbers[page.serial] = page.number
        if ends:
            ends[-1] = page
    if page is not None and page.lacing[-1:] == b"\xff":
        raise Truncated("which is truncated: its last packet is incomplete")
    patches = [_end_of_stream(source, start, end) for start, end in zip(starts, ends, strict=True)]
    if len(starts) < 2 and not any(patches):
        return ()
    stops = [*starts[1:], source.size]
    return tuple(Part(at, stop - at, patch) for at, stop, patch in zip(starts, stops, patches, strict=True))


def _end_of_stream(source: Source, start: int, page: _OggPage) -> tuple[tuple[int, bytes], ...]:
    """Mark the last page of an Opus stream as such: without that, libsndfile does not read it."""
    if page.flags & 4 or b"OpusHead" not in source.read(start, 64):
        return ()
    data = bytearray(source.read(page.start, page.stop - page.start))
    data[5] |= 4
    data[22:26] = bytes(4)
    crc = 0
    for byte in data:
        crc = (crc << 8 & 0xFFFFFFFF) ^ CRC32[crc >> 24 ^ byte]
    return (page.start - start + 5, data[5:6]), (page.start - start + 22, crc.to_bytes(4, "little"))


# --- MP3 ----------------------------------------------------------------------------------------------------------

KBITS = {  # by MPEG version 1 or 2, and layer
    (1, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}


class _Mp3Frame(NamedTuple):
    """The header of a frame, and what a Xing, Info or VBRI tag in it says of the stream."""

    size: int
    place: int  # offset of the tag, or where one would be; 0 in layers 1 and 2
    has_tag: bool
    n_frames: int  # by the tag; 0 if it does not say
    n_bytes: int


def _mp3_frame(head: bytes) -> _Mp3Frame | None:
    """Read the header of a frame (ISO 11172-3, 13818-3) and the tag in it."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = {0: 3, 2: 2, 3: 1}.get(head[1] >> 3 & 3, 0), 4 - (head[1] >> 1 & 3)
    bitrate, rate = head[2] >> 4, head[2] >> 2 & 3
    if not version or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    hertz = (44100, 48000, 32000)[rate] >> version - 1
    bits = 1000 * KBITS[min(version, 2), layer][bitrate]
    padding = head[2] >> 1 & 1
    if layer == 1:
        return _Mp3Frame((12 * bits // hertz + padding) * 4, 0, False, 0, 0)
    size = (72 if layer == 3 and version > 1 else 144) * bits // hertz + padding
    if layer == 2:
        return _Mp3Frame(size, 0, False, 0, 0)
    mono = head[3] >> 6 == 3
    place = 4 + ((17 if mono else 32) if version == 1 else (9 if mono else 17))
    if head[place : place + 4] in (b"Xing", b"Info"):
        flags, numbers = head[place + 7 : place + 8], head[place + 8 : place + 16]
        has_frames, has_bytes = (bool(flags and flags[0] & bit) for bit in (1, 2))
        after = numbers[4:] if has_frames else numbers[:4]
        return _Mp3Frame(
            size,
            place,
            True,
            int.from_bytes(numbers[:4], "big") if has_frames else 0,
            int.from_bytes(after, "big") if has_bytes else 0,
        )
    if head[36:40] == b"VBRI":
        return _Mp3Frame(size, place, True, int.from_bytes(head[50:54], "big"), int.from_bytes(head[46:50], "big"))
    return _Mp3Frame(size, place, False, 0, 0)


class _Mp3Stream(NamedTuple):
    """Frames that belong together; offsets from the start of the file."""

    start: int
    first: int  # the first frame
    n_frames: int  # without one that has nothing but a tag
    stop: int


def _mp3(source: Source, start: int) -> tuple[Part, ...]:
    """Compare a tag with the size of the file; without one, or if they differ, go from frame to frame.

    Without a tag, libsndfile guesses the length from the first frame, and reads no further.
    """
    end = _before_tags(source)
    head = source.read(start, 64)
    first = _mp3_frame(head)
    if first is None or not first.place:
        return ()  # something else at the start: what libsndfile makes of it counts
    if first.n_frames and first.n_bytes == end - start:
        return ()
    streams = _walk_mp3(source, start, end)
    if len(streams) == 1 and first.n_frames and abs(first.n_frames - streams[0].n_frames) <= 1:
        return ()
    if len(streams) == 1 and first.n_frames > streams[0].n_frames:
        raise Truncated(f"which is truncated: {streams[0].n_frames} of {first.n_frames} frames are there")
    return tuple(_mp3_part(source, stream) for stream in streams)


def _mp3_part(source: Source, stream: _Mp3Stream) -> Part:
    """Return a stream with a tag that states its length."""
    head = source.read(stream.first, 64)
    frame = _mp3_frame(head)
    size = stream.stop - stream.start
    if frame is None or not frame.place or (frame.has_tag and frame.n_frames == stream.n_frames):
        return Part(stream.start, size)
    tag = b"Xing" + struct.pack(">3I", 3, stream.n_frames, stream.stop - stream.first)
    if frame.has_tag:
        return Part(
            stream.start,
            size,
            ((stream.first - stream.start + frame.place, tag.ljust(frame.size - frame.place, b"\0")),),
        )
    header = bytes((head[0], head[1] | 1, 0x80 | head[2] & 0x0C, head[3]))  # no CRC, no padding, 64 or 112 kbit/s
    tagged = _mp3_frame(header)
    if tagged is None:
        return Part(stream.start, size)
    prefix = (header + bytes(tagged.place - 4) + tag).ljust(tagged.size, b"\0")
    return Part(stream.first, stream.stop - stream.first, (), prefix)


def _before_tags(source: Source) -> int:
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


def _walk_mp3(source: Source, start: int, end: int) -> list[_Mp3Stream]:
    """Find the streams in a file; each but the first begins with a tag.

    Raises
    ------
    Truncated
        If the last frame is cut.
    """
    data = source.read(start, end - start)
    streams: list[_Mp3Stream] = []
    at = begin = first = n_frames = stop = 0
    while at + 4 <= len(data):
        frame = _mp3_frame(data[at : at + 64])
        is_tag = data[at : at + 3] == b"ID3"
        if frame is None and not is_tag:  # padding or damage: the next two frames that follow each other
            at = _next_frame(data, at + 1)
            continue
        if n_frames and (is_tag or (frame is not None and frame.has_tag)):
            streams.append(_Mp3Stream(start + begin, start + first, n_frames, start + at))
            begin = first = at
            n_frames = 0
        if frame is None:
            at = first = _after_id3(source, start + at, data[at : at + 10]) - start
            continue
        if at + frame.size > len(data):
            raise Truncated("which is truncated: its last frame is incomplete")
        n_frames += not frame.has_tag
        at += frame.size
        stop = at
    if n_frames:
        streams.append(_Mp3Stream(start + begin, start + first, n_frames, start + stop))
    return streams


def _next_frame(data: bytes, at: int) -> int:
    """Return where the next frame or ID3v2 tag begins that another frame, or the end, follows."""
    while (at := min((i for i in (data.find(b"\xff", at), data.find(b"ID3", at)) if i >= 0), default=len(data))) < len(
        data
    ):
        frame = _mp3_frame(data[at : at + 4])
        if frame is not None:
            after = data[at + frame.size : at + frame.size + 4]
            if _mp3_frame(after) is not None or at + frame.size == len(data):
                return at
        elif data[at : at + 3] == b"ID3":
            return at
        at += 1
    return len(data)


# --- A part as a file ---------------------------------------------------------------------------------------------


class Window(io.RawIOBase):
    """A part of a file, as a file that libsndfile reads through callbacks."""

    def __init__(self, path: Path, part: Part) -> None:
        self._file, self._part, self._at = path.open("rb"), part, 0
        self._size = len(part.prefix) + part.size
        self.interrupt: BaseException | None = None
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
            n_bytes = max(0, min(len(buffer), self._size - self._at))
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
            self.interrupt = error
            return 0

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
