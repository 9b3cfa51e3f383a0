"""Operations on any Bunch of this package: take entries, concatenate, split by speaker."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from numbers import Integral
from typing import Any

import numpy as np
import pandas as pd
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import Bunch

from roomacoustic_sk._labels import check_groups, warn_of_lookalikes
from roomacoustic_sk._recordings import Recordings, as_recordings
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    as_array,
    as_list,
    check_number,
    check_random_state,
    describe,
    door,
    restated,
)

COUNTED = ("rir", "source", "speaker", "file")  # the first of these fields in a Bunch gives the number of entries
LABELS = ("rir", "room", "source", "speaker")
ENTRY_FIELDS = (*LABELS, "rirs", "segments", "data", "target", "file", "start", "speed", "complete")
"""Fields with one item per entry, whatever their type; other lists have another meaning, such as `voices`."""


# --- Some of the entries ----------------------------------------------------------------------------------------


@door
def take(bunch: Bunch | Mapping[str, Any], indices: ArrayLike | slice) -> Bunch:
    """Take some of the entries of a Bunch, in all its arrays, frames, lists and lazy recordings.

    Parameters
    ----------
    bunch : Bunch
        Rooms, speech, clips or recordings, as the functions of `roomacoustic_sk.datasets` return them. An entry is a
        response, a segment or a clip.
    indices : array-like of int, slice, or array-like of bool of shape (n_entries,)
        The entries to take, by index (negative ones count from the end; any order, with repetition) or by mask.

    Returns
    -------
    Bunch
        The same fields; those with one item per entry are reduced to the chosen entries. Frames get a new index from 0;
        lazy recordings stay lazy.

    Raises
    ------
    TypeError
        If `bunch` is not a Bunch or mapping, or if `indices` are not integers, a mask or a slice.
    ValueError
        If an index is out of range; if the mask does not have one value per entry; if the Bunch has no labels that give
        the number of entries; or if a field with one item per entry has a different number of items.

    See Also
    --------
    concatenate : Join several Bunches into one.
    split_by_speaker : Split into parts that have no speaker in common.

    Notes
    -----
    The number of entries is the length of the field `rir` if there is one, otherwise of `source`, `speaker` or `file`,
    in this order. The fields with one item per entry are

    - `rirs`, `segments`, `data`, `target`, `rir`, `room`, `source`, `speaker`, `file`, `start`, `speed` and `complete`,
      whether arrays, lists, tuples or frames;
    - other arrays, frames and array-likes (with `shape`) whose first dimension is the number of entries.

    All other fields are unchanged: numbers, strings, dictionaries such as `counts`, and other lists, such as `voices`
    of `make_speech`, which has one item per speaker. If a list of your own has one item per entry, convert it to an
    array. `DESCR` still describes the whole.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import make_speech, take
    >>> speech = make_speech(n_speakers=2, n_segments=4, duration=0.5, random_state=0)
    >>> part = take(speech, speech.speaker == "synthetic-1")
    >>> part.segments.shape, part.source.tolist()
    ((2, 8000), ['synthetic-1/1', 'synthetic-1/3'])
    >>> take(speech, [3, 0]).source.tolist()
    ['synthetic-1/3', 'synthetic-0/0']
    """
    n_entries = _count_entries(bunch, "bunch")
    positions = _positions(indices, n_entries)
    names = _entry_fields(bunch, n_entries, "bunch")
    return Bunch(**{name: _cut(value, positions) if name in names else value for name, value in bunch.items()})


def _length(value: Any) -> int | None:
    """Return the number of items of a list, tuple, array or array-like; None for anything else."""
    if isinstance(value, Sequence) and not isinstance(value, (str, bytes)):
        return len(value)
    shape = getattr(value, "shape", None)
    return int(shape[0]) if shape else None


def _count_entries(bunch: Any, name: str) -> int:
    """Return the number of entries of a Bunch, from its labels."""
    if not isinstance(bunch, Mapping):
        raise ArgumentTypeError(f"{name} must be a Bunch, got {describe(bunch)}.")
    counts = (_length(bunch.get(field)) for field in COUNTED)
    n_entries = next((count for count in counts if count is not None), None)
    if n_entries is None:
        raise ArgumentValueError(
            f"{name} must have one label per entry in a field {', '.join(COUNTED[:-1])} or {COUNTED[-1]}, got a Bunch "
            f"with {', '.join(bunch) or 'no fields'}."
        )
    return n_entries


def _entry_fields(bunch: Mapping[str, Any], n_entries: int, name: str) -> set[str]:
    """Return the names of the fields that have one item per entry."""
    found = set()
    for field, value in bunch.items():
        length = _length(value)
        if field in ENTRY_FIELDS and length is None and isinstance(value, Iterable) and not isinstance(value, str):
            raise ArgumentTypeError(
                f"{name}.{field} must be an array or a list with one item for each of the {n_entries} entries, got "
                f"{describe(value)}."
            )
        if field in ENTRY_FIELDS and length not in (None, n_entries):
            raise ArgumentValueError(
                f"{name}.{field} must have one item for each of the {n_entries} entries, got {length}."
            )
        if length == n_entries and (field in ENTRY_FIELDS or not isinstance(value, Sequence)):
            found.add(field)
    return found


def _positions(indices: Any, n_entries: int) -> NDArray[np.intp]:
    """Return the indices of the entries selected by indices, a slice or a mask."""
    entries = np.arange(n_entries)
    expected = "indices must be whole numbers, a slice or a mask"
    if isinstance(indices, slice):
        try:
            return entries[indices]
        except (TypeError, ValueError) as error:
            raise ArgumentTypeError(f"{expected}, got {indices}: {error}.") from error
    chosen = as_array(indices, name="indices", expected=expected.removeprefix("indices must be "))
    if chosen.ndim != 1:
        raise ArgumentTypeError(f"{expected} in one dimension, got {describe(indices)}.")
    if chosen.dtype == bool:
        if len(chosen) != n_entries:
            raise ArgumentValueError(f"indices must be a mask of {n_entries} entries, got one of {len(chosen)}.")
        return entries[chosen]
    if not len(chosen):
        return entries[:0]
    if not np.issubdtype(chosen.dtype, np.integer):
        raise ArgumentTypeError(f"{expected}, got {describe(chosen)}.")
    beyond = (chosen < -n_entries) | (chosen >= n_entries)
    if beyond.any():
        raise ArgumentValueError(
            f"indices must be numbers of the {n_entries} entries, from {-n_entries} to {n_entries - 1}, got "
            f"{chosen[beyond][0]}."
        )
    return entries[chosen]


def _cut(value: Any, positions: NDArray[np.intp]) -> Any:
    if isinstance(value, Sequence):
        items = [value[i] for i in positions]
        return tuple(items) if isinstance(value, tuple) else items
    if isinstance(value, (pd.DataFrame, pd.Series)):
        return value.iloc[positions].reset_index(drop=True)
    return value[positions]


@door
def split_by_speaker(
    speech: Bunch, fractions: Sequence[float] = (0.8, 0.2), *, random_state: int | RandomState | None = None
) -> list[Bunch]:
    """Split speech, or reverberant speech, into parts that have no speaker in common.

    Parameters
    ----------
    speech : Bunch
        As returned by `load_speech`, `make_speech` or `make_reverberant_speech`: `speaker` and other fields with one
        item per segment.
    fractions : sequence of float, default=(0.8, 0.2)
        Fraction of the speakers in each part, each above 0, in total at most 1; remaining speakers are left out.
    random_state : int, RandomState instance or None, default=None
        Seed of the choice of speakers.

    Returns
    -------
    list of Bunch
        One for each fraction, with the fields of `speech` reduced as by `take`, and entries in their original order.

    Raises
    ------
    TypeError
        If `speech` is not a Bunch or mapping.
    ValueError
        If there are no fractions, or if they leave a part without a speaker; if `speech` has no speakers, or if a field
        with one item per segment has a different number of items.

    See Also
    --------
    take : Take some of the entries of a Bunch.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import make_speech, split_by_speaker
    >>> speech = make_speech(n_speakers=4, n_segments=8, duration=0.5, random_state=0)
    >>> train, test = split_by_speaker(speech, (0.75, 0.25), random_state=0)
    >>> len(train.segments), len(test.segments), set(train.speaker) & set(test.speaker)
    (6, 2, set())
    """
    fractions = as_list(fractions, name="fractions", expected="a sequence of numbers")
    for fraction in fractions:
        check_number(fraction, name="fractions", low=0, high=1, low_open=True)
    if len(fractions) == 0 or sum(fractions) > 1 + 1e-9:
        raise ArgumentValueError(f"fractions must have at least one value and sum to at most 1, got {fractions}.")
    n_entries = _count_entries(speech, "speech")
    if "speaker" not in speech:
        raise ArgumentValueError(f"speech must have a field speaker, got a Bunch with {', '.join(speech)}.")
    _entry_fields(speech, n_entries, "speech")
    labels = check_groups(speech["speaker"], n_entries, name="speech.speaker")
    warn_of_lookalikes(labels, "speakers")
    speakers = np.unique(labels)
    bounds = np.round(np.cumsum([0, *fractions]) * len(speakers)).astype(int)
    if np.diff(bounds).min() < 1:
        raise ArgumentValueError(
            f"fractions must give each part a speaker, got {list(fractions)} of {len(speakers)} speakers."
        )
    shuffled = check_random_state(random_state).permutation(speakers)
    chosen = [np.isin(labels, shuffled[first:stop]) for first, stop in pairwise(bounds)]
    return [take(speech, mask) for mask in chosen]


# --- Several in one ---------------------------------------------------------------------------------------------


@door
def concatenate(bunches: Iterable[Bunch | Mapping[str, Any]], *, shared: Sequence[str] = ()) -> Bunch:
    """Join several Bunches of the same kind into one.

    Parameters
    ----------
    bunches : iterable of Bunch
        Rooms, speech, clips or recordings, as returned by the functions of `roomacoustic_sk.datasets`, with the same
        fields and the same sampling rate.
    shared : sequence of {"rir", "room", "source", "speaker"}, default=()
        Labels whose integers have the same meaning in all bunches, as in parts of one Bunch, or in clips made with the
        same rooms. Other integer labels are shifted beyond those of the preceding bunches, since `simulate_rooms`
        always counts its rooms from 0.

    Returns
    -------
    Bunch
        Entries in the order of the bunches, with these fields:

        - Those with one item per entry, see `take`, are concatenated. Labels become arrays. Labels that are strings are
          kept, since they are names: `room` "office" is the same room in all bunches. Frames have the columns of all
          bunches, with NaN where a bunch lacks a column. Lazy recordings stay lazy.
        - `counts` are summed; `voices` and other lists are joined; `DESCR` contains all descriptions; `synthetic` is
          True if it is for any bunch.
        - All other fields must be equal and are kept.

    Raises
    ------
    TypeError
        If `bunches` is not an iterable of Bunches or mappings.
    ValueError
        If there are no bunches; if sampling rates, fields, types of labels, lengths of segments or clips, or other
        fields differ; if one `source` names different segments; or if two bunches have a response with the same labels
        and targets, which therefore seems to be the same one, and `shared` does not include these labels.

    See Also
    --------
    take : Some of the entries of a Bunch.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import concatenate, simulate_rooms
    >>> small = simulate_rooms(1, 2, length=3, width=4, height=3, materials=0.5, random_state=0)
    >>> large = simulate_rooms(1, 2, length=8, width=6, height=4, materials=0.5, random_state=0)
    >>> rooms = concatenate([small, large])
    >>> len(rooms.rirs), rooms.rir.tolist(), rooms.room.tolist(), rooms.target["length"].tolist()
    (4, [0, 1, 2, 3], [0, 0, 1, 1], [3.0, 3.0, 8.0, 8.0])
    """
    bunches, names = _check_bunches(bunches)
    if not isinstance(shared, (list, tuple, set)) or not set(map(str, shared)) <= set(LABELS):
        raise ArgumentValueError(f"shared must be a list of some of {list(LABELS)}, got {describe(shared)}.")
    _check_shared(bunches, tuple(shared))
    together = Bunch()
    for name in bunches[0]:
        values = [bunch[name] for bunch in bunches]
        if name in names and name in LABELS:
            together[name] = _join_labels(values, name, shift=name not in shared)
        elif name in names:
            together[name] = _join(values, name)
        else:
            together[name] = _agree(values, name)
    return together


def _check_bunches(bunches: Any) -> tuple[list[Mapping[str, Any]], set[str]]:
    """Return compatible bunches as a list, and the fields that have one item per entry in all of them."""
    bunches = as_list(bunches, name="bunches", expected="a list of Bunches")
    if not bunches:
        raise ArgumentValueError("bunches must contain at least one Bunch, got none.")
    n_entries = [_count_entries(bunch, f"bunches[{i}]") for i, bunch in enumerate(bunches)]
    fields = [set(bunch) for bunch in bunches]
    unequal = sorted(set.union(*fields) - set.intersection(*fields))
    if unequal:
        raise ArgumentValueError(f"bunches must have the same fields, got {', '.join(unequal)} in some of them only.")
    rates = [bunch.get("sample_rate") for bunch in bunches]
    if any(rate != rates[0] for rate in rates):
        raise ArgumentValueError(
            f"bunches must have the same sampling rate, got {', '.join(f'{rate} Hz' for rate in dict.fromkeys(rates))}."
            " Load or simulate all of them at one rate."
        )
    found = [
        _entry_fields(bunch, n, f"bunches[{i}]") for i, (bunch, n) in enumerate(zip(bunches, n_entries, strict=True))
    ]
    _check_sources(bunches)
    return bunches, set.intersection(*found)


def _check_sources(bunches: list[Mapping[str, Any]]) -> None:
    """Refuse dry speech in which one string names two segments, as in any two results of `make_speech`."""
    if not all("segments" in bunch and "source" in bunch for bunch in bunches):
        return
    seen: dict[str, tuple[Any, int]] = {}  # by source, in the preceding bunches: segments and index
    for bunch in bunches:
        sources, segments = np.asarray(bunch["source"]).tolist(), bunch["segments"]
        for i, source in enumerate(sources):
            if not isinstance(source, str) or source not in seen:
                continue
            others, j = seen[source]
            if not np.array_equal(segments[i], others[j]):
                raise ArgumentValueError(
                    f"bunches must have one segment for each source, got two different ones for {source!r}. Rename the "
                    "sources and speakers of one of the bunches."
                )
        seen = {source: (segments, i) for i, source in enumerate(sources)} | seen


def _check_shared(bunches: list[Mapping[str, Any]], shared: tuple[str, ...]) -> None:
    """Refuse a response that seems to be in two bunches and would be counted as two."""
    if {"rir", "room"} <= set(shared) or not all({"rir", "room", "target"} <= set(bunch) for bunch in bunches):
        return
    seen: set[int] = set()
    for bunch in bunches:
        rir, room = (_as_labels(bunch[name]) for name in ("rir", "room"))
        if not _are_whole(rir):
            return
        frame = pd.DataFrame(bunch["target"]).reset_index(drop=True).assign(rir_=rir, room_=room)
        responses = set(pd.util.hash_pandas_object(frame, index=False).tolist())
        if seen & responses:
            raise ArgumentValueError(
                'shared must be ("rir", "room") for bunches that have rooms in common, got '
                f"{shared} although two bunches have a response with the same labels and targets. If they are "
                "different responses, change the labels in one of the bunches."
            )
        seen |= responses


def _as_labels(values: Any) -> NDArray[Any]:
    """Return labels as an array, of integers if all labels are whole numbers, as pandas makes floats of them."""
    labels = np.asarray(values)
    if labels.dtype.kind == "b" or (labels.dtype.kind == "f" and (labels == np.trunc(labels)).all()):
        return labels.astype(np.intp)
    if labels.dtype == object and len(labels) and all(isinstance(label, Integral) for label in labels):
        return labels.astype(np.intp)
    return labels


def _are_whole(labels: NDArray[Any]) -> bool:
    return np.issubdtype(labels.dtype, np.integer)


def _join_labels(values: list[Any], name: str, *, shift: bool) -> NDArray[Any]:
    """Join labels; integers are shifted beyond those of preceding bunches, others are kept."""
    labels = [_as_labels(value) for value in values]
    filled = [label for label in labels if len(label)]
    whole = [_are_whole(label) for label in filled]
    if any(whole) and not all(whole):
        raise ArgumentValueError(
            f"bunches must have labels of one kind in {name}, got whole numbers in only some of them. Convert all of "
            "them to strings."
        )
    if shift and all(whole):
        for i in range(1, len(filled)):
            with restated(f"bunches must have labels far below 2**63 in {name}"):
                filled[i] = filled[i].astype(np.intp) - int(filled[i].min()) + int(filled[i - 1].max()) + 1
    together = np.concatenate(filled or labels[:1])
    if name in ("room", "speaker"):
        warn_of_lookalikes(together, f"{name}s")
    return together


def _join(values: list[Any], name: str) -> Any:
    """Join a field with one item per entry; the result is a list if any part is one."""
    framed = {type(value) if isinstance(value, (pd.DataFrame, pd.Series)) else None for value in values}
    if len(framed) > 1:
        raise ArgumentValueError(f"bunches must have {name} of one kind, got a frame or series in some of them only.")
    if framed != {None}:
        return pd.concat(values, ignore_index=True)
    items = {getattr(value, "shape", (0,))[1:] for value in values}
    if any(isinstance(value, (list, tuple)) for value in values) or (name == "rirs" and len(items) > 1):
        return [item for value in values for item in value]
    if len(items) > 1:
        shapes = " and ".join(str(tuple(value.shape)) for value in values)
        raise ArgumentValueError(f"bunches must have {name} of one length, got shapes {shapes}.")
    rate = next((value.sample_rate for value in values if isinstance(value, Recordings)), None)
    if rate is not None:
        return JoinedRecordings([as_recordings(value, rate, name=name) for value in values])
    return np.concatenate([np.asarray(value) for value in values])


def _agree(values: list[Any], name: str) -> Any:
    """Return a single value, for all bunches together, of a field that describes the whole."""
    if name == "counts" and all(isinstance(value, Mapping) for value in values):
        return {key: sum(value.get(key, 0) for value in values) for key in dict.fromkeys(k for v in values for k in v)}
    if all(_equal(value, values[0]) for value in values):
        return values[0]
    if name == "DESCR":
        return "\n\n".join(dict.fromkeys(str(value).rstrip() for value in values))
    if name == "synthetic":
        return any(values)
    if all(isinstance(value, (list, tuple)) for value in values):
        return [item for value in values for item in value]
    raise ArgumentValueError(
        f"bunches must have equal {name}, which does not have one item per entry, got different ones."
    )


def _equal(first: Any, second: Any) -> bool:
    if isinstance(first, (pd.DataFrame, pd.Series)):
        return bool(first.equals(second))
    if _length(first) is not None or _length(second) is not None:
        return bool(np.array_equal(first, second))
    return bool(first == second)


class JoinedRecordings(Recordings):
    """Recordings of several bunches, one after another.

    Parameters
    ----------
    parts : list of Recordings
        Parts with the same sampling rate.
    numbers : ndarray of shape (n_recordings,), optional
        Indices, counted over all parts, of the recordings to include; all by default.
    """

    def __init__(self, parts: Sequence[Recordings], numbers: NDArray[np.intp] | None = None) -> None:
        self.parts, self._bounds = parts, np.cumsum([0, *map(len, parts)])
        self.numbers = np.arange(self._bounds[-1]) if numbers is None else numbers
        lengths, n_times = np.concatenate([part.lengths for part in parts]), {part.n_times for part in parts}
        super().__init__(lengths[self.numbers], parts[0].sample_rate, n_times.pop() if len(n_times) == 1 else None)
        if any(part.origin is not None for part in parts):
            self.origin = self._origins()[self.numbers]

    def _origins(self) -> NDArray[np.intp]:
        """Return the recordings that entries were cut from, numbered consecutively over the parts."""
        origins = [np.arange(len(part)) if part.origin is None else part.origin for part in self.parts]
        first = np.cumsum([0, *(int(origin.max(initial=-1)) + 1 for origin in origins)])
        return np.concatenate([origin + shift for origin, shift in zip(origins, first, strict=False)])

    def _read(
        self, indices: NDArray[np.intp], starts: NDArray[np.intp], n_times: int
    ) -> NDArray[np.float32] | list[NDArray[np.float32]]:
        numbers = self.numbers[indices]
        result = np.empty((len(numbers), n_times), dtype=np.float32)
        for part, first, stop in zip(self.parts, self._bounds[:-1], self._bounds[1:], strict=True):
            inside = (first <= numbers) & (numbers < stop)
            if inside.any():
                result[inside] = part._read(numbers[inside] - first, starts[inside], n_times)
        return result

    def where(self, indices: NDArray[np.intp], starts: NDArray[np.intp]) -> str:
        """Return where the first of the segments is, as described by its part."""
        number = int(self.numbers[indices[0]])
        i = int(np.searchsorted(self._bounds, number, side="right")) - 1
        return self.parts[i].where(np.array([number - self._bounds[i]]), starts[:1])

    def take(self, indices: NDArray[np.intp]) -> JoinedRecordings:
        """Return some of the recordings, without reading them."""
        return JoinedRecordings(self.parts, self.numbers[indices])
