"""Recordings of every kind: accepted input, refusals, and equal samples from all of them."""

from __future__ import annotations

import pickle
import re

import h5py
import numpy as np
import pandas as pd
import pytest
import zarr
from scipy.sparse import csr_array
from sklearn.utils import Bunch
from toys import RATE, exactly, in_hdf5, in_zarr, write_audio

from roomacoustic_sk._recordings import (
    RecordingsInMemory,
    StoredRecordings,
    as_recordings,
    check_waveforms,
    cut_segment,
)
from roomacoustic_sk._segmentation import Segmentation
from roomacoustic_sk.acoustics import clarity
from roomacoustic_sk.datasets import load_recordings


def test_waveforms_pass_as_they_are_without_a_copy():
    X = np.random.default_rng(0).normal(size=(3, 100)).astype(np.float32)
    assert check_waveforms(X) is X
    rows = [X[0], X[1, :50].astype(np.float64)]
    checked = check_waveforms(rows)
    assert [row.dtype for row in checked] == [np.float32, np.float64]
    assert all(np.shares_memory(a, b) for a, b in zip(checked, rows, strict=True))


@pytest.mark.parametrize("kind", [list, tuple, iter])
def test_sequences_of_different_lengths_pass_as_a_list(kind):
    checked = check_waveforms(kind([[0.1, 0.2], [0.3], np.array([0.4, 0.5, 0.6])]))
    assert [row.tolist() for row in checked] == [[0.1, 0.2], [0.3], [0.4, 0.5, 0.6]]


def test_an_object_array_passes_as_a_list():
    ragged = np.empty(2, dtype=object)
    ragged[:] = [np.ones(3), np.ones(2)]
    assert [len(row) for row in check_waveforms(ragged)] == [3, 2]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_integers_pass_where_they_are_allowed(dtype):
    X = np.full((2, 10), np.iinfo(dtype).min, dtype)
    assert check_waveforms(X, allow_integers=True) is X
    X[:, ::2] = 0  # the lowest integer has no positive counterpart, and must not be taken for silence
    assert check_waveforms(X, allow_integers=True) is X


def test_silence_passes_where_it_is_allowed():
    assert len(check_waveforms(np.zeros((2, 10)), allow_silent=True)) == 2


X = np.ones((6, 10))


def with_value(value, *rows):
    changed = X.copy()
    changed[list(rows), 3] = value
    return changed


def silent(*rows):
    changed = X.copy()
    changed[list(rows)] = 0
    return changed


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (
            X[0],
            ValueError,
            "X must be a 2-D array (n_waveforms, n_times) or a list of 1-D arrays, "
            "got an array of shape (10,) and dtype "
            "float64. Reshape your data with X.reshape(1, -1) if it is one recording.",
        ),
        (
            X[None],
            ValueError,
            "X must be a 2-D array (n_waveforms, n_times) or a list of 1-D arrays, got an array of shape "
            "(1, 6, 10) and dtype float64. Choose a channel if these are recordings of several channels, "
            "e.g. X[:, 0].",
        ),
        (
            [X, X],
            ValueError,
            "X must hold 1-D arrays, got an array of shape (6, 10) and dtype float64 in row 0. Choose a channel of "
            "each, e.g. X[0][0] or [:, 0].",
        ),
        ([X[0], 3.0], ValueError, "X must hold 1-D arrays, got an array of shape () and dtype float64 in row 1."),
        (None, TypeError, "X must be a 2-D array (n_waveforms, n_times) or a list of 1-D arrays, got None."),
        (3.0, TypeError, "X must be a 2-D array (n_waveforms, n_times) or a list of 1-D arrays, got 3.0."),
        (X[:0], ValueError, "X must have at least one waveform, got none."),
        ([], ValueError, "X must have at least one waveform, got none."),
        (
            X[:2, :0],
            ValueError,
            "X must have samples in every waveform, got 0 feature(s) (shape=(2, 0)) while a minimum of 1 is required.",
        ),
        ([X[0], X[0, :0]], ValueError, "X must have samples in every waveform, got row 1 without any."),
        (with_value(np.nan, 4), ValueError, "X must be finite, got NaN or infinity in row 4."),
        (with_value(np.inf, 0, 2), ValueError, "X must be finite, got NaN or infinity in rows 0, 2."),
        (list(with_value(-np.inf, 1)), ValueError, "X must be finite, got NaN or infinity in row 1."),
        (silent(3), ValueError, "X must not be silent, got nothing but zeros in row 3."),
        (
            silent(*range(6)),
            ValueError,
            "X must not be silent, got nothing but zeros in rows 0, 1, 2, 3, 4, ... (6 in all).",
        ),
        (
            X.astype(np.int16),
            TypeError,
            "X must hold floating-point samples, got dtype int16. Divide integer PCM by its full scale first, e.g. "
            "X / 32768.0 for int16.",
        ),
        (
            [X[0], X[1].astype(complex)],
            ValueError,
            "X must hold real samples, got dtype complex128. Complex data not supported.",
        ),
        (
            csr_array(X),
            TypeError,
            "X must be a 2-D array (n_waveforms, n_times) or a list of 1-D arrays, got a sparse matrix. Waveforms are "
            "dense: pass X.toarray().",
        ),
        (X > 0, TypeError, "X must hold floating-point samples, got dtype bool."),
        (X.astype(str), TypeError, "X must hold floating-point samples, got dtype <U32."),
    ],
)
def test_invalid_waveforms_are_refused(rows, error, message):
    with pytest.raises(error, match=exactly(message)):
        check_waveforms(rows)


def test_messages_name_the_argument():
    with pytest.raises(ValueError, match=exactly("rirs must be finite, got NaN or infinity in row 4.")):
        check_waveforms(with_value(np.nan, 4), name="rirs")


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int64, np.uint8, np.uint16])
def test_silence_of_unsigned_integers_is_their_middle(dtype):
    zero = 128 if dtype is np.uint8 else 32_768 if dtype is np.uint16 else 0
    rows = np.full((2, 10), zero, dtype)
    rows[0, 3] += 1
    with pytest.raises(ValueError, match="X must not be silent, got nothing but zeros in row 1"):
        check_waveforms(rows, allow_integers=True)
    assert check_waveforms(rows[:1], allow_integers=True).dtype == dtype


def test_truth_values_are_refused():
    with pytest.raises(TypeError, match="X must hold floating-point or integer samples, got dtype bool"):
        check_waveforms(np.ones((2, 10), bool), allow_integers=True)


def test_a_frame_with_a_column_of_arrays_is_a_list_of_recordings():
    rows = check_waveforms(pd.DataFrame({"wave": [np.ones(3), np.ones(5)]}))
    assert [len(row) for row in rows] == [3, 5]


def test_pandas_objects_are_taken_like_arrays():
    waveforms = np.random.default_rng(0).standard_normal((3, 8))
    assert np.array_equal(check_waveforms(pd.DataFrame(waveforms)), waveforms)
    ragged = check_waveforms(pd.Series([waveforms[0], waveforms[1, :5]]))
    assert [len(row) for row in ragged] == [8, 5]


# --- Equal samples from every kind ----------------------------------------------------------------------------------

WAVES = np.random.default_rng(1).uniform(-0.5, 0.5, (5, 400)).astype(np.float32)


class Rows:
    """A store that knows nothing but its shape, its type and integer indices."""

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, index):
        return self.array[int(index)].tolist()

    def __len__(self):
        raise AssertionError("never asked for")

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read whole")


def in_memmap(folder):
    stored = np.memmap(folder / "waves.dat", np.float32, "w+", shape=WAVES.shape)
    stored[:] = WAVES
    stored.flush()
    return np.memmap(folder / "waves.dat", np.float32, "r", shape=WAVES.shape)


def in_files(folder):
    for i, wave in enumerate(WAVES):
        write_audio(folder / f"{i}.wav", wave, subtype="FLOAT")
    return load_recordings(folder, duration=None).data


def in_segments_of_files(folder):
    write_audio(folder / "all.wav", WAVES.ravel(), subtype="FLOAT")
    return load_recordings(folder, duration=400 / RATE).data


KINDS = {
    "array": lambda folder: WAVES,
    "list": lambda folder: list(WAVES),
    "float64": lambda folder: WAVES.astype(float),
    "pandas": lambda folder: pd.DataFrame(WAVES),
    "memmap": in_memmap,
    "zarr": lambda folder: in_zarr(WAVES, folder),
    "hdf5": lambda folder: in_hdf5(WAVES, folder),
    "rows": lambda folder: Rows(WAVES),
    "files": in_files,
    "segments": in_segments_of_files,
}


@pytest.fixture(params=KINDS)
def recordings(request, tmp_path):
    return as_recordings(KINDS[request.param](tmp_path), RATE)


def test_every_kind_reads_the_same_segments(recordings):
    indices, starts = np.array([3, 0, 3, 4]), np.array([10, 0, 390, 200])
    found = recordings.read(indices, starts, 10)
    assert found.dtype == np.float32
    expected = [WAVES[i, start : start + 10] for i, start in zip(indices, starts, strict=True)]
    np.testing.assert_array_equal(found, expected)
    np.testing.assert_array_equal(
        recordings.take(np.array([4, 2])).read(np.array([1]), np.array([7]), 5), [WAVES[2, 7:12]]
    )
    np.testing.assert_array_equal(recordings.read(np.array([1]), np.array([0]), 900)[0], np.resize(WAVES[1], 900))
    assert recordings.lengths.tolist() == [400] * 5
    assert recordings.sample_rate == RATE


def test_every_kind_looks_like_an_array(recordings):
    assert len(recordings) == 5
    assert recordings.shape in ((5, 400), (5,))
    np.testing.assert_array_equal(recordings[2], WAVES[2])
    np.testing.assert_array_equal(recordings[-1], WAVES[-1])
    for key in ([3, 0], slice(1, 4), np.array([True, False, True, False, True]), (np.array([2, 1]), ...)):
        part, expected = recordings[key], WAVES[key if not isinstance(key, tuple) else key[0]]
        assert type(part) is type(recordings)
        np.testing.assert_array_equal(list(part), expected)
    with pytest.raises(IndexError, match="recordings must be indexed"):
        recordings[5]
    np.testing.assert_array_equal(np.asarray(recordings), WAVES)


@pytest.mark.parametrize("kind", ["memmap", "zarr", "hdf5", "rows"])
def test_stores_are_never_read_whole(kind, tmp_path):
    recordings = as_recordings(KINDS[kind](tmp_path), RATE)
    assert isinstance(recordings, StoredRecordings)
    assert repr(recordings) == "<StoredRecordings of shape (5, 400), read on demand>"


@pytest.mark.parametrize("kind", ["memmap", "zarr", "files", "segments"])
def test_files_and_stores_survive_pickling_and_a_change_of_directory(kind, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    recordings = as_recordings(KINDS[kind](tmp_path), RATE)
    again = pickle.loads(pickle.dumps(recordings))
    monkeypatch.chdir("/")
    np.testing.assert_array_equal(again[1], WAVES[1])
    assert len(pickle.dumps(recordings)) < 20_000


# --- One policy of checks -------------------------------------------------------------------------------------------


def spoilt(kind, folder, value):
    """Return recordings of a kind, the second of which has a value somewhere."""
    waves = WAVES.astype(np.float64 if kind == "float64" else np.float32)
    if value == "silence":
        waves[1] = 0
    elif value == "dust":
        waves[1] = 1e-20
    else:
        waves[1, 5] = value
    if kind in ("float64", "list"):
        return waves if kind == "float64" else list(waves)
    if kind == "zarr":
        return in_zarr(waves, folder)
    if kind == "files":
        for i, wave in enumerate(waves):
            write_audio(folder / f"{i}.wav", wave, subtype="FLOAT")
        return load_recordings(folder, duration=None).data
    write_audio(folder / "all.wav", waves.ravel(), subtype="FLOAT")
    return load_recordings(folder, duration=400 / RATE).data


@pytest.mark.parametrize("kind", ["list", "float64", "zarr", "files", "segments"])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.nan, "NaN or infinit"),
        (np.inf, "NaN or infinit"),
        (1e20, "X must not exceed 1e.15 in magnitude, got a peak of 1e.20 in"),
        ("silence", "X must not be silent, got nothing but zeros in"),
        ("dust", "X must not be silent, got no sample above 1e-15 in"),
    ],
)
def test_every_kind_is_checked_for_invalid_samples(kind, value, message, tmp_path):
    with pytest.raises(ValueError, match=message) as caught:
        as_recordings(spoilt(kind, tmp_path, value), RATE).read(np.arange(5), np.zeros(5, dtype=int), 400)
    place = {"files": r"1\.wav", "segments": r"all\.wav.* 0\.0[23]"}.get(kind, "row 1")
    assert re.search(place, str(caught.value))


@pytest.mark.parametrize("kind", ["list", "zarr", "files", "segments"])
def test_allowed_silence_and_pauses_pass(kind, tmp_path):
    recordings = as_recordings(spoilt(kind, tmp_path, "silence"), RATE, allow_silent=True)
    read = recordings.read(np.array([1]), np.array([0]), 400, allow_silent=True)
    assert not read.any()
    waves = WAVES.copy()
    waves[1, 100:300] = 0  # as an editor leaves it
    assert not RecordingsInMemory(list(waves), RATE).read(np.array([1]), np.array([120]), 100).any()


@pytest.mark.parametrize("kind", ["zarr", "files"])
def test_any_segment_of_a_silent_recording_is_refused_but_no_pause(kind, tmp_path):
    recordings = as_recordings(spoilt(kind, tmp_path, "silence"), RATE)
    with pytest.raises(ValueError, match="X must not be silent"):
        recordings.read(np.array([0, 1]), np.array([0, 30]), 100)
    waves = WAVES.copy()
    waves[2, 100:300] = 0
    stored = StoredRecordings(Rows(waves), RATE)
    assert not stored.read(np.array([2]), np.array([120]), 100).any()


def test_recordings_of_several_lengths_cannot_become_an_array():
    recordings = RecordingsInMemory([WAVES[0], WAVES[1, :7]], RATE)
    with pytest.raises(ValueError, match=r"the same length to form an array, got 7 to 400 samples. list\(...\) reads"):
        np.asarray(recordings)


def test_a_bunch_or_file_is_refused_with_the_names_of_its_fields(tmp_path):
    in_hdf5(WAVES, tmp_path)
    with pytest.raises(TypeError, match=r"got a Bunch with data, rir. Pass one of its fields"):
        as_recordings(Bunch(data=WAVES, rir=[0]), RATE)
    with h5py.File(tmp_path / "waves.h5") as file, pytest.raises(TypeError, match=r"got a File with waves. Pass one"):
        as_recordings(file, RATE)
    with pytest.raises(TypeError, match=r"clarity: rirs must be .*got a Bunch with rirs. Pass one of its fields"):
        clarity(Bunch(rirs=list(WAVES)), RATE)


def test_float64_stores_beyond_float32_are_too_loud():
    with pytest.raises(ValueError, match=r"X must not exceed 1e.15 in magnitude, got a peak of 3.4e.38 in row 1"):
        StoredRecordings(Rows(WAVES.astype(float) * [[1], [1e300], [1], [1], [1]]), RATE).read(
            np.arange(5), np.zeros(5, dtype=int), 400
        )


def test_stores_of_a_wrong_shape_type_or_rate_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"X must be a 2-D array .*, got a Array of shape \(5,\)"):
        as_recordings(zarr.zeros(5), RATE)
    with pytest.raises(TypeError, match="X must hold floating-point or integer samples, got dtype bool"):
        as_recordings(zarr.zeros((5, 5), dtype=bool), RATE)
    with pytest.raises(ValueError, match="X must have at least one waveform, got none"):
        as_recordings(zarr.zeros((0, 5)), RATE)
    with pytest.raises(ValueError, match="X must be at sample_rate=8000 Hz, got recordings at 16000 Hz"):
        as_recordings(RecordingsInMemory(WAVES, RATE), 8_000)


def test_integers_in_a_store_are_pcm():
    stored = zarr.array(np.array([[0, -32_768, 16_384, 0]], np.int16))
    assert as_recordings(stored, RATE).read(np.array([0]), np.array([1]), 2).tolist() == [[-1.0, 0.5]]


# --- Segments -------------------------------------------------------------------------------------------------------


def test_segments_cover_recordings_and_end_flush_with_them():
    found = {
        size: list(zip(indices.tolist(), starts.tolist(), strict=True))
        for size, indices, starts in Segmentation(length=10, shortest=4, hop=8).segments(np.array([25, 10, 7, 2]))
    }
    assert found == {4: [(3, 0)], 7: [(2, 0)], 10: [(0, 0), (0, 8), (0, 15), (1, 0)]}


def test_unsigned_pcm_has_its_zero_in_the_middle():
    segment = cut_segment(np.array([128, 0, 255, 192], np.uint8), 0, 4)
    np.testing.assert_allclose(segment, [0, -1, 127 / 128, 0.5])


def test_segments_are_float32_with_full_scale_1():
    segment = cut_segment(np.array([0, -32_768, 16_384, 0], np.int16), 1, 2)
    assert segment.dtype == np.float32
    assert segment.tolist() == [-1.0, 0.5]
    assert cut_segment(np.arange(3.0), 0, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]
