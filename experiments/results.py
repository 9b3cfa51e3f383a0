"""Results of studies: one file each, one schema, written whole or not at all."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

REPOSITORY = Path(__file__).resolve().parents[1]
COMMITTED = REPOSITORY / "experiments" / "results"
TRIALS = REPOSITORY / "results" / "experiments"  # not committed: tiny or synthetic runs
PACKAGES = ("torch", "skorch", "scikit-learn", "numpy", "scipy", "pandas", "pyroomacoustics", "pyrato", "umap-learn")
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")  # which number formats and kernels torch has depends on them


class RefusedError(Exception):
    """What the user asked for cannot be done; the message is one line."""


@dataclass(frozen=True, kw_only=True)
class Key:
    """The settings of one result; each study adds its own."""

    seed: int = 0

    @property
    def settings(self) -> dict[str, Any]:
        """Everything but the seed."""
        return {name: value for name, value in asdict(self).items() if name != "seed"}

    @property
    def name(self) -> str:
        """Name of the result's file."""
        return name_of(self.settings, self.seed)


def name_of(settings: Mapping[str, Any], seed: int) -> str:
    """Return text as it is, numbers behind the names of their settings, and the seed last."""
    parts = [
        value if isinstance(value, str) else f"{name}{value:g}" for name, value in settings.items() if value is not None
    ]
    return "-".join([*parts, f"seed{seed}"])


@dataclass(frozen=True)
class Result:
    """One result and its origin. The fields are those of the file; None is what was not recorded."""

    study: str
    key: dict[str, Any]
    seed: int
    data: dict[str, str | None]  # size; speech: "real", "synthetic", or None where no speech is involved
    command: str
    commit: str  # with a plus where files differed from it
    machine: dict[str, Any]  # cpu, cores, threads
    processor_features: list[str] | None
    versions: dict[str, str]
    seconds: dict[str, float | None]  # total, of the last start where a run resumed; training, of all its epochs
    result: dict[str, Any]  # without times: a run that was stopped and resumed gives the same

    @property
    def name(self) -> str:
        """Name of the file."""
        return name_of(self.key, self.seed)


SCHEMA: dict[str, tuple[type, ...]] = {
    "study": (str,),
    "key": (dict,),
    "seed": (int,),
    "data": (dict,),
    "command": (str,),
    "commit": (str,),
    "machine": (dict,),
    "processor_features": (list, type(None)),
    "versions": (dict,),
    "seconds": (dict,),
    "result": (dict,),
}
INNER = {"data": {"size", "speech"}, "machine": {"cpu", "cores", "threads"}, "seconds": {"total", "training"}}


def load(path: Path) -> Result:
    """Return the result in a file; anything else is refused with its name and the reason."""
    try:
        fields = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise RefusedError(f"{path} is not a result: {error}. Delete it and run the study again.") from error
    problem = _problem(fields)
    if problem is None and (fields["study"], name_of(fields["key"], fields["seed"])) != (path.parent.name, path.stem):
        problem = f"study, key and seed must be those of its path, got {fields['study']}, {fields['key']}"
    if problem:
        raise RefusedError(f"{path} is not a result: {problem}. Delete it and run the study again.")
    return Result(**fields)


def _problem(fields: Any) -> str | None:
    """Say how the content of a file differs from the schema."""
    if not isinstance(fields, dict) or fields.keys() != SCHEMA.keys():
        return f"its fields must be {', '.join(SCHEMA)}"
    for name, kinds in SCHEMA.items():
        if not isinstance(fields[name], kinds):
            return f"{name} must be of type {kinds[0].__name__}, got {fields[name]!r:.60}"
    for name, inner in INNER.items():
        if fields[name].keys() != inner:
            return f"the fields of {name} must be {', '.join(sorted(inner))}"
    return None


def load_all(folder: Path) -> list[Result]:
    """Return the results in the folder of a study, which must have been computed from the same data."""
    found = [load(path) for path in sorted(folder.glob("*.json"))]
    data = sorted({describe(result.data) for result in found})
    if len(data) > 1:
        raise RefusedError(f"The results in {folder} were computed from different data: {'; '.join(data)}.")
    return found


def describe(data: Mapping[str, Any]) -> str:
    """Say what a result was computed from."""
    speech = "no speech" if data["speech"] is None else f"{data['speech']} speech"
    return f"size {data['size']}, {speech}"


def save(folder: Path, result: Result, arrays: Mapping[str, np.ndarray] | None = None) -> Path:
    """Write a result, and its arrays as NPZ beside it, each whole or not at all; the result last."""
    target = folder / result.study
    target.mkdir(parents=True, exist_ok=True)
    if arrays is not None:
        named: dict[str, Any] = dict(arrays)
        with replacing(target / f"{result.name}.npz") as unfinished:
            np.savez_compressed(unfinished, **named)
    with replacing(target / f"{result.name}.json") as unfinished:
        unfinished.write_text(json.dumps(asdict(result), indent=1) + "\n")
    return target / f"{result.name}.json"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Offer a file of this process alone, which takes the place of `path` when it has been written."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=f".unfinished{path.suffix}")
    os.close(handle)
    try:
        yield Path(name)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def provenance(arguments: Sequence[str]) -> dict[str, Any]:
    """Return the command, the commit, the machine and the versions of a run."""
    import torch

    return {
        "command": command_line(arguments),
        "commit": commit(),
        "machine": {"cpu": _cpu_info("model name"), "cores": os.cpu_count(), "threads": torch.get_num_threads()},
        "processor_features": _processor_features(),
        "versions": _versions(),
    }


def command_line(arguments: Sequence[str]) -> str:
    """Return the command that anyone would type: of folders and absolute paths, the last two names."""
    shown = []
    for text in arguments:
        path = Path(text)
        shown.append("/".join(path.parts[-2:]) if path.is_absolute() or path.is_dir() else text)
    return " ".join(["python -m experiments", *shown])


def commit() -> str:
    """Return the commit of the code, with a plus where files differ from it."""
    asked = ["git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*"]
    done = subprocess.run(asked, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def _cpu_info(field: str) -> str | None:
    """Return a field of the first processor, or None where the system does not say."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    found = next((line.split(":", 1)[1].strip() for line in lines if line.startswith(field)), None)
    return found or (platform.processor() or platform.machine() if field == "model name" else None)


def _processor_features() -> list[str] | None:
    flags = _cpu_info("flags")
    return None if flags is None else [feature for feature in FEATURES if feature in flags.split()]


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
