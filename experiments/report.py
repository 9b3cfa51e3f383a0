"""The pages of the docs that rest on results, and their pictures."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments import table2_page
from experiments.measured_page import coverage_section, measured_section
from experiments.pictures import draw_all
from experiments.results import COMMITTED, REPOSITORY, RefusedError, Result, load_all
from experiments.studies import STUDIES
from experiments.tables import prose

HEAD = prose("""
    Written by `python -m experiments report` from `experiments/results/`; `python -m experiments --help` lists the
    studies. Each result is a file with its command, commit, machine and seed.

    Unless stated otherwise, each result takes three steps. An *encoder* (the network that turns a recording into 64
    numbers, its embedding) is trained contrastively on simulated impulse responses (RIRs) and segments of LibriSpeech,
    and is then frozen. *Heads* (small networks that estimate one parameter from an embedding) are trained on clips of
    4 s of other talkers through other RIRs. The heads are tested on talkers that neither the encoder nor the heads
    have heard: through the RIRs of the heads' training (*seen RIRs*) and in rooms that neither was trained on (*unseen
    rooms*).

    Scores are Pearson's r between estimated and true values or, for the volume, the accuracy of the answer to "is the
    room larger than 160 m³?"; mean ± standard deviation over seeds (independent training runs). *soft*, *hard* and
    *position-independent* are ways to build training batches ([guide](guide.md#batches)); tau is the temperature of
    the contrastive loss. *supervised*: encoder and head trained end to end. *untrained*: heads on a randomly
    initialised encoder. *decay slopes*: classical features with extra trees. *mean*: a constant prediction, whose r is
    undefined and shown as 0. *log*: heads learn the logarithm. *mid*: mean of the 500 Hz and 1 kHz octave bands.
""")
TRIAL = prose("""
    Results of a trial. The sentences were written for the committed results and need not hold for these.
""")
LIMITATIONS = prose("""
    Seeds set the initial weights, the batches and the heads. Rooms and talkers are the same in all cells of Table 2,
    so the spread over seeds understates the uncertainty. Not all of its cells have three seeds. Rooms are simulated
    shoeboxes, except in the last section. Results are repeatable to the last bit only on the same machine with
    the same number of threads; rounding differences can change a result as much as a different seed.
""")


def read(folder: Path) -> dict[str, list[Result]]:
    """Return the results of all studies that have any."""
    found = {name: load_all(folder / name) for name in STUDIES if (folder / name).is_dir()}
    return {name: results for name, results in found.items() if results}


def results_page(results: dict[str, list[Result]], last: Sequence[str], *, trial: bool) -> str:
    """Return the page with a section for each study, then the last ones; of a trial, sections may be missing."""
    parts = ["# Results", TRIAL if trial else HEAD]
    for name, of_study in results.items():
        try:
            text = STUDIES[name].section(of_study)
            if re.search(r"\bnan\b", text):
                raise RefusedError(f"The section of {name} needs a result that is missing.")
        except (KeyError, IndexError, StopIteration, ValueError, RefusedError) as error:
            problem = str(error) if isinstance(error, RefusedError) else f"The section of {name} needs more: {error!r}."
            if not trial:
                raise RefusedError(problem) from error
            text = f"*{problem}*"
        parts.append(text)
    parts += [text for text in last if text]
    return "\n\n".join([*parts, "## Limitations", LIMITATIONS]) + "\n"


def pages(folder: Path) -> dict[str, str]:
    """Return the text of each page by its name."""
    results = read(folder)
    trial = folder.resolve() != COMMITTED
    text = results_page(results, [coverage_section(folder), measured_section(folder)], trial=trial)
    return {"table2.md": table2_page.page(results.get("table2", [])), "results.md": text}


def write_report(folder: Path, *, check: bool) -> int:
    """Write pages and pictures, or say which pages differ; return the exit code."""
    docs = REPOSITORY / "docs" if folder.resolve() == COMMITTED else folder
    differing = 0
    for name, text in pages(folder).items():
        path = docs / name
        if check and (not path.exists() or path.read_text() != text):
            differing += 1
            print(f"{path} is not what the results give. Run python -m experiments report.", file=sys.stderr)
        elif not check:
            path.write_text(text)
            print(path)
    if check:
        named = {docs / name for text in pages(folder).values() for name in re.findall(r"\((figures/[^)]+)\)", text)}
        for path in sorted(path for path in named if not path.exists()):
            differing += 1
            print(f"{path} is missing. Run python -m experiments report.", file=sys.stderr)
        if not differing:
            print("All pages are what the results give, and all figures are there (their pixels are not compared).")
    else:
        for path in draw_all(read(folder), docs / "figures"):
            print(path)
    return int(differing > 0)
