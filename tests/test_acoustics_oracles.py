"""Room acoustic parameters against pyrato, pyroomacoustics and documented rooms."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
from toys import RATE as SAMPLE_RATE
from toys import noise

from roomacoustic_sk.acoustics import clarity, definition, direct_to_reverberant_ratio, reverberation_time

# --- Independent oracles --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def simulated() -> list[np.ndarray]:
    """Responses of two shoebox rooms, complete down to -60 dB, from their onset on."""
    import pyroomacoustics as pra

    pra.random.seed(0, 0)  # its rays and its noise: one draw in 25 is off pyrato's clarity by more than 0.1 dB
    rirs = []
    for absorption, size in ((0.3, [5, 6, 3]), (0.15, [7, 4, 3.5])):
        room = pra.ShoeBox(size, fs=SAMPLE_RATE, materials=pra.Material(absorption, 0.3), max_order=3, ray_tracing=True)
        room.set_ray_tracing(n_rays=3000)
        room.add_source([1, 1.2, 1.5])
        room.add_microphone([3.4, 2.7, 1.2])
        room.compute_rir()
        rir = np.asarray(room.rir[0][0])
        rirs.append(rir[np.argmax(np.abs(rir) >= 0.1 * np.abs(rir).max()) :])
    return rirs


def from_pyrato(rir: np.ndarray, *, noisy: bool) -> dict[str, float]:
    """T20, T30, C50 and D50 by pyrato, noise treated after Chu and Lundeby where there is any."""
    import pyfar
    import pyrato

    signal = pyfar.Signal(rir, SAMPLE_RATE)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its iteration does not always settle
        curve = (pyrato.edc.energy_decay_curve_chu_lundeby if noisy else pyrato.edc.schroeder_integration)(signal)
    curve = pyfar.TimeData(curve.time / curve.time[0, 0], curve.times)
    parameters = pyrato.parameters
    return {
        "T20": parameters.reverberation_time_linear_regression(curve, "T20").item(),
        "T30": parameters.reverberation_time_linear_regression(curve, "T30").item(),
        "C50": parameters.clarity(curve, early_time_limit=50).item(),
        "D50": parameters.definition(curve, early_time_limit=50).item(),
    }


def test_simulated_responses_agree_with_pyroomacoustics(simulated: list[np.ndarray]) -> None:
    from pyroomacoustics.experimental import measure_rt60

    for decay_range, decay_db in (("T20", 20), ("T30", 30)):
        measured = reverberation_time(simulated, SAMPLE_RATE, decay_range=decay_range, truncation=None)
        expected = [measure_rt60(rir, SAMPLE_RATE, decay_db=decay_db) for rir in simulated]
        assert np.allclose(measured, expected, rtol=0.005)


def test_simulated_responses_agree_with_pyrato(simulated: list[np.ndarray]) -> None:
    for rir in simulated:
        expected = from_pyrato(rir, noisy=False)
        for decay_range in ("T20", "T30"):
            measured = reverberation_time(rir, SAMPLE_RATE, decay_range=decay_range, truncation=None)
            assert measured == pytest.approx(expected[decay_range], rel=0.005)
        assert clarity(rir, SAMPLE_RATE, truncation=None) == pytest.approx(expected["C50"], abs=0.02)
        assert definition(rir, SAMPLE_RATE, truncation=None) == pytest.approx(expected["D50"], abs=0.002)


def test_noisy_simulated_responses_agree_with_pyrato(simulated: list[np.ndarray]) -> None:
    for rir in simulated:
        rir = np.concatenate([rir, np.zeros(SAMPLE_RATE // 2)])
        rir += noise(len(rir), level=20 * np.log10(np.abs(rir).max()) - 65, seed=1)
        expected = from_pyrato(rir, noisy=True)
        assert reverberation_time(rir, SAMPLE_RATE, decay_range="T20") == pytest.approx(expected["T20"], rel=0.03)
        assert clarity(rir, SAMPLE_RATE) == pytest.approx(expected["C50"], abs=0.1)


# --- Documented rooms -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def measured_rirs(shared_data: Path) -> dict[str, list[np.ndarray]]:
    """Measured responses, by set and (for R3VIVAL) state of absorption."""
    import pandas as pd
    import soundfile

    folder = shared_data / "measured_rirs"
    table = pd.read_csv(folder / "rirs.csv")
    groups = table["condition"].where(table["set"] == "r3vival", table["set"])
    return {key: [soundfile.read(folder / f)[0] for f in part["file"]] for key, part in table.groupby(groups)}


R3VIVAL = {  # published median T30 from 250 Hz to 4 kHz, in s
    "abs_000": [0.717, 0.742, 0.690, 0.655, 0.588],
    "abs_025": [0.669, 0.660, 0.580, 0.518, 0.458],
    "abs_075": [0.546, 0.537, 0.474, 0.396, 0.303],
    "abs_100": [0.550, 0.511, 0.450, 0.366, 0.270],
}


@pytest.mark.parametrize("state", list(R3VIVAL))
def test_measured_t30_in_octave_bands_agrees_with_publication(state: str, measured_rirs: dict) -> None:
    measured = reverberation_time(measured_rirs[state], SAMPLE_RATE, bands=[250, 500, 1000, 2000, 4000])
    assert np.median(measured, axis=0) == pytest.approx(R3VIVAL[state], rel=0.03)


def test_measured_clarity_and_t20_agree_with_documentation(measured_rirs: dict) -> None:
    surrey = measured_rirs["surrey"]
    assert np.median(clarity(surrey, SAMPLE_RATE)) == pytest.approx(16.5, abs=0.5)
    assert np.median(reverberation_time(surrey, SAMPLE_RATE, decay_range="T20")) == pytest.approx(0.32, rel=0.1)
    assert np.median(direct_to_reverberant_ratio(surrey, SAMPLE_RATE)) == pytest.approx(6.09, abs=0.5)


def test_measured_responses_agree_with_pyrato(measured_rirs: dict) -> None:
    for key in ("abs_000", "abs_100", "surrey"):
        for rir in measured_rirs[key][::8]:
            rir = rir[np.argmax(np.abs(rir) >= 0.1 * np.abs(rir).max()) :]
            expected = from_pyrato(rir, noisy=True)
            for decay_range in ("T20", "T30"):
                measured = reverberation_time(rir, SAMPLE_RATE, decay_range=decay_range)
                assert measured == pytest.approx(expected[decay_range], rel=0.02)
            assert clarity(rir, SAMPLE_RATE) == pytest.approx(expected["C50"], abs=0.1)


def test_measured_responses_agree_with_pyroomacoustics_without_noise(measured_rirs: dict) -> None:
    from pyroomacoustics.experimental import measure_rt60

    for rir in measured_rirs["abs_100"][::8]:
        onset = np.argmax(np.abs(rir) >= 0.1 * np.abs(rir).max())
        expected = measure_rt60(rir[onset:], SAMPLE_RATE, decay_db=20)
        assert reverberation_time(rir, SAMPLE_RATE, decay_range="T20") == pytest.approx(expected, rel=0.01)
