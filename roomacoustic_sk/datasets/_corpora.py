"""Who speaks, and which room it is, by the layouts of known corpora and collections; elsewhere by the folder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from roomacoustic_sk._labels import warn_of_lookalikes
from roomacoustic_sk._validation import warn
from roomacoustic_sk.datasets._audio import shown

SPEAKER_LAYOUTS = (  # searched for in the whole path, the first that matches counts
    # <speaker>/<chapter>/..<speaker>-<chapter>..: LibriSpeech, LibriTTS, MLS, also renamed or at another speed
    (
        "LibriSpeech, LibriTTS, MLS",
        re.compile(r"/([^/]+)/([^/]+)/(?:[^/]*[^0-9A-Za-z/])?\1[-_]\2(?![0-9A-Za-z])[^/]*$"),
    ),
    ("LibriSpeech, LibriTTS", re.compile(r"/(?:train|dev|test)-(?:clean|other)(?:-\d+)?/([^/]+)/[^/]+/[^/]+$")),
    ("Libri-Light", re.compile(r"/(?:small|medium|large|duplicate)/(\d+)/[^/]+_librivox_[^/]*/[^/]+$")),
    ("MLS", re.compile(r"/(?:train|dev|test)/audio/([^/]+)/[^/]+/[^/]+$")),
    ("VoxCeleb", re.compile(r"/(id\d{5})/[^/]+/[^/]+$")),
    ("VoxCeleb", re.compile(r"/([^/]+)/[\w-]{11}/\d{5,7}\.\w+$")),
)
LIBRISPEECH_NAME = re.compile(  # also in a folder with files of many speakers; 2024-0131-1200 is a date
    r"(?<![\d-])(?!(?:19|20)\d\d-(?:0\d|1[0-2])[0-3]\d-)(\d+)(?:-\d{3,}-\d{4}|_\d+_\d{6}(?:_\d{6})?)(?![\d-])"
)
COMMON_VOICE_NAME = re.compile(r"common_voice_[\w-]+_\d+\.\w+")
PARTS_OF_A_CORPUS = frozenset(
    ["train", "training", "dev", "devel", "valid", "validation", "val", "test", "testing", "eval", "evaluation"]
)

NO_NAMES = PARTS_OF_A_CORPUS | frozenset(
    [
        "audio", "clean", "clips", "data", "far", "flac", "ir", "irs", "mono", "mp3", "near", "noise", "noisy", "ogg",
        "original", "raw", "recordings", "reverb", "rir", "rirs", "speech", "stereo", "wav", "wav48", "wavs",
    ]
)  # fmt: skip
"""Names of folders that say what is in them, not who speaks or which room it is."""

NO_ROOM = re.compile(
    r"(?:pos|position|mic|microphone|rec|receiver|src|source|spk|speaker|ch|channel|az|angle)[-_ ]?\d+"
)
NO_SPEAKER = re.compile(
    r"(?:session|sess|rec|recording|take|part|chapter|disc|cd|track|day|run|mic|ch|channel)[-_ ]?\d+"
    r"|\d{4}[-_]?[01]\d[-_]?[0-3]\d(?:[-_t ].*)?"
)
"""Names of folders that number positions in a room, or sessions of a speaker."""

ROOM_LAYOUTS = (
    ("ACE", re.compile(r"/([^/]+)/[^/]+/(?:Single|Chromebook|Mobile|Crucif|Lin8Ch|EM32)_[^/]*_RIR\.\w+$", re.I)),
    ("BUT ReverbDB", re.compile(r"/([^/]+)/MicID[^/]*/SpkID[^/]*/[^/]+/RIR/[^/]+$", re.I)),
    ("MIT survey", re.compile(r"/(h\d{3}_[^/]+?)_\d+txts\.\w+$")),
    ("Rochester", re.compile(r"/(Room ?\d+)/[^/]*Speak\d+_Mic\d+\.\w+$", re.I)),
    ("OpenSLR 28", re.compile(r"/(simulated_rirs/[^/]+/Room\d+)/Room\d+-\d+\.\w+$")),
)
NO_RESPONSES = (
    ("BUT ReverbDB", re.compile(r"/MicID[^/]*/SpkID[^/]*/[^/]+/(?!RIR/)[^/]+/[^/]+$", re.I)),
    ("OpenSLR 28", re.compile(r"/pointsource_noises/[^/]+$")),
    ("OpenSLR 28", re.compile(r"/real_rirs_isotropic_noises/[^/]*noise[^/]*$")),
)
"""Files of a collection of responses that are sound recorded in the room, or noise."""


class Named(NamedTuple):
    """The files that are used, a label for each, and a sentence on where the labels come from."""

    files: list[Path]
    labels: list[str]
    rule: str


# --- Speakers -----------------------------------------------------------------------------------------------------


def speakers_of(files: Sequence[Path], root: Path) -> Named:
    """Name the speaker of each file; files of Common Voice whose speaker is not known are left out."""
    tables = _common_voice(files)
    used, labels = [], []
    rules: dict[str, None] = {}
    by_folder: dict[str, set[str]] = defaultdict(set)
    unknown: list[Path] = []
    by_name: dict[str, set[Path]] = defaultdict(set)
    for path in files:
        absolute = path.absolute()
        if absolute.parent in tables:
            speaker = tables[absolute.parent].get(path.name)
            rule = "client_id in the tables of Common Voice"
            if speaker is None:
                unknown.append(path)
                continue
        else:
            speaker, rule = _speaker_by_path(absolute)
            if rule == "folder":
                by_folder[speaker].add(str(absolute.parent))
            elif rule == BY_NAME and absolute.parent.name not in absolute.name:
                by_name[speaker].add(absolute.parent)
        rules.setdefault(f"the layout of {rule}" if rule[0].isupper() else rule)
        used.append(path)
        labels.append(speaker)
    _report(unknown, by_folder, used, root)
    _report_numbers(by_name)
    told_apart = {speaker for speaker, folders in by_folder.items() if not _differ(folders)}
    named_by_folder = [pair for pair in zip(used, labels, strict=True) if pair[1] in told_apart]
    _report_folders(named_by_folder, labels, root)
    warn_of_lookalikes(labels, "speakers")
    named = ", ".join(rules).replace("folder", "the name of the file's folder")
    return Named(used, labels, f"Speakers by {named}." if rules else "")


BY_NAME = "the number at the beginning of LibriSpeech's file names"


def _speaker_by_path(path: Path) -> tuple[str, str]:
    name = path.as_posix()
    for corpus, layout in SPEAKER_LAYOUTS:
        if match := layout.search(name):
            return match.group(1), corpus
    if (match := LIBRISPEECH_NAME.search(path.name)) and path.parent.name != match.group(1):
        return match.group(1), BY_NAME
    return path.parent.name, "folder"


def _report(unknown: list[Path], by_folder: dict[str, set[str]], used: list[Path], root: Path) -> None:
    """Warn of files without a speaker, and of folders of one name that may be different speakers."""
    if unknown:
        warn(
            f"{len(unknown)} of {len(unknown) + len(used)} files of Common Voice are in none of its tables and left "
            f"out, since their speakers are not known: {shown(unknown[0].name)}{', ...' if len(unknown) > 1 else ''}."
        )
    flat = [path for path in used if COMMON_VOICE_NAME.fullmatch(path.name)]
    if flat and any(label == flat[0].absolute().parent.name for label in by_folder):
        warn(
            f"speakers of {len(flat)} files of Common Voice are not known, since no table with client_id is beside "
            f"{shown(flat[0].parent.name)}, and count as one. Add validated.tsv, or pass speaker_pattern."
        )
    merged = {speaker: sorted(folders) for speaker, folders in by_folder.items() if _differ(folders)}
    if merged:
        speaker, folders = next(iter(merged.items()))
        where = " and ".join(shown(Path(folder).relative_to(root.absolute())) for folder in folders[:2])
        warn(
            f"files in folders of the same name count as one speaker, {shown(speaker)} in {where}"
            f"{f' and {len(merged) - 1} more' if len(merged) > 1 else ''}. "
            "If they are different speakers, pass speaker_pattern."
        )


def _report_numbers(by_name: dict[str, set[Path]]) -> None:
    """Warn of numbers taken for speakers of LibriSpeech that begin file names in folders of several people."""
    for speaker, folders in by_name.items():
        names = sorted({folder.name for folder in folders if folder.name.lower() not in NO_NAMES})
        if len(names) > 1:
            warn(
                f"files in {shown(names[0])} and {shown(names[1])} count as one speaker, {speaker}, since their names "
                "look like those of LibriSpeech. If they are different speakers, pass speaker_pattern."
            )
            return


def _report_folders(by_folder: Sequence[tuple[Path, str]], labels: Sequence[str], root: Path) -> None:
    """Warn of folders that hardly name a speaker, where the folder is all there is to go by."""
    n_labels = len(set(labels))
    names = [path.name for path, label in by_folder if path.parent == root or label.casefold() in NO_NAMES]
    if n_labels == 1 and _begin_differently(names):
        warn(
            f"{len(names)} files count as one speaker, {shown(labels[0])}, the name of their folder, though their "
            f"names begin differently ({shown(names[0])}, {shown(names[-1])}). If they are several speakers, pass "
            "speaker_pattern."
        )
    if odd := _no_names((label for _, label in by_folder), NO_SPEAKER) if n_labels > 1 else []:
        warn(f"speakers are named by folders that hardly are speakers: {odd}. If they are not, pass speaker_pattern.")


def _begin_differently(names: Sequence[str]) -> bool:
    """Whether names of files begin with different words, or with numbered words several of which recur."""
    words = {match[0].casefold() for name in names if (match := re.match(r"[^\W\d_]{2,}", name))}
    beginnings = {re.split(r"[\s_\-.]", name)[0] for name in names}
    return len(words) > 1 or 1 < len(beginnings) < len(names)


def _no_names(labels: Iterable[str], numbered: re.Pattern[str]) -> str:
    """List labels whose folder says something else than who or where, for a warning."""
    last = {label: label.rpartition("/")[2].casefold() for label in labels}
    odd = sorted(label for label, name in last.items() if name in NO_NAMES or numbered.fullmatch(name))
    return ", ".join(map(shown, odd[:3])) + (", ..." if len(odd) > 3 else "")


def _differ(folders: Iterable[str]) -> bool:
    """Whether folders of one name differ by more than the part of a corpus that they are in."""
    parents = {tuple(p for p in Path(folder).parent.parts if p.lower() not in PARTS_OF_A_CORPUS) for folder in folders}
    return len(parents) > 1


def _common_voice(files: Sequence[Path]) -> dict[Path, dict[str, str]]:
    """Return the speaker of each clip, by folder, for folders of clips beside tables with client_id and path."""
    found = {}
    for folder in {path.absolute().parent for path in files}:
        speakers: dict[str, str] = {}
        for table in [*sorted(folder.parent.glob("*.tsv")), *sorted(folder.glob("*.tsv"))]:
            with table.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as lines:
                rows = (line.rstrip("\r\n").split("\t") for line in lines)  # no quotes in these tables
                header = next(rows, [])
                if {"client_id", "path"} <= set(header):
                    client, clip = header.index("client_id"), header.index("path")
                    for row in rows:
                        if len(row) > max(client, clip) and row[client]:
                            name = row[clip].rpartition("/")[2]
                            speakers[name] = speakers[name.rpartition(".")[0] or name] = row[client]
        if speakers:
            clips = {path.name: path.stem for path in files if path.absolute().parent == folder}
            found[folder] = {n: speakers.get(n, speakers.get(stem, "")) for n, stem in clips.items()}
            found[folder] = {name: speaker for name, speaker in found[folder].items() if speaker}
    return found


# --- Rooms --------------------------------------------------------------------------------------------------------


def responses_in(files: Sequence[Path]) -> tuple[list[Path], str]:
    """Leave out files of known collections that are not responses; say which."""
    listed = _listed_responses(files)
    used: list[Path] = []
    left: list[Path] = []
    for path in files:
        name = path.absolute().as_posix()
        is_listed = any(name.endswith(f"/{tail}") for tail in _tails(name) if tail in listed)
        other = not is_listed and (
            any(layout.search(name) for _, layout in NO_RESPONSES) or _beside_a_list(path.absolute(), listed)
        )
        (left if other else used).append(path)
    if not used or not left:
        return list(files), ""
    named = ", ".join(shown(path.name) for path in left[:3])
    warn(
        f"{len(left)} of {len(files)} files are passed over, since they are not responses by the layout of their "
        f"collection: {named}{', ...' if len(left) > 3 else ''}."
    )
    return used, f"{len(left)} files that are not responses"


def rooms_of(files: Sequence[str], folder: Path) -> tuple[list[str], str]:
    """Name the room of each file, given as a path below `folder`, and say by what."""
    paths = [(folder / file).absolute() for file in files]
    listed = _listed_responses(paths)
    top, rooms = folder.resolve().name, []
    rules: dict[str, None] = {}
    by_folder: list[tuple[Path, str]] = []
    for file, path in zip(files, paths, strict=True):
        room, rule = _room_by_path(path.as_posix(), listed)
        if room is None:
            parent = Path(file).parent
            room = parent.as_posix() if parent.name else top
            by_folder.append((path, room))
        rooms.append(room)
        rules.setdefault(f"the layout of {rule}" if rule[0].isupper() else rule)
    _report_rooms(by_folder, rooms, top)
    return rooms, ", ".join(rules)


def _report_rooms(by_folder: Sequence[tuple[Path, str]], rooms: Sequence[str], top: str) -> None:
    """Warn of folders that hardly name a room, where the folder is all there is to go by."""
    audio = [(path, room) for path, room in by_folder if path.suffix.casefold() != ".sofa"]  # they name their rooms
    names = [path.name for path, room in audio if room == top or room.rpartition("/")[2].casefold() in NO_NAMES]
    if len(set(rooms)) == 1 and _begin_differently(names):
        warn(
            f"{len(names)} responses count as one room, {shown(rooms[0])}, the name of their folder, though their "
            f"names begin differently ({shown(names[0])}, {shown(names[-1])}). If they are from several rooms, pass a "
            "table with a column room."
        )
    if odd := _no_names((room for _, room in by_folder), NO_ROOM) if len(set(rooms)) > 1 else "":
        warn(
            f"rooms are named by folders that hardly are rooms: {odd}. If they are not, pass a table "
            "with a column room."
        )


def _room_by_path(name: str, listed: dict[str, str]) -> tuple[str | None, str]:
    for tail in _tails(name):
        if listed.get(tail):
            return listed[tail], "OpenSLR 28 (rir_list)"
    for collection, layout in ROOM_LAYOUTS:
        if match := layout.search(name):
            return match.group(1), collection
    return None, "the folder of the file"


def _tails(name: str) -> list[str]:
    """Return the last two to five parts of a path."""
    parts = name.split("/")
    return ["/".join(parts[-n:]) for n in range(2, min(6, len(parts)))]


def _listed_responses(files: Sequence[Path]) -> dict[str, str]:
    """Read the lists `rir_list` of OpenSLR 28: the room of each response, by the end of its path."""
    rooms: dict[str, str] = {}
    folders = {path.absolute().parent for path in files}
    for folder in {parent for path in folders for parent in (path, *list(path.parents)[:2])}:
        table = folder / "rir_list"
        if not table.is_file():
            continue
        for line in table.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
            match = re.search(r"--room-id[ =](\S+)", line)
            path = line.split()[-1] if line.strip() else ""
            if match and "/" in path:
                for tail in _tails(f"/{path.removeprefix('./')}"):
                    rooms[tail] = match.group(1)
    return rooms


def _beside_a_list(path: Path, listed: dict[str, str]) -> bool:
    """Whether a file's own folder has a list of responses, in which it is not."""
    return bool(listed) and (path.parent / "rir_list").is_file()
