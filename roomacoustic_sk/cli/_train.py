"""`roomacoustic-sk train`: an estimator of your own, saved to a file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from roomacoustic_sk.cli._arguments import count, seconds, seed
from roomacoustic_sk.cli._messages import SUCCESS
from roomacoustic_sk.cli._output import check_can_be_written
from roomacoustic_sk.cli._simulate import TABLE

DESCRIPTION = f"""\
Train an estimator, and save it.

If DATA is a folder with {TABLE} (as simulate writes it), or such a table, responses are convolved with speech, and the
encoder is trained together with a head for mid-frequency RT60, C50 and DRR. If DATA is a folder of recordings, which
need no labels, the encoder is trained alone.
"""

TARGETS = {"rt60_mid": "log", "c50": "bounded", "drr": "compressed"}
"""What the head learns, and on which scale."""

N_SPEAKERS = 8


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "train",
        help="train an estimator of your own",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, metavar="DATA", help=f"folder with {TABLE}, or a folder of recordings")
    parser.add_argument("output", type=Path, metavar="OUT", help="file for the estimator, usually with the ending .rsk")
    parser.add_argument("--speech", type=Path, metavar="FOLDER", help="dry speech; synthetic speech by default")
    parser.add_argument(
        "--segments", type=count, default=64, metavar="N", help="segments of speech (default: %(default)s)"
    )
    parser.add_argument(
        "--duration", type=seconds, default=4.0, metavar="S", help="length of a clip (default: %(default)s)"
    )
    parser.add_argument("--epochs", type=count, default=100, metavar="N", help="at most (default: %(default)s)")
    parser.add_argument("--steps", type=count, default=128, metavar="N", help="batches an epoch (default: %(default)s)")
    parser.add_argument("--seed", type=seed, default=0, metavar="N", help="of all that is drawn (default: %(default)s)")
    parser.add_argument(
        "--checkpoints", type=Path, metavar="FOLDER", help="the same command, run again, resumes from its state there"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train on responses or on recordings, and save."""
    from roomacoustic_sk._validation import ArgumentValueError
    from roomacoustic_sk.persistence import save

    output: Path = arguments.output
    check_can_be_written(output)
    if output.exists() and not arguments.overwrite:
        raise ArgumentValueError(f"OUT must be a new file, got {output}. Pass --overwrite to replace it.")
    table = arguments.data / TABLE if arguments.data.is_dir() else arguments.data
    if table.suffix.lower() == ".csv" and table.is_file():
        estimator = _trained_on_responses(table, arguments)
    else:
        if arguments.speech is not None:
            raise ArgumentValueError(f"--speech needs a folder with {TABLE} as DATA, got {arguments.data} without it.")
        estimator = _trained_on_recordings(arguments)
    save(estimator, output)
    print(output)
    return SUCCESS


def _encoder(arguments: argparse.Namespace) -> Any:
    """Return an encoder that is not trained yet."""
    from roomacoustic_sk.encoder import ContrastiveRoomEncoder

    return ContrastiveRoomEncoder(
        segment_duration=arguments.duration,
        max_epochs=arguments.epochs,
        steps_per_epoch=arguments.steps,
        checkpoint_dir=arguments.checkpoints,
        random_state=arguments.seed,
        verbose=_verbose(),
    )


def _verbose() -> int:
    return int(sys.stderr.isatty())


def _trained_on_recordings(arguments: argparse.Namespace) -> Any:
    from roomacoustic_sk.datasets import load_recordings

    recordings = load_recordings(arguments.data, duration=None, verbose=_verbose())
    return _encoder(arguments).fit(recordings.data)


def _trained_on_responses(table: Path, arguments: argparse.Namespace) -> Any:
    import numpy as np

    from roomacoustic_sk.datasets import load_measured_rirs, load_speech, make_reverberant_speech, make_speech, take
    from roomacoustic_sk.heads import RoomRegressor
    from roomacoustic_sk.room_parameters import RoomParameterEstimator

    rooms = load_measured_rirs(table, channel="each", verbose=_verbose())
    rooms = take(rooms, np.flatnonzero(rooms.target[list(TARGETS)].notna().any(axis=1)))
    options = {"duration": arguments.duration, "random_state": arguments.seed}
    if arguments.speech is None:
        speech = make_speech(min(N_SPEAKERS, arguments.segments), arguments.segments, **options)
    else:
        speech = load_speech(arguments.speech, n_segments=arguments.segments, verbose=_verbose(), **options)
    data = make_reverberant_speech(rooms, speech, lazy=True, remove_delay=True, random_state=arguments.seed)
    head = RoomRegressor(
        target_transform=TARGETS, hold_out="rir", checkpoint_dir=arguments.checkpoints, random_state=arguments.seed
    )
    estimator = RoomParameterEstimator(_encoder(arguments), head)
    return estimator.fit(
        data.data,
        data.target[list(TARGETS)],
        rir_groups=data.rir,
        source_groups=data.source,
        room_groups=data.room,
    )
