"""Variations of responses with labels of their own, and clips that training hears anew in each epoch."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils import Bunch

from experiments.treatments import synthetic
from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk._recordings import as_recordings
from roomacoustic_sk._torch.batches import BatchLoader, SegmentSource, ShuffledBatches
from roomacoustic_sk.acoustics import room_labels
from roomacoustic_sk.augmentation import AddNoise, Clip, Gain, ReshapeDecay, ScaleDirectSound, Sometimes
from roomacoustic_sk.datasets import (
    augment_clips,
    augment_responses,
    concatenate,
    make_reverberant_speech,
    make_speech,
    simulate_rooms,
    take,
)

RATE = 16000
NOISE = AddNoise(snr=(10.0, 20.0))


@pytest.fixture(scope="module")
def rooms() -> Bunch:
    """Four responses of two simulated rooms."""
    return simulate_rooms(2, 2, materials=0.4, n_rays=500, tolerance=0.5, random_state=0)


def measured_rooms() -> Bunch:
    """Three noisy responses as `load_measured_rirs` returns them, whose labels are names."""
    rirs = [synthetic(np.random.default_rng(i), rt=0.5, peak_to_noise=55, sample_rate=RATE).samples for i in range(3)]
    labels = room_labels(rirs, RATE, diagnostics=True)
    return Bunch(
        rirs=rirs,
        sample_rate=RATE,
        target=labels.loc[:, :"drr"].assign(volume=[50.0, 60.0, 70.0]),
        diagnostics=labels.loc[:, "nonlinearity":"reason"],
        rir=np.array(["a.wav", "b.wav", "c.wav"]),
        room=np.array(["office", "office", "hall"]),
        DESCR="three responses",
    )


# --- Responses ----------------------------------------------------------------------------------------------------


def test_copies_have_labels_of_their_own_and_their_rooms(rooms: Bunch) -> None:
    more = augment_responses(rooms, [ScaleDirectSound(), ReshapeDecay()], n_copies=2, random_state=0)
    assert len(more.rirs) == len(more.target) == len(more.proof) == len(more.complete) == 12
    assert_array_equal(more.rir, np.arange(12))
    assert_array_equal(more.room, np.tile(rooms.room, 3))
    assert_array_equal(more.target["volume"], np.tile(rooms.target["volume"], 3))
    pd.testing.assert_frame_equal(more.target[:4], rooms.target)
    for before, after in zip(rooms.rirs, more.rirs, strict=False):
        assert_array_equal(before, after)
    copies = room_labels(more.rirs[4:], RATE, decay_ranges=("T30",), truncation=None)
    for name in ("rt60", "rt60_mid", "edt", "c50", "d50", "drr"):
        assert_allclose(more.target[name][4:], copies[name])
    change = more.target[["rt60_mid", "drr"]][4:8].to_numpy() / more.target[["rt60_mid", "drr"]][8:].to_numpy() - 1
    assert (np.abs(change) > 1e-3).all()


def test_a_copy_may_come_out_as_it_was(rooms: Bunch) -> None:
    more = augment_responses(rooms, Sometimes(ScaleDirectSound(), probability=0.0), random_state=0)
    assert_array_equal(more.rir, np.arange(8))
    assert_array_equal(more.rirs[6], rooms.rirs[2])


def test_copies_of_measured_responses_keep_names_apart() -> None:
    more = augment_responses(measured_rooms(), ScaleDirectSound(gain=(6.0, 6.0)), n_copies=2, random_state=0)
    assert more.rir.tolist() == [name + end for end in ("", "+1", "+2") for name in ("a.wav", "b.wav", "c.wav")]
    assert more.room.tolist() == ["office", "office", "hall"] * 3
    expected = room_labels(more.rirs, RATE, diagnostics=True)
    pd.testing.assert_frame_equal(more.target, expected.loc[:, :"drr"].assign(volume=[50.0, 60.0, 70.0] * 3))
    pd.testing.assert_frame_equal(more.diagnostics, expected.loc[:, "nonlinearity":"reason"])


def test_copies_of_some_responses_depend_on_the_seed_alone(rooms: Bunch) -> None:
    first, same = (augment_responses(rooms, ReshapeDecay(), random_state=1) for _ in range(2))
    other = augment_responses(rooms, ReshapeDecay(), random_state=2)
    for one, two, three in zip(first.rirs[4:], same.rirs[4:], other.rirs[4:], strict=True):
        assert_array_equal(one, two)
        assert not np.array_equal(one, three)


def test_copies_join_other_rooms_and_make_speech(rooms: Bunch) -> None:
    more = augment_responses(rooms, ScaleDirectSound(), random_state=0)
    others = simulate_rooms(1, 2, materials=0.3, n_rays=500, tolerance=0.5, random_state=5)
    together = concatenate([more, others])
    assert len(np.unique(together.rir)) == 10
    assert len(np.unique(together.room)) == 3
    speech = make_speech(n_speakers=1, n_segments=2, duration=0.5, random_state=0)
    data = make_reverberant_speech(take(together, slice(2, 9)), speech)
    assert data.data.shape == (14, 8000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"steps": []}, "augment_responses: steps must have at least one step, got none"),
        ({"steps": "noise"}, "steps must be functions of"),
        ({"steps": lambda rir, rate, rng: rir * np.nan}, "steps must return a 1-D array of finite"),
        ({"n_copies": 0}, "n_copies must be"),
        ({"rooms": {"rirs": []}}, "rooms must have rirs, sample_rate"),
    ],
)
def test_wrong_arguments_of_augment_responses_are_named(rooms: Bunch, change: dict, message: str) -> None:
    given = {"rooms": rooms, "steps": ScaleDirectSound()} | change
    with pytest.raises((ValueError, TypeError), match=message):
        augment_responses(**given)


# --- Clips --------------------------------------------------------------------------------------------------------


def some_clips(n_clips: int = 6, n_times: int = 8000) -> Bunch:
    samples = np.random.default_rng(0).standard_normal((n_clips, n_times)).astype(np.float32)
    return Bunch(data=samples, sample_rate=RATE, rir=np.repeat(np.arange(n_clips // 2), 2), DESCR="noise")


def test_a_clip_varies_in_the_same_way_however_it_is_read() -> None:
    data = some_clips()
    varied = augment_clips(data, [NOISE, Gain()], random_state=0)
    whole = np.asarray(varied.data)
    assert whole.dtype == np.float32
    assert (whole != data.data).any(axis=1).all()
    assert varied.rir is data.rir
    for one in (varied.data[4], varied.data[[2, 4]][1], varied.data[3:][1], list(varied.data)[4]):
        assert_array_equal(one, whole[4])
    assert_array_equal(np.asarray(pickle.loads(pickle.dumps(varied.data))), whole)
    assert_array_equal(np.asarray(take(varied, [4]).data)[0], whole[4])
    assert_array_equal(np.asarray(augment_clips(data, [NOISE, Gain()], random_state=0).data), whole)
    assert not np.array_equal(np.asarray(augment_clips(data, [NOISE, Gain()], random_state=1).data), whole)


def test_lazy_clips_vary_as_those_in_memory_do(rooms: Bunch) -> None:
    speech = make_speech(n_speakers=1, n_segments=2, duration=0.5, random_state=0)
    lazy, ready = (make_reverberant_speech(rooms, speech, lazy=is_lazy) for is_lazy in (True, False))
    first, second = (np.asarray(augment_clips(data, NOISE, random_state=0).data) for data in (lazy, ready))
    assert_allclose(first, second, atol=1e-5)


def passes(data: Bunch, random_state: int | np.random.RandomState, n_passes: int = 2) -> list[np.ndarray]:
    """Return what a loader reads in some passes, in the order of the clips."""
    recordings = as_recordings(data.data, RATE)
    n_clips = len(recordings)
    source = SegmentSource(recordings, np.arange(n_clips), np.arange(n_clips), recordings.n_times)
    loader = BatchLoader(source, ShuffledBatches(np.arange(n_clips), 2, 0), random_state)
    read = []
    for _ in range(n_passes):
        batches = [(segments.numpy(), items.numpy()) for segments, items in loader]
        order = np.argsort(np.concatenate([items for _, items in batches]))
        read.append(np.concatenate([segments for segments, _ in batches])[order])
    return read


def test_training_hears_another_variation_in_each_epoch() -> None:
    data = augment_clips(some_clips(), NOISE, random_state=0)
    first, second = passes(data, np.random.RandomState(3))
    assert (first != second).any(axis=1).all()
    assert_array_equal(passes(data, np.random.RandomState(3)), [first, second])
    assert (first != np.asarray(data.data)).any(axis=1).all()


def test_validation_hears_the_same_variation_in_each_epoch() -> None:
    first, second = passes(augment_clips(some_clips(), NOISE, random_state=0), 3)
    assert_array_equal(first, second)


def test_clips_that_do_not_vary_are_read_as_before() -> None:
    data = some_clips()
    for read in passes(data, np.random.RandomState(3)):
        assert_array_equal(read, data.data)


def test_an_encoder_trains_on_varied_clips_and_repeats_itself() -> None:
    data = augment_clips(some_clips(32), Sometimes(NOISE), random_state=0)
    settings = {"network": "pooled", "max_epochs": 2, "n_classes": 2, "n_views": 2, "steps_per_epoch": 2}
    settings |= {"segment_duration": 0.5, "validation_steps": 1, "precision": "float32", "random_state": 0}
    embeddings = [
        ContrastiveRoomEncoder(**settings).fit(data.data, rir_groups=data.rir).transform(data.data) for _ in range(2)
    ]
    assert_array_equal(*embeddings)
    plain = ContrastiveRoomEncoder(**settings).fit(some_clips(32).data, rir_groups=data.rir).transform(data.data)
    assert not np.array_equal(plain, embeddings[0])


def test_a_silent_clip_is_refused_as_ever() -> None:
    data = some_clips()
    data.data[2] = 0
    with pytest.raises(ValueError, match="silent"):
        augment_clips(data, NOISE, random_state=0)


def test_clips_that_a_step_clips_are_no_cause_to_warn() -> None:
    varied = augment_clips(some_clips(), Clip(depth=(12.0, 12.0)), random_state=0)
    read = as_recordings(varied.data, RATE).read(np.arange(6), np.zeros(6, dtype=int), 8000)
    assert (np.abs(read).max(axis=1) < 0.3 * np.abs(some_clips().data).max(axis=1)).all()


def test_a_step_that_changes_the_length_is_named() -> None:
    varied = augment_clips(some_clips(), lambda clip, rate, rng: clip[1:], random_state=0)
    with pytest.raises(ValueError, match="steps must return clips as long as they were, got 7999 of 8000 samples"):
        np.asarray(varied.data)


def test_wrong_arguments_of_augment_clips_are_named() -> None:
    with pytest.raises(ValueError, match="data must have data, sample_rate, got none of these: sample_rate"):
        augment_clips({"data": some_clips().data}, NOISE)
    with pytest.raises(TypeError, match="steps must be functions of"):
        augment_clips(some_clips(), "mp3")
