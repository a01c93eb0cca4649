"""Trunk: features → features, trained with the head."""

from abc import ABC, abstractmethod

from torch import nn

from ...batch import Features, FeatureShapes
from ...recipe import Remakable


class Trunk(Remakable, nn.Module, ABC):
    """Makes a representation that all targets, and all subjects, share.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
    """

    def __init__(self, feature_shapes: FeatureShapes) -> None:
        super().__init__()

    @abstractmethod
    def feature_shapes(self) -> FeatureShapes:
        """Shapes of what it makes of one stimulus, by layer."""

    def feature_statistics(self, mean: Features, scale: Features) -> tuple[Features, Features]:
        """Mean and scale by layer, each (*shape), by which its features are standardised.

        Each feature by itself, unless the trunk says otherwise.

        Args:
            mean: Of each feature over the training stimuli, by layer.
            scale: Standard deviation likewise, 1 where a feature does not vary.
        """
        return mean, scale

    @abstractmethod
    def forward(self, features: Features) -> Features:
        """From features by layer, each (batch, *shape), to the representation by layer, each (batch, *shape)."""
