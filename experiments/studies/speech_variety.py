"""How much, and how varied, the dry speech must be that the paper's network learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.conditions import architecture, conditions_of
from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import TASKS, TESTS, frame, markdown, mean, metric, prose, score, section, select, verdict

if TYPE_CHECKING:
    from experiments.data import Lab

EPOCHS = 12
NETWORK = "paper-flat"  # whose rooms, clips and tests these are
MANY = 3000  # segments: with 256 responses, more clips than are drawn, so that each clip is fresh
SEGMENTS = (32, 96, 256)  # with 256 responses, 8 192, 24 576 and 65 536 clips
SPEAKERS = (25, 50, 100)
ALL = 1000  # more than there are
KINDS = {
    "real": "LibriSpeech at random offsets",
    "varied": "at 0.85 to 1.2 times its speed, which changes pitch too",
    "equalised": "varied, besides with random band limits and gains",
    "synthetic": "formant synthesis (`make_speech`), five segments a talker",
    "both": "half varied, half synthetic",
}


@dataclass(frozen=True, kw_only=True)
class Speech(Key):
    """What the encoder hears."""

    kind: str = "real"  # a name in `KINDS`
    segments: int = MANY
    speakers: int = ALL


class SpeechVariety(Study):
    """The study `speech_variety`."""

    name = "speech_variety"
    explanation = prose("""
        Each kind of speech goes with 3 000 segments and all talkers (1000 stands for all); fewer segments, or fewer
        talkers, with varied speech alone.
    """)
    question = "How many talkers and clips, and which variations of speech, does the paper's network need?"

    def keys(self) -> list[Speech]:
        """Return kinds of speech, then fewer segments, then fewer talkers."""
        kinds = [Speech(kind=kind) for kind in KINDS]
        fewer = [Speech(kind="varied", segments=n) for n in SEGMENTS]
        return kinds + fewer + [Speech(kind="varied", speakers=n) for n in SPEAKERS]

    def run(self, key: Speech, lab: Lab, checkpoints: Path) -> Outcome:
        """Train an encoder for half of the steps of Table 2, and its heads."""
        from experiments.encoders import short_training
        from experiments.heads import embed, fit_heads
        from roomacoustic_sk.datasets import make_reverberant_speech

        lab = lab.under(conditions_of(NETWORK))
        speech = _speech(key, lab)
        grid = make_reverberant_speech(lab.upstream_rooms, speech, remove_delay=True, lazy=True, random_state=0)
        chosen = {"network": architecture(NETWORK), "standardise": lab.conditions.standardise}
        encoder = short_training(chosen, grid, EPOCHS, lab, key.seed, checkpoints)
        rows = fit_heads(embed(encoder, lab.downstream), lab.downstream, key.seed)
        history = encoder.history_[["train_loss", "valid_loss"]].round(4).to_dict("list")
        counts = {"n_speakers": len(np.unique(speech.speaker)), "n_clips": len(grid.data)}
        return Outcome({"rows": rows, "history": history} | counts, float(encoder.history_["dur"].sum()))

    def section(self, results: Sequence[Result]) -> str:
        """Return scores by kind of speech, number of clips and number of talkers."""
        table, seen = frame(results), TESTS[0]
        counts = {one.name: one.result for one in results}
        tasks = [task for task in TASKS if task in set(table["task"])]
        rows = []
        for one in results:
            cell = select(table, test=seen, **{name: one.key[name] for name in ("kind", "segments", "speakers")})
            numbers = counts[one.name]
            losses = [min(numbers["history"][name]) for name in ("train_loss", "valid_loss")]
            sizes = [numbers["n_speakers"], one.key["segments"], numbers["n_clips"]]
            of_losses = " / ".join(f"{loss:.2f}" for loss in losses)
            rows.append([one.key["kind"], *map(str, sizes), of_losses, *(score(cell, task) for task in tasks)])
        order = sorted(range(len(rows)), key=lambda i: (rows[i][0], int(rows[i][3]), int(rows[i][1])))
        varied = select(table, kind="varied", test=seen)

        def change(task: str, **fewer: int) -> float:
            whole = {"segments": MANY, "speakers": ALL}
            few, many = (select(varied, task=task, **chosen)[metric(task)].mean() for chosen in (whole | fewer, whole))
            return float(many - few)

        of_kinds = "; ".join(f"*{kind}*: {text}" for kind, text in KINDS.items() if kind in set(table["kind"]))
        whole = select(table, test=seen, segments=MANY, speakers=ALL)
        of_kind = {
            (kind, task): mean(whole, metric(task), kind=kind, task=task)
            for kind, task in product(KINDS, ("rt60", "c50"))
        }
        variations = verdict(
            "Varying the speed changes nothing; synthetic speech makes encoders worse, alone and as half of all clips.",
            holds=all(
                abs(of_kind["varied", task] - of_kind["real", task]) < 0.01
                and max(of_kind["synthetic", task], of_kind["both", task]) < of_kind["real", task]
                for task in ("rt60", "c50")
            ),
        )
        missing = [key.name.removesuffix("-seed0") for key in self.keys() if key.name not in counts]
        none_run = f"Not run: {', '.join(missing)}." if missing else ""
        text = prose(f"""
            `network="paper"`, soft sampling, tau 0.1, one seed, {EPOCHS} epochs (half of those of Table 2) of
            {128 * 72} clips; 256 responses, heads and tests as for *{NETWORK}* of Table 2; scores on seen
            RIRs. {of_kinds}. With {MANY} segments there are more clips than are drawn, so that
            hardly any is seen twice. Talkers without an utterance that is long enough are left out.
        """)
        picture = "![Scores against the number of clips and of talkers](figures/speech_variety.png)"
        findings = prose(f"""
            From {SEGMENTS[0]} segments, of {SEGMENTS[0]} talkers, to {MANY} of all, r changes by
            {change("rt60", segments=SEGMENTS[0]):+.3f} for RT60 and by {change("c50", segments=SEGMENTS[0]):+.3f} for
            C50; from {SPEAKERS[0]} talkers to all, with {MANY} segments each time, by
            {change("rt60", speakers=SPEAKERS[0]):+.3f} and {change("c50", speakers=SPEAKERS[0]):+.3f}: segments at
            other offsets matter, talkers hardly. {variations} {none_run} Limitation: one seed, half of the training.
        """)
        header = ["speech", "talkers", "segments", "clips", "lowest loss, training / validation"]
        header += [TASKS[task] for task in tasks]
        return section("Variety of speech", text, markdown(header, [rows[i] for i in order]), picture, findings)


def _speech(key: Speech, lab: Lab) -> Any:
    """Return the segments, of the encoders' talkers."""
    from sklearn.utils import Bunch

    from roomacoustic_sk.datasets import make_speech

    n_segments = min(key.segments, lab.size.varied_segments)
    n_synthetic = {"synthetic": n_segments, "both": n_segments // 2}.get(key.kind, 0)
    parts = []
    if n_segments > n_synthetic:
        parts.append(_real_speech(key, lab, n_segments - n_synthetic))
    if n_synthetic:
        parts.append(make_speech(max(n_synthetic // 5, 1), n_synthetic, random_state=9, n_jobs=-1))
    labels = {
        name: np.concatenate([[f"{i} {label}" for label in part[name]] for i, part in enumerate(parts)])
        for name in ("source", "speaker")
    }
    segments = np.concatenate([part.segments for part in parts])
    return Bunch(segments=segments, sample_rate=parts[0].sample_rate, **labels)


def _real_speech(key: Speech, lab: Lab, n_segments: int) -> Any:
    """Return segments of LibriSpeech, varied as the kind says."""
    from experiments.data import SPEEDS
    from roomacoustic_sk.augmentation import Gain, LimitBand
    from roomacoustic_sk.datasets import load_speech

    if lab.folder is None:  # in trials
        speech = lab.speech(0, n_segments)
    else:
        speeds = (1.0, 1.0) if key.kind == "real" else SPEEDS
        speakers = lab.speakers[0][: key.speakers]
        common: dict[str, Any] = {"speed_range": speeds, "random_state": 0}
        speech = load_speech(lab.folder, speakers=speakers, n_segments=n_segments, **common)
    if key.kind == "equalised":
        rng = np.random.default_rng(0)
        for segment in speech.segments:
            for step in (LimitBand(), Gain()):
                segment[:] = step(segment, speech.sample_rate, rng)
    return speech
