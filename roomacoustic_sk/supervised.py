"""The supervised baseline: encoder and head trained end to end on room parameters (Table 2 of the paper)."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable
from typing import Any, ClassVar, Self

import numpy as np
import torch
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.validation import assert_all_finite, check_is_fitted
from torch import Tensor, nn

from roomacoustic_sk._labels import HELD_OUT, GroupLabels, check_classes, held_out_if_enough, share_of_labels
from roomacoustic_sk._recordings import Recordings
from roomacoustic_sk._regression import Heard, RoomRegressorMixin
from roomacoustic_sk._segmentation import choose_segment_length, warn_of_repeats
from roomacoustic_sk._state import State
from roomacoustic_sk._torch.batches import (
    BatchLoader,
    KeptBatches,
    SegmentSource,
    ShuffledBatches,
    kept_batches,
    learn_level,
    spectrogram_cache,
)
from roomacoustic_sk._torch.estimator import Groups, RecordingEstimator, Streams, Task
from roomacoustic_sk._torch.runtime import device_of
from roomacoustic_sk._torch.targets import Classification, Regression, Targets
from roomacoustic_sk._torch.time_blocks import scratch
from roomacoustic_sk._torch.training import Objective, RoomNet
from roomacoustic_sk._validation import (
    ArgumentValueError,
    check_choice,
    check_flag,
    check_layers,
    check_number,
    check_unmasked,
    describe,
    door,
    restated,
)
from roomacoustic_sk.networks import (
    STANDARDISATIONS,
    MLPHead,
    RoomNetwork,
    build_network,
    check_network,
    count_outputs,
    shortest_clip,
    with_contract,
    without_contract,
)

PREDICTION_BATCH = 32  # segments; both smaller and larger batches are slower on a CPU

MOST_SEGMENTS = 512
"""Largest number of training segments from which the spread of embeddings is learned."""


class _Frozen(nn.Module):
    """A network that is never trained: fixed weights and running averages, no dropout."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network: Any = network.requires_grad_(False)

    def train(self, mode: bool = True) -> Self:
        return super().train(False)

    def forward(self, waveforms: Tensor) -> Tensor:
        return self.network(waveforms)


class _WithEmbedding(nn.Module):
    """An encoder and its head, whose outputs follow the embedding."""

    def __init__(self, module: Any) -> None:
        super().__init__()
        self.encoder, self.head = module[0], module[1:]

    def forward(self, waveforms: Tensor) -> Tensor:
        embedding = self.encoder(waveforms)
        return torch.cat([embedding.float(), self.head(embedding)], dim=1)


class _SupervisedRoomEstimator(RecordingEstimator):
    """Base class of both supervised estimators: training from recordings to targets, and prediction."""

    # With metadata routing enabled, group labels are requested by default.
    __metadata_request__fit: ClassVar = {"rir_groups": True, "source_groups": True, "room_groups": True}

    encoder: Any
    freeze_encoder: bool
    standardise: str
    n_hidden: int
    hold_out: str
    _TARGET: ClassVar[type[Regression] | type[Classification]]
    _BUILT_WITH: ClassVar[tuple[str, ...]] = (
        "network",
        "standardise",
        "encoder",
        "freeze_encoder",
        "segment_duration",
        "sample_rate",
        "n_hidden",
    )
    _target: Any  # encodes the targets for the loss, and decodes the network's outputs

    def _check_parameters(self) -> None:
        check_network(self.network)
        super()._check_parameters()
        check_number(self.batch_size, name="batch_size", low=2, integer=True)
        check_choice(self.standardise, STANDARDISATIONS, name="standardise")
        check_choice(self.hold_out, list(HELD_OUT), name="hold_out")
        check_layers(("n_hidden", self.n_hidden))
        check_flag(self.freeze_encoder, name="freeze_encoder")
        if self.encoder is None:
            if self.freeze_encoder:
                raise ArgumentValueError("encoder must be given if freeze_encoder is True, got None.")
            return
        if isinstance(self.encoder, type) or not hasattr(self.encoder, "network_"):
            raise ArgumentValueError(
                f"encoder must be a fitted ContrastiveRoomEncoder, got {describe(self.encoder)} without weights. Fit "
                "it first, and wrap it in sklearn.frozen.FrozenEstimator, since cloning discards the weights."
            )
        if self.encoder.sample_rate != self.sample_rate:
            raise ArgumentValueError(
                f"sample_rate must match the encoder's, {self.encoder.sample_rate} Hz, got {self.sample_rate} Hz."
            )

    def _check_targets(self, y: Any) -> Any:
        raise NotImplementedError

    def _learn_target(self, y: Any) -> Regression | Classification:
        raise NotImplementedError

    def _fit(self, X: Any, y: Any, groups: Groups) -> SegmentSource:
        """Train the network, and return the segments that it was trained on."""
        self._check_parameters()
        if y is None:
            raise ArgumentValueError(
                "y must be given, as a supervised estimator requires y to be passed, but the target y is None."
            )
        start = getattr(self, "net_", None) if self.warm_start else None
        if self.encoder is None:
            shortest = shortest_clip(self.network, self.sample_rate)
        else:
            shortest = _network_of(self.encoder).min_times
        recordings = self._check_recordings(X, shortest, reset=start is None)
        if len(recordings) < 2:
            raise ArgumentValueError("X must have at least two recordings, got one sample.")
        check_unmasked(y, name="y")
        y = self._check_targets(y)
        if len(y) != len(recordings):
            raise ArgumentValueError(
                f"y must have one target for each of the {len(recordings)} recordings in X, got {len(y)}: inconsistent "
                "numbers of samples."
            )
        labels = GroupLabels.checked(len(recordings), *groups)
        segment_length = self._segment_length(recordings, shortest, start)
        warn_of_repeats(recordings, segment_length)
        if start is None:
            target = self._learn_target(y)
        else:
            self._check_warm_start()
            target = self._target
            target.check_same_kind(y)
        source = SegmentSource(recordings.for_training(), np.arange(len(recordings)), target.encode(y), segment_length)
        task = _Supervision(self, source, labels, target, start)
        net = self._train(task)
        self._keep(task, net)
        self.segment_length_, self._target = segment_length, target
        self._built_with = {name: getattr(self, name) for name in self._BUILT_WITH}
        return source

    def _segment_length(self, recordings: Recordings, shortest: int, start: RoomNet | None) -> int:
        """Return the segment length in samples, which is fixed if there are weights already."""
        if start is not None:
            return self.segment_length_
        if self.encoder is not None:
            return self.encoder.segment_length_
        return choose_segment_length(recordings, self._samples_in(self.segment_duration), shortest)

    def _outputs(self, X: Any) -> NDArray[np.float64]:
        """Return the network's output, averaged over the segments of each recording."""
        check_is_fitted(self, "module_")
        shortest = _unfrozen(self.module_[0]).min_times
        return self._apply(X, shortest, self._target.n_outputs, PREDICTION_BATCH).astype(np.float64)

    def _fitted_state(self) -> dict[str, Any] | None:
        state = super()._fitted_state()
        return None if state is None else state | {"target": self._target.state()}

    def _restore(self, state: State) -> None:
        self._target = self._TARGET.of_state(state.part("target"))
        super()._restore(state)
        network, head = _unfrozen(self.module_[0]), self.module_[1]
        if count_outputs(network, network.min_times) != head[0].in_features:
            raise ArgumentValueError("weights must be those of a head that fits the network.")

    def _rebuild(self, weights: State) -> nn.Module:
        built, length = self._built_with, self.segment_length_
        if built["encoder"] is None:
            network = build_network(built["network"], length, built["sample_rate"], built["standardise"])
        else:
            network = copy.deepcopy(_network_of(built["encoder"])).cpu()
        n_features = weights.array("1.0.weight", shape=(None, None)).shape[1]
        head = MLPHead(n_features, self._target.n_outputs, built["n_hidden"])
        return nn.Sequential(
            _Frozen(network) if built["freeze_encoder"] else network, head, self._target.output_layer()
        )

    @property
    def network_(self) -> nn.Module:
        """The trained encoder, without the head."""
        return without_contract(_unfrozen(self.module_[0]))


class _Supervision(Task):
    """Supervised training of an encoder and a head."""

    label = "supervised"

    def __init__(
        self,
        estimator: _SupervisedRoomEstimator,
        source: SegmentSource,
        labels: GroupLabels,
        target: Any,
        start: RoomNet | None,
    ) -> None:
        super().__init__(start)
        self.estimator, self.source, self.labels, self.target = estimator, source, labels, target

    def hold_out(self, random_state: RandomState) -> NDArray[np.bool_]:
        """Hold out whole sources, responses or rooms, if that leaves enough to train on."""
        wholes, fraction = self.labels.to_hold_out(self.estimator.hold_out), self.estimator.validation_fraction

        def problem(held_out: NDArray[np.bool_]) -> str:
            n_left = int(np.sum(~held_out))
            if n_left >= 2:
                return ""
            return (
                f"validation_fraction={fraction:g} leaves {n_left} of {len(held_out)} recordings for training, which "
                "needs two"
            )

        return held_out_if_enough(share_of_labels(wholes, fraction, random_state), problem)

    def build(self) -> nn.Module:
        """Return an encoder, new or copied from `encoder`, with a head on top."""
        estimator, length = self.estimator, self.source.length
        if estimator.encoder is None:
            network = build_network(estimator.network, length, estimator.sample_rate, estimator.standardise)
        else:
            network = copy.deepcopy(_network_of(estimator.encoder)).cpu()
        n_features = count_outputs(network, length)
        first: nn.Module = _Frozen(network) if estimator.freeze_encoder else network
        head = MLPHead(n_features, self.target.n_outputs, estimator.n_hidden)
        return nn.Sequential(first, head, self.target.output_layer())

    def loaders(
        self, module: Any, device: torch.device, autocast: bool, held_out: NDArray[np.bool_], streams: Streams
    ) -> tuple[BatchLoader, BatchLoader | KeptBatches | None]:
        """Return loaders that pass over all recordings once per epoch, in random order."""
        front_end, source = _unfrozen(module[0]).front_end, self.source
        if self.start is None and self.estimator.encoder is None:
            learn_level(front_end, source, np.flatnonzero(~held_out))
        source.spectrograms = spectrogram_cache(front_end, source.recordings, source.length, device, autocast)

        def loader(part: NDArray[np.bool_], batch_size: int, random_state: Any) -> BatchLoader:
            # Batch normalisation needs at least two recordings.
            sampler = ShuffledBatches(np.flatnonzero(part), batch_size, random_state, smallest=2)
            return BatchLoader(source, sampler, random_state)

        train = loader(~held_out, self.estimator.batch_size, streams.training)
        if not held_out.any():
            return train, None
        valid = loader(held_out, PREDICTION_BATCH, streams.validation)
        return train, kept_batches(valid, front_end, device, autocast)

    def learns_from(self) -> tuple[Any, ...]:
        """Return the recordings, their targets and their labels."""
        source = self.source
        return source.recordings.digest(), source.targets.numpy(), tuple(self.labels), source.length

    def objective(self) -> Objective:
        """Return the target's loss."""
        return Objective(self.target.loss())

    def compiling_pays(self, module: Any) -> bool:
        """Return the encoder network's own answer."""
        return _unfrozen(module[0]).COMPILING_PAYS


def _unfrozen(network: Any) -> RoomNetwork:
    """Return a network without the wrapper that may freeze it."""
    return network.network if isinstance(network, _Frozen) else network


def _network_of(encoder: Any) -> RoomNetwork:
    """Return the network of a fitted encoder as a `RoomNetwork`."""
    return with_contract(encoder.network_, encoder.segment_length_, encoder.sample_rate)


class SupervisedRoomRegressor(RoomRegressorMixin, _SupervisedRoomEstimator):
    """Estimate room parameters from waveforms: encoder and head trained together on the targets.

    The paper's supervised baseline. It accepts the same data and labels as a `Pipeline` of `ContrastiveRoomEncoder` and
    `RoomRegressor`, so that it can replace that pipeline in a `GridSearchCV`.

    Parameters
    ----------
    network : {"compact", "bandwise", "pooled", "paper"} or callable, default="compact"
        The encoder network, as for `ContrastiveRoomEncoder`. Ignored if `encoder` is given.
    standardise : {"clip", "training_set"}, default="clip"
        Whether the level of recordings counts, as for `ContrastiveRoomEncoder`. Ignored if `encoder` is given.
    encoder : fitted ContrastiveRoomEncoder, default=None
        Encoder to start from, instead of random weights. It is copied, not changed. Wrap it in
        `sklearn.frozen.FrozenEstimator` if the estimator will be cloned, as in a grid search.
    freeze_encoder : bool, default=False
        Whether to keep the weights of `encoder` fixed and train only the head.
    non_negative : bool or dict of str to bool, default=False
        Keep estimates at 0 or above, in training too: the paper's final ReLU, for reverberation time or volume. With
        several targets, a dict by name, as for `RoomRegressor`.
    target_transform : str or dict of str to str, default="identity"
        The scale on which each target is learned: "identity", "log", "bounded" or "compressed", as for `RoomRegressor`.
    n_hidden : int, default=256
        Number of neurons in each of the head's two hidden layers.
    sample_rate : int, default=16000
        Sampling rate of the waveforms, in Hz.
    segment_duration : float, default=4.0
        Length of the segments that the network is trained on, in s. Ignored if `encoder` is given.
    hop_duration : float, optional
        Step between the segments of a longer recording in `predict`, in s; the segment length by default.
    lr : float, default=1e-3
        Learning rate of Adam.
    batch_size : int, default=16
        Number of recordings per training step.
    max_epochs : int, default=100
        Maximum number of epochs, each a pass over all recordings.
    validation_fraction : float, default=0.2
        Fraction of the sources, responses or rooms, see `hold_out`, held out for early stopping and for selecting the
        best weights. With 0, nothing is held out and the training loss decides.
    hold_out : {"source", "rir", "room"}, default="source"
        Whether to hold out whole sources (single recordings if `source_groups` is not given), impulse responses or
        rooms: choose whichever will be new when the estimator is used.
    patience : int, default=4
        Number of epochs without improvement after which training stops.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Number format of the convolutions during training, as for `ContrastiveRoomEncoder`.
    compile : {"auto"} or bool, default="auto"
        Whether to compile the network for training, as for `ContrastiveRoomEncoder`.
    device : str or torch.device, default="auto"
        "auto" uses CUDA if it is available, otherwise the CPU.
    callbacks : list of skorch callbacks, optional
        Additional callbacks for training.
    checkpoint_dir : str or path-like, optional
        Folder for checkpoints. `fit` saves its state there after every epoch; the same `fit`, restarted after it was
        killed or interrupted, resumes after the last complete epoch and gives the same result. Needs `random_state`.
        Fits with other parameters or data have their own files; delete the folder when done.
    warm_start : bool, default=False
        If True, `fit` resumes from the previous fit, for up to `max_epochs` more epochs, and keeps the
        standardisation of the targets from the first fit.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches, segments and the choice of held-out recordings. Global random generators are left
        unchanged.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    module_ : torch.nn.Module
        The encoder followed by the head, with the best weights, used by `predict`.
    network_ : torch.nn.Module
        The encoder alone.
    net_ : skorch.NeuralNet
        The skorch net that trained it.
    target_names_ : list of str
        Names of the targets: the columns of a frame, or y0, y1, ...
    intervals_ : RoomIntervals
        What `calibrate` has learned; `fit` removes it.
    segment_length_ : int
        Number of samples in a segment.
    history_ : pandas.DataFrame
        One row per epoch: epoch, losses and duration in s. The losses are mean squared errors of standardised targets.
    n_iter_ : int
        Number of epochs trained.
    n_features_in_ : int
        Number of samples per recording in the training data, if that was an array.

    Raises
    ------
    TypeError, ValueError
        By `fit` and `predict`: if a parameter is out of range; if waveforms are not finite, silent or of the wrong
        shape; if targets are infinite, or all targets of a recording are NaN; if group labels are misaligned; if
        `encoder` is not fitted.

    Notes
    -----
    For recordings longer than a segment, training uses one random segment per epoch, and `predict` averages the
    outputs over their segments. Recordings of other lengths, and short ones, are treated as in
    `ContrastiveRoomEncoder`.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import SupervisedRoomRegressor
    >>> rng = np.random.default_rng(0)
    >>> rt60 = rng.uniform(0.1, 1.0, 40)
    >>> X = rng.standard_normal((40, 16_000)) * 10 ** (-3 * np.linspace(0, 1, 16_000) / rt60[:, None])
    >>> model = SupervisedRoomRegressor(segment_duration=1.0, max_epochs=2, random_state=0)
    >>> model.fit(X, rt60).predict(X).shape
    (40,)
    """

    _TARGET: ClassVar = Regression
    _BUILT_WITH: ClassVar[tuple[str, ...]] = (*_SupervisedRoomEstimator._BUILT_WITH, "target_transform")

    def __init__(
        self,
        *,
        network: str | Callable[..., nn.Module] = "compact",
        standardise: str = "clip",
        encoder: Any = None,
        freeze_encoder: bool = False,
        non_negative: bool | dict[str, bool] = False,
        target_transform: str | dict[str, str] = "identity",
        n_hidden: int = 256,
        sample_rate: int = 16_000,
        segment_duration: float = 4.0,
        hop_duration: float | None = None,
        lr: float = 1e-3,
        batch_size: int = 16,
        max_epochs: int = 100,
        validation_fraction: float = 0.2,
        hold_out: str = "source",
        patience: int = 4,
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
        self.encoder = encoder
        self.freeze_encoder = freeze_encoder
        self.non_negative = non_negative
        self.target_transform = target_transform
        self.n_hidden = n_hidden
        self.sample_rate = sample_rate
        self.segment_duration = segment_duration
        self.hop_duration = hop_duration
        self.lr = lr
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.hold_out = hold_out
        self.patience = patience
        self.precision = precision
        self.compile = compile
        self.device = device
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True  # on scikit-learn's test data, which contains no reverberation
        return tags

    @door
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
    ) -> Self:
        """Train encoder and head.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.
        y : array-like of shape (n_recordings,) or (n_recordings, n_targets)
            Targets, e.g. reverberation times in s. With several targets, unknown values may be NaN: the recording
            still counts for the others.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            Group labels, as for `ContrastiveRoomEncoder`. Those selected by `hold_out` define the groups that are held
            out whole; the others are checked but not used.

        Returns
        -------
        SupervisedRoomRegressor
            Itself.
        """
        groups = rir_groups, source_groups, room_groups
        with self._fitting():
            source = self._fit(X, y, groups)
            with restated("network must map X to finite numbers"):
                self._keep_regression(self._target, self._embeddings(source))
        return self

    def _check_targets(self, y: Any) -> Targets:
        with restated("y must be an array of finite numbers, (n_recordings,) or (n_recordings, n_targets)"):
            return Targets.checked(y, self)

    def _learn_target(self, y: Targets) -> Regression:
        return Regression(y, self.non_negative, self.target_transform)

    def _embeddings(self, source: SegmentSource) -> NDArray[np.float32]:
        """Return embeddings of some training segments: outputs of the network before the head."""
        encoder, random_state = self.module_[0], RandomState(0)
        n = len(source.indices)
        chosen = np.linspace(0, n - 1, min(n, MOST_SEGMENTS)).astype(int)
        found = []
        with torch.inference_mode(), scratch.kept():
            for first in range(0, len(chosen), PREDICTION_BATCH):
                segments, _ = source.gather(chosen[first : first + PREDICTION_BATCH], random_state)
                found.append(encoder(segments.to(device_of(encoder)).float()).float().cpu().numpy())
        return np.concatenate(found)

    def _hear(self, X: Any) -> Heard:
        shortest, n_features = _unfrozen(self.module_[0]).min_times, len(self._spread.mean)
        both = self._apply(
            X, shortest, n_features + self._target.n_outputs, PREDICTION_BATCH, _WithEmbedding(self.module_)
        )
        return Heard(both[:, :n_features], both[:, n_features:].astype(np.float64))


class SupervisedRoomClassifier(ClassifierMixin, _SupervisedRoomEstimator):
    """Classify rooms from waveforms, e.g. as small or large: encoder and head trained together on the classes.

    The paper's supervised baseline. It accepts the same data and labels as a `Pipeline` of `ContrastiveRoomEncoder` and
    `RoomClassifier`, so that it can replace that pipeline in a `GridSearchCV`.

    Parameters
    ----------
    network : {"compact", "bandwise", "pooled", "paper"} or callable, default="compact"
        The encoder network, as for `ContrastiveRoomEncoder`. Ignored if `encoder` is given.
    standardise : {"clip", "training_set"}, default="clip"
        Whether the level of recordings counts, as for `ContrastiveRoomEncoder`. Ignored if `encoder` is given.
    encoder : fitted ContrastiveRoomEncoder, default=None
        Encoder to start from, as for `SupervisedRoomRegressor`.
    freeze_encoder : bool, default=False
        Whether to keep the weights of `encoder` fixed and train only the head.
    n_hidden : int, default=256
        Number of neurons in each of the head's two hidden layers.
    sample_rate : int, default=16000
        Sampling rate of the waveforms, in Hz.
    segment_duration : float, default=4.0
        Length of the segments that the network is trained on, in s. Ignored if `encoder` is given.
    hop_duration : float, optional
        Step between the segments of a longer recording in `predict`, in s; the segment length by default.
    lr : float, default=1e-3
        Learning rate of Adam.
    batch_size : int, default=16
        Number of recordings per training step.
    max_epochs : int, default=100
        Maximum number of epochs, each a pass over all recordings.
    validation_fraction : float, default=0.2
        Fraction of the sources, responses or rooms, see `hold_out`, held out for early stopping and for selecting the
        best weights. With 0, nothing is held out and the training loss decides.
    hold_out : {"source", "rir", "room"}, default="source"
        Whether to hold out whole sources (single recordings if `source_groups` is not given), impulse responses or
        rooms: choose whichever will be new when the estimator is used.
    patience : int, default=4
        Number of epochs without improvement after which training stops.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Number format of the convolutions during training, as for `ContrastiveRoomEncoder`.
    compile : {"auto"} or bool, default="auto"
        Whether to compile the network for training, as for `ContrastiveRoomEncoder`.
    device : str or torch.device, default="auto"
        "auto" uses CUDA if it is available, otherwise the CPU.
    callbacks : list of skorch callbacks, optional
        Additional callbacks for training.
    checkpoint_dir : str or path-like, optional
        Folder for checkpoints. `fit` saves its state there after every epoch; the same `fit`, restarted after it was
        killed or interrupted, resumes after the last complete epoch and gives the same result. Needs `random_state`.
        Fits with other parameters or data have their own files; delete the folder when done.
    warm_start : bool, default=False
        If True, `fit` resumes from the previous fit, for up to `max_epochs` more epochs; the classes must be among
        those of the first fit.
    random_state : int, RandomState or None, default=None
        Seeds weights, batches, segments and the choice of held-out recordings. Global random generators are left
        unchanged.
    verbose : int, default=0
        0 is silent, 1 shows a progress bar, 2 a table of epochs.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The classes.
    module_ : torch.nn.Module
        The encoder followed by the head, with the best weights, used by `predict`.
    network_ : torch.nn.Module
        The encoder alone.
    net_ : skorch.NeuralNet
        The skorch net that trained it.
    segment_length_ : int
        Number of samples in a segment.
    history_ : pandas.DataFrame
        One row per epoch: epoch, losses and duration in s. The losses are cross-entropies.
    n_iter_ : int
        Number of epochs trained.
    n_features_in_ : int
        Number of samples per recording in the training data, if that was an array.

    Raises
    ------
    TypeError, ValueError
        By `fit` and `predict`: if a parameter is out of range; if waveforms are not finite, silent or of the wrong
        shape; if targets are continuous or all of one class; if group labels are misaligned; if `encoder` is not
        fitted.

    Notes
    -----
    For recordings longer than a segment, training uses one random segment per epoch, and `predict` averages the
    outputs over their segments. Recordings of other lengths, and short ones, are treated as in
    `ContrastiveRoomEncoder`.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk import SupervisedRoomClassifier
    >>> rng = np.random.default_rng(0)
    >>> rt60 = rng.uniform(0.1, 1.0, 40)
    >>> X = rng.standard_normal((40, 16_000)) * 10 ** (-3 * np.linspace(0, 1, 16_000) / rt60[:, None])
    >>> model = SupervisedRoomClassifier(segment_duration=1.0, max_epochs=2, random_state=0)
    >>> model.fit(X, rt60 > 0.5).predict_proba(X).shape
    (40, 2)
    """

    _TARGET: ClassVar = Classification

    def __init__(
        self,
        *,
        network: str | Callable[..., nn.Module] = "compact",
        standardise: str = "clip",
        encoder: Any = None,
        freeze_encoder: bool = False,
        n_hidden: int = 256,
        sample_rate: int = 16_000,
        segment_duration: float = 4.0,
        hop_duration: float | None = None,
        lr: float = 1e-3,
        batch_size: int = 16,
        max_epochs: int = 100,
        validation_fraction: float = 0.2,
        hold_out: str = "source",
        patience: int = 4,
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
        self.encoder = encoder
        self.freeze_encoder = freeze_encoder
        self.n_hidden = n_hidden
        self.sample_rate = sample_rate
        self.segment_duration = segment_duration
        self.hop_duration = hop_duration
        self.lr = lr
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.hold_out = hold_out
        self.patience = patience
        self.precision = precision
        self.compile = compile
        self.device = device
        self.callbacks = callbacks
        self.checkpoint_dir = checkpoint_dir
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.poor_score = True  # on scikit-learn's test data, which contains no reverberation
        return tags

    @door
    def fit(
        self,
        X: Any,
        y: Any,
        *,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
    ) -> Self:
        """Train encoder and head.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.
        y : array-like of shape (n_recordings,)
            Classes.
        rir_groups, source_groups, room_groups : array-like of shape (n_recordings,), optional
            Group labels, as for `ContrastiveRoomEncoder`. Those selected by `hold_out` define the groups that are held
            out whole; the others are checked but not used.

        Returns
        -------
        SupervisedRoomClassifier
            Itself.
        """
        groups = rir_groups, source_groups, room_groups
        with self._fitting():
            self._fit(X, y, groups)
            self.classes_ = self._target.classes
        return self

    def _check_targets(self, y: Any) -> NDArray[Any]:
        with restated("y must be a 1-D array of classes, none of them missing"):
            y = column_or_1d(check_classes(y), warn=True)
            assert_all_finite(y, input_name="y")
        return y

    def _learn_target(self, y: NDArray[Any]) -> Classification:
        return Classification(y)

    def _restore(self, state: State) -> None:
        super()._restore(state)
        self.classes_ = self._target.classes

    @door
    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """Estimate the probability of each class.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.

        Returns
        -------
        ndarray of shape (n_recordings, n_classes)
            Probabilities, in the order of `classes_`.
        """
        outputs = self._outputs(X)
        return self._target.probabilities(outputs)

    @door
    def predict(self, X: Any) -> NDArray[Any]:
        """Estimate the class.

        Parameters
        ----------
        X : array-like of shape (n_recordings, n_times), or list of 1-D arrays
            Reverberant waveforms at `sample_rate`.

        Returns
        -------
        ndarray of shape (n_recordings,)
            Classes.
        """
        outputs = self._outputs(X)
        return self._target.estimates(outputs)
