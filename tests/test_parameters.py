"""Parameters by their short names, as dicts and frames."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from toys import RATE, diffuse, exponential, noise

from roomacoustic_sk import acoustics
from roomacoustic_sk.acoustics import DecayRangeWarning, ThirdOctaves, decay_curves, evaluate, room_parameters

DEFAULT = ["EDT", "T20", "T30", "C50", "C80", "D50", "Ts"]


@pytest.mark.parametrize("truncation", ["lundeby", None])
@pytest.mark.parametrize("rt", [0.3, 1.0, 3.0])
def test_an_exponential_decay_has_its_analytic_parameters_by_name(rt: float, truncation: str | None) -> None:
    rate = 6 * np.log(10) / rt  # of the energy, in 1/s
    names = ["EDT", "T10", "T15", "T20", "T30", "T40", "T60", "C7", "C50", "C80", "D50", "D80", "Ts"]
    found = evaluate(exponential(rt, 1.4 * rt), RATE, names, truncation=truncation)
    assert list(found) == names
    for name in ("EDT", "T10", "T15", "T20", "T30", "T40", "T60"):
        assert found[name] == pytest.approx(rt, rel=0.01)
    for name, limit in (("C7", 0.007), ("C50", 0.05), ("C80", 0.08)):
        assert found[name] == pytest.approx(10 * np.log10(np.expm1(rate * limit)), abs=0.1)
    for name, limit in (("D50", 0.05), ("D80", 0.08)):
        assert found[name] == pytest.approx(-np.expm1(-rate * limit), abs=0.002)
    assert found["Ts"] == pytest.approx(1 / rate, rel=0.01)


@pytest.mark.parametrize("bands", [None, "octave", [500, 2000], ThirdOctaves(500, 1000)])
def test_short_names_give_what_the_functions_give(bands) -> None:
    rirs = [diffuse(0.5, 1.0), diffuse(0.8, 1.3, 1)]
    found = evaluate(rirs, RATE, [*DEFAULT, "DRR"], bands=bands)
    options = {"bands": bands}
    expected = {
        "EDT": acoustics.early_decay_time(rirs, RATE, **options),
        "T20": acoustics.reverberation_time(rirs, RATE, decay_range="T20", **options),
        "T30": acoustics.reverberation_time(rirs, RATE, decay_range="T30", **options),
        "C50": acoustics.clarity(rirs, RATE, **options),
        "C80": acoustics.clarity(rirs, RATE, limit=0.08, **options),
        "D50": acoustics.definition(rirs, RATE, **options),
        "Ts": acoustics.centre_time(rirs, RATE, **options),
        "DRR": acoustics.direct_to_reverberant_ratio(rirs, RATE, **options),
    }
    assert list(found) == list(expected)
    for name, values in expected.items():
        assert np.array_equal(found[name], values)
    curves = decay_curves(rirs, RATE, **options).evaluate([*DEFAULT, "DRR"])
    assert all(np.array_equal(curves[name], values) for name, values in expected.items())


def test_the_default_is_what_iso_3382_asks_of_one_response() -> None:
    assert list(evaluate(diffuse(0.5, 1.0), RATE)) == DEFAULT
    assert list(evaluate(diffuse(0.5, 1.0), RATE, ["T30", "C80", "T30"])) == ["T30", "C80"]


def test_names_agree_with_pyrato_and_pyroomacoustics() -> None:
    import pyfar
    from pyrato import edc, parameters
    from pyroomacoustics.experimental import measure_rt60

    rir = diffuse(0.7, 1.2, seed=4)
    found = evaluate(rir, RATE, ["EDT", "T20", "T30", "C80", "D50", "Ts"], truncation=None)
    for name, decay_db in (("T20", 20), ("T30", 30)):
        assert found[name] == pytest.approx(measure_rt60(rir, RATE, decay_db=decay_db), rel=0.005)
    energy = edc.schroeder_integration(pyfar.Signal(rir, RATE))
    curve = pyfar.TimeData(energy.time / energy.time[0, 0], energy.times)
    for name in ("EDT", "T20", "T30"):
        expected = parameters.reverberation_time_linear_regression(curve, name).item()
        assert found[name] == pytest.approx(expected, rel=0.01)
    assert found["C80"] == pytest.approx(parameters.clarity(curve, early_time_limit=80).item(), abs=0.02)
    assert found["D50"] == pytest.approx(parameters.definition(curve, early_time_limit=50).item(), abs=0.002)
    times = np.arange(len(rir)) / RATE
    assert found["Ts"] == pytest.approx((times * rir**2).sum() / (rir**2).sum(), rel=1e-6)  # Eq. A.13


# --- Frames ---------------------------------------------------------------------------------------------------------


def test_a_frame_has_a_row_for_each_response() -> None:
    rirs = np.stack([diffuse(0.5, 1.0), diffuse(0.8, 1.0, 1), diffuse(0.3, 1.0, 2)])
    frame = evaluate(rirs, RATE, ["T20", "C80"], output="pandas")
    found = evaluate(rirs, RATE, ["T20", "C80"])
    assert list(frame.columns) == ["T20", "C80"]
    assert frame.index.equals(pd.RangeIndex(3, name="response"))
    assert np.array_equal(frame.to_numpy(), np.stack(list(found.values()), axis=1))
    assert len(evaluate(rirs[0], RATE, ["T20"], output="pandas")) == 1


def test_a_frame_in_bands_has_a_row_for_each_response_and_band() -> None:
    rirs = [diffuse(0.5, 1.0), diffuse(0.8, 1.3, 1)]
    frame = evaluate(rirs, RATE, ["EDT", "D50"], bands=[500, 1000, 2000], output="pandas")
    found = evaluate(rirs, RATE, ["EDT", "D50"], bands=[500, 1000, 2000])
    assert frame.index.names == ["response", "band"]
    assert frame.loc[(1, 2000), "D50"] == found["D50"][1, 2]
    assert np.array_equal(frame["EDT"].unstack("band").to_numpy(), found["EDT"])
    single = evaluate(rirs[0], RATE, ["EDT"], bands="third-octave", output="pandas")
    assert single.index.get_level_values("band").tolist()[8] == 630


@pytest.mark.parametrize("bands", [None, [500, 1000]])
def test_all_parameters_at_once_may_be_a_frame(bands) -> None:
    rirs = np.stack([diffuse(0.5, 1.0), diffuse(0.8, 1.0, 1)])
    found = room_parameters(rirs, RATE, bands=bands, diagnostics=True)
    frame = room_parameters(rirs, RATE, bands=bands, diagnostics=True, output="pandas")
    assert list(frame.columns) == list(found)
    for name, values in found.items():
        assert frame[name].tolist() == pytest.approx(values.ravel().tolist(), nan_ok=True) or name == "reason"


def test_diagnostics_are_those_of_the_deepest_range() -> None:
    times = np.arange(2 * RATE) / RATE
    bent = np.sqrt(10 ** (-6 * times / 0.4) + 1e-3 * 10 ** (-6 * times / 1.5))
    found = {}
    for names in (["T20", "T40"], ["C80", "T40", "T20"], ["C80"], ["T30"]):
        found[tuple(names)] = evaluate(bent, RATE, names, truncation=None, diagnostics=True)["nonlinearity"]
    assert found["T30",] < found["T20", "T40"] == found["C80", "T40", "T20"]
    assert found["C80",] == found["T30",]
    expected = room_parameters(bent, RATE, truncation=None, diagnostics=True)
    added = evaluate(bent, RATE, ["T30"], truncation=None, diagnostics=True)
    assert list(added)[1:] == list(expected)[6:]
    for name in list(added)[1:]:
        assert added[name] == expected[name] or (np.isnan(added[name]) and np.isnan(expected[name]))


def test_each_missing_parameter_is_named_in_a_warning() -> None:
    rir = exponential(0.5, 1.5) + noise(3 * RATE // 2, level=-30, seed=1)
    with pytest.warns(DecayRangeWarning) as record:
        found = evaluate(rir, RATE, ["EDT", "T20", "T60"])
    messages = [str(warning.message) for warning in record]
    lacking = [name for name, value in found.items() if np.isnan(value)]
    assert "T60" in lacking
    assert "EDT" not in lacking
    assert [message.split(" is NaN in row 0")[0] for message in messages] == [f"evaluate: {name}" for name in lacking]
    assert {warning.filename for warning in record} == {__file__}


# --- Bad input ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["RT60", "T5", "T61", "T030", "t30", "C", "C0", "C080", "C5001", "D50 ", "TS", "U50", 30, None, ""]
)
def test_unknown_names_are_refused_with_the_known_ones(name: object) -> None:
    with pytest.raises(ValueError, match=r"^evaluate: parameters must be among 'EDT', 'T20', .* 'Ts' and 'DRR', got"):
        evaluate(exponential(0.5, 1.0), RATE, ["T30", name])


def test_other_arguments_are_refused_by_name() -> None:
    rir = exponential(0.5, 1.0)
    with pytest.raises(TypeError, match=r"^evaluate: parameters must be a sequence of names such as .*got 'T30'"):
        evaluate(rir, RATE, "T30")
    with pytest.raises(ValueError, match=r"^evaluate: parameters must have at least one of .*got none"):
        evaluate(rir, RATE, [])
    with pytest.raises(ValueError, match=r"^evaluate: output must be one of \['dict', 'pandas'\], got 'polars'"):
        evaluate(rir, RATE, output="polars")
    with pytest.raises(ValueError, match=r"^room_parameters: output must be one of"):
        room_parameters(rir, RATE, output="frame")
    with pytest.raises(TypeError, match=r"^evaluate: diagnostics must be True or False"):
        evaluate(rir, RATE, diagnostics="yes")
    with pytest.raises(ValueError, match=r"^evaluate: the limit of C2000 in parameters must be shorter .*, got 2 s"):
        evaluate(rir, RATE, ["T30", "C2000"])
    with pytest.raises(ValueError, match=r"^DecayCurves: parameters must be among"):
        decay_curves(rir, RATE).evaluate(["G"])
