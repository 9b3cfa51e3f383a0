"""Speech is found by its level: in bursts whose beginnings and ends are known, and in real speech with noise."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_allclose
from scipy.signal import butter, lfilter, sosfilt
from toys import RATE, diffuse

from roomacoustic_sk._speech_activity import (
    HEAD,
    TAIL,
    find_speech,
    is_narrow_band,
    looks_like_response,
    stretches,
)

RNG = np.random.default_rng(0)


def swinging_noise(*spans: tuple[float, float], seconds: float, level: float = -60.0, rate: int = RATE) -> np.ndarray:
    """Return noise at a level in dB with louder noise in some spans in s, whose level swings as that of syllables."""
    rng = np.random.default_rng(0)
    time = np.arange(round(seconds * rate)) / rate
    loud = np.zeros(len(time))
    for start, stop in spans:
        loud[(time >= start) & (time < stop)] = 1
    swing = 0.55 + 0.45 * np.sin(2 * np.pi * 4 * time)
    return (loud * swing + 10 ** (level / 20)) * rng.standard_normal(len(time))


@pytest.mark.parametrize("rate", [8_000, 16_000, 48_000])
@pytest.mark.parametrize("level", [-60.0, -25.0])
def test_speech_is_found_where_it_is(rate: int, level: float) -> None:
    activity = find_speech(swinging_noise((2.0, 4.0), (9.0, 10.0), seconds=14.0, level=level, rate=rate), rate)
    assert_allclose(activity.seconds, 3.0, atol=0.25)
    parts = stretches(activity, 14 * rate, rate)
    assert_allclose([part.start / rate for part in parts], [2.0 - HEAD, 9.0 - HEAD], atol=0.1)
    assert_allclose([part.stop / rate for part in parts], [4.0 + TAIL, 10.0 + TAIL], atol=0.1)


def test_a_short_pause_is_no_cut() -> None:
    activity = find_speech(swinging_noise((1.0, 2.0), (4.0, 5.0), seconds=8.0), RATE)
    assert len(stretches(activity, 8 * RATE, RATE)) == 1


@pytest.mark.parametrize("gap", [0.1, 1.0, 20.0])
def test_a_stretch_ends_where_the_sound_is_muted(gap: float) -> None:
    part, zeros = swinging_noise((0.2, 1.8), seconds=2.0), np.zeros(round(gap * RATE))
    waveform = np.concatenate([zeros, part, zeros, part, zeros])
    activity = find_speech(waveform, RATE)
    first, second = len(zeros), 2 * len(zeros) + len(part)
    found = stretches(activity, len(waveform), RATE)
    assert_allclose([one.start for one in found], [first + 0.1 * RATE, second + 0.1 * RATE], atol=0.06 * RATE)
    assert_allclose([one.stop for one in found], [first + len(part), second + len(part)], atol=0.02 * RATE)
    assert_allclose(activity.snr, find_speech(part, RATE).snr, atol=1)


def test_a_stretch_is_as_long_as_the_network_needs() -> None:
    activity = find_speech(swinging_noise((2.8, 2.9), seconds=3.0), RATE)
    assert stretches(activity, 3 * RATE, RATE, RATE // 2) == [slice(int(2.5 * RATE), 3 * RATE)]
    assert stretches(activity, 3 * RATE, RATE, 5 * RATE) == [slice(0, 3 * RATE)]


@pytest.mark.parametrize("snr", [10.0, 20.0, 30.0])
def test_the_snr_is_that_of_speech_above_steady_noise(snr: float) -> None:
    speech = swinging_noise((1.0, 5.0), seconds=8.0, level=-200.0)
    noise = RNG.standard_normal(len(speech)) * np.sqrt(np.mean(speech[RATE : 5 * RATE] ** 2)) * 10 ** (-snr / 20)
    assert_allclose(find_speech(speech + noise, RATE).snr, snr, atol=3.5)


def test_steady_noise_and_silence_are_no_speech() -> None:
    for waveform in (RNG.standard_normal(5 * RATE), np.zeros(5 * RATE), np.zeros(10)):
        activity = find_speech(waveform, RATE)
        assert not activity.active.any()
        assert stretches(activity, len(waveform), RATE) == []


@pytest.mark.parametrize("edge", [3_400, 4_000])
@pytest.mark.parametrize("noise", [0.0, 1e-4])
def test_only_a_telephone_is_narrow_band(edge: float, noise: float) -> None:
    wide = swinging_noise((0.0, 2.0), seconds=3.0)
    spectrum = np.fft.rfft(wide)
    spectrum[np.fft.rfftfreq(len(wide), 1 / RATE) > edge] = 0
    narrow = np.fft.irfft(spectrum) + noise * wide.std() * RNG.standard_normal(len(wide))
    assert is_narrow_band(narrow, RATE)
    assert not is_narrow_band(wide, RATE)
    assert not is_narrow_band(wide, 8_000)  # which cannot hold more


@pytest.mark.parametrize("edge", [500, 1_000, 1_500])
def test_what_is_narrower_than_a_telephone_is_narrow_band(edge: float) -> None:
    voice = lfilter([1], [1, -0.9], swinging_noise((0.0, 2.0), seconds=3.0))  # falls by 6 dB an octave
    assert not is_narrow_band(voice, RATE)
    assert is_narrow_band(sosfilt(butter(8, edge, fs=RATE, output="sos"), voice), RATE)


@pytest.mark.parametrize("rt60", [0.1, 0.4, 1.5, 5.0])
def test_a_response_looks_like_one(rt60: float) -> None:
    response = np.concatenate([np.zeros(300), diffuse(rt60, 1.2 * rt60)])
    assert looks_like_response(response, RATE)
    assert not looks_like_response(swinging_noise((0.0, 1.0), (1.5, 3.0), seconds=4.0), RATE)
    assert not looks_like_response(RNG.standard_normal(RATE), RATE)


def test_speech_that_begins_with_its_loudest_word_is_no_response() -> None:
    rng = np.random.default_rng(0)
    levels = -8 - np.linspace(0, 12, 150) + 4 * rng.standard_normal(150)  # of frames: words that grow softer
    levels[0] = 0
    waveform = np.repeat(10 ** (levels / 20), round(0.02 * RATE)) * rng.standard_normal(150 * round(0.02 * RATE))
    assert not looks_like_response(waveform, RATE)


def test_real_speech_is_speech_and_responses_are_responses(shared_data) -> None:
    files = sorted((shared_data / "LibriSpeech").rglob("*.flac"))[::5]
    heard = [soundfile.read(file, dtype="float32") for file in files]
    assert not any(looks_like_response(*one) for one in heard)
    assert not any(is_narrow_band(*one) for one in heard)
    shares = [find_speech(*one).seconds * one[1] / len(one[0]) for one in heard]
    assert np.median(shares) > 0.8  # read without long pauses
    assert min(shares) > 0.3
    responses = [
        soundfile.read(file, dtype="float32") for file in sorted((shared_data / "measured_rirs").rglob("*.flac"))
    ]
    assert np.mean([looks_like_response(*one) for one in responses]) > 0.9
