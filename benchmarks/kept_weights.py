"""Which epoch's weights an encoder should keep: the same training, read off at several epochs.

    python benchmarks/kept_weights.py --speech LibriSpeech/train-clean-100

Cells of `table2.py`, one seed, all epochs. After each epoch the validation batches are judged
three ways: by the loss at the temperature of the training, by the loss at tau 1, and by retrieval, the share of clips
whose nearest other clip in the batch has come through the same response. The weights that each of them would have kept,
and those of the last epoch, are then frozen, and heads are trained and tested as in the table. Results go to
`benchmarks/kept_weights.json`; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import time
from copy import deepcopy
from itertools import product
from typing import Any

import numpy as np
from arguments import add_data_arguments, output_of
from record import add, load
from skorch.callbacks import Callback, LRScheduler
from table2 import EPOCHS, SAMPLINGS, SIZES, Data, base, labels_of, read_embeddings

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk.losses import SupConLoss


class Watch(Callback):
    """Measure the loss at tau 1 of validation batches, and keep the weights of every epoch."""

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


def chosen_epochs(epochs: dict[str, list[float]]) -> dict[str, int]:
    """Return which epoch, from 0, each way of judging would have kept."""
    return {
        "lowest loss": int(np.argmin(epochs["loss"])),
        "lowest loss at tau 1": int(np.argmin(epochs["loss at tau 1"])),
        "highest retrieval": int(np.argmax(epochs["retrieval"])),
        "last": len(epochs["loss"]) - 1,
    }


def compare(network: str, sampling: str, tau: float, seed: int, data: Data) -> dict[str, Any]:
    """Train once; read the heads off the weights that each way of judging keeps."""
    upstream, watch = data.upstream(network, sampling), Watch()
    n_epochs = data.size.epochs[network]
    encoder = ContrastiveRoomEncoder(
        network=base(network),
        sampling=sampling,
        tau=tau,
        max_epochs=n_epochs,
        steps_per_epoch=data.size.steps,
        patience=n_epochs + 1,  # so that nothing stops it
        callbacks=[("watch", watch), LRScheduler("CosineAnnealingLR", T_max=n_epochs)],
        random_state=seed,
        verbose=1,
    )
    encoder.fit(upstream.data, **labels_of(upstream))
    watch, history = dict(encoder.net_.callbacks_)["watch"], encoder.history_.round(4)
    epochs = {
        "train loss": history["train_loss"].tolist(),
        "loss": history["valid_loss"].tolist(),
        "loss at tau 1": np.round(watch.losses_, 4).tolist(),
        "retrieval": history["valid_retrieval"].tolist(),
    }
    kept, rows = chosen_epochs(epochs), {}
    for epoch in sorted(set(kept.values())):
        encoder.net_.module_.load_state_dict(watch.weights_[epoch])
        X = {key: encoder.transform(part.data) for key, part in data.downstream.items()}
        rows[epoch] = read_embeddings(X, data.downstream, seed)
    return {
        "epochs": epochs,
        "kept": {
            name: {
                "epoch": epoch + 1,
                "figures": {
                    f"{row['task']}, {row['test']}": round(row.get("pearson_r", row.get("accuracy")), 4)
                    for row in rows[epoch]
                },
            }
            for name, epoch in kept.items()
        },
    }


def main() -> None:
    """Compare in each condition that has not been tried yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_data_arguments(parser, SIZES)
    parser.add_argument("--networks", nargs="+", choices=list(EPOCHS), default=["paper", "paper-varied"])
    parser.add_argument("--samplings", nargs="+", choices=SAMPLINGS, default=["soft", "hard"])
    parser.add_argument("--taus", nargs="+", type=float, default=[0.1])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    args = parser.parse_args()
    data, output = Data(args.speech, SIZES[args.size], args.cache), output_of(args, "kept_weights.json")
    for seed, network, tau, sampling in product(args.seeds, args.networks, args.taus, args.samplings):
        key, started = f"{network}, {sampling}, tau {tau:g}, seed {seed}", time.perf_counter()
        if key in load(output)["measured"]:
            continue
        found = compare(network, sampling, tau, seed, data) | {"seconds": round(time.perf_counter() - started)}
        add(output, key, found)
        for name, kept in found["kept"].items():
            print(f"{key}, {name} (epoch {kept['epoch']}): {kept['figures']}", flush=True)


if __name__ == "__main__":
    main()
