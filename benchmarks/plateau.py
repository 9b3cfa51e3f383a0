"""See when the paper's network leaves the plateau at which contrastive training begins.

    python benchmarks/plateau.py --speech LibriSpeech/train-clean-100

Short trainings of `network="paper"` on 64 RIRs x 352 segments, a fifth of which validates. At chance the loss is
ln 71 = 4.263. Results go to `benchmarks/plateau.json`; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from arguments import add_cache_argument, existing_folder
from record import add, load
from sklearn.utils import Bunch

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk.datasets import load_speech, make_reverberant_speech, simulate_rooms, split_by_speaker

HERE = Path(__file__).parent
EPOCHS = 6
CONDITIONS: dict[str, dict[str, Any]] = {
    "hard, tau 0.1": {"sampling": "hard", "tau": 0.1},
    "soft, tau 0.1": {"sampling": "soft", "tau": 0.1},
    "hard, tau 1": {"sampling": "hard", "tau": 1.0},
    "soft, tau 1": {"sampling": "soft", "tau": 1.0},
    "hard, tau 0.1, travel time left in": {"sampling": "hard", "tau": 0.1, "remove_delay": False},
    "hard, tau 0.1, after 3 epochs of soft": {"sampling": "hard", "tau": 0.1, "soft_epochs": 3},
}


def make_data(speech: Path, cache: Path, remove_delay: bool) -> Bunch:
    """Return the grid, convolved when asked for."""
    rooms = simulate_rooms(64, 1, random_state=0, n_jobs=-1, memory=cache)
    sample = load_speech(speech, n_segments=1000, random_state=0)
    speakers = np.unique(split_by_speaker(sample, (0.5, 0.25, 0.25), random_state=0)[0].speaker)
    dry = load_speech(speech, speakers=speakers, n_segments=352, random_state=0)
    return make_reverberant_speech(rooms, dry, remove_delay=remove_delay, lazy=True, random_state=0)


def main() -> None:
    """Train under each condition that has not been tried yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--speech", type=existing_folder, required=True)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--output", type=Path, default=HERE / "plateau.json")
    add_cache_argument(parser)
    args = parser.parse_args()
    for seed in args.seeds:
        for name, condition in CONDITIONS.items():
            key = f"{name}, seed {seed}"
            if key in load(args.output)["measured"]:
                continue
            data = make_data(args.speech, args.cache, condition.get("remove_delay", True))
            groups = {"rir_groups": data.rir, "source_groups": data.source}
            encoder = ContrastiveRoomEncoder(
                network="paper", tau=condition["tau"], random_state=seed, warm_start=True, verbose=1
            )
            stages = [("soft", condition.get("soft_epochs", 0)), (condition["sampling"], EPOCHS)]
            for sampling, n_epochs in stages:
                if n_epochs:
                    encoder.set_params(sampling=sampling, max_epochs=n_epochs).fit(data.data, **groups)
            losses = encoder.history_[["train_loss", "valid_loss"]].round(3).to_dict("list")
            add(args.output, key, losses)
            print(f"{key}: {losses}", flush=True)


if __name__ == "__main__":
    main()
