"""Features → responses. What users name in a config is re-exported here."""

from .early_stopping import RoiEarlyStopping
from .encoding import EncodingModule
from .heads.base import Head
from .heads.linear import LinearHead
from .losses import Loss, MeanSquaredError

__all__ = ["EncodingModule", "Head", "LinearHead", "Loss", "MeanSquaredError", "RoiEarlyStopping"]
