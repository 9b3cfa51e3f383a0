"""Loading measured impulse responses: labels, documented geometry, rooms and broken files."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from toys import RATE as SAMPLE_RATE
from toys import exponential, write_audio
from toys import noise as white_noise

from roomacoustic_sk.acoustics import DecayRangeWarning, room_labels
from roomacoustic_sk.datasets._measured import load_measured_rirs


def response(rt: float, *, duration: float = 1.0, sample_rate: int = SAMPLE_RATE, noise: float = -90.0) -> np.ndarray:
    """An exponential decay over noise at a level in dB re its peak."""
    decay = exponential(rt, duration, sample_rate)
    return decay + white_noise(len(decay), level=noise)


def write_response(path: Path, samples: np.ndarray, sample_rate: int = SAMPLE_RATE) -> Path:
    return write_audio(path, 0.5 * samples, sample_rate, subtype="PCM_24")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three responses of two rooms, in three formats and rates."""
    write_response(tmp_path / "hall" / "near.wav", response(0.8))
    write_response(tmp_path / "hall" / "far.flac", response(0.9, sample_rate=48000), 48000)
    write_response(tmp_path / "office" / "1.wav", response(0.3, sample_rate=44100), 44100)
    return tmp_path


@pytest.fixture
def table(folder: Path) -> pd.DataFrame:
    """The table of the same responses."""
    return pd.DataFrame(
        {
            "file": ["office/1.wav", "hall/near.wav", "hall/far.flac"],
            "room": ["office", "hall", "hall"],
            "condition": [None, "empty", "full"],
            "volume_m3": [60, 900.5, 900.5],
            "length": [5.0, np.nan, np.nan],
            "distance_m": [1.0, 2.0, np.nan],
        }
    )


def test_a_folder_gives_labelled_responses_by_room(folder: Path) -> None:
    rooms = load_measured_rirs(folder)
    assert rooms.file.tolist() == ["hall/far.flac", "hall/near.wav", "office/1.wav"]
    assert rooms.room.tolist() == ["hall", "hall", "office"]
    assert rooms.rir.tolist() == [0, 1, 2]
    assert [rir.dtype for rir in rooms.rirs] == [np.float32] * 3
    assert [len(rir) for rir in rooms.rirs] == [SAMPLE_RATE] * 3  # resampled
    rt60 = np.array([0.9, 0.8, 0.3])
    assert rooms.target["rt60"].to_numpy() == pytest.approx(rt60, rel=0.02)
    assert rooms.target["edt"].to_numpy() == pytest.approx(rt60, rel=0.02)
    clarity = 10 * np.log10(np.expm1(6 * np.log(10) / rt60 * 0.05))
    assert rooms.target["c50"].to_numpy() == pytest.approx(clarity, abs=0.1)
    assert rooms.target["d50"].to_numpy() == pytest.approx(1 / (1 + 10 ** (-clarity / 10)), abs=0.005)
    assert rooms.target["rt60_range"].tolist() == ["T30"] * 3
    assert rooms.target[["volume", "length", "width", "height", "distance"]].isna().all(axis=None)
    assert rooms.complete.all()
    assert "3 responses of 2 room(s)" in rooms.DESCR


def test_files_directly_in_the_folder_are_of_one_room_named_after_it(tmp_path: Path) -> None:
    for i in range(2):
        write_response(tmp_path / "chapel" / f"{i}.wav", response(0.5))
    assert load_measured_rirs(tmp_path / "chapel").room.tolist() == ["chapel", "chapel"]


def test_a_table_brings_rooms_and_geometry_from_a_frame_or_a_csv_file(folder: Path, table: pd.DataFrame) -> None:
    table.to_csv(folder / "rirs.csv", index=False)
    (folder / "elsewhere").mkdir()
    table.to_csv(folder / "elsewhere" / "rirs.csv", index=False)
    shuffled = table.set_index(pd.Index([7, 3, 5]))
    for rooms in (
        load_measured_rirs(folder / "rirs.csv"),
        load_measured_rirs(str(folder / "elsewhere" / "rirs.csv"), root=folder),
        load_measured_rirs(shuffled, root=folder),
        load_measured_rirs(table.assign(file=[str(folder / file) for file in table["file"]])),
    ):
        assert rooms.room.tolist() == ["office", "hall", "hall"]
        assert rooms.target["rt60"].to_numpy() == pytest.approx([0.3, 0.8, 0.9], rel=0.02)
        assert rooms.target["volume"].tolist() == [60, 900.5, 900.5]
        assert rooms.target["length"].tolist() == pytest.approx([5, np.nan, np.nan], nan_ok=True)
        assert rooms.target["distance"].tolist() == pytest.approx([1, 2, np.nan], nan_ok=True)
        assert rooms.target["height"].isna().all()
        assert rooms.table["condition"].tolist()[1:] == ["empty", "full"]


def test_states_of_a_room_are_one_room_by_default(folder: Path, table: pd.DataFrame) -> None:
    rooms = load_measured_rirs(table, root=folder, room_columns=("room", "condition"))
    assert rooms.room.tolist() == ["office", "hall/empty", "hall/full"]
    assert load_measured_rirs(table.drop(columns="room"), root=folder).room.tolist() == ["office", "hall", "hall"]


def test_fields_are_those_of_simulated_rooms(folder: Path) -> None:
    from roomacoustic_sk.datasets import simulate_rooms

    simulated = simulate_rooms(1, 1, materials=0.5, random_state=0)
    measured = load_measured_rirs(folder)
    assert set(measured) - set(simulated) == {"file", "table", "diagnostics"}
    assert set(measured.target) <= set(simulated.target)
    for name in ("rir", "room", "complete"):
        assert measured[name].shape == (3,)


def test_a_response_without_t30_gets_t20_with_its_range(tmp_path: Path) -> None:
    write_response(tmp_path / "1.wav", response(0.5))
    write_response(tmp_path / "2.wav", response(0.5, noise=-35))
    rooms = load_measured_rirs(tmp_path)
    assert rooms.target["rt60_range"].tolist() == ["T30", "T20"]
    assert rooms.target["rt60"].to_numpy() == pytest.approx([0.5, 0.5], rel=0.05)
    assert rooms.complete.all()
    with pytest.warns(DecayRangeWarning, match=r"1 of 2 files: 2\.wav \(rt60\)"):
        rooms = load_measured_rirs(tmp_path, decay_ranges=["T30"])
    assert rooms.complete.tolist() == [True, False]
    assert rooms.target["rt60_range"].isna().tolist() == [False, True]


def test_one_warning_names_the_files_without_labels(folder: Path) -> None:
    write_response(folder / "yard" / "hiss.wav", 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE))
    with pytest.warns(DecayRangeWarning) as record:
        rooms = load_measured_rirs(folder)
    assert len(record) == 1
    assert "1 of 4 files: yard/hiss.wav (rt60, edt, c50, d50, drr)" in str(record[0].message)
    assert str(record[0].message).startswith(
        "load_measured_rirs: labels are NaN where noise hides the decay, in 1 of 4"
    )
    assert record[0].filename == __file__
    assert rooms.complete.tolist() == [True, True, True, False]
    assert len(rooms.rirs) == 4


def test_a_channel_must_be_chosen_where_there_are_several(folder: Path) -> None:
    write_response(folder / "stereo.wav", np.stack([response(0.4), response(0.7)], axis=1))
    with pytest.raises(ValueError, match=r"one channel, got 2 in .*stereo\.wav\. Pass channel=0"):
        load_measured_rirs(folder)
    for channel, rt60 in enumerate([0.4, 0.7]):
        rooms = load_measured_rirs(folder, channel=channel)  # files with one channel have no other
        assert rooms.target["rt60"].to_numpy() == pytest.approx([0.9, 0.8, 0.3, rt60], rel=0.02)
    table = pd.DataFrame({"file": ["stereo.wav"]})
    with pytest.raises(ValueError, match="load_measured_rirs: channel must be"):
        load_measured_rirs(table, root=folder, channel=2)


def test_each_channel_may_be_a_response_of_the_same_room(folder: Path) -> None:
    write_response(folder / "hall" / "stereo.wav", np.stack([response(0.4), response(0.7)], axis=1))
    rooms = load_measured_rirs(folder, channel="each")
    assert rooms.file.tolist() == [
        "hall/far.flac",
        "hall/near.wav",
        "hall/stereo.wav",
        "hall/stereo.wav",
        "office/1.wav",
    ]
    assert rooms.table["channel"].tolist() == [0, 0, 0, 1, 0]
    assert rooms.room.tolist() == ["hall"] * 4 + ["office"]
    assert rooms.rir.tolist() == [0, 1, 2, 3, 4]
    assert rooms.target["rt60"].to_numpy() == pytest.approx([0.9, 0.8, 0.4, 0.7, 0.3], rel=0.02)
    for channel in (0, 1):
        alone = load_measured_rirs([folder / "hall" / "stereo.wav"], channel=channel)
        assert np.array_equal(alone.rirs[0], rooms.rirs[2 + channel])
        assert "channel" not in alone.table
    table = pd.DataFrame({"file": ["hall/stereo.wav", "office/1.wav"], "distance": [3, 1]})
    assert load_measured_rirs(table, root=folder, channel="each").target["distance"].tolist() == [3, 3, 1]


def test_the_channel_that_lacks_labels_is_named(folder: Path) -> None:
    hiss = 0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)
    path = write_response(folder / "stereo.wav", np.stack([response(0.4), hiss], axis=1))
    with pytest.warns(DecayRangeWarning, match=r"in 1 of 2 responses: .*stereo\.wav \(channel 1\) \(rt60, edt"):
        assert load_measured_rirs([path], channel="each").complete.tolist() == [True, False]
    write_response(path, np.stack([response(0.4), 0 * hiss], axis=1))
    with pytest.raises(ValueError, match=r"got nothing but zeros in .*stereo\.wav \(channel 1\)"):
        load_measured_rirs([path], channel="each")


@pytest.mark.parametrize(
    ("channel", "error"), [("all", ValueError), (-1, ValueError), (0.5, TypeError), (True, TypeError)]
)
def test_invalid_channels_are_refused(folder: Path, channel: object, error: type[Exception]) -> None:
    with pytest.raises(error, match=r"^load_measured_rirs: channel must be"):
        load_measured_rirs(folder, channel=channel)


def test_progress_is_shown_only_on_request(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_measured_rirs(folder)
    assert capfd.readouterr().err == ""
    load_measured_rirs(folder, verbose=1)
    assert "3/3" in capfd.readouterr().err


# --- Bad input ------------------------------------------------------------------------------------------------------


def test_a_broken_file_is_named(folder: Path) -> None:
    table = pd.DataFrame({"file": ["hall/near.wav", "bad.wav"]})
    bad = folder / "bad.wav"
    with pytest.raises(FileNotFoundError, match=r"load_measured_rirs: .*bad\.wav"):
        load_measured_rirs(table, root=folder)
    bad.write_text("no audio at all")
    with pytest.raises(ValueError, match=r"load_measured_rirs: .*bad\.wav"):
        load_measured_rirs(table, root=folder)
    bad.write_bytes((folder / "hall" / "near.wav").read_bytes()[:20000])
    with pytest.raises(ValueError, match=r"load_measured_rirs: .*bad\.wav.*truncated"):
        load_measured_rirs(table, root=folder)
    write_response(bad, np.zeros(SAMPLE_RATE))
    with pytest.raises(ValueError, match=r"must not be silent, got nothing but zeros in .*bad\.wav"):
        load_measured_rirs(table, root=folder)
    write_response(bad, response(0.3, duration=0.05))
    with pytest.raises(ValueError, match=r"longer than 0\.05 s, got 0\.050 s in .*bad\.wav"):
        load_measured_rirs(table, root=folder)
    soundfile.write(bad, np.array([1.0, np.nan] * 4000), SAMPLE_RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"load_measured_rirs: .*bad\.wav"):
        load_measured_rirs(table, root=folder)


def test_an_empty_or_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="load_measured_rirs: source must hold audio files"):
        load_measured_rirs(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"load_measured_rirs: .*does not exist"):
        load_measured_rirs(tmp_path / "nowhere")


def test_invalid_tables_are_refused(folder: Path, table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"path in each of its column 'file', got 3 rows with columns \['room'"):
        load_measured_rirs(table.drop(columns="file"), root=folder)
    with pytest.raises(ValueError, match=r"at least one row .*got 0 rows"):
        load_measured_rirs(table[:0], root=folder)
    with pytest.raises(ValueError, match="path in each of its column 'file'"):
        load_measured_rirs(table.assign(file=["hall/near.wav", None, None]), root=folder)
    with pytest.raises(
        ValueError, match=r"source must be a folder, a CSV file or a DataFrame, .*near\.wav\. Pass it in a"
    ):
        load_measured_rirs(folder / "hall" / "near.wav")
    (folder / "hall" / "near.bin").write_bytes((folder / "hall" / "near.wav").read_bytes())
    with pytest.raises(ValueError, match=r"source must be a folder, a CSV file or a DataFrame, got .*near\.bin"):
        load_measured_rirs(folder / "hall" / "near.bin")
    for files in ([], [1], 7):
        with pytest.raises(
            TypeError, match="source must be a folder, a CSV file or a DataFrame, a SOFA file, or a list"
        ):
            load_measured_rirs(files)
    with pytest.raises(ValueError, match="column 'volume_m3' must hold numbers in m3"):
        load_measured_rirs(table.assign(volume_m3=["60", "large", "900"]), root=folder)
    with pytest.raises(ValueError, match="column 'volume_m3' must hold positive numbers in m3, got -3 in row 1"):
        load_measured_rirs(table.assign(volume_m3=[60, -3, 900]), root=folder)


def test_invalid_room_columns_are_refused(folder: Path, table: pd.DataFrame) -> None:
    with pytest.raises(ValueError, match=r"room_columns must be among the columns .*got \['hall'\]"):
        load_measured_rirs(table, root=folder, room_columns=("hall",))
    with pytest.raises(
        ValueError, match=r"tell the room of every response, got nothing in \['condition'\] for 'office"
    ):
        load_measured_rirs(table, root=folder, room_columns=("condition",))
    with pytest.raises(TypeError, match="room_columns must be a sequence of column names, got 'room'"):
        load_measured_rirs(table, root=folder, room_columns="room")


def test_invalid_rates_and_ranges_are_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match="load_measured_rirs: sample_rate"):
        load_measured_rirs(folder, sample_rate=0)
    with pytest.raises(ValueError, match="load_measured_rirs: decay_ranges must be one of"):
        load_measured_rirs(folder, decay_ranges=("T30", "T45"))
    with pytest.raises(TypeError, match="decay_ranges must be a sequence such as"):
        load_measured_rirs(folder, decay_ranges="T30")


# --- Real rooms -----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_documented_rooms_load_with_their_labels(shared_data: Path) -> None:
    with pytest.warns(DecayRangeWarning, match=r"1 of 348 files: openair/living_room_1\.flac"):
        rooms = load_measured_rirs(shared_data / "measured_rirs" / "rirs.csv")
    assert len(rooms.rirs) == 348
    assert rooms.complete.sum() == 347
    assert len(np.unique(rooms.room)) == 4
    medians = rooms.target.groupby(rooms.table["set"])[["rt60", "c50", "volume"]].median()
    assert medians.loc["surrey", "rt60"] == pytest.approx(0.32, rel=0.1)
    assert medians.loc["surrey", "c50"] == pytest.approx(16.5, abs=0.5)
    assert medians.loc["r3vival", "volume"] == 144
    mid = rooms.target["rt60_mid"].groupby(rooms.table["condition"]).median()
    assert mid["abs_000"] == pytest.approx((0.742 + 0.690) / 2, rel=0.03)
    assert mid["abs_100"] == pytest.approx((0.511 + 0.450) / 2, rel=0.03)
    by_state = rooms.target["rt60"].groupby(rooms.table["condition"]).median()
    absorbing = by_state[["abs_000", "abs_025", "abs_050", "abs_075", "abs_100"]]
    assert (absorbing.diff().dropna() < 0).all()  # more absorption, shorter reverberation


@pytest.mark.parametrize("said", ["true", "True", "1"])
def test_responses_without_noise_are_read_to_their_end(tmp_path, said):
    fast, slow = (10 ** (-3 * np.arange(12_000) / SAMPLE_RATE / rt60) for rt60 in (0.2, 1.0))
    response = (fast + 0.01 * slow) * np.random.default_rng(0).standard_normal(12_000)  # cut off while it decays
    write_audio(tmp_path / "rir.wav", response / np.abs(response).max(), subtype="FLOAT")
    table = pd.DataFrame({"file": ["rir.wav"] * 2, "room": ["a", "a"], "noise_free": [said, ""]})
    table.to_csv(tmp_path / "rirs.csv", index=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        labels = load_measured_rirs(tmp_path / "rirs.csv").target
        for row, truncation in enumerate([None, "lundeby"]):
            [expected] = room_labels(response, SAMPLE_RATE, truncation=truncation)["c50"]
            assert labels["c50"][row] == pytest.approx(expected, abs=1e-3, nan_ok=True)
    table["noise_free"] = "perhaps"
    with pytest.raises(ValueError, match="source must have true or false in its column 'noise_free', got 'perhaps'"):
        load_measured_rirs(table, root=tmp_path)
