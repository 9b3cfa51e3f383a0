"""Reverberant speech out of room impulse responses and dry speech: y = x * h + n (Eq. 1 of the paper)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from joblib import Parallel, delayed
from numpy.random import RandomState
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from sklearn.utils import Bunch, check_random_state
from tqdm.auto import tqdm

from roomacoustic_sk._lazy import LazyRows
from roomacoustic_sk._validation import (
    check_choice,
    check_groups,
    check_number,
    check_rows,
    check_sample_rate,
    describe,
)

TILE = 8  # a block of work is up to 8 RIRs x 8 segments: 80 spectra for 64 clips, about 100 MB at 4 s and 16 kHz
TINY = float(np.finfo(np.float32).tiny)  # a clip of zeros stays one
ONSET_LEVEL = 0.1  # the response starts where it comes within 20 dB of its peak (ISO 3382-1:2009, 5.3.3)


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
    """Convolve dry speech with room impulse responses (RIRs), each with each or in random pairs.

    Every clip is ``y = x * h + n`` (Eq. 1 of the paper), cut to the length of the dry segment: it starts with the
    first, still dry, sound, the reverberation builds up inside the clip, and the tail after the segment's end is lost.

    Parameters
    ----------
    rooms : Bunch
        The responses, as `simulate_rooms` or `load_measured_rirs` return them: `rirs` (1-D arrays of any length),
        `sample_rate` in Hz, `target` (DataFrame, one row a response), `rir` and `room` (1-D ids, one a response).
    speech : Bunch
        The dry speech, as `load_speech` or `make_speech` return it: `segments` of shape (n_segments, n_times),
        `sample_rate` in Hz, `source` and `speaker` (1-D ids, one a segment).
    pairing : {"grid", "random"}, default="grid"
        "grid" takes each response with each segment, response by response: row ``i * n_segments + j`` is response
        ``i`` with segment ``j`` (the paper's upstream data). "random" takes `n_samples` different pairs, in which
        every response and every segment occurs equally often, give or take one (its downstream data).
    n_samples : int, default=None
        Number of clips for ``pairing="random"``.
    snr : float, default=None
        Signal-to-noise ratio in dB of white Gaussian noise, relative to the mean power of each reverberant clip.
        None adds no noise.
    normalize : {"rms", "peak"}, default=None
        Scale each clip, noise included, to a root-mean-square of 0.1 or to a peak of 0.9. None leaves the level as
        the convolution gives it: it then tells distance and absorption, which no recording of unknown gain does.
    remove_delay : bool, default=False
        Whether to drop what comes before the direct sound (the first sample within 20 dB of the response's peak).
        Left in, the silence at the start of a clip tells the distance, which no recording does that starts anywhere.
    lazy : bool, default=False
        Whether clips are convolved only when they are asked for, so that a grid of any size fits into memory:
        responses and segments are all that is stored. What comes back looks like an array, is taken by scikit-learn's
        splitters and the estimators here as it is, and holds the same samples within float error.
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
        - target : DataFrame of n_clips rows, the rows of ``rooms.target``
        - rir, source, room, speaker : ndarray of shape (n_clips,), the ids
        - sample_rate : int, in Hz
        - synthetic : bool, whether the dry speech is synthetic
        - DESCR : str

    Raises
    ------
    TypeError, ValueError
        If a field of `rooms` or `speech` is missing, not finite, silent, integer PCM or misaligned, if the sampling
        rates differ, or if `n_samples` is no number of pairs that exist.

    Notes
    -----
    Spectra are computed in float32 in blocks of up to 8 responses and 8 segments, so the memory beside the result is
    about 100 MB a thread. Noise comes from a generator of each clip's own, seeded by `random_state` and the row.

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
    caller = "make_reverberant_speech"
    check_choice(normalize, (None, "rms", "peak"), caller=caller, name="normalize")
    if snr is not None:
        check_number(snr, caller=caller, name="snr (in dB)", low=-200, high=200)
    rooms = _check_rooms(rooms, caller)
    speech = _check_speech(speech, caller)
    if rooms.sample_rate != speech.sample_rate:
        raise ValueError(
            f"{caller}: rooms and speech must have the same sampling rate, got {rooms.sample_rate} Hz and "
            f"{speech.sample_rate} Hz. Load or simulate one of them at the other's rate."
        )
    rng: RandomState = check_random_state(random_state)
    rir, source = _pairs(len(rooms.rirs), len(speech.segments), pairing, n_samples, rng, caller)
    noise_seed = int(rng.randint(np.iinfo(np.int32).max))

    n_times = speech.segments.shape[1]
    rirs = [_cut(h, n_times, remove_delay) for h in rooms.rirs]
    late = np.flatnonzero([not h.any() for h in rirs])
    if len(late):
        raise ValueError(
            f"{caller}: rooms.rirs must sound within the length of the segments ({n_times / rooms.sample_rate:g} s), "
            f"got nothing but zeros until then in row {late[0]}. Use remove_delay=True or longer segments."
        )
    data: Any = ReverberantRows(speech.segments, rirs, source, rir, snr, normalize, noise_seed)
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
        DESCR=_describe_data(rooms, speech, data, pairing, snr, normalize, remove_delay),
    )


class ReverberantRows(LazyRows):
    """Clips that are convolved when they are asked for.

    Parameters
    ----------
    segments : ndarray of shape (n_segments, n_times)
        Dry speech.
    rirs : list of ndarray
        Responses, none longer than a segment.
    source, rir : ndarray of shape (n_rows,)
        Which segment and which response makes each row.
    snr, normalize
        As for `make_reverberant_speech`.
    noise_seed : int
        Seeds the noise, together with the row's number.
    numbers : ndarray of shape (n_rows,), optional
        The rows' numbers, for subsets of rows.
    """

    def __init__(
        self,
        segments: NDArray[np.float32],
        rirs: list[NDArray[np.float32]],
        source: NDArray[np.intp],
        rir: NDArray[np.intp],
        snr: float | None,
        normalize: str | None,
        noise_seed: int,
        numbers: NDArray[np.intp] | None = None,
    ) -> None:
        self.segments, self.rirs, self.source, self.rir = segments, rirs, source, rir
        self.snr, self.normalize, self.noise_seed = snr, normalize, noise_seed
        self.numbers = np.arange(len(rir)) if numbers is None else numbers

    @property
    def shape(self) -> tuple[int, int]:
        """Number of clips, samples in a clip."""
        return len(self.rir), self.segments.shape[1]

    def gather(self, rows: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return these clips as an array of shape (n_rows, n_times)."""
        clips = _convolve(self.segments, self.rirs, self.source[rows], self.rir[rows])
        if self.snr is None and self.normalize is None:
            return clips
        for i, number in enumerate(self.numbers[rows]):
            rng = np.random.default_rng([self.noise_seed, int(number)])
            clips[i] = _finish(clips[i], self.snr, self.normalize, rng)
        return clips

    def _take(self, rows: NDArray[np.intp]) -> ReverberantRows:
        return ReverberantRows(
            self.segments,
            self.rirs,
            self.source[rows],
            self.rir[rows],
            self.snr,
            self.normalize,
            self.noise_seed,
            self.numbers[rows],
        )


def _compute(clips: ReverberantRows, n_jobs: int | None, verbose: int) -> NDArray[np.float32]:
    """Return all clips, computed in threads."""
    data = np.empty(clips.shape, dtype=np.float32)

    def fill(rows: NDArray[np.intp]) -> None:
        data[rows] = clips.gather(rows)

    blocks = tqdm(_tiles(clips.rir, clips.source), desc="reverberant speech", disable=not verbose)
    Parallel(n_jobs=n_jobs, prefer="threads", require="sharedmem")(delayed(fill)(rows) for rows in blocks)
    return data


def _fields(bunch: Any, names: tuple[str, ...], caller: str, argument: str) -> dict[str, Any]:
    """Return the named fields of a Bunch or mapping, else raise an error that lists those missing."""
    if not isinstance(bunch, Mapping):
        raise TypeError(f"{caller}: {argument} must be a Bunch with {', '.join(names)}, got {describe(bunch)}.")
    missing = [name for name in names if name not in bunch]
    if missing:
        raise ValueError(f"{caller}: {argument} must have {', '.join(names)}, got none of: {', '.join(missing)}.")
    return {name: bunch[name] for name in names}


def _check_rooms(rooms: Any, caller: str) -> Bunch:
    """Return the responses with checked samples, ids and rate."""
    checked = Bunch(**_fields(rooms, ("rirs", "sample_rate", "target", "rir", "room"), caller, "rooms"))
    checked.rirs = check_rows(checked.rirs, caller=caller, name="rooms.rirs")
    n_rirs = len(checked.rirs)
    checked.sample_rate = check_sample_rate(checked.sample_rate, caller=caller, name="rooms.sample_rate")
    for name in ("rir", "room"):
        checked[name] = check_groups(checked[name], n_rirs, caller=caller, name=f"rooms.{name}")
    if not hasattr(checked.target, "iloc") or len(checked.target) != n_rirs:
        raise ValueError(
            f"{caller}: rooms.target must be a DataFrame of one row a response ({n_rirs}), "
            f"got {describe(checked.target)}"
            + (f" of {len(checked.target)} rows." if hasattr(checked.target, "iloc") else ".")
        )
    return checked


def _check_speech(speech: Any, caller: str) -> Bunch:
    """Return the segments as one float32 array, with checked ids and rate."""
    checked = Bunch(**_fields(speech, ("segments", "sample_rate", "source", "speaker"), caller, "speech"))
    rows = check_rows(checked.segments, caller=caller, name="speech.segments")
    lengths = {len(row) for row in rows}
    if len(lengths) > 1:
        raise ValueError(
            f"{caller}: speech.segments must all have one length, got {min(lengths)} to {max(lengths)} samples."
        )
    checked.segments = np.asarray(rows, dtype=np.float32)
    n_labels = np.size(checked.source)
    if len(rows) != n_labels == checked.segments.shape[1]:
        raise ValueError(
            f"{caller}: speech.segments must be of shape (n_segments, n_times), got {checked.segments.shape} for "
            f"{n_labels} sources, which looks like time along the rows. Use speech.segments.T."
        )
    checked.sample_rate = check_sample_rate(checked.sample_rate, caller=caller, name="speech.sample_rate")
    for name in ("source", "speaker"):
        checked[name] = check_groups(checked[name], len(rows), caller=caller, name=f"speech.{name}")
    checked.synthetic = bool(speech.get("synthetic", False))
    return checked


def _pairs(
    n_rirs: int, n_segments: int, pairing: str, n_samples: int | None, rng: RandomState, caller: str
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return which response and which segment makes each clip."""
    check_choice(pairing, ("grid", "random"), caller=caller, name="pairing")
    if pairing == "grid":
        if n_samples is not None:
            raise ValueError(
                f"{caller}: n_samples must be None for pairing='grid', got {describe(n_samples)}. "
                "Use pairing='random' for a number of pairs."
            )
        return np.repeat(np.arange(n_rirs), n_segments), np.tile(np.arange(n_segments), n_rirs)
    name = f"n_samples (of {n_rirs} responses x {n_segments} segments)"
    n_samples = check_number(n_samples, caller=caller, name=name, low=1, high=n_rirs * n_segments, integer=True)
    # A diagonal walk over the grid, stepping aside after each closed loop, meets every pair once and rows and columns
    # in turn: different pairs, each response and segment equally often. Two permutations make it random.
    step = np.arange(n_samples, dtype=np.intp)
    rir = (step + step // math.lcm(n_rirs, n_segments)) % n_rirs
    return rng.permutation(n_rirs)[rir], rng.permutation(n_segments)[step % n_segments]


def _tiles(rir: NDArray[np.intp], source: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Split the clips into blocks that share responses and segments, so that few spectra serve many clips."""
    order = np.lexsort((source // TILE, rir // TILE))
    return np.array_split(order, -(-len(order) // TILE**2))


def _cut(rir: NDArray[Any], n_times: int, remove_delay: bool) -> NDArray[np.float32]:
    """Return the part of a response that a clip of `n_times` samples can hold."""
    level = np.abs(rir)
    onset = int(np.argmax(level >= ONSET_LEVEL * level.max())) if remove_delay else 0
    return np.asarray(rir[onset : onset + n_times], dtype=np.float32)


def _convolve(
    segments: NDArray[np.float32], rirs: list[NDArray[np.float32]], source: NDArray[np.intp], rir: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Convolve pairs of segments and responses, each transformed once, to the length of the segments."""
    sources, source = np.unique(source, return_inverse=True)
    used, rir = np.unique(rir, return_inverse=True)
    n_times = segments.shape[1]
    n_fft = next_fast_len(n_times + max(len(rirs[i]) for i in used) - 1, real=True)
    responses = np.zeros((len(used), n_fft), dtype=np.float32)
    for response, i in zip(responses, used, strict=True):
        response[: len(rirs[i])] = rirs[i]
    spectra = rfft(segments[sources], n_fft)[source]
    spectra *= rfft(responses, n_fft)[rir]
    return irfft(spectra, n_fft, overwrite_x=True)[:, :n_times]


def _finish(
    clip: NDArray[np.float32], snr: float | None, normalize: str | None, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Add noise to one clip and set its level."""
    if snr is not None:
        power = np.mean(np.square(clip, dtype=np.float64)) * 10 ** (-snr / 10)
        clip = clip + np.float32(math.sqrt(power)) * rng.standard_normal(len(clip), dtype=np.float32)
    if normalize == "rms":
        clip = clip * (0.1 / max(TINY, math.sqrt(np.mean(np.square(clip, dtype=np.float64)))))
    elif normalize == "peak":
        clip = clip * (0.9 / max(TINY, float(np.abs(clip).max())))
    return clip


def _describe_data(
    rooms: Bunch,
    speech: Bunch,
    data: Any,
    pairing: str,
    snr: float | None,
    normalize: str | None,
    remove_delay: bool,
) -> str:
    kind = "SYNTHETIC speech (no recordings)" if speech.synthetic else "speech"
    rate = speech.sample_rate
    return (
        f"Reverberant speech: {len(data)} clips of {data.shape[1] / rate:g} s at {rate} Hz, y = x * h + n.\n"
        f"{len(speech.segments)} segments of {kind} by {len(np.unique(speech.speaker))} speakers, {len(rooms.rirs)} "
        f"responses of {len(np.unique(rooms.room))} rooms, pairing: {pairing}.\n"
        f"Noise: {'none' if snr is None else f'white, {snr:g} dB below the reverberant speech'}. "
        f"Level: {'as convolved' if normalize is None else f'each clip scaled by its {normalize}'}. "
        f"Propagation delay: {'removed' if remove_delay else 'kept'}."
    )
