"""Measured responses in SOFA files, written by sofar and read back."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import netCDF4
import numpy as np
import pandas as pd
import pytest
import sofar
from toys import RATE, diffuse, write_audio

from roomacoustic_sk.datasets import load_measured_rirs, take


def diffuse_responses(*rt60: float) -> np.ndarray:
    """Return one diffuse response of 1 s for each reverberation time, as rows."""
    return np.stack([diffuse(rt, 1.0, seed=i) for i, rt in enumerate(rt60)])


def write_sofa(path: Path, convention: str, samples: np.ndarray, rate: float = RATE, **entries: Any) -> Path:
    """Write a SOFA file with the mandatory entries of its convention and some others."""
    sofa, mandatory = sofar.Sofa(convention), sofar.Sofa(convention, mandatory=True)
    for name in [name for name in vars(sofa) if name[0] != "_" and name not in {*vars(mandatory), *entries}]:
        sofa.delete(name)
    n_receivers, n_emitters = samples.shape[1], samples.shape[3:]
    given = {"Data_IR": samples, "Data_SamplingRate": rate, "Data_Delay": np.zeros((1, n_receivers, *n_emitters))}
    for name, value in {**given, **entries}.items():
        setattr(sofa, name, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    sofar.write_sofa(str(path), sofa)
    return path


HALL = {"GLOBAL_RoomType": "reverberant", "GLOBAL_RoomDescription": "a hall"}
VOLUME = {"RoomVolume": 200.0, "RoomVolume_Units": "cubic metre"}


def write_room(path: Path, samples: np.ndarray, **entries: Any) -> Path:
    """Write a measured room: by default sources in front of a microphone, 2 m further away each time."""
    n_measurements, n_receivers, _ = samples.shape
    geometry = {
        "SourcePosition": np.array([[2.0 * (i + 1), 0, 0] for i in range(n_measurements)]),
        "ListenerPosition": np.zeros((n_measurements, 3)),
        "ReceiverPosition": np.zeros((n_receivers, 3, 1)),
        "ReceiverPosition_Type": "cartesian",
        "ReceiverPosition_Units": "metre",
    }
    return write_sofa(path, "SingleRoomSRIR", samples, **HALL | VOLUME | geometry | entries)


# --- Responses and their labels -------------------------------------------------------------------------------------


def test_each_measurement_and_receiver_is_a_response(tmp_path: Path) -> None:
    rt60 = np.array([0.3, 0.4, 0.5, 0.6, 0.7, 0.8])
    samples = diffuse_responses(*rt60).reshape(3, 2, RATE)
    rooms = load_measured_rirs(write_room(tmp_path / "hall" / "rir.sofa", samples))
    assert np.allclose(rooms.rirs, samples.reshape(6, RATE), atol=1e-6)
    assert rooms.rirs[0].dtype == np.float32
    assert rooms.target["rt60"].to_numpy() == pytest.approx(rt60, rel=0.1)
    assert rooms.table["measurement"].tolist() == [0, 0, 1, 1, 2, 2]
    assert rooms.table["receiver"].tolist() == [0, 1, 0, 1, 0, 1]
    assert rooms.table["emitter"].tolist() == [0] * 6
    assert rooms.target["distance"].tolist() == [2, 2, 4, 4, 6, 6]
    assert rooms.target["volume"].tolist() == [200] * 6
    assert rooms.target["length"].isna().all()
    assert rooms.rir.tolist() == [0, 1, 2, 3, 4, 5]
    assert rooms.room.tolist() == ["hall"] * 6
    assert rooms.file.tolist() == ["rir.sofa"] * 6
    assert take(rooms, [4]).table["measurement"].tolist() == [2]


def test_one_receiver_may_be_chosen(tmp_path: Path) -> None:
    samples = diffuse_responses(0.3, 0.4, 0.5, 0.6).reshape(2, 2, RATE)
    path = write_room(tmp_path / "rir.sofa", samples)
    rooms = load_measured_rirs(path, channel=1)
    assert np.allclose(rooms.rirs, samples[:, 1], atol=1e-6)
    assert rooms.table["receiver"].tolist() == [1, 1]
    with pytest.raises(ValueError, match=r"channel must be a receiver of every SOFA file, got 2, and 2 in .*rir\.sofa"):
        load_measured_rirs(path, channel=2)


def test_loudspeakers_of_a_binaural_file_are_responses(tmp_path: Path) -> None:
    samples = diffuse_responses(*np.linspace(0.3, 0.8, 6)).reshape(1, 2, 3, RATE)
    speakers, ears = np.array([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]]), np.array([[0, 0.09, 0], [0, -0.09, 0]])
    path = write_sofa(
        tmp_path / "studio" / "brir.sofa",
        "SingleRoomMIMOSRIR",
        np.moveaxis(samples, 2, 3),
        SourcePosition=np.zeros((1, 3)),
        EmitterPosition=speakers[..., None],
        EmitterPosition_Type="cartesian",
        EmitterPosition_Units="metre",
        ReceiverPosition=ears[..., None],
        ReceiverPosition_Type="cartesian",
        ReceiverPosition_Units="metre",
        **HALL,
    )
    rooms = load_measured_rirs(path)
    assert np.allclose(rooms.rirs, samples.reshape(6, RATE), atol=1e-6)
    assert rooms.table["emitter"].tolist() == [0, 1, 2] * 2
    assert rooms.table["receiver"].tolist() == [0] * 3 + [1] * 3
    expected = np.linalg.norm(speakers[None] - ears[:, None], axis=2)
    assert rooms.target["distance"].to_numpy() == pytest.approx(expected.ravel())


def test_receivers_turn_with_the_listener(tmp_path: Path) -> None:
    path = write_room(
        tmp_path / "rir.sofa",
        diffuse_responses(0.4, 0.4).reshape(2, 1, RATE),
        SourcePosition=np.array([[90.0, 0, 5], [90.0, 0, 5]]),  # 5 m to the left of the origin
        SourcePosition_Type="spherical",
        SourcePosition_Units="degree, degree, metre",
        ReceiverPosition=np.array([[[1.0], [0], [0]]]),  # 1 m in front of the listener
        ListenerView=np.array([[0.0, 3, 0], [0, -1, 0]]),  # who turns left, then right
        ListenerUp=np.array([[0.0, 0, 1], [0, 0, 1]]),
        ListenerView_Type="cartesian",
    )
    assert load_measured_rirs(path).target["distance"].to_numpy() == pytest.approx([4, 6])


def test_corners_of_a_shoebox_give_its_size(tmp_path: Path) -> None:
    corners = {
        "GLOBAL_RoomType": "shoebox",
        "RoomCornerA": np.array([[1.0, 1, 0]]),
        "RoomCornerB": np.array([[6.0, 5, 3]]),
        "RoomCorners": 0.0,
        "RoomCorners_Type": "cartesian",
        "RoomCorners_Units": "metre",
        "RoomVolume": 0.0,
    }
    rooms = load_measured_rirs(write_room(tmp_path / "rir.sofa", diffuse_responses(0.4)[None], **corners))
    assert rooms.target[["length", "width", "height", "volume"]].to_numpy().tolist() == [[5, 4, 3, 60]]


def test_positions_left_at_their_defaults_give_no_distance(tmp_path: Path) -> None:
    entries = {"SourcePosition": np.zeros((1, 3)), "RoomVolume": 0.0}
    rooms = load_measured_rirs(write_room(tmp_path / "rir.sofa", diffuse_responses(0.4)[None], **entries))
    assert rooms.target[["distance", "volume"]].isna().all(axis=None)


def test_other_rates_are_resampled(tmp_path: Path) -> None:
    times = np.arange(48_000) / 48_000
    tone = np.sin(2 * np.pi * 500 * times) * 10 ** (-3 * times / 0.5)
    rooms = load_measured_rirs(write_sofa(tmp_path / "rir.sofa", "SingleRoomSRIR", tone[None, None], 48_000, **HALL))
    assert np.allclose(rooms.rirs[0][50:], tone[150::3], atol=1e-3)  # it begins abruptly


def write_netcdf(path: Path, dimensions: dict[str, int], samples: np.ndarray | None = None, **attributes: str) -> Path:
    """Write what sofar does not: a file whose samples have any dimensions, or are missing."""
    with netCDF4.Dataset(path, "w") as file:
        for name, size in {**dimensions, "I": 1}.items():
            file.createDimension(name, size)
        chunks = [size if name == "N" else 1 for name, size in dimensions.items()]
        variable = file.createVariable("Data.IR", "f8", tuple(dimensions), zlib=True, chunksizes=chunks)
        file.createVariable("Data.SamplingRate", "f8", ("I",))[:] = RATE
        if samples is not None:
            variable[:] = samples
        for name, value in {"SOFAConventions": "SingleRoomSRIR", "DataType": "FIR", **attributes}.items():
            file.setncattr(name, value)
    return path


def test_dimensions_are_taken_by_their_names(tmp_path: Path) -> None:
    samples = diffuse_responses(*np.linspace(0.3, 0.8, 6)).reshape(1, 2, 3, RATE)  # as in the first version of AES69
    dimensions = {"M": 1, "R": 2, "E": 3, "N": RATE}
    kind = {"SOFAConventions": "MultiSpeakerBRIR", "DataType": "FIRE"}
    rooms = load_measured_rirs(write_netcdf(tmp_path / "brir.sofa", dimensions, samples, **kind))
    assert np.allclose(rooms.rirs, samples.reshape(6, RATE), atol=1e-6)
    assert rooms.table["emitter"].tolist() == [0, 1, 2] * 2
    assert rooms.target[["distance", "volume"]].isna().all(axis=None)


# --- Beside audio ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a SOFA file of two measurements, and two audio files, one of them in stereo."""
    write_room(tmp_path / "hall" / "a.sofa", diffuse_responses(0.5, 0.6)[:, None])
    write_audio(tmp_path / "office" / "mono.wav", 0.1 * diffuse_responses(0.3)[0], subtype="FLOAT")
    write_audio(tmp_path / "office" / "stereo.wav", 0.1 * diffuse_responses(0.4, 0.7).T, subtype="FLOAT")
    (tmp_path / "office" / "notes.txt").write_text("no response")
    return tmp_path


def test_a_folder_has_both_kinds_of_files(folder: Path) -> None:
    rooms = load_measured_rirs(folder, channel="each")
    assert rooms.file.tolist() == ["hall/a.sofa"] * 2 + ["office/mono.wav"] + ["office/stereo.wav"] * 2
    assert rooms.room.tolist() == ["hall"] * 2 + ["office"] * 3
    assert rooms.rir.tolist() == [0, 1, 2, 3, 4]
    assert rooms.table["channel"].tolist() == [0, 0, 0, 0, 1]
    assert rooms.table["measurement"].isna().tolist() == [False, False, True, True, True]
    assert rooms.target["rt60"].to_numpy() == pytest.approx([0.5, 0.6, 0.3, 0.4, 0.7], rel=0.1)
    assert "5 responses of 2 room(s)" in rooms.DESCR
    assert "(other files: 1 .txt)" in rooms.DESCR


def test_a_folder_may_have_sofa_files_alone(folder: Path) -> None:
    rooms = load_measured_rirs(folder / "hall")
    assert rooms.file.tolist() == ["a.sofa", "a.sofa"]
    assert "(other files: none)" in rooms.DESCR


def test_lists_and_tables_name_both_kinds_of_files(folder: Path) -> None:
    files = [folder / "office" / "mono.wav", str(folder / "hall" / "a.sofa")]
    listed = load_measured_rirs(files)
    assert listed.target["rt60"].to_numpy() == pytest.approx([0.3, 0.5, 0.6], rel=0.1)
    table = pd.DataFrame({"file": ["office/mono.wav", "hall/a.sofa"], "room": ["x", "y"], "volume": [50, np.nan]})
    rooms = load_measured_rirs(table, root=folder)
    assert rooms.room.tolist() == ["x", "y", "y"]
    assert rooms.target["volume"].tolist() == [50, 200, 200]
    assert load_measured_rirs(table.assign(volume=[50, 77]), root=folder).target["volume"].tolist() == [50, 77, 77]
    assert len(load_measured_rirs(["office/mono.wav"], root=folder).rirs) == 1
    assert len(load_measured_rirs("hall/a.sofa", root=folder).rirs) == 2


def test_columns_that_number_responses_are_not_overwritten(folder: Path) -> None:
    table = pd.DataFrame({"file": ["hall/a.sofa"], "receiver": ["north"]})
    with pytest.raises(ValueError, match="source must have no column 'receiver', which numbers the responses"):
        load_measured_rirs(table, root=folder)


def test_short_names_of_rooms_tell_them_apart(tmp_path: Path) -> None:
    for name in ("aula", "foyer"):
        write_room(tmp_path / f"{name}.sofa", diffuse_responses(0.5)[None], GLOBAL_RoomShortName=name.title())
    rooms = load_measured_rirs(tmp_path)
    assert rooms.room.tolist() == ["Aula", "Foyer"]
    assert "RoomShortName of SOFA files" in rooms.DESCR


def test_the_room_of_a_template_is_not_documented(tmp_path: Path) -> None:
    corners = {"RoomCornerA": np.zeros((1, 3)), "RoomCornerB": np.array([[1.0, 2, 3]]), "RoomCorners": 0.0}
    corners |= {"RoomCorners_Type": "cartesian", "RoomCorners_Units": "metre"}
    path = write_room(tmp_path / "default.sofa", diffuse_responses(0.5)[None], RoomVolume=0.0, **corners)
    assert load_measured_rirs(path).target[["volume", "length", "width", "height"]].isna().all(axis=None)


def test_files_that_name_no_room_are_named_when_they_count_as_one(tmp_path: Path) -> None:
    for name in ("aula", "foyer"):
        write_room(tmp_path / f"{name}.sofa", diffuse_responses(0.5)[None])
    with pytest.warns(UserWarning, match=r"2 SOFA files without RoomShortName count as one room, .*aula\.sofa"):
        rooms = load_measured_rirs(tmp_path)
    assert len(set(rooms.room.tolist())) == 1


# --- Refused --------------------------------------------------------------------------------------------------------


def test_head_related_responses_of_a_free_field_are_refused(tmp_path: Path) -> None:
    path = write_sofa(tmp_path / "hrir.sofa", "SimpleFreeFieldHRIR", diffuse_responses(0.3, 0.3)[None])
    with pytest.raises(ValueError, match=r"^load_measured_rirs: path must be a SOFA file .*hrir\.sofa, .* free field"):
        load_measured_rirs(path)


def test_frequency_responses_and_harmonics_are_refused(tmp_path: Path) -> None:
    path = write_room(tmp_path / "tf.sofa", diffuse_responses(0.4)[None])
    with netCDF4.Dataset(path, "a") as file:
        file.renameVariable("Data.IR", "Data.Real")
        file.DataType = "TF"
    with pytest.raises(ValueError, match=r"tf\.sofa, which has data of type TF and no impulse responses"):
        load_measured_rirs(path)
    harmonics = {"ReceiverPosition_Type": "spherical harmonics", "ReceiverPosition_Units": "degree, degree, metre"}
    path = write_room(tmp_path / "sh.sofa", diffuse_responses(0.3, 0.3, 0.3, 0.3)[None], **harmonics)
    with pytest.raises(ValueError, match=r"sh\.sofa, whose receivers are spherical harmonics"):
        load_measured_rirs(path)


def test_broken_files_are_named(tmp_path: Path) -> None:
    path = write_room(tmp_path / "rir.sofa", diffuse_responses(0.5)[None])
    whole = path.read_bytes()
    for content in (b"", b"no SOFA file", whole[: len(whole) // 2], whole[:3000] + bytes(3000) + whole[6000:]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"^load_measured_rirs: path must be a SOFA file .*rir\.sofa, which"):
            load_measured_rirs(path)
    with pytest.raises(FileNotFoundError, match=r"not a file: .*none\.sofa"):
        load_measured_rirs(tmp_path / "none.sofa")


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.full(RATE, np.nan), "missing, NaN or infinite samples in measurement 0"),
        (np.zeros(RATE), "must not be silent, got nothing but zeros in .*rir.sofa"),
        (np.ones(80), r"longer than 0\.05 s, got 0\.005 s in .*rir.sofa"),
    ],
)
def test_responses_that_are_none_are_refused(tmp_path: Path, samples: np.ndarray, message: str) -> None:
    path = write_sofa(tmp_path / "rir.sofa", "SingleRoomSRIR", samples[None, None], **HALL)
    with pytest.raises(ValueError, match=message):
        load_measured_rirs(path)


def test_the_response_of_several_is_named(tmp_path: Path) -> None:
    samples = diffuse_responses(0.5, 0.5)[:, None]
    samples[1] = 0
    with pytest.raises(ValueError, match=r"zeros in .*rir\.sofa \(measurement 1, receiver 0, emitter 0\)"):
        load_measured_rirs(write_room(tmp_path / "rir.sofa", samples))


def test_a_header_that_claims_more_than_there_is_is_refused(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "bomb.sofa", {"M": 1_000_000, "R": 2, "N": 1_000_000})
    with pytest.raises(ValueError, match=r"bomb\.sofa, whose header claims 1\.6e\+13 bytes of samples"):
        load_measured_rirs(path)


def test_samples_that_were_never_written_are_refused(tmp_path: Path) -> None:
    path = write_netcdf(tmp_path / "hole.sofa", {"M": 1, "R": 1, "N": RATE})
    with pytest.raises(ValueError, match=r"hole\.sofa, which has missing, NaN or infinite samples in measurement 0"):
        load_measured_rirs(path)
    path = write_netcdf(tmp_path / "odd.sofa", {"M": 1, "X": 1, "N": RATE})
    with pytest.raises(ValueError, match=r"odd\.sofa, whose Data\.IR has dimensions M, X, N"):
        load_measured_rirs(path)


@pytest.mark.parametrize("rate", [0.0, 44_100.5, 1e9, np.nan])
def test_sampling_rates_that_no_sound_has_are_refused(tmp_path: Path, rate: float) -> None:
    path = write_sofa(tmp_path / "rir.sofa", "SingleRoomSRIR", diffuse_responses(0.4)[None], rate, **HALL)
    with pytest.raises(ValueError, match=r"rir\.sofa, whose sampling rate must be one whole number"):
        load_measured_rirs(path)


def test_without_sofar_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sofar", None)
    (tmp_path / "rir.sofa").write_bytes(b"")
    with pytest.raises(ImportError, match=r"rir\.sofa is read by sofar: pip install 'roomacoustic_sk\[sofa\]'"):
        load_measured_rirs(tmp_path / "rir.sofa")
