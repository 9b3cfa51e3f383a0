"""Damaged, hostile and newer files of `save` give a ValueError or OSError: no other error, hang, memory bomb or code.

A changed byte is never a changed number: a file that differs in any way is refused, unless its writer has computed the
checksum again. `python tests/test_saved_files.py 10000 0` reads 10 000 mutated files with seed 0.
"""

from __future__ import annotations

import copy
import faulthandler
import hashlib
import io
import json
import os
import pickle
import resource
import subprocess
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from toys import ENCODER, SUPERVISED, decaying_noise, outputs

from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomClassifier,
    RoomRegressor,
    RoomRegressorEnsemble,
    SupervisedRoomRegressor,
    load,
    save,
)
from roomacoustic_sk.features import DecaySlopeFeatures
from roomacoustic_sk.networks import RoomCNN
from roomacoustic_sk.persistence._file import FORMAT, Content, from_bytes, to_bytes

N_FILES = int(os.environ.get("FUZZED_FILES", "300"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SECONDS = 5  # for one file
MEGABYTES = 500  # for all
ZEROS = b"0" * 64
HEAD = {"n_hidden": 8, "max_epochs": 1, "validation_fraction": 0, "random_state": 0}
SMALL = ENCODER | {"network": "paper", "segment_duration": 0.25, "validation_fraction": 0}


def short_recordings() -> tuple[np.ndarray, np.ndarray]:
    """Return recordings and their reverberation times."""
    rt60 = np.geomspace(0.1, 1, 24)
    return decaying_noise(rt60, n_times=4000, period=1000), rt60


def models() -> list[BaseEstimator]:
    """Return small fitted estimators of each kind, all of recordings."""
    X, y = short_recordings()
    encoder = ContrastiveRoomEncoder(**SMALL).fit(X, rir_groups=np.arange(24) // 3, source_groups=np.arange(24) % 3)
    frozen = FrozenEstimator(encoder)
    heads = [
        BaggingRegressor(RoomRegressor(**HEAD | {"random_state": np.random.RandomState(0)}), 2, random_state=0),
        TransformedTargetRegressor(RoomRegressor(**HEAD), func=np.log, inverse_func=np.exp),
    ]
    supervised = SupervisedRoomRegressor(**SUPERVISED | {"network": "paper", "segment_duration": 0.25})
    return [
        encoder,
        *(make_pipeline(frozen, StandardScaler(), head).fit(X, y) for head in heads),
        make_pipeline(frozen, RoomClassifier(**HEAD)).fit(X, np.where(y > 0.3, "large", "small")),
        supervised.set_params(validation_fraction=0).fit(X, y),
        make_pipeline(frozen, RoomRegressorEnsemble(RoomRegressor(**HEAD), 2, random_state=0)).fit(X, y),
        make_pipeline(DecaySlopeFeatures(bands=[1000], windows=[0.05]), Ridge()).fit(X, y),
    ]


def bits_of(model: BaseEstimator) -> bytes:
    """Return what an estimator gives for the recordings, to the last bit."""
    X, _ = short_recordings()
    return (outputs(model, X) if hasattr(model, "predict") else model.transform(X)).tobytes()


# --- Mutations ------------------------------------------------------------------------------------------------------


def damage(files: list[bytes], chosen: int, rng: np.random.Generator) -> bytes:
    """Damage a file in one to three ways, without a new checksum."""
    data = bytearray(files[chosen])
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        n_header = 8 + int.from_bytes(files[chosen][:8], "little")
        at = int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), n_header)))
        piece = bytes(data[at : at + int(rng.integers(1, 64))])
        way = rng.integers(8)
        if way == 0:
            data[at] ^= 1 << int(rng.integers(8))
        elif way == 1:
            del data[at:]
        elif way == 2:
            data[at:at] = rng.bytes(len(piece))
        elif way == 3:
            del data[at : at + len(piece)]
        elif way == 4:  # swap two pieces
            to = int(rng.integers(len(data)))
            other = bytes(data[to : to + len(piece)])
            data[at : at + len(piece)], data[to : to + len(other)] = other, piece
        elif way == 5:
            data[:8] = int(rng.choice([0, 1, 2, 2**31, 2**62, 100_000_000])).to_bytes(8, "little")
        elif way == 6:
            data += rng.bytes(8)
        else:  # the start of another file
            data[:at] = files[int(rng.integers(len(files)))][:at]
    return bytes(data)


ODD = [
    None, True, False, 0, 1, -1, 2, 3, 16_384, 10**6, 2**31, 2**62, 10**30, 0.5, 1e300, 1e-300, "", "a", "cpu", "meta",
    "paper", "pooled", "os.system", "numpy.exp", [], {}, [0], [[]], {"tuple": []}, {"dict": {}}, {"float": "nan"},
    {"float": "inf"}, {"estimator": 0}, {"estimator": 9}, {"range": 10**12}, {"range": 20}, {"function": "os.system"},
    {"own_network": "X"}, {"network": {"name": "RoomCNN", "keywords": {"dict": {"n_channels": 16_384}}}},
    {"device": "cuda:7"}, {"text": {"dtype": "U999999", "shape": [1], "items": ["a"]}},
    {"array": "0/fitted/history/dur"}, {"arrays": ""},
]  # fmt: skip
"""Values that a hostile writer may put anywhere."""


def places(value, found=None):
    """Return all containers with their keys within JSON."""
    found = [] if found is None else found
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        found.append((value, key))
        places(item, found)
    return found


def forge(data: bytes, rng: np.random.Generator) -> bytes:
    """Change the content of a file in one to three ways, with a checksum that fits."""
    content = from_bytes(data)
    structure, arrays = copy.deepcopy(content.structure), dict(content.arrays)
    for _ in range(rng.integers(1, 3)):
        found = places(structure)
        if rng.random() < 0.6 and found:
            change_structure(found, rng)
        elif arrays:
            change_arrays(arrays, rng)
    if rng.random() < 0.3:  # bytes of the header, too
        forged = bytearray(to_bytes(Content(structure, arrays)))
        at = int(rng.integers(8, 8 + int.from_bytes(forged[:8], "little")))
        forged[at : at + 1] = rng.bytes(1) if rng.random() < 0.5 else b""
        forged[:8] = (int.from_bytes(forged[:8], "little") - (len(forged) < len(data))).to_bytes(8, "little")
        return signed(bytes(forged))
    return to_bytes(Content(structure, arrays))


def change_structure(found, rng):
    holder, key = found[rng.integers(len(found))]
    other, other_key = found[rng.integers(len(found))]
    way = rng.integers(5)
    if way == 4 and type(holder[key]) in (int, float):
        holder[key] *= [2, 3, -1, 1000][rng.integers(4)]
    elif way == 0:
        del holder[key]
    elif way == 1:
        holder[key] = copy.deepcopy(other[other_key])
    elif way == 2 and isinstance(holder, dict):
        holder[f"{key}x"] = holder.pop(key)
    else:
        holder[key] = copy.deepcopy(ODD[rng.integers(len(ODD))])


def change_arrays(arrays, rng):
    names = list(arrays)
    name, other = names[rng.integers(len(names))], names[rng.integers(len(names))]
    array, way = arrays[name], rng.integers(7)
    if way == 0:
        arrays[name] = array.astype([np.float64, np.float16, np.int64, np.uint8, bool][rng.integers(5)])
    elif way == 1:
        arrays[name] = array.reshape(1, -1)
    elif way == 2:
        arrays[name] = array.ravel()[: rng.integers(array.size + 1)]
    elif way == 3:
        arrays[name] = arrays[other]
    elif way == 4:
        arrays[f"{name}x"] = arrays.pop(name)
    elif way == 5:
        arrays[name] = np.full_like(array, [0, 1, -1][rng.integers(3)] if array.dtype.kind in "ib" else 3)
    elif array.dtype.kind == "f":
        arrays[name] = np.full_like(array, [np.nan, np.inf, 1e30, -1.0][rng.integers(4)])


def signed(data: bytes) -> bytes:
    """Return a file with a checksum that fits, if there is one in it."""
    start = data.find(rb"\"sha256\":\"") + len(rb"\"sha256\":\"")
    if start < 64 // 4:
        return data
    blank = data[:start] + ZEROS + data[start + 64 :]
    return blank[:start] + hashlib.sha256(blank).hexdigest().encode() + blank[start + 64 :]


# --- Many files -----------------------------------------------------------------------------------------------------


def outcome_of_loading(path: Path, expected: bytes) -> str:
    """Load a file: "refused", "the same", "other numbers", "refuses recordings", or the wrong kind of error."""
    try:
        model = load(path)
    except (ValueError, OSError):
        return "refused"
    except BaseException as error:
        return f"load: {type(error).__name__}: {error}"
    try:
        return "the same" if bits_of(model) == expected else "other numbers"
    except Exception as error:
        known = isinstance(error, (ValueError, TypeError, AttributeError))  # parameters and attributes were forged
        return "refuses recordings" if known else f"{type(error).__name__}: {error}"


def load_mutated(folder: Path, n_files: int, seed: int) -> dict[str, float]:
    """Load mutated files one after another; the process ends if one takes too long or too much memory."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
    files, expected = [], []
    for i, model in enumerate(models()):
        save(model, folder / f"{i}.rsk")
        files.append((folder / f"{i}.rsk").read_bytes())
        expected.append(bits_of(load(folder / f"{i}.rsk")))
    outcomes, longest, path = Counter[str](), 0.0, folder / "mutated.rsk"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(n_files):
        rng = np.random.default_rng([seed, i])
        chosen = int(rng.integers(len(files)))
        hostile = bool(rng.random() < 0.5)
        data = forge(files[chosen], rng) if hostile else damage(files, chosen, rng)
        path.write_bytes(data)
        (folder / "progress").write_text(str(i))
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        start = time.perf_counter()
        outcome = outcome_of_loading(path, expected[chosen])
        longest = max(longest, time.perf_counter() - start)
        faulthandler.cancel_dump_traceback_later()
        known = outcome in ("refused", "the same", "other numbers", "refuses recordings")
        if not hostile and outcome == "the same" and data not in files:
            outcome, known = "a changed file was loaded", False
        outcomes[f"{'hostile' if hostile else 'damaged'}: {outcome}" if known else f"{i}: {outcome}"] += 1
    growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return dict(outcomes) | {"MB": growth, "longest": round(longest, 2)}


ACCEPTED = {
    "damaged: refused",
    "damaged: the same",  # the mutation gave back one of the files
    "hostile: refused",
    "hostile: the same",
    "hostile: other numbers",
    "hostile: refuses recordings",
}


@pytest.mark.skipif(sys.platform == "win32", reason="memory is limited by resource, which Windows lacks")
@pytest.mark.slow
def test_mutated_files_are_refused_or_unchanged(tmp_path):
    command = [sys.executable, __file__, str(N_FILES), str(SEED), str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    child = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    progress = (tmp_path / "progress").read_text() if (tmp_path / "progress").exists() else "-1"
    assert child.returncode == 0, f"seed {SEED}, file {progress}: {child.stderr[-2000:]}"
    outcomes = json.loads(child.stdout.splitlines()[-1])
    print(f"seed {SEED}: {outcomes}")
    assert outcomes.pop("MB") < MEGABYTES
    assert outcomes.pop("longest") < SECONDS
    assert set(outcomes) <= ACCEPTED, outcomes
    assert outcomes["damaged: refused"] > N_FILES // 3
    assert outcomes["hostile: refused"] > N_FILES // 4
    assert outcomes["hostile: the same"] + outcomes["hostile: other numbers"] > N_FILES // 50  # some are harmless


# --- Single cases ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Files of small fitted estimators, by the class of the last node."""
    folder, files = tmp_path_factory.mktemp("saved"), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few recordings
        for model in models():
            last = model[-1] if isinstance(model, Pipeline) else model
            save(model, folder / "model.rsk")
            files[type(last).__name__] = (folder / "model.rsk").read_bytes()
    return files


@pytest.fixture
def refused(tmp_path):
    """Check that a file is refused with a message, quickly and without much memory."""

    def check(data, message):
        path = tmp_path / "hostile.rsk"
        path.write_bytes(data)
        memory, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
        with pytest.raises(ValueError, match=f"load: path must be a file that save wrote, got .*hostile.*{message}"):
            load(path)
        assert time.perf_counter() - start < SECONDS
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 300 << 10

    return check


def changed(data, change):
    """Return a file whose content was changed by a hostile writer."""
    content = from_bytes(data)
    change(content.structure, content.arrays)
    return to_bytes(content)


def node_of(structure, name):
    return next(node for node in structure["nodes"] if node["class"] == name)


def test_every_flipped_bit_of_a_header_is_refused(tmp_path):
    save(RoomRegressor(), tmp_path / "model.rsk")
    data = (tmp_path / "model.rsk").read_bytes()
    for at in range(len(data)):
        bit = 5 if at % 2 else at // 2 % 8  # 5 changes the case of a letter
        (tmp_path / "flipped.rsk").write_bytes(data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :])
        with pytest.raises(ValueError, match="which cannot be loaded"):
            load(tmp_path / "flipped.rsk")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "no file of roomacoustic_sk"),
        (b"\xff" * 100, "no file of roomacoustic_sk"),
        (pickle.dumps({"a": 1}) * 9, "no file of roomacoustic_sk"),
        ((2).to_bytes(8, "little") + b"{}", "no metadata"),
        ((7).to_bytes(8, "little") + b"[1,2,3]", "no JSON object"),
        ((200_000).to_bytes(8, "little") + b"[" * 200_000, "nested more than"),
        ((5005).to_bytes(8, "little") + b'{"a":' + b"9" * 4999 + b"}", "no JSON"),
    ],
)
def test_other_files_are_refused(data, message, refused):
    refused(data, message)


def test_damage_and_newer_formats_are_told_apart(saved, refused):
    data = saved["Ridge"]
    refused(data[:-1], "damaged")
    refused(data[:-1] + bytes([data[-1] ^ 1]), "damaged: its checksum is that of other content")
    newer = data.replace(rf"\"format\":{FORMAT}".encode(), rf"\"format\":{FORMAT + 1}".encode())
    refused(signed(newer), "written by a newer version of roomacoustic_sk .format 2; this version reads up to 1")


def test_paths_that_are_no_files_are_oserrors_or_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="load: path must be an existing file"):
        load(tmp_path / "missing.rsk")
    with pytest.raises(FileNotFoundError, match="load: path must be an existing file"):
        load(tmp_path)
    os.mkfifo(tmp_path / "pipe")  # reading it would wait for a writer
    with pytest.raises(ValueError, match="no regular file"):
        load(tmp_path / "pipe")
    with open(tmp_path / "sparse", "wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ValueError, match="larger than 4 GiB"):
        load(tmp_path / "sparse")


def test_absurd_sizes_take_no_memory(saved, refused):
    def many_neurons(structure, arrays):
        built = structure["nodes"][0]["fitted"]["built_with"]["dict"]
        built["n_hidden"] = 16_384

    refused(changed(saved["SupervisedRoomRegressor"], many_neurons), "must have the shape .16384")

    def many_channels(structure, arrays):
        network = {"name": "RoomCNN", "keywords": {"dict": {"n_channels": 16_384}}}
        structure["nodes"][0]["fitted"]["built_with"]["dict"]["network"] = {"network": network}

    refused(changed(saved["ContrastiveRoomEncoder"], many_channels), "must have the shape .16384")

    def long_segment(structure, arrays):
        structure["nodes"][0]["fitted"]["segment_length"] = 9_000_000

    refused(changed(saved["ContrastiveRoomEncoder"], long_segment), "must have the shape")

    def long_range(structure, arrays):
        structure["nodes"][0]["parameters"]["tau"] = {"range": 10**12}

    refused(changed(saved["ContrastiveRoomEncoder"], long_range), "MiB beyond its size")


def set_parameter(value, parameter="lr"):
    def change(structure, arrays):
        structure["nodes"][0]["parameters"][parameter] = value

    return change


def add_array(structure, arrays):
    arrays["more"] = np.zeros(3)


def not_a_number(structure, arrays):
    name = next(name for name in arrays if name.endswith("weights/0.linear.bias"))
    arrays[name] = np.full_like(arrays[name], np.nan)


def double(structure, arrays):
    name = next(name for name in arrays if name.endswith("weights/0.linear.bias"))
    arrays[name] = arrays[name].astype(np.float64)


def unknown_attribute(structure, arrays):
    structure["nodes"][0]["fitted"]["more"] = 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_parameter({"function": "os.system"}), "names a function that files may not name"),
        (set_parameter({"network": {"name": "Module", "keywords": {"dict": {}}}}), "does not have"),
        (set_parameter({"estimator": 0}), "does not stand before"),
        (set_parameter({"unheard": 0}), "unknown kind"),
        (set_parameter({"range": True}), "malformed value"),
        (set_parameter(10**30), "number that is too large"),
        (set_parameter({"array": "0/fitted/history/dur"}), "missing or used already"),
        (set_parameter({"device": "tricorder"}), "unknown device"),
        (set_parameter({"text": {"dtype": "U1", "shape": [2], "items": ["a"]}}), "shape does not fit"),
        (set_parameter({"text": {"dtype": "object", "shape": [1], "items": [[]]}}), "no numbers or text"),
        (set_parameter([], "callbacks"), "unknown parameter, 'callbacks'"),
        (set_parameter("/tmp", "checkpoint_dir"), "unknown parameter, 'checkpoint_dir'"),
        (set_parameter("nonsense", "network"), "network must be one of"),
        (lambda structure, arrays: structure["nodes"][0].update({"class": "Popen"}), "does not know, 'Popen'"),
        (lambda structure, arrays: structure["nodes"][0].update({"output": "html"}), "unknown kind of output"),
        (lambda structure, arrays: structure["nodes"][0].pop("fitted"), "malformed estimator"),
        (lambda structure, arrays: structure.update({"nodes": []}), "no list of estimators"),
        (lambda structure, arrays: structure.update({"more": []}), "malformed structure"),
        (add_array, "nothing refers to, 'more'"),
        (not_a_number, "must be finite"),
        (double, "must be float32"),
        (unknown_attribute, "more must not be in the fitted state"),
    ],
)
def test_forged_content_is_refused(change, message, saved, refused):
    refused(changed(saved["ContrastiveRoomEncoder"], change), message)


def test_a_network_in_place_of_a_number_is_refused(saved, tmp_path):
    (tmp_path / "model.rsk").write_bytes(
        changed(saved["ContrastiveRoomEncoder"], set_parameter({"own_network": "Net"}))
    )
    with pytest.raises(ValueError, match="lr must be a number"):
        load(tmp_path / "model.rsk", network=RoomCNN)


def test_a_generator_with_a_forged_position_is_refused(saved, refused):
    def forge_position(structure, arrays):
        node_of(structure, "RoomRegressor")["parameters"]["random_state"]["random_state"]["position"] = 10**6

    refused(changed(saved["BaggingRegressor"], forge_position), "malformed RandomState")


def test_a_missing_parameter_is_refused(saved, refused):
    def forget(structure, arrays):
        del node_of(structure, "Pipeline")["parameters"]["steps"]

    refused(changed(saved["BaggingRegressor"], forget), "Pipeline without the parameter 'steps'")


def test_a_cache_of_pickles_is_refused(saved, refused):
    def cache(structure, arrays):
        node_of(structure, "Pipeline")["parameters"]["memory"] = "/tmp/cache"

    refused(changed(saved["BaggingRegressor"], cache), "malformed memory")


# --- Parts that skops wrote -----------------------------------------------------------------------------------------


def forged_archive(data, change, compression=zipfile.ZIP_STORED):
    """Return a file whose archive of skops has other entries."""

    def replace(structure, arrays):
        name = node_of(structure, "skops")["data"]
        with zipfile.ZipFile(io.BytesIO(arrays[name].tobytes())) as archive:
            entries = {entry: archive.read(entry) for entry in archive.namelist()}
        change(entries)
        forged = io.BytesIO()
        with zipfile.ZipFile(forged, "w", compression) as archive:
            for entry, content in entries.items():
                archive.writestr(entry, content)
        arrays[name] = np.frombuffer(forged.getvalue(), dtype=np.uint8)

    return changed(data, replace)


def in_schema(old, new):
    def change(entries):
        assert old in entries["schema.json"]
        entries["schema.json"] = entries["schema.json"].replace(old, new)

    return change


def promise_more(entries):
    name = next(name for name in entries if name.endswith(".npy"))
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
    entries[name] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (in_schema(b'"Ridge"', b'"Popen"'), "skops does not trust: .*Popen"),
        (in_schema(b'"ObjectNode"', b'"MethodNode"'), "MethodNode, which is not supported"),
        (promise_more, "size is not that of its shape"),
        (lambda entries: entries.update({"a.npz": b"0"}), "more than arrays"),
        (lambda entries: entries.update({"schema.json": b"[" * 10**6}), "skops cannot read"),
        (lambda entries: entries.pop("schema.json"), "skops cannot read"),
    ],
)
def test_forged_parts_of_skops_are_refused(change, message, saved, refused):
    refused(forged_archive(saved["Ridge"], change), message)


def test_a_compressed_part_of_skops_is_refused(saved, refused):
    bomb = forged_archive(saved["Ridge"], lambda entries: entries.update({"b.npy": bytes(10**7)}), zipfile.ZIP_DEFLATED)
    refused(bomb, "compressed archive")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        chosen_folder = Path(sys.argv[3] if len(sys.argv) > 3 else temporary)
        print(json.dumps(load_mutated(chosen_folder, int(sys.argv[1]), int(sys.argv[2]))))
