"""Rooms, sizes and files of a table are what stands in it, however it is spelt."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
from sklearn.utils import Bunch

from roomacoustic_sk.datasets import load_measured_rirs, make_speech, split_by_speaker, take

RATE = 16000


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


@pytest.mark.parametrize("column", ["volume_ft3", "Length (cm)", "room_id", "Distance_in_feet", "Room name"])
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
    "pair", [("Hall", "hall"), ("room 1", "room1"), ("1", "1.0"), ("7", "007"), ("caf\u00e9", "cafe\u0301")]
)
def test_labels_that_are_almost_alike_are_named(folder: Path, pair: tuple[str, str]) -> None:
    with pytest.warns(UserWarning, match="rooms with labels that are almost alike count as different"):
        assert load(folder, "file,room\na.wav,{}\nb.wav,{}\n".format(*pair)).room.tolist() == list(pair)


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
