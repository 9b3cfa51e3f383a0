"""Time and memory, side by side with what people would write instead.

    python benchmarks/speed.py                      # everything; nothing else should run on the machine
    python benchmarks/speed.py fit transform        # some of it

Each round measures our way and the plain way in turn; figures are medians over the rounds, and ratios of what was
measured in one round. Results replace those of the same sections in `benchmarks/speed.json`; `speed_report.py` makes a
page of them. All sections together take about ten minutes. Needs `pip install -c constraints.txt ".[benchmarks]"`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from record import load, provenance, save

HERE = Path(__file__).parent
RATE, CLIP = 16_000, 64_000


def timed(function: Callable[[], Any]) -> float:
    """Return the seconds that a call takes."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def compare(ours: Callable[[], Any], plain: Callable[[], Any], rounds: int) -> dict[str, float]:
    """Return median seconds of both and the median ratio, after one round to warm up."""
    ours()
    plain()
    pairs = np.array([[timed(ours), timed(plain)] for _ in range(rounds)])
    seconds = np.median(pairs, axis=0)
    ratios = pairs[:, 1] / pairs[:, 0]
    return {
        "ours_s": round(seconds[0], 4),
        "plain_s": round(seconds[1], 4),
        "ratio": round(float(np.median(ratios)), 2),
        "ratio_lowest": round(float(ratios.min()), 2),
        "ratio_highest": round(float(ratios.max()), 2),
        "rounds": rounds,
    }


def noise(n_rows: int, seed: int = 0) -> np.ndarray:
    """Return clips of decaying noise bursts: the content does not matter for speed."""
    rng = np.random.default_rng(seed)
    decay = 10 ** (-3 * (np.arange(CLIP) % 8_000) / 8_000)
    return (rng.standard_normal((n_rows, CLIP)) * decay).astype(np.float32)


def fit(rounds: int) -> dict[str, Any]:
    """Time a training step, batches of 72 clips of 4 s, 4 epochs of 16 steps, against skorch with its defaults."""
    from plain import PlainPooledRoomCNN, PlainRoomCNN, plain_net

    from roomacoustic_sk import ContrastiveRoomEncoder
    from roomacoustic_sk.networks import BandSpectrogram, BandwiseRoomCNN

    X, rir, source = noise(24 * 12), np.repeat(np.arange(24), 12), np.tile(np.arange(12), 24)
    steps = 16
    found: dict[str, Any] = {}
    weights = BandSpectrogram().weights
    modules = {
        "paper": PlainRoomCNN,
        "pooled": lambda: PlainPooledRoomCNN(weights),
        "bandwise": lambda: PlainPooledRoomCNN(weights, BandwiseRoomCNN.GROUPS),
    }
    for network, make in modules.items():

        def ours(network: str = network) -> None:
            ContrastiveRoomEncoder(
                network=network, sampling="soft", max_epochs=4, steps_per_epoch=steps, validation_fraction=0,
                patience=9, random_state=0,
            ).fit(X, rir_groups=rir, source_groups=source)  # fmt: skip

        def plain(make: Callable[[], torch.nn.Module] = make) -> None:
            plain_net(make(), rir, steps, epochs=4).fit(X, rir)

        result = compare(ours, plain, rounds)
        for key in ("ours_s", "plain_s"):
            result[key.replace("_s", "_s_per_step")] = round(result.pop(key) / (4 * steps), 4)
        found[f"fit, {network} network"] = result
    return found


def transform(rounds: int) -> dict[str, Any]:
    """Time the embedding of 256 clips of 4 s, against the plain module clip by clip, and against librosa's MFCC."""
    import librosa
    from plain import PlainPooledRoomCNN, PlainRoomCNN

    from roomacoustic_sk import ContrastiveRoomEncoder
    from roomacoustic_sk.networks import BandSpectrogram, BandwiseRoomCNN

    X = noise(256)
    found: dict[str, Any] = {}
    weights = BandSpectrogram().weights
    modules = {
        "paper": PlainRoomCNN(),
        "pooled": PlainPooledRoomCNN(weights),
        "bandwise": PlainPooledRoomCNN(weights, BandwiseRoomCNN.GROUPS),
    }
    for network, module in modules.items():
        common = {"max_epochs": 0, "n_classes": 2, "n_views": 2, "validation_fraction": 0, "random_state": 0}
        encoder = ContrastiveRoomEncoder(network=network, **common)
        encoder.fit(X[:8], rir_groups=np.arange(8) // 4)
        module.eval()

        def ours(encoder: ContrastiveRoomEncoder = encoder) -> None:
            encoder.transform(X)

        def loop(module: Any = module) -> None:
            with torch.inference_mode():
                for clip in X:
                    module.embed(torch.from_numpy(clip[None]))

        def mfcc() -> None:
            for clip in X:
                librosa.feature.mfcc(y=clip, sr=RATE)

        for name, other in (("plain module in a loop", loop), ("librosa MFCC", mfcc)):
            result = compare(ours, other, rounds)
            result["clips_per_s"] = round(len(X) / result["ours_s"], 1)
            result["real_time_factor"] = round(result["clips_per_s"] * CLIP / RATE)
            found[f"transform, {network} network, against {name}"] = result
    return found


def convolve(rounds: int) -> dict[str, Any]:
    """Time a grid of 32 responses of 1 s and 32 segments of 4 s, against scipy's fftconvolve in a loop."""
    import pandas as pd
    from scipy.signal import fftconvolve
    from sklearn.utils import Bunch

    from roomacoustic_sk.datasets import make_reverberant_speech

    segments = noise(32)
    rirs = [row[:RATE] for row in noise(32, seed=1)]
    rooms = Bunch(rirs=rirs, sample_rate=RATE, target=pd.DataFrame(index=range(32)), rir=range(32), room=range(32))
    speech = Bunch(segments=segments, sample_rate=RATE, source=range(32), speaker=range(32))

    def plain() -> None:
        clips = np.empty((32 * 32, CLIP), dtype=np.float32)
        for i, rir in enumerate(rirs):
            for j, segment in enumerate(segments):
                clips[32 * i + j] = fftconvolve(segment, rir)[:CLIP]

    found = {}
    for n_jobs in (1, 2):

        def ours(n_jobs: int = n_jobs) -> None:
            make_reverberant_speech(rooms, speech, n_jobs=n_jobs)

        found[f"convolve 1024 clips, n_jobs={n_jobs}"] = compare(ours, plain, rounds)
    return found


def labels(rounds: int) -> dict[str, Any]:
    """Time all parameters of 1 000 responses of 1.5 s, against a loop over pyrato for T30, EDT and C50."""
    import warnings

    import pyfar
    import pyrato

    from roomacoustic_sk import acoustics

    rng = np.random.default_rng(0)
    n_times = int(1.5 * RATE)
    rt60 = rng.uniform(0.3, 1.0, 1_000)
    decay = 10 ** (-3 * np.arange(n_times) / RATE / rt60[:, None])
    rirs = rng.standard_normal(decay.shape) * decay + 1e-5 * rng.standard_normal(decay.shape)

    def ours() -> None:
        acoustics.room_parameters(rirs, RATE)

    def plain() -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for rir in rirs:
                curve = pyrato.edc.energy_decay_curve_lundeby(pyfar.Signal(rir, RATE))
                pyrato.parameters.reverberation_time_linear_regression(curve, "T30")
                pyrato.parameters.reverberation_time_linear_regression(curve, "EDT")
                pyrato.parameters.clarity(curve, 50)

    return {"labels of 1000 responses": compare(ours, plain, rounds)}


N_ROOMS, N_RIRS = 6, 2
RAYS = (5_000, 20_000, 80_000)


def _plain_rooms(target: Any, n_rays: int) -> list[np.ndarray]:
    """Return the responses of a plain pyroomacoustics loop over the same rooms, a room a response."""
    import pyroomacoustics as pra

    walls = ("west", "east", "south", "north", "floor", "ceiling")
    rirs = []
    for row in target.to_dict("records"):
        materials = {wall: (row[f"material_{wall}"], row["scattering"]) for wall in walls}
        room = pra.ShoeBox(
            [row["length"], row["width"], row["height"]],
            fs=RATE,
            materials=pra.make_materials(**materials),
            max_order=3,
            ray_tracing=True,
            air_absorption=True,
        )
        room.set_ray_tracing(n_rays=n_rays, receiver_radius=0.5, energy_thres=1e-7, time_thres=10.0)
        room.add_source([row[f"source_{axis}"] for axis in "xyz"])
        room.add_microphone([row[f"microphone_{axis}"] for axis in "xyz"])
        room.compute_rir()
        rirs.append(room.rir[0][0])
    return rirs


def _spread(first: Any, second: Any) -> float:
    """Return the relative standard deviation of one of two repeated estimates of reverberation times."""
    ratio = np.log(np.asarray(first) / np.asarray(second))
    return round(float(np.sqrt(np.mean(ratio**2) / 2)), 4)


def simulate(rounds: int) -> dict[str, Any]:
    """Time 12 responses of 6 rooms against a plain pyroomacoustics loop whose T30 repeats itself as well as ours.

    Where its T30 does not, however many rays, the loop with most of them is timed: the ratio is a lower bound.
    """
    import pyroomacoustics as pra

    from roomacoustic_sk.acoustics import reverberation_time
    from roomacoustic_sk.datasets import simulate_rooms

    pra.constants.set("num_threads", os.cpu_count())  # the plain loop may use all cores, too
    # The same seed draws the same rooms; one ray more or less changes all rays.
    bunch, again = (simulate_rooms(N_ROOMS, N_RIRS, random_state=0, redraw=False, n_rays=n) for n in (8_000, 8_001))
    ours_spread = _spread(bunch.target["rt60"], again.target["rt60"])
    found: dict[str, Any] = {"T30 repeats itself, ours": {"relative_sd": ours_spread}}
    n_rays = RAYS[-1]
    for candidate in RAYS:
        pair = [reverberation_time(_plain_rooms(bunch.target, candidate), RATE, truncation=None) for _ in range(2)]
        spread = _spread(*pair)
        found[f"T30 repeats itself, plain loop, {candidate} rays"] = {"relative_sd": spread}
        if spread <= ours_spread:
            n_rays = candidate
            break
    for n_jobs in (1, 2):
        result = compare(
            lambda n_jobs=n_jobs: simulate_rooms(N_ROOMS, N_RIRS, random_state=0, n_jobs=n_jobs),
            lambda: _plain_rooms(bunch.target, n_rays),
            rounds,
        )
        result |= {"rirs_per_s": round(N_ROOMS * N_RIRS / result["ours_s"], 2), "plain_rays": n_rays}
        found[f"simulate, n_jobs={n_jobs}"] = result
    return found


def sizes(rounds: int) -> dict[str, Any]:
    """Time responses of rooms of different sizes and absorption: the cost against volume and reverberation time."""
    from roomacoustic_sk.datasets import simulate_rooms

    found: dict[str, Any] = {}
    for length, width, height in ((4.0, 3.0, 3.0), (7.0, 6.0, 4.0), (14.0, 12.0, 6.0)):
        for absorption in (0.4, 0.1, 0.05):
            seconds, rt60 = [], 0.0
            for i in range(rounds):
                started = time.perf_counter()
                rooms = simulate_rooms(
                    1, 4, length=length, width=width, height=height, materials=absorption, random_state=i, redraw=False
                )
                seconds.append((time.perf_counter() - started) / 4)
                rt60 = float(rooms.target["rt60"].median())
            found[f"simulate {length:g} x {width:g} x {height:g} m, absorption {absorption:g}"] = {
                "s_per_rir": round(float(np.median(seconds)), 3),
                "rt60": round(rt60, 2),
                "rounds": rounds,
            }
    return found


SECTIONS = {
    "fit": fit,
    "transform": transform,
    "simulate": simulate,
    "sizes": sizes,
    "convolve": convolve,
    "labels": labels,
}


def main() -> None:
    """Measure, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sections", nargs="*", default=[], choices=[*SECTIONS, []])
    parser.add_argument("--rounds", type=int, default=5, help="measurements of both ways in turn (5)")
    parser.add_argument("--output", type=Path, default=HERE / "speed.json", help="file whose sections are replaced")
    args = parser.parse_args()
    results = load(args.output)
    for section in args.sections or SECTIONS:
        for name, result in SECTIONS[section](args.rounds).items():
            results["measured"][name] = result
            print(f"{name}: {', '.join(f'{key} {value}' for key, value in result.items())}", flush=True)
        results["made"][section] = provenance() | {"load_average_at_end": round(os.getloadavg()[0], 2)}
        save(args.output, results)


if __name__ == "__main__":
    main()
