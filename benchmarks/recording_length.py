"""How long a recording must be: errors of a frozen encoder of `table2.py` against the seconds that it hears.

    python benchmarks/table2.py --speech ... --networks bandwise --methods soft --taus 0.1 --encoders results/encoders
    python benchmarks/recording_length.py results/encoders/bandwise-soft-tau0.1-seed1.joblib --speech ...

Test speakers are heard through some of the responses of both tests of Table 2: for 1 to 12 s, as much as LibriSpeech
has of most of them, then several speakers in turn, 12 s each, from the same response. Heads learn from the single 4 s
clips of Table 2, as in every cell. Writes `benchmarks/recording_length.json` and
`docs/figures/recording_length.png`, or both to where `--output` is. Takes about five minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from arguments import add_data_arguments, existing_file, output_of
from record import provenance, save
from sklearn.utils import Bunch
from table2 import HEAD, HERE, SIZES, TASKS, TESTS, Data, logarithmic, responses

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor
from roomacoustic_sk.datasets import load_speech, make_reverberant_speech, make_speech
from roomacoustic_sk.metrics import regression_metrics

SECONDS = (1, 2, 4, 8, 12)
SPEAKERS = (2, 4, 8)  # of SECONDS[-1] each
TITLES = {"rt60": "RT60", "log rt60": "RT60, log", "log rt60_mid": "RT60, 500 Hz and 1 kHz, log", "c50": "C50"}


def embed(encoder: ContrastiveRoomEncoder, rooms: Bunch, speech: Bunch) -> dict[int, np.ndarray]:
    """Return embeddings of shape (n_responses, n_speakers, 64) for each length of recording, in seconds.

    Each response has other speakers than the one before it.
    """
    found: dict[int, list[np.ndarray]] = {seconds: [] for seconds in SECONDS}
    for i in range(len(rooms.rirs)):
        turn = (i * SPEAKERS[-1] + np.arange(SPEAKERS[-1])) % len(speech.segments)
        said = speech | {key: speech[key][turn] for key in ("segments", "source", "speaker")}
        clips = make_reverberant_speech(responses(rooms, [i]), said, remove_delay=True).data
        for seconds in SECONDS:
            found[seconds].append(encoder.transform(list(clips[:, : seconds * rooms.sample_rate])))
    return {seconds: np.stack(rows) for seconds, rows in found.items()}


def errors(head: RoomRegressor, heard: dict[int, np.ndarray], y: np.ndarray) -> list[dict[str, float]]:
    """Return the errors for each length of recording, then for several speakers, whose estimates are averaged."""
    rows = []
    for seconds, X in heard.items():
        estimates = head.predict(X.reshape(-1, X.shape[-1])).reshape(X.shape[:2])
        errors_of_one = regression_metrics(np.repeat(y, X.shape[1]), estimates.ravel())
        rows.append({"seconds": seconds, "speakers": 1} | errors_of_one)
    for n_speakers in SPEAKERS:
        means = estimates.reshape(len(y), -1, n_speakers).mean(axis=2)
        more = regression_metrics(np.repeat(y, means.shape[1]), means.ravel())
        rows.append({"seconds": n_speakers * SECONDS[-1], "speakers": n_speakers} | more)
    return rows


def draw(path: Path, table: pd.DataFrame) -> None:
    """Draw RMSE/SD against seconds heard, a picture for each test."""
    figure, axes = plt.subplots(1, len(TESTS), figsize=(9, 3.6), layout="constrained", sharey=True)
    for ax, test in zip(axes, TESTS, strict=True):
        for task, title in TITLES.items():
            line = table[(table["test"] == test) & (table["task"] == task)]
            ax.plot(line["seconds"], line["relative_rmse"], marker="o", label=title)
        ax.axvline(SECONDS[-1], color="0.8", zorder=0)
        ax.set_xscale("log", base=2)
        ax.set_xticks(table["seconds"].unique(), [str(seconds) for seconds in table["seconds"].unique()])
        ax.set(title=test, xlabel=f"seconds heard; beyond {SECONDS[-1]}, of several speakers", ylim=(0, None))
    axes[0].set_ylabel("RMSE / SD")
    axes[0].legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    plt.close(figure)


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("encoder", type=existing_file, help="a trained encoder that table2.py kept with --encoders")
    add_data_arguments(parser, SIZES)
    parser.add_argument("--responses", type=int, default=200, help="of each test (200)")
    return parser.parse_args()


def main() -> None:
    """Fit heads on 4 s clips, and listen for longer and longer."""
    args = parse_arguments()
    data, encoder = Data(args.speech, SIZES[args.size], args.cache), joblib.load(args.encoder)
    train = data.downstream["train"]
    X = encoder.transform(train.data)
    if data.folder is None:
        speech = make_speech(16, 64, duration=SECONDS[-1], random_state=2)
    else:
        speakers = data.speakers[2]
        speech = load_speech(data.folder, speakers=speakers, duration=SECONDS[-1], random_state=2)
    tests = {}
    for test, rooms in (("seen RIRs", data.seen_rooms), ("unseen rooms", data.unseen_rooms)):  # spread over the rooms
        some = np.unique(np.linspace(0, len(rooms.rirs) - 1, args.responses).astype(int))
        tests[test] = responses(rooms, some)
    heard = {test: embed(encoder, rooms, speech) for test, rooms in tests.items()}
    rows = []
    for task, (target, takes_logarithm) in TASKS.items():
        known = train.target[target].notna().to_numpy()
        head = RoomRegressor(**HEAD, random_state=0)
        head = logarithmic(head) if takes_logarithm else head
        head.fit(X[known], train.target[target].to_numpy()[known], source_groups=train.source[known])
        for test, rooms in tests.items():
            y = rooms.target[target].to_numpy()
            has = np.isfinite(y)
            found = errors(head, {seconds: E[has] for seconds, E in heard[test].items()}, y[has])
            rows += [{"task": task, "test": test} | row for row in found]
    table = pd.DataFrame(rows).round(4)
    print(table.to_string(index=False))
    output = output_of(args, "recording_length.json")
    folder = HERE.parent / "docs" / "figures" if output.parent == HERE else output.parent
    draw(folder / output.with_suffix(".png").name, table)
    spread = {test: rooms.target[["rt60", "rt60_mid", "c50"]].std().to_dict() for test, rooms in tests.items()}
    more = {"encoder": args.encoder.stem, "n_speakers": len(np.unique(speech.speaker)), "target_sd": spread}
    save(output, {"rows": table.to_dict("records")} | more | provenance())


if __name__ == "__main__":
    main()
