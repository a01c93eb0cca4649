"""CompressiveTrunk: strided convolutions from maps to one vector."""

from math import prod

import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes
from ...errors import InputError
from ..batch_norm import BatchNorm
from .base import Trunk

LEAST_SIDE = 4
"""Stages follow each other until neither side of the map is greater."""


class CompressiveTrunk(Trunk):
    """Strided convolutions that halve maps until they are at most 4 × 4, then one linear layer to a vector.

    Each stage is a 3×3 convolution of stride 2, batch norm and ReLU. The linear layer sees every place of the last
    map, because where something stands in the image matters to early visual cortex. Made for the 256 × 64 × 64 maps of
    a Segment Anything encoder, which take four stages; it takes maps of any size, and each layer has its own stages.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (channels, rows, columns).
        channels: Maps that each stage makes.
        width: Length of the vector, of all layers together.

    Raises:
        InputError: A layer is no map, or a number is out of range.
    """

    def __init__(self, feature_shapes: FeatureShapes, channels: int = 64, width: int = 512) -> None:
        super().__init__(feature_shapes)
        for name, number in {"channels": channels, "width": width}.items():
            if number < 1:
                raise InputError(f"--model.head.trunk.{name} {number}: expected 1 or more")
        for layer, shape in feature_shapes.items():
            if len(shape) != 3:
                raise InputError(
                    f"--model.head.trunk CompressiveTrunk: expected maps (channels, rows, columns), found {layer} "
                    f"{shape}; choose other layers, or leave out --data.reduction"
                )
        self.width = width
        self.stages, flat = nn.ModuleList(), 0
        for maps, *sides in feature_shapes.values():
            stages = nn.Sequential()
            while max(sides) > LEAST_SIDE:
                convolution = nn.Conv2d(maps, channels, 3, stride=2, padding=1, bias=False)
                stages.extend([convolution, nn.BatchNorm2d(channels), nn.ReLU()])
                maps, sides = channels, [(side + 1) // 2 for side in sides]
            self.stages.append(stages)
            flat += maps * prod(sides)
        self.vector = nn.Sequential(nn.Linear(flat, width), BatchNorm(width), nn.ReLU())

    def feature_shapes(self) -> FeatureShapes:
        return {"compressed": (self.width,)}

    def forward(self, features: Features) -> Features:
        flat = [stages(maps).flatten(1) for stages, maps in zip(self.stages, features.values(), strict=True)]
        vector: Tensor = self.vector(torch.cat(flat, dim=1))
        return {"compressed": vector}  # (B, width)
