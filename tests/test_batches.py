"""Batches for training: cached spectrograms equal computed ones, and validation batches repeat."""

from __future__ import annotations

import threading

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils import Bunch
from torch import nn
from toys import CLIP, ENCODER, RATE, TRAINING, BatchWatcher, decaying_noise, random_rt60

from roomacoustic_sk import ContrastiveRoomEncoder, SupervisedRoomRegressor
from roomacoustic_sk._recordings import Recordings, RecordingsInMemory, StoredRecordings
from roomacoustic_sk._torch import batches
from roomacoustic_sk._torch.batches import BatchLoader, KeptBatches, SegmentSource, SpectrogramCache, spectrogram_cache
from roomacoustic_sk.datasets import make_reverberant_speech
from roomacoustic_sk.networks import PooledRoomCNN, RoomCNN

pytestmark = pytest.mark.usefixtures("seeded_torch")


class Counter(nn.Module):
    """A front end that counts the recordings it is given."""

    def __init__(self):
        super().__init__()
        self.n_recordings = 0

    def forward(self, x):
        self.n_recordings += len(x)
        return x[:, None, None, ::4]


@pytest.mark.parametrize("network", [RoomCNN, PooledRoomCNN])
def test_networks_embed_a_spectrogram_like_its_waveform(network):
    module, x = network(CLIP).eval(), torch.from_numpy(decaying_noise(random_rt60(4)))
    with torch.inference_mode():
        assert torch.equal(module(module.spectrogram(x)), module(x))


@pytest.mark.parametrize("kept", [0, 3, 100])
def test_a_full_cache_returns_the_same_spectrograms(kept):
    X, front_end = decaying_noise(random_rt60(10)), Counter()
    cache = SpectrogramCache(RecordingsInMemory(X, RATE), front_end, torch.float32, limit=kept * CLIP // 4 * 4)
    front_end.n_recordings = 0
    for indices in ([0, 5, 5, 2], [2, 2, 0], [7, 8, 9, 0, 1], [3], list(range(10)), list(range(10))):
        expected = torch.from_numpy(X[indices])[:, None, None, ::4]
        assert torch.equal(cache.gather(np.array(indices)), expected)
    assert len(cache.kept) == min(kept, 10)
    if kept == 100:
        assert front_end.n_recordings == 10  # each recording once
    if kept == 0:
        assert front_end.n_recordings == 3 + 2 + 5 + 1 + 10 + 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "precision", "tolerance"),
    [
        ("pooled", "float32", 1e-4),
        ("pooled", "bfloat16", 1e-4),  # the convolutions round the spectrogram anyway
        ("paper", "float32", 1e-4),
        ("paper", "bfloat16", 0.05),  # the first convolutions are in float32, cached spectrograms in bfloat16
    ],
)
def test_cached_spectrograms_leave_training_unchanged(network, precision, tolerance):
    X, rir = decaying_noise(random_rt60(40)), np.arange(40) // 5

    def estimates(X):
        options = {"network": network, "precision": precision}
        encoder = ContrastiveRoomEncoder(**ENCODER | options | {"steps_per_epoch": 4, "max_epochs": 2})
        encoder.fit(X, rir_groups=rir, source_groups=np.arange(40) % 5)
        regressor = SupervisedRoomRegressor(**TRAINING | options).fit(X, rir.astype(float))
        return encoder.transform(X), regressor.predict(X)

    # Of a list, whose recordings may differ in length, no spectrograms are kept.
    with_cache, without = estimates(X), estimates(list(X))
    for kept, computed in zip(with_cache, without, strict=True):
        np.testing.assert_allclose(kept, computed, rtol=tolerance, atol=tolerance)


def test_spectrograms_of_stored_recordings_are_cached_all_or_none():
    front_end, X = PooledRoomCNN(CLIP).front_end, decaying_noise(random_rt60(4))
    stored, in_memory = StoredRecordings(X, RATE), RecordingsInMemory(X, RATE)
    cpu, size = torch.device("cpu"), 4 * 40 * 59 * 2
    cache = spectrogram_cache(front_end, stored, CLIP, cpu, True)
    assert torch.equal(cache.gather(np.array([2, 0])), front_end(torch.from_numpy(X[[2, 0]])).bfloat16())
    for limit, kept in ((size, True), (size - 1, False)):
        assert (spectrogram_cache(front_end, stored, CLIP, cpu, True, limit) is not None) == kept
        assert spectrogram_cache(front_end, in_memory, CLIP, cpu, True, limit) is not None
    assert spectrogram_cache(front_end, RecordingsInMemory(list(X), RATE), CLIP, cpu, True) is None
    assert spectrogram_cache(front_end, in_memory, CLIP - 1, cpu, True) is None
    assert spectrogram_cache(None, in_memory, CLIP, cpu, True) is None


@pytest.mark.filterwarnings("ignore:.*no constant offset")
def test_validation_batches_are_the_same_in_every_epoch():
    watcher = BatchWatcher()
    X = np.arange(1.0, 20_001)[None] + 100_000 * np.arange(40)[:, None]
    ContrastiveRoomEncoder(**ENCODER | {"max_epochs": 2}, callbacks=[watcher]).fit(X)
    (first, labels), (second, same_labels) = watcher.seen[False]
    assert np.array_equal(first, second)
    assert np.array_equal(labels, same_labels)
    assert not np.array_equal(watcher.seen[True][0][0], watcher.seen[True][2][0])


@pytest.mark.parametrize(("limit", "n_computed"), [(1 << 30, 12), (40, 36)])
def test_kept_batches_are_computed_once_if_they_fit(limit, n_computed):
    recordings, front_end = Numbers(12, 12, ValueError), Counter()
    source = SegmentSource(recordings, np.arange(12), np.arange(12), 4)
    loader = KeptBatches(BatchLoader(source, [np.arange(6), np.arange(6, 12)], 0), front_end, torch.float32, limit)
    passes = [[(spectrograms.flatten().tolist(), y.tolist()) for spectrograms, y in loader] for _ in range(3)]
    assert passes[0] == passes[1] == passes[2]
    assert passes[0][1] == ([6, 7, 8, 9, 10, 11], [6, 7, 8, 9, 10, 11])
    assert front_end.n_recordings == n_computed


def test_a_pass_that_was_left_keeps_no_batches():
    source = SegmentSource(Numbers(12, 12, ValueError), np.arange(12), np.arange(12), 4)
    loader = KeptBatches(BatchLoader(source, [np.arange(6), np.arange(6, 12)], 0), Counter(), torch.float32)
    next(iter(loader))
    assert len(list(loader)) == 2


def test_validation_clips_are_convolved_once(monkeypatch):
    monkeypatch.setattr(batches, "STORED_SPECTROGRAM_BYTES", 0)  # of all clips together
    segments, rirs = decaying_noise(random_rt60(10)), [np.eye(1, 100)[0] for _ in range(8)]
    rooms = Bunch(rirs=rirs, sample_rate=RATE, target=pd.DataFrame(index=range(8)), rir=np.arange(8), room=np.arange(8))
    speech = Bunch(segments=segments, sample_rate=RATE, source=np.arange(10), speaker=np.arange(10))
    data = make_reverberant_speech(rooms, speech, lazy=True)
    read = []

    class Watched(type(data.data)):
        def gather(self, indices):
            read.append(set(indices.tolist()))
            return super().gather(indices)

    data.data.__class__ = Watched
    options = {"network": "compact", "n_classes": 4, "n_views": 2, "steps_per_epoch": 3, "validation_steps": 5}
    encoder = ContrastiveRoomEncoder(**TRAINING | options | {"max_epochs": 4, "patience": 9})
    encoder.fit(data.data, rir_groups=data.rir, source_groups=data.source)
    assert len(encoder.history_) == 4
    assert len([one for one in read if len(one) > 1]) == 4 * 3 + 5


class Numbers(Recordings):
    """Recordings of their own number, which take a moment to read and fail from one of them on."""

    def __init__(self, n_recordings: int, broken: int, error: type[BaseException]) -> None:
        super().__init__(np.full(n_recordings, 4), RATE, 4)
        self.broken, self.error, self.threads = broken, error, set()

    def take(self, indices):
        raise NotImplementedError

    def _read(self, indices, starts, n_times):
        self.threads.add(threading.get_ident())
        if (indices >= self.broken).any():
            raise self.error("broken")
        return [np.full(n_times, index, dtype=np.float32) + np.arange(n_times, dtype=np.float32) for index in indices]


def loader_of(recordings: Numbers) -> BatchLoader:
    items = np.arange(len(recordings))
    batches = [items[first : first + 5] for first in range(0, len(items), 5)]
    return BatchLoader(SegmentSource(recordings, items, items, 4), batches, 0)


def test_batches_are_gathered_ahead_in_their_order():
    recordings = Numbers(40, 40, ValueError)
    targets = torch.cat([batch[1] for batch in loader_of(recordings)])
    assert targets.tolist() == list(range(40))
    assert threading.get_ident() not in recordings.threads
    assert len(recordings.threads) == 1


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_an_error_in_a_batch_reaches_the_caller_in_its_turn(error):
    batches = iter(loader_of(Numbers(40, 10, error)))
    assert [next(batches)[1][0].item() for _ in range(2)] == [0, 5]
    with pytest.raises(error, match="broken"):
        next(batches)


def test_no_thread_outlives_a_pass_that_is_left_early():
    before = threading.active_count()
    batches = iter(loader_of(Numbers(40, 40, ValueError)))
    next(batches)
    batches.close()
    assert threading.active_count() == before
