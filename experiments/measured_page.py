"""The sections of docs/results.md on measured rooms, and on simulated ones by kind.

They are made from the files that `python -m experiments measured` wrote.
"""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd

from experiments.tables import KINDS, markdown, prose, section

FOLDERS = ("measured", "coverage")  # within the folder of results
TARGETS = {"rt60_mid": "RT60 at mid frequencies [s]", "c50": "C50 [dB]", "drr": "DRR [dB]"}
NAMES = {
    "default recipe": "default recipe",
    "default recipe without measured": "without measured rooms",
    "default recipe without large": "without rooms above 1 000 m³",
    "default recipe without near": "without talkers near the microphone",
    "default recipe without direct": "without varied direct sound",
    "default recipe without decay": "without varied decays",
    "default recipe without noise": "without noise",
    "default recipe without band": "without band limiting",
    "default.rsk": "the estimator in the package",
    "supervised": "supervised, end to end",
    "slopes": "decay slopes, trees",
    "blind-rt60": "blind-rt60",
    "ordinary": "from ordinary rooms alone",
}


def measured_section(folder: Path) -> str:
    """Return the errors of all estimators in measured rooms, a table for each target; empty without results."""
    text = prose("""
        Clips of 8 s in measured rooms, by talkers and with noise, none of which were used in training: RMSE
        without noise / at an SNR of 20 dB, and in brackets the mean of the true values. The lines of the *default
        recipe* share its encoder; their heads are trained on 6 000 clips, a third of what the estimator in the package
        learned from, with one step left out. *supervised*: the same network, trained end to end on 8 000 clips of 4 s
        like those of the heads. *decay slopes*: extra trees on classical features of 4 000 clips. *blind-rt60*: the
        maximum-likelihood package, on a few clips of each set, because one takes it 20 s.
    """)
    return _section("Measured rooms", text, folder / FOLDERS[0])


def coverage_section(folder: Path) -> str:
    """Return the errors of all estimators by kind of simulated room; empty without results."""
    (_, large), (_, near) = KINDS["large"], KINDS["near"]
    text = prose(f"""
        Clips of 8 s in simulated rooms, by talkers and with noise, none of which were used in training: RMSE without
        noise / at an SNR of 10 dB. *large*: rooms above {large:.0f} m³. *near*: a direct-to-reverberant ratio above
        {near:g} dB. *ordinary*: neither, with any RT60. *From ordinary rooms alone*: an encoder of Table 2, trained on
        clean speech in 64 rooms of the preset "paper", and heads on 500 of them; it stands for the recipe before this
        one. In the other lines, heads are trained on 6 000 clips; the encoder is the same in all of them. Near talkers
        must be in the training. Large rooms need not be in that of the heads, if the encoder knows them. Noise in the
        training costs accuracy without noise, and is needed at 10 dB.
    """)
    return _section("Simulated rooms by kind", text, folder / FOLDERS[1])


def _section(title: str, text: str, folder: Path) -> str:
    """Return a table of the errors in a folder for each target."""
    files = sorted(folder.glob("*.json"))
    if not files:
        return ""
    table = pd.DataFrame([row for file in files for row in json.loads(file.read_text())["rows"] if row["n"]])
    table = table.drop_duplicates(["estimator", "set", "snr", "target"])  # some stand in several files
    sets, parts = list(dict.fromkeys(table["set"])), []
    for target, label in TARGETS.items():
        of_target = table[table["target"] == target]
        if of_target.empty:
            continue
        true = of_target.groupby("set")["true"].first()
        header = [label, *(f"{name} ({true[name]:.1f})" for name in sets if name in true)]
        rows = [
            [shown, *(_errors(of_target, estimator, name) for name in sets if name in true)]
            for estimator, shown in NAMES.items()
            if (of_target["estimator"] == estimator).any()
        ]
        parts.append(markdown(header, rows))
    return section(title, text, *parts)


def _errors(table: pd.DataFrame, estimator: str, name: str) -> str:
    """Return the errors of an estimator in a set, at each level of noise."""
    rows = table[(table["estimator"] == estimator) & (table["set"] == name)]
    return " / ".join(f"{rmse:.2f}" for rmse in rows["rmse"])
