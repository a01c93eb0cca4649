"""A trained model as something to experiment on: how strongly sets of targets respond to images, in units of spread."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch, Facts
from ..encoders.modes import keeping_modes
from ..errors import InputError
from ..models import EncodingModule
from ..models.new_stimuli import Images
from ..names import HEMISPHERES

ALL = "all"
"""Name of the set of all targets."""


def named_sets(module: EncodingModule, rois: Sequence[str] | None, subject: str | None) -> dict[str, Tensor]:
    """Targets by the name of their set, each rising, int64 (n,).

    Args:
        module: The model.
        rois: These, named as `EncodingModule.predict` takes them; without, every ROI, both hemispheres' and all
            subjects' together, and all targets.
        subject: Of this subject alone.

    Raises:
        InputError: There is no such subject or ROI.
    """
    everything = module.targets(subject)
    if rois:
        return {roi: module.targets(subject, roi) for roi in rois}
    sets: dict[str, list[Tensor]] = {}
    for name, members in module.facts.rois.items():
        own = members[torch.isin(members, everything)]
        if len(own):
            sets.setdefault(_without_side(name, module.facts), []).append(own)
    return {name: torch.cat(parts).unique() for name, parts in sets.items()} | {ALL: everything}


def respond(module: EncodingModule, images: Images, sets: Mapping[str, Tensor]) -> np.ndarray:
    """Mean standardised response of each set to each image, float64 (n, sets).

    A target's response is standardised by its mean and its spread over the training stimuli, so that all count alike.

    Args:
        module: The model.
        images: As `EncodingModule.predict` takes them; taken one by one.
        sets: Targets of each, int64.

    Raises:
        InputError: The images are none.
    """
    columns = torch.cat(list(sets.values())).unique()
    places = [torch.searchsorted(columns, own) for own in sets.values()]
    mean, scale = _statistics(module.facts, columns)
    found = []
    for predicted in module.predictions(images, columns):
        standardised = (predicted.double() - mean) / scale
        found.append(torch.stack([standardised[:, own].mean(1) for own in places], dim=1))
    return torch.cat(found).numpy()


def differentiable(module: EncodingModule, targets: Tensor) -> Callable[[Tensor], Tensor]:
    """The same of one set as a function of pixels, through which gradients flow.

    Args:
        module: The model; its weights are held fixed from now on.
        targets: Of the set, int64.

    Returns:
        From pixels of 0 to 255, float (n, 3, height, width), to float (n,). What is cached in half precision is not
        rounded here, so the last digits may differ from those of `respond`.

    Raises:
        InputError: The model reads clips.
    """
    intake = module.facts.intake
    if intake is None or intake.of_clips:
        raise InputError("--synthesise: expected a model of images, found one of clips; set it to 0")
    module.requires_grad_(False)
    own = targets.to(module.device)

    def through(pixels: Tensor) -> Tensor:
        with keeping_modes(module):
            module.eval()
            nobody = torch.zeros(len(pixels), dtype=torch.int64, device=pixels.device)
            batch = Batch(nobody, 0, pixels.new_empty(len(pixels), 0), *intake.through(pixels))
            standardised = module.standardize_responses(module.predict_batch(batch))
        return standardised[:, own].mean(1)

    return through


def _without_side(name: str, facts: Facts) -> str:
    """A ROI's name as its recording has it, "V1v" of "subj01.lh.V1v"."""
    for prefix in (*(f"{subject}." for subject in facts.subjects), *(f"{side}." for side in HEMISPHERES)):
        name = name.removeprefix(prefix)
    return name


def _statistics(facts: Facts, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Mean, offset included, and scale of some targets, float64 (n,) each."""
    mean = facts.response_mean[columns].double().cpu()
    if facts.offset is not None:
        mean = mean + facts.offset[columns].cpu()
    return mean, facts.response_scale[columns].double().cpu()
