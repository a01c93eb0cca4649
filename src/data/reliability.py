"""What repeated presentations tell: the mean response, and how reliable it is."""

from collections.abc import Iterator
from itertools import combinations
from math import comb
from pathlib import Path

import numpy as np

from ..errors import InputError

_MAX_SPLITS = 500  # 10 repetitions have 126 splits into halves, 12 have 462
_READ_VALUES = 1 << 22  # of a memory map at a time: 32 MB of float64
_BLOCK_VALUES = 1 << 16  # half means of so many (split, stimulus, target) at a time, which the cache holds
_ROUNDING = 1e-12


def mean_over_repetitions(repeats: np.ndarray, path: Path, allow_gaps: bool = False, if_gap: str = "") -> np.ndarray:
    """Mean over the repetitions that are there.

    Args:
        repeats: (stimuli, repetitions, targets), NaN where missing; may be a memory map.
        path: The file, for the error.
        allow_gaps: Whether a stimulus may have no repetition at some target; its mean is NaN there.
        if_gap: What else a user can do about one, for the message.

    Returns:
        (stimuli, targets) in float32, or in float64 where float32 does not hold the repetitions.

    Raises:
        InputError: A stimulus has no repetition at some target.
    """
    mean = np.empty((len(repeats), repeats.shape[2]), dtype=np.result_type(repeats.dtype, np.float32))
    for stimulus, repetitions in enumerate(repeats):  # (repetitions, targets)
        there = ~np.isnan(repetitions)
        counts = there.sum(axis=0)
        if not allow_gaps and not counts.all():
            raise InputError(
                f"{path}: expected at least one repetition of each stimulus per target, found none of "
                f"stimulus {stimulus}, target {int(counts.argmin())} (counted from 0); remove the stimulus or target"
                f"{if_gap}"
            )
        total = np.sum(repetitions, axis=0, where=there, dtype=np.float64)
        mean[stimulus] = np.where(counts, total, np.nan) / np.maximum(counts, 1)
    return mean


def split_half_reliability(repeats: np.ndarray, seed: int = 0) -> np.ndarray:
    """Reliability of each target: 2ρ/(1+ρ) of the two halves' correlation ρ, averaged over all equal splits.

    The step from a half to both is Spearman's and Brown's (1910), so this is the reliability of the mean over all
    repetitions. Of an odd number R each split leaves one repetition out, in every way there is, and what is found is
    the reliability of a mean over R − 1 repetitions. A half averages those of its repetitions that are there; a
    stimulus of which one half has none is left out of that split. Of more than 500 splits so many are drawn.

    Args:
        repeats: (stimuli, repetitions, targets), NaN where missing; may be a memory map.
        seed: Of the draw.

    Returns:
        float64 (targets,), at most 1 and without lower bound; NaN where there are no two repetitions, or where a half
        does not vary over stimuli.
    """
    reliability = np.full(repeats.shape[2], np.nan)
    if repeats.shape[1] < 2:
        return reliability
    halves = _halves(repeats.shape[1], seed)  # (2, splits, repetitions)
    width = max(_BLOCK_VALUES // (halves.shape[1] * len(repeats)), 1)
    for columns, block in column_blocks(repeats):
        parts = [block[:, :, start : start + width] for start in range(0, block.shape[2], width)]
        rho = np.concatenate([_correlation_of_halves(part, halves) for part in parts], axis=1)  # (splits, columns)
        with np.errstate(divide="ignore"):  # ρ = −1 gives −∞: not reliable
            reliability[columns] = (2 * rho / (1 + rho)).mean(axis=0)
    return reliability


def column_blocks(repeats: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Some targets at a time: where they stand, and their repetitions float64 (stimuli, repetitions, columns)."""
    width = max(_READ_VALUES // (len(repeats) * repeats.shape[1]), 64)  # a file is read by rows of some length
    for start in range(0, repeats.shape[2], width):
        columns = slice(start, start + width)
        yield columns, np.array(repeats[:, :, columns], dtype=np.float64)


def mean_there(values: np.ndarray, there: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
    """Mean of the values that are there, axes kept."""
    total = np.sum(values, axis=axes, where=there, dtype=np.float64, keepdims=True)
    return total / there.sum(axis=axes, keepdims=True)


def _halves(n_repetitions: int, seed: int) -> np.ndarray:
    """Which repetitions each half of each split has, float64 (2, splits, repetitions) of 0 and 1."""
    size = n_repetitions // 2
    if comb(n_repetitions, size) * comb(n_repetitions - size, size) // 2 > _MAX_SPLITS:
        rng = np.random.default_rng(seed)
        drawn = [rng.permutation(n_repetitions) for _ in range(_MAX_SPLITS)]
        pairs = [(order[:size], order[size : 2 * size]) for order in drawn]
    else:
        pairs = [
            (np.array(one), np.array(other))
            for one in combinations(range(n_repetitions), size)
            for other in combinations(sorted(set(range(n_repetitions)) - set(one)), size)
            if one < other  # the same two halves the other way round are the same split
        ]
    halves = np.zeros((2, len(pairs), n_repetitions))
    for split, pair in enumerate(pairs):
        for half, members in enumerate(pair):
            halves[half, split, members] = 1
    return halves


def _correlation_of_halves(repeats: np.ndarray, halves: np.ndarray) -> np.ndarray:
    """Correlation over stimuli of two halves' means.

    Args:
        repeats: float64 (stimuli, repetitions, targets).
        halves: (2, splits, repetitions).

    Returns:
        (splits, targets), NaN where a half does not vary.
    """
    n_stimuli, n_repetitions, n_targets = repeats.shape
    there = ~np.isnan(repeats)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = mean_there(repeats, there, (0, 1))  # without it large offsets would cost digits
        values = np.where(there, repeats - centre, 0)

        def summed(array: np.ndarray) -> np.ndarray:
            by_repetition = array.transpose(1, 0, 2).reshape(n_repetitions, -1).astype(np.float64)
            return (halves @ by_repetition).reshape(2, -1, n_stimuli, n_targets)

        counts = halves.sum(axis=2)[:, :, None, None] if there.all() else summed(there)
        both: np.ndarray = np.all(counts > 0, axis=0)  # (splits, stimuli, targets), or (splits, 1, 1) without gaps
        n = both.sum(axis=1) * (n_stimuli // both.shape[1])  # stimuli that count
        one, other = np.where(both, summed(values) / counts, 0)  # each (splits, stimuli, targets)
        one, other = (half - both * (half.sum(axis=1) / n)[:, None] for half in (one, other))
        variances = [np.einsum("pst,pst->pt", half, half) for half in (one, other)]
        varies = np.minimum(*variances) > n * np.square(_ROUNDING * centre[0, 0])
        rho = np.einsum("pst,pst->pt", one, other) / np.sqrt(variances[0] * variances[1])
        return np.where(varies, np.clip(rho, -1, 1), np.nan)
