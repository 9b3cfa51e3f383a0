"""How often reverberation time is wrong without a word, for responses that somebody has edited."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import frame, markdown, prose, section, verdict

if TYPE_CHECKING:
    from experiments.data import Lab

N_SEEDS = 10  # of 1 000 treated responses each
TOLERANCE = 0.15  # of reverberation time; beyond it a value is wrong
MID = (500.0, 1000.0)  # Hz
READINGS = ("T20", "T30", "T20 mid", "T30 mid")
LIBRARIES = {"roomacoustic_sk": "this package", "pyrato": "pyrato", "pyroomacoustics": "pyroomacoustics"}


class Edited(NamedTuple):
    """A response before and after its treatment."""

    treatment: str
    before: np.ndarray
    after: np.ndarray
    clean: np.ndarray  # before, without noise
    sample_rate: int


def edited_responses(n_responses: int, seed: int) -> Iterator[Edited]:
    """Draw responses of 0.15 to 6 s at 8 to 48 kHz, 20 to 80 dB above their noise, and treat each in one way."""
    from experiments.treatments import HELD_OUT, TREATMENTS, synthetic, two_slopes

    treatments = {**TREATMENTS, **HELD_OUT}
    names = [*treatments, "two_slopes"]
    for i in range(n_responses):
        rng, name = np.random.default_rng([seed, i]), names[i % len(names)]
        if name == "two_slopes":
            coupled = two_slopes(rng)
            yield Edited(name, coupled.clean, coupled.samples, coupled.clean, coupled.sample_rate)
            continue
        drawn = synthetic(rng)
        treated = treatments[name](drawn.samples, drawn.sample_rate, rng)
        yield Edited(name, drawn.samples, treated, drawn.clean, drawn.sample_rate)


class EditedResponses(Study):
    """The study `edited_responses`."""

    name = "edited_responses"
    question = "How often is reverberation time wrong without a word once a response has been edited?"
    speech = None

    def keys(self) -> list[Key]:
        """Return one key for each set of responses."""
        return [Key(seed=seed) for seed in range(N_SEEDS)]

    def run(self, key: Key, lab: Lab, checkpoints: Path) -> Outcome:
        """Read each response before and after its treatment, by each library."""
        counts: dict[tuple[str, str], np.ndarray] = {}
        for one in edited_responses(1000 if lab.size.name == "paper" else 41, key.seed):
            noise_free = one.treatment == "two_slopes"
            reference = read_here(one.before, one.sample_rate, not noise_free)
            for library, read in READERS.items():
                _count(counts, (library, one.treatment), read(one.after, one.sample_rate, True), reference)
                if not noise_free:
                    untreated, clean = read(one.before, one.sample_rate, True), read(one.clean, one.sample_rate, False)
                    _count(counts, (library, "untreated"), untreated, clean)
        rows = [
            {"library": library, "treatment": treatment, "known": known, "wrong": wrong, "missing": missing}
            for (library, treatment), (known, wrong, missing) in ((k, v.tolist()) for k, v in counts.items())
        ]
        return Outcome({"rows": rows})

    def section(self, results: Sequence[Result]) -> str:
        """Return one line for each treatment, and the sums."""
        table = frame(results)
        sums = table.groupby(["treatment", "library"])[["known", "wrong", "missing"]].sum()
        total = table[table["treatment"] != "untreated"].groupby("library")[["known", "wrong", "missing"]].sum()
        order = [*sorted(set(table["treatment"]) - {"untreated"}), "untreated"]
        rows = [[name.replace("_", " "), *_cells(sums.loc[name])] for name in order]
        rows.append(["**all treated**", *_cells(total)])
        header = ["treatment"] + [f"{text}: {of}" for text in LIBRARIES.values() for of in ("wrong", "NaN")]
        n_responses = 1000 * len(results)
        share = {name: 1000 * total.loc[name, "wrong"] / total.loc[name, "known"] for name in LIBRARIES}
        text = prose(f"""
            {n_responses:,} synthetic impulse responses of 0.15 to 6 s, 20 to 80 dB above their noise, at 8 to 48 kHz,
            each treated in one of {len(order) - 1} ways as editors, codecs and careless measurements treat them
            (`experiments/treatments.py`). T20 and T30 are read broadband and at mid frequencies (the mean of the
            octaves at 500 Hz and 1 kHz). The reference is the same response before the treatment, read by this
            package (for two slopes, its noise-free decay); where it is NaN, the response does not count. A value is
            wrong if it differs from the reference by more than 15 %. "Untreated" are the responses before the
            treatment against their noise-free decay, each read by the library itself. Figures are values in 1 000.
            pyrato treats noise after Chu and Lundeby; pyroomacoustics (`measure_rt60`) does not treat it and reads
            only broadband.
        """)
        ours = verdict(
            f"This package gives a wrong value in {share['roomacoustic_sk']:.1f} of 1 000 cases, and NaN where it "
            f"cannot tell; pyrato in {share['pyrato']:.0f}, pyroomacoustics in {share['pyroomacoustics']:.0f}.",
            holds=share["roomacoustic_sk"] < min(share["pyrato"], share["pyroomacoustics"]),
        )
        return section("Edited impulse responses", text, markdown(header, rows), prose(ours))


def _count(counts: dict[tuple[str, str], np.ndarray], key: tuple[str, str], found: Any, expected: Any) -> None:
    """Count the readings that have a reference, those that differ from it, and those that are NaN."""
    expected = expected[: len(found)]
    known = np.isfinite(expected)
    wrong = known & np.isfinite(found) & (np.abs(found / expected - 1) > TOLERANCE)
    seen = np.array([known.sum(), wrong.sum(), (known & np.isnan(found)).sum()])
    counts[key] = counts.get(key, np.zeros_like(seen)) + seen


def _cells(of_libraries: Any) -> list[str]:
    """Return the wrong and the missing values of each library in 1 000."""
    cells = []
    for library in LIBRARIES:
        known, wrong, missing = of_libraries.loc[library]
        cells += [f"{1000 * wrong / known:.1f}", f"{1000 * missing / known:.0f}"]
    return cells


def read_here(response: np.ndarray, sample_rate: int, noisy: bool) -> np.ndarray:
    """Read T20 and T30 by this package."""
    from roomacoustic_sk.acoustics import DecayRangeWarning, decay_curves

    truncation = "lundeby" if noisy else None
    if not response.any():
        return np.full(len(READINGS), np.nan)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        whole = decay_curves(response, sample_rate, truncation=truncation)
        mid = decay_curves(response, sample_rate, bands=MID, truncation=truncation)
        times = [whole.reverberation_time(name) for name in ("T20", "T30")]
        return np.array([*times, *(mid.reverberation_time(name).mean() for name in ("T20", "T30"))])


def read_by_pyrato(response: np.ndarray, sample_rate: int, noisy: bool) -> np.ndarray:
    """Read T20 and T30 by pyrato; what it raises counts as NaN, a negative time as well."""
    import pyfar
    import pyrato

    curve_of = pyrato.edc.energy_decay_curve_chu_lundeby if noisy else pyrato.edc.schroeder_integration
    # pyrato leaves the onset to its user.
    response = response[np.argmax(np.abs(response) >= 0.1 * np.abs(response).max()) :]
    times = []
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        for bands in (None, MID):
            signal = pyfar.Signal(response, sample_rate)
            if bands is not None:
                octaves = pyfar.dsp.filter.fractional_octave_bands
                signal = octaves(signal, 1, frequency_range=(bands[0], bands[-1]))
            for name in ("T20", "T30"):
                times.append(_pyrato_time(pyrato, pyfar, curve_of, signal, name))
    return np.array(times)


def _pyrato_time(pyrato: Any, pyfar: Any, curve_of: Callable[..., Any], signal: Any, name: str) -> float:
    try:
        curve = curve_of(signal)
        energies = curve.time.reshape(-1, curve.time.shape[-1])
        curve = pyfar.TimeData(energies / energies[:, :1], curve.times)
        time = float(np.mean(pyrato.parameters.reverberation_time_linear_regression(curve, name)))
    except (ValueError, IndexError, ZeroDivisionError, np.linalg.LinAlgError):
        return np.nan
    return time if time > 0 else np.nan


def read_by_pyroomacoustics(response: np.ndarray, sample_rate: int, noisy: bool) -> np.ndarray:
    """Read T20 and T30 by pyroomacoustics, broadband alone: it has no mid-frequency values."""
    from pyroomacoustics.experimental import measure_rt60

    del noisy  # it does not treat noise
    response = response[np.argmax(np.abs(response) >= 0.1 * np.abs(response).max()) :]
    times = []
    for decay_db in (20, 30):
        try:
            with np.errstate(all="ignore"):
                times.append(float(measure_rt60(response, sample_rate, decay_db=decay_db)))
        except (ValueError, IndexError):
            times.append(np.nan)
    return np.array(times)


READERS: dict[str, Callable[[np.ndarray, int, bool], np.ndarray]] = {
    "roomacoustic_sk": read_here,
    "pyrato": read_by_pyrato,
    "pyroomacoustics": read_by_pyroomacoustics,
}
