"""Where a decay ends: noise, treated ends, other sounds, ringing; and what no treatment of a response may change."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, chirp, sosfilt

from experiments.treatments import coloured_noise, distortion_in_front, synthetic
from roomacoustic_sk._decay import cut_at_onset, growing_blocks, lower_hull, running_sum, trusted_length
from roomacoustic_sk.acoustics import (
    DecayRangeWarning,
    clarity,
    reverberation_time,
    room_labels,
    room_parameters,
)
from roomacoustic_sk.datasets import load_measured_rirs, simulate_rooms

RATE = 16000


def noisy_decay(
    rt: float = 0.5, *, noise: float = -50, duration: float = 1.0, rate: int = RATE, seed: int = 0
) -> np.ndarray:
    """Noise that decays by 60 dB in `rt` s, over stationary noise at a level in dB."""
    rng = np.random.default_rng(seed)
    n_times = round(duration * rate)
    decay = 10 ** (-3 * np.arange(n_times) / rate / rt)
    return rng.standard_normal(n_times) * decay + 10 ** (noise / 20) * rng.standard_normal(n_times)


def quietly(function, *args, **options):
    """Call a function whose warnings of missing ranges are not the subject."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        return function(*args, **options)


# --- What can be decay and noise --------------------------------------------------------------------------------


def test_growing_blocks_hold_all_energy_in_order() -> None:
    power = np.random.default_rng(0).random(5000)
    edges, levels = growing_blocks(running_sum(power), 40)
    assert edges[0] == 0
    assert edges[-1] == 5000
    assert np.all(np.diff(edges)[:-1] >= np.maximum(40, edges[:-2] // 10))
    expected = [power[a:b].mean() for a, b in pairwise(edges)]
    assert np.allclose(10 ** (levels / 10), expected)


@given(st.lists(st.integers(-60, 0), min_size=3, max_size=12))
@settings(max_examples=50, derandomize=True, deadline=None)
def test_the_lower_hull_lies_below_every_chord(levels: list[int]) -> None:
    times = [float(i) for i in range(len(levels))]
    corners = lower_hull(times, [float(level) for level in levels])
    hull = np.interp(times, [times[i] for i in corners], [levels[i] for i in corners])
    lowest = [  # the lowest point of all chords above each time, by brute force
        min(
            levels[i] if i == j else levels[i] + (levels[j] - levels[i]) * (k - i) / (j - i)
            for i in range(k + 1)
            for j in range(k, len(levels))
        )
        for k in range(len(levels))
    ]
    assert np.allclose(hull, lowest)


def test_a_decay_over_stationary_noise_is_trusted_to_its_end() -> None:
    for seed in range(20):
        sums = running_sum(noisy_decay(noise=-40, duration=2.0, seed=seed) ** 2)
        assert trusted_length(sums, 160) == 2 * RATE


def test_a_response_is_trusted_until_its_noise_is_faded_out() -> None:
    rir = noisy_decay(noise=-40, duration=2.0)
    rir[RATE:] *= np.linspace(1, 0, RATE) ** 2
    assert RATE <= trusted_length(running_sum(rir**2), 160) <= 1.6 * RATE


def test_two_slopes_over_noise_are_trusted_to_the_end() -> None:
    rir = noisy_decay(0.3, noise=-80, duration=3.0) + 0.03 * noisy_decay(1.5, noise=-80, duration=3.0, seed=1)
    assert trusted_length(running_sum(rir**2), 160) == len(rir)


def test_the_first_loud_sound_is_the_response() -> None:
    rng = np.random.default_rng(0)
    rir = noisy_decay(noise=-70)
    treated = distortion_in_front(rir, RATE, rng)
    assert len(treated) > len(rir)
    assert len(cut_at_onset(treated, RATE)) == len(cut_at_onset(rir, RATE))
    twice = np.concatenate([rir, 1.2 * rir])  # the second is the loudest, but the first is as good
    assert len(cut_at_onset(twice, RATE)) == len(cut_at_onset(rir, RATE)) + len(rir)


# --- Treated ends -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("noise", [-45, -60])
def test_a_joined_take_leaves_the_reverberation_time_as_it_is(noise: float) -> None:
    rir = noisy_decay(noise=noise)
    joined = np.concatenate([rir, noisy_decay(noise=noise, seed=5)])
    assert reverberation_time(joined, RATE) == pytest.approx(reverberation_time(rir, RATE), rel=0.05)


@pytest.mark.parametrize("level", [-20, -40])
def test_noise_that_changes_behind_the_decay_changes_nothing(level: float) -> None:
    rir = noisy_decay(noise=-55)
    later = 10 ** ((-55 + 30 + level) / 20) * np.random.default_rng(3).standard_normal(RATE)
    measured = room_parameters(np.concatenate([rir, later]), RATE, decay_range="T20")
    for name, value in room_parameters(rir, RATE, decay_range="T20").items():
        assert measured[name] == pytest.approx(value, rel=0.05, abs=0.05)


def test_a_decay_that_flattens_into_faded_noise_is_nan_with_that_reason() -> None:
    times, rng = np.arange(RATE) / RATE, np.random.default_rng(0)
    rir = rng.standard_normal(RATE) * 10 ** (-3 * times / 0.3)
    rir += 0.03 * rng.standard_normal(RATE) * 10 ** (-1.5 * times)
    found = quietly(room_parameters, rir, RATE, diagnostics=True)
    assert np.isnan(found["reverberation_time"])
    assert found["reason"] == "not to be told from noise that fades"


def test_a_response_cut_where_a_gate_closes_keeps_its_time() -> None:
    rir = noisy_decay(noise=-200, duration=1.0)
    rir[6000:] *= 10 ** (-np.arange(RATE - 6000) / 200)  # at -45 dB the gate closes
    assert reverberation_time(rir, RATE, decay_range="T20") == pytest.approx(0.5, rel=0.05)


# --- No reverberation -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cut_off", [20, 50, 100])
@pytest.mark.parametrize("order", [1, 2, 4])
@pytest.mark.parametrize("noise", [0.0, 1e-5])
def test_a_filter_that_rings_is_no_room(cut_off: float, order: int, noise: float) -> None:
    sound = np.zeros(RATE)
    sound[100] = 1.0
    rir = sosfilt(butter(order, [cut_off, 7000], "bandpass", fs=RATE, output="sos"), sound)
    rir += noise * np.random.default_rng(0).standard_normal(RATE)
    found = quietly(room_parameters, rir, RATE, diagnostics=True)
    assert np.isnan(found["reverberation_time"])
    assert np.isnan(found["early_decay_time"]) or order == 1


def test_ringing_is_named_and_a_dry_room_is_not_called_so() -> None:
    sound = np.zeros(RATE)
    sound[100] = 1.0
    rir = sosfilt(butter(2, [80, 7000], "bandpass", fs=RATE, output="sos"), sound)
    with pytest.warns(DecayRangeWarning, match="In row 0: ringing of a filter, no reverberation"):
        assert np.isnan(reverberation_time(rir, RATE))
    cabin = noisy_decay(0.06, noise=-80)
    assert reverberation_time(cabin, RATE) == pytest.approx(0.06, rel=0.1)


@pytest.mark.parametrize("method", ["hybrid", "ism"])
def test_a_room_that_absorbs_all_sound_has_no_reverberation_time(method: str) -> None:
    rooms = simulate_rooms(1, 2, materials=1.0, random_state=0, method=method)
    assert rooms.target[["rt60", "rt60_mid", "edt"]].isna().all(axis=None)
    assert rooms.target["rt60_range"].isna().all()
    assert rooms.target["drr"].notna().all()


# --- No response ------------------------------------------------------------------------------------------------


def syllables(rng: np.random.Generator, seconds: float = 4.0) -> np.ndarray:
    """Noise in bursts of 0.1 to 0.3 s, as loud as each other within 10 dB, as speech and percussion have them."""
    n_times = round(seconds * RATE)
    envelope, at = np.full(n_times, 1e-3), 0
    while at < n_times:
        n_burst = int(rng.uniform(0.1, 0.3) * RATE)
        burst = np.hanning(n_burst)[: n_times - at] * 10 ** (-rng.uniform(0, 10) / 20)
        envelope[at : at + n_burst] += burst
        at += n_burst + int(rng.uniform(0.02, 0.2) * RATE)
    return envelope * coloured_noise(n_times, rng, 1.0)


def test_sounds_that_do_not_decay_once_are_named_as_no_response() -> None:
    sounds = [syllables(np.random.default_rng(seed)) for seed in range(8)]
    with pytest.warns(
        DecayRangeWarning, match=r"In rows 0, 1, 2, .*: no impulse response: .*speech, music, noise, a sweep"
    ):
        assert np.isnan(reverberation_time(sounds, RATE, decay_range="T20")).all()
    labels = room_labels(sounds, RATE, diagnostics=True)
    assert labels[["rt60", "rt60_mid", "edt"]].isna().all(axis=None)
    assert labels["reason"].str.startswith("no impulse response").all()


@pytest.mark.parametrize("shape", ["linear", "logarithmic"])
@pytest.mark.parametrize("room", [False, True])
def test_a_sweep_is_no_response_in_bands_above_its_beginning(shape: str, room: bool) -> None:
    sweep = chirp(np.arange(3 * RATE) / RATE, 50, 3, 7500, shape)
    sweep = np.convolve(sweep, noisy_decay(0.5, noise=-90)) if room else sweep
    assert np.isnan(quietly(reverberation_time, sweep, RATE, decay_range="T20", bands=[500, 1000, 2000])).all()
    assert np.isnan(quietly(reverberation_time, sweep, RATE, decay_range="T20"))


@pytest.mark.slow
def test_real_speech_is_refused_and_no_real_response_is(shared_data: Path) -> None:
    speech = [soundfile.read(f)[0] for f in sorted(shared_data.glob("LibriSpeech/train-clean-100/*/*/*.flac"))[:60]]
    labels = room_labels(speech, RATE, diagnostics=True)
    assert labels[["rt60", "rt60_mid"]].isna().all(axis=None)
    assert labels["reason"].str.startswith(("no impulse response", "no decay")).all()
    for folder in ("measured_rirs", "more_measured_rirs"):
        rooms = quietly(load_measured_rirs, shared_data / folder / "rirs.csv")
        assert not rooms.diagnostics["reason"].str.startswith(("no impulse response", "no decay")).any()


# --- Diagnostics ------------------------------------------------------------------------------------------------


def test_diagnostics_of_a_straight_decay_are_its_analytic_ones() -> None:
    times = np.arange(2 * RATE) / RATE
    rir = 10 ** (-3 * times / 0.8) + 1e-3 * np.random.default_rng(0).standard_normal(len(times))
    found = room_parameters(rir, RATE, diagnostics=True)
    assert found["nonlinearity"] < 1
    assert found["curvature"] == pytest.approx(0, abs=1)
    assert found["crossing_time"] == pytest.approx(0.8, rel=0.05)  # 60 dB down
    assert found["peak_to_noise"] == pytest.approx(60, abs=0.5)
    assert found["usable_range"] > 45
    assert found["reason"] == ""


def test_curvature_of_two_slopes_is_that_of_their_times() -> None:
    times = np.arange(2 * RATE) / RATE
    rir = np.sqrt(10 ** (-6 * times / 0.4) + 1e-3 * 10 ** (-6 * times / 1.5))
    t20, t30 = (reverberation_time(rir, RATE, decay_range=name, truncation=None) for name in ("T20", "T30"))
    found = room_parameters(rir, RATE, truncation=None, diagnostics=True)
    assert found["curvature"] == pytest.approx(100 * (t30 / t20 - 1))
    assert found["curvature"] > 10
    assert found["nonlinearity"] > 10


def test_diagnostics_have_the_shape_of_the_parameters_and_warn_of_nothing() -> None:
    rirs = np.stack([noisy_decay(0.4, noise=-70), noisy_decay(0.6, noise=-70)])
    for bands, shape in ((None, (2,)), ([500, 1000], (2, 2))):
        found = room_parameters(rirs, RATE, bands=bands, diagnostics=True)
        assert {value.shape for value in found.values()} == {shape}
        assert set(room_parameters(rirs, RATE, bands=bands)) < set(found)


def test_each_reason_for_nan_is_told() -> None:
    rirs = [
        noisy_decay(noise=-70),
        noisy_decay(noise=-20),
        noisy_decay(2.0, noise=-200, duration=0.7),
        np.random.default_rng(0).standard_normal(RATE),
        syllables(np.random.default_rng(1)),
    ]
    reasons = room_labels(rirs, RATE, diagnostics=True)["reason"].tolist()
    assert reasons[0] == ""
    assert reasons[1].startswith(("hidden by noise", "no decay"))
    assert reasons[2] == "cut off by the end of the response"
    assert reasons[3].startswith("no impulse response")
    assert reasons[4].startswith("no impulse response")


def test_measured_responses_come_with_diagnostics(tmp_path: Path) -> None:
    for name, sound in {"ir_1": noisy_decay(noise=-60), "ir_2": syllables(np.random.default_rng(0))}.items():
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * sound, RATE, subtype="FLOAT")
    with pytest.warns(DecayRangeWarning, match=r"No impulse response: .*: ir_2\.wav\."):
        rooms = load_measured_rirs(tmp_path)
    assert rooms.complete.tolist() == [True, False]
    assert rooms.diagnostics["reason"].tolist()[0] == ""
    assert rooms.diagnostics["peak_to_noise"][0] == pytest.approx(
        70, abs=5
    )  # the peak of noise is 10 dB above its power
    assert len(rooms.diagnostics) == 2


# --- What changes nothing ---------------------------------------------------------------------------------------


@st.composite
def responses(draw) -> np.ndarray:
    """Responses with direct sound, reflections and noise, as `synthetic` draws them."""
    seed = draw(st.integers(0, 10_000))
    rt = draw(st.floats(0.2, 1.2))
    peak_to_noise = draw(st.floats(40, 80))
    return synthetic(np.random.default_rng(seed), rt=rt, peak_to_noise=peak_to_noise, sample_rate=RATE).samples


def values(rir: np.ndarray) -> np.ndarray:
    """All parameters of a response in one array."""
    found = quietly(room_parameters, rir, RATE, decay_range="T20")
    return np.array([*found.values(), quietly(clarity, rir, RATE, limit=0.08)])


@given(responses(), st.floats(-120, 120))
@settings(max_examples=15, derandomize=True, deadline=None)
def test_gain_changes_nothing(rir: np.ndarray, gain: float) -> None:
    assert np.allclose(values(10 ** (gain / 20) * rir), values(rir), rtol=1e-6, equal_nan=True)


@given(responses())
@settings(max_examples=10, derandomize=True, deadline=None)
def test_polarity_changes_nothing(rir: np.ndarray) -> None:
    assert np.array_equal(values(-rir), values(rir), equal_nan=True)


@given(responses(), st.integers(0, 3 * RATE), st.integers(0, 3 * RATE))
@settings(max_examples=15, derandomize=True, deadline=None)
def test_silence_in_front_and_behind_changes_nothing(rir: np.ndarray, n_before: int, n_behind: int) -> None:
    padded = np.concatenate([np.zeros(n_before), rir, np.zeros(n_behind)])
    assert np.array_equal(values(padded), values(rir), equal_nan=True)


@given(st.lists(responses(), min_size=2, max_size=4), st.randoms(use_true_random=False))
@settings(max_examples=5, derandomize=True, deadline=None)
def test_the_order_of_responses_is_that_of_their_values(rirs: list[np.ndarray], random) -> None:
    order = list(range(len(rirs)))
    random.shuffle(order)
    forwards = quietly(reverberation_time, rirs, RATE, decay_range="T20", bands=[500, 1000])
    shuffled = quietly(reverberation_time, [rirs[i] for i in order], RATE, decay_range="T20", bands=[500, 1000])
    assert np.array_equal(shuffled, forwards[order], equal_nan=True)


@given(st.floats(0.15, 2.0), st.sampled_from([8000, 11025, 22050, 44100, 48000]))
@settings(max_examples=15, derandomize=True, deadline=None)
def test_a_decay_has_the_same_time_at_every_rate(rt: float, rate: int) -> None:
    rir = noisy_decay(rt, noise=-60, duration=1.2 * rt + 0.2, rate=rate)
    assert reverberation_time(rir, rate) == pytest.approx(rt, rel=0.1)
