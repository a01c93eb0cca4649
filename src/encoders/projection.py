"""Projection: a layer's features to fewer, as a reduction has fitted it."""

import torch
from torch import Tensor

from ..batch import padded

ROWS = 64
"""Stimuli in every product: kernels round by the shape, and new stimuli are to have what those of training had."""


class Projection:
    """An affine map x ↦ (x − mean) · basis.

    Args:
        mean: float32 (D,).
        basis: float32 (D, components), dense or sparse.
    """

    def __init__(self, mean: Tensor, basis: Tensor) -> None:
        self.mean = mean
        self.basis = basis

    def __call__(self, features: Tensor) -> Tensor:
        """From (n, D) to (n, components), float32."""
        blocks = [(padded(block.float(), ROWS) - self.mean) @ self.basis for block in features.split(ROWS)]
        return torch.cat(blocks)[: len(features)]
