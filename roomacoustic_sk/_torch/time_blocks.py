"""Fast convolutions along time with few channels, in a memory layout with long contiguous runs.

A convolution with 5 channels does few operations per value, so the memory layout decides its speed. Here time is the
outermost dimension and the batch the innermost one: (time, channel, batch). A window of time steps is then a matrix
with long contiguous rows, overlapping windows are a strided view, and the convolution is a batch of matrix products.
ReLU and the sums for batch normalisation are computed along the way, in chunks of windows that fit into the cache. The
normalisation itself is affine and is folded into the weights of the next convolution, so that it needs no further pass
over the data.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from roomacoustic_sk._torch.runtime import full_precision, never_compiled

KERNEL, STRIDE = 4, 2

CHUNK = 1 << 18
"""Number of values computed at a time, 1 MB in float32, so that they stay in the cache from step to step."""


def _windows(x: Tensor) -> Tensor:
    """Return overlapping windows of time, shape (n_windows, KERNEL * n_channels, n_batch), without a copy."""
    n_times, n_channels, n_batch = x.shape
    n_windows = (n_times - KERNEL) // STRIDE + 1
    step = n_channels * n_batch
    return x.as_strided((n_windows, KERNEL * n_channels, n_batch), (STRIDE * step, n_batch, 1))


def _chunks(n_windows: int, step: int) -> list[slice]:
    """Split windows, each with `step` output values, into chunks whose output fits into the processor's cache."""
    size = max(CHUNK // step, 1)
    return [slice(first, min(first + size, n_windows)) for first in range(0, n_windows, size)]


class _Scratch(threading.local):
    """Large arrays for reuse in the next step: otherwise half of the time is spent on the system clearing new ones.

    They are kept only inside ``with scratch.kept():``, so that a network used on its own holds no memory afterwards.
    """

    def __init__(self) -> None:
        self.free: dict[Any, list[Tensor]] = {}
        self.n_users = 0

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep arrays from one step to the next inside the block, and release the memory at its end."""
        self.n_users += 1
        try:
            yield
        finally:
            self.n_users -= 1
            if not self.n_users:
                self.free.clear()

    def take(self, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Return an array with arbitrary content."""
        # An array made in inference mode cannot be saved for a backward pass.
        free = self.free.get((torch.Size(shape), dtype, torch.is_inference_mode_enabled()))
        return free.pop() if free else torch.empty(shape, dtype=dtype)

    def give(self, array: Tensor) -> None:
        """Take back an array that is no longer needed; a graph that still uses it raises once it has changed."""
        if self.n_users:
            self.free.setdefault((array.shape, array.dtype, array.is_inference()), []).append(array.detach())


scratch = _Scratch()


class _ConvolutionReLU(torch.autograd.Function):
    """``relu(convolution(x))`` and, with `moments`, the mean and mean square of each output channel."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, moments: bool, is_last: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        windows, n_batch = _windows(x), x.shape[2]
        z = scratch.take((len(windows), len(weight), n_batch), x.dtype)
        total, square = torch.zeros_like(bias), torch.zeros_like(bias)
        for run in _chunks(len(windows), z[0].numel()):
            n = run.stop - run.start
            part = z[run]
            torch.baddbmm(bias[:, None].expand(n, -1, n_batch), weight.expand(n, -1, -1), windows[run], out=part)
            part.relu_()
            if moments:
                total += part.sum((0, 2))
                square += torch.linalg.vecdot(part, part).sum(0)
        ctx.save_for_backward(x, weight, z)
        ctx.is_last = is_last
        count = len(windows) * n_batch
        return z, total / count, square / count

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor, Tensor, None, None]:
        d_z, d_mean, d_square = gradients
        d_z = d_z.contiguous()
        x, weight, z = ctx.saved_tensors
        windows, (n_windows, _, n_batch) = _windows(x), z.shape
        count = n_windows * n_batch
        by_square, by_mean = (2 / count * d_square)[:, None], (d_mean / count)[:, None]
        d_weight, d_bias = torch.zeros_like(weight), torch.zeros_like(d_mean)
        d_x = None
        if ctx.needs_input_grad[0]:
            # Each time step is in the first half of one window and in the second half of the one before.
            d_x = scratch.take(x.shape, x.dtype)
            half = STRIDE * x.shape[1]
            halves = d_x.as_strided((n_windows + 1, half, n_batch), (half * n_batch, n_batch, 1))
            halves[0] = 0
            d_x[STRIDE * (n_windows + 1) :] = 0  # a last time step that no window reaches
            first, second = weight.T.split(half)
        for run in _chunks(n_windows, z[0].numel()):
            d_part = torch.addcmul(d_z[run], z[run], by_square).add_(by_mean)
            d_part = torch.ops.aten.threshold_backward(d_part, z[run], 0)  # the gradient of ReLU
            d_weight += torch.bmm(d_part, windows[run].transpose(1, 2)).sum(0)
            d_bias += d_part.sum((0, 2))
            if d_x is not None:
                n = run.stop - run.start
                torch.bmm(second.expand(n, -1, -1), d_part, out=halves[run.start + 1 : run.stop + 1])
                halves[run].baddbmm_(first.expand(n, -1, -1), d_part)
        scratch.give(z)
        if not ctx.is_last:  # the next block's backward pass took it from the scratch arrays
            scratch.give(d_z)
        if d_x is None:
            scratch.give(x)
        return d_x, d_weight, d_bias, None, None


@never_compiled
def time_blocks(spectrogram: Tensor, blocks: Any) -> Tensor:
    """Apply blocks of convolution, ReLU and batch normalisation whose kernels extend along time only.

    Parameters
    ----------
    spectrogram : Tensor of shape (n, 1, n_frequencies, n_frames)
        The input.
    blocks : Sequential of Sequential of Conv2d, ReLU, BatchNorm2d
        Kernels (1, 4), strides (1, 2), no padding.

    Returns
    -------
    Tensor of shape (n, n_channels, n_frequencies, n_frames_left)
        The output of the modules themselves, up to rounding.
    """
    n, _, n_frequencies, n_frames = spectrogram.shape
    dtype = blocks[0][0].weight.dtype
    with full_precision(spectrogram):
        if spectrogram.requires_grad:
            x = spectrogram.to(dtype).permute(3, 1, 0, 2).flatten(2).contiguous()
        else:
            x = scratch.take((n_frames, 1, n * n_frequencies), dtype)
            x[:, 0] = spectrogram.flatten(0, 2).T
        scale, shift = x.new_ones(1), x.new_zeros(1)
        for convolution, _, normalisation in blocks:
            weight = convolution.weight[:, :, 0, :]  # (n_out, n_in, KERNEL)
            bias = convolution.bias + torch.einsum("oik,i->o", weight, shift)
            weight = (weight * scale[:, None]).transpose(1, 2).flatten(1)
            before, is_last = x, normalisation is blocks[-1][-1]
            x, mean, square = _ConvolutionReLU.apply(before, weight, bias, normalisation.training, is_last)
            if not x.requires_grad:
                scratch.give(before)
            scale, shift = _folded(normalisation, mean, square, x.shape[0] * x.shape[2])
        x = x.reshape(len(x), -1, n, n_frequencies).permute(2, 1, 3, 0).contiguous()
        return torch.addcmul(shift[:, None, None], x, scale[:, None, None])


def _folded(normalisation: Any, mean: Tensor, square: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the scale and shift that normalise each channel; in training, update the running averages."""
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
