"""MlpTrunk: vectors through fully connected layers."""

from collections.abc import Sequence
from itertools import pairwise
from math import prod

from torch import nn

from ...batch import Features, FeatureShapes, flatten
from ...errors import InputError
from .base import Trunk


class MlpTrunk(Trunk):
    """All features through blocks of Linear → LayerNorm → GELU → dropout, to one vector.

    Layer norm rather than batch norm: a stimulus's representation does not depend on whose stimuli, and how many,
    are in its batch, and a new subject's are normalised as those that the trunk was trained on.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        dims: Width of each block; the last is the representation's.
        dropout: Share of each block's outputs that training drops.

    Raises:
        InputError: A number is out of range.
    """

    def __init__(self, feature_shapes: FeatureShapes, dims: Sequence[int] = (512, 512), dropout: float = 0.0) -> None:
        super().__init__(feature_shapes)
        if not dims or min(dims) < 1:
            raise InputError(f"--model.head.trunk.dims: expected one width of 1 or more per block, found {list(dims)}")
        if not 0 <= dropout < 1:
            raise InputError(f"--model.head.trunk.dropout: expected a share from 0 to below 1, found {dropout:g}")
        widths = [sum(prod(shape) for shape in feature_shapes.values()), *dims]
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(before, after), nn.LayerNorm(after), nn.GELU(), nn.Dropout(dropout))
                for before, after in pairwise(widths)
            )
        )
        self.width = widths[-1]

    def feature_shapes(self) -> FeatureShapes:
        return {"trunk": (self.width,)}

    def forward(self, features: Features) -> Features:
        return {"trunk": self.blocks(flatten(features))}
