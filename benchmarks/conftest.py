"""Options, the fixture that measures, and what a file of results says about the machine that made it."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pytest
import torch
from inputs import SIZES, Size

PACKAGES = (
    "torch",
    "skorch",
    "scikit-learn",
    "numpy",
    "scipy",
    "pyroomacoustics",
    "pyrato",
    "pytorch-metric-learning",
    "librosa",
    "zarr",
    "h5py",
)
ENVIRONMENT = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "PRA_NUM_THREADS", "ONEDNN_MAX_CPU_ISA", "ATEN_CPU_CAPABILITY")
STATS = ("min", "max", "mean", "stddev", "median", "rounds", "iterations")

ABSOLUTE = re.compile(r"(?<![\w.-])/(?:[^/]+/)*")
"""The folders of an absolute path, which are nobody else's."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the size of the work and the number of turns."""
    group = parser.getgroup("roomacoustic_sk")
    group.addoption("--size", choices=list(SIZES), default="full", help="how much work; tiny only shows that it runs")
    group.addoption("--turns", type=int, default=5, help="how often implementations take turns (default: 5)")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Let the implementations of a group take turns, so that a busy minute slows all of them down."""
    if "turn" in metafunc.fixturenames:
        metafunc.parametrize("turn", range(metafunc.config.getoption("turns")))


@pytest.fixture(scope="session")
def size(pytestconfig: pytest.Config) -> Size:
    """Return the amount of work."""
    return SIZES[pytestconfig.getoption("size")]


@pytest.fixture
def measure(benchmark: Any, turn: int, implementation: str) -> Callable[..., None]:
    """Measure one implementation in one turn."""

    def measure(
        function: Callable[[], Any], *, group: str, count: int = 1, unit: str = "call", rounds: int = 1
    ) -> None:
        benchmark.group = group
        benchmark.extra_info.update(count=count, unit=unit)
        benchmark.pedantic(function, rounds=rounds)

    return measure


# --- The file of results ------------------------------------------------------------------------------------------


def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Leave out what names the machine, and add what the seconds depend on besides the processor."""
    for name in machine_info.keys() - {"machine", "system", "python_version", "cpu"}:
        del machine_info[name]
    machine_info["torch_threads"] = torch.get_num_threads()
    machine_info["torch_cpu_capability"] = torch.backends.cpu.get_cpu_capability()
    machine_info["environment"] = {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
    machine_info["versions"] = versions()


def pytest_benchmark_update_commit_info(config: pytest.Config, commit_info: dict[str, Any]) -> None:
    """Keep the commit alone, not the names of folder and branch."""
    for name in commit_info.keys() - {"id", "time", "dirty"}:
        del commit_info[name]


def pytest_benchmark_update_json(config: pytest.Config, benchmarks: list[Any], output_json: dict[str, Any]) -> None:
    """Keep the statistics, not the single measurements, and add the command."""
    arguments = [ABSOLUTE.sub("", str(argument)) for argument in config.invocation_params.args]
    output_json["command"] = shlex.join(["pytest", *arguments])
    for one in output_json["benchmarks"]:
        one["stats"] = {name: one["stats"][name] for name in STATS}


def versions() -> dict[str, str]:
    """Return the versions of those packages that are installed."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
