"""Ogg files (RFC 3533): missing pages and ends, and files chained end to end."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import NamedTuple

from roomacoustic_sk.datasets._parts import Part, Source, Truncated, Unclear

REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits in reverse order."""


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
    Unclear
        If a page differs from its checksum: libsndfile would leave it out without a word.
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
        page = source.read(at, stop - at)
        if _checksum(page) != int.from_bytes(page[22:26], "little"):
            raise Unclear(
                f"which is damaged: its page at byte {at} differs from its checksum. Copy or download it again"
            )
        yield _OggPage(at, head[5], head[14:18], int.from_bytes(head[18:22], "little"), lacing, stop)
        at = stop


def ogg_parts(source: Source) -> tuple[Part, ...]:
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
    checksum = _checksum(bytes(data)).to_bytes(4, "little")
    return (page.start - start + 5, bytes(data[5:6])), (page.start - start + 22, checksum)


def _checksum(page: bytes) -> int:
    """Return the checksum of a page, which counts itself as zeros: that of zlib with all bits in reverse order."""
    reverse = (page[:22] + bytes(4) + page[26:]).translate(REVERSED)
    return int(f"{zlib.crc32(reverse, 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)
