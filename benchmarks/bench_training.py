"""Training, against skorch with its defaults and pytorch-metric-learning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import reference
import torch
from inputs import Size, noise
from torch import Tensor, nn

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor, SupervisedRoomRegressor
from roomacoustic_sk.losses import SupConLoss

OURS = "roomacoustic_sk"
VIEWS = 3
GRADIENT_TOLERANCE = 0.03
"""Of its norm. In the channels-last layout, which ours uses, the gradient of an untrained network is off by 1 % from
that in float64; in the contiguous layout by 3e-6."""


def check_same_training(
    ours: nn.Module, theirs: nn.Module, losses: tuple[nn.Module, nn.Module], X: np.ndarray, y: Tensor
) -> None:
    """Check that a training step without dropout has the same loss and the same gradient, in float32."""
    reference.copy_weights(ours, theirs)
    found = []
    for module, loss in zip((ours, theirs), losses, strict=True):
        module.train()
        for layer in module.modules():
            if isinstance(layer, nn.Dropout):
                layer.p = 0.0
        value = loss(module(torch.from_numpy(X)), y)
        gradient = torch.autograd.grad(value, list(module.parameters()))
        found.append((value.item(), torch.cat([part.flatten() for part in gradient])))
    (our_loss, our_gradient), (their_loss, their_gradient) = found
    assert our_loss == pytest.approx(their_loss, rel=1e-4)
    difference = torch.linalg.norm(our_gradient - their_gradient)
    assert difference < GRADIENT_TOLERANCE * torch.linalg.norm(their_gradient)


@pytest.fixture(scope="module", params=["compact", "bandwise", "paper", "pooled"])
def fit(request: pytest.FixtureRequest, size: Size) -> tuple[str, dict[str, Callable[[], Any]]]:
    """Return a network's name and ways to fit it; each clip is in every batch, and its spectrogram computed once."""
    network = request.param
    X, rir, source = noise(VIEWS * size.classes), np.repeat(np.arange(size.classes), VIEWS), np.arange(VIEWS)
    groups = {"rir_groups": rir, "source_groups": np.tile(source, size.classes)}

    def encoder(epochs: int) -> ContrastiveRoomEncoder:
        return ContrastiveRoomEncoder(
            network=network, n_classes=size.classes, n_views=VIEWS, max_epochs=epochs, steps_per_epoch=size.steps,
            validation_fraction=0, random_state=0,
        )  # fmt: skip

    check_same_training(
        encoder(0).fit(X, **groups).net_.module_,
        reference.contrastive_module(network),
        (SupConLoss(0.1), reference.ContrastiveLoss(temperature=0.1)),
        X,
        torch.from_numpy(rir),
    )
    return network, {
        OURS: lambda: encoder(1).fit(X, **groups),
        "skorch": lambda: reference.contrastive_net(network, rir, size.classes, VIEWS, size.steps).fit(X, rir),
    }


@pytest.mark.parametrize("implementation", [OURS, "skorch"])
def bench_fit(measure, fit, size, implementation):
    """Time contrastive training."""
    network, implementations = fit
    measure(implementations[implementation], group=f"fit, {network} network", count=size.steps, unit="step")


@pytest.fixture(scope="module")
def supervised(size: Size) -> dict[str, Callable[[], Any]]:
    """Return ways to fit the default encoder with a head, for one epoch."""
    X, y = noise(size.clips), np.random.default_rng(0).uniform(0.2, 1.0, size.clips)
    y_standardised = reference.standardised(y[:, None])

    def estimator(n_epochs: int) -> SupervisedRoomRegressor:
        return SupervisedRoomRegressor(max_epochs=n_epochs, validation_fraction=0, random_state=0)

    def module() -> nn.Module:
        return nn.Sequential(reference.encoder("compact"), reference.mlp())

    check_same_training(
        estimator(0).fit(X, y).net_.module_,
        module(),
        (nn.MSELoss(), nn.MSELoss()),
        X[:16],
        torch.from_numpy(y_standardised[:16]),
    )
    return {
        OURS: lambda: estimator(1).fit(X, y),
        "skorch": lambda: reference.regression_net(module(), 1).fit(X, y_standardised),
    }


@pytest.mark.parametrize("implementation", [OURS, "skorch"])
def bench_fit_supervised(measure, supervised, size, implementation):
    """Time encoder and head trained together."""
    measure(supervised[implementation], group="fit, supervised", count=-(-size.clips // 16), unit="step")


@pytest.fixture(scope="module")
def head(size: Size) -> dict[str, Callable[[], Any]]:
    """Return ways to fit a head on 1 000 embeddings."""
    X = np.random.default_rng(0).standard_normal((1_000, 64))
    y = np.exp(0.3 * X[:, 0])
    X_standardised, y_standardised = reference.standardised(X), reference.standardised(y[:, None])
    common = {"validation_fraction": 0, "random_state": 0}

    # With all rows in one batch their order does not matter, and the same weights follow from the same weights.
    first, fourth = (RoomRegressor(max_epochs=n, batch_size=1_000, lr=lr, **common).fit(X, y) for n, lr in [
        (1, 1e-12), (4, 1e-3),
    ])  # fmt: skip
    net = reference.regression_net(reference.mlp(), 4, 1_000, shuffle=False).initialize()
    reference.copy_weights(first.module_, net.module_)
    estimates = net.partial_fit(X_standardised, y_standardised).predict(X_standardised)[:, 0] * y.std() + y.mean()
    # Ours keeps the weights of the best epoch, here the last one.
    np.testing.assert_allclose(fourth.predict(X), estimates, rtol=1e-3)
    return {
        OURS: lambda: RoomRegressor(max_epochs=size.epochs, patience=size.epochs, **common).fit(X, y),
        "skorch": lambda: reference.regression_net(reference.mlp(), size.epochs).fit(X_standardised, y_standardised),
    }


@pytest.mark.parametrize("implementation", [OURS, "skorch"])
def bench_fit_head(measure, head, size, implementation):
    """Time a head on embeddings."""
    measure(head[implementation], group="fit, head on 1 000 embeddings", count=size.epochs, unit="epoch")
