"""Sampling strategies, seen in their batches; held-out labels; and unusable labels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from roomacoustic_sk.samplers import MultiviewBatchSampler, hold_out, largest_batch

RIRS_PER_ROOM = 3


def grid(n_rirs=12, n_sources=10, keep=1.0, seed=0):
    """Group labels of a grid of RIRs and sources in random order, of which a share of the cells is kept."""
    rng = np.random.default_rng(seed)
    rir, source = np.nonzero(rng.random((n_rirs, n_sources)) < keep)
    order = rng.permutation(len(rir))
    rir, source = rir[order], source[order]
    return {"rir_groups": 100 + rir, "source_groups": 7 * source, "room_groups": rir // RIRS_PER_ROOM}


def classes_of(batch, labels, n_classes, n_views):
    """Split a batch into its classes, each checked for its size: indices by label."""
    assert len(batch) == n_classes * n_views
    classes = {label: batch[labels[batch] == label] for label in np.unique(labels[batch])}
    assert len(classes) == n_classes
    assert all(len(indices) == n_views for indices in classes.values())
    return classes


def same_batches(first, second):
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("keep", [1.0, 0.6])
@pytest.mark.parametrize("sampling", ["soft", "hard", "position_independent"])
def test_a_batch_has_n_classes_of_m_different_recordings(sampling, keep):
    groups = grid(keep=keep)
    n_classes = 4 if keep == 1 else 3
    sampler = MultiviewBatchSampler(**groups, sampling=sampling, n_classes=n_classes, n_views=3, n_batches=20)
    classes = groups["room_groups" if sampling == "position_independent" else "rir_groups"]
    batches = list(sampler)
    assert len(batches) == len(sampler) == 20
    for batch in batches:
        classes_of(batch, classes, n_classes, 3)
        assert len(np.unique(batch)) == n_classes * 3


@pytest.mark.parametrize("sampling", ["soft", "hard", "position_independent"])
def test_labels_number_the_classes_for_the_loss(sampling):
    groups = grid()
    sampler = MultiviewBatchSampler(**groups, sampling=sampling, n_classes=2, n_views=2, n_batches=1)
    expected = groups["room_groups"] if sampling == "position_independent" else groups["rir_groups"] - 100
    np.testing.assert_array_equal(sampler.labels, expected)


def test_soft_views_of_a_class_come_from_different_sources():
    rir = np.repeat([0, 1, 2], 12)
    source = np.tile(np.repeat([0, 1, 2], [10, 1, 1]), 3)  # chance alone would draw source 0 again and again
    sampler = MultiviewBatchSampler(rir, source_groups=source, n_classes=3, n_views=3, n_batches=30, random_state=0)
    for batch in sampler:
        for indices in classes_of(batch, rir, 3, 3).values():
            assert set(source[indices]) == {0, 1, 2}


def test_soft_sampling_needs_no_source_labels():
    rir = np.repeat([0, 1, 2], 4)
    sampler = MultiviewBatchSampler(rir, n_classes=3, n_views=4, n_batches=5)
    for batch in sampler:
        np.testing.assert_array_equal(np.sort(batch), np.arange(12))


def test_soft_sampling_draws_classes_and_recordings_equally_often():
    rir = np.repeat(np.arange(6), 5)
    sampler = MultiviewBatchSampler(rir, n_classes=3, n_views=2, n_batches=1000, random_state=0)
    times = np.bincount(np.concatenate(list(sampler)), minlength=30)
    assert np.all(np.abs(times - 200) < 60)  # more than four standard deviations of a fair draw


def test_soft_sampling_leaves_out_classes_with_too_few_views():
    rir = np.repeat([0, 1, 2], [5, 1, 4])
    for batch in MultiviewBatchSampler(rir, n_classes=2, n_views=3, n_batches=10):
        assert set(rir[batch]) == {0, 2}


@pytest.mark.parametrize("keep", [1.0, 0.7, 0.4])
def test_hard_batches_have_the_same_sources_for_every_class(keep):
    groups = grid(n_rirs=20, n_sources=15, keep=keep)
    n_classes, n_views = largest_batch(**groups, sampling="hard", n_classes=8, n_views=3)
    sampler = MultiviewBatchSampler(
        **groups, sampling="hard", n_classes=n_classes, n_views=n_views, n_batches=50, random_state=0
    )
    for batch in sampler:
        sources = [
            tuple(np.sort(groups["source_groups"][indices]))
            for indices in classes_of(batch, groups["rir_groups"], n_classes, n_views).values()
        ]
        assert len(set(sources[0])) == n_views
        assert set(sources) == {sources[0]}


def test_hard_batches_vary_classes_and_sources():
    groups = grid()
    sampler = MultiviewBatchSampler(**groups, sampling="hard", n_classes=4, n_views=2, n_batches=200, random_state=0)
    batches = list(sampler)
    assert {tuple(np.unique(groups["source_groups"][batch])) for batch in batches} == {
        (7 * i, 7 * j) for i, j in itertools.combinations(range(10), 2)
    }
    times = np.bincount(groups["rir_groups"][np.concatenate(batches)] - 100)
    assert times.min() > 0.7 * times.mean()


def test_hard_sampling_draws_among_repeated_recordings_of_a_cell():
    rir, source = np.repeat([0, 1], 6), np.tile([0, 0, 0, 1, 1, 1], 2)
    sampler = MultiviewBatchSampler(
        rir, source_groups=source, sampling="hard", n_classes=2, n_views=2, n_batches=100, random_state=0
    )
    assert set(np.concatenate(list(sampler))) == set(range(12))


def most_different_rirs(cells):
    """Return the largest number of different responses in one recording from each cell, by trying them all."""
    return max(len(set(choice)) for choice in itertools.product(*cells))


@pytest.mark.parametrize("keep", [1.0, 0.8, 0.5])
@pytest.mark.parametrize("n_views", [2, 3, 4])
def test_position_independent_views_use_as_many_responses_as_possible(keep, n_views):
    groups = grid(n_rirs=18, n_sources=12, keep=keep)
    rir, source, room = groups["rir_groups"], groups["source_groups"], groups["room_groups"]
    sampler = MultiviewBatchSampler(
        **groups, sampling="position_independent", n_classes=3, n_views=n_views, n_batches=40, random_state=0
    )
    for batch in sampler:
        for label, indices in classes_of(batch, room, 3, n_views).items():
            cells = [np.unique(rir[(room == label) & (source == source[index])]) for index in indices]
            assert len(set(rir[indices])) == most_different_rirs(cells)
            if keep == 1:
                assert len(set(rir[indices])) == min(n_views, RIRS_PER_ROOM)


def test_position_independent_views_are_matched_not_greedy():
    # Source 0 was recorded through both RIRs of a room, source 1 through one: source 0 must yield it.
    room = np.array([0, 0, 0, 1, 1, 1])
    rir = np.array([0, 1, 0, 2, 3, 2])
    source = np.array([0, 0, 1, 0, 0, 1])
    sampler = MultiviewBatchSampler(
        rir,
        source_groups=source,
        room_groups=room,
        sampling="position_independent",
        n_classes=2,
        n_views=2,
        n_batches=30,
    )
    for batch in sampler:
        assert set(batch) == {1, 2, 4, 5}


def test_position_independent_batches_share_sources_between_rooms():
    groups = grid(n_rirs=18, keep=0.6)
    sampler = MultiviewBatchSampler(
        **groups, sampling="position_independent", n_classes=4, n_views=3, n_batches=30, random_state=0
    )
    for batch in sampler:
        rooms = classes_of(batch, groups["room_groups"], 4, 3)
        assert len({tuple(np.sort(groups["source_groups"][indices])) for indices in rooms.values()}) == 1


def test_position_independent_rooms_with_a_single_rir_take_part():
    rir, source = (labels.ravel() for labels in np.mgrid[:3, :4])
    room = np.where(rir < 2, 0, 1)
    sampler = MultiviewBatchSampler(
        rir,
        source_groups=source,
        room_groups=room,
        sampling="position_independent",
        n_classes=2,
        n_views=2,
        n_batches=10,
    )
    for batch in sampler:
        indices = classes_of(batch, room, 2, 2)
        assert set(rir[indices[0]]) == {0, 1}
        assert set(rir[indices[1]]) == {2}


@pytest.mark.parametrize("sampling", ["soft", "hard", "position_independent"])
def test_only_an_int_seed_repeats_its_batches_in_every_pass(sampling):
    size = {"sampling": sampling, "n_classes": 3, "n_views": 2, "n_batches": 8}
    repeated = MultiviewBatchSampler(**grid(), **size, random_state=5)
    assert same_batches(repeated, repeated)
    assert same_batches(repeated, MultiviewBatchSampler(**grid(), **size, random_state=5))
    assert not same_batches(repeated, MultiviewBatchSampler(**grid(), **size, random_state=6))
    going_on = MultiviewBatchSampler(**grid(), **size, random_state=np.random.RandomState(5))
    first, second = list(going_on), list(going_on)
    assert same_batches(first, repeated)
    assert not same_batches(first, second)


def test_building_a_sampler_draws_no_random_numbers():
    random_state = np.random.RandomState(0)
    global_state = np.random.get_state()[1].copy()  # noqa: NPY002
    MultiviewBatchSampler(**grid(), n_classes=3, n_views=2, random_state=random_state)
    assert random_state.randint(2**31) == np.random.RandomState(0).randint(2**31)
    np.testing.assert_array_equal(np.random.get_state()[1], global_state)  # noqa: NPY002


@pytest.mark.parametrize("sampling", ["soft", "hard", "position_independent"])
@pytest.mark.parametrize("dtype", [str, object])
def test_string_and_numeric_labels_give_the_same_batches(sampling, dtype):
    groups = grid()
    named = {key: np.array([f"label {value:04d}" for value in labels], dtype) for key, labels in groups.items()}
    size = {"sampling": sampling, "n_classes": 3, "n_views": 2, "n_batches": 5, "random_state": 0}
    assert same_batches(MultiviewBatchSampler(**groups, **size), MultiviewBatchSampler(**named, **size))
    lists = {key: labels.tolist() for key, labels in named.items()}
    assert same_batches(MultiviewBatchSampler(**groups, **size), MultiviewBatchSampler(**lists, **size))


@pytest.mark.parametrize("keep", [0.1, 0.2, 0.4, 0.6])
@pytest.mark.parametrize("sampling", ["soft", "hard", "position_independent"])
def test_the_largest_batch_can_always_be_drawn(sampling, keep):
    for seed in range(3):
        groups = grid(n_rirs=30, n_sources=24, keep=keep, seed=seed)
        n_classes, n_views = largest_batch(**groups, sampling=sampling)
        sampler = MultiviewBatchSampler(
            **groups, sampling=sampling, n_classes=n_classes, n_views=n_views, n_batches=30, random_state=seed
        )
        assert {len(batch) for batch in sampler} == {n_classes * n_views}


def test_the_only_possible_choice_of_sources_is_found():
    # RIRs 0 to 3 share sources 0 to 2; each of 400 more sources was recorded through some four other RIRs.
    rng = np.random.default_rng(0)
    pairs = [(rir, source) for rir in range(4) for source in range(3)]
    pairs += [(int(rir), source) for source in range(3, 403) for rir in rng.choice(np.arange(4, 40), 4, replace=False)]
    rir, source = np.array(pairs).T
    sampler = MultiviewBatchSampler(rir, source_groups=source, sampling="hard", n_classes=4, n_views=3, n_batches=5)
    for batch in sampler:
        assert set(rir[batch]) == {0, 1, 2, 3}


def test_a_pair_of_classes_is_found_behind_more_common_sources():
    # Source 9 was recorded through RIRs 0 to 4, that share no other; RIRs 5 and 6 share sources 0 and 1.
    rir = np.array([0, 1, 2, 3, 4, 5, 5, 6, 6])
    source = np.array([9, 9, 9, 9, 9, 0, 1, 0, 1])
    assert largest_batch(rir, source_groups=source, sampling="hard") == (2, 2)
    (batch,) = MultiviewBatchSampler(rir, source_groups=source, sampling="hard", n_classes=2, n_views=2, n_batches=1)
    assert set(batch) == {5, 6, 7, 8}


@pytest.mark.parametrize("sampling", ["soft", "hard"])
def test_largest_batch_is_the_requested_or_the_possible_size(sampling):
    groups = grid(n_rirs=12, n_sources=10)
    assert largest_batch(**groups, sampling=sampling, n_classes=5, n_views=4) == (5, 4)
    assert largest_batch(**groups, sampling=sampling, n_classes=24, n_views=4) == (12, 4)
    assert largest_batch(**groups, sampling=sampling, n_classes=24, n_views=11) == (12, 10)


def test_largest_batch_counts_rooms_for_position_independent_sampling():
    assert largest_batch(**grid(n_rirs=12), sampling="position_independent") == (4, 3)


def test_largest_batch_gives_up_classes_before_views():
    rir = np.repeat([0, 1, 2, 3], [3, 3, 2, 2])
    assert largest_batch(rir, n_views=3) == (2, 3)
    assert largest_batch(np.repeat([0, 1, 2, 3], [3, 2, 2, 2]), n_views=3) == (4, 2)


def test_largest_batch_counts_sources_not_recordings():
    assert largest_batch([0, 0, 0, 1, 1, 1], source_groups=[0, 0, 1, 0, 1, 1]) == (2, 2)


RIR, SOURCE = (labels.ravel() for labels in np.mgrid[:4, :5])
ROOMS = {"sampling": "position_independent", "source_groups": SOURCE}
MISSING = np.where(SOURCE == 2, np.nan, SOURCE)


@pytest.mark.parametrize(
    ("rir", "others", "message"),
    [
        (RIR, {"sampling": "hard"}, "source_groups must be given for sampling='hard', got None.*sampling=\"soft\""),
        (RIR, {"sampling": "position_independent"}, "source_groups must be given"),
        (RIR, ROOMS, "room_groups must be given"),
        (RIR, {"source_groups": SOURCE[:-1]}, r"source_groups must be 1-D with 20 labels, got.*19"),
        (RIR, ROOMS | {"room_groups": RIR[1:]}, "room_groups must be 1-D"),
        (RIR.reshape(4, 5), {}, "rir_groups must be 1-D"),
        (3, {}, "rir_groups must be 1-D"),
        (MISSING, {}, r"rir_groups must not have missing labels, got some in rows 2, 7, 12, 17"),
        (RIR, {"source_groups": MISSING}, "source_groups must not have missing labels"),
        ([None, *RIR[1:]], {}, "rir_groups must not have missing labels, got some in row 0"),
        (RIR, {"sampling": "softly"}, "sampling must be one of .*got 'softly'"),
        (RIR, {"n_classes": 1}, "n_classes must be a whole number of at least 2, got 1"),
        (RIR, {"n_views": 1}, "n_views must be a whole number of at least 2, got 1"),
        (RIR, {"n_batches": 0}, "n_batches must be a whole number of at least 1, got 0"),
        (RIR, {"n_classes": 5}, "n_classes must be at most the 4 classes"),
        (
            RIR,
            {"n_views": 6},
            "rir_groups must have at least 2 RIRs with 6 different recordings each.*got 0 such RIRs out of 4",
        ),
        (
            np.arange(20),
            {},
            "at least 2 RIRs with 2 different recordings each.*got 0 such RIRs out of 20.*two recordings each",
        ),
        (RIR, {"source_groups": np.zeros(20)}, "got 0 such RIRs out of 4"),
        (
            RIR,
            {"sampling": "hard", "source_groups": np.arange(20)},
            "2 sources shared by 2 classes.*got 1 classes that share this many, out of 4 classes and 20 sources",
        ),
        (RIR, {"sampling": "hard", "source_groups": np.zeros(20)}, "2 sources shared by 2 classes.*and 1 sources"),
        (RIR, ROOMS | {"room_groups": np.arange(20)}, "2 sources shared by 2 classes"),
    ],
)
def test_labels_without_such_a_batch_are_refused(rir, others, message):
    with pytest.raises(ValueError, match=message) as error:
        MultiviewBatchSampler(rir, **{"n_classes": 2, "n_views": 2} | others)
    assert str(error.value).startswith("MultiviewBatchSampler: ")


@pytest.mark.parametrize("value", [2.0, "2", True, None])
def test_sizes_must_be_whole_numbers(value):
    with pytest.raises(TypeError, match="n_views must be a whole number of at least 2"):
        MultiviewBatchSampler(RIR, n_views=value)


def test_one_rir_is_too_few():
    with pytest.raises(ValueError, match="n_classes must be at most the 1 classes"):
        MultiviewBatchSampler(np.zeros(10), n_classes=2, n_views=2)
    with pytest.raises(ValueError, match=r"at least 2 RIRs with 2 different recordings each.*got 1 such RIRs out of 1"):
        largest_batch(np.zeros(10))


def held_out_of(groups, fraction=0.2, sampling="soft", seed=0):
    groups = {key: np.asarray(labels) for key, labels in groups.items()}
    return hold_out(groups, fraction, sampling=sampling, random_state=np.random.RandomState(seed))


@pytest.mark.parametrize("sampling", ["soft", "hard", "position_independent"])
def test_training_and_validation_share_no_source_but_all_rirs(sampling):
    groups = grid(n_rirs=12, n_sources=20)
    held_out = held_out_of(groups, sampling=sampling)
    source, rir = groups["source_groups"], groups["rir_groups"]
    assert not set(source[held_out]) & set(source[~held_out])
    assert len(set(source[held_out])) == 4
    assert set(rir[held_out]) == set(rir[~held_out]) == set(rir)


def test_another_seed_holds_out_other_sources():
    groups = grid()
    assert np.array_equal(held_out_of(groups, seed=0), held_out_of(groups, seed=0))
    assert len({tuple(held_out_of(groups, seed=seed)) for seed in range(10)}) > 5


def test_at_least_two_sources_are_held_out():
    groups = grid(n_sources=6)
    assert len(set(groups["source_groups"][held_out_of(groups, 0.05)])) == 2


def test_without_sources_recordings_of_every_response_are_held_out():
    rir = np.repeat(np.arange(5), 10)
    held_out = held_out_of({"rir_groups": rir}, 0.3)
    np.testing.assert_array_equal(np.bincount(rir[held_out]), [3] * 5)


def test_responses_with_few_recordings_are_held_out_whole():
    rir = np.repeat(np.arange(20), 3)
    held_out = held_out_of({"rir_groups": rir}, 0.2)
    assert len(set(rir[held_out])) == 4
    assert not set(rir[held_out]) & set(rir[~held_out])


def test_responses_are_held_out_whole_on_request():
    rir = np.repeat(np.arange(10), 20)
    held_out = hold_out(
        {"rir_groups": rir}, 0.2, sampling="soft", random_state=np.random.RandomState(0), whole_rirs=True
    )
    assert len(set(rir[held_out])) == 2
    assert not set(rir[held_out]) & set(rir[~held_out])


def test_a_share_of_zero_holds_nothing_out():
    assert not held_out_of(grid(), 0).any()


@pytest.mark.parametrize(
    ("groups", "sampling"),
    [
        (grid(n_sources=2), "soft"),
        (grid(n_sources=3), "hard"),
        ({"rir_groups": np.repeat([0, 1, 2], 2)}, "soft"),
    ],
)
def test_labels_too_few_for_validation_give_a_warning(groups, sampling):
    with pytest.warns(UserWarning, match="no validation: the labels are too few to hold out 0.2 of the sources"):
        assert not held_out_of(groups, sampling=sampling).any()


def test_labels_without_any_batch_are_refused_by_hold_out():
    with pytest.raises(ValueError, match="2 sources shared by 2 classes"):
        held_out_of({"rir_groups": RIR, "source_groups": np.arange(20)}, sampling="hard")
    with pytest.raises(ValueError, match="room_groups must be given"):
        held_out_of({"rir_groups": RIR, "source_groups": SOURCE}, sampling="position_independent")
