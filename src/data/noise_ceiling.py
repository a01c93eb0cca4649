"""Noise ceilings that the user brings as files."""

from pathlib import Path

import numpy as np

from ..errors import InputError
from .arrays import open_array


def read_noise_ceiling(path: Path, num_targets: int) -> np.ndarray:
    """Read one noise ceiling per target, in per cent or as a fraction.

    The file is in per cent where any value is over 1: a set of targets of which the best has at most 1 % of
    explainable variance is not one that anybody models.

    Args:
        path: A `.npy` file of (num_targets,) numbers; NaN stands for unknown.
        num_targets: How many there must be.

    Returns:
        float64 (num_targets,), fractions of variance from 0 to 1, NaN where unknown.

    Raises:
        InputError: The file cannot be read, its count is another, or a value lies outside 0 to 100.
    """
    ceiling = np.array(open_array(path, ("targets",)), dtype=np.float64)
    if len(ceiling) != num_targets:
        raise InputError(
            f"{path}: expected {num_targets} noise ceilings, one per target, found {len(ceiling)}; "
            "give the ceilings that belong to these responses"
        )
    outside = np.flatnonzero((ceiling < 0) | (ceiling > 100))
    if len(outside):
        raise InputError(
            f"{path}: expected noise ceilings from 0 to 1 or from 0 to 100 per cent, found {ceiling[outside[0]]} at "
            f"index {outside[0]} and {len(outside)} such values in all; correct them, or set NaN where unknown"
        )
    return ceiling / 100 if (ceiling > 1).any() else ceiling
