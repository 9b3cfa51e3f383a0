"""Segments of speech: slices of their files, distinct, balanced over speakers, not silent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from sklearn.utils import Bunch
from toys import RATE, noise, write_audio

from roomacoustic_sk.datasets._reading import read_segment
from roomacoustic_sk.datasets._speech import load_speech


def talk(seconds: float, seed: int = 0, rate: int = RATE) -> NDArray[np.float64]:
    return noise(round(seconds * rate), level=-20, seed=seed)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Make a corpus in LibriSpeech's layout: speaker 10 has three utterances, 20 one long one, 30 two, one short."""
    root = tmp_path / "LibriSpeech" / "tiny"
    lengths = {"10-1-0000": 3, "10-1-0001": 5, "10-2-0000": 4, "20-7-0000": 12, "30-3-0000": 6, "30-3-0001": 0.9}
    for seed, (name, seconds) in enumerate(lengths.items()):
        speaker, chapter, _ = name.split("-")
        write_audio(root / speaker / chapter / f"{name}.flac", talk(seconds, seed))
    (root.parent / "SPEAKERS.TXT").write_text("not audio")
    return root


def slice_of(root: Path, speech: Bunch, row: int) -> NDArray[np.float32]:
    n_times = speech.segments.shape[1]
    start = round(speech.start[row] * speech.sample_rate)
    return read_segment(root / speech.file[row], speech.sample_rate)[start : start + n_times]


@pytest.mark.parametrize("segments", ["random", "consecutive"])
def test_every_segment_is_the_stated_slice_of_its_file(corpus: Path, segments: str) -> None:
    speech = load_speech(corpus, duration=1.0, n_segments=12, segments=segments, random_state=0)
    assert speech.segments.shape == (12, RATE)
    assert speech.segments.dtype == np.float32
    assert speech.sample_rate == RATE
    assert speech.synthetic is False
    for row in range(12):
        np.testing.assert_array_equal(speech.segments[row], slice_of(corpus, speech, row))


def test_librispeechs_layout_gives_the_speaker_from_any_folder(corpus: Path) -> None:
    for folder in (corpus.parent, corpus, corpus / "10", corpus / "10" / "1"):
        speech = load_speech(folder, duration=1.0, segments="consecutive")
        assert all(Path(name).name.startswith(f"{who}-") for name, who in zip(speech.file, speech.speaker, strict=True))
    assert set(load_speech(corpus, duration=1.0).speaker) == {"10", "20", "30"}


def test_other_corpora_take_speakers_from_folders_or_a_pattern(tmp_path: Path) -> None:
    for name in ("ada/x.wav", "bob/y.ogg", "ada/z.mp3"):
        write_audio(tmp_path / name, talk(1.5))
    assert set(load_speech(tmp_path, duration=1.0).speaker) == {"ada", "bob"}
    assert set(load_speech(tmp_path, duration=1.0, speaker_pattern=r"/(\w)\.").speaker) == {"x", "y", "z"}
    with pytest.raises(ValueError, match=r"speaker_pattern must match every file .* does not match bob/y\.ogg"):
        load_speech(tmp_path, duration=1.0, speaker_pattern=r"(ada)")
    with pytest.raises(ValueError, match="has no group"):
        load_speech(tmp_path, duration=1.0, speaker_pattern="a")


def test_sources_are_distinct_and_speakers_take_turns(corpus: Path) -> None:
    speech = load_speech(corpus, duration=1.0, n_segments=300, random_state=1)
    assert len(set(speech.source)) == 300
    assert len({(f, s) for f, s in zip(speech.file, speech.start, strict=True)}) == 300
    for n in (3, 30, 300):
        assert set(np.unique(speech.speaker[:n], return_counts=True)[1]) == {n // 3}


def test_sources_are_distinct_even_with_few_possible_offsets(tmp_path: Path) -> None:
    write_audio(tmp_path / "ada" / "tight.wav", talk(1.0 + 5 / RATE))
    speech = load_speech(tmp_path, duration=1.0, n_segments=6, random_state=0)
    assert sorted(np.round(speech.start * RATE)) == [0, 1, 2, 3, 4, 5]


def test_exhausted_speakers_leave_their_turns_to_the_others(tmp_path: Path) -> None:
    write_audio(tmp_path / "ada" / "exact.wav", talk(1.0))  # one segment of one second, not one more
    write_audio(tmp_path / "bob" / "long.wav", talk(5.0))
    speech = load_speech(tmp_path, duration=1.0, n_segments=10, random_state=0)
    assert speech.speaker.tolist().count("ada") == 1
    assert len(set(speech.source)) == 10


def test_n_segments_defaults_to_one_a_file_or_all_consecutive_ones(corpus: Path) -> None:
    one_each = load_speech(corpus, duration=1.0, random_state=0)
    assert sorted(one_each.file) == sorted(set(one_each.file))
    assert len(one_each.file) == 5
    every = load_speech(corpus, duration=1.0, segments="consecutive")
    assert len(every.segments) == 3 + 5 + 4 + 12 + 6
    for name in set(every.file):
        starts = every.start[every.file == name]
        np.testing.assert_array_equal(starts, np.arange(len(starts)))


def test_short_files_and_silent_segments_are_left_out_and_counted(tmp_path: Path) -> None:
    speech = talk(8.0)
    speech[2 * RATE : 5 * RATE] *= 1e-3  # 60 dB below: three seconds of pause
    write_audio(tmp_path / "a" / "paused.wav", speech)
    write_audio(tmp_path / "a" / "short.wav", talk(0.5))
    write_audio(tmp_path / "a" / "zeros.wav", np.zeros(2 * RATE))
    cut = load_speech(tmp_path, duration=1.0, segments="consecutive")
    assert cut.start.tolist() == [0, 1, 5, 6, 7]
    assert "1 files shorter than 1 s and 5 silent segments" in cut.DESCR
    drawn = load_speech(tmp_path, duration=1.0, n_segments=200, random_state=0)
    activity = (np.abs(drawn.segments) > 0.005).mean(axis=1)
    assert activity.min() > 0.2
    every = load_speech(tmp_path, duration=1.0, segments="consecutive", min_activity=0.0)
    assert len(every.segments) == 5


def test_silence_is_relative_to_the_level_of_the_file(tmp_path: Path) -> None:
    write_audio(tmp_path / "a" / "quiet.flac", 0.003 * talk(3.0) / 0.1)
    assert len(load_speech(tmp_path, duration=1.0, segments="consecutive").segments) == 3


def test_files_at_other_rates_are_resampled(tmp_path: Path) -> None:
    for rate in (8000, 44100, 48000):
        time = np.arange(2 * rate) / rate
        write_audio(tmp_path / "tones" / f"{rate}.wav", 0.3 * np.sin(2 * np.pi * 500 * time), rate)
    speech = load_speech(tmp_path, duration=1.0, segments="consecutive")
    expected = np.sin(2 * np.pi * 500 * np.arange(RATE) / RATE)
    for segment in speech.segments[::2]:
        np.testing.assert_allclose(segment[500:-500], 0.3 * expected[500:-500], atol=2e-3)
    assert load_speech(tmp_path, duration=0.5, sample_rate=8000).segments.shape[1] == 4000


def test_a_seed_determines_the_segments(corpus: Path) -> None:
    first, again, other = (load_speech(corpus, duration=1.0, n_segments=20, random_state=s) for s in (0, 0, 1))
    np.testing.assert_array_equal(first.segments, again.segments)
    np.testing.assert_array_equal(first.source, again.source)
    assert set(first.source) != set(other.source)


def test_a_subset_of_speakers_can_be_chosen(corpus: Path) -> None:
    speech = load_speech(corpus, duration=1.0, n_segments=10, speakers=[20, "30"], random_state=0)
    assert set(speech.speaker) == {"20", "30"}
    with pytest.raises(ValueError, match=r"load_speech: speakers must be among the 3 speakers .*, got 99"):
        load_speech(corpus, speakers=["10", "99"])
    with pytest.raises(ValueError, match="got none"):
        load_speech(corpus, speakers=[])


def test_only_the_needed_files_of_a_corpus_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(60):
        write_audio(tmp_path / f"speaker{i % 12}" / f"{i}.wav", talk(1.2, i))
    opened, start = [], soundfile.SoundFile.__init__

    def counting(file: soundfile.SoundFile, path: object, *arguments: object, **options: object) -> None:
        opened.append(path)
        start(file, path, *arguments, **options)

    monkeypatch.setattr(soundfile.SoundFile, "__init__", counting)
    load_speech(tmp_path, duration=1.0, n_segments=5, random_state=0)
    assert len(set(opened)) == 5


def test_only_parts_of_a_long_file_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_audio(tmp_path / "book" / "chapter.wav", talk(120.0))
    asked, read = [], soundfile.SoundFile.read

    def counting(file: soundfile.SoundFile, frames: int = -1, **options: object) -> NDArray[np.float32]:
        asked.append(frames)
        return read(file, frames, **options)

    monkeypatch.setattr(soundfile.SoundFile, "read", counting)
    load_speech(tmp_path, duration=1.0, n_segments=3, random_state=0)
    assert 3 * RATE <= sum(asked) <= 13 * (RATE + 1)  # one more each, for rates that differ


def test_too_many_segments_are_refused_with_the_possible_number(corpus: Path) -> None:
    with pytest.raises(ValueError, match=r"n_segments must be at most 30, .*1 files shorter than 1 s.* got 31"):
        load_speech(corpus, duration=1.0, n_segments=31, segments="consecutive")
    with pytest.raises(ValueError, match=r"load_speech: folder must hold speech of 13 s, got none .*\(6 files shorter"):
        load_speech(corpus, duration=13.0)


@pytest.mark.parametrize("damage", ["truncated", "no audio", "empty"])
def test_a_broken_file_is_named(corpus: Path, damage: str) -> None:
    path = corpus / "20" / "7" / "20-7-0000.flac"
    content = {"truncated": path.read_bytes()[: path.stat().st_size // 2], "no audio": b"hello", "empty": b""}[damage]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"load_speech: .*20-7-0000\.flac"):
        load_speech(corpus, duration=1.0, segments="consecutive")


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="load_speech: folder must hold audio files"):
        load_speech(tmp_path)
    with pytest.raises(FileNotFoundError, match="load_speech: folder must be a folder with audio files"):
        load_speech(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"duration": 0}, "duration"),
        ({"duration": np.nan}, "duration"),
        ({"n_segments": 0}, "n_segments"),
        ({"segments": "all"}, "segments must be one of"),
        ({"sample_rate": 0}, "sample_rate"),
        ({"min_activity": 2}, "min_activity"),
    ],
)
def test_invalid_parameters_are_named(corpus: Path, wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"load_speech: {message}"):
        load_speech(corpus, **wrong)  # type: ignore[arg-type]


@pytest.mark.slow
def test_real_librispeech_gives_many_segments_of_all_speakers(shared_data: Path) -> None:
    speech = load_speech(shared_data / "LibriSpeech", duration=4.0, n_segments=1000, random_state=0)
    assert speech.segments.shape == (1000, 64000)
    assert len(set(speech.source)) == 1000
    counts = np.unique(speech.speaker, return_counts=True)[1]
    assert len(counts) == 235  # 16 of the 251 utterances, one a speaker, are shorter
    assert counts.max() - counts.min() <= 1
    assert np.isfinite(speech.segments).all()


def tone_file(folder: Path, seconds: float = 12.0) -> Path:
    time = np.arange(round(seconds * RATE)) / RATE
    return write_audio(folder / "tone.wav", 0.3 * np.sin(2 * np.pi * 500 * time)).parent


def test_a_segment_at_another_speed_is_shifted_in_frequency_by_it(tmp_path: Path) -> None:
    speech = load_speech(
        tone_file(tmp_path / "a"), duration=2.0, n_segments=20, speed_range=(0.8, 1.25), random_state=0
    )
    assert speech.segments.shape == (20, 2 * RATE)
    assert speech.segments.dtype == np.float32
    frequency = np.abs(np.fft.rfft(speech.segments * np.hanning(2 * RATE))).argmax(axis=1) / 2
    np.testing.assert_allclose(frequency, 500 * speech.speed, atol=0.5)
    assert speech.speed.min() < 0.9
    assert speech.speed.max() > 1.1
    assert len(set(speech.source)) == 20


def test_the_speed_is_kept_by_default(tmp_path: Path) -> None:
    folder = tone_file(tmp_path / "a")
    plain = load_speech(folder, duration=2.0, n_segments=3, random_state=0)
    assert (plain.speed == 1).all()
    same = load_speech(folder, duration=2.0, n_segments=3, speed_range=(1, 1), random_state=0)
    assert np.array_equal(plain.segments, same.segments)
    assert plain.source.tolist() == same.source.tolist()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"speed_range": 1.1}, TypeError, "speed_range must be a pair of numbers, got 1.1"),
        ({"speed_range": (0.4, 1)}, ValueError, "speed_range must be a number of at least 0.5 and at most 2, got 0.4"),
        ({"speed_range": (1.1, 0.9)}, ValueError, "speed_range must be the lowest and the highest speed"),
        ({"speed_range": (0.9, 1.1), "segments": "consecutive"}, ValueError, r"speed_range must be \(1, 1\) for segm"),
        ({"speed_range": (1, 1.5), "duration": 9.0}, ValueError, "folder must hold speech of 9 s"),
    ],
)
def test_impossible_speeds_are_refused(tmp_path: Path, options: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"load_speech: {message}"):
        load_speech(tone_file(tmp_path / "a"), random_state=0, **options)
