"""Which part of an image carries a prediction: what is lost where a part is covered.

Zeiler & Fergus (2014), "Visualizing and understanding convolutional networks"; the cover has no edges of its own.
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from torch import Tensor

from ..models import EncodingModule
from .responding import respond

GRID = 12
"""Places along each side at which an image is covered."""
WIDTH = 1.0
"""Standard deviation of the cover, in steps of the grid."""


def what_is_lost(module: EncodingModule, image: np.ndarray, sets: Mapping[str, Tensor], grid: int = GRID) -> np.ndarray:
    """Mean standardised response of the whole image less that with a place covered, float64 (sets, grid, grid).

    The cover is the image's mean colour, which fades out as a Gaussian.

    Args:
        module: The model.
        image: uint8 (height, width, 3).
        sets: Targets of each, int64.
        grid: Places along each side.
    """
    responses = respond(module, Covered(image, grid), sets)  # (1 + grid², sets)
    return (responses[0] - responses[1:]).T.reshape(len(sets), grid, grid)


class Covered(Sequence[np.ndarray]):
    """An image as it is, then covered at each place, row by row; each is made when it is asked for.

    Args:
        image: uint8 (height, width, 3).
        grid: Places along each side.
    """

    def __init__(self, image: np.ndarray, grid: int) -> None:
        self.image = image
        self.grid = grid

    def __len__(self) -> int:
        return 1 + self.grid**2

    def __iter__(self) -> Iterator[np.ndarray]:
        return map(self.__getitem__, range(len(self)))

    def __getitem__(self, index: int) -> np.ndarray:  # type: ignore[override]
        if index == 0:
            return self.image
        row, column = divmod(index - 1, self.grid)
        height, width = self.image.shape[:2]
        down, across = (
            np.exp(-0.5 * (((np.arange(side) + 0.5) * self.grid / side - place - 0.5) / WIDTH) ** 2)
            for side, place in ((height, row), (width, column))
        )
        share = (down[:, None] * across)[..., None]
        covered = self.image + share * (self.image.mean((0, 1)) - self.image)
        return covered.round().astype(np.uint8)
