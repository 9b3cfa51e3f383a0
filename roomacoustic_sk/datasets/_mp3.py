"""MP3 streams (ISO 11172-3, 13818-3): lengths that tags misstate or that nothing states, missing ends, joined files."""

from __future__ import annotations

import struct
from typing import NamedTuple

from roomacoustic_sk.datasets._parts import Part, Source, Truncated, after_id3, before_tags

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


def mp3_parts(source: Source, start: int) -> tuple[Part, ...]:
    """Compare a tag with the size of the file; without one, or if they differ, go from frame to frame.

    Without a tag, libsndfile guesses the length from the first frame, and reads no further.
    """
    end = before_tags(source)
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
            at = first = after_id3(source, start + at, data[at : at + 10]) - start
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
