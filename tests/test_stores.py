"""Estimators on a Zarr array and an HDF5 dataset, passed as they are: the numbers of an array, read in parts."""

from __future__ import annotations

import numpy as np
import pytest
from toys import CLIP, ENCODER, RATE, TRAINING, decaying_noise, in_hdf5, in_zarr

from roomacoustic_sk import ContrastiveRoomEncoder, SupervisedRoomRegressor
from roomacoustic_sk._recordings import as_recordings
from roomacoustic_sk.features import RECORDINGS_AT_ONCE, DecaySlopeFeatures

LONG = 20_000
RIR, SOURCE = np.divmod(np.arange(24), 6)
RT60_IN_STORE = np.geomspace(0.1, 1.0, 24)
QUICK = TRAINING | {"compile": False, "batch_size": 4}


class Watched:
    """A store that notes the samples of each read, and refuses to be read whole."""

    def __init__(self, stored):
        self.stored, self.shape, self.dtype, self.reads = stored, stored.shape, stored.dtype, []

    def __getitem__(self, key):
        part = self.stored[key]
        self.reads.append(np.size(part))
        return part

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("read whole")

    def __iter__(self):
        raise AssertionError("read row by row without need")


@pytest.fixture(params=[in_zarr, in_hdf5], ids=["zarr", "hdf5"])
def store(request, tmp_path):
    """Put recordings into a store in chunks of several recordings, and watch it."""
    return lambda X, chunks=(5, 3_000): Watched(request.param(X, tmp_path, chunks))


def small_encoder(**parameters):
    return ContrastiveRoomEncoder(**ENCODER | QUICK | {"n_classes": 2, "steps_per_epoch": 3} | parameters)


@pytest.mark.parametrize("n_times", [CLIP, LONG])
def test_an_encoder_learns_the_same_from_a_store_and_an_array(n_times, store):
    X = decaying_noise(RT60_IN_STORE, n_times)
    stored = store(X)
    fitted = [small_encoder().fit(data, rir_groups=RIR, source_groups=SOURCE) for data in (X, stored)]
    assert fitted[1].history_.drop(columns="dur").equals(fitted[0].history_.drop(columns="dur"))
    assert fitted[1].n_features_in_ == n_times
    expected = fitted[0].transform(X)
    for found in (fitted[0].transform(stored), fitted[1].transform(stored), fitted[1].transform(X)):
        np.testing.assert_array_equal(found, expected)
    assert max(stored.reads) <= 4 * CLIP  # a batch of transform, and of training


def test_an_encoder_learns_the_same_from_an_unlabelled_store(store):
    X = decaying_noise(RT60_IN_STORE, LONG)
    stored = store(X)
    expected, found = (small_encoder().fit(data).transform(X) for data in (X, stored))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("n_times", [CLIP, LONG])
def test_supervised_training_on_a_store_and_an_array_agree(n_times, store):
    X = decaying_noise(RT60_IN_STORE, n_times)
    stored = store(X)
    fitted = [
        SupervisedRoomRegressor(**QUICK, n_hidden=8).fit(data, RT60_IN_STORE, source_groups=SOURCE)
        for data in (X, stored)
    ]
    assert max(stored.reads) <= 5 * CLIP  # batches of nearly equal size
    np.testing.assert_array_equal(fitted[1].predict(X), fitted[0].predict(X))
    np.testing.assert_array_equal(fitted[1].predict(stored), fitted[0].predict(X))


def test_decay_slopes_of_a_store_and_an_array_agree(store):
    X = decaying_noise(RT60_IN_STORE, LONG)
    stored = store(X)
    features = DecaySlopeFeatures(bands=[500, 2_000])
    np.testing.assert_array_equal(features.fit(stored).transform(stored), features.fit(X).transform(X))
    assert max(stored.reads) <= RECORDINGS_AT_ONCE * LONG < stored.stored.size


# --- Reading --------------------------------------------------------------------------------------------------------


def samples_read(stored, indices, starts, n_times):
    recordings = as_recordings(stored, RATE)
    stored.reads.clear()
    found = recordings.read(np.array(indices), np.array(starts), n_times)
    expected = [stored.stored[index, start : start + n_times] for index, start in zip(indices, starts, strict=True)]
    np.testing.assert_array_equal(found, expected)
    return sorted(stored.reads)


def test_neighbours_in_a_store_are_read_together(store):
    stored = store(decaying_noise(RT60_IN_STORE, LONG))
    assert samples_read(stored, [3, 1, 2, 4], [10, 10, 10, 10], 100) == [400]
    assert samples_read(stored, [7, 7, 7], [200, 0, 100], 100) == [300]  # one after the other
    assert samples_read(stored, [7, 8, 7, 8], [0, 100, 100, 0], 100) == [400]
    assert samples_read(stored, [7, 7], [0, 60], 100) == [160]  # overlapping
    assert samples_read(stored, [7, 7], [0, 0], 100) == [100]


def test_only_requested_samples_of_a_store_are_read(store):
    stored = store(decaying_noise(RT60_IN_STORE, LONG))
    assert samples_read(stored, [3, 5], [0, 0], 100) == [100, 100]
    assert samples_read(stored, [3, 4], [0, 1], 100) == [100, 100]
    assert samples_read(stored, [3, 3, 4], [0, 101, 0], 100) == [100, 100, 100]


def test_recordings_of_a_store_are_taken_in_any_order(store):
    X = decaying_noise(RT60_IN_STORE, LONG)
    stored = store(X)
    chosen = as_recordings(stored, RATE)[[9, 3, 8, 3]]
    np.testing.assert_array_equal(np.asarray(chosen), X[[9, 3, 8, 3]])
    np.testing.assert_array_equal(
        chosen.read(np.arange(4), np.zeros(4, int), LONG + 500)[:, LONG:], X[[9, 3, 8, 3], :500]
    )
