"""`roomacoustic-sk simulate`: responses of simulated rooms, as files."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from roomacoustic_sk.cli._arguments import count, jobs, seed
from roomacoustic_sk.cli._messages import SUCCESS
from roomacoustic_sk.cli._output import written

TABLE = "rirs.csv"


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "simulate",
        help="impulse responses of simulated rooms",
        description=f"Simulate rooms, and write their responses as WAV files (32-bit float) with the table {TABLE} of "
        "rooms, geometry and parameters, which load_measured_rirs and train read.",
    )
    parser.add_argument("output", type=Path, metavar="OUT", help="folder for the files; made if there is none")
    parser.add_argument("--n-rooms", type=count, default=64, metavar="N", help="rooms (default: %(default)s)")
    parser.add_argument("--n-rirs", type=count, default=2, metavar="N", help="responses a room (default: %(default)s)")
    parser.add_argument(
        "--preset", choices=["paper", "everyday", "wide"], default="paper", help="which rooms (default: %(default)s)"
    )
    parser.add_argument("--sample-rate", type=count, default=16_000, metavar="HZ", help="default: %(default)s")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of all that is drawn (default: %(default)s)")
    parser.add_argument("--n-jobs", type=jobs, metavar="N", help="rooms simulated in parallel; -1 for all cores")
    parser.add_argument("--overwrite", action="store_true", help="replace files of the same names in OUT")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Simulate all rooms, then write them, the table last."""
    from roomacoustic_sk._validation import ArgumentValueError
    from roomacoustic_sk.datasets import simulate_rooms

    folder: Path = arguments.output
    if folder.is_dir() and any(folder.iterdir()) and not arguments.overwrite:
        raise ArgumentValueError(f"OUT must be a new or empty folder, got {folder}. Pass --overwrite to write into it.")
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):  # told now, not after the simulation
        raise PermissionError(13, "cannot be written to", os.fspath(folder))
    rooms = simulate_rooms(
        arguments.n_rooms,
        arguments.n_rirs,
        preset=arguments.preset,
        sample_rate=arguments.sample_rate,
        random_state=arguments.seed,
        n_jobs=arguments.n_jobs,
        verbose=int(sys.stderr.isatty()),
    )
    _write(rooms, folder)
    print(f"{len(rooms.rirs)} responses of {arguments.n_rooms} rooms: {folder / TABLE}")
    return SUCCESS


def _write(rooms: Any, folder: Path) -> None:
    import soundfile

    table = folder / TABLE
    table.unlink(missing_ok=True)  # that of an earlier run does not describe these files
    digits = len(str(rooms.room.max()))
    names = [f"room{room:0{digits}}_rir{rir}.wav" for room, rir in zip(rooms.room, rooms.rir, strict=True)]
    for name, rir in zip(names, rooms.rirs, strict=True):
        with written(folder / name) as path:
            soundfile.write(path, rir, rooms.sample_rate, subtype="FLOAT", format="WAV")
    described = rooms.target.copy()
    described.insert(0, "file", names)
    described.insert(1, "room", rooms.room)
    described.insert(2, "noise_free", True)  # else the end of a slow decay may be taken for noise
    with written(table) as path:
        described.to_csv(path, index=False)
