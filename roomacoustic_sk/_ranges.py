"""Evaluation ranges and frequency bands of ISO 3382, as arguments."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from roomacoustic_sk._decay import (
    WHOLE_SPECTRUM,
    Band,
    octave_band,
    octave_edges,
    third_octave_band,
    third_octave_edges,
)
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_bands,
    check_choice,
    check_number,
    door,
    is_flat,
)

DECAY_RANGES = {"T20": (-5.0, -25.0), "T30": (-5.0, -35.0), "T60": (-5.0, -65.0)}
"""Evaluation ranges of the reverberation time in dB (ISO 3382-1, 3.4; ISO 3382-2, 6)."""


OCTAVES = (125.0, 250.0, 500.0, 1000.0, 2000.0, 4000.0)
"""Centre frequencies of the octave bands of ISO 3382-1, in Hz."""

DECADE = (1.0, 1.25, 1.6, 2.0, 2.5, 3.15, 4.0, 5.0, 6.3, 8.0)
"""Nominal mid-band frequencies of the third-octave bands of a decade (IEC 61260-1:2014)."""

THIRD_OCTAVES = tuple(step * 10.0**power for power in (1, 2, 3, 4) for step in DECADE)
"""Nominal mid-band frequencies of third-octave bands, in Hz."""


@dataclass(frozen=True)
class ThirdOctaves:
    """The third-octave bands from one frequency to another, to be passed as `bands`.

    Parameters
    ----------
    lowest : float, default=100
        Nominal mid-band frequency of the lowest band, in Hz; at least 10.
    highest : float, default=5000
        That of the highest band, in Hz.

    Raises
    ------
    TypeError
        If a frequency is no number.
    ValueError
        If a frequency is out of range, or there is no band between them.

    Notes
    -----
    IEC 61260-1:2014, with exact mid-band frequencies to the base ten: the band of nominally 630 Hz is that of 631 Hz.
    The default is the range of ISO 3382-1:2009, and ``bands="third-octave"`` is short for as much of it as lies
    below the Nyquist frequency.

    Examples
    --------
    >>> from roomacoustic_sk.acoustics import ThirdOctaves
    >>> ThirdOctaves(400, 1000).centres
    (400.0, 500.0, 630.0, 800.0, 1000.0)
    """

    lowest: float = 100.0
    highest: float = 5000.0

    @door
    def __post_init__(self) -> None:
        check_number(self.lowest, name="lowest", unit="Hz", low=THIRD_OCTAVES[0])
        check_number(self.highest, name="highest", unit="Hz", low=THIRD_OCTAVES[0], limit=1e5)
        if not self.centres:
            raise ArgumentValueError(
                f"highest must leave a third-octave band above lowest ({self.lowest:g} Hz), got {self.highest:g} Hz."
            )

    @property
    def centres(self) -> tuple[float, ...]:
        """Nominal mid-band frequencies in Hz."""
        return tuple(centre for centre in THIRD_OCTAVES if self.lowest <= centre <= self.highest)


Bands = Sequence[float] | str | ThirdOctaves | None

NAMED_BANDS: dict[str, tuple[float, ...]] = {"octave": OCTAVES, "third-octave": ThirdOctaves().centres}
"""Bands that are asked for by name: the range of ISO 3382-1, or as much of it as a sampling rate has."""


EXPECTED = "None, 'octave', 'third-octave', ThirdOctaves(...) or a sequence of centre frequencies"


def design_bands(bands: Any, sample_rate: int) -> list[Band]:
    """Design the filters of the bands; one band without filter stands for the whole spectrum."""
    if bands is None:
        return [WHOLE_SPECTRUM]
    is_named, is_thirds = isinstance(bands, str), isinstance(bands, ThirdOctaves)
    if is_named and bands in NAMED_BANDS:
        centres, is_thirds = NAMED_BANDS[bands], bands == "third-octave"
    elif is_thirds:
        centres = bands.centres
    else:
        centres = tuple(check_bands(bands, EXPECTED))
    edges_of, design = (third_octave_edges, third_octave_band) if is_thirds else (octave_edges, octave_band)
    too_high = [centre for centre in centres if edges_of(centre)[1] >= sample_rate / 2]
    if too_high and (not is_named or len(too_high) == len(centres)):
        raise ArgumentValueError(
            f"bands must lie below the Nyquist frequency with their upper edge ({sample_rate / 2:g} Hz), "
            f"got {too_high[0]:g} Hz, which reaches up to {edges_of(too_high[0])[1]:.0f} Hz."
        )
    return [design(float(centre), sample_rate) for centre in centres if centre not in too_high]


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
