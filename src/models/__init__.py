"""Features → responses. What users name in a config is re-exported here."""

from .banded_module import BandedRidgeModule
from .early_stopping import RoiEarlyStopping
from .elastic_net import ElasticNet
from .elastic_net_module import ElasticNetModule
from .encoding import EncodingModule
from .finetuning import Finetuning, Frozen, Full
from .heads.base import Head
from .heads.linear import LinearHead
from .heads.similarity import SimilarityHead
from .heads.trunk import TrunkHead
from .layer_module import LayerSelectionModule
from .linear_fit import Regression
from .losses import Loss, MeanSquaredError
from .ridge import Ridge
from .ridge_module import RidgeModule
from .similarity_module import SimilarityModule
from .trunks.base import Trunk
from .windowed_module import WindowedModule

__all__ = [
    "BandedRidgeModule",
    "ElasticNet",
    "ElasticNetModule",
    "EncodingModule",
    "Finetuning",
    "Frozen",
    "Full",
    "Head",
    "LayerSelectionModule",
    "LinearHead",
    "Loss",
    "MeanSquaredError",
    "Regression",
    "Ridge",
    "RidgeModule",
    "RoiEarlyStopping",
    "SimilarityHead",
    "SimilarityModule",
    "Trunk",
    "TrunkHead",
    "WindowedModule",
]
