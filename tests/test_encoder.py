"""The contrastive encoder on toy rooms: noise bursts through noise that decays at the room's own rate."""

from __future__ import annotations

import contextlib
import copy
import pickle
import warnings
from functools import partial

import numpy as np
import pytest
import sklearn
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback, EarlyStopping
from skorch.history import History
from torch import nn

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor
from roomacoustic_sk._recordings import cut_segment
from roomacoustic_sk._torch.runtime import has_compiler, resolve_compile
from roomacoustic_sk._torch.time_blocks import scratch
from roomacoustic_sk._torch.training import PLATEAU_PATIENCE, PatientEarlyStopping
from roomacoustic_sk.losses import SupConLoss, plateau_level, retrieval
from roomacoustic_sk.networks import BandwiseRoomCNN, PartwiseProjection, PooledRoomCNN, ProjectionHead, RoomCNN

pytestmark = pytest.mark.usefixtures("one_thread")

SAMPLE_RATE = 16_000
CLIP = SAMPLE_RATE // 2
N_RIRS = 4
RT60 = np.geomspace(0.05, 1.6, N_RIRS)
QUICK = {
    "segment_duration": 0.5,
    "n_classes": 4,
    "n_views": 2,
    "steps_per_epoch": 2,
    "validation_steps": 1,
    "max_epochs": 1,
    "precision": "float32",
    "random_state": 0,
}


def reverberant_bursts(n_sources, first_source=0, n_times=CLIP):
    """Return X and its RIR and source labels, a full grid of the RIRs and `n_sources` sources of noise bursts."""
    time = np.arange(CLIP) / SAMPLE_RATE
    rirs = np.random.default_rng(1).standard_normal((N_RIRS, CLIP)) * 10 ** (-3 * time / RT60[:, None])
    X = []
    for source in range(first_source, first_source + n_sources):
        rng = np.random.default_rng([2, source])
        dry = np.zeros(n_times)
        for start in rng.integers(0, n_times - 500, n_times // 4_000):
            dry[start : start + 400] = rng.standard_normal(400)
        n_fft = n_times + CLIP
        X.append(np.fft.irfft(np.fft.rfft(dry, n_fft) * np.fft.rfft(rirs, n_fft))[:, :n_times])
    labels = np.arange(first_source, first_source + n_sources)
    return np.concatenate(X).astype(np.float32), np.tile(np.arange(N_RIRS), n_sources), np.repeat(labels, N_RIRS)


@pytest.fixture(scope="module")
def data():
    """X and the fit parameters of 20 sources."""
    X, rir, source = reverberant_bursts(20)
    return X, {"rir_groups": rir, "source_groups": source}


@pytest.fixture(scope="module")
def trained():
    """An encoder that has learned the toy rooms."""
    X, rir, source = reverberant_bursts(40)
    encoder = ContrastiveRoomEncoder(
        **QUICK | {"n_views": 4, "steps_per_epoch": 10, "validation_steps": 4, "max_epochs": 6, "lr": 2e-3}
    )
    return encoder.fit(X, rir_groups=rir, source_groups=source)


def quick_fit(X, groups, **parameters):
    return ContrastiveRoomEncoder(**QUICK | parameters).fit(X, **groups)


def separation(encoder, X, rir):
    """Return how much more alike embeddings of the same RIR are than those of different ones."""
    Z = encoder.transform(X)
    similarity, same = Z @ Z.T, rir[:, None] == rir
    return similarity[same & ~np.eye(len(rir), dtype=bool)].mean() - similarity[~same].mean()


class TinyNetwork(nn.Module):
    """A caller's own network: 12 features of clips of any length."""

    def __init__(self, n_times):
        super().__init__()
        self.n_times = n_times
        self.filters = nn.Conv1d(1, 12, 64, stride=32)

    def forward(self, waveforms):
        return self.filters(waveforms[:, None]).abs().mean(dim=2)


class BatchWatcher(Callback):
    """Keep the first sample and the label of every row of every batch."""

    def on_train_begin(self, net, **kwargs):
        self.seen = {True: [], False: []}

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        waveforms, labels = batch
        self.seen[training].append((waveforms[:, 0].round().int().numpy(), labels.numpy()))


class LoaderWatcher(Callback):
    """Keep the validation batches."""

    def on_epoch_end(self, net, dataset_valid=None, **kwargs):
        self.dataset_valid = dataset_valid


class Spoiler(Callback):
    """Make all projections alike at the end of the last epoch's training."""

    def on_batch_begin(self, net, training=False, **kwargs):
        if not training and len(net.history) == net.max_epochs:
            with torch.no_grad():
                for head in net.module_[1].heads:
                    head[-1].weight.zero_()


class Interrupter(Callback):
    """Press Ctrl-C in a training step."""

    def __init__(self, step):
        self.step = step

    def on_train_begin(self, net, **kwargs):
        self.n_steps = 0

    def on_batch_end(self, net, training=False, **kwargs):
        self.n_steps += training
        if self.n_steps == self.step:
            raise KeyboardInterrupt


# What it learns


def test_the_loss_falls_below_chance(trained):
    chance = np.log(4 * 4 - 1)
    assert trained.history_["valid_loss"].min() < chance - 0.1
    assert trained.history_["train_loss"].min() < chance - 0.5


def test_embeddings_of_one_rir_are_more_alike_than_those_of_different_rirs_for_new_sources(trained):
    X, rir, _ = reverberant_bursts(8, first_source=1_000)
    assert separation(trained, X, rir) > 0.25


def test_the_temperature_scales_the_loss(data):
    hot, cold = (quick_fit(*data, tau=tau, max_epochs=1).history_["train_loss"].item() for tau in (100.0, 0.001))
    assert hot == pytest.approx(np.log(4 * 2 - 1), abs=0.02)  # no similarity matters
    assert cold > 5


def test_with_no_epochs_the_network_stays_untrained(data):
    X, groups = data
    encoder = quick_fit(X, groups, max_epochs=0)
    assert encoder.n_iter_ == len(encoder.history_) == 0
    assert np.isfinite(encoder.transform(X)).all()
    assert separation(encoder, X, groups["rir_groups"]) < 0.1
    torch.manual_seed(0)
    assert np.array_equal(quick_fit(X, groups, max_epochs=0).transform(X), encoder.transform(X))


def test_embeddings_are_64_float32_numbers_of_unit_norm(trained, data):
    embeddings = trained.transform(data[0])
    assert embeddings.shape == (80, 64)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_fitted_attributes_say_what_was_done(trained):
    assert trained.segment_length_ == CLIP
    assert (trained.n_classes_, trained.n_views_) == (4, 4)
    assert trained.n_iter_ == len(trained.history_) <= 6
    assert list(trained.history_.columns) == ["epoch", "train_loss", "valid_loss", "valid_retrieval", "dur"]
    assert trained.history_["epoch"].tolist() == list(range(1, trained.n_iter_ + 1))
    assert not trained.network_.training


# Seeds


def test_the_same_seed_gives_the_same_embeddings_to_the_bit_and_another_seed_others(data):
    X, groups = data
    first, again, other = (quick_fit(X, groups, random_state=seed).transform(X) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    state = quick_fit(X, groups, random_state=np.random.RandomState(3)).transform(X)
    assert np.array_equal(first, state)


def test_global_random_generators_are_left_alone_and_have_no_say(data):
    X, groups = data
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    embeddings = quick_fit(X, groups).transform(X)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    torch.manual_seed(99)
    assert np.array_equal(quick_fit(X, groups).transform(X), embeddings)


# Recordings of any length and format


def test_long_recordings_are_embedded_as_the_normalised_mean_of_their_segments(trained):
    X, _, _ = reverberant_bursts(1, n_times=3 * CLIP + 1_000)
    starts = {None: [0, CLIP, 2 * CLIP, 2 * CLIP + 1_000], 0.4: [0, 6_400, 12_800, 2 * CLIP + 1_000]}
    for hop, places in starts.items():
        mean = np.mean([trained.transform(X[:, start : start + CLIP]) for start in places], axis=0)
        expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        encoder = pickle.loads(pickle.dumps(trained)).set_params(hop_duration=hop)
        np.testing.assert_allclose(encoder.transform(list(X)), expected, atol=2e-6)


def test_lists_of_recordings_of_different_lengths_are_embedded_like_each_alone(trained):
    X, _, _ = reverberant_bursts(2, n_times=2 * CLIP)
    rows = [row[:n] for row, n in zip(X, [9_000, 16_000, 8_000, 9_000, 12_345, 8_000, 16_000, 10_000], strict=True)]
    together = trained.transform(rows)
    alone = np.concatenate([trained.transform([row]) for row in rows])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_the_batch_size_of_transform_changes_nothing(trained, data):
    encoder = pickle.loads(pickle.dumps(trained)).set_params(batch_size=7)
    np.testing.assert_allclose(encoder.transform(data[0]), trained.transform(data[0]), atol=2e-6)


@pytest.mark.parametrize(
    ("parameter", "value"), [("batch_size", -3), ("batch_size", 1.5), ("hop_duration", 0.0), ("hop_duration", "x")]
)
def test_parameters_set_after_fit_are_checked_by_transform(trained, data, parameter, value):
    changed = pickle.loads(pickle.dumps(trained)).set_params(**{parameter: value})
    with pytest.raises((TypeError, ValueError), match=f"ContrastiveRoomEncoder: {parameter} must be"):
        changed.transform(data[0])


def test_short_recordings_are_repeated_from_their_beginning_with_a_warning(trained, data):
    X = data[0][:3]
    rows = [X[0, :5_000], X[1], X[2, :3_000]]
    message = r"2 of 3 rows of X are shorter than the 0.5 s needed \(3000 to 8000 samples\): they were repeated"
    with pytest.warns(UserWarning, match=message):
        found = trained.transform(rows)
    repeated = np.stack([np.tile(row, 3)[:CLIP] for row in rows])
    np.testing.assert_allclose(found, trained.transform(repeated), atol=2e-6)


def test_a_bandwise_encoder_is_trained_by_a_loss_of_each_part_and_of_the_whole(data):
    X, groups = data
    encoder = quick_fit(X, groups, network="bandwise")
    assert isinstance(encoder.network_, BandwiseRoomCNN)
    projection, untrained = encoder.net_.module_[1], quick_fit(X, groups, network="bandwise", max_epochs=0)
    assert isinstance(projection, PartwiseProjection)
    before = untrained.net_.module_[1].heads
    assert len(projection.heads) == len(before) == 5
    assert not any(torch.equal(a[-1].weight, b[-1].weight) for a, b in zip(projection.heads, before, strict=True))
    for network in ("pooled", "paper"):
        assert isinstance(quick_fit(X, groups, network=network, max_epochs=0).net_.module_[1], ProjectionHead)


def test_the_default_network_takes_clips_between_half_a_second_and_a_segment_as_they_are():
    X, rir, source = reverberant_bursts(8, n_times=2 * CLIP)
    encoder = quick_fit(X, {"rir_groups": rir, "source_groups": source}, segment_duration=1.0)
    with torch.inference_mode():
        expected = encoder.network_(torch.from_numpy(X[:, :10_000])).numpy()
    np.testing.assert_allclose(encoder.transform(list(X[:, :10_000])), expected, atol=2e-6)
    mixed = encoder.transform([X[0, :10_000], X[1], X[2, :10_000], X[3, :9_000]])
    np.testing.assert_allclose(mixed[[0, 2]], expected[[0, 2]], atol=2e-6)
    np.testing.assert_allclose(mixed[1:2], encoder.transform(X[1:2]), atol=2e-6)
    np.testing.assert_allclose(mixed[3:], encoder.transform([X[3, :9_000]]), atol=2e-6)


def test_the_papers_network_repeats_short_clips_up_to_its_segment(data):
    X, groups = data
    encoder = quick_fit(X, groups, network="paper", segment_duration=0.25)
    assert encoder.segment_length_ == 4_000
    with pytest.warns(UserWarning, match=r"2 of 2 rows of X are shorter than the 0.25 s needed"):
        found = encoder.transform(list(X[:2, :2_500]))
    np.testing.assert_allclose(found, encoder.transform(list(np.tile(X[:2, :2_500], 2)[:, :4_000])), atol=2e-6)


def test_short_recordings_are_repeated_in_training_with_a_warning(data):
    X, groups = data
    rows = [row[:5_000] if i < 7 else row for i, row in enumerate(X)]
    with pytest.warns(UserWarning, match=r"7 of 80 rows of X are shorter than the 0.5 s needed \(5000 to 8000 samples"):
        encoder = quick_fit(rows, groups)
    repeated = np.stack([np.resize(row, CLIP) for row in rows])
    assert np.array_equal(encoder.transform(X), quick_fit(repeated, groups).transform(X))


def test_segments_are_shortened_with_a_warning_where_all_recordings_are_shorter(data):
    X, groups = data
    with pytest.warns(
        UserWarning, match=r"segment_duration reduced from 4 s to 0.5 s: the longest recording has 0.5 s"
    ):
        encoder = quick_fit(X, groups, segment_duration=4.0)
    assert encoder.segment_length_ == CLIP


def test_unsigned_pcm_has_its_zero_in_the_middle():
    segment = cut_segment(np.array([128, 0, 255, 192], np.uint8), 0, 4)
    np.testing.assert_allclose(segment, [0, -1, 127 / 128, 0.5])


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_integer_pcm_gives_what_floating_point_gives(data, dtype):
    X, groups = data
    pcm = (X / np.abs(X).max() * np.iinfo(dtype).max * 0.9).astype(dtype)
    as_float = (pcm / (np.iinfo(dtype).max + 1.0)).astype(np.float32)
    from_pcm, from_float = quick_fit(pcm, groups), quick_fit(as_float, groups)
    assert np.array_equal(from_pcm.transform(X), from_float.transform(X))
    assert np.array_equal(from_float.transform(pcm), from_float.transform(as_float))


def test_double_and_single_precision_agree(trained, data):
    X, groups = data
    assert np.array_equal(trained.transform(X.astype(np.float64)), trained.transform(X))
    assert np.array_equal(quick_fit(X.astype(np.float64), groups).transform(X), quick_fit(X, groups).transform(X))


@pytest.mark.parametrize("gain", [1e-4, 100.0])
def test_the_level_does_not_matter(trained, data, gain):
    np.testing.assert_allclose(trained.transform(gain * data[0]), trained.transform(data[0]), atol=1e-4)


def test_a_stretch_of_digital_silence_does_no_harm(trained):
    X = reverberant_bursts(1, n_times=3 * CLIP)[0]
    X[0, CLIP:] = 0
    assert np.isfinite(trained.transform(list(X))).all()


def test_segments_are_cut_as_float32_with_full_scale_1():
    segment = cut_segment(np.array([0, -32_768, 16_384, 0], np.int16), 1, 2)
    assert segment.dtype == np.float32
    assert segment.tolist() == [-1.0, 0.5]
    assert cut_segment(np.arange(3.0), 0, 7).tolist() == [0, 1, 2, 0, 1, 2, 0]


# Group labels and batches


def numbered_rows(n_rows, n_times=CLIP):
    """Return recordings that all hold their row's number, so that batches tell where they come from."""
    return np.repeat(np.arange(1.0, n_rows + 1, dtype=np.float32)[:, None], n_times, axis=1)


@pytest.mark.parametrize("sampling", ["soft", "hard", "position_independent"])
def test_rows_are_trained_with_their_own_labels_and_no_source_is_in_both_parts(sampling):
    rir, source = (labels.ravel() for labels in np.mgrid[:8, :12])
    order = np.random.default_rng(0).permutation(len(rir))
    rir, source, room = rir[order], source[order], rir[order] // 2
    watcher = BatchWatcher()
    # A list: of an array in memory the batches would be spectrograms.
    ContrastiveRoomEncoder(
        **QUICK | {"steps_per_epoch": 20, "validation_steps": 5}, sampling=sampling, callbacks=[watcher]
    ).fit(list(numbered_rows(96)), rir_groups=rir, source_groups=source, room_groups=room)
    classes = room if sampling == "position_independent" else rir
    seen = {}
    for training, batches in watcher.seen.items():
        assert len(batches) == (20 if training else 5)
        for numbers, labels in batches:
            rows = numbers - 1
            assert len(rows) == 8
            np.testing.assert_array_equal(classes[rows], labels)
            if sampling != "soft":
                assert len(np.unique(source[rows])) == 2
        seen[training] = set(source[np.concatenate([numbers for numbers, _ in batches]) - 1])
    assert not seen[True] & seen[False]
    assert len(seen[False]) == 2


@pytest.mark.parametrize("n_views", [2, 3, 12])
def test_without_labels_each_recording_is_a_class_and_whole_recordings_are_held_out(n_views):
    watcher = BatchWatcher()
    encoder = ContrastiveRoomEncoder(
        **QUICK | {"n_views": n_views, "steps_per_epoch": 10, "validation_steps": 10}, callbacks=[watcher]
    ).fit(numbered_rows(40, 2 * CLIP))
    assert (encoder.n_classes_, encoder.n_views_, encoder.segment_length_) == (4, n_views, CLIP)
    seen = {}
    for training, batches in watcher.seen.items():
        for numbers, labels in batches:
            assert len(numbers) == 4 * n_views
            np.testing.assert_array_equal(labels[:, None] == labels, numbers[:, None] == numbers)
        seen[training] = set(np.concatenate([numbers for numbers, _ in batches]))
    assert not seen[True] & seen[False]


def test_without_labels_views_are_different_segments():
    X = np.arange(1.0, 20_001)[None] + 100_000 * np.arange(20)[:, None]
    watcher = BatchWatcher()
    ContrastiveRoomEncoder(**QUICK | {"steps_per_epoch": 20}, callbacks=[watcher]).fit(X)
    starts = np.concatenate([numbers for numbers, _ in watcher.seen[True]]) % 100_000
    assert len(np.unique(starts)) > 0.9 * len(starts)
    assert starts.min() < 1_500
    assert 12_001 - 1_500 < starts.max() <= 12_001  # the last segment ends with the recording


def test_without_labels_segments_are_at_most_half_a_recording():
    with pytest.warns(
        UserWarning, match="reduced from 4 s to 0.5 s: segments of unlabelled recordings differ .* has 1 s"
    ):
        encoder = quick_fit(numbered_rows(20, 2 * CLIP), {}, segment_duration=4.0)
    assert encoder.segment_length_ == CLIP


def test_unlabelled_recordings_too_short_for_different_segments_are_warned_of(data):
    message = "X should have recordings longer than 0.5 s where there are no rir_groups, .*, got 0.5 s at most"
    with pytest.warns(UserWarning, match=message):
        encoder = quick_fit(data[0], {})
    assert encoder.segment_length_ == CLIP


def test_unlabelled_recordings_teach_it_too():
    X = reverberant_bursts(16, n_times=2 * CLIP)[0]
    encoder = ContrastiveRoomEncoder(
        **QUICK | {"n_classes": 12, "steps_per_epoch": 15, "max_epochs": 3, "lr": 3e-3, "validation_fraction": 0}
    ).fit(X)
    assert encoder.history_["train_loss"].iloc[-1] < np.log(12 * 2 - 1) - 0.3


def test_smaller_batches_are_announced(data):
    X, groups = data
    with pytest.warns(UserWarning, match="reduced") as caught:
        encoder = quick_fit(X, groups, n_classes=24, n_views=3)
    assert [str(warning.message) for warning in caught] == [
        f"ContrastiveRoomEncoder: batches for {purpose} reduced from 24 classes x 3 views to 4 x 3: the group labels "
        "have no more for sampling='soft'."
        for purpose in ("training", "validation")
    ]
    assert (encoder.n_classes_, encoder.n_views_) == (4, 3)


def test_too_few_labels_for_validation_are_announced_and_the_training_loss_decides():
    X, rir, source = reverberant_bursts(3)
    with pytest.warns(UserWarning, match="no validation: the labels are too few to hold out"):
        encoder = quick_fit(X, {"rir_groups": rir, "source_groups": source}, max_epochs=2)
    assert encoder.n_iter_ == 2
    assert encoder.history_["valid_loss"].isna().all()


def test_nothing_is_held_out_where_the_fraction_is_zero(data):
    X, groups = data
    encoder = quick_fit(X, groups, validation_fraction=0, max_epochs=2)
    assert encoder.history_["valid_loss"].isna().all()
    assert encoder.history_["train_loss"].notna().all()
    assert not encoder.network_.training


def test_labels_may_be_strings_and_pandas_columns(data):
    pandas = pytest.importorskip("pandas")
    X, groups = data
    table = pandas.DataFrame({key: [f"label {value:03d}" for value in labels] for key, labels in groups.items()})
    assert np.array_equal(quick_fit(X, dict(table)).transform(X), quick_fit(X, groups).transform(X))


# Early stopping


class FakeNet:
    """As much of a skorch net as early stopping looks at."""

    verbose = 0

    def __init__(self):
        self.history = History()
        self.module_ = nn.Linear(1, 1)


def run_early_stopping(losses, patience, plateau=np.inf):
    """Return the number of epochs until it stops training, and the epoch whose weights are kept."""
    net, stopping = FakeNet(), PatientEarlyStopping(patience, "train_loss", plateau)
    stopping.on_train_begin(net)
    for epoch, loss in enumerate(losses, start=1):
        net.history.new_epoch()
        net.history.record("epoch", epoch)
        net.history.record("train_loss", loss)
        nn.init.constant_(net.module_.weight, epoch)
        try:
            stopping.on_epoch_end(net)
        except KeyboardInterrupt:
            break
    stopping.on_train_end(net)
    return epoch, net.module_.weight.item()


@pytest.mark.parametrize(
    ("losses", "patience", "plateau", "expected"),
    [
        ([4.0, 4.1, 4.2, 4.3, 4.4], 3, np.inf, (4, 1)),
        ([4.0, 3.0, 3.1, 2.9, 3.0, 3.0, 3.0, 3.0], 3, np.inf, (7, 4)),
        ([4.0, 3.9, 3.8, 3.7], 1, np.inf, (4, 4)),
        # seven epochs on the plateau do not count
        ([4.2, 4.1, 4.2, 4.2, 4.2, 4.2, 4.2, 2.0, 1.9, 2.0, 2.0, 2.0, 1.0], 3, 4.0, (12, 9)),
        ([4.2, 4.3, 4.2, 3.9, 4.3, 4.3], 2, 4.0, (6, 4)),  # and back above it, they do
        ([4.2, 4.1, 4.3, 4.3, 4.3], 1, 4.0, (5, 2)),
        ([3.0] + [np.nan] * 10, 4, np.inf, (2, 1)),  # diverged
    ],
)
def test_patience_counts_epochs_off_the_plateau_and_the_best_weights_are_kept(losses, patience, plateau, expected):
    assert run_early_stopping(losses, patience, plateau) == expected


@pytest.mark.parametrize(
    ("losses", "patience", "plateau", "expected"),
    [
        ([4.2] * 100, 4, 4.0, (PLATEAU_PATIENCE, 1)),
        ([4.2] * 100, 30, 4.0, (30, 1)),
    ],
)
def test_training_that_never_leaves_the_plateau_stops_with_a_warning(losses, patience, plateau, expected):
    with pytest.warns(ConvergenceWarning, match="Nothing was learnt"):
        assert run_early_stopping(losses, patience, plateau) == expected


def test_epochs_at_chance_level_do_not_exhaust_the_patience(data):
    X, groups = data
    with pytest.warns(ConvergenceWarning, match=f"after {PLATEAU_PATIENCE} epochs train_loss is still"):
        stuck = quick_fit(X, groups, lr=1e-12, patience=1, steps_per_epoch=1, max_epochs=100)
    assert stuck.n_iter_ == PLATEAU_PATIENCE
    assert np.allclose(stuck.history_["valid_loss"], np.log(4 * 2 - 1), atol=0.02)


@pytest.mark.parametrize(("n_classes", "n_views", "tau"), [(24, 3, 0.1), (4, 2, 1.0), (24, 3, 0.01)])
def test_the_plateau_ends_two_hundredths_of_the_way_from_chance_to_perfect_separation(n_classes, n_views, tau):
    labels = torch.arange(n_classes).repeat(n_views)
    chance = SupConLoss(tau)(torch.ones(len(labels), 2), labels).item()
    best = SupConLoss(tau)(torch.eye(n_classes)[labels], labels).item()
    assert plateau_level(n_classes, n_views, tau) == pytest.approx(0.98 * chance + 0.02 * best, rel=1e-5)


@pytest.mark.parametrize("scoring", ["retrieval", "loss"])
def test_the_weights_kept_are_those_of_the_best_epoch(scoring):
    X, rir, source = reverberant_bursts(40)
    watcher = LoaderWatcher()
    encoder = quick_fit(
        X,
        {"rir_groups": rir, "source_groups": source},
        lr=2e-3,
        n_views=4,
        steps_per_epoch=20,
        validation_steps=3,
        max_epochs=4,
        scoring=scoring,
        callbacks=[watcher, Spoiler()],
    )
    losses, shares = encoder.history_["valid_loss"], encoder.history_["valid_retrieval"]
    assert losses.iloc[-1] == pytest.approx(np.log(4 * 4 - 1), rel=1e-5)  # spoilt: at chance
    assert losses.min() < losses.iloc[-1] - 0.05
    assert shares.max() > shares.iloc[-1] + 0.05
    with torch.inference_mode():
        batches = [(encoder.net_.module_(x), labels) for x, labels in watcher.dataset_valid]
    if scoring == "loss":
        assert np.mean([SupConLoss(0.1)(*batch).item() for batch in batches]) == pytest.approx(losses.min(), rel=1e-5)
    assert np.mean([retrieval(*batch).item() for batch in batches]) == pytest.approx(
        shares.max() if scoring == "retrieval" else shares[losses.idxmin()], rel=1e-5
    )


def test_an_epoch_with_higher_loss_but_better_retrieval_is_kept_by_retrieval_and_lost_by_loss():
    """Confidence in the wrong places raises the loss while more clips find their like."""
    for monitor, lower_is_better, kept in (("valid_retrieval", False, 2), ("valid_loss", True, 1)):
        net, stopping = FakeNet(), PatientEarlyStopping(1, monitor, np.inf, lower_is_better)
        stopping.on_train_begin(net)
        for epoch, (loss, share) in enumerate([(3.0, 0.2), (4.0, 0.3)], start=1):
            net.history.new_epoch()
            for key, value in {"epoch": epoch, "train_loss": 1.0, "valid_loss": loss, "valid_retrieval": share}.items():
                net.history.record(key, value)
            nn.init.constant_(net.module_.weight, epoch)
            with contextlib.suppress(KeyboardInterrupt):
                stopping.on_epoch_end(net)
        stopping.on_train_end(net)
        assert net.module_.weight.item() == kept


def test_validation_batches_are_the_same_in_every_epoch():
    watcher = BatchWatcher()
    X = np.arange(1.0, 20_001)[None] + 100_000 * np.arange(40)[:, None]
    ContrastiveRoomEncoder(**QUICK | {"max_epochs": 2}, callbacks=[watcher]).fit(X)
    (first, labels), (second, same_labels) = watcher.seen[False]
    assert np.array_equal(first, second)
    assert np.array_equal(labels, same_labels)
    assert not np.array_equal(watcher.seen[True][0][0], watcher.seen[True][2][0])


def test_an_interrupted_fit_leaves_a_usable_encoder_once_an_epoch_was_whole(data):
    X, groups = data
    encoder = ContrastiveRoomEncoder(**QUICK | {"max_epochs": 5, "callbacks": [Interrupter(3)]})
    with (
        pytest.raises(KeyboardInterrupt),
        pytest.warns(ConvergenceWarning, match="^ContrastiveRoomEncoder: Training was interrupted after 1 whole"),
    ):
        encoder.fit(X, **groups)
    assert encoder.n_iter_ == len(encoder.history_) == 1
    assert not encoder.network_.training
    assert np.array_equal(encoder.transform(X), quick_fit(X, groups, max_epochs=1).transform(X))


@pytest.mark.filterwarnings("ignore:.*Training was interrupted")
def test_ctrl_c_passes_also_while_early_stopping_keeps_weights(data, monkeypatch):
    X, groups = data
    encoder, copied = ContrastiveRoomEncoder(**QUICK | {"max_epochs": 5}), []

    def interrupted(weights):
        copied.append(weights)
        if len(copied) == 2:
            raise KeyboardInterrupt
        return copy.deepcopy(weights)

    monkeypatch.setattr("skorch.callbacks.training.deepcopy", interrupted)
    with pytest.raises(KeyboardInterrupt):
        encoder.fit(X, **groups)
    assert len(copied) == 2
    assert np.isfinite(encoder.transform(X)).all()


def test_ctrl_c_passes_also_where_warnings_are_errors(data):
    X, groups = data
    encoder = ContrastiveRoomEncoder(**QUICK | {"max_epochs": 5, "callbacks": [Interrupter(3)]})
    with pytest.raises(KeyboardInterrupt):  # the suite's filter makes errors of warnings
        encoder.fit(X, **groups)
    assert np.isfinite(encoder.transform(X)).all()


@pytest.mark.parametrize("fitted_before", [False, True])
def test_an_interruption_in_the_first_epoch_leaves_the_encoder_as_it_was(data, fitted_before):
    X, groups = data
    encoder = quick_fit(X, groups, max_epochs=1) if fitted_before else ContrastiveRoomEncoder(**QUICK)
    before = vars(encoder).copy()
    callbacks = [Interrupter(1)]
    with pytest.raises(KeyboardInterrupt):
        encoder.set_params(callbacks=callbacks, n_views=2).fit(X, **groups)
    assert vars(encoder) == before | {"callbacks": callbacks}


def test_early_stopping_of_the_users_own_ends_a_fit_as_planned(data):
    X, groups = data
    stopping = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, threshold_mode="abs")
    assert quick_fit(X, groups, max_epochs=5, callbacks=[stopping]).n_iter_ == 2


class Failing(Callback):
    """Raise an error at the end of an epoch."""

    def on_epoch_end(self, net, **kwargs):
        raise OSError("disk full")


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_fit_that_raises_leaves_a_fitted_encoder_as_it_was(data, warm_start):
    X, groups = data
    encoder = quick_fit(X, groups, max_epochs=1, warm_start=warm_start)
    before, embeddings, state = vars(encoder).copy(), encoder.transform(X), pickle.dumps(encoder.net_.optimizer_)
    callbacks = [Failing()]
    with pytest.raises(OSError, match="disk full"):
        encoder.set_params(callbacks=callbacks).fit(X, **groups)
    assert vars(encoder) == before | {"callbacks": callbacks}
    assert np.array_equal(encoder.transform(X), embeddings)
    assert len(encoder.net_.history) == 1
    assert pickle.dumps(encoder.net_.optimizer_) == state
    fresh = ContrastiveRoomEncoder(**QUICK | {"callbacks": callbacks})
    with pytest.raises(OSError, match="disk full"):
        fresh.fit(X, **groups)
    with pytest.raises(NotFittedError):
        fresh.transform(X)
    assert vars(fresh).keys() == fresh.get_params().keys()


def test_training_that_diverges_at_once_is_refused(data):
    X, groups = data
    encoder = ContrastiveRoomEncoder(**QUICK | {"lr": 1e9})
    with pytest.raises(RuntimeError, match="ContrastiveRoomEncoder: training must end with finite weights"):
        encoder.fit(X, **groups)
    with pytest.raises(NotFittedError):
        encoder.transform(X)


class Diverging(Callback):
    """Make the weights infinite in the second epoch."""

    def on_batch_begin(self, net, training=False, **kwargs):
        if training and len(net.history) == 2:
            with torch.no_grad():
                next(net.module_.parameters()).fill_(torch.inf)


def test_training_that_diverges_later_keeps_the_best_weights_with_a_warning(data):
    X, groups = data
    with pytest.warns(ConvergenceWarning, match="Training diverged in epoch 2: .*weights of epoch 1 are kept"):
        encoder = quick_fit(X, groups, max_epochs=5, callbacks=[Diverging()])
    assert encoder.n_iter_ == 2
    assert np.array_equal(encoder.transform(X), quick_fit(X, groups, max_epochs=1).transform(X))


# What comes out on the side


def test_a_progress_bar_is_shown_with_verbose_1_a_table_with_2_and_nothing_with_0(data, capsys):
    X, groups = data
    quick_fit(X, groups)
    assert capsys.readouterr() == ("", "")
    quick_fit(X, groups, verbose=1, max_epochs=2)
    out, err = capsys.readouterr()
    assert out == ""
    assert "encoder: 100%" in err
    assert "4/4" in err
    assert "train_loss" in err
    quick_fit(X, groups, verbose=2)
    out, err = capsys.readouterr()
    assert "train_loss" in out
    assert err == ""


def test_features_have_names_and_can_be_a_frame(trained, data):
    names = trained.get_feature_names_out()
    assert names[0] == "contrastiveroomencoder0"
    assert len(names) == 64
    frame = pickle.loads(pickle.dumps(trained)).set_output(transform="pandas").transform(data[0][:3])
    assert list(frame.columns) == list(names)


# Life in scikit-learn


def test_a_clone_has_the_same_parameters_and_learns_the_same(data):
    X, groups = data
    encoder = quick_fit(X, groups, network=TinyNetwork, tau=0.5)
    new = clone(encoder)
    assert new.get_params() == encoder.get_params()
    assert not hasattr(new, "net_")
    assert np.array_equal(new.fit(X, **groups).transform(X), encoder.transform(X))


@pytest.mark.parametrize("verbose", [0, 1])
def test_a_pickled_encoder_works_and_holds_no_training_data(data, verbose):
    X, groups = data
    encoder = quick_fit(X, groups, network=TinyNetwork, verbose=verbose)
    pickled = pickle.dumps(encoder)
    assert np.array_equal(pickle.loads(pickled).transform(X), encoder.transform(X))
    assert len(pickled) < 100_000 < X.nbytes / 10


@pytest.mark.parametrize("warm_start", [False, True])
def test_a_pickle_holds_the_weights_once_and_the_optimiser_only_to_resume(data, warm_start):
    X, groups = data
    encoder = quick_fit(X, groups, network="paper", segment_duration=0.25, warm_start=warm_start)
    n_bytes = sum(weight.nbytes for weight in encoder.network_.parameters())
    pickled = pickle.dumps(encoder)
    assert encoder.net_.optimizer_.state  # the encoder itself is as it was
    again = pickle.loads(pickled)
    assert again.module_ is again.net_.module_[0]
    assert (again.net_.optimizer_ is None) != warm_start
    assert len(pickled) < (4 if warm_start else 1) * n_bytes + 80_000
    further, expected = (model.set_params(warm_start=True).fit(X, **groups) for model in (again, encoder))
    assert further.n_iter_ == expected.n_iter_ == 2
    assert np.array_equal(further.transform(X), expected.transform(X)) == warm_start


def test_a_fitted_encoder_can_be_fitted_again(data):
    X, groups = data
    encoder = quick_fit(X, groups)
    first = encoder.transform(X)
    assert np.array_equal(encoder.fit(X, **groups).transform(X), first)


def test_fitting_does_not_change_the_waveforms_or_the_parameters(data):
    X, groups = data
    before, encoder = X.copy(), ContrastiveRoomEncoder(**QUICK)
    parameters = encoder.get_params()
    encoder.fit(X, **groups).transform(X)
    assert np.array_equal(X, before)
    assert encoder.get_params() == parameters


def pipeline():
    return Pipeline(
        [
            ("enc", ContrastiveRoomEncoder(**QUICK)),
            ("reg", RoomRegressor(max_epochs=2, validation_fraction=0, random_state=0)),
        ]
    )


def test_a_pipeline_hands_group_labels_to_the_encoder(data):
    X, groups = data
    y = np.log(RT60)[groups["rir_groups"]]
    pipe = pipeline().fit(X, y, enc__rir_groups=groups["rir_groups"], enc__source_groups=groups["source_groups"])
    assert pipe.predict(X).shape == (80,)
    assert np.array_equal(pipe["enc"].transform(X), quick_fit(X, groups).transform(X))


def test_group_labels_are_split_in_a_grid_search(data):
    X, groups = data
    y = np.log(RT60)[groups["rir_groups"]]
    search = GridSearchCV(pipeline(), {"enc__sampling": ["soft", "hard"]}, cv=GroupKFold(2), error_score="raise")
    search.fit(
        X,
        y,
        groups=groups["source_groups"],
        enc__rir_groups=groups["rir_groups"],
        enc__source_groups=groups["source_groups"],
    )
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.predict(X).shape == (80,)


def test_group_labels_are_routed_as_metadata(data):
    X, groups = data
    y = np.log(RT60)[groups["rir_groups"]]
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = pipeline()
        pipe.fit(X, y, **groups)
        assert np.array_equal(pipe["enc"].transform(X), quick_fit(X, groups).transform(X))
        search = GridSearchCV(pipe, {"enc__tau": [0.1, 1.0]}, cv=2, error_score="raise").fit(X, y, **groups)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_fit_transform_is_fit_and_transform(data):
    X, groups = data
    assert np.array_equal(ContrastiveRoomEncoder(**QUICK).fit_transform(X, **groups), quick_fit(X, groups).transform(X))


# Networks and number formats


def test_a_network_class_of_the_callers_own_is_built_for_the_segment_and_used(data):
    X, groups = data
    encoder = quick_fit(X, groups, network=TinyNetwork, segment_duration=0.3, max_epochs=3)
    assert isinstance(encoder.network_, TinyNetwork)
    assert encoder.network_.n_times == encoder.segment_length_ == 4_800
    embeddings = encoder.transform(X)
    assert embeddings.shape == (80, 12)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_the_papers_network_is_trained_too(data):
    X, groups = data
    encoder = quick_fit(X, groups, network="paper", max_epochs=2)
    assert encoder.transform(X).shape == (80, 64)
    assert encoder.history_.notna().all(axis=None)


def test_auto_precision_is_one_of_the_two(data):
    X, groups = data
    automatic = quick_fit(X, groups, precision="auto")
    named = quick_fit(X, groups, precision="bfloat16" if automatic.net_.autocast else "float32")
    assert np.array_equal(automatic.transform(X), named.transform(X))


def test_training_in_bfloat16_works_and_transform_stays_in_float32(data):
    X, groups = data
    encoder = quick_fit(X, groups, precision="bfloat16", max_epochs=2)
    assert encoder.net_.autocast
    embeddings = encoder.transform(X)
    assert embeddings.dtype == np.float32
    with torch.inference_mode():
        np.testing.assert_allclose(embeddings, encoder.network_(torch.from_numpy(X)).numpy(), atol=2e-6)
    single = quick_fit(X, groups, precision="float32", max_epochs=2)
    assert not single.net_.autocast
    np.testing.assert_allclose(encoder.history_["train_loss"], single.history_["train_loss"], rtol=0.05)
    assert not np.array_equal(encoder.history_["train_loss"], single.history_["train_loss"])


def test_fit_and_transform_give_their_memory_back_to_the_system():
    X, rir, _ = reverberant_bursts(20)
    encoder = ContrastiveRoomEncoder(**QUICK | {"network": "paper", "segment_duration": 0.25})
    encoder.fit(X, rir_groups=rir)
    assert not scratch.free
    encoder.transform(X)
    assert not scratch.free


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler, or no headers of Python")


@needs_compiler
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch's own, when it compiles
def test_a_compiled_network_learns_the_same_and_is_stored_as_any_other(data):
    X, groups = data
    network = partial(PooledRoomCNN, dropout=0.0)  # compiled code draws other random numbers
    plain, compiled = (quick_fit(X, groups, network=network, compile=choice) for choice in (False, True))
    np.testing.assert_allclose(compiled.history_["train_loss"], plain.history_["train_loss"], rtol=1e-3)
    np.testing.assert_allclose(compiled.transform(X), plain.transform(X), atol=0.02)
    assert np.array_equal(pickle.loads(pickle.dumps(compiled)).transform(X), compiled.transform(X))


@needs_compiler
def test_networks_are_compiled_unasked_only_where_it_pays():
    cpu, many = torch.device("cpu"), 10**6
    assert resolve_compile("auto", PooledRoomCNN.COMPILING_PAYS, cpu, many)
    assert not resolve_compile("auto", PooledRoomCNN.COMPILING_PAYS, cpu, 100)
    assert not resolve_compile("auto", RoomCNN.COMPILING_PAYS, cpu, many)
    assert not resolve_compile("auto", True, torch.device("cuda"), many)


def test_without_a_compiler_networks_are_not_compiled_unasked(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not resolve_compile("auto", True, torch.device("cpu"), 10**6)
    X, rir, _ = reverberant_bursts(20)
    with pytest.raises(ValueError, match=r"ContrastiveRoomEncoder: compile must be False or .* got True. Install"):
        ContrastiveRoomEncoder(**QUICK | {"compile": True}).fit(X, rir_groups=rir)


# What is refused


def test_a_fitted_encoder_keeps_its_sampling_rate(data):
    X, groups = data
    encoder = quick_fit(X, groups, max_epochs=1).set_params(sample_rate=48_000)
    with pytest.raises(ValueError, match="sample_rate must be that of the fit, 16000 Hz, got 48000 Hz"):
        encoder.transform(X)
    with pytest.raises(ValueError, match="sample_rate must stay as it was"):
        encoder.set_params(warm_start=True).fit(X, **groups)


class Bare(nn.Module):
    """A caller's module without weights."""

    def __init__(self, n_times, parts=(), as_tuple=False):
        super().__init__()
        self.parts, self.as_tuple = parts, as_tuple

    def forward(self, waveforms):
        features = waveforms[:, :4]
        return (features, features) if self.as_tuple else features


def test_networks_that_are_unusable_are_refused_by_name(data):
    X, groups = data
    for network, error, message in (
        (lambda n: Bare(n, as_tuple=True), TypeError, r"network must map waveforms .*, got a tuple of 2 items"),
        (lambda n: Bare(n, parts=(1, 2)), ValueError, r"network must have parts that make up its 4 features, got"),
        (lambda n: Bare, TypeError, r"network must build a torch.nn.Module, got a type"),
        (lambda n: None, TypeError, r"network must build a torch.nn.Module, got None"),
    ):
        with pytest.raises(error, match=f"^ContrastiveRoomEncoder: {message}"):
            quick_fit(X, groups, network=network)
    assert quick_fit(X, groups, network=Bare, max_epochs=1).transform(X).shape == (80, 4)


def test_warnings_point_at_the_users_line_through_scikit_learn_too(data):
    X, groups = data
    encoder = quick_fit(X, groups, max_epochs=0)
    for call in (encoder.transform, Pipeline([("enc", encoder)]).transform, lambda X: cross_validate_once(encoder, X)):
        with pytest.warns(UserWarning, match="ContrastiveRoomEncoder: 80 of 80 rows of X are shorter") as seen:
            call(list(X[:, :1000]))
        assert {warning.filename for warning in seen} == {__file__}


def cross_validate_once(encoder, X):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*segment_duration reduced")
        return Pipeline([("enc", encoder), ("none", "passthrough")]).fit_transform(
            X, enc__rir_groups=np.arange(80) // 20
        )


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda X: np.where(np.arange(CLIP) == 9, np.nan, X), ValueError, "X must be finite, got NaN .* in rows"),
        (lambda X: [*X[:2], np.full(CLIP, np.inf), *X[3:]], ValueError, "X must be finite, got NaN .* in row 2"),
        (lambda X: X * (np.arange(80) != 3)[:, None], ValueError, "X must not be silent, got .* zeros in row 3"),
        (lambda X: X.T, ValueError, r"X must be of shape \(n_rows, n_times\), got \(8000, 80\).*Pass X.T"),
        (lambda X: X[0], ValueError, r"X must be a 2-D array.*Reshape your data with X.reshape\(1, -1\)"),
        (lambda X: X[:, None], ValueError, "X must be a 2-D array"),
        (lambda X: X[:0], ValueError, "X must have at least one row"),
        (lambda X: X > 0, TypeError, "X must hold floating-point or integer samples, got dtype bool"),
        (lambda X: 0 * X.astype(np.uint8) + 128, ValueError, "X must not be silent"),
        (lambda X: [*X[:-1], X[-1, :0]], ValueError, "X must have samples in every row, got row 79 without any"),
    ],
)
def test_waveforms_that_are_none_are_refused_by_fit_and_transform(trained, data, change, error, message):
    X, groups = data
    broken = change(X)
    with pytest.raises(error, match=f"ContrastiveRoomEncoder: {message}"):
        ContrastiveRoomEncoder(**QUICK).fit(broken, **groups)
    with pytest.raises(error, match=f"ContrastiveRoomEncoder: {message}"):
        trained.transform(broken)


RIR, SOURCE = np.tile(np.arange(N_RIRS), 20), np.repeat(np.arange(20), N_RIRS)


@pytest.mark.parametrize(
    ("parameters", "groups", "message"),
    [
        ({}, {"rir_groups": RIR[:-1]}, r"rir_groups must be 1-D with one label a row \(80 rows\), got .*\(79,\)"),
        ({}, {"rir_groups": RIR, "source_groups": SOURCE[:40]}, "source_groups must be 1-D with one label a row"),
        ({}, {"rir_groups": RIR, "room_groups": RIR[:, None]}, "room_groups must be 1-D with one label a row"),
        ({}, {"rir_groups": np.where(RIR == 0, np.nan, RIR)}, "rir_groups must not have missing labels, got some in"),
        ({}, {"source_groups": SOURCE}, "rir_groups must be given where source_groups is, got None"),
        ({}, {"room_groups": RIR, "source_groups": SOURCE}, "rir_groups must be given where source_groups and"),
        ({}, {"rir_groups": np.zeros(80)}, "rir_groups must name at least two RIRs to tell apart, got one RIR"),
        ({}, {"rir_groups": np.arange(80)}, "at least 2 RIRs with 2 different rows each"),
        ({"sampling": "hard"}, {"rir_groups": RIR}, "source_groups must be given for sampling='hard', got None"),
        (
            {"sampling": "position_independent"},
            {"rir_groups": RIR, "source_groups": SOURCE},
            "room_groups must be given for sampling='position_independent', got None",
        ),
        ({"sampling": "hard"}, {"rir_groups": RIR, "source_groups": np.arange(80)}, "sources that 2 classes share"),
    ],
)
@pytest.mark.parametrize("validation_fraction", [0, 0.2])
def test_labels_that_cannot_serve_are_refused(data, parameters, groups, message, validation_fraction):
    encoder = ContrastiveRoomEncoder(**QUICK | parameters, validation_fraction=validation_fraction)
    with pytest.raises(ValueError, match=message):
        encoder.fit(data[0], **groups)
    with pytest.raises(NotFittedError):
        encoder.transform(data[0])


def test_an_rir_in_two_rooms_is_refused(data):
    X, groups = data
    room = groups["rir_groups"] // 2
    quick_fit(X, groups | {"room_groups": room})
    message = r"room_groups must name one room for each RIR, got 2 rooms for RIR 0 \(0, 1\). Are the two mixed up"
    with pytest.raises(ValueError, match=message):
        quick_fit(X, {"rir_groups": room, "room_groups": groups["rir_groups"]})


def test_missing_targets_are_warned_of_before_the_encoder_is_trained(data):
    X, groups = data
    for y in (np.where(np.arange(80) < 3, np.nan, 1.0), np.where(np.arange(160) < 6, np.nan, 1.0).reshape(80, 2)):
        with pytest.warns(UserWarning, match="y has missing targets in 3 of 80 rows.*drop these rows"):
            ContrastiveRoomEncoder(**QUICK).fit(X, y, **groups)


def test_sampling_that_needs_labels_is_refused_without_any():
    with pytest.raises(ValueError, match="source_groups must be given for sampling='hard', got None"):
        quick_fit(numbered_rows(20, 2 * CLIP), {}, sampling="hard")


def test_one_recording_without_labels_is_refused(data):
    with pytest.raises(ValueError, match="at least two RIRs to tell apart, got one sample and no rir_groups"):
        ContrastiveRoomEncoder(**QUICK).fit(data[0][:1])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"network": "resnet"}, ValueError, r"network must be one of \['paper', 'pooled', 'bandwise'\], got 'resnet'"),
        ({"network": 3}, ValueError, "network must be one of"),
        ({"network": TinyNetwork(1)}, TypeError, "network must be a class.*Pass TinyNetwork itself"),
        ({"tau": 0}, ValueError, "tau must be a number above 0, got 0"),
        ({"tau": "0.1"}, TypeError, "tau must be a number above 0, got '0.1'"),
        ({"sampling": "Soft"}, ValueError, "sampling must be one of .*got 'Soft'"),
        ({"n_classes": 1}, ValueError, "n_classes must be a whole number of at least 2, got 1"),
        ({"n_views": 2.5}, TypeError, "n_views must be a whole number of at least 2, got 2.5"),
        ({"sample_rate": 0}, ValueError, r"sample_rate \(in Hz\) must be a number above 0, got 0"),
        ({"sample_rate": 44.1}, ValueError, "sample_rate must be a whole number of Hz, got 44.1"),
        ({"sample_rate": "16k"}, TypeError, r"sample_rate \(in Hz\) must be a number above 0, got '16k'"),
        ({"segment_duration": -1.0}, ValueError, "segment_duration must be a number above 0, got -1.0"),
        ({"segment_duration": 0.1}, ValueError, "segment_duration must be at least 0.5 s for this network, got 0.1 s"),
        ({"hop_duration": 0}, ValueError, "hop_duration must be a number above 0, got 0"),
        ({"lr": 0.0}, ValueError, "lr must be a number above 0, got 0.0"),
        ({"max_epochs": -1}, ValueError, "max_epochs must be a whole number of at least 0, got -1"),
        ({"steps_per_epoch": 0}, ValueError, "steps_per_epoch must be a whole number of at least 1, got 0"),
        ({"validation_steps": 0}, ValueError, "validation_steps must be a whole number of at least 1, got 0"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction must be a number of at least"),
        ({"patience": None}, TypeError, "patience must be a whole number of at least 1, got None"),
        ({"batch_size": 0}, ValueError, "batch_size must be a whole number of at least 1, got 0"),
        ({"compile": "yes"}, ValueError, "compile must be one of .*got 'yes'"),
        ({"precision": "float16"}, ValueError, "precision must be one of .*got 'float16'"),
        ({"device": "tpu please"}, ValueError, 'device must be .* such as "cpu" or "cuda", got \'tpu please\''),
    ],
)
def test_each_bad_parameter_is_named(data, parameters, error, message):
    X, groups = data
    encoder = ContrastiveRoomEncoder(**QUICK | parameters)
    with pytest.raises(error, match=f"^ContrastiveRoomEncoder: {message}"):
        encoder.fit(X, **groups)
    with pytest.raises(NotFittedError):
        encoder.transform(X)


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_a_device_that_is_not_there_is_refused(data):
    X, groups = data
    with pytest.raises(ValueError, match=r"device must be available, got 'cuda' without CUDA"):
        quick_fit(X, groups, device="cuda")


class Flat(nn.Module):
    """A network that sums its features up by mistake."""

    def __init__(self, n_times):
        super().__init__()
        self.linear = nn.Linear(n_times, 8)

    def forward(self, waveforms):
        return self.linear(waveforms).sum(dim=1)


class Unpooled(Flat):
    """A network that forgot to pool over time."""

    def forward(self, waveforms):
        return self.linear(waveforms)[:, :, None]


class Merged(Flat):
    """A network that mixes the clips of a batch."""

    def forward(self, waveforms):
        return self.linear(waveforms).mean(dim=0, keepdim=True)


@pytest.mark.parametrize(("network", "shape"), [(Flat, r"\(2,\)"), (Unpooled, r"\(2, 8, 1\)"), (Merged, r"\(1, 8\)")])
def test_a_network_whose_output_is_no_embedding_is_refused(data, network, shape):
    X, groups = data
    encoder = ContrastiveRoomEncoder(**QUICK, network=network)
    with pytest.raises(
        ValueError, match=rf"network must map waveforms .*, got an output of shape {shape} for an input"
    ):
        encoder.fit(X, **groups)
    with pytest.raises(NotFittedError):
        encoder.transform(X)


def test_an_encoder_that_is_not_fitted_refuses_to_transform(data):
    with pytest.raises(NotFittedError):
        ContrastiveRoomEncoder().transform(data[0])


def test_no_warning_comes_of_an_ordinary_fit(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        quick_fit(*data).transform(data[0])
