"""What passes as data and is none: silence, constants, pauses, cancelled channels, rounding."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
import torch
from toys import CLIP, ENCODER, RATE, SUPERVISED, TinyNetwork, decaying_noise, in_zarr, noise

from roomacoustic_sk import ContrastiveRoomEncoder, RoomClassifier, RoomRegressor, SupervisedRoomRegressor
from roomacoustic_sk._sound import is_cancelled, is_constant, levels, mix_powers, sounding
from roomacoustic_sk.datasets import load_recordings

SMALL = ENCODER | {"n_classes": 2, "validation_fraction": 0}
X = decaying_noise(np.repeat([0.2, 0.4, 0.6, 0.8], 6))
RIR, SOURCE = np.divmod(np.arange(24), 6)


@pytest.fixture(scope="module")
def encoder():
    return ContrastiveRoomEncoder(**SMALL).fit(X, rir_groups=RIR)


@pytest.fixture(scope="module")
def regressor():
    return SupervisedRoomRegressor(**SUPERVISED).fit(X, RIR)


# --- Recordings -----------------------------------------------------------------------------------------------------

SPOILT = {
    "zeros": lambda: np.zeros(CLIP),
    "a constant": lambda: np.full(CLIP, 0.3),
    "a constant below 0": lambda: np.full(CLIP, -1e-3),
    "a constant with rounding": lambda: 0.3 + 1e-8 * noise(CLIP),
    "denormal numbers": lambda: 1e-310 * noise(CLIP),
    "rounding of cancelled channels": lambda: 0.1 * noise(CLIP) * 1e-17,
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT)
@pytest.mark.parametrize("kind", ["array", "list", "zarr"])
def test_recordings_without_sound_are_refused_by_name(spoilt, kind, encoder, tmp_path):
    waves = np.array([X[0], spoilt(), X[1]])
    given = {"array": lambda: waves, "list": lambda: list(waves), "zarr": lambda: in_zarr(waves, tmp_path)}[kind]()
    with pytest.raises(ValueError, match=r"ContrastiveRoomEncoder: X must (not be silent|have sound), got .* in row 1"):
        encoder.transform(given)


def test_integer_recordings_of_one_value_are_refused(encoder):
    for value, dtype in ((0, np.int16), (700, np.int16), (128, np.uint8), (131, np.uint8)):
        with pytest.raises(ValueError, match=r"X must (not be silent|have sound)"):
            encoder.transform(np.full((1, CLIP), value, dtype))


def test_a_large_offset_gives_a_warning_and_a_small_one_none(encoder):
    with pytest.warns(UserWarning, match=r"X should have no constant offset \(DC\).* in row 1. Subtract the mean"):
        encoder.transform(np.stack([X[0], 1 + 1e-3 * X[0] / np.abs(X[0]).max()]))
    encoder.transform(X[:1] + 0.1 * np.abs(X[0]).max())


PAUSES = {
    "zeros": lambda n: np.zeros(n),
    "a constant": lambda n: np.full(n, 0.2),
    "dither": lambda n: np.random.default_rng(0).integers(-1, 2, n) / 32768,
    "denormal numbers": lambda n: 1e-40 * noise(n),
}


@pytest.mark.parametrize("pause", PAUSES.values(), ids=PAUSES)
@pytest.mark.parametrize("kind", ["list", pytest.param("zarr", marks=pytest.mark.slow)])
def test_pauses_do_not_count_in_the_mean_over_segments(pause, kind, encoder, regressor, tmp_path):
    silence = pause(CLIP).astype(np.float32)
    with_pauses = np.concatenate([silence, X[0], silence, X[1], silence])
    given = [with_pauses] if kind == "list" else in_zarr(with_pauses[None], tmp_path)
    expected = encoder.transform([np.concatenate(X[:2])])
    if kind == "zarr":
        encoder, regressor = _of_any_length(encoder), _of_any_length(regressor)
    np.testing.assert_allclose(encoder.transform(given), expected, atol=1e-5)
    np.testing.assert_allclose(regressor.predict(given), regressor.predict(list(X[:2])).mean(), rtol=1e-4)


def _of_any_length(fitted):
    """Return a copy that takes arrays of other lengths than in the fit."""
    import copy

    free = copy.copy(fitted)
    del free.n_features_in_
    return free


def test_a_recording_of_nothing_but_pauses_is_refused(encoder):
    steps = np.concatenate([np.full(CLIP, 0.1), np.full(CLIP, 0.3)])
    with pytest.raises(ValueError, match="X must not be silent, got nothing but zeros or constants in row 1"):
        encoder.transform([X[0], steps])


def test_a_click_does_not_turn_speech_into_a_pause():
    segments = np.stack([X[0], X[1]])
    segments[0] = 0.001 * segments[0]
    segments[1] = 0.001 * segments[1]
    segments[1, 100] = 1.0
    assert sounding(levels(segments), np.zeros(2, dtype=int), 1).all()


def test_training_draws_other_segments_in_place_of_pauses():
    seen = []

    class Watched(TinyNetwork):
        def forward(self, waveforms):
            if self.training:
                seen.append(waveforms.abs().amax(dim=1).min().item())
            return super().forward(waveforms)

    long = np.concatenate([X, np.zeros((24, 2 * CLIP), np.float32), X], axis=1)
    ContrastiveRoomEncoder(**SMALL | {"network": Watched, "steps_per_epoch": 20}).fit(long, rir_groups=RIR)
    assert len(seen) == 20
    assert min(seen) > 0


# --- Channels -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_channels", [2, 4])
@pytest.mark.parametrize("residue", [0, 1e-6, 1e-3])
def test_channels_of_opposite_phase_are_refused(n_channels, residue, tmp_path):
    x = 0.1 * noise(RATE)
    channels = np.stack([x, -x] * (n_channels // 2), axis=1) + 0.1 * residue * noise(RATE, n_channels, seed=1)
    soundfile.write(tmp_path / "a.wav", channels, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"channels of opposite phase, which cancel, in .*a\.wav"):
        np.asarray(load_recordings(tmp_path, duration=0.5).data)


def test_channels_that_differ_do_not_cancel():
    for n_channels in (1, 2, 8, 64):
        channels = noise(RATE, n_channels).astype(np.float32)
        assert not is_cancelled(*mix_powers(channels, channels.mean(axis=1)))
    same = np.repeat(channels[:, :1], 2, axis=1)
    same[:, 1] *= -0.5
    assert not is_cancelled(*mix_powers(same, same.mean(axis=1)))
    assert not is_cancelled(*mix_powers(np.zeros((9, 2), np.float32), np.zeros(9, np.float32)))


# --- Features and targets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("constant", [0.1, 1 / 3, 1e5 / 7])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_constant_feature_does_not_blow_up_estimates(constant, dtype):
    Z = noise(200, 4).astype(dtype)
    Z[:, 2] = constant
    y = 0.5 + 0.1 * Z[:, 0]
    head = RoomRegressor(max_epochs=2, random_state=0).fit(Z, y)
    new = Z.copy()
    new[:, 2] += 0.01
    assert np.abs(head.predict(new) - head.predict(Z)).max() < 0.1


def test_a_feature_of_float32_rounding_is_constant_in_float64_too():
    rounded = (np.float32(0.1) * (1 + 1e-7 * noise(200).astype(np.float32))).astype(np.float32)
    assert is_constant(rounded[:, None]).all()
    assert is_constant(rounded[:, None].astype(np.float64)).all()
    assert not is_constant(1e9 + np.arange(200.0)[:, None]).any()
    assert not is_constant(np.array([[1.0], [1.001]])).any()


def test_features_of_another_origin_give_a_warning():
    Z = noise(200, 4)
    head = RoomRegressor(max_epochs=1, random_state=0).fit(Z, Z[:, 0])
    with pytest.warns(UserWarning, match="X should resemble the features of the fit, got some .* in row 3"):
        head.predict(Z * np.where(np.arange(200) == 3, 1e5, 1)[:, None])
    head.predict(10 * Z)


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_features_and_targets_whose_squares_are_lost_are_refused(scale):
    Z = noise(100, 4)
    with pytest.raises(ValueError, match="X must have features whose squares are finite and above 0"):
        RoomClassifier(max_epochs=1).fit(scale * Z, Z[:, 0] > 0)
    with pytest.raises(ValueError, match="y must have values whose squares are"):
        RoomRegressor(max_epochs=1).fit(Z, scale * Z[:, 0])


def test_a_constant_target_is_estimated_exactly():
    Z = noise(100, 4)
    y = np.stack([np.full(100, 0.3), Z[:, 0]], axis=1)
    assert RoomRegressor(max_epochs=1, random_state=0).fit(Z, y).predict(Z)[:, 0] == pytest.approx(0.3, abs=1e-15)


@pytest.mark.parametrize("lowest", [-1e-3, -30.0])
def test_negative_targets_are_refused_if_estimates_cannot_be_negative(lowest):
    y = np.abs(noise(24))
    y[3] = lowest
    for model in (RoomRegressor(non_negative=True), SupervisedRoomRegressor(**SUPERVISED, non_negative=True)):
        with pytest.raises(ValueError, match="non_negative must be False for negative targets"):
            model.fit(X[:, :8] if isinstance(model, RoomRegressor) else X, y)


def test_a_network_without_finite_or_nonzero_outputs_is_refused():
    class Broken(TinyNetwork):
        value = float("nan")

        def forward(self, waveforms):
            return super().forward(waveforms) * (1.0 if self.training else self.value)

    fitted = ContrastiveRoomEncoder(**SMALL | {"network": Broken}).fit(X, rir_groups=RIR)
    with pytest.raises(ValueError, match="network must map X to finite numbers, got NaN or infinity for row"):
        fitted.transform(X[:2])
    Broken.value = 0.0
    with pytest.raises(ValueError, match="network must map X to embeddings other than zero, got zeros for row"):
        fitted.transform(X[:2])
    assert torch.get_default_dtype() == torch.float32
