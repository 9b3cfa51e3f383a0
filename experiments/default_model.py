"""The estimator that comes with the package: `train` makes it by the default recipe, `judge` writes its model card.

    python -m experiments.default_model train --speech FOLDER --noise FOLDER --cache FOLDER
    python -m experiments.default_model judge --speech FOLDER --noise FOLDER --rirs rirs.csv [rirs.csv ...]

Training resumes where it was stopped. The card is judged on measured rooms that had no part in it, by speakers and
recordings of noise that had none either.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from experiments.recipe import AMOUNTS, PARTS, SPEEDS, TRANSFORMS, Recipe, targets_of
from experiments.results import REPOSITORY, provenance, replacing
from experiments.tables import prose

WEIGHTS = REPOSITORY / "roomacoustic_sk" / "weights" / "default.rsk"
CARD = REPOSITORY / "docs" / "model_cards" / "default.json"
SNRS = (None, 20.0, 10.0, 5.0)  # dB; None without noise
CLIPS = (20, 300)  # of a set: at least, and at most
SECONDS = 8.0
UNITS = {"rt60_mid": "s", "c50": "dB", "drr": "dB"}
COVERAGE = 0.9
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
        recipe = Recipe(AMOUNTS[args.size], args.speech, args.noise, args.cache)
        if args.command == "train":
            train(recipe, args.cache, args.output)
            return 0
        command = sys.argv[1:] if arguments is None else list(arguments)
        card = judge(recipe, args.output, args.rirs) | {"provenance": provenance(command)}
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
    """Train the encoder and the head, calibrate, and save."""
    import joblib

    from roomacoustic_sk import RoomParameterEstimator, save

    kept = cache / "default_encoder.joblib"
    if kept.exists():
        encoder = joblib.load(kept)
    else:
        encoder = recipe.fit_encoder(0, cache / "default_encoder.checkpoints").set_params(verbose=0)
        with replacing(kept) as unfinished:
            joblib.dump(encoder, unfinished)
    head = recipe.fit_head(encoder, 0).set_params(verbose=0)
    save(RoomParameterEstimator.of_fitted(encoder, head), output)


def judge(recipe: Recipe, weights: Path, tables: Sequence[Path]) -> dict[str, Any]:
    """Return the errors of the saved estimator in measured rooms, by set."""
    from roomacoustic_sk import load
    from roomacoustic_sk.augmentation import AddNoise
    from roomacoustic_sk.datasets import load_measured_rirs, take

    model: Any = load(weights)
    rows, states = [], []
    for table in tables:
        rirs = load_measured_rirs(table)
        listed = pd.read_csv(table)
        names = np.where(
            listed["set"].duplicated(keep=False) & (listed.groupby("set")["room"].transform("nunique") == 1),
            listed["set"],
            listed["room"],
        )
        for name in dict.fromkeys(names.tolist()):
            indices = np.flatnonzero(names == name)
            some = take(rirs, indices)
            some.condition = listed["condition"].astype(str).to_numpy()[indices]
            n_clips = int(np.clip(len(indices) * 20, *CLIPS))
            for snr in SNRS:
                steps = [] if snr is None else [AddNoise(snr=(snr, snr), recordings=recipe.test_noise)]
                found, clips = _estimates(model, recipe, some, n_clips, steps)
                true = targets_of(clips)
                rows += [
                    {"set": name, "snr": snr, "target": target} | _errors(found, true[target].to_numpy(), i)
                    for i, target in enumerate(model.target_names_)
                ]
                if len(set(some.condition)) > 2:
                    by_rir = dict(zip(some.rir.tolist(), some.condition, strict=True))
                    condition = np.array([by_rir[rir] for rir in clips.rir.tolist()])
                    order = _in_order(found, true, condition)
                    states += [] if order is None else [{"set": name, "snr": snr} | order]
    return {
        "weights": hashlib.sha256(weights.read_bytes()).hexdigest(),
        "megabytes": round(weights.stat().st_size / 1e6, 2),
        "seconds": SECONDS,
        "rows": rows,
        "states": states,
    }


def _estimates(model: Any, recipe: Recipe, rooms: Any, n_clips: int, steps: list[Any]) -> tuple[Any, Any]:
    from sklearn.utils import Bunch

    from roomacoustic_sk.room_parameters import RoomEstimates

    parts, targets, rirs = [], [], []
    for sounds, some in recipe.cut(rooms, "test", n_clips, steps=steps, seconds=(SECONDS, SECONDS)):
        parts.append(model.estimate(sounds, COVERAGE))
        targets.append(some.target)
        rirs.append(some.rir)
    estimates = RoomEstimates(*map(np.concatenate, zip(*parts, strict=True)))
    return estimates, Bunch(target=pd.concat(targets, ignore_index=True), rir=np.concatenate(rirs))


def _errors(found: Any, true: np.ndarray, i: int) -> dict[str, float | int | None]:
    """Return number, errors and coverage of a target where it is known."""
    known = np.isfinite(true)
    if not known.any():
        return {"n": 0, "true": None, "rmse": None, "bias": None, "coverage": None, "width": None}
    error, (low, high) = found.values[known, i] - true[known], found.intervals[known, i].T
    numbers = {
        "true": float(true[known].mean()),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "bias": float(error.mean()),
        "coverage": float(np.mean((low <= true[known]) & (true[known] <= high))),
        "width": float(np.median(high - low)),
    }
    return {"n": int(known.sum())} | {name: round(value, 3) for name, value in numbers.items()}


def _in_order(found: Any, true: pd.DataFrame, condition: np.ndarray) -> dict[str, Any] | None:
    """Return whether the medians of the states of a room are in order; None if the states hardly differ."""
    from scipy.stats import spearmanr

    table = pd.DataFrame({"true": true["rt60_mid"], "estimate": found.values[:, 0], "state": condition})
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
    scales = ", ".join(f"{name} {kind}" for name, kind in TRANSFORMS.items())
    what = prose("""
        From speech at 16 kHz (other rates are resampled): reverberation time, the mean T30 of the 500 Hz and 1 kHz
        octaves of the response that the microphone received (`rt60_mid`; the column `rt60` of `estimate_room`); clarity
        C50 and direct-to-reverberant ratio, broadband, with onset and windows as `roomacoustic_sk.acoustics` computes
        them. It estimates neither volume nor octave bands.
    """)
    learned = prose(f"""
        Simulated rooms of the preset "wide", two responses each: {rooms}. Training responses also have a copy with
        another direct sound and decay. Speech: LibriSpeech train-clean-100 (CC BY 4.0), one utterance of each of 251
        speakers, split by speaker; at speeds of {SPEEDS[0]} to {SPEEDS[1]} for the encoder. Noise at 0 to 40 dB: 16 of
        24 recordings (CC0, CC BY 4.0, Pixabay Content Licence). No measured response was used. Encoder:
        `network="compact"`, {amount.epochs} epochs of {amount.steps} steps; head: one for all targets ({scales}), on
        {amount.head_clips} clips of 1 to 12 s; intervals from {amount.rooms[2]} rooms. The weights have the licence of
        the package, MIT.
    """)
    judged = prose(f"""
        Clips of {card["seconds"]:g} s, by speakers and with noise that had no part in training: RMSE, bias, and the
        share of the {100 * COVERAGE:g} % intervals that hold. Sets of few rooms scatter.
    """)
    lines = [
        "# Model card: default",
        "",
        f"Generated by `{origin['command']}`.",
        f"File: `roomacoustic_sk/weights/default.rsk`, {card['megabytes']} MB, SHA-256 `{card['weights']}`.",
        *("", "## What it estimates", "", what, "", "## What it was trained on", "", learned),
        *("", "## How wrong it is in measured rooms", "", judged),
    ]
    table = pd.DataFrame(card["rows"])
    for target, unit in UNITS.items():
        lines += ["", f"### {target} [{unit}]", ""]
        lines += [
            "| set | mean | SNR | RMSE | bias | coverage | width |",
            "| --- | --- | --- | --- | --- | --- | --- |",
        ]
        for row in table[(table["target"] == target) & (table["n"] > 0)].itertuples():
            snr = "clean" if row.snr is None or np.isnan(row.snr) else f"{row.snr:g} dB"
            errors = f"{row.rmse:.2f} | {row.bias:+.2f} | {100 * row.coverage:.0f} % | {row.width:.2f}"
            lines.append(f"| {row.set} | {row.true:.2f} | {snr} | {errors} |")
    if card["states"]:
        lines += ["", "## States of one room in order", ""]
        lines += [
            "| set | SNR | Spearman's rho of medians | largest error of a median [s] |",
            "| --- | --- | --- | --- |",
        ]
        for state in card["states"]:
            snr = "clean" if state["snr"] is None else f"{state['snr']:g} dB"
            lines.append(f"| {state['set']} | {snr} | {state['spearman']:.3f} | {state['largest_error']:.3f} |")
    lines += [
        "",
        "## Known failures",
        "",
        "- Reverberation times above 3 s and below 0.2 s were rare in training.",
        "- The direct-to-reverberant ratio of measured responses is biased: loudspeakers and heads spread the direct",
        "  sound over more than the window of 2.5 ms.",
        "- Other languages, singing, music, and speech through codecs at low rates were not tested.",
        "- An interval holds for rooms like those of the calibration, which are simulated. Call `calibrate` with rooms",
        "  of your own.",
        "",
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
