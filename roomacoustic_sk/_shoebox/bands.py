"""Octave bands of a sampling rate, and what the air takes of each."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


class OctaveBands(NamedTuple):
    """Octave bands of a sampling rate, and what pyroomacoustics knows of them."""

    bank: Any
    air: Array  # (n_bands,) energy attenuation [1/m]
    speed: float  # of sound [m/s]

    def filtered(self, signals: Array) -> Array:
        """Each signal in its own octave band."""
        return np.stack([self.bank.analysis(signal, band=band) for band, signal in enumerate(signals)])


def filter_bank(sample_rate: int) -> Any:
    """Return pyroomacoustics' filter bank, whose bands sum to the signal itself."""
    import pyroomacoustics as pra

    return pra.ShoeBox([1, 1, 1], fs=sample_rate).octave_bands


def octave_bands(sample_rate: int, *, air_absorption: bool) -> OctaveBands:
    """Return the octave bands of a sampling rate, with or without the absorption of air."""
    import pyroomacoustics as pra

    bank, speed = filter_bank(sample_rate), pra.constants.get("c")
    table = pra.parameters.Physics.from_speed(speed).get_air_absorption()
    air = np.asarray(bank(**table)) if air_absorption else np.zeros(bank.n_bands)
    return OctaveBands(bank, air, speed)
