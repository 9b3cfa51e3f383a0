"""`roomacoustic-sk embed`: embeddings of recordings in a file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roomacoustic_sk.cli._arguments import Listed, add_files, channel, listed
from roomacoustic_sk.cli._messages import FAILURE, SUCCESS, reason, say, warnings_as_lines
from roomacoustic_sk.cli._output import written

if TYPE_CHECKING:
    import pandas as pd

    from roomacoustic_sk.cli._models import Encoder

SUFFIXES = (".csv", ".npz")


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "embed",
        help="embeddings of recordings",
        description="Write the embedding of each recording, 64 numbers that describe the room. A file that fails is "
        "named on stderr, and does not stop the rest.",
    )
    add_files(parser, metavar="FILE", what="recordings, or folders of them")
    parser.add_argument(
        "--output",
        required=True,
        type=_output,
        metavar="F",
        help="a .csv file, or a .npz file with the arrays files, channels and embeddings",
    )
    parser.add_argument("--model", default="default", metavar="NAME|PATH", help="an estimator that is shipped or saved")
    parser.add_argument(
        "--channel", type=channel, default="each", metavar="C", help="each, mix or a number from 0 on (default: each)"
    )
    parser.set_defaults(run=run)


def _output(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in SUFFIXES:
        raise argparse.ArgumentTypeError(f"must end in {' or '.join(SUFFIXES)}, got {text!r}")
    return path


def run(arguments: argparse.Namespace) -> int:
    """Embed all files, one after the other."""
    import pandas as pd
    from tqdm import tqdm

    from roomacoustic_sk._validation import ArgumentValueError
    from roomacoustic_sk.cli._models import load_encoder, one_thread

    files = listed(arguments.files)
    status = SUCCESS
    with written(arguments.output) as output, one_thread():
        encoder = load_encoder(arguments.model)
        tables = []
        for file in tqdm(files, unit="file", disable=not sys.stderr.isatty()):
            try:
                with warnings_as_lines(file.name):
                    for table, error in _embedded(file, encoder, arguments.channel):
                        if error is None:
                            tables.append(table)
                        else:
                            say(f"{file.name}: {error}")
                            status = FAILURE
            except (ArgumentValueError, OSError) as error:
                say(f"{file.name}: {reason(error)}")
                status = FAILURE
        if not tables:
            raise ArgumentValueError("no file could be read: nothing is written.")
        _write(pd.concat(tables), output)
    return status


def _embedded(file: Listed, encoder: Encoder, channel: Any) -> Iterator[tuple[pd.DataFrame | None, str | None]]:
    """Yield a row for each channel of a file, or why there is none."""
    import numpy as np
    import pandas as pd

    from roomacoustic_sk._validation import ArgumentValueError
    from roomacoustic_sk.datasets import load_recordings

    if file.error is not None:
        raise ArgumentValueError(file.error)
    recordings = load_recordings(file.name, duration=None, channel=channel, sample_rate=encoder.sample_rate)
    for i, number in enumerate(recordings.channel):
        try:
            embedding = np.asarray(encoder.transformer.transform(recordings.data[i : i + 1]))
        except ArgumentValueError as error:  # one that is silent
            yield None, f"channel {number}: {reason(error)}"
            continue
        index = pd.MultiIndex.from_tuples([(file.name, number)], names=["file", "channel"])
        yield pd.DataFrame(embedding, index=index).add_prefix("embedding_"), None


def _write(table: pd.DataFrame, path: Path) -> None:
    """Write the embeddings of all files."""
    import numpy as np

    if path.suffix.lower() == ".csv":
        table.to_csv(path, encoding="utf-8", errors="backslashreplace")
        return
    names = table.index.to_frame(index=False)
    np.savez(
        path,
        files=names["file"].to_numpy(dtype=str),
        channels=names["channel"].to_numpy(dtype=np.int64),
        embeddings=table.to_numpy(),
    )
