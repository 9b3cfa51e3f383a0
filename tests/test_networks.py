"""The networks: sizes of the paper's Table 1, the spectrogram against scipy's, and the contract of networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import ShortTimeFFT, get_window
from sklearn.exceptions import NotFittedError
from torch import nn
from toys import ENCODER, fit_encoder

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk.networks import (
    BandSpectrogram,
    BandwiseRoomCNN,
    CompactRoomCNN,
    LogSpectrogram,
    MLPHead,
    PartwiseProjection,
    PooledRoomCNN,
    ProjectionHead,
    RoomCNN,
    RoomNetwork,
    build_network,
    shortest_clip,
    with_contract,
    without_contract,
)

pytestmark = pytest.mark.usefixtures("seeded_torch")

ENCODERS = [RoomCNN, PooledRoomCNN, BandwiseRoomCNN, CompactRoomCNN]


def n_parameters(*modules):
    return sum(p.numel() for module in modules for p in module.parameters())


def noise_clips(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def reference_spectrogram(signal):
    """Standardised log magnitude by scipy's short-time Fourier transform: Hann window of 32, hop 16, no padding."""
    transform = ShortTimeFFT(get_window("hann", 32), hop=16, fs=1.0, fft_mode="onesided")
    n_frames = (len(signal) - 32) // 16 + 1
    # scipy centres frame p on sample 16 p: frames 1 to n begin at samples 0, 16, ...
    spectrum = transform.stft(signal.astype(np.float64), p0=1, p1=1 + n_frames)
    level = np.log10(np.abs(spectrum))
    return (level - level.mean()) / level.std(ddof=1)


def test_networks_have_the_papers_numbers_of_parameters():
    assert n_parameters(RoomCNN()) == 154_474
    assert n_parameters(ProjectionHead()) == 2_608
    assert n_parameters(MLPHead()) == 82_689
    assert n_parameters(RoomCNN(), ProjectionHead()) == 157_082
    assert n_parameters(RoomCNN(), MLPHead()) == 237_163


def test_room_cnn_has_the_shapes_of_table_1():
    encoder = RoomCNN().eval()
    spectrogram = encoder.spectrogram(noise_clips(2, 64_000))
    assert spectrogram.shape == (2, 1, 17, 3999)
    assert encoder.blocks(spectrogram).flatten(1).shape == (2, 2400)
    assert encoder.linear.in_features == 2400
    convolutions = [layer for layer in encoder.modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size for layer in convolutions] == [(1, 4)] * 4 + [(2, 4)] * 2
    assert [layer.stride for layer in convolutions] == [(1, 2)] * 5 + [(2, 2)]
    for block in encoder.blocks:
        assert [type(layer) for layer in block] == [nn.Conv2d, nn.ReLU, nn.BatchNorm2d]


def test_spectrogram_equals_scipys_stft():
    signal = noise_clips(1, 5_000)
    expected = reference_spectrogram(signal[0].numpy())
    found = LogSpectrogram()(signal)[0, 0].numpy()
    assert found.shape == expected.shape == (17, 311)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("n_times", [3_000, 2_984])  # with samples left over, and ending with the last window
def test_spectrogram_equals_torchs_stft_for_other_windows(n_times):
    signal, window = noise_clips(2, n_times).double(), torch.hann_window(64, dtype=torch.float64)
    spectrum = torch.stft(signal, 64, hop_length=20, window=window, center=False, return_complex=True).abs().log()
    expected = (spectrum - spectrum.mean((1, 2), keepdim=True)) / spectrum.std((1, 2), keepdim=True)
    found = LogSpectrogram(window=64, hop=20)(signal.float())[:, 0]
    assert found.shape == (2, 33, LogSpectrogram(64, 20).n_frames(n_times))
    torch.testing.assert_close(found, expected.float(), atol=2e-3, rtol=0)


def test_band_spectrogram_equals_scipys_spectrum_under_triangles():
    signal = noise_clips(1, 20_000).double()[0].numpy()
    transform = ShortTimeFFT(get_window("hann", 512), hop=128, fs=16_000.0, fft_mode="onesided")
    n_frames = (len(signal) - 512) // 128 + 1
    power = np.abs(transform.stft(signal, p0=2, p1=2 + n_frames)) ** 2
    edges = 300 * np.expm1(np.linspace(np.log1p(60 / 300), np.log1p(7600 / 300), 42))
    bands = []
    for below, centre, above in zip(edges, edges[1:], edges[2:], strict=False):
        weights = np.interp(transform.f, [below, centre, above], [0.0, 1.0, 0.0], left=0, right=0)
        nearest = np.abs(transform.f - centre).argmin()
        weights[nearest] = max(weights[nearest], 0.5)
        bands.append(weights @ power / weights.sum())
    level = np.log(bands)
    expected = (level - level.mean(axis=1, keepdims=True)) / level.std(ddof=1)
    found = BandSpectrogram()(torch.from_numpy(signal).float()[None])[0, 0].numpy()
    assert found.shape == expected.shape == (40, 153)
    np.testing.assert_allclose(found, expected, atol=2e-3)


@pytest.mark.parametrize("octave", [125, 250, 500, 1_000, 4_000])
def test_band_spectrogram_separates_the_decays_of_octaves(octave):
    # A tone in one octave decays by 60 dB while one two octaves off stays: each band shows the decay of its own.
    time = torch.arange(32_000) / 16_000
    other = octave * 4 if octave < 2_000 else octave / 4
    signal = torch.sin(2 * np.pi * octave * time) * 10 ** (-3 * time / 2) + torch.sin(2 * np.pi * other * time)
    spectrogram = BandSpectrogram()
    spectrum = spectrogram(signal[None])[0, 0]
    centre = (spectrogram.weights * torch.arange(257)).sum(1) * 16_000 / 512
    fall = {
        f: (spectrum[i, :10].mean() - spectrum[i, -10:].mean())
        for f in (octave, other)
        for i in [int((centre - f).abs().argmin())]
    }
    assert fall[octave] > 20 * abs(fall[other])


def test_a_tone_is_strongest_at_its_own_frequency():
    time = torch.arange(16_000) / 16_000
    tone = torch.sin(2 * torch.pi * 3_000 * time)[None]  # bins are 500 Hz apart
    assert (LogSpectrogram()(tone)[0, 0].argmax(dim=0) == 6).all()


def test_spectrogram_has_zero_mean_and_unit_variance_clip_by_clip():
    clips = noise_clips(3, 16_000) * torch.linspace(1, 0.001, 16_000)
    spectrogram = LogSpectrogram()(clips).double()
    torch.testing.assert_close(spectrogram.mean((1, 2, 3)), torch.zeros(3).double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(spectrogram.std((1, 2, 3)), torch.ones(3).double(), atol=1e-4, rtol=0)


@pytest.mark.parametrize("gain", [1e-6, 1e-3, 32_768.0, 1e6])
def test_spectrogram_does_not_depend_on_the_level(gain):
    clips = (noise_clips(4, 16_000) * torch.linspace(1, 0.001, 16_000)).double()
    spectrogram = LogSpectrogram().double()
    torch.testing.assert_close(spectrogram(gain * clips), spectrogram(clips), atol=1e-9, rtol=0)


@pytest.mark.parametrize("exponent", [-20, -10, 15, 20])
def test_spectrogram_does_not_depend_on_the_level_in_single_precision(exponent):
    """A gain that is a power of 2 rounds nothing; others round quiet cells by up to 2e-4."""
    clips = noise_clips(4, 16_000) * torch.linspace(1, 0.001, 16_000)
    torch.testing.assert_close(LogSpectrogram()(2.0**exponent * clips), LogSpectrogram()(clips), atol=1e-6, rtol=0)


def test_spectrogram_has_a_floor_80_db_below_the_clips_power():
    clip = torch.zeros(1, 8_000)
    clip[0, 4_000] = 1.0
    clip[0, 2_000] = 0.01
    # Frame 249 has the click in the middle of its window, where the window is 1; frame 250 begins on it, where it is 0.
    # All its cells have a power of 1, where the mean power of the clip is 1 / 8000 and the window's energy is 12.
    floor = 1e-8 * 12 * (1 + 1e-4) / 8_000
    above_floor = np.zeros((17, 499))
    above_floor[:, 249] = np.log(1 / floor)
    above_floor[:, 124] = np.log(1e-4 / floor)
    expected = (above_floor - above_floor.mean()) / above_floor.std(ddof=1)
    np.testing.assert_allclose(LogSpectrogram()(clip)[0, 0].numpy(), expected, rtol=1e-3)


def test_spectrogram_stays_in_float32_under_autocast():
    clip = noise_clips(1, 8_000)
    with torch.autocast("cpu", torch.bfloat16):
        under_autocast = LogSpectrogram()(clip)
    assert torch.equal(under_autocast, LogSpectrogram()(clip))


def test_spectrogram_of_silence_is_zero():
    assert (LogSpectrogram()(torch.zeros(2, 8_000)) == 0).all()


@pytest.mark.parametrize("network", ENCODERS)
def test_embeddings_are_64_numbers_of_unit_norm(network):
    for training in (False, True):
        embeddings = network(16_000).train(training)(noise_clips(3, 16_000))
        assert embeddings.shape == (3, 64)
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(3))


@pytest.mark.parametrize("network", ENCODERS)
def test_length_of_the_embedding_can_be_chosen(network):
    assert network(16_000, n_embedding=10).eval()(noise_clips(2, 16_000)).shape == (2, 10)


@pytest.mark.parametrize("network", ENCODERS)
def test_dropout_works_in_training_only(network):
    encoder, clips = network(16_000, dropout=0.5), noise_clips(3, 16_000)
    encoder.eval()
    assert torch.equal(encoder(clips), encoder(clips))
    encoder.train()
    assert not torch.allclose(encoder(clips), encoder(clips))
    encoder = network(16_000, dropout=0.0).train()
    assert torch.equal(encoder(clips), encoder(clips))


@pytest.mark.parametrize("network", ENCODERS)
def test_a_clip_is_embedded_alike_alone_and_in_a_batch(network):
    encoder, clips = network(16_000).eval(), noise_clips(4, 16_000)
    torch.testing.assert_close(encoder(clips[2:3]), encoder(clips)[2:3], atol=1e-5, rtol=0)


@pytest.mark.parametrize("network", ENCODERS)
@pytest.mark.parametrize("clip", ["noise", "click", "silence"])
def test_gradient_is_finite_and_reaches_every_parameter(network, clip):
    encoder, clips = network(16_000).train(), noise_clips(4, 16_000)
    if clip != "noise":
        clips[0] = 0
    if clip == "click":
        clips[0, 8_000] = 1
    (encoder(clips) * noise_clips(4, 64, seed=1)).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.abs().max() > 0, name


@pytest.mark.parametrize("network", ENCODERS)
def test_bfloat16_convolutions_give_nearly_the_same_float32_embedding(network):
    encoder, clips = network(16_000).eval(), noise_clips(3, 16_000)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder(clips)
    assert rounded.dtype == torch.float32
    torch.testing.assert_close(rounded.norm(dim=1), torch.ones(3))
    assert (rounded * encoder(clips)).sum(1).min() > 0.99
    assert not torch.equal(rounded, encoder(clips))


def test_projection_stays_in_float32_under_autocast():
    projection, embeddings = ProjectionHead(), noise_clips(3, 64)
    with torch.autocast("cpu", torch.bfloat16):
        assert projection(embeddings.bfloat16()).dtype == torch.float32
        under_autocast = projection(embeddings)
    assert torch.equal(under_autocast, projection(embeddings))


@pytest.mark.parametrize("head", [ProjectionHead, MLPHead])
def test_heads_have_relus_only_between_their_layers(head):
    layers = [type(layer) for layer in head()]
    assert layers[::2] == [nn.Linear] * (len(layers) // 2 + 1)
    assert layers[1::2] == [nn.ReLU] * (len(layers) // 2)


def test_pooled_room_cnn_takes_clips_of_half_a_second_and_longer():
    encoder = PooledRoomCNN().eval()
    for n_times in (8_000, 8_001, 12_345, 16_000, 64_000, 100_000):
        embeddings = encoder(noise_clips(2, n_times))
        assert torch.isfinite(embeddings).all()
        torch.testing.assert_close(embeddings.norm(dim=1), torch.ones(2))


def test_pooled_room_cnn_embeds_a_clip_and_its_repetition_nearly_alike():
    encoder, clip = PooledRoomCNN().eval(), noise_clips(1, 32_000)
    assert (encoder(clip) * encoder(clip.tile(2))).sum() > 0.999


def test_untrained_embeddings_of_pooled_room_cnn_are_spread_out():
    # Nearly equal initial embeddings keep the loss at its chance level for epochs.
    waveforms = noise_clips(64, 8_000) * torch.linspace(0, 1, 8_000) ** torch.rand(64, 1).mul(4)
    embeddings = PooledRoomCNN(dropout=0.0).train()(waveforms)
    similarity = (embeddings @ embeddings.T)[~torch.eye(64, dtype=torch.bool)]
    assert abs(similarity.mean()) < 0.1
    assert similarity.std() > 0.1


def test_each_bandwise_part_depends_on_its_own_bands_only():
    encoder, spectrograms = BandwiseRoomCNN().eval(), noise_clips(2, 1, 40, 497)
    # Each part alone: the norm of the whole, which all share, taken out.
    parts = [nn.functional.normalize(part, dim=1) for part in encoder(spectrograms).split(encoder.parts, dim=1)]
    first = 0
    for i, n_bands in enumerate(encoder.GROUPS):
        other = spectrograms.clone()
        other[:, :, first : first + n_bands] = noise_clips(2, 1, n_bands, 497, seed=1)
        changed = [
            not torch.allclose(nn.functional.normalize(part, dim=1), before, atol=1e-5)
            for part, before in zip(encoder(other).split(encoder.parts, dim=1), parts, strict=True)
        ]
        assert changed == [j == i for j in range(4)]
        first += n_bands
    assert first == encoder.spectrogram.n_bands


def test_bandwise_parts_have_nearly_equal_sizes():
    assert BandwiseRoomCNN().parts == (16, 16, 16, 16)
    assert sorted(BandwiseRoomCNN(n_embedding=10).parts) == [2, 2, 3, 3]
    with pytest.raises(ValueError, match="BandwiseRoomCNN: n_embedding must be at least 4, one for each part, got 3"):
        BandwiseRoomCNN(n_embedding=3)


def test_partwise_projection_normalises_each_part_before_its_head():
    projection, embeddings = PartwiseProjection([16, 48]), nn.functional.normalize(noise_clips(3, 64), dim=1)
    found = projection(embeddings)
    first = nn.functional.normalize(embeddings[:, :16], dim=1)
    torch.testing.assert_close(found[:, 0], projection.heads[0](first))
    torch.testing.assert_close(found[:, 2], projection.heads[2](embeddings))
    scaled = projection(embeddings * torch.cat([torch.full((16,), 5.0), torch.ones(48)]))
    torch.testing.assert_close(scaled[:, :2], found[:, :2])
    assert not torch.allclose(scaled[:, 2], found[:, 2])


def test_pooled_room_cnn_refuses_clips_shorter_than_half_a_second():
    with pytest.raises(ValueError, match="PooledRoomCNN: n_times must be at least 8000 samples, got 7999"):
        PooledRoomCNN(7_999)
    with pytest.raises(ValueError, match="PooledRoomCNN: waveforms must have at least 8000 samples, got 7999"):
        PooledRoomCNN()(noise_clips(2, 7_999))


def test_room_cnn_refuses_clips_of_another_length_than_its_own():
    with pytest.raises(
        ValueError, match=r"RoomCNN: waveforms must have 64000 samples.*got 32000.*PooledRoomCNN accepts"
    ):
        RoomCNN()(noise_clips(2, 32_000))


def test_room_cnn_takes_no_clip_below_its_stated_minimum():
    assert RoomCNN(RoomCNN.MIN_TIMES).eval()(noise_clips(2, RoomCNN.MIN_TIMES)).shape == (2, 64)
    with pytest.raises(ValueError, match=f"n_times must be at least {RoomCNN.MIN_TIMES} samples"):
        RoomCNN(RoomCNN.MIN_TIMES - 1)
    too_short = LogSpectrogram()(noise_clips(1, RoomCNN.MIN_TIMES - 1))
    with pytest.raises(RuntimeError, match="size"):
        RoomCNN().blocks.eval()(too_short)


@pytest.mark.parametrize("network", ENCODERS)
def test_networks_survive_a_round_trip_of_their_weights(network):
    first, second, clips = network(16_000).eval(), network(16_000).eval(), noise_clips(2, 16_000)
    assert not torch.allclose(first(clips), second(clips))
    second.load_state_dict(first.state_dict())
    assert torch.equal(first(clips), second(clips))


# --- At every sampling rate ------------------------------------------------------------------------------------------

RATES = [8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000]


@pytest.mark.parametrize("rate", RATES)
def test_bands_windows_and_shortest_clips_hold_at_every_rate(rate):
    spectrogram = BandSpectrogram(sample_rate=rate)
    assert spectrogram.window / rate == pytest.approx(0.032, abs=0.5 / rate)
    assert spectrogram.hop / rate == pytest.approx(0.008, abs=0.5 / rate)
    frequencies = np.fft.rfftfreq(spectrogram.n_fft, 1 / rate)
    edges = 300 * np.expm1(np.linspace(np.log1p(60 / 300), np.log1p(7600 / 300), 42))
    weights = spectrogram.weights.numpy()
    assert weights.shape == (len(edges[edges < rate / 2]) - 2, len(frequencies))
    resolution = frequencies[1]
    for band, below, centre, above in zip(weights, edges, edges[1:], edges[2:], strict=False):
        heard = frequencies[band > 0]
        assert below - resolution <= heard.min() <= heard.max() <= above + resolution < rate / 2 + resolution
        assert abs(frequencies[band.argmax()] - centre) <= resolution
    for network in (PooledRoomCNN, BandwiseRoomCNN):
        assert network.shortest_clip(rate) == round(0.5 * rate)
        encoder = network(rate, sample_rate=rate).eval()
        assert encoder.min_times == round(0.5 * rate)
        assert encoder(noise_clips(2, encoder.min_times)).shape == encoder(noise_clips(2, rate)).shape == (2, 64)
        with pytest.raises(ValueError, match=f"must have at least {encoder.min_times} samples"):
            encoder(noise_clips(1, encoder.min_times - 1))


def test_at_16_khz_the_spectrogram_is_that_of_512_samples_and_40_bands():
    spectrogram = BandSpectrogram()
    assert (spectrogram.window, spectrogram.hop, spectrogram.n_fft, spectrogram.n_bands) == (512, 128, 512, 40)
    assert BandSpectrogram(sample_rate=8_000).n_bands == 31


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_a_sound_has_the_same_spectrogram_at_every_rate(rate):
    """Noise below 3 kHz that decays: rates differ in its ripple from frame to frame, not in its levels."""
    seconds = 2.0

    def levels(rate):
        time = np.arange(round(seconds * rate)) / rate
        spectrum = np.zeros(len(time) // 2 + 1, dtype=complex)
        band = slice(round(80 * seconds), round(3_000 * seconds))
        spectrum[band] = np.exp(2j * np.pi * np.random.default_rng(0).random(band.stop - band.start))
        sound = len(time) * np.fft.irfft(spectrum, len(time)) * 10 ** (-3 * time / 1.5)
        found = BandSpectrogram(sample_rate=rate)(torch.from_numpy(sound[None].astype(np.float32)))[0, 0, :28].numpy()
        return found / found.std()  # of the bands that every rate has

    found, expected = levels(rate), levels(16_000)
    n = min(found.shape[1], expected.shape[1])
    assert abs(found.shape[1] - expected.shape[1]) <= 2
    slope = np.polyfit(np.arange(n), found[:, :n].mean(axis=0), 1)[0]
    assert slope == pytest.approx(np.polyfit(np.arange(n), expected[:, :n].mean(axis=0), 1)[0], rel=0.1)
    correlation = np.corrcoef(found[:, :n].mean(axis=0), expected[:, :n].mean(axis=0))[0, 1]
    assert correlation > 0.97


def test_networks_refuse_unsupported_rates():
    with pytest.raises(ValueError, match=r'RoomCNN: sample_rate must be 16000 Hz for network="paper".*got 48000 Hz'):
        RoomCNN(sample_rate=48_000)
    for network in (BandSpectrogram, PooledRoomCNN, BandwiseRoomCNN):
        with pytest.raises(ValueError, match=f"{network.__name__}: sample_rate must be at least 8000 Hz, got 4000 Hz"):
            network(sample_rate=4_000)


# --- The contract ---------------------------------------------------------------------------------------------------


class Bare(nn.Module):
    """A module that knows nothing of the contract."""

    def __init__(self, n_times):
        super().__init__()
        self.linear = nn.Linear(n_times, 3)

    def forward(self, waveforms):
        return self.linear(waveforms)


class Known(RoomNetwork):
    """A network that keeps it."""

    def __init__(self, n_times, sample_rate):
        super().__init__(n_times, sample_rate)
        self.linear = nn.Linear(n_times, 3)

    def forward(self, waveforms):
        return self.linear(waveforms)


def test_any_module_is_given_the_contract_once():
    network = build_network(Bare, 100, 48_000)
    assert (network.n_times, network.min_times, network.sample_rate, network.parts) == (100, 100, 48_000, ())
    assert network.front_end is None
    assert isinstance(without_contract(network), Bare)
    assert with_contract(network, 100, 48_000) is network
    assert shortest_clip(Bare, 48_000) == 1
    x = noise_clips(2, 100)
    assert torch.equal(network(x), without_contract(network)(x))


def test_networks_that_take_the_sampling_rate_are_given_it():
    assert build_network(Known, 100, 48_000).sample_rate == 48_000
    assert build_network("bandwise", 48_000, 48_000).spectrogram.window == 1536
    chosen = build_network(lambda n, sample_rate: PooledRoomCNN(n, 32, sample_rate=sample_rate), 48_000, 48_000)
    assert chosen.standardise.num_features == 32


def test_networks_for_another_rate_and_non_modules_are_refused():
    with pytest.raises(
        ValueError, match=r"network must be made for sample_rate=48000 Hz, got a PooledRoomCNN for 16000"
    ):
        build_network(lambda n: PooledRoomCNN(n), 48_000, 48_000)
    with pytest.raises(TypeError, match=r"network must build a torch.nn.Module, got a list of 0 items"):
        build_network(lambda n: [], 100, 16_000)


class Weightless(nn.Module):
    """A user's module without weights."""

    def __init__(self, n_times, parts=(), as_tuple=False):
        super().__init__()
        self.parts, self.as_tuple = parts, as_tuple

    def forward(self, waveforms):
        features = waveforms[:, :4]
        return (features, features) if self.as_tuple else features


def test_unusable_networks_are_refused(bursts):
    X, groups = bursts
    for network, error, message in (
        (lambda n: Weightless(n, as_tuple=True), TypeError, "network must map waveforms .*, got a tuple of 2 items"),
        (
            lambda n: Weightless(n, parts=(1, 2)),
            ValueError,
            "network must have parts whose lengths sum to its 4 features, got",
        ),
        (lambda n: Weightless, TypeError, r"network must build a torch.nn.Module, got a type"),
        (lambda n: None, TypeError, r"network must build a torch.nn.Module, got None"),
    ):
        with pytest.raises(error, match=f"^ContrastiveRoomEncoder: {message}"):
            fit_encoder(X, groups, network=network)
    with pytest.raises(
        ValueError, match=r"^ContrastiveRoomEncoder: network must have weights to train, got a Weightless"
    ):
        fit_encoder(X, groups, network=Weightless)


class Flat(nn.Module):
    """A network that sums its features up by mistake."""

    def __init__(self, n_times):
        super().__init__()
        self.linear = nn.Linear(n_times, 8)

    def forward(self, waveforms):
        return self.linear(waveforms).sum(dim=1)


class Unpooled(Flat):
    """A network that forgot to pool over time."""

    def forward(self, waveforms):
        return self.linear(waveforms)[:, :, None]


class Merged(Flat):
    """A network that mixes the clips of a batch."""

    def forward(self, waveforms):
        return self.linear(waveforms).mean(dim=0, keepdim=True)


@pytest.mark.parametrize(("network", "shape"), [(Flat, r"\(2,\)"), (Unpooled, r"\(2, 8, 1\)"), (Merged, r"\(1, 8\)")])
def test_networks_with_outputs_of_a_wrong_shape_are_refused(bursts, network, shape):
    X, groups = bursts
    encoder = ContrastiveRoomEncoder(**ENCODER | {"network": network})
    with pytest.raises(
        ValueError, match=rf"network must map waveforms .*, got an output of shape {shape} for an input"
    ):
        encoder.fit(X, **groups)
    with pytest.raises(NotFittedError):
        encoder.transform(X)
