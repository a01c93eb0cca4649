"""Framing: how much of an image a model is shown."""

from dataclasses import dataclass
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Preprocess = Literal["whole", "model"]


@dataclass(frozen=True)
class Framing:
    """Resize an image, then keep the square in its middle: what models' own pipelines do before a test.

    Args:
        resize: Pixels to which a side is brought.
        fit: Which: the "shorter" one, and the other in proportion; or "both", which squeezes the image.
    """

    resize: int
    fit: Literal["shorter", "both"] = "shorter"

    def cut(self, pixels: Tensor, size: int, interpolation: str) -> Tensor:
        """From pixels (batch, 3, height, width) in [0, 1] to (batch, 3, size, size)."""
        height, width = pixels.shape[-2:]
        shorter = min(height, width)
        if self.fit == "both":
            height = width = self.resize
        else:
            height, width = (int(self.resize * side / shorter) for side in (height, width))
        pixels = interpolated(pixels, (height, width), interpolation)
        top, left = round((height - size) / 2), round((width - size) / 2)
        return pixels[..., top : top + size, left : left + size]

    def __str__(self) -> str:
        side = "the shorter side" if self.fit == "shorter" else "both sides"
        return f"{side} brought to {self.resize} pixels"


def interpolated(pixels: Tensor, shape: tuple[int, int], interpolation: str) -> Tensor:
    """Pixels in [0, 1] at another height and width, antialiased."""
    if pixels.shape[-2:] == shape:
        return pixels
    pixels = F.interpolate(pixels, size=shape, mode=interpolation, antialias=True)
    return pixels.clamp(0, 1)  # bicubic overshoots at edges
