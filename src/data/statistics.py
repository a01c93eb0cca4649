"""Mean and scale over the training split, streamed."""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np


def mean_and_scale(chunks: Iterable[np.ndarray], common: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over rows that come in chunks.

    Args:
        chunks: Arrays (n_i, *shape), at least one row in all; NaN counts for nothing.
        common: Give all columns that vary one scale: the root of their mean variance.

    Returns:
        Mean and population standard deviation, each float32 (*shape). The scale is 1 where a column does not
        vary, so that dividing by it is safe; of a column of NaN the mean is 0.
    """
    mean, deviation = mean_and_deviation(chunks)
    # A constant column leaves rounding noise of the order of its offset times float32's precision.
    varies = deviation > np.abs(mean) * np.finfo(np.float32).eps
    if common and varies.any():
        deviation = np.full_like(deviation, np.sqrt(np.square(deviation[varies]).mean()))
    return mean.astype(np.float32), np.where(varies, deviation, 1).astype(np.float32)


def mean_and_deviation(chunks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and population standard deviation, each float64 (*shape), 0 where a column is all NaN.

    Chunks are merged as in Chan, Golub & LeVeque (1983), in float64, so that an offset far larger than the
    spread costs no digits.

    Args:
        chunks: As in `mean_and_scale`.
    """
    count, mean, squares = np.zeros(()), np.zeros(()), np.zeros(())
    for chunk in chunks:
        rows = np.asarray(chunk, dtype=np.float64)
        gaps = np.isnan(rows)
        there: Any = ~gaps if gaps.any() else True
        own_count = np.sum(there, axis=0) if gaps.any() else np.asarray(len(rows))
        own_mean = rows.sum(axis=0, where=there) / np.maximum(own_count, 1)
        own_squares = np.square(rows - own_mean).sum(axis=0, where=there)
        total = count + own_count
        shift = own_mean - mean
        mean = mean + shift * (own_count / np.maximum(total, 1))
        squares = squares + own_squares + np.square(shift) * (count * own_count / np.maximum(total, 1))
        count = total
    return mean, np.sqrt(squares / np.maximum(count, 1))


def in_chunks(
    gather: Callable[[np.ndarray], np.ndarray], rows: np.ndarray, width: int, budget: int = 1 << 23
) -> Iterable[np.ndarray]:
    """Gather rows piece by piece, each of at most `budget` numbers.

    Args:
        gather: From row indices (n,) to an array (n, *shape).
        rows: Row indices.
        width: Numbers per row.
        budget: Numbers per piece.
    """
    step = max(1, budget // max(width, 1))
    for start in range(0, len(rows), step):
        yield gather(rows[start : start + step])
