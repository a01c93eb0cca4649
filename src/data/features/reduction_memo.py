"""Reduced features are remembered in the cache: principal components of many features take minutes to fit.

CACHE/reductions/8c02….pt      the mean and the basis of one layer, and all stimuli's reduced features
"""

import json
import logging
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ...atomic import replacing
from ...encoders.projection import Projection
from ...errors import InputError
from ...tensor_file import read_tensors
from ..digests import digest_bytes
from .share import ALONE, Share, first_rank_first

log = logging.getLogger(__name__)


Reduced = tuple[Projection, Tensor]
"""A fitted reduction, and all stimuli's reduced features."""


def remembered(
    folder: Path, identity: dict[str, object], reduce: Callable[[], Reduced], share: Share = ALONE
) -> Reduced:
    """A fitted reduction and all stimuli's reduced features, from an earlier run where there was one.

    Args:
        folder: Where they are kept, one file each.
        identity: All that determines the numbers, as plain JSON types.
        reduce: Makes them where they are missing.
        share: How ranks wait for each other.

    Raises:
        InputError: The reduction cannot be fitted.
    """
    content = json.dumps(identity, sort_keys=True).encode()
    path = folder / f"{digest_bytes(content)}.pt"
    return first_rank_first(share, lambda: _recall(path, identity["layer"]) or _make(path, reduce))


def _make(path: Path, reduce: Callable[[], Reduced]) -> Reduced:
    projection, features = reduce()
    with replacing(path) as temporary:
        torch.save({"mean": projection.mean, "basis": projection.basis, "features": features}, temporary)
    return projection, features


def _recall(path: Path, layer: object) -> Reduced | None:
    """Read what an earlier run, or the first rank, wrote; a missing or damaged file costs time, no more."""
    if not path.exists():
        return None
    try:
        found = read_tensors(path)
        reduced = Projection(found["mean"], found["basis"]), found["features"]
    except (InputError, KeyError, TypeError):
        log.warning("reduction of layer %s: %s is damaged and made anew", layer, path)
        return None
    log.info("reduction of layer %s: found in %s", layer, path.parent)
    return reduced
