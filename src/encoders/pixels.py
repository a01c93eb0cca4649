"""PixelEncoder: the image itself, small."""

from torch import Tensor

from ..batch import Features
from ..errors import InputError
from .base import Encoder, prepare_images


class PixelEncoder(Encoder):
    """Downsampled pixels: the plainest features, and the control that every other encoder has to beat.

    One layer, "pixels": values in [0, 1], (3, size, size), or (1, size, size) of luminance.

    Args:
        size: Height and width in pixels after downsampling.
        grayscale: Keep luminance alone (ITU-R BT.601 weights).
    """

    def __init__(self, size: int = 32, grayscale: bool = False) -> None:
        super().__init__()
        if size < 1:
            raise InputError(
                f"--data.encoder.size: expected at least 1 pixel, found {size}; leave it out for the default"
            )
        self.size = size
        self.grayscale = grayscale

    def forward(self, images: Tensor) -> Features:
        pixels = prepare_images(images, self.size)  # (B, 3, size, size)
        if self.grayscale:
            red, green, blue = pixels.unbind(1)
            pixels = (0.299 * red + 0.587 * green + 0.114 * blue)[:, None]  # (B, 1, size, size)
        return {"pixels": pixels}

    def settings(self) -> dict[str, object]:
        return {"size": self.size, "grayscale": self.grayscale}
