"""Tables and sentences of the report: results as a frame, means with their spread, Markdown."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd

from experiments.results import RefusedError, Result

SAMPLINGS = ("soft", "hard", "position_independent")
TESTS = ("seen RIRs", "unseen rooms")
TASKS = {
    "rt60": "RT60",
    "log rt60": "RT60, log",
    "log rt60_mid": "RT60 mid, log",
    "c50": "C50",
    "volume": "volume",
}
CUT_ORDER = 35  # of image sources that are cut; the spread of RT60 is then that of the paper, about 0.5 s
FLAT_ORDER = 44  # the same with walls that absorb the same at all frequencies
LARGE_ROOM = 160.0  # m3, the paper's boundary between small and large rooms
KINDS = {"large": ("volume", 1000.0), "near": ("drr", 5.0)}
"""Of the default recipe's rooms: the label that tells a large room or a near talker, and its limit in m3 or dB."""


def frame(results: Iterable[Result]) -> pd.DataFrame:
    """Return one line for each row of each result, with the key and the seed of the result."""
    return pd.DataFrame([one.key | {"seed": one.seed} | row for one in results for row in one.result["rows"]])


def select(table: pd.DataFrame, **values: object) -> pd.DataFrame:
    """Return the lines with these values; None stands for a missing one."""
    chosen = np.ones(len(table), dtype=bool)
    for name, value in values.items():
        chosen &= (table[name].isna() if value is None else table[name] == value).to_numpy()
    return table[chosen]


def spread(values: Sequence[float] | pd.Series, digits: int = 3) -> str:
    """Return the mean and, of several values, their standard deviation."""
    numbers = pd.Series(values, dtype=float).dropna()
    if numbers.empty:
        return ""
    return f"{numbers.mean():.{digits}f}" + (f" ± {numbers.std():.{digits}f}" if len(numbers) > 1 else "")


def metric(task: str) -> str:
    """Return the name of the score of a task: r, or for the volume accuracy."""
    return "accuracy" if task == "volume" else "pearson_r"


def score(table: pd.DataFrame, task: str, **values: object) -> str:
    """Return the score of a task in the lines with these values, in per cent for the volume."""
    found = select(table, task=task, **values)
    if found.empty:
        return ""
    return f"{spread(100 * found['accuracy'], 1)} %" if task == "volume" else spread(found["pearson_r"])


def mean(table: pd.DataFrame, column: str, **values: object) -> float:
    """Return the mean of a column over the lines with these values."""
    return float(select(table, **values)[column].mean())


def verdict(sentence: str, *, holds: bool) -> str:
    """Return a sentence of the report, refused if the results no longer support it."""
    if not holds:
        raise RefusedError(f"the results no longer support the sentence {sentence!r}. Rewrite it")
    return sentence


def span(values: Iterable[float], digits: int = 3) -> str:
    """Return the lowest and the highest value."""
    numbers = list(values)
    return f"{min(numbers):.{digits}f} to {max(numbers):.{digits}f}"


def markdown(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(header)} |", "|" + " --- |" * len(header)]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def prose(text: str) -> str:
    """Return paragraphs, wrapped."""
    paragraphs = textwrap.dedent(text).strip().split("\n\n")
    return "\n\n".join(
        textwrap.fill(" ".join(part.split()), 120, break_long_words=False, break_on_hyphens=False)
        for part in paragraphs
    )


def section(title: str, *parts: str, level: int = 2) -> str:
    """Return a section."""
    return "\n\n".join([f"{'#' * level} {title}", *(part for part in parts if part)])
