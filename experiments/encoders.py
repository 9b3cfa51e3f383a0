"""Encoders of the studies: trained as in Table 2, and kept so that other studies find them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import joblib
import numpy as np
from skorch.callbacks import Callback, LRScheduler

from experiments.conditions import architecture, conditions_of
from experiments.data import Lab, labels_of
from experiments.results import commit, replacing
from experiments.tables import SAMPLINGS
from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk.losses import SupConLoss

# Hard batches of varied speech keep the paper's network on its plateau for 20 of 24 epochs; soft ones do not.
WARM_UP = {"paper-speech": 4, "paper-varied": 4}  # epochs of soft batches before those of another sampling


def train_encoder(
    settings: dict[str, Any], lab: Lab, checkpoints: Path, callbacks: Sequence[tuple[str, Any]] = (), n_soft: int = 0
) -> ContrastiveRoomEncoder:
    """Train an encoder for all epochs; the best weights are kept.

    Parameters
    ----------
    settings : dict
        network (with what it learns from), method (a sampling), tau, seed.
    lab : Lab
        Its data and its number of epochs.
    checkpoints : Path
        Folder for the state of the training.
    callbacks : sequence of (str, callback)
        Further callbacks.
    n_soft : int
        Epochs of soft batches to begin with, among all epochs.
    """
    network, sampling = settings["network"], settings["method"]
    upstream, epochs, conditions = lab.upstream(network, sampling), lab.epochs(network), conditions_of(network)
    encoder = _annealed(epochs, lab, settings["seed"], callbacks).set_params(
        network=architecture(network),
        standardise=conditions.standardise,
        tau=settings["tau"],
        soft_warm_up=conditions.cut and sampling != "soft",
        warm_start=n_soft > 0,
    )
    return fit_in_stages(encoder, upstream, {"soft": n_soft, sampling: epochs - n_soft}, checkpoints)


def _annealed(epochs: int, lab: Lab, seed: int, callbacks: Sequence[tuple[str, Any]] = ()) -> ContrastiveRoomEncoder:
    """Return an encoder whose step size falls to zero over all epochs, so that all of them are run."""
    return ContrastiveRoomEncoder(
        steps_per_epoch=lab.size.steps,
        max_epochs=epochs,
        patience=epochs + 1,
        callbacks=[*callbacks, LRScheduler("CosineAnnealingLR", T_max=epochs)],
        random_state=seed,
        verbose=1,
    )


def short_training(
    settings: dict[str, Any], grid: Any, epochs: int, lab: Lab, seed: int, checkpoints: Path
) -> ContrastiveRoomEncoder:
    """Train on a grid of clips with soft batches and tau 0.1, for fewer epochs than in Table 2.

    `settings` has the network, and what else the encoder is to be told.
    """
    epochs = min(epochs, lab.size.most_epochs)
    encoder = _annealed(epochs, lab, seed).set_params(tau=0.1, checkpoint_dir=checkpoints, **settings)
    return encoder.fit(grid.data, **labels_of(grid))


def fit_in_stages(encoder: ContrastiveRoomEncoder, upstream: Any, stages: dict[str, int], checkpoints: Path) -> Any:
    """Train with one sampling after the other, for so many epochs each; each stage has a folder of checkpoints."""
    for sampling, epochs in stages.items():
        if epochs:
            encoder.set_params(sampling=sampling, max_epochs=epochs, checkpoint_dir=checkpoints / sampling)
            encoder.fit(upstream.data, **labels_of(upstream))
    return encoder.set_params(checkpoint_dir=None)


def untrained_encoder(network: str, seed: int, lab: Lab) -> ContrastiveRoomEncoder:
    """Return an encoder with its random initial weights."""
    upstream, standardise = lab.upstream(network, "hard"), conditions_of(network).standardise
    common: dict[str, Any] = {"network": architecture(network), "standardise": standardise, "random_state": seed}
    encoder = ContrastiveRoomEncoder(sampling="hard", max_epochs=0, **common)
    return encoder.fit(upstream.data, **labels_of(upstream))


def table2_encoder(settings: dict[str, Any], lab: Lab, checkpoints: Path) -> ContrastiveRoomEncoder:
    """Train the encoder of a cell of Table 2, and keep it."""
    network, epochs = settings["network"], lab.epochs(settings["network"])
    n_soft = 0 if settings["method"] == "soft" else min(WARM_UP.get(network, 0), epochs - 1)
    encoder = train_encoder(settings, lab, checkpoints, n_soft=n_soft)
    path = _kept(encoder_name(settings), lab)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        joblib.dump({"encoder": encoder, "commit": commit()}, unfinished)
    return encoder


def kept_encoder(name: str, lab: Lab, checkpoints: Path) -> tuple[ContrastiveRoomEncoder, str]:
    """Return the encoder of a cell of Table 2, trained now if it was not kept, and the commit that trained it."""
    if not _kept(name, lab).exists():
        table2_encoder(encoder_settings(name), lab, checkpoints / "encoder")
    kept = joblib.load(_kept(name, lab))
    return kept["encoder"], kept["commit"]


def encoder_name(settings: dict[str, Any]) -> str:
    """Return the name of an encoder, which is that of its cell in Table 2."""
    network = settings["network"].replace("paper-shared", "paper-flat")  # they learn from the same
    return f"{network}-{settings['method']}-tau{settings['tau']:g}-seed{settings['seed']}"


def encoder_settings(name: str) -> dict[str, Any]:
    """Return the settings that a name of an encoder stands for."""
    start, tau, seed = name.rsplit("-", 2)
    network, method = start.rsplit("-", 1)
    if method not in SAMPLINGS:
        raise ValueError(f"no sampling in the name of the encoder {name!r}")
    return {"network": network, "method": method, "tau": float(tau[3:]), "seed": int(seed[4:])}


def _kept(name: str, lab: Lab) -> Path:
    return lab.cache / "encoders" / f"{lab.size.name}-{lab.corpus}" / f"{name}.joblib"


class Watch(Callback):
    """Measure the loss at tau 1 of validation batches, and keep the weights; checkpoints save both."""

    def on_train_begin(self, net: Any, **_: Any) -> None:
        """Start anew."""
        self.batches_: list[float] = []
        self.losses_: list[float] = []
        self.weights_: list[Any] = []

    def on_batch_end(self, net: Any, batch: Any, training: bool, y_pred: Any, **_: Any) -> None:
        """Measure a validation batch."""
        if not training:
            self.batches_.append(float(SupConLoss(1.0)(y_pred, batch[1])))

    def on_epoch_end(self, net: Any, **_: Any) -> None:
        """Average over the epoch's batches."""
        self.losses_.append(float(np.mean(self.batches_)))
        self.batches_.clear()
        self.weights_.append(deepcopy(net.module_.state_dict()))
