"""Networks: their common interface, spectrogram front ends, convolutional encoders, projection and head."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from roomacoustic_sk._torch.runtime import device_of, full_precision
from roomacoustic_sk._torch.spectrograms import BandSpectrogram, LogSpectrogram, Spectrogram
from roomacoustic_sk._torch.time_blocks import time_blocks
from roomacoustic_sk._validation import (
    LARGEST_LAYER,
    PER_CENT,
    ArgumentTypeError,
    ArgumentValueError,
    check_choice,
    check_layers,
    check_number,
    check_numbers,
    check_sample_rate,
    describe,
    door,
    restated,
)

__all__ = [
    "NETWORKS",
    "BandSpectrogram",
    "BandwiseRoomCNN",
    "CompactRoomCNN",
    "LogSpectrogram",
    "MLPHead",
    "PartwiseProjection",
    "PooledRoomCNN",
    "ProjectionHead",
    "RoomCNN",
    "RoomNetwork",
]

LONGEST_CLIP = 600  # s


def _check_clip(n_times: int, sample_rate: int, n_embedding: int, dropout: float) -> None:
    """Refuse what is no length of a clip, sampling rate, length of an embedding or share."""
    check_number(n_times, name="n_times", low=1, limit=LONGEST_CLIP * check_sample_rate(sample_rate), integer=True)
    check_layers(("n_embedding", n_embedding))
    check_number(dropout, name="dropout", low=0, high=1, fix=PER_CENT)


class RoomNetwork(nn.Module):
    """The interface of an encoder network, which maps waveforms (n, n_times) to embeddings (n, n_embedding).

    Estimators build a network by ``network(n_times, sample_rate=sample_rate)`` and use only the interface listed here.
    Derive your own network from this class to use the attributes. Any other module works as well; it is called with
    the number of samples, and with `sample_rate` only if it has that parameter.

    Parameters
    ----------
    n_times : int
        Number of samples in the segments that it is trained on.
    sample_rate : int
        Sampling rate, in Hz.

    Attributes
    ----------
    n_times, sample_rate : int
        As above.
    min_times : int
        Number of samples in the shortest clip that `forward` accepts: `n_times` unless the network pools over time.
    parts : tuple of int
        Lengths of the parts that make up the embedding. With two or more, the contrastive loss is also computed for
        each part; empty, or a single length, if there is only the whole embedding.
    TAKES_SPECTROGRAMS : bool
        Whether `forward` also accepts the output of the module `spectrogram` instead of waveforms, so that training
        computes it only once for each clip.
    COMPILING_PAYS : bool
        Whether compiling speeds up long training runs on a CPU.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from roomacoustic_sk.networks import RoomNetwork
    >>> class Levels(RoomNetwork):
    ...     def __init__(self, n_times, sample_rate):
    ...         super().__init__(n_times, sample_rate)
    ...         self.linear = nn.Linear(1, 8)
    ...
    ...     def forward(self, waveforms):
    ...         return self.linear(waveforms.square().mean(dim=1, keepdim=True).log())
    >>> Levels(16_000, 8_000)(torch.randn(2, 16_000)).shape
    torch.Size([2, 8])
    """

    TAKES_SPECTROGRAMS = False
    COMPILING_PAYS = False
    spectrogram: nn.Module

    def __init__(self, n_times: int, sample_rate: int) -> None:
        super().__init__()
        self.n_times, self.sample_rate = n_times, sample_rate
        self.min_times = n_times
        self.parts: tuple[int, ...] = ()

    @classmethod
    def shortest_clip(cls, sample_rate: int) -> int:
        """Return the minimum `n_times` that the network can be built for; raise if it does not support the rate."""
        return 1

    @property
    def front_end(self) -> nn.Module | None:
        """The module that computes spectrograms for `forward`, or None if it accepts waveforms only."""
        return self.spectrogram if self.TAKES_SPECTROGRAMS else None


def _block(
    n_in: int, n_out: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int] = (0, 0)
) -> nn.Sequential:
    """Convolution over (frequency, time), ReLU, batch normalisation: the paper's order."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, kernel, stride, padding), nn.ReLU(inplace=True), nn.BatchNorm2d(n_out))


class RoomCNN(RoomNetwork):
    """The paper's encoder: six convolutional blocks and one fully connected layer (Table 1).

    Parameters
    ----------
    n_times : int, default=64000
        Number of samples in a clip; 4 s at 16 kHz in the paper. The size of the last layer depends on it.
    n_embedding : int, default=64
        Length of the embedding.
    n_channels : int, default=5
        Number of channels in every block. The paper does not state it; 5 gives its 157 k parameters.
    dropout : float, default=0.1
        Dropout before the fully connected layer, in training mode.
    sample_rate : int, default=16000
        Sampling rate, in Hz. The paper defines the network at 16 kHz; other rates are refused.

    Attributes
    ----------
    MIN_TIMES : int
        Number of samples in the shortest clip that the six convolutions accept.

    Raises
    ------
    ValueError
        If a clip of `n_times` samples is too short for the six convolutions, or the sampling rate is not 16 kHz.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import RoomCNN
    >>> encoder = RoomCNN()
    >>> sum(p.numel() for p in encoder.parameters())
    154474
    >>> encoder(torch.randn(2, 64_000)).shape
    torch.Size([2, 64])
    """

    KERNELS = ((1, 4), (1, 4), (1, 4), (1, 4), (2, 4), (2, 4))
    STRIDES = ((1, 2), (1, 2), (1, 2), (1, 2), (1, 2), (2, 2))
    TAKES_SPECTROGRAMS = True
    MIN_TIMES = 32 + 16 * 189  # 190 frames leave one frame after the sixth block
    SAMPLE_RATE = 16_000  # Hz

    @door
    def __init__(
        self,
        n_times: int = 64_000,
        n_embedding: int = 64,
        n_channels: int = 5,
        dropout: float = 0.1,
        *,
        sample_rate: int = SAMPLE_RATE,
    ) -> None:
        _check_clip(n_times, sample_rate, n_embedding, dropout)
        check_layers(("n_channels", n_channels))
        super().__init__(n_times, sample_rate)
        if n_times < self.shortest_clip(sample_rate):
            raise ArgumentValueError(f"n_times must be at least {self.MIN_TIMES} samples, got {n_times}.")
        self.spectrogram = LogSpectrogram()
        channels = [1] + [n_channels] * len(self.KERNELS)
        self.blocks = nn.Sequential(*map(_block, channels[:-1], channels[1:], self.KERNELS, self.STRIDES))
        self.dropout = nn.Dropout(dropout)
        n_frequencies, n_frames = self.spectrogram.window // 2 + 1, self.spectrogram.n_frames(n_times)
        for kernel, stride in zip(self.KERNELS, self.STRIDES, strict=True):
            n_frequencies = (n_frequencies - kernel[0]) // stride[0] + 1
            n_frames = (n_frames - kernel[1]) // stride[1] + 1
        self.linear = nn.Linear(n_channels * n_frequencies * n_frames, n_embedding)

    @classmethod
    def shortest_clip(cls, sample_rate: int) -> int:
        """Return the minimum number of samples for the six convolutions."""
        if sample_rate != cls.SAMPLE_RATE:
            raise ArgumentValueError(
                f'sample_rate must be {cls.SAMPLE_RATE} Hz for network="paper", which the paper '
                f'defines in samples at that rate, got {sample_rate} Hz. Use network="compact" or "pooled", or '
                "resample."
            )
        return cls.MIN_TIMES

    def forward(self, waveforms: Tensor) -> Tensor:
        """Map waveforms (n, n_times), or their spectrograms, to unit-norm embeddings (n, n_embedding)."""
        if waveforms.ndim == 2 and waveforms.shape[1] != self.n_times:
            raise ValueError(
                f"RoomCNN: waveforms must have {self.n_times} samples, as its last layer requires, "
                f"got {waveforms.shape[1]}. PooledRoomCNN accepts clips of any length from 0.5 s."
            )
        spectrogram = self.spectrogram(waveforms) if waveforms.ndim == 2 else waveforms
        if spectrogram.device.type == "cpu":  # same result up to rounding, several times faster
            features = self.blocks[4:](time_blocks(spectrogram, self.blocks[:4])).flatten(1)
        else:
            features = self.blocks(spectrogram).flatten(1)
        with full_precision(features):
            return nn.functional.normalize(self.linear(self.dropout(features.float())), dim=1)


class _PooledBlocks(nn.Module):
    """Five convolutional blocks on a group of bands, pooling over time, and a linear layer.

    Parameters
    ----------
    n_bands, n_outputs : int
        Number of bands and of outputs.
    dropout : float
        Dropout before the linear layer.
    channels : tuple of int
        Number of channels in each block.
    padding : tuple of (int, int)
        Padding of each block along frequency and time.
    """

    KERNELS = ((3, 5), (3, 3), (3, 3), (3, 3), (3, 3))
    STRIDES = ((2, 2), (2, 2), (2, 2), (2, 2), (1, 1))

    def __init__(
        self,
        n_bands: int,
        n_outputs: int,
        dropout: float,
        channels: tuple[int, ...],
        padding: tuple[tuple[int, int], ...],
    ) -> None:
        super().__init__()
        blocks = nn.Sequential(*map(_block, (1, *channels[:-1]), channels, self.KERNELS, self.STRIDES, padding))
        # 1.5 times as fast on a CPU. torch's type hints allow this argument for tensors only.
        self.blocks: nn.Sequential = blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dropout = nn.Dropout(dropout)
        for stride in self.STRIDES:
            n_bands = (n_bands - 1) // stride[0] + 1
        self.linear = nn.Linear(2 * channels[-1] * n_bands, n_outputs)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Map spectrograms (n, 1, n_bands, n_frames) to outputs (n, n_outputs)."""
        features = self.blocks(spectrogram).flatten(1, 2)
        with full_precision(features):
            features = features.float()
            mean = features.mean(dim=2)
            variance = (features - mean[:, :, None]).square().mean(dim=2)
            # The small constant avoids the infinite gradient of the deviation at 0, which a dead channel would have.
            pooled = torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)
            return self.linear(self.dropout(pooled))


class PooledRoomCNN(RoomNetwork):
    """An encoder that pools mean and standard deviation over time, for clips of 0.5 s or more.

    Five convolutional blocks downsample time and frequency of a `BandSpectrogram` by 16 while the number of channels
    grows. A room affects speech in the same way throughout the clip, so the features of the last block are pooled into
    their mean and standard deviation over time. The components of the embedding are standardised over the training
    clips before the embedding is normalised to the unit sphere: otherwise all embeddings start, and largely remain,
    close together.

    Parameters
    ----------
    n_times : int, default=64000
        Only checked: the network does not depend on the clip's length. Every encoder has this parameter.
    n_embedding : int, default=64
        Length of the embedding.
    dropout : float, default=0.1
        Dropout before the fully connected layer, in training mode.
    sample_rate : int, default=16000
        Sampling rate, in Hz; 8 kHz or more.

    Attributes
    ----------
    parts : tuple of int
        Lengths of the parts of the embedding with a loss of their own; a single part, here.
    MIN_SECONDS : float
        Length of the shortest clip, in s.
    COMPILING_PAYS : bool
        True: compiling cuts a training step on a CPU to about two thirds of the time.

    Raises
    ------
    ValueError
        If `n_times` is below the shortest clip, `n_embedding` below the number of parts, or `sample_rate` below 8 kHz.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import PooledRoomCNN
    >>> encoder = PooledRoomCNN()
    >>> encoder(torch.randn(2, 64_000)).shape, encoder(torch.randn(2, 8_000)).shape
    (torch.Size([2, 64]), torch.Size([2, 64]))
    """

    GROUPS: tuple[int, ...] = (40,)
    """Number of bands in each group, from the lowest up; at low sampling rates the last group has fewer."""
    CHANNELS: tuple[int, ...] = (32, 48, 64, 96, 128)
    PADDING = ((1, 0), (1, 0), (1, 1), (1, 1), (1, 1))  # along time only as far as a clip of 0.5 s needs it
    HOP_SECONDS = BandSpectrogram.HOP_SECONDS
    TAKES_SPECTROGRAMS = True
    COMPILING_PAYS = True
    MIN_SECONDS = 0.5
    MIN_TIMES = 8_000  # at 16 kHz

    @door
    def __init__(
        self, n_times: int = 64_000, n_embedding: int = 64, dropout: float = 0.1, *, sample_rate: int = 16_000
    ) -> None:
        _check_clip(n_times, sample_rate, n_embedding, dropout)
        super().__init__(n_times, sample_rate)
        n_parts = len(self.GROUPS)
        self.min_times = self.shortest_clip(sample_rate)
        if n_times < self.min_times:
            raise ArgumentValueError(f"n_times must be at least {self.min_times} samples, got {n_times}.")
        if n_embedding < n_parts:
            raise ArgumentValueError(f"n_embedding must be at least {n_parts}, one for each part, got {n_embedding}.")
        self.spectrogram = BandSpectrogram(hop=round(self.HOP_SECONDS * sample_rate), sample_rate=sample_rate)
        self.bands_of_groups = [*self.GROUPS[:-1], self.spectrogram.n_bands - sum(self.GROUPS[:-1])]
        self.parts = tuple((n_embedding + i) // n_parts for i in range(n_parts))
        self.groups = nn.ModuleList(
            _PooledBlocks(bands, length, dropout, self.CHANNELS, self.PADDING)
            for bands, length in zip(self.bands_of_groups, self.parts, strict=True)
        )
        self.standardise = nn.BatchNorm1d(n_embedding, affine=False)

    @classmethod
    def shortest_clip(cls, sample_rate: int) -> int:
        """Return the number of samples in 0.5 s."""
        BandSpectrogram.check_rate(sample_rate)
        return round(cls.MIN_SECONDS * sample_rate)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Map waveforms (n, n_times), or their spectrograms, to unit-norm embeddings (n, n_embedding)."""
        if waveforms.ndim == 2 and waveforms.shape[1] < self.min_times:
            raise ValueError(
                f"{type(self).__name__}: waveforms must have at least {self.min_times} samples, "
                f"got {waveforms.shape[1]}."
            )
        spectrogram = self.spectrogram(waveforms) if waveforms.ndim == 2 else waveforms
        of_groups = spectrogram.split(self.bands_of_groups, dim=2)
        found = torch.cat([blocks(bands) for blocks, bands in zip(self.groups, of_groups, strict=True)], dim=1)
        with full_precision(found):
            return nn.functional.normalize(self.standardise(found), dim=1)


class BandwiseRoomCNN(PooledRoomCNN):
    """A `PooledRoomCNN` for each of four frequency ranges, each providing a quarter of the embedding.

    The ranges are about 60 to 220, 220 to 620, 620 to 2 000 and 2 000 to 7 600 Hz (to 3 900 Hz at 8 kHz). The
    contrastive loss is computed on each quarter of the embedding as well as the whole (`PartwiseProjection`). A loss on
    the full embedding alone rewards the cues that separate rooms most easily. Low-frequency decay is not one of them,
    because speech has little energy there; but broadband reverberation time is that of the octave that decays most
    slowly, usually the lowest.

    Parameters
    ----------
    n_times : int, default=64000
        Only checked, as in `PooledRoomCNN`.
    n_embedding : int, default=64
        Length of the embedding, 4 or more.
    dropout : float, default=0.1
        Dropout before the fully connected layers, in training mode.
    sample_rate : int, default=16000
        Sampling rate, in Hz; 8 kHz or more.

    Attributes
    ----------
    parts : tuple of int
        Lengths of the four parts of the embedding, from low to high frequencies.

    Raises
    ------
    ValueError
        As `PooledRoomCNN`.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import BandwiseRoomCNN
    >>> encoder = BandwiseRoomCNN()
    >>> encoder.parts, encoder(torch.randn(2, 64_000)).shape
    ((16, 16, 16, 16), torch.Size([2, 64]))
    """

    GROUPS = (4, 8, 12, 16)


class CompactRoomCNN(BandwiseRoomCNN):
    """A `BandwiseRoomCNN` at a third of its cost: frames twice as far apart, and fewer channels in the first blocks.

    A frame every 16 ms, of windows of 32 ms, still samples a decay of 0.1 s. The first blocks, whose outputs are the
    largest, take most of the time.

    Parameters
    ----------
    n_times : int, default=64000
        Only checked, as in `PooledRoomCNN`.
    n_embedding : int, default=64
        Length of the embedding, 4 or more.
    dropout : float, default=0.1
        Dropout before the fully connected layers, in training mode.
    sample_rate : int, default=16000
        Sampling rate, in Hz; 8 kHz or more.

    Raises
    ------
    ValueError
        As `PooledRoomCNN`.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import CompactRoomCNN
    >>> CompactRoomCNN()(torch.randn(2, 64_000)).shape
    torch.Size([2, 64])
    """

    CHANNELS = (24, 40, 64, 96, 128)
    PADDING = ((1, 1),) * 5
    HOP_SECONDS = 0.016


class ProjectionHead(nn.Sequential):
    """The projection P(e) = z to which the contrastive loss is applied (Sec. 3.1 of the paper).

    Parameters
    ----------
    n_embedding : int, default=64
        Length of the input embedding.
    n_hidden : int, default=32
        Number of neurons in the hidden layer. The paper's text states 128, but only 32 gives its 2 600 parameters.
    n_projection : int, default=16
        Length of the output vector; the loss normalises it.

    Examples
    --------
    >>> from roomacoustic_sk.networks import ProjectionHead
    >>> sum(p.numel() for p in ProjectionHead().parameters())
    2608
    """

    @door
    def __init__(self, n_embedding: int = 64, n_hidden: int = 32, n_projection: int = 16) -> None:
        check_layers(("n_embedding", n_embedding), ("n_hidden", n_hidden), ("n_projection", n_projection))
        super().__init__(nn.Linear(n_embedding, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_projection))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (n, n_embedding) to latent vectors (n, n_projection)."""
        with full_precision(embeddings):
            return super().forward(embeddings.float())


class PartwiseProjection(nn.Module):
    """A `ProjectionHead` for each part of an embedding, and one for the whole.

    Parameters
    ----------
    parts : sequence of int
        Lengths of the parts, in their order in the embedding.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import PartwiseProjection
    >>> PartwiseProjection([16, 16, 32])(torch.randn(2, 64)).shape
    torch.Size([2, 4, 16])
    """

    @door
    def __init__(self, parts: Sequence[int]) -> None:
        super().__init__()
        self.parts = check_numbers(parts, name="parts", low=1, high=LARGEST_LAYER, integer=True)
        self.heads = nn.ModuleList(ProjectionHead(length) for length in [*self.parts, sum(self.parts)])

    def forward(self, embeddings: Tensor) -> Tensor:
        """Map embeddings (n, n_embedding) to latent vectors (n, n_parts + 1, n_projection)."""
        parts = [nn.functional.normalize(part, dim=1) for part in embeddings.float().split(self.parts, dim=1)]
        return torch.stack([head(part) for head, part in zip(self.heads, [*parts, embeddings], strict=True)], dim=1)


class MLPHead(nn.Sequential):
    """The downstream network: two hidden layers on top of an embedding (Sec. 3.4 of the paper).

    Parameters
    ----------
    n_embedding : int, default=64
        Length of the input embedding.
    n_outputs : int, default=1
        Number of regression targets or of classes.
    n_hidden : int, default=256
        Number of neurons in each hidden layer.

    Examples
    --------
    >>> from roomacoustic_sk.networks import MLPHead
    >>> sum(p.numel() for p in MLPHead().parameters())
    82689
    """

    @door
    def __init__(self, n_embedding: int = 64, n_outputs: int = 1, n_hidden: int = 256) -> None:
        check_layers(("n_embedding", n_embedding), ("n_outputs", n_outputs), ("n_hidden", n_hidden))
        super().__init__(
            nn.Linear(n_embedding, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_outputs),
        )


NETWORKS: dict[str, type[RoomNetwork]] = {
    "paper": RoomCNN,
    "pooled": PooledRoomCNN,
    "bandwise": BandwiseRoomCNN,
    "compact": CompactRoomCNN,
}
"""The encoders that estimators accept by name."""


class _Adapted(RoomNetwork):
    """An adapter that gives a module which does not derive from `RoomNetwork` that interface."""

    def __init__(self, module: nn.Module, n_times: int, sample_rate: int) -> None:
        super().__init__(n_times, sample_rate)
        self.module: Any = module
        # The only place that looks for optional attributes of a module.
        self.min_times = getattr(module, "min_times", n_times)
        self.parts = tuple(getattr(module, "parts", ()))
        self.TAKES_SPECTROGRAMS = getattr(module, "TAKES_SPECTROGRAMS", False)
        self.COMPILING_PAYS = getattr(module, "COMPILING_PAYS", False)

    @property
    def front_end(self) -> nn.Module | None:
        return self.module.spectrogram if self.TAKES_SPECTROGRAMS else None

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.module(waveforms)


def _builder(network: str | Callable[..., nn.Module]) -> Callable[..., nn.Module]:
    return NETWORKS[network] if isinstance(network, str) else network


def shortest_clip(network: str | Callable[..., nn.Module], sample_rate: int) -> int:
    """Return the minimum number of samples that a network can be built for; 1 if it does not declare any."""
    builder = _builder(network)
    if isinstance(builder, type) and issubclass(builder, RoomNetwork):
        return builder.shortest_clip(sample_rate)
    return getattr(builder, "MIN_TIMES", 1)


STANDARDISATIONS = ("clip", "training_set")
"""Options of `standardise`."""


def build_network(
    network: str | Callable[..., nn.Module], n_times: int, sample_rate: int, standardise: str = "clip"
) -> RoomNetwork:
    """Build the network given by a `network` parameter, for segments of `n_times` samples."""
    builder = _builder(network)
    with restated("network must be a callable that builds a module for a number of samples"):
        signature = inspect.signature(builder)
        rate = {"sample_rate": sample_rate} if "sample_rate" in signature.parameters else {}
        signature.bind(n_times, **rate)
        built = builder(n_times, **rate)
    found = with_contract(built, n_times, sample_rate)
    if standardise == "training_set":
        if not isinstance(found.front_end, Spectrogram):
            raise ArgumentValueError(
                "standardise must be 'clip' for a network that does not take spectrograms of LogSpectrogram or "
                f"BandSpectrogram, got 'training_set' and a {type(built).__name__}."
            )
        found.front_end.keep_level()
    return found


def with_contract(network: nn.Module, n_times: int, sample_rate: int) -> RoomNetwork:
    """Return a `RoomNetwork` for this sampling rate unchanged, and any other module wrapped as one."""
    if not isinstance(network, nn.Module):
        raise ArgumentTypeError(f"network must build a torch.nn.Module, got {describe(network)}.")
    if not isinstance(network, RoomNetwork):
        return _Adapted(network, n_times, sample_rate)
    if network.sample_rate != sample_rate:
        raise ArgumentValueError(
            f"network must be made for sample_rate={sample_rate} Hz, got a {type(network).__name__} for "
            f"{network.sample_rate} Hz. Let its builder take n_times and sample_rate."
        )
    return network


def without_contract(network: RoomNetwork) -> nn.Module:
    """Return the module that was built, without the adapter around it, if any."""
    return network.module if isinstance(network, _Adapted) else network


def count_outputs(network: nn.Module, n_times: int) -> int:
    """Return the length of a network's embedding, found by a trial run; raise if its output is not an embedding."""
    network.eval()
    expected = "network must map waveforms (n, n_times) to features (n, n_features)"
    with torch.inference_mode(), restated(expected):
        output = network(torch.zeros(2, n_times, device=device_of(network)))
    if not isinstance(output, Tensor):
        raise ArgumentTypeError(f"{expected}, got {describe(output)}. Return only the features.")
    if output.ndim != 2 or len(output) != 2:
        raise ArgumentValueError(
            f"{expected}, got an output of shape {tuple(output.shape)} for an input of shape (2, {n_times})."
        )
    return output.shape[1]


def check_network(network: Any) -> None:
    """Refuse a `network` parameter that is neither the name of a network nor a callable that builds one."""
    if isinstance(network, nn.Module):
        given = type(network).__name__
        raise ArgumentTypeError(
            f"network must be a class that is called with the number of samples in a segment, got an instance of "
            f"{given}. Pass {given} itself."
        )
    if not callable(network):
        check_choice(network, list(NETWORKS), name="network")


def projection_for(network: RoomNetwork, n_features: int) -> nn.Module:
    """Return the projection between embedding and loss; with several parts, one for each part and for the whole."""
    if len(network.parts) < 2:
        return ProjectionHead(n_features)
    if sum(network.parts) != n_features:
        raise ArgumentValueError(
            f"network must have parts whose lengths sum to its {n_features} features, got {tuple(network.parts)}."
        )
    return PartwiseProjection(network.parts)
