"""Group labels: which recordings share a transmission path, a dry source or a room."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable
from numbers import Number
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.random import RandomState
from numpy.typing import ArrayLike, NDArray

from roomacoustic_sk._validation import (
    ArgumentValueError,
    as_array,
    check_number,
    describe,
    is_flat,
    name_rows,
    restated,
    warn,
)

HELD_OUT = {"source": "source_groups", "rir": "rir_groups", "room": "room_groups"}
"""Options of `hold_out`, and the labels that each of them uses."""


def check_groups(groups: ArrayLike, n_recordings: int, *, name: str) -> NDArray[Any]:
    """Return group labels as a 1-D array with one label per recording, or raise.

    Raises
    ------
    ValueError
        If the labels are not 1-D, if there is not one per recording, if any is missing (NaN or None), or if their types
        cannot be compared, such as 1 and "1".
    """
    listed: Any = groups if isinstance(groups, (list, tuple)) else []
    labels = as_array(groups, name=name, expected=f"1-D with {n_recordings} labels")
    if labels.ndim != 1 or len(labels) != n_recordings:
        raise ArgumentValueError(f"{name} must be 1-D with {n_recordings} labels, got {describe(labels)}.")
    if labels.dtype == object:
        from pandas import isna  # knows None, NaN, NaT and NA

        missing = np.flatnonzero(isna(labels))
        listed = labels[~isna(labels)]
    else:
        missing = np.flatnonzero(labels != labels)
    if len(missing):
        raise ArgumentValueError(f"{name} must not have missing labels, got some in {name_rows(missing)}.")
    # numpy converts a list of strings and numbers to strings, so that 1 and "1" would become one label.
    if len({isinstance(label, (str, bytes)) for label in listed}) > 1:
        kinds = " and ".join(sorted({type(label).__name__ for label in listed}))
        raise ArgumentValueError(f"{name} must hold labels of one kind, got {kinds}. Convert them all to str.")
    with restated(f"{name} must hold labels that can be sorted, such as numbers or strings of one kind"):
        different = np.unique(labels)
    if labels.dtype != object:
        check_unmerged(listed, different, name=name)
    return labels


def check_classes(y: Any) -> Any:
    """Return classes; a list becomes an array, and is refused if its classes are of several kinds or missing."""
    return check_groups(y, len(y), name="y") if isinstance(y, (list, tuple)) and len(y) and is_flat(y) else y


def check_unmerged(listed: Any, different: NDArray[Any], *, name: str) -> None:
    r"""Refuse labels that numpy has made equal: large integers beside floats, b"a" and "a", "a" and "a\\0"."""
    listed = [label for label in listed if isinstance(label, (str, bytes, Number))]
    if len(set(listed)) > len(different):
        raise ArgumentValueError(
            f"{name} must hold labels that stay different in one array, got {len(set(listed))} labels of which only "
            f"{len(different)} do. Use integers below 2**53, or strings of one kind."
        )


def warn_of_lookalikes(labels: Iterable[Any], what: str) -> None:
    """Name labels of `what`, "rooms" or "speakers", that differ only in how they are spelt.

    That is, in case, spaces, punctuation, the form of an accent, invisible characters, or the way a number is written.
    """
    alike: dict[str, set[str]] = defaultdict(set)
    for label in {label for label in np.asarray(labels).tolist() if isinstance(label, str)}:
        alike[_spelling(label)].add(label)
    doubles = sorted(sorted(names) for names in alike.values() if len(names) > 1)
    if doubles:
        listed = "; ".join(" and ".join(map(_quoted, names[:2])) for names in doubles[:3])
        warn(f"{what} with labels that are almost alike count as different: {listed}. Unify them if they are one.")


def _quoted(label: str) -> str:
    """Return a label in quotes, with escapes where two labels would look the same."""
    return repr(label) if label.isascii() else f"{label!r} ({label!a})"


def _spelling(label: str) -> str:
    """Return what is left of a label without the details of its spelling."""
    text = "".join(c for c in unicodedata.normalize("NFKC", label).casefold() if unicodedata.category(c) != "Cf")
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return repr(float(text))
    text = re.sub(r"(?<=\d)[\s_\-.,]+(?=\d)", "|", text)  # 1-11 is not 11-1
    return re.sub(r"(?<!\d)0+(?=\d)", "", re.sub(r"[\s_\-.,]+", "", text))


def check_labels(groups: Any, *, name: str) -> NDArray[Any]:
    """Return group labels of any number of recordings, at least one, as `check_groups` does."""
    n_recordings = len(np.atleast_1d(as_array(groups, name=name, expected="1-D, with a label for each recording")))
    if not n_recordings:
        raise ArgumentValueError(f"{name} must have at least one label, got none.")
    return check_groups(groups, n_recordings, name=name)


class GroupLabels(NamedTuple):
    """The three group labels of recordings, as integer codes from 0; None for labels that were not passed.

    Labels are checked and coded once, by `checked`; `take` selects some of them.
    """

    n_recordings: int
    rir: NDArray[np.intp] | None = None
    source: NDArray[np.intp] | None = None
    room: NDArray[np.intp] | None = None

    @classmethod
    def checked(
        cls,
        n_recordings: int,
        rir_groups: ArrayLike | None = None,
        source_groups: ArrayLike | None = None,
        room_groups: ArrayLike | None = None,
        *,
        one_room_each: bool = False,
    ) -> Self:
        """Check and code labels as users pass them; with `one_room_each`, a response must not be in two rooms.

        Raises
        ------
        ValueError
            If there is not one label per recording, if labels are missing or of mixed types, or, with
            `one_room_each`, if they place a response in two rooms.
        """
        given = {"rir_groups": rir_groups, "source_groups": source_groups, "room_groups": room_groups}
        labels = {
            name: None if groups is None else check_groups(groups, n_recordings, name=name)
            for name, groups in given.items()
        }
        if labels["room_groups"] is not None:
            warn_of_lookalikes(labels["room_groups"], "rooms")
        rir, source, room = (None if found is None else _codes(found) for found in labels.values())
        if one_room_each and rir is not None and room is not None:
            _check_one_room_each(rir, room, labels)
        return cls(n_recordings, rir, source, room)

    def take(self, indices: NDArray[Any]) -> Self:
        """Return the labels of some recordings, by index or mask, coded from 0 again."""
        parts = [None if codes is None else _codes(codes[indices]) for codes in (self.rir, self.source, self.room)]
        return type(self)(len(np.arange(self.n_recordings)[indices]), *parts)

    @property
    def given(self) -> list[str]:
        """Names of the labels that were passed."""
        codes = {"rir_groups": self.rir, "source_groups": self.source, "room_groups": self.room}
        return [name for name, found in codes.items() if found is not None]

    def to_hold_out(self, hold_out: str) -> NDArray[np.intp]:
        """Return the labels by which recordings are held out in whole groups: sources, responses or rooms.

        Without source labels, every recording is a source of its own.

        Raises
        ------
        ValueError
            If responses or rooms are to be held out and their labels are missing or have fewer than three different
            values.
        """
        name, labels = HELD_OUT[hold_out], {"source": self.source, "rir": self.rir, "room": self.room}[hold_out]
        if hold_out == "source":
            return np.arange(self.n_recordings) if labels is None else labels
        if labels is None:
            raise ArgumentValueError(f"{name} must be given if hold_out={hold_out!r}, got None.")
        n_labels = int(labels.max()) + 1
        if n_labels < 3:
            raise ArgumentValueError(
                f"{name} must have at least 3 different labels if hold_out={hold_out!r}, since two of them are held "
                f"out, got {n_labels}."
            )
        return labels


def _codes(labels: NDArray[Any]) -> NDArray[np.intp]:
    """Return labels as integer codes from 0, in sorted order."""
    return np.unique(labels, return_inverse=True)[1].astype(np.intp, copy=False)


def _check_one_room_each(rir: NDArray[np.intp], room: NDArray[np.intp], labels: dict[str, Any]) -> None:
    """Refuse labels that place one response in several rooms, e.g. because the two arguments were swapped."""
    first = np.full(rir.max() + 1, -1)
    first[rir[::-1]] = room[::-1]  # the room of each response's first recording
    wrong = np.flatnonzero(first[rir] != room)
    if not len(wrong):
        return
    several = rir[wrong[0]]
    rooms = list(dict.fromkeys(labels["room_groups"][rir == several].tolist()))
    (name,) = labels["rir_groups"][wrong[:1]].tolist()
    raise ArgumentValueError(
        f"room_groups must name one room for each RIR, got {len(rooms)} rooms for RIR {name!r} "
        f"({', '.join(map(repr, rooms[:3]))}{', ...' if len(rooms) > 3 else ''}). "
        "Are rir_groups and room_groups swapped?"
    )


def share_of_labels(labels: NDArray[Any], fraction: float, random_state: RandomState) -> NDArray[np.bool_]:
    """Mark the recordings of a random share of the labels, at least two labels unless the share is 0.

    Parameters
    ----------
    labels : ndarray of shape (n_recordings,)
        Labels of any type.
    fraction : float
        Share of the distinct labels.
    random_state : RandomState
        Draws them.

    Returns
    -------
    ndarray of shape (n_recordings,) of bool
        True for the recordings of the drawn labels.

    Examples
    --------
    >>> import numpy as np
    >>> from roomacoustic_sk.samplers import share_of_labels
    >>> share_of_labels(np.array(list("aabbccdd")), 0.5, np.random.RandomState(0)).sum()
    np.int64(4)
    """
    check_number(fraction, name="fraction", low=0, high=1)
    names = np.unique(labels)
    n_chosen = min(max(round(fraction * len(names)), 2 if fraction else 0), len(names))
    return np.isin(labels, random_state.choice(names, n_chosen, replace=False))


def held_out_if_enough(held_out: NDArray[np.bool_], problem: Callable[[NDArray[np.bool_]], str]) -> NDArray[np.bool_]:
    """Return the recordings to hold out for validation, or none, with a warning, if there are too few.

    Parameters
    ----------
    held_out : ndarray of shape (n_recordings,) of bool
        The recordings proposed.
    problem : callable
        Returns the reason why they cannot be held out, "the labels are too few to ...", or "".

    Returns
    -------
    ndarray of shape (n_recordings,) of bool
    """
    if not held_out.any():
        return held_out
    reason = problem(held_out)
    if not reason:
        return held_out
    warn(f"no validation: {reason}. The training loss decides when to stop.")
    return np.zeros_like(held_out)
