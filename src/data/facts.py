"""The facts of the training split, which a model learns before the first batch."""

from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..batch import Facts
from ..recording import Recording, stopping_groups
from .loader import Rows
from .statistics import in_chunks, mean_and_scale


def feature_statistics(
    inputs: Mapping[str, Rows], training: np.ndarray, frames: int | None, common: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean and scale of each layer's features over the training stimuli.

    Args:
        inputs: Features of all stimuli by layer, each (*shape), or (frames, *shape) of clips.
        training: Positions of the training stimuli, int64 (n,).
        frames: Frames of a clip that are served one by one; they share their statistics. None where there are none.
        common: Give each layer one scale: the root of the mean variance of its features that vary.

    Returns:
        By layer, each float32 in the shape of a stimulus's features; the scale is 1 where a feature does not vary.
    """
    means, scales = {}, {}
    for layer, rows in inputs.items():
        pieces = in_chunks(partial(_gathered, rows), training, int(np.prod(rows.shape)))
        if frames is not None:
            pieces = (piece.reshape(-1, *piece.shape[2:]) for piece in pieces)
        mean, scale = (torch.from_numpy(each) for each in mean_and_scale(pieces, common))
        means[layer], scales[layer] = mean.expand(rows.shape), scale.expand(rows.shape)
    return means, scales


def gather_facts(
    recordings: Sequence[Recording],
    training: Sequence[np.ndarray],
    features: tuple[dict[str, Tensor], dict[str, Tensor]] | None,
    standardized: bool,
) -> Facts:
    """The facts of all recordings, their targets one after another.

    Args:
        recordings: All of them.
        training: Indices of each recording's training stimuli, int64 (n,).
        features: `feature_statistics`; None where images are served.
        standardized: As in Facts.
    """
    means, scales, groups = [], [], []
    group_names: list[str] = []
    rois: dict[str, Tensor] = {}
    first = 0
    for recording, own in zip(recordings, training, strict=True):
        mean, scale = mean_and_scale(in_chunks(recording.responses.gather, own, recording.num_targets))
        means.append(mean)
        scales.append(scale)
        prefix = f"{recording.subject}." if len(recordings) > 1 else ""
        own_groups, own_names = stopping_groups(recording)
        groups.append(own_groups + len(group_names))
        group_names += [prefix + name for name in own_names]
        for roi in recording.rois:
            rois[prefix + f"{roi.hemisphere}.{roi.name}".lstrip(".")] = torch.from_numpy(roi.targets) + first
        first += recording.num_targets
    return Facts(
        torch.from_numpy(np.concatenate(means)),
        torch.from_numpy(np.concatenate(scales)),
        None if features is None else features[0],
        None if features is None else features[1],
        standardized,
        torch.from_numpy(np.concatenate(groups)),
        group_names,
        rois,
    )


def _gathered(rows: Rows, positions: np.ndarray) -> np.ndarray:
    out = torch.empty((len(positions), *rows.shape), dtype=rows.dtype)
    rows.gather(positions, out)
    return out.numpy()
