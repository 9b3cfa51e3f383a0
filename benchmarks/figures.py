"""Figures 3 and 4 of the paper, from the rooms and the finished cells of `table2.py`.

    python benchmarks/figures.py --network bandwise --tau 0.1

Writes `docs/figures/*.png`, and `benchmarks/figures.json` with the numbers beside each picture (of another size than
"paper" to `results/`). Takes a minute where `table2.py` has simulated its rooms already, six more where it has not.
Needs `pip install ".[benchmarks]"`.
"""

from __future__ import annotations

import argparse
import json
import warnings
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from arguments import RESULTS, add_cache_argument
from record import add
from sklearn.metrics import silhouette_score
from table2 import HERE, LABELS, LARGE_ROOM, SIZES, UPSTREAM_RIRS, Cell, Data

PARAMETERS = {"rt60": "RT60 [s]", "c50": "C50 [dB]", "volume": "volume [m3]"}


def describe(targets: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Return mean, standard deviation and percentiles of the labels of each set."""
    found: dict[str, Any] = {}
    for name, target in targets.items():
        table = target[list(PARAMETERS)].describe(percentiles=[0.05, 0.5, 0.95]).round(3)
        found[name] = table.to_dict() | {"larger than 160 m3": round(float((target["volume"] > LARGE_ROOM).mean()), 3)}
    return found


def draw_labels(path: Path, targets: dict[str, pd.DataFrame]) -> None:
    """Draw the distribution of each label (Fig. 3)."""
    figure, axes = plt.subplots(1, len(PARAMETERS), figsize=(11, 3.2), layout="constrained")
    for ax, (parameter, label) in zip(axes, PARAMETERS.items(), strict=True):
        everything = np.concatenate([target[parameter] for target in targets.values()])
        edges = np.linspace(everything.min(), everything.max(), 25)
        for name, target in targets.items():
            ax.hist(target[parameter], bins=edges, density=True, alpha=0.5, label=f"{name} ({len(target)} RIRs)")
        ax.set(xlabel=label, ylabel="density")
    axes[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)


def project(embeddings: np.ndarray, seed: int) -> np.ndarray:
    """Return a UMAP projection onto a plane."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise SystemExit('Figure 4 needs umap-learn: pip install -c constraints.txt ".[benchmarks]"') from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap says which of scikit-learn's arguments were renamed
        return UMAP(metric="cosine", random_state=seed, n_jobs=1).fit_transform(embeddings)


def read_cell(folder: Path, cell: Cell) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Return the embeddings of five rooms of a finished cell, and how well they cluster."""
    path = folder / f"{cell.name}.json"
    if not path.exists() or not path.with_suffix(".npz").exists():
        raise SystemExit(f"{path} and the .npz beside it must exist; python benchmarks/table2.py makes them.")
    with np.load(path.with_suffix(".npz"), allow_pickle=False) as stored:
        return dict(stored), json.loads(path.read_text())["silhouette"]


def draw_embeddings(path: Path, cells: list[Cell], folder: Path, target: pd.DataFrame) -> dict[str, Any]:
    """Draw the embeddings of five rooms, a picture for each cell (Fig. 4); return their silhouettes."""
    figure, axes = plt.subplots(1, len(cells) + 1, figsize=(4.2 * (len(cells) + 1), 4), layout="constrained")
    found: dict[str, Any] = {}
    for ax, cell in zip(axes[1:], cells, strict=True):
        five, silhouettes = read_cell(folder, cell)
        plane = project(five["embeddings"].astype(np.float32), cell.seed)
        rirs = np.unique(five["rir"])
        for rir in rirs:  # in the order, and so the colours, of the first picture's legend
            ax.scatter(*plane[five["rir"] == rir].T, s=14, alpha=0.7)
        in_plane = {label: round(float(silhouette_score(plane, five[label])), 3) for label in LABELS}
        found[cell.method] = {"embedding": silhouettes, "plane": in_plane, "cell": cell.name}
        ax.set(
            title=f"{cell.method} sampling\nsilhouette by RIR {silhouettes['rir']:.2f}, "
            f"by speaker {silhouettes['speaker']:.2f}",
            xlabel="UMAP 1",
            ylabel="UMAP 2",
        )
    for number, rir in enumerate(rirs, start=1):
        axes[0].scatter(target["rt60"].iloc[rir], target["c50"].iloc[rir], s=60, label=f"room {number}")
    axes[0].set(title="five rooms", xlabel="RT60 [s]", ylabel="C50 [dB]")
    axes[0].legend()
    figure.savefig(path, dpi=120)
    plt.close(figure)
    return found


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=list(SIZES), default="paper")
    parser.add_argument("--network", default="bandwise")
    parser.add_argument("--tau", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cells", type=Path, default=HERE / "table2", help="folder of the finished cells")
    parser.add_argument("--pictures", type=Path, help="folder of pictures")
    parser.add_argument("--output", type=Path, help="file of the numbers")
    add_cache_argument(parser)
    args = parser.parse_args()
    committed = args.size == "paper"
    args.pictures = args.pictures or (HERE.parent / "docs" / "figures" if committed else RESULTS)
    args.output = args.output or (HERE if committed else RESULTS) / "figures.json"
    return args


def main() -> None:
    """Draw both figures."""
    args = parse_arguments()
    data = Data(None, SIZES[args.size], args.cache)
    args.pictures.mkdir(parents=True, exist_ok=True)
    targets = {"upstream": data.upstream_rooms.target.iloc[::UPSTREAM_RIRS], "downstream": data.seen_rooms.target}
    draw_labels(args.pictures / "figure3.png", targets)
    cells = [Cell(args.network, method, args.tau, args.seed) for method in ("soft", "hard")]
    silhouettes = draw_embeddings(
        args.pictures / f"figure4_{args.network}.png", cells, args.cells, data.unseen_rooms.target
    )
    add(args.output, "figure 3", describe(targets))
    add(args.output, f"figure 4, {args.network}", silhouettes)
    print(json.dumps(silhouettes, indent=1))


if __name__ == "__main__":
    main()
