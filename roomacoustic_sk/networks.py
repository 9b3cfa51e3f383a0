"""The networks: spectrogram front end, convolutional encoders, projection and head."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from roomacoustic_sk._fused import time_blocks
from roomacoustic_sk._torch import full_precision

SPECTRUM_FLOOR_DB = -80.0
"""Spectrogram cells are floored at this level below the clip's mean power, in dB: digital silence has no logarithm."""

CLIPS_AT_ONCE = 4


def _at_unit_power(waveforms: Tensor) -> Tensor:
    """Bring each clip to a mean power of 1."""
    mean_power = waveforms.square().mean(dim=1, keepdim=True)
    return waveforms * mean_power.clamp_min(torch.finfo(waveforms.dtype).tiny).rsqrt()


def _floor(window: int) -> float:
    """Return the power below which cells of a unit-power clip's spectrogram are floored.

    A unit-power white signal has a mean cell power of the Hann window's energy, 3/8 of its length.
    """
    return 10 ** (SPECTRUM_FLOOR_DB / 10) * 0.375 * window


def _centred(level: Tensor) -> Tensor:
    """Take each clip's mean out of its spectrogram; from a constant, as of silence, exactly."""
    level = level - level[:, :1, :1]
    return level.sub_(level.mean(dim=(1, 2), keepdim=True))


def _deviation(centred: Tensor) -> Tensor:
    """Return the standard deviation of each clip's spectrogram, whose mean is 0: torch.std takes many times as long."""
    flat = centred.flatten(1)
    variance = torch.linalg.vecdot(flat, flat) / (flat.shape[1] - 1)
    return variance.sqrt().clamp_min(1e-6)[:, None, None]


def _few_at_once(transform: Callable[[Tensor], Tensor], waveforms: Tensor) -> Tensor:
    """Apply a transform clip by clip, on a CPU so few at once that what comes in between fits into its cache."""
    if waveforms.device.type != "cpu" or len(waveforms) <= CLIPS_AT_ONCE:
        return transform(waveforms)
    return torch.cat([transform(part) for part in waveforms.split(CLIPS_AT_ONCE)])


class LogSpectrogram(nn.Module):
    r"""Standardised log-magnitude spectrogram of waveforms (Sec. 3.3 of the paper).

    Each clip's spectrogram is brought to zero mean and unit variance, so it does not depend on the clip's level.

    Parameters
    ----------
    window : int, default=32
        Length of the Hann window, in samples.
    hop : int, default=16
        Samples from one frame to the next.

    Notes
    -----
    No padding: :math:`\lfloor (n - window) / hop \rfloor + 1` frames of window / 2 + 1 frequencies. The short-time
    transform of so short a window is computed as products with the windowed cosines and sines.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import LogSpectrogram
    >>> LogSpectrogram()(torch.randn(2, 64_000)).shape
    torch.Size([2, 1, 17, 3999])
    """

    basis: Tensor

    def __init__(self, window: int = 32, hop: int = 16) -> None:
        super().__init__()
        self.window = window
        self.hop = hop
        time = torch.arange(window, dtype=torch.float64)
        frequency = torch.arange(window // 2 + 1, dtype=torch.float64)[:, None]
        phase = 2 * math.pi * frequency * time / window
        hann = torch.hann_window(window, periodic=True, dtype=torch.float64)
        basis = torch.cat([phase.cos() * hann, -phase.sin() * hann])
        n_pieces = -(-window // hop)
        basis = nn.functional.pad(basis, (0, n_pieces * hop - window))
        self.register_buffer("basis", basis.unflatten(1, (n_pieces, hop)).transpose(0, 1).float(), persistent=False)

    def n_frames(self, n_times: int) -> int:
        """Return how many frames a clip of `n_times` samples has."""
        return (n_times - self.window) // self.hop + 1

    @torch.compiler.disable
    def forward(self, waveforms: Tensor) -> Tensor:
        """Return spectrograms of shape (n, 1, n_frequencies, n_frames) of waveforms of shape (n, n_times)."""
        with full_precision(waveforms):
            return _few_at_once(self._transform, waveforms)

    def _transform(self, waveforms: Tensor) -> Tensor:
        n, n_frames = len(waveforms), self.n_frames(waveforms.shape[1])
        n_needed = (n_frames + len(self.basis) - 1) * self.hop
        waveforms = _at_unit_power(waveforms)[:, :n_needed]
        if waveforms.shape[1] < n_needed:  # the last piece of the last frame reaches beyond the end, where it is 0
            waveforms = nn.functional.pad(waveforms, (0, n_needed - waveforms.shape[1]))
        # A frame is made of pieces as long as the hop, so that nothing is copied to lay out overlapping frames.
        pieces = waveforms.unflatten(1, (-1, self.hop)).transpose(1, 2)
        first, *others = self.basis.unsqueeze(1).expand(-1, n, -1, -1)
        spectrum = first @ pieces[:, :, :n_frames]
        for i, basis in enumerate(others, start=1):
            spectrum.baddbmm_(basis, pieces[:, :, i : i + n_frames])
        real, imaginary = spectrum.chunk(2, dim=1)
        # The logarithm of the magnitude but for a factor of 2 that the standardisation removes.
        level = real.square().addcmul_(imaginary, imaginary).clamp_min_(_floor(self.window)).log_()
        level = _centred(level)
        return (level / _deviation(level))[:, None]


def _block(
    n_in: int, n_out: int, kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int] = (0, 0)
) -> nn.Sequential:
    """Convolution over (frequency, time), ReLU, batch normalisation: the paper's order."""
    return nn.Sequential(nn.Conv2d(n_in, n_out, kernel, stride, padding), nn.ReLU(inplace=True), nn.BatchNorm2d(n_out))


class RoomCNN(nn.Module):
    """The paper's encoder: six convolutional blocks and one fully connected layer (Table 1).

    Parameters
    ----------
    n_times : int, default=64000
        Samples in a clip; 4 s at 16 kHz in the paper. The last layer is tied to it.
    n_embedding : int, default=64
        Length of the embedding.
    n_channels : int, default=5
        Channels of every block. The paper does not say; 5 is what gives its 157 k parameters.
    dropout : float, default=0.1
        Dropout before the fully connected layer, in training mode.

    Attributes
    ----------
    MIN_TIMES : int
        Samples in the shortest clip that the six convolutions accept.
    TAKES_SPECTROGRAMS : bool
        True: training may pass what `spectrogram` gave instead of waveforms, so that it is computed only once.

    Raises
    ------
    ValueError
        If a clip of `n_times` samples is too short for the six convolutions.

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

    def __init__(self, n_times: int = 64_000, n_embedding: int = 64, n_channels: int = 5, dropout: float = 0.1) -> None:
        super().__init__()
        if n_times < self.MIN_TIMES:
            raise ValueError(f"RoomCNN: n_times must be at least {self.MIN_TIMES} samples, got {n_times}.")
        self.n_times = self.min_times = n_times
        self.spectrogram = LogSpectrogram()
        channels = [1] + [n_channels] * len(self.KERNELS)
        self.blocks = nn.Sequential(*map(_block, channels[:-1], channels[1:], self.KERNELS, self.STRIDES))
        self.dropout = nn.Dropout(dropout)
        n_frequencies, n_frames = self.spectrogram.window // 2 + 1, self.spectrogram.n_frames(n_times)
        for kernel, stride in zip(self.KERNELS, self.STRIDES, strict=True):
            n_frequencies = (n_frequencies - kernel[0]) // stride[0] + 1
            n_frames = (n_frames - kernel[1]) // stride[1] + 1
        self.linear = nn.Linear(n_channels * n_frequencies * n_frames, n_embedding)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return unit-norm embeddings (n, n_embedding) of waveforms (n, n_times), or of their spectrograms."""
        if waveforms.ndim == 2 and waveforms.shape[1] != self.n_times:
            raise ValueError(
                f"RoomCNN: waveforms must have {self.n_times} samples, which its last layer is tied to, "
                f"got {waveforms.shape[1]}. PooledRoomCNN takes clips of any length."
            )
        spectrogram = self.spectrogram(waveforms) if waveforms.ndim == 2 else waveforms
        if spectrogram.device.type == "cpu":  # the same numbers but for rounding, several times faster
            features = self.blocks[4:](time_blocks(spectrogram, self.blocks[:4])).flatten(1)
        else:
            features = self.blocks(spectrogram).flatten(1)
        with full_precision(features):
            return nn.functional.normalize(self.linear(self.dropout(features.float())), dim=1)


class BandSpectrogram(nn.Module):
    r"""Standardised log-power spectrogram in bands that are narrow at low frequencies, each without its mean over time.

    Each clip's spectrogram is brought to unit variance, so it does not depend on the clip's level. A band's mean over
    time holds the voice's and the microphone's colour; the room shows in how levels rise and fall, so the mean is
    taken out.

    Parameters
    ----------
    window : int, default=512
        Length of the Hann window, in samples: 32 ms at 16 kHz, which tells the octave bands from 125 Hz up apart.
    hop : int, default=128
        Samples from one frame to the next.
    n_bands : int, default=40
        Triangular bands, evenly spaced in :math:`\ln(1 + f / 300\,\mathrm{Hz})` from 60 Hz to 7.6 kHz.
    sample_rate : int, default=16000
        Sampling rate, in Hz.

    Notes
    -----
    No padding: :math:`\lfloor (n - window) / hop \rfloor + 1` frames.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import BandSpectrogram
    >>> BandSpectrogram()(torch.randn(2, 64_000)).shape
    torch.Size([2, 1, 40, 497])
    """

    LOWEST, HIGHEST, CORNER = 60.0, 7600.0, 300.0  # Hz; below the corner frequency bands are about evenly spaced
    hann: Tensor
    weights: Tensor

    def __init__(self, window: int = 512, hop: int = 128, n_bands: int = 40, sample_rate: int = 16_000) -> None:
        super().__init__()
        self.window = window
        self.hop = hop
        self.n_bands = n_bands
        hann = torch.hann_window(window, periodic=True, dtype=torch.float64)
        self.register_buffer("hann", hann.float(), persistent=False)
        self.register_buffer("weights", self._bands(sample_rate).float(), persistent=False)

    def _bands(self, sample_rate: int) -> Tensor:
        """Return the share of each frequency bin in each band, shape (n_bands, n_bins)."""
        bins = torch.arange(self.window // 2 + 1, dtype=torch.float64) * sample_rate / self.window
        low, high = (math.log1p(f / self.CORNER) for f in (self.LOWEST, self.HIGHEST))
        edges = self.CORNER * torch.linspace(low, high, self.n_bands + 2, dtype=torch.float64).expm1()
        below, centre, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        weights = torch.minimum((bins - below) / (centre - below), (above - bins) / (above - centre)).clamp_min(0)
        # The lowest bands may lie between two bins: each has at least the nearest one.
        nearest = (bins - centre).abs().argmin(dim=1, keepdim=True)
        weights.scatter_(1, nearest, weights.gather(1, nearest).clamp_min(0.5))
        return weights / weights.sum(dim=1, keepdim=True)

    @torch.compiler.disable
    def forward(self, waveforms: Tensor) -> Tensor:
        """Return spectrograms of shape (n, 1, n_bands, n_frames) of waveforms of shape (n, n_times)."""
        with full_precision(waveforms):
            return _few_at_once(self._transform, waveforms)

    def _transform(self, waveforms: Tensor) -> Tensor:
        waveforms = _at_unit_power(waveforms)
        # torch.stft lays frames out along the last axis, which makes all that follows read memory in leaps.
        frames = waveforms.unfold(1, self.window, self.hop) * self.hann
        real, imaginary = torch.view_as_real(torch.fft.rfft(frames)).unbind(-1)
        power = real.square().addcmul_(imaginary, imaginary) @ self.weights.T
        level = power.transpose(1, 2).clamp_min(_floor(self.window)).log()
        deviation = _deviation(_centred(level))
        return ((level - level.mean(dim=2, keepdim=True)) / deviation)[:, None]


class _PooledBlocks(nn.Module):
    """Five convolutional blocks on some bands, whose features are summed up over time, and a linear layer."""

    CHANNELS = (32, 48, 64, 96, 128)
    KERNELS = ((3, 5), (3, 3), (3, 3), (3, 3), (3, 3))
    STRIDES = ((2, 2), (2, 2), (2, 2), (2, 2), (1, 1))
    PADDING = ((1, 0), (1, 0), (1, 1), (1, 1), (1, 1))  # along time only where a clip of 0.5 s needs it

    def __init__(self, n_bands: int, n_outputs: int, dropout: float) -> None:
        super().__init__()
        n_in = (1, *self.CHANNELS[:-1])
        blocks = nn.Sequential(*map(_block, n_in, self.CHANNELS, self.KERNELS, self.STRIDES, self.PADDING))
        # Half again as fast on a CPU. torch's types know this argument for tensors alone.
        self.blocks: nn.Sequential = blocks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.dropout = nn.Dropout(dropout)
        for stride in self.STRIDES:
            n_bands = (n_bands - 1) // stride[0] + 1
        self.linear = nn.Linear(2 * self.CHANNELS[-1] * n_bands, n_outputs)

    def forward(self, spectrogram: Tensor) -> Tensor:
        """Return numbers (n, n_outputs) of spectrograms (n, 1, n_bands, n_frames)."""
        features = self.blocks(spectrogram).flatten(1, 2)
        with full_precision(features):
            features = features.float()
            mean = features.mean(dim=2)
            variance = (features - mean[:, :, None]).square().mean(dim=2)
            # The deviation's gradient is infinite at 0, where a channel is dead: hence the small constant.
            pooled = torch.cat([mean, (variance + 1e-5).sqrt()], dim=1)
            return self.linear(self.dropout(pooled))


class PooledRoomCNN(nn.Module):
    """An encoder that pools mean and deviation over time, for clips of any length from 0.5 s up.

    Five convolutional blocks shorten time and frequency of a `BandSpectrogram` by 16 while the channels grow. What a
    room does to speech is the same at any time in the clip, so the features of the last block are summed up by their
    mean and standard deviation over time. The embedding's numbers are standardised over the training clips before they
    are brought to the unit sphere: otherwise all embeddings begin, and largely remain, close to each other.

    Parameters
    ----------
    n_times : int, default=64000
        Ignored but for a check: the clip's length does not matter here. Every encoder takes it.
    n_embedding : int, default=64
        Length of the embedding.
    dropout : float, default=0.1
        Dropout before the fully connected layer, in training mode.

    Attributes
    ----------
    parts : tuple of int
        Lengths of the parts of the embedding that stand for themselves; one part, here.
    MIN_TIMES : int
        Samples in the shortest clip, 0.5 s at 16 kHz.
    TAKES_SPECTROGRAMS : bool
        True: training may pass what `spectrogram` gave instead of waveforms, so that it is computed only once.
    COMPILING_PAYS : bool
        True: on a CPU a compiled training step takes about two thirds of the time.

    Raises
    ------
    ValueError
        If `n_times` is below `MIN_TIMES`, or `n_embedding` below the number of parts.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import PooledRoomCNN
    >>> encoder = PooledRoomCNN()
    >>> encoder(torch.randn(2, 64_000)).shape, encoder(torch.randn(2, 8_000)).shape
    (torch.Size([2, 64]), torch.Size([2, 64]))
    """

    GROUPS: tuple[int, ...] = (40,)
    """Bands seen together, from the lowest up."""
    TAKES_SPECTROGRAMS = True
    COMPILING_PAYS = True
    MIN_TIMES = 8_000

    def __init__(self, n_times: int = 64_000, n_embedding: int = 64, dropout: float = 0.1) -> None:
        super().__init__()
        name, n_parts = type(self).__name__, len(self.GROUPS)
        if n_times < self.MIN_TIMES:
            raise ValueError(f"{name}: n_times must be at least {self.MIN_TIMES} samples, got {n_times}.")
        if n_embedding < n_parts:
            raise ValueError(f"{name}: n_embedding must be at least {n_parts}, one for each part, got {n_embedding}.")
        self.min_times = self.MIN_TIMES
        self.spectrogram = BandSpectrogram()
        self.parts = tuple((n_embedding + i) // n_parts for i in range(n_parts))
        self.groups = nn.ModuleList(
            _PooledBlocks(bands, length, dropout) for bands, length in zip(self.GROUPS, self.parts, strict=True)
        )
        self.standardise = nn.BatchNorm1d(n_embedding, affine=False)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return unit-norm embeddings (n, n_embedding) of waveforms (n, n_times), or of their spectrograms."""
        if waveforms.ndim == 2 and waveforms.shape[1] < self.MIN_TIMES:
            raise ValueError(
                f"{type(self).__name__}: waveforms must have at least {self.MIN_TIMES} samples, "
                f"got {waveforms.shape[1]}."
            )
        spectrogram = self.spectrogram(waveforms) if waveforms.ndim == 2 else waveforms
        of_groups = spectrogram.split(self.GROUPS, dim=2)
        found = torch.cat([blocks(bands) for blocks, bands in zip(self.groups, of_groups, strict=True)], dim=1)
        with full_precision(found):
            return nn.functional.normalize(self.standardise(found), dim=1)


class BandwiseRoomCNN(PooledRoomCNN):
    """A `PooledRoomCNN` for each of four frequency ranges, each with a quarter of the embedding to itself.

    The ranges are about 60 to 220, 220 to 620, 620 to 2 000 and 2 000 to 7 600 Hz. The contrastive loss is asked of
    every quarter of the embedding on its own, besides the whole (`PartwiseProjection`). A loss on the whole alone is
    met by what tells rooms apart most easily, and that is not the decay at low frequencies, of which speech shows
    little; but broadband reverberation time is that of the octave that decays most slowly, usually the lowest.

    Parameters
    ----------
    n_times : int, default=64000
        Ignored but for a check, as in `PooledRoomCNN`.
    n_embedding : int, default=64
        Length of the embedding, 4 or more.
    dropout : float, default=0.1
        Dropout before the fully connected layers, in training mode.

    Attributes
    ----------
    parts : tuple of int
        Lengths of the four parts of the embedding, from low frequencies to high ones.

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


class ProjectionHead(nn.Sequential):
    """The projection P(e) = z on which the contrastive loss works (Sec. 3.1 of the paper).

    Parameters
    ----------
    n_embedding : int, default=64
        Length of the embedding that comes in.
    n_hidden : int, default=32
        Neurons of the hidden layer. The paper's text says 128, but only 32 gives its 2 600 parameters.
    n_projection : int, default=16
        Length of the latent vector that goes out; the loss normalises it.

    Examples
    --------
    >>> from roomacoustic_sk.networks import ProjectionHead
    >>> sum(p.numel() for p in ProjectionHead().parameters())
    2608
    """

    def __init__(self, n_embedding: int = 64, n_hidden: int = 32, n_projection: int = 16) -> None:
        super().__init__(nn.Linear(n_embedding, n_hidden), nn.ReLU(), nn.Linear(n_hidden, n_projection))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return latent vectors of shape (n, n_projection) of embeddings of shape (n, n_embedding)."""
        with full_precision(embeddings):
            return super().forward(embeddings.float())


class PartwiseProjection(nn.Module):
    """A `ProjectionHead` for each part of an embedding, and one for the whole.

    Parameters
    ----------
    parts : sequence of int
        Lengths of the parts, which make up the embedding one after the other.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import PartwiseProjection
    >>> PartwiseProjection([16, 16, 32])(torch.randn(2, 64)).shape
    torch.Size([2, 4, 16])
    """

    def __init__(self, parts: Sequence[int]) -> None:
        super().__init__()
        self.parts = list(parts)
        self.heads = nn.ModuleList(ProjectionHead(length) for length in [*self.parts, sum(self.parts)])

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return latent vectors of shape (n, n_parts + 1, n_projection) of embeddings of shape (n, n_embedding)."""
        parts = [nn.functional.normalize(part, dim=1) for part in embeddings.float().split(self.parts, dim=1)]
        return torch.stack([head(part) for head, part in zip(self.heads, [*parts, embeddings], strict=True)], dim=1)


class MLPHead(nn.Sequential):
    """The downstream network: two hidden layers on top of an embedding (Sec. 3.4 of the paper).

    Parameters
    ----------
    n_embedding : int, default=64
        Length of the embedding that comes in.
    n_outputs : int, default=1
        Targets of a regression, or classes.
    n_hidden : int, default=256
        Neurons of each hidden layer.

    Examples
    --------
    >>> from roomacoustic_sk.networks import MLPHead
    >>> sum(p.numel() for p in MLPHead().parameters())
    82689
    """

    def __init__(self, n_embedding: int = 64, n_outputs: int = 1, n_hidden: int = 256) -> None:
        super().__init__(
            nn.Linear(n_embedding, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_hidden),
            nn.ReLU(),
            nn.Linear(n_hidden, n_outputs),
        )


NETWORKS: dict[str, Callable[[int], nn.Module]] = {
    "paper": RoomCNN,
    "pooled": PooledRoomCNN,
    "bandwise": BandwiseRoomCNN,
}
"""The encoders that estimators know by name; each is called with the number of samples in a segment."""
