"""A reduction fitted to the training stimuli's features, and applied to all stimuli's."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...encoders.projection import Projection
from ..loader import Rows
from .feature_table import FeatureTable
from .reduction import Reduction
from .reduction_memo import remembered
from .share import ALONE, Share


def reduce_rows(
    rows: Mapping[str, Rows],
    reduction: Reduction,
    training: np.ndarray,
    frames: int | None,
    identity: Mapping[str, object],
    folder: Path,
    share: Share = ALONE,
) -> tuple[dict[str, Rows], dict[str, Projection]]:
    """Reduce every layer.

    Args:
        rows: Features of all stimuli by layer.
        reduction: What is fitted.
        training: Positions of the training stimuli, int64 (n,).
        frames: Frames of a clip that are served one by one, which share one basis; None where there are none.
        identity: What determines the features, as plain JSON types.
        folder: Where fits are remembered.
        share: How ranks wait for each other.

    Returns:
        Reduced features of all stimuli, and what was fitted, by layer.

    Raises:
        InputError: The reduction cannot be fitted.
    """

    def reduce(layer: str) -> tuple[Projection, Tensor]:
        projection = reduction.fit(FeatureTable(rows[layer], training, frames), layer)
        everything = FeatureTable(rows[layer], np.arange(len(rows[layer])), frames)
        reduced = torch.cat([projection(piece) for piece in everything.by_rows()])
        return projection, reduced if frames is None else reduced.unflatten(0, (-1, frames))

    reduced, projections = {}, {}
    for layer in rows:
        of_layer = {
            **identity,
            "training": training.tolist(),
            "frames": frames,
            "reduction": reduction.identity(),
            "layer": layer,
            "shape": rows[layer].shape,
        }
        projections[layer], features = remembered(folder, of_layer, partial(reduce, layer), share)
        reduced[layer] = Rows([features.numpy()])
    return reduced, projections
