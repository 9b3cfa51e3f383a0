"""Files whose headers state no length or a wrong one, and joined files, are read whole or refused, never in part."""

from __future__ import annotations

import io
import os
import pickle
import signal
import struct
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from roomacoustic_sk.acoustics import DecayRangeWarning
from roomacoustic_sk.datasets import load_measured_rirs, load_recordings, load_speech, read_audio
from roomacoustic_sk.datasets._audio import audio_info
from roomacoustic_sk.datasets._reading import read_segment

RATE = 16000
SOUND = (0.1 * np.random.default_rng(0).standard_normal(48000) * (np.arange(48000) % 9000 < 6000)).astype("f4")
OTHER = SOUND[:30000][::-1]


def packed(sound: NDArray[np.float32], kind: str, coding: str | None = None, rate: int = RATE) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=kind, subtype=coding)
    return file.getvalue()


def read(tmp_path: Path, data: bytes) -> NDArray[np.float32]:
    """Read a file whole, and check that a part of it is the same slice."""
    (tmp_path / "a.wav").write_bytes(data)
    info = audio_info(tmp_path / "a.wav")
    whole = read_segment(tmp_path / "a.wav", RATE, info=info)
    part = read_segment(tmp_path / "a.wav", RATE, start=len(whole) - 20001, n_times=15000, info=info)
    np.testing.assert_allclose(part, whole[-20001:-5001], atol=1e-4)
    assert len(whole) == info.n_times
    return whole


def put(data: bytes, after: bytes, offset: int, code: str, value: int) -> bytes:
    """Replace a number in a header."""
    at = data.index(after) + len(after) + offset
    return data[:at] + struct.pack(code, value) + data[at + struct.calcsize(code) :]


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFDB, 0xFFFFFFFF])
@pytest.mark.parametrize(
    ("kind", "after", "code"), [("WAV", b"data", "<I"), ("AU", b".snd", ">I"), ("AIFF", b"SSND", ">I")]
)
def test_a_stream_of_unknown_length_is_read_whole(
    tmp_path: Path, length: int, kind: str, after: bytes, code: str
) -> None:
    data = put(packed(SOUND, kind), after, 4 if kind == "AU" else 0, code, length)
    np.testing.assert_allclose(read(tmp_path, data), SOUND, atol=1e-4)
    if kind == "WAV":
        assert len(read(tmp_path, data + data)) == 2 * len(SOUND)


@pytest.mark.parametrize(("kind", "after", "offset"), [("CAF", b"data", 0), ("RF64", b"ds64", 12)])
def test_long_formats_of_unknown_length_are_read_whole(tmp_path: Path, kind: str, after: bytes, offset: int) -> None:
    data = put(packed(SOUND, kind), after, offset, "<Q", 2**64 - 1)
    np.testing.assert_allclose(read(tmp_path, data), SOUND, atol=1e-4)


@pytest.mark.parametrize("claim", [0, 4096, 2**36 - 1])
def test_a_flac_stream_is_as_long_as_its_frames_say(tmp_path: Path, claim: int) -> None:
    data = bytearray(packed(SOUND, "FLAC"))
    data[18:26] = (int.from_bytes(data[18:26], "big") >> 36 << 36 | claim).to_bytes(8, "big")
    np.testing.assert_allclose(read(tmp_path, bytes(data)), SOUND, atol=1e-4)
    (tmp_path / "a.wav").write_bytes(data[:-20])
    with pytest.raises(ValueError, match=r"a\.wav, which is truncated"):
        audio_info(tmp_path / "a.wav")


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "W64", "RF64", "NIST", "AVR", "VOC"])
@pytest.mark.parametrize("missing", [3, 700, 0.4])
def test_a_missing_end_is_found_when_the_file_is_listed(tmp_path: Path, kind: str, missing: float) -> None:
    data = packed(SOUND, kind)
    (tmp_path / "a.wav").write_bytes(data[: -round(missing if missing > 1 else missing * len(data))])
    with pytest.raises(
        ValueError, match=r"load_recordings: path must be a readable audio file, got .*a\.wav.*truncated"
    ):
        load_recordings(tmp_path, duration=0.5)


@pytest.mark.parametrize("tail", [bytes(3000), b"TAG" + bytes(125)], ids=["zeros", "ID3v1"])
@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "W64", "RF64", "CAF", "NIST", "AVR"])
def test_padding_and_tags_after_the_end_are_no_sound(tmp_path: Path, kind: str, tail: bytes) -> None:
    assert len(read(tmp_path, packed(SOUND, kind) + tail)) == len(SOUND)


JOINED = ["WAV", "RF64", "W64", "AIFF", "AU", "CAF", "FLAC", "OGG", "MP3", "NIST", "AVR"]


@pytest.mark.parametrize("kind", JOINED)
def test_files_joined_end_to_end_are_read_as_one(tmp_path: Path, kind: str) -> None:
    data, other = packed(SOUND, kind), packed(OTHER, kind)
    for pieces, sounds in (([data, other], [SOUND, OTHER]), ([data, data], [SOUND] * 2), ([other] * 3, [OTHER] * 3)):
        samples, expected = read(tmp_path, b"".join(pieces)), np.concatenate(sounds)
        assert len(samples) == len(expected)
        if kind in ("OGG", "MP3"):
            expected = np.concatenate([soundfile.read(io.BytesIO(piece), dtype="float32")[0] for piece in pieces])
        np.testing.assert_allclose(samples, expected, atol=1e-4)


@pytest.mark.parametrize("n_times", [4096, 8000, 16_000, 24_000, 40_000])
def test_joined_flac_files_of_equal_length_are_read_as_one(n_times: int) -> None:
    """The last frame of the second has the number that the header of the first leads us to expect."""
    loud = np.resize(SOUND, n_times)
    for first in (loud, loud[::-1].copy(), np.zeros(n_times, dtype="f4")):
        joined = io.BytesIO(packed(first, "FLAC") + packed(loud, "FLAC"))
        np.testing.assert_allclose(read_audio(joined, RATE)[0], np.concatenate([first, loud]), atol=1e-4)


def test_joined_opus_files_are_read_as_one(tmp_path: Path) -> None:
    assert len(read(tmp_path, packed(SOUND, "OGG", "OPUS") * 2)) == 2 * len(SOUND)


def test_joined_files_of_different_rates_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(packed(SOUND, "OGG") + packed(SOUND, "OGG", rate=8000))
    with pytest.raises(ValueError, match=r"a\.ogg, in which files of different formats are joined"):
        load_recordings(tmp_path, duration=0.5)


@pytest.mark.parametrize("coding", ["VORBIS", "OPUS"])
def test_an_ogg_file_with_a_damaged_byte_is_refused(coding: str) -> None:
    """libsndfile would leave out the page, and make the file shorter."""
    data = packed(np.tile(SOUND, 3), "OGG", coding)
    for at in range(60, len(data), len(data) // 25):
        damaged = bytearray(data)
        damaged[at] ^= 0x40
        with pytest.raises(ValueError, match="path must be a readable audio file, got a file object, which"):
            read_audio(io.BytesIO(bytes(damaged)))


def test_an_mp3_file_without_a_tag_is_read_whole(tmp_path: Path) -> None:
    data = packed(SOUND, "MP3")
    bare = data[data.index(data[:2], 4) :]  # the first frame has a tag with the length, and no sound
    samples = read(tmp_path, bare)
    assert len(SOUND) <= len(samples) <= len(SOUND) + 3 * 1152
    assert len(read(tmp_path, bare + bare)) >= 2 * len(SOUND)


def ogg_pages(data: bytes) -> list[bytearray]:
    pages, at = [], 0
    while at < len(data):
        size = 27 + data[at + 26] + sum(data[at + 27 : at + 27 + data[at + 26]])
        pages.append(bytearray(data[at : at + size]))
        at += size
    return pages


def with_crc(page: bytearray) -> bytes:
    page[22:26] = bytes(4)
    value = 0
    for byte in page:  # RFC 3533
        value ^= byte << 24
        for _ in range(8):
            value = (value << 1 ^ (0x04C11DB7 if value >> 31 else 0)) & 0xFFFFFFFF
    page[22:26] = value.to_bytes(4, "little")
    return bytes(page)


@pytest.mark.parametrize("coding", ["VORBIS", "OPUS"])
def test_ogg_files_without_end_flag_are_read_and_with_a_hole_refused(tmp_path: Path, coding: str) -> None:
    pages = ogg_pages(packed(SOUND, "OGG", coding))
    pages[-1][5] &= ~4
    pages = [with_crc(page) for page in pages]
    assert len(read(tmp_path, b"".join(pages))) == len(SOUND)
    del pages[3]
    (tmp_path / "a.wav").write_bytes(b"".join(pages))
    with pytest.raises(ValueError, match=r"a\.wav, which lacks 1 of its pages"):
        audio_info(tmp_path / "a.wav")


@pytest.mark.parametrize("coding", ["GSM610", "G721_32", "NMS_ADPCM_32", "IMA_ADPCM", "MS_ADPCM"])
def test_codings_that_cannot_seek_are_read_from_anywhere(tmp_path: Path, coding: str) -> None:
    samples = read(tmp_path, packed(SOUND, "WAV", coding))
    assert len(SOUND) <= len(samples) < len(SOUND) + 1024  # whole blocks
    with soundfile.SoundFile(tmp_path / "a.wav") as file:
        np.testing.assert_array_equal(samples, file.read(len(samples), dtype="float32"))
    speech = load_speech(tmp_path, duration=0.5, segments="consecutive", random_state=0)
    np.testing.assert_allclose(speech.segments[1], samples[8000:16000], atol=1e-4)


def test_a_header_that_accounts_for_half_of_the_sound_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(put(packed(SOUND, "WAV"), b"data", 0, "<I", len(SOUND)))
    with pytest.raises(ValueError, match=r"a\.wav, whose header accounts for 48000 of 96000 bytes"):
        load_recordings(tmp_path, duration=0.5)


@pytest.mark.parametrize("rate", [1, 999, 2**31 - 1])
def test_a_rate_that_no_sound_has_is_refused(tmp_path: Path, rate: int) -> None:
    (tmp_path / "a.wav").write_bytes(put(packed(SOUND, "WAV"), b"fmt ", 8, "<I", rate))
    with pytest.raises(ValueError, match=rf"a\.wav, whose header states a sampling rate of {rate} Hz"):
        load_measured_rirs(tmp_path)


def test_a_rate_without_a_common_divisor_is_read_in_part_as_in_whole(tmp_path: Path) -> None:
    rate = 999_983
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate) / rate)
    (tmp_path / "a.wav").write_bytes(packed(tone.astype("f4"), "WAV", "FLOAT", rate))
    whole = read_segment(tmp_path / "a.wav", RATE)
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    np.testing.assert_allclose(whole[500:-500], expected[500:-500], atol=1e-5)
    part = read_segment(tmp_path / "a.wav", RATE, start=20_001, n_times=5_000)
    np.testing.assert_allclose(part, whole[20_001:25_001], atol=1e-6)


def test_recordings_of_joined_files_can_be_pickled(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(packed(SOUND, "OGG") * 2)
    data = load_recordings(tmp_path, duration=0.5).data
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(data))[7], data[7])


def keep_loading(folder: Path) -> None:
    end = time.monotonic() + 20
    while time.monotonic() < end:
        load_recordings(folder, duration=0.5)


# An interrupt between the opening of a file and its being kept leaves the closing to Python, which warns.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_an_interrupt_while_parts_are_read_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "a.ogg").write_bytes(packed(SOUND, "OGG") * 20)
    for delay in (0.11, 0.23, 0.37, 0.5):
        timer = threading.Timer(delay, os.kill, [os.getpid(), signal.SIGINT])
        begun = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            keep_loading(tmp_path)
        assert time.monotonic() - begun < 5


@pytest.mark.skipif(os.name == "nt", reason="names of files are text there")
def test_a_name_that_is_not_utf8_is_read_and_shown(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    decay = SOUND[:6000].max() * 10 ** (-3 * np.arange(RATE) / RATE / 0.5)
    Path(os.fsdecode(path)).write_bytes(packed(decay.astype("f4"), "WAV", "FLOAT"))
    (tmp_path / "t.csv").write_bytes(b"file,room\ncaf\xe9.wav,007\n")
    assert load_measured_rirs(tmp_path / "t.csv").room.tolist() == ["007"]
    Path(os.fsdecode(path)).write_bytes(packed(SOUND, "WAV"))
    with pytest.warns(DecayRangeWarning, match=r"No impulse response: .*: caf\\xe9\.wav"):
        load_measured_rirs(tmp_path)
    recordings = load_recordings(tmp_path, duration=0.5)
    assert recordings.data[5].shape == (8000,)
    assert os.fsencode(recordings.file[0]) == b"caf\xe9.wav"
    Path(os.fsdecode(path)).write_bytes(packed(SOUND, "WAV")[:5000])
    with pytest.raises(ValueError, match=r"caf\\xe9\.wav, which is truncated"):
        load_recordings(tmp_path, duration=0.5)
