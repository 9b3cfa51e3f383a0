"""How recordings are cut into segments: for training, at random; to be applied to, from the first to the last."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from roomacoustic_sk._recordings import Recordings
from roomacoustic_sk._validation import ArgumentValueError, warn


class Segmentation(NamedTuple):
    """How recordings are cut into segments, in samples."""

    length: int  # of a segment
    shortest: int  # shorter recordings are repeated from their beginning
    hop: int  # from one segment of a long recording to the next

    def segments(self, lengths: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp], NDArray[np.intp]]]:
        """Yield each segment length, with the recordings and starts of all segments of that length.

        Long recordings are cut into segments `hop` apart, the last one flush with the end; shorter ones stay whole.
        """
        taken = np.clip(lengths, self.shortest, self.length)
        for size in np.unique(taken):
            pieces = [
                (i, start) for i in np.flatnonzero(taken == size) for start in self._starts(int(lengths[i]), int(size))
            ]
            indices, starts = np.array(pieces, dtype=np.intp).T
            yield int(size), indices, starts

    def _starts(self, n_times: int, size: int) -> NDArray[np.intp]:
        last = max(n_times - size, 0)
        return np.unique(np.append(np.arange(0, last, self.hop), last))


def choose_segment_length(recordings: Recordings, wanted: int, shortest: int, *, share: int = 1) -> int:
    """Return the length of a training segment: `wanted`, or less, with a warning, if the recordings are too short.

    Parameters
    ----------
    recordings : Recordings
        The recordings to train on.
    wanted, shortest : int
        The requested length and the minimum for the network, in samples.
    share : int
        A segment is at most 1 / `share` of the longest recording.

    Raises
    ------
    ValueError
        If the network does not accept segments as short as requested.
    """
    rate, longest = recordings.sample_rate, int(recordings.lengths.max())
    if wanted < shortest:
        raise ArgumentValueError(
            f"segment_duration must be at least {shortest / rate:g} s for this network, got {wanted / rate:g} s."
        )
    length = max(min(wanted, longest // share), shortest)
    if length < wanted:
        reason = f"the longest recording is {longest / rate:g} s long"
        if share > 1:
            reason = f"segments of an unlabelled recording must start at different positions, and {reason}"
        warn(f"segment_duration reduced from {wanted / rate:g} s to {length / rate:g} s: {reason}.")
    return length


def warn_of_repeats(recordings: Recordings, needed: int) -> None:
    """Warn that recordings shorter than `needed` samples are repeated from their beginning."""
    lengths = recordings.lengths
    n_short = int(np.sum(lengths < needed))
    if n_short:
        warn(
            f"{n_short} of {len(lengths)} recordings in X are shorter than the {needed / recordings.sample_rate:g} s "
            f"needed (the shortest has {lengths.min()} of {needed} samples) and were repeated from their beginning."
        )
