"""Front ends of the encoder networks: standardised log spectrograms of waveforms."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from scipy.fft import next_fast_len
from torch import Tensor, nn

from roomacoustic_sk._torch.runtime import full_precision, never_compiled
from roomacoustic_sk._validation import (
    ArgumentValueError,
    check_layers,
    check_number,
    check_sample_rate,
    door,
)

SPECTRUM_FLOOR_DB = -80.0
"""Spectrogram floor in dB relative to the clip's mean power: digital silence has no logarithm."""

CLIPS_AT_ONCE = 4


def _check_window(window: int, hop: int) -> None:
    """Refuse what is no length or step of a window."""
    check_number(window, name="window", unit="samples", low=2, limit=1 << 20, integer=True)
    check_number(hop, name="hop", unit="samples", low=1, limit=1 << 20, integer=True)


def _floor(window: int) -> float:
    """Return the power below which cells of a unit-power clip's spectrogram are floored.

    A unit-power white signal has a mean cell power of the Hann window's energy, 3/8 of its length.
    """
    return 10 ** (SPECTRUM_FLOOR_DB / 10) * 0.375 * window


def _centred(level: Tensor) -> Tensor:
    """Subtract the mean of each clip's spectrogram; a constant one, as of silence, becomes exactly 0."""
    level = level - level[:, :1, :1]
    return level.sub_(level.mean(dim=(1, 2), keepdim=True))


def _deviation(centred: Tensor) -> Tensor:
    """Return the standard deviation of each clip's zero-mean spectrogram; torch.std is many times slower."""
    flat = centred.flatten(1)
    variance = torch.linalg.vecdot(flat, flat) / (flat.shape[1] - 1)
    return variance.sqrt().clamp_min(1e-6)[:, None, None]


def _few_at_once(transform: Callable[[Tensor], Tensor], waveforms: Tensor) -> Tensor:
    """Apply a transform, on a CPU to so few clips at a time that intermediate results fit into its cache."""
    if waveforms.device.type != "cpu" or len(waveforms) <= CLIPS_AT_ONCE:
        return transform(waveforms)
    return torch.cat([transform(part) for part in waveforms.split(CLIPS_AT_ONCE)])


class Spectrogram(nn.Module):
    """Base class of both front ends: whether each clip is standardised on its own, or all by the training set.

    Attributes
    ----------
    training_level : Tensor or None
        Mean power of the training clips, and mean and standard deviation of the logarithms of their spectrograms; None
        if each clip is standardised on its own.
    """

    training_level: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("training_level", None)

    def keep_level(self) -> None:
        """Standardise all clips alike from now on, as `learn_level` will learn, so that a clip's level shows."""
        self.register_buffer("training_level", torch.tensor([1.0, 0.0, 1.0]))

    def learn_level(self, waveforms: Tensor) -> None:
        """Learn the level of training clips, shape (n, n_times)."""
        power = waveforms.double().square().mean().clamp_min(torch.finfo(torch.float32).tiny)
        self.training_level = torch.tensor([float(power), 0.0, 1.0], device=waveforms.device)
        mean, deviation = _mean_and_deviation(self(waveforms))
        self.training_level = torch.tensor([float(power), mean, deviation], device=waveforms.device)

    def _scaled(self, waveforms: Tensor) -> Tensor:
        """Scale each clip, or the clips of the training set, to a mean power of 1."""
        if self.training_level is not None:
            return waveforms * self.training_level[0].rsqrt()
        mean_power = waveforms.square().mean(dim=1, keepdim=True)
        return waveforms * mean_power.clamp_min(torch.finfo(waveforms.dtype).tiny).rsqrt()

    def _standardised(self, level: Tensor) -> Tensor:
        """Standardise logarithms of power (n, n_bands, n_frames) by the training set, or each clip on its own."""
        if self.training_level is not None:
            return (level - self.training_level[1]) / self.training_level[2]
        return self._standardised_alone(level)

    def _standardised_alone(self, level: Tensor) -> Tensor:
        raise NotImplementedError


def _mean_and_deviation(spectrograms: Tensor) -> tuple[float, float]:
    """Return the mean and the standard deviation of all cells of some spectrograms."""
    cells = spectrograms.double()
    return float(cells.mean()), max(float(cells.std()), 1e-6)


class LogSpectrogram(Spectrogram):
    r"""Standardised log-magnitude spectrogram of waveforms (Sec. 3.3 of the paper).

    Each clip's spectrogram is scaled to zero mean and unit variance, so it does not depend on the clip's level, unless
    an estimator was told to standardise by the training set.

    Parameters
    ----------
    window : int, default=32
        Length of the Hann window, in samples.
    hop : int, default=16
        Samples from one frame to the next.

    Notes
    -----
    No padding: :math:`\lfloor (n - window) / hop \rfloor + 1` frames of window / 2 + 1 frequencies. Because the window
    is so short, the short-time transform is computed as products with the windowed cosines and sines.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.networks import LogSpectrogram
    >>> LogSpectrogram()(torch.randn(2, 64_000)).shape
    torch.Size([2, 1, 17, 3999])
    """

    basis: Tensor

    @door
    def __init__(self, window: int = 32, hop: int = 16) -> None:
        super().__init__()
        _check_window(window, hop)
        self.window = window
        self.hop = hop
        # Constants are computed on the CPU even where parameters are only declared, on torch's meta device.
        time = torch.arange(window, dtype=torch.float64, device="cpu")
        frequency = torch.arange(window // 2 + 1, dtype=torch.float64, device="cpu")[:, None]
        phase = 2 * math.pi * frequency * time / window
        hann = torch.hann_window(window, periodic=True, dtype=torch.float64, device="cpu")
        basis = torch.cat([phase.cos() * hann, -phase.sin() * hann])
        n_pieces = -(-window // hop)
        basis = nn.functional.pad(basis, (0, n_pieces * hop - window))
        self.register_buffer("basis", basis.unflatten(1, (n_pieces, hop)).transpose(0, 1).float(), persistent=False)

    def n_frames(self, n_times: int) -> int:
        """Return the number of frames in a clip of `n_times` samples."""
        return (n_times - self.window) // self.hop + 1

    @never_compiled
    def forward(self, waveforms: Tensor) -> Tensor:
        """Return spectrograms of shape (n, 1, n_frequencies, n_frames) of waveforms of shape (n, n_times)."""
        with full_precision(waveforms):
            return _few_at_once(self._transform, waveforms)

    def _transform(self, waveforms: Tensor) -> Tensor:
        n, n_frames = len(waveforms), self.n_frames(waveforms.shape[1])
        n_needed = (n_frames + len(self.basis) - 1) * self.hop
        waveforms = self._scaled(waveforms)[:, :n_needed]
        if waveforms.shape[1] < n_needed:  # the last frame's last piece extends beyond the end; the basis is 0 there
            waveforms = nn.functional.pad(waveforms, (0, n_needed - waveforms.shape[1]))
        # Frames are assembled from pieces of one hop each, so that overlapping frames need no copy.
        pieces = waveforms.unflatten(1, (-1, self.hop)).transpose(1, 2)
        first, *others = self.basis.unsqueeze(1).expand(-1, n, -1, -1)
        spectrum = first @ pieces[:, :, :n_frames]
        for i, basis in enumerate(others, start=1):
            spectrum.baddbmm_(basis, pieces[:, :, i : i + n_frames])
        real, imaginary = spectrum.chunk(2, dim=1)
        # The logarithm of the magnitude up to a factor of 2, which the standardisation removes.
        level = real.square().addcmul_(imaginary, imaginary).clamp_min_(_floor(self.window)).log_()
        return self._standardised(level)[:, None]

    def _standardised_alone(self, level: Tensor) -> Tensor:
        level = _centred(level)
        return level / _deviation(level)


class BandSpectrogram(Spectrogram):
    r"""Standardised log-power spectrogram in bands that narrow towards low frequencies, with each band's mean removed.

    Each clip's spectrogram is scaled to unit variance, so it does not depend on the clip's level. A band's mean over
    time reflects the coloration of the voice and the microphone. The room shows in how levels rise and fall, so the
    mean is removed. Both are left in if an estimator was told to standardise by the training set.

    Parameters
    ----------
    window : int, optional
        Length of the Hann window, in samples; 32 ms by default, which resolves the octave bands from 125 Hz up.
    hop : int, optional
        Samples from one frame to the next; 8 ms by default.
    n_bands : int, default=40
        Number of triangular bands, evenly spaced in :math:`\ln(1 + f / 300\,\mathrm{Hz})` from 60 Hz to 7.6 kHz. Bands
        that extend beyond half the sampling rate are omitted.
    sample_rate : int, default=16000
        Sampling rate, in Hz; 8 kHz or more.

    Attributes
    ----------
    n_bands : int
        Number of bands at this sampling rate: 40 of 40 from 15.2 kHz up, 31 at 8 kHz.

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
    LOWEST_RATE = 8_000  # Hz; telephone speech, which still has bands in all ranges of `BandwiseRoomCNN`
    hann: Tensor
    weights: Tensor

    @door
    def __init__(
        self, window: int | None = None, hop: int | None = None, n_bands: int = 40, sample_rate: int = 16_000
    ) -> None:
        super().__init__()
        self.check_rate(check_sample_rate(sample_rate))
        check_layers(("n_bands", n_bands))
        self.window = round(self.WINDOW_SECONDS * sample_rate) if window is None else window
        self.hop = round(self.HOP_SECONDS * sample_rate) if hop is None else hop
        _check_window(self.window, self.hop)
        self.n_fft = 2 * next_fast_len(-(-self.window // 2), real=True)  # equals the window at 8, 16 and 48 kHz
        hann = torch.hann_window(self.window, periodic=True, dtype=torch.float64, device="cpu")
        self.register_buffer("hann", hann.float(), persistent=False)
        edges = self.band_edges(sample_rate, n_bands)
        self.n_bands = len(edges) - 2
        self.register_buffer("weights", self._bands(edges, sample_rate).float(), persistent=False)

    @classmethod
    def check_rate(cls, sample_rate: int) -> None:
        """Refuse sampling rates at which too few bands remain."""
        if sample_rate < cls.LOWEST_RATE:
            raise ArgumentValueError(
                f"sample_rate must be at least {cls.LOWEST_RATE} Hz, got {sample_rate} Hz. Resample."
            )

    @classmethod
    def band_edges(cls, sample_rate: int, n_bands: int = 40) -> Tensor:
        """Return the edges below half the sampling rate, in Hz; a band extends from one edge to the next but one."""
        low, high = (math.log1p(f / cls.CORNER) for f in (cls.LOWEST, cls.HIGHEST))
        edges = cls.CORNER * torch.linspace(low, high, n_bands + 2, dtype=torch.float64, device="cpu").expm1()
        return edges[edges < sample_rate / 2]

    def _bands(self, edges: Tensor, sample_rate: int) -> Tensor:
        """Return the share of each frequency bin in each band, shape (n_bands, n_bins)."""
        bins = torch.arange(self.n_fft // 2 + 1, dtype=torch.float64, device="cpu") * sample_rate / self.n_fft
        below, centre, above = edges[:-2, None], edges[1:-1, None], edges[2:, None]
        weights = torch.minimum((bins - below) / (centre - below), (above - bins) / (above - centre)).clamp_min(0)
        # The lowest bands may fall between two bins: each band includes at least the nearest one.
        nearest = (bins - centre).abs().argmin(dim=1, keepdim=True)
        weights.scatter_(1, nearest, weights.gather(1, nearest).clamp_min(0.5))
        return weights / weights.sum(dim=1, keepdim=True)

    @never_compiled
    def forward(self, waveforms: Tensor) -> Tensor:
        """Return spectrograms of shape (n, 1, n_bands, n_frames) of waveforms of shape (n, n_times)."""
        with full_precision(waveforms):
            return _few_at_once(self._transform, waveforms)

    def _transform(self, waveforms: Tensor) -> Tensor:
        waveforms = self._scaled(waveforms)
        # torch.stft puts frames along the last axis, so that every later step would read memory with large strides.
        frames = waveforms.unfold(1, self.window, self.hop) * self.hann
        real, imaginary = torch.view_as_real(torch.fft.rfft(frames, self.n_fft)).unbind(-1)
        power = real.square().addcmul_(imaginary, imaginary) @ self.weights.T
        level = power.transpose(1, 2).clamp_min(_floor(self.window)).log()
        return self._standardised(level)[:, None]

    def _standardised_alone(self, level: Tensor) -> Tensor:
        deviation = _deviation(_centred(level))
        return (level - level.mean(dim=2, keepdim=True)) / deviation
