"""Noise ceilings: from repeated presentations, and as files that the user brings."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ..errors import InputError
from .arrays import open_array
from .reliability import column_blocks, mean_there

_CONSTANT = 1e-12
"""Spread over mean below which a target counts as one that does not vary."""

_ROUNDING = 1 + 1e-3
"""How far over 1, or over 100 per cent, a value may lie that was computed in single precision or rounded."""


def ceiling_of_mean(repeats: np.ndarray) -> np.ndarray | None:
    """Noise ceiling of the mean over the repetitions that are there, by the formula of the Natural Scenes Dataset.

    It is what `split_half_reliability` estimates too, the share of the mean's variance that is signal; the two agree
    within 0.013 on every neuron of a real recording. This one stays right where the number is odd or repetitions are
    missing: with 2 or 3 repetitions of each stimulus and a true ceiling of 0.375 it gives 0.375, halves give 0.333.

    Args:
        repeats: (stimuli, repetitions, targets), NaN where missing; may be a memory map.

    Returns:
        float64 (targets,) from 0 to 1, NaN where unknown; None where no target's is known.
    """
    ceiling = np.full(repeats.shape[2], np.nan)
    for columns, block in column_blocks(repeats):
        counts = np.sum(~np.isnan(block), axis=1)
        ceiling[columns] = noise_ceiling(noise_ceiling_snr(block), counts)
    return None if np.isnan(ceiling).all() else ceiling


def noise_ceiling_snr(repeats: np.ndarray) -> np.ndarray:
    """Noise ceiling signal-to-noise ratio, `ncsnr` of the Natural Scenes Dataset (Allen et al. 2022).

    The noise's variance is the mean over stimuli of the variance over their repetitions; the signal's is what is left
    of the variance of all presentations, at least 0. The ratio is of the two standard deviations.

    Args:
        repeats: (stimuli, repetitions, targets), NaN where missing.

    Returns:
        float64 (targets,); NaN where no stimulus was repeated or nothing varies, infinite where there is no noise.
    """
    there = ~np.isnan(repeats)
    counts = there.sum(axis=1)  # (stimuli, targets)
    repeated = counts > 1
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = mean_there(repeats, there, (0, 1))
        values = np.where(there, repeats - centre, 0)
        total = np.square(values).sum(axis=(0, 1)) / (counts.sum(axis=0) - 1)
        deviations = np.where(there, values - mean_there(values, there, (1,)), 0)
        variances = np.square(deviations).sum(axis=1) / (counts - 1)  # (stimuli, targets)
        noise = np.sum(variances, axis=0, where=repeated) / repeated.sum(axis=0)
        varies = total > np.square(_CONSTANT * centre[0, 0])
        return np.where(varies, np.sqrt(np.maximum(total - noise, 0) / noise), np.nan)


def noise_ceiling(snr: np.ndarray, repetitions: np.ndarray) -> np.ndarray:
    """Noise ceiling of averaged responses, ncsnr² / (ncsnr² + mean(1/k)) (Allen et al. 2022).

    With A, B and C stimuli of 3, 2 and 1 repetitions the mean is (A/3 + B/2 + C)/(A + B + C).

    Args:
        snr: `ncsnr` of each target (targets,).
        repetitions: How many repetitions of each stimulus were averaged, k (stimuli, targets), or (stimuli, 1) where
            all targets have as many; stimuli without any do not count.

    Returns:
        float64 (targets,), a share of variance from 0 to 1; NaN where the ratio is.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        noise = np.sum(1 / repetitions, axis=0, where=repetitions > 0) / (repetitions > 0).sum(axis=0)
        return 1 / (1 + noise / np.square(snr, dtype=np.float64))


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
    ceiling = np.concatenate(list(ceilings_in(counts).values()))
    return np.minimum(ceiling / 100 if (ceiling > _ROUNDING).any() else ceiling, 1)


def ceilings_in(counts: Mapping[Path, int]) -> dict[Path, np.ndarray]:
    """The numbers of each file as they stand there, per cent or fraction; see `read_noise_ceiling`."""
    return {path: _read(path, count) for path, count in counts.items()}


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
