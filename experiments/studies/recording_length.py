"""How long a recording must be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TASKS, TESTS, frame, markdown, mean, prose, section

if TYPE_CHECKING:
    from experiments.data import Lab

SECONDS = (1, 2, 4, 8)
SPEAKERS = (2, 4, 8)  # of SECONDS[-1] each
N_RESPONSES = 200  # of each test


@dataclass(frozen=True, kw_only=True)
class Encoder(Key):
    """An encoder of Table 2; the seed is that of its heads."""

    encoder: str


class RecordingLength(Study):
    """The study `recording_length`."""

    name = "recording_length"
    question = "How do errors depend on the length of the recording, and on the number of talkers at the same place?"

    def keys(self) -> list[Encoder]:
        """Return one encoder."""
        return [Encoder(encoder="compact-soft-tau0.1-seed0")]

    def run(self, key: Encoder, lab: Lab, checkpoints: Path) -> Outcome:
        """Fit heads on clips of 4 s, and test them on recordings of growing length."""
        from experiments.encoders import kept_encoder
        from experiments.heads import HEAD, TARGETS, logarithmic
        from roomacoustic_sk import RoomRegressor
        from roomacoustic_sk.datasets import take

        encoder, commit = kept_encoder(key.encoder, lab, checkpoints)
        train, speech = lab.train_clips(), _long_speech(lab)
        X, tests = encoder.transform(train.data), {}
        for test, rooms in zip(TESTS, (lab.seen_rooms, lab.unseen_rooms), strict=True):  # spread over the rooms
            n_responses = min(N_RESPONSES, len(rooms.rirs))
            tests[test] = take(rooms, np.unique(np.linspace(0, len(rooms.rirs) - 1, n_responses).astype(int)))
        heard = {test: _embed(encoder, rooms, speech) for test, rooms in tests.items()}
        rows = []
        for task, (target, takes_logarithm) in TARGETS.items():
            known = train.target[target].notna().to_numpy()
            head: Any = RoomRegressor(**HEAD, random_state=key.seed)
            head = logarithmic(head) if takes_logarithm else head
            head.fit(X[known], train.target[target].to_numpy()[known], source_groups=train.source[known])
            for test, rooms in tests.items():
                y = rooms.target[target].to_numpy()
                has = np.isfinite(y)
                found = _errors(head, {seconds: E[has] for seconds, E in heard[test].items()}, y[has])
                rows += [{"task": task, "test": test} | row for row in found]
        sd = {test: rooms.target[["rt60", "rt60_mid", "c50"]].std().to_dict() for test, rooms in tests.items()}
        more = {"n_speakers": len(np.unique(speech.speaker)), "target_sd": sd, "encoder_commit": commit}
        return Outcome({"rows": rows} | more)

    def section(self, results: Sequence[Result]) -> str:
        """Return RMSE/SD against seconds."""
        table, n_speakers = frame(results), results[0].result["n_speakers"]
        lengths = {f"{seconds} s": {"seconds": seconds, "speakers": 1} for seconds in SECONDS}
        for n in SPEAKERS:
            lengths[f"{n * SECONDS[-1]} s"] = {"seconds": n * SECONDS[-1], "speakers": n}
        tasks = [task for task in TASKS if task != "volume"]

        def error(task: str, test: str, length: str) -> str:
            return f"{mean(table, 'relative_rmse', task=task, test=test, **lengths[length]):.2f}"

        rows = [[TASKS[t], test, *(error(t, test, length) for length in lengths)] for t in tasks for test in TESTS]
        seen, unseen = TESTS
        text = prose(f"""
            RMSE/SD with the frozen encoder `{results[0].key["encoder"]}` and heads trained on clips of 4 s. Each test
            uses {n_speakers} talkers and {N_RESPONSES} responses. Up to {SECONDS[-1]} s one talker is heard; beyond
            that, the estimates from {SPEAKERS[0]}, {SPEAKERS[1]} and {SPEAKERS[2]} talkers through the same response
            are averaged.
        """)
        findings = prose(f"""
            From 4 s to 32 s the error of RT60 falls from {error("rt60", seen, "4 s")} to {error("rt60", seen, "32 s")}
            SD on seen RIRs, but only from {error("rt60", unseen, "4 s")} to {error("rt60", unseen, "32 s")} SD in
            unseen rooms; there, training on more rooms helps more. Record at least 8 s, and pass whole recordings:
            `transform` averages over their segments.
        """)
        picture = "![RMSE/SD against seconds](figures/recording_length.png)"
        return section("Recording length", text, markdown(["task", "test", *lengths], rows), picture, findings)


def _long_speech(lab: Lab) -> Any:
    """Return as much of each test talker in one go as the longest recording of one needs."""
    from roomacoustic_sk.datasets import load_speech, make_speech

    if lab.folder is None:
        return make_speech(16, 64, duration=SECONDS[-1], random_state=2)
    return load_speech(lab.folder, speakers=lab.speakers[2], duration=SECONDS[-1], random_state=2)


def _embed(encoder: Any, rooms: Any, speech: Any) -> dict[int, np.ndarray]:
    """Return embeddings of shape (n_responses, n_talkers, n_features) for each length of recording, in seconds.

    Each response has other talkers than the one before it.
    """
    from roomacoustic_sk.datasets import make_reverberant_speech, take

    found: dict[int, list[np.ndarray]] = {seconds: [] for seconds in SECONDS}
    for i in range(len(rooms.rirs)):
        said = take(speech, (i * SPEAKERS[-1] + np.arange(SPEAKERS[-1])) % len(speech.segments))
        clips = make_reverberant_speech(take(rooms, [i]), said, remove_delay=True).data
        for seconds in SECONDS:
            found[seconds].append(encoder.transform(list(clips[:, : seconds * rooms.sample_rate])))
    return {seconds: np.stack(embeddings) for seconds, embeddings in found.items()}


def _errors(head: Any, heard: Mapping[int, np.ndarray], y: np.ndarray) -> list[dict[str, float]]:
    """Return the errors for each length of recording, then for several talkers, whose estimates are averaged."""
    from roomacoustic_sk.metrics import regression_metrics

    rows = []
    for seconds, X in heard.items():
        estimates = head.predict(X.reshape(-1, X.shape[-1])).reshape(X.shape[:2])
        of_one = regression_metrics(np.repeat(y, X.shape[1]), estimates.ravel())
        rows.append({"seconds": seconds, "speakers": 1} | of_one)
    for n_speakers in SPEAKERS:
        means = estimates.reshape(len(y), -1, n_speakers).mean(axis=2)
        of_several = regression_metrics(np.repeat(y, means.shape[1]), means.ravel())
        rows.append({"seconds": n_speakers * SECONDS[-1], "speakers": n_speakers} | of_several)
    return rows
