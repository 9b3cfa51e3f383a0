"""Speakers and rooms are named rightly in the layouts of known corpora, and by a stated rule elsewhere."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from roomacoustic_sk.datasets import load_measured_rirs, load_recordings, load_speech, split_by_speaker

RATE = 16000
DECAY = 0.2 * np.random.default_rng(0).standard_normal(RATE) * 10 ** (-3 * np.arange(RATE) / RATE / 0.5)


def write(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, DECAY, RATE, subtype="PCM_16")
    return root


@pytest.mark.parametrize(
    "name",
    [
        "LibriSpeech/train-clean-100/{0}/{1}/{0}-{1}-0000.flac",
        "LibriSpeech/train-clean-100/{0}/{1}/renamed{2}.wav",
        "LibriTTS/dev-other/{0}/{1}/{0}_{1}_000001_000000.wav",
        "mls_polish/train/audio/{0}/{1}/{0}_{1}_000001.flac",
        "mls_polish/train/audio/{0}/{1}/renamed{2}.flac",
        "speed/{0}/{1}/sp0.9-{0}-{1}-0001.wav",
        "elsewhere/{0}/{1}/{0}-{1}-0001_sp1.1.wav",
        "flat/{0}-{1}-0001.flac",
        "flat/{0}_{1}_000001_000000.wav",
        "{1}/{0}_{1}_000001.flac",
        "small/{0}/{1}_librivox_64kb_mp3/{0}{1}_64kb.flac",
    ],
)
def test_the_reader_of_a_chapter_is_the_speaker(tmp_path: Path, name: str) -> None:
    chapters = [("11", "101"), ("11", "102"), ("22", "201"), ("22", "202"), ("112", "203")]
    write(tmp_path, *(name.format(s, c, s + c) for s, c in chapters))
    speech = load_speech(tmp_path, duration=0.5, segments="consecutive", random_state=0)
    for file, speaker in zip(speech.file, speech.speaker, strict=True):
        assert any(
            speaker == s and s + c in file.replace("-", "").replace("/", "").replace("_", "") for s, c in chapters
        )
    assert set(speech.speaker) == {"11", "22", "112"}
    train, test = split_by_speaker(speech, (0.5, 0.5), random_state=0)
    assert not set(train.speaker) & set(test.speaker)


def test_dates_and_telephone_numbers_are_no_speakers(tmp_path: Path) -> None:
    write(tmp_path / "dates", "ada/rec_2023-1130-1412.wav", "bob/rec_2023-1130-1412.wav")
    assert set(load_speech(tmp_path / "dates", duration=0.5).speaker) == {"ada", "bob"}
    write(tmp_path / "calls", "ada/555-123-4567.wav", "bob/555-123-4568.wav")
    with pytest.warns(UserWarning, match="files in ada and bob count as one speaker, 555"):
        load_speech(tmp_path / "calls", duration=0.5)


def test_the_speaker_of_voxceleb_is_not_the_video(tmp_path: Path) -> None:
    write(tmp_path, "wav/id10270/5r0dWxy17C8/00001.wav", "wav/id10270/x6uYqmx31kE/00001.wav", "wav/id10300/abc/1.wav")
    write(tmp_path, "wav/Ada_Lovelace/5r0dWxy17C8/0000001.wav")
    speech = load_speech(tmp_path, duration=0.5, random_state=0)
    assert sorted(speech.speaker) == ["Ada_Lovelace", "id10270", "id10270", "id10300"]
    assert "VoxCeleb" in speech.DESCR


def test_the_speaker_of_common_voice_is_in_its_tables(tmp_path: Path) -> None:
    clips = [f"clips/common_voice_pl_{i}.mp3" for i in range(4)]
    write(tmp_path, *[name.replace(".mp3", ".wav") for name in clips])
    for name in clips:
        (tmp_path / name.replace(".mp3", ".wav")).rename(tmp_path / name)
    rows = ["client_id\tpath\tsentence", *(f'{"ab"[i % 2]}1\tcommon_voice_pl_{i}.mp3\t"A quote' for i in range(3))]
    (tmp_path / "validated.tsv").write_text("\n".join(rows))
    with pytest.warns(UserWarning, match=r"1 of 4 files of Common Voice are in none of its tables.*_3\.mp3"):
        speech = load_speech(tmp_path / "clips", duration=0.5, segments="consecutive")
    assert speech.speaker.tolist() == ["a1", "b1", "a1"]
    (tmp_path / "validated.tsv").unlink()
    with pytest.warns(UserWarning, match="speakers of 4 files of Common Voice are not known"):
        load_speech(tmp_path, duration=0.5)


def test_folders_of_one_name_that_may_be_different_speakers_are_named(tmp_path: Path) -> None:
    write(tmp_path, "train/ada/1.wav", "test/ada/2.wav")  # parts of one corpus
    assert set(load_speech(tmp_path, duration=0.5).speaker) == {"ada"}
    write(tmp_path, "ada/session1/3.wav", "bob/session1/4.wav")
    with pytest.warns(UserWarning, match=r"count as one speaker, session1 in ada/session1 and bob/session1"):
        speech = load_speech(tmp_path, duration=0.5)
    assert "the name of the file's folder" in speech.DESCR


def test_links_to_folders_are_followed_without_loops(tmp_path: Path) -> None:
    write(tmp_path / "disk", "a/x.wav", "b/c/y.wav")
    write(tmp_path / "set", "d/z.wav")
    for name in ("a", "b"):
        os.symlink(tmp_path / "disk" / name, tmp_path / "set" / name, target_is_directory=True)
    os.symlink(tmp_path / "set", tmp_path / "set" / "d" / "up", target_is_directory=True)
    os.symlink(tmp_path / "disk", tmp_path / "disk" / "a" / "round", target_is_directory=True)
    os.symlink(tmp_path / "set" / "d", tmp_path / "set" / "copy", target_is_directory=True)
    assert sorted(set(load_recordings(tmp_path / "set", duration=0.5).file)) == ["a/x.wav", "b/c/y.wav", "d/z.wav"]
    os.symlink(tmp_path / "gone.wav", tmp_path / "set" / "gone.wav")
    with pytest.warns(UserWarning, match=r"1 of 4 audio files in .* are passed over.*: gone\.wav"):
        load_recordings(tmp_path / "set", duration=0.5)


def test_files_are_taken_by_what_libsndfile_reads_and_others_named(tmp_path: Path) -> None:
    kinds = {
        "oga": "OGG",
        "opus": "OGG",
        "aif": "AIFF",
        "AIFF": "AIFF",
        "au": "AU",
        "snd": "AU",
        "w64": "W64",
        "caf": "CAF",
    }
    for suffix, kind in (kinds | {"rf64": "RF64", "sph": "NIST"}).items():
        coding = "OPUS" if suffix == "opus" else None
        soundfile.write(tmp_path / f"x.{suffix}", DECAY, RATE, format=kind, subtype=coding)
    (tmp_path / "notes.txt").touch()
    recordings = load_recordings(tmp_path, duration=0.5)
    assert len(set(recordings.file)) == 10
    assert "Other files: 1 .txt" in recordings.DESCR
    (tmp_path / "talk.m4a").touch()
    with pytest.warns(UserWarning, match=r"1 of 11 audio files .* passed over.*: talk\.m4a"):
        load_recordings(tmp_path, duration=0.5)


ROOMS = {
    "ACE": {
        "Single/Office_1/1/Single_404_1_RIR.wav": "Office_1",
        "Single/Office_1/2/Single_404_2_RIR.wav": "Office_1",
        "Single/Lobby/1/Single_B_1_RIR.wav": "Lobby",
    },
    "BUT ReverbDB": {
        "Hotel_SkalskyDvur_Room112/MicID01/SpkID01_x/01/RIR/IR_sweep.v00.wav": "Hotel_SkalskyDvur_Room112",
        "Hotel_SkalskyDvur_Room112/MicID01/SpkID02_x/31/RIR/IR_sweep.v00.wav": "Hotel_SkalskyDvur_Room112",
        "VUT_FIT_L207/MicID01/SpkID01_y/01/RIR/IR_sweep.v00.wav": "VUT_FIT_L207",
    },
    "MIT survey": {"Audio/h001_Bedroom_65txts.wav": "h001_Bedroom", "Audio/h002_Bedroom_8txts.wav": "h002_Bedroom"},
    "Rochester": {"Room1/a_Speak1_Mic2.wav": "Room1", "Room2/a_Speak1_Mic2.wav": "Room2"},
    "OpenSLR 28": {
        "RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav": "simulated_rirs/smallroom/Room001",
        "RIRS_NOISES/simulated_rirs/largeroom/Room001/Room001-00001.wav": "simulated_rirs/largeroom/Room001",
    },
}


@pytest.mark.parametrize("collection", ROOMS)
def test_rooms_of_known_collections_are_their_rooms(tmp_path: Path, collection: str) -> None:
    write(tmp_path, *ROOMS[collection])
    rooms = load_measured_rirs(tmp_path)
    assert dict(zip(rooms.file, rooms.room, strict=True)) == ROOMS[collection]
    assert collection in rooms.DESCR


def test_the_position_of_ace_is_not_a_room_when_a_room_is_loaded_alone(tmp_path: Path) -> None:
    write(tmp_path, *ROOMS["ACE"])
    assert set(load_measured_rirs(tmp_path / "Single" / "Office_1").room) == {"Office_1"}


def test_speech_and_noise_in_a_collection_of_responses_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, *ROOMS["BUT ReverbDB"], "VUT_FIT_L207/MicID01/SpkID01_y/01/english/talk.v00.wav")
    with pytest.warns(UserWarning, match=r"1 of 4 files are passed over, since they are not responses.*talk\.v00\.wav"):
        assert len(load_measured_rirs(tmp_path).rirs) == 3


def test_the_list_of_openslr_28_names_rooms_and_responses(tmp_path: Path) -> None:
    folder = "RIRS_NOISES/real_rirs_isotropic_noises"
    write(tmp_path, *(f"{folder}/{name}.wav" for name in ("a_1", "a_2", "b_1", "c_noise")))
    lines = [
        f"--rir-id 000{i} --room-id real-{name[0]} {folder}/{name}.wav" for i, name in enumerate(("a_1", "a_2", "b_1"))
    ]
    (tmp_path / folder / "rir_list").write_text("\n".join(lines) + "\n")
    with pytest.warns(UserWarning, match=r"1 of 4 files are passed over.*c_noise\.wav"):
        rooms = load_measured_rirs(tmp_path)
    assert rooms.room.tolist() == ["real-a", "real-a", "real-b"]
