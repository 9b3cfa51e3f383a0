"""Reverberant speech is y = x * h + n: against scipy's convolution, with the labels of every clip."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray
from scipy.signal import fftconvolve
from sklearn.utils import Bunch

from roomacoustic_sk.datasets import take
from roomacoustic_sk.datasets._reverberant import make_reverberant_speech
from roomacoustic_sk.datasets._synthetic_speech import make_speech

RATE = 16000


@pytest.fixture
def rooms() -> Bunch:
    """Make ten responses of five rooms, some longer than the clips, with a delay before the direct sound."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(2000, 14000, 10)
    rirs = []
    for n in lengths:
        rir = rng.standard_normal(n) * 10 ** (-3 * np.arange(n) / RATE / 0.4) * 0.2
        rir[:50] = 0
        rir[50] = 1
        rirs.append(rir.astype(np.float32))
    target = pd.DataFrame({"rt60": np.linspace(0.2, 2, 10), "volume": np.arange(10.0)}, index=np.arange(100, 110))
    return Bunch(rirs=rirs, sample_rate=RATE, target=target, rir=np.arange(10), room=np.repeat(list("abcde"), 2))


@pytest.fixture
def speech() -> Bunch:
    rng = np.random.default_rng(1)
    return Bunch(
        segments=rng.standard_normal((13, 8000)).astype(np.float32) * 0.1,
        sample_rate=RATE,
        source=np.array([f"s{i}" for i in range(13)]),
        speaker=np.arange(13) % 4,
        synthetic=False,
    )


def expected(rooms: Bunch, speech: Bunch, data: Bunch, clip: int) -> NDArray[np.float64]:
    """Convolve the pair named by the labels of a clip, in float64."""
    rir = rooms.rirs[np.flatnonzero(rooms.rir == data.rir[clip])[0]].astype(float)
    segment = speech.segments[np.flatnonzero(speech.source == data.source[clip])[0]].astype(float)
    return fftconvolve(segment, rir)[: len(segment)]


def check_against_scipy(rooms: Bunch, speech: Bunch, data: Bunch) -> None:
    for clip, samples in enumerate(data.data):
        reference = expected(rooms, speech, data, clip)
        assert np.abs(samples - reference).max() < 1e-5 * np.abs(reference).max()


def test_the_grid_pairs_each_response_with_each_segment(rooms: Bunch, speech: Bunch) -> None:
    data = make_reverberant_speech(rooms, speech)
    assert data.data.shape == (130, 8000)
    assert data.data.dtype == np.float32
    np.testing.assert_array_equal(data.rir, np.repeat(rooms.rir, 13))
    np.testing.assert_array_equal(data.source, np.tile(speech.source, 10))
    check_against_scipy(rooms, speech, data)


def test_every_clip_has_the_target_room_and_speaker_of_its_pair(rooms: Bunch, speech: Bunch) -> None:
    data = make_reverberant_speech(rooms, speech, pairing="random", n_samples=60, random_state=0)
    np.testing.assert_array_equal(data.room, rooms.room[data.rir])
    np.testing.assert_array_equal(data.speaker, [speech.speaker[int(source[1:])] for source in data.source])
    np.testing.assert_array_equal(data.target["volume"], data.rir)
    np.testing.assert_array_equal(data.target["rt60"], rooms.target["rt60"].to_numpy()[data.rir])
    assert data.target.index.tolist() == list(range(60))
    assert data.sample_rate == RATE


@pytest.mark.parametrize("n_samples", [1, 12, 60, 129, 130])
def test_random_pairs_differ_and_use_responses_and_segments_evenly(rooms: Bunch, speech: Bunch, n_samples: int) -> None:
    data = make_reverberant_speech(rooms, speech, pairing="random", n_samples=n_samples, random_state=0)
    check_against_scipy(rooms, speech, data)
    assert len(set(zip(data.rir, data.source, strict=True))) == n_samples
    for ids, n_all in ((data.rir, 10), (data.source, 13)):
        counts = np.unique(ids, return_counts=True)[1]
        assert counts.max() <= -(-n_samples // n_all)
        assert len(counts) == min(n_samples, n_all)


@pytest.mark.parametrize(("n_rirs", "n_segments"), [(6, 9), (8, 4), (7, 7), (1, 5), (5, 1)])
def test_as_many_random_pairs_as_possible_are_all_pairs(
    rooms: Bunch, speech: Bunch, n_rirs: int, n_segments: int
) -> None:
    rooms, speech = take(rooms, slice(n_rirs)), take(speech, slice(n_segments))
    n_pairs = n_rirs * n_segments
    data = make_reverberant_speech(rooms, speech, pairing="random", n_samples=n_pairs, lazy=True, random_state=0)
    assert len(set(zip(data.rir, data.source, strict=True))) == n_pairs


def test_pairs_follow_the_seed(rooms: Bunch, speech: Bunch) -> None:
    first, again, other = (
        make_reverberant_speech(rooms, speech, pairing="random", n_samples=40, random_state=seed) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first.source, again.source)
    np.testing.assert_array_equal(first.rir, again.rir)
    assert (first.source != other.source).any()


@pytest.mark.parametrize("snr", [0.0, 20.0])
def test_noise_is_white_and_has_the_requested_ratio(rooms: Bunch, speech: Bunch, snr: float) -> None:
    clean = make_reverberant_speech(rooms, speech).data.astype(float)
    noise = make_reverberant_speech(rooms, speech, snr=snr, random_state=0).data - clean
    measured = 10 * np.log10(np.mean(clean**2, axis=1) / np.mean(noise**2, axis=1))
    np.testing.assert_allclose(measured, snr, atol=0.3)
    spectrum = np.mean(np.abs(np.fft.rfft(noise / noise.std(axis=1, keepdims=True), axis=1)) ** 2, axis=0)
    bands = spectrum[1:4001].reshape(8, -1).mean(axis=1)
    np.testing.assert_allclose(bands / bands.mean(), 1, atol=0.03)
    correlation = np.corrcoef(noise) - np.eye(len(noise))
    assert np.abs(correlation).max() < 0.1  # every clip has noise of its own


@pytest.mark.parametrize("pairing", ["grid", "random"])
def test_the_result_is_the_same_for_any_number_of_threads(rooms: Bunch, speech: Bunch, pairing: str) -> None:
    n_samples = None if pairing == "grid" else 100
    one, two = (
        make_reverberant_speech(
            rooms, speech, pairing=pairing, n_samples=n_samples, snr=10.0, random_state=3, n_jobs=n_jobs
        )
        for n_jobs in (1, 2)
    )
    np.testing.assert_array_equal(one.data, two.data)
    np.testing.assert_array_equal(one.source, two.source)


def test_noise_follows_the_seed(rooms: Bunch, speech: Bunch) -> None:
    first, again, other = (make_reverberant_speech(rooms, speech, snr=10.0, random_state=s).data for s in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0


def test_a_unit_impulse_returns_the_dry_speech(speech: Bunch) -> None:
    rooms = Bunch(rirs=[np.array([1.0])], sample_rate=RATE, target=pd.DataFrame({"rt60": [0.0]}), rir=[0], room=[0])
    np.testing.assert_allclose(make_reverberant_speech(rooms, speech).data, speech.segments, atol=1e-6)


def test_the_delay_is_removed_only_on_request(speech: Bunch) -> None:
    rir = np.zeros(500)
    rir[200] = 0.5  # direct sound
    rir[:200] = 0.04  # 22 dB below: before the onset
    rir[300] = 0.3
    rooms = Bunch(rirs=[rir], sample_rate=RATE, target=pd.DataFrame({"rt60": [0.0]}), rir=[0], room=[0])
    check_against_scipy(rooms, speech, make_reverberant_speech(rooms, speech))
    data = make_reverberant_speech(rooms, speech, remove_delay=True)
    cut = Bunch(**{**rooms, "rirs": [rir[200:]]})
    check_against_scipy(cut, speech, data)


@pytest.mark.parametrize("snr", [None, 10.0])
def test_the_level_can_be_set_by_power_or_by_peak(rooms: Bunch, speech: Bunch, snr: float | None) -> None:
    plain, rms, peak = (
        make_reverberant_speech(rooms, speech, normalize=how, snr=snr, random_state=0).data
        for how in (None, "rms", "peak")
    )
    np.testing.assert_allclose(np.sqrt(np.mean(rms**2, axis=1)), 0.1, rtol=1e-5)
    np.testing.assert_allclose(np.abs(peak).max(axis=1), 0.9, rtol=1e-5)
    for scaled in (rms, peak):
        gain = np.abs(scaled).max(axis=1, keepdims=True) / np.abs(plain).max(axis=1, keepdims=True)
        np.testing.assert_allclose(scaled, gain * plain, atol=1e-5)


def test_double_precision_lists_and_unequal_lengths_are_accepted(rooms: Bunch, speech: Bunch) -> None:
    data = make_reverberant_speech(
        dict(rooms, rirs=[rir.astype(float) for rir in rooms.rirs], rir=list(rooms.rir)),
        dict(speech, segments=[segment.astype(float) for segment in speech.segments]),
    )
    assert data.data.dtype == np.float32
    check_against_scipy(rooms, speech, data)


def test_working_memory_does_not_grow_with_the_number_of_clips(rooms: Bunch, speech: Bunch) -> None:
    def working_memory(speech: Bunch) -> int:
        tracemalloc.start()
        data = make_reverberant_speech(rooms, speech)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak - data.data.nbytes

    more = Bunch(**speech | {"segments": np.tile(speech.segments, (4, 1)), "source": np.arange(52)})
    more.speaker = np.tile(speech.speaker, 4)
    assert working_memory(more) < 2 * working_memory(speech)


def test_synthetic_speech_is_marked_as_synthetic(rooms: Bunch, speech: Bunch) -> None:
    synthetic = make_speech(2, 2, duration=0.5, random_state=0)
    data = make_reverberant_speech(rooms, synthetic)
    assert data.synthetic is True
    assert "SYNTHETIC" in data.DESCR
    recorded = make_reverberant_speech(rooms, speech, snr=30.0)
    assert recorded.synthetic is False
    assert "SYNTHETIC" not in recorded.DESCR
    assert "30 dB" in recorded.DESCR


def spoil(array: NDArray[Any], value: float) -> NDArray[Any]:
    spoilt = array.copy()
    spoilt[..., 5] = value
    return spoilt


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda r, s: s.update(sample_rate=8000),
            ValueError,
            "must have the same sampling rate, got 16000 Hz and 8000",
        ),
        (lambda r, s: s.update(segments=spoil(s.segments, np.nan)), ValueError, "speech.segments must be finite"),
        (lambda r, s: s.update(segments=spoil(s.segments, np.inf)), ValueError, "speech.segments must be finite"),
        (lambda r, s: s.update(segments=0 * s.segments), ValueError, "speech.segments must not be silent"),
        (lambda r, s: s.update(segments=s.segments[0]), ValueError, "speech.segments must be a 2-D array"),
        (
            lambda r, s: s.update(segments=[np.arange(5.0), np.arange(6.0)]),
            ValueError,
            "the same length, got 5 to 6 samples",
        ),
        (lambda r, s: s.update(segments=(9999 * s.segments).astype("i2")), TypeError, "segments / 32768.0 for int16"),
        (lambda r, s: s.update(segments=s.segments.T), ValueError, r"got \(8000, 13\) for 13 sources.*segments.T"),
        (lambda r, s: s.update(source=s.source[1:]), ValueError, "speech.source must be 1-D with"),
        (lambda r, s: s.update(speaker=None), ValueError, "speech.speaker must be 1-D"),
        (lambda r, s: s.pop("speaker"), ValueError, "speech must have .* got none of these: speaker"),
        (lambda r, s: r.rirs.__setitem__(3, spoil(r.rirs[3], np.nan)), ValueError, "rooms.rirs must be finite.* row 3"),
        (lambda r, s: r.rirs.__setitem__(3, 0 * r.rirs[3]), ValueError, "rooms.rirs must not be silent.* row 3"),
        (lambda r, s: r.rirs.__setitem__(3, np.ones(9, int)), TypeError, "rooms.rirs must hold floating-point"),
        (lambda r, s: r.rirs.__setitem__(3, np.eye(1, 9000, 8500)[0]), ValueError, "sound within .*0.5 s.* row 3"),
        (lambda r, s: r.update(rirs=[]), ValueError, "rooms.rirs must have at least one waveform"),
        (lambda r, s: r.update(room=r.room[:-1]), ValueError, "rooms.room must be 1-D"),
        (lambda r, s: r.update(target=r.target[:-1]), ValueError, "rooms.target must be a DataFrame .* with 9 rows"),
        (lambda r, s: r.update(target=np.ones(10)), ValueError, "rooms.target must be a DataFrame"),
        (lambda r, s: r.update(sample_rate=0), ValueError, "rooms.sample_rate"),
        (lambda r, s: [r.pop("rirs"), r.pop("rir")], ValueError, "rooms must have .* got none of these: rirs, rir"),
    ],
)
def test_invalid_rooms_and_speech_are_named(
    rooms: Bunch, speech: Bunch, change: Any, error: type[Exception], message: str
) -> None:
    change(rooms, speech)
    with pytest.raises(error, match=f"make_reverberant_speech: .*{message}"):
        make_reverberant_speech(rooms, speech)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"pairing": "all"}, "pairing must be one of"),
        ({"n_samples": 5}, "n_samples must be None for pairing='grid'"),
        ({"pairing": "random"}, "n_samples .* must be a whole number"),
        ({"pairing": "random", "n_samples": 131}, "n_samples .*10 responses x 13 segments.* at most 130, got 131"),
        ({"snr": np.nan}, "snr"),
        ({"normalize": "loud"}, "normalize must be one of"),
    ],
)
def test_invalid_parameters_are_named(rooms: Bunch, speech: Bunch, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=f"make_reverberant_speech: {message}"):
        make_reverberant_speech(rooms, speech, **wrong)


def test_rooms_must_be_a_bunch(rooms: Bunch, speech: Bunch) -> None:
    with pytest.raises(TypeError, match="rooms must be a Bunch with rirs"):
        make_reverberant_speech(rooms.rirs, speech)


@pytest.mark.parametrize("options", [{}, {"snr": 20.0}, {"normalize": "peak", "remove_delay": True}])
@pytest.mark.parametrize("pairing", [{}, {"pairing": "random", "n_samples": 60}])
def test_lazy_clips_are_the_same_however_they_are_indexed(
    rooms: Bunch, speech: Bunch, options: dict[str, Any], pairing: dict[str, Any]
) -> None:
    eager = make_reverberant_speech(rooms, speech, random_state=0, **options, **pairing)
    lazy = make_reverberant_speech(rooms, speech, random_state=0, lazy=True, **options, **pairing)
    X, expected = lazy.data, eager.data
    assert (X.shape, X.dtype, X.ndim, len(X)) == (expected.shape, expected.dtype, 2, len(expected))
    np.testing.assert_array_equal(np.asarray(X), expected)
    np.testing.assert_array_equal(np.stack(list(X)), expected)
    np.testing.assert_array_equal(X[7], expected[7])
    np.testing.assert_array_equal(X[-1], expected[-1])
    odd = np.arange(len(X)) % 2 == 1
    for key in (slice(5, 40, 3), odd, np.array([9, 3, 3, 50]), [4, 2]):
        assert isinstance(X[key], type(X))
        np.testing.assert_array_equal(np.asarray(X[key]), expected[key])
    np.testing.assert_array_equal(np.asarray(X[odd][10:20][[3, 1]]), expected[odd][10:20][[3, 1]])
    np.testing.assert_array_equal(np.asarray(X[(np.array([1, 5]), ...)]), expected[[1, 5]])
    for name in ("rir", "source", "room", "speaker"):
        np.testing.assert_array_equal(lazy[name], eager[name])


@pytest.mark.slow
def test_lazy_clips_work_with_scikit_learns_splits_and_estimators(rooms: Bunch, speech: Bunch) -> None:
    from sklearn.model_selection import GroupKFold, cross_validate, train_test_split
    from sklearn.pipeline import make_pipeline

    from roomacoustic_sk import ContrastiveRoomEncoder, RoomRegressor

    lazy, eager = (make_reverberant_speech(rooms, speech, lazy=lazy) for lazy in (True, False))
    encoder = ContrastiveRoomEncoder(
        segment_duration=0.5, n_classes=4, n_views=2, steps_per_epoch=2, max_epochs=1, random_state=0
    )
    groups = {"rir_groups": lazy.rir, "source_groups": lazy.source}
    embeddings = [encoder.fit(data.data, **groups).transform(data.data) for data in (lazy, eager)]
    np.testing.assert_array_equal(*embeddings)
    train, test = train_test_split(lazy.data, random_state=0)
    assert (type(train), train.shape, test.shape) == (type(lazy.data), (97, 8000), (33, 8000))
    model = make_pipeline(encoder, RoomRegressor(max_epochs=1, validation_fraction=0, random_state=0))
    labels = {f"contrastiveroomencoder__{name}": label for name, label in groups.items()}
    scores = cross_validate(
        model, lazy.data, lazy.target["rt60"], groups=lazy.room, cv=GroupKFold(2), params=labels, error_score="raise"
    )
    assert np.isfinite(scores["test_score"]).all()


def test_lazy_clips_store_only_responses_and_segments(rooms: Bunch, speech: Bunch) -> None:
    import pickle

    lazy = make_reverberant_speech(rooms, speech, lazy=True)
    stored = speech.segments.nbytes + sum(rir.nbytes for rir in rooms.rirs)
    assert len(pickle.dumps(lazy.data)) < 1.1 * stored
    assert len(pickle.loads(pickle.dumps(lazy.data))) == 130


@pytest.mark.parametrize("key", [(0, 5), (slice(None), 3), "a", 130, [[1], [2]]])
def test_lazy_clips_are_indexed_only_by_clip(rooms: Bunch, speech: Bunch, key: Any) -> None:
    lazy = make_reverberant_speech(rooms, speech, lazy=True)
    with pytest.raises(IndexError, match="ReverberantSpeech: recordings must be indexed"):
        lazy.data[key]
