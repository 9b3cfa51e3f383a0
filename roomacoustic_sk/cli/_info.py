"""`roomacoustic-sk info`: what an audio file or a saved estimator is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roomacoustic_sk.cli._arguments import Listed, add_files, listed
from roomacoustic_sk.cli._messages import FAILURE, SUCCESS, reason, say
from roomacoustic_sk.cli._output import Write, opened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK = 60  # s that are read at once


def add(commands: Any) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "info",
        help="what an audio file or a saved estimator is",
        description="Tell format, level and clipping of audio files, and structure, targets and versions of saved "
        "estimators.",
    )
    add_files(parser, metavar="FILE|MODEL", what="audio files, folders of them, or saved estimators")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Describe all files, one after the other."""
    with opened(None, "table") as write:
        return max([_described(file, write) for file in listed(arguments.files)])


def _described(file: Listed, write: Write) -> int:
    """Describe a file, and return whether it failed."""
    from roomacoustic_sk._validation import ArgumentValueError

    try:
        if file.error is not None:
            raise ArgumentValueError(file.error)
        facts = _facts(Path(file.name))
    except (ArgumentValueError, OSError) as error:
        say(f"{file.name}: {reason(error)}")
        return FAILURE
    width = max(map(len, facts))
    lines = [file.name, *(f"  {name:{width}}  {fact}" for name, fact in facts.items())]
    write("\n".join(lines) + "\n")
    return SUCCESS


def _facts(path: Path) -> dict[str, str]:
    """Describe a file of either kind."""
    if path.suffix == ".rsk" or _may_be_saved(path):
        return _facts_of_model(path)
    return _facts_of_audio(path)


def _may_be_saved(path: Path) -> bool:
    """Tell whether a file has the JSON of safetensors at its beginning, as no audio file has."""
    with path.open("rb") as file:
        return file.read(9)[8:] == b"{"


# --- Audio files ----------------------------------------------------------------------------------------------------


def _facts_of_audio(path: Path) -> dict[str, str]:
    import soundfile

    from roomacoustic_sk.datasets._audio import audio_info

    info = audio_info(path)
    facts = {
        "sampling rate": f"{info.sample_rate} Hz",
        "channels": str(info.n_channels),
        "duration": f"{info.duration:.3f} s",
    }
    if not info.parts:
        header = soundfile.info(path)
        facts["format"] = f"{header.format_info}, {header.subtype_info}"
    for channel in range(info.n_channels):
        name = "level" if info.n_channels == 1 else f"level of channel {channel}"
        facts[name] = _level(_blocks(path, info, channel))
    return facts


def _blocks(path: Path, info: Any, channel: int) -> Any:
    """Yield a channel in pieces."""
    from roomacoustic_sk.datasets._reading import read_segment

    step = BLOCK * info.sample_rate
    for start in range(0, info.n_times, step):
        n_times = min(step, info.n_times - start)
        yield read_segment(path, info.sample_rate, start=start, n_times=n_times, channel=channel, info=info)


def _level(blocks: Any) -> str:
    """Say how loud a channel is, in dB re full scale, and whether it is clipped."""
    import numpy as np

    from roomacoustic_sk._sound import is_clipped

    peak, energy, n_times, clipped = 0.0, 0.0, 0, False
    block: NDArray[np.float32]
    for block in blocks:
        peak = max(peak, float(np.abs(block).max()))
        energy += float(np.square(block, dtype=np.float64).sum())
        n_times += len(block)
        clipped = clipped or is_clipped(block)
    if peak == 0:
        return "silent"
    rms = 10 * np.log10(energy / n_times)
    return f"{rms:.1f} dB RMS, {20 * np.log10(peak):.1f} dB peak, re full scale{', clipped' if clipped else ''}"


# --- Saved estimators -----------------------------------------------------------------------------------------------


def _facts_of_model(path: Path) -> dict[str, str]:
    from sklearn.pipeline import Pipeline

    from roomacoustic_sk.persistence import load
    from roomacoustic_sk.persistence._file import from_bytes, read

    model = load(path)
    content = from_bytes(read(path))
    facts = {"estimator": " ".join(repr(model).split())}
    parts = [part for _, part in model.steps] if isinstance(model, Pipeline) else [model]
    for part in parts:
        if hasattr(part, "target_names_"):
            facts["targets"] = ", ".join(map(str, part.target_names_))
        for name in ("sample_rate", "sample_rate_"):
            if hasattr(part, name):
                facts["sampling rate"] = f"{getattr(part, name)} Hz"
    versions = content.structure["versions"]
    facts["saved with"] = ", ".join(f"{name} {version}" for name, version in versions.items())
    n_weights = sum(array.size for array in content.arrays.values())
    facts["size"] = f"{path.stat().st_size / 1e6:.2f} MB, {n_weights} numbers"
    return facts
