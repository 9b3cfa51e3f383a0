"""Rooms, sizes and files of a table are what stands in it, however it is spelt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.utils import Bunch

from roomacoustic_sk.datasets import (
    load_measured_rirs,
    load_recordings,
    load_speech,
    make_speech,
    split_by_speaker,
    take,
)
from roomacoustic_sk.model_selection import RoomDisjointSplit

RATE = 16000
DECAY = 0.2 * np.random.default_rng(0).standard_normal(RATE) * 10 ** (-3 * np.arange(RATE) / RATE / 0.5)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Make three responses in one folder."""
    for name in "abc":
        soundfile.write(
            tmp_path / f"{name}.wav", 0.5 * 10 ** (-3 * np.arange(RATE) / RATE / 0.5), RATE, subtype="FLOAT"
        )
    return tmp_path


def load(folder: Path, text: str | bytes, **options: Any) -> Bunch:
    (folder / "t.csv").write_bytes(text.encode() if isinstance(text, str) else text)
    return load_measured_rirs(folder / "t.csv", **options)


@pytest.mark.parametrize(
    "name", ["NA", "N/A", "None", "null", "nan", "007", "1.0", "1e3", "True", "-", "2024-01-01", "é"]
)
def test_a_room_is_called_as_it_stands_in_the_file(folder: Path, name: str) -> None:
    assert load(folder, f"file,room\na.wav,{name}\nb.wav,EU\n").room.tolist() == [name, "EU"]
    assert load(folder, f'file,room\na.wav,"{name}"\nb.wav,EU\n').room.tolist() == [name, "EU"]
    states = load(folder, f"file,state\na.wav,{name}\nb.wav,EU\n", room_columns=("state",))
    assert states.room.tolist() == [name, "EU"]


@pytest.mark.parametrize(
    "header",
    [
        "file,room,volume", "file, room, volume", "FILE,Room,Volume", "file , room , volume ", "File,ROOM,volume_m3",
        "file,room,Volume [m3]", "file,room,volume (m^3)", "\ufefffile,room,volume m³", '"file","room","volume"',
        "file,Room,Volume_M3",
    ],
)  # fmt: skip
def test_columns_are_found_whatever_their_case_spaces_and_units(folder: Path, header: str) -> None:
    for separator in ",;\t|":
        text = f"{header}\na.wav, hall, 900\nb.wav, office, 60\n".replace(",", separator)
        rooms = load(folder, text)
        assert rooms.room.tolist() == ["hall", "office"]
        assert rooms.target["volume"].tolist() == [900, 60]
        assert rooms.file.tolist() == ["a.wav", "b.wav"]


def test_tables_of_spreadsheets_are_read(folder: Path) -> None:
    text = "file;room;volume\r\na.wav;hall;900,5\r\nb.wav;office;60\r\n"
    for data in (text.encode(), text.encode("utf-16"), text.encode("utf-8-sig")):
        assert load(folder, data).target["volume"].tolist() == [900.5, 60]


@pytest.mark.parametrize(
    "column",
    [
        "volume_ft3", "Length (cm)", "room_id", "Distance_in_feet", "Room name", "roomID", "RoomName", "rooms", "Raum",
        "location", "vol", "volumes", "V [m3]", "roomVolume_m3",
    ],
)  # fmt: skip
def test_a_column_that_resembles_a_known_one_is_named(folder: Path, column: str) -> None:
    with pytest.warns(UserWarning, match=r"columns are not used whose names resemble known ones") as seen:
        load(folder, f"file,{column}\na.wav,1\nb.wav,2\n")
    assert repr(column) in str(seen[0].message)


def test_other_columns_are_listed_in_the_description(folder: Path) -> None:
    rooms = load(folder, "file,room,azimuth,model\na.wav,x,30,007\nb.wav,y,-5,11\n")
    assert "columns not used as labels: azimuth, model" in rooms.DESCR
    assert rooms.table["azimuth"].tolist() == [30, -5]
    assert rooms.table["model"].tolist() == ["007", "11"]


def test_two_columns_for_one_thing_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"source must have one column for room, got 'Room' and 'ROOM'"):
        load(folder, "file,Room,ROOM\na.wav,x,y\n")
    with pytest.raises(ValueError, match=r"two columns 'room'"):
        load(folder, "file,room,room\na.wav,x,y\n")


@pytest.mark.parametrize("text", ["file,room\na.wav,x,y\n", 'file,room\na.wav,"x\n', "", "\n\n", b"file\0,room\n"])
def test_a_broken_table_is_refused(folder: Path, text: str | bytes) -> None:
    with pytest.raises(ValueError, match=r"load_measured_rirs: source must be a folder, a CSV file .*t\.csv"):
        load(folder, text)


def test_a_room_with_several_sizes_is_named(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"room '.*' has 3 different values of volume \(50, 200, 800\)"):
        load(folder, "file,volume\na.wav,50\nb.wav,200\nc.wav,800\n")
    with pytest.warns(UserWarning, match=r"room 'x' has 2 different values of height"):
        load(folder, "file,room,height\na.wav,x,3\nb.wav,x,4\nc.wav,y,3\n")


@pytest.mark.parametrize(
    "pair",
    [
        ("Hall", "hall"), ("room 1", "room1"), ("1", "1.0"), ("7", "007"), ("caf\u00e9", "cafe\u0301"),
        ("Room 1", "Room 01"), ("hall.", "hall"), ("hall\u200b", "hall"), ("R 1.1", "R-1-1"),
    ],
)  # fmt: skip
def test_labels_that_are_almost_alike_are_named(folder: Path, pair: tuple[str, str]) -> None:
    with pytest.warns(UserWarning, match="rooms with labels that are almost alike count as different"):
        assert load(folder, "file,room\na.wav,{}\nb.wav,{}\n".format(*pair)).room.tolist() == list(pair)


@pytest.mark.parametrize("pair", [("R1-11", "R11-1"), ("a10", "a1"), ("1.11", "11.1")])
def test_labels_with_other_numbers_are_not_alike(folder: Path, pair: tuple[str, str]) -> None:
    assert load(folder, "file,room\na.wav,{}\nb.wav,{}\n".format(*pair)).room.tolist() == list(pair)


def test_names_spelt_almost_alike_are_named_wherever_data_are_split(tmp_path: Path) -> None:
    for name in ("train/Ada/1.wav", "test/ada/1.wav", "test/bob/1.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, DECAY, RATE)
    alike = "labels that are almost alike count as different: 'Ada' and 'ada'"
    with pytest.warns(UserWarning, match=f"load_speech: speakers with {alike}"):
        speech = load_speech(tmp_path, duration=0.5, random_state=0)
    with pytest.warns(UserWarning, match=f"split_by_speaker: speakers with {alike}"):
        split_by_speaker(speech, (0.5, 0.5), random_state=0)
    with pytest.warns(UserWarning, match=f"load_speech: speakers with {alike}"):
        load_speech(tmp_path, duration=0.5, random_state=0, speaker_pattern="/(.*)/")
    with pytest.warns(UserWarning, match="RoomDisjointSplit: rooms with labels that are almost alike"):
        list(RoomDisjointSplit([([0], [1])], ["Hall", "hall"]).split(np.zeros((2, 1))))


@pytest.mark.parametrize("labels", [[b"a", "a", "b"], [2**53, 2**53 + 1, 1.0], [-1, 2**63 + 1, 2**63 + 2]])
def test_labels_that_numpy_makes_equal_are_refused(labels: list[object]) -> None:
    speech = Bunch(segments=np.ones((3, 9), np.float32), sample_rate=RATE, speaker=labels)
    with pytest.raises(ValueError, match=r"speech\.speaker must hold labels that stay different in one array, got 3"):
        split_by_speaker(speech, (0.5, 0.5), random_state=0)


@pytest.mark.parametrize(
    "names", [["hall_1", "hall_2", "office_1"], ["room1_a", "room1_b", "room2_a"], ["11_7_a", "11_8_a", "12_9_a"]]
)
def test_a_flat_folder_of_several_beginnings_is_named(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        soundfile.write(tmp_path / f"{name}.wav", DECAY, RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match="3 responses count as one room, .* names begin differently"):
        load_measured_rirs(tmp_path)
    with pytest.warns(UserWarning, match="3 files count as one speaker, .* names begin differently"):
        load_speech(tmp_path, duration=0.5, random_state=0)


def test_a_flat_folder_of_one_beginning_gives_no_warning(tmp_path: Path) -> None:
    for name in ("ir_1", "ir_2"):
        soundfile.write(tmp_path / f"{name}.wav", DECAY, RATE, subtype="FLOAT")
    assert len(set(load_measured_rirs(tmp_path).room)) == len(set(load_speech(tmp_path, duration=0.5).speaker)) == 1


def test_folders_that_are_no_rooms_or_speakers_are_named(tmp_path: Path) -> None:
    for name in ("hall/pos1/a.wav", "hall/pos2/a.wav", "noisy/a.wav", "ada/session 3/a.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, DECAY, RATE, subtype="FLOAT")
    with pytest.warns(UserWarning, match="named by folders that hardly are rooms: hall/pos1, hall/pos2, noisy"):
        load_measured_rirs(tmp_path)
    with pytest.warns(UserWarning, match="named by folders that hardly are speakers: noisy, session 3"):
        load_speech(tmp_path, duration=0.5)


@pytest.mark.parametrize(
    ("columns", "named"),
    [("distance\na.wav,h,250", "distance"), ("length,width,height\na.wav,h,500,400,300", "length"),
     ("length,width,height,volume\na.wav,h,5,4,3,600", "volume"), ("volume\na.wav,h,60000000", "volume"),
     ("length,width,height,distance\na.wav,h,5,4,3,15", "distance")],
)  # fmt: skip
def test_documented_sizes_in_another_unit_are_named(folder: Path, columns: str, named: str) -> None:
    with pytest.warns(UserWarning, match=f"column {named} holds .* in row 0, which is hardly right"):
        load(folder, f"file,room,{columns}\n")


@pytest.mark.parametrize("values", [[True, False], pd.to_datetime(["2020-01-01", "2021-01-01"])])
def test_dates_and_truth_values_are_no_sizes(folder: Path, values: object) -> None:
    with pytest.raises(ValueError, match=r"column 'volume' must hold numbers in m3, got dates, times or truth values"):
        load_measured_rirs(
            pd.DataFrame({"file": ["a.wav", "b.wav"], "room": ["x", "y"], "volume": values}), root=folder
        )


def test_frames_with_doubtful_labels_are_refused(folder: Path) -> None:
    twice = pd.DataFrame([["a.wav", "x", "y"], ["b.wav", "y", "x"]], columns=["file", "room", "room"])
    with pytest.raises(ValueError, match="source must have columns of different names, got two columns 'room'"):
        load_measured_rirs(twice, root=folder)
    mixed = pd.DataFrame({"file": ["a.wav", "b.wav"], "room": [1, "1"]})
    with pytest.raises(ValueError, match="column 'room' must hold labels of one kind, got int and str"):
        load_measured_rirs(mixed, root=folder)
    with pytest.raises(TypeError, match="room_columns must be a sequence of column names, got 3"):
        load_measured_rirs(pd.DataFrame({"file": ["a.wav"]}), root=folder, room_columns=3)


def test_cells_that_say_nothing_do_not_make_one_room_in_silence(folder: Path) -> None:
    with pytest.warns(UserWarning, match=r"responses with the label '\?' count as one room"):
        load(folder, "file,room\na.wav,?\nb.wav,?\n")


def test_tables_of_old_and_foreign_spreadsheets_are_read(folder: Path) -> None:
    for text in ("file,room,volume\ra.wav,hall,900\rb.wav,office,60\r", "sep=;\nfile;room;volume\na.wav;hall;900\n"):
        assert load(folder, text).target["volume"].iloc[0] == 900
    assert load(folder, b"file,room\na.wav,caf\xe9\n").room.tolist() == ["café"]
    with pytest.warns(UserWarning, match=r"column 'volume' holds 1\.900, which counts as 1\.9"):
        load(folder, "file;room;volume\na.wav;hall;1.900\n")


def test_a_path_with_a_null_character_is_no_file(folder: Path) -> None:
    frame = pd.DataFrame({"file": ["a\0.wav"], "room": ["x"]})
    for call in (lambda: load_measured_rirs(frame, root=folder), lambda: load_recordings(["a\0.wav"])):
        with pytest.raises(FileNotFoundError, match="path must be an audio file"):
            call()


def test_joined_labels_never_merge_rooms(folder: Path) -> None:
    text = "file,house,floor\na.wav,1/2,3\nb.wav,1,2/3\nc.wav,,1/2/3\n"
    assert len(set(load(folder, text, room_columns=("house", "floor")).room)) == 3


def test_numbers_may_be_missing_and_must_be_finite(folder: Path) -> None:
    volumes = load(folder, "file,room,volume\na.wav,x,NA\nb.wav,y,\nc.wav,z,60\n").target["volume"]
    assert volumes.isna().tolist() == [True, True, False]
    with pytest.raises(ValueError, match=r"column 'volume' must hold positive numbers in m3, got inf in row 0"):
        load(folder, "file,room,volume\na.wav,x,inf\n")
    with pytest.raises(ValueError, match=r"column 'volume' must hold numbers in m3"):
        load(folder, "file,room,volume\na.wav,x,60 m3\n")


def test_paths_of_windows_are_paths(folder: Path) -> None:
    (folder / "hall").mkdir()
    (folder / "a.wav").rename(folder / "hall" / "a.wav")
    rooms = load(folder, "file\nhall\\a.wav\nb.wav\n")
    assert rooms.room.tolist() == ["hall", folder.name]


def test_frames_keep_their_labels(folder: Path) -> None:
    frame = pd.DataFrame({"File": ["a.wav", "b.wav"], "ROOM": ["007", "NA"], "volume_m3": [50, 60]})
    rooms = load_measured_rirs(frame, root=folder)
    assert rooms.room.tolist() == ["007", "NA"]
    assert rooms.target["volume"].tolist() == [50, 60]
    assert list(frame.columns) == ["File", "ROOM", "volume_m3"]


def test_every_sequence_of_entries_is_split_or_refused() -> None:
    from array import array
    from collections import deque

    speech = make_speech(4, 8, duration=0.5, random_state=0)
    for kind in (list, tuple, deque, pd.Series, pd.Index):
        given = Bunch(**{**speech, "speaker": kind(speech.speaker), "start": array("d", range(8))})
        for part in split_by_speaker(given, (0.5, 0.5), random_state=0):
            assert len(part.segments) == len(part.speaker) == len(part.source) == len(part.start) == 4
    with pytest.raises(TypeError, match=r"split_by_speaker: speech\.start must be an array or a list .* got a dict"):
        split_by_speaker(Bunch(**{**speech, "start": dict(enumerate(range(8)))}), (0.5, 0.5))
    with pytest.raises(TypeError, match=r"take: bunch\.segments must be an array or a list"):
        take(Bunch(**{**speech, "segments": iter(speech.segments)}), [0])
