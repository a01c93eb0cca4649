"""Fewer features: what is fitted on the training split and applied to every stimulus."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import prod
from typing import TYPE_CHECKING

from ...arguments import KeepsArguments
from ...errors import InputError

if TYPE_CHECKING:  # torch is imported where it is used, because `calcarine.data` must be light to import
    from ...batch import FeatureShapes
    from ...encoders.projection import Projection
    from .feature_table import FeatureTable


VERSION = 2
"""To be raised when an algorithm changes: what was remembered of earlier runs is then made anew."""


class Reduction(KeepsArguments, ABC):
    """Maps each layer's features to fewer, after being fitted on the training split.

    Args:
        components: How many features each layer keeps, or all where it has fewer.
    """

    def __init__(self, components: int) -> None:
        if components < 1:
            raise InputError(f"--data.reduction.components {components}: expected 1 or more")
        self.components = components

    def shapes(self, shapes: FeatureShapes) -> FeatureShapes:
        """Shapes after the reduction, known before it is fitted."""
        return {layer: (min(self.components, prod(shape)),) for layer, shape in shapes.items()}

    def identity(self) -> list[object]:
        """What determines the numbers beside the features, as plain JSON types."""
        settings = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        return [VERSION, type(self).__name__, settings]

    def check(self, num_rows: int, shapes: FeatureShapes) -> None:
        """Raise InputError where it could not be fitted, before the features are there.

        Args:
            num_rows: Training stimuli, or their frames.
            shapes: Shape of one stimulus's features by layer.
        """

    @abstractmethod
    def fit(self, features: FeatureTable, layer: str) -> Projection:
        """Fit one layer.

        Args:
            features: The training stimuli's features (N, D).
            layer: The layer's name, for messages.

        Returns:
            From D features to min(components, D).
        """
