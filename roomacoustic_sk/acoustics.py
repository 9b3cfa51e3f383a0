"""Room acoustic parameters from impulse responses, after ISO 3382-1:2009.

Every parameter goes the same way: each response is cut at its onset, filtered into octave or third-octave bands,
squared, freed of noise and integrated backwards (all in `_decay`), and evaluated (in `_parameters`). `DecayCurves`
keeps the curves for any number of parameters; the functions evaluate one response after the other and keep none.
Values hidden by noise or by the end of the response are NaN, and one `DecayRangeWarning` names their rows.
"""

from __future__ import annotations

import numbers
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._decay import NO_RESPONSE, RINGING, WHOLE_SPECTRUM, Array, Band, cut_at_onset
from roomacoustic_sk._parameters import (
    DIRECT_WINDOW,
    EARLY_RANGE,
    Curve,
    Parameter,
    balance,
    centre,
    decay_time,
    diagnosis,
    direct,
    first_range,
    levels_of,
    parameters_of,
    share,
)
from roomacoustic_sk._ranges import (
    DECAY_RANGES,
    Bands,
    ThirdOctaves,
    check_decay_range,
    check_decay_ranges,
    design_bands,
)
from roomacoustic_sk._recordings import check_waveforms
from roomacoustic_sk._validation import (
    ArgumentValueError,
    as_array,
    check_choice,
    check_flag,
    check_sample_rate,
    describe,
    door,
    name_rows,
    warn,
)

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = [
    "DECAY_RANGES",
    "DecayCurves",
    "DecayRangeWarning",
    "ThirdOctaves",
    "centre_time",
    "clarity",
    "decay_curves",
    "definition",
    "direct_to_reverberant_ratio",
    "early_decay_time",
    "energy_decay_curve",
    "evaluate",
    "mid_frequency_reverberation_time",
    "reverberation_time",
    "room_labels",
    "room_parameters",
]

MID_FREQUENCIES = (500.0, 1000.0)
"""Octave bands whose mean is the single-number reverberation time (ISO 3382-1, Annex A)."""

PARAMETERS = ("EDT", "T20", "T30", "C50", "C80", "D50", "Ts")
"""Short names of the parameters of ISO 3382-1 that one response tells, without calibration."""

OUTPUTS = ("dict", "pandas")
INDEX = ("response", "band")
"""Levels of the index of a frame in bands."""

RESPONSES = "an array (n_times,) or (n_rirs, n_times), or a list of 1-D arrays"


class DecayRangeWarning(UserWarning):
    """Some responses do not decay far enough for a parameter; it is NaN there."""


# --- Responses and their curves ---------------------------------------------------------------------------------


class _Batch(NamedTuple):
    """Responses, and how all parameters treat them: the arguments that all functions share, checked."""

    recordings: Any  # (n_rirs, n_times), or a list of (n_times_of_the_rir,); none where their curves are kept
    lengths: list[int]
    sample_rate: int
    bands: list[Band]
    truncation: str | None
    is_single: bool
    is_broadband: bool


def _check(rirs: Any, sample_rate: Any, bands: Any, truncation: Any) -> _Batch:
    """Check the arguments that all parameters share."""
    sample_rate = check_sample_rate(sample_rate)
    check_choice(truncation, ["lundeby", None], name="truncation")
    filters = design_bands(bands, sample_rate)
    if isinstance(rirs, Iterator):
        rirs = list(rirs)
    if hasattr(rirs, "__array__") or hasattr(rirs, "to_numpy") or isinstance(rirs, numbers.Number):
        rirs = as_array(rirs, name="rirs", expected=RESPONSES)
    if isinstance(rirs, np.ndarray):
        is_single = rirs.ndim == 1 and rirs.dtype != object
    else:
        is_single = isinstance(rirs, (list, tuple)) and len(rirs) > 0 and all(np.isscalar(sample) for sample in rirs)
    if is_single:
        rirs = as_array(rirs, name="rirs", expected=RESPONSES)[None]
    recordings = check_waveforms(rirs, name="rirs")
    lengths = [len(recording) for recording in recordings]
    if isinstance(recordings, np.ndarray) and lengths[0] < min(len(lengths), 0.1 * sample_rate):
        raise ArgumentValueError(
            f"rirs must have time on the last axis, got {describe(recordings)}, {len(lengths)} responses of "
            f"{lengths[0] / sample_rate:.3g} s. Pass rirs.T, or a list if they are that short."
        )
    return _Batch(recordings, lengths, sample_rate, filters, truncation, is_single, bands is None)


def _integrated(batch: _Batch) -> Iterator[Curve]:
    """Integrate the responses one after the other, each in all bands."""
    for recording in batch.recordings:
        response = cut_at_onset(recording, batch.sample_rate)
        for band in batch.bands:
            yield Curve(response, band, batch.sample_rate, batch.truncation)


def _warn(batch: _Batch, lacking: NDArray[np.bool_], reasons: NDArray[np.str_], needs: str, *, name: str = "") -> None:
    """Name the rows (and bands) where noise hides what a parameter needs, or the end of the response cuts it off."""
    where = name_rows(np.flatnonzero(lacking.any(axis=1)))
    if not batch.is_broadband:
        where += f" ({', '.join(f'{batch.bands[j].nominal:g}' for j in np.flatnonzero(lacking.any(axis=0)))} Hz)"
    hidden = "cut off by the end of the response" if batch.truncation is None else "hidden by noise or cut off"
    others = ""
    for reason in (NO_RESPONSE, RINGING):
        if (rows := np.flatnonzero((lacking & (reasons == reason)).any(axis=1))).size:
            others += f" In {name_rows(rows)}: {reason}."
    warn(f"{name and f'{name} is '}NaN in {where}, where {needs} is {hidden}.{others}", DecayRangeWarning)


def _shaped(batch: _Batch, values: Array) -> Any:
    """Drop the axis of bands for the whole spectrum, and that of responses for a single one."""
    values = values[:, 0] if batch.is_broadband else values
    return values[0] if batch.is_single else values


def _check_lengths(batch: _Batch, parameters: Iterable[Parameter]) -> None:
    """Refuse responses that end before a time limit."""
    for parameter in parameters:
        short = np.flatnonzero(np.array(batch.lengths) <= round(parameter.limit * batch.sample_rate))
        if parameter.limit and len(short):
            raise ArgumentValueError(
                f"{parameter.argument} must be shorter than every response, got {parameter.limit:g} s, and "
                f"{name_rows(short)} no longer than that."
            )


def _frame(batch: _Batch, values: dict[str, Any]) -> DataFrame:
    """Return one row for each response and band."""
    import pandas as pd

    responses = pd.RangeIndex(len(batch.lengths), name="response")
    nominal = [band.nominal for band in batch.bands]
    index = responses if batch.is_broadband else pd.MultiIndex.from_product([responses, nominal], names=INDEX)
    return pd.DataFrame({name: np.ravel(value) for name, value in values.items()}, index=index)


# --- Any parameters of the same curves --------------------------------------------------------------------------


class DecayCurves:
    """Decay curves of impulse responses, evaluated for any parameters without integrating again.

    Made by `decay_curves`. Each method returns a float for one response, else an ndarray of shape (n_rirs,); in bands
    (n_bands,) or (n_rirs, n_bands). Values are NaN where noise or the end of the response hides what they need, and
    one `DecayRangeWarning` a call names the rows. The function of the same name says more of each parameter.

    Parameters
    ----------
    batch : object
        The responses and how they are treated, as `decay_curves` has checked them.
    keep : bool
        Whether the curves are kept. Otherwise each evaluation integrates the responses anew, one at a time.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import decay_curves
    >>> times = np.arange(16000) / 16000
    >>> curves = decay_curves(10 ** (-3 * times / 0.5), 16000)
    >>> print(curves.clarity(0.08).round(2), curves.definition(0.05).round(3))
    9.1 0.749
    """

    def __init__(self, batch: _Batch, *, keep: bool) -> None:
        self._curves = list(_integrated(batch)) if keep else None
        self._batch = batch._replace(recordings=()) if keep else batch

    def _each(self) -> Iterable[Curve]:
        """All curves, those of a response in its bands one after the other."""
        return _integrated(self._batch) if self._curves is None else self._curves

    def _evaluate(self, *parameters: Parameter) -> list[Any]:
        """Evaluate parameters of every curve, and warn of the responses where they are NaN."""
        batch, is_named = self._batch, self._curves is not None or len(parameters) > 1
        _check_lengths(batch, parameters)
        rows = [(curve.reason, *(parameter.evaluate(curve) for parameter in parameters)) for curve in self._each()]
        reasons, *values = (
            np.array(column).reshape(len(batch.lengths), len(batch.bands)) for column in zip(*rows, strict=True)
        )
        for parameter, value in zip(parameters, values, strict=True):
            if parameter.needs and np.isnan(value).any():
                _warn(batch, np.isnan(value), reasons, parameter.needs, name=parameter.name if is_named else "")
        return [_shaped(batch, value) for value in values]

    def _table(self, parameters: Sequence[Parameter], output: str) -> Any:
        """Evaluate parameters by name, as a dict or a frame."""
        values = dict(zip([parameter.name for parameter in parameters], self._evaluate(*parameters), strict=True))
        return _frame(self._batch, values) if output == "pandas" else values

    @property
    def bands(self) -> Array | None:
        """Nominal centre frequencies of the bands in Hz; None for the whole spectrum."""
        return None if self._batch.is_broadband else np.array([band.nominal for band in self._batch.bands])

    @door
    def evaluate(
        self, parameters: Sequence[str] = PARAMETERS, *, diagnostics: bool = False, output: str = "dict"
    ) -> Any:
        """Any parameters by their short names.

        Parameters
        ----------
        parameters : sequence of str, default=("EDT", "T20", "T30", "C50", "C80", "D50", "Ts")
            Short names, as in the function `evaluate`.
        diagnostics : bool, default=False
            Whether to tell how far the reverberation time can be relied on, too.
        output : {"dict", "pandas"}, default="dict"
            Kind of the result.
        """
        check_flag(diagnostics, name="diagnostics")
        check_choice(output, OUTPUTS, name="output")
        asked = parameters_of(parameters)
        if diagnostics:
            ranges = [levels for parameter in asked if (levels := levels_of(parameter.name))]
            asked += diagnosis(min(ranges, key=lambda levels: levels[1]) if ranges else DECAY_RANGES["T30"])
        return self._table(asked, output)

    @door
    def levels(self) -> Array:
        """Energy decay curves in dB re total energy.

        Returns
        -------
        ndarray of shape (n_rirs, n_bands, n_times)
            As `energy_decay_curve` returns them.
        """
        batch = self._batch
        curves = np.full((len(batch.lengths), len(batch.bands), max(batch.lengths)), np.nan)
        reasons = np.empty(curves.shape[:2], dtype=object)
        for place, curve in zip(np.ndindex(curves.shape[:2]), self._each(), strict=True):
            reasons[place], (energy, end, _) = curve.decay.end.reason, curve.decay
            if end.floor < np.inf:
                with np.errstate(divide="ignore"):
                    curves[place][: end.sample] = 10 * np.log10(np.maximum(energy, 0) / energy[0])
        lacking = np.isnan(curves[:, :, 0])
        if lacking.any():
            _warn(batch, lacking, reasons, "the decay", name="" if self._curves is None else "the decay curve")
        return _shaped(batch, curves)

    @door
    def reverberation_time(self, decay_range: str | tuple[float, float] = "T30") -> Any:
        """Reverberation time in s.

        Parameters
        ----------
        decay_range : {"T20", "T30", "T60"} or tuple of float, default="T30"
            Part of the decay curve that is evaluated, as in the function `reverberation_time`.
        """
        return self._evaluate(decay_time(check_decay_range(decay_range)))[0]

    @door
    def early_decay_time(self) -> Any:
        """Early decay time in s."""
        return self._evaluate(decay_time(EARLY_RANGE, name="early_decay_time"))[0]

    @door
    def clarity(self, limit: float = 0.05) -> Any:
        """Clarity in dB.

        Parameters
        ----------
        limit : float, default=0.05
            Time after the onset, in s, that separates early from late: 0.05 for C50, 0.08 for C80.
        """
        return self._evaluate(balance(limit))[0]

    @door
    def definition(self, limit: float = 0.05) -> Any:
        """Definition, between 0 and 1.

        Parameters
        ----------
        limit : float, default=0.05
            Time after the onset, in s, that separates early from late.
        """
        return self._evaluate(share(limit))[0]

    @door
    def centre_time(self) -> Any:
        """Centre time in s after the onset."""
        return self._evaluate(centre())[0]

    @door
    def direct_to_reverberant_ratio(self, direct_window: float = 0.0025) -> Any:
        """Direct-to-reverberant ratio in dB.

        Parameters
        ----------
        direct_window : float, default=0.0025
            Time after the onset, in s, that counts as direct sound.
        """
        return self._evaluate(direct(direct_window))[0]


def _passing(rirs: Any, sample_rate: Any, bands: Any, truncation: Any) -> DecayCurves:
    """Curves for one evaluation, of which never more than one is in memory."""
    return DecayCurves(_check(rirs, sample_rate, bands, truncation), keep=False)


@door
def decay_curves(
    rirs: Any, sample_rate: int, *, bands: Bands = None, truncation: str | None = "lundeby"
) -> DecayCurves:
    """Integrate impulse responses once, for any set of parameters and limits.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz; "octave" for those from 125 Hz to 4 kHz, "third-octave" for
        third-octave bands from 100 Hz to 5 kHz (the ranges of ISO 3382-1), or as many of them as lie below the Nyquist
        frequency; `ThirdOctaves` for another range. None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        "lundeby" finds the noise floor, subtracts it, stops the integration where the decay meets it and adds the
        energy of the exponential decay behind. None integrates all there is, for responses without noise.

    Returns
    -------
    DecayCurves
        With a method for each parameter. It holds a float64 curve for each response and band, up to the end of its
        evaluation, and in bands the response as well.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent or not finite, time is not the last axis, or another argument is out of range.

    Notes
    -----
    ISO 3382-1:2009, 5.3.3, Eqs. 1 and 3. The response begins where it first rises above 20 dB below its peak (A.3.4).
    The functions of this module evaluate one response after the other and keep no curve: use them for one parameter
    of many responses.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import decay_curves
    >>> times = np.arange(16000) / 16000
    >>> noise = np.random.default_rng(0).standard_normal((2, 16000))
    >>> curves = decay_curves(noise * 10 ** (-3 * times / 0.5), 16000, bands=[500, 1000, 2000])
    >>> c80, d50, t20 = curves.clarity(0.08), curves.definition(0.05), curves.reverberation_time("T20")
    >>> c80.shape, d50.shape, t20.shape
    ((2, 3), (2, 3), (2, 3))
    """
    return DecayCurves(_check(rirs, sample_rate, bands, truncation), keep=True)


# --- The parameters ---------------------------------------------------------------------------------------------


@door
def energy_decay_curve(
    rirs: Any, sample_rate: int, *, bands: Bands = None, truncation: str | None = "lundeby"
) -> Array:
    """Energy decay curve: the remaining energy at each instant, by Schroeder's backward integration.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.

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
    return _passing(rirs, sample_rate, bands, truncation).levels()


@door
def reverberation_time(
    rirs: Any,
    sample_rate: int,
    *,
    decay_range: str | tuple[float, float] = "T30",
    bands: Bands = None,
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
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.

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
    end 4 dB above the compensated noise floor, or, without truncation, 10 dB above what the end cuts off. Levels that
    leave the line by more than 150 per mille of their variance (ISO 3382-2:2008, B.2) are no decay.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import reverberation_time
    >>> times = np.arange(16000) / 16000
    >>> rirs = 10 ** (-3 * times / np.array([[0.5], [0.8]]))
    >>> print(reverberation_time(rirs, 16000).round(3))
    [0.5 0.8]
    """
    return _passing(rirs, sample_rate, bands, truncation).reverberation_time(decay_range)


@door
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
        How the noise is treated, as in `decay_curves`; None for responses without noise.

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
    return _passing(rirs, sample_rate, MID_FREQUENCIES, truncation).reverberation_time(decay_range).mean(axis=-1)


@door
def early_decay_time(rirs: Any, sample_rate: int, *, bands: Bands = None, truncation: str | None = "lundeby") -> Any:
    """Early decay time: 60 dB at the pace of the first 10 dB of the decay curve.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.

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
    return _passing(rirs, sample_rate, bands, truncation).early_decay_time()


@door
def clarity(
    rirs: Any,
    sample_rate: int,
    *,
    limit: float = 0.05,
    bands: Bands = None,
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
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.

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
    return _passing(rirs, sample_rate, bands, truncation).clarity(limit)


@door
def definition(
    rirs: Any,
    sample_rate: int,
    *,
    limit: float = 0.05,
    bands: Bands = None,
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
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.

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
    return _passing(rirs, sample_rate, bands, truncation).definition(limit)


@door
def centre_time(rirs: Any, sample_rate: int, *, bands: Bands = None, truncation: str | None = "lundeby") -> Any:
    """Centre time: the centre of gravity of the squared response.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.

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
    return _passing(rirs, sample_rate, bands, truncation).centre_time()


@door
def direct_to_reverberant_ratio(
    rirs: Any,
    sample_rate: int,
    *,
    direct_window: float = 0.0025,
    bands: Bands = None,
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
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.

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
    return _passing(rirs, sample_rate, bands, truncation).direct_to_reverberant_ratio(direct_window)


@door
def room_parameters(
    rirs: Any,
    sample_rate: int,
    *,
    decay_range: str | tuple[float, float] = "T30",
    limit: float = 0.05,
    definition_limit: float = 0.05,
    direct_window: float = 0.0025,
    bands: Bands = None,
    truncation: str | None = "lundeby",
    diagnostics: bool = False,
    output: str = "dict",
) -> Any:
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
        Time after the onset, in s, that separates early from late in clarity: 0.05 for C50, 0.08 for C80.
    definition_limit : float, default=0.05
        The same for definition, which stays D50 beside any `limit`.
    direct_window : float, default=0.0025
        Time after the onset, in s, that counts as direct sound.
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.
    diagnostics : bool, default=False
        Whether to tell how far the reverberation time can be relied on, too; see Returns.
    output : {"dict", "pandas"}, default="dict"
        Kind of the result: a dict of arrays, or a DataFrame with one row for each response, or each response and band.

    Returns
    -------
    dict of str to float or ndarray, or DataFrame
        ``reverberation_time`` and ``early_decay_time`` in s, ``clarity`` in dB, ``definition`` (0 to 1),
        ``centre_time`` in s and ``direct_to_reverberant_ratio`` in dB, each as the function of that name gives it.
        With `diagnostics` also, of the same curve: ``nonlinearity`` [per mille] of the evaluated range and
        ``curvature`` [%] (ISO 3382-2:2008, Annex B: up to 10 and 5 where the decay is straight), ``usable_range``
        [dB] (how far below its beginning the curve is trusted), ``crossing_time`` [s] (from the onset to the noise) and
        ``peak_to_noise`` [dB], both NaN where the decay meets no noise, and ``reason``: why the reverberation time is
        NaN, empty where it is not.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers.
    ValueError
        If responses are silent, not finite or not longer than a limit, time is not the last axis, or another argument
        is out of range.

    Warns
    -----
    DecayRangeWarning
        Once for each parameter that some responses lack.

    Notes
    -----
    ISO 3382-1:2009; see the functions of these names. `evaluate` gives any other set, e.g. C50 beside C80.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import room_parameters
    >>> times = np.arange(16000) / 16000
    >>> found = room_parameters(10 ** (-3 * times / 0.5), 16000)
    >>> print(found["reverberation_time"].round(3), found["clarity"].round(2))
    0.5 4.74
    """
    check_flag(diagnostics, name="diagnostics")
    check_choice(output, OUTPUTS, name="output")
    curves = _passing(rirs, sample_rate, bands, truncation)
    parameters = [
        decay_time(check_decay_range(decay_range)),
        decay_time(EARLY_RANGE, name="early_decay_time"),
        balance(limit),
        share(definition_limit, argument="definition_limit"),
        centre(),
        direct(direct_window),
    ]
    if diagnostics:
        parameters += diagnosis(check_decay_range(decay_range))
    return curves._table(parameters, output)


@door
def evaluate(
    rirs: Any,
    sample_rate: int,
    parameters: Sequence[str] = PARAMETERS,
    *,
    bands: Bands = None,
    truncation: str | None = "lundeby",
    diagnostics: bool = False,
    output: str = "dict",
) -> Any:
    """Any parameters by their short names, from one decay curve of each response.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses. The channels of one measurement are responses too: pass them as rows.
    sample_rate : int
        Sampling rate in Hz.
    parameters : sequence of str, default=("EDT", "T20", "T30", "C50", "C80", "D50", "Ts")
        Short names: "EDT", the early decay time [s]; "T20", "T30" or any other reverberation time from "T10" to "T60"
        [s], evaluated from -5 dB over as many dB; "C50", "C80" or clarity at any other limit in ms [dB]; "D50" or
        definition at any other limit in ms (0 to 1); "Ts", the centre time [s]; "DRR", the direct-to-reverberant
        ratio [dB], with 2.5 ms of direct sound.
    bands : sequence of float, {"octave", "third-octave"} or ThirdOctaves, default=None
        Centre frequencies of octave bands in Hz, or bands by name, as in `decay_curves`; None for the whole spectrum.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.
    diagnostics : bool, default=False
        Whether to tell how far a reverberation time can be relied on, too: that of the deepest range in `parameters`,
        or T30 if there is none.
    output : {"dict", "pandas"}, default="dict"
        Kind of the result: a dict of arrays, or a DataFrame with one row for each response, or each response and band.

    Returns
    -------
    dict of str to float or ndarray, or DataFrame
        By short name, as the function of each parameter gives it. The index of a frame is ``response``, the number of
        the response, and in bands also ``band``, the nominal centre frequency in Hz. With `diagnostics` also those of
        `room_parameters`.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers, or `parameters` is no sequence.
    ValueError
        If a name is not known, responses are silent, not finite or not longer than a limit, time is not the last axis,
        or another argument is out of range.

    Warns
    -----
    DecayRangeWarning
        Once for each parameter that some responses lack.

    Notes
    -----
    ISO 3382-1:2009, 3.4 and Annex A; the direct-to-reverberant ratio is not in it. By default, all parameters of the
    standard that a single response tells without a calibrated level.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import evaluate
    >>> times = np.arange(16000) / 16000
    >>> rirs = 10 ** (-3 * times / np.array([[0.5], [0.8]]))
    >>> evaluate(rirs, 16000, ["EDT", "T30", "C80", "D50"], output="pandas").round(2)
              EDT  T30   C80   D50
    response
    0         0.5  0.5  9.10  0.75
    1         0.8  0.8  4.74  0.58
    """
    return _passing(rirs, sample_rate, bands, truncation).evaluate(parameters, diagnostics=diagnostics, output=output)


@door
def room_labels(
    rirs: Any,
    sample_rate: int,
    *,
    decay_ranges: Sequence[str] = ("T30", "T20"),
    truncation: str | None = "lundeby",
    diagnostics: bool = False,
) -> DataFrame:
    """Label responses with the columns that `simulate_rooms` and `load_measured_rirs` have in common.

    Parameters
    ----------
    rirs : array-like of shape (n_times,) or (n_rirs, n_times), or list of 1-D arrays
        Impulse responses.
    sample_rate : int
        Sampling rate in Hz.
    decay_ranges : sequence of {"T20", "T30", "T60"}, default=("T30", "T20")
        Evaluation ranges of the reverberation times, tried in this order on each response.
    truncation : {"lundeby", None}, default="lundeby"
        How the noise is treated, as in `decay_curves`; None for responses without noise.
    diagnostics : bool, default=False
        Whether to tell how far the reverberation time can be relied on, too; see Returns.

    Returns
    -------
    DataFrame of shape (n_rirs, 7), or (n_rirs, 13) with diagnostics
        ``rt60`` [s] and ``rt60_range``, the range it was evaluated over, None where no range is there; ``rt60_mid`` [s]
        (mean of the 500 Hz and 1 kHz octave bands), ``edt`` [s], ``c50`` [dB], ``d50``, ``drr`` [dB]. All but
        ``rt60_mid`` are broadband. Labels hidden by noise or cut off are NaN, without a warning.
        With `diagnostics` also, of the same curve: ``nonlinearity`` [per mille] of the evaluated range and
        ``curvature`` [%] (ISO 3382-2:2008, Annex B: up to 10 and 5 where the decay is straight), ``usable_range``
        [dB] (how far below its beginning the curve is trusted), ``crossing_time`` [s] (from the onset to the noise) and
        ``peak_to_noise`` [dB], both NaN where the decay meets no noise, and ``reason``: why the reverberation time is
        NaN, empty where it is not.

    Raises
    ------
    TypeError
        If the samples are no floating-point numbers, or `decay_ranges` is no sequence.
    ValueError
        If responses are silent, not finite or not longer than 0.05 s, the sampling rate is too low for the 1 kHz band,
        time is not the last axis, or another argument is out of range.

    Notes
    -----
    ISO 3382-1:2009; see the functions of these parameters. Each response is integrated once broadband and once in
    each of the two bands, whatever the number of ranges.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.acoustics import room_labels
    >>> times = np.arange(16000) / 16000
    >>> noise = np.random.default_rng(0).standard_normal(16000)
    >>> room_labels(noise * 10 ** (-3 * times / 0.5), 16000)[["rt60", "rt60_range"]].round(1)
       rt60 rt60_range
    0   0.5        T30
    """
    import pandas as pd

    check_decay_ranges(decay_ranges)
    check_flag(diagnostics, name="diagnostics")
    in_bands = _check(rirs, sample_rate, MID_FREQUENCIES, truncation)
    short = np.flatnonzero(np.array(in_bands.lengths) <= 0.05 * in_bands.sample_rate)
    if len(short):
        raise ArgumentValueError(f"rirs must be longer than 0.05 s, which C50 needs, got {name_rows(short)} no longer.")
    batch = in_bands._replace(bands=[WHOLE_SPECTRUM, *in_bands.bands])
    ranges = {name: decay_time(DECAY_RANGES[name]) for name in decay_ranges}
    others = {
        "edt": decay_time(EARLY_RANGE),
        "c50": balance(0.05),
        "d50": share(0.05),
        "drr": direct(DIRECT_WINDOW),
    }
    diagnoses = {name: diagnosis(DECAY_RANGES[name]) for name in decay_ranges}
    labels, curves = [], _integrated(batch)  # one iterator: zip takes the three curves of a response at a time
    for whole, *mid in zip(*[curves] * len(batch.bands), strict=True):
        rt60, rt60_range = first_range([whole], ranges)
        rt60_mid, _ = first_range(mid, ranges)
        more = [label.evaluate(whole) for label in others.values()]
        found = diagnoses[rt60_range or decay_ranges[-1]] if diagnostics else []
        labels.append((rt60, rt60_range, rt60_mid, *more, *(parameter.evaluate(whole) for parameter in found)))
    names = [parameter.name for parameter in diagnoses[decay_ranges[0]]] if diagnostics else []
    return pd.DataFrame(labels, columns=["rt60", "rt60_range", "rt60_mid", *others, *names])
