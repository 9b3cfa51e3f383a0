"""Learn the room from reverberant speech, the scikit-learn way."""

from roomacoustic_sk.encoder import ContrastiveRoomEncoder
from roomacoustic_sk.heads import RoomClassifier, RoomRegressor

__all__ = ["ContrastiveRoomEncoder", "RoomClassifier", "RoomRegressor"]
__version__ = "0.1.0.dev0"
