"""Simulated rooms: contents, draws, seeds, convergence, theory and refusals."""

from __future__ import annotations

import warnings

import joblib
import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import kstest

from roomacoustic_sk import acoustics
from roomacoustic_sk._shoebox import responses
from roomacoustic_sk._shoebox.images import HALF_FILTER
from roomacoustic_sk._shoebox.rays import trace_rays
from roomacoustic_sk._shoebox.rooms import PRESETS, WALLS, check_ranges, draw_room
from roomacoustic_sk.datasets import Hybrid, ImageSources, _rooms
from roomacoustic_sk.datasets._rooms import simulate_rooms

SPEED = 343.0
QUICK = {"n_rays": 500, "tolerance": 0.5}
DRY = [
    "carpet_tufted_9m",
    "panel_fabric_covered_6pcf",
    "curtains_cotton_0.5",
    "studio_curtains",
    "ceiling_fissured_tile",
]
BOX = {"length": 5.0, "width": 6.0, "height": 3.0}


@pytest.fixture(scope="module")
def rooms():
    """Six responses of three rooms of absorbing materials."""
    return simulate_rooms(3, 2, materials=DRY, random_state=0, **QUICK)


# --- Contents -------------------------------------------------------------------------------------------------------


def test_every_response_has_labels_and_ids(rooms):
    assert len(rooms.rirs) == len(rooms.target) == len(rooms.proof) == 6
    assert_array_equal(rooms.rir, np.arange(6))
    assert_array_equal(rooms.room, [0, 0, 1, 1, 2, 2])
    assert rooms.complete.all()
    assert rooms.sample_rate == 16000
    assert (rooms.target["rt60_range"] == "T30").all()
    for rir in rooms.rirs:
        assert rir.dtype == np.float32
        assert rir.ndim == 1
    assert len({len(rir) for rir in rooms.rirs}) > 1


def test_labels_are_those_of_the_responses_themselves(rooms):
    target = rooms.target
    assert_allclose(target["rt60"], acoustics.reverberation_time(rooms.rirs, 16000, truncation=None))
    bands = acoustics.reverberation_time(rooms.rirs, 16000, bands=[500, 1000], truncation=None)
    assert_allclose(target["rt60_mid"], bands.mean(axis=1))
    assert_allclose(target["edt"], acoustics.early_decay_time(rooms.rirs, 16000, truncation=None))
    assert_allclose(target["c50"], acoustics.clarity(rooms.rirs, 16000, truncation=None))
    assert_allclose(target["d50"], acoustics.definition(rooms.rirs, 16000, truncation=None))
    assert_allclose(target["drr"], acoustics.direct_to_reverberant_ratio(rooms.rirs, 16000, truncation=None))


@pytest.mark.slow
def test_rooms_and_positions_keep_to_the_given_ranges():
    ranges = {"length": (4, 5), "width": (6, 7), "height": (2.5, 3)}
    target = simulate_rooms(
        12, 2, **ranges, wall_distance=0.8, source_distance=1.5, materials=DRY, random_state=3, **QUICK
    ).target
    for name, (low, high) in ranges.items():
        assert target[name].between(low, high).all()
        assert target[name].nunique() == 12
    for point in ("source", "microphone"):
        for axis, side in zip("xyz", ("length", "width", "height"), strict=True):
            assert (target[f"{point}_{axis}"] >= 0.8).all()
            assert (target[f"{point}_{axis}"] <= target[side] - 0.8).all()
    assert (target["distance"] >= 1.5).all()
    assert_allclose(target["volume"], target["length"] * target["width"] * target["height"])
    assert set(target["material_floor"]) <= set(DRY)
    assert target["scattering"].between(0.1, 0.5).all()


def drawn(preset, n_rooms=400, **ranges):
    """Return the rooms and paths that a preset draws, without simulating them."""
    names = ("length", "width", "height", "wall_distance", "source_distance", "materials")
    given = dict.fromkeys(names) | {"scattering": 0.3, "sample_rate": 16000} | ranges
    checked = check_ranges(PRESETS[preset], **given)
    return [draw_room(checked, 1, np.random.default_rng(seed)) for seed in range(n_rooms)]


@pytest.mark.parametrize("preset", ["everyday", "wide"])
def test_presets_draw_sizes_and_distances_on_a_log_scale(preset):
    paths = [path for _, (path,) in drawn(preset)]
    size = np.array([path.size for path in paths])
    for axis, name in enumerate(("length", "width", "height")):
        low, high = getattr(PRESETS[preset], name)
        assert (size[:, axis] > low).all()
        assert (size[:, axis] < high).all()
        share = np.log(size[:, axis] / low) / np.log(high / low)
        assert kstest(share, "uniform").pvalue > 0.01
    distance = np.array([np.linalg.norm(path.source - path.microphone) for path in paths])
    low = PRESETS[preset].source_distance[0]
    assert distance.min() >= low
    assert (distance < 2 * low).mean() > 0.05
    assert distance.max() > 4
    for path in paths:
        for point in (path.source, path.microphone):
            margin = PRESETS[preset].wall_distance[0] - 1e-9
            assert (point >= margin).all()
            assert (point <= path.size - margin).all()


def test_hard_walls_make_rooms_of_one_size_dry_or_lively():
    box = {"length": 6.0, "width": 5.0, "height": 3.0}
    spread = {
        preset: np.std([np.log(paths[0].absorption[:, 2:4].mean()) for _, paths in drawn(preset, **box)])
        for preset in ("paper", "everyday")
    }
    assert spread["everyday"] > 1.5 * spread["paper"]
    chosen = drawn("everyday", 5, materials=0.4, **box)
    assert all(set(materials) == {0.4} for materials, _ in chosen)


@pytest.mark.parametrize("materials", [[0.4, 0.6], (0.4, 0.6), np.array([0.4, 0.6]), pd.Series(["0.4", "0.6"])])
def test_materials_come_in_any_sequence_and_as_the_target_has_them(materials):
    assert {material for walls, _ in drawn("paper", 5, materials=materials) for material in walls} == {0.4, 0.6}


def test_a_range_of_source_distances_is_kept_as_far_as_the_room_goes():
    box = {"length": 4.0, "width": 3.0, "height": 2.5}
    paths = [path for _, (path,) in drawn("paper", 200, source_distance=(0.03, 40.0), **box)]
    distance = np.array([np.linalg.norm(path.source - path.microphone) for path in paths])
    assert distance.min() < 0.05
    assert distance.max() > 2
    one = drawn("paper", 20, source_distance=(0.2, 0.2), **box)
    assert_allclose([np.linalg.norm(path.source - path.microphone) for _, (path,) in one], 0.2)


def test_modes_of_a_small_lively_room_leave_no_mid_frequency_value():
    booth = {"length": 1.3, "width": 1.2, "height": 1.25, "wall_distance": 0.3, "source_distance": 0.1}
    lively = simulate_rooms(1, 1, materials=0.05, random_state=0, **booth, **QUICK)
    assert np.isnan(lively.target["rt60_mid"][0])
    assert lively.proof["reason"][0] == "500 Hz octave below the Schroeder frequency"
    assert lively.proof["schroeder_frequency"][0] > 707
    dry = simulate_rooms(1, 1, materials=0.5, random_state=0, **booth, **QUICK)
    assert np.isfinite(dry.target["rt60_mid"][0])
    assert dry.proof["reason"][0] == ""
    volume, decay_time = 1.3 * 1.2 * 1.25, dry.target["rt60_mid"][0]
    assert_allclose(dry.proof["schroeder_frequency"][0], 2000 * np.sqrt(decay_time / volume))


def test_a_source_at_the_microphone_leaves_no_reverberation_time():
    near = simulate_rooms(1, 1, source_distance=(0.02, 0.02), materials=0.6, random_state=0, **BOX, **QUICK)
    assert near.target["drr"][0] > 25
    assert np.isnan(near.target[["rt60", "rt60_mid"]].to_numpy(dtype=float)).all()
    assert near.proof["reason"][0] == acoustics.RINGING


def test_rays_are_counted_farther_away_in_large_rooms(monkeypatch):
    reach = []

    def noting(path, n_rays, **options):
        reach.append(options["reach"])
        return trace_rays(path, n_rays, **options)

    monkeypatch.setattr(responses, "trace_rays", noting)
    for edge in (4.0, 24.0):
        simulate_rooms(1, 1, length=edge, width=edge, height=edge, materials=0.6, random_state=0, **QUICK)
    assert {round(one, 9) for one in reach} == {1.0, 3.0}


def test_direct_sound_has_the_right_delay_and_level(rooms):
    for rir, distance in zip(rooms.rirs, rooms.target["distance"], strict=True):
        arrival = HALF_FILTER + distance / SPEED * 16000
        near = slice(round(arrival) - 8, round(arrival) + 9)
        instants = np.arange(near.start, near.stop) - arrival
        strength = rir[near] @ np.sinc(instants) / (np.sinc(instants) @ np.sinc(instants))
        assert_allclose(strength, 1 / distance, rtol=0.1)


def test_description_states_method_and_counts(rooms):
    for words in ("6 responses of 3", "image sources to order 3", "rooms_redrawn 0", "pyroomacoustics", "16000 Hz"):
        assert words in rooms.DESCR
    assert rooms.counts["rirs"] == 6


# --- Repetition -----------------------------------------------------------------------------------------------------


def assert_same_rooms(one, other):
    for rir, same in zip(one.rirs, other.rirs, strict=True):
        assert_array_equal(rir, same)
    assert one.target.equals(other.target)


def forbid_simulation(monkeypatch):
    def never(*args, **kwargs):
        raise AssertionError("simulated although it was kept")

    monkeypatch.setattr(responses, "trace_rays", never)


@pytest.mark.slow
def test_a_seed_determines_rooms_for_any_n_jobs_and_n_rooms(rooms, tmp_path, monkeypatch):
    options = {"materials": DRY, "random_state": 0, **QUICK}
    assert_same_rooms(rooms, simulate_rooms(3, 2, n_jobs=2, memory=tmp_path, **options))
    first = simulate_rooms(1, 2, **options)
    assert_array_equal(first.rirs[1], rooms.rirs[1])
    other = simulate_rooms(1, 2, **options | {"random_state": 1})
    assert other.target["volume"][0] != rooms.target["volume"][0]
    forbid_simulation(monkeypatch)
    assert_same_rooms(rooms, simulate_rooms(3, 2, memory=tmp_path, **options))


def test_memory_is_reused_only_for_the_same_arguments(tmp_path, monkeypatch):
    kept = simulate_rooms(2, 1, materials=0.6, random_state=0, memory=tmp_path, **QUICK)
    forbid_simulation(monkeypatch)
    memory = joblib.Memory(str(tmp_path), verbose=0)
    assert_same_rooms(kept, simulate_rooms(2, 1, materials=0.6, random_state=0, memory=memory, **QUICK))
    with pytest.raises(AssertionError, match="although"):
        simulate_rooms(2, 1, materials=0.5, random_state=0, memory=str(tmp_path), **QUICK)


def test_an_interrupted_run_resumes_after_the_completed_rooms(tmp_path, monkeypatch):
    options = {"materials": 0.6, "random_state": 0, "memory": tmp_path, **QUICK}
    traced = []

    def interrupted(*args, **kwargs):
        traced.append(1)
        if len(traced) == 4:
            raise KeyboardInterrupt
        return trace_rays(*args, **kwargs)

    monkeypatch.setattr(responses, "trace_rays", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulate_rooms(3, 1, **options)
    del traced[:]
    traced.extend([1] * 4)  # no more interruptions
    resumed = simulate_rooms(3, 1, **options)
    n_traced = np.log2(resumed.proof["n_rays"] / QUICK["n_rays"]) + 1
    assert len(traced) - 4 == n_traced[1:].sum()
    monkeypatch.undo()
    assert_same_rooms(resumed, simulate_rooms(3, 1, **options | {"memory": None}))


def test_progress_is_shown_only_on_request(capsys):
    simulate_rooms(1, 1, materials=0.6, random_state=0, **QUICK)
    assert capsys.readouterr().err == ""
    simulate_rooms(1, 1, materials=0.6, random_state=0, verbose=1, **QUICK)
    assert "simulate_rooms: 100%" in capsys.readouterr().err


# --- Convergence ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_converged_hybrid_responses_keep_their_labels_with_more_rays():
    first = simulate_rooms(6, 1, n_rays=4000, max_rays=64_000, redraw=False, random_state=5)
    again = simulate_rooms(6, 1, n_rays=64_000, tolerance=0.5, redraw=False, random_state=5)
    assert (again.proof["n_rays"] >= 4 * first.proof["n_rays"]).all()
    assert first.complete.sum() >= 4
    accepted, reference = first.target[first.complete], again.target[first.complete]
    assert_array_equal(accepted["volume"], reference["volume"])
    assert_allclose(accepted["rt60"], reference["rt60"], rtol=0.05)
    assert_allclose(accepted["c50"], reference["c50"], atol=0.5)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hybrid", "ism"])
def test_incomplete_responses_are_flagged(name):
    limits = {"max_images": 2000} if name == "ism" else {"max_duration": 0.1}
    rooms = simulate_rooms(4, 1, method=name, materials=0.05, redraw=False, random_state=0, n_rays=500, **limits)
    assert not rooms.complete.any()
    assert rooms.target["rt60"].isna().all()
    assert rooms.counts["rirs_incomplete"] == 4
    assert "kept" in rooms.DESCR


def test_a_fixed_order_ties_the_label_to_the_cut():
    options = {"materials": 0.1, "random_state": 0}
    times = [
        simulate_rooms(6, 1, method=ImageSources(order=order), **options).target["rt60"].mean() for order in (5, 10, 20)
    ]
    converged = simulate_rooms(6, 1, **options).target["rt60"].mean()
    assert 1.2 * times[0] < times[1] < times[2] / 1.2 < converged
    rooms = simulate_rooms(6, 1, method=ImageSources(order=10), **options)
    assert not rooms.complete.any()
    assert rooms.counts["rooms_redrawn"] == 0
    assert "cut at order 10: the labels measure that cut" in rooms.DESCR
    assert "not sought, and `complete` is False" in rooms.DESCR


def test_incomplete_rooms_are_redrawn_and_counted():
    options = {"method": "ism", "max_images": 100_000, "random_state": 0, "materials": [0.1, 0.5, 0.7]}
    rooms = simulate_rooms(4, 1, **options)
    assert rooms.complete.all()
    assert rooms.counts["rooms_redrawn"] == rooms.proof["n_redrawn"].sum() > 0
    first = simulate_rooms(4, 1, **options, redraw=False)
    redrawn = rooms.proof["n_redrawn"].to_numpy() > 0
    assert_array_equal(first.complete, ~redrawn)
    assert_array_equal(first.target["volume"] != rooms.target["volume"], redrawn)


@pytest.mark.slow
def test_raised_responses_are_counted():
    rooms = simulate_rooms(3, 1, materials=[0.1, 0.9], n_rays=100, max_rays=10_000, random_state=0)
    assert (rooms.proof["rt60_change"] <= 0.05).all()
    assert rooms.counts["rirs_raised"] == (rooms.proof["n_rays"] > 400).sum() > 0
    assert_array_equal(rooms.proof["n_rays"], 400 * 2 ** rooms.proof["n_raised"])


@pytest.mark.parametrize("n_jobs", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_errors_of_hopeless_rooms_name_the_function_in_any_process(n_jobs):
    message = r"^simulate_rooms: room \d must be complete within 100 draws, got none\. Raise max_rays"
    with pytest.raises(RuntimeError, match=message):
        simulate_rooms(2, 1, method="ism", materials=0.05, max_images=500, random_state=0, n_jobs=n_jobs)


# --- Decay against theory -------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(("absorption", "tolerance"), [(0.1, 0.07), (0.2, 0.07), (0.3, 0.07), (0.4, 0.09)])
def test_one_material_rooms_decay_as_in_eyring_and_kuttruff(absorption, tolerance):
    target = simulate_rooms(
        8, 1, **BOX, materials=absorption, scattering=0.5, air_absorption=False, n_rays=2000, random_state=0
    ).target
    exponent = -np.log(1 - absorption)
    eyring = 24 * np.log(10) / SPEED * 90 / (126 * exponent)
    assert_allclose(target["rt60"].mean(), eyring, rtol=tolerance)
    # Eyring takes all ways between walls for equal. They have a relative variance of about 0.36 here, and the decay is
    # slower by that: by 10 % at an absorption of 0.4 (Kuttruff, Room Acoustics, 5th ed., Eq. 5.24 and Table 5.1).
    kuttruff = eyring / (1 - 0.36 / 2 * exponent)
    assert_allclose(target["rt60"].mean(), kuttruff, rtol=0.04)


# --- Arguments ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_rooms": 0}, "n_rooms must be a whole number of at least 1, got 0"),
        ({"n_rirs": 1.5}, "n_rirs must be a whole number of at least 1, got 1.5"),
        ({"length": (10, 3)}, r"length must be a pair \(lowest, highest\), got \(10, 3\). Swap them"),
        ({"width": (-3, 10)}, "width must be a number above 0, got -3"),
        ({"height": (3, 4, 5)}, r"height must be a number or a pair \(lowest, highest\), got a tuple of 3 items"),
        ({"height": (3, np.inf)}, "height must be at most 100, got inf. The unit is m"),
        ({"height": 0.9}, r"height must be above 2 \* wall_distance = 1 m, got 0.9 m. Make the rooms larger"),
        ({"wall_distance": 1.5}, r"must be above 2 \* wall_distance = 3 m, got 3 m"),
        ({"source_distance": 9}, "source_distance must be at most 2.77 m .* got 9 m. Make the rooms larger"),
        (
            {"materials": "marzipan"},
            "materials must be names of pyroomacoustics' database or absorption coefficients, got 'marzipan'",
        ),
        ({"materials": ["marble_floor", 1.2]}, "materials .* above 0 and at most 1, got 1.2"),
        ({"materials": []}, "materials must have at least one to choose from, got none"),
        ({"materials": {"floor": 0.1}}, r"materials must have the keys \['west', .*\], got \['floor'\]"),
        ({"scattering": (0.1, 1.2)}, "scattering must be a number of at least 0 and at most 1, got 1.2"),
        ({"method": "waves"}, r"method must be one of \['hybrid', 'ism'\], got 'waves'"),
        ({"decay_range": "T45"}, "decay_range must be one of"),
        ({"sample_rate": 16000.5}, "sample_rate must be a whole number of Hz, got 16000.5"),
        ({"max_rays": 16000}, "max_rays must be a whole number of at least 32000, got 16000"),
    ],
)
def test_invalid_arguments_are_refused_before_simulation(arguments, message, monkeypatch):
    monkeypatch.setattr(_rooms, "_simulate_room", None)
    with pytest.raises((ValueError, TypeError), match=f"^simulate_rooms: .*{message}"):
        simulate_rooms(**arguments)


@pytest.mark.slow
def test_method_objects_agree_with_names_and_flat_arguments(rooms, tmp_path):
    options = {"materials": DRY, "random_state": 0, "memory": tmp_path}
    assert_same_rooms(rooms, simulate_rooms(3, 2, method=Hybrid(n_rays=500), tolerance=0.5, **options))
    flat = {"image_order": 2, "n_rays": 300, "max_rays": 5000, "receiver_reach": 0.8, "tolerance": 0.5}
    method = Hybrid(image_order=2, n_rays=300, max_rays=5000, receiver_reach=0.8)
    one, other = simulate_rooms(1, 1, **flat, **options), simulate_rooms(1, 1, method=method, tolerance=0.5, **options)
    assert_same_rooms(one, other)
    assert one.DESCR == other.DESCR
    one = simulate_rooms(1, 1, method="ism", max_images=1_000_000, **options)
    other = simulate_rooms(1, 1, method=ImageSources(max_images=1_000_000), **options)
    assert_same_rooms(one, other)
    assert one.DESCR == other.DESCR


def test_a_method_name_ignores_arguments_of_the_other_method():
    one = simulate_rooms(1, 1, method="ism", materials=0.5, n_rays=100, random_state=0)
    assert_same_rooms(one, simulate_rooms(1, 1, method="ism", materials=0.5, random_state=0))


@pytest.mark.parametrize("method", [Hybrid(), ImageSources()])
@pytest.mark.parametrize(
    ("name", "value", "owner"),
    [
        ("image_order", 3, "Hybrid"),
        ("n_rays", 8000, "Hybrid"),
        ("max_rays", 256000, "Hybrid"),
        ("receiver_reach", 1.0, "Hybrid"),
        ("max_images", 20_000_000, "ImageSources"),
    ],
)
def test_flat_arguments_beside_a_method_object_are_refused(method, name, value, owner):
    message = (
        rf"^simulate_rooms: {name} must be None together with a method object, got {value}\. "
        rf"Pass method={owner}\({name}="
    )
    with pytest.raises(ValueError, match=message):
        simulate_rooms(method=method, **{name: value})


def test_materials_may_be_given_by_wall_by_name_or_as_a_number():
    by_wall = dict.fromkeys(WALLS, 0.5) | {"floor": "carpet_tufted_9m"}
    target = simulate_rooms(1, 1, materials=by_wall, random_state=0, **QUICK).target
    assert target["material_floor"][0] == "carpet_tufted_9m"
    assert target["material_west"][0] == "0.5"
    target = simulate_rooms(1, 1, materials="studio_curtains", random_state=0, **QUICK).target
    assert (target[[f"material_{wall}" for wall in WALLS]] == "studio_curtains").all(axis=None)


def test_other_sample_rates_and_decay_ranges_work():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rooms = simulate_rooms(1, 1, materials=0.5, sample_rate=8000, decay_range="T20", random_state=0, **QUICK)
    assert rooms.sample_rate == 8000
    assert rooms.target["rt60_range"][0] == "T20"
    assert_allclose(rooms.target["rt60"], 0.2, atol=0.1)
