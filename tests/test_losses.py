"""The contrastive loss against the paper's equation and an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from pytorch_metric_learning.losses import SupConLoss as OracleLoss
from pytorch_metric_learning.reducers import SumReducer

from roomacoustic_sk.losses import SupConLoss, plateau_level, retrieval


def value_and_gradient(loss, embeddings, labels):
    leaf = embeddings.clone().requires_grad_()
    value = loss(leaf, labels)
    value.backward()
    return value.item(), leaf.grad


def equation_2(z, labels, tau):
    """The paper's Eq. 2 by two loops in double precision; anchors without positives left out. Sum and anchors."""
    z = [row / np.linalg.norm(row) for row in np.asarray(z, dtype=np.float64)]
    everyone, total, n_anchors = range(len(z)), 0.0, 0
    for i in everyone:
        others = [a for a in everyone if a != i]
        positives = [p for p in others if labels[p] == labels[i]]
        if not positives:
            continue
        n_anchors += 1
        exponents = [z[i] @ z[a] / tau for a in others]
        largest = max(exponents)
        denominator = largest + math.log(math.fsum(math.exp(e - largest) for e in exponents))
        total += -math.fsum(z[i] @ z[p] / tau - denominator for p in positives) / len(positives)
    return total, n_anchors


@pytest.fixture
def batch():
    """24 embeddings in six classes of unequal size, two of them with a single member."""
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(24, 16, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0] * 8 + [1] * 7 + [2] * 5 + [3] * 2 + [4] + [5])
    order = torch.randperm(24, generator=generator)
    return z[order], labels[order]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_of_several_projections_is_the_mean_of_their_losses(batch, reduction):
    z, labels = batch
    loss, others = SupConLoss(0.1, reduction), z.roll(1, dims=1) * z.roll(5, dims=0)
    expected = (loss(z, labels) + loss(others, labels)) / 2
    torch.testing.assert_close(loss(torch.stack([z, others], dim=1), labels), expected)


@pytest.mark.parametrize("tau", [0.01, 0.07, 0.1, 1.0, 10.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_loss_equals_the_papers_equation_2(batch, tau, reduction):
    z, labels = batch
    total, n_anchors = equation_2(z.numpy(), labels.tolist(), tau)
    expected = total if reduction == "sum" else total / n_anchors
    assert n_anchors == 22
    assert SupConLoss(tau, reduction)(z, labels).item() == pytest.approx(expected, rel=1e-12)
    assert SupConLoss(tau, reduction)(z.float(), labels).item() == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("tau", [0.01, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_value_and_gradient_equal_those_of_pytorch_metric_learning(batch, tau, reduction):
    z, labels = batch
    oracle = OracleLoss(temperature=tau, reducer=SumReducer() if reduction == "sum" else None)
    expected, expected_gradient = value_and_gradient(oracle, z, labels)
    value, gradient = value_and_gradient(SupConLoss(tau, reduction), z, labels)
    assert value == pytest.approx(expected, rel=1e-9)
    torch.testing.assert_close(gradient, expected_gradient, rtol=1e-6, atol=1e-9)


def test_gradient_equals_finite_differences_of_equation_2(batch):
    z, labels = batch
    _, gradient = value_and_gradient(SupConLoss(0.1, "sum"), z, labels)
    step = 1e-6
    for row, column in [(0, 0), (5, 3), (23, 15)]:
        shifted = []
        for sign in (1, -1):
            moved = z.numpy().copy()
            moved[row, column] += sign * step
            shifted.append(equation_2(moved, labels.tolist(), 0.1)[0])
        assert gradient[row, column].item() == pytest.approx((shifted[0] - shifted[1]) / (2 * step), rel=1e-5)


def test_loss_depends_neither_on_norms_nor_on_order(batch):
    z, labels = batch
    expected = SupConLoss()(z, labels).item()
    lengths = torch.linspace(0.1, 50, len(z), dtype=torch.float64)[:, None]
    assert SupConLoss()(z * lengths, labels).item() == pytest.approx(expected, rel=1e-12)
    order = torch.randperm(len(z), generator=torch.Generator().manual_seed(1))
    assert SupConLoss()(z[order], labels[order]).item() == pytest.approx(expected, rel=1e-12)


def nothing_special(z):
    return z


def duplicates(z):
    return z[[0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 5, 5]]


def opposites(z):
    return torch.cat([z[:6], -z[:6]])


def almost_duplicates(z):
    return z[:1] + 1e-4 * z[:12]


@pytest.mark.parametrize("tau", [0.001, 0.01, 0.1, 1.0, 100.0])
@pytest.mark.parametrize("arrange", [nothing_special, duplicates, opposites, almost_duplicates])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_are_finite_at_every_temperature(tau, arrange, dtype):
    z = arrange(torch.randn(12, 16, generator=torch.Generator().manual_seed(2))).to(dtype)
    labels = torch.arange(12) % 4
    value, gradient = value_and_gradient(SupConLoss(tau), z, labels)
    assert math.isfinite(value)
    assert torch.isfinite(gradient).all()
    assert value == pytest.approx(equation_2(z.numpy(), labels.tolist(), tau)[0] / 12, rel=1e-3, abs=1e-4)


def test_gradient_of_an_embedding_of_zeros_is_finite():
    z = torch.randn(8, 16, generator=torch.Generator().manual_seed(3))
    z[2] = 0
    value, gradient = value_and_gradient(SupConLoss(0.001), z, torch.arange(8) % 2)
    assert math.isfinite(value)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(("n_classes", "n_views"), [(24, 3), (2, 2), (5, 7)])
def test_loss_of_identical_embeddings_is_the_chance_level(n_classes, n_views):
    labels = torch.arange(n_classes).repeat(n_views)
    z = torch.ones(n_classes * n_views, 16, dtype=torch.float64)
    assert SupConLoss()(z, labels).item() == pytest.approx(math.log(n_classes * n_views - 1), rel=1e-9)


def test_loss_of_orthogonal_classes_is_analytic():
    n_classes, n_views, tau = 6, 3, 0.1
    z = torch.eye(n_classes, dtype=torch.float64).repeat(n_views, 1)
    expected = math.log(n_views - 1 + (n_classes - 1) * n_views * math.exp(-1 / tau))
    assert SupConLoss(tau)(z, torch.arange(n_classes).repeat(n_views)).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n_classes", "n_views", "tau"), [(24, 3, 0.1), (4, 2, 1.0), (24, 3, 0.01)])
def test_the_plateau_ends_2_percent_below_chance_level(n_classes, n_views, tau):
    labels = torch.arange(n_classes).repeat(n_views)
    chance = SupConLoss(tau)(torch.ones(len(labels), 2), labels).item()
    best = SupConLoss(tau)(torch.eye(n_classes)[labels], labels).item()
    assert plateau_level(n_classes, n_views, tau) == pytest.approx(0.98 * chance + 0.02 * best, rel=1e-5)


def test_an_anchor_without_positives_is_left_out_but_stays_a_negative(batch):
    z, _ = batch
    z, labels = z[:5], torch.tensor([0, 0, 1, 1, 2])
    with_single = SupConLoss(0.5)(z, labels)
    assert with_single.item() == pytest.approx(equation_2(z.numpy(), labels.tolist(), 0.5)[0] / 4, rel=1e-12)
    assert with_single.item() > SupConLoss(0.5)(z[:4], labels[:4]).item()


@pytest.mark.parametrize("n_embeddings", [1, 4])
def test_without_any_positive_loss_and_gradient_are_zero(n_embeddings):
    z = torch.randn(n_embeddings, 16, generator=torch.Generator().manual_seed(4))
    value, gradient = value_and_gradient(SupConLoss(), z, torch.arange(n_embeddings))
    assert value == 0
    assert torch.equal(gradient, torch.zeros_like(z))


def test_the_equation_holds_for_a_batch_of_one_class(batch):
    z, _ = batch
    labels = torch.zeros(len(z), dtype=torch.long)
    value = SupConLoss(0.1)(z, labels).item()
    assert value == pytest.approx(equation_2(z.numpy(), labels.tolist(), 0.1)[0] / len(z), rel=1e-12)
    assert value >= math.log(len(z) - 1)
    _, at_rest = value_and_gradient(SupConLoss(0.1), torch.ones(4, 16), torch.zeros(4))
    assert at_rest.abs().max() < 1e-6


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_give_a_single_precision_loss(dtype):
    z = torch.randn(72, 16, generator=torch.Generator().manual_seed(5)).to(dtype)
    labels = torch.arange(24).repeat(3)
    value, gradient = value_and_gradient(SupConLoss(0.01), z, labels)
    assert SupConLoss(0.01)(z, labels).dtype == torch.float32
    assert value == pytest.approx(equation_2(z.double().numpy(), labels.tolist(), 0.01)[0] / 72, rel=1e-4)
    assert torch.isfinite(gradient).all()


def test_loss_under_autocast_keeps_single_precision():
    z, labels = torch.randn(72, 16, generator=torch.Generator().manual_seed(6)), torch.arange(24).repeat(3)
    expected = SupConLoss(0.01)(z, labels).item()
    with torch.autocast("cpu", torch.bfloat16):
        assert SupConLoss(0.01)(z, labels).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"tau": 0}, ValueError, "SupConLoss: tau must be a number above 0, got 0"),
        ({"tau": -0.1}, ValueError, "tau must be a number above 0, got -0.1"),
        ({"tau": float("nan")}, ValueError, "tau must be a number above 0, got nan"),
        ({"tau": "0.1"}, TypeError, "tau must be a number above 0, got '0.1'"),
        ({"reduction": "none"}, ValueError, "reduction must be one of \\['mean', 'sum'\\], got 'none'"),
    ],
)
def test_invalid_parameters_are_refused(parameters, error, message):
    with pytest.raises(error, match=message) as caught:
        SupConLoss(**parameters)
    assert str(caught.value).startswith("SupConLoss: ")


@pytest.mark.parametrize(
    ("embeddings", "labels"),
    [(torch.ones(4), torch.ones(4)), (torch.ones(4, 2), torch.ones(3)), (torch.ones(4, 2), torch.ones(4, 1))],
)
def test_misaligned_labels_and_embeddings_are_refused(embeddings, labels):
    with pytest.raises(ValueError, match="SupConLoss: embeddings and labels must be of shapes"):
        SupConLoss()(embeddings, labels)


def test_retrieval_is_the_share_whose_nearest_neighbour_has_their_label(batch):
    z, labels = batch
    rows = [row / np.linalg.norm(row) for row in z.numpy()]
    others = [[j for j in range(len(rows)) if j != i] for i in range(len(rows))]
    nearest = [max(others[i], key=lambda j: rows[i] @ rows[j]) for i in range(len(rows))]
    expected = np.mean([labels[i] == labels[j] for i, j in enumerate(nearest)])
    assert 0 < expected < 1
    assert retrieval(z, labels).item() == pytest.approx(expected)
    assert retrieval(5 * z.bfloat16().double(), labels).item() == pytest.approx(expected)


def test_retrieval_of_several_projections_is_their_mean_share(batch):
    z, labels = batch
    others = z.roll(1, dims=1) * z.roll(5, dims=0)
    expected = (retrieval(z, labels) + retrieval(others, labels)) / 2
    assert retrieval(z, labels) != retrieval(others, labels)
    torch.testing.assert_close(retrieval(torch.stack([z, others], dim=1), labels), expected)


def test_retrieval_is_1_for_classes_apart_and_0_beside_other_classes():
    labels = torch.arange(4).repeat(3)
    assert retrieval(torch.eye(4)[labels], labels) == 1
    places = torch.eye(6)[torch.arange(6).repeat(2)]  # two embeddings of different classes at each place
    assert retrieval(places, torch.arange(12) % 4) == 0
