"""Features → responses. What users name in a config is re-exported here."""

from .early_stopping import RoiEarlyStopping
from .encoding import EncodingModule
from .heads.base import Head
from .heads.linear import LinearHead
from .losses import Loss, MeanSquaredError
from .ridge_module import RidgeModule

__all__ = ["EncodingModule", "Head", "LinearHead", "Loss", "MeanSquaredError", "RidgeModule", "RoiEarlyStopping"]
