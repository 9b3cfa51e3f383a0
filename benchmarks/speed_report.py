"""The page on speed and memory, from what `speed.py`, `memory.py` and `accuracy.py` measured.

    python benchmarks/speed_report.py                       # prints, and writes docs/speed.md

Text between the tables is kept in `docs/speed.md` itself: only what stands between two marks is replaced.
"""

from __future__ import annotations

import argparse
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
from accuracy import compare

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "speed.md"


def read(name: str) -> dict[str, Any]:
    """Return a result file, or nothing where it is not there."""
    path = HERE / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def lines_of(frame: pd.DataFrame) -> list[str]:
    """Return a frame as the lines of a Markdown table."""
    head = [frame.index.name or "", *map(str, frame.columns)]
    body = [[str(name), *("" if pd.isna(value) else str(value) for value in row)] for name, row in frame.iterrows()]
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *body]]


def made_by(made: dict[str, Any]) -> list[str]:
    """Say where figures come from."""
    machine = next(iter(made.values()))["machine"]
    origins = {}
    for section, origin in made.items():
        origins.setdefault((origin["command"], origin["commit"]), []).append(section)
    said = [f"`{command}` at commit {commit}" for command, commit in origins]
    return [f"{'; '.join(said)}. {machine['cores']} cores ({machine['cpu']}), {machine['torch_threads']} threads.", ""]


def speed() -> list[str]:
    """Return the table of our way beside the plain one."""
    result = read("speed")
    measured = pd.DataFrame(result["measured"]).T
    measured.index.name = "what"
    compared = measured[measured["ratio"].notna()].copy()
    for name in ("ours", "plain"):
        each_step = compared[f"{name}_s_per_step"]
        compared[f"{name} [s]"] = each_step.map("{:.3f} a step".format).where(each_step.notna(), compared[f"{name}_s"])
    compared["rounds"] = compared["rounds"].astype(int)
    compared["ratio"] = [
        f"{r['ratio']:.1f} ({r['ratio_lowest']:.1f} to {r['ratio_highest']:.1f})" for _, r in compared.iterrows()
    ]
    columns = [
        "ours [s]",
        "plain [s]",
        "ratio",
        "rounds",
        *[c for c in ("clips_per_s", "real_time_factor", "rirs_per_s") if c in compared],
    ]
    page = [*made_by(result["made"]), *lines_of(compared[columns].rename(columns=lambda c: c.replace("_", " ")))]
    spread = measured["relative_sd"].dropna()
    said = "; ".join(f"{name.removeprefix('T30 repeats itself, ')} {value:.1%}" for name, value in spread.items())
    page += ["", f"Relative standard deviation of T30 between two runs with other rays: {said}.", ""]
    sizes = measured.loc[measured["s_per_rir"].notna(), ["s_per_rir", "rt60"]]
    return [*page, *lines_of(sizes.rename(columns={"s_per_rir": "s a response", "rt60": "RT60 [s]"}))]


def memory() -> list[str]:
    """Return the table of memory and growth."""
    result = read("memory")
    frame = pd.DataFrame(result["measured"]).T
    frame.index.name = "what, rows"
    names = {
        "input_gb": "before [GB]",
        "beyond_input_gb": "beyond [GB]",
        "peak_gb": "peak [GB]",
        "ms_each": "ms a step or row",
    }
    return [*made_by(result["made"]), *lines_of(frame.rename(columns=names))]


def accuracy() -> list[str]:
    """Return the table of plain and fast trainings."""
    result = read("accuracy")
    found = compare(result["trainings"]).round(3)
    found.index = pd.Index([", ".join(key) for key in found.index], name="network, task, test")
    return [*made_by({"accuracy": result}), *lines_of(found)]


def main() -> None:
    """Replace the tables of the page."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    page = PAGE.read_text()
    for name, make in (("speed", speed), ("memory", memory), ("accuracy", accuracy)):
        if read(name):
            block = "\n".join([f"<!-- {name} -->", *make(), f"<!-- end of {name} -->"])
            page = re.sub(rf"<!-- {name} -->.*<!-- end of {name} -->", lambda _, block=block: block, page, flags=re.S)
    PAGE.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
