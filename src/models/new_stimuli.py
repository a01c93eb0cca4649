"""What a user shows a trained model and asks of it: images in any usual layout, and targets by subject and ROI."""

from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches

import numpy as np
import torch
from torch import Tensor

from ..batch import Facts
from ..encoders.intake import same_sized
from ..errors import InputError

Images = Tensor | np.ndarray | Sequence[Tensor] | Sequence[np.ndarray]


def as_stimuli(images: Images) -> Iterator[np.ndarray]:
    """Images or clips one by one, each uint8 (height, width, 3), or (frames, height, width, 3).

    They are taken when they are asked for: what decodes files one by one never holds them all.

    Args:
        images: uint8, colours first or last: an array or tensor (n, 3, height, width) or (n, height, width, 3), of
            clips with frames after n; or a list of such without n, which may differ in size.

    Raises:
        InputError: They are something else.
    """
    axes = None
    for each in images:
        stimulus = _colours_last(each.numpy(force=True) if isinstance(each, Tensor) else each)
        axes = axes or stimulus.ndim
        if stimulus.ndim != axes:
            raise InputError(
                "images: expected all images or all clips, found some of each; show them one after the other"
            )
        yield stimulus


def runs_of_one_size(stimuli: Iterable[np.ndarray], size: int) -> Iterator[tuple[np.ndarray, bool]]:
    """Stimuli in batches of one shape, and whether all so far have had that shape."""
    shapes = set()
    for batch in same_sized(stimuli, size):
        shapes.add(batch.shape[1:])
        yield batch, len(shapes) == 1


def _colours_last(stimulus: np.ndarray) -> np.ndarray:
    shape = np.shape(stimulus)
    if not isinstance(stimulus, np.ndarray) or stimulus.dtype != np.uint8 or len(shape) not in (3, 4):
        kind = getattr(stimulus, "dtype", type(stimulus).__name__)
        raise InputError(
            "images: expected uint8 from 0 to 255, (n, 3, height, width) or (n, height, width, 3), of clips with "
            f"frames after n, found {kind} of shape {shape} for one; convert them"
        )
    if shape[-1] == 3:
        return stimulus
    if shape[-3] == 3:
        return np.ascontiguousarray(np.moveaxis(stimulus, -3, -1))
    raise InputError(f"images: expected three colours, first or last, found shape {shape} for one; convert them to RGB")


def named_subjects(facts: Facts, subject: str | None) -> dict[int, slice]:
    """Targets of the recordings that are asked for, by their index in `Batch.subject`; all of them without a name.

    Raises:
        InputError: The model knows no such subject.
    """
    names = list(facts.subjects)
    if subject is not None and subject not in names:
        raise InputError(f"subject {subject}: expected one that the model was trained on, {', '.join(names)}")
    return {index: facts.subjects[name] for index, name in enumerate(names) if subject in (None, name)}


def named_targets(facts: Facts, subject: str | None, roi: str | None) -> Tensor:
    """Targets of a subject, of a ROI, or of a subject's ROI, rising, int64 (n,); all without a name.

    Args:
        facts: Of the training data.
        subject: Its name.
        roi: Its whole name, such as "lh.V1v", or how that ends: "V1v" is both hemispheres', and all subjects'.

    Raises:
        InputError: The model knows no such subject or ROI.
    """
    numbers = torch.arange(len(facts.groups))
    chosen = torch.zeros(len(numbers), dtype=torch.bool)
    for part in named_subjects(facts, subject).values():
        chosen[part] = True
    if roi is None:
        return numbers[chosen]
    inside = torch.zeros_like(chosen)
    for name, targets in facts.rois.items():
        if f".{name}".endswith(f".{roi}"):
            inside[targets] = True
    if not (inside & chosen).any():
        names = sorted({end for name in facts.rois for end in (name, name.rpartition(".")[2])})
        near = get_close_matches(roi, names, n=1)
        said = f"did you mean {near[0]}?" if near else f"expected one of {', '.join(names[:12]) or 'none: it has none'}"
        raise InputError(f"roi {roi}: the model has no such ROI{f' of {subject}' if subject else ''}; {said}")
    return numbers[inside & chosen]
