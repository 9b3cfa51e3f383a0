"""What every result in this folder says about where it comes from."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

PACKAGES = (
    "torch",
    "skorch",
    "scikit-learn",
    "numpy",
    "scipy",
    "pyroomacoustics",
    "librosa",
    "pyrato",
    "pytorch-metric-learning",
)


def versions() -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def machine() -> dict[str, Any]:
    """Return what seconds depend on."""
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), cpu)
    return {"cpu": cpu, "cores": os.cpu_count(), "torch_threads": torch.get_num_threads()}


def commit() -> str:
    """Return the commit that the code is at, with a plus where files differ from it."""
    asked = ["git", "describe", "--always", "--dirty=+", "--abbrev=10"]
    done = subprocess.run(asked, cwd=Path(__file__).parent, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def command_line(script: Path, arguments: list[str]) -> str:
    """Return a command as anybody would write it: of folders and full paths, the last two names."""
    paths = [Path(text) for text in arguments]
    shown = [
        "/".join(path.parts[-2:]) if path.is_absolute() or path.is_dir() else text
        for path, text in zip(paths, arguments, strict=True)
    ]
    return " ".join(["python", f"{script.parent.name}/{script.name}", *shown])


def provenance() -> dict[str, Any]:
    """Return the command, the commit, the machine and the versions."""
    command = command_line(Path(sys.argv[0]).resolve(), sys.argv[1:])
    return {"command": command, "commit": commit(), "machine": machine(), "versions": versions()}


def load(path: Path) -> dict[str, Any]:
    """Return what was measured so far, and where each part of it came from."""
    return json.loads(path.read_text()) if path.exists() else {"measured": {}, "made": {}}


def add(path: Path, name: str, measured: Any) -> None:
    """Add to a file one thing that was measured, read anew: another run may have added to it meanwhile."""
    results = load(path)
    results["measured"][name], results["made"][name] = measured, provenance()
    save(path, results)


def save(path: Path, result: dict[str, Any]) -> None:
    """Write a result as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    unfinished.write_text(json.dumps(result, indent=1) + "\n")
    unfinished.replace(path)
