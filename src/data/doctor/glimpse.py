"""Glimpse: what is kept of a stimulus that was decoded once."""

from dataclasses import dataclass

import numpy as np

SIDE = 48
"""Pixels on a side of a thumbnail: 12 cycles per image are left to see."""


@dataclass(frozen=True)
class Glimpse:
    """What is kept of one stimulus.

    Args:
        size: Width and height, pixels.
        digest: Of its pixels.
        thumbnail: uint8 (SIDE, SIDE, 3); of a clip the mean over frames.
        motion: float32 (SIDE, SIDE), the mean change from frame to frame; 0 for an image.
        flat: Whether all its pixels are equal, in all frames.
    """

    size: tuple[int, int]
    digest: str
    thumbnail: np.ndarray
    motion: np.ndarray
    flat: bool
