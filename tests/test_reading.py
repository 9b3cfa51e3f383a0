"""Samples are those of the file at any rate, a part equals the whole, and broken files are named."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import ArrayLike, NDArray
from toys import noise, write_audio

from roomacoustic_sk.datasets import _audio, read_audio
from roomacoustic_sk.datasets._audio import audio_info
from roomacoustic_sk.datasets._reading import read_segment

FORMATS = ("wav", "flac", "ogg", "mp3")


def quiet_noise(n_times: int, seed: int = 0) -> NDArray[np.float64]:
    """Return noise that no format clips."""
    return noise(n_times, level=-20, seed=seed)


@pytest.mark.parametrize("suffix", FORMATS)
def test_all_formats_are_read_as_float32_of_the_stated_length(tmp_path: Path, suffix: str) -> None:
    path = write_audio(tmp_path / f"a.{suffix}", quiet_noise(16000))
    samples = read_segment(path, 16000)
    assert samples.dtype == np.float32
    assert samples.shape == (16000,)
    assert audio_info(path) == (16000, 16000, 1)
    assert audio_info(path).duration == 1.0


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_lossless_formats_come_back_as_written(tmp_path: Path, suffix: str) -> None:
    samples = quiet_noise(4000)
    path = write_audio(tmp_path / f"a.{suffix}", samples)
    np.testing.assert_allclose(read_segment(path, 16000), samples, atol=1 / 32768)


def tones(frequencies: ArrayLike, rate: int, duration: float = 1.0) -> NDArray[np.float64]:
    """Return sines of an amplitude of 0.5 and a phase of 0.3, shape (n_times, n_tones)."""
    time = np.arange(round(duration * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * np.asarray(frequencies) * time[:, None] + 0.3)


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000, 96000, 999_983])
def test_tones_keep_frequency_amplitude_and_phase_at_any_rate(tmp_path: Path, rate: int) -> None:
    heard = np.array([0.02, 0.1, 0.3, 0.91]) * min(rate, 16000) / 2
    samples = read_audio(write_audio(tmp_path / "tones.wav", tones(heard, rate), rate, "FLOAT"))
    assert samples.dtype == np.float32
    assert samples.shape == (4, 16000)
    expected = tones(heard, 16000).T
    np.testing.assert_allclose(samples[:3, 500:-500], expected[:3, 500:-500], atol=2e-6)
    np.testing.assert_allclose(samples[3, 500:-500], expected[3, 500:-500], atol=0.5 * (10 ** (0.01 / 20) - 1))


def test_tones_beyond_half_the_rate_vanish(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "tones.wav", tones([8001, 12000, 17000, 23000], 48000), 48000, "FLOAT")
    assert np.abs(read_audio(path)[:, 500:-500]).max() < 1e-6


@pytest.mark.parametrize(("rate", "at"), [(48000, 30000), (44100, 441 * 60), (8000, 4000), (32000, 20000)])
def test_an_impulse_stays_in_place_and_symmetric(tmp_path: Path, rate: int, at: int) -> None:
    impulse = np.zeros(rate)
    impulse[at] = 1
    samples = read_audio(write_audio(tmp_path / "impulse.wav", impulse, rate, "FLOAT"))[0]
    place = at * 16000 // rate
    assert np.abs(samples).argmax() == place
    np.testing.assert_allclose(samples[place - 400 : place][::-1], samples[place + 1 : place + 401], atol=1e-7)
    assert samples.sum() * rate / 16000 == pytest.approx(1, abs=1e-5)  # no change of level
    assert np.abs(np.delete(samples, np.arange(place - 300, place + 300))).max() < 1e-7


@pytest.mark.parametrize("n_times", [1, 2, 3, 4, 999, 1000, 1001, 44101])
@pytest.mark.parametrize("rate", [8000, 44100, 48000, 47999, 192000])
def test_the_length_is_that_of_the_file_rounded_up(tmp_path: Path, rate: int, n_times: int) -> None:
    path = write_audio(tmp_path / "a.wav", quiet_noise(n_times), rate)
    samples = read_audio(path)
    assert samples.shape == (1, -(-n_times * 16000 // rate))
    assert np.abs(samples).max() < 1  # all written
    assert audio_info(path).n_times_at(16000) == read_audio(path).shape[1]


@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000, 8000])
def test_pieces_do_not_show_in_the_samples(tmp_path: Path, rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_audio(tmp_path / "a.wav", noise(rate, 3, level=-20), rate)
    whole, channels = read_audio(path), [read_segment(path, 16000, channel=i) for i in range(3)]
    monkeypatch.setattr(_audio, "BLOCK", 1000)
    np.testing.assert_array_equal(read_audio(path), whole)
    np.testing.assert_allclose(whole, channels, atol=1e-7)
    np.testing.assert_allclose(read_segment(path, 16000), whole.mean(axis=0), atol=1e-7)


def test_silence_is_read(tmp_path: Path) -> None:
    assert not read_audio(write_audio(tmp_path / "a.wav", np.zeros(480), 48000)).any()


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_a_part_equals_the_same_slice_of_the_whole(tmp_path: Path, suffix: str, rate: int) -> None:
    path = write_audio(tmp_path / f"a.{suffix}", quiet_noise(2 * rate), rate)
    whole = read_segment(path, 16000)
    assert len(whole) == audio_info(path).n_times_at(16000) == 32000
    for start, n_times in ((0, 100), (1, 5), (12345, 16000), (31000, 1000), (31993, 7), (20001, 1)):
        part = read_segment(path, 16000, start=start, n_times=n_times)
        np.testing.assert_allclose(part, whole[start : start + n_times], atol=1e-6)


@pytest.mark.parametrize(("rate", "n_times"), [(22050, 60000), (44100, 132300), (44100, 300000), (48000, 132300)])
def test_parts_near_the_end_of_an_ogg_file_are_right(tmp_path: Path, rate: int, n_times: int) -> None:
    # Where libsndfile 1.2.2 returns wrong samples after a seek (its issue 885).
    path = write_audio(tmp_path / "a.ogg", quiet_noise(n_times), rate)
    whole = read_segment(path, rate)
    for start in range(n_times - 14000, n_times, 333):
        np.testing.assert_allclose(read_segment(path, rate, start=start), whole[start:], atol=1e-5)


@pytest.mark.parametrize("rate", [16000, 48000])
def test_only_the_requested_part_is_read(tmp_path: Path, rate: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_audio(tmp_path / "long.wav", quiet_noise(60 * rate), rate)
    asked, read = [], soundfile.SoundFile.read

    def counting(file: soundfile.SoundFile, frames: int = -1, **options: object) -> NDArray[np.float32]:
        asked.append(frames)
        return read(file, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    read_segment(path, 16000, start=30 * 16000, n_times=1600)
    filter_and_grid = 0 if rate == 16000 else 2 * 0.01 * rate + 5
    assert 0.1 * rate <= sum(asked) <= 0.1 * rate + filter_and_grid


def test_channels_are_averaged_unless_one_is_chosen(tmp_path: Path) -> None:
    left, right = quiet_noise(1000, 1), quiet_noise(1000, 2)
    path = write_audio(tmp_path / "stereo.wav", np.stack([left, right], axis=1))
    np.testing.assert_allclose(read_segment(path, 16000), (left + right) / 2, atol=1e-4)
    np.testing.assert_allclose(read_segment(path, 16000, channel=1), right, atol=1e-4)
    with pytest.raises(ValueError, match=r"^channel must be a whole number of at least 0 and at most 1"):
        read_segment(path, 16000, channel=2)


@pytest.mark.parametrize(("start", "n_times"), [(1000, None), (990, 11), (-1, 5), (0, 0)])
def test_a_part_beyond_the_file_is_refused(tmp_path: Path, start: int, n_times: int | None) -> None:
    path = write_audio(tmp_path / "a.wav", quiet_noise(1000))
    with pytest.raises(ValueError, match=r"^(start|n_times) .* must be|^start must be"):
        read_segment(path, 16000, start=start, n_times=n_times)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_truncated_file_is_named(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = write_audio(tmp_path / f"cut.{suffix}", quiet_noise(48000))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=rf"^path must be a readable audio file.*cut\.{suffix}.*truncated"):
        read_segment(path, 16000)


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_file_without_audio_is_named(tmp_path: Path, suffix: str, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / f"text.{suffix}"
    path.write_text("This is a letter, not a sound. " * 100)
    with pytest.raises(ValueError, match=rf"^path .*text\.{suffix}"):
        read_segment(path, 16000)


def test_an_empty_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty.wav").touch()
    with pytest.raises(ValueError, match=r"empty\.wav, which is empty \(0 bytes\)"):
        read_segment(tmp_path / "empty.wav", 16000)
    with pytest.raises(ValueError, match=r"header\.wav, which has no samples"):
        read_segment(write_audio(tmp_path / "header.wav", quiet_noise(0)), 16000)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"^path .*nowhere\.wav"):
        read_segment(tmp_path / "nowhere.wav", 16000)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_samples_are_refused(tmp_path: Path, bad: float) -> None:
    samples = quiet_noise(1000)
    samples[500] = bad
    soundfile.write(tmp_path / "bad.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"bad\.wav, which has NaN or infinite samples"):
        read_segment(tmp_path / "bad.wav", 16000)


@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_channels_cancel_if_they_do_in_all_that_is_read(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_audio, "BLOCK", 4000)
    left = quiet_noise(32000)
    right = np.concatenate([-left[:16000], left[16000:]])
    path = write_audio(tmp_path / f"a.{suffix}", np.stack([left, right], axis=1))
    np.testing.assert_allclose(read_segment(path, 16000)[16000:], left[16000:], atol=1e-4)
    with pytest.raises(ValueError, match=rf"channels of opposite phase, which cancel, in .*a\.{suffix}"):
        read_segment(path, 16000, n_times=16000)
    assert read_audio(path).shape == (2, 32000)
    write_audio(path, np.stack([left, right], axis=1)[::-1])
    np.testing.assert_allclose(read_segment(path, 16000)[:16000], left[:15999:-1], atol=1e-4)


HOUR = """
import sys
import numpy as np
from roomacoustic_sk.datasets import read_audio

def peak():
    with open("/proc/self/status") as status:
        return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])

read_audio(sys.argv[1])  # all libraries are loaded
before = peak()
samples = read_audio(sys.argv[2])
print(peak() - before, samples.nbytes, *samples.shape, *np.abs(samples[4]).argsort()[-2:])
"""


def write_sparse(path: Path, n_times: int, impulses: Sequence[int]) -> Path:
    """Write a WAV file of 6 channels at 48 kHz, silent but for impulses in channel 4; the disk keeps no zeros."""
    size = 12 * n_times
    with path.open("wb") as file:
        header = b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 6, 48000, 576000, 12, 16) + b"data"
        file.write(b"RIFF" + struct.pack("<I", 36 + size) + header + struct.pack("<I", size))
        file.truncate(44 + size)
        for i, frame in enumerate(impulses):
            file.seek(44 + 12 * frame + 8)
            file.write(struct.pack("<h", 16384 + i))
    return path


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak of memory is read from /proc")
def test_an_hour_in_six_channels_takes_little_more_than_its_result(tmp_path: Path) -> None:
    small = write_sparse(tmp_path / "small.wav", 96000, [9600])
    hour = write_sparse(tmp_path / "hour.wav", 3600 * 48000, [48000, 3599 * 48000])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", HOUR, str(small), str(hour)]
    printed = subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout
    grown, size, n_channels, n_times, *impulses = map(int, printed.split())
    assert (n_channels, n_times) == (6, 3600 * 16000)
    assert impulses == [16000, 3599 * 16000]
    assert grown < size + 64e6


def test_mp3_is_read_from_a_file_object_as_from_its_path(tmp_path: Path) -> None:
    path = tmp_path / "x.mp3"
    soundfile.write(path, noise(32_000, level=-20), 16_000, format="MP3")
    expected = read_audio(path)
    np.testing.assert_array_equal(read_audio(io.BytesIO(path.read_bytes())), expected)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_audio(file), expected)
