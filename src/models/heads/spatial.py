"""SpatialReadout: what readouts share that ask where in the image, and what there."""

from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ...batch import Features, FeatureShapes
from ...errors import InputError
from .base import Head

SEEN_AT_ONCE = 1 << 25  # numbers, 128 MB: what a chunk of targets sees of a batch


class SpatialReadout(Head):
    """Each target looks at a place, which is the same in all layers, and weights what the maps hold there.

    A weight for every channel and a place take far fewer numbers than a weight for every channel and cell. Where
    targets are many, they come in chunks whose view of the maps is made again for the gradient: 20,000 targets on
    a batch of 64 with 192 channels would else keep 1 GB.

    It starts where every target is predicted by its mean, looking at the middle of the image. `--model.l1` counts
    the weights, not the places, which are vectors.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (channels, rows, columns).
        num_targets: Targets to predict.
        looks: Numbers that a target sees of each channel.

    Raises:
        InputError: A layer is no map.
    """

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int, looks: int = 1) -> None:
        super().__init__(feature_shapes, num_targets)
        if not all(len(shape) == 3 for shape in feature_shapes.values()):
            found = ", ".join(f"{layer} {shape}" for layer, shape in feature_shapes.items())
            raise InputError(
                f"--model.head: {type(self).__name__} needs maps (channels, rows, columns) in every layer, found "
                f"{found}; leave out --data.reduction, or choose other layers"
            )
        seen = looks * sum(shape[0] for shape in feature_shapes.values())
        self.weight = nn.Parameter(torch.zeros(num_targets, seen))
        self.bias = nn.Parameter(torch.zeros(num_targets))

    @abstractmethod
    def look(self, maps: Tensor, where: Tensor) -> Tensor:
        """What some targets see of one layer.

        Args:
            maps: (B, C, rows, columns).
            where: What `places` gives for these targets, (t, *place).

        Returns:
            (B, looks · C, t).
        """

    @abstractmethod
    def places(self, batch: int) -> Tensor:
        """Where each target looks, (num_targets, *place), for a batch of so many stimuli."""

    def forward(self, features: Features) -> Tensor:
        layers = list(features.values())
        batch = len(layers[0])
        size = max(1, SEEN_AT_ONCE // max(1, batch * self.weight.shape[1]))
        pieces = zip(self.places(batch).split(size), self.weight.split(size), strict=True)
        if self.num_targets <= size:
            (piece,) = pieces
            return self._read_chunk(*piece, *layers) + self.bias
        # What is random, the places, is drawn outside: the second pass needs no state of the generator.
        read = [
            checkpoint(self._read_chunk, *piece, *layers, use_reentrant=False, preserve_rng_state=False)
            for piece in pieces
        ]
        return torch.cat(read, dim=1) + self.bias  # (B, num_targets)

    def _read_chunk(self, where: Tensor, weight: Tensor, *layers: Tensor) -> Tensor:
        """Predictions (B, t) but for the bias."""
        seen = torch.cat([self.look(maps, where) for maps in layers], dim=1)  # (B, looks · channels, t)
        return torch.einsum("bct,tc->bt", seen, weight)
