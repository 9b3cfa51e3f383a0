"""Which octave bands broadband reverberation time depends on: what an estimator that hears only some can know of it.

    python benchmarks/octaves.py        # half a minute where table2.py has simulated its rooms already, six more if not

True decay times of octave bands, of the downstream rooms of `table2.py`, go into extra trees that estimate broadband
RT60 in the unseen rooms. No speech is involved: it is the most that could be known from those bands.
"""

from __future__ import annotations

import argparse
import warnings

import numpy as np
from arguments import add_cache_argument
from record import add
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.utils import Bunch
from table2 import HERE, SIZES, Data

from roomacoustic_sk.acoustics import DecayRangeWarning, reverberation_time
from roomacoustic_sk.metrics import regression_metrics

BANDS = (63, 125, 250, 500, 1000, 2000, 4000)  # Hz


def decay_times(rooms: Bunch) -> np.ndarray:
    """Return T30 of each response in each octave band, NaN where it does not decay far enough."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DecayRangeWarning)
        found = [reverberation_time(rir, rooms.sample_rate, bands=BANDS) for rir in rooms.rirs]
    return np.array(found)


def main() -> None:
    """Estimate broadband RT60 from fewer and fewer bands."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_cache_argument(parser)
    args = parser.parse_args()
    data = Data(None, SIZES["paper"], args.cache)
    seen, unseen = data.seen_rooms, data.unseen_rooms
    known, asked = decay_times(seen), decay_times(unseen)
    broadband = seen.target["rt60"].to_numpy()
    found = {}
    for i, band in enumerate(BANDS):
        has = np.isfinite(known[:, i])
        row = {"mean T30": known[has, i].mean(), "r with broadband": np.corrcoef(known[has, i], broadband[has])[0, 1]}
        trees = make_pipeline(SimpleImputer(), ExtraTreesRegressor(300, random_state=0, n_jobs=-1))
        estimates = trees.fit(known[:, i:], broadband).predict(asked[:, i:])
        row |= {f"from it and higher, {k}": v for k, v in regression_metrics(unseen.target["rt60"], estimates).items()}
        found[f"{band} Hz"] = {key: round(float(value), 3) for key, value in row.items()}
        print(f"{band} Hz: {found[f'{band} Hz']}")
    add(HERE / "octaves.json", "octaves", found)


if __name__ == "__main__":
    main()
