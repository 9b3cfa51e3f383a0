"""Steps that vary responses and clips: their physics, their ranges, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from experiments.treatments import synthetic, two_slopes
from roomacoustic_sk.acoustics import direct_to_reverberant_ratio, reverberation_time, room_labels
from roomacoustic_sk.augmentation import (
    AddNoise,
    Clip,
    Code,
    Gain,
    LimitBand,
    ReshapeDecay,
    ScaleDirectSound,
    Sometimes,
    split_octaves,
)

RATE = 16000
CLIP = np.random.default_rng(0).standard_normal(RATE) * np.hanning(RATE)


def draws(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def decibels(power: float) -> float:
    return float(10 * np.log10(power))


# --- Responses ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("gain", [-5.0, 12.0])
def test_the_direct_sound_alone_changes_its_level(gain: float) -> None:
    response = np.zeros(RATE)
    response[100] = 1.0
    response[200:] = 0.05 * draws().standard_normal(RATE - 200) * 10 ** (-3 * np.arange(RATE - 200) / RATE / 0.4)
    varied = ScaleDirectSound(gain=(gain, gain))(response, RATE, draws())
    assert_array_equal(varied[150:], response[150:])
    change = np.subtract(*[direct_to_reverberant_ratio(one, RATE, truncation=None) for one in (varied, response)])
    assert_allclose(change, gain, atol=0.01)


def test_octaves_sum_to_the_waveform() -> None:
    octaves = split_octaves(CLIP, RATE)
    assert len(octaves) == 6
    assert_allclose(np.sum(octaves, axis=0), CLIP, atol=1e-12)


@pytest.mark.parametrize("ratio", [0.5, 1.0, 1.6])
@pytest.mark.parametrize("decay_to_noise", [45.0, 80.0])
def test_a_reshaped_decay_has_the_wanted_time_and_no_noise(ratio: float, decay_to_noise: float) -> None:
    seconds, bands = np.arange(round(1.2 * RATE)) / RATE, {"bands": [500, 1000, 2000], "truncation": None}
    errors = []
    for seed in range(4):
        decay, noise = draws(seed).standard_normal((2, len(seconds)))
        decay *= 10 ** (-3 * seconds / 0.6)
        step = ReshapeDecay(ratio=(ratio, ratio), tilt=(0.0, 0.0))
        varied = step(decay + 10 ** (-decay_to_noise / 20) * noise, RATE, draws(seed))
        wanted = ratio * reverberation_time(decay, RATE, **bands)
        errors.append(reverberation_time(varied, RATE, **bands) / wanted - 1)
    assert np.abs(np.mean(errors)) < 0.03
    assert np.sqrt(np.mean(np.square(errors))) < 0.08


def test_a_tilt_changes_high_octaves_the_other_way_than_low_ones() -> None:
    clean = synthetic(draws(1), rt=0.5, sample_rate=RATE).clean
    varied = ReshapeDecay(ratio=(1.0, 1.0), tilt=(0.2, 0.2))(clean, RATE, draws())
    bands = {"bands": [250, 1000, 4000], "truncation": None}
    change = reverberation_time(varied, RATE, **bands) / reverberation_time(clean, RATE, **bands)
    assert_allclose(change, [2**-0.4, 1.0, 2**0.4], rtol=0.12)


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_a_reshaped_response_never_rises(ratio: float) -> None:
    """Neither behind direct sound that hides the decay, nor where a second, slower decay follows."""
    for seed in range(6):
        bent = two_slopes(draws(seed))
        near = ScaleDirectSound(gain=(25.0, 25.0))(
            synthetic(draws(seed), rt=0.8, sample_rate=RATE).clean, RATE, draws()
        )
        for response, rate in ((bent.clean, bent.sample_rate), (near, RATE)):
            varied = ReshapeDecay(ratio=(ratio, ratio))(response, rate, draws(seed))
            assert np.abs(varied).max() < 1.1 * np.abs(response).max()
            parts = [np.mean(part**2) for part in np.array_split(varied[np.argmax(np.abs(varied)) :], 8)]
            assert (np.diff(parts) < 0).all()


def test_octaves_of_very_different_decays_stay_finite() -> None:
    seconds = np.arange(3 * RATE) / RATE
    octaves = split_octaves(draws().standard_normal(len(seconds)), RATE)
    times = np.geomspace(3.0, 0.03, len(octaves))
    response = sum(band * 10 ** (-3 * seconds / time) for band, time in zip(octaves, times, strict=True))
    varied = ReshapeDecay(ratio=(2.0, 2.0))(response, RATE, draws())
    assert np.isfinite(varied).all()
    slow = {"bands": [125], "truncation": None}
    assert_allclose(
        reverberation_time(varied, RATE, **slow) / reverberation_time(response, RATE, **slow), 2.0, rtol=0.6
    )


def test_a_response_without_a_decay_is_not_reshaped() -> None:
    response = np.zeros(4000)
    response[50] = 1.0
    assert_array_equal(ReshapeDecay()(response, RATE, draws()), response)


def test_a_short_decay_is_still_a_response_with_labels() -> None:
    seconds = np.arange(RATE) / RATE
    response = draws().standard_normal(RATE) * 10 ** (-3 * seconds / 0.06)
    varied = ReshapeDecay(ratio=(0.1, 0.1), tilt=(0.0, 0.0))(response, RATE, draws())
    assert len(varied) == 801
    assert room_labels([varied], RATE, truncation=None)["drr"].notna().all()  # C50 needs 0.05 s


def test_a_reshaped_decay_is_no_longer_than_allowed() -> None:
    clean = synthetic(draws(2), rt=2.0, sample_rate=RATE).clean
    assert len(ReshapeDecay(ratio=(3.0, 3.0), longest=1.5)(clean, RATE, draws())) <= 1.6 * RATE


# --- Clips --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recordings", [(), (np.sin(np.arange(5000.0)), draws(3).standard_normal(3 * RATE))])
def test_noise_has_the_drawn_level(recordings: tuple[np.ndarray, ...]) -> None:
    noise = AddNoise(snr=(5.0, 25.0), recordings=recordings)
    ratios = [decibels(np.mean(CLIP**2) / np.mean((noise(CLIP, RATE, draws(i)) - CLIP) ** 2)) for i in range(40)]
    assert min(ratios) >= 5.0 - 1e-9
    assert max(ratios) <= 25.0 + 1e-9
    assert np.ptp(ratios) > 10


def test_silence_in_a_recording_of_noise_is_not_drawn() -> None:
    noise = AddNoise(
        snr=(0.0, 0.0), recordings=(np.r_[np.zeros(5 * RATE), part] for part in [draws().normal(size=RATE)])
    )
    for seed in range(8):
        assert_allclose(np.mean((noise(CLIP, RATE, draws(seed)) - CLIP) ** 2), np.mean(CLIP**2))


def test_noise_is_an_excerpt_of_a_recording() -> None:
    ramp = np.arange(50_000.0)
    added = AddNoise(snr=(0.0, 0.0), recordings=[ramp])(CLIP, RATE, draws()) - CLIP
    assert_allclose(np.diff(added), np.diff(added)[0], rtol=1e-6)
    assert added[0] > 0


@pytest.mark.parametrize(("colour", "slope"), [(0.0, 0.0), (1.0, -3.01), (2.0, -6.02)])
def test_artificial_noise_falls_by_its_colour(colour: float, slope: float) -> None:
    long = np.tile(CLIP, 20)
    added = AddNoise(snr=(0.0, 0.0), colour=(colour, colour))(long, RATE, draws()) - long
    power = np.abs(np.fft.rfft(added)) ** 2
    octaves = [power[len(power) // 16 : len(power) // 8].mean(), power[len(power) // 8 : len(power) // 4].mean()]
    assert_allclose(decibels(octaves[1] / octaves[0]), slope, atol=0.3)


def test_gain_and_clipping_follow_their_levels() -> None:
    assert_allclose(Gain(gain=(-6.0, -6.0))(CLIP, RATE, draws()), CLIP * 10**-0.3)
    clipped = Clip(depth=(6.0, 6.0))(CLIP, RATE, draws())
    assert_allclose(np.abs(clipped).max(), np.abs(CLIP).max() * 10**-0.3)
    quiet = np.abs(CLIP) < np.abs(clipped).max()
    assert_array_equal(clipped[quiet], CLIP[quiet])


def test_a_limited_band_passes_its_middle_and_stops_the_rest() -> None:
    limit = LimitBand(low=(300.0, 300.0), high=(3400.0, 3400.0))
    for frequency, level in ((1000, 0.0), (300, -3.01), (3400, -3.01), (75, -48.0), (6800, -30.0)):
        tone = np.sin(2 * np.pi * frequency * np.arange(2 * RATE) / RATE)
        heard = decibels(np.mean(limit(tone, RATE, draws())[RATE:] ** 2) / np.mean(tone[RATE:] ** 2))
        assert heard == pytest.approx(level, abs=0.1) if level > -4 else heard < level


def test_an_upper_limit_above_the_spectrum_changes_nothing_there() -> None:
    tone = np.sin(2 * np.pi * 3900 * np.arange(RATE) / 8000)
    limited = LimitBand(low=(50.0, 50.0), high=(20000.0, 20000.0))(tone, 8000, draws())
    assert_allclose(np.std(limited[RATE // 2 :]), np.std(tone), rtol=1e-3)


@pytest.mark.parametrize("codec", ["mp3", "vorbis", "opus", "gsm", "ulaw", "adpcm"])
def test_a_codec_keeps_length_level_and_sound(codec: str) -> None:
    tone = 3.0 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)  # beyond full scale
    coded = Code(codecs=(codec,), compression=(0.5, 0.5))(tone, RATE, draws())
    assert coded.shape == tone.shape
    middle = slice(RATE // 2, 3 * RATE // 2)
    assert_allclose(np.std(coded[middle]), np.std(tone[middle]), rtol=0.05)
    spectrum = np.abs(np.fft.rfft(coded[middle]))
    assert np.argmax(spectrum) == 440
    assert not np.array_equal(coded, tone)


def test_a_codec_without_the_rate_leaves_the_clip() -> None:
    assert_array_equal(Code(codecs=("opus", "mp3"))(CLIP, 10_000, draws()), CLIP)


def test_a_step_is_taken_as_often_as_asked() -> None:
    step = Sometimes(Gain(gain=(-6.0, -6.0)), probability=0.25)
    taken = [not np.array_equal(step(CLIP, RATE, draws(i)), CLIP) for i in range(400)]
    assert 70 < sum(taken) < 130


STEPS = [ScaleDirectSound(), ReshapeDecay(), AddNoise(), Gain(), LimitBand(), Clip(), Code(), Sometimes(Gain())]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: type(step).__name__)
def test_a_step_repeats_itself_and_leaves_its_input(step) -> None:
    waveform = synthetic(draws(4), rt=0.4, sample_rate=RATE).samples
    before = waveform.copy()
    first = step(waveform, RATE, draws(1))
    assert_array_equal(waveform, before)
    assert_array_equal(step(waveform, RATE, draws(1)), first)
    different = [not np.array_equal(step(waveform, RATE, draws(seed)), first) for seed in range(2, 8)]
    assert any(different)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AddNoise(snr=20), r"AddNoise: snr must be a pair \(lowest, highest\), got 20"),
        (lambda: AddNoise(snr=(30, 10)), r"snr must be a pair \(lowest, highest\), got \(30, 10\). Swap them"),
        (lambda: AddNoise(snr=(0, np.nan)), r"snr \(in dB\) must be a number"),
        (lambda: AddNoise(recordings=[np.zeros(100)]), "recordings must be 1-D arrays .* not constant"),
        (lambda: AddNoise(recordings=[np.arange(100)]), "recordings must be 1-D arrays of finite floating-point"),
        (lambda: LimitBand(low=(0.02, 0.3), high=(3.0, 20.0)), r"low \(in Hz\) must be a number of at least 1"),
        (lambda: AddNoise(recordings=[np.ones(99) * 1e-310]), "recordings must be 1-D arrays .* not constant"),
        (
            lambda: AddNoise(recordings=[np.ma.masked_array(np.arange(9.0), np.arange(9) > 4)]),
            "recordings must not have masked values",
        ),
        (lambda: LimitBand(low=(1.0, 3000.0)), r"low must lie below high = \(3000.0, 20000.0\) Hz"),
        (lambda: LimitBand(low=(0.0, 100.0)), r"low \(in Hz\) must be a number of at least 1"),
        (lambda: Clip(depth=(-3, 0)), r"depth \(in dB\) must be a number of at least 0"),
        (lambda: Code(codecs="mp3"), "codecs must be a sequence of names"),
        (lambda: Code(codecs=["aac"]), "codecs must be one of"),
        (lambda: Sometimes(Gain), "step must be functions of"),
        (lambda: Sometimes(Gain(), probability=50), "probability must be"),
        (lambda: ReshapeDecay(ratio=(0, 2)), "ratio must be"),
        (lambda: ScaleDirectSound(window=2.5), r"window \(in s\) must be"),
    ],
)
def test_impossible_ranges_are_refused_when_a_step_is_made(make, message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        make()
