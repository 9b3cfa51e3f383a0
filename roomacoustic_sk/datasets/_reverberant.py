"""Reverberant speech from room impulse responses and dry speech: y = x * h + n (Eq. 1 of the paper)."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from roomacoustic_sk._labels import check_groups
from roomacoustic_sk._recordings import Recordings, check_waveforms, cut_segment
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    allocate,
    check_choice,
    check_flag,
    check_n_jobs,
    check_number,
    check_random_state,
    check_sample_rate,
    check_verbose,
    describe,
    door,
)
from roomacoustic_sk.datasets._convolution import SPECTRA_BYTES, Spectra, convolve

TILE = 8  # a block of work is up to 8 RIRs x 8 segments: 16 spectra for 64 clips, about 40 MB at 4 s and 16 kHz
TINY = float(np.finfo(np.float32).tiny)  # keeps a clip of zeros at zero
ONSET_LEVEL = 0.1  # a response starts where it first comes within 20 dB of its peak (ISO 3382-1:2009, 5.3.3)


@door
def make_reverberant_speech(
    rooms: Bunch | Mapping[str, Any],
    speech: Bunch | Mapping[str, Any],
    *,
    pairing: Literal["grid", "random"] = "grid",
    n_samples: int | None = None,
    snr: float | None = None,
    normalize: Literal["rms", "peak"] | None = None,
    remove_delay: bool = False,
    lazy: bool = False,
    random_state: int | RandomState | None = None,
    n_jobs: int | None = None,
    verbose: int = 0,
) -> Bunch:
    """Convolve dry speech with room impulse responses (RIRs), in all combinations or in random pairs.

    Every clip is ``y = x * h + n`` (Eq. 1 of the paper), cut to the length of the dry segment: it starts with the
    first, still dry, sound, the reverberation builds up within the clip, and the tail after the segment's end is lost.

    Parameters
    ----------
    rooms : Bunch
        The responses, as returned by `simulate_rooms` or `load_measured_rirs`: `rirs` (1-D arrays of any length),
        `sample_rate` in Hz, `target` (DataFrame, one row per response), `rir` and `room` (1-D ids, one per response).
    speech : Bunch
        The dry speech, as returned by `load_speech` or `make_speech`: `segments` of shape (n_segments, n_times),
        `sample_rate` in Hz, `source` and `speaker` (1-D ids, one per segment).
    pairing : {"grid", "random"}, default="grid"
        "grid" combines each response with each segment, response by response: clip ``i * n_segments + j`` is response
        ``i`` with segment ``j`` (the paper's upstream data). "random" takes `n_samples` distinct pairs, in which the
        counts of the responses differ by at most one, and likewise those of the segments (its downstream data).
    n_samples : int, default=None
        Number of clips for ``pairing="random"``.
    snr : float, default=None
        Signal-to-noise ratio in dB of white Gaussian noise, relative to the mean power of each reverberant clip.
        None adds no noise.
    normalize : {"rms", "peak"}, default=None
        Scale each clip, noise included, to a root-mean-square of 0.1 or to a peak of 0.9. None keeps the level of the
        convolution, which reveals distance and absorption; a recording with unknown gain carries no such cue.
    remove_delay : bool, default=False
        Whether to remove everything before the direct sound (the first sample within 20 dB of the response's peak).
        Otherwise the silence at the start of a clip reveals the distance; a recording that starts at an arbitrary
        moment carries no such cue.
    lazy : bool, default=False
        Whether to convolve clips only on demand, so that a grid of any size fits into memory: only responses and
        segments are stored. The result behaves like an array, is accepted by scikit-learn's splitters and the
        estimators here, and gives the same samples. Training also keeps their spectra, up to 1.1 GB, until it ends.
    random_state : int, RandomState instance or None, default=None
        Seed of the pairs and the noise.
    n_jobs : int, default=None
        Number of threads, as in joblib; -1 takes all cores. The result is the same for any number.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        - data : ndarray of shape (n_clips, n_times), float32, the reverberant waveforms, or with `lazy` an array-like
          of that shape that computes them
        - target : DataFrame with n_clips rows, each clip's row of ``rooms.target``
        - rir, source, room, speaker : ndarray of shape (n_clips,), the ids
        - sample_rate : int, in Hz
        - synthetic : bool, whether the dry speech is synthetic
        - DESCR : str

    Raises
    ------
    TypeError, ValueError
        If a field of `rooms` or `speech` is missing, not finite, silent, integer PCM or misaligned; if the sampling
        rates differ; or if `n_samples` is not between 1 and the number of possible pairs.

    Notes
    -----
    Spectra are computed in float32 in blocks of up to 8 responses and 8 segments, so the memory needed besides the
    result is about 40 MB per thread. Each clip has its own noise generator, seeded by `random_state` and the clip's
    index.

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklearn.utils import Bunch
    >>> from roomacoustic_sk.datasets import make_reverberant_speech, make_speech
    >>> rng = np.random.default_rng(0)
    >>> rt60 = np.array([0.3, 0.6])
    >>> decay = 10 ** (-3 * np.arange(8000) / 16000 / rt60[:, None])
    >>> rooms = Bunch(rirs=decay * rng.standard_normal(decay.shape), sample_rate=16000,
    ...               target=pd.DataFrame({"rt60": rt60}), rir=[0, 1], room=["office", "hall"])
    >>> speech = make_speech(n_speakers=2, n_segments=3, duration=1.0, random_state=0)
    >>> data = make_reverberant_speech(rooms, speech)
    >>> data.data.shape, data.target["rt60"].tolist(), data.synthetic
    ((6, 16000), [0.3, 0.3, 0.3, 0.6, 0.6, 0.6], True)
    """
    check_choice(normalize, (None, "rms", "peak"), name="normalize")
    if snr is not None:
        check_number(snr, name="snr", unit="dB", low=-200, high=200, fix="Pass 10 * log10(ratio) of a ratio of powers.")
    for name, flag in (("remove_delay", remove_delay), ("lazy", lazy)):
        check_flag(flag, name=name)
    n_jobs = check_n_jobs(n_jobs)
    check_verbose(verbose)
    rooms = check_rooms(rooms)
    speech = _check_speech(speech)
    if rooms.sample_rate != speech.sample_rate:
        raise ArgumentValueError(
            f"rooms and speech must have the same sampling rate, got {rooms.sample_rate} Hz and "
            f"{speech.sample_rate} Hz. Load or simulate one of them at the other's rate."
        )
    rng: RandomState = check_random_state(random_state)
    rir, source = _pairs(len(rooms.rirs), len(speech.segments), pairing, n_samples, rng)

    n_times = speech.segments.shape[1]
    rirs = [_cut(h, n_times, remove_delay) for h in rooms.rirs]
    late = np.flatnonzero([not h.any() for h in rirs])
    if len(late):
        raise ArgumentValueError(
            f"rooms.rirs must have sound within the length of the segments ({n_times / rooms.sample_rate:g} s), "
            f"got nothing but zeros until then in row {late[0]}. Use remove_delay=True or longer segments."
        )
    mixing = Mixing(snr, normalize, int(rng.randint(np.iinfo(np.int32).max)))
    data: Any = ReverberantSpeech(Spectra(speech.segments), Spectra(rirs), speech.sample_rate, source, rir, mixing)
    if not lazy:
        data = _compute(data, n_jobs, verbose)
    return Bunch(
        data=data,
        target=rooms.target.iloc[rir].reset_index(drop=True),
        rir=rooms.rir[rir],
        source=speech.source[source],
        room=rooms.room[rir],
        speaker=speech.speaker[source],
        sample_rate=speech.sample_rate,
        synthetic=speech.synthetic,
        DESCR=_describe_data(rooms, speech, data, mixing, pairing, remove_delay),
    )


class Mixing(NamedTuple):
    """Noise and level of a clip, applied after its convolution."""

    snr: float | None  # dB
    normalize: str | None
    noise_seed: int  # seeds the noise, together with the clip's index


class ReverberantSpeech(Recordings):
    """Clips that are convolved on demand.

    Parameters
    ----------
    segments : Spectra
        Dry speech, all of one length.
    rirs : Spectra
        Responses, none longer than a segment.
    sample_rate : int
        Sampling rate, in Hz.
    source, rir : ndarray of shape (n_clips,)
        Indices of the segment and of the response of each clip.
    mixing : Mixing
        Noise and level.
    numbers : ndarray of shape (n_clips,), optional
        Indices of the clips among all clips, which seed their noise.
    """

    def __init__(
        self,
        segments: Spectra,
        rirs: Spectra,
        sample_rate: int,
        source: NDArray[np.intp],
        rir: NDArray[np.intp],
        mixing: Mixing,
        numbers: NDArray[np.intp] | None = None,
    ) -> None:
        n_times = len(segments.waveforms[0])
        super().__init__(np.full(len(rir), n_times), sample_rate, n_times)
        self.segments, self.rirs, self.source, self.rir, self.mixing = segments, rirs, source, rir, mixing
        self.numbers = np.arange(len(rir)) if numbers is None else numbers

    def gather(self, indices: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return whole clips, shape (n_clips, n_times)."""
        clips = convolve(self.segments, self.rirs, self.source[indices], self.rir[indices])
        if self.mixing.snr is None and self.mixing.normalize is None:
            return clips
        for i, number in enumerate(self.numbers[indices]):
            clips[i] = _finish(clips[i], self.mixing, int(number))
        return clips

    def _read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        clips = self.gather(indices)
        if n_times == self.n_times:
            return clips
        return [cut_segment(clip, start, n_times) for clip, start in zip(clips, starts, strict=True)]

    def take(self, indices: NDArray[np.intp]) -> ReverberantSpeech:
        """Return some of the clips, without computing them."""
        parts = self.source[indices], self.rir[indices], self.mixing, self.numbers[indices]
        return ReverberantSpeech(self.segments, self.rirs, self.sample_rate, *parts)

    def for_training(self) -> ReverberantSpeech:
        """Return the same clips, whose segments and responses are transformed once, as far as memory allows."""
        same = copy.copy(self)
        same.rirs = Spectra(self.rirs.waveforms, SPECTRA_BYTES // 4)
        same.segments = Spectra(self.segments.waveforms, SPECTRA_BYTES - same.rirs.limit)
        return same


def _compute(clips: ReverberantSpeech, n_jobs: int | None, verbose: int) -> NDArray[np.float32]:
    """Return all clips, computed in threads."""
    data = allocate(clips.shape, name="rooms and speech (or n_samples)")

    def fill(indices: NDArray[np.intp]) -> None:
        data[indices] = clips.gather(indices)

    blocks = tqdm(_tiles(clips.rir, clips.source), desc="reverberant speech", disable=not verbose)
    Parallel(n_jobs=n_jobs, prefer="threads", require="sharedmem")(delayed(fill)(indices) for indices in blocks)
    return data


def fields_of(bunch: Any, names: tuple[str, ...], argument: str) -> dict[str, Any]:
    """Return the named fields of a Bunch or mapping, or raise an error that lists the missing ones."""
    if not isinstance(bunch, Mapping):
        raise ArgumentTypeError(f"{argument} must be a Bunch with {', '.join(names)}, got {describe(bunch)}.")
    missing = [name for name in names if name not in bunch]
    if missing:
        raise ArgumentValueError(f"{argument} must have {', '.join(names)}, got none of these: {', '.join(missing)}.")
    return {name: bunch[name] for name in names}


def check_rooms(rooms: Any) -> Bunch:
    """Return the responses with checked samples, ids and rate."""
    checked = Bunch(**fields_of(rooms, ("rirs", "sample_rate", "target", "rir", "room"), "rooms"))
    checked.rirs = check_waveforms(checked.rirs, name="rooms.rirs")
    n_rirs = len(checked.rirs)
    checked.sample_rate = check_sample_rate(checked.sample_rate, name="rooms.sample_rate")
    for name in ("rir", "room"):
        checked[name] = check_groups(checked[name], n_rirs, name=f"rooms.{name}")
    if not hasattr(checked.target, "iloc") or len(checked.target) != n_rirs:
        raise ArgumentValueError(
            f"rooms.target must be a DataFrame with one row per response ({n_rirs}), "
            f"got {describe(checked.target)}"
            + (f" with {len(checked.target)} rows." if hasattr(checked.target, "iloc") else ".")
        )
    return checked


def _check_speech(speech: Any) -> Bunch:
    """Return the segments as one float32 array, with checked ids and rate."""
    checked = Bunch(**fields_of(speech, ("segments", "sample_rate", "source", "speaker"), "speech"))
    segments = check_waveforms(checked.segments, name="speech.segments", allow_constant=False)
    lengths = {len(segment) for segment in segments}
    if len(lengths) > 1:
        raise ArgumentValueError(
            f"speech.segments must all have the same length, got {min(lengths)} to {max(lengths)} samples."
        )
    checked.segments = np.asarray(segments, dtype=np.float32)
    n_labels = np.size(checked.source)
    if len(segments) != n_labels == checked.segments.shape[1]:
        raise ArgumentValueError(
            f"speech.segments must be of shape (n_segments, n_times), got {checked.segments.shape} for "
            f"{n_labels} sources, which looks transposed. Use speech.segments.T."
        )
    checked.sample_rate = check_sample_rate(checked.sample_rate, name="speech.sample_rate")
    for name in ("source", "speaker"):
        checked[name] = check_groups(checked[name], len(segments), name=f"speech.{name}")
    checked.synthetic = bool(speech.get("synthetic", False))
    return checked


def _pairs(
    n_rirs: int, n_segments: int, pairing: str, n_samples: int | None, rng: RandomState
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the indices of the response and of the segment of each clip."""
    check_choice(pairing, ("grid", "random"), name="pairing")
    if pairing == "grid":
        if n_samples is not None:
            raise ArgumentValueError(
                f"n_samples must be None for pairing='grid', got {describe(n_samples)}. "
                "Use pairing='random' to choose the number of pairs."
            )
        return np.repeat(np.arange(n_rirs), n_segments), np.tile(np.arange(n_segments), n_rirs)
    name = f"n_samples (of {n_rirs} responses x {n_segments} segments)"
    n_samples = check_number(n_samples, name=name, low=1, high=n_rirs * n_segments, integer=True)
    # A diagonal walk over the grid, shifted by one after each closed loop, visits every pair once, and the responses
    # and segments in turn: distinct pairs, with all responses and segments equally often. Permutations make it random.
    step = np.arange(n_samples, dtype=np.intp)
    rir = (step + step // math.lcm(n_rirs, n_segments)) % n_rirs
    return rng.permutation(n_rirs)[rir], rng.permutation(n_segments)[step % n_segments]


def _tiles(rir: NDArray[np.intp], source: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Split the clips into blocks that share responses and segments, so that few spectra are needed for many clips."""
    order = np.lexsort((source // TILE, rir // TILE))
    return np.array_split(order, -(-len(order) // TILE**2))


def _cut(rir: NDArray[Any], n_times: int, remove_delay: bool) -> NDArray[np.float32]:
    """Return the part of a response that a clip of `n_times` samples can hold."""
    level = np.abs(rir)
    onset = int(np.argmax(level >= ONSET_LEVEL * level.max())) if remove_delay else 0
    return np.asarray(rir[onset : onset + n_times], dtype=np.float32)


def _finish(clip: NDArray[np.float32], mixing: Mixing, number: int) -> NDArray[np.float32]:
    """Add noise to one clip and set its level."""
    if mixing.snr is not None:
        rng = np.random.default_rng([mixing.noise_seed, number])
        power = np.mean(np.square(clip, dtype=np.float64)) * 10 ** (-mixing.snr / 10)
        clip = clip + np.float32(math.sqrt(power)) * rng.standard_normal(len(clip), dtype=np.float32)
    if mixing.normalize == "rms":
        clip = clip * (0.1 / max(TINY, math.sqrt(np.mean(np.square(clip, dtype=np.float64)))))
    elif mixing.normalize == "peak":
        clip = clip * (0.9 / max(TINY, float(np.abs(clip).max())))
    return clip


def _describe_data(
    rooms: Bunch,
    speech: Bunch,
    data: Any,
    mixing: Mixing,
    pairing: str,
    remove_delay: bool,
) -> str:
    kind = "SYNTHETIC speech (no recordings)" if speech.synthetic else "speech"
    rate = speech.sample_rate
    return (
        f"Reverberant speech: {len(data)} clips of {data.shape[1] / rate:g} s at {rate} Hz, y = x * h + n.\n"
        f"{len(speech.segments)} segments of {kind} by {len(np.unique(speech.speaker))} speakers, {len(rooms.rirs)} "
        f"responses of {len(np.unique(rooms.room))} rooms, pairing: {pairing}.\n"
        f"Noise: {'none' if mixing.snr is None else f'white, {mixing.snr:g} dB below the reverberant speech'}. "
        f"Level: {'as convolved' if mixing.normalize is None else f'each clip scaled by its {mixing.normalize}'}. "
        f"Propagation delay: {'removed' if remove_delay else 'kept'}."
    )
