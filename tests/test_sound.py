"""Recordings and responses whose peaks are cut off are named; loud, quiet and periodic ones are not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from scipy.signal import butter, sosfilt
from toys import RATE, TRAINING, decaying_noise

from roomacoustic_sk import ContrastiveRoomEncoder, acoustics
from roomacoustic_sk._sound import is_clipped
from roomacoustic_sk.datasets import load_measured_rirs, load_recordings
from roomacoustic_sk.features import DecaySlopeFeatures

CLIPPED = "should not be clipped, got peaks that are cut off in"


def speech(seconds: float = 4.0, seed: int = 0) -> NDArray[np.float64]:
    """Return noise with the statistics of speech: rare peaks, syllables, no treble; its peak is 1."""
    rng, t = np.random.default_rng(seed), np.arange(round(seconds * RATE)) / RATE
    sound = sosfilt(butter(4, 3400, fs=RATE, output="sos"), rng.laplace(size=len(t)) * np.sin(8 * t) ** 2)
    return sound / np.abs(sound).max()


def loud_response(seed: int = 0) -> NDArray[np.float64]:
    """Return direct sound of some samples and a decay over noise; its peak is 1."""
    rng, t = np.random.default_rng(seed), np.arange(RATE) / RATE
    tail = rng.standard_normal(RATE) * 10 ** (-3 * t / 0.5)
    tail[:12] = 10 * np.hanning(12)
    tail = sosfilt(butter(2, 4000, fs=RATE, output="sos"), np.concatenate([np.zeros(100), tail]))
    return (tail + 1e-4 * rng.standard_normal(len(tail))) / np.abs(tail).max()


def in_bits(sound: NDArray[np.float64], n_bits: int) -> NDArray[np.float64]:
    scale = 2.0 ** (n_bits - 1)
    return np.clip(np.round(sound * scale), -scale, scale - 1) / scale


@pytest.mark.parametrize("sound", [speech(), loud_response()], ids=["speech", "response"])
@pytest.mark.parametrize("gain", [2, 10])
def test_cut_peaks_are_found_at_any_level_and_in_any_format(sound: NDArray[np.float64], gain: float) -> None:
    clipped = np.clip(gain * sound, -1, 1)
    for form in (clipped, clipped.astype("f4"), 0.01 * clipped, clipped + 0.05, in_bits(clipped, 16), -clipped):
        assert is_clipped(form)
    assert is_clipped(np.clip(32768 * gain * sound, -32768, 32767).astype(np.int16))
    assert is_clipped(np.minimum(gain * sound, 1.0))  # on one side only


@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("level", [1.0, 0.01])
def test_normalised_quiet_and_looped_sound_is_not_clipped(bits: int, level: float) -> None:
    t = np.arange(2 * RATE) / RATE
    for seed in range(10):
        assert not is_clipped(in_bits(level * speech(2.0, seed), bits))
        assert not is_clipped(in_bits(level * loud_response(seed), bits))
    assert not is_clipped(in_bits(level * np.tile(speech(0.5), 20), bits))
    for frequency in (5, 50, 440, 1000):
        assert not is_clipped(in_bits(level * np.sin(2 * np.pi * frequency * t), bits))


def test_some_full_scale_samples_of_speech_are_no_clipping() -> None:
    loud = speech()
    loud[np.argsort(-np.abs(loud))[:5]] = np.sign(loud[np.argsort(-np.abs(loud))[:5]])
    assert not is_clipped(loud)


def test_rounding_is_not_clipped() -> None:
    rng = np.random.default_rng(0)
    assert not any(is_clipped(np.round(30 * rng.laplace(size=1000) / 8) * 2.0**-51) for _ in range(100))


def test_decays_steps_and_padding_are_not_clipped() -> None:
    decay = np.exp(-np.arange(RATE) / 1000)
    for sound in (decay, np.pad(decay, 500), np.pad(np.abs(loud_response()), 500), np.sign(speech()), np.ones(9)):
        assert not is_clipped(sound)


def test_a_clipped_response_is_named_by_every_parameter() -> None:
    responses = [loud_response(), np.clip(5 * loud_response(), -1, 1)]
    with pytest.warns(UserWarning, match=f"room_parameters: rirs {CLIPPED} row 1"):
        acoustics.room_parameters(responses, RATE)


@pytest.mark.parametrize("rate", [RATE, 48_000])
def test_a_clipped_response_on_disk_is_named_before_it_is_resampled(tmp_path: Path, rate: int) -> None:
    soundfile.write(tmp_path / "ir_1.wav", loud_response(), rate)
    soundfile.write(tmp_path / "ir_2.wav", np.clip(5 * loud_response(), -1, 1), rate)
    with pytest.warns(UserWarning, match=CLIPPED) as said:
        load_measured_rirs(tmp_path)
    named = [str(warning.message) for warning in said if "files" in str(warning.message)]
    assert len(named) == 1
    assert "ir_2.wav" in named[0]


@pytest.mark.filterwarnings("ignore:.*no validation")
def test_clipped_recordings_are_named_by_fit_and_transform(tmp_path: Path) -> None:
    X = decaying_noise(np.repeat([0.2, 0.4, 0.6], 4))
    encoder = ContrastiveRoomEncoder(**TRAINING | {"max_epochs": 0, "n_classes": 2, "n_views": 2})
    encoder.fit(X, rir_groups=np.repeat([0, 1, 2], 4))
    clipped = X.copy()
    clipped[1] = np.clip(30 * X[1] / np.abs(X[1]).max(), -1, 1)
    with pytest.warns(UserWarning, match=f"ContrastiveRoomEncoder: X {CLIPPED} row 1"):
        encoder.transform(clipped)
    with pytest.warns(UserWarning, match=f"DecaySlopeFeatures: X {CLIPPED} row 1"):
        DecaySlopeFeatures().fit(clipped)
    soundfile.write(tmp_path / "loud.wav", clipped[1], RATE)
    lazy = load_recordings(tmp_path, duration=len(X[1]) / RATE).data
    with pytest.warns(UserWarning, match=rf"ContrastiveRoomEncoder: X {CLIPPED} .*loud\.wav"):
        encoder.transform(lazy)
