"""`simulate_rooms`: random shoebox rooms with impulse responses and labels checked for convergence."""

from __future__ import annotations

import os
from collections import Counter
from importlib.metadata import version
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from sklearn.utils import Bunch
from sklearn.utils.validation import check_memory
from tqdm import tqdm

from roomacoustic_sk import acoustics
from roomacoustic_sk._shoebox.images import HALF_FILTER
from roomacoustic_sk._shoebox.responses import Hybrid, ImageSources, Response, ResponseSpec
from roomacoustic_sk._shoebox.rooms import (
    PRESETS,
    WALLS,
    Material,
    RoomRanges,
    TransmissionPath,
    check_ranges,
    draw_room,
    shortest_reverberation,
)
from roomacoustic_sk._validation import (
    MILLISECONDS,
    PER_CENT,
    ArgumentValueError,
    SimulationError,
    check_choice,
    check_flag,
    check_n_jobs,
    check_number,
    check_random_state,
    check_sample_rate,
    check_verbose,
    describe,
    door,
    restated,
)

MAX_DRAWS = 100
"""Maximum number of attempts to draw a room before giving up."""


MOST_ROOMS = 1_000_000
"""Largest number of rooms, and of responses in each."""

LONGEST_RESPONSE = 100.0
"""Longest duration of a response in s; longer ones are in ms."""

HIGHEST_RATE = 400_000
"""Highest sampling rate, in Hz; at higher ones a response of 10 s takes gigabytes."""

LOWEST_MID_EDGE = 500 * 2**0.5
"""Upper edge in Hz of the lower of the two octave bands of mid-frequency values."""

MODAL = "500 Hz octave below the Schroeder frequency"
"""Reason why a small, lively room has no mid-frequency value: single modes rule there, which rays do not have."""

LIVELIER = 1.5
"""Factor by which Sabine's formula may overestimate, for which air absorption is the main reason."""


class _Plan(NamedTuple):
    """Settings common to all rooms; together with a seed and an index, they determine a room to the last bit."""

    n_rirs: int
    ranges: RoomRanges
    method: Hybrid | ImageSources
    spec: ResponseSpec
    redraw: bool
    versions: str


class _Room(NamedTuple):
    """A simulated room: a response and a record of labels and geometry for each of its transmission paths."""

    responses: list[Response]
    records: list[dict[str, Any]]
    n_redrawn: int


# --- One room -------------------------------------------------------------------------------------------------


def schroeder_frequency(decay_time: Any, volume: Any) -> Any:
    """Return the frequency in Hz above which a room's modes overlap (Schroeder, J. Acoust. Soc. Am. 99, 1996)."""
    return 2000 * np.sqrt(decay_time / volume)


def _labels(responses: list[Response], spec: ResponseSpec, volume: float) -> pd.DataFrame:
    """Room acoustic parameters of noise-free responses, and the reasons of those that are NaN."""
    labels = acoustics.room_labels(
        [response.rir for response in responses],
        spec.sample_rate,
        decay_ranges=(spec.decay_range,),
        truncation=None,
        diagnostics=True,
    )
    # The response knows for how long it is complete, the decay curve does not; but the curve shows a ringing filter.
    rings = labels["reason"] == acoustics.RINGING
    rt60 = [np.nan if ringing else response.rt60 for ringing, response in zip(rings, responses, strict=True)]
    rt60_range = [None if ringing else spec.decay_range for ringing in rings]
    frequencies = schroeder_frequency(labels["rt60_mid"].to_numpy(), volume)
    is_modal = frequencies > LOWEST_MID_EDGE
    return labels.loc[:, :"drr"].assign(
        rt60=rt60,
        rt60_range=rt60_range,
        rt60_mid=labels["rt60_mid"].mask(is_modal),
        schroeder_frequency=frequencies,
        reason=np.where(is_modal, MODAL, labels["reason"].where(rings, "")),
    )


def _describe_path(path: TransmissionPath, materials: list[Material]) -> dict[str, Any]:
    """Geometry and materials of a transmission path, as a row of the target frame."""
    points = {"source": path.source, "microphone": path.microphone}
    return {
        "volume": path.size.prod(),
        **dict(zip(("length", "width", "height"), path.size, strict=True)),
        **{f"{name}_{axis}": point[i] for name, point in points.items() for i, axis in enumerate("xyz")},
        "distance": float(np.linalg.norm(path.source - path.microphone)),
        **{f"material_{wall}": str(material) for wall, material in zip(WALLS, materials, strict=True)},
        "scattering": path.scattering,
    }


def _simulate_room(plan: _Plan, seed: tuple[int, ...], index: int) -> _Room:
    """Draw a room and simulate its transmission paths; redraw it until all of them are complete."""
    for attempt in range(MAX_DRAWS):
        rng = np.random.default_rng([*seed, index, attempt])
        materials, paths = draw_room(plan.ranges, plan.n_rirs, rng)
        responses = []
        for path in paths:
            response = plan.method.simulate(path, plan.spec, rng)
            if plan.redraw and not response.complete:
                break
            responses.append(response)
        else:
            labels = _labels(responses, plan.spec, float(paths[0].size.prod())).to_dict("records")
            described = [_describe_path(path, materials) for path in paths]
            return _Room(responses, [one | other for one, other in zip(labels, described, strict=True)], attempt)
    raise SimulationError(
        f"room {index} must be complete within {MAX_DRAWS} draws, got none. Raise max_rays, max_images, "
        "max_duration or tolerance, or pass redraw=False."
    )


# --- All rooms ------------------------------------------------------------------------------------------------

DESCRIPTION = """\
Simulated room impulse responses
--------------------------------
{n_rirs} responses of {n_rooms} shoebox rooms, sampled at {sample_rate} Hz, float32, direct sound at distance 1 m = 1.
They start {delay} samples before the sound leaves the source (delay of the fractional-delay filter) and end where the
energy left has fallen by {depth:g} dB.

Method: {method}
Labels: from each response itself, broadband, after ISO 3382-1: rt60 [s] ({decay_range}), rt60_mid [s] (mean of
the 500 Hz and 1 kHz octave bands), edt [s], c50 [dB],
d50 (0 to 1), drr [dB]. Geometry in m, volume in m3, speed of sound 343 m/s, air absorption {air}.
Convergence: {convergence}
Counts: {counts}
Seed: {seed}. {versions}.
"""


def _describe(plan: _Plan, counts: dict[str, int], n_rooms: int, seed: tuple[int, ...]) -> str:
    spec = plan.spec
    return DESCRIPTION.format(
        n_rirs=n_rooms * plan.n_rirs,
        n_rooms=n_rooms,
        sample_rate=spec.sample_rate,
        delay=HALF_FILTER,
        depth=spec.depth,
        method=plan.method.describe(),
        decay_range=spec.decay_range,
        air="included" if spec.air_absorption else "left out",
        convergence=_describe_convergence(plan),
        counts=", ".join(f"{name} {count}" for name, count in counts.items()),
        seed=seed,
        versions=plan.versions,
    )


def _describe_convergence(plan: _Plan) -> str:
    if not plan.method.converges:
        return "not sought, and `complete` is False: all responses end at the same order of reflection."
    return (
        f"`complete` is True for each response whose rt60 {plan.method.raised} changed by at most "
        f"{plan.spec.tolerance:.3g}.\nRooms with a response that does not converge are "
        f"{'redrawn' if plan.redraw else 'kept'}."
    )


def _bunch(rooms: list[_Room], plan: _Plan, seed: tuple[int, ...]) -> Bunch:
    """Collect the rooms in a Bunch with one entry per response."""
    responses = [response for room in rooms for response in room.responses]
    target = pd.DataFrame([record for room in rooms for record in room.records])
    room_ids = np.repeat(np.arange(len(rooms)), plan.n_rirs)
    proof = pd.DataFrame([response._asdict() for response in responses]).drop(columns=["rir", "rt60"])
    for name in ("schroeder_frequency", "reason"):
        proof[name] = target.pop(name)
    proof["n_redrawn"] = np.repeat([room.n_redrawn for room in rooms], plan.n_rirs)
    counts = Counter(
        rooms=len(rooms),
        rooms_redrawn=sum(room.n_redrawn for room in rooms),
        rirs=len(responses),
        rirs_raised=int((proof["n_raised"] > 0).sum()),
        rirs_incomplete=int((~proof["complete"]).sum()),
    )
    return Bunch(
        rirs=[response.rir for response in responses],
        sample_rate=plan.spec.sample_rate,
        target=target,
        rir=np.arange(len(responses)),
        room=room_ids,
        complete=proof["complete"].to_numpy(),
        proof=proof,
        counts=dict(counts),
        DESCR=_describe(plan, counts, len(rooms), seed),
    )


def _choose_method(method: Any, hybrid: dict[str, Any], images: dict[str, Any]) -> Hybrid | ImageSources:
    """Return the method object for a name and the flat arguments (None for the default)."""
    flat = [
        (kind, {k: v for k, v in given.items() if v is not None})
        for kind, given in ((Hybrid, hybrid), (ImageSources, images))
    ]
    if isinstance(method, (Hybrid, ImageSources)):
        for kind, given in flat:
            for name, value in given.items():
                raise ArgumentValueError(
                    f"{name} must be None together with a method object, got {describe(value)}. "
                    f"Pass method={kind.__name__}({name}={value!r})."
                )
        return method
    named = {kind.name: kind(**given) for kind, given in flat}
    if not isinstance(method, str) or method not in named:
        raise ArgumentValueError(
            f"method must be one of {list(named)}, got {describe(method)}. "
            "Or pass an object, Hybrid(...) or ImageSources(...)."
        )
    return named[method]


def _check_absorption(ranges: RoomRanges, decay_range: str, max_duration: float) -> None:
    """Refuse rooms none of which can decay within the longest duration: each would be drawn again and again."""
    lower = acoustics.DECAY_RANGES[decay_range][1]
    longest = max_duration * 60 / (10 - lower)  # reverberation time whose decay, and 10 dB more, fits
    shortest = shortest_reverberation(ranges)
    if shortest > LIVELIER * longest:
        raise ArgumentValueError(
            f"materials must absorb enough for a reverberation time of at most {longest:.3g} s, the longest that "
            f"max_duration={max_duration:g} s holds, got about {shortest:.3g} s at least. Use more absorbing materials "
            "or smaller rooms, or pass redraw=False to keep what does not converge."
        )


def _versions() -> str:
    import pyroomacoustics as pra

    return f"roomacoustic_sk {version('roomacoustic_sk')}, pyroomacoustics {pra.__version__}, numpy {np.__version__}"


@door
def simulate_rooms(
    n_rooms: int = 64,
    n_rirs: int = 2,
    *,
    method: str | Hybrid | ImageSources = "hybrid",
    preset: str = "paper",
    length: float | tuple[float, float] | None = None,
    width: float | tuple[float, float] | None = None,
    height: float | tuple[float, float] | None = None,
    wall_distance: float | tuple[float, float] | None = None,
    source_distance: float | tuple[float, float] | None = None,
    materials: Any = None,
    scattering: float | tuple[float, float] = (0.1, 0.5),
    air_absorption: bool = True,
    sample_rate: int = 16000,
    decay_range: str = "T30",
    tolerance: float = 0.05,
    max_duration: float = 10.0,
    redraw: bool = True,
    random_state: Any = None,
    n_jobs: int | None = None,
    memory: Any = None,
    verbose: int = 0,
    image_order: int | None = None,
    n_rays: int | None = None,
    max_rays: int | None = None,
    receiver_reach: float | None = None,
    max_images: int | None = None,
) -> Bunch:
    """Simulate impulse responses of random shoebox rooms, with labels checked for convergence.

    By default, rooms are drawn as in the paper (section 4.1): length and width from 3 to 10 m, height from 3 to 5 m, a
    random material from pyroomacoustics' database for each wall, and source and microphone at least 0.5 m from the
    walls and from each other.

    Parameters
    ----------
    n_rooms : int, default=64
        Number of rooms.
    n_rirs : int, default=2
        Number of responses in each room, each with its own source and microphone position.
    method : {"hybrid", "ism"}, Hybrid or ImageSources, default="hybrid"
        Simulation method, as an object such as ``Hybrid(n_rays=4000)`` or by name. "hybrid", `Hybrid`: image sources up
        to an order, and ray tracing with scattering for all other sound. "ism", `ImageSources`: as in the paper, image
        sources alone with specularly reflecting walls, as many as a complete response needs. See Notes.
    preset : {"paper", "everyday", "wide"}, default="paper"
        Which rooms: those of the paper; "everyday" for homes, offices, schools, stairs and small halls, with sources
        from 0.1 m on; "wide" for everything from a car to a concert hall, with sources from 3 cm on. See Notes for its
        ranges, each of which the following parameters replace.
    length, width, height : float or (float, float), default=None
        Size of the rooms, or the range from which it is drawn, uniformly with the preset "paper" and on a logarithmic
        scale with the others [m].
    wall_distance : float or (float, float), default=None
        Minimum distance of source and microphone from the walls, or the range from which it is drawn for each
        transmission path, as far as the room allows [m].
    source_distance : float or (float, float), default=None
        Distance of source and microphone [m]. A number is the minimum for positions drawn uniformly. A range is that
        from which the distance is drawn, on a logarithmic scale and as far as the room goes.
    materials : None, str, float, sequence or dict, default=None
        A material's name in the database, or an absorption coefficient (above 0, at most 1, in all octave bands), for
        all walls; a list or array of them, from which one is drawn for each wall; or a dict with one for each of the
        walls "west", "east", "south", "north", "floor" and "ceiling". None stands for the whole database and, with the
        presets "everyday" and "wide", for a share of hard walls besides (concrete, brick, tiles), which is drawn for
        each room.
    scattering : float or (float, float), default=(0.1, 0.5)
        Scattering coefficient of all walls of a room (ISO 17497-1), or the range from which it is drawn. Not used by
        `ImageSources`.
    air_absorption : bool, default=True
        Whether to include air absorption (20 degrees Celsius, relative humidity of 30 to 50 %).
    sample_rate : int, default=16000
        Sampling rate [Hz].
    decay_range : {"T20", "T30", "T60"}, default="T30"
        Evaluation range of the reverberation time, which also determines how far down the decay is simulated.
    tolerance : float, default=0.05
        A response is complete if adding rays or images changes its reverberation time by at most this fraction. The
        simulation aims for a third of it.
    max_duration : float, default=10.0
        Longest duration of a response [s].
    redraw : bool, default=True
        Whether to redraw a room if one of its responses does not converge within `max_duration` and the largest number
        of rays or images. If False, such responses are kept and flagged.
    random_state : int, RandomState instance or None, default=None
        Seed. The result is the same for every `n_jobs`, and the first rooms are the same for every `n_rooms`.
    n_jobs : int or None, default=None
        Number of rooms simulated in parallel, each in one thread of its own process; -1 for all cores.
    memory : str, path, joblib.Memory or None, default=None
        Cache for simulated rooms. An interrupted run resumes from it.
    verbose : int, default=0
        Whether to show a progress bar.
    image_order, n_rays, max_rays, receiver_reach : int, int, int and float, default=None
        Arguments of `Hybrid`, if `method` is "hybrid". None for the defaults of `Hybrid`; must be None together with a
        method object.
    max_images : int, default=None
        Argument of `ImageSources`, if `method` is "ism", likewise.

    Returns
    -------
    Bunch
        One entry per response in each of:

        rirs : list of ndarray of shape (n_times_of_the_rir,), float32
            Impulse responses of different lengths.
        target : DataFrame
            ``rt60`` [s], ``rt60_range``, ``rt60_mid`` [s] (mean of the 500 Hz and 1 kHz octave bands), ``edt`` [s],
            ``c50`` [dB], ``d50``, ``drr`` [dB]; ``volume`` [m3],
            ``length``, ``width``, ``height``, ``source_x`` to ``microphone_z``, ``distance`` [m]; ``material_west``
            to ``material_ceiling`` (names, or coefficients as text); ``scattering``.
        rir, room : ndarray of int
            Labels of the transmission path and of the room.
        complete : ndarray of bool
            Whether the decay has converged over the evaluation range.
        proof : DataFrame
            Evidence of convergence: ``n_rays``, ``image_order``, ``n_raised``, ``rt60_change`` of each response,
            ``n_redrawn`` of its room. Also ``schroeder_frequency`` [Hz] and ``reason``, why a label is NaN (empty where
            none is).

        Also ``sample_rate`` [Hz], ``counts`` (of rooms redrawn, responses raised, and so on) and ``DESCR``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, if the rooms are too small for the distances, or if an argument of a method is
        passed together with a method object; nothing is simulated then.
    RuntimeError
        If a hundred draws of a room give no complete one.

    Notes
    -----
    Ranges of the presets, lengths in m:

    ========== ========= ========= ======== ============= ===============
    preset     length    width     height   wall distance source distance
    ========== ========= ========= ======== ============= ===============
    "paper"    3-10      3-10      3-5      0.5           at least 0.5
    "everyday" 1.8-15    1.5-10    2.2-6    0.1-1         0.1-15
    "wide"     1.5-40    1.2-30    1.1-15   0.05-1        0.03-50
    ========== ========= ========= ======== ============= ===============

    Sources are omnidirectional points, whatever their distance. A mouth nearer than 0.2 m differs by a few dB in
    spectrum, as the microphones do that speech corpora are recorded with; no recording tells them apart. Rays do not
    have the single modes of small rooms: ``rt60_mid`` is NaN where the 500 Hz octave lies below the Schroeder
    frequency, and so are the reverberation times of sources so near that nothing is left of the decay.

    A fixed order of image sources truncates the decay, and the reverberation time then measures the truncation. So
    sound is added until that no longer matters: twice and four times the rays (`Hybrid`), or all image sources that
    arrive within a duration longer by a quarter (`ImageSources`). With `ImageSources`, about a third of the default
    rooms, the reverberant ones, cannot be completed, and the remaining rooms are not a representative sample.
    ``counts`` gives their number.

    The energy of `Hybrid` is that of the diffuse field, and rooms with a single material decay as predicted by
    Kuttruff's equation: in a room of 5 x 6 x 3 m with an absorption of 0.1 to 0.4, 2 to 10 % more slowly than
    predicted by Eyring's.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import simulate_rooms
    >>> rooms = simulate_rooms(2, 2, materials=0.5, random_state=0)
    >>> rooms.room, bool(rooms.complete.all())
    (array([0, 0, 1, 1]), True)
    >>> rooms.target[["rt60", "volume"]].shape
    (4, 2)
    """
    for name, value in (("n_rooms", n_rooms), ("n_rirs", n_rirs)):
        check_number(value, name=name, low=1, limit=MOST_ROOMS, integer=True)
    check_number(tolerance, name="tolerance", low=0, low_open=True, limit=1, fix=PER_CENT)
    check_number(
        max_duration, name="max_duration", unit="s", low=0, low_open=True, limit=LONGEST_RESPONSE, fix=MILLISECONDS
    )
    for name, flag in (("air_absorption", air_absorption), ("redraw", redraw)):
        check_flag(flag, name=name)
    n_jobs = check_n_jobs(n_jobs)
    check_verbose(verbose)
    chosen = _choose_method(
        method,
        {"image_order": image_order, "n_rays": n_rays, "max_rays": max_rays, "receiver_reach": receiver_reach},
        {"max_images": max_images},
    )
    check_choice(decay_range, tuple(acoustics.DECAY_RANGES), name="decay_range")
    check_choice(preset, tuple(PRESETS), name="preset")
    sample_rate = check_sample_rate(sample_rate)
    check_number(sample_rate, name="sample_rate", unit="Hz", low=4000, limit=HIGHEST_RATE)
    ranges = check_ranges(
        PRESETS[preset],
        length=length,
        width=width,
        height=height,
        wall_distance=wall_distance,
        source_distance=source_distance,
        materials=materials,
        scattering=scattering,
        sample_rate=sample_rate,
    )
    redraw = bool(redraw) and chosen.converges
    if redraw:
        _check_absorption(ranges, decay_range, max_duration)
    plan = _Plan(
        n_rirs=int(n_rirs),
        ranges=ranges if chosen.scatters else ranges._replace(scattering=(0.0, 0.0)),
        method=chosen,
        spec=ResponseSpec(sample_rate, bool(air_absorption), float(max_duration), decay_range, float(tolerance)),
        redraw=redraw,
        versions=_versions(),
    )
    seed = tuple(int(word) for word in check_random_state(random_state).randint(0, 2**31 - 1, size=4))
    with restated("memory must be None, the path of a folder or a joblib.Memory"):
        simulate = check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory).cache(_simulate_room)
    jobs = (joblib.delayed(simulate)(plan, seed, index) for index in range(n_rooms))
    rooms = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    shown = tqdm(rooms, desc="simulate_rooms", total=n_rooms, unit="room", disable=not verbose)
    return _bunch(list(shown), plan, seed)
