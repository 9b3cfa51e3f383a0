"""The contrastive encoder: reverberant waveforms in, unit-norm descriptions of the room out."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted
from torch import nn

from roomacoustic_sk._segments import SegmentDataset, choose_segment_length
from roomacoustic_sk._torch import draw_seed, resolve_autocast, resolve_compile, resolve_device, seeded
from roomacoustic_sk._training import BatchLoader, RoomNet, TrainedNetMixin, train_net
from roomacoustic_sk._validation import Rows, check_choice, check_number
from roomacoustic_sk._waveforms import (
    WaveformEstimator,
    check_one_room_each,
    count_outputs,
    spectrogram_cache,
    warn_of_missing_targets,
)
from roomacoustic_sk.losses import SupConLoss, retrieval
from roomacoustic_sk.networks import (
    PartwiseProjection,
    ProjectionHead,
    RoomNetwork,
    build_network,
    shortest_clip,
    without_contract,
)
from roomacoustic_sk.samplers import SAMPLINGS, MultiviewBatchSampler, hold_out, largest_batch

SCORINGS = ("retrieval", "loss")
_PLATEAU_MARGIN = 0.02  # share of the way from chance to perfect separation that counts as having left the plateau


class ContrastiveRoomEncoder(TrainedNetMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, WaveformEstimator):
    """Learn to describe the room that speech was recorded in, by contrast between rooms.

    Recordings through the same room impulse response (RIR) are pulled together, recordings through different ones
    are pushed apart, whatever is being said. `transform` then gives 64 numbers, on the unit sphere, from which a
    head such as `RoomRegressor` reads reverberation time, clarity or volume.

    Parameters
    ----------
    network : {"bandwise", "pooled", "paper"} or callable, default="bandwise"
        The encoder: `BandwiseRoomCNN`, `PooledRoomCNN`, `RoomCNN`, or a class (or other callable) that is
        called with the number of samples in a segment and returns a module from waveforms (n, n_times) to features
        (n, n_features).
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
    warm_start : bool, default=False
        Whether `fit` goes on from where the last one ended, for up to `max_epochs` epochs more, instead of starting
        anew.
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
        network: str | Callable[[int], nn.Module] = "bandwise",
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
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    _n_features_out: int
    _measured = ("train_loss", "valid_loss", "valid_retrieval")

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

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
        warn_of_missing_targets(y, caller=type(self).__name__)
        start = getattr(self, "net_", None) if self.warm_start else None
        labels = {"rir_groups": rir_groups, "source_groups": source_groups, "room_groups": room_groups}
        rows, groups = self._check_training_data(X, labels, reset=start is None)
        return self._fit(rows, groups, start, self.max_epochs, self.validation_fraction)

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

        For recordings that come in parts, or fresh ones for every epoch. Nothing is held out, and nothing stops it.

        Parameters
        ----------
        X : array-like of shape (n_rows, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.
        y : None
            Ignored.
        rir_groups, source_groups, room_groups : array-like of shape (n_rows,), optional
            As for `fit`. Labels need not be the same from call to call.

        Returns
        -------
        ContrastiveRoomEncoder
            Itself.
        """
        start = getattr(self, "net_", None)
        labels = {"rir_groups": rir_groups, "source_groups": source_groups, "room_groups": room_groups}
        rows, groups = self._check_training_data(X, labels, reset=start is None)
        return self._fit(rows, groups, start, 1, 0.0)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        name = type(self).__name__
        check_choice(self.sampling, SAMPLINGS, caller=name, name="sampling")
        check_choice(self.scoring, SCORINGS, caller=name, name="scoring")
        check_number(self.tau, caller=name, name="tau", low=0, low_open=True)
        for parameter in ("n_classes", "n_views"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=2, integer=True)
        for parameter in ("steps_per_epoch", "validation_steps"):
            check_number(getattr(self, parameter), caller=name, name=parameter, low=1, integer=True)

    def _check_training_data(
        self, X: Any, labels: dict[str, ArrayLike | None], *, reset: bool
    ) -> tuple[Rows, dict[str, NDArray[Any]]]:
        self._check_parameters()
        if not reset:
            self._check_warm_start()
        name = type(self).__name__
        rows = self._check_rows(X, shortest_clip(self.network, self.sample_rate), reset=reset)
        groups = self._check_groups(labels, len(rows))
        if groups and "rir_groups" not in groups:
            raise ValueError(f"{name}: rir_groups must be given where {' and '.join(groups)} is, got None.")
        if len(np.unique(groups.get("rir_groups", np.arange(len(rows))))) < 2:
            given = "one RIR" if groups else "one sample and no rir_groups (so that each row is an RIR of its own)"
            raise ValueError(f"{name}: rir_groups must name at least two RIRs to tell apart, got {given}.")
        if "room_groups" in groups:
            check_one_room_each(groups["rir_groups"], groups["room_groups"], caller=name)
        return rows, groups

    def _fit(
        self,
        rows: Rows,
        groups: dict[str, NDArray[Any]],
        start: RoomNet | None,
        max_epochs: int,
        validation_fraction: float,
    ) -> Self:
        name, unlabelled = type(self).__name__, not groups
        random_state = check_random_state(self.random_state)
        device = resolve_device(self.device, caller=name)
        segment_length = choose_segment_length(
            rows,
            self._samples_in(self.segment_duration) if start is None else self.segment_length_,
            shortest_clip(self.network, self.sample_rate),
            self.sample_rate,
            caller=name,
            share=2 if unlabelled else 1,
            fixed=start is not None,
        )
        items = np.arange(len(rows))
        if unlabelled:  # each row is an RIR of its own: as many items as views, each a random segment of the row
            items = np.repeat(items, self.n_views)
            groups = {"rir_groups": items}
        held_out = hold_out(
            groups, validation_fraction, sampling=self.sampling, random_state=random_state, whole_rirs=unlabelled
        )
        # What follows goes on from epoch to epoch, while the same sources are held out in every call.
        seed, n_epochs = draw_seed(random_state), 0 if start is None else len(start.history)
        random_state = np.random.RandomState([seed, n_epochs])

        autocast = resolve_autocast(self.precision, device)
        with seeded(random_state):
            if start is None:
                network = build_network(self.network, segment_length, self.sample_rate)
                n_features = count_outputs(network, segment_length, caller=name)
                module: Any = nn.Sequential(network, _projection(network, n_features))
            else:
                module, n_features = start.module_, self._n_features_out
            spectrograms = spectrogram_cache(module[0], rows, segment_length, device, autocast)

            def loader(chosen: NDArray[np.bool_], n_batches: int, random_state: Any, purpose: str) -> BatchLoader:
                sampler = self._sampler({k: v[chosen] for k, v in groups.items()}, n_batches, random_state, purpose)
                dataset = SegmentDataset(rows, sampler.labels, items[chosen], segment_length, spectrograms)
                return BatchLoader(dataset, sampler, random_state)

            train = loader(~held_out, self.steps_per_epoch, random_state, "training")
            valid = loader(held_out, self.validation_steps, seed, "validation") if held_out.any() else None
            self.net_ = train_net(
                module,
                SupConLoss(self.tau),
                train,
                valid,
                lr=self.lr,
                max_epochs=max_epochs,
                patience=self.patience,
                plateau=_plateau_level(train.batch_sampler.n_classes, train.batch_sampler.n_views, self.tau),
                score=retrieval,
                monitor=self.scoring,
                device=device,
                autocast=autocast,
                compiled=resolve_compile(self.compile, module[0], device, max_epochs * len(train), caller=name),
                callbacks=self.callbacks,
                verbose=self.verbose,
                label="encoder",
                start=start,
            )
        self.segment_length_, self._n_features_out = segment_length, n_features
        self._built_with = {"network": self.network, "segment_duration": self.segment_duration}
        self.n_classes_, self.n_views_ = train.batch_sampler.n_classes, train.batch_sampler.n_views
        return self

    def _sampler(
        self, groups: dict[str, NDArray[Any]], n_batches: int, random_state: Any, purpose: str
    ) -> MultiviewBatchSampler:
        """Return batches as large as the labels allow."""
        size = largest_batch(**groups, sampling=self.sampling, n_classes=self.n_classes, n_views=self.n_views)
        if size != (self.n_classes, self.n_views):
            warnings.warn(
                f"{type(self).__name__}: batches for {purpose} reduced from {self.n_classes} classes x {self.n_views} "
                f"views to {size[0]} x {size[1]}: the group labels have no more for sampling={self.sampling!r}.",
                UserWarning,
                stacklevel=5,
            )
        return MultiviewBatchSampler(
            **groups,
            sampling=self.sampling,
            n_classes=size[0],
            n_views=size[1],
            n_batches=n_batches,
            random_state=random_state,
        )

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
        network = self.net_.module_[0]
        features = self._apply(
            network, X, shortest=network.min_times, n_outputs=self._n_features_out, batch_size=self.batch_size
        )
        return features / np.linalg.norm(features, axis=1, keepdims=True)

    @property
    def network_(self) -> nn.Module:
        """The trained network, without the projection."""
        return without_contract(self.net_.module_[0])


def _projection(network: RoomNetwork, n_features: int) -> nn.Module:
    """Return what stands between the embedding and the loss: a projection for each part, where there are several."""
    return PartwiseProjection(network.parts) if len(network.parts) > 1 else ProjectionHead(n_features)


def _plateau_level(n_classes: int, n_views: int, tau: float) -> float:
    """Return the loss below which training has visibly left its start.

    At chance every other row is as likely as any: ln(NM - 1). At best positives are alike and negatives orthogonal.
    """
    n_negatives = (n_classes - 1) * n_views
    chance = np.log(n_negatives + n_views - 1)
    best = np.log(n_views - 1 + n_negatives * np.exp(-1 / tau))
    return float(chance - _PLATEAU_MARGIN * (chance - best))
