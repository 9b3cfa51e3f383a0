"""Tables of measured responses: cells of CSV files as they stand, and columns found in spite of their spelling."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from roomacoustic_sk._validation import ArgumentValueError, name_rows, warn
from roomacoustic_sk.datasets._audio import shown

DOCUMENTED = {"volume": "m3", "length": "m", "width": "m", "height": "m", "distance": "m"}
"""Columns taken over from a table, with the unit that may end their name there (`volume_m3`)."""

UNITS = {
    "m3": {"m3", "m^3", "m³", "cubic_metres", "cubic_meters", "m_3"},
    "m": {"m", "metre", "metres", "meter", "meters"},
}
MISSING = frozenset(["na", "n/a", "nan", "none", "null", "-", "--", "?", "<na>", "#n/a", "unknown"]) | {""}
"""Cells that say nothing in a column of numbers, in any case; in other columns, only empty cells."""

UNKNOWN = frozenset(["-", "--", "?", "<na>", "#n/a", "unknown"])
"""Labels that name no room; NA, none and null may be names."""

SEPARATORS = ",;\t|"


def read_csv(path: Path) -> pd.DataFrame:
    """Read a CSV file: all cells as strings, without the spaces around them, and NaN where they are empty.

    The separator is a comma, semicolon, tab or bar, whichever gives a column ``file``; with other separators than the
    comma, numbers may have a decimal comma.

    Raises
    ------
    ArgumentValueError
        If it is not a table.
    """
    csv_text = _decode(path)
    said = re.match(r"sep=(.)\r?\n", csv_text)  # a line of spreadsheets
    csv_text = csv_text[said.end() :] if said else csv_text
    first = next((line for line in csv_text.splitlines() if line.strip()), "")
    separator = max(SEPARATORS, key=lambda mark: ("file" in map(_normal, first.split(mark)), first.count(mark)))
    separator = said.group(1) if said else separator
    try:
        lines = io.StringIO(csv_text, newline=None)
        reader = csv.reader(lines, delimiter=separator, skipinitialspace=True, strict=True)
        rows = [[cell.strip() for cell in row] for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise _no_table(path, f"a broken one ({error})") from error
    if not rows:
        raise _no_table(path, "an empty one")
    header, body = rows[0], rows[1:]
    while header and not header[-1]:
        header.pop()
    for number, row in enumerate(body, 2):
        if any(row[len(header) :]):
            raise _no_table(path, f"one with {len(row)} cells in row {number} and {len(header)} in its header")
        row[len(header) :] = [""] * max(0, len(header) - len(row))
        del row[len(header) :]
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise _no_table(path, f"one with two columns {twice[0]!r}")
    columns: dict[str, Any] = {}
    for name, cells in zip(header, zip(*body, strict=True) if body else [()] * len(header), strict=True):
        if _column_of(name) != "file":  # whose cells are any bytes; other text is of old spreadsheets
            cells = tuple(_as_text(cell) for cell in cells)
        if separator != "," and name and _column_of(name) in DOCUMENTED:
            _warn_of_thousands(name, cells)
            cells = tuple(re.sub(r"^([+-]?\d+),(\d+)$", r"\1.\2", cell) for cell in cells)
        columns[_as_text(name)] = np.array([cell or np.nan for cell in cells], dtype=object)
    return pd.DataFrame(columns)


def _as_text(cell: str) -> str:
    """Return a cell as text: bytes that are not UTF-8 are those of Western Windows."""
    try:
        cell.encode("utf-8")
        return cell
    except UnicodeEncodeError:
        return cell.encode("utf-8", "surrogateescape").decode("cp1252", "replace")


def _warn_of_thousands(name: str, cells: Sequence[str]) -> None:
    """Name a cell such as 1.900, which is 1900 where the decimal mark is a comma."""
    doubtful = [cell for cell in cells if re.fullmatch(r"[1-9]\d{0,2}\.\d{3}", cell)]
    if doubtful:
        warn(
            f"column {name!r} holds {doubtful[0]}, which counts as {float(doubtful[0]):g}. If its point separates "
            "thousands, leave it out."
        )


def _decode(path: Path) -> str:
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16", "replace")
    if b"\0" in data:
        raise _no_table(path, "a binary file")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:  # names of files may have any bytes
        return data.decode("utf-8", "surrogateescape")


def _no_table(path: Path, what: str) -> ArgumentValueError:
    return ArgumentValueError(f"source must be a folder, a CSV file or a DataFrame, got {shown(path)}: {what}.")


# --- Columns ------------------------------------------------------------------------------------------------------


def _normal(name: object) -> str:
    """Return a column's name in lower case, its words joined by underscores, without brackets around a unit."""
    visible = "".join(c for c in unicodedata.normalize("NFC", str(name)) if unicodedata.category(c) != "Cf")
    return re.sub(r"[\s\-_./()\[\]{}]+", "_", visible.strip('" ').casefold()).strip("_")


def _resembles(name: object) -> str:
    """Return the known column that a name seems to stand for, in another word, number or order, or an empty string."""
    words = _normal(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", str(name))).split("_")
    if words[0] == "room" and len(words) > 1 and _SYNONYMS.get(words[1], words[1]) in DOCUMENTED:
        words = words[1:]  # room_volume
    if words[-1] in ("m3", "m^3", "m³", "ft3"):
        return "volume"
    first = _SYNONYMS.get(words[0], words[0].removesuffix("s"))
    return first if first in {"file", "room", *DOCUMENTED} else ""


_SYNONYMS = {"vol": "volume", "dist": "distance"} | dict.fromkeys(
    ["environment", "hall", "location", "raum", "salle", "space", "venue"], "room"
)


def _column_of(name: object) -> str:
    """Return the known column that a name stands for, or an empty string."""
    normal = _normal(name)
    if normal in ("file", "room"):
        return normal
    for column, unit in DOCUMENTED.items():
        if normal == column or normal.removeprefix(f"{column}_") in UNITS[unit]:
            return column
    return ""


def find_columns(table: pd.DataFrame, *, quiet: bool = False) -> dict[str, Any]:
    """Return the table's columns that are known ones, whatever the case, spaces and units in their names.

    Raises
    ------
    ArgumentValueError
        If two columns stand for the same known one.

    Warns
    -----
    UserWarning
        If a column's name resembles a known one that is not taken from another column, such as ``volume_ft3``.
    """
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise ArgumentValueError(f"source must have columns of different names, got two columns {twice[0]!r}.")
    found: dict[str, list[Any]] = defaultdict(list)
    for name in table.columns:
        if column := _column_of(name):
            found[column].append(name)
    for column, names in found.items():
        if len(names) > 1 and column in names:  # spelt exactly: the others have another meaning, or the same
            found[column] = [column]
        elif len(names) > 1:
            raise ArgumentValueError(
                f"source must have one column for {column}, got {' and '.join(map(repr, names))}. Rename one of them."
            )
    taken = {name for names in found.values() for name in names}
    alike = [
        (name, column)
        for name in table.columns
        for column in [_resembles(name)]
        if name not in taken and column and column not in found
    ]
    if alike and not quiet:
        listed = "; ".join(f"{name!r} (for {column!r}{_unit_hint(column)})" for name, column in alike)
        warn(f"columns are not used whose names resemble known ones: {listed}. Rename them if they are meant.")
    return {column: names[0] for column, names in found.items()}


def _unit_hint(column: str) -> str:
    return f" in {DOCUMENTED[column]}" if column in DOCUMENTED else ""


def unused_columns(table: pd.DataFrame, used: Iterable[Any]) -> str:
    """Name the columns that are not used, for a description."""
    used = set(used)
    return ", ".join(str(name) for name in table.columns if name not in used)


def numbers_in(cells: pd.Series, unit: str) -> pd.Series:
    """Return the numbers in a column of a table, NaN where it says nothing.

    Raises
    ------
    ArgumentValueError
        If there is something else than positive numbers.
    """
    if cells.dtype.kind in "mMb" or cells.map(lambda cell: isinstance(cell, (bool, np.bool_))).any():
        raise ArgumentValueError(
            f"column {cells.name!r} must hold numbers in {unit}, got dates, times or truth values."
        )
    said = cells.map(lambda cell: np.nan if isinstance(cell, str) and cell.strip().casefold() in MISSING else cell)
    try:
        values = pd.to_numeric(said).astype(float)
    except (TypeError, ValueError) as error:
        raise ArgumentValueError(f"column {cells.name!r} must hold numbers in {unit}, got {error}.") from error
    wrong = np.flatnonzero((values <= 0) | np.isinf(values))
    if len(wrong):
        raise ArgumentValueError(
            f"column {cells.name!r} must hold positive numbers in {unit}, got {cells.iloc[wrong[0]]} in "
            f"{name_rows(wrong)}."
        )
    return values


PLAUSIBLE = {
    "volume": (0.5, 1e6),
    "length": (0.3, 300),
    "width": (0.3, 300),
    "height": (0.3, 100),
    "distance": (0.01, 60),
}
"""Ranges of documented sizes in m3 or m; beyond them the unit is likely to be another one."""


def warn_of_sizes(documented: pd.DataFrame) -> None:
    """Name documented sizes that rooms do not have, or that contradict each other, as in another unit."""
    size = documented[["length", "width", "height"]].to_numpy(float)
    volume, distance = documented["volume"].to_numpy(float), documented["distance"].to_numpy(float)
    box, diagonal = size.prod(axis=1), np.sqrt((size**2).sum(axis=1))
    odd = [
        (name, np.flatnonzero((documented[name] < low) | (documented[name] > high)))
        for name, (low, high) in PLAUSIBLE.items()
    ]
    odd += [("volume", np.flatnonzero((volume > 2 * box) | (volume < 0.1 * box)))]
    odd += [("distance", np.flatnonzero(distance > 1.1 * diagonal))]
    for name, rows in odd:
        if len(rows):
            warn(
                f"column {name} holds {documented[name].iloc[rows[0]]:g} {DOCUMENTED[name]} in {name_rows(rows)}, "
                "which is hardly right, alone or beside the other sizes of the room. Check its unit."
            )
            return


def with_numbers(table: pd.DataFrame, kept: Iterable[Any]) -> pd.DataFrame:
    """Turn columns of strings that hold nothing but numbers into numbers, except those `kept` and those like 007."""
    kept, converted = set(kept), {}
    for name in table.columns:
        cells = table[name]
        said = cells[cells.notna()]
        plain = said.map(lambda cell: isinstance(cell, str) and re.fullmatch(PLAIN_NUMBER, cell) is not None)
        converted[name] = pd.to_numeric(cells) if name not in kept and len(said) and plain.all() else cells
    return pd.DataFrame(converted, index=table.index)


PLAIN_NUMBER = r"[+-]?(?:0|[1-9]\d*)?(?:\.\d+)?(?:[eE][+-]?\d+)?(?<=\d)"


# --- Labels -------------------------------------------------------------------------------------------------------


def joined_labels(table: pd.DataFrame, columns: Sequence[Any]) -> list[str]:
    """Return one label a row: the values in some columns, joined by "/"; missing ones are passed over.

    Rows that differ in a column keep different labels: where the values alone would not tell them apart, the names of
    the columns do.
    """
    for column in columns:
        kinds = {type(value).__name__ for value in table[column].dropna() if isinstance(value, (str, Number))}
        if "str" in kinds and len(kinds) > 1:
            raise ArgumentValueError(
                f"column {column!r} must hold labels of one kind, got {' and '.join(sorted(kinds))}. Convert "
                "them to str."
            )
    rows = [[(column, str(value)) for column, value in zip(columns, row, strict=True) if pd.notna(value)]
            for row in table[list(columns)].astype(object).itertuples(index=False, name=None)]  # fmt: skip
    labels = ["/".join(value for _, value in row) for row in rows]
    nothing = [label for label, n in Counter(labels).items() if n > 1 and label.strip().casefold() in UNKNOWN]
    if nothing:
        warn(f"responses with the label {nothing[0]!r} count as one room. Name their rooms, or leave them out.")
    if len(set(map(tuple, rows))) > len(set(labels)):
        labels = ["/".join(f"{column}={value.replace('/', '//')}" for column, value in row) for row in rows]
    return labels


def warn_of_merged_rooms(rooms: Sequence[str], documented: pd.DataFrame) -> None:
    """Name rooms that are documented with different sizes, and so seem to be several."""
    sizes = documented[[name for name in DOCUMENTED if name != "distance"]]
    by_room = sizes.groupby(np.asarray(rooms, dtype=object)).nunique()
    merged = by_room[(by_room > 1).any(axis=1)]
    if len(merged):
        room = merged.index[0]
        column = by_room.columns[(by_room.loc[room] > 1)][0]
        values = sizes[column][np.asarray(rooms, dtype=object) == room].dropna().unique()
        warn(
            f"room {room!r} has {len(values)} different values of {column} ({', '.join(f'{v:g}' for v in values[:3])}"
            f"{', ...' if len(values) > 3 else ''}): {len(merged)} of {len(by_room)} rooms seem to be several "
            "under one label. Add a column room, or pass room_columns."
        )
