"""The contrastive encoder: reverberant waveforms in, unit-norm descriptions of the room out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from roomacoustic_sk._segments import SegmentDataset, check_time_axis, choose_segment_length, embed, warn_of_repeats
from roomacoustic_sk._torch import draw_seed, resolve_autocast, resolve_device, seeded
from roomacoustic_sk._training import BatchLoader, train_net
from roomacoustic_sk._validation import (
    Rows,
    check_choice,
    check_groups,
    check_number,
    check_rows,
    check_sample_rate,
)
from roomacoustic_sk.losses import SupConLoss
from roomacoustic_sk.networks import PooledRoomCNN, ProjectionHead, RoomCNN
from roomacoustic_sk.samplers import SAMPLINGS, MultiviewBatchSampler, hold_out, largest_batch

NETWORKS: dict[str, Callable[[int], nn.Module]] = {"paper": RoomCNN, "pooled": PooledRoomCNN}
_PLATEAU_MARGIN = 0.02  # share of the way from chance to perfect separation that counts as having left the plateau


class ContrastiveRoomEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learn to describe the room that speech was recorded in, by contrast between rooms.

    Recordings through the same room impulse response (RIR) are pulled together, recordings through different ones
    are pushed apart, whatever is being said. `transform` then gives 64 numbers, on the unit sphere, from which a
    head such as `RoomRegressor` reads reverberation time, clarity or volume.

    Parameters
    ----------
    network : {"pooled", "paper"} or callable, default="pooled"
        The encoder: `PooledRoomCNN`, `RoomCNN`, or a class (or other callable) that is called with the number of
        samples in a segment and returns a module from waveforms (n, n_times) to features (n, n_features).
    tau : float, default=0.1
        Temperature of the contrastive loss.
    sampling : {"soft", "hard", "position_independent"}, default="soft"
        How batches are built, see `MultiviewBatchSampler`. Hard sampling needs `source_groups`, position-independent
        sampling `room_groups` too.
    n_classes : int, default=24
        N, classes in a batch.
    n_views : int, default=3
        M, views of each class.
    sample_rate : int, default=16000
        Sampling rate of the waveforms, in Hz.
    segment_duration : float, default=4.0
        Length of the segments that the network is trained on, in s.
    hop_duration : float, optional
        Step between the segments of a longer recording in `transform`, in s; a whole segment by default.
    lr : float, default=1e-3
        Step size of Adam.
    max_epochs : int, default=100
        Epochs at most. With 0 the network keeps its random initial weights: a floor to compare with.
    steps_per_epoch : int, default=128
        Batches in an epoch.
    validation_steps : int, default=32
        Validation batches after each epoch, the same ones each time.
    validation_fraction : float, default=0.2
        Share of the sources (of the recordings where `source_groups` is not given) held out for validation. 0 holds
        out none: then the training loss decides.
    patience : int, default=4
        Epochs without a new best after which training stops. Epochs at the start, while the loss is still at its
        chance level, do not count.
    batch_size : int, default=64
        Segments that `transform` embeds at once.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the convolutions compute in during training; "auto" takes bfloat16 where the processor has it. Loss,
        projection, spectrogram and `transform` are in float32 always.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch callbacks, optional
        Further hooks into training.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches, segments and the held-out sources. Global generators are left alone.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; its module is the network followed by the projection.
    network_ : torch.nn.Module
        The network alone, with the best weights.
    segment_length_ : int
        Samples in a segment.
    n_classes_, n_views_ : int
        Size of the training batches.
    history_ : pandas.DataFrame
        Epoch, losses and seconds, one row an epoch.
    n_iter_ : int
        Epochs trained.

    Raises
    ------
    TypeError, ValueError
        By `fit` and `transform`: a parameter out of range, waveforms that are not finite, silent or of a wrong shape,
        group labels that are missing, misaligned or too few for the sampling.

    Notes
    -----
    Recordings longer than a segment give random segments in training; in `transform` they are cut into segments whose
    embeddings are averaged and normalised again. Shorter ones are repeated from their beginning, with a warning, up to
    the shortest clip that the network takes: a segment in training and for ``network="paper"``, 0.5 s for
    ``network="pooled"`` in `transform`. Where all recordings are shorter than `segment_duration`, segments are
    shortened instead. Integer waveforms are taken as PCM; the level does not matter.

    Without `rir_groups` every recording counts as its own transmission path, and its views are random segments of it,
    at most half as long as the recordings: so the encoder learns from unlabelled recordings too.

    References
    ----------
    P. Götz, C. Tuna, A. Walther, E. A. P. Habets, "Contrastive representation learning for acoustic parameter
    estimation", ICASSP 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import ContrastiveRoomEncoder
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((30, 16_000)) * np.geomspace(1, np.repeat([0.1, 0.01], 15), 16_000).T
    >>> rir, source = np.repeat([0, 1], 15), np.tile(np.arange(15), 2)
    >>> encoder = ContrastiveRoomEncoder(
    ...     segment_duration=1.0, n_classes=2, steps_per_epoch=2, max_epochs=1, random_state=0
    ... )
    >>> encoder.fit(X, rir_groups=rir, source_groups=source).transform(X).shape
    (30, 64)
    """

    def __init__(
        self,
        *,
        network: str | Callable[[int], nn.Module] = "pooled",
        tau: float = 0.1,
        sampling: str = "soft",
        n_classes: int = 24,
        n_views: int = 3,
        sample_rate: int = 16_000,
        segment_duration: float = 4.0,
        hop_duration: float | None = None,
        lr: float = 1e-3,
        max_epochs: int = 100,
        steps_per_epoch: int = 128,
        validation_steps: int = 32,
        validation_fraction: float = 0.2,
        patience: int = 4,
        batch_size: int = 64,
        precision: str = "auto",
        device: Any = "auto",
        callbacks: list[Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.network = network
        self.tau = tau
        self.sampling = sampling
        self.n_classes = n_classes
        self.n_views = n_views
        self.sample_rate = sample_rate
        self.segment_duration = segment_duration
        self.hop_duration = hop_duration
        self.lr = lr
        self.max_epochs = max_epochs
        self.steps_per_epoch = steps_per_epoch
        self.validation_steps = validation_steps
        self.validation_fraction = validation_fraction
        self.patience = patience
        self.batch_size = batch_size
        self.precision = precision
        self.device = device
        self.callbacks = callbacks
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
    ) -> ContrastiveRoomEncoder:
        """Train the encoder.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.
        y : None
            Ignored; targets are for the head.
        rir_groups : array-like of shape (n_rows,), optional
            Label of each row's transmission path. Without it every row is its own.
        source_groups : array-like of shape (n_rows,), optional
            Label of each row's dry source signal.
        room_groups : array-like of shape (n_rows,), optional
            Label of each row's room.

        Returns
        -------
        ContrastiveRoomEncoder
            Itself.
        """
        self._check_parameters()
        name = type(self).__name__
        rows = check_rows(X, caller=name, allow_integers=True)
        check_time_axis(rows, _shortest_clip(self.network), caller=name)
        groups = {
            key: check_groups(labels, len(rows), caller=name, name=key)
            for key, labels in (
                ("rir_groups", rir_groups),
                ("source_groups", source_groups),
                ("room_groups", room_groups),
            )
            if labels is not None
        }
        if groups and "rir_groups" not in groups:
            raise ValueError(f"{name}: rir_groups must be given where {' and '.join(groups)} is, got None.")
        if len(np.unique(groups.get("rir_groups", np.arange(len(rows))))) < 2:
            given = "one RIR" if groups else "one row and no rir_groups (so that each row is an RIR of its own)"
            raise ValueError(f"{name}: rir_groups must name at least two RIRs to tell apart, got {given}.")
        return self._fit(rows, groups)

    def _check_parameters(self) -> None:
        name = type(self).__name__
        if isinstance(self.network, nn.Module):
            given = type(self.network).__name__
            raise TypeError(
                f"{name}: network must be a class that is called with the samples in a segment, got a {given} that is "
                f"built already. Pass {given} itself."
            )
        if not callable(self.network):
            check_choice(self.network, list(NETWORKS), caller=name, name="network")
        check_choice(self.sampling, SAMPLINGS, caller=name, name="sampling")
        check_choice(self.precision, ["auto", "float32", "bfloat16"], caller=name, name="precision")
        check_sample_rate(self.sample_rate, caller=name)
        for parameter in ("tau", "segment_duration", "lr"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=0, low_open=True)
        if self.hop_duration is not None:
            check_number(self.hop_duration, caller=name, name="hop_duration", low=0, low_open=True)
        for parameter in ("n_classes", "n_views"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=2, integer=True)
        check_number(self.max_epochs, caller=name, name="max_epochs", low=0, integer=True)
        for parameter in ("steps_per_epoch", "validation_steps", "patience", "batch_size"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=1, integer=True)
        check_number(self.validation_fraction, caller=name, name="validation_fraction", low=0, high=0.9)

    def _fit(self, rows: Rows, groups: dict[str, Any]) -> ContrastiveRoomEncoder:
        unlabelled = not groups
        random_state = check_random_state(self.random_state)
        device = resolve_device(self.device, caller=type(self).__name__)
        self.segment_length_ = choose_segment_length(
            rows,
            round(self.segment_duration * self.sample_rate),
            _shortest_clip(self.network),
            self.sample_rate,
            caller=type(self).__name__,
            share=2 if unlabelled else 1,
        )
        items = np.arange(len(rows))
        if unlabelled:  # each row is an RIR of its own: as many items as views, each a random segment of the row
            items = np.repeat(items, self.n_views)
            groups = {"rir_groups": items}
        held_out = hold_out(
            groups,
            self.validation_fraction,
            sampling=self.sampling,
            random_state=random_state,
            whole_rirs=unlabelled,
        )

        train = self._sampled(rows, items, groups, ~held_out, self.steps_per_epoch, random_state, "training")
        self.n_classes_, self.n_views_ = train.batch_sampler.n_classes, train.batch_sampler.n_views
        valid = None
        if held_out.any():
            seed = draw_seed(random_state)
            valid = self._sampled(rows, items, groups, held_out, self.validation_steps, seed, "validation")
        watched = (valid or train).batch_sampler

        with seeded(random_state):
            network = _builder(self.network)(self.segment_length_)
            n_features = _count_outputs(network, self.segment_length_)
            self.net_ = train_net(
                nn.Sequential(network, ProjectionHead(n_features)),
                SupConLoss(self.tau),
                train,
                valid,
                lr=self.lr,
                max_epochs=self.max_epochs,
                patience=self.patience,
                plateau=_plateau_level(watched.n_classes, watched.n_views, self.tau),
                device=device,
                autocast=resolve_autocast(self.precision, device),
                callbacks=self.callbacks,
                verbose=self.verbose,
                label="encoder",
            )
        self._n_features_out = n_features
        return self

    def _sampled(
        self,
        rows: Rows,
        items: NDArray[np.intp],
        groups: dict[str, Any],
        chosen: NDArray[np.bool_],
        n_batches: int,
        random_state: Any,
        purpose: str,
    ) -> BatchLoader:
        """Return batches of the chosen items, as large as their labels allow."""
        groups = {key: labels[chosen] for key, labels in groups.items()}
        size = largest_batch(**groups, sampling=self.sampling, n_classes=self.n_classes, n_views=self.n_views)
        if size != (self.n_classes, self.n_views):
            warnings.warn(
                f"{type(self).__name__}: batches for {purpose} reduced from {self.n_classes} classes x {self.n_views} "
                f"views to {size[0]} x {size[1]}: the group labels have no more for sampling={self.sampling!r}.",
                UserWarning,
                stacklevel=4,
            )
        sampler = MultiviewBatchSampler(
            **groups,
            sampling=self.sampling,
            n_classes=size[0],
            n_views=size[1],
            n_batches=n_batches,
            random_state=random_state,
        )
        dataset = SegmentDataset(rows, sampler.labels, items[chosen], self.segment_length_)
        return BatchLoader(dataset, sampler, random_state)

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Describe the rooms of recordings.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.

        Returns
        -------
        ndarray of shape (n_rows, 64)
            Embeddings of norm 1.
        """
        check_is_fitted(self, "net_")
        name = type(self).__name__
        rows = check_rows(X, caller=name, allow_integers=True)
        shortest = getattr(self.network_, "min_times", self.segment_length_)
        check_time_axis(rows, shortest, caller=name)
        warn_of_repeats(np.array([len(row) for row in rows]), shortest, self.sample_rate, caller=name)
        hop = self.segment_length_ if self.hop_duration is None else round(self.hop_duration * self.sample_rate)
        features = embed(
            self.network_,
            rows,
            length=self.segment_length_,
            shortest=shortest,
            hop=max(hop, 1),
            batch_size=self.batch_size,
            n_features=self._n_features_out,
        )
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    @property
    def network_(self) -> nn.Module:
        """The trained network, without the projection."""
        return self.net_.module_[0]

    @property
    def history_(self) -> pd.DataFrame:
        """Epochs, their losses and seconds."""
        epochs = pd.DataFrame(self.net_.history.to_list())
        return epochs.reindex(columns=["epoch", "train_loss", "valid_loss", "dur"])

    @property
    def n_iter_(self) -> int:
        """Number of epochs trained."""
        return len(self.net_.history)


def _builder(network: str | Callable[[int], nn.Module]) -> Callable[[int], nn.Module]:
    """Return what builds the network, given the samples in a segment."""
    return NETWORKS[network] if isinstance(network, str) else network


def _shortest_clip(network: str | Callable[[int], nn.Module]) -> int:
    """Return the fewest samples that a network can be built for; 1 where it does not say."""
    return getattr(_builder(network), "MIN_TIMES", 1)


def _count_outputs(network: nn.Module, n_times: int) -> int:
    """Return the length of a network's embedding, by a trial, or raise if its output is no embedding."""
    network.eval()
    with torch.inference_mode():
        output = network(torch.zeros(2, n_times))
    if output.ndim != 2 or len(output) != 2:
        raise ValueError(
            "ContrastiveRoomEncoder: network must map waveforms (n, n_times) to features (n, n_features), "
            f"got an output of shape {tuple(output.shape)} for an input of shape (2, {n_times})."
        )
    return output.shape[1]


def _plateau_level(n_classes: int, n_views: int, tau: float) -> float:
    """Return the loss below which training has visibly left its start.

    At chance every other row is as likely as any: ln(NM - 1). At best positives are alike and negatives orthogonal.
    """
    n_negatives = (n_classes - 1) * n_views
    chance = np.log(n_negatives + n_views - 1)
    best = np.log(n_views - 1 + n_negatives * np.exp(-1 / tau))
    return float(chance - _PLATEAU_MARGIN * (chance - best))
