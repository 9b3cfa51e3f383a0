"""Learn representations of rooms from reverberant speech, with scikit-learn compatible estimators."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from roomacoustic_sk.encoder import ContrastiveRoomEncoder
    from roomacoustic_sk.estimate import estimate_room
    from roomacoustic_sk.heads import RoomClassifier, RoomRegressor
    from roomacoustic_sk.persistence import load, save
    from roomacoustic_sk.pretrained import load_pretrained
    from roomacoustic_sk.room_parameters import RoomParameterEstimator
    from roomacoustic_sk.supervised import SupervisedRoomClassifier, SupervisedRoomRegressor

__all__ = [
    "ContrastiveRoomEncoder",
    "RoomClassifier",
    "RoomParameterEstimator",
    "RoomRegressor",
    "RoomRegressorEnsemble",
    "SupervisedRoomClassifier",
    "SupervisedRoomRegressor",
    "estimate_room",
    "load",
    "load_pretrained",
    "save",
]
__version__ = "0.1.0"

_MODULES = (
    "acoustics",
    "augmentation",
    "datasets",
    "encoder",
    "estimate",
    "features",
    "heads",
    "intervals",
    "losses",
    "metrics",
    "model_selection",
    "networks",
    "persistence",
    "pretrained",
    "room_parameters",
    "samplers",
    "supervised",
)
_HOMES = {
    "ContrastiveRoomEncoder": "encoder",
    "RoomClassifier": "heads",
    "RoomParameterEstimator": "room_parameters",
    "RoomRegressor": "heads",
    "RoomRegressorEnsemble": "heads",
    "SupervisedRoomClassifier": "supervised",
    "SupervisedRoomRegressor": "supervised",
    "estimate_room": "estimate",
    "load": "persistence",
    "load_pretrained": "pretrained",
    "save": "persistence",
}


def __getattr__(name: str) -> Any:
    """Load a public name on first access (PEP 562), so that `acoustics` can be used without torch."""
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *_MODULES, "__version__"})
