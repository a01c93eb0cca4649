"""Reduced features are remembered in the cache: principal components of many features take minutes to fit."""

import hashlib
import json
import logging
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from ..atomic import replacing
from .reduction import Projection

log = logging.getLogger(__name__)


def remembered(
    folder: Path, identity: dict[str, object], reduce: Callable[[], tuple[Projection, Tensor]]
) -> tuple[Projection, Tensor]:
    """A fitted reduction and all stimuli's reduced features, from an earlier run where there was one.

    Args:
        folder: Where they are kept, one file each.
        identity: All that determines the numbers, as plain JSON types.
        reduce: Makes them where they are missing.
    """
    content = json.dumps(identity, sort_keys=True).encode()
    path = folder / f"{hashlib.blake2b(content, digest_size=16).hexdigest()}.pt"
    if path.exists():
        log.info("reduction of layer %s: found in %s", identity["layer"], folder)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Validating sparse tensor invariants")  # that it is done is no news
            found = torch.load(path, weights_only=True)
        return Projection(found["mean"], found["basis"]), found["features"]
    projection, features = reduce()
    with replacing(path) as temporary:
        torch.save({"mean": projection.mean, "basis": projection.basis, "features": features}, temporary)
    return projection, features
