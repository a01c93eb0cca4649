"""FactorizedReadout: where times what."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...batch import FeatureShapes
from .spatial import MaskedReadout


class FactorizedReadout(MaskedReadout):
    """A spatial mask of each target times its feature weights (Klindt, Ecker, Euler & Bethge 2017).

    The mask is free: one number for each cell of the finest layer; it is averaged for coarser ones. It starts even,
    seeing the mean over the image. `--model.l1` makes masks and weights sparse, as in the paper.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (channels, rows, columns).
        num_targets: Targets to predict.

    Raises:
        InputError: A layer is no map.
    """

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int) -> None:
        super().__init__(feature_shapes, num_targets)
        rows = max(shape[1] for shape in feature_shapes.values())
        columns = max(shape[2] for shape in feature_shapes.values())
        self.mask = nn.Parameter(torch.ones(num_targets, rows, columns))

    def places(self, batch: int) -> Tensor:
        return self.mask

    def masks(self, where: Tensor, rows: int, columns: int) -> Tensor:
        masks = where[:, None]
        if where.shape[1:] != (rows, columns):
            masks = F.interpolate(masks, size=(rows, columns), mode="bilinear", antialias=True)
        return masks.flatten(2) / (rows * columns)
