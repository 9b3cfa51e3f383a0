"""Damaged files of every format give a value or an error that names them: no crash, no hang, no memory bomb.

`FUZZED_FILES=10000 python -m pytest tests/test_fuzzed_files.py` runs more mutations, `FUZZ_SEED=1` others.
"""

from __future__ import annotations

import faulthandler
import io
import json
import os
import resource
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from roomacoustic_sk.datasets import load_measured_rirs, load_recordings

N_FILES = int(os.environ.get("FUZZED_FILES", "200"))
SEED = int(os.environ.get("FUZZ_SEED", "0"))
SECONDS = 5  # for one file
MEGABYTES = 500  # for all

FORMATS = [
    ("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "GSM610"), ("WAV", "IMA_ADPCM"), ("WAVEX", "PCM_24"),
    ("RF64", "PCM_16"),
    ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("AU", "G721_32"), ("CAF", "PCM_16"), ("CAF", "ALAC_16"),
    ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("NIST", "PCM_16"),
    ("VOC", "PCM_16"),
    ("AVR", "PCM_16"), ("SVX", "PCM_16"), ("PAF", "PCM_16"), ("PVF", "PCM_16"), ("IRCAM", "PCM_16"),
]  # fmt: skip
ABSURD = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x7FFFF000, 2**36 - 1, 2**62, 2**64 - 1)
TABLE = "file,room,volume_m3,length,note\nrir.wav,hall,900,12.5,a\nrir.wav,007,60,4,b\n"


def whole_files() -> list[bytes]:
    """Return a file of each format that the installed libsndfile writes, and a table."""
    noise = 0.1 * np.random.default_rng(0).standard_normal(6000)
    files = []
    for kind, coding in FORMATS:
        if coding in soundfile.available_subtypes(kind):
            file = io.BytesIO()
            soundfile.write(file, noise, 16000, format=kind, subtype=coding)
            files.append(file.getvalue())
    return [*files, TABLE.encode()]


def mutate(files: list[bytes], rng: np.random.Generator) -> tuple[bytes, bool]:
    """Damage one of the files in one to three ways; say whether it is the table."""
    chosen = int(rng.integers(len(files)))
    data = bytearray(files[chosen])
    for _ in range(rng.integers(1, 4)):
        if not data:
            break
        at = int(rng.integers(len(data) if rng.random() < 0.5 else min(len(data), 128)))
        way = rng.integers(6)
        if way == 0:  # flip bits
            data[at] ^= 1 << int(rng.integers(8))
        elif way == 1:  # cut
            del data[at:]
        elif way == 2:  # an absurd number
            size = int(rng.choice([2, 4, 8]))
            number = ABSURD[rng.integers(len(ABSURD))] & (1 << 8 * size) - 1
            data[at : at + size] = number.to_bytes(size, str(rng.choice(["little", "big"])))
        elif way == 3:  # the head of another file
            other = files[int(rng.integers(len(files)))]
            n_bytes = int(rng.integers(1, 128))
            data[:n_bytes] = other[:n_bytes]
        elif way == 4:  # a piece missing, or twice
            piece = data[at : at + int(rng.integers(1, 256))]
            data[at : at + (len(piece) if rng.random() < 0.5 else 0)] = b"" if rng.random() < 0.5 else piece
        else:  # another file joined to it
            data += files[int(rng.integers(len(files)))]
    return bytes(data), chosen == len(files) - 1


def outcome_of(path: Path, is_table: bool) -> str:
    """Read a file as its kind; return "value", "error", or what is wrong."""
    try:
        if is_table:
            samples = np.concatenate(load_measured_rirs(path).rirs)
        else:
            samples = load_recordings([path], duration=None).data[0]
        return "value" if np.isfinite(samples).all() else "not finite"
    except (ValueError, OSError) as error:
        named = path.name in str(error) or (is_table and type(error).__module__.startswith("roomacoustic_sk"))
        return "error" if named else f"{type(error).__name__} without a name: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"


def fuzz(folder: Path, seed: int, n_files: int) -> dict[str, int]:
    """Read damaged files one after another; the process ends if one takes too long or too much memory."""
    warnings.simplefilter("ignore")
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    files, outcomes = whole_files(), Counter[str]()
    noise = np.random.default_rng(1).standard_normal(8000) * 10 ** (-3 * np.arange(8000) / 4000)
    soundfile.write(folder / "rir.wav", 0.2 * noise, 16000)
    outcome_of(folder / "rir.wav", False)
    (folder / "file.csv").write_text(TABLE)
    outcome_of(folder / "file.csv", True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for i in range(n_files):
        data, is_table = mutate(files, np.random.default_rng([seed, i]))
        path = folder / ("file.csv" if is_table else "file.wav")
        path.write_bytes(data)
        faulthandler.dump_traceback_later(SECONDS, exit=True)
        outcome = outcome_of(path, is_table)
        faulthandler.cancel_dump_traceback_later()
        outcomes[outcome if outcome in ("value", "error") else f"{i}: {outcome}"] += 1
        (folder / "progress").write_text(str(i))
    outcomes["MB"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024
    return dict(outcomes)


@pytest.mark.skipif(sys.platform == "win32", reason="memory is limited by resource, which Windows lacks")
@pytest.mark.slow
def test_damaged_files_give_a_value_or_an_error_that_names_them(tmp_path: Path) -> None:
    command = [sys.executable, __file__, str(tmp_path), str(SEED), str(N_FILES)]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    child = subprocess.run(command, capture_output=True, text=True, errors="replace", env=environment, check=False)
    progress = (tmp_path / "progress").read_text() if (tmp_path / "progress").exists() else "-1"
    assert child.returncode == 0, f"seed {SEED}, after file {progress}: {child.stderr[-2000:]}"
    outcomes = json.loads(child.stdout.splitlines()[-1])
    print(f"seed {SEED}: {outcomes}")
    megabytes = outcomes.pop("MB")
    assert set(outcomes) <= {"value", "error"}, outcomes
    assert outcomes["error"] > N_FILES // 4  # damage is found
    assert outcomes["value"] > N_FILES // 20  # and a file that can be read is read
    assert megabytes < MEGABYTES


if __name__ == "__main__":
    print(json.dumps(fuzz(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
