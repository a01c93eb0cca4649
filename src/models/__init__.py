"""Features → responses. What users name in a config is re-exported here."""

from .categories import CategoryObjective
from .closed_form.banded_ridge import BandedRidgeModule
from .closed_form.elastic_net import ElasticNetModule
from .closed_form.layer_selection import LayerSelectionModule
from .closed_form.ridge import RidgeModule
from .closed_form.similarity import SimilarityModule
from .closed_form.windowed import WindowedModule
from .early_stopping import RoiEarlyStopping
from .encoding import EncodingModule
from .finetuning import Finetuning, Frozen, Full, Gradual, Lora
from .heads.base import Head
from .heads.beside import BesideHead
from .heads.components import ComponentHead
from .heads.factorized import FactorizedReadout
from .heads.framewise import FramewiseHead
from .heads.fully_connected import FullyConnectedHead
from .heads.gaussian import GaussianMaskReadout, GaussianReadout
from .heads.layer_mixture import LayerMixture
from .heads.linear import LinearHead
from .heads.mlp import MlpHead, ResidualMlpHead
from .heads.query_decoder import QueryDecoder
from .heads.random_groups import RandomGroups
from .heads.recurrent import RecurrentHead
from .heads.retinotopic import RetinotopicReadout
from .heads.similarity import SimilarityHead
from .heads.trunk import TrunkHead
from .heads.vertex_decoder import VertexDecoder
from .losses import Loss, MeanSquaredError, NoiseCeilingWeightedMse, OneMinusCorrelation, SmoothL1
from .moving_average import ExponentialMovingAverage
from .regression.elastic_net import ElasticNet
from .regression.linear_fit import Regression
from .regression.ridge import Ridge
from .schedules import OneCycle
from .shifted import ShiftedEncoder
from .stacking.member import Member
from .stacking.module import StackedModule
from .stochastic_average import StochasticWeightAverage
from .trunks.base import Trunk
from .trunks.compressive import CompressiveTrunk
from .trunks.mlp import MlpTrunk
from .trunks.projection import LayerProjection
from .trunks.shallow_cnn import ShallowCnn

__all__ = [
    "BandedRidgeModule",
    "BesideHead",
    "CategoryObjective",
    "ElasticNet",
    "ElasticNetModule",
    "ComponentHead",
    "CompressiveTrunk",
    "EncodingModule",
    "ExponentialMovingAverage",
    "FactorizedReadout",
    "Finetuning",
    "FramewiseHead",
    "Frozen",
    "Full",
    "FullyConnectedHead",
    "GaussianMaskReadout",
    "GaussianReadout",
    "Gradual",
    "Head",
    "LayerMixture",
    "LayerProjection",
    "LayerSelectionModule",
    "LinearHead",
    "Lora",
    "Loss",
    "MeanSquaredError",
    "Member",
    "MlpHead",
    "MlpTrunk",
    "NoiseCeilingWeightedMse",
    "OneCycle",
    "OneMinusCorrelation",
    "QueryDecoder",
    "RandomGroups",
    "RecurrentHead",
    "Regression",
    "ResidualMlpHead",
    "RetinotopicReadout",
    "Ridge",
    "RidgeModule",
    "RoiEarlyStopping",
    "ShallowCnn",
    "ShiftedEncoder",
    "SimilarityHead",
    "SimilarityModule",
    "SmoothL1",
    "StackedModule",
    "StochasticWeightAverage",
    "Trunk",
    "TrunkHead",
    "VertexDecoder",
    "WindowedModule",
]
