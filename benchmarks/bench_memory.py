"""Peaks of memory, each of a process of its own, which the time includes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stores
from inputs import SIZES

HERE = Path(__file__).resolve().parent


@pytest.fixture
def measure_memory(benchmark: Any) -> Callable[..., float]:
    """Measure one implementation of a task once: memory varies little from run to run."""

    def measure_memory(group: str, task: str, *arguments: str) -> float:
        command = [sys.executable, str(HERE / "memory.py"), task, *arguments]
        environment = os.environ | {"PYTHONPATH": str(HERE.parent)}
        benchmark.group = group

        def run() -> dict[str, float]:
            done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(command[1:])}: {done.stderr[-2000:]}")
            return json.loads(done.stdout.splitlines()[-1])

        found = benchmark.pedantic(run, rounds=1)
        result = found.pop("result")
        benchmark.extra_info.update(found)
        return result

    return measure_memory


@pytest.fixture(scope="module")
def results() -> dict[str, float]:
    """Return a place for what the first implementation of each group computed."""
    return {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Measure with as many clips, and stores as large, as the size says."""
    size = SIZES[metafunc.config.getoption("size")]
    for name, values in (("n_clips", size.memory), ("gigabytes", size.stores)):
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, values, scope="module")


@pytest.mark.parametrize("implementation", ["roomacoustic_sk", "skorch"])
def bench_memory_of_fit(measure_memory, results, n_clips, implementation):
    """Measure contrastive training of the default network."""
    group = f"memory of fit, {n_clips} clips"
    steps = measure_memory(group, "fit", implementation, str(n_clips))
    assert steps == results.setdefault(group, steps)


@pytest.mark.parametrize("implementation", ["roomacoustic_sk", "torch"])
def bench_memory_of_transform(measure_memory, results, n_clips, implementation):
    """Measure embeddings by the default network."""
    group = f"memory of transform, {n_clips} clips"
    embedded = measure_memory(group, "transform", implementation, str(n_clips))
    assert embedded == pytest.approx(results.setdefault(group, embedded), rel=1e-3)


@pytest.fixture(scope="module")
def store(gigabytes: float, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a Zarr array and an HDF5 dataset of the same recordings."""
    pytest.importorskip("zarr", reason="zarr keeps one of the stores")
    pytest.importorskip("h5py", reason="h5py keeps one of the stores")
    folder = tmp_path_factory.mktemp("stores")
    stores.write_zarr(folder / "zarr", gigabytes)
    stores.write_hdf5(folder / "hdf5", gigabytes)
    return folder


@pytest.mark.parametrize("implementation", ["zarr", "hdf5", "array"])
def bench_memory_of_training_on_store(measure_memory, results, size, store, gigabytes, implementation):
    """Measure contrastive training on recordings in a store, which is passed as it is."""
    if implementation == "array" and gigabytes > min(size.stores):
        pytest.skip("the larger stores are not read whole: they may not fit into memory")
    group = f"memory of training on {gigabytes:g} GB"
    loss = measure_memory(group, "train_on_store", implementation, str(store), str(size.steps))
    assert loss == pytest.approx(results.setdefault(group, loss), rel=1e-5)
