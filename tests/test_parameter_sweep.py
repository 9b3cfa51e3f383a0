"""Every parameter of every public function and estimator, given values that make no sense, one at a time.

The parameters come from the signatures, so that a new one is swept as soon as it exists. A call has three good
outcomes: a result, whose numbers are finite or which comes with a warning; or an error of this library that names the
argument; or, for what names files, `FileNotFoundError`. An error of another library, or a result that is not finite
without a word, is a defect.
"""

from __future__ import annotations

import inspect
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch
from sklearn.base import BaseEstimator
from sklearn.model_selection import KFold
from sklearn.utils import Bunch
from toys import RATE, TRAINING, decaying_noise, diffuse

from roomacoustic_sk import (
    ContrastiveRoomEncoder,
    RoomClassifier,
    RoomRegressor,
    SupervisedRoomClassifier,
    SupervisedRoomRegressor,
    acoustics,
    intervals,
    losses,
    metrics,
    networks,
    samplers,
)
from roomacoustic_sk._validation import NamedError
from roomacoustic_sk.datasets import (
    Hybrid,
    ImageSources,
    concatenate,
    load_measured_rirs,
    load_recordings,
    load_speech,
    make_reverberant_speech,
    make_speech,
    simulate_rooms,
    split_by_speaker,
    take,
)
from roomacoustic_sk.features import DecaySlopeFeatures
from roomacoustic_sk.model_selection import RoomDisjointSplit

NONSENSE: dict[str, Any] = {
    "None": None,
    "True": True,
    "text": "abc",
    "empty text": "",
    "bytes": b"abc",
    "-1": -1,
    "0": 0,
    "-0.5": -0.5,
    "1.5": 1.5,
    "1e-300": 1e-300,
    "1e300": 1e300,
    "10**400": 10**400,
    "10**9": 10**9,
    "NaN": float("nan"),
    "inf": float("inf"),
    "-inf": float("-inf"),
    "complex": 1j,
    "np.int64(-3)": np.int64(-3),
    "np.float32(nan)": np.float32("nan"),
    "list": [],
    "[None]": [None],
    "[nan]": [float("nan")],
    "['a', 1]": ["a", 1],
    "ragged": [[1.0], [1.0, 2.0]],
    "dict": {},
    "object": object(),
    "class": dict,
    "function": len,
    "array of two": np.array([1.0, 2.0]),
    "0-d array": np.array(1.0),
    "empty array": np.empty((0, 3)),
    "masked": np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
    "tensor": torch.ones(3, requires_grad=True),
    "frame": pd.DataFrame({"a": [1, pd.NA]}),
}

X = decaying_noise(np.repeat([0.2, 0.4, 0.6], 4))
RIR, SOURCE = np.divmod(np.arange(12), 4)
ROOM, Y = RIR, np.repeat([0.2, 0.4, 0.6], 4)
Z = np.random.default_rng(0).standard_normal((12, 4)).astype(np.float32)
GROUPS = {"rir_groups": RIR, "source_groups": SOURCE, "room_groups": ROOM}
RESPONSE = diffuse(0.3, 0.5)
ROOMS = Bunch(
    rirs=[RESPONSE, RESPONSE[::-1].copy()],
    sample_rate=RATE,
    target=pd.DataFrame({"rt60": [0.3, 0.3]}),
    rir=[0, 1],
    room=["office", "hall"],
)
OTHER_ROOMS = Bunch(**ROOMS | {"room": ["studio", "church"], "target": pd.DataFrame({"rt60": [0.2, 4.0]})})
SPEECH = Bunch(segments=X[:4], sample_rate=RATE, source=list("abcd"), speaker=list("aabb"))
EMBEDDINGS, LABELS = torch.from_numpy(Z), torch.from_numpy(RIR)
QUICK = {
    "n_rooms": 1,
    "n_rirs": 1,
    "materials": 0.5,
    "max_duration": 2.0,
    "redraw": False,
    "random_state": 0,
    "n_rays": 100,
    "max_rays": 400,
}
HEAD = {"max_epochs": 1, "n_hidden": 4}
ENCODER = TRAINING | {"n_classes": 2, "n_views": 2, "steps_per_epoch": 1, "validation_steps": 1, "max_epochs": 0}
SUPERVISED = TRAINING | {"n_hidden": 4, "max_epochs": 0}


def calibrate(X: Any, y: Any, room_groups: Any, quality: Any) -> np.ndarray:
    """Return intervals of a head that is calibrated with these arguments."""
    head = RoomRegressor(**HEAD, validation_fraction=0).fit(Z, Y).calibrate(X, y, room_groups, quality)
    return head.predict_interval(Z, quality=None if quality is None else np.ones((12, np.shape(quality)[1])))


def predict_interval(X: Any, coverage: Any, quality: Any) -> np.ndarray:
    """Return such intervals of a head that is calibrated."""
    head = RoomRegressor(**HEAD, validation_fraction=0).fit(Z, Y).calibrate(Z, Y, np.arange(12), Z)
    return head.predict_interval(X, coverage, quality)


FILES = tempfile.TemporaryDirectory()  # removed at exit
for name in ("ada", "bob"):
    (Path(FILES.name) / name).mkdir()
    soundfile.write(Path(FILES.name) / name / "ir.wav", 0.3 * RESPONSE, RATE, subtype="FLOAT")
TABLE = pd.DataFrame({"file": ["ada/ir.wav", "bob/ir.wav"], "room": ["office", "hall"], "volume": [50, 900]})

# Function, and arguments with which it works.
Call = tuple[Callable[..., Any], dict[str, Any]]
SCORES = {"y_true": Y, "y_pred": Y + 0.1}
FUNCTIONS: dict[str, Call] = {
    **{
        name: (getattr(acoustics, name), {"rirs": RESPONSE, "sample_rate": RATE})
        for name in acoustics.__all__
        if inspect.isfunction(getattr(acoustics, name))
    },
    **{name: (getattr(metrics, name), SCORES) for name in metrics.__all__ if not name.endswith("_scorer")},
    "rooms_needed": (intervals.rooms_needed, {"coverage": 0.9}),
    "room_quantile": (intervals.room_quantile, {"scores": Y, "room_groups": np.arange(12), "coverage": 0.9}),
    "calibrate": (calibrate, {"X": Z, "y": Y, "room_groups": np.arange(12), "quality": Z}),
    "predict_interval": (predict_interval, {"X": Z, "coverage": 0.9, "quality": Z}),
    "MultiviewBatchSampler": (samplers.MultiviewBatchSampler, GROUPS | {"n_classes": 2, "n_views": 2, "n_batches": 1}),
    "largest_batch": (samplers.largest_batch, GROUPS),
    "hold_out": (
        samplers.hold_out,
        {"groups": GROUPS, "fraction": 0.5, "sampling": "soft", "random_state": np.random.RandomState(0)},
    ),
    "RoomDisjointSplit": (
        lambda cv, room_groups: list(RoomDisjointSplit(cv, room_groups).split(Z)),
        {"cv": KFold(3), "room_groups": ROOM},
    ),
    "SupConLoss": (losses.SupConLoss, {}),
    "SupConLoss.forward": (losses.SupConLoss(), {"embeddings": EMBEDDINGS, "labels": LABELS}),
    "retrieval": (losses.retrieval, {"embeddings": EMBEDDINGS, "labels": LABELS}),
    **{
        name: (getattr(networks, name), {"parts": [4, 4]} if name == "PartwiseProjection" else {})
        for name in networks.__all__
        if isinstance(getattr(networks, name), type) and name != "RoomNetwork"
    },
    "Hybrid": (Hybrid, {}),
    "ImageSources": (ImageSources, {}),
    "simulate_rooms": (simulate_rooms, QUICK),
    "make_speech": (make_speech, {"n_speakers": 1, "n_segments": 1, "duration": 0.5}),
    "load_measured_rirs": (load_measured_rirs, {"source": TABLE, "root": FILES.name}),
    "load_recordings": (load_recordings, {"source": FILES.name, "duration": 0.1}),
    "load_speech": (load_speech, {"folder": FILES.name, "duration": 0.1, "min_activity": 0.0}),
    "take": (take, {"bunch": SPEECH, "indices": [0, 2]}),
    "concatenate": (concatenate, {"bunches": [ROOMS, OTHER_ROOMS]}),
    "split_by_speaker": (split_by_speaker, {"speech": SPEECH, "fractions": (0.5, 0.5)}),
    "make_reverberant_speech": (make_reverberant_speech, {"rooms": ROOMS, "speech": SPEECH}),
}

ESTIMATORS: dict[str, tuple[type[BaseEstimator], dict[str, Any], dict[str, Any]]] = {
    "RoomRegressor": (RoomRegressor, HEAD, {"X": Z, "y": Y} | GROUPS),
    "RoomClassifier": (RoomClassifier, HEAD, {"X": Z, "y": RIR} | GROUPS),
    "DecaySlopeFeatures": (DecaySlopeFeatures, {"windows": [0.08], "bands": [1000]}, {"X": X}),
    "ContrastiveRoomEncoder": (ContrastiveRoomEncoder, ENCODER, {"X": X} | GROUPS),
    "SupervisedRoomRegressor": (SupervisedRoomRegressor, SUPERVISED, {"X": X, "y": Y} | GROUPS),
    "SupervisedRoomClassifier": (SupervisedRoomClassifier, SUPERVISED, {"X": X, "y": RIR} | GROUPS),
}

LONG = {"n_rooms", "n_rirs", "max_epochs", "steps_per_epoch", "validation_steps"}
"""Sizes that may be as large as a user has time for."""


def parameters_of(function: Callable[..., Any]) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name not in ("self", "y")] + (
        ["y"] if "y" in inspect.signature(function).parameters else []
    )


def fit_and_apply(estimator: BaseEstimator, data: dict[str, Any]) -> Any:
    fitted = estimator.fit(**data)
    return fitted.transform(data["X"]) if hasattr(fitted, "transform") else fitted.predict(data["X"])


def cases() -> Iterator[tuple[str, str, Callable[[Any], Any]]]:
    """Yield the name of what is called, the parameter and a function that calls it with a value for the parameter."""
    for name, (function, arguments) in FUNCTIONS.items():
        of = getattr(function, "forward", function) if isinstance(function, torch.nn.Module) else function
        for parameter in parameters_of(of):
            yield name, parameter, lambda value, f=function, a=arguments, p=parameter: f(**a | {p: value})
    for name, (estimator, arguments, data) in ESTIMATORS.items():
        for parameter in parameters_of(estimator):
            yield (
                name,
                parameter,
                lambda value, e=estimator, a=arguments, d=data, p=parameter: fit_and_apply(e(**a | {p: value}), d),
            )
        for parameter in data:
            yield (
                f"{name}.fit",
                parameter,
                lambda value, e=estimator, a=arguments, d=data, p=parameter: fit_and_apply(e(**a), d | {p: value}),
            )


def numbers_in(result: Any) -> Iterator[np.ndarray]:
    """Yield all floating-point numbers of a result."""
    if isinstance(result, dict):
        for value in result.values():
            yield from numbers_in(value)
    elif isinstance(result, pd.DataFrame):
        yield result.select_dtypes("number").to_numpy(float)
    elif isinstance(result, torch.Tensor):
        yield result.detach().numpy()
    elif isinstance(result, (list, tuple)):
        for value in result:
            yield from numbers_in(value)
    elif isinstance(result, (float, np.floating, np.ndarray)) and np.asarray(result).dtype.kind == "f":
        yield np.asarray(result)


def parameters_named(name: str) -> list[str]:
    """Return the parameters that an error of a function may name: one that fits all but another names that one."""
    if name in FUNCTIONS:
        function = FUNCTIONS[name][0]
        return parameters_of(function.forward if isinstance(function, torch.nn.Module) else function)
    estimator, _, data = ESTIMATORS[name.partition(".")[0]]
    return [*parameters_of(estimator), *data]


def outcome(name: str, call: Callable[[Any], Any], value: Any) -> str:
    """Call with a value, and say how that went; what begins with a capital letter is a defect."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            result = call(value)
        except FileNotFoundError as error:
            return "refused" if isinstance(error, NamedError) else f"Raw {type(error).__name__}: {error}"
        except NamedError as error:
            text = str(error)
            named = any(parameter in text for parameter in parameters_named(name))
            return "refused" if named and text.partition(":")[0].isidentifier() else f"Refused without a name: {text}"
        except (ValueError, TypeError) as error:
            text, function = str(error), name.partition(".")[0]
            ours = text.startswith(f"{function}:") and any(parameter in text for parameter in parameters_named(name))
            return "refused" if ours else f"Raw {type(error).__name__}: {error}"
        except Exception as error:
            return f"Raw {type(error).__name__}: {error}"
    if all(np.isfinite(found).all() for found in numbers_in(result)):
        return "warned" if said else "result"
    if name in ("energy_decay_curve", "room_labels", "simulate_rooms", "load_measured_rirs"):
        return "result"  # documented: NaN behind the end of a decay, for hidden labels, or for what is not documented
    if name in ("room_parameters", "evaluate") and value is True:
        return "result"  # diagnostics: a decay that meets no noise has no crossing
    return "not finite, with a warning" if said else "Not finite without a word"


def takes_long(parameter: str, value: int) -> bool:
    """Return whether a value is right, and no answer comes for hours, or only after other processes have started."""
    return (parameter in LONG and value > 10) or (parameter == "n_jobs" and value < 0)


def sweep(chosen: Callable[[str], bool]) -> tuple[Counter[str], list[str]]:
    """Return how many calls had which outcome, and the defects."""
    counts: Counter[str] = Counter()
    defects = []
    for name, parameter, call in cases():
        if not chosen(name):
            continue
        for label, value in NONSENSE.items():
            if isinstance(value, (int, np.integer)) and takes_long(parameter, value):
                continue
            found = outcome(name, call, value)
            counts[found if found[0].islower() else "defect"] += 1
            if not found[0].islower():
                defects.append(f"{name}({parameter}={label}): {' '.join(found.split())[:150]}")
    return counts, defects


NETWORKED = ("ContrastiveRoomEncoder", "SupervisedRoomRegressor", "SupervisedRoomClassifier", "simulate_rooms")


@pytest.mark.slow
def test_parameters_of_functions_and_heads_are_refused_or_right(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # some values are names of folders
    counts, defects = sweep(lambda name: not name.startswith(NETWORKED))
    with capsys.disabled():
        print(f"\nfunctions and heads: {dict(counts)}")
    assert defects == []


@pytest.mark.slow
def test_parameters_of_networks_and_rooms_are_refused_or_right(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    counts, defects = sweep(lambda name: name.startswith(NETWORKED))
    with capsys.disabled():
        print(f"\nestimators with networks, and rooms: {dict(counts)}")
    assert defects == []


@pytest.mark.filterwarnings("ignore:.*no validation")
def test_the_calls_work_as_they_are():
    for name, (function, arguments) in FUNCTIONS.items():
        assert function(**arguments) is not None, name
    for estimator, arguments, data in ESTIMATORS.values():
        assert np.isfinite(fit_and_apply(estimator(**arguments), data)).all()


def test_the_sweep_covers_all_networks():
    assert set(networks.__all__) - set(FUNCTIONS) == {"NETWORKS", "RoomNetwork"}
