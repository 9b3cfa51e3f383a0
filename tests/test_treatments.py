"""Responses that were faded, gated, joined, padded, coded: their reverberation time is right, or NaN."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from experiments.treatments import HELD_OUT, TREATMENTS, synthetic, two_slopes
from roomacoustic_sk.acoustics import DecayRangeWarning, decay_curves

KEEP_THE_DECAY = ("zeros_behind", "pre_delay", "mp3", "ogg", "resampled", "dither_triangular", "quieter_noise_behind")
"""Treatments behind which the decay stands as it was, so that there must be a number."""

N_RESPONSES = 8


def times(rir: np.ndarray, sample_rate: int, truncation: str | None = "lundeby") -> np.ndarray:
    """T20 and T30, of the whole spectrum and at mid frequencies."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        curves = decay_curves(rir, sample_rate, truncation=truncation)
        mid = decay_curves(rir, sample_rate, bands=(500.0, 1000.0), truncation=truncation)
        whole = [curves.reverberation_time(name) for name in ("T20", "T30")]
        return np.array(whole + [mid.reverberation_time(name).mean() for name in ("T20", "T30")])


def is_wrong(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    return np.abs(found / expected - 1) > 0.15  # never where either is NaN


def untreated(seed: int) -> Iterator[tuple[np.ndarray, int, np.ndarray, np.random.Generator]]:
    """Responses of 0.2 to 1.5 s and their reverberation times."""
    for i in range(N_RESPONSES):
        rng = np.random.default_rng([seed, i])
        drawn = synthetic(rng, rt=rng.uniform(0.2, 1.5), peak_to_noise=rng.uniform(45, 75), sample_rate=16000)
        yield drawn.samples, drawn.sample_rate, times(drawn.samples, drawn.sample_rate), rng


@pytest.mark.slow
@pytest.mark.parametrize("name", [*TREATMENTS, *HELD_OUT])
def test_a_treated_response_has_the_right_time_or_nan(name: str) -> None:
    treat: Callable[..., np.ndarray] = {**TREATMENTS, **HELD_OUT}[name]
    wrong = [is_wrong(times(treat(rir, rate, rng), rate), expected) for rir, rate, expected, rng in untreated(1)]
    assert np.sum(wrong) == 0


@pytest.mark.parametrize("name", KEEP_THE_DECAY)
def test_a_treatment_that_spares_the_decay_leaves_a_number(name: str) -> None:
    treat: Callable[..., np.ndarray] = {**TREATMENTS, **HELD_OUT}[name]
    t20 = [(times(treat(rir, rate, rng), rate)[::2], expected[::2]) for rir, rate, expected, rng in untreated(2)]
    there = np.array([np.isfinite(expected) for _, expected in t20])
    lost = np.array([np.isnan(treated) for treated, _ in t20]) & there
    assert there.sum() > N_RESPONSES
    assert lost.sum() <= 0.05 * there.sum()


def test_two_slopes_over_noise_have_the_times_of_their_clean_decay() -> None:
    for seed in range(2 * N_RESPONSES):
        drawn = two_slopes(np.random.default_rng(seed))
        expected = times(drawn.clean, drawn.sample_rate, truncation=None)
        assert not is_wrong(times(drawn.samples, drawn.sample_rate), expected).any()


def test_untreated_responses_have_the_times_of_their_clean_decay() -> None:
    for seed in range(2 * N_RESPONSES):
        drawn = synthetic(np.random.default_rng(seed), rt=0.6, sample_rate=16000)
        expected = times(drawn.clean, drawn.sample_rate, truncation=None)
        assert not is_wrong(times(drawn.samples, drawn.sample_rate), expected).any()
