"""Room acoustic parameters against analytic decays, pyrato, pyroomacoustics and documented rooms."""

from __future__ import annotations

import warnings
import weakref

import numpy as np
import pytest
from toys import RATE as SAMPLE_RATE
from toys import diffuse, exponential, noise

from roomacoustic_sk import _parameters, acoustics
from roomacoustic_sk.acoustics import (
    DecayRangeWarning,
    centre_time,
    clarity,
    decay_curves,
    definition,
    direct_to_reverberant_ratio,
    early_decay_time,
    energy_decay_curve,
    mid_frequency_reverberation_time,
    reverberation_time,
    room_labels,
    room_parameters,
)

PARAMETERS = [
    reverberation_time,
    early_decay_time,
    clarity,
    definition,
    centre_time,
    direct_to_reverberant_ratio,
    energy_decay_curve,
]
RT = [0.1, 0.3, 1.0, 5.0]


# --- Analytic truth -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truncation", ["lundeby", None])
@pytest.mark.parametrize("rt", RT)
def test_an_exponential_decay_has_its_analytic_parameters(rt: float, truncation: str | None) -> None:
    rir = exponential(rt, 1.4 * rt)
    rate = 6 * np.log(10) / rt  # of the energy, in 1/s
    for decay_range in ("T20", "T30", "T60", (-10, -45)):
        measured = reverberation_time(rir, SAMPLE_RATE, decay_range=decay_range, truncation=truncation)
        assert measured == pytest.approx(rt, rel=0.01)
    assert early_decay_time(rir, SAMPLE_RATE, truncation=truncation) == pytest.approx(rt, rel=0.01)
    for limit in (0.05, 0.08):
        measured = clarity(rir, SAMPLE_RATE, limit=limit, truncation=truncation)
        assert measured == pytest.approx(10 * np.log10(np.expm1(rate * limit)), abs=0.1)
        share = definition(rir, SAMPLE_RATE, limit=limit, truncation=truncation)
        assert share == pytest.approx(-np.expm1(-rate * limit), abs=0.002)
    assert centre_time(rir, SAMPLE_RATE, truncation=truncation) == pytest.approx(1 / rate, rel=0.01)


def test_the_decay_curve_of_an_exponential_is_straight_from_the_onset() -> None:
    rir = np.concatenate([np.zeros(800), exponential(0.5, 1.0)])
    curve = energy_decay_curve(rir, SAMPLE_RATE, truncation=None)
    assert curve.shape == rir.shape
    assert np.allclose(curve[:8000], -60 * np.arange(8000) / SAMPLE_RATE / 0.5, atol=0.01)
    assert np.isnan(curve[16000:]).all()  # the 800 samples that the onset took away


def test_the_direct_to_reverberant_ratio_is_analytic() -> None:
    tail = diffuse(0.4, 0.8)
    rir = np.concatenate([[2.0], np.zeros(79), tail])
    assert direct_to_reverberant_ratio(rir, SAMPLE_RATE) == pytest.approx(10 * np.log10(4 / (tail**2).sum()), abs=0.01)
    wide = direct_to_reverberant_ratio(rir, SAMPLE_RATE, direct_window=0.05)
    assert wide == pytest.approx(10 * np.log10((4 + (tail[:720] ** 2).sum()) / (tail[720:] ** 2).sum()), abs=0.01)


def test_a_decay_with_two_slopes_has_both_in_its_evaluation_ranges() -> None:
    rir = np.sqrt(exponential(0.3, 3.0) ** 2 + 1e-3 * exponential(2.0, 3.0) ** 2)
    assert early_decay_time(rir, SAMPLE_RATE) == pytest.approx(0.3, rel=0.1)
    assert reverberation_time(rir, SAMPLE_RATE, decay_range=(-35, -55)) == pytest.approx(2.0, rel=0.02)


def test_delay_and_level_of_a_response_change_nothing() -> None:
    rir = diffuse(0.5, 1.0)
    moved = 0.01 * np.concatenate([np.zeros(1234), rir])
    for parameter in PARAMETERS[:-1]:
        assert parameter(moved, SAMPLE_RATE) == pytest.approx(parameter(rir, SAMPLE_RATE), rel=1e-6)


def test_the_onset_is_20_db_below_the_peak() -> None:
    rir = np.concatenate([np.full(400, 0.099), [0.101], np.full(399, 1e-3), exponential(0.3, 0.6)])
    # The 400 samples in front are just too quiet; the one behind them is not, and is 25 ms before the peak.
    assert np.isnan(energy_decay_curve(rir, SAMPLE_RATE, truncation=None)[-400:]).all()
    assert not np.isnan(energy_decay_curve(rir, SAMPLE_RATE, truncation=None)[:-401]).any()


# --- Noise ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("rt", RT)
def test_noise_40_db_below_the_peak_costs_less_than_5_percent(rt: float, seed: int) -> None:
    rir = exponential(rt, rt + 0.5)
    rir += noise(len(rir), level=-40, seed=seed)
    assert reverberation_time(rir, SAMPLE_RATE, decay_range="T20") == pytest.approx(rt, rel=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)  # -35 dB are only 5 dB above the noise
        t30 = reverberation_time(rir, SAMPLE_RATE)
    assert np.isnan(t30) or t30 == pytest.approx(rt, rel=0.05)
    if rt >= 0.3:
        assert not np.isnan(t30)
        rate = 6 * np.log(10) / rt
        assert clarity(rir, SAMPLE_RATE) == pytest.approx(10 * np.log10(np.expm1(rate * 0.05)), abs=0.2)


def test_a_fit_without_truncation_is_wrong_by_a_factor() -> None:
    from pyroomacoustics.experimental import measure_rt60

    rir = exponential(0.5, 1.5)
    rir += noise(len(rir), level=-40, seed=1)
    assert measure_rt60(rir, SAMPLE_RATE, decay_db=30) > 3 * 0.5
    assert reverberation_time(rir, SAMPLE_RATE) == pytest.approx(0.5, rel=0.05)
    with pytest.warns(DecayRangeWarning):  # without truncation the noise counts as decay
        assert np.isnan(reverberation_time(rir, SAMPLE_RATE, truncation=None))


@pytest.mark.parametrize("rt", [0.2, 0.6, 2.0])
def test_noise_moves_the_parameters_of_a_diffuse_response_little(rt: float) -> None:
    clean = np.stack([diffuse(rt, rt + 0.5, seed) for seed in range(10)])
    noisy = clean + np.stack([noise(clean.shape[1], level=-45, seed=100 + seed) for seed in range(10)])
    for parameter in (reverberation_time, early_decay_time, centre_time):
        assert np.allclose(parameter(noisy, SAMPLE_RATE) / parameter(clean, SAMPLE_RATE), 1, atol=0.05)
    assert np.allclose(clarity(noisy, SAMPLE_RATE), clarity(clean, SAMPLE_RATE), atol=0.3)
    assert np.allclose(definition(noisy, SAMPLE_RATE), definition(clean, SAMPLE_RATE), atol=0.01)


@pytest.mark.parametrize("level", [-20, -30, -40, -50, -70])
@pytest.mark.parametrize(("rt", "gain", "early"), [(0.3, 0.02, 0.3), (0.5, 0.1, 0.0), (1.0, 0.05, 0.0)])
def test_strong_direct_sound_in_noise_never_gives_a_wrong_number(
    rt: float, gain: float, early: float, level: float
) -> None:
    # Without care the fall behind the direct sound passes for the room's decay, and T20 comes out far too short.
    clean = []
    for seed in range(12):
        rir = gain * diffuse(rt, rt + 1, seed)
        rir[:80] = 0
        clean.append(rir + early * diffuse(0.02, rt + 1, 50 + seed))
        clean[-1][0] = 1
    noisy = [rir + noise(len(rir), level=level, seed=100 + i) for i, rir in enumerate(clean)]
    expected = reverberation_time(clean, SAMPLE_RATE, decay_range="T20", truncation=None)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        ratio = reverberation_time(noisy, SAMPLE_RATE, decay_range="T20") / expected
        difference = clarity(noisy, SAMPLE_RATE) - clarity(clean, SAMPLE_RATE, truncation=None)
    assert np.all(np.isnan(ratio) | (np.abs(ratio - 1) < 0.1))
    assert np.all(np.isnan(difference) | (np.abs(difference) < 1))
    assert np.isnan(ratio).all() or level < -30
    assert not np.isnan(ratio).any() or level > -70


def test_the_decay_curve_ends_where_the_decay_meets_the_noise() -> None:
    rir = exponential(0.5, 1.5)
    curve = energy_decay_curve(rir + noise(len(rir), level=-50, seed=1), SAMPLE_RATE)
    end = np.flatnonzero(np.isnan(curve))[0] / SAMPLE_RATE
    assert end == pytest.approx(0.5 * 50 / 60, rel=0.1)
    assert np.allclose(curve[:5000], -60 * np.arange(5000) / SAMPLE_RATE / 0.5, atol=0.2)


# --- NaN for hidden or cut-off decays -------------------------------------------------------------------------------


def test_noise_alone_has_no_parameters() -> None:
    rirs = np.random.default_rng(0).standard_normal((5, SAMPLE_RATE))
    for parameter in PARAMETERS:
        with pytest.warns(DecayRangeWarning, match=parameter.__name__) as record:
            assert np.isnan(parameter(rirs, SAMPLE_RATE)).all()
        assert len(record) == 1


def test_a_warning_names_responses_and_bands_that_lack_the_range() -> None:
    rirs = [exponential(0.5, 1.0), exponential(0.5, 0.2), exponential(0.5, 1.0), exponential(0.5, 0.25)]
    with pytest.warns(DecayRangeWarning, match="NaN in rows 1, 3, where the decay from -5 to -35 dB is") as record:
        measured = reverberation_time(rirs, SAMPLE_RATE)
    assert len(record) == 1
    assert record[0].filename == __file__
    assert np.array_equal(np.isnan(measured), [False, True, False, True])
    low = np.cos(2 * np.pi * 500 * np.arange(16000) / SAMPLE_RATE) * exponential(0.3, 1.0)
    with pytest.warns(DecayRangeWarning, match=r"row 0 \(4000 Hz\)"):
        measured = reverberation_time(low + noise(16000, level=-60, seed=1), SAMPLE_RATE, bands=[500, 4000])
    assert np.array_equal(np.isnan(measured), [False, True])


@pytest.mark.parametrize("truncation", ["lundeby", None])
@pytest.mark.parametrize("fallen", [20, 30, 40, 45, 50])
def test_a_response_cut_off_early_never_gives_the_time_of_the_cut(fallen: float, truncation: str | None) -> None:
    cut = [diffuse(2.0, 2.0 * fallen / 60, seed) for seed in range(10)]
    whole = [np.concatenate([rir, diffuse(2.0, 3.0, 9) * 10 ** (-fallen / 20)]) for rir in cut]
    expected = reverberation_time(whole, SAMPLE_RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        measured = reverberation_time(cut, SAMPLE_RATE, truncation=truncation)
        padded = reverberation_time([np.pad(rir, (0, 8000)) for rir in cut], SAMPLE_RATE, truncation=truncation)
    assert np.array_equal(measured, padded, equal_nan=True)
    if fallen < 35:
        assert np.isnan(measured).all()
    elif fallen == 50:
        assert not np.isnan(measured).any()
    assert np.all(np.isnan(measured) | (np.abs(measured / expected - 1) < 0.02))


def test_a_response_without_late_energy_has_no_clarity() -> None:
    rir = np.concatenate([diffuse(0.05, 0.045), np.zeros(800)])
    with pytest.warns(DecayRangeWarning, match=r"the energy after 0\.05 s is cut off by the end of the response"):
        assert np.isnan(clarity(rir, SAMPLE_RATE, truncation=None))
    with pytest.warns(DecayRangeWarning, match=r"the energy after 0\.05 s is cut off by the end of the response"):
        assert np.isnan(direct_to_reverberant_ratio(rir, SAMPLE_RATE, direct_window=0.05, truncation=None))
    assert definition(rir, SAMPLE_RATE, truncation=None) == pytest.approx(1, abs=0.001)


# --- Octave bands ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("centre", "rt"), [(125, 0.04), (125, 0.5), (250, 0.03), (250, 0.1), (1000, 0.1), (4000, 2)])
def test_octave_bands_keep_the_decay_of_a_tone_however_short(centre: float, rt: float) -> None:
    tone = np.cos(2 * np.pi * centre * np.arange(round(1.4 * rt * SAMPLE_RATE)) / SAMPLE_RATE)
    measured = reverberation_time(tone * exponential(rt, 1.4 * rt), SAMPLE_RATE, bands=[centre], truncation=None)
    assert measured == pytest.approx(rt, rel=0.02)  # a filter run forwards rings for 0.06 s at 125 Hz


def test_each_octave_band_has_its_own_reverberation_time() -> None:
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    reverberation = {250: 1.2, 1000: 0.6, 4000: 0.3}
    rir = sum(np.cos(2 * np.pi * f * times) * 10 ** (-3 * times / rt) for f, rt in reverberation.items())
    assert np.allclose(
        reverberation_time(rir, SAMPLE_RATE, bands=list(reverberation), decay_range="T20"),
        list(reverberation.values()),
        rtol=0.05,
    )
    curves = energy_decay_curve([rir, rir], SAMPLE_RATE, bands=list(reverberation))
    assert curves.shape == (2, 3, len(times))
    assert np.allclose(curves[:, :, 0], 0)


def test_the_mid_frequency_time_is_the_mean_of_500_hz_and_1_khz() -> None:
    times = np.arange(2 * SAMPLE_RATE) / SAMPLE_RATE
    reverberation = {63: 1.5, 500: 0.8, 1000: 0.4, 4000: 1.2}
    rir = sum(np.cos(2 * np.pi * f * times) * 10 ** (-3 * times / rt) for f, rt in reverberation.items())
    # Of the tones alone at 500 Hz and 1 kHz, an octave filter lets a little into its neighbour: hence T20 and 5 %.
    assert mid_frequency_reverberation_time(rir, SAMPLE_RATE, decay_range="T20") == pytest.approx(0.6, rel=0.05)
    assert mid_frequency_reverberation_time([rir, rir], SAMPLE_RATE, decay_range="T20").shape == (2,)


@pytest.mark.parametrize("centre", [250, 1000])
def test_filters_do_not_move_energy_across_the_limit_of_clarity(centre: float) -> None:
    # Two bursts, 47 and 53 ms after the direct sound: what the filter smears must stay on its own side of 50 ms.
    rir = np.zeros(SAMPLE_RATE)
    rir[[0, 752, 848]] = 1.0, 0.5, 0.5
    rir += 1e-4 * diffuse(0.2, 1.0)
    measured = clarity(rir, SAMPLE_RATE, bands=[centre], truncation=None)
    assert measured == pytest.approx(10 * np.log10(1.25 / 0.25), abs=0.2)


# --- Shapes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", PARAMETERS)
def test_one_response_a_batch_and_a_list_give_the_same_values(parameter) -> None:
    rirs = np.stack([diffuse(0.4, 0.8, seed) for seed in range(3)]).astype(np.float32)
    single = parameter(rirs[1], SAMPLE_RATE)
    assert single.dtype == np.float64
    batch = parameter(rirs, SAMPLE_RATE)
    assert batch.shape == (3, *single.shape)
    assert np.array_equal(batch[1], single, equal_nan=True)
    assert np.array_equal(parameter(list(rirs), SAMPLE_RATE), batch, equal_nan=True)
    assert np.array_equal(parameter(rirs[1].tolist(), SAMPLE_RATE), single, equal_nan=True)
    in_bands = parameter(rirs, SAMPLE_RATE, bands=[500, 1000])
    assert in_bands.shape == (3, 2, *single.shape)
    assert parameter(rirs[0], SAMPLE_RATE, bands=(500, 1000)).shape == (2, *single.shape)


def test_responses_of_different_lengths_pass_as_a_list() -> None:
    rirs = [diffuse(0.2, 0.5), diffuse(0.6, 1.3)]
    assert reverberation_time(rirs, SAMPLE_RATE) == pytest.approx([reverberation_time(r, SAMPLE_RATE) for r in rirs])
    curves = energy_decay_curve(rirs, SAMPLE_RATE)
    assert curves.shape == (2, len(rirs[1]))
    assert np.isnan(curves[0, len(rirs[0]) :]).all()


# --- Curves integrated once -----------------------------------------------------------------------------------------


@pytest.fixture
def integrated(monkeypatch: pytest.MonkeyPatch) -> list[weakref.ref]:
    """Watch every integration: a weak reference to each curve."""
    curves, integrate = [], _parameters.integrate

    def watched(*args):
        decay = integrate(*args)
        curves.append(weakref.ref(decay.energy))
        return decay

    monkeypatch.setattr(_parameters, "integrate", watched)
    return curves


def test_c80_beside_d50_in_bands_costs_one_integration(integrated: list) -> None:
    rirs = [diffuse(0.5, 1.0), diffuse(0.8, 1.2, 1)]
    curves = decay_curves(rirs, SAMPLE_RATE, bands=[500, 1000, 2000])
    c80, d50 = curves.clarity(0.08), curves.definition(0.05)
    c50, t20, drr = curves.clarity(), curves.reverberation_time("T20"), curves.direct_to_reverberant_ratio()
    assert len(integrated) == 2 * 3
    options = {"bands": [500, 1000, 2000]}
    assert np.array_equal(c80, clarity(rirs, SAMPLE_RATE, limit=0.08, **options))
    assert np.array_equal(d50, definition(rirs, SAMPLE_RATE, **options))
    assert np.array_equal(c50, clarity(rirs, SAMPLE_RATE, **options))
    assert np.array_equal(t20, reverberation_time(rirs, SAMPLE_RATE, decay_range="T20", **options))
    assert np.array_equal(drr, direct_to_reverberant_ratio(rirs, SAMPLE_RATE, **options))


@pytest.mark.parametrize("truncation", ["lundeby", None])
@pytest.mark.parametrize("bands", [None, (500, 2000)])
@pytest.mark.parametrize("shape", ["single", "batch", "list"])
def test_methods_of_curves_agree_with_the_functions_of_their_names(shape: str, bands, truncation: str | None) -> None:
    batch = np.stack([diffuse(0.4, 0.8, seed) for seed in range(3)])
    rirs = {"single": batch[0], "batch": batch, "list": [batch[0], batch[1][:9000]]}[shape]
    options = {"bands": bands, "truncation": truncation}
    curves = decay_curves(rirs, SAMPLE_RATE, **options)
    for parameter in PARAMETERS[:-1]:
        values = getattr(curves, parameter.__name__)()
        assert np.array_equal(values, parameter(rirs, SAMPLE_RATE, **options))
    assert np.array_equal(curves.levels(), energy_decay_curve(rirs, SAMPLE_RATE, **options), equal_nan=True)


def test_curves_do_not_follow_later_changes_of_the_response() -> None:
    rir = diffuse(0.4, 0.8)
    curves = decay_curves(rir, SAMPLE_RATE, bands=[1000])
    before = clarity(rir, SAMPLE_RATE, bands=[1000], limit=0.08)
    rir[:] = 0
    assert curves.clarity(0.08) == before


def test_the_functions_keep_no_curves(integrated: list, monkeypatch: pytest.MonkeyPatch) -> None:
    n_alive, watched = [], _parameters.integrate

    def counting(*args):
        n_alive.append(sum(curve() is not None for curve in integrated))
        return watched(*args)

    monkeypatch.setattr(_parameters, "integrate", counting)
    rirs = np.stack([diffuse(0.3, 0.5, seed) for seed in range(8)])
    room_parameters(rirs, SAMPLE_RATE)
    reverberation_time(rirs, SAMPLE_RATE, bands=[500, 1000])
    energy_decay_curve(rirs, SAMPLE_RATE)
    assert len(n_alive) == 8 + 16 + 8
    assert max(n_alive) == 1  # the one before


def test_a_method_of_curves_warns_once_in_their_name() -> None:
    curves = decay_curves(np.random.default_rng(0).standard_normal((5, SAMPLE_RATE)), SAMPLE_RATE)
    for name in ("reverberation_time", "clarity", "centre_time"):
        with pytest.warns(
            DecayRangeWarning, match=rf"^DecayCurves: {name} is NaN in rows 0, 1, 2, 3, 4, where"
        ) as record:
            assert np.isnan(getattr(curves, name)()).all()
        assert len(record) == 1
        assert record[0].filename == __file__
    with pytest.warns(DecayRangeWarning, match=r"^DecayCurves: the decay curve is NaN in rows 0, 1"):
        assert np.isnan(curves.levels()).all()


def test_invalid_arguments_of_curves_are_refused_by_name() -> None:
    with pytest.raises(TypeError, match=r"^decay_curves: sample_rate"):
        decay_curves(exponential(0.3, 0.5), "16 kHz")
    curves = decay_curves(exponential(0.3, 0.5), SAMPLE_RATE)
    with pytest.raises(ValueError, match=r"^DecayCurves: limit must be shorter .*got 0\.6 s, and row 0 no longer"):
        curves.clarity(0.6)
    with pytest.raises(ValueError, match=r"^DecayCurves: decay_range must be one of"):
        curves.reverberation_time("T45")


def test_clarity_and_definition_have_separate_limits() -> None:
    rir = diffuse(0.5, 1.0)
    found = room_parameters(rir, SAMPLE_RATE, limit=0.08)
    assert found["clarity"] == clarity(rir, SAMPLE_RATE, limit=0.08)
    assert found["definition"] == definition(rir, SAMPLE_RATE)
    found = room_parameters(rir, SAMPLE_RATE, definition_limit=0.08)
    assert found["clarity"] == clarity(rir, SAMPLE_RATE)
    assert found["definition"] == definition(rir, SAMPLE_RATE, limit=0.08)
    with pytest.raises(ValueError, match=r"^room_parameters: definition_limit .*above 0, got 0"):
        room_parameters(rir, SAMPLE_RATE, definition_limit=0)


def test_each_missing_parameter_warns_once_at_the_callers_line() -> None:
    noisy = np.random.default_rng(0).standard_normal((2, SAMPLE_RATE))
    with pytest.warns(DecayRangeWarning) as record:
        found = room_parameters(noisy, SAMPLE_RATE)
    names = [str(warning.message).removeprefix("room_parameters: ").partition(" is NaN")[0] for warning in record]
    assert names == list(found)
    assert {warning.filename for warning in record} == {__file__}


# --- Labels of rooms ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truncation", ["lundeby", None])
def test_room_labels_agree_with_the_parameters(truncation: str | None) -> None:
    rirs = [diffuse(0.5, 1.0) + noise(16000, level=-70, seed=1), diffuse(0.8, 1.2, 1) + noise(19200, level=-70, seed=1)]
    labels = room_labels(rirs, SAMPLE_RATE, decay_ranges=("T20",), truncation=truncation)
    options = {"truncation": truncation}
    assert list(labels) == ["rt60", "rt60_range", "rt60_mid", "edt", "c50", "d50", "drr"]
    assert np.array_equal(labels["rt60"], reverberation_time(rirs, SAMPLE_RATE, decay_range="T20", **options))
    mid = mid_frequency_reverberation_time(rirs, SAMPLE_RATE, decay_range="T20", **options)
    assert np.array_equal(labels["rt60_mid"], mid)
    assert np.array_equal(labels["edt"], early_decay_time(rirs, SAMPLE_RATE, **options))
    assert np.array_equal(labels["c50"], clarity(rirs, SAMPLE_RATE, **options))
    assert np.array_equal(labels["d50"], definition(rirs, SAMPLE_RATE, **options))
    assert np.array_equal(labels["drr"], direct_to_reverberant_ratio(rirs, SAMPLE_RATE, **options))
    assert labels["rt60_range"].tolist() == ["T20", "T20"]


def test_labels_take_three_integrations_and_no_warning(integrated: list) -> None:
    clean, noisy = diffuse(0.5, 1.0), diffuse(0.5, 1.0) + noise(16000, level=-35, seed=1)
    hiss = np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    labels = room_labels([clean, noisy, hiss], SAMPLE_RATE, decay_ranges=("T60", "T30", "T20"))
    assert len(integrated) == 3 * 3
    assert labels["rt60_range"].tolist()[1] == "T20"
    assert labels.isna().all(axis=1).tolist() == [False, False, True]
    for invalid in ("T30", (), 30, None):
        with pytest.raises(TypeError, match=r"^room_labels: decay_ranges must be a sequence such as"):
            room_labels(clean, SAMPLE_RATE, decay_ranges=invalid)


# --- Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameter", PARAMETERS)
@pytest.mark.parametrize(
    ("rirs", "error", "message"),
    [
        (np.array([1.0, np.nan, 0.5]), ValueError, "rirs must be finite, got NaN or infinity in row 0"),
        (np.array([[1.0, 0.5], [np.inf, 0.1]]), ValueError, "finite, got NaN or infinity in row 1"),
        ([np.ones(99), np.zeros(99)], ValueError, "rirs must not be silent, got nothing but zeros in row 1"),
        ([np.ones(99), np.ones(0)], ValueError, "samples in every waveform, got row 1 without any"),
        ([], ValueError, "at least one waveform, got none"),
        (np.ones((2, 3, 4)), ValueError, "2-D array"),
        (np.float64(1.0), ValueError, "2-D array"),
        (np.ones((16000, 2)), ValueError, r"time on the last axis.*Pass rirs.T"),
        ((1000 * exponential(0.3, 0.5)).astype(np.int16), TypeError, r"dtype int16\. Divide integer PCM"),
        (exponential(0.3, 0.5).astype(complex), ValueError, "real samples, got dtype complex128"),
    ],
)
def test_invalid_responses_are_refused(parameter, rirs, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"{parameter.__name__}: .*{message}"):
        parameter(rirs, SAMPLE_RATE)


@pytest.mark.parametrize("parameter", PARAMETERS)
@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"sample_rate": 0}, ValueError, "sample_rate .*above 0, got 0"),
        ({"sample_rate": "16 kHz"}, TypeError, "sample_rate"),
        ({"truncation": "chu"}, ValueError, "truncation must be one of"),
        ({"bands": [8000]}, ValueError, r"below the Nyquist frequency with their upper edge \(8000 Hz\), got 8000 Hz"),
        ({"bands": [500, 6000]}, ValueError, "got 6000 Hz, which reaches up to 8485 Hz"),
        ({"bands": [-500]}, ValueError, "bands .*above 0, got -500"),
        ({"bands": 500}, ValueError, "sequence of centre frequencies, got 500"),
        ({"bands": []}, ValueError, "sequence of centre frequencies, got a list of 0 items"),
        ({"bands": ["500 Hz"]}, TypeError, "bands .*must be a number"),
    ],
)
def test_invalid_arguments_are_refused(parameter, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"{parameter.__name__}: .*{message}"):
        parameter(exponential(0.3, 0.5), **{"sample_rate": SAMPLE_RATE, **arguments})


@pytest.mark.parametrize("decay_range", ["T45", (-35, -5), (5, -20), (-5,), -30, (-5, float("nan")), ("-5", "-35")])
def test_invalid_evaluation_ranges_are_refused(decay_range) -> None:
    with pytest.raises(ValueError, match="reverberation_time: decay_range must be one of"):
        reverberation_time(exponential(0.3, 0.5), SAMPLE_RATE, decay_range=decay_range)


def test_a_limit_behind_the_end_of_a_response_is_refused() -> None:
    rirs = [exponential(0.3, 0.5), exponential(0.3, 0.06)]
    with pytest.raises(ValueError, match=r"clarity: limit .*got 0\.08 s, and row 1 no longer than that"):
        clarity(rirs, SAMPLE_RATE, limit=0.08)
    with pytest.raises(ValueError, match=r"definition: limit .*above 0, got -1"):
        definition(rirs, SAMPLE_RATE, limit=-1)
    with pytest.raises(ValueError, match=r"direct_to_reverberant_ratio: direct_window .*got 0\.1 s"):
        direct_to_reverberant_ratio(rirs, SAMPLE_RATE, direct_window=0.1)


@pytest.mark.parametrize("bands", [None, [500.0, 1000.0]])
def test_all_parameters_at_once_agree_with_the_single_functions(bands) -> None:
    rirs = np.random.default_rng(0).standard_normal((3, 16_000)) * 10 ** (-3 * np.arange(16_000) / 5_000)
    rirs += 1e-4 * np.random.default_rng(1).standard_normal(rirs.shape)
    found = acoustics.room_parameters(rirs, SAMPLE_RATE, decay_range="T20", bands=bands)
    assert len(found) == 6
    for name, values in found.items():
        more = {"decay_range": "T20"} if name == "reverberation_time" else {}
        assert np.array_equal(values, getattr(acoustics, name)(rirs, SAMPLE_RATE, bands=bands, **more))


def test_all_parameters_at_once_warn_for_each_missing_one() -> None:
    noisy = np.random.default_rng(0).standard_normal(16_000) * 10 ** (-3 * np.arange(16_000) / 8_000)
    noisy += 0.02 * np.random.default_rng(1).standard_normal(16_000)
    with pytest.warns(
        DecayRangeWarning,
        match="room_parameters: reverberation_time is NaN in row 0, where the decay from -5 to -35 dB",
    ):
        found = acoustics.room_parameters(noisy, SAMPLE_RATE)
    assert np.isnan(found["reverberation_time"])
    assert np.isfinite(found["early_decay_time"])


def test_a_response_too_short_for_a_band_gives_nan_and_a_warning() -> None:
    decay = 10 ** (-3 * np.arange(1_600) / SAMPLE_RATE)  # RT 1 s, of which 0.1 s are there: 6 cycles at 63 Hz
    rirs = np.random.default_rng(1).standard_normal((40, 1_600)) * decay
    with pytest.warns(DecayRangeWarning):
        found = reverberation_time(rirs, SAMPLE_RATE, bands=[63])
    assert np.isnan(found).mean() > 0.5
