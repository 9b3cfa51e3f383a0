"""`roomacoustic-sk estimate`: room parameters of recordings of speech."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from roomacoustic_sk.cli._arguments import Listed, add_files, channel, jobs, listed, window
from roomacoustic_sk.cli._messages import FAILURE, SUCCESS, say
from roomacoustic_sk.cli._output import Write, add_output, opened, writer_of

if TYPE_CHECKING:
    import pandas as pd

    from roomacoustic_sk.estimate import FileEstimates

DESCRIPTION = """\
Estimate reverberation time, clarity and direct-to-reverberant ratio of the room in which speech was recorded, each with
an interval of 90 %.

Results come in the order of the files. A file that fails is named on stderr, and does not stop the rest.
"""


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "estimate",
        help="room parameters of recordings of speech",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_files(parser, metavar="FILE", what="recordings, or folders of them")
    add_output(parser)
    parser.add_argument("--window", type=window, metavar="S", help="estimate each stretch of so many seconds")
    parser.add_argument(
        "--channel", type=channel, default="each", metavar="C", help="each, mix or a number from 0 on (default: each)"
    )
    parser.add_argument("--bands", action="store_true", help="in octave bands, too")
    parser.add_argument("--model", default="default", metavar="NAME|PATH", help="an estimator that is shipped or saved")
    parser.add_argument("--n-jobs", type=jobs, metavar="N", help="files estimated in parallel; -1 for all cores")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Estimate, and write the results as they come."""
    from tqdm import tqdm

    from roomacoustic_sk._sources import audio_files
    from roomacoustic_sk._validation import ArgumentValueError

    files = listed(arguments.files, audio_files)
    status, is_empty = SUCCESS, True
    with opened(arguments.output, arguments.format) as write:
        longest = max((len(file.name) for file in files), default=0)
        writer = EstimateTable(write, longest) if arguments.format == "table" else writer_of(arguments.format, write)
        progress = tqdm(_estimates(files, arguments), total=len(files), unit="file", disable=not sys.stderr.isatty())
        for file, frame, error in progress:
            if frame is not None:
                writer.rows(frame)
                is_empty = False
            if error is not None:
                say(f"{file}: {error}")
                writer.failure(file, error)
                status = FAILURE
        if is_empty and arguments.output is not None and arguments.format != "jsonl":
            raise ArgumentValueError("no file could be read: nothing is written.")
    return status


def _estimates(files: list[Listed], arguments: argparse.Namespace) -> Iterator[FileEstimates]:
    """Yield the results of all files in their order, those of folders without recordings among them."""
    from roomacoustic_sk.cli._models import one_thread
    from roomacoustic_sk.estimate import FileEstimates, iterate_estimates

    names = [file.name for file in files if file.error is None]
    estimates = iter(
        iterate_estimates(
            names,
            model=arguments.model,
            window=arguments.window,
            channel=arguments.channel,
            bands=arguments.bands,
            n_jobs=arguments.n_jobs,
        )
        if names
        else ()
    )
    with one_thread():
        for name, error in files:
            yield next(estimates) if error is None else FileEstimates(name, None, error)


# --- The table ------------------------------------------------------------------------------------------------------

UNITS = {"start": "s", "end": "s", "rt60": "s", "c50": "dB", "drr": "dB", "volume": "m3", "speech": "s", "snr": "dB"}
DECIMALS = {"rt60": 2, "volume": 0}
LEFT_OUT = {"model"}  # the same in each row


class EstimateTable:
    """A table for people: estimates with their intervals, in columns that are as wide from the first row on."""

    def __init__(self, write: Write, longest_name: int) -> None:
        self._write = write
        self._longest_name = longest_name
        self._has_header = False

    def rows(self, frame: pd.DataFrame) -> None:
        """Write the rows of a frame."""
        flat = frame.reset_index()
        names = [name for name in flat.columns if not name.endswith(("_low", "_high")) and name not in LEFT_OUT]
        with_interval = {name for name in names if f"{name}_low" in flat.columns}
        widths = {name: max(len(_header(name)), _width(name in with_interval)) for name in names}
        widths["file"] = max(self._longest_name, len("file"))
        if not self._has_header:
            self._line([_header(name).ljust(widths[name]) for name in names])
            self._has_header = True
        for row in flat.to_dict("records"):
            cells = []
            for name in names:
                cell = _cell(name, row[name])
                bounds = [_cell(name, row[name + side]) for side in ("_low", "_high")] if name in with_interval else []
                if any(bound != MISSING for bound in bounds):  # an estimator that is not calibrated has none
                    cell += f" [{', '.join(bounds)}]"
                cells.append(cell.ljust(widths[name]))
            self._line(cells)

    def failure(self, file: str, error: str) -> None:
        """Write nothing: the error is on stderr."""

    def _line(self, cells: list[str]) -> None:
        self._write("  ".join(cells).rstrip() + "\n")


MISSING = "-"


def _quantity(name: str) -> str:
    return name.partition("_")[0]  # rt60_500 is the reverberation time in the band of 500 Hz


def _header(name: str) -> str:
    unit = UNITS.get(_quantity(name))
    return name if unit is None else f"{name} [{unit}]"


def _width(has_interval: bool) -> int:
    return len("-12.3 [-15.6, -10.1]") if has_interval else len("1234.5")


def _cell(name: str, value: Any) -> str:
    if value is None or value != value or value == "":
        return MISSING
    if isinstance(value, float):
        return f"{value:.{DECIMALS.get(_quantity(name), 1)}f}"
    return str(value)
