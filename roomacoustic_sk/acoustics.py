"""Room acoustic parameters from impulse responses, after ISO 3382-1:2009.

Every parameter goes the same way: each response is cut at its onset, filtered into octave bands, squared, freed of
noise and integrated backwards (all in `_decay`), and evaluated. What the noise or the end of the response hides is
NaN, and one `DecayRangeWarning` names the rows.
"""

from __future__ import annotations

import numbers
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._decay import Array, Band, Decay, cut_at_onset, decay_time, early_and_late, integrate, octave_band
from roomacoustic_sk._validation import (
    Rows,
    check_choice,
    check_number,
    check_rows,
    check_sample_rate,
    describe,
    name_rows,
)

DECAY_RANGES = {"T20": (-5.0, -25.0), "T30": (-5.0, -35.0), "T60": (-5.0, -65.0)}
"""Evaluation ranges of the reverberation time in dB (ISO 3382-1, 3.4; ISO 3382-2, 6)."""


class DecayRangeWarning(UserWarning):
    """Some responses do not decay far enough for a parameter; it is NaN there."""


class _Parameter(NamedTuple):
    """What is evaluated of each decay, and the part of it that is needed, for the warning."""

    evaluate: Callable[[Array, Band, Decay], float]
    needs: str
    name: str = ""  # where several are evaluated at once


class _Batch(NamedTuple):
    """The checked arguments that all parameters share."""

    rows: Rows
    sample_rate: int
    bands: list[Band]
    truncation: str | None
    is_single: bool
    is_broadband: bool
    caller: str


# --- A batch of responses ---------------------------------------------------------------------------------------


def _check_bands(bands: Any, sample_rate: int, *, caller: str) -> list[Band]:
    """Design the filters of the octave bands asked for; one band without filter stands for the whole spectrum."""
    if bands is None:
        return [Band(None, np.nan)]
    if np.ndim(bands) != 1 or len(bands) == 0:
        raise ValueError(f"{caller}: bands must be None or a sequence of centre frequencies, got {describe(bands)}.")
    for centre in bands:
        check_number(centre, caller=caller, name="bands (in Hz)", low=0, low_open=True)
        if centre * np.sqrt(2) >= sample_rate / 2:
            raise ValueError(
                f"{caller}: bands must lie below the Nyquist frequency with their upper edge ({sample_rate / 2:g} Hz), "
                f"got {centre:g} Hz, which reaches up to {centre * np.sqrt(2):.0f} Hz."
            )
    return [octave_band(float(centre), sample_rate) for centre in bands]


def _check(rirs: Any, sample_rate: Any, bands: Any, truncation: Any, *, caller: str) -> _Batch:
    """Check the arguments that all parameters share."""
    sample_rate = check_sample_rate(sample_rate, caller=caller)
    check_choice(truncation, ["lundeby", None], caller=caller, name="truncation")
    filters = _check_bands(bands, sample_rate, caller=caller)
    if not isinstance(rirs, (list, tuple)):
        rirs = np.asarray(rirs)
    is_single = np.ndim(rirs) == 1 if isinstance(rirs, np.ndarray) else len(rirs) > 0 and np.ndim(rirs[0]) == 0
    rows = check_rows(np.asarray(rirs)[None] if is_single else rirs, caller=caller, name="rirs")
    if isinstance(rows, np.ndarray) and rows.shape[1] < min(len(rows), 0.1 * sample_rate):
        raise ValueError(
            f"{caller}: rirs must have time on the last axis, got {describe(rows)}, {len(rows)} responses of "
            f"{rows.shape[1] / sample_rate:.3g} s. Pass rirs.T, or a list if they are that short."
        )
    return _Batch(rows, sample_rate, filters, truncation, is_single, bands is None, caller)


def _evaluate(batch: _Batch, *parameters: _Parameter) -> list[Any]:
    """Evaluate parameters for every row and band, and warn of the rows where they are NaN."""
    values = np.empty((len(parameters), len(batch.rows), len(batch.bands)))
    for i, row in enumerate(batch.rows):
        response = cut_at_onset(row)
        for j, band in enumerate(batch.bands):
            decay = integrate(response, band, batch.sample_rate, batch.truncation)
            values[:, i, j] = [parameter.evaluate(response, band, decay) for parameter in parameters]
    for parameter, lacking in zip(parameters, np.isnan(values), strict=True):
        if lacking.any():
            _warn(batch, lacking, parameter.needs, name=parameter.name, stacklevel=4)
    return [_shaped(batch, value) for value in values]


def _warn(batch: _Batch, lacking: NDArray[np.bool_], needs: str, *, name: str = "", stacklevel: int) -> None:
    """Name the rows (and bands) where noise hides what a parameter needs, or the end of the response cuts it off."""
    rows = name_rows(np.flatnonzero(lacking.any(axis=1)))
    if not batch.is_broadband:
        rows += f" ({', '.join(f'{batch.bands[j].centre:g}' for j in np.flatnonzero(lacking.any(axis=0)))} Hz)"
    hidden = "cut off by the end of the response" if batch.truncation is None else "hidden by noise or cut off"
    warnings.warn(
        f"{batch.caller}: {name and f'{name} is '}NaN in {rows}, where {needs} is {hidden}.",
        DecayRangeWarning,
        stacklevel=stacklevel,
    )


def _shaped(batch: _Batch, values: Array) -> Any:
    """Drop the axis of bands for the whole spectrum, and that of rows for a single response."""
    values = values[:, 0] if batch.is_broadband else values
    return values[0] if batch.is_single else values


def _check_limit(batch: _Batch, limit: float, *, name: str) -> int:
    """Return a time limit in samples, refused where it lies behind the end of a response."""
    check_number(limit, caller=batch.caller, name=f"{name} (in s)", low=0, low_open=True)
    n_early = round(limit * batch.sample_rate)
    short = np.flatnonzero([len(row) <= n_early for row in batch.rows])
    if len(short):
        raise ValueError(
            f"{batch.caller}: {name} must be shorter than every response, got {limit:g} s, "
            f"and {name_rows(short)} no longer than that."
        )
    return max(n_early, 1)


def _decay_time(batch: _Batch, upper: float, lower: float) -> _Parameter:
    """Make the parameter that extrapolates the decay between two levels to 60 dB, in s."""

    def time(response: Array, band: Band, decay: Decay) -> float:
        return decay_time(decay, upper, lower) / batch.sample_rate

    return _Parameter(time, f"the decay from {upper:g} to {lower:g} dB")


def _share(batch: _Batch, limit: float) -> _Parameter:
    """Make the parameter that says which share of the energy comes before a time limit."""
    n_early = _check_limit(batch, limit, name="limit")

    def share(response: Array, band: Band, decay: Decay) -> float:
        early, late = early_and_late(response, band, decay, n_early, batch.sample_rate)
        return early / (early + late) if decay.end.floor <= max(late, 0.01 * decay.energy[0]) else np.nan

    return _Parameter(share, f"the energy after {limit:g} s")


def _centre(batch: _Batch) -> _Parameter:
    """Make the parameter that is the mean arrival time, the integral of the decay curve over its first value, in s."""

    def centre(response: Array, band: Band, decay: Decay) -> float:
        total = decay.energy[0]
        if not 0.01 * total >= decay.end.floor:
            return np.nan
        return float(decay.energy[1:].sum() / total / batch.sample_rate)

    return _Parameter(centre, "the decay from 0 to -20 dB")


def _balance(batch: _Batch, limit: float, *, name: str) -> _Parameter:
    """Make the parameter that compares the energy before and after a time limit, in dB."""
    n_early = _check_limit(batch, limit, name=name)

    def balance(response: Array, band: Band, decay: Decay) -> float:
        early, late = early_and_late(response, band, decay, n_early, batch.sample_rate)
        return 10 * np.log10(early / late) if late >= decay.end.floor and late > 0 < early else np.nan

    return _Parameter(balance, f"the energy after {limit:g} s")


def _check_decay_range(decay_range: Any, *, caller: str) -> tuple[float, float]:
    """Return the two levels of an evaluation range in dB."""
    if isinstance(decay_range, str):
        return DECAY_RANGES[check_choice(decay_range, list(DECAY_RANGES), caller=caller, name="decay_range")]
    is_pair = np.shape(decay_range) == (2,) and all(isinstance(level, numbers.Real) for level in decay_range)
    if not is_pair or not 0 >= decay_range[0] > decay_range[1] > -np.inf:
        raise ValueError(
            f"{caller}: decay_range must be one of {list(DECAY_RANGES)} or two levels in dB such as (-5, -35), "
            f"the upper one first and none above 0, got {decay_range!r}."
        )
    return float(decay_range[0]), float(decay_range[1])


# --- The parameters ---------------------------------------------------------------------------------------------


def energy_decay_curve(
    rirs: Any, sample_rate: int, *, bands: Sequence[float] | None = None, truncation: str | None = "lundeby"
) -> Array:
    """Energy decay curve: the level of what is still to come, by Schroeder's backward integration.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    bands : sequence of float, default=None
        Centre frequencies of octave bands in Hz; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        "lundeby" finds the noise floor, subtracts it, stops the integration where the decay meets it and adds the
        energy of the exponential decay behind. None integrates all there is, for responses without noise.

    Returns
    -------
    ndarray of shape (n_rirs, n_bands, n_times)
        Levels in dB re total energy, from the onset on, as long as the longest response and NaN behind the end
        of the evaluation. No axis of rows for a 1-D response, no axis of bands where `bands` is None.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent or not finite, time is not the last axis, or another argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Where no decay is found above the noise: the curve is NaN there.

    Notes
    -----
    ISO 3382-1:2009, 5.3.3, Eqs. 1 and 3. The response begins where it first rises above 20 dB below its peak (A.3.4).

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import energy_decay_curve
    >>> times = np.arange(16000) / 16000
    >>> rir = 10 ** (-3 * times / 0.5)  # falls by 60 dB in 0.5 s
    >>> curve = energy_decay_curve(rir, 16000)
    >>> print(curve[4000].round(2))  # at 0.25 s
    -30.0
    """
    batch = _check(rirs, sample_rate, bands, truncation, caller="energy_decay_curve")
    curves = np.full((len(batch.rows), len(batch.bands), max(map(len, batch.rows))), np.nan)
    for i, row in enumerate(batch.rows):
        response = cut_at_onset(row)
        for j, band in enumerate(batch.bands):
            energy, end = integrate(response, band, batch.sample_rate, batch.truncation)
            if end.floor < np.inf:
                with np.errstate(divide="ignore"):
                    curves[i, j, : end.sample] = 10 * np.log10(np.maximum(energy, 0) / energy[0])
    lacking = np.isnan(curves[:, :, 0])
    if lacking.any():
        _warn(batch, lacking, "the decay", stacklevel=3)
    return _shaped(batch, curves)


def reverberation_time(
    rirs: Any,
    sample_rate: int,
    *,
    decay_range: str | tuple[float, float] = "T30",
    bands: Sequence[float] | None = None,
    truncation: str | None = "lundeby",
) -> Any:
    """Reverberation time: how long the decay takes to fall by 60 dB.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    decay_range : {"T20", "T30", "T60"} or tuple of float, default="T30"
        Part of the decay curve that is evaluated: two levels in dB, e.g. (-5, -35), which is "T30".
    bands : sequence of float, default=None
        Centre frequencies of octave bands in Hz; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `energy_decay_curve`; None for responses without noise.

    Returns
    -------
    float or ndarray of shape (n_rirs,), (n_bands,) or (n_rirs, n_bands)
        Reverberation time in s; NaN where the decay is not there over the whole range.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent or not finite, time is not the last axis, or another argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Where the evaluation range is hidden by noise or cut off by the end of the response.

    Notes
    -----
    ISO 3382-1:2009, 3.4 and 5.3.3: least-squares line through the decay curve, extrapolated to 60 dB. The range must
    end 4 dB above the compensated noise floor, or, without truncation, 10 dB above what the end cuts off.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import reverberation_time
    >>> times = np.arange(16000) / 16000
    >>> rirs = 10 ** (-3 * times / np.array([[0.5], [0.8]]))
    >>> print(reverberation_time(rirs, 16000).round(3))
    [0.5 0.8]
    """
    caller = "reverberation_time"
    batch = _check(rirs, sample_rate, bands, truncation, caller=caller)
    upper, lower = _check_decay_range(decay_range, caller=caller)
    return _evaluate(batch, _decay_time(batch, upper, lower))[0]


def mid_frequency_reverberation_time(
    rirs: Any,
    sample_rate: int,
    *,
    decay_range: str | tuple[float, float] = "T30",
    truncation: str | None = "lundeby",
) -> Any:
    """Reverberation time at mid frequencies: the mean of the 500 Hz and 1 kHz octave bands.

    The broadband reverberation time is that of the band that decays most slowly, often one below the voice.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    decay_range : {"T20", "T30", "T60"} or tuple of float, default="T30"
        Evaluation range, as in `reverberation_time`.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `energy_decay_curve`; None for responses without noise.

    Returns
    -------
    float or ndarray of shape (n_rirs,)
        Reverberation time in s; NaN where either band does not decay over the whole range.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        As `reverberation_time`, and if the sampling rate is too low for the 1 kHz band.

    Warns
    -----
    DecayRangeWarning
        Where the range is hidden by noise or cut off.

    Notes
    -----
    The single-number average of ISO 3382-1:2009, Annex A, and the usual figure for a room.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import mid_frequency_reverberation_time
    >>> times = np.arange(16000) / 16000
    >>> noise = np.random.default_rng(0).standard_normal(16000)
    >>> print(mid_frequency_reverberation_time(noise * 10 ** (-3 * times / 0.5), 16000).round(1))
    0.5
    """
    in_bands = reverberation_time(
        rirs, sample_rate, decay_range=decay_range, bands=(500.0, 1000.0), truncation=truncation
    )
    return in_bands.mean(axis=-1)


def early_decay_time(
    rirs: Any, sample_rate: int, *, bands: Sequence[float] | None = None, truncation: str | None = "lundeby"
) -> Any:
    """Early decay time: 60 dB at the pace of the first 10 dB of the decay curve.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    bands : sequence of float, default=None
        Centre frequencies of octave bands in Hz; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `energy_decay_curve`; None for responses without noise.

    Returns
    -------
    float or ndarray of shape (n_rirs,), (n_bands,) or (n_rirs, n_bands)
        Early decay time in s; NaN where the decay is not there over the whole range.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent or not finite, time is not the last axis, or another argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Where the first 10 dB are hidden by noise, cut off, or all in the first sample.

    Notes
    -----
    ISO 3382-1:2009, A.2.2.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import early_decay_time
    >>> times = np.arange(16000) / 16000
    >>> print(early_decay_time(10 ** (-3 * times / 0.5), 16000).round(3))
    0.5
    """
    batch = _check(rirs, sample_rate, bands, truncation, caller="early_decay_time")
    return _evaluate(batch, _decay_time(batch, 0.0, -10.0))[0]


def clarity(
    rirs: Any,
    sample_rate: int,
    *,
    limit: float = 0.05,
    bands: Sequence[float] | None = None,
    truncation: str | None = "lundeby",
) -> Any:
    """Clarity: energy before a time limit over the energy after it, in dB (C50, C80).

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    limit : float, default=0.05
        Time after the onset, in s, that separates early from late: 0.05 for C50, 0.08 for C80.
    bands : sequence of float, default=None
        Centre frequencies of octave bands in Hz; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `energy_decay_curve`; None for responses without noise.

    Returns
    -------
    float or ndarray of shape (n_rirs,), (n_bands,) or (n_rirs, n_bands)
        Clarity in dB; NaN where there is no late energy, or noise hides it.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent, not finite or not longer than `limit`, time is not the last axis, or another
        argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Where the energy after the limit is hidden by noise, cut off, or zero.

    Notes
    -----
    ISO 3382-1:2009, Eq. A.10. In bands the parts are windowed before they are filtered (A.3.4).

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import clarity
    >>> times = np.arange(16000) / 16000
    >>> rir = 10 ** (-3 * times / 0.5)
    >>> print(clarity(rir, 16000).round(2), clarity(rir, 16000, limit=0.08).round(2))
    4.74 9.1
    """
    batch = _check(rirs, sample_rate, bands, truncation, caller="clarity")
    return _evaluate(batch, _balance(batch, limit, name="limit"))[0]


def definition(
    rirs: Any,
    sample_rate: int,
    *,
    limit: float = 0.05,
    bands: Sequence[float] | None = None,
    truncation: str | None = "lundeby",
) -> Any:
    """Definition: the share of the energy that comes before a time limit (D50).

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    limit : float, default=0.05
        Time after the onset, in s, that separates early from late.
    bands : sequence of float, default=None
        Centre frequencies of octave bands in Hz; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `energy_decay_curve`; None for responses without noise.

    Returns
    -------
    float or ndarray of shape (n_rirs,), (n_bands,) or (n_rirs, n_bands)
        Definition, between 0 and 1; NaN where what is hidden could change it by more than 0.01.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent, not finite or not longer than `limit`, time is not the last axis, or another
        argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Where too much of the energy is hidden by noise or cut off.

    Notes
    -----
    ISO 3382-1:2009, Eq. A.11.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import definition
    >>> times = np.arange(16000) / 16000
    >>> print(definition(10 ** (-3 * times / 0.5), 16000).round(3))
    0.749
    """
    batch = _check(rirs, sample_rate, bands, truncation, caller="definition")
    return _evaluate(batch, _share(batch, limit))[0]


def centre_time(
    rirs: Any, sample_rate: int, *, bands: Sequence[float] | None = None, truncation: str | None = "lundeby"
) -> Any:
    """Centre time: the centre of gravity of the squared response.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    bands : sequence of float, default=None
        Centre frequencies of octave bands in Hz; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `energy_decay_curve`; None for responses without noise.

    Returns
    -------
    float or ndarray of shape (n_rirs,), (n_bands,) or (n_rirs, n_bands)
        Centre time in s after the onset; NaN where the first 20 dB of the decay are not there.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent or not finite, time is not the last axis, or another argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Where the first 20 dB of the decay are hidden by noise or cut off.

    Notes
    -----
    ISO 3382-1:2009, Eq. A.13. The mean arrival time is the integral of the decay curve over its first value.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import centre_time
    >>> times = np.arange(16000) / 16000
    >>> print(centre_time(10 ** (-3 * times / 0.5), 16000).round(4))  # 0.5 s / 13.8
    0.0362
    """
    batch = _check(rirs, sample_rate, bands, truncation, caller="centre_time")
    return _evaluate(batch, _centre(batch))[0]


def direct_to_reverberant_ratio(
    rirs: Any,
    sample_rate: int,
    *,
    direct_window: float = 0.0025,
    bands: Sequence[float] | None = None,
    truncation: str | None = "lundeby",
) -> Any:
    """Direct-to-reverberant ratio: energy of the direct sound over the rest, in dB.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    direct_window : float, default=0.0025
        Time after the onset, in s, that counts as direct sound.
    bands : sequence of float, default=None
        Centre frequencies of octave bands in Hz; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `energy_decay_curve`; None for responses without noise.

    Returns
    -------
    float or ndarray of shape (n_rirs,), (n_bands,) or (n_rirs, n_bands)
        Ratio in dB; NaN where there is no reverberant energy, or noise hides it.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent, not finite or not longer than `direct_window`, time is not the last axis, or
        another argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Where the energy after the direct sound is hidden by noise, cut off, or zero.

    Notes
    -----
    Not in ISO 3382-1. The window of 2.5 ms is that of Zahorik, J. Acoust. Soc. Am. 112 (2002). Reflections within
    it (source or microphone close to a wall) count as direct.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import direct_to_reverberant_ratio
    >>> rir = np.r_[1.0, np.zeros(79), 0.1 * 10 ** (-3 * np.arange(16000) / 8000)]
    >>> print(direct_to_reverberant_ratio(rir, 16000).round(2))
    -7.63
    """
    batch = _check(rirs, sample_rate, bands, truncation, caller="direct_to_reverberant_ratio")
    return _evaluate(batch, _balance(batch, direct_window, name="direct_window"))[0]


def room_parameters(
    rirs: Any,
    sample_rate: int,
    *,
    decay_range: str | tuple[float, float] = "T30",
    limit: float = 0.05,
    direct_window: float = 0.0025,
    bands: Sequence[float] | None = None,
    truncation: str | None = "lundeby",
) -> dict[str, Any]:
    """All parameters at once, from one decay curve of each response.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    decay_range : {"T20", "T30", "T60"} or tuple of float, default="T30"
        Evaluation range of the reverberation time.
    limit : float, default=0.05
        Time after the onset, in s, that separates early from late in clarity and definition.
    direct_window : float, default=0.0025
        Time after the onset, in s, that counts as direct sound.
    bands : sequence of float, default=None
        Centre frequencies of octave bands in Hz; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `energy_decay_curve`; None for responses without noise.

    Returns
    -------
    dict of str to float or ndarray
        ``reverberation_time`` and ``early_decay_time`` in s, ``clarity`` in dB, ``definition`` (0 to 1),
        ``centre_time`` in s and ``direct_to_reverberant_ratio`` in dB, each as the function of that name gives it.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent, not finite or not longer than `limit`, time is not the last axis, or another
        argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Once for each parameter that some responses lack.

    Notes
    -----
    ISO 3382-1:2009; see the functions of these names.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import room_parameters
    >>> times = np.arange(16000) / 16000
    >>> found = room_parameters(10 ** (-3 * times / 0.5), 16000)
    >>> print(found["reverberation_time"].round(3), found["clarity"].round(2))
    0.5 4.74
    """
    caller = "room_parameters"
    batch = _check(rirs, sample_rate, bands, truncation, caller=caller)
    parameters = {
        "reverberation_time": _decay_time(batch, *_check_decay_range(decay_range, caller=caller)),
        "early_decay_time": _decay_time(batch, 0.0, -10.0),
        "clarity": _balance(batch, limit, name="limit"),
        "definition": _share(batch, limit),
        "centre_time": _centre(batch),
        "direct_to_reverberant_ratio": _balance(batch, direct_window, name="direct_window"),
    }
    named = [parameter._replace(name=name) for name, parameter in parameters.items()]
    return dict(zip(parameters, _evaluate(batch, *named), strict=True))
