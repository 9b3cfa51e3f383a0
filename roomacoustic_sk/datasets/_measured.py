"""Measured impulse responses, in audio and in SOFA files, labelled as simulated ones are."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from roomacoustic_sk import acoustics
from roomacoustic_sk._labels import warn_of_lookalikes
from roomacoustic_sk._recordings import warn_of_clipping
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    as_list,
    as_path,
    check_choice,
    check_number,
    check_sample_rate,
    check_verbose,
    describe,
    door,
    restated,
    warn,
)
from roomacoustic_sk.datasets._audio import (
    FORMATS,
    AudioFolder,
    audio_info,
    entries,
    find_audio_files,
    shown,
)
from roomacoustic_sk.datasets._corpora import responses_in, rooms_of
from roomacoustic_sk.datasets._reading import read_segment
from roomacoustic_sk.datasets._sofa import SOFA_SUFFIX, read_sofa
from roomacoustic_sk.datasets._tables import (
    DOCUMENTED,
    find_columns,
    joined_labels,
    numbers_in,
    read_csv,
    unused_columns,
    warn_of_merged_rooms,
    warn_of_sizes,
    with_numbers,
)

LABELS = ("rt60", "edt", "c50", "d50", "drr")
NOISE_FREE = "noise_free"
"""Column of a table that says which responses have no noise."""

DESCRIPTION = """\
Measured room impulse responses
-------------------------------
{n_rirs} responses of {n_rooms} room(s), sampled at {sample_rate} Hz, float32, from {origin}.

Labels: from each response itself, broadband, after ISO 3382-1, truncated at the noise floor: rt60 [s] ({ranges}; see
rt60_range), rt60_mid [s] (mean of the 500 Hz and 1 kHz bands), edt [s], c50 [dB], d50 (0 to 1),
drr [dB]. They are NaN where noise hides the decay.
`complete` says of each response that it has all labels: {n_complete} have.
Documented: {documented}. The rest is NaN.
Rooms are told apart by {rooms}. Split by room, never by response.
"""


NUMBERS = ("channel", "measurement", "receiver", "emitter")
"""Columns that number the responses of one file."""

SOURCES = "a folder, a CSV file or a DataFrame, a SOFA file, or a list of audio and SOFA files"


# --- The table --------------------------------------------------------------------------------------------------


def _read_table(source: Any, root: Any) -> tuple[pd.DataFrame, Path, str]:
    """Return one row a file, the folder that the files are relative to, and a word on where they come from."""
    if isinstance(source, pd.DataFrame):
        table, folder, origin = source, Path() if root is None else as_path(root, name="root"), "a table"
    elif isinstance(source, (list, tuple)) and source and all(isinstance(file, (str, Path)) for file in source):
        table = pd.DataFrame({"file": [str(as_path(file, name="source")) for file in source]})
        folder, origin = Path() if root is None else as_path(root, name="root"), "a list of files"
    elif not isinstance(source, (str, Path)):
        raise ArgumentTypeError(f"source must be {SOURCES}, got {describe(source)}.")
    elif _is_sofa(str(source)) and not as_path(source, name="source").is_dir():
        path = as_path(source, name="source") if root is None else as_path(root, name="root") / source
        table, folder, origin = pd.DataFrame({"file": [path.name]}), path.parent, path.name
    elif Path(source).suffix.lower() in FORMATS and as_path(source, name="source").is_file():
        raise ArgumentValueError(
            f"source must be {SOURCES}, got one audio file, {shown(source)}. Pass it in a list, or its folder."
        )
    elif as_path(source, name="source").is_file():
        path = as_path(source, name="source")
        table, folder, origin = read_csv(path), path.parent if root is None else as_path(root, name="root"), path.name
    else:
        return _list_folder(as_path(source, name="source"))
    columns = find_columns(table)
    file = columns.get("file")
    if file is None or len(table) == 0 or table[file].isna().any():
        raise ArgumentValueError(
            f"source must be a table of at least one row with a path in each of its column 'file', "
            f"got {len(table)} rows with columns {list(table.columns)[:8]}."
        )
    table = table.reset_index(drop=True).rename(columns={file: "file"})
    table["file"] = np.array([_as_path(folder, str(name)) for name in table["file"]], dtype=object)
    unused = unused_columns(table, {"file", *columns.values()})
    return table, folder, f"{shown(origin)} (columns not used as labels: {unused})" if unused else shown(origin)


def _list_folder(folder: Path) -> tuple[pd.DataFrame, Path, str]:
    """Return the responses in a folder as a table."""
    sofa = [Path(entry.path) for entry in entries(folder, "source") if _is_sofa(entry.name)] if folder.is_dir() else []
    found = _audio_beside(sofa, folder)
    paths, left = responses_in(found.files) if found.files else ([], "")
    files = [path.relative_to(folder).as_posix() for path in sorted([*paths, *sofa])]
    others = ", ".join(text for text in (left, found.others) if text)
    table = pd.DataFrame({"file": np.array(files, dtype=object)})
    return table, folder, f"folder {shown(folder.resolve().name)} (other files: {others})"


def _is_sofa(file: str) -> bool:
    return file.lower().endswith(SOFA_SUFFIX)


def _audio_beside(sofa: Sequence[Path], folder: Path) -> AudioFolder:
    """Return the audio files in a folder, which must have some unless it has SOFA files."""
    try:
        found = find_audio_files(folder, name="source")
    except ArgumentValueError:
        if not sofa:
            raise
        n_others = sum(1 for _ in entries(folder, "source")) - len(sofa)
        return AudioFolder([], f"{n_others} that are no readable audio" if n_others else "none")
    others = [kind for kind in found.others.split(", ") if not kind.endswith(f" {SOFA_SUFFIX}")]
    return AudioFolder(found.files, ", ".join(others) or "none")


def _as_path(folder: Path, file: str) -> str:
    """Return a path in a table, with "/" for the separators of Windows if there is no file of that name."""
    return file.replace("\\", "/") if "\\" in file and not (folder / file).exists() else file


def _documented(table: pd.DataFrame) -> pd.DataFrame:
    """Take the geometry from a table, NaN where it says nothing."""
    columns = find_columns(table, quiet=True)
    documented = {
        name: numbers_in(table[columns[name]], unit) if name in columns else np.nan for name, unit in DOCUMENTED.items()
    }
    return pd.DataFrame(documented, index=table.index)


def _room_ids(table: pd.DataFrame, folder: Path, room_columns: Sequence[str] | None) -> tuple[NDArray[Any], str]:
    """Return one label a response, and what it is made of."""
    known = find_columns(table, quiet=True)
    if room_columns is None and "room" not in known:
        labels, rule = rooms_of(table["file"].tolist(), folder)
    else:
        columns = _room_columns(table, known, room_columns)
        labels, rule = joined_labels(table, columns), f"column(s) {', '.join(map(str, columns))}"
    return np.array(labels), rule


def _room_columns(table: pd.DataFrame, known: dict[str, Any], room_columns: Sequence[str] | None) -> list[Any]:
    """Return the columns that tell rooms apart, which must say something of every response."""
    asked = [known["room"]] if room_columns is None else room_columns
    columns = [name if name in table.columns else known.get(name, name) for name in asked]
    if not columns or not set(columns) <= set(table.columns):
        raise ArgumentValueError(
            f"room_columns must be among the columns {list(table.columns)} of the table, got {columns}."
        )
    said = table[columns].notna().any(axis=1)
    if not said.all():
        raise ArgumentValueError(
            f"room_columns must tell the room of every response, got nothing in {columns} "
            f"for {shown(table['file'][~said].iloc[0])!r}."
        )
    return columns


# --- Responses and labels ---------------------------------------------------------------------------------------


def _check_channel(channel: Any) -> int | str | None:
    """Return a number of a channel, "each" or None, or raise."""
    if channel is None or isinstance(channel, str):
        return check_choice(channel, ["each", None], name="channel")
    return int(check_number(channel, name="channel", low=0, integer=True))


class _Read(NamedTuple):
    """The responses of one file."""

    rirs: list[NDArray[np.float32]]
    labels: pd.DataFrame  # one row a response: the numbers of its channel, or measurement, receiver and emitter
    documented: pd.DataFrame  # geometry, as far as the file tells it
    room: str = ""  # as the file names it


def _read_file(path: Path, sample_rate: int, channel: int | str | None) -> _Read:
    """Read the responses of one file, and refuse one that cannot be a room's."""
    if _is_sofa(path.name):
        rirs, labels, documented, room = read_sofa(path, sample_rate, channel if isinstance(channel, int) else None)
        if channel == "each":
            labels.insert(0, "channel", labels["receiver"])
        read = _Read(rirs, labels, documented, room)
    else:
        read = _read_audio_file(path, sample_rate, channel)
    for rir, name in zip(read.rirs, _names([shown(path)] * len(read.rirs), read.labels), strict=True):
        if len(rir) <= 0.05 * sample_rate:
            raise ArgumentValueError(
                f"responses must be longer than 0.05 s, got {len(rir) / sample_rate:.3f} s in {name}."
            )
        if not rir.any():
            raise ArgumentValueError(f"responses must not be silent, got nothing but zeros in {name}.")
    return read


def _read_audio_file(path: Path, sample_rate: int, channel: int | str | None) -> _Read:
    """Read one channel of an audio file, or each."""
    info = audio_info(path)
    if info.n_channels > 1 and channel is None:
        raise ArgumentValueError(
            f"files must have one channel, got {info.n_channels} in {shown(path)}. "
            'Pass channel=0 (or another) to take one of them, or channel="each" for one response from each.'
        )
    chosen: list[int | None] = [*range(info.n_channels)] if isinstance(channel, str) else [channel]
    of_file: list[int | None] = [None] if info.n_channels == 1 else chosen
    rirs = [read_segment(path, sample_rate, channel=number, info=info) for number in of_file]
    own = rirs
    if info.sample_rate != sample_rate:  # resampling rounds off what is cut off
        own = [read_segment(path, info.sample_rate, channel=number, info=info) for number in of_file]
    warn_of_clipping(own, "files", lambda _: shown(path))
    labels = pd.DataFrame({"channel": chosen} if channel == "each" else {}, index=range(len(rirs)))
    return _Read(rirs, labels, pd.DataFrame(index=range(len(rirs))))


def _names(files: Sequence[str], labels: pd.DataFrame) -> list[str]:
    """Return names of responses for messages: the file, and where it has several, their numbers in it."""
    several = pd.Series(files).duplicated(keep=False)
    told = [name for name in labels.columns if name in NUMBERS[1:]] or list(labels.columns)
    rows = labels[told].to_dict("records")
    return [
        f"{file} ({', '.join(f'{name} {number:g}' for name, number in row.items() if pd.notna(number))})"
        if more
        else file
        for file, row, more in zip(files, rows, several, strict=True)
    ]


def _named_rooms(
    room: NDArray[Any], rule: str, read: Sequence[_Read], table: pd.DataFrame, room_columns: Sequence[str] | None
) -> tuple[NDArray[Any], str]:
    """Return one label a response: the name that the file gives its room, where the table does not tell rooms apart."""
    if room_columns is None and "room" not in find_columns(table, quiet=True) and any(one.room for one in read):
        room = np.array([one.room or label for one, label in zip(read, room, strict=True)])
        rule = f"RoomShortName of SOFA files, {rule}"
    elif room_columns is None and "folder" in rule and len(room) > 1 and len(set(room.tolist())) == 1:
        unnamed = [file for file in table["file"] if _is_sofa(file)]
        if len(unnamed) > 1:
            warn(
                f"{len(unnamed)} SOFA files without RoomShortName count as one room, {shown(room[0])} "
                f"({shown(unnamed[0])} to {shown(unnamed[-1])}). If they are from several rooms, pass a table with a "
                "column room."
            )
    return np.repeat(room, [len(one.rirs) for one in read]), rule


def _joined(table: pd.DataFrame, documented: pd.DataFrame, read: Sequence[_Read]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table and the geometry with one row for each response; a table's word counts before a file's."""
    of_file = np.repeat(np.arange(len(read)), [len(one.rirs) for one in read])
    labels = pd.concat([one.labels for one in read], ignore_index=True)
    if twice := sorted(set(labels.columns) & set(table.columns)):
        raise ArgumentValueError(
            f"source must have no column {twice[0]!r}, which numbers the responses of a file. Rename it."
        )
    told = pd.concat([one.documented for one in read], ignore_index=True).reindex(columns=documented.columns)
    documented = documented.iloc[of_file].reset_index(drop=True)
    whole = labels.astype("Int64") if labels.isna().any(axis=None) else labels
    table = pd.concat([table.iloc[of_file].reset_index(drop=True), whole], axis=1)
    return table, documented.fillna(told.astype(float))


def _warn_of_missing(target: pd.DataFrame, files: NDArray[Any], reasons: pd.Series, unit: str) -> None:
    """Name the files, or the responses of files with several, that lack labels."""
    lacking = target[list(LABELS)].isna()
    incomplete = np.flatnonzero(lacking.any(axis=1))
    if len(incomplete):
        named = "; ".join(f"{shown(files[i])} ({', '.join(lacking.columns[lacking.loc[i]])})" for i in incomplete[:5])
        others = [
            f" {reason[0].upper()}{reason[1:]}: {'; '.join(map(shown, files[list(rows)][:5]))}"
            f"{' ...' if len(rows) > 5 else ''}."
            for reason, rows in reasons.groupby(reasons).indices.items()
            if reason in (acoustics.NO_RESPONSE, acoustics.RINGING)
        ]
        warn(
            f"labels are NaN where noise hides the decay, in {len(incomplete)} of {len(files)} {unit}: {named}"
            f"{' ...' if len(incomplete) > 5 else ''}. `complete` is False there.{''.join(others)}",
            acoustics.DecayRangeWarning,
        )


TRUTHS = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False, "": False, "nan": False}


def _noise_free(table: pd.DataFrame) -> NDArray[np.bool_]:
    """Return which responses of a table have no noise."""
    if NOISE_FREE not in table.columns:
        return np.zeros(len(table), dtype=bool)
    said = table[NOISE_FREE].astype(object).map(lambda cell: TRUTHS.get(str(cell).strip().lower()))
    if said.isna().any():
        wrong = table[NOISE_FREE][said.isna()].iloc[0]
        raise ArgumentValueError(f"source must have true or false in its column {NOISE_FREE!r}, got {wrong!r}.")
    return said.to_numpy(dtype=bool)


def _labels_of(
    rirs: list[NDArray[np.float32]], sample_rate: int, decay_ranges: Sequence[str], noise_free: NDArray[np.bool_]
) -> pd.DataFrame:
    """Return the labels of all responses; the noise of those that have none is not looked for."""
    parts = []
    for truncation, chosen in (("lundeby", ~noise_free), (None, noise_free)):
        if chosen.any():
            some = [rir for rir, is_chosen in zip(rirs, chosen, strict=True) if is_chosen]
            found = acoustics.room_labels(
                some, sample_rate, decay_ranges=decay_ranges, truncation=truncation, diagnostics=True
            )
            parts.append(found.set_index(np.flatnonzero(chosen)))
    return pd.concat(parts).sort_index()


@door
def load_measured_rirs(
    source: str | Path | pd.DataFrame | Sequence[str | Path],
    *,
    root: str | Path | None = None,
    sample_rate: int = 16000,
    channel: int | str | None = None,
    decay_ranges: Sequence[str] = ("T30", "T20"),
    room_columns: Sequence[str] | None = None,
    verbose: int = 0,
) -> Bunch:
    """Load measured impulse responses and compute their labels, for use in the place of simulated ones.

    Parameters
    ----------
    source : str, Path, DataFrame or list of str or Path
        A folder of audio and SOFA files (sub-folders and links to folders too), a CSV file, a DataFrame, a SOFA file,
        or a list of audio and SOFA files. A table has a column ``file`` with one path a row, and may have ``room``,
        ``volume`` [m3], ``length``, ``width``, ``height`` and ``distance`` (of source and microphone) [m], also spelt
        with their unit (``volume_m3``, ``Length [m]``), and ``noise_free``, true for responses that have no noise, such
        as simulated ones, so that nothing of their decay is taken for noise. Cells of a CSV file are strings as they
        stand: 007, 1.0 and NA are names of rooms. Of a SOFA file (AES69, suffix ``.sofa``), each measurement, receiver
        and emitter is a response; this needs the extra ``sofa`` of this package.
    root : str or Path, default=None
        Folder to which the paths of a table or list are relative. None for the folder of the CSV file, or the current
        one.
    sample_rate : int, default=16000
        Sampling rate of the result in Hz; files at other rates are resampled.
    channel : int or "each", default=None
        Channel to read of audio files with several, or receiver of SOFA files, from 0. "each" makes a response of each
        channel. None refuses audio files with several channels, since the mean of several microphones is the response
        of no microphone, and reads all receivers of SOFA files.
    decay_ranges : sequence of {"T20", "T30", "T60"}, default=("T30", "T20")
        Evaluation ranges of the reverberation time, tried in this order on each response.
    room_columns : sequence of str, default=None
        Columns whose values together tell rooms apart (missing ones are passed over). None for ``room``, or, where
        there is no such column, for the room's short name in a SOFA file, the layout of ACE, BUT ReverbDB, the MIT
        survey, Rochester or OpenSLR 28, and elsewhere the folder of the file. See Notes.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        As `simulate_rooms` gives it, one entry a response in each of:

        rirs : list of ndarray of shape (n_times_of_the_rir,), float32
            Impulse responses of different lengths.
        target : DataFrame
            ``rt60`` [s], ``rt60_range``, ``rt60_mid`` [s] (mean of the 500 Hz and 1 kHz octave bands),
            ``edt`` [s], ``c50`` [dB], ``d50``, ``drr`` [dB], computed from the response
            and NaN where noise hides the decay; ``volume`` [m3], ``length``, ``width``, ``height``, ``distance`` [m],
            NaN where they are not documented.
        rir : ndarray of int
            Labels of the transmission path.
        room : ndarray of str
            Labels of the room.
        file : ndarray of str
            Paths as in the table, or relative to the folder.
        complete : ndarray of bool
            Whether the response has all labels.
        diagnostics : DataFrame
            How far ``rt60`` can be relied on, and the reason where it is NaN: ``nonlinearity`` [per mille],
            ``curvature`` [%], ``usable_range`` [dB], ``crossing_time`` [s], ``peak_to_noise`` [dB], ``reason``, as
            `acoustics.room_labels` gives them.
        table : DataFrame
            The table with all its columns, one row a response. With ``channel="each"`` also ``channel``, and with SOFA
            files ``measurement``, ``receiver`` and ``emitter``, the numbers of the response in its file, from 0.

        And ``sample_rate`` [Hz] and ``DESCR``.

    Raises
    ------
    ImportError
        If there is a SOFA file, and sofar is not installed.
    FileNotFoundError
        If the folder or a file is not there.
    TypeError
        If an argument is of the wrong kind.
    ValueError
        If there is no file, one is broken, silent, has several channels and none is chosen, or is not longer than
        0.05 s; a SOFA file has no impulse responses, or those of a free field (head-related ones); or the table lacks
        columns or has labels missing.

    Warns
    -----
    DecayRangeWarning
        Names the files that lack a label. They stay in the result: choose with ``complete``.
    UserWarning
        Names columns that are not used though their names resemble known ones, labels of rooms that are spelt almost
        alike, rooms that are documented with several sizes or impossible ones, flat folders and folders that hardly
        name rooms, clipped responses, and files that are passed over.

    Notes
    -----
    Rooms serve to split data, and to draw views of the same room from different positions. The two can differ where
    one room was measured in several states, e.g. of absorption. By default all states are one room, so that no split
    puts the same walls on both sides. With ``room_columns=("room", "condition")`` each state is a room of its own,
    with its own reverberation time.

    Responses of one file are in one room and have response labels of their own. Distances in SOFA files are those of
    the emitter and the receiver. What a table documents counts before what a SOFA file does.

    Examples
    --------
    >>> import pathlib, tempfile, numpy as np, soundfile
    >>> from roomacoustic_sk.datasets import load_measured_rirs
    >>> decay = 10 ** (-3 * np.arange(16000) / 16000 / 0.5)  # 60 dB in 0.5 s
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (pathlib.Path(folder) / "office").mkdir()
    ...     soundfile.write(pathlib.Path(folder) / "office" / "rir.wav", decay, 16000, subtype="FLOAT")
    ...     rooms = load_measured_rirs(folder)
    >>> rooms.room, rooms.target["rt60"].round(2).tolist()
    (array(['office'], dtype='<U6'), [0.5])
    """
    sample_rate = check_sample_rate(sample_rate)
    check_verbose(verbose)
    if room_columns is not None:
        room_columns = as_list(room_columns, name="room_columns", expected="a sequence of column names")
        with restated("room_columns must be a sequence of column names"):
            set(room_columns)
    acoustics.check_decay_ranges(decay_ranges)
    channel = _check_channel(channel)
    table, folder, origin = _read_table(source, root)
    documented = _documented(table)
    warn_of_sizes(documented)
    room, rooms_by = _room_ids(table, folder, room_columns)
    table = with_numbers(table, kept=("file", "room", *(room_columns or ())))

    read = [
        _read_file(folder / file, sample_rate, channel)
        for file in tqdm(table["file"], desc="load_measured_rirs", unit="file", disable=not verbose)
    ]
    room, rooms_by = _named_rooms(room, rooms_by, read, table, room_columns)
    table, documented = _joined(table, documented, read)
    warn_of_lookalikes(room, "rooms")
    if room_columns is None:
        warn_of_merged_rooms(room.tolist(), documented)

    rirs = [rir for one in read for rir in one.rirs]
    files = table["file"].to_numpy(dtype=str)
    labels = _labels_of(rirs, sample_rate, decay_ranges, _noise_free(table))
    diagnostics = labels.loc[:, "nonlinearity":]
    target = pd.concat([labels.loc[:, :"drr"], documented], axis=1)
    complete = target[list(LABELS)].notna().all(axis=1).to_numpy()
    names = np.array(_names(files.tolist(), table[[name for name in NUMBERS if name in table.columns]]))
    unit = "files" if len(rirs) == len(read) else "responses"
    _warn_of_missing(target, names, diagnostics["reason"], unit)
    return Bunch(
        rirs=rirs,
        sample_rate=sample_rate,
        target=target,
        rir=np.arange(len(rirs)),
        room=room,
        file=files,
        complete=complete,
        diagnostics=diagnostics,
        table=table,
        DESCR=DESCRIPTION.format(
            n_rirs=len(rirs),
            n_rooms=len(np.unique(room)),
            sample_rate=sample_rate,
            origin=origin,
            ranges=", else ".join(decay_ranges),
            n_complete=int(complete.sum()),
            documented=", ".join(f"{name} of {n}" for name, n in documented.notna().sum().items() if n) or "nothing",
            rooms=rooms_by,
        ),
    )
