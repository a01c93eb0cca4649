"""The facts of the training split, which a model learns before the first batch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ..batch import DIGITS, Facts, Seen
from ..names import FOLD, HEMISPHERES, PREVIOUS, TRAIN, VALIDATION
from ..recording import Recording, stopping_groups
from ..seen_before import SeenBefore
from .loader import Rows
from .statistics import in_chunks, mean_and_scale
from .stimulus_table import StimulusTable


def feature_statistics(
    inputs: Mapping[str, Rows], training: np.ndarray, frames: int | None, common: bool
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean and scale of each layer's features over the training stimuli.

    Args:
        inputs: Features of all stimuli by layer, each (*shape), or (frames, *shape) of clips.
        training: Positions of the training stimuli, int64 (n,).
        frames: Frames of a clip that are served one by one; they share their statistics. None where there are none.
        common: Give each layer one scale: the root of the mean variance of its features that vary. PREVIOUS has one
            always, since it is of components.

    Returns:
        By layer, each float32 in the shape of a stimulus's features; the scale is 1 where a feature does not vary.
    """
    means, scales = {}, {}
    for layer, rows in inputs.items():
        pieces = in_chunks(partial(_gathered, rows), training, int(np.prod(rows.shape)))
        if frames is not None:
            pieces = (piece.reshape(-1, *piece.shape[2:]) for piece in pieces)
        mean, scale = (torch.from_numpy(each) for each in mean_and_scale(pieces, common or layer == PREVIOUS))
        means[layer], scales[layer] = mean.expand(rows.shape), scale.expand(rows.shape)
    return means, scales


def gather_facts(
    table: StimulusTable,
    *,
    standardized: bool,
    frames: int | None,
    seed: int,
    steps: Sequence[int] = (),
    smallest_batch: int = 0,
    batch_size: int = 0,
) -> Facts:
    """The facts of all recordings, their targets one after another, without what only the features tell.

    Args:
        table: Their stimuli and targets.
        standardized: As in Facts, and so the others.
        frames: See there.
        seed: See there.
        steps: See there.
        smallest_batch: See there.
        batch_size: See there.
    """
    recordings, training = table.recordings, table.of_each_recording(TRAIN)
    trained, selected = (_digests_of(table, split) for split in (TRAIN, VALIDATION))
    means, scales, groups, measured = [], [], [], []
    gaps = 0
    subjects: dict[str, slice] = {}
    group_names: list[str] = []
    rois: dict[str, Tensor] = {}
    first = 0
    for recording, own, validation in zip(recordings, training, table.of_each_recording(VALIDATION), strict=True):
        missing, missing_in_validation = np.zeros((2, recording.num_targets), dtype=np.int64)
        mean, scale = mean_and_scale(_counted(recording, own, missing))
        for _ in _counted(recording, validation, missing_in_validation):
            pass
        measured.append(len(own) - missing)
        gaps += int(missing.sum() + missing_in_validation.sum())
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
        response_mean=torch.from_numpy(np.concatenate(means)),
        response_scale=torch.from_numpy(np.concatenate(scales)),
        feature_mean=None,
        feature_scale=None,
        groups=torch.from_numpy(np.concatenate(groups)),
        group_names=group_names,
        rois=rois,
        subjects=subjects,
        hemispheres=torch.from_numpy(np.select([hemispheres == side for side in HEMISPHERES], (0, 1), -1)),
        coordinates=_of_targets(recordings, lambda recording: recording.coordinates, (3,)),
        noise_ceiling=_of_targets(recordings, lambda recording: recording.noise_ceiling, ()),
        standardized=standardized,
        categories=table.categories,
        frames=frames,
        training={
            recording.subject: torch.from_numpy(table.positions_of(index, TRAIN))
            for index, recording in enumerate(recordings)
        },
        repeated=_repeated(table),
        evaluated=table.evaluated,
        seen=sorted(trained | selected),
        selected=sorted(selected - trained),
        seed=seed,
        gaps=gaps,
        measured=torch.from_numpy(np.concatenate(measured)),
        steps=list(steps),
        smallest_batch=smallest_batch,
        batch_size=batch_size,
        offset=None if table.offset is None else torch.from_numpy(table.offset),
    )


def held_out_seen(table: StimulusTable, seen: Seen) -> list[SeenBefore]:
    """Held-out stimuli that weights from elsewhere have seen, of each split and recording that has such.

    A stack's folds are no such split: they are of its own training stimuli.

    Args:
        table: All stimuli.
        seen: What the weights have learnt from.
    """
    if seen == Seen():
        return []
    digests, found = table.digests(), []
    for split in (each for each in table.evaluated if each != FOLD):
        known = seen.of_split(split)
        for index, recording in enumerate(table.recordings):
            own = table.positions_of(index, split).tolist()
            count = sum(digests[position][:DIGITS] in known for position in own)
            if count:
                found.append(SeenBefore(recording.subject, split, count, len(own)))
    return found


def _counted(recording: Recording, stimuli: np.ndarray, gaps: np.ndarray) -> Iterator[np.ndarray]:
    """Responses to stimuli (n,) in pieces, each (n_i, num_targets), whose NaN are counted while they pass.

    Args:
        recording: They are of.
        stimuli: Its stimuli, int64 (n,).
        gaps: To which each target's NaN are added, int64 (num_targets,).
    """
    for piece in in_chunks(recording.responses.gather, stimuli, recording.num_targets):
        gaps += np.isnan(piece).sum(axis=0)
        yield piece


def _digests_of(table: StimulusTable, split: str) -> set[str]:
    """What tells the stimuli of a split from others."""
    digests = table.digests()
    return {digests[index][:DIGITS] for index in table.positions(split).tolist()}


def _repeated(table: StimulusTable) -> dict[str, Tensor]:
    """Image of each training stimulus of the recordings that show one several times, by subject."""
    found = {}
    for recording, own in zip(table.recordings, table.of_each_recording(TRAIN), strict=True):
        digests = recording.stimuli.digests()
        number = {digest: place for place, digest in enumerate(dict.fromkeys(digests[index] for index in own))}
        if len(number) < len(own):
            found[recording.subject] = torch.tensor([number[digests[index]] for index in own])
    return found


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
