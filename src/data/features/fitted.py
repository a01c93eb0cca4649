"""Fitted encoders: what is learnt from the training images, learnt once and remembered in the cache.

    CACHE/fitted/5d1a….npz      the fitted tensors of one encoder

The file is named by the hash of the encoder's settings and of the training images' content. It also keeps the
embeddings valid: they are named by the fitted tensors, and a fit on another processor differs in the last digits.
"""

import json
import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from ...atomic import replacing
from ...encoders import Encoder
from ...recording import Stimuli
from ..digests import digest_bytes
from .share import ALONE, Share, first_rank_first

log = logging.getLogger(__name__)


class TrainingImages:
    """Images of a training split, decoded when they are asked for, each uint8 (3, height, width).

    Of a clip it is the frame in the middle.

    Args:
        stimuli: For each image, the stimuli that it is in and its place among them.
    """

    def __init__(self, stimuli: Sequence[tuple[Stimuli, int]]) -> None:
        self.stimuli = stimuli

    def __len__(self) -> int:
        return len(self.stimuli)

    def __getitem__(self, index: int) -> Tensor:
        stimuli, row = self.stimuli[index]
        image = stimuli.read(row)
        return torch.tensor(image if image.ndim == 3 else image[len(image) // 2]).permute(2, 0, 1)

    def digests(self) -> list[str]:
        """Hash of each image's content."""
        return [stimuli.digests()[row] for stimuli, row in self.stimuli]


def fit_encoder(encoder: Encoder, images: TrainingImages, cache: Path, share: Share = ALONE) -> None:
    """Fit those parts of an encoder that need it, or recall what they learnt from the same images before.

    Args:
        encoder: Fitted in place.
        images: Of the training split.
        cache: The cache's folder.
        share: How ranks wait for each other.

    Raises:
        InputError: An image cannot be read.
    """
    for part in encoder.parts().values():
        if part.needs_fit:
            path = cache / "fitted" / f"{_key(part, images)}.npz"
            first_rank_first(share, partial(_recall_or_fit, part, images, path))


def _key(part: Encoder, images: TrainingImages) -> str:
    text = json.dumps([part.identity(), images.digests()], sort_keys=True)
    return digest_bytes(text.encode())


def _recall_or_fit(part: Encoder, images: TrainingImages, path: Path) -> None:
    if _recall(part, path):
        return
    log.info("fitting %s on %d training images", type(part).__name__, len(images))
    part.fit(images)
    with replacing(path) as temporary:
        np.savez(temporary, **{name: tensor.numpy() for name, tensor in part.state_dict().items()})


def _recall(part: Encoder, path: Path) -> bool:
    """Read what a part learnt before; a missing or damaged file costs time, no more."""
    try:
        with np.load(path, allow_pickle=False) as arrays:
            part.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays})
    except (OSError, EOFError, ValueError, TypeError, RuntimeError, BadZipFile):
        return False
    return True
