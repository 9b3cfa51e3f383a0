"""Variations of responses, with labels of their own, and of clips, drawn anew whenever they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import Bunch
from tqdm import tqdm

from roomacoustic_sk import acoustics
from roomacoustic_sk._recordings import Recordings, as_recordings
from roomacoustic_sk._validation import (
    ArgumentValueError,
    check_number,
    check_random_state,
    check_verbose,
    door,
)
from roomacoustic_sk.augmentation import Step, apply_steps, check_steps
from roomacoustic_sk.datasets._bunches import concatenate, take
from roomacoustic_sk.datasets._reverberant import check_rooms, fields_of

MOST_COPIES = 1000


@door
def augment_responses(
    rooms: Bunch | Mapping[str, Any],
    steps: Step | Sequence[Step],
    *,
    n_copies: int = 1,
    random_state: int | RandomState | None = None,
    verbose: int = 0,
) -> Bunch:
    """Add varied copies of responses, whose labels are computed from the result.

    Parameters
    ----------
    rooms : Bunch
        Responses, as `simulate_rooms` and `load_measured_rirs` return them.
    steps : callable or sequence of callables
        What is done to each copy, in this order: `augmentation.ScaleDirectSound`, `augmentation.ReshapeDecay`,
        `augmentation.Sometimes`, or any function of a response, its sampling rate and a `numpy.random.Generator`.
    n_copies : int, default=1
        Number of copies of each response.
    random_state : int, RandomState instance or None, default=None
        Seed of the steps.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        The fields of `rooms`, with the responses as they were, followed by the copies. Each copy has a label `rir` of
        its own and its room's label `room`. The room acoustic parameters in `target` are those of the copy; volume,
        positions and materials are those of its room.

    Raises
    ------
    TypeError, ValueError
        If a field of `rooms` is missing or an argument is out of range.

    Notes
    -----
    `concatenate` keeps room labels apart, unless ``shared=["room"]``. Labels of simulated responses are evaluated over
    the range of the originals and without truncation, those of measured ones as `load_measured_rirs` does.

    Examples
    --------
    >>> from roomacoustic_sk.augmentation import ScaleDirectSound
    >>> from roomacoustic_sk.datasets import augment_responses, simulate_rooms
    >>> rooms = simulate_rooms(1, 2, materials=0.5, random_state=0)
    >>> more = augment_responses(rooms, ScaleDirectSound(gain=(10.0, 10.0)), random_state=0)
    >>> more.rir.tolist(), more.room.tolist()
    ([0, 1, 2, 3], [0, 0, 0, 0])
    >>> (more.target["drr"][2:].to_numpy() - more.target["drr"][:2].to_numpy()).round()
    array([10., 10.])
    """
    checked, steps = check_rooms(rooms), check_steps(steps)
    n_copies = int(check_number(n_copies, name="n_copies", low=1, high=MOST_COPIES, integer=True))
    check_verbose(verbose)
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    n_rirs = len(checked.rirs)
    copies = take(rooms, np.tile(np.arange(n_rirs), n_copies))
    numbers = tqdm(range(len(copies.rir)), desc="augment_responses", unit="response", disable=not verbose)
    copies.rirs = [
        apply_steps(steps, checked.rirs[i % n_rirs], checked.sample_rate, np.random.default_rng([seed, i]))
        for i in numbers
    ]
    copies.target = copies.target.assign(**_labels(copies, checked.sample_rate))
    copies.rir = _labels_of_copies(checked.rir, n_copies)
    return concatenate([rooms, copies], shared=["rir", "room"])  # a copy may be as it was: its label is new


def _labels(copies: Bunch, sample_rate: int) -> Any:
    """Return the room acoustic parameters of copies, and bring what else was found in the originals up to date."""
    if "proof" in copies:  # simulated: without noise
        ranges, truncation = tuple(copies.target["rt60_range"].dropna().unique()[:1]) or ("T30",), None
    else:
        ranges, truncation = ("T30", "T20"), "lundeby"
    labels = acoustics.room_labels(
        copies.rirs, sample_rate, decay_ranges=ranges, truncation=truncation, diagnostics=True
    )
    if "diagnostics" in copies:
        copies.diagnostics = labels.loc[:, "nonlinearity":"reason"]
    if "proof" in copies:
        copies.proof = copies.proof.assign(reason=labels["reason"])
    return labels.loc[:, :"drr"]


def _labels_of_copies(rir: NDArray[Any], n_copies: int) -> NDArray[Any]:
    """Return a label for each copy: further numbers, or the original's name with a number."""
    if rir.dtype.kind in "iu":
        return rir.max() + 1 + np.arange(n_copies * len(rir))
    return np.array([f"{label}+{k}" for k in range(1, n_copies + 1) for label in rir.tolist()])


# --- Clips --------------------------------------------------------------------------------------------------------


@door
def augment_clips(
    data: Bunch | Mapping[str, Any],
    steps: Step | Sequence[Step],
    *,
    random_state: int | RandomState | None = None,
) -> Bunch:
    """Vary clips when they are read, and in training in another way in each epoch.

    Parameters
    ----------
    data : Bunch
        Clips or recordings, as `make_reverberant_speech` (`lazy` or not) and `load_recordings` return them.
    steps : callable or sequence of callables
        What is done to each clip, in this order: `augmentation.AddNoise`, `Gain`, `LimitBand`, `Clip`, `Code`,
        `Sometimes`, or any function of a clip, its sampling rate and a `numpy.random.Generator`.
    random_state : int, RandomState instance or None, default=None
        Seed of the steps.

    Returns
    -------
    Bunch
        The fields of `data`, with other `data.data`: an array-like that computes the varied clips when they are read,
        accepted by all estimators and by scikit-learn's splitters.

    Raises
    ------
    TypeError, ValueError
        If a field of `data` is missing or an argument is out of range; when a clip is read, if a step returns anything
        but such a clip.

    Notes
    -----
    What is drawn depends on the seed, the clip's index and, in training, the epoch: not on the order in which clips are
    read, on `n_jobs`, or on whether a training was interrupted. `transform`, `predict` and `numpy.asarray` always see
    the same variation, and so does validation. Silent clips, and pauses of recordings, stay silent.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.utils import Bunch
    >>> from roomacoustic_sk.augmentation import AddNoise, Gain
    >>> from roomacoustic_sk.datasets import augment_clips, make_speech
    >>> speech = make_speech(n_speakers=1, n_segments=2, duration=0.5, random_state=0)
    >>> data = Bunch(data=speech.segments, sample_rate=16000)
    >>> noisy = augment_clips(data, [AddNoise(snr=(10, 20)), Gain()], random_state=0)
    >>> noisy.data.shape, bool((np.asarray(noisy.data) != data.data).all())
    ((2, 8000), True)
    """
    found = fields_of(data, ("data", "sample_rate"), "data")
    recordings = as_recordings(found["data"], found["sample_rate"], name="data.data")
    seed = int(check_random_state(random_state).randint(np.iinfo(np.int32).max))
    return Bunch(**{**data, "data": AugmentedRecordings(recordings, check_steps(steps), (seed, 0))})


class AugmentedRecordings(Recordings):
    """Recordings that are varied when they are read.

    Parameters
    ----------
    recordings : Recordings
        The recordings as they are.
    steps : sequence of callables
        What is done to each.
    seed : (int, int)
        Seeds of the steps, and of the epoch.
    numbers : ndarray of shape (n_recordings,), optional
        Indices of the recordings among all recordings.
    """

    def __init__(
        self,
        recordings: Recordings,
        steps: Sequence[Step],
        seed: tuple[int, int],
        numbers: NDArray[np.intp] | None = None,
    ) -> None:
        super().__init__(recordings.lengths, recordings.sample_rate, recordings.n_times)
        self.recordings, self.steps, self.seed = recordings, steps, seed
        self.origin = recordings.origin
        self.numbers = np.arange(len(recordings)) if numbers is None else numbers

    varies = True

    def _read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        read = np.asarray(self.recordings.read(indices, starts, n_times, allow_silent=True))
        return [self._varied(segment, int(number)) for segment, number in zip(read, self.numbers[indices], strict=True)]

    def _varied(self, segment: NDArray[np.float32], number: int) -> NDArray[np.float32]:
        if np.ptp(segment) == 0:
            return segment
        varied = apply_steps(self.steps, segment, self.sample_rate, np.random.default_rng([*self.seed, number]))
        if len(varied) != len(segment):
            raise ArgumentValueError(
                f"steps must return clips as long as they were, got {len(varied)} of {len(segment)} samples."
            )
        return varied

    def where(self, indices: NDArray[np.intp], starts: NDArray[np.intp]) -> str:
        """Return where segments are, for an error message."""
        return self.recordings.where(indices, starts)

    def take(self, indices: NDArray[np.intp]) -> AugmentedRecordings:
        """Return some of the recordings, without reading them."""
        return AugmentedRecordings(self.recordings.take(indices), self.steps, self.seed, self.numbers[indices])

    def drawn_anew(self, seed: int) -> AugmentedRecordings:
        """Return the same recordings in another variation."""
        return AugmentedRecordings(self.recordings, self.steps, (self.seed[0], seed), self.numbers)

    def for_training(self) -> AugmentedRecordings:
        """Return the recordings for many readings."""
        return AugmentedRecordings(self.recordings.for_training(), self.steps, self.seed, self.numbers)
