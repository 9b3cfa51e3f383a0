"""Segments of recordings on disk are those of the files, read when they are asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from toys import RATE, noise, write_audio

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk.datasets import load_recordings


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make four recordings, one of them too short for a second, in two folders and two formats."""
    for name, seconds in {"a/1.wav": 3.5, "a/2.flac": 2.0, "b/3.wav": 1.0, "b/4.wav": 0.4}.items():
        write_audio(tmp_path / name, noise(round(seconds * RATE), level=-20))
    return tmp_path


def test_segments_are_slices_of_their_files(folder: Path) -> None:
    recordings = load_recordings(folder, duration=1.0)
    assert recordings.file.tolist() == ["a/1.wav"] * 3 + ["a/2.flac"] * 2 + ["b/3.wav"]
    assert recordings.start.tolist() == [0, 1, 2, 0, 1, 0]
    assert recordings.data.shape == (6, RATE)
    for row, (name, start) in enumerate(zip(recordings.file, recordings.start, strict=True)):
        samples, _ = soundfile.read(folder / name, dtype="float32")
        first = round(start * RATE)
        np.testing.assert_array_equal(recordings.data[row], samples[first : first + RATE])
    assert "1 files shorter than 1 s" in recordings.DESCR
    np.testing.assert_array_equal(np.asarray(recordings.data), load_recordings(folder, duration=1.0, lazy=False).data)
    np.testing.assert_array_equal(np.asarray(recordings.data[[4, 1]]), np.asarray(recordings.data)[[4, 1]])


def test_segments_may_overlap_and_files_may_be_listed(folder: Path) -> None:
    recordings = load_recordings([folder / "a/2.flac"], duration=1.0, hop_duration=0.25)
    assert recordings.start.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert recordings.file[0] == (folder / "a/2.flac").as_posix()


def test_files_at_another_rate_are_resampled(tmp_path: Path) -> None:
    time = np.arange(2 * 44_100) / 44_100
    write_audio(tmp_path / "tone.wav", 0.5 * np.sin(2 * np.pi * 1_000 * time), 44_100)
    segment = load_recordings(tmp_path, duration=1.0).data[1]
    assert np.abs(np.fft.rfft(segment)).argmax() == 1_000


def test_an_encoder_learns_from_files_without_reading_them_all_at_once(folder: Path) -> None:
    recordings = load_recordings(folder, duration=0.5)
    encoder = ContrastiveRoomEncoder(
        segment_duration=0.5, n_classes=2, n_views=2, steps_per_epoch=2, max_epochs=1, validation_fraction=0,
        random_state=0,
    )  # fmt: skip
    encoder.fit(recordings.data, rir_groups=recordings.file)
    in_memory = load_recordings(folder, duration=0.5, lazy=False).data
    np.testing.assert_allclose(encoder.transform(recordings.data), encoder.transform(in_memory), atol=1e-6)
    assert len(pickle.dumps(recordings.data)) < 10_000


def test_unreadable_sources_are_named(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"source must contain files of at least 9 s, got at most 3.5 s"):
        load_recordings(folder, duration=9.0)
    with pytest.raises(FileNotFoundError, match="load_recordings: "):
        load_recordings(folder / "nowhere")
    with pytest.raises(ValueError, match="source must be a folder or a list of files, got a list of 0 items"):
        load_recordings([])
    (folder / "a" / "1.wav").write_bytes(b"no audio at all")
    with pytest.raises(ValueError, match=r"load_recordings: path must be a readable audio file, got .*1.wav"):
        load_recordings(folder)


def test_a_file_cut_after_its_header_was_read_is_named(folder: Path) -> None:
    recordings = load_recordings(folder, duration=1.0)
    whole = (folder / "a" / "1.wav").read_bytes()
    (folder / "a" / "1.wav").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"path must be a readable audio file, got .*1.wav, which is truncated"):
        recordings.data[2]


def test_a_missing_or_silent_file_is_named(folder: Path) -> None:
    recordings = load_recordings(folder, duration=1.0)
    (folder / "a" / "1.wav").unlink()
    with pytest.raises(FileNotFoundError, match=r"path must be an audio file, got one that no longer exists: .*1.wav"):
        recordings.data[2]
    write_audio(folder / "b" / "3.wav", np.zeros(RATE))
    encoder = ContrastiveRoomEncoder(segment_duration=0.5, max_epochs=0, n_classes=2, n_views=2, validation_fraction=0)
    encoder.fit(np.random.default_rng(0).standard_normal((8, RATE)), rir_groups=np.arange(8) // 4)
    with pytest.raises(ValueError, match=r"X must not be silent, got nothing but zeros in .*3.wav at 0.00 s"):
        encoder.transform(recordings.data[3:])


def test_links_that_lead_to_themselves_are_passed_over(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.random.default_rng(0).standard_normal(RATE), RATE)
    (tmp_path / "b.wav").symlink_to(tmp_path / "c.wav")
    (tmp_path / "c.wav").symlink_to(tmp_path / "b.wav")
    with pytest.warns(UserWarning, match=r"2 of 3 audio files .* are passed over, .* broken links: b\.wav, c\.wav"):
        assert load_recordings(tmp_path, duration=0.5).file.tolist() == ["a.wav", "a.wav"]


def test_a_segment_has_at_least_one_sample(tmp_path):
    with pytest.raises(ValueError, match=r"duration \(in s\) must be at least one sample, 6\.25e-05 s, got 1e-09"):
        load_recordings(tmp_path, duration=1e-9)


@pytest.mark.parametrize(("rate", "shape"), [(8000, (RATE,)), (RATE, (RATE, 2))])
def test_a_file_replaced_since_it_was_listed_is_refused(tmp_path, rate, shape):
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(RATE), RATE)
    data = load_recordings(tmp_path, duration=0.5).data
    soundfile.write(tmp_path / "a.wav", 0.1 * rng.standard_normal(shape), rate)
    with pytest.raises(ValueError, match=r"a\.wav, which has changed since it was listed\. List it again"):
        data[0]
