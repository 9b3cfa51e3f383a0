import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.signal import fftconvolve
from sklearn.utils import Bunch

from roomacoustic_sk import ContrastiveRoomEncoder, SupervisedRoomRegressor
from roomacoustic_sk.augmentation import Gain
from roomacoustic_sk.datasets import _convolution, augment_clips, make_reverberant_speech
from roomacoustic_sk.datasets._convolution import Spectra, convolve

N_TIMES = 4000
SPECTRUM = 8 * (5000 // 2 + 1)  # bytes: 4 000 samples and a response of a quarter of that take 5 000
GRID = np.repeat(np.arange(3), 5), np.tile(np.arange(5), 3)  # response and segment of each pair


@pytest.fixture
def waveforms():
    """Return five segments, and three responses, the last of which takes a longer transform."""
    rng = np.random.default_rng(0)
    segments = rng.standard_normal((5, N_TIMES)).astype(np.float32)
    return segments, [rng.standard_normal(n).astype(np.float32) for n in (900, 1000, 2500)]


@pytest.fixture
def transformed(monkeypatch):
    """Return the list of how many waveforms were transformed each time."""
    counts = []

    def rfft(padded, **options):
        counts.append(len(padded))
        return np.fft.rfft(padded).astype(np.complex64)

    monkeypatch.setattr(_convolution, "rfft", rfft)
    return counts


def test_clips_are_the_beginnings_of_linear_convolutions(waveforms):
    segments, rirs = waveforms
    clips = convolve(Spectra(segments), Spectra(rirs), *GRID[::-1])
    expected = [fftconvolve(segments[j].astype(float), rirs[i])[:N_TIMES] for i, j in zip(*GRID, strict=True)]
    np.testing.assert_allclose(clips, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("limit", [0, 3 * SPECTRUM, 1 << 20])
def test_clips_are_the_same_however_many_spectra_are_kept(waveforms, limit):
    segments, rirs = waveforms
    expected = convolve(Spectra(segments), Spectra(rirs), *GRID[::-1])
    dry, through = Spectra(segments, limit), Spectra(rirs, limit)
    order = np.random.default_rng(1).permutation(len(expected))
    for some in np.array_split(order, 4) + np.array_split(order[::-1], 7):
        np.testing.assert_array_equal(convolve(dry, through, GRID[1][some], GRID[0][some]), expected[some])
    assert max(dry.n_bytes, through.n_bytes) <= limit


def test_each_waveform_is_transformed_once_for_each_length(waveforms, transformed):
    dry, through = (Spectra(some, 1 << 20) for some in waveforms)
    for _ in range(2):
        convolve(dry, through, GRID[1], GRID[0])
    assert sorted(transformed) == [1, 2, 5, 5]  # all segments at both lengths, two responses at one, one at the other
    assert dry.n_bytes == sum(spectrum.nbytes for spectrum in dry.kept.values())


def test_what_does_not_fit_is_transformed_each_time(waveforms, transformed):
    spectra = Spectra(waveforms[0], 2 * SPECTRUM)
    for indices in ([0, 1], [2, 2], [0, 2]):
        spectra.of(np.array(indices), 5000)
    assert transformed == [2, 1, 1]
    assert spectra.n_bytes == 2 * SPECTRUM


def test_pickles_leave_spectra_out(waveforms):
    spectra = Spectra(waveforms[0], 1 << 20)
    size = len(pickle.dumps(spectra))
    expected = spectra.of(np.arange(5), 5000)
    assert len(pickle.dumps(spectra)) == size
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(spectra)).of(np.arange(5), 5000), expected)


@pytest.mark.parametrize("varied", [False, True])
def test_training_transforms_each_waveform_once_and_keeps_nothing(waveforms, transformed, varied):
    segments, rirs = waveforms
    ids = np.arange(3)
    rooms = Bunch(rirs=rirs, sample_rate=8000, target=pd.DataFrame({"rt60": ids + 0.5}), rir=ids, room=ids)
    speech = Bunch(segments=segments, sample_rate=8000, source=np.arange(5), speaker=np.arange(5))
    grid = make_reverberant_speech(rooms, speech, lazy=True)
    data = augment_clips(grid, [Gain()], random_state=0) if varied else grid
    common = {"sample_rate": 8000, "segment_duration": 0.5, "max_epochs": 3, "random_state": 0}
    encoder = ContrastiveRoomEncoder(n_classes=3, n_views=2, steps_per_epoch=4, **common)
    encoder.fit(data.data, rir_groups=grid.rir, source_groups=grid.source)
    assert sum(transformed) == 2 * 5 + 3  # at both lengths
    transformed.clear()
    SupervisedRoomRegressor(validation_fraction=0, **common).fit(data.data, grid.target["rt60"])
    assert sum(transformed) == 2 * 5 + 3
    assert grid.data.segments.n_bytes == grid.data.rirs.n_bytes == 0
