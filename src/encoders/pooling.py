"""Pooling: maps and tokens reduced over space."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from .layouts import Layout
from .token_order import Order

Pool = Literal["avg", "max"] | int | None


def pool_features(features: Tensor, layout: Layout, pool: Pool, order: Order | None = None) -> Tensor:
    """Reduce maps and tokens over space.

    Args:
        features: As the layout serves them: maps (B, C, H, W), tokens (B, N, C), or rows (B, X), which stay as they
            are.
        layout: What their axes mean.
        pool: None, "avg", "max", or the number of rows and columns of a grid of averages.
        order: Which tokens are the patches, row by row; without, those after the class tokens.

    Returns:
        (B, C), or (B, C, pool, pool) for a grid.
    """
    if pool is None or not layout.axes:
        return features
    if layout.kind == "tokens":
        patches = features[:, slice(layout.prefix, None) if order is None else order]
        features = patches.mT.unflatten(2, layout.grid)  # (B, C, rows, columns)
    if isinstance(pool, int):
        return F.adaptive_avg_pool2d(features, pool)
    return features.mean((2, 3)) if pool == "avg" else features.amax((2, 3))
