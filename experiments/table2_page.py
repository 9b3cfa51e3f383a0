"""The page on Table 2: every cell beside the paper's figure, and the tests of the paper's claims."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd

from experiments.conditions import baselines, conditions_name
from experiments.paper import LABEL_SD, printed
from experiments.paper import TABLE2 as PAPER
from experiments.results import RefusedError, Result, describe
from experiments.studies.table2 import NETWORKS, OWN
from experiments.tables import (
    CUT_ORDER,
    FLAT_ORDER,
    SAMPLINGS,
    TASKS,
    TESTS,
    frame,
    markdown,
    metric,
    prose,
    section,
    select,
    spread,
)

UNITS = {"rt60": "s", "log rt60": "s", "log rt60_mid": "s", "c50": "dB"}
BASELINES = ("supervised", "untrained")
ORDER = ["mean", "slopes", "untrained", "supervised", *SAMPLINGS]
DATA_SETS = {"converged": "paper-varied", "as in the paper": "paper-shared"}  # the paper's network on each
CLUSTERS = {"response": "rir", "speaker": "speaker"}


def cells(results: Sequence[Result]) -> pd.DataFrame:
    """Return one line for each cell, task and test, and two for how well the embeddings of five rooms cluster."""
    table = frame(results)
    clusters = [
        one.key
        | {"seed": one.seed, "task": f"clusters by {of}", "test": "five unseen rooms"}
        | {"silhouette": one.result["silhouette"][label]}
        for one in results
        if "silhouette" in one.result
        for of, label in CLUSTERS.items()
    ]
    both = pd.concat([table, pd.DataFrame(clusters)], ignore_index=True)
    return both.reindex(columns=both.columns.union(["silhouette"], sort=False))


def beside(ours: str, theirs: float | None, digits: int) -> str:
    """Return our figure, and the paper's in brackets where it has one."""
    return ours if theirs is None else f"{ours} ({theirs:.{digits}f})"


def method_rows(part: pd.DataFrame) -> list[tuple[str, float, pd.DataFrame]]:
    """Return method, temperature and lines of each cell, baselines first."""
    groups = part.groupby(["method", "tau"], dropna=False)
    found = [(method, float(tau), lines) for (method, tau), lines in groups]
    return sorted(found, key=lambda cell: (ORDER.index(cell[0]), cell[1]))


def first_columns(method: str, tau: float, lines: pd.DataFrame) -> list[str]:
    """Return method, temperature and number of seeds."""
    return [method.replace("_", "-"), "" if np.isnan(tau) else f"{tau:g}", str(lines["seed"].nunique())]


def task_table(rows: pd.DataFrame, task: str, test: str) -> str:
    """Return the table of a task: one line for each method and temperature, the paper's figures in brackets."""
    if task == "volume":
        columns = {"accuracy": ("accuracy", 3), "precision": ("precision", 3), "recall": ("recall", 3)}
    else:
        unit = UNITS[task]
        columns = {f"RMSE [{unit}]": ("rmse", 3), "RMSE/SD": ("relative_rmse", 2), "r": ("pearson_r", 3)}
        columns[f"bias [{unit}]"] = ("bias", 3)
    lines = []
    for method, tau, cell in method_rows(rows[(rows["test"] == test) & (rows["task"] == task)]):
        theirs = printed(method, tau, task) if test == "seen RIRs" else ()  # the paper has no other test
        numbers = [
            beside(spread(cell[column], digits), one, digits)
            for (column, digits), one in zip(columns.values(), theirs or [None] * len(columns), strict=True)
        ]
        lines.append([*first_columns(method, tau, cell), *numbers])
    return markdown(["method", "tau", "seeds", *columns], lines)


def paired(rows: pd.DataFrame, column: str, high: tuple[str, ...], low: str) -> pd.DataFrame:
    """Return how much the methods `high` are above `low`: a row for each seed, a column for each temperature.

    A temperature counts where all seeds have all the cells that are compared, so that no seed's mean is of other cells
    than another's. A baseline has no temperature and stands beside all.
    """
    first, second = rows[rows["method"].isin(high)], rows[rows["method"] == low]
    if first.empty or second.empty:
        return pd.DataFrame()
    by_cell = first.pivot_table(index=["seed", "tau"], columns="method", values=column)
    means = by_cell.dropna().mean(axis=1).unstack("tau")
    if second["tau"].isna().all():
        difference = means.sub(second.set_index("seed")[column], axis=0)
    else:
        difference = means - second.pivot_table(index="seed", columns="tau", values=column)
    return difference.dropna(how="all").dropna(axis=1)


@dataclass(frozen=True)
class Claim:
    """A claim of the paper: a score of some methods is higher than another's by more than a margin."""

    text: str
    task: str
    column: str
    high: str
    low: str
    margin: float = 0.0

    def test(self, rows: pd.DataFrame) -> list[list[str]]:
        """Return the lines that test it: at each temperature, and their mean where there are several.

        One temperature at which networks stay at chance would decide for all, so the mean does not stand alone.
        """
        high = SAMPLINGS if self.high == "contrastive" else (self.high,)
        of_task = rows[(rows["task"] == self.task) & (rows["test"] != "unseen rooms")]
        difference = paired(of_task, self.column, high, self.low)
        columns = {f"{tau:g}": difference[tau] for tau in difference.columns}
        if not columns:
            return [self.verdict("", np.empty(0))]
        if len(columns) > 1:
            columns["mean"] = difference.mean(axis=1)
        return [self.verdict(tau, of_seeds.dropna().to_numpy()) for tau, of_seeds in columns.items()]

    def verdict(self, tau: str, of_seeds: np.ndarray) -> list[str]:
        """Return the line of a temperature, with a 95 % interval of the mean difference over seeds."""
        from scipy import stats

        start = [self.text, TASKS.get(self.task, self.task), tau]
        if len(of_seeds) < 2:
            return [*start, "", "", str(len(of_seeds)), "undecided: too few cells"]
        mean, reach = of_seeds.mean(), stats.t.ppf(0.975, len(of_seeds) - 1) * stats.sem(of_seeds)
        verdict = "undecided"
        if mean - reach > self.margin:
            verdict = "confirmed"
        elif mean + reach < self.margin:
            verdict = "contradicted"
        return [*start, f"{mean:+.3f}", f"{mean - reach:+.3f} to {mean + reach:+.3f}", str(len(of_seeds)), verdict]


ON_PAR = "contrastive on par with supervised training or better (at most 0.02 worse)"
WORSE_ON_C50 = "position-independent sampling worse on C50 (RMSE above that of soft)"
BETTER_ELSEWHERE = "position-independent sampling better on RT60 and volume (above soft)"
FAR_BEHIND = "untrained encoder far behind (by more than 0.2)"
INVARIANT = "hard sampling less dependent on the source (silhouette above that of soft)"
SOURCES = "hard sampling less dependent on the source (silhouette of soft above that of hard)"
CLAIMS = (  # the paper itself calls an r of 0.888 beside 0.904 "on par"
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


def claims(rows: pd.DataFrame) -> str:
    """Return the table of the tests of the paper's claims; empty if no cells stand beside each other."""
    header = ["claim", "task", "tau", "mean difference", "95 % interval", "seeds", "verdict"]
    lines = [line for claim in CLAIMS for line in claim.test(rows)]
    return markdown(header, lines) if any(line[-2] != "0" for line in lines) else ""


def of_data_set(rows: pd.DataFrame, network: str) -> pd.DataFrame:
    """Return the lines of a network and of the same network trained by supervision or untrained."""
    trained, _ = baselines(network)
    return rows[(rows["network"] == network) | ((rows["network"] == trained) & rows["method"].isin(BASELINES))]


def side_by_side(rows: pd.DataFrame) -> str:
    """Return the paper's table beside the same network on both data sets, then the verdicts on its claims on both."""
    seen = {name: of_data_set(rows, network) for name, network in DATA_SETS.items()}
    seen = {name: part[part["test"] != "unseen rooms"] for name, part in seen.items()}
    tables = []
    for task, column, digits in (("rt60", "relative_rmse", 2), ("c50", "relative_rmse", 2), ("volume", "accuracy", 3)):
        lines = []
        for method, tau in PAPER:
            theirs = printed(method, math.nan if tau is None else tau, task)
            cells = [select(part, task=task, method=method, tau=tau)[column] for part in seen.values()]
            of_paper = f"{theirs[1 if column == 'relative_rmse' else 0]:.{digits}f}" if theirs else ""
            of_method = [method.replace("_", "-"), "" if tau is None else f"{tau:g}"]
            lines.append([*of_method, of_paper, *(spread(cell, digits) for cell in cells)])
        title = f"{TASKS[task]}, {'accuracy' if task == 'volume' else 'RMSE/SD'}"
        tables.append(markdown([title, "tau", "the paper", *DATA_SETS], lines))
    text = prose("""
        `network="paper"` on seen RIRs: *converged* is *paper-varied*, on responses whose labels are right; *as in the
        paper* is *paper-shared*, the nearest with 64 rooms ([how near](results.md#towards-the-papers-data)). Values
        without ± are of one seed; cells without a value were not run. Claims: the verdict over the temperatures that
        all cells have, and the mean difference, in r, accuracy or silhouette, for the RMSE of C50 in dB. The sections
        below have intervals.
    """)
    return section("The paper's table on both kinds of data", text, *tables, verdicts(seen))


def verdicts(seen: Mapping[str, pd.DataFrame]) -> str:
    """Return the last verdict on each claim of the paper on each data set, with the mean difference."""
    lines = []
    for claim in CLAIMS:
        tested = [claim.test(rows)[-1] for rows in seen.values()]
        found = [f"{line[-1]} ({line[3]})" if line[3] else line[-1] for line in tested]
        lines.append([claim.text, TASKS.get(claim.task, claim.task), *found])
    return markdown(["claim", "task", *seen], lines)


def overview(rows: pd.DataFrame, tau: float = 0.1) -> str:
    """Return contrastive training at one temperature beside supervised training and the baselines."""
    of_tau = rows[rows["tau"].isna() | (rows["tau"] == tau)]
    methods = [method for method in (*SAMPLINGS, *BASELINES, "slopes", "mean") if method in set(of_tau["method"])]
    names = [f"{method.replace('_', '-')}, tau {tau:g}" if method in SAMPLINGS else method for method in methods]
    lines = []
    for task, test in product(TASKS, TESTS):
        part = of_tau[(of_tau["task"] == task) & (of_tau["test"] == test)]
        if part.empty:
            continue
        numbers = [spread(part.loc[part["method"] == method, metric(task)]) for method in methods]
        lines.append([f"{TASKS[task]}, {'accuracy' if task == 'volume' else 'r'}", test, *numbers])
    return markdown(["task", "test", *names], lines)


def silhouettes(rows: pd.DataFrame) -> str:
    """Return how well embeddings of five rooms cluster by response and by speaker (Fig. 4 of the paper)."""
    lines = []
    for method, tau, part in method_rows(rows[rows["test"] == "five unseen rooms"]):
        by = [spread(part.loc[part["task"] == f"clusters by {of}", "silhouette"]) for of in CLUSTERS]
        lines.append([*first_columns(method, tau, part), *by])
    return markdown(["method", "tau", "seeds", "by response", "by speaker"], lines)


def introduction(results: Sequence[Result]) -> str:
    """Return what the page is made from and how to read it."""
    by_network = {one.key["network"]: one.result["target_sd"]["seen RIRs"] for one in results}
    converged = (of_labels for network, of_labels in by_network.items() if not conditions_name(network))
    sd = next(converged, next(iter(by_network.values())))
    spreads = "; ".join(
        f"{network} {by_network[network]['rt60']:.2f} s, {by_network[network]['c50']:.1f} dB"
        for network in OWN
        if network in by_network
    )
    return prose(f"""
        Written by `python -m experiments report` from {len(results)} finished cells of `python -m experiments table2`
        ({describe(results[0].data)}). A cell is one configuration (network, sampling, tau, seed); each is a file in
        `experiments/results/table2/` with its seed, command, commit and machine. Missing cells have not been run.
        Values are mean ± standard deviation over seeds, which set the initial weights, the batches and the heads;
        rooms and speech are the same in all cells. SD of the labels on seen RIRs: RT60 {sd["rt60"]:.2f} s, C50
        {sd["c50"]:.1f} dB.

        In brackets: the paper's figures, which are for seen RIRs. The paper does not report RMSE/SD; we divide its
        RMSE by the standard deviation of the labels that its RMSE and r imply, about {LABEL_SD["rt60"]} s and
        {LABEL_SD["c50"]} dB. *log*: heads learn the logarithm. *mid*: mean of the 500 Hz and 1 kHz octave bands.
        *slopes*: extra trees on decay-slope features. *mean*: the mean of the training clips (its r is undefined and
        shown as 0), or the majority class. Precision and recall are averaged over both classes. *paper-speech* and
        *paper-varied* are `network="paper"` with encoders trained on 3 000 segments of varied speed, through 64 and
        256 responses; *pooled-varied* likewise. *paper-cut*, *paper-flat* and *paper-shared* are *paper-varied* on
        data that may be nearer to the paper's, in training and tests. *paper-cut*: image sources cut at order
        {CUT_ORDER}, so that labels measure the cut, and clips with their level (`standardise="training_set"`).
        *paper-flat*: the same, and walls that absorb the same at all frequencies. *paper-shared*: the same, and heads
        that are tested on segments that they learned from, in other pairs with the responses. Others are *paper-shared*
        with a change: encoders trained for 96 epochs, not 24 (*paper-long*), in 256 rooms, not 64 (*paper-rooms*), or
        both (*paper-most*); image sources cut at order {FLAT_ORDER}, at which RT60 with such walls spreads as in the
        paper (*paper-spread*); clips standardised one by one (*paper-clip*); the travel time left in (*paper-travel*).
        SD of their labels: {spreads}.
        `experiments/data.py` defines the rooms, speech and clips of each network.

        A claim of the paper is *confirmed* if the whole 95 % interval of the difference (t distribution over seeds)
        lies above the margin of the claim (0 if it names none), *contradicted* if it lies below, and *undecided*
        otherwise. *Contrastive* is the mean over the samplings that were run. A temperature is used only if every cell
        in the comparison was run for every seed.
    """)


def page(results: Sequence[Result]) -> str:
    """Return the whole page."""
    if not results:
        raise RefusedError("No finished cell of Table 2. Run python -m experiments table2 first.")
    rows = cells(results)
    parts = ["# Table 2 of the paper", introduction(results)]
    if set(DATA_SETS.values()) <= set(rows["network"]):
        parts.append(side_by_side(rows))
    for network in [name for name in NETWORKS if name in set(rows["network"])]:
        # Supervised and untrained networks are the same whatever converged clips the encoders have learned from.
        of_network = of_data_set(rows, network)
        everything = pd.concat([of_network, rows[rows["network"] == baselines(network)[1]]])
        parts.append(section(f'network="{network}"', overview(everything)))
        tested = claims(of_network)
        if tested:
            parts.append(section(f'The paper\'s claims, network="{network}", seen RIRs', tested, level=3))
        title = f'Silhouettes of the embeddings of five unseen rooms, network="{network}"'
        parts.append(section(title, silhouettes(of_network), level=3))
        for test, task in product(TESTS, [task for task in TASKS if task in set(everything["task"])]):
            title = f'network="{network}", {test}: {TASKS[task]}'
            parts.append(section(title, task_table(everything, task, test), level=3))
    return "\n\n".join([*parts, FIGURES]) + "\n"


FIGURES = """## Figures 3 and 4

Distributions of the labels (line: range; bar: 5 to 95 %; tick: median; dot: mean), and UMAP projections of the
embeddings of speech in five unseen rooms, from `experiments/results/figures/`.

![Distributions of RT60, C50 and volume](figures/figure3.png)

![Embeddings of five rooms, the paper's network](figures/figure4_paper.png)

![Embeddings of five rooms, the paper's network on varied speech](figures/figure4_paper-varied.png)

![Embeddings of five rooms, the bandwise network](figures/figure4_bandwise.png)"""
