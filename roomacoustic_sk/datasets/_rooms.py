"""`simulate_rooms`: random shoebox rooms with impulse responses and labels that are proved."""

from __future__ import annotations

import os
import warnings
from collections import Counter
from importlib.metadata import version
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.validation import check_memory
from tqdm import tqdm

from roomacoustic_sk import acoustics
from roomacoustic_sk._validation import check_choice, check_number, check_sample_rate
from roomacoustic_sk.datasets._drawing import (
    CALLER,
    WALLS,
    Material,
    RoomRanges,
    absorption_in_bands,
    check_geometry,
    check_materials,
    check_range,
    draw_room,
)
from roomacoustic_sk.datasets._rays import TransmissionPath
from roomacoustic_sk.datasets._simulation import (
    HALF_FILTER,
    Method,
    Response,
    simulate_hybrid,
    simulate_ism,
)

MAX_DRAWS = 100
"""How often a room is drawn anew before the caller is told that it leads nowhere."""


class _Plan(NamedTuple):
    """What all rooms share; together with a seed and an index it fixes a room to the last bit."""

    n_rirs: int
    ranges: RoomRanges
    method: Method
    redraw: bool
    versions: str


class _Room(NamedTuple):
    """A simulated room: one response and one row of labels and geometry for each of its paths."""

    responses: list[Response]
    rows: list[dict[str, Any]]
    n_redrawn: int


# --- One room -------------------------------------------------------------------------------------------------


def _labels(responses: list[Response], method: Method) -> dict[str, NDArray[np.float64]]:
    """Room acoustic parameters of noise-free responses (n_rirs,)."""
    rirs, rate = [response.rir for response in responses], method.sample_rate
    with warnings.catch_warnings():
        # A response that does not reach down far enough is flagged, and NaN where it matters.
        warnings.simplefilter("ignore", acoustics.DecayRangeWarning)
        found = acoustics.room_parameters(rirs, rate, decay_range=method.decay_range, truncation=None)
        return {
            "rt60": np.array([response.rt60 for response in responses]),
            "rt60_mid": acoustics.mid_frequency_reverberation_time(
                rirs, rate, decay_range=method.decay_range, truncation=None
            ),
            "edt": found["early_decay_time"],
            "c50": found["clarity"],
            "d50": found["definition"],
            "drr": found["direct_to_reverberant_ratio"],
        }


def _describe_path(path: TransmissionPath, materials: list[Material]) -> dict[str, Any]:
    """Geometry and materials of a path, one row of the target frame."""
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
    """Draw a room and simulate its paths; draw it anew until all of them are complete."""
    for attempt in range(MAX_DRAWS):
        rng = np.random.default_rng([*seed, index, attempt])
        materials, paths = draw_room(plan.ranges, plan.n_rirs, rng)
        responses = []
        for path in paths:
            hybrid = plan.method.name == "hybrid"
            response = simulate_hybrid(path, plan.method, rng) if hybrid else simulate_ism(path, plan.method)
            if plan.redraw and not response.complete:
                break
            responses.append(response)
        else:
            labels = _labels(responses, plan.method)
            rows = [
                {name: values[i] for name, values in labels.items()} | _describe_path(path, materials)
                for i, path in enumerate(paths)
            ]
            return _Room(responses, rows, attempt)
    raise RuntimeError(
        f"{CALLER}: room {index} must be complete within {MAX_DRAWS} draws, got none. Raise max_rays, max_images, "
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
Proof: `complete` says of each response that {raised} changed its rt60 by at most {tolerance:.3g}.
Counts: {counts}
Rooms with a response that cannot be proved complete are {redrawn}.
Seed: {seed}. {versions}.
"""

METHODS = {
    "hybrid": "image sources to order {order}, rays with scattering beyond (counted up to {reach:g} m away)",
    "ism": "image sources alone, no scattering",
}


def _describe(plan: _Plan, counts: dict[str, int], n_rooms: int, seed: tuple[int, ...]) -> str:
    method = plan.method
    return DESCRIPTION.format(
        n_rirs=n_rooms * plan.n_rirs,
        n_rooms=n_rooms,
        sample_rate=method.sample_rate,
        delay=HALF_FILTER,
        depth=method.depth,
        method=METHODS[method.name].format(order=method.image_order, reach=method.receiver_reach),
        decay_range=method.decay_range,
        air="included" if method.air_absorption else "left out",
        raised="twice and four times the rays" if method.name == "hybrid" else "a duration longer by a quarter",
        tolerance=method.tolerance,
        counts=", ".join(f"{name} {count}" for name, count in counts.items()),
        redrawn="drawn anew" if plan.redraw else "kept",
        seed=seed,
        versions=plan.versions,
    )


def _bunch(rooms: list[_Room], plan: _Plan, seed: tuple[int, ...]) -> Bunch:
    """Put the rooms together, one entry a response."""
    responses = [response for room in rooms for response in room.responses]
    target = pd.DataFrame([row for room in rooms for row in room.rows])
    target.insert(1, "rt60_range", plan.method.decay_range)
    room_ids = np.repeat(np.arange(len(rooms)), plan.n_rirs)
    proof = pd.DataFrame([response._asdict() for response in responses]).drop(columns=["rir", "rt60"])
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
        sample_rate=plan.method.sample_rate,
        target=target,
        rir=np.arange(len(responses)),
        room=room_ids,
        complete=proof["complete"].to_numpy(),
        proof=proof,
        counts=dict(counts),
        DESCR=_describe(plan, counts, len(rooms), seed),
    )


def simulate_rooms(
    n_rooms: int = 64,
    n_rirs: int = 2,
    *,
    method: str = "hybrid",
    length: float | tuple[float, float] = (3, 10),
    width: float | tuple[float, float] = (3, 10),
    height: float | tuple[float, float] = (3, 5),
    wall_distance: float = 0.5,
    source_distance: float = 0.5,
    materials: Any = None,
    scattering: float | tuple[float, float] = (0.1, 0.5),
    air_absorption: bool = True,
    sample_rate: int = 16000,
    decay_range: str = "T30",
    tolerance: float = 0.05,
    redraw: bool = True,
    image_order: int = 3,
    n_rays: int = 8000,
    max_rays: int = 256000,
    max_images: int = 20_000_000,
    max_duration: float = 10.0,
    receiver_reach: float = 1.0,
    random_state: Any = None,
    n_jobs: int | None = None,
    memory: Any = None,
    verbose: int = 0,
) -> Bunch:
    """Simulate impulse responses of random shoebox rooms, with labels that are proved.

    By default rooms are drawn as in the paper (section 4.1): length and width from 3 to 10 m, height from 3 to 5 m,
    on each wall a random material of pyroomacoustics' database, source and microphone at least 0.5 m from the walls
    and from each other.

    Parameters
    ----------
    n_rooms : int, default=64
        Number of rooms.
    n_rirs : int, default=2
        Number of responses in each room, each with its own source and microphone position.
    method : {"hybrid", "ism"}, default="hybrid"
        With "hybrid", image sources up to `image_order` and rays with scattering for all other sound. With "ism",
        as in the paper, image sources alone and mirror-like walls; the order is chosen so that the response is
        complete. See Notes.
    length, width, height : float or (float, float)
        Size of the rooms, or the range from which it is drawn uniformly [m].
    wall_distance, source_distance : float, default=0.5
        Least distance of source and microphone from the walls, and from each other [m].
    materials : None, str, float, list or dict, default=None
        A name of the database or an absorption coefficient (0 to 1, in all octave bands) for all walls; a list of
        them, from which one is drawn for each wall; or a dict with one for each of the walls "west", "east",
        "south", "north", "floor" and "ceiling". None stands for the whole database.
    scattering : float or (float, float), default=(0.1, 0.5)
        Scattering coefficient of all walls of a room (ISO 17497-1), or the range from which it is drawn. Unused by
        "ism".
    air_absorption : bool, default=True
        Whether air absorbs (20 degrees Celsius, relative humidity of 30 to 50 %).
    sample_rate : int, default=16000
        Sampling rate [Hz].
    decay_range : {"T20", "T30", "T60"}, default="T30"
        Evaluation range of the reverberation time, which also says how far down responses are simulated.
    tolerance : float, default=0.05
        Largest relative change of the reverberation time, on raising rays or images, of a complete response. A
        third of it is aimed at.
    redraw : bool, default=True
        Whether a room is drawn anew if a response of it cannot be completed within `max_rays`, `max_images` and
        `max_duration`. Otherwise such responses are kept and flagged.
    image_order : int, default=3
        Highest order of the image sources of "hybrid".
    n_rays, max_rays : int, default=8000 and 256000
        Number of rays to start with and at most, in "hybrid". At least four times `n_rays` are traced.
    max_images : int, default=20_000_000
        Most image sources of a response of "ism".
    max_duration : float, default=10.0
        Longest duration of a response [s].
    receiver_reach : float, default=1.0
        Rays count in a box that reaches so far from the microphone to all sides, as far as the room does [m].
    random_state : int, RandomState instance or None, default=None
        Seed. The result is the same for every `n_jobs`, and the first rooms are the same for every `n_rooms`.
    n_jobs : int or None, default=None
        Number of rooms simulated at the same time, each in one thread of a process of its own; -1 for all cores.
    memory : str, path, joblib.Memory or None, default=None
        Where to keep simulated rooms. A run that was interrupted goes on from there.
    verbose : int, default=0
        Whether to show a progress bar.

    Returns
    -------
    Bunch
        One entry a response in each of:

        rirs : list of ndarray of shape (n_times_of_the_rir,), float32
            Impulse responses of different lengths.
        target : DataFrame
            ``rt60`` [s], ``rt60_range``, ``rt60_mid`` [s] (mean of the 500 Hz and 1 kHz octave bands), ``edt`` [s],
            ``c50`` [dB], ``d50``, ``drr`` [dB]; ``volume`` [m3],
            ``length``, ``width``, ``height``, ``source_x`` to ``microphone_z``, ``distance`` [m]; ``material_west``
            to ``material_ceiling``; ``scattering``.
        rir, room : ndarray of int
            Labels of the transmission path and of the room.
        complete : ndarray of bool
            Whether the decay was proved complete over the evaluation range.
        proof : DataFrame
            ``n_rays``, ``image_order``, ``n_raised``, ``rt60_change`` of each response, ``n_redrawn`` of its room.

        And ``sample_rate`` [Hz], ``counts`` (of rooms drawn anew, responses raised, and so on) and ``DESCR``.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or the rooms have no place for the distances; nothing is simulated then.
    RuntimeError
        If a hundred draws of a room give no complete one.

    Notes
    -----
    A fixed order of image sources cuts the decay, and the reverberation time then measures the cut. So sound is added
    until that no longer matters: twice and four times the rays ("hybrid"), or all image sources that arrive within a
    duration longer by a quarter ("ism"). Rooms that `max_images` cannot complete are the reverberant ones; with "ism"
    they are about a third of the default rooms, and the others are no fair sample of all. ``counts`` has the number.

    Sound that is only mirrored, up to `image_order` times, is exact (Allen and Berkley, 1979). Of all other sound rays
    give the energy, in octave bands and bins of 4 ms, and noise gives the fine structure. The energy is that of the
    diffuse field, and rooms of one material decay as Kuttruff's equation says: in 5 x 6 x 3 m with an absorption of
    0.1 to 0.4, 2 to 10 % slower than Eyring's.

    Examples
    --------
    >>> from roomacoustic_sk.datasets import simulate_rooms
    >>> rooms = simulate_rooms(2, 2, materials=0.5, random_state=0)
    >>> rooms.room, bool(rooms.complete.all())
    (array([0, 0, 1, 1]), True)
    >>> rooms.target[["rt60", "volume"]].shape
    (4, 2)
    """
    import pyroomacoustics as pra

    for name, value, low in (
        ("n_rooms", n_rooms, 1),
        ("n_rirs", n_rirs, 1),
        ("image_order", image_order, 0),
        ("n_rays", n_rays, 1),
        ("max_rays", max_rays, 4 * n_rays if isinstance(n_rays, int) else 4),
        ("max_images", max_images, 1),
    ):
        check_number(value, caller=CALLER, name=name, low=low, integer=True)
    for name, number in (
        ("wall_distance", wall_distance),
        ("source_distance", source_distance),
        ("tolerance", tolerance),
        ("max_duration", max_duration),
        ("receiver_reach", receiver_reach),
    ):
        check_number(number, caller=CALLER, name=name, low=0, low_open=True)
    check_choice(method, ("hybrid", "ism"), caller=CALLER, name="method")
    check_choice(decay_range, tuple(acoustics.DECAY_RANGES), caller=CALLER, name="decay_range")
    sample_rate = check_sample_rate(sample_rate, caller=CALLER)
    check_number(sample_rate, caller=CALLER, name="sample_rate (in Hz)", low=4000)
    size = np.array([check_range(v, n) for n, v in (("length", length), ("width", width), ("height", height))])
    check_geometry(size, wall_distance, source_distance)
    choices = check_materials(materials)
    scattering = check_range(scattering, "scattering", high=1, low_open=False)

    packages = {
        "roomacoustic_sk": version("roomacoustic_sk"),
        "pyroomacoustics": pra.__version__,
        "numpy": np.__version__,
    }
    plan = _Plan(
        n_rirs=int(n_rirs),
        ranges=RoomRanges(
            size=size,
            wall_distance=float(wall_distance),
            source_distance=float(source_distance),
            materials=choices,
            absorption=absorption_in_bands({material for choice in choices for material in choice}, sample_rate),
            scattering=scattering if method == "hybrid" else (0.0, 0.0),
        ),
        method=Method(
            name=method,
            sample_rate=sample_rate,
            air_absorption=bool(air_absorption),
            image_order=image_order,
            n_rays=n_rays,
            max_rays=max_rays,
            max_images=max_images,
            max_duration=float(max_duration),
            receiver_reach=float(receiver_reach),
            decay_range=decay_range,
            depth=25 - acoustics.DECAY_RANGES[decay_range][1],
            tolerance=float(tolerance),
        ),
        redraw=bool(redraw),
        versions=", ".join(" ".join(package) for package in packages.items()),
    )
    seed = tuple(int(word) for word in check_random_state(random_state).randint(0, 2**31 - 1, size=4))
    simulate = check_memory(os.fspath(memory) if isinstance(memory, os.PathLike) else memory).cache(_simulate_room)
    jobs = (joblib.delayed(simulate)(plan, seed, index) for index in range(n_rooms))
    rooms = joblib.Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    return _bunch(list(tqdm(rooms, desc=CALLER, total=n_rooms, unit="room", disable=not verbose)), plan, seed)
