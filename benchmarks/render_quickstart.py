"""Print the tables of `docs/results.md` from the quickstart's committed figures.

python benchmarks/render_quickstart.py benchmarks/quickstart_librispeech_bandwise.json
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pandas as pd

TASKS = {"RT60 [s]": "RT60 [s]", "RT60 at mid frequencies [s]": "RT60, 500 Hz and 1 kHz [s]", "C50 [dB]": "C50 [dB]"}
DIGITS = {"rmse": 3, "relative_rmse": 2, "pearson_r": 3, "bias": 3}


def main() -> None:
    """Print a table of errors, and the accuracies."""
    for path in map(Path, sys.argv[1:]):
        results = json.loads(path.read_text())
        rows = pd.DataFrame(results["rows"])
        print(f"`{results['command']}`, {results['seconds']} s, commit {results['commit']} ([figures](../{path}))\n")
        print("| task | clips | encoder | RMSE | RMSE/SD | r | bias |\n| --- | --- | --- | --- | --- | --- | --- |")
        for (task, test, name), row in rows.set_index(["task", "test", "from"]).iterrows():
            if task in TASKS and name != "mean or majority":
                values = " | ".join(f"{row[key]:.{digits}f}" for key, digits in DIGITS.items())
                print(f"| {TASKS[task]} | {test} | {name} | {values} |")
        accuracy = rows.dropna(subset="accuracy").pivot_table(index="test", columns="from", values="accuracy")
        print("\nAccuracy of the volume above 160 m3:")
        for test, row in accuracy.iterrows():
            print(f"{test}: {', '.join(f'{name} {value:.0%}' for name, value in row.items())}.")
        print()


if __name__ == "__main__":
    main()
