"""Learn the room from reverberant speech, the scikit-learn way."""

from roomacoustic_sk.encoder import ContrastiveRoomEncoder
from roomacoustic_sk.heads import RoomClassifier, RoomRegressor
from roomacoustic_sk.supervised import SupervisedRoomClassifier, SupervisedRoomRegressor

__all__ = [
    "ContrastiveRoomEncoder",
    "RoomClassifier",
    "RoomRegressor",
    "SupervisedRoomClassifier",
    "SupervisedRoomRegressor",
]
__version__ = "0.1.0.dev0"
