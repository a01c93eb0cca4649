"""Pooling: maps and tokens reduced over space."""

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

MAX_PREFIX_TOKENS = 8  # class, distillation and register tokens before the patches

Pool = Literal["avg", "max"] | int | None


def pool_features(features: Tensor, pool: Pool) -> Tensor:
    """Reduce maps and tokens over space.

    Args:
        features: Maps (B, C, H, W), or (B, H, W, C) as Swin has them (told apart by which two axes are equal: inputs
            are square); tokens (B, N, C); or vectors (B, C), which stay as they are.
        pool: None, "avg", "max", or the number of rows and columns of a grid of averages.

    Returns:
        (B, C), or (B, C, pool, pool) for a grid. Tokens that form no square cannot go on a grid and stay as they are.
    """
    if pool is None or features.ndim not in (3, 4):
        return features
    if features.ndim == 4:
        channels_last = features.shape[1] == features.shape[2] != features.shape[3]
        maps = features.movedim(3, 1) if channels_last else features  # (B, C, H, W)
    else:
        side = int(features.shape[1] ** 0.5)
        prefix = features.shape[1] - side**2
        if prefix <= MAX_PREFIX_TOKENS:
            maps = features[:, prefix:].mT.unflatten(2, (side, side))  # (B, C, side, side)
        elif isinstance(pool, int):
            return features
        else:
            maps = features.mT[..., None]  # (B, C, N, 1)
    if isinstance(pool, int):
        return F.adaptive_avg_pool2d(maps, pool)
    return maps.mean((2, 3)) if pool == "avg" else maps.amax((2, 3))
