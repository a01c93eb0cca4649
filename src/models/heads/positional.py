"""Sinusoidal encoding of a target's place on cortex."""

import torch
from torch import Tensor

from ...batch import Facts
from ...errors import InputError

SHORTEST, LONGEST = 4.0, 400.0
"""Wavelengths in millimetres.

The shortest is twice a voxel's side at 7 T (1.8 mm): the finest that such responses can hold; neighbouring vertices of
fsaverage, 1 mm apart, differ by a quarter of it. On a quarter of the longest, 100 mm to either side, a sine grows all
the way, so that no two places of a hemisphere look alike.
"""


def check_places(facts: Facts, head: str, otherwise: str = "choose another head") -> None:
    """Raise InputError where a target's place is unknown.

    Args:
        facts: Of the targets.
        head: The head that needs them, by its name.
        otherwise: What to do where a format has no places.
    """
    unknown = int(facts.coordinates.isnan().any(1).sum())
    if unknown:
        raise InputError(
            f"--model.head {head}: expected the place of every target in mm, found none for {unknown} of "
            f"{len(facts.coordinates)}; give a Folder coordinates.npy, or where the format has no places "
            f"(Algonauts2021, ItSpikes) {otherwise}"
        )


def places_in_roi(coordinates: Tensor, groups: Tensor) -> Tensor:
    """Each target's place relative to the mean place of its group.

    Args:
        coordinates: (num_targets, 3) in mm.
        groups: Group of each target, such as its smallest ROI, int64 (num_targets,).

    Returns:
        float32 (num_targets, 3) in mm.
    """
    return (coordinates.double() - group_centres(coordinates, groups)).float()


def group_centres(coordinates: Tensor, groups: Tensor) -> Tensor:
    """Mean place of each target's group, float64 (num_targets, 3) in mm."""
    sums = torch.zeros(int(groups.max()) + 1, 3, dtype=torch.float64)
    sums.index_add_(0, groups, coordinates.double())
    return (sums / groups.bincount().clamp_min(1)[:, None])[groups]


def sinusoids(places: Tensor, frequencies: int) -> Tensor:
    """Encode each dimension of places as a transformer encodes a token's position (Vaswani et al. 2017).

    Sine and cosine at wavelengths that grow geometrically: theirs from 2π to 10,000 · 2π tokens, here from `SHORTEST`
    to `LONGEST`, both included.

    Args:
        places: (num_targets, dimensions) in mm.
        frequencies: Wavelengths of each dimension, 2 or more.

    Returns:
        float32 (num_targets, dimensions · 2 · frequencies), each dimension's sines, then its cosines.
    """
    growth = torch.arange(frequencies, dtype=torch.float64) / (frequencies - 1)
    wavelengths = SHORTEST * (LONGEST / SHORTEST) ** growth  # (frequencies,)
    phase = 2 * torch.pi * places.double()[..., None] / wavelengths  # (num_targets, dimensions, frequencies)
    return torch.cat([phase.sin(), phase.cos()], dim=-1).flatten(1).float()
