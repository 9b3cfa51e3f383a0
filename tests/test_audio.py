"""Reading audio files: parts equal the whole, rates are converted, and broken files are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from toys import noise, write_audio

from roomacoustic_sk.datasets._audio import audio_info, list_audio_files
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


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_a_tone_keeps_its_frequency_level_and_phase_at_any_rate(tmp_path: Path, rate: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    samples = read_segment(write_audio(tmp_path / "tone.wav", tone, rate), 16000)
    assert len(samples) == 16000
    expected = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    np.testing.assert_allclose(samples[500:-500], expected[500:-500], atol=2e-3)


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("rate", [16000, 22050, 44100, 48000])
def test_a_part_equals_the_same_slice_of_the_whole(tmp_path: Path, suffix: str, rate: int) -> None:
    path = write_audio(tmp_path / f"a.{suffix}", quiet_noise(2 * rate), rate)
    whole = read_segment(path, 16000)
    assert len(whole) == audio_info(path).n_times_at(16000) == 32000
    for start, n_times in ((0, 100), (1, 5), (12345, 16000), (31000, 1000), (31993, 7), (20001, 1)):
        part = read_segment(path, 16000, start=start, n_times=n_times)
        np.testing.assert_allclose(part, whole[start : start + n_times], atol=1e-5)


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
