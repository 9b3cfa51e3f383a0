"""Synthetic speech has the rhythm, the pitch, the spectrum and the pauses of speech, and is marked as synthetic."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.utils import Bunch

from roomacoustic_sk.datasets._bunches import split_by_speaker
from roomacoustic_sk.datasets._speech import load_speech
from roomacoustic_sk.datasets._synthetic_speech import make_speech

RATE = 16000
OCTAVES = (125, 250, 500, 1000, 2000, 4000)


@pytest.fixture(scope="module")
def speech() -> Bunch:
    return make_speech(n_speakers=8, n_segments=48, random_state=0)


def octave_levels(segments: NDArray[np.float32]) -> NDArray[np.float64]:
    """Long-term average spectrum in octave bands, in dB relative to the whole."""
    normal = segments / np.sqrt(np.mean(np.square(segments), axis=1, keepdims=True))
    power = np.mean(np.abs(np.fft.rfft(normal, axis=1)) ** 2, axis=0)
    frequency = np.fft.rfftfreq(segments.shape[1], 1 / RATE)
    bands = [power[(frequency >= c / 2**0.5) & (frequency < c * 2**0.5)].sum() for c in OCTAVES]
    return 10 * np.log10(np.array(bands) / power.sum())


def modulation_spectrum(segments: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Share of the envelope's fluctuation in half-octave bands of modulation frequency from 1 Hz to 32 Hz."""
    envelope = np.abs(segments).reshape(len(segments), -1, 160).mean(axis=2)  # 100 values a second
    envelope = envelope / envelope.mean(axis=1, keepdims=True) - 1
    power = np.mean(np.abs(np.fft.rfft(envelope * np.hanning(envelope.shape[1]), axis=1)) ** 2, axis=0)
    frequency = np.fft.rfftfreq(envelope.shape[1], 0.01)
    centres = 2.0 ** np.arange(0, 5.1, 0.5)
    bands = np.array([power[(frequency >= c / 2**0.25) & (frequency < c * 2**0.25)].sum() for c in centres])
    return centres, bands / bands.sum()


def frame_levels(segments: NDArray[np.float32]) -> NDArray[np.float64]:
    """Level of frames of 20 ms in dB relative to their segment's."""
    power = np.mean(segments.reshape(len(segments), -1, 320).astype(float) ** 2, axis=2)
    return 10 * np.log10(power / power.mean(axis=1, keepdims=True) + 1e-12)


def voiced_pitches(segment: NDArray[np.float32]) -> NDArray[np.float64]:
    """Pitch of the clearly periodic frames of 40 ms, by autocorrelation, in Hz."""
    frames = np.lib.stride_tricks.sliding_window_view(segment, 640)[::320].astype(float)
    spectrum = np.abs(np.fft.rfft(frames, 2048, axis=1)) ** 2
    correlation = np.fft.irfft(spectrum, axis=1)[:, :400]
    correlation /= correlation[:, :1] * (1 - np.arange(400) / 640)
    shortest = RATE // 400
    lag = shortest + np.argmax(correlation[:, shortest : RATE // 60], axis=1)
    periodic = np.take_along_axis(correlation, lag[:, None], axis=1)[:, 0] > 0.85
    loud = np.mean(frames**2, axis=1) > 0.25 * np.mean(frames**2)
    return RATE / lag[periodic & loud]


def test_fields_are_those_of_load_speech_and_marked_synthetic(speech: Bunch) -> None:
    assert speech.segments.shape == (48, 64000)
    assert speech.segments.dtype == np.float32
    assert speech.synthetic is True
    assert speech.DESCR.startswith("SYNTHETIC speech (no recordings)")
    assert all(name.startswith("synthetic") for name in speech.speaker)
    assert len(set(speech.source)) == 48
    assert set(np.unique(speech.speaker, return_counts=True)[1]) == {6}
    assert len(speech.file) == len(speech.start) == 48
    assert speech.sample_rate == RATE


def test_level_is_fixed_and_nothing_clips(speech: Bunch) -> None:
    assert np.isfinite(speech.segments).all()
    np.testing.assert_allclose(np.sqrt(np.mean(speech.segments**2, axis=1)), 0.05, rtol=0.01)
    assert np.abs(speech.segments).max() < 1


def test_the_envelope_fluctuates_most_at_syllable_rate(speech: Bunch) -> None:
    centres, share = modulation_spectrum(speech.segments)
    assert 2.8 <= centres[np.argmax(share)] <= 5.7
    assert share[(centres >= 2) & (centres <= 8)].sum() > 0.55
    assert share[centres >= 16].sum() < 0.1


def test_voices_that_speak_faster_fluctuate_faster(speech: Bunch) -> None:
    rates = [voice.syllable_rate for voice in speech.voices]
    centroids = []
    for k in range(8):
        centres, share = modulation_spectrum(speech.segments[k::8])
        used = (centres > 2) & (centres < 12)
        centroids.append((centres * share)[used].sum() / share[used].sum())
    assert np.corrcoef(rates, centroids)[0, 1] > 0.5


def test_pauses_are_long_enough_to_hear_a_decay(speech: Bunch) -> None:
    levels = frame_levels(speech.segments)
    quiet = levels < -30
    assert 0.1 < quiet.mean() < 0.35
    # Runs of at least 0.2 s: all but a few segments have a pause, not only stop closures.
    runs = np.lib.stride_tricks.sliding_window_view(quiet, 10, axis=1).all(axis=2).any(axis=1)
    assert runs.mean() > 0.8
    assert (levels > -60).all()  # but no digital silence


def test_each_voice_has_its_own_pitch(speech: Bunch) -> None:
    for k, voice in enumerate(speech.voices):
        pitches = np.concatenate([voiced_pitches(segment) for segment in speech.segments[k::8]])
        assert len(pitches) > 100
        assert np.median(pitches) == pytest.approx(voice.pitch, rel=0.12)
        low, high = np.percentile(pitches, [10, 90])
        assert 60 < low < high < 400
        assert high / low > 1.1  # a contour, no monotone


def test_pitch_falls_along_a_phrase(speech: Bunch) -> None:
    slopes = []
    for segment in speech.segments:
        quiet = np.repeat(frame_levels(segment[None])[0] < -30, 320)
        edges = np.flatnonzero(np.diff(np.r_[True, quiet, True].astype(int)))
        for first, stop in zip(edges[::2], edges[1::2], strict=False):
            if stop - first > 0.8 * RATE:
                half = (first + stop) // 2
                early, late = voiced_pitches(segment[first:half]), voiced_pitches(segment[half:stop])
                if len(early) > 5 and len(late) > 5:
                    slopes.append(np.log2(np.median(late) / np.median(early)))
    assert len(slopes) > 20
    assert np.median(slopes) < -0.03


def test_voices_are_distinct_in_pitch_and_spectrum(speech: Bunch) -> None:
    pitches = np.sort([voice.pitch for voice in speech.voices])
    assert pitches[-1] / pitches[0] > 1.8
    assert len({round(voice.tract, 4) for voice in speech.voices}) == 8
    spectra = np.array([octave_levels(speech.segments[k::8]) for k in range(8)])
    again = np.array([octave_levels(speech.segments[k::8][:3]) for k in range(8)])
    # The spectrum of three segments is nearest to that of all segments by the same voice.
    distance = np.linalg.norm(again[:, None, 1:] - spectra[None, :, 1:], axis=2)
    assert (np.argmin(distance, axis=1) == np.arange(8)).mean() >= 0.75


def test_the_spectrum_falls_towards_high_frequencies(speech: Bunch) -> None:
    levels = dict(zip(OCTAVES, octave_levels(speech.segments), strict=True))
    assert max(levels, key=levels.__getitem__) == 500
    assert -20 < levels[4000] - levels[500] < -6
    assert levels[4000] > -20  # fricatives


def test_formants_move(speech: Bunch) -> None:
    frames = speech.segments[0].reshape(-1, 640)
    loud = frames[np.mean(frames**2, axis=1) > np.mean(frames**2)]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(640), axis=1)) ** 2
    frequency = np.fft.rfftfreq(640, 1 / RATE)
    vowel = (frequency > 800) & (frequency < 3000)
    centroid = (spectrum[:, vowel] * frequency[vowel]).sum(axis=1) / spectrum[:, vowel].sum(axis=1)
    assert np.percentile(centroid, 90) - np.percentile(centroid, 10) > 300


def test_a_seed_determines_the_speech() -> None:
    first, again, other = (make_speech(2, 4, duration=1.0, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.segments, again.segments)
    in_processes = make_speech(2, 4, duration=1.0, random_state=0, n_jobs=2)
    np.testing.assert_array_equal(first.segments, in_processes.segments)
    assert np.abs(np.corrcoef(first.segments, other.segments)[:4, 4:]).max() < 0.5


def test_no_two_segments_are_alike() -> None:
    segments = make_speech(1, 8, duration=1.0, random_state=0).segments
    assert np.abs(np.corrcoef(segments) - np.eye(8)).max() < 0.5


def test_more_segments_begin_with_the_same_ones() -> None:
    few, more = make_speech(2, 4, duration=0.5, random_state=0), make_speech(2, 6, duration=0.5, random_state=0)
    np.testing.assert_array_equal(few.segments, more.segments[:4])


@pytest.mark.parametrize("rate", [8000, 22050, 44100])
def test_speech_can_be_made_at_other_rates(rate: int) -> None:
    speech = make_speech(2, 4, duration=1.5, sample_rate=rate, random_state=0)
    assert speech.segments.shape == (4, round(1.5 * rate))
    assert np.isfinite(speech.segments).all()
    power = np.mean(np.abs(np.fft.rfft(speech.segments, axis=1)) ** 2, axis=0)
    frequency = np.fft.rfftfreq(speech.segments.shape[1], 1 / rate)
    assert 200 < (power * frequency).sum() / power.sum() < 2000


@pytest.mark.slow
def test_the_shortest_segments_are_not_silent() -> None:
    segments = make_speech(8, 400, duration=0.3, random_state=0).segments
    # Were a segment all pause, its breath noise alone would be brought to the level of speech.
    assert np.abs(segments).max(axis=1).min() > 0.1


def test_voices_can_be_split() -> None:
    train, test = split_by_speaker(make_speech(4, 8, duration=0.3, random_state=0), (0.5, 0.5), random_state=0)
    assert train.synthetic is True
    assert not set(train.speaker) & set(test.speaker)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"n_speakers": 0}, "n_speakers"),
        ({"n_segments": 3}, "n_segments must be a whole number of at least 8"),
        ({"duration": 0.0}, "duration"),
        ({"duration": np.nan}, "duration"),
        ({"sample_rate": 4000}, "sample_rate"),
    ],
)
def test_invalid_parameters_are_named(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=f"make_speech: {message}"):
        make_speech(**wrong)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def recorded(shared_data: Path) -> NDArray[np.float32]:
    return load_speech(shared_data / "LibriSpeech", n_segments=96, random_state=0).segments


@pytest.mark.slow
def test_the_long_term_spectrum_is_within_5_db_of_real_speech(speech: Bunch, recorded: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(octave_levels(speech.segments), octave_levels(recorded), atol=5)


def test_the_modulation_spectrum_is_that_of_real_speech(speech: Bunch, recorded: NDArray[np.float32]) -> None:
    centres, share = modulation_spectrum(speech.segments)
    _, real = modulation_spectrum(recorded)
    assert abs(np.log2(centres[np.argmax(share)] / centres[np.argmax(real)])) <= 0.5
    assert np.abs(share - real).max() < 0.07
