"""Octave bands at a sampling rate, and the air absorption in each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class OctaveBands(NamedTuple):
    """Octave bands at a sampling rate, with the filter bank and air absorption of pyroomacoustics."""

    bank: Any
    air: Array  # (n_bands,) energy attenuation [1/m]
    speed: float  # of sound [m/s]

    def filtered(self, signals: Array) -> Array:
        """Filter each signal with its own octave band."""
        return np.stack([self.bank.analysis(signal, band=band) for band, signal in enumerate(signals)])


def filter_bank(sample_rate: int) -> Any:
    """Return pyroomacoustics' octave filter bank, whose bands sum to the original signal."""
    import pyroomacoustics as pra

    return pra.ShoeBox([1, 1, 1], fs=sample_rate).octave_bands


def octave_bands(sample_rate: int, *, air_absorption: bool) -> OctaveBands:
    """Return the octave bands at a sampling rate, with or without air absorption."""
    import pyroomacoustics as pra

    bank, speed = filter_bank(sample_rate), pra.constants.get("c")
    table = pra.parameters.Physics.from_speed(speed).get_air_absorption()
    air = np.asarray(bank(**table)) if air_absorption else np.zeros(bank.n_bands)
    return OctaveBands(bank, air, speed)
