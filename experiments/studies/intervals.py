"""How often intervals hold in rooms that neither training nor calibration saw, and heads with several targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import frame, markdown, mean, prose, section, select, span, spread

if TYPE_CHECKING:
    from sklearn.utils import Bunch

    from experiments.data import Lab

COVERAGE = 0.9
TRANSFORMS = {"rt60": "log", "rt60_mid": "log", "c50": "bounded"}  # widths are constant ratios, or constant in dB
LABELS = {"rt60": "RT60 [s]", "rt60_mid": "RT60 mid [s]", "c50": "C50 [dB]"}
THIRDS = ("estimated RT60", "estimated SNR", "duration")
CALIBRATION_ROOMS = (20, 50, 100, 400)
N_DRAWS = 20  # of so many calibration rooms, where there are more
CLIPS_A_ROOM = 4
SECONDS = (1.0, 8.0)
SNR = (0.0, 40.0)  # dB
LEVEL_OF_FLAGS = 0.95


@dataclass(frozen=True)
class Amount:
    """How many rooms, with one response each, and how much speech."""

    encoder_rooms: int
    encoder_segments: int
    epochs: int
    train_rooms: int
    calibration_rooms: int
    test_rooms: int
    clips_a_train_room: int
    segments: int  # of speech, for each part


AMOUNTS = {  # the encoder is that of the quickstart at its size small
    "paper": Amount(40, 200, 6, 80, 400, 400, 20, 400),
    "tiny": Amount(8, 20, 1, 8, 12, 8, 6, 20),
}


@dataclass(frozen=True, kw_only=True)
class Heads(Key):
    """Heads of an encoder; the seed is theirs."""

    encoder: str = "quickstart"


@dataclass(frozen=True, eq=False)
class Part:
    """Embeddings of clips, with what is known and what can be estimated of them."""

    X: np.ndarray  # (n_clips, n_features)
    target: pd.DataFrame
    room: np.ndarray
    quality: np.ndarray  # (n_clips, 2): logarithm of the duration in s, and estimated SNR in dB


class Intervals(Study):
    """The study `intervals`."""

    name = "intervals"
    question = "How often do intervals hold in new rooms, how wide are they, and does one head serve several targets?"

    def __init__(self) -> None:
        self._heard: tuple[Lab, dict[str, Part]] | None = None  # the same for all seeds

    def keys(self) -> list[Heads]:
        """Return three seeds of the heads."""
        return [Heads(seed=seed) for seed in range(3)]

    def run(self, key: Heads, lab: Lab, checkpoints: Path) -> Outcome:
        """Fit one head for all targets and one for each; calibrate the first on some of the rooms, or on all."""
        from roomacoustic_sk import RoomRegressor
        from roomacoustic_sk.metrics import pearson_r

        if self._heard is None or self._heard[0] is not lab:
            self._heard = lab, hear(lab, checkpoints)
        parts = self._heard[1]
        train, test = parts["train"], parts["test"]
        common: dict[str, Any] = {"hold_out": "rir", "random_state": key.seed}  # a room has one response
        several = RoomRegressor(target_transform=TRANSFORMS, **common)
        several.fit(train.X, train.target, rir_groups=train.room)
        estimates = pd.DataFrame(several.predict(test.X), columns=several.target_names_)
        heads = []
        for target, transform in TRANSFORMS.items():
            known, has = train.target[target].notna().to_numpy(), test.target[target].notna().to_numpy()
            one = RoomRegressor(target_transform=transform, **common)
            one.fit(train.X[known], train.target[target][known], rir_groups=train.room[known])
            true = test.target[target][has]
            for head, found in (("several targets", estimates[target].to_numpy()), ("one target", one.predict(test.X))):
                heads.append({"target": target, "head": head, "pearson_r": pearson_r(true, found[has])})
        rows = list(judge_all(several, parts["calibration"], test, estimates, train.target))
        flags = flagged(several, parts)
        counts = {name: {"clips": len(part.X), "rooms": len(np.unique(part.room))} for name, part in parts.items()}
        return Outcome({"rows": rows, "heads": heads, "flagged": flags, "counts": counts})

    def section(self, results: Sequence[Result]) -> str:
        """Return coverage and width against the number of calibration rooms, then r of both kinds of heads."""
        table, counts = frame(results), results[0].result["counts"]
        heads = pd.DataFrame([row | {"seed": one.seed} for one in results for row in one.result["heads"]])
        sizes = sorted(table["n_rooms"].unique())
        rows = [_line(table, n_rooms, target) for n_rooms in sizes for target in TRANSFORMS]
        header = ["calibration rooms", "target", "coverage", "lowest third", "width", "constant", "without the clip"]
        most = select(table, n_rooms=sizes[-1])
        thirds = [
            [LABELS[target], third, *(f"{100 * mean(most, f'{third}, {i}', target=target):.1f} %" for i in range(3))]
            for target in TRANSFORMS
            for third in THIRDS
        ]
        compared = [
            [LABELS[target], *(spread(select(heads, target=target, head=head)["pearson_r"]) for head in HEAD_KINDS)]
            for target in TRANSFORMS
        ]
        text = prose(f"""
            One head for all targets, on the encoder of the quickstart (size small), trained on
            {counts["train"]["rooms"]} rooms; {100 * COVERAGE:g} % intervals from `calibrate`, tested on
            {counts["test"]["clips"]} clips of {counts["test"]["rooms"]} rooms that neither training nor calibration
            saw. Clips last {SECONDS[0]:g} to {SECONDS[1]:g} s, with white noise at an SNR of {SNR[0]:g} to {SNR[1]:g}
            dB; the quality numbers are the duration and an SNR that is estimated from the clip. Coverage: share of
            clips whose true value lies in the interval, mean ± standard deviation over seeds and, below
            {sizes[-1]} rooms, {N_DRAWS} draws of the calibration rooms. Lowest third: the lowest coverage among the
            thirds of {", ".join(THIRDS[:-1])} and {THIRDS[-1]}. Width: median over clips, beside intervals of constant
            width (relative for RT60) and the central {100 * COVERAGE:g} % of the training targets.
        """)
        coverage = [100 * value for value in most["coverage"]]
        lowest = 100 * min(most["lowest third"])
        flags = pd.DataFrame([one.result["flagged"] for one in results]).mean()
        findings = prose(f"""
            With {sizes[-1]} calibration rooms, the coverage is {span(coverage, 1)} %, and {lowest:.1f} % in the lowest
            third of any kind. `novelty` exceeds {LEVEL_OF_FLAGS:g} for {100 * flags["test"]:.1f} % of the test clips,
            {100 * flags["dry speech"]:.1f} % of dry speech and {100 * flags["noise"]:.1f} % of white noise.
            Limitations: one encoder, one draw of rooms, white noise.
        """)
        joint = prose(
            "Pearson's r in the test rooms of one head for all targets and of one head for each; three seeds."
        )
        return section(
            "Intervals and several targets",
            text,
            markdown(header, rows),
            markdown(["target", "third of", "low", "middle", "high"], thirds),
            findings,
            joint,
            markdown(["target", *HEAD_KINDS], compared),
        )


HEAD_KINDS = ("several targets", "one target")


def _line(table: pd.DataFrame, n_rooms: int, target: str) -> list[str]:
    """Return a line of the table of coverage."""
    part = select(table, n_rooms=n_rooms, target=target)
    coverage, lowest = (spread(100 * part[column], 1) for column in ("coverage", "lowest third"))
    widths = [f"{part[column].mean():.2f}" for column in ("width", "constant_width", "prior_width")]
    return [str(n_rooms), LABELS[target], f"{coverage} %", f"{lowest} %", *widths]


# --- Clips ------------------------------------------------------------------------------------------------------


def hear(lab: Lab, checkpoints: Path) -> dict[str, Part]:
    """Train the encoder; return embeddings of clips for the heads, for calibration and for the test, and others."""
    amount = AMOUNTS[lab.size.name]
    encoder = _encoder(lab, amount, checkpoints)
    n_rooms = {"train": amount.train_rooms, "calibration": amount.calibration_rooms, "test": amount.test_rooms}
    parts = {}
    for seed, (name, n) in enumerate(n_rooms.items(), start=11):
        rooms, part = lab.rooms(n, 1, seed), 1 if name == "train" else 2
        speech = _speech(lab, part, amount.segments, seed)
        per_room = amount.clips_a_train_room if name == "train" else CLIPS_A_ROOM
        parts[name] = _embed(encoder, _clips(rooms, speech, per_room * n, seed), rooms.sample_rate, seed)
    dry = speech.segments[: CLIPS_A_ROOM * 10]
    noise = np.random.RandomState(0).standard_normal(dry.shape)
    for name, sound in (("dry speech", dry), ("noise", noise)):
        none = pd.DataFrame(np.nan, index=range(len(sound)), columns=list(TRANSFORMS))
        parts[name] = Part(encoder.transform(list(sound)), none, np.arange(len(sound)), np.zeros((len(sound), 2)))
    return parts


def _encoder(lab: Lab, amount: Amount, checkpoints: Path) -> Any:
    """Train the encoder of the quickstart, unless it was kept."""
    from argparse import Namespace

    import joblib

    from experiments.results import replacing
    from experiments.studies.quickstart import EXAMPLE, load_example
    from roomacoustic_sk.datasets import make_reverberant_speech

    path = lab.cache / "encoders" / f"{lab.size.name}-{lab.corpus}" / "quickstart.joblib"
    if path.exists():
        return joblib.load(path)
    quickstart = load_example(EXAMPLE)
    speech = lab.speech(0, amount.encoder_segments, quickstart.SPEEDS)
    rooms = lab.rooms(amount.encoder_rooms, 1, 10)
    upstream = make_reverberant_speech(rooms, speech, remove_delay=True, lazy=True, random_state=0)
    args = Namespace(network="bandwise", seed=0, checkpoints=checkpoints)
    encoder = quickstart.fit_encoder(args, upstream, amount.epochs).set_params(checkpoint_dir=None)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as unfinished:
        joblib.dump(encoder, unfinished)
    return encoder


def _speech(lab: Lab, part: int, n_segments: int, seed: int) -> Bunch:
    """Return speech of one part's speakers, in segments of the longest duration."""
    from roomacoustic_sk.datasets import load_speech, make_speech

    if lab.folder is None:
        return make_speech(max(n_segments // 5, 1), n_segments, duration=SECONDS[1], random_state=seed)
    speakers = lab.speakers[part]
    return load_speech(lab.folder, speakers=speakers, duration=SECONDS[1], n_segments=n_segments, random_state=seed)


def _clips(rooms: Bunch, speech: Bunch, n_clips: int, seed: int) -> Bunch:
    """Return clips of the longest duration, without noise."""
    from roomacoustic_sk.datasets import make_reverberant_speech

    return make_reverberant_speech(
        rooms, speech, pairing="random", n_samples=n_clips, remove_delay=True, lazy=True, random_state=seed
    )


def _embed(encoder: Any, clips: Bunch, sample_rate: int, seed: int) -> Part:
    """Cut clips to random durations, add noise at random levels, and embed them."""
    random_state = np.random.RandomState(seed)
    sounds, quality = [], []
    for clip in clips.data:
        # Half a second is the step, so that many clips share a length; short clips are as frequent as long ones.
        seconds = round(2 * SECONDS[0] * (SECONDS[1] / SECONDS[0]) ** random_state.uniform()) / 2
        sound = clip[: round(seconds * sample_rate)]
        level = np.sqrt(np.mean(sound**2)) * 10 ** (-random_state.uniform(*SNR) / 20)
        sounds.append((sound + level * random_state.standard_normal(len(sound))).astype(np.float32))
        quality.append((np.log(seconds), estimated_snr(sounds[-1], sample_rate)))
    return Part(encoder.transform(sounds), clips.target[list(TRANSFORMS)], clips.room, np.array(quality))


def estimated_snr(sound: np.ndarray, sample_rate: int) -> float:
    """Return an SNR in dB, where the noise is the level that a tenth of the 20 ms frames do not exceed."""
    length = round(0.02 * sample_rate)
    power = np.mean(sound[: len(sound) // length * length].reshape(-1, length) ** 2, axis=1)
    noise = np.quantile(power, 0.1)
    return float(10 * np.log10(max(power.mean() / noise - 1, 1e-3)))


# --- What is measured -------------------------------------------------------------------------------------------


def judge_all(
    head: Any, calibration: Part, test: Part, estimates: pd.DataFrame, learned: pd.DataFrame
) -> Iterator[dict[str, Any]]:
    """Yield coverage and widths of each target for each number of calibration rooms and each draw of them."""
    rooms = np.unique(calibration.room)
    for n_rooms in sorted({min(n, len(rooms)) for n in CALIBRATION_ROOMS}):
        for draw in range(N_DRAWS if n_rooms < len(rooms) else 1):
            chosen = np.random.RandomState(draw).permutation(rooms)[:n_rooms]
            some = np.isin(calibration.room, chosen)
            room = calibration.room[some]
            head.calibrate(calibration.X[some], calibration.target[some], room, quality=calibration.quality[some])
            intervals = head.predict_interval(test.X, COVERAGE, quality=test.quality)
            found = head.predict(calibration.X[some])
            for i, target in enumerate(head.target_names_):
                constant = _constant_width(target, found[:, i], calibration.target[target][some], room, estimates)
                prior = float(np.diff(learned[target].quantile([(1 - COVERAGE) / 2, (1 + COVERAGE) / 2]))[0])
                row = {"n_rooms": len(chosen), "draw": draw, "target": target}
                row |= judge(intervals[:, i], test, target, estimates["rt60"].to_numpy())
                yield row | {"constant_width": constant, "prior_width": round(prior, 4)}


def judge(interval: np.ndarray, test: Part, target: str, rt60: np.ndarray) -> dict[str, float]:
    """Return the coverage of all clips and of each third, and the median width, where the target is known."""
    true = test.target[target].to_numpy()
    known = np.isfinite(true)
    covered = ((interval[:, 0] <= true) & (true <= interval[:, 1]))[known]
    by = dict(zip(THIRDS, (rt60, test.quality[:, 1], test.quality[:, 0]), strict=True))
    found, shares = {"coverage": float(covered.mean())}, []
    for name, values in by.items():
        third = np.argsort(np.argsort(values[known], kind="stable")) * 3 // len(covered)
        for i in range(3):
            shares.append(float(covered[third == i].mean()))
            found[f"{name}, {i}"] = shares[-1]
    found |= {"lowest third": min(shares), "width": float(np.median(np.diff(interval[known])))}
    return {name: round(value, 4) for name, value in found.items()}


def _constant_width(
    target: str, found: np.ndarray, true: pd.Series, room: np.ndarray, estimates: pd.DataFrame
) -> float:
    """Return the median width of intervals whose width does not depend on the clip, on the scale that is learned."""
    from roomacoustic_sk.intervals import room_quantile

    known = true.notna().to_numpy()
    found, values = found[known], true.to_numpy()[known]
    if TRANSFORMS[target] == "log":
        level = room_quantile(np.abs(np.log(values / found)), room[known], COVERAGE)
        return round(float(np.median(estimates[target]) * (np.exp(level) - np.exp(-level))), 4)
    return round(2 * room_quantile(np.abs(values - found), room[known], COVERAGE), 4)


def flagged(head: Any, parts: Mapping[str, Part]) -> dict[str, float]:
    """Return the share of clips that are flagged as unusual; the head was calibrated in all rooms."""
    names = ("test", "dry speech", "noise")
    return {name: round(float(np.mean(head.novelty(parts[name].X) > LEVEL_OF_FLAGS)), 4) for name in names}
