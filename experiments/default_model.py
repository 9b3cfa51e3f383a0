"""The estimator that comes with the package: `train` makes it by the default recipe, `judge` writes its model card.

    python -m experiments.default_model train --speech FOLDER --noise FOLDER --rirs rirs.csv [rirs.csv ...]
    python -m experiments.default_model judge --speech FOLDER --noise FOLDER --rirs rirs.csv [rirs.csv ...]

Training resumes where it was stopped. The card is judged in simulated and measured rooms that had no part in it, by
speakers and recordings of noise that had none either.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from experiments.measured import COVERAGE, SECONDS, Estimate, clips_at, errors, estimates_of, measured_sets
from experiments.recipe import (
    AMOUNTS,
    BANDS,
    HEADS,
    LOWEST_SNR_TOLD,
    PARTS,
    SAMPLE_RATE,
    SELECTING_ROOMS,
    SNR,
    SPEEDS,
    TRAINING_ROOMS,
    TRANSFORMS,
    Recipe,
    targets_of,
)
from experiments.results import REPOSITORY, provenance, replacing
from experiments.tables import markdown, prose

WEIGHTS = REPOSITORY / "roomacoustic_sk" / "weights" / "default.rsk"
CARD = REPOSITORY / "docs" / "model_cards" / "default.json"
SNRS = (None, 20.0, 10.0, 5.0)  # dB; None without noise
RANGE_CLIPS = 2000  # of 1 to 12 s
RANGE_SNR = (0.0, 40.0)  # dB
UNITS = {"rt60_mid": "s", "c50": "dB", "drr": "dB"}
LEAST_CHANGE = 1.3  # ratio of reverberation times from which conditions are states of a room, not positions


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command."""
    parser = argparse.ArgumentParser(prog="python -m experiments.default_model", description=__doc__)
    parser.add_argument("command", choices=["train", "judge", "card"])
    parser.add_argument("--speech", type=Path, help="folder of real speech; synthetic speech if not given")
    parser.add_argument("--noise", type=Path, help="folder of recordings of noise; Gaussian noise if not given")
    parser.add_argument("--rirs", type=Path, nargs="+", default=[], help="tables of measured responses")
    parser.add_argument("--cache", type=Path, default=REPOSITORY / "results" / "cache")
    parser.add_argument("--size", choices=AMOUNTS, default="paper")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    parser.add_argument("--card", type=Path, default=CARD)
    args = parser.parse_args(arguments)
    if args.command != "card":
        recipe = Recipe(AMOUNTS[args.size], args.speech, args.noise, args.cache, args.rirs)
        if args.command == "train":
            train(recipe, args.cache, args.output)
            return 0
        command = sys.argv[1:] if arguments is None else list(arguments)
        card = judge(recipe, args.output) | {"provenance": provenance(command)}
        card["provenance"]["command"] = card["provenance"]["command"].replace(
            "experiments", "experiments.default_model", 1
        )
        args.card.parent.mkdir(parents=True, exist_ok=True)
        with replacing(args.card) as unfinished:
            unfinished.write_text(json.dumps(card, indent=1) + "\n")
    with replacing(args.card.with_suffix(".md")) as unfinished:
        unfinished.write_text(page(json.loads(args.card.read_text())))
    return 0


def train(recipe: Recipe, cache: Path, output: Path) -> None:
    """Train the encoder and the heads, calibrate, and save."""
    import joblib

    from roomacoustic_sk import RoomParameterEstimator, save

    name = f"default_encoder-{recipe.amount.epochs}x{recipe.amount.steps}"  # sizes may share a cache
    kept = cache / f"{name}.joblib"
    if kept.exists():
        encoder = joblib.load(kept)
    else:
        encoder = recipe.fit_encoder(0, cache / f"{name}.checkpoints").set_params(verbose=0)
        with replacing(kept) as unfinished:
            joblib.dump(encoder, unfinished)
    head = recipe.fit_head(encoder)
    save(RoomParameterEstimator.of_fitted(encoder, head), output)


def judge(recipe: Recipe, weights: Path) -> dict[str, Any]:
    """Return the errors of the saved estimator in rooms that had no part in its training, by set and by range."""
    from roomacoustic_sk import load

    model: Any = load(weights)
    estimate = estimates_of(model)
    rows, states = [], []
    for name, rooms in [("simulated", recipe.rooms("test")), *measured_sets(recipe)]:
        for snr in SNRS:
            found, clips = _estimated(estimate, clips_at(recipe, rooms, snr))
            true = targets_of(clips)
            rows += [
                {"set": name, "snr": snr, "target": target} | errors(found, true, target)
                for target in model.target_names_
            ]
            if len(set(rooms.get("condition", ()))) > 2:
                by_rir = dict(zip(rooms.rir.tolist(), rooms.condition, strict=True))
                order = _in_order(found, true, np.array([by_rir[rir] for rir in clips.rir.tolist()]))
                states += [] if order is None else [{"set": name, "snr": snr} | order]
    found, clips = _estimated(estimate, recipe.cut(recipe.rooms("test"), "test", RANGE_CLIPS, RANGE_SNR))
    return {
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "megabytes": round(weights.stat().st_size / 1e6, 2),
        "data": {path.name: _checksum(path) for path in (recipe.speech_folder, recipe.noise_folder) if path}
        | {f"{path.parent.name}/{path.name}": _checksum(path) for path in recipe.tables},
        "seconds": SECONDS,
        "rows": rows,
        "states": states,
        "ranges": list(by_range(found, targets_of(clips), clips.seconds)),
    }


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file, or of the names and sizes of the files of a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    files = sorted(file for file in path.rglob("*") if file.is_file())
    listed = "\n".join(f"{file.relative_to(path).as_posix()} {file.stat().st_size}" for file in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def _estimated(estimate: Estimate, clips: Iterator[tuple[list[np.ndarray], Any]]) -> tuple[pd.DataFrame, Bunch]:
    """Return estimates of clips, and their targets, responses and durations."""
    found, target, rir, seconds = [], [], [], []
    for sounds, some in clips:
        found.append(estimate(sounds))
        target.append(some.target)
        rir.append(some.rir)
        seconds += [len(sound) / SAMPLE_RATE for sound in sounds]
    together = Bunch(target=pd.concat(target, ignore_index=True), rir=np.concatenate(rir), seconds=np.array(seconds))
    return pd.concat(found, ignore_index=True), together


def by_range(found: pd.DataFrame, true: pd.DataFrame, seconds: np.ndarray) -> Iterator[dict[str, Any]]:
    """Yield the errors of clips by third of what may matter."""
    of = {
        "RT60 [s]": true["rt60_mid"].to_numpy(),
        "DRR [dB]": true["drr"].to_numpy(),
        "SNR [dB]": true["snr"].to_numpy(),
        "duration [s]": seconds,
    }
    for name, values in of.items():
        edges = np.nanquantile(values, [0, 1 / 3, 2 / 3, 1])
        for low, high in pairwise(edges):
            chosen = (values >= low) & (values <= high)
            for target in UNITS:
                row = {"of": name, "low": round(float(low), 2), "high": round(float(high), 2), "target": target}
                yield row | errors(found, true, target, chosen)


def _in_order(found: pd.DataFrame, true: pd.DataFrame, condition: np.ndarray) -> dict[str, Any] | None:
    """Return whether the medians of the states of a room are in order; None if the states hardly differ."""
    from scipy.stats import spearmanr

    table = pd.DataFrame({"true": true["rt60_mid"], "estimate": found["rt60_mid"], "state": condition})
    medians = table.groupby("state").median()
    if medians["true"].max() < LEAST_CHANGE * medians["true"].min():
        return None
    return {
        "spearman": round(float(spearmanr(medians["true"], medians["estimate"]).statistic), 3),
        "largest_error": round(float((medians["true"] - medians["estimate"]).abs().max()), 3),
    }


def page(card: dict[str, Any]) -> str:
    """Return the model card; every number in it comes from the judgement or from the recipe."""
    amount, origin = AMOUNTS["paper"], card["provenance"]
    rooms = ", ".join(f"{n} for the {part}" for n, part in zip(amount.rooms, PARTS, strict=True))
    what = prose(f"""
        From speech at 16 kHz (other rates are resampled): reverberation time, the mean T30 of the 500 Hz and 1 kHz
        octaves of the response that the microphone received (`rt60_mid`; the column `rt60` of `estimate_room`); clarity
        C50 and direct-to-reverberant ratio, broadband, with onset and windows as `roomacoustic_sk.acoustics` computes
        them. With `bands=True` also T30 and C50 in the octaves of {BANDS[0]} to {BANDS[-1]} Hz. It does not estimate
        volume: trained as a target, its error in unseen rooms was that of a constant.
    """)
    scales = [f"{kind} for {', '.join(names)}" for kind, names in _by_kind(TRANSFORMS).items()]
    learned = prose(f"""
        Simulated rooms of the preset "wide", two responses each: {rooms}. Training responses also have a copy with
        another direct sound and decay. Measured rooms train the heads, but not the encoder:
        {", ".join(TRAINING_ROOMS)}; recipes were compared in others: {", ".join(SELECTING_ROOMS)}. Speech: LibriSpeech
        train-clean-100 (CC BY 4.0), one utterance of each of 251 speakers, split by speaker; at speeds of {SPEEDS[0]}
        to {SPEEDS[1]} for the encoder. Noise: 16 of 24 recordings (CC0, CC BY 4.0, Pixabay Content Licence), at 0 to 40
        dB for the encoder, at {SNR[0]:g} to {SNR[1]:g} dB and alone for the heads. Encoder: `network="compact"`,
        {amount.epochs}
        epochs of {amount.steps} steps. Head: the average of {HEADS}, each for all targets, on {amount.head_clips} clips
        of 1 to 12 s, below {LOWEST_SNR_TOLD:g} dB of the SNR alone; scales:
        {"; ".join(scales)}. Intervals: {amount.calibration_clips} clips in {amount.rooms[2]} rooms. The weights have
        the licence of the package, MIT.
    """)
    judged = prose(f"""
        Clips of {card["seconds"]:g} s, by speakers and with noise that had no part in training, in rooms that had none,
        but for the three in which recipes were compared: RMSE, bias, and the share of the {100 * COVERAGE:g} %
        intervals that hold. Sets of few rooms scatter.
    """)
    ranges = prose(f"""
        {RANGE_CLIPS} clips of 1 to 12 s in {amount.rooms[3]} simulated rooms, with noise at 0 to 40 dB, in thirds.
    """)
    bands = "RMSE, and the bias behind it, of T30 [s] and C50 [dB] in octaves; 8 s, clean."
    table = pd.DataFrame(card["rows"])
    parts = [
        f"Generated by `{origin['command']}`.\n"
        f"File: `roomacoustic_sk/weights/default.rsk`, {card['megabytes']} MB, SHA-256 `{card['weights']}`.",
        "## What it estimates",
        what,
        "## What it was trained on",
        learned,
        _of_data(card["data"]),
        "## How wrong it is",
        judged,
        *(part for target in UNITS for part in (f"### {target} [{UNITS[target]}]", _by_set(table, target))),
        "### Octave bands",
        bands,
        _by_band(table),
        "### By range",
        ranges,
        _by_range(pd.DataFrame(card["ranges"])),
    ]
    if card["states"]:
        header = ["set", "SNR", "Spearman's rho of medians", "largest error of a median [s]"]
        rows = [
            [one["set"], _noise(one["snr"]), f"{one['spearman']:.3f}", f"{one['largest_error']:.3f}"]
            for one in card["states"]
        ]
        parts += ["### States of one room in order", markdown(header, rows)]
    return "\n\n".join(["# Model card: default", *parts, "## Known failures", FAILURES])


FAILURES = """\
- Reverberation times above 3 s and below 0.2 s were rare in training.
- The direct-to-reverberant ratio of measured responses is biased: loudspeakers and heads spread the direct sound over
  more than the window of 2.5 ms.
- Other languages, singing, music, and speech through codecs at low rates were not tested.
- An interval holds for rooms like those of the calibration, which are simulated. Call `calibrate` with rooms of your
  own.
"""


def _of_data(checksums: dict[str, str]) -> str:
    rows = [[name, f"`{checksum}`"] for name, checksum in checksums.items()]
    return markdown(["data", "SHA-256 (of a folder: of names and sizes)"], rows)


def _by_kind(transforms: dict[str, str]) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for name, kind in transforms.items():
        kinds.setdefault(kind, []).append(name)
    return kinds


def _noise(snr: float | None) -> str:
    return "clean" if snr is None or np.isnan(snr) else f"{snr:g} dB"


def _by_set(table: pd.DataFrame, target: str) -> str:
    """Return the errors of a target, a line for each set and level of noise."""
    rows = [
        [
            *(row.set, f"{row.true:.2f}", _noise(row.snr), f"{row.rmse:.2f}", f"{row.bias:+.2f}"),
            *(f"{100 * row.coverage:.0f} %", f"{row.width:.2f}"),
        ]
        for row in table[(table["target"] == target) & (table["n"] > 0)].itertuples()
    ]
    return markdown(["set", "mean", "SNR", "RMSE", "bias", "coverage", "width"], rows)


def _by_band(table: pd.DataFrame) -> str:
    """Return the errors in octave bands without noise, a line for each set and quantity."""
    of_band = table["target"].str.rpartition("_")[2].isin(list(map(str, BANDS)))
    table, rows = table[table["snr"].isna() & of_band].set_index(["set", "target"]), []
    for name in dict.fromkeys(table.index.get_level_values("set")):
        for quantity, digits in (("rt60", 2), ("c50", 1)):
            of_bands = [table.loc[(name, f"{quantity}_{band}")] for band in BANDS]
            cells = [f"{one.rmse:.{digits}f} ({one.bias:+.{digits}f})" if one.n else "" for one in of_bands]
            rows.append([name, {"rt60": "T30", "c50": "C50"}[quantity], *cells])
    return markdown(["set", "", *(f"{band} Hz" for band in BANDS)], rows)


def _by_range(table: pd.DataFrame) -> str:
    """Return RMSE and coverage of each target, a line for each third."""
    rows = []
    for (of, low, high), part in table.groupby(["of", "low", "high"], sort=False):
        errors_of = part.set_index("target")
        cells = [f"{errors_of.loc[t, 'rmse']:.2f}, {100 * errors_of.loc[t, 'coverage']:.0f} %" for t in UNITS]
        rows.append([of, f"{low:g} to {high:g}", *cells])
    return markdown(["third of", "range", *(f"{target} [{unit}]" for target, unit in UNITS.items())], rows)


if __name__ == "__main__":
    sys.exit(main())
