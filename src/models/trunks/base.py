"""Trunk: features → features, trained with the head."""

from abc import ABC, abstractmethod

from torch import nn

from ...batch import Features, FeatureShapes


class Trunk(nn.Module, ABC):
    """Makes a representation that all targets, and all subjects, share.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
    """

    def __init__(self, feature_shapes: FeatureShapes) -> None:
        super().__init__()

    @abstractmethod
    def feature_shapes(self) -> FeatureShapes:
        """Shapes of what it makes of one stimulus, by layer."""

    @abstractmethod
    def forward(self, features: Features) -> Features:
        """From features by layer, each (batch, *shape), to the representation by layer, each (batch, *shape)."""
