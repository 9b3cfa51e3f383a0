"""Octave and third-octave bands: their frequencies, their filters, and what short decays in narrow bands become."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from scipy.signal import sosfreqz
from toys import RATE, diffuse, exponential, noise

from roomacoustic_sk._decay import Band, octave_band, third_octave_band
from roomacoustic_sk._ranges import DECADE, THIRD_OCTAVES
from roomacoustic_sk.acoustics import (
    DecayRangeWarning,
    ThirdOctaves,
    decay_curves,
    energy_decay_curve,
    evaluate,
    reverberation_time,
    room_parameters,
)

THIRDS = (100, 125, 160, 200, 250, 315, 400, 500, 630, 800, 1000, 1250, 1600, 2000, 2500, 3150, 4000, 5000)
OCTAVES = (125, 250, 500, 1000, 2000, 4000)

# --- Frequencies ----------------------------------------------------------------------------------------------------


def test_third_octave_bands_have_the_frequencies_of_pyfar() -> None:
    from pyfar import constants

    nominal = constants.fractional_octave_frequencies_nominal(3, (25, 20_000))
    exact, lower, upper = constants.fractional_octave_frequencies_exact(3, (25, 20_000))
    bands = [third_octave_band(centre, 48_000) for centre in ThirdOctaves(25, 20_000).centres]
    assert [band.nominal for band in bands] == nominal.tolist()
    assert [band.centre for band in bands] == pytest.approx(exact, rel=1e-12)
    assert [band.width for band in bands] == pytest.approx(upper - lower, rel=1e-12)


def test_nominal_frequencies_are_within_rounding_of_exact_ones() -> None:
    exact = 10 ** (np.arange(10, 10 + len(THIRD_OCTAVES)) / 10)
    assert np.abs(np.array(THIRD_OCTAVES) / exact - 1).max() < 0.016  # IEC 61260: three figures at most
    assert len(DECADE) == 10


def test_bands_by_name_are_those_of_iso_3382() -> None:
    rir = diffuse(0.5, 1.0)
    assert decay_curves(rir, RATE).bands is None
    assert decay_curves(rir, RATE, bands="octave").bands.tolist() == list(OCTAVES)
    assert decay_curves(rir, RATE, bands="third-octave").bands.tolist() == list(THIRDS)
    assert decay_curves(rir, RATE, bands=ThirdOctaves(400, 1000)).bands.tolist() == [400, 500, 630, 800, 1000]
    by_list = energy_decay_curve(rir, RATE, bands=OCTAVES)
    assert np.array_equal(energy_decay_curve(rir, RATE, bands="octave"), by_list, equal_nan=True)
    by_range = energy_decay_curve(rir, RATE, bands=ThirdOctaves())
    assert np.array_equal(energy_decay_curve(rir, RATE, bands="third-octave"), by_range, equal_nan=True)


def test_bands_by_name_end_below_the_nyquist_frequency() -> None:
    rir = exponential(0.5, 1.0, 8_000)
    assert decay_curves(rir, 8_000, bands="octave").bands.tolist() == [125, 250, 500, 1000, 2000]
    assert decay_curves(rir, 8_000, bands="third-octave").bands[-1] == 3150
    with pytest.raises(ValueError, match=r"below the Nyquist frequency .*\(4000 Hz\), got 4000 Hz, .* up to 4467 Hz"):
        decay_curves(rir, 8_000, bands=ThirdOctaves(1000, 4000))


@pytest.mark.parametrize(
    ("bands", "message"),
    [
        ("octaves", "bands must be None, 'octave', 'third-octave', ThirdOctaves"),
        (ThirdOctaves, "bands must be None, 'octave', 'third-octave', ThirdOctaves"),
    ],
)
def test_other_names_of_bands_are_refused(bands: object, message: str) -> None:
    with pytest.raises(ValueError, match=f"^evaluate: {message}"):
        evaluate(exponential(0.5, 1.0), RATE, bands=bands)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0.1, 5), ValueError, r"lowest \(in Hz\) must be a number of at least 10, got 0\.1"),
        ((100, np.inf), ValueError, r"highest \(in Hz\)"),
        (("100 Hz",), TypeError, "lowest .*must be a number"),
        ((1000, 500), ValueError, r"highest must leave a third-octave band above lowest \(1000 Hz\), got 500 Hz"),
    ],
)
def test_invalid_third_octaves_are_refused(arguments: tuple, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"^ThirdOctaves: {message}"):
        ThirdOctaves(*arguments)


# --- Filters --------------------------------------------------------------------------------------------------------

# Attenuation in dB that a filter of class 1 has at least, by distance from the mid-band in octave bandwidths (IEC
# 61260:1995, Table 1), and the most that it has within the band.
LEAST = {1: 17.5, 2: 42.0, 3: 61.0}
MOST = {1 / 8: 0.4, 1 / 4: 0.6, 3 / 8: 1.3}


def attenuation(band: Band, octaves: float, fraction: int, rate: int) -> np.ndarray:
    """Attenuation in dB below and above the mid-band, at a distance in octave bandwidths (IEC 61260-1, Eq. 9)."""
    octave = 10**0.3
    ratio = 1 + (octave ** (1 / (2 * fraction)) - 1) / (octave**0.5 - 1) * (octave**octaves - 1)
    _, response = sosfreqz(band.sos, [band.centre / ratio, band.centre * ratio], fs=rate)
    return -20 * np.log10(np.abs(response))


@pytest.mark.parametrize(("design", "fraction"), [(octave_band, 1), (third_octave_band, 3)])
@pytest.mark.parametrize("centre", [125, 500, 1000])
def test_filters_are_within_the_limits_of_class_1(design, fraction: int, centre: float) -> None:
    band = design(centre, 48_000)
    for octaves, least in LEAST.items():
        assert attenuation(band, octaves, fraction, 48_000).min() > least
    for octaves, most in MOST.items():
        found = attenuation(band, octaves, fraction, 48_000)
        assert -0.3 < found.min() <= found.max() < most


def test_third_octave_decays_agree_with_pyfar_and_pyrato() -> None:
    import pyfar
    from pyrato.parameters import reverberation_time_linear_regression

    rir, n_before = diffuse(0.6, 1.0, seed=3), 4_000
    backwards = pyfar.Signal(np.concatenate([np.zeros(n_before), rir])[::-1], RATE)
    filtered = pyfar.dsp.filter.fractional_octave_bands(backwards, 3, frequency_range=(100, 5000), order=3)
    measured = evaluate(rir, RATE, ["T20", "T30"], bands="third-octave", truncation=None)
    for i, row in enumerate(filtered.time[:, 0, ::-1] ** 2):
        power = row[n_before:]
        power[0] += row[:n_before].sum()  # what rings before the direct sound
        energy = np.cumsum(power[::-1])[::-1]
        curve = pyfar.TimeData(energy / energy[0], np.arange(len(rir)) / RATE)
        for name in ("T20", "T30"):
            expected = reverberation_time_linear_regression(curve, name).item()
            assert measured[name][i] == pytest.approx(expected, rel=1e-3)


# --- Ringing --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truncation", ["lundeby", None])
@pytest.mark.parametrize("centre", [100, 250, 1000, 3150])
def test_third_octaves_keep_the_decay_of_a_tone_or_call_it_ringing(centre: float, truncation: str | None) -> None:
    band = third_octave_band(centre, RATE)
    for product in (1.0, 2.5, 4.0, 8.0, 30.0):  # of bandwidth and reverberation time; a filter resolves 3.2
        rt = product / band.width
        tone = np.cos(2 * np.pi * band.centre * np.arange(round((1.4 * rt + 0.1) * RATE)) / RATE)
        options = {"bands": ThirdOctaves(centre, centre), "decay_range": "T20", "truncation": truncation}
        rir = tone * exponential(rt, 1.4 * rt + 0.1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DecayRangeWarning)
            found = room_parameters(rir, RATE, diagnostics=True, **options)
        time = found["reverberation_time"][0]
        if product < 3.2:
            assert np.isnan(time)
        else:
            assert np.isnan(time) or time == pytest.approx(rt, rel=0.02)
        if product > 5 and rt > 0.05:
            assert not np.isnan(time)
        if product == 2.5 and truncation is None:
            assert found["reason"][0] == "ringing of a filter, no reverberation"


def test_a_warning_names_third_octaves_by_their_nominal_frequencies() -> None:
    low = np.cos(2 * np.pi * 500 * np.arange(RATE) / RATE) * exponential(0.3, 1.0)
    with pytest.warns(DecayRangeWarning, match=r"row 0 \(3150, 4000 Hz\), where"):
        reverberation_time(low + noise(RATE, level=-60, seed=1), RATE, bands=ThirdOctaves(3150, 4000))


@pytest.mark.parametrize("bands", ["octave", "third-octave"])
def test_a_click_has_no_reverberation_in_any_band(bands: str) -> None:
    click = np.zeros(RATE)
    click[100] = 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        found = evaluate([click, click + noise(RATE, level=-80)], RATE, ["EDT", "T10", "T20", "T30"], bands=bands)
    assert all(np.isnan(values).all() for values in found.values())


def test_decays_that_a_narrow_band_does_not_resolve_are_nan_with_a_reason() -> None:
    rirs = [diffuse(0.03, 0.5, seed) + noise(RATE // 2, level=-90, seed=50 + seed) for seed in range(20)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        found = room_parameters(rirs, RATE, bands="third-octave", decay_range="T20", diagnostics=True)
    low = slice(0, THIRDS.index(200))  # bandwidth times reverberation time is 1.4 and less
    assert np.isnan(found["reverberation_time"][:, low]).all()
    assert np.isnan(found["early_decay_time"][:, low]).all()
    assert (found["reason"][:, low] != "").all()
    shortest = [3.18 / third_octave_band(centre, RATE).width for centre in THIRDS]
    assert not (found["reverberation_time"] < shortest).any()
    assert not np.isnan(found["reverberation_time"][:, THIRDS.index(2000) :]).all()


def test_third_octave_times_of_a_diffuse_decay_are_unbiased() -> None:
    rirs = [diffuse(0.5, 1.0, seed) + noise(RATE, level=-60, seed=100 + seed) for seed in range(30)]
    ratio = reverberation_time(rirs, RATE, decay_range="T20", bands=ThirdOctaves(500, 5000)) / 0.5
    assert np.median(ratio, axis=0) == pytest.approx(1, abs=0.06)
