"""The table and the tests of the paper's claims, from the finished cells of `table2.py`.

    python benchmarks/table2_report.py                         # prints, and writes docs/table2.md
    python benchmarks/table2_report.py --cells results/table2  # of a trial: writes results/table2/table2.md

Cells that are not finished are left out, and said to be.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats
from table2 import SAMPLINGS, TESTS, base, describe

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
NETWORKS = ("paper", "paper-speech", "paper-varied", "pooled", "pooled-varied", "bandwise")
BASELINES = ("supervised", "untrained")
ORDER = ["mean", "slopes", "untrained", "supervised", "soft", "hard", "position_independent"]


def read(path: Path) -> dict:
    """Return a finished cell."""
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise SystemExit(
            f"{path} is no finished cell: {error}. Delete it, and run benchmarks/table2.py again."
        ) from error


def load(folder: Path) -> tuple[pd.DataFrame, list[dict]]:
    """Return one row for each cell, task and test, and the cells themselves."""
    cells = [read(path) for path in sorted(folder.glob("*.json"))]
    if not cells:
        raise SystemExit(f"No finished cell in {folder}. Run benchmarks/table2.py first.")
    data = {describe(cell) for cell in cells}
    if len(data) > 1:
        raise SystemExit(f"The cells in {folder} were made from different data: {'; '.join(sorted(data))}.")
    rows = [cell["cell"] | row for cell in cells for row in cell["rows"]]
    rows += [
        cell["cell"]
        | {"task": f"clusters by {of}", "test": "five unseen rooms", "silhouette": cell["silhouette"][label]}
        for cell in cells
        if "silhouette" in cell
        for of, label in (("response", "rir"), ("speaker", "speaker"))
    ]
    frame = pd.DataFrame(rows)
    return frame.reindex(columns=frame.columns.union(["silhouette"], sort=False)), cells


def figure(values: pd.Series, digits: int) -> str:
    """Return mean and, of several seeds, standard deviation."""
    if not len(values) or values.isna().all():
        return ""
    spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
    return f"{values.mean():.{digits}f}{spread}"


def beside(ours: str, theirs: float | None, digits: int) -> str:
    """Return our figure, and the paper's in brackets where it has one."""
    return ours if theirs is None else f"{ours} ({theirs:.{digits}f})"


def printed_by_paper(method: str, tau: float, task: str) -> tuple[float | None, ...]:
    """Return what the paper's Table 2 has in the columns of a task, or nothing."""
    rt60, c50, volume = PAPER.get((method, None if np.isnan(tau) else tau), ((), (), ()))
    if task == "volume":
        return volume
    figures = {"rt60": rt60, "c50": c50}.get(task)
    if not figures:
        return ()
    rmse, r, bias = figures
    return rmse, rmse / PAPER_SD[task], r, bias


def table(rows: pd.DataFrame, task: str, test: str) -> list[str]:
    """Return the lines of a table: one for each method and temperature, the paper's figures in brackets."""
    if task == "volume":
        columns = {"accuracy": ("accuracy", 3), "precision": ("precision", 3), "recall": ("recall", 3)}
    else:
        unit = UNITS[task]
        columns = {f"RMSE [{unit}]": ("rmse", 3), "RMSE/SD": ("relative_rmse", 2), "r": ("pearson_r", 3)}
        columns[f"bias [{unit}]"] = ("bias", 3)
    lines = [f"| method | tau | seeds | {' | '.join(columns)} |", "|" + " --- |" * (3 + len(columns))]
    part = rows[(rows["test"] == test) & (rows["task"] == task)]
    for (method, tau), cell in sorted(
        part.groupby(["method", "tau"], dropna=False), key=lambda item: (ORDER.index(item[0][0]), item[0][1])
    ):
        printed = printed_by_paper(method, tau, task) if test == "seen RIRs" else ()  # the paper has no other test
        numbers = [
            beside(figure(cell[column], digits), theirs, digits)
            for (column, digits), theirs in zip(columns.values(), printed or [None] * len(columns), strict=True)
        ]
        tau = "" if np.isnan(tau) else f"{tau:g}"
        lines.append(f"| {method.replace('_', '-')} | {tau} | {cell['seed'].nunique()} | {' | '.join(numbers)} |")
    return lines


def paired(rows: pd.DataFrame, metric: str, high: tuple[str, ...], low: str) -> pd.DataFrame:
    """Return how much the methods `high` are above `low` in a metric: a row for each seed, a column for each tau.

    A temperature counts where all seeds have all the cells that are compared, so that no seed's mean is of other cells
    than another's. A baseline has no temperature and stands beside all.
    """
    first, second = rows[rows["method"].isin(high)], rows[rows["method"] == low]
    if first.empty or second.empty:
        return pd.DataFrame()
    by_cell = first.pivot_table(index=["seed", "tau"], columns="method", values=metric)
    means = by_cell.dropna().mean(axis=1).unstack("tau")
    if second["tau"].isna().all():
        difference = means.sub(second.set_index("seed")[metric], axis=0)
    else:
        difference = means - second.pivot_table(index="seed", columns="tau", values=metric)
    return difference.dropna(how="all").dropna(axis=1)


@dataclass(frozen=True)
class Claim:
    """What the paper says: that a metric of some methods is higher than another's by more than a margin."""

    text: str
    task: str
    metric: str
    high: str
    low: str
    margin: float = 0.0

    def test(self, rows: pd.DataFrame) -> list[str]:
        """Return the lines that test it: at each temperature, and their mean where there are several.

        One temperature at which networks stay at chance would decide for all, so the mean does not stand alone.
        """
        high = SAMPLINGS if self.high == "contrastive" else (self.high,)
        of_task = rows[(rows["task"] == self.task) & (rows["test"] != "unseen rooms")]
        difference = paired(of_task, self.metric, high, self.low)
        columns = {f"{tau:g}": difference[tau] for tau in difference.columns}
        if not columns:
            return [self.verdict("", np.empty(0))]
        if len(columns) > 1:
            columns["mean"] = difference.mean(axis=1)
        return [self.verdict(tau, of_seeds.dropna().to_numpy()) for tau, of_seeds in columns.items()]

    def verdict(self, tau: str, of_seeds: np.ndarray) -> str:
        """Return the line of a temperature, with a 95 % interval of the mean difference over seeds."""
        start = f"| {self.text} | {SHOWN.get(self.task, self.task)} | {tau} |"
        if len(of_seeds) < 2:
            return f"{start} | | {len(of_seeds)} | not decided: too few cells |"
        mean, reach = of_seeds.mean(), stats.t.ppf(0.975, len(of_seeds) - 1) * stats.sem(of_seeds)
        verdict = "not decided"
        if mean - reach > self.margin:
            verdict = "confirmed"
        elif mean + reach < self.margin:
            verdict = "not confirmed"
        return f"{start} {mean:+.3f} | {mean - reach:+.3f} to {mean + reach:+.3f} | {len(of_seeds)} | {verdict} |"


ON_PAR = "contrastive training is on par with supervised training or better (by no more than 0.02 worse)"
WORSE_ON_C50 = "position-independent sampling is worse on C50 (RMSE, above that of soft)"
BETTER_ELSEWHERE = "position-independent sampling is better on RT60 and volume (above soft)"
FAR_BEHIND = "the untrained encoder is far behind (by more than 0.2)"
INVARIANT = "hard sampling is less dependent on the source (silhouette, above that of soft)"
SOURCES = "hard sampling is less dependent on the source (silhouette of soft, above that of hard)"
CLAIMS = (  # "on par" is what the paper itself calls so: an r of 0.888 beside 0.904
    Claim(ON_PAR, "rt60", "pearson_r", "contrastive", "supervised", -0.02),
    Claim(ON_PAR, "c50", "pearson_r", "contrastive", "supervised", -0.02),
    Claim(ON_PAR, "volume", "accuracy", "contrastive", "supervised", -0.02),
    Claim(WORSE_ON_C50, "c50", "rmse", "position_independent", "soft"),
    Claim(BETTER_ELSEWHERE, "rt60", "pearson_r", "position_independent", "soft"),
    Claim(BETTER_ELSEWHERE, "volume", "accuracy", "position_independent", "soft"),
    Claim(INVARIANT, "clusters by response", "silhouette", "hard", "soft"),
    Claim(SOURCES, "clusters by speaker", "silhouette", "soft", "hard"),
    Claim(FAR_BEHIND, "rt60", "pearson_r", "contrastive", "untrained", 0.2),
    Claim(FAR_BEHIND, "c50", "pearson_r", "contrastive", "untrained", 0.2),
)


def claims(rows: pd.DataFrame) -> list[str]:
    """Return the lines that test the paper's claims."""
    lines = ["| claim | task | tau | mean difference | 95 % interval | seeds | verdict |", "|" + " --- |" * 7]
    return lines + [line for claim in CLAIMS for line in claim.test(rows)]


def beside_baselines(rows: pd.DataFrame, tau: float = 0.1) -> list[str]:
    """Return the lines that set contrastive training at one temperature beside supervised training and the floors."""
    methods = [*SAMPLINGS, "supervised", "untrained", "slopes", "mean"]
    names = [f"{method.replace('_', '-')}, tau {tau:g}" if method in SAMPLINGS else method for method in methods]
    lines = [f"| task | test | {' | '.join(names)} |", "|" + " --- |" * (2 + len(methods))]
    for task, test in product(SHOWN, TESTS):
        metric = "accuracy" if task == "volume" else "pearson_r"
        part = rows[(rows["task"] == task) & (rows["test"] == test)]
        part = part[part["tau"].isna() | (part["tau"] == tau)]
        numbers = [figure(part.loc[part["method"] == method, metric], 3) for method in methods]
        lines.append(f"| {SHOWN[task]}, {metric.replace('_', ' ')} | {test} | {' | '.join(numbers)} |")
    return lines


def silhouettes(rows: pd.DataFrame) -> list[str]:
    """Return the lines that say how well embeddings of five rooms cluster by response and by speaker (Fig. 4)."""
    lines = ["| method | tau | seeds | by response | by speaker |", "|" + " --- |" * 5]
    for (method, tau), part in rows[rows["test"] == "five unseen rooms"].groupby(["method", "tau"], dropna=False):
        by = [figure(part.loc[part["task"] == f"clusters by {of}", "silhouette"], 3) for of in ("response", "speaker")]
        named = f"| {method.replace('_', '-')} | {'' if np.isnan(tau) else f'{tau:g}'} | {part['seed'].nunique()} "
        lines.append(f"{named}| {' | '.join(by)} |")
    return lines


def render(folder: Path) -> str:
    """Return the whole page."""
    rows, cells = load(folder)
    first = cells[0]
    spread = first["target_sd"]["seen RIRs"]
    lines = [
        "# Table 2 of the paper",
        "",
        f"Made by `python benchmarks/table2_report.py` from {len(cells)} finished cells of `benchmarks/table2.py` "
        f"({describe(first)}); each is a file in `benchmarks/table2/` with its command, which names the speech, its "
        "commit, machine, versions, seed and seconds. What is not there has not been run. Mean ± standard deviation "
        "over seeds, which draw weights, batches and heads; rooms and speech are the same in all cells. "
        f"SD of the labels of the test: RT60 {spread['rt60']:.2f} s, C50 {spread['c50']:.1f} dB.",
        "",
        "In brackets what the paper prints, whose test clips are of seen RIRs; it does not print RMSE/SD: that is its "
        f"RMSE over the spread that RMSE and r imply, about {PAPER_SD['rt60']} s and {PAPER_SD['c50']} dB. *log*: the "
        "heads learn the logarithm; *mid* is the mean of the 500 Hz and 1 kHz octave bands. *slopes* are decay slopes "
        "with extra trees, *mean* is the training clips' mean, or the more frequent class. Which rooms, speech and "
        "clips each network learns from, and how position-independent sampling gets as many clips, stands at the top "
        'of `benchmarks/table2.py`; *"paper-varied"* and *"pooled-varied"* are these networks on the clips of '
        '*"bandwise"*, *"paper-speech"* is the paper\'s on varied speech through the responses of its own grid.',
        "",
        "A claim of the paper is confirmed where the 95 % interval (t distribution over seeds) of the difference lies "
        "above its margin, not confirmed where it lies below, and else not decided by these seeds. *Contrastive* is "
        "the mean of the samplings that were run; only temperatures count at which all seeds have all cells that are "
        "compared, each by itself and, where there are several, in the mean.",
    ]
    floors = rows[rows["network"] == "no"]
    networks = [name for name in NETWORKS if name in set(rows["network"])]
    for network in networks or ["no"]:
        # Supervised and untrained networks are the same whatever clips the encoders have learned from.
        baselines = (rows["network"] == base(network)) & rows["method"].isin(BASELINES)
        of_network = rows[(rows["network"] == network) | baselines]
        with_floors = pd.concat([of_network, floors])
        lines += ["", f'## network="{network}"', "", *beside_baselines(with_floors)]
        lines += ["", f'### The paper\'s claims, network="{network}", seen RIRs', "", *claims(of_network)]
        lines += ["", f'### Silhouettes of the embeddings of five unseen rooms, network="{network}"', ""]
        lines += silhouettes(of_network)
        for test, task in product(TESTS, SHOWN):
            lines += ["", f'### network="{network}", {test}: {SHOWN[task]}', "", *table(with_floors, task, test)]
    lines += [
        "",
        "## Figures 3 and 4",
        "",
        "Drawn by `benchmarks/figures.py`, numbers in `benchmarks/figures.json`: the labels' distributions, and the "
        "embeddings of speech in five unseen rooms by soft and hard sampling, with the paper's network, on its grid "
        "and on varied speech, and with the bandwise one.",
        "",
        "![Distributions of RT60, C50 and volume](figures/figure3.png)",
        "",
        "![Embeddings of five rooms, the paper's network](figures/figure4_paper.png)",
        "",
        "![Embeddings of five rooms, the paper's network on varied speech](figures/figure4_paper-varied.png)",
        "",
        "![Embeddings of five rooms, the bandwise network](figures/figure4_bandwise.png)",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Print the page and write it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=Path, default=HERE / "table2", help="folder of the finished cells")
    parser.add_argument("--output", type=Path, help="the page; of other cells than the committed ones, beside them")
    args = parser.parse_args()
    page = render(args.cells)
    committed = args.cells.resolve() == (HERE / "table2").resolve()
    output = args.output or (HERE.parent / "docs" / "table2.md" if committed else args.cells / "table2.md")
    output.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
