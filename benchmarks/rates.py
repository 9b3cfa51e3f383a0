"""The default network at other sampling rates: the quickstart's size, on the same clips, resampled.

    python benchmarks/rates.py --speech LibriSpeech/train-clean-100 --seeds 0 1 2     # 2 to 3 hours with one thread

Rooms and speech are those of the quickstart's small size at 16 kHz. Responses and segments are resampled before they
are convolved, so that the clips are the same but for their rate, and the labels are the same exactly. An encoder and a
head for each target are trained at each rate; errors are those on speakers that neither has heard. Results go to
`benchmarks/rates.json`, one entry a training; those that are there are not repeated.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from arguments import existing_folder
from record import add, load
from scipy.signal import resample_poly
from sklearn.utils import Bunch

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "examples"))
from quickstart import SIZES, fit_encoder, load_sources

from roomacoustic_sk import RoomRegressor
from roomacoustic_sk.datasets import make_reverberant_speech, simulate_rooms
from roomacoustic_sk.metrics import pearson_r, relative_rmse

FILE = Path(__file__).parent / "rates.json"
RATES = (16_000, 8_000, 22_050, 44_100, 48_000)
TASKS = {"log rt60": np.log, "log rt60_mid": np.log, "c50": np.asarray}


def resampled(bunch: Bunch, name: str, rate: int) -> Bunch:
    """Return responses or speech at another rate."""
    common = np.gcd(rate, bunch.sample_rate)
    up, down = rate // common, bunch.sample_rate // common
    waveforms = [resample_poly(waveform, up, down).astype(np.float32) for waveform in bunch[name]]
    return Bunch(**{**bunch, name: waveforms if name == "rirs" else np.stack(waveforms), "sample_rate": rate})


def sources(args: argparse.Namespace) -> dict[str, tuple[Bunch, Bunch]]:
    """Return rooms and speech at 16 kHz of the encoder, the heads and both tests."""
    size, seed = SIZES["small"], args.seed
    common = {"n_jobs": 1, "verbose": 1, "memory": args.cache}
    upstream = simulate_rooms(size.upstream_rirs, 1, random_state=seed, **common)
    seen = simulate_rooms(size.downstream_rooms, size.rirs_per_room, random_state=seed + 1, **common)
    unseen = simulate_rooms(size.unseen_rooms, size.rirs_per_room, random_state=seed + 2, **common)
    upstream_speech, train_speech, test_speech = load_sources(args, size)
    return {
        "upstream": (upstream, upstream_speech),
        "train": (seen, train_speech),
        "seen RIRs": (seen, test_speech),
        "unseen rooms": (unseen, test_speech),
    }


def train(args: argparse.Namespace, made: dict[str, tuple[Bunch, Bunch]], rate: int) -> dict[str, Any]:
    """Return the errors of heads on an encoder that was trained at a rate."""
    size, clips = SIZES["small"], {}
    for name, (rooms, speech) in made.items():
        n_clips = None if name == "upstream" else size.train_clips if name == "train" else size.test_clips
        clips[name] = make_reverberant_speech(
            resampled(rooms, "rirs", rate),
            resampled(speech, "segments", rate),
            pairing="grid" if n_clips is None else "random",
            n_samples=n_clips,
            lazy=True,
            remove_delay=True,
            random_state=args.seed,
        )
    started = time.perf_counter()
    args.network = "bandwise"
    encoder = fit_encoder(args, clips["upstream"], size.epochs["bandwise"], sample_rate=rate)
    seconds = time.perf_counter() - started
    features = {name: encoder.transform(part.data) for name, part in clips.items() if name != "upstream"}
    found: dict[str, Any] = {"fit_s": round(seconds), "valid_loss": round(encoder.history_["valid_loss"].min(), 3)}
    for task, scale in TASKS.items():
        column = task.removeprefix("log ")
        known = {name: clips[name].target[column].notna().to_numpy() for name in features}
        truth = {name: scale(clips[name].target[column][known[name]]) for name in features}
        head = RoomRegressor(random_state=args.seed).fit(features["train"][known["train"]], truth["train"])
        for test in ("seen RIRs", "unseen rooms"):
            estimates = head.predict(features[test][known[test]])
            found[f"{task}, {test}"] = {
                "r": round(pearson_r(truth[test], estimates), 4),
                "rmse/sd": round(relative_rmse(truth[test], estimates), 4),
            }
    return found


def main() -> None:
    """Train at every rate with every seed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=existing_folder, required=True, help="folder of LibriSpeech")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--rates", type=int, nargs="+", default=list(RATES), help="in Hz")
    parser.add_argument("--cache", type=Path, default=Path("results/cache"), help="folder for simulated rooms")
    args = parser.parse_args()
    args.network = "bandwise"
    for seed in args.seeds:
        args.seed = seed
        wanted = [rate for rate in args.rates if f"{rate} Hz, seed {args.seed}" not in load(FILE)["measured"]]
        made = sources(args) if wanted else {}
        for rate in wanted:
            found = train(args, made, rate)
            add(FILE, f"{rate} Hz, seed {args.seed}", found)
            print(rate, args.seed, found, flush=True)


if __name__ == "__main__":
    main()
