"""Images shifted by whole pixels, over which predictions are averaged."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from ..batch import Batch
from ..errors import InputError

SIDES = ((-1, 0), (1, 0), (0, -1), (0, 1))


def check_shifts(pixels: Sequence[int], backbone: bool) -> None:
    """Refuse what images cannot be shifted by.

    Args:
        pixels: As `shifted_batches` takes them.
        backbone: Whether the model sees images.

    Raises:
        InputError: A shift is below 1 or given twice, or the model sees features, which are cached.
    """
    if pixels and not backbone:
        raise InputError(
            f"--model.test_shifts {list(pixels)}: expected a --model.backbone, which sees each shifted image, found "
            "features that were computed once and are cached; leave it out"
        )
    if min(pixels, default=1) < 1 or len(set(pixels)) < len(pixels):
        raise InputError(f"--model.test_shifts {list(pixels)}: expected different numbers of pixels, each 1 or more")


def shifted_batches(batch: Batch, pixels: Sequence[int]) -> Iterator[Batch]:
    """A batch of images four times for each number of pixels: shifted by so many up, down, left and right."""
    assert batch.images is not None
    for distance in pixels:
        for down, right in SIDES:
            yield replace(batch, images=shifted_by(batch.images, down * distance, right * distance))


def shifted_by(images: Tensor, down: int, right: int) -> Tensor:
    """Images (…, height, width) moved by so many pixels; where they leave the frame empty their edge goes on."""
    height, width = images.shape[-2:]
    rows = (torch.arange(height, device=images.device) - down).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) - right).clamp(0, width - 1)
    return images.index_select(-2, rows).index_select(-1, columns)
