"""The supervised contrastive loss, and a retrieval score for embeddings."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from roomacoustic_sk._torch.runtime import full_precision
from roomacoustic_sk._validation import check_choice, check_number, describe, door

__all__ = ["SupConLoss", "retrieval"]

LOWEST_TAU, HIGHEST_TAU = 1e-4, 1e4
"""Range of temperatures: outside of it, single precision holds no differences between similarities, or no gradient."""

PLATEAU_MARGIN = 0.02
"""Share of the way from chance to perfect separation after which training counts as having left the plateau."""


class SupConLoss(nn.Module):
    r"""Supervised contrastive loss: Eq. 2 of Götz et al., after Khosla et al.

    Each embedding in a batch is an anchor in turn. The loss is the cross-entropy of picking one of its positives (the
    other embeddings with the anchor's label) among all other embeddings, by cosine similarity divided by the
    temperature.

    Parameters
    ----------
    tau : float, default=0.1
        Temperature, from 0.0001 to 10000. The smaller it is, the more weight the most similar negatives have.
    reduction : {"mean", "sum"}, default="mean"
        Mean over the anchors that have a positive, or their sum, as in Eq. 2. The two differ by a factor to which Adam
        is invariant; the mean can be compared across batch sizes.

    Raises
    ------
    TypeError, ValueError
        If `tau` is no number, or out of range, or `reduction` is unknown.

    Notes
    -----
    With :math:`\mathcal{A}(i)` all embeddings but *i* and :math:`\mathcal{P}(i)` those of them with the label of *i*,

    .. math:: \mathcal{L} = \sum_i \frac{-1}{|\mathcal{P}(i)|} \sum_{p \in \mathcal{P}(i)} \log
        \frac{\exp(\langle z_i, z_p \rangle / \tau)}{\sum_{a \in \mathcal{A}(i)} \exp(\langle z_i, z_a
        \rangle / \tau)}.

    Anchors without a positive are left out; if no anchor has one, the loss and its gradient are 0. A batch with a
    single class has no negatives: the formula still applies, but its gradient only evens out the similarities. The
    sum over :math:`\mathcal{A}(i)` is computed as a log-sum-exp in at least single precision, so that the loss is
    finite for any temperature from 0.001 to 100.

    References
    ----------
    P. Khosla et al., "Supervised contrastive learning", NeurIPS 2020.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.losses import SupConLoss
    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> round(SupConLoss(tau=0.1)(z, torch.tensor([0, 0, 1, 1])).item(), 5)
    9e-05
    """

    @door
    def __init__(self, tau: float = 0.1, reduction: str = "mean") -> None:
        super().__init__()
        self.tau = check_tau(tau)
        self.reduction = check_choice(reduction, ["mean", "sum"], name="reduction")

    def forward(self, embeddings: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of one batch.

        Parameters
        ----------
        embeddings : Tensor of shape (n_embeddings, n_dimensions) or (n_embeddings, n_projections, n_dimensions)
            Embeddings of any norm; they are normalised here. With several projections, the mean of their losses is
            returned.
        labels : Tensor of shape (n_embeddings,)
            Integer class of each embedding.

        Returns
        -------
        Tensor of shape ()
        """
        _check_embeddings(embeddings, labels, "SupConLoss")
        if embeddings.dtype in (torch.float16, torch.bfloat16):
            embeddings = embeddings.float()
        with full_precision(embeddings):
            z = _unit(embeddings)
            z = z if z.ndim == 2 else z.transpose(0, 1)  # a batch of matrices, one for each projection
            itself = torch.eye(len(labels), dtype=torch.bool, device=z.device)
            positive = (labels[:, None] == labels[None, :]) & ~itself
            n_positives = positive.sum(dim=1)
            anchors = n_positives > 0
            if not anchors.any():
                return embeddings.sum() * 0.0
            similarity = (z @ z.mT / self.tau).masked_fill(itself, -torch.inf)
            log_probability = similarity - similarity.logsumexp(dim=-1, keepdim=True)
            # masked_fill, not a product: the diagonal is -inf, and -inf * 0 is NaN.
            per_anchor = -log_probability.masked_fill(~positive, 0.0).sum(dim=-1) / n_positives.clamp_min(1)
            per_anchor = per_anchor[..., anchors]
            return (per_anchor.mean(-1) if self.reduction == "mean" else per_anchor.sum(-1)).mean()


def retrieval(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return how often the most similar other embedding in a batch has the same label.

    Unlike the loss, it depends neither on a temperature nor on how confident the network is in its errors.

    Parameters
    ----------
    embeddings : Tensor of shape (n_embeddings, n_dimensions) or (n_embeddings, n_projections, n_dimensions)
        Embeddings of any norm. With several projections, the mean of their shares is returned.
    labels : Tensor of shape (n_embeddings,)
        Integer class of each embedding.

    Returns
    -------
    Tensor of shape ()
        Share of the embeddings, from 0 to 1. Chance level is about (M - 1) / (NM - 1) in a batch of N classes with M
        views each.

    Examples
    --------
    >>> import torch
    >>> from roomacoustic_sk.losses import retrieval
    >>> z = torch.tensor([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.9, 0.3]])
    >>> retrieval(z, torch.tensor([0, 0, 1, 1])).item()  # the last embedding is more like the first two
    0.75
    """
    _check_embeddings(embeddings, labels, "retrieval")
    if len(labels) < 2:
        raise ValueError(f"retrieval: embeddings must be at least two, got {len(labels)}.")
    with full_precision(embeddings):
        z = _unit(embeddings.float())
        z = z if z.ndim == 2 else z.transpose(0, 1)
        itself = torch.eye(len(labels), dtype=torch.bool, device=z.device)
        nearest = (z @ z.mT).masked_fill(itself, -torch.inf).argmax(dim=-1)
        return (labels[nearest] == labels).float().mean() + 0 * z.detach().sum()  # NaN if an embedding is


def check_tau(tau: Any) -> float:
    """Return a temperature, or raise."""
    check_number(tau, name="tau", low=0, low_open=True)
    return check_number(tau, name="tau", low=LOWEST_TAU, high=HIGHEST_TAU)


def _check_embeddings(embeddings: Any, labels: Any, caller_name: str) -> None:
    """Refuse embeddings and labels that are no tensors, or of shapes that do not fit."""
    for name, value in (("embeddings", embeddings), ("labels", labels)):
        if not isinstance(value, Tensor):
            raise TypeError(f"{caller_name}: {name} must be a tensor, got {describe(value)}.")
    if embeddings.ndim not in (2, 3) or labels.shape != embeddings.shape[:1] or not embeddings.is_floating_point():
        raise ValueError(
            f"{caller_name}: embeddings and labels must be of shapes (n_embeddings, n_dimensions), or "
            "(n_embeddings, n_projections, n_dimensions), and (n_embeddings,), embeddings of floating-point numbers, "
            f"got {tuple(embeddings.shape)} of {embeddings.dtype} and {tuple(labels.shape)}."
        )
    if labels.is_floating_point() and bool(labels.isnan().any()):
        raise ValueError(f"{caller_name}: labels must not be missing, got NaN.")


def _unit(embeddings: Tensor) -> Tensor:
    """Normalise embeddings of any norm; dividing by a power of two first changes no digit, and no square is lost."""
    peak = embeddings.detach().abs().amax(dim=-1, keepdim=True)
    scale = torch.exp2(peak.log2().floor().clamp(-126, 126))
    return nn.functional.normalize(embeddings / torch.where(peak > 0, scale, 1.0), dim=-1)


def plateau_level(n_classes: int, n_views: int, tau: float) -> float:
    """Return the loss below which contrastive training has visibly left its initial plateau.

    At chance, every other embedding is equally likely: ln(NM - 1). At best, positives are identical and negatives
    orthogonal.
    """
    n_negatives = (n_classes - 1) * n_views
    chance = math.log(n_negatives + n_views - 1)
    best = math.log(n_views - 1 + n_negatives * math.exp(-1 / tau))
    return chance - PLATEAU_MARGIN * (chance - best)
