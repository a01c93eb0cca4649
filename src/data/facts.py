"""The facts of the training split, which a model learns before the first batch."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..batch import Facts
from ..recording import HEMISPHERES, Recording, stopping_groups
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
    categories: list[str],
    frames: int | None,
) -> Facts:
    """The facts of all recordings, their targets one after another.

    Args:
        recordings: All of them.
        training: Indices of each recording's training stimuli, int64 (n,).
        features: `feature_statistics`; None where images are served.
        standardized: As in Facts.
        categories: `category_names`.
        frames: As in Facts.
    """
    means, scales, groups = [], [], []
    subjects: dict[str, slice] = {}
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
        subjects[recording.subject] = slice(first, first + recording.num_targets)
        first += recording.num_targets
    hemispheres = np.concatenate([recording.hemispheres for recording in recordings])
    return Facts(
        torch.from_numpy(np.concatenate(means)),
        torch.from_numpy(np.concatenate(scales)),
        None if features is None else features[0],
        None if features is None else features[1],
        standardized,
        torch.from_numpy(np.concatenate(groups)),
        group_names,
        rois,
        subjects,
        torch.from_numpy(np.select([hemispheres == side for side in HEMISPHERES], (0, 1), -1)),
        _of_targets(recordings, lambda recording: recording.coordinates, (3,)),
        _of_targets(recordings, lambda recording: recording.noise_ceiling, ()),
        categories,
        frames,
    )


def category_names(recordings: Sequence[Recording]) -> list[str]:
    """Sorted names of all categories that the stimuli have; "" is none."""
    named = [recording.categories for recording in recordings if recording.categories is not None]
    return sorted({str(name) for names in named for name in names} - {""})


def category_indices(recordings: Sequence[Recording], names: Sequence[str]) -> np.ndarray:
    """Index of each stimulus's category among the names, int64 (n_stimuli of all recordings,), -1 where unknown."""
    index = {name: number for number, name in enumerate(names)}
    return np.concatenate(
        [
            np.full(len(recording.stimuli), -1)
            if recording.categories is None
            else np.array([index.get(str(name), -1) for name in recording.categories])
            for recording in recordings
        ]
    )


def _of_targets(
    recordings: Sequence[Recording], read: Callable[[Recording], np.ndarray | None], shape: tuple[int, ...]
) -> Tensor:
    """What recordings know of each target, float32 (num_targets, *shape), NaN where they do not."""
    known = [(recording, read(recording)) for recording in recordings]
    parts = [np.full((each.num_targets, *shape), np.nan) if value is None else value for each, value in known]
    return torch.from_numpy(np.concatenate(parts).astype(np.float32))


def _gathered(rows: Rows, positions: np.ndarray) -> np.ndarray:
    out = torch.empty((len(positions), *rows.shape), dtype=rows.dtype)
    rows.gather(positions, out)
    return out.numpy()
