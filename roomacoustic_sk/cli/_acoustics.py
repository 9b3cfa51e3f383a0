"""`roomacoustic-sk acoustics`: ISO 3382-1 parameters of measured impulse responses."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from roomacoustic_sk.cli._arguments import Listed, add_files, listed
from roomacoustic_sk.cli._messages import FAILURE, SUCCESS, reason, say, warnings_as_lines
from roomacoustic_sk.cli._output import Write, add_output, opened, writer_of

if TYPE_CHECKING:
    import pandas as pd

DESCRIPTION = """\
Evaluate impulse responses after ISO 3382-1, broadband and in bands, with diagnostics of ISO 3382-2. Each channel of a
file is a response. As a table, several responses are followed by their mean and standard deviation over positions.
"""

DEFAULT = ["EDT", "T20", "T30", "C50", "C80", "D50", "Ts", "DRR"]

DIAGNOSTICS = ("nonlinearity", "curvature", "usable_range", "crossing_time", "peak_to_noise")

DECONVOLVE = (
    "If it is the recording of a sweep, deconvolve it first with the sweep that was played (pyfar.dsp.deconvolve, or "
    "a program such as REW); if it is speech, use roomacoustic-sk estimate"
)


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser("acoustics", help="ISO 3382-1 parameters of responses", description=DESCRIPTION)
    add_files(parser, metavar="RIR", what="impulse responses, or folders of them")
    add_output(parser)
    parser.add_argument(
        "--parameters",
        type=_parameters,
        default=DEFAULT,
        metavar="NAMES",
        help=f"short names joined by commas, such as EDT,T20,C80 (default: {','.join(DEFAULT)})",
    )
    parser.add_argument("--bands", choices=["octave", "third-octave", "none"], default="octave")
    parser.add_argument(
        "--noise-free",
        action="store_true",
        help="the responses have no noise, as simulated ones: nothing of their decay is taken for it",
    )
    parser.set_defaults(run=run)


def _parameters(text: str) -> list[str]:
    """Return short names that are known."""
    from roomacoustic_sk._parameters import parameters_of

    names = text.split(",")
    try:
        parameters_of(names)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return names


def run(arguments: argparse.Namespace) -> int:
    """Evaluate all files, one after the other."""
    from tqdm import tqdm

    from roomacoustic_sk._validation import ArgumentValueError
    from roomacoustic_sk.acoustics import DecayRangeWarning

    bands = None if arguments.bands == "none" else arguments.bands
    files = listed(arguments.files)
    status = SUCCESS
    with opened(arguments.output, arguments.format) as write:
        writer = AcousticsTable(write) if arguments.format == "table" else writer_of(arguments.format, write)
        for file in tqdm(files, unit="file", disable=not sys.stderr.isatty()):
            try:
                with warnings_as_lines(file.name, known=(DecayRangeWarning,)):  # the column `reason` says so
                    table = _evaluated(file, arguments.parameters, bands, arguments.noise_free)
            except (ArgumentValueError, OSError) as error:
                say(f"{file.name}: {reason(error)}")
                writer.failure(file.name, reason(error))
                status = FAILURE
            else:
                writer.rows(table)
        if isinstance(writer, AcousticsTable):
            writer.mean()
    return status


def _evaluated(file: Listed, parameters: list[str], bands: str | None, noise_free: bool) -> pd.DataFrame:
    """Return a row for each channel of a file and band; that of the whole spectrum has no number."""
    import numpy as np
    import pandas as pd

    from roomacoustic_sk._decay import NO_RESPONSE
    from roomacoustic_sk._validation import ArgumentValueError
    from roomacoustic_sk.acoustics import evaluate
    from roomacoustic_sk.datasets import read_audio
    from roomacoustic_sk.datasets._audio import audio_info

    if file.error is not None:
        raise ArgumentValueError(file.error)
    rate = audio_info(file.name).sample_rate
    rirs, truncation = read_audio(file.name, rate), None if noise_free else "lundeby"
    how: dict[str, Any] = {"truncation": truncation, "diagnostics": True, "output": "pandas"}
    whole = evaluate(rirs, rate, parameters, **how).reset_index().assign(band=np.nan)
    if (whole["reason"] == NO_RESPONSE).all():
        raise ArgumentValueError(f"{NO_RESPONSE}. {DECONVOLVE}.")
    tables = [whole]
    if bands is not None:
        tables.append(evaluate(rirs, rate, parameters, bands=bands, **how).reset_index())
    table = pd.concat(tables).rename(columns={"response": "channel"}).sort_values("channel", kind="stable")
    if table[parameters].isna().all(axis=None):
        raise ArgumentValueError(f"{whole['reason'].iloc[0]}. {DECONVOLVE}.")
    return table.assign(file=file.name).set_index(["file", "channel", "band"])


# --- The table ------------------------------------------------------------------------------------------------------

CLAUSES = {
    "EDT": "ISO 3382-1, A.2.2",
    "T": "ISO 3382-1, 3.4",
    "C": "ISO 3382-1, A.2.3",
    "D": "ISO 3382-1, A.2.3",
    "Ts": "ISO 3382-1, A.2.3",
    "DRR": "-",
    "nonlinearity": "ISO 3382-2, B.2",
    "curvature": "ISO 3382-2, B.3",
    "usable_range": "ISO 3382-1, 5.3.3",
    "crossing_time": "ISO 3382-1, 5.3.3",
    "peak_to_noise": "ISO 3382-1, 5.3.3",
}
UNITS = {
    "EDT": "s",
    "T": "s",
    "C": "dB",
    "D": "",
    "Ts": "s",
    "DRR": "dB",
    "nonlinearity": "per mille",
    "curvature": "%",
    "usable_range": "dB",
    "crossing_time": "s",
    "peak_to_noise": "dB",
}
DECIMALS = {"s": 3, "": 3}  # by unit; 1 for others

MISSING = "-"
BROADBAND = "all"
NARROWEST = 6  # column

MID = ("500", "1000")
"""Octave bands that single-number values are the mean of (ISO 3382-1, Table A.1)."""


class AcousticsTable:
    """A table for people: a row for each parameter, with its clause and unit, and a column for each band."""

    def __init__(self, write: Write) -> None:
        self._write = write
        self._responses: list[pd.DataFrame] = []

    def rows(self, frame: pd.DataFrame) -> None:
        """Write the parameters and diagnostics of each channel."""
        for (file, channel), table in frame.groupby(level=["file", "channel"], sort=False):
            values = _by_band(table.droplevel(["file", "channel"]))
            reasons = values.pop("reason")
            values = _with_mid(values)
            self._responses.append(values)
            self._block(f"{file}, channel {channel}", {name: (name, values[name]) for name in values})
            for band, why in reasons[reasons != ""].items():
                where = "broadband" if band == BROADBAND else f"at {band} Hz"
                self._write(f"no reverberation time {where}: {why}\n")

    def failure(self, file: str, error: str) -> None:
        """Write nothing: the error is on stderr."""

    def mean(self) -> None:
        """Write the mean of several responses and their standard deviation, over those that have a number."""
        import pandas as pd

        n_responses = len(self._responses)
        if n_responses < 2:
            return
        parameters = [table.drop(columns=list(DIAGNOSTICS)) for table in self._responses]
        by_band = pd.concat(parameters).groupby(level=0, sort=False)
        mean, deviation, known = by_band.mean(), by_band.std(), by_band.count()
        rows = {}
        for name in mean:
            rows[name] = (name, mean[name])
            rows[f"{name} SD"] = (name, deviation[name])
            if (known[name] < n_responses).any():
                rows[f"{name} n"] = ("", known[name])
        self._block(f"mean and standard deviation (SD) of {n_responses} responses", rows)

    def _block(self, title: str, rows: dict[str, tuple[str, pd.Series]]) -> None:
        """Write a row for each title, with the values of a parameter by band."""
        bands = list(next(iter(rows.values()))[1].index)
        lines = [["", "clause", "unit", *bands]]
        for label, (name, values) in rows.items():
            kind = name if name in UNITS or not name else name[0]
            unit = UNITS.get(kind, "")
            decimals = DECIMALS.get(unit, 1) if kind else 0
            cells = [MISSING if value != value else f"{value:.{decimals}f}" for value in values]
            lines.append([label.replace("_", " "), CLAUSES.get(kind, ""), unit, *cells])
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        self._write(f"{title}\n")
        for line in lines:
            left = [cell.ljust(width) for cell, width in zip(line[:3], widths[:3], strict=True)]
            right = [cell.rjust(max(width, NARROWEST)) for cell, width in zip(line[3:], widths[3:], strict=True)]
            self._write("  ".join([*left, *right]).rstrip() + "\n")
        self._write("\n")


def _by_band(table: pd.DataFrame) -> pd.DataFrame:
    """Return a table with the names of bands as its index."""
    return table.set_axis([BROADBAND if band != band else f"{band:g}" for band in table.index])


def _with_mid(values: pd.DataFrame) -> pd.DataFrame:
    """Add the single-number values, if there are octave bands."""
    import pandas as pd

    if not set(MID) <= set(values.index) or "630" in values.index:  # third octaves
        return values
    mid = values.loc[list(MID)].mean(skipna=False).rename("500-1000")
    return pd.concat([values.iloc[:1], mid.drop(list(DIAGNOSTICS)).to_frame().T, values.iloc[1:]])
