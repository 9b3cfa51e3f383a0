"""Studies of roomacoustic_sk: run one, resume one that was stopped, write the pages that rest on them.

A study is a grid of results, each a file in experiments/results/STUDY/; finished ones are skipped, and trainings resume
after their last epoch. Several processes may share a study. Trials, of size tiny or on synthetic speech, go to
results/experiments/ instead.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from experiments.report import write_report
from experiments.results import (
    COMMITTED,
    REPOSITORY,
    TRIALS,
    Key,
    RefusedError,
    Result,
    describe,
    load,
    provenance,
    save,
)
from experiments.studies import STUDIES
from experiments.study import Study

SIZES = ("paper", "tiny")


def existing_folder(text: str) -> Path:
    """Take a folder that is there."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder that exists, got {text!r}")
    return Path(text)


def folder_to_be(text: str) -> Path:
    """Take a folder, or a place for one."""
    if Path(text).exists() and not Path(text).is_dir():
        raise argparse.ArgumentTypeError(f"must be a folder, got the file {text!r}")
    return Path(text)


def number(kind: Any) -> Any:
    """Return a type for argparse whose error says what was expected."""

    def take(text: str) -> Any:
        try:
            value = kind(text)
            if value < 0:
                raise ValueError(f"must not be negative, got {text!r}")
            return value
        except ValueError as error:
            reason = str(error) if str(error).startswith("must") else f"must be of type {kind.__name__}, got {text!r}"
            raise argparse.ArgumentTypeError(reason) from error

    return take


def make_parser() -> argparse.ArgumentParser:
    """Return the parser: one command for each study, and one for the report."""
    common: dict[str, Any] = {"formatter_class": argparse.RawDescriptionHelpFormatter}
    parser = argparse.ArgumentParser("python -m experiments", description=__doc__, **common)
    commands = parser.add_subparsers(dest="command", required=True, metavar="STUDY")
    for name, study in STUDIES.items():
        command = commands.add_parser(
            name, help=study.question, description=study.question, epilog=study.explanation, **common
        )
        _add_options(command, study)
    text = "Write docs/results.md, docs/table2.md and their pictures from the committed results."
    report = commands.add_parser("report", help=text, description=text, **common)
    report.add_argument("--check", action="store_true", help="write nothing; say which page differs and exit with 1")
    report.add_argument(
        "--results", type=existing_folder, default=COMMITTED, help="folder of other results; their pages go there, too"
    )
    text = "Errors in measured rooms, of the default recipe or of a saved estimator, and of others beside it."
    _add_measured(commands.add_parser("measured", help=text, description=text, **common))
    return parser


def _add_options(command: argparse.ArgumentParser, study: Study) -> None:
    if study.speech == "given":
        command.add_argument(
            "--speech", type=existing_folder, help="folder of real speech, e.g. LibriSpeech; synthetic if not given"
        )
    command.add_argument(
        "--size", choices=SIZES, default="paper", help="tiny: some minutes per result, to see that it works"
    )
    command.add_argument(
        "--cache",
        type=folder_to_be,
        default=REPOSITORY / "results" / "cache",
        help="folder of simulated rooms and encoders",
    )
    command.add_argument(
        "--output",
        type=folder_to_be,
        help="folder of results; if not given, experiments/results or, for trials, results/experiments",
    )
    for field, values in _grid(study).items():
        kind = study.free.get(field)
        chosen = f"instead of {', '.join(map(str, values))}"
        if kind is None:
            command.add_argument(_option(field), nargs="+", type=type(values[0]), choices=values, help="all, or some")
        else:
            command.add_argument(_option(field), nargs="+", type=number(kind), metavar=field.upper(), help=chosen)


def _add_measured(command: argparse.ArgumentParser) -> None:
    """Declare the options of the scores in measured rooms."""
    command.add_argument(
        "--rirs", type=Path, nargs="+", required=True, help="tables of measured responses; some of them train"
    )
    command.add_argument("--speech", type=existing_folder, help="folder of real speech; synthetic if not given")
    command.add_argument(
        "--noise", type=existing_folder, help="folder of recordings of noise; Gaussian noise if not given"
    )
    command.add_argument("--snr", type=float, nargs="+", help="levels of noise in dB, beside none")
    command.add_argument("--model", type=Path, help="a saved RoomParameterEstimator, instead of training one")
    others = ("slopes", "supervised", "blind-rt60", "ordinary")
    command.add_argument("--beside", nargs="+", choices=others, default=[], help="others, on the same clips")
    command.add_argument(
        "--without",
        nargs="+",
        default=[],
        metavar="STEP",
        help="leave out of the heads' training: measured, large, near, direct, decay, noise, band",
    )
    command.add_argument("--simulated", action="store_true", help="score simulated rooms instead, by kind")
    command.add_argument(
        "--size",
        choices=(*SIZES, "third"),
        default="paper",
        help="third: heads on a third of the clips; tiny: half an hour, to see that it works",
    )
    command.add_argument("--cache", type=Path, required=True, help="folder of rooms, and of the training")
    command.add_argument("--output", type=Path, help="a JSON file of all errors")


def _option(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def _grid(study: Study) -> dict[str, list[Any]]:
    """Return the values of each setting in the grid of a study."""
    keys = study.keys()
    found = {field.name: dict.fromkeys(getattr(key, field.name) for key in keys) for field in fields(keys[0])}
    return {
        name: [value for value in values if value is not None]
        for name, values in found.items()
        if len(values) > 1 or name in study.free
    }


def chosen_keys(study: Study, args: argparse.Namespace) -> list[Key]:
    """Return the keys that the command asks for: those of the grid, other values put in where they are free."""
    keys = list(study.keys())
    for field in _grid(study):
        values = getattr(args, field)
        if values is not None and field in study.free:
            # A setting that a key does not have, such as the temperature of a baseline, stays so.
            keys = [
                key if getattr(key, field) is None else replace(key, **{field: value})
                for key in keys
                for value in values
            ]
        elif values is not None:
            keys = [key for key in keys if getattr(key, field) in values]
    if not keys:
        raise RefusedError("No result of the study has these settings together; --help tells what they mean.")
    return list(dict.fromkeys(keys))


def output_of(args: argparse.Namespace, study: Study) -> Path:
    """Return where results go; the committed ones are of full size and of real speech where speech is given."""
    if args.output is not None:
        return Path(args.output)
    trial = args.size != "paper" or (study.speech == "given" and args.speech is None)
    return TRIALS if trial else COMMITTED


def data_of(args: argparse.Namespace, study: Study) -> dict[str, str | None]:
    """Return what the results of a run are computed from."""
    given = "real" if study.speech == "given" and args.speech is not None else "synthetic"
    return {"size": args.size, "speech": None if study.speech is None else given}


def check_data(path: Path, data: dict[str, str | None]) -> None:
    """Refuse a finished result that was computed from other data."""
    found = load(path).data
    if found != data:
        raise RefusedError(f"{path} was computed from other data, {describe(found)}. Give another --output.")


def run_study(args: argparse.Namespace, arguments: Sequence[str]) -> None:
    """Compute the results that are not finished yet."""
    study = STUDIES[args.command]
    keys, folder, data = chosen_keys(study, args), output_of(args, study), data_of(args, study)
    paths = [folder / study.name / f"{key.name}.json" for key in keys]
    for path in paths:
        if path.exists():
            check_data(path, data)
    lab: Any = None
    for i, (key, path) in enumerate(zip(keys, paths, strict=True), start=1):
        count = f"[{i}/{len(keys)}] {key.name}"
        if path.exists():
            print(f"{count}: finished before", flush=True)
            continue
        with claimed(path.with_suffix(".checkpoints")) as checkpoints:
            if checkpoints is None or path.exists():
                print(f"{count}: another process computes it, or has", flush=True)
            else:
                lab = lab or _make_lab(args, study, folder)
                print(f"{count} ...", flush=True)
                result = _compute(study, key, lab, checkpoints, data, arguments, folder)
                print(f"{count}: {result.seconds['total']:.0f} s, {path}", flush=True)


def _make_lab(args: argparse.Namespace, study: Study, folder: Path) -> Any:
    from experiments.data import SIZES, Lab

    lab = Lab(args.speech if study.speech == "given" else None, SIZES[args.size], args.cache, folder)
    try:
        lab.speakers  # noqa: B018 - speech that cannot be read is refused now, not after rooms are simulated
    except ValueError as error:
        raise RefusedError(str(error)) from error
    return lab


def _compute(
    study: Study,
    key: Key,
    lab: Any,
    checkpoints: Path,
    data: dict[str, str | None],
    arguments: Sequence[str],
    folder: Path,
) -> Result:
    """Compute a result, write it, and remove its checkpoints."""
    started, origin = time.perf_counter(), provenance(arguments)
    outcome = study.run(key, lab, checkpoints)
    training = outcome.training_seconds
    seconds = {
        "total": round(time.perf_counter() - started, 1),
        "training": None if training is None else round(training, 1),
    }
    key_and_seed = (key.settings, key.seed)
    result = Result(study.name, *key_and_seed, data=data, **origin, seconds=seconds, result=outcome.result)
    save(folder, result, outcome.arrays)
    shutil.rmtree(checkpoints)
    return result


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[Path | None]:
    """Offer the folder of a result's checkpoints to this process alone; None if another one computes the result.

    The lock ends with the process, however it ends.
    """
    import fcntl  # late: not on Windows, where the help still works

    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield None
    else:
        yield folder
        with contextlib.suppress(OSError):  # not empty, or gone
            folder.rmdir()
    finally:
        os.close(handle)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    args = make_parser().parse_args(arguments)
    try:
        if args.command == "report":
            return write_report(args.results, check=args.check)
        if args.command == "measured":
            from experiments import measured  # late: it needs scikit-learn

            return measured.run(args, arguments)
        run_study(args, arguments)
    except (RefusedError, NotADirectoryError, IsADirectoryError, FileNotFoundError, PermissionError) as error:
        print(f"python -m experiments {args.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. Finished results are kept; the same command resumes.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
