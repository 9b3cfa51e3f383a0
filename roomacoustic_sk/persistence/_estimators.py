"""Estimators as a list of nodes: each with its class, parameters and fitted state; children stand before parents.

Our own estimators give and take their fitted state themselves (`_state`). Of scikit-learn's, those that stand around
them are listed here with the attributes that a fit sets; others are left to skops.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
import sklearn
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.compose import TransformedTargetRegressor
from sklearn.ensemble import BaggingRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from roomacoustic_sk._state import State
from roomacoustic_sk._torch.runtime import isolated
from roomacoustic_sk._validation import ArgumentValueError, check_n_jobs, warn
from roomacoustic_sk.encoder import ContrastiveRoomEncoder
from roomacoustic_sk.features import DecaySlopeFeatures
from roomacoustic_sk.heads import RoomClassifier, RoomRegressor, RoomRegressorEnsemble
from roomacoustic_sk.persistence import _skops
from roomacoustic_sk.persistence._file import Content, UnreadableError
from roomacoustic_sk.persistence._values import LARGEST_EXPANSION, decode, encode
from roomacoustic_sk.room_parameters import RoomParameterEstimator
from roomacoustic_sk.supervised import SupervisedRoomClassifier, SupervisedRoomRegressor

OURS: dict[str, type[BaseEstimator]] = {
    kind.__name__: kind
    for kind in (
        ContrastiveRoomEncoder,
        DecaySlopeFeatures,
        RoomClassifier,
        RoomParameterEstimator,
        RoomRegressor,
        RoomRegressorEnsemble,
        SupervisedRoomClassifier,
        SupervisedRoomRegressor,
    )
}
"""Estimators with `_fitted_state` and `_restore`."""

NOT_SAVED = ("callbacks", "checkpoint_dir")
"""Parameters of ours that are code, or a folder of this machine."""

OUTPUT = "_sklearn_output_config"
REQUESTS = "_metadata_request"
"""What `set_output` and `set_fit_request` leave in an estimator."""


# --- scikit-learn's estimators around ours --------------------------------------------------------------------------

Check = Callable[[Any, Mapping[str, Any]], bool]
"""Whether a fitted attribute is as a fit sets it; the second argument has all attributes of the estimator."""


def _is_whole(value: Any, attributes: Mapping[str, Any]) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(value >= 0)


def _is_estimator(value: Any, attributes: Mapping[str, Any]) -> bool:
    return isinstance(value, BaseEstimator)


def _are_estimators(value: Any, attributes: Mapping[str, Any]) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(isinstance(item, BaseEstimator) for item in value)


def _is_each_feature(value: Any, attributes: Mapping[str, Any]) -> bool:
    if value is None:
        return True
    fits = isinstance(value, np.ndarray) and value.shape == (attributes.get("n_features_in_"),)
    return bool(fits and value.dtype.kind == "f" and np.isfinite(value).all())


def _are_names(value: Any, attributes: Mapping[str, Any]) -> bool:
    fits = isinstance(value, np.ndarray) and value.shape == (attributes.get("n_features_in_"),)
    return bool(fits and all(isinstance(name, str) for name in value))


def _are_features(value: Any, attributes: Mapping[str, Any]) -> bool:
    """Tell whether there are indices of features for each estimator."""
    if not isinstance(value, list) or len(value) != len(attributes.get("estimators_", ())):
        return False
    n_features = attributes.get("n_features_in_", 0)
    return all(
        isinstance(item, np.ndarray)
        and item.ndim == 1
        and item.dtype.kind == "i"
        and bool(((item >= 0) & (item < n_features)).all())
        for item in value
    )


def _is_array(kinds: str) -> Check:
    return lambda value, attributes: (
        isinstance(value, np.ndarray) and value.ndim in (1, 2) and value.dtype.kind in kinds
    )


def _is_count(value: Any, attributes: Mapping[str, Any]) -> bool:
    return _is_whole(value, attributes) or isinstance(value, float) or _is_array("if")(value, attributes)


def _either(*checks: Check) -> Check:
    return lambda value, attributes: any(check(value, attributes) for check in checks)


def _is_none(value: Any, attributes: Mapping[str, Any]) -> bool:
    return value is None


INPUT: dict[str, Check] = {"n_features_in_": _is_whole, "feature_names_in_": _are_names}

AROUND: dict[str, tuple[type[BaseEstimator], dict[str, Check]]] = {
    "BaggingRegressor": (
        BaggingRegressor,
        INPUT
        | {
            "estimator_params": lambda value, attributes: value == (),
            "estimator_": _is_estimator,
            "estimators_": _are_estimators,
            "estimators_features_": _are_features,
            "oob_score_": lambda value, attributes: isinstance(value, float),
            "oob_prediction_": _is_array("f"),
            "_n_samples": _is_whole,
            "_max_samples": _is_whole,
            "_max_features": _is_whole,
            "_sample_weight": _either(_is_none, _is_array("f")),
            "_seeds": _is_array("iu"),
        },
    ),
    "FrozenEstimator": (FrozenEstimator, {}),
    "FunctionTransformer": (FunctionTransformer, INPUT),
    "Pipeline": (Pipeline, {}),
    "StandardScaler": (
        StandardScaler,
        INPUT
        | {
            "n_samples_seen_": _is_count,
            "mean_": _is_each_feature,
            "var_": _is_each_feature,
            "scale_": _is_each_feature,
        },
    ),
    "TransformedTargetRegressor": (
        TransformedTargetRegressor,
        {
            "regressor_": _is_estimator,
            "transformer_": _is_estimator,
            "_training_dim": lambda value, attributes: type(value) is int and value in (1, 2),
            "n_features_in_": _is_whole,
            "feature_names_in_": _are_names,
        },
    ),
}
"""Classes of scikit-learn, with the attributes that a fit may set and their checks."""

PARAMETERS: dict[str, Check] = {
    "memory": _is_none,  # a cache of pickles, which a fit would read
    "estimator": _either(_is_none, _is_estimator),
    "regressor": _either(_is_none, _is_estimator),
    "transformer": _either(_is_none, _is_estimator),
    "steps": lambda value, attributes: isinstance(value, list) and len(value) > 0 and all(map(_is_step, value)),
}
"""Parameters of those classes that not any value will do for."""


def _is_step(value: Any) -> bool:
    """Tell whether a value is a step of a Pipeline: its name, and an estimator or what stands for one."""
    if not isinstance(value, (tuple, list)) or len(value) != 2 or not isinstance(value[0], str):
        return False
    return value[1] is None or value[1] == "passthrough" or isinstance(value[1], BaseEstimator)


# --- To nodes -------------------------------------------------------------------------------------------------------


class Writer:
    """Turns an estimator, and those within it, into nodes and arrays."""

    def __init__(self) -> None:
        self.nodes: list[dict[str, Any]] = []
        self.arrays: dict[str, NDArray[Any]] = {}
        self.networks: dict[str, Any] = {}
        self._numbers: dict[int, int] = {}  # of nodes by id: an estimator that stands in two places is written once
        self._begun = 0

    def content(self) -> Content:
        """Return what has been added, for a file."""
        versions = {
            "roomacoustic_sk": version("roomacoustic_sk"),
            "numpy": np.__version__,
            "scikit-learn": sklearn.__version__,
            "torch": str(torch.__version__),
        }
        return Content({"versions": versions, "nodes": self.nodes}, self.arrays)

    def add_array(self, array: NDArray[Any], name: str) -> None:
        """Keep an array."""
        self.arrays[name] = array

    def add_network(self, network: Any, where: str) -> str:
        """Keep the name of a network of the user's; `load` is given the network itself."""
        name = _name_of(network)
        if self.networks.setdefault(name, network) is not network or len(self.networks) > 1:
            raise ArgumentValueError(
                f"estimator must have at most one network that is not part of roomacoustic_sk, got {name} as {where} "
                "beside another one."
            )
        return str(name)

    def add_estimator(self, estimator: BaseEstimator, where: str) -> int:
        """Add the nodes of an estimator and of those within it; return the number of its own."""
        if id(estimator) in self._numbers:
            number = self._numbers[id(estimator)]
            if number < 0:
                raise ArgumentValueError(f"estimator must not be part of itself, got {where}.")
            return number
        self._numbers[id(estimator)], prefix = -1, str(self._begun)
        self._begun += 1
        name = type(estimator).__name__
        if OURS.get(name) is type(estimator):
            node = self._ours(estimator, prefix, where)
        elif name in AROUND and AROUND[name][0] is type(estimator):
            node = self._around(estimator, prefix, where)
        else:
            self.arrays[prefix] = _skops.encode(estimator, where)
            node = {"class": "skops", "data": prefix}
        self.nodes.append(node)
        self._numbers[id(estimator)] = len(self.nodes) - 1
        return len(self.nodes) - 1

    def _ours(self, estimator: Any, prefix: str, where: str) -> dict[str, Any]:
        if estimator.get_params(deep=False).get("callbacks"):
            raise ArgumentValueError(
                f"estimator must have no callbacks, which are code, got some as {_within(where, 'callbacks')}. "
                "Use set_params(callbacks=None)."
            )
        state = estimator._fitted_state()
        if state is not None:
            estimator._check_parameters()  # as `load` does
        parameters = {key: value for key, value in estimator.get_params(deep=False).items() if key not in NOT_SAVED}
        node = {
            "class": type(estimator).__name__,
            "parameters": self._values(parameters, prefix, where),
            "fitted": None if state is None else self._values(state, f"{prefix}/fitted", where),
        }
        return node | self._output(estimator)

    def _around(self, estimator: BaseEstimator, prefix: str, where: str) -> dict[str, Any]:
        name = type(estimator).__name__
        parameters = estimator.get_params(deep=False)
        if parameters.get("memory") is not None:
            raise ArgumentValueError(
                f"estimator must have no cache, got one as {_within(where, 'memory')}. Use set_params(memory=None)."
            )
        state = dict(estimator.__getstate__())
        fitted = {
            key: value
            for key, value in state.items()
            if key not in parameters and key not in ("_sklearn_version", OUTPUT, REQUESTS)
        }
        unknown = sorted(fitted.keys() - AROUND[name][1].keys())
        if unknown:
            raise ArgumentValueError(
                f"estimator must have attributes of scikit-learn's that this version knows, got "
                f"{_within(where, unknown[0])} of a {name} (scikit-learn {sklearn.__version__})."
            )
        node = {
            "class": name,
            "parameters": self._values(parameters, prefix, where),
            "fitted": self._values(fitted, f"{prefix}/fitted", where),
        }
        return node | self._output(estimator)

    def _values(self, values: dict[str, Any], name: str, where: str) -> dict[str, Any]:
        encoded = {}
        for key, value in values.items():
            if key == "steps" and isinstance(value, (list, tuple)):
                encoded[key] = [
                    {"tuple": [step, encode(part, self, f"{name}/{i}", _within(where, f"step {step!r}"))]}
                    for i, (step, part) in enumerate(value)
                ]
            else:
                encoded[key] = encode(value, self, f"{name}/{key}", _within(where, key))
        return encoded

    def _output(self, estimator: BaseEstimator) -> dict[str, Any]:
        state = dict(estimator.__getstate__())
        if REQUESTS in state:
            warn(f"requests of metadata (set_fit_request) are not saved; those of {type(estimator).__name__} are lost.")
        output = state.get(OUTPUT, {}).get("transform")
        return {} if output is None else {"output": output}


def _name_of(network: Any) -> str:
    return getattr(network, "__qualname__", type(network).__qualname__)


def _within(where: str, part: str) -> str:
    return f"{part} of {where}" if where else part


# --- From nodes -----------------------------------------------------------------------------------------------------


class MissingNetworkError(ArgumentValueError):
    """A file needs a network of the user's."""


class WrongNetworkError(ArgumentValueError):
    """The network that the user handed over does not fit the file."""


class Reader:
    """Builds the estimators that nodes and arrays describe."""

    def __init__(self, content: Content, network: Any) -> None:
        self._arrays, self._network = content.arrays, network
        self._own_network: str | None = None
        self._unread = set(content.arrays)
        self._expanded = 0
        self._estimators: list[BaseEstimator] = []
        versions, nodes = content.structure.get("versions"), content.structure.get("nodes")
        if content.structure.keys() != {"versions", "nodes"} or not isinstance(versions, dict):
            raise UnreadableError("it has a malformed structure")
        self._written = ", ".join(f"{name} {number}" for name, number in versions.items())[:200]
        if not isinstance(nodes, list) or not nodes or not all(isinstance(node, dict) for node in nodes):
            raise UnreadableError("it has no list of estimators")
        self._nodes = nodes

    def read(self) -> BaseEstimator:
        """Return the last estimator, which all others are part of."""
        for node in self._nodes:
            self._own_network = None  # the name of one that this estimator asks for
            try:
                self._estimators.append(self._build(node))
            except (MissingNetworkError, WrongNetworkError, UnreadableError):
                raise
            except Exception as error:  # whatever a forged file, or the user's network, provokes
                name = str(node.get("class"))[:80]
                if self._own_network is not None:
                    raise WrongNetworkError(
                        f"network must be the class that the estimator was saved with, {self._own_network[:80]!r}, and "
                        f"unchanged, got {_name_of(self._network)}: {error}"
                    ) from error
                raise UnreadableError(f"its {name}, saved with {self._written}, cannot be built: {error}") from error
        if self._unread:
            raise UnreadableError(f"it has an array that nothing refers to, {min(self._unread)[:80]!r}")
        return self._estimators[-1]

    def array(self, name: str) -> NDArray[Any]:
        """Return an array of the file."""
        if name not in self._unread:
            raise UnreadableError(f"it refers to an array that is missing or used already, {name[:80]!r}")
        self._unread.remove(name)
        return self._arrays[name].copy()

    def arrays(self, prefix: str) -> dict[str, NDArray[Any]]:
        """Return all arrays whose names begin with a prefix."""
        names = [name for name in self._arrays if name.startswith(prefix)]
        return {name.removeprefix(prefix): self.array(name) for name in names}

    def estimator(self, index: int) -> BaseEstimator:
        """Return an estimator whose node stands before."""
        if not 0 <= index < len(self._estimators):
            raise UnreadableError(f"it refers to estimator {index}, which does not stand before")
        return self._estimators[index]

    def network(self, name: str) -> Any:
        """Return the network that the caller handed over."""
        if self._network is None:
            raise MissingNetworkError(
                f"network must be given for an estimator with a network of your own, {name[:80]!r}, whose code is in "
                "no file. Pass that class: load(path, network=...)."
            )
        self._own_network = name
        return self._network

    def expand(self, n_bytes: int) -> None:
        """Refuse to take much more memory than the file's size."""
        self._expanded += n_bytes
        if self._expanded > LARGEST_EXPANSION:
            raise UnreadableError(f"it takes more than {LARGEST_EXPANSION >> 20} MiB beyond its size")

    def _build(self, node: dict[str, Any]) -> BaseEstimator:
        name = node.get("class")
        if name == "skops":
            if node.keys() != {"class", "data"} or not isinstance(node["data"], str):
                raise UnreadableError("it has a malformed estimator")
            return _skops.decode(self.array(node["data"]).tobytes())
        known = {"class", "parameters", "fitted"}
        if not isinstance(name, str) or not known <= node.keys() <= known | {"output"}:
            raise UnreadableError("it has a malformed estimator")
        parameters, fitted = self._values(node["parameters"]), node["fitted"]
        if name in OURS:
            estimator = self._ours(name, parameters, None if fitted is None else self._values(fitted))
        elif name in AROUND:
            estimator = self._around(name, parameters, self._values(fitted))
        else:
            raise UnreadableError(f"it has an estimator that this version does not know, {name[:80]!r}")
        output = node.get("output")
        if output is not None:
            if output not in ("default", "pandas", "polars") or not hasattr(estimator, "set_output"):
                raise UnreadableError("it has an unknown kind of output")
            estimator.set_output(transform=output)
        return estimator

    def _values(self, values: Any) -> dict[str, Any]:
        if not isinstance(values, dict):
            raise UnreadableError("it has a malformed estimator")
        return {key: decode(value, self) for key, value in values.items()}

    def _ours(self, name: str, parameters: dict[str, Any], fitted: dict[str, Any] | None) -> BaseEstimator:
        kind = OURS[name]
        _check_names(kind, parameters, NOT_SAVED)
        estimator: Any = kind(**parameters)
        if fitted is not None:
            estimator._check_parameters()
            state = State(fitted)
            with isolated():
                estimator._restore(state)
            state.check_all_read()
        return estimator

    def _around(self, name: str, parameters: dict[str, Any], fitted: dict[str, Any]) -> BaseEstimator:
        kind, checks = AROUND[name]
        _check_names(kind, parameters)
        for key, value in parameters.items():
            if key == "n_jobs":
                check_n_jobs(value)
            if key in PARAMETERS and not PARAMETERS[key](value, parameters):
                raise UnreadableError(f"it has a {name} with a malformed {key}")
        estimator = kind(**parameters)
        for key, value in fitted.items():
            if key not in checks or not checks[key](value, fitted):
                raise UnreadableError(f"it has a {name} with a malformed or unknown {key[:80]}")
            setattr(estimator, key, value)
        return estimator


def _check_names(kind: type[BaseEstimator], parameters: dict[str, Any], excluded: tuple[str, ...] = ()) -> None:
    """Refuse names that are no parameters of a class, and missing ones that it needs."""
    known = {name: parameter for name, parameter in inspect.signature(kind).parameters.items() if name not in excluded}
    missing = {name for name, parameter in known.items() if parameter.default is parameter.empty} - parameters.keys()
    if missing:
        raise UnreadableError(f"it has a {kind.__name__} without the parameter {min(missing)!r}")
    unknown = parameters.keys() - known.keys()
    if unknown:
        raise UnreadableError(f"it has a {kind.__name__} with an unknown parameter, {min(unknown)[:80]!r}")
