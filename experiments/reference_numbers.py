"""Numbers of small fixed trainings, simulations and labels, written to an NPZ file: the program of `same_numbers`.

One minute, in one thread. It uses public names alone and nothing of `experiments`, so that it runs on other commits.
The trainings are so small that every step, draw and warm start can be compared to the last bit.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch

from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomClassifier,
    RoomRegressor,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
    acoustics,
)
from roomacoustic_sk.datasets import load_measured_rirs, make_reverberant_speech, make_speech, simulate_rooms
from roomacoustic_sk.features import DecaySlopeFeatures

LABELS = ("rt60", "rt60_mid", "edt", "c50", "d50", "drr")
QUICK: dict[str, Any] = {
    "max_epochs": 2,
    "steps_per_epoch": 4,
    "validation_steps": 2,
    "segment_duration": 1.5,
    "n_classes": 6,
    "n_views": 2,
    "random_state": 0,
    "precision": "float32",
    "compile": False,
}
SUPERVISED: dict[str, Any] = {
    "segment_duration": 1.0,
    "max_epochs": 2,
    "random_state": 0,
    "precision": "float32",
    "compile": False,
}


def of_rooms(rooms: Bunch) -> dict[str, Any]:
    """Simulate, and evaluate all parameters broadband and in bands, with and without truncation."""
    found: dict[str, Any] = {}
    mirrored = simulate_rooms(2, 1, method="ism", materials=0.4, random_state=1)
    for name, bunch in (("hybrid", rooms), ("ism", mirrored)):
        found |= {f"{name}, {label}": bunch.target[label].to_numpy(float) for label in (*LABELS, "volume")}
        found[f"{name}, responses"] = np.concatenate(bunch.rirs)
    for bands, truncation in ((None, "lundeby"), ([250.0, 500, 1000], "lundeby"), (None, None), ([1000.0], None)):
        how: dict[str, Any] = {"bands": bands, "truncation": truncation}
        parameters = acoustics.room_parameters(rooms.rirs, 16_000, **how)
        found |= {f"{name}, {how}": value for name, value in parameters.items()}
        found[f"C80, {how}"] = acoustics.clarity(rooms.rirs, 16_000, limit=0.08, **how)
        found[f"levels, {how}"] = np.nan_to_num(acoustics.energy_decay_curve(rooms.rirs[:3], 16_000, **how))[..., ::50]
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        for i, rir in enumerate(rooms.rirs):
            noise = 10 ** (i / 10 - 4.5) * rng.standard_normal(len(rir))
            soundfile.write(Path(folder) / f"{i:02d}.wav", 0.5 * (rir / np.abs(rir).max() + noise), 16_000, "FLOAT")
        measured = load_measured_rirs(folder)
    return found | {f"measured, {label}": measured.target[label].to_numpy(float) for label in LABELS}


def of_encoders(data: Bunch, lazy: Bunch) -> dict[str, Any]:
    """Train encoders with every network, sampling, kind of `X` and kind of labels, and go on from some."""
    groups = {"rir_groups": data.rir, "source_groups": data.source, "room_groups": data.room}
    found: dict[str, Any] = {}
    for network in ("bandwise", "pooled", "paper"):
        encoder = ContrastiveRoomEncoder(network=network, **QUICK).fit(data.data, **groups)
        found[f"encoder, {network}"] = encoder.transform(data.data)
        found[f"history, {network}"] = encoder.history_[["train_loss", "valid_loss", "valid_retrieval"]].to_numpy()
    for sampling in ("hard", "position_independent"):
        encoder = ContrastiveRoomEncoder(sampling=sampling, scoring="loss", tau=0.05, **QUICK)
        found[f"encoder, {sampling}, lazy"] = encoder.fit(lazy.data, **groups).transform(lazy.data)
    short = ContrastiveRoomEncoder(**QUICK | {"segment_duration": 0.7})
    short.fit(list(data.data[:, :20_000]), rir_groups=data.rir)
    lengths = np.random.default_rng(1).integers(9_000, 24_000, len(data.data))
    found["encoder, list"] = short.transform([row[:n] for row, n in zip(data.data, lengths, strict=True)])
    unlabelled = ContrastiveRoomEncoder(**QUICK).fit(data.data[::5])
    found["encoder, unlabelled"] = unlabelled.transform(data.data[:30])
    found["encoder, partial_fit"] = unlabelled.partial_fit(data.data[1::5]).transform(data.data[:30])
    warm = ContrastiveRoomEncoder(warm_start=True, **QUICK).fit(data.data, **groups).fit(data.data, **groups)
    found["encoder, warm start"] = warm.transform(data.data)
    return found


def of_estimates(data: Bunch, lazy: Bunch, Z: np.ndarray) -> dict[str, Any]:
    """Train heads on embeddings, and supervised estimators."""
    groups = {"rir_groups": data.rir, "source_groups": data.source, "room_groups": data.room}
    y, volume = data.target["rt60"].to_numpy(), data.target["volume"].to_numpy()
    large = volume > np.median(volume)
    found: dict[str, Any] = {}
    for hold_out in ("source", "rir", "room"):
        head = RoomRegressor(hold_out=hold_out, max_epochs=5, random_state=0)
        found[f"head, {hold_out}"] = head.fit(Z, y, **groups).predict(Z)
    several = RoomRegressor(max_epochs=3, non_negative=True, validation_fraction=0, random_state=0)
    found["head, several"] = several.fit(Z, np.c_[y, y**2]).predict(Z)
    found["head, classes"] = RoomClassifier(max_epochs=3, random_state=0).fit(Z, large).predict_proba(Z)
    for hold_out in ("source", "rir"):
        model = SupervisedRoomRegressor(hold_out=hold_out, **SUPERVISED).fit(data.data, y, **groups)
        found[f"supervised, {hold_out}"] = model.predict(data.data[:50])
    classifier = SupervisedRoomClassifier(network="pooled", **SUPERVISED).fit(lazy.data, large)
    found["supervised, classes, lazy"] = classifier.predict_proba(lazy.data[:50])
    encoder = ContrastiveRoomEncoder(**QUICK).fit(data.data, **groups)
    for frozen in (True, False):
        model = SupervisedRoomRegressor(encoder=encoder, freeze_encoder=frozen, **SUPERVISED)
        found[f"supervised, encoder frozen {frozen}"] = model.fit(data.data, y).predict(data.data[:50])
    model = SupervisedRoomRegressor(warm_start=True, **SUPERVISED).fit(data.data, y).fit(data.data, y)
    found["supervised, warm start"] = model.predict(list(data.data[:50]))
    found["slopes"] = DecaySlopeFeatures().fit_transform(data.data[:40])
    pipe = make_pipeline(ContrastiveRoomEncoder(**QUICK), RoomRegressor(max_epochs=2, random_state=1))
    labels = {f"contrastiveroomencoder__{name}": label for name, label in groups.items()}
    found["pipeline"] = pipe.fit(data.data, y, **labels).predict(data.data)
    return found


def numbers() -> dict[str, np.ndarray]:
    """Return all arrays by name."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rooms, speech = simulate_rooms(6, 2, random_state=0), make_speech(6, 30, duration=1.5, random_state=0)
    how: dict[str, Any] = {"remove_delay": True, "random_state": 0}
    data = make_reverberant_speech(rooms, speech, snr=40, normalize="rms", **how)
    lazy = make_reverberant_speech(rooms, speech, lazy=True, **how)
    chance = make_reverberant_speech(rooms, speech, pairing="random", n_samples=50, snr=20, random_state=3)
    found = of_rooms(rooms) | {"clips": data.data[::7, ::10], "random clips": chance.data[:, ::10]}
    found |= of_encoders(data, lazy)
    found |= of_estimates(data, lazy, found["encoder, warm start"])
    return {name: np.asarray(value, dtype=float) for name, value in found.items()}


if __name__ == "__main__":
    arrays: dict[str, Any] = numbers()
    np.savez(sys.argv[1], **arrays)
