"""FLAC streams (RFC 9639): lengths that are unknown or wrong, missing ends, and streams joined end to end."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk.datasets._parts import NEAR, Part, Source, Truncated, before_tags, crc_table

TAIL = 1 << 16  # bytes that hold the last frame, if its largest size is not known
PROBES = (0.29, 0.5, 0.71)  # places in a file at which frame numbers must increase

SYNCS = (b"\xff\xf8", b"\xff\xf9")  # of frames that are numbered by block and by sample


class _FlacStream(NamedTuple):
    """What STREAMINFO states."""

    block: int  # samples in a block
    largest: int  # bytes of the largest frame, 0 if unknown
    n_times: int  # 0 if unknown


def flac_parts(source: Source, start: int) -> tuple[Part, ...]:
    """Look for a length that is unknown or wrong, and for a second stream."""
    end = before_tags(source)
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
    if len(numbers) < 2 or b"fLaC" in source.read(start + 4, NEAR):  # too few to tell, or a short stream in front
        return False
    return all(a < b for a, b in zip([0, *numbers], [*numbers, stream.n_times], strict=True))


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


CRC8 = bytes(crc_table(8, 0x07))
CRC16 = crc_table(16, 0x8005)


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
