"""The studies behind `docs/results.md` and `docs/table2.md`: `python -m experiments --help`."""
