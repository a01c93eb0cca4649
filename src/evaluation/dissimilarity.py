"""How unlike the patterns are in which a set of targets responds to two stimuli, for all pairs of stimuli.

Of a dissimilarity matrix (n, n) the upper triangle is kept, row by row: a vector of n(n − 1)/2 distances.
"""

from collections.abc import Iterable

import numpy as np

from .interval import ROUNDING

_DECIMALS = 12  # of a distance: what differs by the rounding of float64 alone is a tie
_BLOCK_ELEMENTS = 2**22  # float64 copies of so many values at a time: 32 MB


def correlation_distances(values: np.ndarray, targets: np.ndarray, level: np.ndarray | None = None) -> np.ndarray:
    """1 − Pearson's correlation, over targets, of the patterns of each pair of stimuli.

    Where values are missing a pair is correlated over the targets that both stimuli have, as pandas does.

    Args:
        values: (n, T), NaN where missing.
        targets: Which of the T make the patterns, int64 (t,).
        level: What float32 could not hold beside the values, float64 (T,): it is added to each target's.

    Returns:
        float64 (n(n − 1)/2,) from 0 to 2; NaN where one of the two patterns does not vary over targets.
    """
    n = len(values)
    if not len(targets):
        return np.full(n * (n - 1) // 2, np.nan)
    width = max(_BLOCK_ELEMENTS // max(n, 1), 1)
    blocks = [targets[start : start + width] for start in range(0, len(targets), width)]
    # What all targets have in common is in no correlation, and without it fewer digits are lost.
    added = np.zeros(values.shape[1]) if level is None else level - level[targets].mean()

    def read(block: np.ndarray) -> np.ndarray:
        return values[:, block].astype(np.float64) + added[block]

    count, total, power = np.zeros((3, n))
    for block in blocks:
        own = read(block)
        there = ~np.isnan(own)
        if not there.all():
            own = np.where(there, own, 0)
        count += there.sum(axis=1)
        total += own.sum(axis=1)
        power += np.einsum("nt,nt->n", own, own)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre, floor = total / count, np.square(ROUNDING) * power / count  # of a variance
        centred = (read(block) - centre[:, None] for block in blocks)
        if (count == len(targets)).all():
            covariance = np.zeros((n, n))
            for own in centred:
                covariance += own @ own.T
            variance, common = covariance.diagonal()[:, None], np.asarray(len(targets))
        else:
            covariance, variance, common = _over_common_targets(n, centred)
        varies = variance > common * floor[:, None]
        correlation = np.clip(covariance / np.sqrt(variance * variance.T), -1, 1)
    correlation[~(varies & varies.T)] = np.nan
    return np.round(1 - correlation[np.triu_indices(n, 1)], _DECIMALS)


def _over_common_targets(n: int, blocks: Iterable[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Over the targets that both stimuli of a pair have: covariance, variance of the row's stimulus, and their number.

    Args:
        n: Stimuli.
        blocks: Some targets at a time (n, t), NaN where missing. Each (n, n) that is returned is a sum, not a mean.
    """
    products, sums, squares, common = np.zeros((4, n, n))
    for own in blocks:
        there = (~np.isnan(own)).astype(np.float64)
        values = np.where(there > 0, own, 0)
        products += values @ values.T
        sums += values @ there.T
        squares += np.square(values) @ there.T
        common += there @ there.T
    return products - sums * sums.T / common, squares - np.square(sums) / common, common


def rank_correlation(first: np.ndarray, second: np.ndarray) -> float:
    """Spearman's correlation of two dissimilarity matrices, over the pairs of stimuli that both know.

    Equal distances share the mean of their ranks.

    Args:
        first: float64 (pairs,), NaN where unknown.
        second: Likewise.

    Returns:
        NaN where one of them does not vary.
    """
    from scipy.stats import rankdata  # a second to import, which commands that rank nothing need not wait for

    known = ~(np.isnan(first) | np.isnan(second))
    middle = (known.sum() + 1) / 2  # the mean of all ranks
    one, two = (rankdata(each[known]) - middle for each in (first, second))
    power = (one @ one) * (two @ two)
    return float(np.clip(one @ two / np.sqrt(power), -1, 1)) if power > 0 else np.nan


def ranks_of(distances: np.ndarray) -> np.ndarray:
    """Ranks of distances (pairs,), float32: exact below 8 million pairs. NaN where unknown."""
    from scipy.stats import rankdata

    ranks = np.full(len(distances), np.nan, dtype=np.float32)
    known = ~np.isnan(distances)
    ranks[known] = rankdata(distances[known])
    return ranks
