"""Values in another unit, and sizes that nobody can mean, are refused, and the message names the unit."""

from __future__ import annotations

import numpy as np
import pytest
from toys import ENCODER, RATE, SUPERVISED, decaying_noise, diffuse, noise

from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor, SupervisedRoomRegressor
from roomacoustic_sk.acoustics import clarity, direct_to_reverberant_ratio, reverberation_time
from roomacoustic_sk.datasets import Hybrid, ImageSources, make_speech, simulate_rooms
from roomacoustic_sk.features import DecaySlopeFeatures
from roomacoustic_sk.networks import BandSpectrogram, MLPHead
from roomacoustic_sk.samplers import MultiviewBatchSampler, largest_batch

RESPONSE = diffuse(0.3, 1.0)
LONG = diffuse(3.0, 9.0)
SMALL = ENCODER | {"n_classes": 2, "validation_fraction": 0}
X = decaying_noise(np.repeat([0.2, 0.4, 0.6], 4))
RIR, SOURCE = np.divmod(np.arange(12), 4)


def fitted_encoder(**parameters):
    return ContrastiveRoomEncoder(**SMALL | parameters).fit(X, rir_groups=RIR)


@pytest.mark.parametrize("rate", [8, 16, 22.05, 44.1, 48, 999])
def test_sampling_rates_in_khz_are_refused(rate):
    message = rf"sample_rate must be in Hz, at least 1000, got {rate}. If it is in kHz, pass {1000 * rate:g}"
    for call in (
        lambda: reverberation_time(RESPONSE, rate),
        lambda: DecaySlopeFeatures(sample_rate=rate).fit(X),
        lambda: fitted_encoder(sample_rate=rate),
        lambda: make_speech(1, 1, sample_rate=rate),
        lambda: simulate_rooms(1, 1, sample_rate=rate),
        lambda: BandSpectrogram(sample_rate=rate),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("bands", [[0.5, 1, 2], [2, 4], [1000, 4], np.array([0.125])])
def test_bands_in_khz_are_refused(bands):
    for call in (
        lambda: reverberation_time(RESPONSE, RATE, bands=bands),
        lambda: DecaySlopeFeatures(bands=bands).fit(X),
    ):
        with pytest.raises(ValueError, match=r"bands must be in Hz, at least 10, got .*kHz, multiply by 1000"):
            call()


def test_a_band_that_may_be_in_hz_or_khz_gives_a_warning():
    with pytest.warns(UserWarning, match=r"bands should be in Hz, got 16 Hz, which is inaudible"):
        DecaySlopeFeatures(bands=[16, 1000]).fit(X)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: clarity(RESPONSE, RATE, limit=50), r"limit \(in s\) must be at most 5, got 50. The unit is s"),
        (
            lambda: direct_to_reverberant_ratio(np.tile(RESPONSE, 9), RATE, direct_window=6),
            "direct_window .* The unit is s",
        ),
        (
            lambda: fitted_encoder(segment_duration=4000),
            "segment_duration must be at most 600, got 4000. The unit is s",
        ),
        (lambda: fitted_encoder(hop_duration=2000), "hop_duration must be at most 600, got 2000. The unit is s"),
        (lambda: fitted_encoder(hop_duration=1e-9), r"hop_duration \(in s\) must be a number of at least 0.001"),
        (lambda: make_speech(1, 1, duration=4000), r"duration \(in s\) must be at most 600, got 4000"),
        (lambda: DecaySlopeFeatures(windows=[80]).fit(X), r"windows \(in s\) must be at most 10, got 80"),
        (lambda: simulate_rooms(1, 1, max_duration=1000), r"max_duration \(in s\) must be at most 100, got 1000"),
    ],
)
def test_milliseconds_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "sizes",
    [
        {"length": 500},
        {"width": (300, 1000)},
        {"height": 280},
        {"length": 5000, "width": 4000, "height": 3000},
        {"wall_distance": 5000},
    ],
)
def test_rooms_in_centimetres_or_millimetres_are_refused(sizes):
    with pytest.raises(ValueError, match=r"must be at most .* The unit is m: divide centimetres by 100"):
        simulate_rooms(1, 1, **sizes)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: simulate_rooms(1, 1, tolerance=5), "tolerance must be at most 1, got 5. It is a share"),
        (lambda: simulate_rooms(1, 1, materials=20), "materials .* at most 1, got 20. It is a share"),
        (lambda: simulate_rooms(1, 1, scattering=(10, 50)), "scattering .* at most 1, got 10. It is a share"),
        (
            lambda: RoomRegressor(validation_fraction=10).fit(noise(20, 3), noise(20)),
            "validation_fraction .* It is a share",
        ),
    ],
)
def test_per_cent_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_rooms_without_an_end_are_refused_unless_all_are_kept():
    for materials in (0.001, [0.002, 0.001]):
        with pytest.raises(ValueError, match=r"materials must absorb enough .*, got about .* s at least"):
            simulate_rooms(1, 1, materials=materials)
    kept = simulate_rooms(
        1, 1, materials=0.005, max_duration=0.3, redraw=False, random_state=0, n_rays=50, max_rays=200
    )
    assert not kept.complete.any()


@pytest.mark.parametrize("sampling", ["soft", "hard"])
@pytest.mark.parametrize("n_views", [5, 10**7, 10**15])
def test_views_are_reduced_at_once_however_many_are_asked_for(sampling, n_views):
    found = largest_batch(RIR, source_groups=SOURCE, sampling=sampling, n_views=n_views)
    assert found == (3, 4)


def test_the_largest_batch_is_that_of_a_search_from_above():
    rng = np.random.default_rng(0)
    for _ in range(20):
        rir, source = rng.integers(0, 5, 40), rng.integers(0, 9, 40)
        labels = {"source_groups": source, "sampling": "hard"}
        size = largest_batch(rir, n_classes=2, n_views=30, **labels)
        expected = next(views for views in range(9, 1, -1) if allows(rir, views, labels))
        assert size == (2, expected)


def allows(rir, n_views, labels):
    try:
        MultiviewBatchSampler(rir, n_classes=2, n_views=n_views, **labels)
    except ValueError:
        return False
    return True


@pytest.mark.parametrize(
    "call",
    [
        lambda: ContrastiveRoomEncoder(**SMALL | {"n_views": 10**7}).fit(np.tile(X, 2)),
        lambda: RoomRegressor(n_hidden=10**9).fit(noise(20, 3), noise(20)),
        lambda: SupervisedRoomRegressor(**SUPERVISED | {"n_hidden": 10**6}).fit(X, SOURCE),
        lambda: make_speech(1, 10**12),
        lambda: Hybrid(n_rays=10**12),
        lambda: Hybrid(max_rays=10**12),
        lambda: Hybrid(image_order=10**6),
        lambda: ImageSources(max_images=10**20),
        lambda: simulate_rooms(10**9, 1),
        lambda: simulate_rooms(1, 10**9),
        lambda: MLPHead(n_outputs=10**9),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(call):
    with pytest.raises(ValueError, match=r"^\w+: \w+.* must "):
        call()
