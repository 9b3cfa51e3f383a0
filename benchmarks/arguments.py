"""What the benchmarks on the data of Table 2 are told on the command line, refused in one line where it cannot be."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path

HERE = Path(__file__).parent
RESULTS = HERE.parent / "results"


def existing_folder(text: str) -> Path:
    """Take a folder that is there."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder that exists, got {text!r}")
    return Path(text)


def existing_file(text: str) -> Path:
    """Take a file that is there."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"must be a file that exists, got {text!r}")
    return Path(text)


def positive(text: str) -> float:
    """Take a number above 0."""
    number = float(text)  # argparse says it if this fails
    if not number > 0:
        raise argparse.ArgumentTypeError(f"must be above 0, got {text!r}")
    return number


def add_cache_argument(parser: argparse.ArgumentParser) -> None:
    """Ask for the cache of the rooms."""
    parser.add_argument("--cache", type=Path, default=RESULTS / "cache", help="folder of simulated rooms")


def add_data_arguments(parser: argparse.ArgumentParser, sizes: Iterable[str]) -> None:
    """Ask for speech and size, for the cache of the rooms and for where results go."""
    parser.add_argument(
        "--speech", type=existing_folder, help="folder of real speech, e.g. LibriSpeech; synthetic if not given"
    )
    parser.add_argument("--size", choices=list(sizes), default="paper")
    add_cache_argument(parser)
    parser.add_argument(
        "--output",
        type=Path,
        help="where results go; if not given, beside this script, or to results/ if the size is not 'paper' or the "
        "speech is synthetic: the figures beside this script are not of such",
    )


def output_of(args: argparse.Namespace, name: str) -> Path:
    """Return where results go, by default under a name."""
    if args.output is not None:
        return args.output
    return (HERE if args.size == "paper" and args.speech else RESULTS) / name
