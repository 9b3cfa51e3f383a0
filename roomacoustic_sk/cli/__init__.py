"""The command line: argparse onto public functions.

Each command has a module with `add`, which declares its arguments, and `run`, which imports what it needs, so that
`--help` needs none of it. Results go to stdout, everything else to stderr.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from roomacoustic_sk.cli import _acoustics, _embed, _estimate, _info, _simulate, _train
from roomacoustic_sk.cli._messages import FAILURE, PROGRAM, reason, say, warnings_as_lines

__all__ = ["main"]

USAGE_ERROR = 2
INTERRUPTED = 128 + signal.SIGINT
NO_READER = 141  # 128 + SIGPIPE, which Windows does not have
"""Exit statuses, as shells have them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        The command and its arguments; those of the process by default.

    Returns
    -------
    int
        The exit status: 0, or 1 if anything failed. Wrong usage exits with 2.

    Raises
    ------
    SystemExit
        After ``--help``, ``--version`` and wrong usage.

    Examples
    --------
    >>> from roomacoustic_sk.cli import main
    >>> main(["info", "missing.wav"])
    1
    """
    debug = False
    try:
        parsed = _parser().parse_args(arguments)
        debug = parsed.debug
        with warnings_as_lines():
            status: int = parsed.run(parsed)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:  # the reader of our output, such as head, has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for the flush at the interpreter's end
        return NO_READER
    except Exception as error:
        if debug:
            raise
        say(reason(error))
        return FAILURE


class _Parser(argparse.ArgumentParser):
    """A parser whose errors take one line."""

    def error(self, message: str) -> NoReturn:
        say(f"{message}. See {self.prog} --help.")
        sys.exit(USAGE_ERROR)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog=PROGRAM,
        description="Room acoustics from recordings of speech and from impulse responses.",
        epilog="Exit status: 0 if all went well, 1 if a file or the command failed, 2 for wrong usage.",
    )
    parser.add_argument("--version", action="version", version=f"{PROGRAM} {version('roomacoustic_sk')}")
    parser.add_argument("--debug", action="store_true", help="show where an error occurred")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for command in (_estimate, _acoustics, _embed, _simulate, _train, _info):
        command.add(commands)
    return parser
