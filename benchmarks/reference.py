"""Reference implementations: the same networks and trainings, as one would write them without this package.

skorch's nets with their default `DataLoader`, float32, the spectrogram inside of the module, and
pytorch-metric-learning's `MPerClassSampler` and `SupConLoss`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.samplers import MPerClassSampler
from skorch import NeuralNet, NeuralNetRegressor
from torch import Tensor, nn

from roomacoustic_sk.networks import BandSpectrogram, BandwiseRoomCNN, CompactRoomCNN, PooledRoomCNN

# --- Networks -----------------------------------------------------------------------------------------------------


def floor(window: int) -> float:
    """Return 80 dB below the mean power of a cell, at which the networks' spectrograms are cut off."""
    return 1e-8 * 0.375 * window


class PaperEncoder(nn.Module):
    """The paper's encoder, layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        kernels, strides = [(1, 4)] * 4 + [(2, 4)] * 2, [(1, 2)] * 5 + [(2, 2)]
        layers: list[nn.Module] = []
        for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
            layers += [nn.Conv2d(5 if i else 1, 5, kernel, stride), nn.ReLU(), nn.BatchNorm2d(5)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1), nn.Linear(2400, 64))
        self.register_buffer("window", torch.hann_window(32))

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings."""
        x = x / x.square().mean(1, keepdim=True).sqrt()
        spectrum = torch.stft(x, 32, 16, window=self.window, center=False, return_complex=True)
        level = (spectrum.abs() ** 2).clamp_min(floor(32)).log10()
        level = (level - level.mean((1, 2), keepdim=True)) / level.std((1, 2), keepdim=True)
        return nn.functional.normalize(self.layers(level[:, None]), dim=1)


class PooledEncoder(nn.Module):
    """The pooled encoder or one of those by bands, layer by layer: one stack of blocks for each group of bands."""

    def __init__(self, network: type[PooledRoomCNN]) -> None:
        super().__init__()
        sizes = network.GROUPS
        self.sizes, self.channels, self.hop = sizes, [1, *network.CHANNELS], round(network.HOP_SECONDS * 16_000)
        self.padding = network.PADDING
        self.groups = nn.ModuleList(self._group(n_bands, 64 // len(sizes)) for n_bands in sizes)
        self.standardise = nn.BatchNorm1d(64, affine=False)
        self.register_buffer("window", torch.hann_window(512))
        self.register_buffer("bands", BandSpectrogram().weights)

    def _group(self, n_bands: int, n_outputs: int) -> nn.ModuleList:
        layers: list[nn.Module] = []
        for i in range(5):
            kernel, stride = (3, 5) if i == 0 else (3, 3), 2 if i < 4 else 1
            convolution = nn.Conv2d(self.channels[i], self.channels[i + 1], kernel, stride, self.padding[i])
            layers += [convolution, nn.ReLU(), nn.BatchNorm2d(self.channels[i + 1])]
            n_bands = (n_bands - 1) // stride + 1
        return nn.ModuleList([nn.Sequential(*layers), nn.Dropout(0.1), nn.Linear(256 * n_bands, n_outputs)])

    def forward(self, x: Tensor) -> Tensor:
        """Return embeddings."""
        x = x / x.square().mean(1, keepdim=True).sqrt()
        spectrum = torch.stft(x, 512, self.hop, window=self.window, center=False, return_complex=True)
        level = (self.bands @ spectrum.abs() ** 2).clamp_min(floor(512)).log()
        level = (level - level.mean(2, keepdim=True)) / level.std((1, 2), keepdim=True)
        parts = []
        for (blocks, dropout, linear), bands in zip(self.groups, level[:, None].split(self.sizes, 2), strict=True):
            features = blocks(bands).flatten(1, 2)
            pooled = torch.cat([features.mean(2), (features.var(2, correction=0) + 1e-5).sqrt()], 1)
            parts.append(linear(dropout(pooled)))
        return nn.functional.normalize(self.standardise(torch.cat(parts, 1)), dim=1)


class Projection(nn.Module):
    """A projection of each part of the embedding, where there are several, and one of the whole."""

    def __init__(self, n_parts: int) -> None:
        super().__init__()
        self.length = 64 // n_parts
        lengths = [self.length] * n_parts + [64] if n_parts > 1 else [64]
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(length, 32), nn.ReLU(), nn.Linear(32, 16)) for length in lengths
        )

    def forward(self, embedding: Tensor) -> Tensor:
        """Return projections: (n, 16) of one part, (n, n_parts + 1, 16) of several."""
        if len(self.heads) == 1:
            return self.heads[0](embedding)
        parts = [nn.functional.normalize(part, dim=1) for part in embedding.split(self.length, dim=1)]
        return torch.stack([head(part) for head, part in zip(self.heads, [*parts, embedding], strict=True)], dim=1)


def mlp(n_inputs: int = 64) -> nn.Sequential:
    """Return the head of the paper: two hidden layers of 256."""
    layers = [nn.Linear(n_inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1)]
    return nn.Sequential(*layers)


POOLED = {"pooled": PooledRoomCNN, "bandwise": BandwiseRoomCNN, "compact": CompactRoomCNN}


def encoder(network: str) -> nn.Module:
    """Return an encoder by the name that the package gives it."""
    return PaperEncoder() if network == "paper" else PooledEncoder(POOLED[network])


def contrastive_module(network: str) -> nn.Sequential:
    """Return an encoder followed by its projection."""
    n_parts = 1 if network == "paper" else len(POOLED[network].GROUPS)
    return nn.Sequential(encoder(network), Projection(n_parts))


def copy_weights(source: nn.Module, target: nn.Module) -> None:
    """Copy parameters, which two modules have in the same order under different names."""
    with torch.no_grad():
        for theirs, ours in zip(source.parameters(), target.parameters(), strict=True):
            ours.copy_(theirs)


# --- Trainings ----------------------------------------------------------------------------------------------------


class ContrastiveLoss(SupConLoss):
    """The mean of the losses of all projections, called as skorch calls it."""

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of projections (n, 16) or (n, n_projections, 16)."""
        projections = embeddings.unbind(1) if embeddings.ndim == 3 else [embeddings]
        return torch.stack([super(ContrastiveLoss, self).forward(one, labels) for one in projections]).mean()


def contrastive_net(network: str, labels: NDArray[Any], n_classes: int, n_views: int, steps: int) -> NeuralNet:
    """Return an untrained net that trains for one epoch."""
    batch_size = n_classes * n_views
    return NeuralNet(
        contrastive_module(network),
        criterion=ContrastiveLoss(temperature=0.1),
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=1,
        batch_size=batch_size,
        iterator_train__sampler=MPerClassSampler(labels, n_views, batch_size, batch_size * steps),
        train_split=None,
        verbose=0,
    )


def regression_net(module: nn.Module, epochs: int, batch_size: int = 16, *, shuffle: bool = True) -> NeuralNetRegressor:
    """Return an untrained net for the mean squared error."""
    return NeuralNetRegressor(
        module,
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=epochs,
        batch_size=batch_size,
        iterator_train__shuffle=shuffle,
        train_split=None,
        verbose=0,
    )


def standardised(values: NDArray[Any]) -> NDArray[np.float32]:
    """Return columns of mean 0 and deviation 1."""
    return ((values - values.mean(axis=0)) / values.std(axis=0)).astype(np.float32)


def embed(module: nn.Module, clips: NDArray[np.float32]) -> NDArray[np.float32]:
    """Apply an encoder clip by clip."""
    module.eval()
    with torch.inference_mode():
        return torch.cat([module(torch.from_numpy(clip[None])) for clip in clips]).numpy()
