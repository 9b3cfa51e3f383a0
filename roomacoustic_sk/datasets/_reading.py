"""`read_audio`: the samples of audio files, whole or in part, at any sampling rate.

A file is decoded and resampled piece by piece, so that reading takes little more memory than the result. A part starts
where the resampled file has a sample at one of the original samples, and a filter's length before the first sample that
is wanted: it equals the same slice of the whole file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._sound import is_cancelled, mix_powers
from roomacoustic_sk._validation import (
    ArgumentValueError,
    MissingFileError,
    check_number,
    check_sample_rate,
    door,
)
from roomacoustic_sk.datasets._audio import (
    AudioInfo,
    AudioSource,
    as_source,
    audio_info,
    in_file,
    ratio,
    read_blocks,
    shown,
    unreadable,
)
from roomacoustic_sk.datasets._parts import Unclear

QUALITY = "VHQ"  # of soxr: linear phase, 28 bits, in float64, so that parts are equal to the whole after rounding
FILTER_HALF_LENGTH = 160  # samples at the lower rate; an impulse's response ends after 125
VORBIS_PREROLL = 32768  # frames; after a seek near the end, the first ones may be wrong (libsndfile issue 885)


@door
def read_audio(path: Any, sample_rate: int = 16000) -> NDArray[np.float32]:
    """Read all channels of an audio file at a given sampling rate.

    The file is decoded by libsndfile and resampled by soxr in pieces: memory grows by the result and some megabytes,
    however long it is.

    Parameters
    ----------
    path : str, Path or file object
        A file in any format that libsndfile reads (WAV, FLAC, Ogg, MP3 and others), or a file object opened for bytes,
        which is read from its position on. One that cannot seek, such as ``sys.stdin.buffer`` behind a pipe, is read
        into memory, up to 2 GiB.
    sample_rate : int, default=16000
        Sampling rate of the result in Hz. Files at other rates are resampled with linear phase and without delay, flat
        to 0.01 dB up to 0.91 times half the lower of the two rates.

    Returns
    -------
    ndarray of shape (n_channels, n_times), float32
        The samples. Integer formats are scaled to [-1, 1).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    TypeError
        If `path` is neither a path nor a file object opened for bytes.
    ValueError
        If the file is empty, truncated, damaged or not audio, if its samples are not finite, or if the result does not
        fit into memory.

    Examples
    --------
    >>> import io, numpy as np, soundfile
    >>> from roomacoustic_sk.datasets import read_audio
    >>> time = np.arange(48_000) / 48_000
    >>> file = io.BytesIO()
    >>> soundfile.write(file, np.stack([np.sin(2 * np.pi * 440 * time), 0 * time], axis=1), 48_000, format="WAV")
    >>> position = file.seek(0)
    >>> samples = read_audio(file, sample_rate=16_000)
    >>> samples.shape, round(float(np.abs(samples[0]).max()), 2), float(np.abs(samples[1]).max())
    ((2, 16000), 1.0, 0.0)
    """
    sample_rate = check_sample_rate(sample_rate)
    source = as_source(path, name="path")
    info = audio_info(source)
    return _read(source, info, _Stretch(sample_rate, 0, info.n_times_at(sample_rate)), slice(None))


def read_segment(
    path: str | Path,
    sample_rate: int,
    *,
    start: int = 0,
    n_times: int | None = None,
    channel: int | None = None,
    info: AudioInfo | None = None,
) -> NDArray[np.float32]:
    """Read an audio file, or a part of it, as one channel at a given sampling rate.

    Only the requested part is read and decoded, plus the few milliseconds by which the resampling filter extends beyond
    it, so that a part equals the same slice of the whole file.

    Parameters
    ----------
    path : str or Path
        A file in any format that libsndfile reads. Integer formats are scaled to [-1, 1).
    sample_rate : int
        Sampling rate of the result in Hz; files at another rate are resampled as by `read_audio`.
    start : int, default=0
        First sample, counted at `sample_rate`.
    n_times : int, default=None
        Number of samples, counted at `sample_rate`. None reads to the end.
    channel : int, default=None
        Channel to read, from 0. None averages all channels, which suits speech; for impulse responses from several
        microphones, choose one, since their mean is not the response of any microphone.
    info : AudioInfo, default=None
        The file's header, if it has been read already.

    Returns
    -------
    ndarray of shape (n_times,), float32
        The samples.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is empty, truncated, not audio or not finite, if it lacks the requested part or channel, or if its
        channels are averaged and cancel.

    Examples
    --------
    >>> import tempfile, pathlib, numpy as np, soundfile
    >>> from roomacoustic_sk.datasets._reading import read_segment
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder) / "tone.wav"
    ...     soundfile.write(path, np.sin(2 * np.pi * 440 * np.arange(44100) / 44100), 44100)
    ...     read_segment(path, sample_rate=16000, start=4000, n_times=8000).shape
    (8000,)
    """
    sample_rate = check_sample_rate(sample_rate)
    path = Path(path).expanduser()
    info = audio_info(path) if info is None else info
    length = info.n_times_at(sample_rate)
    check_number(start, name="start", low=0, high=length - 1, integer=True)
    if n_times is None:
        n_times = length - start
    check_number(n_times, name=f"n_times (from {start} on)", low=1, high=length - start, integer=True)
    if channel is not None:
        check_number(channel, name="channel", low=0, high=info.n_channels - 1, integer=True)
    stretch = _Stretch(sample_rate, start, n_times)
    if channel is None and info.n_channels > 1:
        return _read(path, info, stretch, slice(None), mixes=True)[0]
    return _read(path, info, stretch, slice(channel or 0, (channel or 0) + 1))[0]


# --- Decoding and resampling ----------------------------------------------------------------------------------------


class _Stretch(NamedTuple):
    """Some samples of a file, counted at `sample_rate`."""

    sample_rate: int
    start: int
    n_times: int


class _Writer:
    """Takes decoded frames piece by piece, resamples them and writes them into the result.

    Parameters
    ----------
    result : ndarray of shape (n_channels, n_times)
        Filled from left to right.
    columns : slice
        The channels to keep.
    mixes : bool
        Whether to keep their mean.
    rates : tuple of int
        Sampling rates of the frames and of the result, in Hz.
    n_skipped : int
        Resampled samples to leave out at the beginning.
    """

    def __init__(
        self, result: NDArray[np.float32], columns: slice, mixes: bool, rates: tuple[int, int], n_skipped: int
    ) -> None:
        self.result, self.columns, self.mixes, self.rates = result, columns, mixes, rates
        self.n_frames = 0  # taken so far
        self._at = -n_skipped  # where the next sample belongs
        self._powers = np.zeros(2)
        self._resampler = _resampler(rates, len(result)) if rates[0] != rates[1] else None

    def put(self, frames: NDArray[np.float32]) -> int | None:
        """Take the next frames (n_frames, n_channels); return the number of the first that is not finite, if any."""
        frames = frames[:, self.columns]
        finite = np.isfinite(frames)
        if not finite.all():
            return self.n_frames + int(finite.all(axis=1).argmin())
        self.n_frames += len(frames)
        if self.mixes:
            mean = frames.mean(axis=1)
            self._powers += mix_powers(frames, mean)
            frames = mean[:, None]
        if self._resampler is not None:
            frames = self._resampler.resample_chunk(np.ascontiguousarray(frames))
        self._write(frames)
        return None

    def finish(self) -> None:
        """Write what the filter still holds: zeros follow the last frame."""
        if self._resampler is not None:
            up, down = ratio(*self.rates)
            zeros = np.zeros((-(-down // up) + 1, len(self.result)), dtype=np.float32)  # soxr rounds the length down
            self._write(self._resampler.resample_chunk(zeros, last=True))

    @property
    def cancelled(self) -> bool:
        """Whether the channels cancel in their mean."""
        return is_cancelled(*self._powers)

    def _write(self, samples: NDArray[np.float32]) -> None:
        begin, self._at = self._at, self._at + len(samples)
        first, stop = max(begin, 0), min(self._at, self.result.shape[1])
        if first < stop:
            self.result[:, first:stop] = samples[first - begin : stop - begin].T


def resample(samples: NDArray[Any], old_rate: int, sample_rate: int) -> NDArray[np.float32]:
    """Return a 1-D waveform at another sampling rate, resampled as files are."""
    import soxr

    if old_rate == sample_rate:
        return samples.astype(np.float32)
    return soxr.resample(samples, old_rate, sample_rate, quality=QUALITY).astype(np.float32)


def _resampler(rates: tuple[int, int], n_channels: int) -> Any:
    """Return a resampler that keeps its state from one piece to the next."""
    import soxr

    return soxr.ResampleStream(*rates, n_channels, dtype="float32", quality=QUALITY)


def _read(
    source: AudioSource, info: AudioInfo, stretch: _Stretch, columns: slice, *, mixes: bool = False
) -> NDArray[np.float32]:
    """Read a stretch of a file, shape (n_channels, n_times)."""
    sample_rate, start, n_times = stretch
    up, down = ratio(info.sample_rate, sample_rate)
    margin = -(-FILTER_HALF_LENGTH * max(up, down) // up) + 1 if up != down else 0
    # Starting at a multiple of `down` puts the resampled part on the sample grid of the whole resampled file.
    first = max(0, start * down // up - margin) // down * down
    stop = min(info.n_times, -(-(start + n_times) * down // up) + margin)
    n_channels = 1 if mixes else len(range(info.n_channels)[columns])
    try:
        result = np.empty((n_channels, n_times), dtype=np.float32)
    except (MemoryError, ValueError) as error:
        why = f"which would take {4e-9 * n_channels * n_times:.3g} GB at {sample_rate} Hz, more memory than there is"
        raise unreadable(source, why, "Read it in segments, or split it") from error
    writer = _Writer(result, columns, mixes, (info.sample_rate, sample_rate), start - first * up // down)
    _decode(source, info, first, stop, writer)
    writer.finish()
    if writer.cancelled:
        raise ArgumentValueError(
            "path must be a recording whose channels can be averaged, got channels of opposite phase, which cancel, "
            f"in {shown(source)}. Invert one of them, or keep a single channel."
        )
    return result


def _decode(source: AudioSource, info: AudioInfo, first: int, stop: int, writer: _Writer) -> None:
    """Decode frames at the file's own rate, from one part after another."""
    import soundfile

    end = 0
    try:
        for part, n_times in info.parts or ((None, info.n_times),):
            begin, end = end, end + n_times
            here = max(first, begin) - begin, min(stop, end) - begin
            if here[0] < here[1]:
                broken = in_file(source, part, partial(_decode_stretch, info=info, stretch=here, writer=writer))
                if broken is not None:
                    at = (first + broken) / info.sample_rate
                    raise unreadable(source, f"which has NaN or infinite samples, first at {at:.2f} s")
    except Unclear as error:
        raise unreadable(source, *str(error).rsplit(". ", 1)) from error
    except (soundfile.LibsndfileError, OSError) as error:
        if isinstance(source, Path) and not source.is_file():
            raise MissingFileError(
                f"path must be an audio file, got one that no longer exists: {shown(source)}."
            ) from error
        audio_info(source)  # which names a file that was cut since it was listed
        raise unreadable(source, f"which is damaged: {getattr(error, 'error_string', error)}") from error
    if writer.n_frames < stop - first:
        audio_info(source)
        why = f"which is damaged: {writer.n_frames} of {stop - first} samples from {first} on could be decoded"
        raise unreadable(source, why)


def _decode_stretch(file: Any, info: AudioInfo, stretch: tuple[int, int], writer: _Writer) -> int | None:
    """Decode frames of an open file; return the number of the first that is not finite, if any."""
    if (file.samplerate, file.channels) != (info.sample_rate, info.n_channels):
        raise Unclear("which has changed since it was listed. List it again")
    _skip(file, stretch[0])
    found = (writer.put(frames) for frames in read_blocks(file, stretch[1] - stretch[0]))
    return next((broken for broken in found if broken is not None), None)


def _skip(file: Any, n_frames: int) -> None:
    """Go to a frame, decoding what comes before it where libsndfile cannot seek."""
    preroll = n_frames
    if file.seekable():
        preroll = min(n_frames, VORBIS_PREROLL if file.format == "OGG" else 0)
        file.seek(n_frames - preroll)
    for _ in read_blocks(file, preroll):
        pass
