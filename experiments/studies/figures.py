"""Figures 3 and 4 of the paper: the distributions of the labels, and embeddings of five rooms on a plane."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.results import Key, RefusedError, Result, load
from experiments.studies.table2 import CLUSTERS, DRAWN, Cell
from experiments.study import Outcome, Study
from experiments.tables import LARGE_ROOM, prose, section

if TYPE_CHECKING:
    from experiments.data import Lab

LABELS = ("rt60", "c50", "volume")
DRAWN_METHODS = ("soft", "hard")


@dataclass(frozen=True, kw_only=True)
class Picture(Key):
    """A figure of the paper; the second one for a network."""

    figure: str
    network: str | None = None


class Figures(Study):
    """Figures 3 and 4 of the paper."""

    name = "figures"
    question = "How are the labels distributed, and do embeddings cluster by response or by talker?"
    speech = None

    def keys(self) -> list[Picture]:
        """Return Figure 3, and Figure 4 of three networks."""
        return [Picture(figure="labels"), *(Picture(figure="embeddings", network=network) for network in DRAWN)]

    def run(self, key: Picture, lab: Lab, checkpoints: Path) -> Outcome:
        """Simulate the rooms, or project the embeddings that cells of Table 2 kept (needs umap-learn)."""
        if key.figure == "labels":
            return Outcome(_labels(lab))
        planes = {method: _projected(lab.results / "table2", key, method) for method in DRAWN_METHODS}
        five = lab.unseen_rooms.target.iloc[lab.first_responses]
        labels = {label: five[label].round(3).tolist() for label in ("rt60", "c50")}
        return Outcome({"planes": planes, "five_rooms": labels})

    def section(self, results: Sequence[Result]) -> str:
        """Return mean and spread of the labels."""
        found = next(one.result for one in results if one.key["figure"] == "labels")["downstream"]
        rt60, c50, volume = (found[label] for label in LABELS)
        text = prose(f"""
            The {rt60["count"]:.0f} responses that heads learn from in Table 2 have RT60 of {rt60["mean"]:.2f} ±
            {rt60["std"]:.2f} s, C50 of {c50["mean"]:.1f} ± {c50["std"]:.1f} dB and volumes of {volume["mean"]:.0f} ±
            {volume["std"]:.0f} m³ (mean ± SD); {100 * found["large"]:.0f} % are larger than {LARGE_ROOM:g} m³
            ([distributions](figures/figure3.png)).
        """)
        return section("Simulated rooms", text)


def _labels(lab: Lab) -> dict[str, Any]:
    """Return mean, standard deviation and percentiles of the labels of the responses of Table 2."""
    from experiments.data import UPSTREAM_RIRS

    targets = {"upstream": lab.upstream_rooms.target.iloc[::UPSTREAM_RIRS], "downstream": lab.seen_rooms.target}
    found: dict[str, Any] = {}
    for part, target in targets.items():
        found[part] = target[list(LABELS)].describe(percentiles=[0.05, 0.5, 0.95]).round(3).to_dict()
        found[part]["large"] = round(float((target["volume"] > LARGE_ROOM).mean()), 3)
    return found


def _projected(folder: Path, key: Picture, method: str) -> dict[str, Any]:
    """Return where UMAP puts the embeddings of a cell of Table 2, and how well they cluster there and before."""
    from sklearn.metrics import silhouette_score

    cell = Cell(network=str(key.network), method=method, tau=0.1, seed=key.seed)
    path = folder / f"{cell.name}.npz"
    if not path.exists():
        settings = f"--network {cell.network} --method {method} --tau {cell.tau:g} --seed {cell.seed}"
        raise RefusedError(
            f"{path} must exist. Run python -m experiments table2 {settings} first, with the same --size and --output."
        )
    with np.load(path, allow_pickle=False) as kept:
        plane = _project(kept["embeddings"].astype(np.float32), key.seed)
        labels = {label: kept[label] for label in CLUSTERS}
    in_plane = {label: round(float(silhouette_score(plane, values)), 3) for label, values in labels.items()}
    silhouette = load(path.with_suffix(".json")).result["silhouette"]
    response = np.unique(labels["rir"], return_inverse=True)[1].tolist()
    return {"plane": plane.round(3).tolist(), "response": response, "silhouette": silhouette, "in_plane": in_plane}


def _project(embeddings: np.ndarray, seed: int) -> np.ndarray:
    """Return a UMAP projection onto a plane."""
    try:
        from umap import UMAP
    except ImportError as error:
        raise RefusedError('Figure 4 needs umap-learn: pip install -c constraints.txt ".[experiments]"') from error
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # umap passes on a deprecated argument of scikit-learn
        return np.asarray(UMAP(metric="cosine", random_state=seed, n_jobs=1).fit_transform(embeddings), dtype=float)
