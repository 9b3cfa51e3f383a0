"""Segments of recordings on disk are those of the files, read when they are asked for."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from toys import ENCODER, RATE, SUPERVISED, decaying_noise, noise, outputs, random_rt60, write_audio

from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomRegressor,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
)
from roomacoustic_sk.datasets import _recordings, concatenate, load_recordings, read_audio, take
from roomacoustic_sk.features import DecaySlopeFeatures


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
    with pytest.raises(
        ValueError, match="source must be a file, a folder or a sequence of files, got a list of 0 items"
    ):
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


# --- Whole recordings, and channels ---------------------------------------------------------------------------------


def test_a_file_a_list_and_a_folder_give_the_same_recordings(folder: Path) -> None:
    names = ["a/1.wav", "a/2.flac", "b/3.wav", "b/4.wav"]
    found = load_recordings(folder, duration=None)
    listed = load_recordings([folder / name for name in names], duration=None)
    assert found.file.tolist() == names
    assert found.duration.tolist() == listed.duration.tolist() == [3.5, 2.0, 1.0, 0.4]
    assert found.start.tolist() == [0] * 4
    assert (found.sample_rate, found.data.sample_rate, found.data.shape) == (RATE, RATE, (4,))
    for i, name in enumerate(names):
        single = load_recordings(str(folder / name), duration=None)
        assert single.file.tolist() == [(folder / name).as_posix()]
        np.testing.assert_array_equal(single.data[0], found.data[i])
        np.testing.assert_array_equal(single.data[0], read_audio(folder / name)[0])
    assert "4 whole recordings at 16000 Hz from 4 files" in found.DESCR


@pytest.fixture
def array(tmp_path: Path) -> Path:
    """Write a recording of three channels at 48 kHz."""
    return write_audio(tmp_path / "array" / "x.flac", noise(2 * 48_000, 3, level=-20), 48_000)


def test_channels_are_averaged_picked_or_recordings_of_their_own(array: Path) -> None:
    channels = read_audio(array)
    mean = load_recordings(array, duration=None)
    assert mean.channel.tolist() == [-1]
    np.testing.assert_allclose(mean.data[0], channels.mean(axis=0), atol=1e-7)
    each = load_recordings(array, duration=None, channel="each")
    assert each.channel.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(np.asarray(each.data), channels)
    second = load_recordings(array, duration=None, channel=np.int64(1))
    assert second.channel.tolist() == [1]
    np.testing.assert_array_equal(second.data[0], channels[1])
    segments = load_recordings(array, duration=0.75, channel="each")
    assert segments.channel.tolist() == [0, 0, 1, 1, 2, 2]
    assert segments.start.tolist() == [0, 0.75] * 3
    np.testing.assert_array_equal(segments.data[[5, 2]][0], channels[2, 12_000:24_000])
    assert segments.data.origin.tolist() == [0] * 6  # one room, not pushed apart
    assert len(concatenate([mean, take(each, [2])]).data) == 2


def test_channels_that_are_not_there_are_refused(array: Path, folder: Path) -> None:
    with pytest.raises(ValueError, match=r"channel must be in every file, .* got 1, but .*1\.wav has 1 channel"):
        load_recordings([array, folder / "a/1.wav"], channel=1)
    with pytest.raises(ValueError, match=r"channel must be one of \['mix', 'each'\], got 'left'"):
        load_recordings(array, channel="left")
    with pytest.raises(ValueError, match="channel must be a whole number of at least 0, got -1"):
        load_recordings(array, channel=-1)
    for wrong in (True, 1.5):
        with pytest.raises(TypeError, match="channel must be a whole number"):
            load_recordings(array, channel=wrong)


def test_a_mean_that_cancels_is_refused_and_its_channels_are_not(tmp_path: Path) -> None:
    left = noise(3 * RATE, level=-20)
    path = write_audio(tmp_path / "inverted.wav", np.stack([left, -left], axis=1))
    with pytest.raises(ValueError, match=r"opposite phase, which cancel, in .*inverted\.wav. Invert one of them, or"):
        load_recordings(path, duration=None).data[0]
    first, second = load_recordings(path, duration=None, channel="each").data
    np.testing.assert_allclose(first, -second, atol=1e-4)


def test_a_segment_that_cancels_is_refused_among_its_neighbours(tmp_path: Path) -> None:
    left = noise(3 * RATE, level=-20)
    right = left.copy()
    right[RATE : 2 * RATE] *= -1
    data = load_recordings(write_audio(tmp_path / "x.wav", np.stack([left, right], axis=1)), duration=1.0).data
    assert data.read(np.array([0, 2]), np.zeros(2, dtype=int), RATE).shape == (2, RATE)
    with pytest.raises(ValueError, match="opposite phase"):
        data.read(np.arange(3), np.zeros(3, dtype=int), RATE)


def test_neighbouring_segments_are_read_together(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = load_recordings(folder, duration=0.5, hop_duration=0.25).data
    one_by_one = np.stack([data[i] for i in range(len(data))])
    reads, read = [], _recordings.read_segment

    def counting(path: Path, *args: object, **options: object) -> object:
        reads.append(path.name)
        return read(path, *args, **options)

    monkeypatch.setattr(_recordings, "read_segment", counting)
    order = np.random.default_rng(0).permutation(len(data))
    found = data.read(order, np.zeros(len(data), dtype=int), RATE // 2)
    assert sorted(reads) == ["1.wav", "2.flac", "3.wav"]
    np.testing.assert_array_equal(found, one_by_one[order])
    data.read(np.array([0, 6]), np.zeros(2, dtype=int), 100)
    assert len(reads) == 5  # a second lies between them
    monkeypatch.setattr(_recordings, "BLOCK_SAMPLES", RATE)
    np.testing.assert_array_equal(data.read(order, np.zeros(len(data), dtype=int), RATE // 2), one_by_one[order])
    assert len(reads) > 8


# --- Recordings of any length in the estimators ---------------------------------------------------------------------

RT60 = random_rt60(8)
LENGTHS = [8_000, 24_000, 9_600, 40_000, 16_000, 100_000, 12_000, 8_800]


@pytest.fixture
def ragged(tmp_path: Path) -> Path:
    """Write recordings of different lengths, at 48 kHz."""
    for i, (rt60, n_times) in enumerate(zip(RT60, LENGTHS, strict=True)):
        write_audio(tmp_path / "ragged" / f"{i}.wav", 0.1 * decaying_noise([rt60], 3 * n_times)[0], 48_000)
    return tmp_path / "ragged"


SOME_VIEWS = ENCODER | {"n_classes": 2, "validation_fraction": 0}
ESTIMATORS = {
    "encoder": ContrastiveRoomEncoder(**SOME_VIEWS),
    "regressor": SupervisedRoomRegressor(**SUPERVISED),
    "classifier": SupervisedRoomClassifier(**SUPERVISED),
    "features": DecaySlopeFeatures(n_jobs=2),
    "pipeline": make_pipeline(
        ContrastiveRoomEncoder(**SOME_VIEWS), RoomRegressor(max_epochs=1, validation_fraction=0, random_state=0)
    ),
}


def applied(estimator: object, X: object) -> object:
    return estimator.transform(X) if hasattr(estimator, "transform") else outputs(estimator, X)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_take_whole_recordings_of_any_length(name: str, ragged: Path) -> None:
    recordings = load_recordings(ragged, duration=None)
    assert recordings.duration.tolist() == [length / RATE for length in LENGTHS]
    estimator, y = ESTIMATORS[name], RT60 > 0.3 if name == "classifier" else RT60
    found = applied(estimator.fit(pickle.loads(pickle.dumps(recordings.data)), y), recordings.data)
    in_memory = list(recordings.data)
    np.testing.assert_array_equal(found, applied(estimator.fit(in_memory, y), in_memory))
    np.testing.assert_allclose(applied(estimator, recordings.data[[5, 0]]), found[[5, 0]], rtol=1e-4, atol=1e-6)
    for lazy in (True, False):
        slow = load_recordings(ragged, duration=None, sample_rate=8_000, lazy=lazy).data
        with pytest.raises(ValueError, match="X must be at sample_rate=16000 Hz, got recordings at 8000 Hz"):
            estimator.fit(slow, y)
        with pytest.raises(ValueError, match="X must be at sample_rate=16000 Hz, got recordings at 8000 Hz"):
            applied(estimator, slow)


@pytest.mark.parametrize("name", ["encoder", "regressor", "features"])
def test_recordings_may_be_of_another_length_than_those_of_the_fit(name: str, ragged: Path) -> None:
    fitted = ESTIMATORS[name].fit(load_recordings(ragged, duration=1.5).data, np.arange(6.0))
    other = load_recordings(ragged, duration=0.7)
    found = applied(fitted, other.data)
    np.testing.assert_allclose(found, applied(fitted, list(other.data)), rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="X has 11200 features, but"):  # an array may be at any rate
        applied(fitted, np.asarray(other.data))


@pytest.mark.slow
def test_a_grid_search_slices_whole_recordings(ragged: Path) -> None:
    data = load_recordings(ragged, duration=None).data
    grid = {"decayslopefeatures__bands": [[500], [500, 2000]]}
    searches = [
        GridSearchCV(make_pipeline(DecaySlopeFeatures(), Ridge()), grid, cv=2, n_jobs=n_jobs).fit(X, RT60)
        for X, n_jobs in ((data, None), (data, 2), (list(data), None))
    ]
    scores = [search.cv_results_["mean_test_score"] for search in searches]
    np.testing.assert_allclose(scores[1:], scores[:1] * 2)
    assert np.isfinite(scores).all()


def test_a_long_recording_is_embedded_in_pieces(ragged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = ContrastiveRoomEncoder(**SOME_VIEWS).fit(load_recordings(ragged, duration=None).data)
    path = write_audio(ragged / "long.flac", noise(120 * RATE, level=-20))
    recording = load_recordings(path, duration=None).data
    expected = encoder.transform(list(recording))
    asked, read = [], _recordings.read_segment

    def counting(*args: object, n_times: int, **options: object) -> object:
        asked.append(n_times)
        return read(*args, n_times=n_times, **options)

    monkeypatch.setattr(_recordings, "BLOCK_SAMPLES", 20 * RATE)
    monkeypatch.setattr(_recordings, "read_segment", counting)
    np.testing.assert_allclose(encoder.transform(recording), expected, atol=1e-6)
    assert sum(asked) == 120 * RATE
    assert max(asked) <= 20 * RATE


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
