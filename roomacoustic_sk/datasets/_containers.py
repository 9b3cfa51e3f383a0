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

PLACEHOLDER = 0x7F000000  # writers to a pipe state at least this many bytes: SoX 0x7F000008 or 0x7FFFF000, ffmpeg 2**32-1
TRAILER = 512  # bytes after the last chunk that may be anything
TAIL = 1 << 16  # bytes
PROBES = (0.23, 0.41, 0.59, 0.77)  # places in a long FLAC file at which frame numbers must increase
OGG_PAGE = 27 + 255 + 255 * 255  # bytes of the longest page


class Part(NamedTuple):
    """A range of bytes that is an audio file of its own, and bytes of it to replace when it is read."""

    start: int
    size: int
    patches: tuple[tuple[int, bytes], ...] = ()  # offset from `start`, bytes


class Truncated(ArgumentValueError):  # noqa: N818 - the reader turns it into the user's error
    """The file ends before its sound does."""


class Unclear(ArgumentValueError):  # noqa: N818
    """The header contradicts the file in a way that cannot be resolved."""


class Source:
    """The bytes of an open file, by offset."""

    def __init__(self, file: io.BufferedIOBase | io.RawIOBase, size: int) -> None:
        self.file, self.size = file, size

    def read(self, offset: int, n_bytes: int) -> bytes:
        """Return some bytes, fewer at the end of the file."""
        self.file.seek(offset)
        return self.file.read(n_bytes) or b""

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


def find_parts(path: Path) -> tuple[Part, ...]:
    """Return the parts of a file that are not read rightly as a whole; none for a file that is.

    Raises
    ------
    Truncated
        If the end of the file is missing.
    Unclear
        If the header accounts for only a part of the sound.
    """
    with path.open("rb", buffering=0) as file:
        source = Source(file, path.stat().st_size)
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
        odd = odd or bool(part.patches)
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
        there = end - sound.first
        if there >= 1 << 32 and not sound.code.endswith("Q"):
            raise Unclear(
                f"which holds {there / 2**30:.1f} GiB of sound, more than its header can state. "
                "Convert it to FLAC or RF64"
            )
        patch = ((sound.field - start, struct.pack(sound.code, there)),)
        return Part(start, end - start, patch if sound.stated == 0 else ()), end
    if sound.stated > there:
        if sound.stated in (source.size, source.size - 8, source.size - start):  # a writer's mistake, no sound lost
            return Part(start, source.size - start), source.size
        raise Truncated(f"which is truncated: {there} of {sound.stated} bytes of sound are there")
    end = max(sound.end, sound.first + sound.stated)
    for candidate in (sound.first + sound.stated, end, end + end % 2):
        if source.read(candidate, 4) == magic and any(_others(source, magic, candidate)):
            return Part(start, candidate - start), candidate
    _check_rest(source, sound)
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
    if not any(_is_chunks(source, offset) for offset in (after, after + 1, sound.end)):
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
            return _Sound(offset + 4, ">I", offset + 16, stated, start + 8 + int.from_bytes(head[4:8], "big"))
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
            return _Sound(offset + 4, ">Q", offset + 12, n_bytes, offset + 12 + n_bytes)
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
            return _Sound(offset + 16, "<Q", offset + 24, max(0, n_bytes - 24), end)
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
    first = max(start + 42, stop - max(TAIL, stream.largest))
    tail = source.read(first, stop - first)
    n_times = _end_of_last_frame(tail, stream)
    possible = 0 < stream.n_times <= (stop - start) // 9 * 65535  # a block of at most 65535 samples has 9 bytes or more
    if n_times is None and possible and any(sum(frame) == stream.n_times for frame in _frames(tail, stream)):
        n_times = stream.n_times  # the last frame is there, and something after it: libsndfile tells whether it is whole
    if n_times is None:
        raise Truncated("which is truncated: its last frame is incomplete")
    if n_times == stream.n_times:
        return Part(start, stop - start)
    if possible and n_times < stream.n_times:
        raise Truncated(f"which is truncated: {n_times} of {stream.n_times} samples are there")
    word = int.from_bytes(source.read(start + 18, 8), "big")
    return Part(start, stop - start, ((18, (word >> 36 << 36 | n_times).to_bytes(8, "big")),))


def _flac_is_plain(source: Source, start: int, end: int, stream: _FlacStream) -> bool:
    """Whether the last frame is whole and the one that STREAMINFO leads us to expect, in one stream."""
    tail_start = max(start + 42, end - max(TAIL, stream.largest))
    tail = source.read(tail_start, end - tail_start)
    if not stream.n_times or b"fLaC" in tail or _end_of_last_frame(tail, stream) != stream.n_times:
        return False
    if tail_start == start + 42:
        return True
    positions = (start + 42 + int(share * (end - start - 42)) for share in PROBES)
    found = [_first_frame(source.read(at, TAIL // 4), stream) for at in positions]
    numbers = [number for number in found if number is not None]
    return all(a < b for a, b in zip([0, *numbers], [*numbers, stream.n_times], strict=True))


def _frames(tail: bytes, stream: _FlacStream) -> Iterator[tuple[int, int]]:
    """Yield the first sample and the length of frames, from the last one back."""
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        frame = _frame(tail, at, stream)
        if frame is not None:
            yield frame


def _end_of_last_frame(tail: bytes, stream: _FlacStream) -> int | None:
    """Return the number of samples up to the end of the last frame, or None if that frame is not whole."""
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        frame = _frame(tail, at, stream)
        if frame is not None and _crc16(tail[at:]) == 0:
            return sum(frame)
    return None


def _first_frame(block: bytes, stream: _FlacStream) -> int | None:
    """Return the first sample of the first frame that begins in a block of bytes."""
    at = -1
    while (at := block.find(b"\xff", at + 1)) >= 0:
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


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc = CRC8[crc ^ byte]
    return crc


CRC_BLOCK = 64  # bytes


@cache
def _crc16_tables() -> tuple[NDArray[np.uint16], list[list[int]]]:
    """Return the remainders of each byte value at each place in a block, and of a remainder a block further on."""
    table = np.array(_remainders(16, 0x8005), dtype=np.uint16)
    places = [table]
    for _ in range(CRC_BLOCK + 1):
        places.append((places[-1] << 8) ^ table[places[-1] >> 8])
    shift = [places[CRC_BLOCK - 1 + k].tolist() for k in (0, 1)]
    return np.stack(places[CRC_BLOCK - 1 :: -1]), shift


def _crc16(data: bytes) -> int:
    """Return the CRC of a frame (polynomial 0x8005), which is 0 if it includes its own: blocks at once, then joined."""
    places, (low, high) = _crc16_tables()
    padded = np.frombuffer(bytes(-len(data) % CRC_BLOCK) + data, dtype=np.uint8).reshape(-1, CRC_BLOCK)
    blocks = np.bitwise_xor.reduce(places[np.arange(CRC_BLOCK), padded], axis=1).tolist()
    crc = 0
    for block in blocks:
        crc = low[crc & 255] ^ high[crc >> 8] ^ block
    return crc


# --- Ogg (RFC 3533) -----------------------------------------------------------------------------------------------


def _ogg(source: Source) -> tuple[Part, ...]:
    """Split a chained file at its links, and check that its last page is whole."""
    tail_start = max(0, source.size - 2 * OGG_PAGE)
    tail = source.read(tail_start, 2 * OGG_PAGE)
    page = tail.rfind(b"OggS")
    n_segments = tail[page + 26] if page >= 0 and len(tail) > page + 26 else None
    lacing = b"" if n_segments is None else tail[page + 27 : page + 27 + n_segments]
    stop = page + 27 + len(lacing) + sum(lacing)
    if n_segments is None or len(lacing) < n_segments or stop > len(tail):
        raise Truncated("which is truncated: its last page is incomplete")
    if lacing[-1:] == b"\xff" or tail[stop:] in (b"O", b"Og", b"Ogg"):
        raise Truncated("which is truncated: its last packet is incomplete")
    starts: list[int] = []
    last = -1  # the first pages of several streams side by side follow each other
    for at in source.find_all(b"OggS\0\2", 0):
        head = source.read(at, 27 + 255)
        if at != last and len(head) > 27:
            starts.append(at)
        last = at + 27 + head[26] + sum(head[27 : 27 + head[26]]) if len(head) > 26 else -1
    stops = [*starts[1:], source.size]
    return tuple(Part(at, stop - at) for at, stop in zip(starts, stops, strict=True)) if len(starts) > 1 else ()


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
    size: int
    tag: int  # offset of a tag with the length of the file, 0 if there is none
    stated: int  # bytes, by that tag; 0 if it does not say


def _mp3_frame(head: bytes) -> _Mp3Frame | None:
    """Read the header of a frame, and a Xing, Info or VBRI tag in it."""
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
        return _Mp3Frame((12 * bits // hertz + padding) * 4, 0, 0)
    size = (72 if layer == 3 and version > 1 else 144) * bits // hertz + padding
    mono = head[3] >> 6 == 3
    tag = 4 + ((17 if mono else 32) if version == 1 else (9 if mono else 17))
    if head[tag : tag + 4] in (b"Xing", b"Info") and len(head) >= tag + 16:
        flags = head[tag + 7]
        at = tag + 8 + 4 * (flags & 1)
        return _Mp3Frame(size, tag, int.from_bytes(head[at : at + 4], "big") if flags & 2 else 0)
    if head[36:40] == b"VBRI":
        return _Mp3Frame(size, 36, int.from_bytes(head[46:50], "big"))
    return _Mp3Frame(size, 0, 0)


def _mp3(source: Source, start: int) -> tuple[Part, ...]:
    """Compare the length in a file's tag with what is there; without one, or if they differ, go from frame to frame."""
    end = _before_tags(source)
    first = _mp3_frame(source.read(start, 64))
    if first is None:
        return ()  # something else at the start: what libsndfile makes of it counts
    if first.stated and first.stated == end - start:
        return ()
    starts, cut = _walk_mp3(source, start, end)
    if cut or (len(starts) == 1 and first.stated > end - start + first.size):
        raise Truncated("which is truncated: its last frame is incomplete or missing")
    if len(starts) == 1 and not (first.stated and first.stated < end - start - first.size):
        return ()
    stops = [*starts[1:], source.size]
    return tuple(_mp3_part(source, at, stop) for at, stop in zip(starts, stops, strict=True))


def _mp3_part(source: Source, start: int, stop: int) -> Part:
    """Return a part, without a tag that states another length than it has."""
    offset = _after_id3(source, start, source.read(start, 10))
    frame = _mp3_frame(source.read(offset, 64))
    if frame is None or not frame.stated or abs(frame.stated - (min(stop, _before_tags(source)) - offset)) <= 2048:
        return Part(start, stop - start)
    return Part(start, stop - start, ((offset - start + frame.tag, bytes(4)),))


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


def _walk_mp3(source: Source, start: int, end: int) -> tuple[list[int], bool]:
    """Return where streams begin, and whether the last frame is cut."""
    data = source.read(start, end - start) if end - start < 1 << 28 else b""
    starts, at = [start], 0
    while at + 4 <= len(data):
        frame = _mp3_frame(data[at : at + 64])
        if frame is not None:
            if at and frame.tag and start + at - starts[-1] > 64 and not _is_tag_only(data, starts[-1] - start, at):
                starts.append(start + at)
            if at + frame.size > len(data):
                return starts, True
            at += frame.size
            continue
        if data[at : at + 3] == b"ID3":
            starts.append(start + at)
            at = _after_id3(source, start + at, data[at : at + 10]) - start
            continue
        at = next((i for i in _syncs(data, at + 1) if _mp3_frame(data[i : i + 64])), len(data))
    return starts, False


def _is_tag_only(data: bytes, since: int, at: int) -> bool:
    """Whether only an ID3v2 tag lies between."""
    head = data[since : since + 10]
    if head[:3] != b"ID3" or len(head) < 10:
        return False
    return since + 10 + (head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]) >= at


def _syncs(data: bytes, at: int) -> Iterator[int]:
    while (at := data.find(b"\xff", at)) >= 0:
        yield at
        at += 1


# --- A part as a file ---------------------------------------------------------------------------------------------


class Window(io.RawIOBase):
    """A part of a file, as a file that libsndfile reads through callbacks."""

    def __init__(self, path: Path, part: Part) -> None:
        self._file, self._part, self._at = path.open("rb"), part, 0
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
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._part.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Return the offset."""
        return self._at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read bytes into a buffer."""
        try:
            n_bytes = max(0, min(len(buffer), self._part.size - self._at))
            self._file.seek(self._part.start + self._at)
            data = bytearray(self._file.read(n_bytes))
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
