"""The contrastive encoder on toy rooms: noise bursts through noise that decays at the room's own rate."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from toys import CLIP, ENCODER, N_RIRS, BatchWatcher, TinyNetwork, fit_encoder, numbered_recordings, reverberant_bursts

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk.networks import BandwiseRoomCNN, PartwiseProjection, ProjectionHead


@pytest.fixture(scope="module")
def trained():
    """An encoder that has learned the toy rooms."""
    X, rir, source = reverberant_bursts(40)
    encoder = ContrastiveRoomEncoder(
        **ENCODER | {"n_views": 4, "steps_per_epoch": 10, "validation_steps": 4, "max_epochs": 6, "lr": 2e-3}
    )
    return encoder.fit(X, rir_groups=rir, source_groups=source)


def separation(encoder, X, rir):
    """Return by how much the similarity within responses exceeds that between responses."""
    Z = encoder.transform(X)
    similarity, same = Z @ Z.T, rir[:, None] == rir
    return similarity[same & ~np.eye(len(rir), dtype=bool)].mean() - similarity[~same].mean()


# --- Learning -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_loss_falls_below_chance(trained):
    chance = np.log(4 * 4 - 1)
    assert trained.history_["valid_loss"].min() < chance - 0.1
    assert trained.history_["train_loss"].min() < chance - 0.5


def test_new_sources_through_one_response_are_embedded_alike(trained):
    X, rir, _ = reverberant_bursts(8, first_source=1_000)
    assert separation(trained, X, rir) > 0.25


def test_the_temperature_scales_the_loss(bursts):
    hot, cold = (fit_encoder(*bursts, tau=tau, max_epochs=1).history_["train_loss"].item() for tau in (100.0, 0.001))
    assert hot == pytest.approx(np.log(4 * 2 - 1), abs=0.02)  # no similarity matters
    assert cold > 5


def test_with_no_epochs_the_network_stays_untrained(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, max_epochs=0)
    assert encoder.n_iter_ == len(encoder.history_) == 0
    assert np.isfinite(encoder.transform(X)).all()
    assert separation(encoder, X, groups["rir_groups"]) < 0.1
    torch.manual_seed(0)
    assert np.array_equal(fit_encoder(X, groups, max_epochs=0).transform(X), encoder.transform(X))


def test_embeddings_are_64_float32_numbers_of_unit_norm(trained, bursts):
    embeddings = trained.transform(bursts[0])
    assert embeddings.shape == (80, 64)
    assert embeddings.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_fitted_attributes_describe_the_training(trained):
    assert trained.segment_length_ == CLIP
    assert (trained.n_classes_, trained.n_views_) == (4, 4)
    assert trained.n_iter_ == len(trained.history_) <= 6
    assert list(trained.history_.columns) == ["epoch", "train_loss", "valid_loss", "valid_retrieval", "dur"]
    assert trained.history_["epoch"].tolist() == list(range(1, trained.n_iter_ + 1))
    assert not trained.network_.training


@pytest.mark.slow
def test_the_encoder_learns_from_unlabelled_recordings():
    X = reverberant_bursts(16, n_times=2 * CLIP)[0]
    encoder = ContrastiveRoomEncoder(
        **ENCODER | {"n_classes": 12, "steps_per_epoch": 15, "max_epochs": 3, "lr": 3e-3, "validation_fraction": 0}
    ).fit(X)
    assert encoder.history_["train_loss"].iloc[-1] < np.log(12 * 2 - 1) - 0.3


def test_an_ordinary_fit_gives_no_warning(bursts):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit_encoder(*bursts).transform(bursts[0])


# --- Recordings of any length and format ----------------------------------------------------------------------------


def test_long_recordings_get_the_normalised_mean_of_their_segments(trained):
    X, _, _ = reverberant_bursts(1, n_times=3 * CLIP + 1_000)
    starts = {None: [0, CLIP, 2 * CLIP, 2 * CLIP + 1_000], 0.4: [0, 6_400, 12_800, 2 * CLIP + 1_000]}
    for hop, places in starts.items():
        mean = np.mean([trained.transform(X[:, start : start + CLIP]) for start in places], axis=0)
        expected = mean / np.linalg.norm(mean, axis=1, keepdims=True)
        encoder = pickle.loads(pickle.dumps(trained)).set_params(hop_duration=hop)
        np.testing.assert_allclose(encoder.transform(list(X)), expected, atol=2e-6)


def test_recordings_of_different_lengths_are_embedded_as_if_alone(trained):
    X, _, _ = reverberant_bursts(2, n_times=2 * CLIP)
    recordings = [
        recording[:n]
        for recording, n in zip(X, [9_000, 16_000, 8_000, 9_000, 12_345, 8_000, 16_000, 10_000], strict=True)
    ]
    together = trained.transform(recordings)
    alone = np.concatenate([trained.transform([recording]) for recording in recordings])
    np.testing.assert_allclose(together, alone, atol=2e-6)


def test_the_batch_size_of_transform_changes_nothing(trained, bursts):
    encoder = pickle.loads(pickle.dumps(trained)).set_params(batch_size=7)
    np.testing.assert_allclose(encoder.transform(bursts[0]), trained.transform(bursts[0]), atol=2e-6)


@pytest.mark.parametrize(
    ("parameter", "value"), [("batch_size", -3), ("batch_size", 1.5), ("hop_duration", 0.0), ("hop_duration", "x")]
)
def test_parameters_set_after_fit_are_checked_by_transform(trained, bursts, parameter, value):
    changed = pickle.loads(pickle.dumps(trained)).set_params(**{parameter: value})
    with pytest.raises((TypeError, ValueError), match=f"ContrastiveRoomEncoder: {parameter} must be"):
        changed.transform(bursts[0])


def test_short_recordings_are_repeated_with_a_warning(trained, bursts):
    X = bursts[0][:3]
    recordings = [X[0, :5_000], X[1], X[2, :3_000]]
    message = (
        r"2 of 3 recordings in X are shorter than the 0.5 s needed \(the shortest has 3000 of 8000 samples\) "
        "and were repeated"
    )
    with pytest.warns(UserWarning, match=message):
        found = trained.transform(recordings)
    repeated = np.stack([np.tile(recording, 3)[:CLIP] for recording in recordings])
    np.testing.assert_allclose(found, trained.transform(repeated), atol=2e-6)


def test_the_default_network_takes_clips_shorter_than_a_segment():
    X, rir, source = reverberant_bursts(8, n_times=2 * CLIP)
    groups = {"rir_groups": rir, "source_groups": source}
    encoder = fit_encoder(X, groups, network="bandwise", segment_duration=1.0)
    with torch.inference_mode():
        expected = encoder.network_(torch.from_numpy(X[:, :10_000])).numpy()
    np.testing.assert_allclose(encoder.transform(list(X[:, :10_000])), expected, atol=2e-6)
    mixed = encoder.transform([X[0, :10_000], X[1], X[2, :10_000], X[3, :9_000]])
    np.testing.assert_allclose(mixed[[0, 2]], expected[[0, 2]], atol=2e-6)
    np.testing.assert_allclose(mixed[1:2], encoder.transform(X[1:2]), atol=2e-6)
    np.testing.assert_allclose(mixed[3:], encoder.transform([X[3, :9_000]]), atol=2e-6)


def test_short_clips_are_repeated_for_the_papers_network(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, network="paper", segment_duration=0.25)
    assert encoder.segment_length_ == 4_000
    with pytest.warns(UserWarning, match=r"2 of 2 recordings in X are shorter than the 0.25 s needed"):
        found = encoder.transform(list(X[:2, :2_500]))
    np.testing.assert_allclose(found, encoder.transform(list(np.tile(X[:2, :2_500], 2)[:, :4_000])), atol=2e-6)


def test_short_recordings_are_repeated_in_training_with_a_warning(bursts):
    X, groups = bursts
    recordings = [recording[:5_000] if i < 7 else recording for i, recording in enumerate(X)]
    with pytest.warns(
        UserWarning,
        match=r"7 of 80 recordings in X are shorter than the 0.5 s needed \(the shortest has 5000 of 8000 samples",
    ):
        encoder = fit_encoder(recordings, groups)
    repeated = np.stack([np.resize(recording, CLIP) for recording in recordings])
    assert np.array_equal(encoder.transform(X), fit_encoder(repeated, groups).transform(X))


def test_segments_are_shortened_to_the_longest_recording(bursts):
    X, groups = bursts
    with pytest.warns(
        UserWarning, match=r"segment_duration reduced from 4 s to 0.5 s: the longest recording is 0.5 s long"
    ):
        encoder = fit_encoder(X, groups, segment_duration=4.0)
    assert encoder.segment_length_ == CLIP


@pytest.mark.parametrize("dtype", [np.int16, np.int32])
def test_integer_pcm_and_floating_point_agree(bursts, dtype):
    X, groups = bursts
    pcm = (X / np.abs(X).max() * np.iinfo(dtype).max * 0.9).astype(dtype)
    as_float = (pcm / (np.iinfo(dtype).max + 1.0)).astype(np.float32)
    from_pcm, from_float = fit_encoder(pcm, groups), fit_encoder(as_float, groups)
    assert np.array_equal(from_pcm.transform(X), from_float.transform(X))
    assert np.array_equal(from_float.transform(pcm), from_float.transform(as_float))


def test_double_and_single_precision_agree(trained, bursts):
    X, groups = bursts
    assert np.array_equal(trained.transform(X.astype(np.float64)), trained.transform(X))
    assert np.array_equal(fit_encoder(X.astype(np.float64), groups).transform(X), fit_encoder(X, groups).transform(X))


@pytest.mark.parametrize("gain", [1e-4, 100.0])
def test_the_level_does_not_matter(trained, bursts, gain):
    np.testing.assert_allclose(trained.transform(gain * bursts[0]), trained.transform(bursts[0]), atol=1e-4)


def test_a_stretch_of_digital_silence_is_accepted(trained):
    X = reverberant_bursts(1, n_times=3 * CLIP)[0]
    X[0, CLIP:] = 0
    assert np.isfinite(trained.transform(list(X))).all()


# --- Group labels and batches ---------------------------------------------------------------------------------------


def numbers(inputs):
    """Return the number, without its sign, that each segment of a batch begins with."""
    return np.abs(inputs[:, 0]).round().astype(int)


@pytest.mark.parametrize("sampling", ["soft", "hard", "position_independent"])
def test_batches_keep_labels_aligned_and_hold_out_whole_sources(sampling):
    rir, source = (labels.ravel() for labels in np.mgrid[:8, :12])
    order = np.random.default_rng(0).permutation(len(rir))
    rir, source, room = rir[order], source[order], rir[order] // 2
    watcher = BatchWatcher()
    # Of other networks, the batches would be spectrograms.
    options = {"network": TinyNetwork, "steps_per_epoch": 20, "validation_steps": 5}
    ContrastiveRoomEncoder(**ENCODER | options, sampling=sampling, callbacks=[watcher]).fit(
        numbered_recordings(96), rir_groups=rir, source_groups=source, room_groups=room
    )
    classes = room if sampling == "position_independent" else rir
    seen = {}
    for training, batches in watcher.seen.items():
        assert len(batches) == (20 if training else 5)
        for inputs, labels in batches:
            indices = numbers(inputs) - 1
            assert len(indices) == 8
            np.testing.assert_array_equal(classes[indices], labels)
            if sampling != "soft":
                assert len(np.unique(source[indices])) == 2
        seen[training] = set(source[np.concatenate([numbers(inputs) for inputs, _ in batches]) - 1])
    assert not seen[True] & seen[False]
    assert len(seen[False]) == 2


@pytest.mark.parametrize("n_views", [2, 3, 12])
def test_unlabelled_recordings_are_classes_and_held_out_whole(n_views):
    watcher = BatchWatcher()
    options = {"network": TinyNetwork, "n_views": n_views, "steps_per_epoch": 10, "validation_steps": 10}
    encoder = ContrastiveRoomEncoder(**ENCODER | options, callbacks=[watcher]).fit(numbered_recordings(40, 2 * CLIP))
    assert (encoder.n_classes_, encoder.n_views_, encoder.segment_length_) == (4, n_views, CLIP)
    seen = {}
    for training, batches in watcher.seen.items():
        for inputs, labels in batches:
            drawn = numbers(inputs)
            assert len(drawn) == 4 * n_views
            np.testing.assert_array_equal(labels[:, None] == labels, drawn[:, None] == drawn)
        seen[training] = set(np.concatenate([numbers(inputs) for inputs, _ in batches]))
    assert not seen[True] & seen[False]


@pytest.mark.filterwarnings("ignore:.*no constant offset")
def test_without_labels_views_are_different_segments():
    X = np.arange(1.0, 20_001)[None] + 100_000 * np.arange(20)[:, None]
    watcher = BatchWatcher()
    ContrastiveRoomEncoder(**ENCODER | {"steps_per_epoch": 20}, callbacks=[watcher]).fit(X)
    starts = np.concatenate([numbers(inputs) for inputs, _ in watcher.seen[True]]) % 100_000
    assert len(np.unique(starts)) > 0.9 * len(starts)
    assert starts.min() < 1_500
    assert 12_001 - 1_500 < starts.max() <= 12_001  # the last segment ends with the recording


def test_without_labels_segments_are_at_most_half_a_recording():
    with pytest.warns(
        UserWarning, match="reduced from 4 s to 0.5 s: segments of an unlabelled recording must start .* is 1 s long"
    ):
        encoder = fit_encoder(numbered_recordings(20, 2 * CLIP), {}, segment_duration=4.0)
    assert encoder.segment_length_ == CLIP


def test_unlabelled_recordings_of_one_segment_give_a_warning(bursts):
    message = "X should have recordings longer than 0.5 s if there are no rir_groups, .*, got at most 0.5 s"
    with pytest.warns(UserWarning, match=message):
        encoder = fit_encoder(bursts[0], {})
    assert encoder.segment_length_ == CLIP


def test_reduced_batches_give_a_warning(bursts):
    X, groups = bursts
    with pytest.warns(UserWarning, match="reduced") as caught:
        encoder = fit_encoder(X, groups, n_classes=24, n_views=3)
    assert [str(warning.message) for warning in caught] == [
        f"ContrastiveRoomEncoder: batches for {purpose} reduced from 24 classes x 3 views to 4 x 3: the group labels "
        "do not allow more with sampling='soft'."
        for purpose in ("training", "validation")
    ]
    assert (encoder.n_classes_, encoder.n_views_) == (4, 3)


def test_too_few_labels_for_validation_give_a_warning():
    X, rir, source = reverberant_bursts(3)
    with pytest.warns(UserWarning, match="no validation: the labels are too few to hold out"):
        encoder = fit_encoder(X, {"rir_groups": rir, "source_groups": source}, max_epochs=2)
    assert encoder.n_iter_ == 2
    assert encoder.history_["valid_loss"].isna().all()


def test_a_validation_fraction_of_zero_holds_nothing_out(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, validation_fraction=0, max_epochs=2)
    assert encoder.history_["valid_loss"].isna().all()
    assert encoder.history_["train_loss"].notna().all()
    assert not encoder.network_.training


def test_labels_may_be_strings_and_pandas_columns(bursts):
    pandas = pytest.importorskip("pandas")
    X, groups = bursts
    table = pandas.DataFrame({key: [f"label {value:03d}" for value in labels] for key, labels in groups.items()})
    assert np.array_equal(fit_encoder(X, dict(table)).transform(X), fit_encoder(X, groups).transform(X))


# --- Networks -------------------------------------------------------------------------------------------------------


def test_a_users_network_class_is_built_for_the_segment(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, network=TinyNetwork, segment_duration=0.3, max_epochs=3)
    assert isinstance(encoder.network_, TinyNetwork)
    assert encoder.network_.n_times == encoder.segment_length_ == 4_800
    embeddings = encoder.transform(X)
    assert embeddings.shape == (80, 12)
    np.testing.assert_allclose(np.linalg.norm(embeddings, axis=1), 1, atol=1e-6)


def test_the_papers_network_can_be_trained(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, network="paper", max_epochs=2)
    assert encoder.transform(X).shape == (80, 64)
    assert encoder.history_.notna().all(axis=None)


def test_a_bandwise_encoder_has_a_loss_for_each_part_and_the_whole(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, network="bandwise")
    assert isinstance(encoder.network_, BandwiseRoomCNN)
    projection, untrained = encoder.net_.module_[1], fit_encoder(X, groups, network="bandwise", max_epochs=0)
    assert isinstance(projection, PartwiseProjection)
    before = untrained.net_.module_[1].heads
    assert len(projection.heads) == len(before) == 5
    assert not any(torch.equal(a[-1].weight, b[-1].weight) for a, b in zip(projection.heads, before, strict=True))
    for network in ("pooled", "paper"):
        assert isinstance(fit_encoder(X, groups, network=network, max_epochs=0).net_.module_[1], ProjectionHead)


# --- Among scikit-learn's estimators --------------------------------------------------------------------------------


def test_fit_transform_is_fit_and_transform(bursts):
    X, groups = bursts
    assert np.array_equal(
        ContrastiveRoomEncoder(**ENCODER).fit_transform(X, **groups), fit_encoder(X, groups).transform(X)
    )


def test_a_fitted_encoder_can_be_fitted_again(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups)
    first = encoder.transform(X)
    assert np.array_equal(encoder.fit(X, **groups).transform(X), first)


def test_fitting_does_not_change_the_waveforms_or_the_parameters(bursts):
    X, groups = bursts
    before, encoder = X.copy(), ContrastiveRoomEncoder(**ENCODER)
    parameters = encoder.get_params()
    encoder.fit(X, **groups).transform(X)
    assert np.array_equal(X, before)
    assert encoder.get_params() == parameters


def test_a_clone_learns_the_same(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, network=TinyNetwork, tau=0.5)
    new = clone(encoder)
    assert new.get_params() == encoder.get_params()
    assert not hasattr(new, "net_")
    assert np.array_equal(new.fit(X, **groups).transform(X), encoder.transform(X))


def test_features_have_names_and_can_be_a_frame(trained, bursts):
    names = trained.get_feature_names_out()
    assert names[0] == "contrastiveroomencoder0"
    assert len(names) == 64
    frame = pickle.loads(pickle.dumps(trained)).set_output(transform="pandas").transform(bursts[0][:3])
    assert list(frame.columns) == list(names)


# --- Refused --------------------------------------------------------------------------------------------------------


def test_an_unfitted_encoder_refuses_to_transform(bursts):
    with pytest.raises(NotFittedError):
        ContrastiveRoomEncoder().transform(bursts[0])


def test_a_fitted_encoder_keeps_its_sampling_rate(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, max_epochs=1).set_params(sample_rate=48_000)
    with pytest.raises(ValueError, match="sample_rate must be that of the fit, 16000 Hz, got 48000 Hz"):
        encoder.transform(X)
    with pytest.raises(ValueError, match="sample_rate must be unchanged"):
        encoder.set_params(warm_start=True).fit(X, **groups)


def test_warnings_point_at_the_users_line_through_scikit_learn_too(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, max_epochs=0)
    for call in (encoder.transform, Pipeline([("enc", encoder)]).transform, lambda X: cross_validate_once(encoder, X)):
        with pytest.warns(UserWarning, match="ContrastiveRoomEncoder: 80 of 80 recordings in X are shorter") as seen:
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
        (lambda X: X.T, ValueError, r"X must be of shape \(n_recordings, n_times\), got \(8000, 80\).*Pass X.T"),
        (lambda X: X[0], ValueError, r"X must be a 2-D array.*Reshape your data with X.reshape\(1, -1\)"),
        (lambda X: X[:, None], ValueError, "X must be a 2-D array"),
        (lambda X: X[:0], ValueError, "X must have at least one waveform"),
        (lambda X: X > 0, TypeError, "X must hold floating-point or integer samples, got dtype bool"),
        (lambda X: 0 * X.astype(np.uint8) + 128, ValueError, "X must not be silent"),
        (lambda X: [*X[:-1], X[-1, :0]], ValueError, "X must have samples in every waveform, got row 79 without any"),
    ],
)
def test_invalid_waveforms_are_refused_by_fit_and_transform(trained, bursts, change, error, message):
    X, groups = bursts
    broken = change(X)
    with pytest.raises(error, match=f"ContrastiveRoomEncoder: {message}"):
        ContrastiveRoomEncoder(**ENCODER).fit(broken, **groups)
    with pytest.raises(error, match=f"ContrastiveRoomEncoder: {message}"):
        trained.transform(broken)


RIR, SOURCE = np.tile(np.arange(N_RIRS), 20), np.repeat(np.arange(20), N_RIRS)


@pytest.mark.parametrize(
    ("parameters", "groups", "message"),
    [
        ({}, {"rir_groups": RIR[:-1]}, r"rir_groups must be 1-D with 80 labels, got .*\(79,\)"),
        ({}, {"rir_groups": RIR, "source_groups": SOURCE[:40]}, "source_groups must be 1-D with"),
        ({}, {"rir_groups": RIR, "room_groups": RIR[:, None]}, "room_groups must be 1-D with"),
        ({}, {"rir_groups": np.where(RIR == 0, np.nan, RIR)}, "rir_groups must not have missing labels, got some in"),
        ({}, {"source_groups": SOURCE}, "rir_groups must be given together with source_groups, got None"),
        ({}, {"room_groups": RIR, "source_groups": SOURCE}, "rir_groups must be given together with source_groups and"),
        ({}, {"rir_groups": np.zeros(80)}, "rir_groups must contain at least two different RIRs, got one RIR"),
        ({}, {"rir_groups": np.arange(80)}, "at least 2 RIRs with 2 different recordings each"),
        ({"sampling": "hard"}, {"rir_groups": RIR}, "source_groups must be given for sampling='hard', got None"),
        (
            {"sampling": "position_independent"},
            {"rir_groups": RIR, "source_groups": SOURCE},
            "room_groups must be given for sampling='position_independent', got None",
        ),
        ({"sampling": "hard"}, {"rir_groups": RIR, "source_groups": np.arange(80)}, "sources shared by 2 classes"),
    ],
)
@pytest.mark.parametrize("validation_fraction", [0, 0.2])
def test_unusable_group_labels_are_refused(bursts, parameters, groups, message, validation_fraction):
    encoder = ContrastiveRoomEncoder(**ENCODER | parameters, validation_fraction=validation_fraction)
    with pytest.raises(ValueError, match=message):
        encoder.fit(bursts[0], **groups)
    with pytest.raises(NotFittedError):
        encoder.transform(bursts[0])


def test_an_rir_in_two_rooms_is_refused(bursts):
    X, groups = bursts
    room = groups["rir_groups"] // 2
    fit_encoder(X, groups | {"room_groups": room})
    message = (
        r"room_groups must name one room for each RIR, got 2 rooms for RIR 0 \(0, 1\). "
        "Are rir_groups and room_groups swapped"
    )
    with pytest.raises(ValueError, match=message):
        fit_encoder(X, {"rir_groups": room, "room_groups": groups["rir_groups"]})


def test_missing_targets_give_a_warning_before_training(bursts):
    X, groups = bursts
    y = np.where(np.arange(80) < 3, np.nan, 1.0)
    with pytest.warns(UserWarning, match="y has missing targets for 3 of 80 recordings.*drop these recordings"):
        ContrastiveRoomEncoder(**ENCODER).fit(X, y, **groups)


def test_missing_values_of_one_target_of_several_give_no_warning(bursts):
    X, groups = bursts
    ContrastiveRoomEncoder(**ENCODER).fit(X, np.where(np.arange(160) < 5, np.nan, 1.0).reshape(80, 2), **groups)


def test_sampling_that_needs_labels_is_refused_without_them():
    with pytest.raises(ValueError, match="source_groups must be given for sampling='hard', got None"):
        fit_encoder(numbered_recordings(20, 2 * CLIP), {}, sampling="hard")


def test_one_recording_without_labels_is_refused(bursts):
    with pytest.raises(ValueError, match="at least two different RIRs, got one sample and no rir_groups"):
        ContrastiveRoomEncoder(**ENCODER).fit(bursts[0][:1])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        (
            {"network": "resnet"},
            ValueError,
            r"network must be one of \['paper', 'pooled', 'bandwise', 'compact'\], got 'resnet'",
        ),
        ({"network": 3}, ValueError, "network must be one of"),
        ({"network": TinyNetwork(1)}, TypeError, "network must be a class.*Pass TinyNetwork itself"),
        ({"tau": 0}, ValueError, "tau must be a number above 0, got 0"),
        ({"tau": "0.1"}, TypeError, "tau must be a number above 0, got '0.1'"),
        ({"sampling": "Soft"}, ValueError, "sampling must be one of .*got 'Soft'"),
        ({"n_classes": 1}, ValueError, "n_classes must be a whole number of at least 2, got 1"),
        ({"n_views": 2.5}, TypeError, "n_views must be a whole number of at least 2, got 2.5"),
        ({"sample_rate": 0}, ValueError, r"sample_rate \(in Hz\) must be a number above 0, got 0"),
        ({"sample_rate": 44.1}, ValueError, "sample_rate must be in Hz, at least 1000, got 44.1"),
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
def test_invalid_parameters_are_named(bursts, parameters, error, message):
    X, groups = bursts
    encoder = ContrastiveRoomEncoder(**ENCODER | parameters)
    with pytest.raises(error, match=f"^ContrastiveRoomEncoder: {message}"):
        encoder.fit(X, **groups)
    with pytest.raises(NotFittedError):
        encoder.transform(X)
