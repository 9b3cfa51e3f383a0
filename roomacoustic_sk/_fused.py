"""Convolutions along time with few channels, laid out so that memory is read in long runs.

A convolution of 5 channels moves much data through few operations, so its layout decides its speed. Here time is the
outermost dimension and the batch the innermost one, (time, channel, batch). A window of time steps is then one matrix
of long contiguous rows, overlapping windows are a strided view, and the convolution is a batch of matrix products.
ReLU and the sums that batch normalisation needs are taken on the way, and the normalisation itself, being affine, is
folded into the next convolution's weights, so that it costs no pass over the data at all.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from roomacoustic_sk._torch import full_precision

KERNEL, STRIDE = 4, 2


def _windows(x: Tensor) -> Tensor:
    """Return overlapping windows of time, shape (n_windows, KERNEL * n_channels, n_batch), without a copy."""
    n_times, n_channels, n_batch = x.shape
    n_windows = (n_times - KERNEL) // STRIDE + 1
    step = n_channels * n_batch
    return x.as_strided((n_windows, KERNEL * n_channels, n_batch), (STRIDE * step, n_batch, 1))


class _ConvolutionReLU(torch.autograd.Function):
    """``relu(convolution(x))`` with the mean and the mean square of each output channel."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        windows = _windows(x)
        n_windows = len(windows)
        z = torch.baddbmm(
            bias[None, :, None].expand(n_windows, -1, x.shape[2]), weight.expand(n_windows, -1, -1), windows
        ).relu_()
        count = n_windows * x.shape[2]
        ctx.save_for_backward(x, weight, z)
        return z, z.sum((0, 2)) / count, torch.linalg.vector_norm(z, dim=(0, 2)).square() / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:
        d_z, d_mean, d_square = gradients
        x, weight, z = ctx.saved_tensors
        n_windows, _, n_batch = z.shape
        n_channels = x.shape[1]
        count = n_windows * n_batch
        d_z = torch.addcmul(d_z, z, (2 / count * d_square)[None, :, None]).add_((d_mean / count)[None, :, None])
        d_z = torch.ops.aten.threshold_backward(d_z, z, 0)  # where ReLU let it pass
        d_weight = torch.bmm(d_z, _windows(x).transpose(1, 2)).sum(0)
        d_bias = d_z.sum((0, 2))
        if not ctx.needs_input_grad[0]:
            return None, d_weight, d_bias
        # Each time step is in the first half of one window and in the second half of the one before.
        d_x = torch.empty_like(x)
        half = STRIDE * n_channels
        halves = d_x.as_strided((n_windows + 1, half, n_batch), (half * n_batch, n_batch, 1))
        transposed = weight.T.expand(n_windows, -1, -1)
        torch.bmm(transposed[:, :half], d_z, out=halves[:n_windows])
        halves[n_windows] = 0
        halves[1:].baddbmm_(transposed[:, half:], d_z)
        d_x[STRIDE * (n_windows + 1) :] = 0  # a last time step that no window reaches
        return d_x, d_weight, d_bias


def time_blocks(spectrogram: Tensor, blocks: Any) -> Tensor:
    """Apply blocks of convolution, ReLU and batch normalisation whose kernels reach along time alone.

    Parameters
    ----------
    spectrogram : Tensor of shape (n, 1, n_frequencies, n_frames)
        What goes in.
    blocks : Sequential of Sequential of Conv2d, ReLU, BatchNorm2d
        Kernels (1, 4), strides (1, 2), no padding.

    Returns
    -------
    Tensor of shape (n, n_channels, n_frequencies, n_frames_left)
        What the modules themselves give, but for rounding.
    """
    n, _, n_frequencies, n_frames = spectrogram.shape
    with full_precision(spectrogram):
        x = spectrogram[:, 0].to(blocks[0][0].weight.dtype)
        x = x.permute(2, 0, 1).reshape(n_frames, 1, n * n_frequencies).contiguous()
        scale, shift = x.new_ones(1), x.new_zeros(1)
        for convolution, _, normalisation in blocks:
            weight = convolution.weight[:, :, 0, :]  # (n_out, n_in, KERNEL)
            bias = convolution.bias + torch.einsum("oik,i->o", weight, shift)
            weight = (weight * scale[:, None]).transpose(1, 2).flatten(1)
            x, mean, square = _ConvolutionReLU.apply(x, weight, bias)
            scale, shift = _folded(normalisation, mean, square, x.shape[0] * x.shape[2])
        x = torch.addcmul(shift[:, None], x, scale[:, None])
    return x.reshape(len(x), -1, n, n_frequencies).permute(2, 1, 3, 0)


def _folded(normalisation: Any, mean: Tensor, square: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the factor and the summand that normalise each channel; in training, keep account of the averages."""
    if normalisation.training:
        variance = (square - mean.square()).clamp_min(0)
        with torch.no_grad():
            normalisation.num_batches_tracked += 1
            normalisation.running_mean.lerp_(mean, normalisation.momentum)
            normalisation.running_var.lerp_(variance * (count / (count - 1)), normalisation.momentum)
    else:
        mean, variance = normalisation.running_mean, normalisation.running_var
    scale = normalisation.weight * (variance + normalisation.eps).rsqrt()
    return scale, normalisation.bias - mean * scale
