"""The page on speed and memory, from the committed results.

python -m benchmarks.report             # writes docs/speed.md
python -m benchmarks.report --check     # fails where docs/speed.md differs from the results
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from pathlib import Path
from statistics import median
from string import Template
from typing import Any

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent / "docs" / "speed.md"
OURS = "roomacoustic_sk"
EPOCH = "epoch, "  # begins the groups of the parts of an epoch
CLIPS_OF_A_STEP = 72

TEXT = Template("""\
# Speed and memory

This page compares the time and memory of each part with those of a reference implementation of the same computation. It
is written by `python -m benchmarks.report` from the files in `benchmarks/results/`.

## How it is measured

```sh
pip install -c constraints.txt -e ".[benchmarks]"
pytest benchmarks --benchmark-json=benchmarks/results/my_machine.json
python -m benchmarks.report
```

- **The same computation.** Before anything is timed, each benchmark checks that both implementations agree. Networks
  are given the same weights and must return the same embeddings, loss and gradient; heads trained from the same
  initial weights must return the same estimates; convolutions, spectrograms and decay parameters must agree within
  the tolerances in the code. Ray tracing is random, so for simulations the check is looser: the reverberation times
  must agree within 15 %, in rooms with uniform absorption. The reference networks and training are in
  `benchmarks/reference.py`; they use skorch with its default data loader, pytorch-metric-learning, and float32. For
  all other tasks, the reference is a loop that calls SciPy, pyrato or pyroomacoustics.
- **In turn.** On a busy machine, seconds vary more than ratios. So the implementations are timed alternately, in
  several turns (`--turns`). In each turn, the ratio of their median times is taken. The tables give the median of
  these ratios and, in brackets, their range.
- **Memory** is the peak of a separate process, as Linux reports it. *Before*: memory in use when the task began
  (imports and input). *Beyond*: what the task added at its peak. Benchmarks of on-disk stores (Zarr, HDF5) repeat the
  same few recordings to save disk space; they measure decoding and memory, not the speed of a disk.
- **Threads.** Set `OMP_NUM_THREADS=1` on a busy machine: two threads that share one free core wait for each other.
- **Other processors.** `ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2` makes a newer processor behave like one
  that has only AVX2. Results record both variables and the processor's flags. On a processor with bfloat16, training
  uses it (`precision="auto"`) and the reference does not, so the ratio includes the change of number format.

There is one section per machine, with the benchmarks that were run on it; figures of different machines are never in
the same table.

$sections""")

EPOCH_NOTE = (
    "Milliseconds per training clip, in float32 and not compiled; a validation batch after each four steps. Clips are "
    "convolved on demand, by a thread that works while the network learns: with a second core, the *rest* is negative. "
    "Validation batches are convolved and transformed once, before the epoch that is timed."
)
SPEED_NOTE = "*Relative* is the time over that of `roomacoustic_sk` in the same turn: above 1, ours is faster."


def results() -> list[dict[str, Any]]:
    """Return the committed results, in the order of their files' names."""
    return [json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(row)} |" for row in [head, ("---",) * len(head), *rows])


def duration(seconds: float) -> str:
    """Return a duration with three digits."""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def is_epoch(one: dict[str, Any]) -> bool:
    """Return whether a benchmark is a part of an epoch."""
    return str(one["group"]).startswith(EPOCH)


def epoch_rows(benchmarks: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return the milliseconds per training clip of each part of an epoch, a line for each network."""
    turns: dict[str, dict[str, list[float]]] = {}
    for one in filter(is_epoch, benchmarks):
        seconds = one["extra_info"].get("seconds", one["stats"]["median"])
        of_network = turns.setdefault(one["group"].removeprefix(EPOCH), {})
        of_network.setdefault(one["params"]["implementation"], []).append(1e3 * seconds / CLIPS_OF_A_STEP)
    rows = []
    for network, found in turns.items():
        parts = {part: median(values) for part, values in found.items()}
        first = [parts[part] for part in ("convolution", "spectrogram", "network")]
        numbers = [*first, parts["training"] - sum(first), parts["epoch"] - parts["training"], parts["epoch"]]
        rows.append((network, *(f"{number:.2f}" for number in numbers)))
    return rows


def speed_rows(benchmarks: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return task, implementation, time and ratio of each implementation that took turns."""
    groups: dict[str, dict[str, dict[int, float]]] = {}
    units: dict[str, str] = {}
    for one in benchmarks:
        if "turn" in one["params"] and not is_epoch(one):
            seconds = one["stats"]["median"] / one["extra_info"]["count"]
            turns = groups.setdefault(one["group"], {}).setdefault(one["params"]["implementation"], {})
            turns[one["params"]["turn"]] = seconds
            units[one["group"]] = one["extra_info"]["unit"]
    rows = []
    for group, implementations in groups.items():
        ours = implementations[OURS]
        for implementation, turns in implementations.items():
            time = f"{duration(median(turns.values()))} per {units[group]}"
            ratios = [seconds / ours[turn] for turn, seconds in turns.items()]
            relative = f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            rows.append((group, implementation, time, "1" if implementation == OURS else relative))
    return rows


def memory_rows(benchmarks: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return task, implementation and memory of each process."""
    rows = []
    for one in benchmarks:
        memory = one["extra_info"]
        if "peak_gb" in memory:
            before, peak = memory["before_gb"], memory["peak_gb"]
            task = one["group"].removeprefix("memory of ")
            rows.append((task, one["params"]["implementation"], f"{before:.2f}", f"{peak - before:.2f}", f"{peak:.2f}"))
    return rows


def machine(result: dict[str, Any]) -> str:
    """Return what the seconds depend on."""
    info = result["machine_info"]
    threads = info["torch_threads"]
    words = [info["cpu"]["brand_raw"], f"{info['cpu']['count']} cores", info["torch_cpu_capability"]]
    return ", ".join([*words, f"{threads} thread{'s' * (threads > 1)}"])


def origin(result: dict[str, Any]) -> str:
    """Return where the results come from."""
    info, commit = result["machine_info"], result["commit_info"]
    changes = " with changes" if commit["dirty"] else ""
    environment = "".join(f"{name}={value} " for name, value in info["environment"].items())
    versions = {"Python": info["python_version"], **info["versions"]}
    return (
        f"`{environment}{result['command']}` at commit {commit['id'][:10]}{changes}, {result['datetime'][:10]}. "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}."
    )


def section(of_machine: list[dict[str, Any]]) -> str:
    """Return what one machine measured, in one or more runs."""
    blocks = [f"## {machine(of_machine[0])}"]
    for result in of_machine:
        blocks.append(origin(result))
        speed, memory = speed_rows(result["benchmarks"]), memory_rows(result["benchmarks"])
        epochs = epoch_rows(result["benchmarks"])
        if speed:
            blocks += ["### Speed", table(("task", "implementation", "time", "relative"), speed), SPEED_NOTE]
        if epochs:
            head = ("network", "convolution", "spectrogram", "network, loss, step", "rest", "validation", "epoch")
            blocks += ["### An epoch", table(head, epochs), EPOCH_NOTE]
        if memory:
            head = ("task", "implementation", "before [GB]", "beyond [GB]", "peak [GB]")
            blocks += ["### Memory", table(head, memory)]
    return "\n\n".join(blocks) + "\n"


def page(found: list[dict[str, Any]]) -> str:
    """Return the whole page, a section for each machine."""
    machines: dict[str, list[dict[str, Any]]] = {}
    for result in found:
        machines.setdefault(machine(result), []).append(result)
    return TEXT.substitute(sections="\n".join(map(section, machines.values())))


def main() -> None:
    """Write the page, or check that it is up to date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; fail where the page differs")
    args = parser.parse_args()
    written = page(results())
    if not args.check:
        PAGE.write_text(written)
    elif PAGE.read_text() != written:
        raise SystemExit(f"docs/{PAGE.name} differs from the results: run python -m benchmarks.report")


if __name__ == "__main__":
    main()
