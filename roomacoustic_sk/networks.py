"""The networks: their contract, spectrogram front ends, convolutional encoders, projection and head."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from roomacoustic_sk._torch.runtime import full_precision
from roomacoustic_sk._torch.time_blocks import time_blocks
from roomacoustic_sk._validation import ArgumentTypeError, ArgumentValueError, check_choice, describe, door

__all__ = [
    "NETWORKS",
    "BandSpectrogram",
    "BandwiseRoomCNN",
    "LogSpectrogram",
    "MLPHead",
    "PartwiseProjection",
    "PooledRoomCNN",
    "ProjectionHead",
    "RoomCNN",
    "RoomNetwork",
]

SPECTRUM_FLOOR_DB = -80.0
"""Spectrogram cells are floored at this level below the clip's mean power, in dB: digital silence has no logarithm."""

CLIPS_AT_ONCE = 4


class RoomNetwork(nn.Module):
    """The contract of an encoder network: waveforms (n, n_times) in, embeddings (n, n_embedding) out.

    Estimators build a network by ``network(n_times, sample_rate=sample_rate)`` and ask of it what is listed here,
    nothing else. Derive your own network from this class to use the attributes; any other module works as well, and
    is then called with the number of samples alone.

    Parameters
    ----------
    n_times : int
        Samples in the segments that it is trained on.
    sample_rate : int
        Sampling rate, in Hz.

    Attributes
    ----------
    n_times, sample_rate : int
        As above.
    min_times : int
        Samples in the shortest clip that `forward` takes: `n_times` unless the network pools over time.
    parts : tuple of int
        Lengths of the parts that make up the embedding, each of which has a contrastive loss of its own besides the
        whole; empty, or one length, where there is only the whole.
    TAKES_SPECTROGRAMS : bool
        Whether `forward` takes the output of the module `spectrogram` instead of waveforms, so that training computes
        it only once for each clip.
    COMPILING_PAYS : bool
        Whether long trainings on a CPU are faster compiled.

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
        """Return the fewest samples that such a network can be built for; raise where it is not made for the rate."""
        return 1

    @property
    def front_end(self) -> nn.Module | None:
        """The module that computes the spectrograms that `forward` takes, if it takes any."""
        return self.spectrogram if self.TAKES_SPECTROGRAMS else None


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


class RoomCNN(RoomNetwork):
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
    sample_rate : int, default=16000
        Sampling rate, in Hz. The paper defines the network at 16 kHz: others are refused.

    Attributes
    ----------
    MIN_TIMES : int
        Samples in the shortest clip that the six convolutions accept.

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
        """Return the fewest samples that the six convolutions accept."""
        if sample_rate != cls.SAMPLE_RATE:
            raise ArgumentValueError(
                f'sample_rate must be {cls.SAMPLE_RATE} Hz for network="paper", which the paper '
                f'defines in samples at that rate, got {sample_rate} Hz. Use network="bandwise" or "pooled", or '
                "resample."
            )
        return cls.MIN_TIMES

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
    window : int, optional
        Length of the Hann window, in samples; 32 ms by default, which tells the octave bands from 125 Hz up apart.
    hop : int, optional
        Samples from one frame to the next; 8 ms by default.
    n_bands : int, default=40
        Triangular bands, evenly spaced in :math:`\ln(1 + f / 300\,\mathrm{Hz})` from 60 Hz to 7.6 kHz. Those that
        reach beyond half the sampling rate are left out.
    sample_rate : int, default=16000
        Sampling rate, in Hz; 8 kHz or more.

    Attributes
    ----------
    n_bands : int
        Bands that there are at this sampling rate: 40 of 40 from 15.2 kHz up, 31 at 8 kHz.

    Raises
    ------
    ValueError
        If the sampling rate is below 8 kHz.

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
    WINDOW_SECONDS, HOP_SECONDS = 0.032, 0.008
    LOWEST_RATE = 8_000  # Hz; the rate of telephones, which still has bands in all ranges of `BandwiseRoomCNN`
    hann: Tensor
    weights: Tensor

    @door
    def __init__(
        self, window: int | None = None, hop: int | None = None, n_bands: int = 40, sample_rate: int = 16_000
    ) -> None:
        super().__init__()
        self.check_rate(sample_rate)
        self.window = round(self.WINDOW_SECONDS * sample_rate) if window is None else window
        self.hop = round(self.HOP_SECONDS * sample_rate) if hop is None else hop
        self.n_fft = 2 * next_fast_len(-(-self.window // 2), real=True)  # the window itself at 8, 16 and 48 kHz
        hann = torch.hann_window(self.window, periodic=True, dtype=torch.float64)
        self.register_buffer("hann", hann.float(), persistent=False)
        edges = self.band_edges(sample_rate, n_bands)
        self.n_bands = len(edges) - 2
        self.register_buffer("weights", self._bands(edges, sample_rate).float(), persistent=False)

    @classmethod
    def check_rate(cls, sample_rate: int) -> None:
        """Refuse sampling rates at which too few of the bands are left."""
        if sample_rate < cls.LOWEST_RATE:
            raise ArgumentValueError(
                f"sample_rate must be at least {cls.LOWEST_RATE} Hz, got {sample_rate} Hz. Resample."
            )

    @classmethod
    def band_edges(cls, sample_rate: int, n_bands: int = 40) -> Tensor:
        """Return the edges below half the sampling rate, in Hz; a band reaches from one to the next but one."""
        low, high = (math.log1p(f / cls.CORNER) for f in (cls.LOWEST, cls.HIGHEST))
        edges = cls.CORNER * torch.linspace(low, high, n_bands + 2, dtype=torch.float64).expm1()
        return edges[edges < sample_rate / 2]

    def _bands(self, edges: Tensor, sample_rate: int) -> Tensor:
        """Return the share of each frequency bin in each band, shape (n_bands, n_bins)."""
        bins = torch.arange(self.n_fft // 2 + 1, dtype=torch.float64) * sample_rate / self.n_fft
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
        real, imaginary = torch.view_as_real(torch.fft.rfft(frames, self.n_fft)).unbind(-1)
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


class PooledRoomCNN(RoomNetwork):
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
    sample_rate : int, default=16000
        Sampling rate, in Hz; 8 kHz or more.

    Attributes
    ----------
    parts : tuple of int
        Lengths of the parts of the embedding that stand for themselves; one part, here.
    MIN_SECONDS : float
        Length of the shortest clip, in s.
    COMPILING_PAYS : bool
        True: on a CPU a compiled training step takes about two thirds of the time.

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
    """Bands seen together, from the lowest up; at low sampling rates the last group has fewer."""
    TAKES_SPECTROGRAMS = True
    COMPILING_PAYS = True
    MIN_SECONDS = 0.5
    MIN_TIMES = 8_000  # at 16 kHz

    @door
    def __init__(
        self, n_times: int = 64_000, n_embedding: int = 64, dropout: float = 0.1, *, sample_rate: int = 16_000
    ) -> None:
        super().__init__(n_times, sample_rate)
        n_parts = len(self.GROUPS)
        self.min_times = self.shortest_clip(sample_rate)
        if n_times < self.min_times:
            raise ArgumentValueError(f"n_times must be at least {self.min_times} samples, got {n_times}.")
        if n_embedding < n_parts:
            raise ArgumentValueError(f"n_embedding must be at least {n_parts}, one for each part, got {n_embedding}.")
        self.spectrogram = BandSpectrogram(sample_rate=sample_rate)
        self.bands_of_groups = [*self.GROUPS[:-1], self.spectrogram.n_bands - sum(self.GROUPS[:-1])]
        self.parts = tuple((n_embedding + i) // n_parts for i in range(n_parts))
        self.groups = nn.ModuleList(
            _PooledBlocks(bands, length, dropout)
            for bands, length in zip(self.bands_of_groups, self.parts, strict=True)
        )
        self.standardise = nn.BatchNorm1d(n_embedding, affine=False)

    @classmethod
    def shortest_clip(cls, sample_rate: int) -> int:
        """Return the samples in 0.5 s."""
        BandSpectrogram.check_rate(sample_rate)
        return round(cls.MIN_SECONDS * sample_rate)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Return unit-norm embeddings (n, n_embedding) of waveforms (n, n_times), or of their spectrograms."""
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
    """A `PooledRoomCNN` for each of four frequency ranges, each with a quarter of the embedding to itself.

    The ranges are about 60 to 220, 220 to 620, 620 to 2 000 and 2 000 to 7 600 Hz (to 3 900 Hz at 8 kHz). The
    contrastive loss is computed on every quarter of the embedding, besides the whole (`PartwiseProjection`). A loss on
    the full embedding alone rewards the cues that separate rooms most easily. Low-frequency decay is not one of them,
    because speech has little energy there; but broadband reverberation time is that of the octave that decays most
    slowly, usually the lowest.

    Parameters
    ----------
    n_times : int, default=64000
        Ignored but for a check, as in `PooledRoomCNN`.
    n_embedding : int, default=64
        Length of the embedding, 4 or more.
    dropout : float, default=0.1
        Dropout before the fully connected layers, in training mode.
    sample_rate : int, default=16000
        Sampling rate, in Hz; 8 kHz or more.

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


NETWORKS: dict[str, type[RoomNetwork]] = {
    "paper": RoomCNN,
    "pooled": PooledRoomCNN,
    "bandwise": BandwiseRoomCNN,
}
"""The encoders that estimators know by name."""


class _Adapted(RoomNetwork):
    """A module that does not derive from `RoomNetwork`, with the contract around it."""

    def __init__(self, module: nn.Module, n_times: int, sample_rate: int) -> None:
        super().__init__(n_times, sample_rate)
        self.module: Any = module
        # The one place that looks for attributes which a module may have or lack.
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
    """Return the fewest samples that a network can be built for; 1 where it does not say."""
    builder = _builder(network)
    if isinstance(builder, type) and issubclass(builder, RoomNetwork):
        return builder.shortest_clip(sample_rate)
    return getattr(builder, "MIN_TIMES", 1)


def build_network(network: str | Callable[..., nn.Module], n_times: int, sample_rate: int) -> RoomNetwork:
    """Return the network that a `network` parameter means, for segments of `n_times` samples."""
    builder = _builder(network)
    knows_the_rate = "sample_rate" in inspect.signature(builder).parameters
    built = builder(n_times, sample_rate=sample_rate) if knows_the_rate else builder(n_times)
    return with_contract(built, n_times, sample_rate)


def with_contract(network: nn.Module, n_times: int, sample_rate: int) -> RoomNetwork:
    """Return a network that keeps the contract at this sampling rate as it is, another with the contract around it."""
    if not isinstance(network, nn.Module):
        raise ArgumentTypeError(f"network must build a torch.nn.Module, got {describe(network)}.")
    if not isinstance(network, RoomNetwork):
        return _Adapted(network, n_times, sample_rate)
    if network.sample_rate != sample_rate:
        raise ArgumentValueError(
            f"network must be made for sample_rate={sample_rate} Hz, got a {type(network).__name__} for "
            f"{network.sample_rate} Hz. Let what builds it take n_times and sample_rate."
        )
    return network


def without_contract(network: RoomNetwork) -> nn.Module:
    """Return the module that was built, without what may have been put around it."""
    return network.module if isinstance(network, _Adapted) else network


def count_outputs(network: nn.Module, n_times: int) -> int:
    """Return the length of a network's embedding, by a trial, or raise if its output is no embedding."""
    network.eval()
    with torch.inference_mode():
        output = network(torch.zeros(2, n_times))
    expected = "network must map waveforms (n, n_times) to features (n, n_features)"
    if not isinstance(output, Tensor):
        raise ArgumentTypeError(f"{expected}, got {describe(output)}. Return the features alone.")
    if output.ndim != 2 or len(output) != 2:
        raise ArgumentValueError(
            f"{expected}, got an output of shape {tuple(output.shape)} for an input of shape (2, {n_times})."
        )
    return output.shape[1]


def check_network(network: Any) -> None:
    """Refuse a `network` parameter that is neither the name of a network nor builds one."""
    if isinstance(network, nn.Module):
        given = type(network).__name__
        raise ArgumentTypeError(
            f"network must be a class that is called with the samples in a segment, got a {given} that is built "
            f"already. Pass {given} itself."
        )
    if not callable(network):
        check_choice(network, list(NETWORKS), name="network")


def projection_for(network: RoomNetwork, n_features: int) -> nn.Module:
    """Return the projection between embedding and loss: one for each part, where there are several."""
    if len(network.parts) < 2:
        return ProjectionHead(n_features)
    if sum(network.parts) != n_features:
        raise ArgumentValueError(
            f"network must have parts that make up its {n_features} features, got {tuple(network.parts)}."
        )
    return PartwiseProjection(network.parts)
