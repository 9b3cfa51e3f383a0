"""`load_speech`: segments of dry speech from a folder of recordings."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.random import RandomState
from numpy.typing import NDArray
from sklearn.utils import Bunch
from tqdm.auto import tqdm

from roomacoustic_sk._labels import warn_of_lookalikes
from roomacoustic_sk._validation import (
    ArgumentTypeError,
    ArgumentValueError,
    as_list,
    as_path,
    check_choice,
    check_number,
    check_random_state,
    check_sample_rate,
    check_verbose,
    describe,
    door,
    restated,
)
from roomacoustic_sk.datasets._audio import (
    LONGEST_SEGMENT,
    AudioInfo,
    audio_info,
    find_audio_files,
    shown,
)
from roomacoustic_sk.datasets._corpora import Named, speakers_of
from roomacoustic_sk.datasets._reading import read_segment

FRAME = 0.02  # s; levels are computed over frames of this length
PROBES = 10  # one-second windows for estimating a file's speech level, so that a long file need not be read whole
ACTIVE_RANGE_DB = 30.0  # a frame within this range below the file's speech level counts as speech
ATTEMPTS = 20  # random offsets tried in one file before it is skipped


class Segment(NamedTuple):
    """A segment of a file, from sample `start` on, played at a given speed."""

    path: Path
    start: int
    speed: float
    samples: NDArray[np.float32]


@door
def load_speech(
    folder: str | Path,
    *,
    duration: float = 4.0,
    sample_rate: int = 16000,
    n_segments: int | None = None,
    segments: Literal["random", "consecutive"] = "random",
    speakers: Iterable[Any] | None = None,
    speaker_pattern: str | None = None,
    min_activity: float = 0.25,
    speed_range: tuple[float, float] = (1.0, 1.0),
    random_state: int | RandomState | None = None,
    verbose: int = 0,
) -> Bunch:
    """Cut segments of speech from a folder of audio files.

    Segments are taken from the speakers in turn, for as long as each has any, so that the result is balanced across
    speakers. Only what is needed is read: the headers and the relevant parts of files.

    Parameters
    ----------
    folder : str or Path
        Folder with audio files (WAV, FLAC, Ogg, MP3 and whatever else the installed libsndfile reads) in it or in
        folders below it: LibriSpeech, one of its subsets, or any other. Links to folders are followed. Channels are
        averaged, and files at other rates are resampled.
    duration : float, default=4.0
        Length of a segment in seconds. Shorter files are skipped.
    sample_rate : int, default=16000
        Sampling rate of the segments in Hz.
    n_segments : int, default=None
        Number of segments. None takes one segment from each file with ``segments="random"``, and all available ones
        with ``segments="consecutive"``.
    segments : {"random", "consecutive"}, default="random"
        "random" cuts at random offsets in random files: all segments are different, but they may overlap.
        "consecutive" cuts one after another from the start of each file.
    speakers : iterable, default=None
        Ids of the speakers to use. None uses all.
    speaker_pattern : str, default=None
        Regular expression searched for in each file's path below `folder` (with "/"), whose first group is the speaker.
        None takes the speaker from the layout of LibriSpeech, LibriTTS, MLS, VoxCeleb or Common Voice (whose tables
        have a ``client_id``) if a file follows it, and otherwise from the name of the file's folder; `DESCR` says
        which.
    min_activity : float, default=0.25
        A segment counts as silent, and is left out, unless more than this share of its frames of 20 ms are within
        30 dB of the file's speech level. That level is the 95th percentile of the frame levels in up to ten windows of
        1 s spread over the file.
    speed_range : tuple of 2 floats, default=(1.0, 1.0)
        Each random segment is played at a speed drawn from this range, in steps of 1 %, which changes its tempo and
        its pitch. A few recordings thus give many different segments, which makes it harder for a network to memorise
        them.
    random_state : int, RandomState instance or None, default=None
        Seed of the files, offsets and speeds of random segments.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        - segments : ndarray of shape (n_segments, n_times), float32. "random": speakers in turn, so that the first
          segments are balanced as well; "consecutive": in the order of the files
        - sample_rate : int, in Hz
        - source : ndarray of str, shape (n_segments,), id of the segment: its file and first sample
        - speaker : ndarray of str, shape (n_segments,)
        - file : ndarray of str, shape (n_segments,), path below `folder`
        - start : ndarray of shape (n_segments,), start of the segment in its file in seconds
        - speed : ndarray of shape (n_segments,), speed at which it is played
        - synthetic : False
        - DESCR : str, with the rule that named the speakers, and the number of files and segments left out

    Raises
    ------
    FileNotFoundError
        If the folder does not exist.
    ValueError
        If the folder contains no audio files; if a file that is needed is empty, truncated, not audio or not finite; if
        a speaker is unknown; if a speed is not in [0.5, 2]; or if there are fewer segments than requested.

    Warns
    -----
    UserWarning
        Names speakers that are spelt almost alike, folders that hardly are speakers or hold several, and files that are
        passed over.

    References
    ----------
    T. Ko, V. Peddinti, D. Povey, S. Khudanpur, "Audio augmentation for speech recognition", Interspeech 2015: speed
    perturbation.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import numpy as np, soundfile
    >>> from roomacoustic_sk.datasets import load_speech
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for speaker in ("ada", "bob"):
    ...         (pathlib.Path(folder) / speaker).mkdir()
    ...         noise = 0.1 * np.random.default_rng(0).standard_normal(32000)
    ...         soundfile.write(pathlib.Path(folder) / speaker / "talk.wav", noise, 16000)
    ...     speech = load_speech(folder, duration=0.5, n_segments=6, random_state=0)
    >>> speech.segments.shape, sorted(speech.speaker.tolist())
    ((6, 8000), ['ada', 'ada', 'ada', 'bob', 'bob', 'bob'])
    """
    sample_rate = check_sample_rate(sample_rate)
    check_number(duration, name="duration", unit="s", low=FRAME, limit=LONGEST_SEGMENT)
    check_number(min_activity, name="min_activity", low=0, high=1)
    check_verbose(verbose)
    check_choice(segments, ("random", "consecutive"), name="segments")
    if n_segments is not None:
        check_number(n_segments, name="n_segments", low=1, integer=True)
    speeds = _check_speeds(speed_range, segments)
    root = as_path(folder, name="folder")
    found = find_audio_files(root)
    named = _named(found.files, root, speaker_pattern)
    files = _files_of_speakers(named, root, speakers)
    reader = _Reader(sample_rate, round(duration * sample_rate), speeds, min_activity)
    rng: RandomState = check_random_state(random_state)
    if segments == "consecutive":
        turns = {speaker: _consecutive_segments(paths, reader) for speaker, paths in files.items()}
    else:
        order = rng.permutation(list(files)).tolist()
        turns = {speaker: _random_segments(files[speaker], reader, rng, once=n_segments is None) for speaker in order}
    taken = _take_turns(turns, n_segments, verbose)
    passed = f"{reader.passed['short']} files shorter than {duration:g} s and {reader.passed['silent']} silent segments"
    _check_enough(len(taken), n_segments, f"{duration:g} s", root, passed)
    if segments == "consecutive":
        taken.sort(key=lambda turn: (turn[1].path, turn[1].start))
    bunch = _bunch(taken, sample_rate, root)
    n_speakers, n_files = len(np.unique(bunch.speaker)), len(np.unique(bunch.file))
    bunch.DESCR = (
        f"Speech: {len(taken)} {segments} segments of {duration:g} s at {sample_rate} Hz by "
        f"{n_speakers} speakers, from {n_files} files of {root.absolute().name}, at "
        f"{speed_range[0]:g} to {speed_range[1]:g} times their speed.\n"
        f"{named.rule}\nLeft out: {passed}. Other files: {found.others}."
    )
    return bunch


def _check_enough(n_taken: int, n_segments: int | None, duration: str, root: Path, passed: str) -> None:
    """Refuse to return no segments, or fewer than requested."""
    if not n_taken:
        raise ArgumentValueError(
            f"folder must hold speech of {duration}, got none in {shown(root)} ({passed} left out). Use a "
            "shorter duration, or a lower min_activity."
        )
    if n_segments is not None and n_taken < n_segments:
        raise ArgumentValueError(
            f"n_segments must be at most {n_taken}, the segments of {duration} in {shown(root)} "
            f"({passed} left out), got {n_segments}. Request fewer or shorter ones, or add recordings."
        )


def _bunch(taken: list[tuple[str, Segment]], sample_rate: int, root: Path) -> Bunch:
    """Collect the segments of all speakers in a Bunch."""
    names = [segment.path.relative_to(root).as_posix() for _, segment in taken]
    return Bunch(
        segments=np.stack([segment.samples for _, segment in taken]),
        sample_rate=sample_rate,
        source=np.array(
            [
                f"{name}@{segment.start}" + (f"x{segment.speed:g}" if segment.speed != 1 else "")
                for name, (_, segment) in zip(names, taken, strict=True)
            ]
        ),
        speaker=np.array([speaker for speaker, _ in taken]),
        file=np.array(names),
        start=np.array([segment.start for _, segment in taken]) / sample_rate,
        speed=np.array([segment.speed for _, segment in taken]),
        synthetic=False,
    )


def _check_speeds(speed_range: Any, segments: str) -> NDArray[np.intp]:
    """Return the speeds to draw from, in per cent."""
    if not isinstance(speed_range, Sequence) or len(speed_range) != 2:
        raise ArgumentTypeError(f"speed_range must be a pair of numbers, got {describe(speed_range)}.")
    for speed in speed_range:
        check_number(speed, name="speed_range", low=0.5, high=2)
    low, high = (round(100 * speed) for speed in speed_range)
    if low > high:
        raise ArgumentValueError(f"speed_range must be the lowest and the highest speed, got {tuple(speed_range)}.")
    if segments == "consecutive" and (low, high) != (100, 100):
        raise ArgumentValueError(
            f'speed_range must be (1, 1) for segments="consecutive", got {tuple(speed_range)}. Use segments="random".'
        )
    return np.arange(low, high + 1)


def _named(files: list[Path], root: Path, pattern: str | None) -> Named:
    """Name the speaker of each file, by a pattern or by what is known of corpora."""
    if pattern is None:
        return speakers_of(files, root)
    labels = [_matched(path, root, pattern) for path in files]
    warn_of_lookalikes(labels, "speakers")
    return Named(files, labels, f"Speakers by the pattern {pattern!r}.")


def _matched(path: Path, root: Path, pattern: str) -> str:
    name = path.relative_to(root).as_posix()
    with restated(f"speaker_pattern must be a regular expression, got {pattern!r}"):
        try:
            match = re.search(pattern, name)
        except re.error as error:
            raise ValueError(str(error)) from error
    if match is None or not match.groups() or not match.group(1):
        lack = f"finds no speaker in {shown(name)}" if match else f"does not match {shown(name)}"
        raise ArgumentValueError(
            f"speaker_pattern must match every file and have a group, got {pattern!r}, "
            f"which {'has no group' if match and not match.groups() else lack}."
        )
    return match.group(1)


def _files_of_speakers(named: Named, root: Path, speakers: Iterable[Any] | None) -> dict[str, list[Path]]:
    """List the files of each speaker."""
    files: dict[str, list[Path]] = defaultdict(list)
    for path, speaker in zip(named.files, named.labels, strict=True):
        files[speaker].append(path)
    if speakers is None:
        return files
    listed = [speakers] if isinstance(speakers, str) else speakers
    wanted = [str(speaker) for speaker in as_list(listed, name="speakers", expected="None or a sequence of ids")]
    unknown = sorted(set(wanted) - set(files))
    if unknown or not wanted:
        known = ", ".join(map(shown, list(files)[:5]))
        raise ArgumentValueError(
            f"speakers must be among the {len(files)} speakers of {shown(root)} ({known}, ...), "
            f"got {', '.join(unknown) if unknown else 'none'}."
        )
    return {speaker: files[speaker] for speaker in dict.fromkeys(wanted)}


def _frame_levels(samples: NDArray[np.float32], sample_rate: int) -> NDArray[np.float64]:
    """Return the level of each frame of 20 ms in dB."""
    n_frame = min(len(samples), round(FRAME * sample_rate))
    frames = samples[: len(samples) // n_frame * n_frame].reshape(-1, n_frame)
    with np.errstate(divide="ignore"):
        return 10 * np.log10(np.mean(np.square(frames, dtype=np.float64), axis=1))


class _Reader:
    """Reads segments of one length, caches headers and levels, and counts what it skips."""

    def __init__(self, sample_rate: int, n_times: int, speeds: NDArray[np.intp], min_activity: float) -> None:
        self.sample_rate, self.n_times, self.speeds = sample_rate, n_times, speeds
        self.n_longest = _n_read(n_times, int(speeds[-1]))
        self.min_activity = min_activity
        self.passed: Counter[str] = Counter()
        self._infos: dict[Path, AudioInfo] = {}
        self._levels: dict[Path, float] = {}

    def n_starts(self, path: Path) -> int:
        """Return the number of possible segment starts in a file; 0, counted once, if it is too short."""
        if path not in self._infos:
            self._infos[path] = audio_info(path)
            self.passed["short"] += self._length(path) < self.n_longest
        return max(0, self._length(path) - self.n_longest + 1)

    def read(self, path: Path, start: int, speed: int = 100) -> Segment | None:
        """Return a segment at a speed in per cent, or None, counted, if it is silent."""
        samples = self._read(path, start, _n_read(self.n_times, speed))
        active = _frame_levels(samples, self.sample_rate) > self._speech_level(path) - ACTIVE_RANGE_DB
        if active.mean() > self.min_activity:
            if speed != 100:
                from scipy.signal import resample_poly  # takes a second

                samples = resample_poly(samples, 100, speed)[: self.n_times].astype(np.float32, copy=False)
            return Segment(path, start, speed / 100, samples)
        self.passed["silent"] += 1
        return None

    def _length(self, path: Path) -> int:
        return self._infos[path].n_times_at(self.sample_rate)

    def _read(self, path: Path, start: int, n_times: int) -> NDArray[np.float32]:
        info = self._infos[path]
        return read_segment(path, self.sample_rate, start=start, n_times=n_times, info=info)

    def _speech_level(self, path: Path) -> float:
        if path not in self._levels:
            window = min(self.sample_rate, self._length(path))
            starts = np.unique(np.linspace(0, self._length(path) - window, PROBES).astype(int))
            levels = [_frame_levels(self._read(path, int(start), window), self.sample_rate) for start in starts]
            # No interpolation: it would turn the level -inf of digital silence into NaN.
            self._levels[path] = float(np.percentile(np.concatenate(levels), 95, method="lower"))
        return self._levels[path]


def _n_read(n_times: int, speed: int) -> int:
    """Return the number of samples of a file needed for a segment at a speed in per cent."""
    return -(-n_times * speed // 100)


def _consecutive_segments(paths: Sequence[Path], reader: _Reader) -> Iterator[Segment]:
    """Cut consecutive segments from one file after another."""
    for path in paths:
        for start in range(0, reader.n_starts(path), reader.n_times):
            if segment := reader.read(path, start):
                yield segment


def _random_segments(paths: Sequence[Path], reader: _Reader, rng: RandomState, *, once: bool) -> Iterator[Segment]:
    """Cut distinct segments at random offsets, one from each file in random order, repeatedly unless `once`."""
    used: dict[Path, set[int]] = {path: set() for path in paths}
    while used:
        for path in [list(used)[i] for i in rng.permutation(len(used))]:
            segment = _random_segment(path, used[path], reader, rng)
            if segment is not None:
                yield segment
            if segment is None or once:
                del used[path]


def _random_segment(path: Path, used: set[int], reader: _Reader, rng: RandomState) -> Segment | None:
    """Cut a segment that is not silent at a new offset, or return None if none is found."""
    n_starts = reader.n_starts(path)
    for _ in range(ATTEMPTS):
        if len(used) == n_starts:
            return None
        start = int(rng.randint(n_starts))
        if start in used:
            continue
        used.add(start)
        speed = int(rng.choice(reader.speeds)) if len(reader.speeds) > 1 else int(reader.speeds[0])
        if segment := reader.read(path, start, speed):
            return segment
    return None


def _take_turns(turns: dict[str, Iterator[Segment]], n_segments: int | None, verbose: int) -> list[tuple[str, Segment]]:
    """Take one segment from each speaker, round after round."""
    taken: list[tuple[str, Segment]] = []
    with tqdm(total=n_segments, desc="speech", disable=not verbose) as bar:
        while turns and (n_segments is None or len(taken) < n_segments):
            for speaker in list(turns):
                segment = next(turns[speaker], None)
                if segment is None:
                    del turns[speaker]
                    continue
                taken.append((speaker, segment))
                bar.update()
                if len(taken) == n_segments:
                    break
    return taken
