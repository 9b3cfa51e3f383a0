"""Where the sound in an audio file begins and ends: lengths that headers misstate, and files joined end to end.

libsndfile believes a header. Writers that could not go back leave one that states no length, or a wrong one; tools and
streams join files end to end. `find_parts` looks at the bytes themselves, as few of them as possible, and returns the
parts that libsndfile reads rightly one by one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from roomacoustic_sk.datasets._flac import flac_parts
from roomacoustic_sk.datasets._mp3 import mp3_parts
from roomacoustic_sk.datasets._ogg import ogg_parts
from roomacoustic_sk.datasets._parts import Openable, Part, Source, Truncated, Unclear, after_id3

PLACEHOLDER = (
    0x7F000000  # writers to a pipe state at least this many bytes: SoX 0x7F000008 or 0x7FFFF000, ffmpeg 2**32-1
)
TRAILER = 512  # bytes after the last chunk that may be anything


def find_parts(path: Openable, size: int) -> tuple[Part, ...]:
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
        if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"FORM", b".snd", b"caff", b"riff", b"NIST", b"2BIT", b"Crea"):
            return container_parts(source)
        start = after_id3(source, 0, head)
        head = head[start : start + 4] if start + 4 <= len(head) else source.read(start, 4)
        if head == b"fLaC":
            return flac_parts(source, start)
        if head == b"OggS":
            return ogg_parts(source)
        if start or (len(head) > 1 and head[0] == 0xFF and head[1] >= 0xE0):
            return mp3_parts(source, start)
    return ()


# --- Containers that state how long they are ----------------------------------------------------------------------


class _Sound(NamedTuple):
    """The samples of a container as its header states them; offsets from the start of the file."""

    field: int  # offset of the length, of `width` bytes
    code: str  # of struct
    first: int  # offset of the first sample
    stated: int  # bytes of sound
    end: int  # where the container ends
    counted: int = 0  # bytes of a header that the length counts too


def container_parts(source: Source) -> tuple[Part, ...]:
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
    if there < 0:
        raise Truncated("which is truncated: it ends before its sound begins")
    unknown = bool(sound.code) and sound.stated >= PLACEHOLDER and (sound.stated > there or sound.stated >= 0x7FFFF000)
    if sound.code.endswith("Q"):
        unknown = sound.stated >= 1 << 62
    if sound.code and sound.stated == 0 and there > TRAILER and not _is_chunks(source, sound.first):
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


def _voc(source: Source, start: int, head: bytes) -> _Sound | None:
    """Find the samples of the first block of sound in a Creative Voice file; IRCAM, PAF and PVF state no length."""
    offset = start + int.from_bytes(head[20:22], "little")
    while offset + 4 <= source.size:
        block = source.read(offset, 4)
        kind, n_bytes = block[0], int.from_bytes(block[1:], "little")
        if kind in (1, 9):  # sound, after a header of 2 or 12 bytes
            first = offset + 4 + (2 if kind == 1 else 12)
            stated = n_bytes - (first - offset - 4)
            return _Sound(offset + 1, "", first, stated, first + stated) if stated >= 0 else None
        if kind == 0:
            return None
        offset += 4 + n_bytes
    return None


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
    b"Creative Voice File\x1a": _voc,
}
