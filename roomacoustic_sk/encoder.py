"""The contrastive encoder: reverberant waveforms in, unit-norm descriptions of the room out."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import nn

from roomacoustic_sk._labels import GroupLabels
from roomacoustic_sk._recordings import Recordings, choose_segment_length, warn_of_repeats
from roomacoustic_sk._torch.batches import BatchLoader, SegmentSource, spectrogram_cache
from roomacoustic_sk._torch.estimator import Groups, RecordingEstimator, Streams, Task
from roomacoustic_sk._torch.training import Objective, RoomNet, Score
from roomacoustic_sk._validation import ArgumentValueError, check_choice, check_number, door, warn
from roomacoustic_sk.losses import SupConLoss, plateau_level, retrieval
from roomacoustic_sk.networks import (
    build_network,
    check_network,
    count_outputs,
    projection_for,
    shortest_clip,
    without_contract,
)
from roomacoustic_sk.samplers import SAMPLINGS, MultiviewBatchSampler, Views, hold_out_views

SCORINGS = ("retrieval", "loss")


class ContrastiveRoomEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RecordingEstimator):
    """Learn to describe the room that speech was recorded in, by contrast between rooms.

    Recordings through the same room impulse response (RIR) are pulled together, recordings through different ones
    are pushed apart, whatever is being said. `transform` then gives 64 numbers, on the unit sphere, from which a
    head such as `RoomRegressor` reads reverberation time, clarity or volume.

    Parameters
    ----------
    network : {"bandwise", "pooled", "paper"} or callable, default="bandwise"
        The encoder: `BandwiseRoomCNN`, `PooledRoomCNN`, `RoomCNN`, or a class (or other callable) that is
        called with the number of samples in a segment, and with `sample_rate` where it takes that, and returns a
        module from waveforms (n, n_times) to features (n, n_features), see `RoomNetwork`.
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
        Sampling rate of the waveforms, in Hz; 8000 or more for "bandwise" and "pooled", 16000 for "paper".
    segment_duration : float, default=4.0
        Length of the segments that the network is trained on, in s.
    hop_duration : float, optional
        Step between the segments of a longer recording in `transform`, in s; a whole segment by default.
    lr : float, default=1e-3
        Step size of Adam.
    max_epochs : int, default=100
        Epochs at most. With 0 the network keeps its random initial weights, as a baseline.
    steps_per_epoch : int, default=128
        Batches in an epoch.
    validation_steps : int, default=32
        Validation batches after each epoch, the same ones each time.
    validation_fraction : float, default=0.2
        Share of the sources (of the recordings where `source_groups` is not given) held out for validation. 0 holds
        out none: then the training loss decides.
    scoring : {"retrieval", "loss"}, default="retrieval"
        What makes weights the best, in validation: the share of clips whose most similar clip in the batch has the
        same label, see `roomacoustic_sk.losses.retrieval`; or the lowest loss, as in the paper. The loss at a low
        temperature rises with the confidence of a network long before its embeddings get worse.
    patience : int, default=4
        Epochs without a new best after which training stops. Epochs at the start, while the training loss is still
        at its chance level, do not count.
    batch_size : int, default=32
        Segments that `transform` embeds at once. A GPU may want more.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        What the convolutions compute in during training; "auto" takes bfloat16 where the processor has it. Loss,
        projection, spectrogram and `transform` are in float32 always.
    compile : {"auto"} or bool, default="auto"
        Whether the network is compiled for training, which takes a C++ compiler and, on an idle machine, 5 to 30 s.
        "auto" does so on a CPU with a compiler for the networks that gain by it (not "paper") and 2 000 steps or more,
        and else goes without.
    device : str or torch.device, default="auto"
        "auto" is CUDA where there is one, else the CPU.
    callbacks : list of skorch callbacks, optional
        Further hooks into training.
    checkpoint_dir : str or path, optional
        Folder for checkpoints: `fit` saves its state there after every epoch, and the same `fit`, started again after
        it was killed or interrupted, resumes after the last whole epoch and gives the same result. Needs
        `random_state`. Fits with other parameters or data have files of their own; delete the folder when done.
    warm_start : bool, default=False
        If True, `fit` resumes from the previous fit, for up to `max_epochs` more epochs, instead of reinitialising the
        weights.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches, segments and the held-out sources. Global generators are left alone.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network with the best weights, which `transform` applies.
    network_ : torch.nn.Module
        The same, without what may have been put around a module of your own.
    net_ : skorch.NeuralNet
        The net that trained it; its module is the network followed by the projection.
    segment_length_ : int
        Samples in a segment.
    n_classes_, n_views_ : int
        Size of the training batches.
    history_ : pandas.DataFrame
        Epoch, losses, share of retrieval and seconds, one row an epoch.
    n_iter_ : int
        Epochs trained.
    n_features_in_ : int
        Samples in a row of the training data, where that was an array.

    Raises
    ------
    TypeError, ValueError
        By `fit` and `transform`: a parameter out of range, waveforms that are not finite, silent or of a wrong shape,
        group labels that are missing, misaligned or too few for the sampling.

    Notes
    -----
    An array must have as many samples a row as the array of the training had, which catches recordings at a wrong
    rate; a list of 1-D arrays may have recordings of any length.

    Recordings longer than a segment give random segments in training; in `transform` they are cut into segments, the
    last one flush with the end, whose embeddings are averaged and normalised again. Shorter ones are repeated from
    their beginning, with a warning, up to the shortest clip that the network takes: a segment in training and for
    ``network="paper"``, 0.5 s for the other networks in `transform`. Where all recordings are shorter than
    `segment_duration`, segments are shortened instead. Integer waveforms are taken as PCM; the level does not matter.

    Recordings may lie on disk: Zarr arrays, HDF5 datasets, memory maps and what `load_recordings` returns are read a
    few segments at a time, never whole.

    Ctrl-C ends `fit` with a KeyboardInterrupt. If an epoch was whole, the encoder is fitted with the best weights so
    far; before that, and where `fit` raises an error, it stays as it was.

    A network with an attribute `parts`, the lengths of the parts that make up its embedding, has a contrastive loss of
    each part besides that of the whole, each after a projection of its own, and training follows their mean.
    `BandwiseRoomCNN` has a part for each of four frequency ranges.

    Without `rir_groups` every recording counts as its own transmission path, and its views are random segments of it,
    at most half as long as the recordings: so the encoder learns from unlabelled recordings too. Recordings too short
    for that give views that are all the same, with a warning.

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

    # Group labels go where they are of use without being asked for, where metadata routing is enabled.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}
    __metadata_request__partial_fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    def __init__(
        self,
        *,
        network: str | Callable[..., nn.Module] = "bandwise",
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
        scoring: str = "retrieval",
        patience: int = 4,
        batch_size: int = 32,
        precision: str = "auto",
        compile: str | bool = "auto",
        device: Any = "auto",
        callbacks: list[Any] | None = None,
        checkpoint_dir: str | os.PathLike[str] | None = None,
        warm_start: bool = False,
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
        self.scoring = scoring
        self.patience = patience
        self.batch_size = batch_size
        self.precision = precision
        self.compile = compile
        self.device = device
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    _n_features_out: int

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    @door
    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
    ) -> Self:
        """Train the encoder.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.
        y : None
            Ignored; targets are for the head.
        rir_groups : array-like of shape (n_recordings,), optional
            Label of each recording's transmission path. Without it every recording is its own.
        source_groups : array-like of shape (n_recordings,), optional
            Label of each recording's dry source signal.
        room_groups : array-like of shape (n_recordings,), optional
            Label of each recording's room.

        Returns
        -------
        ContrastiveRoomEncoder
            Itself.
        """
        _warn_of_missing_targets(y)
        start = getattr(self, "net_", None) if self.warm_start else None
        with self._fitting():
            self._check_parameters()
            groups = rir_groups, source_groups, room_groups
            self._fit(X, groups, start)
        return self

    @door
    def partial_fit(
        self,
        X: Any,
        y: Any = None,
        *,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
    ) -> Self:
        """Train for one more epoch, on these recordings alone.

        For recordings that come in parts, or fresh ones for every epoch. Nothing is held out, nothing stops it, and no
        checkpoint is written.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.
        y : None
            Ignored.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            As for `fit`. Labels need not be the same from call to call.

        Returns
        -------
        ContrastiveRoomEncoder
            Itself.
        """
        start = getattr(self, "net_", None)
        with self._fitting():
            self._check_parameters()
            groups = rir_groups, source_groups, room_groups
            self._fit(X, groups, start, partial=True)
        return self

    def _check_parameters(self) -> None:
        check_network(self.network)
        super()._check_parameters()
        check_choice(self.sampling, SAMPLINGS, name="sampling")
        check_choice(self.scoring, SCORINGS, name="scoring")
        check_number(self.tau, name="tau", low=0, low_open=True)
        for parameter in ("n_classes", "n_views"):
            check_number(getattr(self, parameter), name=parameter, low=2, integer=True)
        for parameter in ("steps_per_epoch", "validation_steps"):
            check_number(getattr(self, parameter), name=parameter, low=1, integer=True)

    def _fit(self, X: Any, groups: Groups, start: RoomNet | None, *, partial: bool = False) -> None:
        if start is not None:
            self._check_warm_start()
        shortest = shortest_clip(self.network, self.sample_rate)
        recordings = self._check_recordings(X, shortest, reset=start is None)
        items = self._items(GroupLabels.checked(len(recordings), *groups, one_room_each=True), recordings)
        segment_length = self._segment_length(recordings, items, shortest) if start is None else self.segment_length_
        warn_of_repeats(recordings, segment_length)
        validation_fraction = 0.0 if partial else self.validation_fraction
        task = _Contrast(self, recordings, items, segment_length, validation_fraction, start)
        net = self._train(task, partial=partial)
        self._keep(task, net)
        self.segment_length_ = segment_length
        self.n_classes_, self.n_views_ = task.batch_size
        if start is None:
            self._n_features_out = task.n_features
            built_with = ("network", "segment_duration", "sample_rate")
            self._built_with = {name: getattr(self, name) for name in built_with}

    def _items(self, labels: GroupLabels, recordings: Recordings) -> _Items:
        """Return what views are drawn from: labelled recordings, or random segments of unlabelled ones."""
        indices = np.arange(len(recordings))
        if labels.rir is None and labels.given:
            raise ArgumentValueError(f"rir_groups must be given where {' and '.join(labels.given)} is, got None.")
        if labels.rir is not None:
            _check_two_rirs(labels.rir, "one RIR")
            return _Items(indices, labels, labelled=True)
        # Segments of one recording are of one transmission path; without longer recordings, each is its own.
        origin = indices if recordings.origin is None else recordings.origin
        got = "one sample and no rir_groups (so that each row is an RIR of its own)"
        if recordings.origin is not None:
            got = "segments of one recording and no rir_groups"
        _check_two_rirs(origin, got)
        if np.unique(origin, return_counts=True)[1].min() < self.n_views:
            indices = np.repeat(indices, self.n_views)  # as many items as views, each a random segment
        return _Items(indices, GroupLabels.checked(len(indices), origin[indices]), labelled=False)

    def _segment_length(self, recordings: Recordings, items: _Items, shortest: int) -> int:
        """Return the samples in a segment; random segments of a recording must differ to be views of it."""
        repeated, wanted = len(items.indices) > len(recordings), self._samples_in(self.segment_duration)
        length = choose_segment_length(recordings, wanted, shortest, share=2 if repeated else 1)
        longest = int(recordings.lengths.max())
        if repeated and longest <= length:
            warn(
                f"X should have recordings longer than {length / self.sample_rate:g} s where there are no rir_groups, "
                f"for their views are random segments of them, got {longest / self.sample_rate:g} s at most. The "
                "views of a recording are all the same now, and teach next to nothing."
            )
        return length

    @door
    def transform(self, X: Any) -> NDArray[np.float32]:
        """Describe the rooms of recordings.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.

        Returns
        -------
        ndarray of shape (n_recordings, 64)
            Embeddings of norm 1.
        """
        check_is_fitted(self, "module_")
        features = self._apply(X, self.module_.min_times, self._n_features_out, self.batch_size)
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    def _applied(self, module: Any) -> Any:
        return module[0]  # without the projection

    @property
    def network_(self) -> nn.Module:
        """The trained network, without the projection."""
        return without_contract(self.module_)


class _Items(NamedTuple):
    """What views are drawn from."""

    indices: NDArray[np.intp]  # the recording of each item
    labels: GroupLabels  # of the items
    labelled: bool  # whether the user told the transmission paths


class _Contrast(Task):
    """A contrastive training."""

    label = "encoder"
    measured = ("train_loss", "valid_loss", "valid_retrieval")

    def __init__(
        self,
        encoder: ContrastiveRoomEncoder,
        recordings: Recordings,
        items: _Items,
        segment_length: int,
        validation_fraction: float,
        start: RoomNet | None,
    ) -> None:
        super().__init__(start)
        self.encoder, self.recordings, self.items = encoder, recordings, items
        self.segment_length, self.validation_fraction = segment_length, validation_fraction
        self.n_features = 0  # known when the network is built
        self.batch_size = 0, 0  # classes and views, known when batches are

    def hold_out(self, random_state: RandomState) -> NDArray[np.bool_]:
        """Hold out whole sources, or recordings where sources are not known."""
        sampling, whole_rirs = self.encoder.sampling, not self.items.labelled
        return hold_out_views(
            self.items.labels, self.validation_fraction, sampling, random_state, whole_rirs=whole_rirs
        )

    def build(self) -> nn.Module:
        """Return the network followed by the projection on which the loss works."""
        network = build_network(self.encoder.network, self.segment_length, self.encoder.sample_rate)
        self.n_features = count_outputs(network, self.segment_length)
        return nn.Sequential(network, projection_for(network, self.n_features))

    def loaders(
        self, module: Any, device: torch.device, autocast: bool, held_out: NDArray[np.bool_], streams: Streams
    ) -> tuple[BatchLoader, BatchLoader | None]:
        """Return batches as large as the labels allow."""
        encoder = self.encoder
        cache = spectrogram_cache(module[0].front_end, self.recordings, self.segment_length, device, autocast)

        def sampler(part: NDArray[np.bool_], n_batches: int, random_state: Any, purpose: str) -> MultiviewBatchSampler:
            views = Views.of(self.items.labels.take(part), encoder.sampling)
            size = views.largest_batch(encoder.n_classes, encoder.n_views)
            if size != (encoder.n_classes, encoder.n_views):
                warn(
                    f"batches for {purpose} reduced from {encoder.n_classes} classes x {encoder.n_views} views to "
                    f"{size[0]} x {size[1]}: the group labels have no more for sampling={encoder.sampling!r}."
                )
            return MultiviewBatchSampler.of_views(views, *size, n_batches, random_state)

        def loader(part: NDArray[np.bool_], batches: MultiviewBatchSampler) -> BatchLoader:
            indices, length = self.items.indices[part], self.segment_length
            source = SegmentSource(self.recordings, indices, batches.labels, length, cache)
            return BatchLoader(source, batches, batches.random_state)

        batches = sampler(~held_out, encoder.steps_per_epoch, streams.training, "training")
        self.batch_size = batches.n_classes, batches.n_views
        train = loader(~held_out, batches)
        if not held_out.any():
            return train, None
        return train, loader(held_out, sampler(held_out, encoder.validation_steps, streams.validation, "validation"))

    def learns_from(self) -> tuple[Any, ...]:
        """Return the recordings and the labels of the items."""
        return self.recordings.digest(), self.items.indices, tuple(self.items.labels), self.segment_length

    def objective(self) -> Objective:
        """Return the contrastive loss, watched by the share of views that are found again."""
        return Objective(
            SupConLoss(self.encoder.tau),
            plateau_level(*self.batch_size, self.encoder.tau),
            Score("retrieval", retrieval),
            monitors_score=self.encoder.scoring == "retrieval",
        )

    def compiling_pays(self, module: Any) -> bool:
        """Tell what the network says."""
        return module[0].COMPILING_PAYS


def _check_two_rirs(rir: NDArray[np.intp], got: str) -> None:
    """Refuse labels of one class only: there is nothing to tell apart."""
    if (rir == rir[0]).all():
        raise ArgumentValueError(f"rir_groups must name at least two RIRs to tell apart, got {got}.")


def _warn_of_missing_targets(y: Any) -> None:
    """Warn before the encoder is trained, for minutes, that what follows it will not take these targets."""
    if y is None:
        return
    missing = pd.isna(np.asarray(y))
    n_missing = int(missing.reshape(len(missing), -1).any(axis=1).sum())
    if n_missing:
        warn(
            f"y has missing targets in {n_missing} of {len(missing)} rows. The encoder needs no y, but an estimator "
            "after it will refuse them: drop these rows, e.g. X[keep] with keep = ~numpy.isnan(y)."
        )
