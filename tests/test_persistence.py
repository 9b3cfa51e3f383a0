"""Saved estimators load as they were: to the last bit, in another process, with all that a fit set."""

from __future__ import annotations

import copy
import errno
import functools
import inspect
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor, ExtraTreesRegressor, StackingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from skorch.callbacks import Callback
from torch import nn
from toys import ENCODER, SUPERVISED, TinyNetwork, decaying_noise, fit_encoder, outputs

import roomacoustic_sk
from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomClassifier,
    RoomRegressor,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
    load,
    save,
)
from roomacoustic_sk._torch.training import RoomNet
from roomacoustic_sk.features import DecaySlopeFeatures
from roomacoustic_sk.networks import PooledRoomCNN, RoomCNN
from roomacoustic_sk.persistence import _estimators, _file

HEAD = {"n_hidden": 16, "max_epochs": 2, "validation_fraction": 0.2, "random_state": 0}
SAMPLES = Path(__file__).parent / "saved"


@pytest.fixture(scope="module")
def encoder(room_grid):
    """A fitted encoder."""
    X, _, groups = room_grid
    return fit_encoder(X, groups)


@pytest.fixture(scope="module")
def embeddings(encoder, room_grid):
    """Embeddings of the recordings."""
    return encoder.transform(room_grid[0])


def kinds_of_rooms(rt60):
    """Return class labels that are text."""
    return np.where(rt60 > 0.3, "large", "small")


OURS = {
    "encoder": lambda X, E, y, groups, encoder: encoder,
    "paper": lambda X, E, y, groups, encoder: fit_encoder(X, groups, network="paper", segment_duration=0.25),
    "untrained": lambda X, E, y, groups, encoder: fit_encoder(X, groups, max_epochs=0, segment_duration=0.5),
    "class": lambda X, E, y, groups, encoder: fit_encoder(X, groups, network=PooledRoomCNN, validation_fraction=0),
    "partial": lambda X, E, y, groups, encoder: fit_encoder(
        X, groups, network=functools.partial(RoomCNN, n_channels=3, n_embedding=12), segment_duration=0.25
    ),
    "regressor": lambda X, E, y, groups, encoder: RoomRegressor(**HEAD).fit(E, y),
    "float32 features of a frame": lambda X, E, y, groups, encoder: RoomRegressor(**HEAD, non_negative=True).fit(
        pd.DataFrame(E).rename(columns=str), y
    ),
    "two targets": lambda X, E, y, groups, encoder: RoomRegressor(**HEAD).fit(E, np.column_stack([y, 0 * y])),
    "targets with unknown values": lambda X, E, y, groups, encoder: RoomRegressor(
        **HEAD, target_transform={"rt60": "log", "c50": "compressed"}, non_negative={"rt60": True}
    ).fit(E, pd.DataFrame({"rt60": y, "c50": np.where(groups["source_groups"] == 1, np.nan, -y)})),
    "calibrated": lambda X, E, y, groups, encoder: (
        RoomRegressor(**HEAD).fit(E, y).calibrate(E, y, groups["rir_groups"], quality=y[:, None])
    ),
    "calibrated from recordings": lambda X, E, y, groups, encoder: (
        SupervisedRoomRegressor(**SUPERVISED, target_transform="bounded")
        .fit(X, y)
        .calibrate(X, y, groups["rir_groups"])
    ),
    "classifier": lambda X, E, y, groups, encoder: RoomClassifier(**HEAD).fit(E, kinds_of_rooms(y)),
    "classes of numbers": lambda X, E, y, groups, encoder: RoomClassifier(**HEAD).fit(E, groups["room_groups"]),
    "classes of objects": lambda X, E, y, groups, encoder: RoomClassifier(**HEAD).fit(
        E, kinds_of_rooms(y).astype(object)
    ),
    "supervised": lambda X, E, y, groups, encoder: SupervisedRoomRegressor(**SUPERVISED).fit(X, y),
    "supervised classifier": lambda X, E, y, groups, encoder: SupervisedRoomClassifier(**SUPERVISED).fit(X, y > 0.3),
    "supervised from an encoder": lambda X, E, y, groups, encoder: SupervisedRoomRegressor(
        **SUPERVISED, encoder=FrozenEstimator(encoder), freeze_encoder=True
    ).fit(X, y),
    "slopes": lambda X, E, y, groups, encoder: DecaySlopeFeatures(bands=[1000, 2000]).fit(X),
    "generator": lambda X, E, y, groups, encoder: RoomRegressor(
        **HEAD | {"random_state": np.random.RandomState(3), "lr": np.float64(0.01), "device": torch.device("cpu")}
    ).fit(E, y),
}
"""Fitted estimators of ours, of recordings X or embeddings E."""

AROUND = {
    "pipeline": lambda X, E, y, encoder: make_pipeline(
        FrozenEstimator(encoder), StandardScaler(), RoomRegressor(**HEAD)
    ).fit(X, y),
    "logarithms": lambda X, E, y, encoder: TransformedTargetRegressor(
        SupervisedRoomRegressor(**SUPERVISED), func=np.log, inverse_func=np.exp
    ).fit(X, y),
    "scaled target": lambda X, E, y, encoder: TransformedTargetRegressor(
        make_pipeline(FrozenEstimator(encoder), RoomRegressor(**HEAD)), transformer=StandardScaler()
    ).fit(X, y),
    "ensemble": lambda X, E, y, encoder: BaggingRegressor(
        make_pipeline(FrozenEstimator(encoder), RoomRegressor(**HEAD)), n_estimators=3, random_state=0
    ).fit(X, y),
    "ensemble of heads": lambda X, E, y, encoder: make_pipeline(
        FrozenEstimator(encoder),
        BaggingRegressor(RoomRegressor(**HEAD), n_estimators=2, max_features=0.5, oob_score=True, random_state=0),
    ).fit(X, y),
    "step of scikit-learn": lambda X, E, y, encoder: make_pipeline(FrozenEstimator(encoder), RidgeCV()).fit(X, y),
    "slopes and a linear model": lambda X, E, y, encoder: make_pipeline(
        DecaySlopeFeatures(bands=[1000]), StandardScaler(), Ridge()
    ).fit(X, y),
}
"""Fitted estimators of scikit-learn around ours, of recordings X."""

pytestmark = pytest.mark.filterwarnings("ignore:RoomRegressor. no validation:UserWarning", "ignore:Some inputs do not")


def apply(model, X, E):
    """Return all that an estimator gives, whatever its input."""
    if isinstance(model, (RoomRegressor, RoomClassifier)):
        X = pd.DataFrame(E).rename(columns=str) if hasattr(model, "feature_names_in_") else E
    return outputs(model, X) if hasattr(model, "predict") else np.asarray(model.transform(X))


def differences(first, second, where=""):
    """Yield the places in which two estimators, or parts of them, differ."""
    if type(first) is not type(second):
        yield f"{where}: {type(first)}, {type(second)}"
    elif isinstance(first, nn.Module):
        buffers = dict(first.named_buffers())
        others = second.state_dict() | dict(second.named_buffers())
        for name, value in (first.state_dict() | buffers).items():
            same = torch.equal(value, others[name]) and value.stride() == others[name].stride()
            if not same or value.dtype != others[name].dtype:
                yield f"{where}.{name}"
        if first.training or second.training or str(first) != str(second):
            yield f"{where}: {first}, {second}"
    elif isinstance(first, RoomNet):
        yield from differences(first.module_, second.module_, f"{where}.module_")
        if second.optimizer_ is not None or len(first.history) != len(second.history):
            yield f"{where}: optimiser or history"
    elif isinstance(first, pd.DataFrame):
        if not first.equals(second):
            yield where
    elif isinstance(first, np.ndarray):
        same = first.dtype == second.dtype and np.array_equal(first, second, equal_nan=first.dtype.kind == "f")
        if not (same and second.flags.writeable == first.flags.writeable):
            yield where
    elif isinstance(first, np.random.RandomState):
        yield from differences(first.get_state()[1:], second.get_state()[1:], where)
    elif isinstance(first, (list, tuple)):
        if len(first) != len(second):
            yield where
        for i, (one, other) in enumerate(zip(first, second, strict=False)):
            yield from differences(one, other, f"{where}[{i}]")
    elif isinstance(first, functools.partial):
        yield from differences([first.func, first.keywords], [second.func, second.keywords], where)
    elif isinstance(first, dict) or (hasattr(first, "__dict__") and not inspect.isclass(first)):
        one, other = (value if isinstance(value, dict) else vars(value) for value in (first, second))
        if one.keys() != other.keys():
            yield f"{where}: {one.keys() ^ other.keys()}"
        for key in one.keys() & other.keys():
            yield from differences(one[key], other[key], f"{where}.{key}")
    elif first != second:
        yield where


def round_trip(model, path, **options):
    save(model, path)
    return load(path, **options)


def weight_bytes(*modules):
    return sum(weight.numel() * weight.element_size() for module in modules for weight in module.state_dict().values())


@pytest.mark.parametrize("make", OURS.values(), ids=OURS)
def test_our_estimators_load_with_all_that_fit_has_set(make, room_grid, encoder, embeddings, tmp_path):
    X, y, groups = room_grid
    model = make(X, embeddings, y, groups, encoder)
    expected = apply(model, X, embeddings)
    again = round_trip(model, tmp_path / "model.rsk")
    assert list(differences(model, again)) == []
    assert np.array_equal(apply(again, X, embeddings), expected)
    for twin in (copy.deepcopy(again), pickle.loads(pickle.dumps(again)), round_trip(again, tmp_path / "again.rsk")):
        assert np.array_equal(apply(twin, X, embeddings), expected)
    assert (tmp_path / "model.rsk").read_bytes() == (tmp_path / "again.rsk").read_bytes()


@pytest.mark.parametrize("make", AROUND.values(), ids=AROUND)
def test_estimators_around_ours_load_with_all_that_fit_has_set(make, room_grid, encoder, embeddings, tmp_path):
    X, y, _ = room_grid
    model = make(X, embeddings, y, encoder)
    again = round_trip(model, tmp_path / "model.rsk")
    assert list(differences(model, again)) == []
    assert np.array_equal(again.predict(X), model.predict(X))
    assert again.score(X, y) == model.score(X, y)
    clone(again).fit(X, y)


def test_every_estimator_of_the_package_can_be_saved():
    public = {name: getattr(roomacoustic_sk, name) for name in roomacoustic_sk.__all__}
    public |= {name: getattr(roomacoustic_sk.features, name) for name in roomacoustic_sk.features.__all__}
    estimators = {name for name, kind in public.items() if inspect.isclass(kind) and issubclass(kind, BaseEstimator)}
    assert estimators == set(_estimators.OURS)


def test_a_forgotten_attribute_shows(room_grid, embeddings, tmp_path):
    model = RoomRegressor(**HEAD).fit(embeddings, room_grid[1])
    model.added_later_ = 1.0
    assert list(differences(model, round_trip(model, tmp_path / "model.rsk"))) == [": {'added_later_'}"]


def test_unfitted_estimators_load_unfitted(tmp_path):
    model = Pipeline([("enc", ContrastiveRoomEncoder(tau=0.2)), ("reg", RoomRegressor()), ("none", "passthrough")])
    again = round_trip(model, tmp_path / "model.rsk")
    assert str(again.get_params()) == str(model.get_params())
    assert not hasattr(again["enc"], "module_")


def test_an_encoder_in_two_places_is_saved_once(room_grid, encoder, embeddings, tmp_path):
    X, y, _ = room_grid
    ensemble = round_trip(AROUND["ensemble"](X, embeddings, y, encoder), tmp_path / "model.rsk")
    assert len({id(member[0]) for member in ensemble.estimators_}) == 1
    heads = [member[1].module_ for member in ensemble.estimators_]
    assert (tmp_path / "model.rsk").stat().st_size < 1.05 * weight_bytes(encoder.net_.module_, *heads)


@pytest.mark.parametrize("network", ["bandwise", "pooled", "paper"])
def test_files_are_as_large_as_the_weights(network, room_grid, tmp_path):
    X, _, groups = room_grid
    model = fit_encoder(np.tile(X, 4), groups, network=network, max_epochs=0, segment_duration=2.0)
    save(model, tmp_path / "model.rsk")
    assert (tmp_path / "model.rsk").stat().st_size < 1.05 * weight_bytes(model.net_.module_)


def test_a_file_of_a_head_is_as_large_as_its_weights(room_grid, embeddings, tmp_path):
    model = RoomRegressor(max_epochs=1, validation_fraction=0).fit(embeddings, room_grid[1])
    save(model, tmp_path / "model.rsk")
    assert (tmp_path / "model.rsk").stat().st_size < 1.05 * weight_bytes(model.module_)


@pytest.mark.slow
def test_a_fresh_process_estimates_the_same_to_the_last_bit(room_grid, encoder, embeddings, tmp_path):
    X, y, _ = room_grid
    model = AROUND["pipeline"](X, embeddings, y, encoder)
    save(model, tmp_path / "model.rsk")
    np.save(tmp_path / "X.npy", X)
    program = (
        "import sys, numpy as np; from roomacoustic_sk import load; folder = sys.argv[1]\n"
        "np.save(folder + '/y.npy', load(folder + '/model.rsk').predict(np.load(folder + '/X.npy')))"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=True, timeout=120)
    assert np.load(tmp_path / "y.npy").tobytes() == model.predict(X).tobytes()


def test_loading_changes_no_global_generator(encoder, tmp_path):
    save(encoder, tmp_path / "model.rsk")
    state = torch.get_rng_state()
    load(tmp_path / "model.rsk")
    assert torch.equal(torch.get_rng_state(), state)


def test_loading_depends_on_no_default_of_torch(room_grid, encoder, tmp_path):
    expected = encoder.transform(room_grid[0])
    save(encoder, tmp_path / "model.rsk")
    torch.set_default_dtype(torch.float64)
    torch.set_default_device("meta")
    try:
        with torch.inference_mode():
            again = load(tmp_path / "model.rsk")
        assert np.array_equal(again.transform(room_grid[0]), expected)
    finally:
        torch.set_default_dtype(torch.float32)
        torch.set_default_device(None)
    with pytest.warns(UserWarning, match="new optimiser"):
        again.partial_fit(room_grid[0], **room_grid[2])


# --- Training after loading -----------------------------------------------------------------------------------------


def test_training_resumes_with_a_new_optimiser_and_says_so(room_grid, encoder, tmp_path):
    X, _, groups = room_grid
    again = round_trip(encoder, tmp_path / "model.rsk")
    with pytest.warns(UserWarning, match="ContrastiveRoomEncoder: Training resumes with a new optimiser"):
        again.partial_fit(X, **groups)
    assert again.n_iter_ == len(again.history_) == 2
    assert not np.array_equal(again.transform(X), encoder.transform(X))
    again = load(tmp_path / "model.rsk").set_params(warm_start=True)
    with pytest.warns(UserWarning, match="Training resumes with a new optimiser"):
        again.fit(X, **groups)
    assert again.history_["epoch"].tolist() == [1, 2]
    again.fit(X, **groups)  # now there is an optimiser
    assert again.n_iter_ == 3


def test_a_warm_start_keeps_the_targets_and_the_network(room_grid, tmp_path):
    X, y, _ = room_grid
    again = round_trip(SupervisedRoomRegressor(**SUPERVISED, warm_start=True).fit(X, y), tmp_path / "model.rsk")
    with pytest.raises(ValueError, match="y must have the same shape as in the first fit"):
        again.fit(X, np.column_stack([y, y]))
    with pytest.raises(ValueError, match="n_hidden must be unchanged to resume"):
        again.set_params(n_hidden=8).fit(X, y)


def test_a_fit_from_the_start_says_nothing(room_grid, encoder, tmp_path):
    X, _, groups = room_grid
    again = round_trip(encoder, tmp_path / "model.rsk").fit(X, **groups)
    assert np.array_equal(again.transform(X), encoder.transform(X))


# --- Networks of the user's -----------------------------------------------------------------------------------------


class WithBuffers(TinyNetwork):
    """A network that computes constants when it is built."""

    def __init__(self, n_times):
        super().__init__(n_times)
        self.register_buffer("gain", torch.tensor(float(torch.arange(3).sum().item())), persistent=False)

    def forward(self, waveforms):
        return super().forward(waveforms) * self.gain


@pytest.mark.parametrize("network", [TinyNetwork, WithBuffers])
def test_a_network_of_the_users_must_be_handed_to_load(network, room_grid, tmp_path):
    X, _, groups = room_grid
    encoder = fit_encoder(X, groups, network=network)
    save(encoder, tmp_path / "model.rsk")
    with pytest.raises(ValueError, match=f"load: network must be given .*'{network.__name__}'"):
        load(tmp_path / "model.rsk")
    again = load(tmp_path / "model.rsk", network=network)
    assert np.array_equal(again.transform(X), encoder.transform(X))
    with pytest.raises(ValueError, match=f"network must be .*'{network.__name__}'.* got .*Pooled.*weights"):
        load(tmp_path / "model.rsk", network=PooledRoomCNN)
    with pytest.raises(TypeError, match="network must be a class"):
        load(tmp_path / "model.rsk", network=TinyNetwork(8000))


def test_two_networks_of_the_users_are_refused(room_grid, tmp_path):
    X, _, groups = room_grid
    first, second = (fit_encoder(X, groups, network=network) for network in (TinyNetwork, WithBuffers))
    with pytest.raises(ValueError, match=r"at most one network .* got WithBuffers as network of step 'b'"):
        save(Pipeline([("a", first), ("b", second)]), tmp_path / "model.rsk")


# --- What is not saved ----------------------------------------------------------------------------------------------


class OwnScaler(StandardScaler):
    """A step of the user's."""


def pipeline_with(step):
    return Pipeline([("own", step), ("reg", RoomRegressor())])


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (OwnScaler(), "got OwnScaler."),
        (pipeline_with(OwnScaler()), "got OwnScaler as step 'own'"),
        (pipeline_with(FunctionTransformer(np.abs)), "got absolute as func of step 'own'"),
        (pipeline_with(FunctionTransformer(lambda X: X)), "got .*lambda.* as func of step 'own'"),
        (Pipeline([("a", StandardScaler())], memory="cache"), "no cache, got one as memory"),
        (
            pipeline_with(ContrastiveRoomEncoder(callbacks=[Callback()])),
            "no callbacks.* as callbacks of step 'own'",
        ),
        (RoomRegressor(lr=1 + 2j), "as lr"),
        (DecaySlopeFeatures(bands=range(1000, 3000, 1000)), "got a range as bands"),
        (TransformedTargetRegressor(RoomRegressor(), func=np.cos, inverse_func=np.arccos), "got cos as func"),
        (GridSearchCV(RoomRegressor(), {}), "got GridSearchCV, of which skops.* Save its best_estimator_"),
        (StackingRegressor([("a", RoomRegressor())]), "got StackingRegressor, of which skops"),
    ],
)
def test_what_cannot_be_saved_is_refused_by_name(model, message, tmp_path):
    with pytest.raises(ValueError, match=f"^save: estimator must .*{message}"):
        save(model, tmp_path / "model.rsk")
    assert list(tmp_path.iterdir()) == []


def test_trees_are_refused_since_their_numbers_could_crash(room_grid, tmp_path):
    X, y, _ = room_grid
    forest = make_pipeline(DecaySlopeFeatures(bands=[1000]), ExtraTreesRegressor(2)).fit(X, y)
    with pytest.raises(ValueError, match=r"got ExtraTreesRegressor as step 'extratreesregressor'.*Tree"):
        save(forest, tmp_path / "model.rsk")


def test_without_skops_its_name_is_in_the_error(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "skops", None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    with pytest.raises(ValueError, match=r"got Ridge.*pip install 'roomacoustic_sk\[skops\]'"):
        save(Ridge(), tmp_path / "model.rsk")


def test_estimators_changed_after_fit_are_refused(room_grid, embeddings, tmp_path):
    model = RoomRegressor(**HEAD).fit(embeddings, room_grid[1]).set_params(lr=-1)
    with pytest.raises(ValueError, match="save: lr must be"):
        save(model, tmp_path / "model.rsk")
    model.set_params(lr=0.1)
    with torch.no_grad():
        model.module_[0][0].bias[0] = np.nan
    with pytest.raises(ValueError, match=r"save: estimator must be as its fit left it .*finite"):
        save(model, tmp_path / "model.rsk")


def test_a_folder_for_checkpoints_is_not_saved(tmp_path):
    again = round_trip(RoomRegressor(checkpoint_dir=tmp_path, random_state=0), tmp_path / "model.rsk")
    assert again.checkpoint_dir is None


def test_output_in_frames_is_kept_and_requests_are_lost_with_a_warning(room_grid, encoder, tmp_path):
    X, _, _ = room_grid
    framed = copy.deepcopy(encoder).set_output(transform="pandas")
    assert isinstance(round_trip(framed, tmp_path / "model.rsk").transform(X), pd.DataFrame)
    import sklearn

    with sklearn.config_context(enable_metadata_routing=True):
        asking = StandardScaler().set_fit_request(sample_weight=True)
    with pytest.warns(UserWarning, match="set_fit_request.* of StandardScaler are lost"):
        save(asking, tmp_path / "model.rsk")


@pytest.mark.parametrize(("model", "path"), [("text", "a"), (RoomRegressor, "a"), (RoomRegressor(), 3), (Ridge(), "")])
def test_other_things_than_estimators_and_paths_are_refused(model, path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TypeError, match=r"save: (estimator must be an estimator|path must be the path of a file)"):
        save(model, path)


# --- Whole or not at all --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left on device")])
def test_an_interrupt_or_a_full_disk_leaves_the_old_file(error, tmp_path, monkeypatch):
    path = tmp_path / "model.rsk"
    save(RoomRegressor(lr=0.1), path)

    def fail(descriptor):
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        save(RoomRegressor(lr=0.2), path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.rsk"]
    assert load(path).lr == 0.1


def test_a_file_that_cannot_be_written_is_an_oserror(tmp_path):
    with pytest.raises(OSError, match="missing"):
        save(RoomRegressor(), tmp_path / "missing" / "model.rsk")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"):
        save(RoomRegressor(), tmp_path / "folder")
    assert [file.name for file in tmp_path.iterdir()] == ["folder"]


def test_a_link_stays_one(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "model.rsk")
    save(RoomRegressor(), tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert isinstance(load(tmp_path / "model.rsk"), RoomRegressor)


# --- Files of earlier versions --------------------------------------------------------------------------------------


def sample_recordings():
    """Return recordings for the committed sample."""
    rt60 = np.geomspace(0.1, 1, 24)
    return decaying_noise(rt60, n_times=4000, period=1000), rt60


def sample_model():
    """Return the fitted model of the committed sample; `python tests/test_persistence.py` writes the file."""
    X, y = sample_recordings()
    encoder = ContrastiveRoomEncoder(**ENCODER | {"network": "paper", "segment_duration": 0.25})
    encoder.fit(X, rir_groups=np.arange(24) // 3, source_groups=np.arange(24) % 3)
    head = BaggingRegressor(RoomRegressor(**HEAD | {"validation_fraction": 0}), n_estimators=2, random_state=0)
    model = make_pipeline(FrozenEstimator(encoder), StandardScaler(), head)
    return TransformedTargetRegressor(model, func=np.log, inverse_func=np.exp).fit(X, y)


@pytest.mark.parametrize("version", range(1, _file.FORMAT + 1))
def test_files_of_all_formats_load(version):
    X, _ = sample_recordings()
    expected = json.loads((SAMPLES / f"format{version}.json").read_text())
    np.testing.assert_allclose(load(SAMPLES / f"format{version}.rsk").predict(X), expected, rtol=1e-4)


if __name__ == "__main__":
    SAMPLES.mkdir(exist_ok=True)
    save(sample_model(), SAMPLES / f"format{_file.FORMAT}.rsk")
    (SAMPLES / f"format{_file.FORMAT}.json").write_text(
        json.dumps(sample_model().predict(sample_recordings()[0]).tolist())
    )


def test_a_path_that_is_no_file_is_named(tmp_path):
    for path in (tmp_path, tmp_path / "missing" / "x.rsk"):
        with pytest.raises(FileNotFoundError, match="save: path must be a file in an existing folder, got"):
            save(StandardScaler().fit([[1.0], [2.0]]), path)
    with pytest.raises(FileNotFoundError, match="load: path must be an existing file, got"):
        load(tmp_path)
