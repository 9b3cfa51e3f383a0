"""Speech-like sources by source-filter synthesis, for use without recordings.

A segment is a sequence of phones, each with targets for a formant synthesiser (Klatt, 1980): the levels of voicing,
aspiration and friction, the spectrum of the friction noise, and the formant frequencies. Phones become smooth tracks
over time. The tracks drive glottal pulses and noise, which are shaped by time-varying filters in steps of 10 ms.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from joblib import Parallel, delayed
from numpy.lib.stride_tricks import sliding_window_view
from numpy.random import Generator, RandomState
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft
from sklearn.utils import Bunch

from roomacoustic_sk._validation import (
    MILLISECONDS,
    allocate,
    check_n_jobs,
    check_number,
    check_random_state,
    check_sample_rate,
    door,
)

Array = NDArray[np.float64]
Spectrum = NDArray[np.complex128]

TICK = 0.005  # s, step of the tracks
HOP = 0.010  # s, step of the filters
SPREAD = 8  # length of a filtered frame in hops: formants ring about 40 ms
SHORTEST = 0.3  # s, minimum duration of a segment; longer than any consonant
LONGEST, HIGHEST_RATE = 600.0, 400_000  # s, Hz; the synthesis of a segment takes 30 times its memory
RMS = 0.05  # root-mean-square of each segment
BREATH_DB = -50.0  # noise under everything, relative to the segment: no recording has digital silence in its pauses
FRICTION_GAIN = 4.0  # of unit white noise against the unit glottal source, before the filters


class Phone(NamedTuple):
    """Targets of the synthesiser: levels in dB (-inf is off), frequencies in Hz, for a vocal tract of 17.5 cm."""

    formants: tuple[float, float, float]
    voice: float = -np.inf
    breath: float = -np.inf
    friction: float = -np.inf
    centre: float = 4000.0
    width: float = 3000.0


# Formants of American English vowels, men: Peterson and Barney (1952).
VOWELS = [
    Phone(formants, voice=0.0)
    for formants in (
        (270, 2290, 3010),
        (390, 1990, 2550),
        (530, 1840, 2480),
        (660, 1720, 2410),
        (730, 1090, 2440),
        (570, 840, 2410),
        (440, 1020, 2240),
        (300, 870, 2240),
        (640, 1190, 2390),
        (490, 1350, 1690),
    )
]
LABIAL, ALVEOLAR, PALATAL, VELAR = (250, 800, 2200), (250, 1700, 2600), (270, 1950, 2600), (250, 2100, 2400)
SONORANTS = [
    Phone((270, 1000, 2200), voice=-10.0),  # m
    Phone((270, 1650, 2600), voice=-10.0),  # n
    Phone((360, 1100, 2700), voice=-8.0),  # l
    Phone((310, 1060, 1400), voice=-8.0),  # r
    Phone((290, 610, 2150), voice=-8.0),  # w
    Phone((260, 2070, 3020), voice=-8.0),  # j
]
FRICATIVES = [
    Phone(ALVEOLAR, friction=-2.0, centre=6500, width=3000),  # s
    Phone(PALATAL, friction=-2.0, centre=3500, width=2000),  # sh
    Phone(LABIAL, friction=-14.0, centre=5500, width=6000),  # f, th
    Phone(ALVEOLAR, voice=-12.0, friction=-8.0, centre=6500, width=3000),  # z
    Phone(LABIAL, voice=-8.0, friction=-18.0, centre=5500, width=6000),  # v
    Phone((500, 1500, 2500), breath=-8.0),  # h
]
STOPS = [  # the closure is silent; these are the bursts
    Phone(LABIAL, friction=-8.0, centre=1000, width=2000),  # p, b
    Phone(ALVEOLAR, friction=-4.0, centre=4500, width=4000),  # t, d
    Phone(VELAR, friction=-4.0, centre=2000, width=1500),  # k, g
]


class Voice(NamedTuple):
    """Properties of a speaker: pitch, vocal tract, manner of speaking."""

    pitch: float  # Hz, median
    tract: float  # ratio of formant frequencies to those of a 17.5 cm vocal tract
    syllable_rate: float  # 1/s, within phrases
    tilt: float  # Hz, corner above which the glottal source falls by another 6 dB per octave
    open_quotient: float  # open share of a glottal cycle
    breath: float  # dB, aspiration in the voice
    liveliness: float  # semitones, rise of the pitch in accents
    pause: float  # s, mean pause between phrases


class Moment(NamedTuple):
    """A phone in a phrase."""

    phone: Phone
    n_ticks: int
    level: float  # dB
    pitch: float  # Hz


class Tracks(NamedTuple):
    """Targets over time, one value per tick; amplitudes are linear."""

    pitch: Array
    voice: Array
    breath: Array
    friction: Array
    centre: Array
    width: Array
    formants: Array  # (n_ticks, 3)


@door
def make_speech(
    n_speakers: int = 8,
    n_segments: int = 64,
    *,
    duration: float = 4.0,
    sample_rate: int = 16000,
    random_state: int | RandomState | None = None,
    n_jobs: int | None = None,
) -> Bunch:
    """Synthesise speech-like sources: no words, but the sounds, rhythm, pitch and pauses of speech.

    Syllables of stops, fricatives, sonorants and vowels with gliding formants form phrases with a falling pitch,
    separated by pauses. Speakers differ in pitch, vocal tract length, rate, spectral tilt, breathiness, intonation and
    pauses. Synthetic speech makes it possible to run everything without recordings, but does not replace them.

    Parameters
    ----------
    n_speakers : int, default=8
        Number of voices.
    n_segments : int, default=64
        Number of segments, assigned to the speakers in turn.
    duration : float, default=4.0
        Length of a segment in seconds, from 0.3 to 600.
    sample_rate : int, default=16000
        Sampling rate in Hz, at least 8000.
    random_state : int, RandomState instance or None, default=None
        Seed of voices and segments.
    n_jobs : int, default=None
        Number of processes, as in joblib; -1 takes all cores. The result is the same for any number.

    Returns
    -------
    Bunch
        As returned by `load_speech`:

        - segments : ndarray of shape (n_segments, n_times), float32, each with a root-mean-square of 0.05
        - sample_rate : int, in Hz
        - source : ndarray of str, shape (n_segments,), id of the segment
        - speaker : ndarray of str, shape (n_segments,)
        - file : ndarray of str, shape (n_segments,), empty
        - start : ndarray of shape (n_segments,), zero
        - voices : list of Voice, one per speaker: the parameters of the synthesis
        - synthetic : True
        - DESCR : str

    Raises
    ------
    TypeError, ValueError
        If a parameter is not a number or out of range.

    Notes
    -----
    Source-filter synthesis after Klatt, "Software for a cascade/parallel formant synthesizer", J. Acoust. Soc. Am.
    67, 1980, with the glottal pulse of Rosenberg, J. Acoust. Soc. Am. 49, 1971.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import make_speech
    >>> speech = make_speech(n_speakers=2, n_segments=4, duration=1.0, random_state=0)
    >>> speech.segments.shape, speech.speaker.tolist(), speech.synthetic
    ((4, 16000), ['synthetic-0', 'synthetic-1', 'synthetic-0', 'synthetic-1'], True)
    """
    check_number(n_speakers, name="n_speakers", low=1, integer=True)
    check_number(n_segments, name="n_segments", low=n_speakers, integer=True)
    check_number(duration, name="duration", unit="s", low=SHORTEST, limit=LONGEST, fix=MILLISECONDS)
    sample_rate = check_sample_rate(sample_rate)
    check_number(sample_rate, name="sample_rate", unit="Hz", low=8000, limit=HIGHEST_RATE)
    n_jobs = check_n_jobs(n_jobs)
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    n_times = round(duration * sample_rate)
    segments = allocate((n_segments, n_times), name="n_segments, duration and sample_rate")
    voices = _make_voices(n_speakers, np.random.default_rng(seed))

    jobs = (delayed(_speak)(voices[i % n_speakers], n_times, sample_rate, [seed, i]) for i in range(n_segments))
    for i, segment in enumerate(Parallel(n_jobs=n_jobs, return_as="generator")(jobs)):
        segments[i] = segment
    speaker = np.array([f"synthetic-{i % n_speakers}" for i in range(n_segments)])
    return Bunch(
        segments=segments,
        sample_rate=sample_rate,
        source=np.array([f"{name}/{i}" for i, name in enumerate(speaker)]),
        speaker=speaker,
        file=np.full(n_segments, ""),
        start=np.zeros(n_segments),
        voices=voices,
        synthetic=True,
        DESCR=(
            f"SYNTHETIC speech (no recordings): {n_segments} segments of {duration:g} s at {sample_rate} Hz "
            f"by {n_speakers} synthetic voices. Results on it do not show how well real speech would do."
        ),
    )


def _make_voices(n_speakers: int, rng: Generator) -> list[Voice]:
    """Spread the speakers over all properties by a Latin hypercube, so that even a few are distinct."""
    strata = np.argsort(rng.random((8, n_speakers)), axis=1)
    u = (strata + rng.random(strata.shape)) / n_speakers
    return [
        Voice(
            pitch=90 * (240 / 90) ** u[0, k],
            tract=1.0 + 0.15 * u[0, k] + 0.1 * (u[1, k] - 0.5),  # low voices have long tracts, roughly
            syllable_rate=3.8 + 1.6 * u[2, k],
            tilt=1500 * 4 ** u[3, k],
            open_quotient=0.5 + 0.25 * u[4, k],
            breath=-34 + 14 * u[5, k],
            liveliness=1.0 + 3.0 * u[6, k],
            pause=0.2 + 0.25 * u[7, k],
        )
        for k in range(n_speakers)
    ]


def _choose(options: list[Phone], rng: Generator) -> Phone:
    return options[rng.integers(len(options))]


def _consonant(rng: Generator) -> list[tuple[Phone, float]]:
    """Return the phones of a consonant, each with its duration in s at 4 syllables per second."""
    kind = rng.random()
    if kind < 0.35:
        burst = _choose(STOPS, rng)
        closure = burst._replace(friction=-np.inf)
        phones = [(closure, rng.uniform(0.04, 0.08)), (burst, 0.01)]
        if rng.random() < 0.5:  # voiceless: aspirated
            phones.append((Phone((450, *burst.formants[1:]), breath=-12.0), rng.uniform(0.02, 0.05)))
        return phones
    if kind < 0.65:
        return [(_choose(FRICATIVES, rng), rng.uniform(0.06, 0.12))]
    return [(_choose(SONORANTS, rng), rng.uniform(0.04, 0.08))]


def _syllable(rng: Generator) -> list[tuple[Phone, float]]:
    """Return the phones of a syllable: a vowel that glides, mostly after a consonant, sometimes before one."""
    vowel, goal = _choose(VOWELS, rng), _choose(VOWELS, rng)
    f1, f2, f3 = np.asarray(vowel.formants) + rng.uniform(0, 0.6) * np.subtract(goal.formants, vowel.formants)
    end = Phone((f1, f2, f3), voice=-2.0)
    length = rng.uniform(0.1, 0.2)
    onset = _consonant(rng) if rng.random() < 0.9 else []
    coda = _consonant(rng) if rng.random() < 0.25 else []
    return [*onset, (vowel, length / 2), (end, length / 2), *coda]


def _make_phrase(voice: Voice, rng: Generator) -> list[Moment]:
    """Plan a phrase with a falling pitch and level, and the pause after it."""
    moments: list[Moment] = []
    n_syllables = rng.integers(5, 12)
    for position in np.linspace(0, 1, n_syllables):
        accent = rng.random() < 0.4
        syllable = _syllable(rng)
        # Syllables have about the same length, given by the voice's rate, and are longer in accents and before a pause.
        wanted = rng.normal(1, 0.12) * (1.2 if accent or position == 1 else 0.92) / voice.syllable_rate
        stretch = np.clip(wanted / sum(length for _, length in syllable), 0.6, 1.6)
        semitones = 2.5 * (0.5 - position) + voice.liveliness * (accent - 0.4) + rng.normal(0, 0.4)
        for phone, length in syllable:
            n_ticks = max(2, round(stretch * length / TICK))
            level = 4.0 * accent - 5.0 * position + rng.normal(0, 1.5)
            moments.append(Moment(phone, n_ticks, level, voice.pitch * 2 ** (semitones / 12)))
    last = moments[-1]
    n_ticks = round(voice.pause * rng.uniform(0.5, 1.8) / TICK)
    return [*moments, Moment(Phone(last.phone.formants), n_ticks, 0.0, last.pitch)]


def _make_tracks(voice: Voice, n_ticks: int, rng: Generator) -> Tracks:
    """Plan phrases to fill the time, starting at a random point of the first, and smooth the steps between phones."""
    moments = _make_phrase(voice, rng)
    spoken = sum(moment.n_ticks for moment in moments[:-1])
    skip = rng.integers(spoken - round(SHORTEST / TICK))  # early enough that a short segment is not all pause
    while sum(moment.n_ticks for moment in moments) < skip + n_ticks:
        moments += _make_phrase(voice, rng)
    lengths = [moment.n_ticks for moment in moments]

    def track(values: Array, smoothing: float) -> Array:
        """Hold each value for the duration of its phone, and smooth the steps over `smoothing` seconds."""
        steps = np.repeat(values, lengths)
        window = np.hanning(round(smoothing / TICK) + 3)[1:-1]
        padded = np.pad(steps, (len(window) // 2, (len(window) - 1) // 2), mode="edge")
        return np.convolve(padded, window / window.sum(), mode="valid")[skip : skip + n_ticks]

    phones = [moment.phone for moment in moments]
    targets = np.array([(phone.voice, phone.breath, phone.friction, phone.centre, phone.width) for phone in phones])
    levels = np.array([moment.level for moment in moments])
    pitches = np.array([moment.pitch for moment in moments])
    # Tracks are smoothed in loudness, about the cube root of amplitude: sounds then fade out gradually, as in speech.
    loudness = 10 ** ((targets[:, :3] + levels[:, None]) / 60)
    formants = np.array([phone.formants for phone in phones])
    return Tracks(
        pitch=track(pitches, 0.15),
        voice=track(loudness[:, 0], 0.08) ** 3,
        breath=track(loudness[:, 1], 0.04) ** 3,
        friction=track(loudness[:, 2], 0.025) ** 3,
        centre=track(targets[:, 3], 0.0),
        width=track(targets[:, 4], 0.0),
        formants=voice.tract * np.stack([track(formant, 0.06) for formant in formants.T], axis=1),
    )


def _glottal_source(pitch: Array, voice: Voice, sample_rate: int, rng: Generator) -> Array:
    """Return the derivative of Rosenberg's glottal flow for a pitch track, at unit power."""
    wander = np.repeat(rng.standard_normal(len(pitch) // 128 + 1), 128)[: len(pitch)]  # jitter: 0.7 % every 8 ms
    phase = (rng.random() + np.cumsum(pitch * (1 + 0.007 * wander)) / sample_rate) % 1.0
    opening, closing = 0.67 * voice.open_quotient, 0.33 * voice.open_quotient
    rise = np.pi / (2 * opening) * np.sin(np.pi * phase / opening)
    fall = -np.pi / (2 * closing) * np.sin(np.pi / 2 * (phase - opening) / closing)
    pulse = np.where(phase < opening, rise, np.where(phase < opening + closing, fall, 0.0))
    return pulse / np.sqrt(np.mean(pulse**2))


def _resonance(formants: Array, bandwidths: Array, z: Spectrum, sample_rate: int) -> Spectrum:
    """Return the response of two-pole resonators in cascade (Klatt, 1980, Eq. 2), unity at 0 Hz.

    `formants` and `bandwidths` in Hz have shape (n_frames, n_formants), `z` is exp(-j omega) at the bins.
    """
    powers = z ** np.arange(3)[:, None]
    denominator, gain = np.ones((len(formants), len(z)), dtype=np.complex128), np.ones(len(formants))
    for frequency, bandwidth in zip(formants.T, bandwidths.T, strict=True):
        radius = np.exp(-np.pi * bandwidth / sample_rate)
        b = 2 * radius * np.cos(2 * np.pi * frequency / sample_rate)
        quadratic = np.stack([np.ones_like(b), -b, radius**2], axis=1)  # 1 - b z - c z^2
        denominator *= quadratic @ powers
        gain *= quadratic.sum(axis=1)
    return gain[:, None] / denominator


def _vocal_tract(formants: Array, voice: Voice, z: Spectrum, sample_rate: int) -> Spectrum:
    """Return the response of the vocal tract in each frame: moving F1 to F3, fixed higher formants, and the tilt."""
    bandwidths = 50 + 0.02 * formants  # wider at higher frequencies, roughly as in Klatt's Table I
    higher = voice.tract * np.arange(3500.0, 0.5 * sample_rate / voice.tract - 300, 1000.0)[None]
    fixed = _resonance(higher, 60 + 0.05 * higher, z, sample_rate)
    pole = np.exp(-2 * np.pi * voice.tilt / sample_rate)
    return _resonance(formants, bandwidths, z, sample_rate) * (fixed * (1 - pole) / (1 - pole * z))


def _speak(voice: Voice, n_times: int, sample_rate: int, seed: list[int]) -> NDArray[np.float32]:
    """Return a segment of a voice."""
    rng = np.random.default_rng(seed)
    tracks = _make_tracks(voice, int(np.ceil(n_times / sample_rate / TICK)) + 1, rng)
    return _synthesise(tracks, voice, n_times, sample_rate, rng)


def _synthesise(tracks: Tracks, voice: Voice, n_times: int, sample_rate: int, rng: Generator) -> NDArray[np.float32]:
    """Turn tracks into a waveform: sources over time, filtered frame by frame by overlap-add."""
    hop = round(HOP * sample_rate)
    n_frames = -(-n_times // hop) + 1
    time = np.arange((n_frames + 1) * hop) / sample_rate - HOP  # frames are two hops long; the first starts before 0
    ticks = TICK * np.arange(len(tracks.pitch))

    def over_time(track: Array) -> Array:
        return np.interp(time, ticks, track)

    noise = rng.standard_normal((2, len(time)))
    source = over_time(tracks.voice) * (
        _glottal_source(over_time(tracks.pitch), voice, sample_rate, rng) + 10 ** (voice.breath / 20) * noise[0]
    )
    source += over_time(tracks.breath) * noise[0]
    friction = FRICTION_GAIN * over_time(tracks.friction) * noise[1]

    n_fft = next_fast_len(SPREAD * hop, real=True)
    frequency = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    z = np.exp(-2j * np.pi * frequency / sample_rate)
    at_frames = np.minimum(np.arange(n_frames) * round(HOP / TICK), len(ticks) - 1)
    centre, width = voice.tract * tracks.centre[at_frames, None], tracks.width[at_frames, None]
    band = np.exp(-0.5 * ((frequency - centre) / (0.6 * width)) ** 2)
    window = np.hanning(2 * hop + 1)[:-1]

    def spectra(signal: Array) -> Spectrum:
        return rfft(window * sliding_window_view(signal, 2 * hop)[::hop], n_fft)

    filtered = spectra(source) * _vocal_tract(tracks.formants[at_frames], voice, z, sample_rate)
    frames = irfft(filtered + band * spectra(friction), n_fft)[:, : SPREAD * hop].reshape(n_frames, SPREAD, hop)
    blocks = np.zeros((n_frames + SPREAD, hop))
    for shift in range(SPREAD):
        blocks[shift : shift + n_frames] += frames[:, shift]
    waveform = blocks.ravel()[hop : hop + n_times]
    waveform *= RMS / np.sqrt(np.mean(waveform**2))
    return (waveform + RMS * 10 ** (BREATH_DB / 20) * rng.standard_normal(n_times)).astype(np.float32)
