"""Readouts that ask where in the image, and what there: what they share, and those that weight cells by masks."""

from abc import abstractmethod
from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes
from ...errors import InputError
from ...names import BESIDE
from .base import Head
from .chunks import in_chunks


class SpatialReadout(Head):
    """Each target looks at a place, which is the same in all layers, and weights what the maps hold there.

    A weight for every channel and a place take far fewer numbers than a weight for every channel and cell. It starts
    where every target is predicted by its mean, looking at the middle of the image. `--model.l1` counts the weights,
    not the places, which are vectors.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (channels, rows, columns).
        num_targets: Targets to predict.
        looks: Numbers that a target sees of each channel.

    Raises:
        InputError: A layer is no map.
    """

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int, looks: int = 1) -> None:
        super().__init__(feature_shapes, num_targets)
        no_maps = [layer for layer, shape in feature_shapes.items() if len(shape) != 3]
        if no_maps:
            found = ", ".join(f"{layer} {shape}" for layer, shape in feature_shapes.items())
            raise InputError(
                f"--model.head: {type(self).__name__} needs maps (channels, rows, columns) in every layer, found "
                f"{found}; {_remedy(no_maps)}"
            )
        seen = looks * sum(shape[0] for shape in feature_shapes.values())
        self.weight = nn.Parameter(torch.zeros(num_targets, seen))
        self.bias = nn.Parameter(torch.zeros(num_targets))
        self.looks = looks

    @abstractmethod
    def places(self, batch: int) -> Tensor:
        """Where each target looks, (num_targets, *place), for a batch of so many stimuli."""


def _remedy(no_maps: Sequence[str]) -> str:
    if all(layer.startswith(BESIDE) for layer in no_maps):
        return "make it the --model.head.image of a BesideHead, which reads what is beside the image apart"
    return "leave out --data.reduction, or choose other layers"


class ChunkedReadout(SpatialReadout):
    """Where targets are many, they come in chunks, and what is made for a chunk is made again for the gradient.

    20,000 targets on a batch of 64 with 192 channels would else keep 1 GB.
    """

    def forward(self, features: Features) -> Tensor:
        layers = list(features.values())
        # What is random, the places, is drawn outside of chunks: the second pass needs no state of the generator.
        of_targets = (self.places(len(layers[0])), self.weight)
        return in_chunks(self.read_chunk, self.held(layers), of_targets, layers) + self.bias  # (B, num_targets)

    @abstractmethod
    def held(self, layers: Sequence[Tensor]) -> int:
        """Numbers that `read_chunk` makes for each target from these maps."""

    @abstractmethod
    def read_chunk(self, where: Tensor, weight: Tensor, *layers: Tensor) -> Tensor:
        """Predictions (B, t) of some targets but for the bias.

        Args:
            where: What `places` gives for these targets, (t, *place).
            weight: Theirs, (t, channels of all layers · looks): the looks at a channel stand side by side.
            layers: Maps, each (B, C, rows, columns).
        """


class MaskedReadout(ChunkedReadout):
    """Each target weights all cells by masks of its own.

    With one look the maps are masked, then weighted. With more, weights and masks are multiplied first, to one weight
    per channel and cell, which then meet the batch in a single product: as many operations as one look takes.
    """

    @abstractmethod
    def masks(self, where: Tensor, rows: int, columns: int) -> Tensor:
        """What each cell of a layer counts, (t, looks, rows · columns)."""

    def held(self, layers: Sequence[Tensor]) -> int:
        if self.looks == 1:
            return len(layers[0]) * self.weight.shape[1]
        return sum(prod(maps.shape[1:]) for maps in layers)

    def read_chunk(self, where: Tensor, weight: Tensor, *layers: Tensor) -> Tensor:
        read = layers[0].new_zeros(())
        own = weight.split([self.looks * maps.shape[1] for maps in layers], dim=1)
        for maps, each in zip(layers, own, strict=True):
            masks = self.masks(where, *maps.shape[-2:])
            if self.looks == 1:
                seen = maps.flatten(2) @ masks[:, 0].T.to(maps.dtype)  # (B, C, t)
                read = read + torch.einsum("bct,tc->bt", seen, each)
            else:
                dense = each.unflatten(1, (-1, self.looks)) @ masks  # (t, C, cells)
                read = read + maps.flatten(1) @ dense.flatten(1).T.to(maps.dtype)
        return read
