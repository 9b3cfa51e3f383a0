"""What people would write without this package: the plain reference that `speed.py` measures against.

A skorch `NeuralNet` with its default `DataLoader`, float32, the spectrogram inside of the module, and
pytorch-metric-learning's `MPerClassSampler` and `SupConLoss`.
"""

from __future__ import annotations

import numpy as np
import torch
from pytorch_metric_learning.losses import SupConLoss
from pytorch_metric_learning.samplers import MPerClassSampler
from skorch import NeuralNet
from skorch.dataset import Dataset
from torch import nn


class PlainRoomCNN(nn.Module):
    """The paper's encoder and projection, layer by layer."""

    def __init__(self) -> None:
        super().__init__()
        kernels, strides = [(1, 4)] * 4 + [(2, 4)] * 2, [(1, 2)] * 5 + [(2, 2)]
        layers: list[nn.Module] = []
        for i, (kernel, stride) in enumerate(zip(kernels, strides, strict=True)):
            layers += [nn.Conv2d(5 if i else 1, 5, kernel, stride), nn.ReLU(), nn.BatchNorm2d(5)]
        self.encoder = nn.Sequential(*layers, nn.Flatten(), nn.Dropout(0.1), nn.Linear(2400, 64))
        self.projection = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 16))
        self.register_buffer("window", torch.hann_window(32))

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return embeddings."""
        spectrum = torch.stft(x, 32, 16, window=self.window, center=False, return_complex=True)
        level = (spectrum.abs() + 1e-8).log10()
        level = (level - level.mean((1, 2), keepdim=True)) / level.std((1, 2), keepdim=True)
        return nn.functional.normalize(self.encoder(level[:, None]), dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return projections."""
        return self.projection(self.embed(x))


class PlainPooledRoomCNN(nn.Module):
    """The pooled or the bandwise encoder and its projections, layer by layer: one stack of blocks for each group."""

    def __init__(self, weights: torch.Tensor, groups: tuple[int, ...] = (40,)) -> None:
        super().__init__()
        self.sizes, self.part = groups, 64 // len(groups)
        self.groups = nn.ModuleList(self._group(n_bands, self.part) for n_bands in groups)
        self.standardise = nn.BatchNorm1d(64, affine=False)
        lengths = [self.part] * len(groups) + [64] * (len(groups) > 1)
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(length, 32), nn.ReLU(), nn.Linear(32, 16)) for length in lengths
        )
        self.register_buffer("window", torch.hann_window(512))
        self.register_buffer("weights", weights)

    @staticmethod
    def _group(n_bands: int, n_outputs: int) -> nn.Module:
        channels, layers = [1, 32, 48, 64, 96, 128], []
        for i in range(5):
            kernel, stride = (3, 5) if i == 0 else (3, 3), 2 if i < 4 else 1
            padding = (1, 0) if i < 2 else (1, 1)
            layers += [
                nn.Conv2d(channels[i], channels[i + 1], kernel, stride, padding),
                nn.ReLU(),
                nn.BatchNorm2d(channels[i + 1]),
            ]
            n_bands = (n_bands - 1) // stride + 1
        last = nn.Sequential(nn.Dropout(0.1), nn.Linear(256 * n_bands, n_outputs))
        return nn.ModuleList([nn.Sequential(*layers), last])

    def embed(self, x: torch.Tensor) -> torch.Tensor:
        """Return embeddings."""
        x = x / x.square().mean(1, keepdim=True).sqrt()
        spectrum = torch.stft(x, 512, 128, window=self.window, center=False, return_complex=True)
        level = (self.weights @ spectrum.abs() ** 2 + 1e-6).log()
        level = (level - level.mean(2, keepdim=True)) / level.std((1, 2), keepdim=True)
        parts = []
        for (blocks, last), bands in zip(self.groups, level[:, None].split(self.sizes, dim=2), strict=True):
            features = blocks(bands).flatten(1, 2)
            parts.append(last(torch.cat([features.mean(2), (features.var(2, correction=0) + 1e-5).sqrt()], 1)))
        return nn.functional.normalize(self.standardise(torch.cat(parts, 1)), dim=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return projections: of one group (n, 16), of several (n, n_groups + 1, 16)."""
        embedding = self.embed(x)
        if len(self.sizes) == 1:
            return self.projections[0](embedding)
        parts = [nn.functional.normalize(part, dim=1) for part in embedding.split(self.part, dim=1)]
        return torch.stack([p(part) for p, part in zip(self.projections, [*parts, embedding], strict=True)], dim=1)


class _Loss(SupConLoss):
    """The loss, called as skorch calls it."""

    def forward(self, embeddings: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if embeddings.ndim == 2:
            return super().forward(embeddings, labels)
        return torch.stack([super(_Loss, self).forward(one, labels) for one in embeddings.unbind(1)]).mean()


def plain_net(module: nn.Module, labels: np.ndarray, steps: int, epochs: int) -> NeuralNet:
    """Return an untrained net for batches of 24 classes with 3 views."""
    return NeuralNet(
        module,
        criterion=_Loss(temperature=0.1),
        optimizer=torch.optim.Adam,
        lr=1e-3,
        max_epochs=epochs,
        batch_size=72,
        iterator_train__sampler=MPerClassSampler(labels, m=3, batch_size=72, length_before_new_iter=72 * steps),
        dataset=Dataset,
        train_split=None,
        verbose=0,
    )
