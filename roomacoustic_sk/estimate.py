"""`estimate_room`: room parameters of recordings of speech, with intervals and flags, as a table."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from joblib import Parallel, delayed, effective_n_jobs
from numpy.typing import NDArray
from tqdm.auto import tqdm

from roomacoustic_sk._labels import check_groups
from roomacoustic_sk._sound import has_sound, is_clipped
from roomacoustic_sk._sources import Channel, Opened, Source, sources_of
from roomacoustic_sk._speech_activity import FRAME_SECONDS, find_speech, is_narrow_band, looks_like_response
from roomacoustic_sk._speech_activity import LOWEST_SNR as LOWEST_ESTIMATE
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    check_choice,
    check_flag,
    check_n_jobs,
    check_number,
    check_verbose,
    describe,
    door,
    warn,
)
from roomacoustic_sk.persistence import load
from roomacoustic_sk.pretrained import load_pretrained, pretrained_names
from roomacoustic_sk.room_parameters import Heard, RoomEstimates, RoomParameterEstimator, hear_waveforms

__all__ = ["estimate_room"]

COVERAGE = 0.9
PIECE_SECONDS = 60.0
"""Longest part of a recording that is read at once, which bounds the memory."""

BATCH = 25
"""Largest number of recordings that a process is handed at once."""

FLAGS = ("too_short", "too_noisy", "no_speech", "clipped", "narrow_band", "out_of_range", "response")
WITHOUT_NUMBERS = {"too_short", "too_noisy", "no_speech", "response"}
"""Flags of rows whose numbers are NaN."""

SHORTEST_SPEECH = 1.0  # s
LOWEST_SNR = 0.0  # dB, as estimated
NO_SPEECH_SNR = -10.0  # dB, at which noise is all that is heard
SNR = "snr"
"""Target of models that estimate the signal-to-noise ratio themselves; for others, it is that of the level rule."""

STRANGEST = 0.98
"""Novelty from which a recording is out of the range of the model's calibration."""

NEXT_TO_NOTHING = 1e-6
"""Seconds as which a piece without speech counts in a mean, so that it stands only where there is nothing else."""

FIRST = ("rt60", "c50", "drr", "volume")
"""Columns of the table, in this order, as far as the model estimates them."""


class FileEstimates(NamedTuple):
    """The rows of one recording, or why there are none."""

    file: str
    frame: pd.DataFrame | None
    error: str | None


@door
def estimate_room(
    recordings: Any,
    sample_rate: int | None = None,
    *,
    model: str | Path | RoomParameterEstimator = "default",
    window: float | None = None,
    channel: Channel = "each",
    bands: bool = False,
    room: Sequence[Any] | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> pd.DataFrame:
    """Estimate reverberation time, clarity and direct-to-reverberant ratio of rooms from recordings of speech.

    Speech and the two seconds after it are used; long pauses are not. Recordings may have any length, rate and number
    of channels.

    Parameters
    ----------
    recordings : str, Path, array or a list of them
        An audio file; a folder with audio files in it or below it; a waveform (n_times,); several, as an array
        (n_recordings, n_times) or a list; or the `data` of `load_recordings`.
    sample_rate : int, optional
        Sampling rate of waveforms in Hz, which they need; files have their own.
    model : str, Path or RoomParameterEstimator, default="default"
        The name of an estimator that comes with the package, see `load_pretrained`; the path of one that `save` wrote;
        or a fitted one.
    window : float, optional
        Estimate each stretch of so many seconds on its own, for a course over time. The remainder at the end is left
        out if it is shorter than half of that.
    channel : {"each", "mix"} or int, default="each"
        A row for each channel of a file; their mean; or one channel, from 0 on.
    bands : bool, default=False
        Whether to add columns in octave bands, such as ``rt60_500``, if the model has such targets.
    room : sequence, optional
        A label for each recording. Recordings of one label are then answered by one row, whose `file` is the label.
    n_jobs : int, optional
        Number of recordings estimated in parallel; -1 for all cores.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    DataFrame
        Indexed by `file` (the path as passed, or below the folder; the number of a waveform), `channel`, `start` and
        `end` [s].

        - ``rt60``, ``rt60_low``, ``rt60_high`` : reverberation time, and the bounds of its 90 % interval [s]: the mean
          of T30 in the 500 Hz and 1 kHz octaves, which data sets here call ``rt60_mid``, not their broadband ``rt60``
        - ``c50``, ``drr``, with bounds : clarity and direct-to-reverberant ratio [dB], broadband
        - ``speech`` : speech found [s]
        - ``rt60_125`` to ``rt60_4000``, ``c50_125`` to ``c50_4000``, with bounds : in octaves, with ``bands=True``
        - ``snr`` : estimated signal-to-noise ratio [dB], by the model if "snr" is one of its targets
        - ``flags`` : words joined by commas, see Notes
        - ``model`` : name and version

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError, ValueError
        If an argument is out of range, or if no recording can be read. Of several, those that cannot be read are left
        out with a warning.

    Notes
    -----
    Flags: "no_speech" if nothing stands out of the noise; "response" if the recording looks like an impulse response,
    for which `acoustics` is made; "too_short" with less than 1 s of speech; "too_noisy" with an estimated SNR below
    1 dB. With these, the numbers are NaN. Numbers stay, but deserve doubt, with "clipped"; with "narrow_band", if
    nothing lies above 4 kHz although the sampling rate allows it; and with "out_of_range", if the recording differs
    from those of the model's calibration more than 98 % of these do.

    Speech is told by its level alone: music, a barking dog or a typewriter count as speech.

    Files such as M4A, MP4 and WebM are read through ffmpeg where that is installed.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import estimate_room
    >>> from roomacoustic_sk.datasets import make_speech
    >>> speech = make_speech(n_speakers=1, n_segments=1, duration=4.0, random_state=0)
    >>> frame = estimate_room(speech.segments[0], speech.sample_rate)
    >>> frame.index.names, len(frame), bool((frame["rt60_low"] < frame["rt60_high"]).all())
    (FrozenList(['file', 'channel', 'start', 'end']), 1, True)
    """
    check_verbose(verbose)
    settings = _settings(model, window, channel, bands)
    sources, is_single = sources_of(recordings, sample_rate)
    if room is not None and window is not None:
        raise ArgumentValueError(f"window must be None with room, which asks for one answer a room, got {window}.")
    labels = None if room is None else check_groups(room, len(sources), name="room")
    heard = _heard(sources, settings, n_jobs)
    shown = tqdm(heard, desc="estimate_room", total=len(sources), unit="recording", disable=not verbose)
    found, failed = [], []
    for source, (rows, error) in zip(sources, shown, strict=True):
        if error is not None:
            if is_single:
                raise type(error)(str(error)) from error
            failed.append(f"{source.name} ({error})")
        found.append(rows)
    if failed:
        listed = "; ".join(failed[:3]) + (f"; ... ({len(failed)} in all)" if len(failed) > 3 else "")
        if len(failed) == len(sources):
            raise ArgumentValueError(f"recordings must be audio files of speech, got none that can be read: {listed}.")
        warn(f"recordings should all be readable, got {len(failed)} of {len(sources)} that are not: {listed}.")
    of_each = [row for rows in found for row in rows]
    return settings.frame(of_each if labels is None else _of_rooms(found, labels.tolist()))


def iterate_estimates(
    recordings: Any,
    sample_rate: int | None = None,
    *,
    model: str | Path | RoomParameterEstimator = "default",
    window: float | None = None,
    channel: Channel = "each",
    bands: bool = False,
    n_jobs: int | None = None,
) -> Iterator[FileEstimates]:
    """Yield the rows of each recording, in their order, as they come; for the parameters, see `estimate_room`."""
    settings = _settings(model, window, channel, bands)
    sources, _ = sources_of(recordings, sample_rate)
    for source, (rows, error) in zip(sources, _heard(sources, settings, n_jobs), strict=True):
        yield FileEstimates(
            source.name, settings.frame(rows) if error is None else None, None if error is None else str(error)
        )


# --- What is asked for ----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Settings:
    """What to do with each recording."""

    model: RoomParameterEstimator
    name: str
    window: float | None
    channel: Channel
    bands: bool

    def columns(self) -> dict[str, int]:
        """Return the columns of the table, and the number of the target of each."""
        names = self.model.target_names_
        found = {
            "rt60" if target == "rt60_mid" else target: i
            for i, target in enumerate(names)
            if target != SNR and not (target == "rt60" and "rt60_mid" in names)
        }
        first = [column for column in FIRST if column in found]
        others = [column for column in found if column not in first and (self.bands or not _is_of_band(column))]
        return {column: found[column] for column in [*first, *others]}

    def frame(self, rows: Sequence[_Row]) -> pd.DataFrame:
        """Return the table of some rows."""
        columns, estimates, names = self.columns(), self._estimates(rows), self.model.target_names_
        of_snr = names.index(SNR) if SNR in names else None
        lines = []
        for i, row in enumerate(rows):
            snr = row.sum.snr if of_snr is None or not row.sum.weight else float(estimates.values[i, of_snr])
            flags = row.sum.flags(estimates.novelty[i], snr)
            is_told = not WITHOUT_NUMBERS & set(flags)
            line: dict[str, Any] = {}
            for column, target in columns.items():
                numbers = (estimates.values[i, target], *estimates.intervals[i, target])
                three = (column, f"{column}_low", f"{column}_high")
                line |= dict(zip(three, numbers if is_told else (np.nan,) * 3, strict=True))
            said = {"speech": round(row.sum.seconds, 2), "snr": round(snr, 1), "flags": ",".join(flags)}
            lines.append(line | said | {"model": self.name})
        numbers_of = [name for column in columns for name in (column, f"{column}_low", f"{column}_high")]
        index = pd.MultiIndex.from_tuples(
            [(row.file, row.channel, row.start, row.end) for row in rows], names=["file", "channel", "start", "end"]
        )
        return pd.DataFrame(lines, index=index, columns=[*numbers_of, "speech", "snr", "flags", "model"])

    def _estimates(self, rows: Sequence[_Row]) -> RoomEstimates:
        """Return the estimates of all rows, NaN for those that are silent."""
        n_targets = len(self.model.target_names_)
        values, intervals = np.full((len(rows), n_targets), np.nan), np.full((len(rows), n_targets, 2), np.nan)
        novelty = np.full(len(rows), np.nan)
        sounds = [i for i, row in enumerate(rows) if row.sum.weight]
        if sounds:
            embeddings = np.array([rows[i].sum.embedding() for i in sounds], dtype=np.float32)
            quality = np.array([rows[i].sum.quality() for i in sounds])
            values[sounds], intervals[sounds], novelty[sounds] = self.model._estimate(
                Heard(embeddings, quality), COVERAGE
            )
        return RoomEstimates(values, intervals, novelty)


def _settings(model: Any, window: Any, channel: Any, bands: Any) -> _Settings:
    """Check the arguments and load the model."""
    if window is not None:
        check_number(window, name="window", unit="s", low=1.0, limit=86_400)
    if isinstance(channel, str):
        check_choice(channel, ("each", "mix"), name="channel")
    else:
        check_number(channel, name="channel", low=0, integer=True)
    check_flag(bands, name="bands")
    estimator, name = _model(model)
    settings = _Settings(estimator, name, window, channel, bands)
    if bands and not any(map(_is_of_band, settings.columns())):
        raise ArgumentValueError(
            f"bands must be False with this model, which estimates {', '.join(estimator.target_names_)} and nothing in "
            "octave bands. Fit a RoomParameterEstimator with targets such as rt60_500."
        )
    return settings


def _is_of_band(column: str) -> bool:
    """Return whether a column is of an octave band, such as "rt60_500"."""
    return column.rpartition("_")[2].isdigit() and "_" in column


def _model(model: Any) -> tuple[RoomParameterEstimator, str]:
    """Return an estimator, and its name and version."""
    if isinstance(model, RoomParameterEstimator):
        if not model.__sklearn_is_fitted__():
            raise ArgumentValueError("model must be fitted. Call its fit, or pass model='default'.")
        return model, type(model).__name__
    if not isinstance(model, (str, os.PathLike)):
        raise ArgumentTypeError(
            f"model must be a name, a path or a RoomParameterEstimator, got {describe(model)}. "
            "Put an encoder and a head together by RoomParameterEstimator.of_fitted(encoder, head)."
        )
    if model in pretrained_names():
        return load_pretrained(str(model)), f"{model} {version('roomacoustic_sk')}"
    if not Path(model).exists():
        raise ArgumentValueError(
            f"model must be one of {pretrained_names()}, or the path of a file that save has written, got {model!r}."
        )
    loaded = load(model)
    if not isinstance(loaded, RoomParameterEstimator):
        raise ArgumentTypeError(f"model must be the file of a RoomParameterEstimator, got one of {describe(loaded)}.")
    return loaded, Path(model).name


# --- What is heard --------------------------------------------------------------------------------------------------


@dataclass
class _Sum:
    """What has been heard of a recording, or of several in a room, piece by piece."""

    total: NDArray[np.float64] | float = 0.0  # of embeddings, weighted by seconds
    seconds: float = 0.0  # of speech
    snr_seconds: float = 0.0
    weight: float = 0.0
    clipped: bool = False
    narrow: list[bool] = field(default_factory=list)
    response: bool = False

    def add(self, heard: Heard, narrow: bool) -> None:
        """Add a piece."""
        seconds = float(np.exp(heard.quality[0, 0]))
        has_speech = heard.quality[0, 1] > LOWEST_ESTIMATE
        weight = seconds if has_speech else NEXT_TO_NOTHING
        self.total = self.total + weight * heard.embeddings[0].astype(np.float64)
        self.seconds += seconds if has_speech else 0.0
        self.snr_seconds += weight * float(heard.quality[0, 1])
        self.weight += weight
        self.narrow.append(narrow)

    def merged(self, other: _Sum) -> _Sum:
        """Return the sum of both."""
        return _Sum(
            self.total + other.total,
            self.seconds + other.seconds,
            self.snr_seconds + other.snr_seconds,
            self.weight + other.weight,
            self.clipped or other.clipped,
            self.narrow + other.narrow,
            self.response and other.response,
        )

    @property
    def snr(self) -> float:
        """Estimated SNR in dB, averaged over the seconds of speech."""
        return self.snr_seconds / self.weight if self.weight else LOWEST_ESTIMATE

    def embedding(self) -> NDArray[np.float64]:
        """Return the embedding, of norm 1."""
        total = np.asarray(self.total)
        return total / np.linalg.norm(total)

    def quality(self) -> tuple[float, float]:
        """Return the numbers of quality, as of a recording in one piece."""
        return float(np.log(max(self.seconds, FRAME_SECONDS))), self.snr

    def flags(self, novelty: float, snr: float) -> list[str]:
        """Return all flags, in the order of `FLAGS`, where an SNR was estimated."""
        hears_speech = self.seconds > 0 and snr >= NO_SPEECH_SNR
        speaks = hears_speech and not self.response
        is_short = self.seconds < SHORTEST_SPEECH
        is_flagged = {
            "too_short": speaks and is_short,
            "too_noisy": speaks and snr < LOWEST_SNR and not is_short,  # a short one tells no SNR
            "no_speech": not hears_speech and not self.response,
            "clipped": self.clipped,
            "narrow_band": bool(self.narrow) and all(self.narrow),
            "out_of_range": speaks and novelty > STRANGEST,
            "response": self.response,
        }
        return [flag for flag in FLAGS if is_flagged[flag]]


class _Row(NamedTuple):
    """What a row of the table is made from."""

    file: str
    channel: int | str
    start: float  # s
    end: float
    sum: _Sum


def _heard(sources: list[Source], settings: _Settings, n_jobs: Any) -> Iterator[tuple[list[_Row], Exception | None]]:
    """Yield the rows of each recording, or the error, in their order."""
    jobs = (delayed(_hear_source)(source, settings) for source in sources)
    n_jobs = check_n_jobs(n_jobs)
    # The model travels once with each batch, and takes longer than some recordings.
    batch_size = max(min(len(sources) // (4 * effective_n_jobs(n_jobs)), BATCH), 1)
    yield from Parallel(n_jobs=n_jobs, batch_size=batch_size, return_as="generator")(jobs)


def _hear_source(source: Source, settings: _Settings) -> tuple[list[_Row], Exception | None]:
    try:
        return _rows(source, settings), None
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        return [], error


def _rows(source: Source, settings: _Settings) -> list[_Row]:
    """Hear all channels and windows of a recording."""
    rate = settings.model.sample_rate_
    with source.opened(settings.channel, rate) as opened:
        return [
            _Row(
                source.name,
                channel,
                round(first / rate, 3),
                round(stop / rate, 3),
                _hear_part(opened, channel, (first, stop), settings.model),
            )
            for channel in opened.channels
            for first, stop in _windows(opened.n_times, settings.window, rate)
        ]


def _windows(n_times: int, window: float | None, rate: int) -> list[tuple[int, int]]:
    """Return the first sample of each window and the one after its last."""
    if window is None or n_times <= window * rate:
        return [(0, n_times)]
    length = round(window * rate)
    found = [(first, min(first + length, n_times)) for first in range(0, n_times, length)]
    return found[:-1] if 2 * (found[-1][1] - found[-1][0]) < length else found


def _hear_part(opened: Opened, channel: int | str, part: tuple[int, int], model: RoomParameterEstimator) -> _Sum:
    """Hear a part of a recording, in pieces."""
    rate, (first, stop) = model.sample_rate_, part
    n_pieces = max(-(-(stop - first) // round(PIECE_SECONDS * rate)), 1)
    edges = np.linspace(first, stop, n_pieces + 1).round().astype(int)
    heard = _Sum()
    for begin, end in pairwise(edges.tolist()):
        waveform = opened.read(channel, begin, end - begin)
        if not len(waveform) or not has_sound(waveform.min(), waveform.max()):
            continue
        if len(waveform) < model.encoder_.module_.min_times:  # too short for the network, and for any number
            heard.seconds += find_speech(waveform, rate).seconds
            continue
        if n_pieces == 1:
            heard.response = looks_like_response(waveform, rate)
        heard.add(hear_waveforms(model.encoder_, [waveform]), is_narrow_band(waveform, rate))
        heard.clipped |= is_clipped(_as_recorded(opened, channel, (begin, end), rate, waveform))
    return heard


def _as_recorded(
    opened: Opened, channel: int | str, part: tuple[int, int], rate: int, waveform: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Return a part at its own rate: resampling rounds off the peaks that were cut."""
    if opened.own_rate == rate:
        return waveform
    first, stop = (min(at * opened.own_rate // rate, opened.n_own) for at in part)
    return opened.raw(channel, first, stop - first)


def _of_rooms(found: list[list[_Row]], labels: list[Any]) -> list[_Row]:
    """Return one row for all recordings of each label, in the order of their first ones."""
    rooms: dict[Any, _Row] = {}
    for rows, label in zip(found, labels, strict=True):
        for row in rows:
            before = rooms.get(label)
            both = row.sum if before is None else before.sum.merged(row.sum)
            seconds = row.end - row.start + (0.0 if before is None else before.end)
            rooms[label] = _Row(str(label), "all", 0.0, round(seconds, 3), both)
    return list(rooms.values())
