"""The fast layout of convolutions along time agrees with torch's own modules, forward and backward."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from toys import ENCODER

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk._torch.time_blocks import scratch, time_blocks
from roomacoustic_sk.networks import RoomCNN

pytestmark = pytest.mark.usefixtures("seeded_torch")


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("n_frames", [190, 191, 499, 500, 1021])
def test_time_blocks_agree_with_torchs_modules(n_frames, training):
    blocks = RoomCNN().blocks[:4].double().train(training)
    for block in blocks:  # no mean of 0 and no deviation of 1, so that folding them in wrongly would show
        nn.init.normal_(block[2].weight, 1.0, 0.3)
        nn.init.normal_(block[2].bias)
        block[2].running_mean.normal_()
        block[2].running_var.uniform_(0.5, 2.0)
    twin = copy.deepcopy(blocks)
    x, target = torch.randn(3, 1, 17, n_frames).double().requires_grad_(), None
    y = x.detach().clone().requires_grad_()
    expected, found = blocks(x), time_blocks(y, twin)
    target = torch.randn_like(expected)
    torch.testing.assert_close(found, expected)
    (expected * target).sum().backward()
    (found * target).sum().backward()
    torch.testing.assert_close(y.grad, x.grad)
    for ours, theirs in zip(twin.parameters(), blocks.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    for ours, theirs in zip(twin.buffers(), blocks.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_gradients_agree_with_finite_differences():
    blocks = RoomCNN(n_channels=2).blocks[:2].double()
    x = torch.randn(2, 1, 2, 14).double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: time_blocks(x, blocks), (x,))


def test_the_papers_network_agrees_with_its_modules_in_float32():
    encoder = RoomCNN(8_000).eval()
    waveforms = torch.randn(4, 8_000)
    with torch.inference_mode():
        features = encoder.blocks(encoder.spectrogram(waveforms)).flatten(1)
        expected = nn.functional.normalize(encoder.linear(features), dim=1)
        torch.testing.assert_close(encoder(waveforms), expected, rtol=1e-4, atol=1e-5)


def test_the_first_blocks_stay_in_float32_under_autocast():
    blocks, x = RoomCNN().blocks[:4], torch.randn(2, 1, 17, 400)
    with torch.autocast("cpu", torch.bfloat16):
        assert time_blocks(x.bfloat16(), blocks).dtype == torch.float32


def test_two_forward_passes_before_backward_share_no_memory():
    blocks = RoomCNN().blocks[:4].double()
    first, second = torch.randn(2, 3, 1, 17, 300).double()
    expected = [torch.autograd.grad(blocks(x).sin().sum(), blocks.parameters()) for x in (first, second)]
    with scratch.kept():
        for _ in range(2):  # the second time in memory that was used before
            losses = [time_blocks(x, blocks).sin().sum() for x in (first, second)]
            found = [torch.autograd.grad(loss, blocks.parameters()) for loss in losses]
            torch.testing.assert_close(found, expected)


def test_backward_through_reused_memory_raises():
    blocks, x = RoomCNN().blocks[:4], torch.randn(3, 1, 17, 300)
    with scratch.kept():
        loss = time_blocks(x, blocks).sin().sum()
        loss.backward(retain_graph=True)
        time_blocks(x, blocks)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            loss.backward()


def test_training_may_follow_inference_in_the_same_memory():
    blocks, x = RoomCNN().blocks[:4], torch.randn(3, 1, 17, 300)
    with scratch.kept():
        with torch.inference_mode():
            time_blocks(x, blocks)
        time_blocks(x, blocks).sum().backward()


def test_memory_does_not_grow_from_step_to_step():
    blocks, x = RoomCNN().blocks[:4], torch.randn(3, 1, 17, 300)
    kept = []
    with scratch.kept():
        for _ in range(4):
            time_blocks(x, blocks).sum().backward()
            kept.append(sum(map(len, scratch.free.values())))
        assert kept[1:] == kept[:-1]
        assert kept[0] > 0
        with torch.no_grad():
            time_blocks(x, blocks)
        assert sum(map(len, scratch.free.values())) <= kept[-1]


def test_memory_is_freed_by_the_outermost_user():
    blocks = RoomCNN().blocks[:4]
    with scratch.kept():
        with scratch.kept():
            time_blocks(torch.randn(3, 1, 17, 300), blocks).sum().backward()
        assert scratch.free  # the outer user still needs it
    assert not scratch.free


def test_a_network_used_on_its_own_leaves_no_memory_behind():
    network, x = RoomCNN(), torch.randn(2, 64_000)
    network(x).sum().backward()
    with torch.inference_mode():
        network.eval()(x)
    assert not scratch.free


def test_fit_and_transform_free_their_memory(bursts):
    X, groups = bursts
    encoder = ContrastiveRoomEncoder(**ENCODER | {"network": "paper", "segment_duration": 0.25})
    encoder.fit(X, **groups)
    assert not scratch.free
    encoder.transform(X)
    assert not scratch.free
