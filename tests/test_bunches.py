"""Parts of a Bunch keep every field aligned, and joined Bunches keep their labels distinct."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.utils import Bunch
from toys import RATE, exponential, noise, write_audio

from roomacoustic_sk.datasets import (
    concatenate,
    load_measured_rirs,
    load_recordings,
    load_speech,
    make_reverberant_speech,
    make_speech,
    simulate_rooms,
    split_by_speaker,
    take,
)


def simulated(seed: int, n_rooms: int = 2, **options: Any) -> Bunch:
    return simulate_rooms(n_rooms, 2, materials=0.6, random_state=seed, **options)


@pytest.fixture(scope="module")
def rooms() -> Bunch:
    return simulated(0)


@pytest.fixture(scope="module")
def other_rooms() -> Bunch:
    return simulated(1)


@pytest.fixture(scope="module")
def speech() -> Bunch:
    return make_speech(n_speakers=3, n_segments=6, duration=0.5, random_state=0)


@pytest.fixture(scope="module")
def lazy(rooms: Bunch, speech: Bunch) -> Bunch:
    return make_reverberant_speech(rooms, speech, snr=30, lazy=True, random_state=0)


def assert_same(found: Bunch, expected: Bunch, *but: str) -> None:
    """Assert that two Bunches have the same fields with the same values; lazy clips within float error."""
    assert list(found) == list(expected)
    for name in set(found) - set(but):
        if isinstance(expected[name], pd.DataFrame):
            pd.testing.assert_frame_equal(found[name], expected[name])
        elif isinstance(expected[name], list):
            assert len(found[name]) == len(expected[name])
            for one, other in zip(found[name], expected[name], strict=True):
                np.testing.assert_array_equal(one, other)
        elif name == "data":
            assert_close(found[name], expected[name])
        else:
            np.testing.assert_array_equal(found[name], expected[name])


def assert_close(found: Any, expected: Any) -> None:
    """Assert that clips are the same but for the rounding of transforms of another length."""
    np.testing.assert_allclose(np.asarray(found), np.asarray(expected), rtol=0, atol=1e-6)


# --- take -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("indices", "expected"),
    [
        (np.array([3, 0]), [3, 0]),
        ([1, 1, -1], [1, 1, 3]),
        (slice(None, None, 2), [0, 2]),
        (np.array([False, True, True, False]), [1, 2]),
        ([True, False, False, True], [0, 3]),
        (pd.Series([False, False, True, False]), [2]),
        (np.array([2], dtype=np.uint8), [2]),
        ([], []),
        (slice(0, 0), []),
    ],
)
def test_every_field_of_simulated_rooms_is_indexed_alike(rooms: Bunch, indices: Any, expected: list[int]) -> None:
    part = take(rooms, indices)
    assert list(part) == list(rooms)
    assert isinstance(part.rirs, list)
    assert len(part.rirs) == len(expected)
    for rir, i in zip(part.rirs, expected, strict=True):
        assert rir is rooms.rirs[i]
    for name in ("target", "proof"):
        pd.testing.assert_frame_equal(part[name], rooms[name].iloc[expected].reset_index(drop=True))
    assert part.rir.tolist() == expected
    assert part.room.tolist() == [i // 2 for i in expected]
    assert len(part.complete) == len(expected)
    assert (part.counts, part.sample_rate, part.DESCR) == (rooms.counts, rooms.sample_rate, rooms.DESCR)


def test_take_leaves_its_bunch_unchanged(rooms: Bunch) -> None:
    take(rooms, [0]).rir[0] = 99
    assert rooms.rir.tolist() == [0, 1, 2, 3]
    assert len(rooms.rirs) == 4


def test_lazy_clips_stay_lazy_and_keep_their_samples(lazy: Bunch) -> None:
    part = take(lazy, lazy.room == 1)
    assert type(part.data) is type(lazy.data)
    assert_close(part.data, np.asarray(lazy.data)[lazy.room == 1])
    pd.testing.assert_frame_equal(part.target, lazy.target[lazy.room == 1].reset_index(drop=True))
    assert set(part.rir) == {2, 3}


def test_voices_stay_whole_even_if_there_are_as_many_as_segments() -> None:
    speech = make_speech(n_speakers=4, n_segments=4, duration=0.5, random_state=0)
    part = take(speech, [2, 3])
    assert len(part.segments) == len(part.source) == len(part.file) == 2
    assert part.voices is speech.voices


def test_make_reverberant_speech_accepts_taken_rooms(rooms: Bunch, speech: Bunch) -> None:
    clips = make_reverberant_speech(take(rooms, [1, 2]), take(speech, slice(2)), random_state=0)
    assert clips.rir.tolist() == [1, 1, 2, 2]


@pytest.mark.parametrize("kind", [list, tuple, pd.Series, torch.tensor, np.asarray])
def test_entries_in_any_container_are_indexed(kind: Any) -> None:
    bunch = Bunch(segments=kind(np.arange(4.0)), source=[0, 1, 2, 3], bands=[125, 250, 500, 1000], level=np.arange(4))
    part = take(bunch, [3, 1])
    assert isinstance(part.segments, type(bunch.segments))
    assert list(map(float, part.segments)) == [3.0, 1.0]
    assert (part.source, part.level.tolist()) == ([3, 1], [3, 1])
    assert part.bands == bunch.bands  # a list under a name that is not known


def test_response_labels_determine_the_number_of_entries() -> None:
    bunch = Bunch(rir=np.arange(3), rirs=[1, 2, 3], window=np.ones(2), files="one path", scalar=np.float64(2))
    part = take(bunch, [2])
    assert (part.rirs, part.window.shape, part.files, part.scalar) == ([3], (2,), "one path", 2.0)
    assert take(Bunch(file=np.array(["a", "b"]), data=np.ones((2, 5))), [0]).data.shape == (1, 5)
    with pytest.raises(ValueError, match=r"take: bunch\.source must have one item for each of the 3 entries, got 2"):
        take(Bunch(rir=np.arange(3), source=np.arange(2)), [2])


@pytest.mark.parametrize(
    ("indices", "error", "message"),
    [
        ([4], ValueError, "indices must be numbers of the 4 entries, from -4 to 3, got 4"),
        ([0, -5], ValueError, "indices must be numbers of the 4 entries, from -4 to 3, got -5"),
        ([True, False], ValueError, "indices must be a mask of 4 entries, got one of 2"),
        ([0.0, 1.0], TypeError, "indices must be whole numbers, a slice or a mask, got an array"),
        (["a"], TypeError, "indices must be whole numbers, a slice or a mask, got an array"),
        (2, TypeError, "indices must be whole numbers, a slice or a mask in one dimension, got 2"),
        (None, TypeError, "indices must be whole numbers, a slice or a mask in one dimension, got None"),
        ([[0, 1]], TypeError, "in one dimension, got a list of 1 items"),
        (slice("a", None), TypeError, "indices must be whole numbers, a slice or a mask, got slice"),
        (slice(None, None, 0), TypeError, "indices must be whole numbers, a slice or a mask, got slice"),
    ],
)
def test_invalid_indices_are_refused(rooms: Bunch, indices: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^take: .*{message}"):
        take(rooms, indices)


def test_objects_without_entries_are_refused() -> None:
    with pytest.raises(TypeError, match=r"take: bunch must be a Bunch, got an array"):
        take(np.ones((2, 3)), [0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"take: bunch must have one label per entry in a field rir, .* with data, x"):
        take(Bunch(data=np.ones((2, 3)), x=1), [0])


# --- split_by_speaker -----------------------------------------------------------------------------------------------


def test_splits_share_no_speaker_and_keep_fields_aligned() -> None:
    n = 40
    speech = Bunch(
        segments=np.arange(n * 3.0).reshape(n, 3),
        target=pd.DataFrame({"row": np.arange(n)}),
        source=np.arange(n),
        speaker=np.repeat(np.arange(10), 4),
        sample_rate=RATE,
        DESCR="made",
    )
    parts = split_by_speaker(speech, (0.6, 0.2, 0.2), random_state=0)
    assert [len(np.unique(part.speaker)) for part in parts] == [6, 2, 2]
    assert len(np.unique(np.concatenate([part.speaker for part in parts]))) == 10
    for part in parts:
        np.testing.assert_array_equal(part.segments, speech.segments[part.source])
        np.testing.assert_array_equal(part.target["row"], part.source)
        np.testing.assert_array_equal(part.speaker, part.source // 4)
        assert part.sample_rate == RATE
        assert part.target.index.tolist() == list(range(len(part.source)))


def test_a_split_without_a_speaker_in_each_part_is_refused() -> None:
    speech = Bunch(segments=np.ones((4, 2)), speaker=np.array([0, 0, 1, 1]))
    with pytest.raises(ValueError, match="fractions must give each part a speaker"):
        split_by_speaker(speech, (0.9, 0.1))
    with pytest.raises(ValueError, match="fractions must have at least one value and sum to at most 1"):
        split_by_speaker(speech, (0.9, 0.2))
    with pytest.raises(ValueError, match="fractions must be a number above 0"):
        split_by_speaker(speech, (1.0, 0.0))


@pytest.mark.parametrize("kind", [list, tuple, pd.Series, torch.tensor])
def test_fields_of_any_container_are_split(speech: Bunch, kind: Any) -> None:
    text = list if kind is torch.tensor else kind
    given = Bunch(
        **speech | {"segments": kind(speech.segments if kind is torch.tensor else list(speech.segments))},
    )
    given.source, given.speaker = text(speech.source), text(speech.speaker)
    for part in split_by_speaker(given, (1 / 3, 2 / 3), random_state=0):
        chosen = np.isin(speech.speaker, list(part.speaker))
        assert list(part.source) == speech.source[chosen].tolist()
        np.testing.assert_array_equal(np.stack([np.asarray(s) for s in part.segments]), speech.segments[chosen])


def test_lazy_clips_are_split_by_speaker(lazy: Bunch) -> None:
    train, test = split_by_speaker(lazy, (2 / 3, 1 / 3), random_state=0)
    assert len(train.data) + len(test.data) == len(lazy.data)
    assert not set(train.speaker) & set(test.speaker)
    assert_close(test.data[0], lazy.data[int(np.flatnonzero(lazy.speaker == test.speaker[0])[0])])


def test_a_split_names_missing_fields(rooms: Bunch) -> None:
    with pytest.raises(ValueError, match=r"^split_by_speaker: speech must have a field speaker, got a Bunch with rirs"):
        split_by_speaker(rooms)
    with pytest.raises(ValueError, match=r"^split_by_speaker: speech must have one label per entry in a field rir"):
        split_by_speaker(Bunch(segments=np.ones((2, 3))))
    with pytest.raises(ValueError, match=r"^split_by_speaker: speech\.segments must have one item for each of the 2"):
        split_by_speaker(Bunch(segments=[[1.0]], speaker=["a", "b"]), (0.5, 0.5))
    with pytest.raises(ValueError, match=r"^split_by_speaker: speech\.speaker must be 1-D"):
        split_by_speaker(Bunch(segments=np.ones((2, 3)), speaker=np.zeros((2, 1))))
    with pytest.raises(TypeError, match=r"^split_by_speaker: speech must be a Bunch, got an array"):
        split_by_speaker(np.ones((2, 3)))  # type: ignore[arg-type]


# --- concatenate ----------------------------------------------------------------------------------------------------


def test_rooms_of_two_simulations_stay_distinct(rooms: Bunch, other_rooms: Bunch) -> None:
    both = concatenate([rooms, other_rooms])
    assert list(both) == list(rooms)
    assert both.rir.tolist() == list(range(8))
    assert both.room.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    for rir, expected in zip(both.rirs, [*rooms.rirs, *other_rooms.rirs], strict=True):
        assert rir is expected
    pd.testing.assert_frame_equal(both.target.iloc[4:].reset_index(drop=True), other_rooms.target)
    assert both.counts == {key: rooms.counts[key] + other_rooms.counts[key] for key in rooms.counts}
    assert both["DESCR"] == "\n\n".join([rooms.DESCR.rstrip(), other_rooms.DESCR.rstrip()])
    assert both.sample_rate == RATE
    clips = make_reverberant_speech(both, make_speech(1, 2, duration=0.5, random_state=0))
    assert len(np.unique(clips.room)) == 4


def test_numeric_labels_are_shifted_beyond_earlier_ones(rooms: Bunch, other_rooms: Bunch) -> None:
    both = concatenate([take(rooms, [2, 3]), take(other_rooms, [3]), take(rooms, [0]), take(rooms, [])])
    assert both.rir.tolist() == [2, 3, 4, 5]
    assert both.room.tolist() == [1, 1, 2, 3]


def test_parts_of_one_bunch_are_rejoined_by_shared_labels(rooms: Bunch, lazy: Bunch) -> None:
    parts = [take(rooms, [0, 1]), take(rooms, [2, 3])]
    assert_same(concatenate(parts, shared=("rir", "room")), rooms, "counts")
    parts = [take(lazy, slice(0, 7)), take(lazy, slice(7, None))]
    assert_same(concatenate(parts, shared=["rir", "room"]), lazy)


def test_clips_of_the_same_rooms_need_shared_labels(rooms: Bunch, speech: Bunch) -> None:
    clips = [make_reverberant_speech(rooms, take(speech, [i]), lazy=True) for i in (0, 1)]
    with pytest.raises(ValueError, match=r'^concatenate: shared must be \("rir", "room"\) for bunches that have rooms'):
        concatenate(clips)
    both = concatenate(clips, shared=("rir", "room"))
    assert both.rir.tolist() == [0, 1, 2, 3, 0, 1, 2, 3]
    named = [Bunch(**these | {"room": np.array(["office", "hall"])[these.room]}) for these in clips]
    with pytest.raises(ValueError, match=r'^concatenate: shared must be \("rir", "room"\)'):
        concatenate(named)
    assert len(set(both.source)) == 2


def test_lazy_clips_stay_lazy_when_joined(rooms: Bunch, other_rooms: Bunch, speech: Bunch) -> None:
    first, second = (
        make_reverberant_speech(these, speech, lazy=True, snr=20, random_state=seed)
        for seed, these in enumerate((rooms, other_rooms))
    )
    both = concatenate([first, second])
    assert both.data.shape == (48, 8000)
    whole = np.concatenate([np.asarray(first.data), np.asarray(second.data)])
    assert_close(both.data, whole)
    assert_close(both.data[30], whole[30])
    mixed = take(both, [40, 3, 25, 3])
    assert not isinstance(mixed.data, np.ndarray)
    assert_close(mixed.data, whole[[40, 3, 25, 3]])
    assert mixed.room.tolist() == [3, 0, 2, 0]
    assert len(take(both, []).data) == 0
    computed = make_reverberant_speech(other_rooms, speech, snr=20, random_state=1)
    assert_close(concatenate([first, computed]).data, whole)


def test_speech_of_two_folders_is_joined_by_its_names(tmp_path: Path) -> None:
    for i, speaker in enumerate(("ada", "bob")):
        write_audio(tmp_path / speaker / speaker / f"{speaker}.wav", noise(3 * RATE, level=-20, seed=i))
    parts = [load_speech(tmp_path / who, duration=1.0, n_segments=2, random_state=0) for who in ("ada", "bob")]
    both = concatenate(parts)
    assert both.speaker.tolist() == ["ada", "ada", "bob", "bob"]
    assert both.segments.dtype == np.float32
    np.testing.assert_array_equal(both.segments[2:], parts[1].segments)
    assert both.synthetic is False
    recordings = [load_recordings(tmp_path / who, duration=1.0) for who in ("ada", "bob")]
    joined = concatenate(recordings)
    assert joined.file.tolist() == ["ada/ada.wav"] * 3 + ["bob/bob.wav"] * 3
    np.testing.assert_array_equal(joined.data[4], recordings[1].data[1])


def test_parts_of_speech_are_rejoined(speech: Bunch) -> None:
    again = concatenate(split_by_speaker(speech, (1 / 3, 2 / 3), random_state=0))
    assert sorted(again.source) == sorted(speech.source)
    assert again.voices == speech.voices
    assert again.DESCR == speech.DESCR


def test_synthetic_speech_with_clashing_names_is_refused(speech: Bunch) -> None:
    other = make_speech(n_speakers=2, n_segments=4, duration=0.5, random_state=1)
    with pytest.raises(
        ValueError, match=r"^concatenate: bunches must have one segment for each source, got two .* for '"
    ):
        concatenate([speech, other])
    other.source, other.speaker = (np.char.add("other-", other[name]) for name in ("source", "speaker"))
    both = concatenate([speech, other])
    assert len(set(both.speaker)) == 5
    assert both.voices == [*speech.voices, *other.voices]


def test_measured_rooms_of_one_name_are_one_room(tmp_path: Path) -> None:
    for campaign in ("first", "second"):
        for room in ("office", campaign):
            write_audio(tmp_path / campaign / room / "rir.wav", exponential(0.5, 1.0), subtype="FLOAT")
    both = concatenate([load_measured_rirs(tmp_path / campaign) for campaign in ("first", "second")])
    assert both.room.tolist() == ["first", "office", "office", "second"]
    assert both.rir.tolist() == [0, 1, 2, 3]
    assert both.target["rt60"].round(2).tolist() == [0.5] * 4


def test_frames_get_the_columns_of_all_bunches() -> None:
    made = [Bunch(file=["a"], table=pd.DataFrame({"x": [1.0], **more})) for more in ({}, {"y": ["text"]})]
    table = concatenate(made).table
    assert table.columns.tolist() == ["x", "y"]
    assert table["y"].isna().tolist() == [True, False]


def test_a_single_bunch_is_returned_with_its_values(rooms: Bunch, speech: Bunch, lazy: Bunch) -> None:
    for bunch in (rooms, speech, lazy):
        assert_same(concatenate([bunch]), bunch)
    assert_same(concatenate(iter([rooms])), rooms)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sample_rate": 8000}, "bunches must have the same sampling rate, got 16000 Hz, 8000 Hz. Load or simulate"),
        (
            {"room": np.array(["a", "b"])},
            "bunches must have labels of one kind in room, got whole numbers in only some",
        ),
        ({"segments": np.ones((2, 4))}, r"bunches must have segments of one length, got shapes \(2, 3\) and \(2, 4\)"),
        ({"target": np.ones((2, 1))}, "bunches must have target of one kind, got a frame or series in some of them"),
        (
            {"window": "hann"},
            "bunches must have equal window, which does not have one item per entry, got different ones",
        ),
        ({"speaker": np.arange(3)}, r"bunches\[1\]\.speaker must have one item for each of the 2 entries, got 3"),
        ({"extra": 1}, "bunches must have the same fields, got extra in some of them only"),
    ],
)
def test_incompatible_bunches_are_refused(change: dict[str, Any], message: str) -> None:
    made = Bunch(
        segments=np.ones((2, 3)),
        source=np.arange(2),
        speaker=np.arange(2),
        room=np.arange(2),
        target=pd.DataFrame({"rt60": [0.5, 1.0]}),
        window="none",
        sample_rate=RATE,
    )
    with pytest.raises(ValueError, match=f"^concatenate: {message}"):
        concatenate([made, Bunch(**made | change)])


@pytest.mark.parametrize(
    ("bunches", "options", "error", "message"),
    [
        ([], {}, ValueError, "bunches must contain at least one Bunch, got none"),
        (Bunch(rir=[0]), {}, TypeError, "bunches must be a list of Bunches, got a Bunch"),
        (3, {}, TypeError, "bunches must be a list of Bunches, got 3"),
        ([Bunch(rir=[0]), 3], {}, TypeError, r"bunches\[1\] must be a Bunch, got 3"),
        ([Bunch(rir=[0]), Bunch(data=[0])], {}, ValueError, r"bunches\[1\] must have one label per entry in a field"),
        ([Bunch(rir=[0])], {"shared": "rir"}, ValueError, "shared must be a list of some of .*, got 'rir'"),
        (
            [Bunch(rir=[0])],
            {"shared": ["rirs"]},
            ValueError,
            "shared must be a list of some of .*, got a list of 1 items",
        ),
    ],
)
def test_invalid_arguments_of_concatenate_are_refused(
    bunches: Any, options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=f"^concatenate: {message}"):
        concatenate(bunches, **options)


@pytest.mark.parametrize("kind", [float, bool, np.uint8])
def test_numbers_of_any_type_are_no_names(kind):
    labels = np.array([0, 1]).astype(kind)
    parts = [Bunch(rir=labels, room=labels, target=pd.DataFrame({"rt60": [t, 2 * t]})) for t in (0.3, 0.4)]
    together = concatenate(parts)
    assert len(set(together.rir)) == len(set(together.room)) == 4


def test_labels_without_room_above_them_are_refused():
    large = Bunch(rir=np.array([0, 2**64 - 1], np.uint64))
    with pytest.raises(ValueError, match=r"concatenate: bunches must have labels far below 2\*\*63 in rir"):
        concatenate([large, Bunch(rir=np.array([0, 1]))])


def test_rooms_spelt_almost_alike_are_named_when_joined():
    with pytest.warns(UserWarning, match="concatenate: rooms with labels that are almost alike"):
        concatenate([Bunch(rir=[0], room=["Hall"]), Bunch(rir=[0], room=["hall"])])
