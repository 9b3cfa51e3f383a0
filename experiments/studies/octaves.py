"""Which octave bands broadband reverberation time depends on."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from experiments.results import Key, Result
from experiments.study import Outcome, Study
from experiments.tables import frame, markdown, prose, section

if TYPE_CHECKING:
    from experiments.data import Lab

BANDS = (63, 125, 250, 500, 1000, 2000, 4000)  # Hz


class Octaves(Study):
    """The study `octaves`."""

    name = "octaves"
    question = "How well would broadband RT60 be known from true decay times of the higher octaves alone?"
    speech = None

    def keys(self) -> list[Key]:
        """Return one key, for all bands."""
        return [Key()]

    def run(self, key: Key, lab: Lab, checkpoints: Path) -> Outcome:
        """Estimate broadband RT60 from fewer and fewer bands."""
        from sklearn.ensemble import ExtraTreesRegressor
        from sklearn.impute import SimpleImputer
        from sklearn.pipeline import make_pipeline

        from roomacoustic_sk.metrics import regression_metrics

        known, tested = decay_times(lab.seen_rooms), decay_times(lab.unseen_rooms)
        broadband, rows = lab.seen_rooms.target["rt60"].to_numpy(), []
        for i, band in enumerate(BANDS):
            has = np.isfinite(known[:, i])
            trees = make_pipeline(SimpleImputer(), ExtraTreesRegressor(300, random_state=key.seed, n_jobs=-1))
            estimates = trees.fit(known[:, i:], broadband).predict(tested[:, i:])
            row = {
                "mean_t30": known[has, i].mean(),
                "r_with_broadband": np.corrcoef(known[has, i], broadband[has])[0, 1],
            }
            row |= regression_metrics(lab.unseen_rooms.target["rt60"], estimates)
            rows.append({"band": band} | {name: round(float(value), 3) for name, value in row.items()})
        return Outcome({"rows": rows})

    def section(self, results: Sequence[Result]) -> str:
        """Return one line for each band."""
        table = frame(results).set_index("band")
        rows = [
            [
                f"{band} Hz",
                *(f"{row[name]:.2f}" for name in ("mean_t30", "r_with_broadband", "relative_rmse", "pearson_r")),
            ]
            for band, row in table.iterrows()
        ]
        header = [
            "octave band",
            "mean T30 [s]",
            "r with broadband T30",
            "from this band upwards: RMSE/SD",
            "from this band upwards: r",
        ]
        text = prose("""
            T30 in octave bands, computed from the 1 000 impulse responses that heads are trained on; no speech is
            involved. The last two columns show how well extra trees estimate broadband RT60 in the unseen rooms from
            the T30 of that band and of all higher bands.
        """)
        findings = prose(f"""
            The lowest octaves, which decay most slowly, determine broadband RT60: using only octaves from 500 Hz
            upwards, r is {table.loc[500, "pearson_r"]:.2f}. Speech has almost no energy in the 63 Hz octave and, for
            higher voices, little at 125 Hz, so broadband RT60 is a hard target. The tables therefore also give RT60
            *mid*, the mean of T30 in the 500 Hz and 1 kHz octave bands, the usual single-number value of ISO 3382-1.
        """)
        return section("Octave bands and broadband RT60", text, markdown(header, rows), findings)


def decay_times(rooms: Any) -> np.ndarray:
    """Return T30 of each response in each octave band, NaN where it does not decay far enough."""
    from roomacoustic_sk.acoustics import DecayRangeWarning, reverberation_time

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        return np.array([reverberation_time(rir, rooms.sample_rate, bands=BANDS) for rir in rooms.rirs])
