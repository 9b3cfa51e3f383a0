"""The default network at other sampling rates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TESTS, frame, markdown, mean, prose, section, select, span

if TYPE_CHECKING:
    from experiments.data import Lab

RATES = (16_000, 8_000, 22_050, 44_100, 48_000)
JUDGED = {"log rt60": "log of RT60", "log rt60_mid": "log of RT60 mid", "c50": "C50"}


@dataclass(frozen=True)
class Counts:
    """How much is simulated and trained: in full, as in the small quickstart."""

    upstream_rooms: int
    segments: int
    seen_rooms: int
    unseen_rooms: int
    train_clips: int
    test_clips: int
    epochs: int
    steps: int


COUNTS = {"paper": Counts(40, 200, 60, 40, 1000, 400, 6, 128), "tiny": Counts(8, 20, 6, 4, 40, 20, 1, 2)}


@dataclass(frozen=True, kw_only=True)
class Rate(Key):
    """A sampling rate; the seed draws rooms, speech, weights and batches."""

    rate: int  # Hz


class SamplingRates(Study):
    """The study `sampling_rates`."""

    name = "sampling_rates"
    question = "Does the default network do as well at other sampling rates than 16 kHz?"

    def keys(self) -> list[Rate]:
        """Return all rates, seed by seed."""
        return [Rate(rate=rate, seed=seed) for seed, rate in product(range(3), RATES)]

    def run(self, key: Rate, lab: Lab, checkpoints: Path) -> Outcome:
        """Train an encoder and heads on the same clips, resampled."""
        from skorch.callbacks import LRScheduler

        from experiments.data import labels_of
        from roomacoustic_sk import ContrastiveRoomEncoder
        from roomacoustic_sk.datasets import make_reverberant_speech

        counts, clips = COUNTS[lab.size.name], {}
        for part, (rooms, speech) in sources(lab, key.seed).items():
            n_clips = {"upstream": None, "train": counts.train_clips}.get(part, counts.test_clips)
            clips[part] = make_reverberant_speech(
                resampled(rooms, "rirs", key.rate),
                resampled(speech, "segments", key.rate),
                pairing="grid" if n_clips is None else "random",
                n_samples=n_clips,
                lazy=True,
                remove_delay=True,
                random_state=key.seed,
            )
        upstream = clips.pop("upstream")
        encoder = ContrastiveRoomEncoder(
            sample_rate=key.rate,
            max_epochs=counts.epochs,
            steps_per_epoch=counts.steps,
            patience=counts.epochs,
            callbacks=[LRScheduler("CosineAnnealingLR", T_max=counts.epochs)],
            random_state=key.seed,
            checkpoint_dir=checkpoints,
            verbose=1,
        )
        encoder.fit(upstream.data, **labels_of(upstream))
        X = {part: encoder.transform(some.data) for part, some in clips.items()}
        rows = [row for task in JUDGED for row in judge(task, X, clips, key.seed)]
        more = {"valid_loss": round(float(encoder.history_["valid_loss"].min()), 3)}
        return Outcome({"rows": rows} | more, float(encoder.history_["dur"].sum()))

    def section(self, results: Sequence[Result]) -> str:
        """Return scores at all rates."""
        table, rates = frame(results), sorted(RATES)
        lines = [
            [JUDGED[task], test]
            + [f"{mean(table, 'pearson_r', task=task, test=test, rate=rate):.3f}" for rate in rates]
            + [span(select(table, task=task, test=test, rate=16_000)["pearson_r"])]
            for task, test in product(JUDGED, TESTS)
        ]
        header = ["task", "test", *(f"{rate / 1000:g} kHz" for rate in rates), "seeds at 16 kHz"]
        text = prose("""
            The quickstart at `--size small` with the default network, on the same clips resampled from 16 kHz, so that
            the higher rates contain nothing above 8 kHz; three seeds. Mean r on new talkers; last column: range over
            seeds at 16 kHz.
        """)
        inside = 0
        others = [rate for rate in rates if rate != 16_000]
        for task, test, rate in product(JUDGED, TESTS, others):
            r = mean(table, "pearson_r", task=task, test=test, rate=rate)
            seeds = select(table, task=task, test=test, rate=16_000)["pearson_r"]
            inside += seeds.min() <= r <= seeds.max()
        findings = (
            f"{inside} of the {len(lines) * len(others)} means at the other rates lie within the range of the seeds at "
            "16 kHz."
        )
        return section("Other sampling rates", text, markdown(header, lines), findings)


def judge(task: str, X: dict[str, Any], clips: dict[str, Any], seed: int) -> list[dict[str, Any]]:
    """Fit a head; return its errors in the tests, those of reverberation times on a logarithmic scale."""
    from roomacoustic_sk import RoomRegressor
    from roomacoustic_sk.metrics import pearson_r, relative_rmse

    column = task.removeprefix("log ")
    known = {part: some.target[column].notna().to_numpy() for part, some in clips.items()}
    y = {part: some.target[column].to_numpy()[known[part]] for part, some in clips.items()}
    y = {part: np.log(values) for part, values in y.items()} if task.startswith("log") else y
    head = RoomRegressor(random_state=seed).fit(X["train"][known["train"]], y["train"])
    rows = []
    for test in TESTS:
        estimates = head.predict(X[test][known[test]])
        errors = {"pearson_r": pearson_r(y[test], estimates), "relative_rmse": relative_rmse(y[test], estimates)}
        rows.append({"task": task, "test": test} | {name: round(float(value), 4) for name, value in errors.items()})
    return rows


def resampled(bunch: Any, name: str, rate: int) -> Any:
    """Return responses or speech at another rate."""
    from scipy.signal import resample_poly

    common = np.gcd(rate, bunch.sample_rate)
    up, down = rate // common, bunch.sample_rate // common
    waveforms = [resample_poly(waveform, up, down).astype(np.float32) for waveform in bunch[name]]
    return bunch | {name: waveforms if name == "rirs" else np.stack(waveforms), "sample_rate": rate}


@lru_cache(maxsize=1)
def sources(lab: Lab, seed: int) -> dict[str, tuple[Any, Any]]:
    """Return rooms and speech at 16 kHz of the encoder, the heads and both tests."""
    from experiments.data import SPEEDS, split_speakers
    from roomacoustic_sk.datasets import load_speech, make_speech

    counts = COUNTS[lab.size.name]
    upstream = lab.rooms(counts.upstream_rooms, 1, seed)
    seen = lab.rooms(counts.seen_rooms, 1, seed + 1)
    unseen = lab.rooms(counts.unseen_rooms, 1, seed + 2)
    n_segments = (counts.segments, counts.train_clips // 2, counts.test_clips // 2)
    if lab.folder is None:
        parts = [make_speech(max(n // 5, 1), n, random_state=seed + i) for i, n in enumerate(n_segments)]
    else:
        speakers, speeds = split_speakers(lab.folder, seed), (SPEEDS, (1.0, 1.0), (1.0, 1.0))
        parts = [
            load_speech(lab.folder, speakers=one, n_segments=n, speed_range=speed, random_state=seed)
            for one, n, speed in zip(speakers, n_segments, speeds, strict=True)
        ]
    return {
        "upstream": (upstream, parts[0]),
        "train": (seen, parts[1]),
        "seen RIRs": (seen, parts[2]),
        "unseen rooms": (unseen, parts[2]),
    }
