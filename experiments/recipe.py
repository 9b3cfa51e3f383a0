"""The default recipe: an encoder and heads for recordings of any room, from simulated rooms, real speech and noise.

Rooms of the preset "wide" are split by number: the first train the encoder, the next the heads, the next calibrate,
the last only test. Each training response also has a copy with another direct sound and decay, whose labels are
computed from it. A few measured rooms train the heads, too. Speakers are split like rooms, and a third of the
recordings of noise only tests.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import pandas as pd
from sklearn.utils import Bunch

from experiments.results import RefusedError, replacing
from experiments.tables import KINDS
from roomacoustic_sk.acoustics import DecayRangeWarning, evaluate
from roomacoustic_sk.augmentation import AddNoise, LimitBand, ReshapeDecay, ScaleDirectSound, Sometimes
from roomacoustic_sk.datasets import (
    augment_clips,
    augment_responses,
    concatenate,
    load_measured_rirs,
    load_speech,
    make_reverberant_speech,
    make_speech,
    read_audio,
    simulate_rooms,
    split_by_speaker,
    take,
)

if TYPE_CHECKING:
    from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressorEnsemble
    from roomacoustic_sk.room_parameters import Heard

SEED = 30
SAMPLE_RATE = 16_000
PARTS = ("encoder", "heads", "calibration", "test")
SPEAKERS = (0.5, 0.25, 0.125, 0.125)  # share of each part
SPEEDS = (0.85, 1.2)
SECONDS = (1.0, 12.0)  # of the clips for heads and calibration
AT_ONCE = 256
BANDS = (125, 250, 500, 1000, 2000, 4000)  # Hz
TRANSFORMS = {
    "rt60_mid": "log",
    "c50": "compressed",
    "drr": "compressed",
    **{f"rt60_{band}": "log" for band in BANDS},
    **{f"c50_{band}": "compressed" for band in BANDS},
    "snr": "identity",
}
TRAINING_ROOMS = ("surrey", "house_dining", "house_kitchen", "openair_genesis_6")  # measured
SELECTING_ROOMS = ("house_cinema", "domestic_living_room", "openair_arthur_sykes")  # among recipes, by hand
HEADS = 5  # which are averaged: in measured rooms, they differ more than in simulated ones
MOST_OF_A_ROOM = 12  # responses, so that no measured room outweighs the others
MEASURED_COPIES = 3  # of each measured response
SNR = (-10.0, 40.0)  # dB, of the clips for heads and calibration
CLEAN = 0.2  # share of the clips without noise
NO_SPEECH = 0.05  # further clips for the heads, of noise alone
LOWEST_SNR = -20.0  # dB, as which noise alone counts
LOWEST_SNR_TOLD = 0.0  # dB; in more noise, heads learn the SNR alone
LIMITED = Sometimes(LimitBand(low=(20.0, 300.0), high=(3400.0, 7900.0)), 0.3)


@dataclass(frozen=True)
class Amount:
    """How much is simulated and trained."""

    rooms: tuple[int, int, int, int]  # of each part, with two responses each
    encoder_segments: int
    epochs: int
    steps: int
    head_clips: int
    calibration_clips: int


AMOUNTS = {
    "paper": Amount((560, 270, 120, 60), 4000, 40, 128, 18_000, 3000),
    "third": Amount((560, 270, 120, 60), 4000, 40, 128, 6000, 3000),  # heads on a third of the clips, for ablations
    "tiny": Amount((8, 8, 20, 4), 20, 1, 2, 200, 120),
}

VARIATIONS = {"direct": Sometimes(ScaleDirectSound(), 0.7), "decay": Sometimes(ReshapeDecay(), 0.7)}
LEFT_OUT = ("measured", *KINDS, *VARIATIONS, "noise", "band")
"""What an ablation may leave out of the training of the heads; the encoder's stays as it is."""


class Recipe:
    """Rooms, speech and noise of the default recipe, and the estimators that it trains.

    Parameters
    ----------
    amount : Amount
        How much of everything.
    speech : Path or None
        Folder of real speech; synthetic speech if None.
    noise : Path or None
        Folder of recordings of noise; Gaussian noise if None.
    cache : Path
        Folder of simulated rooms.
    tables : sequence of Path
        Tables of measured responses, of which some rooms train the heads.
    without : collection of str
        What is left out of the heads' training, from `LEFT_OUT`.
    """

    def __init__(
        self,
        amount: Amount,
        speech: Path | None,
        noise: Path | None,
        cache: Path,
        tables: Sequence[Path] = (),
        without: Collection[str] = (),
    ) -> None:
        self.amount, self.cache, self.tables, self.without = amount, cache, tables, sorted(without)
        unknown = set(without).difference(LEFT_OUT)
        if unknown:
            raise RefusedError(f"--without must name some of {', '.join(LEFT_OUT)}, got {min(unknown)!r}")
        self.speech_folder, self.noise_folder = speech, noise
        found = [] if noise is None else sorted(path for path in noise.iterdir() if path.suffix in (".flac", ".wav"))
        recordings = [read_audio(path, SAMPLE_RATE)[0] for path in found]
        self.test_noise = recordings[::3]
        self.train_noise = [recording for i, recording in enumerate(recordings) if i % 3]
        self._speakers: list[Any] | None = None

    def rooms(self, part: str) -> Bunch:
        """Return the responses of a part; those that train are followed by varied copies."""
        i, sizes = PARTS.index(part), self.amount.rooms
        first, n_rirs = sum(sizes[:i]), 2
        simulated = simulate_rooms(
            first + sizes[i], n_rirs, preset="wide", random_state=SEED, n_jobs=-1, memory=self.cache, verbose=1
        )
        rooms = take(simulated, np.arange(first * n_rirs, (first + sizes[i]) * n_rirs))
        if part in ("encoder", "heads"):
            rooms = augment_responses(rooms, self._variations(part), random_state=SEED + i, verbose=1)
        if part == "encoder":
            return rooms
        for kind, (column, limit) in KINDS.items():
            if not self._has(kind, part):
                rooms = take(rooms, np.flatnonzero(~(rooms.target[column] > limit)))
        measured = self._measured() if self._has("measured", part) and part == "heads" else []
        return concatenate([with_bands(rooms, "simulated"), *(with_bands(some, "measured") for some in measured)])

    def _has(self, step: str, part: str) -> bool:
        """Return whether a step is not left out of a part."""
        return part != "heads" or step not in self.without

    def _variations(self, part: str) -> list[Any]:
        """Return the steps on the responses of a part that trains."""
        return [step for name, step in VARIATIONS.items() if self._has(name, part)]

    def _measured(self) -> Iterator[Bunch]:
        """Yield the measured rooms that train, some responses of each, with varied copies."""
        for table in self.tables:
            rirs, names = load_measured_rirs(table), room_names(table)
            chosen = [evenly(np.flatnonzero(names == name), MOST_OF_A_ROOM) for name in TRAINING_ROOMS]
            indices, variations = np.concatenate(chosen), self._variations("heads")
            if len(indices):
                rooms, n_copies = take(rirs, indices), MEASURED_COPIES
                yield augment_responses(rooms, variations, n_copies=n_copies, random_state=SEED, verbose=1)

    def speech(
        self, part: str, n_segments: int, duration: float = 4.0, speeds: tuple[float, float] = (1.0, 1.0)
    ) -> Bunch:
        """Return segments of the speakers of a part."""
        i = PARTS.index(part)
        if self.speech_folder is None:
            return make_speech(max(n_segments // 5, 1), n_segments, duration=duration, random_state=i)
        if self._speakers is None:
            sample = load_speech(self.speech_folder, n_segments=1000, random_state=0)
            self._speakers = [np.unique(one.speaker) for one in split_by_speaker(sample, SPEAKERS, random_state=0)]
        return load_speech(
            self.speech_folder,
            speakers=self._speakers[i],
            duration=duration,
            n_segments=n_segments,
            speed_range=speeds,
            random_state=i,
        )

    def steps(self) -> list[Any]:
        """Return what is done to the clips that train the encoder: noise and limited bands, of most of them."""
        return [
            Sometimes(AddNoise(snr=(0.0, 40.0), recordings=self.train_noise), 0.8),
            LIMITED,
        ]

    def fit_encoder(self, seed: int, checkpoints: Path, network: str = "compact") -> ContrastiveRoomEncoder:
        """Train an encoder; checkpoints let it resume."""
        from skorch.callbacks import LRScheduler

        from roomacoustic_sk import ContrastiveRoomEncoder

        amount = self.amount
        speech = self.speech("encoder", amount.encoder_segments, speeds=SPEEDS)
        data = make_reverberant_speech(self.rooms("encoder"), speech, remove_delay=True, lazy=True, random_state=0)
        data = augment_clips(data, self.steps(), random_state=seed)
        encoder = ContrastiveRoomEncoder(
            network=network,
            max_epochs=amount.epochs,
            steps_per_epoch=amount.steps,
            patience=amount.epochs + 1,  # the step size falls to zero over all epochs, so all of them are run
            callbacks=[LRScheduler("CosineAnnealingLR", T_max=amount.epochs)],
            checkpoint_dir=checkpoints,
            random_state=seed,
            verbose=1,
        )
        encoder.fit(data.data, rir_groups=data.rir, source_groups=data.source, room_groups=data.room)
        return encoder.set_params(callbacks=None, checkpoint_dir=None)

    def clips(self, part: str, n_clips: int) -> Iterator[tuple[list[np.ndarray], Bunch]]:
        """Yield clips of random durations and SNR, some at a time, with their labels and targets."""
        has_noise = self._has("noise", part)
        yield from self.cut(self.rooms(part), part, n_clips, SNR, clean=CLEAN if has_noise else 1.0)
        if part == "heads" and has_noise:
            yield self._without_speech(round(NO_SPEECH * n_clips))

    def cut(
        self,
        rooms: Bunch,
        part: str,
        n_clips: int,
        snr: tuple[float, float],
        *,
        clean: float = 0.0,
        seconds: tuple[float, float] = SECONDS,
    ) -> Iterator[tuple[list[np.ndarray], Bunch]]:
        """Yield clips in rooms, spoken by the speakers of a part, of durations drawn on a logarithmic scale.

        An SNR is drawn for each clip, but for a share that is `clean`, whose SNR counts as the highest in `SNR`. In
        parts that train and calibrate, the band of some clips is limited.
        """
        n_segments = max(n_clips // 4, -(-n_clips // len(rooms.rirs)), 10)  # no pair of response and segment repeats
        speech = self.speech(part, n_segments, duration=seconds[1])
        random_state = np.random.RandomState(PARTS.index(part))
        # Half a second is the step, so that many clips share a length.
        durations = np.ceil(2 * np.exp(random_state.uniform(np.log(seconds[0]), np.log(seconds[1]), n_clips))) / 2
        for seed, (duration, n) in enumerate(zip(*np.unique(durations, return_counts=True), strict=True)):
            short = Bunch(**speech | {"segments": speech.segments[:, : int(duration * SAMPLE_RATE)]})
            data = make_reverberant_speech(
                rooms, short, pairing="random", n_samples=int(n), remove_delay=True, lazy=True, random_state=seed
            )
            labels = Bunch(rir=data.rir, room=data.room, source=data.source, target=data.target)
            for first in range(0, int(n), AT_ONCE):
                indices = np.arange(first, min(first + AT_ONCE, int(n)))
                some = take(labels, indices)
                levels = random_state.uniform(*snr, len(indices))
                levels[random_state.uniform(size=len(indices)) < clean] = np.nan
                sounds = [
                    self._disturbed(sound, level, part, np.random.default_rng([seed, int(i)]))
                    for sound, level, i in zip(np.asarray(data.data[indices]), levels, indices, strict=True)
                ]
                some.target = some.target.assign(snr=np.nan_to_num(levels, nan=SNR[1]))
                yield sounds, some

    def _disturbed(self, sound: np.ndarray, snr: float, part: str, rng: np.random.Generator) -> np.ndarray:
        """Return a clip with noise at an SNR, without if that is NaN, and perhaps with a limited band."""
        if not np.isnan(snr):
            noise = self.test_noise if part == "test" else self.train_noise
            sound = AddNoise(snr=(snr, snr), recordings=noise)(sound, SAMPLE_RATE, rng)
        if part != "test" and self._has("band", part):
            sound = LIMITED(sound, SAMPLE_RATE, rng)
        return sound.astype(np.float32)

    def _without_speech(self, n_clips: int) -> tuple[list[np.ndarray], Bunch]:
        """Return clips of noise alone, of which nothing is known but that."""
        rng, sounds = np.random.default_rng(0), []
        for _ in range(n_clips):
            n_times = int(np.exp(rng.uniform(np.log(SECONDS[0]), np.log(SECONDS[1]))) * SAMPLE_RATE)
            noise = rng.standard_normal(n_times)
            if self.train_noise:
                noise = self.train_noise[rng.integers(len(self.train_noise))]
            start = rng.integers(max(len(noise) - n_times, 0) + 1)
            sounds.append(np.resize(noise[start : start + n_times], n_times).astype(np.float32))
        labels = np.array([f"noise {i}" for i in range(n_clips)])
        target = pd.DataFrame({"snr": np.full(n_clips, LOWEST_SNR)})
        return sounds, Bunch(rir=labels, room=labels, source=labels, target=target)

    def fit_head(self, encoder: ContrastiveRoomEncoder) -> RoomRegressorEnsemble:
        """Train heads for all targets, and calibrate their average."""
        from roomacoustic_sk import RoomRegressor, RoomRegressorEnsemble

        heard, clips = self.heard("heads", encoder, self.amount.head_clips)
        targets = told(targets_of(clips))
        known = targets.notna().any(axis=1).to_numpy()
        groups = {f"{name}_groups": clips[name][known] for name in ("rir", "source", "room")}
        head = RoomRegressor(
            target_transform=TRANSFORMS, hold_out="rir", validation_fraction=0.15, batch_size=64, patience=8
        )
        heads = RoomRegressorEnsemble(head, HEADS, random_state=0)
        heads.fit(heard.embeddings[known], targets[known], **groups)
        heard, clips = self.heard("calibration", encoder, self.amount.calibration_clips)
        return heads.calibrate(heard.embeddings, told(targets_of(clips)), clips.room, quality=heard.quality)

    def heard(self, part: str, encoder: ContrastiveRoomEncoder, n_clips: int) -> tuple[Heard, Bunch]:
        """Return what the encoder makes of the clips of a part, kept so that training resumes."""
        left_out = "".join(f"-no-{step}" for step in self.without if part == "heads")
        kept = self.cache / f"default_{part}-{n_clips}{left_out}.joblib"
        if not kept.exists():
            found = hear(encoder, self.clips(part, n_clips))
            with replacing(kept) as unfinished:
                joblib.dump(found, unfinished)
        return joblib.load(kept)


def with_bands(rooms: Bunch, kind: str) -> Bunch:
    """Return rooms whose targets are in octave bands, too, and whose labels begin with their kind.

    Targets are NaN in bands that reach below the Schroeder frequency of a simulated room.
    """
    is_measured = kind == "measured"  # others have no noise
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        found = evaluate(
            list(rooms.rirs),
            rooms.sample_rate,
            ["T30", "C50"],
            bands=BANDS,
            truncation="lundeby" if is_measured else None,
        )
    modal = np.zeros(len(rooms.rirs)) if is_measured else rooms.proof["schroeder_frequency"].to_numpy()
    columns = {f"c50_{band}": values for band, values in zip(BANDS, found["C50"].T, strict=True)}
    for band, values in zip(BANDS, found["T30"].T, strict=True):
        columns[f"rt60_{band}"] = np.where(modal > band * 2**0.5, np.nan, values)
    labels = {name: np.array([f"{kind} {label}" for label in rooms[name]]) for name in ("rir", "room")}
    return Bunch(rirs=rooms.rirs, sample_rate=rooms.sample_rate, target=rooms.target.assign(**columns), **labels)


def targets_of(clips: Bunch) -> pd.DataFrame:
    """Return the targets, NaN where they are infinite, as the ratio of direct to no reverberant sound."""
    return clips.target.reindex(columns=list(TRANSFORMS)).replace([np.inf, -np.inf], np.nan)


def told(targets: pd.DataFrame) -> pd.DataFrame:
    """Return targets without those of clips in so much noise that `estimate_room` gives no numbers but the SNR."""
    return targets.assign(
        **{name: targets[name].mask(targets["snr"] < LOWEST_SNR_TOLD) for name in targets if name != "snr"}
    )


def room_names(table: Path) -> np.ndarray:
    """Return a name for each response of a table: its room's, or that of its set if the set has one room."""
    listed = pd.read_csv(table)
    n_rooms = listed.groupby("set")["room"].transform("nunique")
    is_set = listed["set"].duplicated(keep=False) & (n_rooms == 1)
    return np.where(is_set, listed["set"], listed["room"])


def evenly(indices: np.ndarray, n: int) -> np.ndarray:
    """Return at most `n` of the indices, evenly spaced."""
    return indices[np.linspace(0, len(indices) - 1, min(n, len(indices))).astype(int)]


def hear(encoder: Any, clips: Iterator[tuple[list[np.ndarray], Bunch]]) -> tuple[Heard, Bunch]:
    """Return embeddings and numbers of quality of clips, as `RoomParameterEstimator` hears them, and their labels."""
    from roomacoustic_sk.room_parameters import Heard, hear_waveforms

    found, labels = [], []
    for sounds, some in clips:
        found.append(hear_waveforms(encoder, sounds))
        labels.append(some)
    joined = {name: np.concatenate([one[name] for one in labels]) for name in ("rir", "room", "source")}
    target = pd.concat([one.target for one in labels], ignore_index=True)
    return Heard(*map(np.concatenate, zip(*found, strict=True))), Bunch(target=target, **joined)
