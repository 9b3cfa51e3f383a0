"""Responses of shoebox rooms against theory, against pyroomacoustics and against themselves at more effort."""

from __future__ import annotations

import numpy as np
import pyroomacoustics as pra
import pytest
from numpy.testing import assert_allclose

from roomacoustic_sk import acoustics
from roomacoustic_sk._shoebox import responses
from roomacoustic_sk._shoebox.bands import filter_bank
from roomacoustic_sk._shoebox.images import image_sources
from roomacoustic_sk._shoebox.rays import _lambert, trace_rays
from roomacoustic_sk._shoebox.responses import ResponseSpec
from roomacoustic_sk._shoebox.rooms import WALLS, TransmissionPath
from roomacoustic_sk.datasets import Hybrid, ImageSources

HYBRID = Hybrid(n_rays=4000, max_rays=16000)
IMAGES = ImageSources(max_images=5_000_000)
RNG = np.random.default_rng(0)


def spec(*, air_absorption: bool = False) -> ResponseSpec:
    return ResponseSpec(16000, air_absorption, max_duration=10.0, decay_range="T30", tolerance=0.05)


def one_material_path(absorption: float, scattering: float, seed: int) -> TransmissionPath:
    """Return a path in the 5 x 6 x 3 m room, all of one material."""
    size = np.array([5.0, 6.0, 3.0])
    source, microphone = np.random.default_rng(seed).uniform(0.5, size - 0.5, (2, 3))
    return TransmissionPath(size, np.full((6, 7), absorption), scattering, source, microphone)


def many_materials_path(seed: int) -> TransmissionPath:
    rng = np.random.default_rng(seed)
    size = np.array([3.5, 4.1, 3.0])
    source, microphone = rng.uniform(0.6, size - 0.6, (2, 3))
    return TransmissionPath(size, rng.uniform(0.1, 0.6, (6, 7)), 0.0, source, microphone)


def shoebox_of(path: TransmissionPath, max_order: int, **options) -> pra.ShoeBox:
    """Return pyroomacoustics' own simulation of a path."""
    bank = filter_bank(16000)
    materials = {
        wall: pra.Material({"coeffs": list(row), "center_freqs": list(bank.centers)})
        for wall, row in zip(WALLS, path.absorption, strict=True)
    }
    room = pra.ShoeBox(path.size, fs=16000, materials=materials, max_order=max_order, **options)
    room.add_source(path.source)
    room.add_microphone(path.microphone)
    return room


# --- Image sources against pyroomacoustics --------------------------------------------------------------------------


def test_image_sources_agree_with_pyroomacoustics():
    path = many_materials_path(0)
    room = shoebox_of(path, 5)
    room.image_source_model()
    expected = np.linalg.norm(room.sources[0].images - path.microphone[:, None], axis=0)
    ((distance, reflection, order),) = image_sources(path, max_order=5)
    assert order == 5
    rank, expected_rank = np.argsort(distance), np.argsort(expected)
    assert_allclose(distance[rank], expected[expected_rank], rtol=1e-5)
    assert_allclose(reflection[rank], room.sources[0].damping.T[expected_rank], rtol=1e-4)


def test_image_sources_are_complete_within_their_range():
    path = many_materials_path(1)
    inner = np.concatenate([d for d, *_ in image_sources(path, farthest=20.0)])
    outer = np.concatenate([d for d, *_ in image_sources(path, nearest=20.0, farthest=30.0)])
    ((every, *_),) = image_sources(path, max_order=30)
    assert_allclose(np.sort(np.concatenate([inner, outer])), np.sort(every[every < 30.0]))


def test_ism_response_agrees_with_pyroomacoustics():
    path = many_materials_path(2)
    response = IMAGES.simulate(path, spec(air_absorption=True), RNG)
    assert response.complete
    room = shoebox_of(path, 45, air_absorption=True)
    room.compute_rir()
    expected = room.rir[0][0][: len(response.rir)]
    assert np.linalg.norm(response.rir - expected) < 0.02 * np.linalg.norm(expected)
    label, reference = acoustics.reverberation_time([response.rir, room.rir[0][0][:16000]], 16000, truncation=None)
    assert_allclose(label, reference, rtol=0.05)


@pytest.mark.parametrize("order", [8, 15])
def test_responses_cut_at_an_order_agree_with_pyroomacoustics(order):
    path = many_materials_path(2)
    response = ImageSources(order=order).simulate(path, spec(air_absorption=True), RNG)
    assert response.image_order == order
    assert not response.complete
    room = shoebox_of(path, order, air_absorption=True)
    room.compute_rir()
    expected = room.rir[0][0]
    n = min(len(expected), len(response.rir))
    assert np.linalg.norm(response.rir[:n] - expected[:n]) < 0.02 * np.linalg.norm(expected)
    label = pra.experimental.measure_rt60(expected[np.argmax(np.abs(expected)) :], fs=16000, decay_db=30)
    assert_allclose(response.rt60, label, rtol=0.1)


# --- Convergence ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_converged_ism_responses_keep_their_labels_when_longer(monkeypatch):
    for seed in range(3):
        path = many_materials_path(seed)
        accepted = IMAGES.simulate(path, spec(), RNG)
        monkeypatch.setattr(responses, "FIRST_SECONDS", 2 * len(accepted.rir) / 16000)
        longer = IMAGES.simulate(path, spec(), RNG)
        monkeypatch.undo()
        assert longer.image_order > 1.5 * accepted.image_order
        both = [accepted.rir, longer.rir]
        assert_allclose(*acoustics.reverberation_time(both, 16000, truncation=None), rtol=0.05)
        assert_allclose(*acoustics.clarity(both, 16000, truncation=None), atol=0.1)


# --- Energy and decay against theory --------------------------------------------------------------------------------


def test_diffuse_reflections_follow_the_cosine_law():
    axis, inward = np.repeat([0, 1, 2], 20_000), np.tile([1.0, -1.0], 30_000)
    direction = _lambert(np.random.default_rng(0), axis, inward)
    assert_allclose((direction**2).sum(axis=0), 1, rtol=1e-5)
    cosine = direction[axis, np.arange(len(axis))] * inward
    assert cosine.min() >= 0
    assert_allclose([cosine.mean(), (cosine**2).mean()], [2 / 3, 1 / 2], atol=0.01)


def total_energy(path: TransmissionPath, n_rays: int = 20000) -> float:
    """Energy of image sources to order 3 and of rays beyond."""
    specular = sum(
        ((reflection[:, 0] / distance) ** 2).sum() for distance, reflection, _ in image_sources(path, max_order=3)
    )
    rays = trace_rays(
        path,
        n_rays,
        specular_order=3,
        reach=1.0,
        bin_width=1.0,
        floor=1e-6,
        max_distance=1e5,
        rng=np.random.default_rng(0),
    )
    return specular + rays[:, 0].sum()


@pytest.mark.parametrize("absorption", [0.1, 0.2, 0.4])
def test_rays_without_scattering_carry_the_energy_of_image_sources(absorption):
    for seed in range(3):
        path = one_material_path(absorption, 0.0, seed)
        images = image_sources(path, max_order=60)  # 0.9 ** 60 is -27 dB
        expected = sum(((reflection[:, 0] / distance) ** 2).sum() for distance, reflection, _ in images)
        assert_allclose(10 * np.log10(total_energy(path) / expected), 0, atol=0.15)


@pytest.mark.slow
@pytest.mark.parametrize("absorption", [0.1, 0.2, 0.4])
@pytest.mark.parametrize("scattering", [0.2, 0.5])
def test_energy_with_scattering_agrees_with_revised_theory(absorption, scattering):
    """Barron and Lee (J. Acoust. Soc. Am. 84, 1988), Eq. 3, with Eyring's absorption area."""
    volume, area, excess = 90.0, -126.0 * np.log(1 - absorption), []
    for seed in range(8):
        path = one_material_path(absorption, scattering, seed)
        distance = np.linalg.norm(path.source - path.microphone)
        expected = 1 / distance**2 + 16 * np.pi / area * np.exp(-area * distance / (4 * volume))
        excess.append(10 * np.log10(total_energy(path, 4000) / expected))
    assert_allclose(np.mean(excess), 0, atol=0.6)


def test_response_has_the_energy_of_images_and_rays():
    for seed in range(2):
        path = one_material_path(0.2, 0.5, seed)
        response = HYBRID.simulate(path, spec(), np.random.default_rng(0))
        energy = (response.rir.astype(float) ** 2).sum()
        assert_allclose(10 * np.log10(energy / total_energy(path)), 0, atol=0.5)


# --- Methods --------------------------------------------------------------------------------------------------------


def test_responses_are_simulated_down_to_25_db_below_the_range():
    assert spec().depth == 60
    assert spec()._replace(decay_range="T20").depth == 50


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        (Hybrid, {"image_order": -1}, "image_order must be a whole number of at least 0, got -1"),
        (Hybrid, {"n_rays": 2.5}, "n_rays must be a whole number of at least 1, got 2.5"),
        (Hybrid, {"n_rays": 8000, "max_rays": 16000}, "max_rays must be a whole number of at least 32000, got 16000"),
        (Hybrid, {"receiver_reach": 0}, "receiver_reach must be a number above 0, got 0"),
        (ImageSources, {"max_images": 0}, "max_images must be a whole number of at least 1, got 0"),
    ],
)
def test_methods_check_their_own_arguments(method, arguments, message):
    with pytest.raises((TypeError, ValueError), match=f"^{method.__name__}: {message}"):
        method(**arguments)


def test_methods_are_values_that_do_not_change():
    assert Hybrid(n_rays=500) == Hybrid(n_rays=500) != Hybrid()
    assert repr(ImageSources(max_images=7)) == "ImageSources(max_images=7, order=None)"
    with pytest.raises(AttributeError, match="n_rays"):
        Hybrid().n_rays = 3
