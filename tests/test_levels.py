"""`standardise`: whether the level of a recording counts, what is learned of the training set, and that it is kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from toys import CLIP, ENCODER, SUPERVISED, TinyNetwork, decaying_noise, fit_encoder, outputs, random_rt60

from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomRegressor,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
    load,
    save,
)
from roomacoustic_sk.networks import NETWORKS, BandSpectrogram, LogSpectrogram

KEPT = {"standardise": "training_set"}


@pytest.fixture(scope="module")
def clips():
    """Clips at levels of 0 to -40 dB, whose decay says nothing of their level."""
    levels = np.random.default_rng(0).uniform(-40, 0, 60)
    return decaying_noise(random_rt60(60)) * 10 ** (levels[:, None] / 20).astype(np.float32), levels


@pytest.mark.parametrize("front_end", [LogSpectrogram(), BandSpectrogram()], ids=["paper", "bands"])
def test_the_training_set_gets_zero_mean_and_unit_deviation(front_end):
    levels = np.logspace(-2, 0, 20)[:, None]
    waveforms = torch.from_numpy((levels * np.random.default_rng(0).standard_normal((20, CLIP))).astype(np.float32))
    front_end.keep_level()
    front_end.learn_level(waveforms)
    spectrograms = front_end(waveforms)
    assert float(spectrograms.mean()) == pytest.approx(0, abs=1e-4)
    assert float(spectrograms.std()) == pytest.approx(1, abs=1e-4)
    # The mean of a clip follows its level: 20 dB are a factor of 100 in power.
    louder = front_end(10 * waveforms) - spectrograms
    deviation = float(front_end.training_level[2])
    assert float(louder.mean()) == pytest.approx(np.log(100) / deviation, rel=1e-3)


@pytest.mark.parametrize("network", list(NETWORKS))
def test_gain_counts_only_if_the_training_set_standardises(room_grid, network):
    X, _, groups = room_grid
    for standardise, counts in (("clip", False), ("training_set", True)):
        encoder = fit_encoder(X, groups, network=network, standardise=standardise, segment_duration=0.5)
        moved = np.abs(encoder.transform(0.01 * X) - encoder.transform(X)).max()
        assert (moved > 0.01) == counts


def test_a_level_is_learned_only_if_it_counts(clips):
    X, levels = clips
    common = SUPERVISED | {"max_epochs": 40, "patience": 40, "lr": 3e-3}
    kept = SupervisedRoomRegressor(**common, **KEPT).fit(X[:40], levels[:40])
    alone = SupervisedRoomRegressor(**common).fit(X[:40], levels[:40])
    assert kept.score(X[40:], levels[40:]) > 0.8
    assert alone.score(X[40:], levels[40:]) < 0.3


def test_the_held_out_part_teaches_no_level(room_grid):
    X, _, groups = room_grid
    silent = np.where(groups["source_groups"][:, None] == 0, 1e-3 * X, X).astype(np.float32)
    learned = set()
    for seed in range(6):  # sources of the validation differ
        encoder = fit_encoder(silent, groups, **KEPT, max_epochs=0, validation_fraction=0.2, random_state=seed)
        learned.add(round(float(encoder.network_.spectrogram.training_level[0]), 6))
    assert len(learned) > 1


@pytest.mark.parametrize(
    "model",
    [ContrastiveRoomEncoder, SupervisedRoomRegressor, SupervisedRoomClassifier],
    ids=lambda model: model.__name__,
)
def test_what_was_learned_is_saved(model, room_grid, tmp_path):
    X, rt60, groups = room_grid
    if model is ContrastiveRoomEncoder:
        fitted = fit_encoder(X, groups, **KEPT)
    else:
        fitted = model(**SUPERVISED, **KEPT).fit(X, rt60 > 0.3 if model is SupervisedRoomClassifier else rt60)
    save(fitted, tmp_path / "model.rsk")
    loaded = load(tmp_path / "model.rsk")
    some = 0.1 * X[:5]
    apply = (lambda one: one.transform(some)) if model is ContrastiveRoomEncoder else (lambda one: outputs(one, some))
    assert np.array_equal(apply(loaded), apply(fitted))
    assert torch.equal(loaded.network_.spectrogram.training_level, fitted.network_.spectrogram.training_level)


def test_lazy_recordings_teach_the_same_level(room_grid):
    X, _, groups = room_grid
    lazy = [*X]  # read one by one
    one, other = (fit_encoder(some, groups, **KEPT, max_epochs=0) for some in (X, lazy))
    level = [encoder.network_.spectrogram.training_level for encoder in (one, other)]
    assert torch.allclose(*level, rtol=1e-5)


def test_training_that_goes_on_keeps_its_level(room_grid):
    X, _, groups = room_grid
    encoder = fit_encoder(X, groups, **KEPT, warm_start=True, max_epochs=1)
    before = encoder.network_.spectrogram.training_level.clone()
    encoder.fit(0.1 * X, **groups)
    assert torch.equal(encoder.network_.spectrogram.training_level, before)
    with pytest.raises(ValueError, match="standardise must be unchanged to resume"):
        encoder.set_params(standardise="clip").fit(X, **groups)


def test_a_supervised_estimator_takes_over_the_level_of_its_encoder(room_grid):
    X, rt60, groups = room_grid
    encoder = fit_encoder(X, groups, **KEPT)
    model = SupervisedRoomRegressor(**SUPERVISED, encoder=FrozenEstimator(encoder)).fit(0.1 * X, rt60)
    assert torch.equal(model.network_.spectrogram.training_level, encoder.network_.spectrogram.training_level)


def test_a_grid_search_sweeps_it(room_grid):
    X, rt60, groups = room_grid
    head = RoomRegressor(max_epochs=1, validation_fraction=0)
    pipe = Pipeline([("enc", ContrastiveRoomEncoder(**ENCODER)), ("reg", head)])
    grid = {"enc__standardise": ["clip", "training_set"]}
    labels = {f"enc__{name}": values for name, values in groups.items()}
    search = GridSearchCV(pipe, grid, cv=GroupKFold(2)).fit(X, rt60, groups=groups["room_groups"], **labels)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_networks_without_our_spectrograms_and_other_names_are_refused(room_grid):
    X, _, groups = room_grid
    with pytest.raises(ValueError, match="standardise must be 'clip' for a network that does not take spectrograms"):
        fit_encoder(X, groups, network=TinyNetwork, **KEPT)
    with pytest.raises(ValueError, match=r"standardise must be one of .*'clip'.*got 'all'"):
        fit_encoder(X, groups, standardise="all")
