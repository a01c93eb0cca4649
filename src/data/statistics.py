"""Mean and scale over the training split, streamed."""

from collections.abc import Callable, Iterable

import numpy as np


def mean_and_scale(chunks: Iterable[np.ndarray], common: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over rows that come in chunks.

    Chunks are merged as in Chan, Golub & LeVeque (1983), in float64, so that an offset far larger than the
    spread costs no digits.

    Args:
        chunks: Arrays (n_i, *shape), at least one row in all.
        common: Give all columns that vary one scale: the root of their mean variance.

    Returns:
        Mean and population standard deviation, each float32 (*shape). The scale is 1 where a column does not
        vary, so that dividing by it is safe.
    """
    count, mean, squares = 0, np.zeros(()), np.zeros(())
    for chunk in chunks:
        rows = np.asarray(chunk, dtype=np.float64)
        own_mean = rows.mean(axis=0)
        own_squares = np.square(rows - own_mean).sum(axis=0)
        total = count + len(rows)
        shift = own_mean - mean
        mean = mean + shift * (len(rows) / total)
        squares = squares + own_squares + np.square(shift) * (count * len(rows) / total)
        count = total
    deviation = np.sqrt(squares / count)
    # A constant column leaves rounding noise of the order of its offset times float32's precision.
    varies = deviation > np.abs(mean) * np.finfo(np.float32).eps
    if common and varies.any():
        deviation = np.full_like(deviation, np.sqrt(np.square(deviation[varies]).mean()))
    return mean.astype(np.float32), np.where(varies, deviation, 1).astype(np.float32)


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
