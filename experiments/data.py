"""Rooms, speech and clips of the studies.

The *upstream* grid trains encoders: 64 rooms, speech of half of the speakers; `UPSTREAM` lists what each network
learns from. Position-independent sampling has four responses a room, one for each (room, segment), so that it sees as
many clips as the other samplings.

The *downstream* clips train and test heads: 1 000 responses of 100 other rooms, a quarter of the speakers to train and
a quarter to test, on the same responses (*seen RIRs*) and in 50 further rooms (*unseen rooms*). Clips begin when the
direct sound arrives: with the travel time left in, encoders tell responses apart by it.

All this holds for most networks. `experiments/conditions.py` lists what others change, step by step, towards data that
may be as the paper's: image sources cut at one order, whose labels measure the cut, walls without frequency dependence,
tests on the segments that heads learned from, and clips with the travel time. The estimator that comes with the package
learned no such labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from experiments.conditions import CONVERGED, Conditions
from experiments.tables import LARGE_ROOM, TESTS
from roomacoustic_sk.datasets import (
    Hybrid,
    ImageSources,
    load_speech,
    make_reverberant_speech,
    make_speech,
    simulate_rooms,
    split_by_speaker,
    take,
)

UPSTREAM_RIRS = 4  # of a room; all samplings but the position-independent one use the first of them
SPEEDS = (0.85, 1.2)


@dataclass(frozen=True)
class Upstream:
    """What a network's encoders learn from."""

    epochs: int
    varied_speech: bool = True  # 3 000 segments at varied speed, not the paper's 160
    all_responses: bool = True  # of a room, not one
    more_rooms: int = 1  # times as many rooms


UPSTREAM = {
    "paper": Upstream(24, varied_speech=False, all_responses=False),
    "paper-speech": Upstream(24, all_responses=False),
    "paper-varied": Upstream(24),
    "paper-cut": Upstream(24),
    "paper-flat": Upstream(24),
    "paper-shared": Upstream(24),
    "paper-long": Upstream(96),
    "paper-spread": Upstream(24),
    "paper-clip": Upstream(24),
    "paper-travel": Upstream(24),
    "paper-rooms": Upstream(24, more_rooms=4),
    "paper-most": Upstream(96, more_rooms=4),
    "pooled": Upstream(28, all_responses=False),
    "pooled-varied": Upstream(48),
    "bandwise": Upstream(48),
    "compact": Upstream(48),
}


@dataclass(frozen=True)
class Size:
    """How much is simulated and trained."""

    name: str
    upstream_rooms: int
    upstream_segments: int
    varied_segments: int  # at varied speed
    shared_segments: int  # of heads and tests, where they share any
    downstream_rooms: int
    rirs_per_room: int
    unseen_rooms: int
    other_rooms: int  # with two responses each, in no cell of Table 2
    most_rooms: int  # with one response each, in no cell of Table 2 either
    train_clips: int  # a fifth of them stops early
    test_clips: int
    most_epochs: int  # of contrastive training
    supervised_epochs: int
    steps: int


SIZES = {
    "paper": Size("paper", 64, 160, 3000, 128, 100, 10, 50, 500, 2000, 10_240, 2048, 96, 24, 128),
    "tiny": Size("tiny", 8, 20, 20, 20, 6, 2, 4, 8, 10, 100, 50, 1, 1, 2),
}


class Lab:
    """What the studies of one size and one corpus work with, made when it is first needed.

    Parameters
    ----------
    speech : Path or None
        Folder of real speech; synthetic speech if None.
    size : Size
        How much of everything.
    cache : Path
        Folder of simulated rooms and trained encoders.
    results : Path
        Folder of all results, for a study that needs those of another.
    conditions : Conditions, default=CONVERGED
        How responses and clips are made.
    """

    def __init__(
        self, speech: Path | None, size: Size, cache: Path, results: Path, conditions: Conditions = CONVERGED
    ) -> None:
        self.folder, self.size, self.cache, self.results, self.conditions = speech, size, cache, results, conditions
        self._at_arrival = not conditions.travel_time  # of the direct sound, clips begin
        self._others: dict[Conditions, Lab] = {conditions: self}
        self._train: dict[tuple[int | None, int | None], Bunch] = {}

    def resized(self, train_clips: int, test_clips: int) -> Lab:
        """Return a lab with other numbers of clips and the same rooms and speakers."""
        size = replace(self.size, train_clips=train_clips, test_clips=test_clips)
        return Lab(self.folder, size, self.cache, self.results, self.conditions)

    def under(self, conditions: Conditions) -> Lab:
        """Return the lab under other conditions, the same each time."""
        if conditions not in self._others:
            self._others[conditions] = Lab(self.folder, self.size, self.cache, self.results, conditions)
        return self._others[conditions]

    @property
    def corpus(self) -> str:
        """Name of the speech."""
        return "synthetic" if self.folder is None else self.folder.resolve().name

    def rooms(self, n_rooms: int, n_rirs: int, seed: int) -> Bunch:
        """Simulate rooms, once for all studies."""
        order = self.conditions.order
        method: Hybrid | ImageSources = Hybrid() if order is None else ImageSources(order=order)
        common: dict[str, Any] = {"n_jobs": -1, "memory": self.cache, "verbose": 1}
        common |= {"materials": mean_absorption()} if self.conditions.flat else {}
        return simulate_rooms(n_rooms, n_rirs, method=method, redraw=order is None, random_state=seed, **common)

    @cached_property
    def speakers(self) -> list[Any]:
        """Speakers of the encoders, of the heads and of the tests."""
        return [None, None, None] if self.folder is None else split_speakers(self.folder, 0)

    def speech(self, part: int, n_segments: int, speeds: tuple[float, float] = (1.0, 1.0)) -> Bunch:
        """Return segments of one part's speakers, at random offsets."""
        if self.folder is None:
            return make_speech(max(n_segments // 5, 1), n_segments, random_state=part)
        return load_speech(
            self.folder, speakers=self.speakers[part], n_segments=n_segments, speed_range=speeds, random_state=part
        )

    @cached_property
    def upstream_rooms(self) -> Bunch:
        """Responses for the encoders."""
        return self.rooms(self.size.upstream_rooms, UPSTREAM_RIRS, 0)

    @cached_property
    def seen_rooms(self) -> Bunch:
        """Responses for the heads."""
        return self.rooms(self.size.downstream_rooms, self.size.rirs_per_room, 1)

    @cached_property
    def unseen_rooms(self) -> Bunch:
        """Responses of rooms that no head learns from."""
        return self.rooms(self.size.unseen_rooms, UPSTREAM_RIRS, 2)

    @cached_property
    def other_rooms(self) -> Bunch:
        """Two responses each of many rooms that are in no cell of Table 2."""
        return self.rooms(self.size.other_rooms, 2, 3)

    @cached_property
    def most_rooms(self) -> Bunch:
        """A response each of even more rooms that are in no cell of Table 2."""
        return self.rooms(self.size.most_rooms, 1, 4)

    def epochs(self, network: str) -> int:
        """Return the number of epochs of contrastive training."""
        return min(UPSTREAM[network].epochs, self.size.most_epochs)

    def upstream(self, network: str, sampling: str) -> Bunch:
        """Return the grid for an encoder; clips are convolved on demand, except if they are few."""
        recipe = UPSTREAM[network]
        if recipe.varied_speech:
            speech = self.speech(0, self.size.varied_segments, SPEEDS)
        else:
            speech = self.speech(0, self.size.upstream_segments)
        rooms = self.upstream_rooms
        if recipe.more_rooms > 1:
            rooms = self.rooms(recipe.more_rooms * self.size.upstream_rooms, UPSTREAM_RIRS, 5)
        grid = make_reverberant_speech(rooms, speech, remove_delay=self._at_arrival, lazy=True, random_state=0)
        rir = grid.rir % UPSTREAM_RIRS
        if recipe.all_responses:
            chosen = np.ones(len(rir), dtype=bool)
        elif sampling == "position_independent":  # another response of the room for each segment in turn
            source = np.unique(grid.source, return_inverse=True)[1]
            chosen = rir == (source + grid.room) % UPSTREAM_RIRS
        else:
            chosen = rir == 0
        part = Bunch(**{key: grid[key][chosen] for key in ("data", "rir", "source", "room", "speaker")})
        if not recipe.varied_speech:
            part.data = np.asarray(part.data)
        return part

    def clips(self, rooms: Bunch, speech: Bunch, n_clips: int, after: int = 0) -> Bunch:
        """Return clips of segments and responses that are paired at random, other ones than the first few.

        Those of cut responses have no mid-frequency RT60, which could not be determined for half of them.
        """
        common: dict[str, Any] = {"pairing": "random", "remove_delay": self._at_arrival, "random_state": 0}
        common |= {"lazy": True} if after else {"n_jobs": -1, "verbose": 1}
        clips = make_reverberant_speech(rooms, speech, n_samples=after + n_clips, **common)
        if after:
            clips = take(clips, np.arange(after, after + n_clips))
            clips.data = np.asarray(clips.data)
        if self.conditions.cut:
            clips.target = clips.target.drop(columns="rt60_mid")
        return clips

    def train_clips(self, n_rooms: int | None = None, n_clips: int | None = None) -> Bunch:
        """Return clips for heads: of all rooms, of the first few, or, if there are not so many, of the other rooms.

        The last ones are kept, and dropped before others are made: two sets might not fit into memory.
        """
        if (n_rooms, n_clips) not in self._train:
            self._train.clear()
            self._train[n_rooms, n_clips] = self._make_train_clips(n_rooms, n_clips or self.size.train_clips)
        return self._train[n_rooms, n_clips]

    def _make_train_clips(self, n_rooms: int | None, n_clips: int) -> Bunch:
        rooms = self.seen_rooms
        if n_rooms is not None and n_rooms > self.size.downstream_rooms:
            rooms = self.other_rooms if n_rooms <= self.size.other_rooms else self.most_rooms
        elif n_rooms is not None:
            rooms = take(rooms, np.flatnonzero(np.isin(rooms.room, np.unique(rooms.room)[:n_rooms])))
        if not self.conditions.shared_speech:
            return self.clips(rooms, self.speech(1, n_clips // 2), n_clips)
        clips = self.clips(rooms, self.shared_speech, n_clips)
        clips.source = np.arange(n_clips)  # a share of the clips is held out, not of their segments, as in the test
        return clips

    @cached_property
    def shared_speech(self) -> Bunch:
        """Segments for heads and tests alike, as many as the paper's upstream training has."""
        return self.speech(1, self.size.shared_segments)

    @cached_property
    def tests(self) -> dict[str, Bunch]:
        """Clips of both tests."""
        n_clips, shared = self.size.test_clips, self.conditions.shared_speech
        speech = self.shared_speech if shared else self.speech(2, n_clips)
        seen, unseen = TESTS
        return {
            seen: self.clips(self.seen_rooms, speech, n_clips, after=self.size.train_clips if shared else 0),
            unseen: self.clips(self.unseen_rooms, speech, n_clips),
        }

    @cached_property
    def other_test(self) -> Bunch:
        """Clips of a further test, in the other rooms."""
        return self.clips(self.other_rooms, self.speech(2, self.size.test_clips), self.size.test_clips)

    @property
    def downstream(self) -> dict[str, Bunch]:
        """Clips for the heads, and both tests."""
        return {"train": self.train_clips()} | self.tests

    @cached_property
    def five_rooms(self) -> Bunch:
        """Speech of some test speakers through one response each of five unseen rooms (Fig. 4 of the paper)."""
        speech = self.speech(2, self.size.test_clips)
        speakers = np.unique(speech.speaker)[:8]
        said = np.concatenate([np.flatnonzero(speech.speaker == speaker)[:5] for speaker in speakers])
        rooms = take(self.unseen_rooms, self.first_responses)
        return make_reverberant_speech(rooms, take(speech, said), remove_delay=self._at_arrival)

    @property
    def first_responses(self) -> np.ndarray:
        """Indices of the first responses of five unseen rooms."""
        return np.arange(min(5, self.size.unseen_rooms)) * UPSTREAM_RIRS


def split_speakers(folder: Path, seed: int) -> list[np.ndarray]:
    """Return the speakers of the encoders, half of all, of the heads and of the tests, a quarter each."""
    sample = load_speech(folder, n_segments=1000, random_state=seed)
    return [np.unique(part.speaker) for part in split_by_speaker(sample, (0.5, 0.25, 0.25), random_state=seed)]


def mean_absorption() -> list[float]:
    """Return the mean over frequency of the absorption coefficients of each material of pyroomacoustics' database."""
    from pyroomacoustics.parameters import materials_absorption_table

    means = [np.mean(materials_absorption_table[name]["coeffs"]) for name in sorted(materials_absorption_table)]
    return [float(np.clip(mean, 0.01, 0.99)) for mean in means]


def labels_of(clips: Bunch) -> dict[str, Any]:
    """Return the group labels of clips as fit parameters."""
    return {f"{name}_groups": clips[name] for name in ("rir", "source", "room")}


def is_large(clips: Bunch) -> np.ndarray:
    """Return which clips are from large rooms."""
    return clips.target["volume"].to_numpy() > LARGE_ROOM
