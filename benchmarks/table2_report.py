"""The table and the tests of the paper's claims, from the finished cells of `table2.py`.

    python benchmarks/table2_report.py                      # prints, and writes docs/table2.md

Cells that are not finished are left out, and said to be.
"""

from __future__ import annotations

import argparse
import json
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

HERE = Path(__file__).parent
SHOWN = {"rt60": "RT60", "log rt60": "RT60, log", "log rt60_mid": "RT60 mid, log", "c50": "C50", "volume": "volume"}
UNITS = {"rt60": "s", "log rt60": "s", "log rt60_mid": "s", "c50": "dB"}
PAPER = {  # Table 2 of the paper: RMSE, r and bias of RT60 and C50; accuracy, precision and recall of the volume
    ("supervised", None): ((0.2228, 0.9037, 0.0304), (1.9756, 0.9241, 1.0281), (0.6895, 0.7066, 0.7016)),
    ("untrained", None): ((0.5056, 0.1993, None), (), ()),
    ("soft", 0.01): ((0.2699, 0.8496, 0.0344), (1.7561, 0.9208, 0.3187), (0.6953, 0.7146, 0.7103)),
    ("soft", 0.1): ((0.2345, 0.8878, 0.0027), (1.8903, 0.9223, 0.4303), (0.7129, 0.7241, 0.7165)),
    ("soft", 1.0): ((0.2500, 0.8768, 0.0450), (1.7887, 0.9181, 0.3901), (0.7109, 0.7376, 0.7383)),
    ("hard", 0.01): ((0.2369, 0.8870, 0.0322), (2.0057, 0.9227, 0.9820), (0.7070, 0.7252, 0.7199)),
    ("hard", 0.1): ((0.2426, 0.8787, 0.0069), (2.0411, 0.9142, 0.8401), (0.6797, 0.7014, 0.6992)),
    ("hard", 1.0): ((0.2770, 0.8399, -0.0043), (2.0101, 0.9032, 0.7059), (0.6758, 0.6943, 0.6905)),
    ("position_independent", 0.01): ((0.2146, 0.9089, 0.0296), (2.2386, 0.8908, 1.0001), (0.7422, 0.7320, 0.7328)),
    ("position_independent", 0.1): ((0.2217, 0.9048, 0.0028), (2.0813, 0.9063, 0.8936), (0.7305, 0.7586, 0.7602)),
    ("position_independent", 1.0): ((0.2284, 0.8937, 0.0220), (2.3873, 0.8597, 0.7434), (0.6836, 0.7024, 0.6984)),
}
PAPER_SD = {
    "rt60": 0.51,
    "c50": 4.4,
}  # spread of the paper's labels, which it does not print: what its RMSE and r imply
NETWORKS = ("paper", "paper-varied", "pooled", "pooled-varied", "bandwise")
SAMPLINGS = ("soft", "hard", "position_independent")
ORDER = ["mean", "slopes", "untrained", "supervised", "soft", "hard", "position_independent"]


def load(folder: Path) -> tuple[pd.DataFrame, list[dict]]:
    """Return one row for each cell, task and test, and the cells themselves."""
    cells = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    if not cells:
        raise SystemExit(f"No finished cell in {folder}. Run benchmarks/table2.py first.")
    return pd.DataFrame([cell["cell"] | row for cell in cells for row in cell["rows"]]), cells


def figure(values: pd.Series, digits: int) -> str:
    """Return mean and, of several seeds, standard deviation."""
    if not len(values) or values.isna().all():
        return ""
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


def beside(ours: str, theirs: float | None, digits: int) -> str:
    """Return our figure, and the paper's in brackets where it has one."""
    return ours if theirs is None else f"{ours} ({theirs:.{digits}f})"


def table(rows: pd.DataFrame, task: str, test: str, network: str) -> list[str]:
    """Return the lines of a table: one for each method and temperature, the paper's figures in brackets."""
    if task == "volume":
        columns = {"accuracy": ("accuracy", 3), "precision": ("precision", 3), "recall": ("recall", 3)}
    else:
        unit = UNITS[task]
        columns = {f"RMSE [{unit}]": ("rmse", 3), "RMSE/SD": ("relative_rmse", 2), "r": ("pearson_r", 3)}
        columns[f"bias [{unit}]"] = ("bias", 3)
    lines = [f"| method | tau | seeds | {' | '.join(columns)} |", "|" + " --- |" * (3 + len(columns))]
    part = rows[(rows["test"] == test) & (rows["task"] == task) & rows["network"].isin([network, "no"])]
    for (method, tau), cell in sorted(
        part.groupby(["method", "tau"], dropna=False), key=lambda item: (ORDER.index(item[0][0]), item[0][1])
    ):
        paper = PAPER.get((method, None if np.isnan(tau) else tau), ((), (), ()))
        printed: tuple[float | None, ...] = ()
        if task == "volume":
            printed = paper[2]
        elif task in PAPER_SD and paper[list(PAPER_SD).index(task)]:
            rmse, r, bias = paper[list(PAPER_SD).index(task)]
            printed = rmse, rmse / PAPER_SD[task], r, bias
        numbers = [
            beside(figure(cell[column], digits), theirs, digits)
            for (column, digits), theirs in zip(columns.values(), printed or [None] * len(columns), strict=True)
        ]
        tau = "" if np.isnan(tau) else f"{tau:g}"
        lines.append(f"| {method.replace('_', '-')} | {tau} | {cell['seed'].nunique()} | {' | '.join(numbers)} |")
    return lines


def paired(rows: pd.DataFrame, task: str, metric: str, better: tuple[str, ...], worse: str) -> np.ndarray:
    """Return how much `better` is above `worse` in a metric, for each tau and seed that both have."""
    part = rows[(rows["task"] == task) & (rows["test"] == "seen RIRs")]
    first = part[part["method"].isin(better)].groupby(["tau", "seed"])[metric].mean()
    second = part[part["method"] == worse]
    if second["tau"].isna().all():  # a baseline has no temperature
        second = second.groupby("seed")[metric].mean()
        return (first.reset_index("tau")[metric] - second).dropna().to_numpy()
    return (first - second.groupby(["tau", "seed"])[metric].mean()).dropna().to_numpy()


ON_PAR = "contrastive training is on par with supervised training or better"
WORSE_ON_C50 = "position-independent sampling is worse on C50 (RMSE, against soft)"
BETTER_ELSEWHERE = "position-independent sampling is better on RT60 and volume (against soft)"
FAR_BEHIND = "the untrained encoder is far behind"
CLAIMS = (  # what the paper says, task, metric, what is said to be higher than what
    (ON_PAR, "rt60", "pearson_r", "contrastive", "supervised"),
    (ON_PAR, "c50", "pearson_r", "contrastive", "supervised"),
    (ON_PAR, "volume", "accuracy", "contrastive", "supervised"),
    (WORSE_ON_C50, "c50", "rmse", "position_independent", "soft"),
    (BETTER_ELSEWHERE, "rt60", "pearson_r", "position_independent", "soft"),
    (BETTER_ELSEWHERE, "volume", "accuracy", "position_independent", "soft"),
    (FAR_BEHIND, "rt60", "pearson_r", "contrastive", "untrained"),
    (FAR_BEHIND, "c50", "pearson_r", "contrastive", "untrained"),
)


def claims(rows: pd.DataFrame) -> list[str]:
    """Return the lines that test the paper's claims, with 95 % intervals of the mean difference."""
    lines = ["| claim | task | mean difference | 95 % interval | pairs | verdict |", "|" + " --- |" * 6]
    for claim, task, metric, high, low in CLAIMS:
        methods = SAMPLINGS if high == "contrastive" else (high,)
        difference = paired(rows, task, metric, methods, low)
        if len(difference) < 2:
            lines.append(f"| {claim} | {SHOWN[task]} | | | {len(difference)} | not decided: too few cells |")
            continue
        mean, error = difference.mean(), stats.sem(difference)
        reach = stats.t.ppf(0.975, len(difference) - 1) * error
        low_end, high_end = mean - reach, mean + reach
        verdict = "confirmed" if low_end > 0 else "not confirmed" if high_end < 0 else "not decided"
        interval = f"{low_end:+.3f} to {high_end:+.3f}"
        lines.append(f"| {claim} | {SHOWN[task]} | {mean:+.3f} | {interval} | {len(difference)} | {verdict} |")
    return lines


def beside_baselines(rows: pd.DataFrame, network: str, tau: float = 0.1) -> list[str]:
    """Return the lines that set contrastive training at one temperature beside supervised training and the floors."""
    methods = [*SAMPLINGS, "supervised", "untrained", "slopes", "mean"]
    names = [f"{method.replace('_', '-')}, tau {tau:g}" if method in SAMPLINGS else method for method in methods]
    lines = [f"| task | test | {' | '.join(names)} |", "|" + " --- |" * (2 + len(methods))]
    for task, test in product(SHOWN, ("seen RIRs", "unseen rooms")):
        metric = "accuracy" if task == "volume" else "pearson_r"
        part = rows[(rows["task"] == task) & (rows["test"] == test) & rows["network"].isin([network, "no"])]
        part = part[part["tau"].isna() | (part["tau"] == tau)]
        numbers = [figure(part.loc[part["method"] == method, metric], 3) for method in methods]
        lines.append(f"| {SHOWN[task]}, {metric.replace('_', ' ')} | {test} | {' | '.join(numbers)} |")
    return lines


def silhouettes(cells: list[dict], network: str) -> list[str]:
    """Return the lines that say how well embeddings of five rooms cluster by response and by speaker (Fig. 4)."""
    frame = pd.DataFrame(
        [
            cell["cell"] | cell["silhouette"]
            for cell in cells
            if "silhouette" in cell and cell["cell"]["network"] == network
        ]
    )
    if frame.empty:
        return []
    lines = ["| method | tau | seeds | by response | by speaker |", "|" + " --- |" * 5]
    for (method, tau), part in frame.groupby(["method", "tau"], dropna=False):
        named = f"| {method.replace('_', '-')} | {'' if np.isnan(tau) else f'{tau:g}'} | {len(part)} "
        lines.append(f"{named}| {figure(part['rir'], 3)} | {figure(part['speaker'], 3)} |")
    return lines


def render(folder: Path) -> str:
    """Return the whole page."""
    rows, cells = load(folder)
    first = cells[0]
    speech = "SYNTHETIC speech" if first["synthetic"] else "LibriSpeech"
    spread = first["target_sd"]["seen RIRs"]
    lines = [
        "# Table 2 of the paper",
        "",
        f"Made by `python benchmarks/table2_report.py` from {len(cells)} finished cells of `benchmarks/table2.py` "
        f"({speech}); each is a file in `benchmarks/table2/` with its command, commit, machine, versions, seed and "
        "seconds. What is not there has not been run. Mean ± standard deviation over seeds, which draw weights, "
        "batches and heads; rooms and speech are the same in all cells. "
        f"SD of the labels of the test: RT60 {spread['rt60']:.2f} s, C50 {spread['c50']:.1f} dB.",
        "",
        "In brackets what the paper prints; it does not print RMSE/SD: that is its RMSE over the spread that RMSE and "
        f"r imply, about {PAPER_SD['rt60']} s and {PAPER_SD['c50']} dB. *log*: the heads learn the logarithm; *mid* is "
        "the mean of the 500 Hz and 1 kHz octave bands. *slopes* are decay slopes with extra trees, *mean* is the "
        "training clips' mean, or the more frequent class. Which rooms, speech and clips each network learns from, and "
        "how position-independent sampling gets as many clips, stands at the top of `benchmarks/table2.py`; "
        '*"paper-varied"* and *"pooled-varied"* are these networks on the clips of *"bandwise"*.',
    ]
    networks = [name for name in NETWORKS if name in set(rows["network"])]
    for network in networks or ["no"]:
        lines += ["", f'## network="{network}"', "", *beside_baselines(rows, network)]
        for test, task in product(("seen RIRs", "unseen rooms"), SHOWN):
            lines += ["", f'### network="{network}", {test}: {SHOWN[task]}', "", *table(rows, task, test, network)]
        lines += ["", f'### The paper\'s claims, network="{network}", seen RIRs', ""]
        lines += claims(rows[rows["network"] == network])
        lines += ["", f'### Silhouettes of the embeddings of five unseen rooms, network="{network}"', ""]
        lines += silhouettes(cells, network)
    lines += [
        "",
        "## Figures 3 and 4",
        "",
        "Drawn by `benchmarks/figures.py`, numbers in `benchmarks/figures.json`: the labels' distributions, and the "
        "embeddings of speech in five unseen rooms by soft and hard sampling.",
        "",
        "![Distributions of RT60, C50 and volume](figures/figure3.png)",
        "",
        "![Embeddings of five rooms](figures/figure4_bandwise.png)",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, default=HERE / "table2")
    parser.add_argument("--output", type=Path, default=HERE.parent / "docs" / "table2.md")
    args = parser.parse_args()
    page = render(args.cells)
    args.output.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
