"""The pictures of the docs, drawn from results."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.results import RefusedError, Result
from experiments.tables import TASKS, TESTS, frame, metric, select

if TYPE_CHECKING:
    from matplotlib.figure import Figure

AXES = {"rt60": "RT60 [s]", "c50": "C50 [dB]", "volume": "volume [m³]"}


PARTS = {"downstream": "heads", "upstream": "encoder"}  # of the labels, and who is trained on them


def draw_all(results: Mapping[str, Sequence[Result]], folder: Path) -> Iterator[Path]:
    """Draw the pictures whose results are there; yield their files."""
    drawn = {}
    by_figure = {(one.key["figure"], one.key["network"]): one.result for one in results.get("figures", ())}
    labels = by_figure.pop(("labels", None), None)
    if labels is not None:
        drawn["figure3.png"] = label_distributions(labels)
    for (_, network), found in by_figure.items():
        drawn[f"figure4_{network}.png"] = embeddings(found["planes"], found["five_rooms"])
    for study, draw in BY_STUDY.items():
        if study in results:
            drawn[f"{study}.png"] = draw(results[study])
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=120)
        yield folder / name


def make_figure(n_axes: int, width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure with axes side by side."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise RefusedError('Pictures need matplotlib: pip install -c constraints.txt ".[plots]"') from error
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, n_axes)


def label_distributions(labels: Mapping[str, Any]) -> Figure:
    """Draw how each label is distributed (Fig. 3 of the paper): range, 5 to 95 %, median and mean."""
    figure, axes = make_figure(len(AXES), 11, 2.2)
    for ax, (label, title) in zip(axes, AXES.items(), strict=True):
        for height, part in enumerate(PARTS):
            found = labels[part][label]
            ax.plot([found["min"], found["max"]], [height] * 2, color=f"C{height}", linewidth=1)
            ax.plot(
                [found["5%"], found["95%"]],
                [height] * 2,
                color=f"C{height}",
                linewidth=8,
                alpha=0.5,
                solid_capstyle="butt",
            )
            ax.plot(found["50%"], height, "k|", markersize=14)
            ax.plot(found["mean"], height, "ko", markersize=4)
        counts = [f"{name}\n({labels[part][label]['count']:.0f} RIRs)" for part, name in PARTS.items()]
        ax.set_yticks([0, 1], counts if ax is axes[0] else ["", ""])
        ax.set(xlabel=title, ylim=(-0.6, 1.6))
    return figure


def embeddings(planes: Mapping[str, Any], five_rooms: Mapping[str, Any]) -> Figure:
    """Draw the embeddings of five rooms, a picture for each sampling (Fig. 4 of the paper)."""
    figure, axes = make_figure(len(planes) + 1, 4.2 * (len(planes) + 1), 4)
    for number, (rt60, c50) in enumerate(zip(five_rooms["rt60"], five_rooms["c50"], strict=True), start=1):
        axes[0].scatter(rt60, c50, s=60, label=f"room {number}")
    axes[0].set(title="five rooms", xlabel=AXES["rt60"], ylabel=AXES["c50"])
    axes[0].legend()
    for ax, (method, found) in zip(axes[1:], planes.items(), strict=True):
        plane, response = np.array(found["plane"]), np.array(found["response"])
        for one in np.unique(response):  # in the order, and so the colours, of the first picture
            ax.scatter(*plane[response == one].T, s=14, alpha=0.7)
        by = found["silhouette"]
        title = f"{method} sampling\nsilhouette by RIR {by['rir']:.2f}, by talker {by['speaker']:.2f}"
        ax.set(title=title, xlabel="UMAP 1", ylabel="UMAP 2")
    return figure


def recording_length(results: Sequence[Result]) -> Figure:
    """Draw RMSE/SD against seconds, a picture for each test."""
    table = frame(results)
    longest = table.loc[table["speakers"] == 1, "seconds"].max()
    figure, axes = make_figure(len(TESTS), 9, 3.6)
    for ax, test in zip(axes, TESTS, strict=True):
        for task in table["task"].unique():
            line = select(table, test=test, task=task)
            ax.plot(line["seconds"], line["relative_rmse"], marker="o", label=TASKS[task])
        ax.axvline(longest, color="0.8", zorder=0)
        ax.set_xscale("log", base=2)
        ticks = table["seconds"].unique()
        ax.set_xticks(ticks, [str(seconds) for seconds in ticks])
        ax.set(title=test, xlabel=f"seconds; beyond {longest}, of several talkers", ylim=(0, None))
    axes[0].set_ylabel("RMSE / SD")
    axes[0].legend()
    return figure


def number_of_rooms(results: Sequence[Result]) -> Figure:
    """Draw scores in unseen rooms against the number of rooms, a picture for each network."""
    counts = {one.key["rooms"]: one.result["n_rooms"] for one in results}
    table = frame(results)
    table = table.assign(n_rooms=table["rooms"].map(counts), network=table["encoder"].str.partition("-")[0])
    figure, axes = make_figure(2, 9, 3.6)
    for ax, network in zip(axes, ("bandwise", "compact"), strict=True):
        _lines(ax, select(table, network=network), "n_rooms")
        ax.set(title=f"{network} network", xlabel="rooms that the heads learn from")
    axes[0].set_ylabel("r; volume: accuracy")
    axes[0].legend()
    return figure


def embedding_size(results: Sequence[Result]) -> Figure:
    """Draw scores against the size of the embedding, a picture for each test."""
    table = frame(results)
    figure, axes = make_figure(len(TESTS), 9, 3.6)
    for ax, test in zip(axes, TESTS, strict=True):
        _lines(ax, select(table, test=test), "n_embedding")
        ax.set(title=test, xlabel="numbers in the embedding")
    axes[0].set_ylabel("r; volume: accuracy")
    axes[0].legend()
    return figure


def speech_variety(results: Sequence[Result]) -> Figure:
    """Draw scores of varied speech against the number of clips and of talkers."""
    counts = {tuple(one.key.values()): (one.result["n_clips"], one.result["n_speakers"]) for one in results}
    names = list(results[0].key)
    table = frame(results)
    of_row = [counts[tuple(row)] for row in table[names].itertuples(index=False)]
    table[["n_clips", "n_speakers"]] = of_row
    varied = select(table, kind="varied", test=TESTS[0])
    figure, axes = make_figure(2, 9, 3.6)
    for ax, column, fixed in zip(axes, ("n_clips", "n_speakers"), ("speakers", "segments"), strict=True):
        _lines(ax, varied[varied[fixed] == varied[fixed].max()], column)
    axes[0].set(title="all talkers", xlabel="clips", ylabel="r; volume: accuracy")
    axes[1].set(title="all segments", xlabel="talkers")
    axes[0].legend()
    return figure


def volume(results: Sequence[Result]) -> Figure:
    """Draw accuracies with their intervals, and how often the larger class is right."""
    figure, ax = make_figure(1, 8, 3)
    rows = sorted(results, key=lambda one: (one.key["heard"] == "responses", one.result["train_rooms"]))
    for height, one in enumerate(rows):
        found = one.result
        ax.plot(found["accuracy_interval"], [height] * 2, color="C0")
        ax.plot(found["accuracy"], height, "o", color="C0", label="accuracy, 95 % interval" if not height else None)
        ax.plot(found["majority"], height, "k|", markersize=14, label="majority class" if not height else None)
    names = [
        f"{one.key['heard'].partition('-soft')[0]}, {one.result['train_rooms']} rooms, tested in "
        f"{one.result['test_rooms']}"
        for one in rows
    ]
    ax.set_yticks(range(len(rows)), names)
    ax.set(xlabel="accuracy", xlim=(0.4, 0.9), ylim=(-0.6, len(rows) - 0.4))
    figure.legend(loc="outside upper center", ncols=2)
    return figure


def _lines(ax: Any, table: Any, column: str) -> None:
    """Draw a line for each task: the mean score of each value of a column, on a logarithmic axis."""
    for task in TASKS:
        line = select(table, task=task)
        if len(line):
            ax.plot(line.groupby(column)[metric(task)].mean(), marker="o", label=TASKS[task])
    ax.set_xscale("log")
    ticks = sorted(table[column].unique())
    ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    ax.minorticks_off()
    ax.set_ylim(min(0.5, ax.get_ylim()[0]), 1)  # the same for all pictures of a figure


BY_STUDY = {
    "recording_length": recording_length,
    "number_of_rooms": number_of_rooms,
    "embedding_size": embedding_size,
    "speech_variety": speech_variety,
    "volume": volume,
}
