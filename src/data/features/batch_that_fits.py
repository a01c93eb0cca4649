"""BatchThatFits: how many images a forward pass takes, fewer once a GPU's memory does not hold them."""

import logging
from collections.abc import Sequence

import numpy as np
import torch

from ...encoders import Encoder
from ...encoders.intake import Precision, encode_stimuli
from ...errors import InputError
from .cache_entry import at_once

USUAL = 64
"""Images per forward pass where nobody says."""
AT_ONCE = "encoded_at_once"
"""What the cache remembers the size by."""

log = logging.getLogger(__name__)


class BatchThatFits:
    """Encodes images in batches of one size, which is halved where a GPU's memory runs out.

    Features of batches of another size differ in their last digits; the cache remembers the size.

    Args:
        asked: Images per forward pass, which then stays; None for the usual number, or as many as fit.
    """

    def __init__(self, asked: int | None = None) -> None:
        self.asked = asked
        self.size = at_once(asked or USUAL)

    def encode(
        self,
        encoder: Encoder,
        images: Sequence[np.ndarray],
        device: torch.device,
        average_frames: bool,
        frame_spread: bool = False,
        precision: Precision = "32-true",
    ) -> dict[str, np.ndarray]:
        """What `encode_stimuli` returns.

        Raises:
            InputError: A GPU's memory does not hold the batch that was asked for, or a single image.
        """
        while True:
            try:
                return encode_stimuli(encoder, images, device, self.size, average_frames, frame_spread, precision)
            except torch.OutOfMemoryError:
                pass  # beyond this clause nothing holds what the pass had made
            torch.cuda.empty_cache()
            if self.asked is not None or self.size == 1:
                raise InputError(
                    f"--data.encode_batch_size {self.asked or self.size}: expected images that fit the GPU's memory, "
                    "found that they do not; set a smaller one, or a smaller --data.encoder.image_size"
                )
            self.size = at_once(self.size // 2)
            log.warning("the GPU's memory does not hold the batch: %d images at a time from here on", self.size)
