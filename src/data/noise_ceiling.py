"""Noise ceilings that the user brings as files."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import InputError
from .arrays import open_array

_ROUNDING = 1 + 1e-3
"""How far over 1, or over 100 per cent, a value may lie that was computed in single precision or rounded."""


def read_noise_ceiling(counts: Mapping[Path, int]) -> np.ndarray:
    """Read one noise ceiling per target, in per cent or as a fraction.

    The files are in per cent where any value of theirs is over 1: a set of targets of which the best has at most 1 %
    of explainable variance is not one that anybody models.

    Args:
        counts: `.npy` files of numbers, one after another, such as those of a subject's hemispheres, and how many
            numbers each must hold; NaN stands for unknown.

    Returns:
        float64 (targets of all files,), fractions of variance from 0 to 1, NaN where unknown.

    Raises:
        InputError: A file cannot be read, its count is another, or a value lies outside 0 to 100.
    """
    ceiling = np.concatenate([_read(path, count) for path, count in counts.items()])
    return np.minimum(ceiling / 100 if (ceiling > _ROUNDING).any() else ceiling, 1)


def _read(path: Path, count: int) -> np.ndarray:
    ceiling = np.array(open_array(path, ("targets",)), dtype=np.float64)
    if len(ceiling) != count:
        raise InputError(
            f"{path}: expected {count} noise ceilings, one per target, found {len(ceiling)}; "
            "give the ceilings that belong to these responses"
        )
    outside = np.flatnonzero((ceiling < 0) | (ceiling > 100 * _ROUNDING))
    if len(outside):
        raise InputError(
            f"{path}: expected noise ceilings from 0 to 1 or from 0 to 100 per cent, found {ceiling[outside[0]]} at "
            f"index {outside[0]} and {len(outside)} such values in all; correct them, or set NaN where unknown"
        )
    return ceiling
