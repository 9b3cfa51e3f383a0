"""Seeds, number formats, compiling and devices, as an encoder uses them."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from toys import ENCODER, fit_encoder, reverberant_bursts

from roomacoustic_sk import ContrastiveRoomEncoder
from roomacoustic_sk._torch.runtime import has_compiler, resolve_compile
from roomacoustic_sk.networks import PooledRoomCNN, RoomCNN

# --- Seeds ----------------------------------------------------------------------------------------------------------


def test_a_seed_determines_the_embeddings_to_the_last_bit(bursts):
    X, groups = bursts
    first, again, other = (fit_encoder(X, groups, random_state=seed).transform(X) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)
    state = fit_encoder(X, groups, random_state=np.random.RandomState(3)).transform(X)
    assert np.array_equal(first, state)


def test_global_generators_neither_change_nor_matter(bursts):
    X, groups = bursts
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    numpy_state, torch_state = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    embeddings = fit_encoder(X, groups).transform(X)
    assert np.array_equal(np.random.get_state()[1], numpy_state)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_state)
    torch.manual_seed(99)
    assert np.array_equal(fit_encoder(X, groups).transform(X), embeddings)


# --- Number formats -------------------------------------------------------------------------------------------------


def test_auto_precision_is_bfloat16_or_float32(bursts):
    X, groups = bursts
    automatic = fit_encoder(X, groups, precision="auto")
    named = fit_encoder(X, groups, precision="bfloat16" if automatic.net_.autocast else "float32")
    assert np.array_equal(automatic.transform(X), named.transform(X))


def test_training_in_bfloat16_leaves_transform_in_float32(bursts):
    X, groups = bursts
    encoder = fit_encoder(X, groups, precision="bfloat16", max_epochs=2)
    assert encoder.net_.autocast
    embeddings = encoder.transform(X)
    assert embeddings.dtype == np.float32
    with torch.inference_mode():
        np.testing.assert_allclose(embeddings, encoder.network_(torch.from_numpy(X)).numpy(), atol=2e-6)
    single = fit_encoder(X, groups, precision="float32", max_epochs=2)
    assert not single.net_.autocast
    np.testing.assert_allclose(encoder.history_["train_loss"], single.history_["train_loss"], rtol=0.05)
    assert not np.array_equal(encoder.history_["train_loss"], single.history_["train_loss"])


# --- Compiling ------------------------------------------------------------------------------------------------------


needs_compiler = pytest.mark.skipif(not has_compiler(), reason="no C++ compiler, or no headers of Python")


@pytest.mark.slow
@needs_compiler
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method:DeprecationWarning")  # torch's own, when it compiles
def test_a_compiled_network_learns_the_same_and_can_be_pickled(bursts):
    X, groups = bursts
    network = partial(PooledRoomCNN, dropout=0.0)  # compiled code draws other random numbers
    plain, compiled = (fit_encoder(X, groups, network=network, compile=choice) for choice in (False, True))
    np.testing.assert_allclose(compiled.history_["train_loss"], plain.history_["train_loss"], rtol=1e-3)
    np.testing.assert_allclose(compiled.transform(X), plain.transform(X), atol=0.02)
    assert np.array_equal(pickle.loads(pickle.dumps(compiled)).transform(X), compiled.transform(X))


@needs_compiler
def test_auto_compiles_only_where_it_pays():
    cpu, many = torch.device("cpu"), 10**6
    assert resolve_compile("auto", PooledRoomCNN.COMPILING_PAYS, cpu, many)
    assert not resolve_compile("auto", PooledRoomCNN.COMPILING_PAYS, cpu, 100)
    assert not resolve_compile("auto", RoomCNN.COMPILING_PAYS, cpu, many)
    assert not resolve_compile("auto", True, torch.device("cuda"), many)


def test_auto_does_not_compile_without_a_compiler(monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    assert not resolve_compile("auto", True, torch.device("cpu"), 10**6)
    X, rir, _ = reverberant_bursts(20)
    with pytest.raises(ValueError, match=r"ContrastiveRoomEncoder: compile must be False or .* got True. Install"):
        ContrastiveRoomEncoder(**ENCODER | {"compile": True}).fit(X, rir_groups=rir)


# --- Devices --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_an_unavailable_device_is_refused(bursts):
    X, groups = bursts
    with pytest.raises(ValueError, match=r"device must be available, got 'cuda' without CUDA"):
        fit_encoder(X, groups, device="cuda")
