"""The contrastive encoder, from reverberant waveforms to unit-norm embeddings of the room."""

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
from roomacoustic_sk._recordings import Recordings
from roomacoustic_sk._segmentation import choose_segment_length, warn_of_repeats
from roomacoustic_sk._state import State
from roomacoustic_sk._torch.batches import (
    BatchLoader,
    KeptBatches,
    SegmentSource,
    WarmUpLoader,
    kept_batches,
    learn_level,
    spectrogram_cache,
)
from roomacoustic_sk._torch.estimator import Groups, RecordingEstimator, Streams, Task
from roomacoustic_sk._torch.training import Objective, RoomNet, Score
from roomacoustic_sk._validation import (
    LARGEST_LAYER,
    ArgumentValueError,
    as_array,
    check_choice,
    check_flag,
    check_number,
    door,
    name_rows,
    warn,
)
from roomacoustic_sk.losses import SupConLoss, check_tau, plateau_level, retrieval
from roomacoustic_sk.networks import (
    STANDARDISATIONS,
    build_network,
    check_network,
    count_outputs,
    projection_for,
    shortest_clip,
    without_contract,
)
from roomacoustic_sk.samplers import SAMPLINGS, MultiviewBatchSampler, Views, hold_out_views

SCORINGS = ("retrieval", "loss")

MOST_VIEWS = 1_000
"""Largest number of random segments of one recording in a batch."""


class ContrastiveRoomEncoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, RecordingEstimator):
    """Learn an embedding of the room from reverberant speech, by contrastive learning.

    Recordings made through the same room impulse response (RIR) are pulled together and recordings made through
    different ones are pushed apart, regardless of the speech. `transform` returns 64 numbers on the unit sphere, from
    which a head such as `RoomRegressor` estimates reverberation time, clarity or volume.

    Parameters
    ----------
    network : {"compact", "bandwise", "pooled", "paper"} or callable, default="compact"
        The encoder network: `CompactRoomCNN`, `BandwiseRoomCNN`, `PooledRoomCNN`, `RoomCNN`, or a class (or
        other callable) that takes the number of samples in a segment and, if it has such a parameter, `sample_rate`,
        and returns a module that maps waveforms (n, n_times) to features (n, n_features); see `RoomNetwork`.
    standardise : {"clip", "training_set"}, default="clip"
        Whether the spectrogram of each clip is standardised on its own, so that the level of a recording does not
        matter, or all by one mean and one deviation, which `fit` learns from the training recordings. Levels then
        count, as they tell distance and size of a room: choose "training_set" only if all recordings, those of the
        training and those to come, were made at the same gain with talkers of like loudness.
    tau : float, default=0.1
        Temperature of the contrastive loss.
    sampling : {"soft", "hard", "position_independent"}, default="soft"
        How batches are built, see `MultiviewBatchSampler`. Hard sampling needs `source_groups`, position-independent
        sampling also needs `room_groups`.
    soft_warm_up : bool, default=False
        Whether training begins with soft batches, until an epoch ends with the training loss below its chance level,
        whatever the `sampling`. Hard batches of varied speech can keep a network at chance level for many epochs.
    n_classes : int, default=24
        Number of classes in a batch (N).
    n_views : int, default=3
        Number of views of each class (M).
    sample_rate : int, default=16000
        Sampling rate of the waveforms, in Hz; 8000 or more, and 16000 for "paper".
    segment_duration : float, default=4.0
        Length of the segments that the network is trained on, in s.
    hop_duration : float, optional
        Step between the segments of a longer recording in `transform`, in s; the segment length by default.
    lr : float, default=1e-3
        Learning rate of Adam.
    max_epochs : int, default=100
        Maximum number of epochs. With 0 the network keeps its random initial weights, as a baseline.
    steps_per_epoch : int, default=128
        Number of batches per epoch.
    validation_steps : int, default=32
        Number of validation batches after each epoch, the same ones each time.
    validation_fraction : float, default=0.2
        Fraction of the sources (of the recordings if `source_groups` is not given) held out for validation. With 0,
        nothing is held out and the training loss decides.
    scoring : {"retrieval", "loss"}, default="retrieval"
        Validation criterion used to select the best weights: the share of clips whose most similar clip in the batch
        has the same label, see `roomacoustic_sk.losses.retrieval`; or the loss, as in the paper. At a low temperature
        the loss starts to rise, as the network becomes more confident, long before its embeddings get worse.
    patience : int, default=4
        Number of epochs without improvement after which training stops. Epochs at the start, while the training loss
        is still at its chance level, do not count.
    batch_size : int, default=32
        Number of segments that `transform` embeds at once. A larger value may suit a GPU.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Number format of the convolutions during training; "auto" uses bfloat16 if the processor supports it. Loss,
        projection, spectrogram and `transform` always use float32.
    compile : {"auto"} or bool, default="auto"
        Whether to compile the network for training, which needs a C++ compiler and takes 5 to 30 s on an idle machine.
        "auto" compiles if training on a CPU with a compiler, for 2 000 steps or more, and the network benefits
        ("paper" does not).
    device : str or torch.device, default="auto"
        "auto" uses CUDA if it is available, otherwise the CPU.
    callbacks : list of skorch callbacks, optional
        Additional callbacks for training.
    checkpoint_dir : str or path-like, optional
        Folder for checkpoints. `fit` saves its state there after every epoch; the same `fit`, restarted after it was
        killed or interrupted, resumes after the last complete epoch and gives the same result. Needs `random_state`.
        Fits with other parameters or data have their own files; delete the folder when done.
    warm_start : bool, default=False
        If True, `fit` resumes from the previous fit, for up to `max_epochs` more epochs, instead of reinitialising the
        weights.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches, segments and the choice of held-out recordings. Global random generators are left
        unchanged.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    module_ : torch.nn.Module
        The network with the best weights, used by `transform`.
    network_ : torch.nn.Module
        The same network; for a module of your own, without the adapter around it.
    net_ : skorch.NeuralNet
        The skorch net that trained it; its module is the network followed by the projection.
    segment_length_ : int
        Number of samples in a segment.
    n_classes_, n_views_ : int
        Size of the training batches.
    history_ : pandas.DataFrame
        One row per epoch: epoch, losses, retrieval score and duration in s.
    n_iter_ : int
        Number of epochs trained.
    n_features_in_ : int
        Number of samples per recording in the training data, if that was an array.

    Raises
    ------
    TypeError, ValueError
        By `fit` and `transform`: if a parameter is out of range; if waveforms are not finite, silent or of the wrong
        shape; if group labels are missing, misaligned or too few for the sampling.

    Notes
    -----
    An array must have as many samples per recording as the training array had, which catches recordings at the wrong
    sampling rate. Recordings in a list of 1-D arrays may have any length.

    Recordings longer than a segment are cut: in training at random, in `transform` into successive segments, the last
    one flush with the end, whose embeddings are averaged and normalised again. Shorter recordings are repeated from
    their beginning, with a warning, up to the shortest clip that the network accepts: a segment in training and for
    ``network="paper"``, 0.5 s for the other networks in `transform`. If all recordings are shorter than
    `segment_duration`, the segments are shortened instead. Integer waveforms are treated as PCM; the level matters only
    with ``standardise="training_set"``.

    Recordings may be on disk: Zarr arrays, HDF5 datasets, memory maps and the data of `load_recordings` are read a few
    segments at a time, never whole.

    Ctrl-C ends `fit` with a KeyboardInterrupt. After at least one complete epoch, the encoder is fitted with the best
    weights so far; before that, and if `fit` raises an error, it is left unchanged.

    If a network has an attribute `parts`, the lengths of the parts that make up its embedding, a contrastive loss is
    computed for each part as well as for the whole embedding, each after its own projection, and their mean is
    minimised. `BandwiseRoomCNN` has one part for each of four frequency ranges.

    Without `rir_groups` every recording counts as its own transmission path, and its views are random segments of it,
    at most half as long as the longest recording. The encoder can thus be trained on unlabelled recordings. If the
    recordings are too short for that, all views of a recording are identical, and a warning is issued.

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

    # With metadata routing enabled, group labels are requested by default.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}
    __metadata_request__partial_fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    def __init__(
        self,
        *,
        network: str | Callable[..., nn.Module] = "compact",
        standardise: str = "clip",
        tau: float = 0.1,
        sampling: str = "soft",
        soft_warm_up: bool = False,
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
        self.standardise = standardise
        self.tau = tau
        self.sampling = sampling
        self.soft_warm_up = soft_warm_up
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
    _MEASURED: ClassVar = ("train_loss", "valid_loss", "valid_retrieval")
    _BUILT_WITH: ClassVar = ("network", "standardise", "segment_duration", "sample_rate")

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
            Label of each recording's transmission path. Without it every recording has its own.
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
        with self._fitting():
            self._check_parameters()
            start = getattr(self, "net_", None) if self.warm_start else None
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

        For recordings that arrive in parts, or that change from epoch to epoch. There is no validation, no early
        stopping and no checkpoint.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.
        y : None
            Ignored.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            As for `fit`. Labels may differ from call to call.

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
        check_choice(self.standardise, STANDARDISATIONS, name="standardise")
        check_choice(self.sampling, SAMPLINGS, name="sampling")
        check_flag(self.soft_warm_up, name="soft_warm_up")
        check_choice(self.scoring, SCORINGS, name="scoring")
        check_tau(self.tau)
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
        task = _Contrast(self, recordings.for_training(), items, segment_length, validation_fraction, start)
        net = self._train(task, partial=partial)
        self._keep(task, net)
        self.segment_length_ = segment_length
        self.n_classes_, self.n_views_ = task.batch_size
        if start is None:
            self._n_features_out = task.n_features
            self._built_with = {name: getattr(self, name) for name in self._BUILT_WITH}

    def _items(self, labels: GroupLabels, recordings: Recordings) -> _Items:
        """Return the items that views are drawn from: labelled recordings, or segments of unlabelled ones."""
        indices = np.arange(len(recordings))
        if labels.rir is None and labels.given:
            raise ArgumentValueError(f"rir_groups must be given together with {' and '.join(labels.given)}, got None.")
        if labels.rir is not None:
            _check_two_rirs(labels.rir, "one RIR")
            return _Items(indices, labels, labelled=True)
        # Segments of one recording share a transmission path; otherwise each recording has its own.
        origin = indices if recordings.origin is None else recordings.origin
        got = "one sample and no rir_groups (so that each recording has its own RIR)"
        if recordings.origin is not None:
            got = "segments of one recording and no rir_groups"
        _check_two_rirs(origin, got)
        if np.unique(origin, return_counts=True)[1].min() < self.n_views:
            check_number(
                self.n_views,
                name="n_views",
                limit=MOST_VIEWS,
                fix="Pass rir_groups, or fewer views: without rir_groups they are segments of one recording.",
            )
            indices = np.repeat(indices, self.n_views)  # as many items as views, each a random segment
        return _Items(indices, GroupLabels.checked(len(indices), origin[indices]), labelled=False)

    def _segment_length(self, recordings: Recordings, items: _Items, shortest: int) -> int:
        """Return the segment length in samples; random segments of a recording must differ to serve as its views."""
        repeated, wanted = len(items.indices) > len(recordings), self._samples_in(self.segment_duration)
        length = choose_segment_length(recordings, wanted, shortest, share=2 if repeated else 1)
        longest = int(recordings.lengths.max())
        if repeated and longest <= length:
            warn(
                f"X should have recordings longer than {length / self.sample_rate:g} s if there are no rir_groups, "
                f"since views are random segments of a recording, got at most {longest / self.sample_rate:g} s. All "
                "views of a recording are now identical, and almost nothing can be learnt from them."
            )
        return length

    @door
    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed recordings.

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
        norms = np.linalg.norm(features, axis=1, keepdims=True)
        if not norms.all():
            zeros = name_rows(np.flatnonzero(norms == 0))
            raise ArgumentValueError(f"network must map X to embeddings other than zero, got zeros for {zeros}.")
        return features / norms

    def _applied(self, module: Any) -> Any:
        return module[0]  # without the projection

    def _fitted_state(self) -> dict[str, Any] | None:
        state = super()._fitted_state()
        if state is None:
            return None
        batch = {"n_classes": self.n_classes_, "n_views": self.n_views_}
        return state | batch | {"n_features_out": self._n_features_out}

    def _restore(self, state: State) -> None:
        self.n_classes_, self.n_views_ = state.whole("n_classes", low=2), state.whole("n_views", low=2)
        self._n_features_out = state.whole("n_features_out", low=1, high=LARGEST_LAYER)
        super()._restore(state)
        n_features = count_outputs(self.module_, self.module_.min_times)
        if n_features != self._n_features_out:
            raise ArgumentValueError(f"n_features_out must be that of the network, {n_features}.")

    def _rebuild(self, weights: State) -> nn.Module:
        built = self._built_with
        network = build_network(built["network"], self.segment_length_, built["sample_rate"], built["standardise"])
        return nn.Sequential(network, projection_for(network, self._n_features_out))

    @property
    def network_(self) -> nn.Module:
        """The trained network, without the projection."""
        return without_contract(self.module_)


class _Items(NamedTuple):
    """The items that views are drawn from."""

    indices: NDArray[np.intp]  # the recording of each item
    labels: GroupLabels  # of the items
    labelled: bool  # whether the user passed rir_groups


class _Contrast(Task):
    """Contrastive training of an encoder."""

    label = "encoder"

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
        self.n_features = 0  # set when the network is built
        self.batch_size = 0, 0  # classes and views, set when the loaders are built

    def hold_out(self, random_state: RandomState) -> NDArray[np.bool_]:
        """Hold out whole sources, or recordings if the sources are unknown."""
        sampling, whole_rirs = self.encoder.sampling, not self.items.labelled
        return hold_out_views(
            self.items.labels, self.validation_fraction, sampling, random_state, whole_rirs=whole_rirs
        )

    def build(self) -> nn.Module:
        """Return the network followed by the projection for the loss."""
        encoder = self.encoder
        network = build_network(encoder.network, self.segment_length, encoder.sample_rate, encoder.standardise)
        self.n_features = count_outputs(network, self.segment_length)
        projection = projection_for(network, self.n_features)
        if not list(network.parameters()):
            given = type(without_contract(network)).__name__
            raise ArgumentValueError(f"network must have weights to train, got a {given}.")
        return nn.Sequential(network, projection)

    def loaders(
        self, module: Any, device: torch.device, autocast: bool, held_out: NDArray[np.bool_], streams: Streams
    ) -> tuple[BatchLoader | WarmUpLoader, BatchLoader | KeptBatches | None]:
        """Return loaders of batches as large as the labels allow."""
        encoder, front_end = self.encoder, module[0].front_end
        if self.start is None:
            indices = self.items.indices[~held_out]
            source = SegmentSource(self.recordings, indices, indices, self.segment_length)
            learn_level(front_end, source, np.arange(len(indices)))
        cache = spectrogram_cache(front_end, self.recordings, self.segment_length, device, autocast)

        def sampler(part: NDArray[np.bool_], n_batches: int, random_state: Any, purpose: str) -> MultiviewBatchSampler:
            views = Views.of(self.items.labels.take(part), encoder.sampling)
            size = views.largest_batch(encoder.n_classes, encoder.n_views)
            if size != (encoder.n_classes, encoder.n_views):
                warn(
                    f"batches for {purpose} reduced from {encoder.n_classes} classes x {encoder.n_views} views to "
                    f"{size[0]} x {size[1]}: the group labels do not allow more with sampling={encoder.sampling!r}."
                )
            return MultiviewBatchSampler.of_views(views, *size, n_batches, random_state)

        def loader(part: NDArray[np.bool_], batches: MultiviewBatchSampler) -> BatchLoader:
            indices, length = self.items.indices[part], self.segment_length
            source = SegmentSource(self.recordings, indices, batches.labels, length, cache)
            return BatchLoader(source, batches, batches.random_state)

        batches = sampler(~held_out, encoder.steps_per_epoch, streams.training, "training")
        self.batch_size = batches.n_classes, batches.n_views
        train, valid = loader(~held_out, batches), None
        if held_out.any():
            of_validation = sampler(held_out, encoder.validation_steps, streams.validation, "validation")
            valid = kept_batches(loader(held_out, of_validation), front_end, device, autocast)
        if encoder.soft_warm_up and encoder.sampling != "soft":
            return WarmUpLoader(loader(~held_out, self._soft(batches, ~held_out)), train), valid
        return train, valid

    def _soft(self, batches: MultiviewBatchSampler, part: NDArray[np.bool_]) -> MultiviewBatchSampler:
        """Return soft batches of the size of others, so that their loss has the same chance level."""
        views, size = Views.of(self.items.labels.take(part), "soft"), (batches.n_classes, batches.n_views)
        if views.most_classes(size[1]) < size[0]:
            raise ArgumentValueError(
                f"soft_warm_up must be False where the group labels do not allow soft batches of {size[0]} classes x "
                f"{size[1]} views, got True. Each RIR needs that many sources."
            )
        return MultiviewBatchSampler.of_views(views, *size, len(batches), batches.random_state)

    def learns_from(self) -> tuple[Any, ...]:
        """Return the recordings and the labels of the items."""
        return self.recordings.digest(), self.items.indices, tuple(self.items.labels), self.segment_length

    def objective(self) -> Objective:
        """Return the contrastive loss, with the retrieval score for validation."""
        return Objective(
            SupConLoss(self.encoder.tau),
            plateau_level(*self.batch_size, self.encoder.tau),
            Score("retrieval", retrieval),
            monitors_score=self.encoder.scoring == "retrieval",
        )

    def compiling_pays(self, module: Any) -> bool:
        """Return the network's own answer."""
        return module[0].COMPILING_PAYS


def _check_two_rirs(rir: NDArray[np.intp], got: str) -> None:
    """Refuse labels of a single class, which leave nothing to contrast."""
    if (rir == rir[0]).all():
        raise ArgumentValueError(f"rir_groups must contain at least two different RIRs, got {got}.")


def _warn_of_missing_targets(y: Any) -> None:
    """Warn, before minutes of training, that an estimator after the encoder may refuse these targets."""
    if y is None:
        return
    missing = np.atleast_1d(pd.isna(as_array(y, name="y", expected="None or one target for each recording")))
    n_missing = int(missing.reshape(len(missing), -1).any(axis=1).sum())
    if n_missing and missing.ndim == 1:  # regressors take several targets, some of them missing
        warn(
            f"y has missing targets for {n_missing} of {len(missing)} recordings. The encoder does not use y, but an "
            "estimator after it will refuse missing targets: drop these recordings, e.g. "
            "X[keep] with keep = ~numpy.isnan(y)."
        )
