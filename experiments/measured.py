"""Errors in measured rooms, by set: of the default recipe, of any saved estimator, and of others on the same clips.

    python -m experiments measured --speech FOLDER --rirs rirs.csv [rirs.csv ...] [--noise FOLDER --snr DB]

It trains encoder and heads by the default recipe, and resumes where it was stopped; with `--model FILE` it scores a
saved estimator instead. `--without` leaves steps out of the heads' training. `--beside` adds decay slopes with trees,
the supervised baseline, blind-rt60 (pip install blind-rt60), and heads that learned from ordinary rooms alone.
`--simulated` scores simulated rooms instead, by kind.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from experiments.recipe import (
    AMOUNTS,
    CLEAN,
    SAMPLE_RATE,
    SNR,
    TRAINING_ROOMS,
    TRANSFORMS,
    Recipe,
    room_names,
    targets_of,
    with_bands,
)
from experiments.results import RefusedError, provenance, replacing
from experiments.tables import KINDS

CLIPS = (20, 300)  # of a set: at least, and at most
SECONDS = 8.0
COVERAGE = 0.9
TARGETS = ("rt60_mid", "c50", "drr")
SUPERVISED_CLIPS, SUPERVISED_EPOCHS = 8000, 16
SLOPE_CLIPS = 4000  # from which trees learn
ENCODER = "compact-soft-tau0.1-seed0"  # of Table 2
BLIND_CLIPS = 4  # of each batch: blind-rt60 takes 20 s for one of 8 s

Estimate = Callable[[list[np.ndarray]], pd.DataFrame]
"""Estimates of waveforms: a column for each target, and perhaps its bounds, as in "c50", "c50_low" and "c50_high"."""


def run(args: argparse.Namespace, arguments: Sequence[str]) -> int:
    """Train or load, score, and print a table."""
    from experiments.default_model import train
    from roomacoustic_sk import load

    for path in [*args.rirs, *([] if args.model is None else [args.model])]:
        if not path.is_file():
            raise RefusedError(f"{path} must be a file, got {'a folder' if path.is_dir() else 'no such file'}")
    recipe = Recipe(AMOUNTS[args.size], args.speech, args.noise, args.cache, args.rirs, args.without)
    try:
        sets = list(simulated_sets(recipe) if args.simulated else measured_sets(recipe))
    except ValueError as error:  # before anything is trained
        raise RefusedError(f"--rirs: {error}") from error
    name = " without ".join(["default recipe", *recipe.without])
    model = args.model or args.cache / f"measured-{args.size}{''.join(f'-no-{step}' for step in recipe.without)}.rsk"
    if not model.exists():
        train(recipe, args.cache, model)
    estimators = {name if args.model is None else model.name: estimates_of(load(model))}
    for other in args.beside:
        estimators[other] = BESIDE[other](recipe)
    rows = list(score(estimators, recipe, sets, [None, *(args.snr or [])]))
    print(table_of(rows))
    if args.output is not None:
        with replacing(args.output) as unfinished:
            unfinished.write_text(json.dumps({"rows": rows} | provenance(arguments), indent=1) + "\n")
    return 0


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return RMSE and bias of each estimator, a line for each set, level and target."""
    table = pd.DataFrame([row for row in rows if row["n"]])
    table["noise"] = ["clean" if snr is None or np.isnan(snr) else f"{snr:g} dB" for snr in table["snr"]]
    table["error"] = [f"{row.rmse:.2f} ({row.bias:+.2f})" for row in table.itertuples()]
    index = ["target", "set", "noise"]
    return str(table.pivot_table("error", index, "estimator", "first", sort=False).fillna("").to_string())


# --- Scores ---------------------------------------------------------------------------------------------------------


def score(
    estimators: Mapping[str, Estimate],
    recipe: Recipe,
    sets: Sequence[tuple[str, Any]],
    snrs: Sequence[float | None],
) -> Iterator[dict[str, Any]]:
    """Yield the errors of each estimator by set, level of noise and target, on the same clips."""
    for name, rooms in sets:
        for snr in snrs:
            parts: dict[str, list[pd.DataFrame]] = {estimator: [] for estimator in estimators}
            true = []
            for sounds, some in clips_at(recipe, rooms, snr):
                true.append(targets_of(some))
                for estimator, estimate in estimators.items():
                    parts[estimator].append(estimate(sounds))
            truth = pd.concat(true, ignore_index=True)
            for estimator, frames in parts.items():
                found = pd.concat(frames, ignore_index=True)
                for target in TARGETS:
                    if target in found:
                        what = {"estimator": estimator, "set": name, "snr": snr, "target": target}
                        yield what | errors(found, truth, target)


def measured_sets(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield the measured rooms that only test, with their names."""
    from roomacoustic_sk.datasets import load_measured_rirs, take

    for table in recipe.tables:
        rirs, names = load_measured_rirs(table), room_names(table)
        condition = pd.read_csv(table).get("condition")
        for name in dict.fromkeys(names.tolist()):
            if name not in TRAINING_ROOMS:
                indices = np.flatnonzero(names == name)
                rooms = with_bands(take(rirs, indices), "measured")
                if condition is not None:
                    rooms.condition = condition.astype(str).to_numpy()[indices]
                yield str(name), rooms


def simulated_sets(recipe: Recipe) -> Iterator[tuple[str, Any]]:
    """Yield the simulated rooms that only test: large ones, near talkers, and what is neither."""
    from roomacoustic_sk.datasets import take

    rooms = recipe.rooms("test")
    others = np.ones(len(rooms.rirs), dtype=bool)
    for kind, (column, limit) in KINDS.items():
        chosen = rooms.target[column].to_numpy() > limit
        others &= ~chosen
        yield f"simulated, {kind}", take(rooms, np.flatnonzero(chosen))
    yield "simulated, ordinary", take(rooms, np.flatnonzero(others))


def clips_at(recipe: Recipe, rooms: Any, snr: float | None) -> Iterator[tuple[list[np.ndarray], Any]]:
    """Yield clips in rooms at an SNR, spoken by those who only test."""
    n_clips = int(np.clip(len(rooms.rirs) * 20, *CLIPS))
    levels = (0.0, 0.0) if snr is None else (snr, snr)
    return recipe.cut(rooms, "test", n_clips, levels, clean=float(snr is None), seconds=(SECONDS, SECONDS))


def errors(found: pd.DataFrame, true: pd.DataFrame, target: str, chosen: Any = True) -> dict[str, float | int | None]:
    """Return number, errors and coverage of a target where it is known and was estimated."""
    estimate, truth = found[target].to_numpy(), true[target].to_numpy()
    known = np.isfinite(truth) & chosen
    told = known & np.isfinite(estimate)
    if not told.any():
        return {"n": 0, "told": 0.0} | dict.fromkeys(("true", "rmse", "bias", "coverage", "width"))
    error = estimate[told] - truth[told]
    numbers: dict[str, Any] = {
        "told": float(told.sum() / known.sum()),
        "true": float(truth[told].mean()),
        "rmse": float(np.sqrt(np.mean(error**2))),
        "bias": float(error.mean()),
        "coverage": None,
        "width": None,
    }
    if f"{target}_low" in found:
        low, high = (found[f"{target}_{side}"].to_numpy()[told] for side in ("low", "high"))
        numbers["coverage"] = float(np.mean((low <= truth[told]) & (truth[told] <= high)))
        numbers["width"] = float(np.median(high - low))
    rounded = {name: None if value is None else round(value, 3) for name, value in numbers.items()}
    return {"n": int(told.sum())} | rounded


# --- Estimators -----------------------------------------------------------------------------------------------------


def estimates_of(model: Any) -> Estimate:
    """Return what a RoomParameterEstimator estimates."""

    def estimate(sounds: list[np.ndarray]) -> pd.DataFrame:
        found = model.estimate(sounds, COVERAGE)
        columns = {}
        for i, name in enumerate(model.target_names_):
            columns[name] = found.values[:, i]
            columns[f"{name}_low"], columns[f"{name}_high"] = found.intervals[:, i].T
        return pd.DataFrame(columns)

    return estimate


def slopes(recipe: Recipe) -> Estimate:
    """Return trees on decay slopes, trained on clips like those of the heads, and kept."""
    import joblib
    from sklearn.ensemble import ExtraTreesRegressor

    from roomacoustic_sk.features import DecaySlopeFeatures

    features, kept = DecaySlopeFeatures(), recipe.cache / f"slopes-{recipe.amount.head_clips}.joblib"
    if kept.exists():
        trees = joblib.load(kept)
    else:
        learned, true = [], []
        for sounds, some in recipe.clips("heads", min(SLOPE_CLIPS, recipe.amount.head_clips)):
            learned.append(features.fit_transform(sounds))
            true.append(targets_of(some))
        X, targets, trees = np.concatenate(learned), pd.concat(true, ignore_index=True), {}
        for target in TARGETS:
            known = targets[target].notna().to_numpy()
            y = np.log(targets[target][known]) if target == "rt60_mid" else targets[target][known]
            trees[target] = ExtraTreesRegressor(300, min_samples_leaf=2, n_jobs=-1, random_state=0).fit(X[known], y)
        with replacing(kept) as unfinished:
            joblib.dump(trees, unfinished)

    def estimate(sounds: list[np.ndarray]) -> pd.DataFrame:
        X = features.fit_transform(sounds)
        found = {target: trees[target].predict(X) for target in TARGETS}
        return pd.DataFrame(found | {"rt60_mid": np.exp(found["rt60_mid"])})

    return estimate


def supervised(recipe: Recipe) -> Estimate:
    """Return the default network, trained end to end on clips like those of the heads, of 4 s, and kept."""
    from roomacoustic_sk import SupervisedRoomRegressor, load, save

    n_clips = min(SUPERVISED_CLIPS, recipe.amount.head_clips)
    kept = recipe.cache / f"supervised-{n_clips}.rsk"
    if not kept.exists():
        learned, parts = [], []
        cut = recipe.cut(recipe.rooms("heads"), "heads", n_clips, (0.0, SNR[1]), clean=CLEAN, seconds=(4.0, 4.0))
        for sounds, some in cut:
            learned += sounds
            parts.append(some)
        targets = pd.concat([targets_of(some) for some in parts], ignore_index=True)[list(TARGETS)]
        known = np.flatnonzero(targets.notna().any(axis=1))
        model = SupervisedRoomRegressor(
            network="compact",
            target_transform={target: TRANSFORMS[target] for target in TARGETS},
            hold_out="rir",
            max_epochs=SUPERVISED_EPOCHS,
            checkpoint_dir=recipe.cache / "supervised.checkpoints",
            random_state=0,
            verbose=1,
        )
        rir = np.concatenate([some.rir for some in parts])
        model.fit(np.array(learned)[known], targets.iloc[known], rir_groups=rir[known])
        save(model.set_params(checkpoint_dir=None), kept)
    fitted: Any = load(kept)
    return lambda sounds: pd.DataFrame(fitted.predict(list(sounds)), columns=list(TARGETS))


def ordinary(recipe: Recipe) -> Estimate:
    """Return heads on an encoder of Table 2, which learned from 4 s of clean speech in rooms of the preset "paper"."""
    from experiments.data import SIZES, Lab, labels_of
    from experiments.encoders import kept_encoder
    from roomacoustic_sk import RoomRegressor

    size = SIZES["tiny" if recipe.amount == AMOUNTS["tiny"] else "paper"]
    lab = Lab(recipe.speech_folder, size, recipe.cache, recipe.cache)
    encoder, _ = kept_encoder(ENCODER, lab, recipe.cache / "ordinary.checkpoints")
    clips = lab.train_clips(lab.size.other_rooms)
    targets = targets_of(clips)[list(TARGETS)]
    transforms = {target: TRANSFORMS[target] for target in TARGETS}
    head = RoomRegressor(target_transform=transforms, hold_out="rir", random_state=0)
    head.fit(encoder.transform(clips.data), targets, **labels_of(clips))
    return lambda sounds: pd.DataFrame(head.predict(encoder.transform(list(sounds))), columns=list(TARGETS))


def blind_rt60(recipe: Recipe) -> Estimate:
    """Return the maximum-likelihood estimator of the package blind-rt60 (after Ratnam et al., 2003)."""
    try:
        from blind_rt60 import BlindRT60
    except ImportError as error:
        raise RefusedError("blind-rt60 must be installed: pip install blind-rt60") from error

    def estimate(sounds: list[np.ndarray]) -> pd.DataFrame:
        found = [float(BlindRT60()(sound, SAMPLE_RATE)) for sound in sounds[:BLIND_CLIPS]]
        return pd.DataFrame({"rt60_mid": found}).reindex(range(len(sounds)))

    return estimate


BESIDE: dict[str, Callable[[Recipe], Estimate]] = {
    "slopes": slopes,
    "supervised": supervised,
    "blind-rt60": blind_rt60,
    "ordinary": ordinary,
}
