"""Evaluation ranges and octave bands of ISO 3382, as arguments."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np

from roomacoustic_sk._decay import WHOLE_SPECTRUM, Band, octave_band
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_bands,
    check_choice,
    is_flat,
)

DECAY_RANGES = {"T20": (-5.0, -25.0), "T30": (-5.0, -35.0), "T60": (-5.0, -65.0)}
"""Evaluation ranges of the reverberation time in dB (ISO 3382-1, 3.4; ISO 3382-2, 6)."""


def design_bands(bands: Any, sample_rate: int) -> list[Band]:
    """Design the filters of the octave bands; one band without filter stands for the whole spectrum."""
    if bands is None:
        return [WHOLE_SPECTRUM]
    check_bands(bands, "None or a sequence of centre frequencies")
    for centre in bands:
        if centre * np.sqrt(2) >= sample_rate / 2:
            raise ArgumentValueError(
                f"bands must lie below the Nyquist frequency with their upper edge ({sample_rate / 2:g} Hz), "
                f"got {centre:g} Hz, which reaches up to {centre * np.sqrt(2):.0f} Hz."
            )
    return [octave_band(float(centre), sample_rate) for centre in bands]


def check_decay_range(decay_range: Any) -> tuple[float, float]:
    """Return the two levels of an evaluation range in dB."""
    if isinstance(decay_range, str):
        return DECAY_RANGES[check_choice(decay_range, list(DECAY_RANGES), name="decay_range")]
    is_pair = is_flat(decay_range) and len(decay_range) == 2
    is_pair = is_pair and all(isinstance(level, numbers.Real) for level in decay_range)
    if not is_pair or not 0 >= decay_range[0] > decay_range[1] > -np.inf:
        raise ArgumentValueError(
            f"decay_range must be one of {list(DECAY_RANGES)} or two levels in dB such as (-5, -35), "
            f"the upper one first and none above 0, got {decay_range!r}."
        )
    return float(decay_range[0]), float(decay_range[1])


def check_decay_ranges(decay_ranges: Any) -> None:
    """Refuse what is no sequence of names of evaluation ranges."""
    if not is_flat(decay_ranges) or not len(decay_ranges):
        raise ArgumentTypeError(f"decay_ranges must be a sequence such as ('T30', 'T20'), got {decay_ranges!r}.")
    for decay_range in decay_ranges:
        check_choice(decay_range, list(DECAY_RANGES), name="decay_ranges")
