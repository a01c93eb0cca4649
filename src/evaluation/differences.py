"""Whether one model predicts better than another: both are judged on the same stimuli, so differences are paired.

For single targets each p-value is the larger of two. Williams's t of two correlations that share a response (Steiger
1980) is exact where all is normal, and finds more than twice too many at p = 0.001 where all is exponential; the
jackknife over stimuli on Fisher's scale asks nothing of the distribution, and finds a fifth too many there among 30
stimuli, and more further out. Where both must agree neither does. For means over targets, whose noise is not
independent, stimuli are resampled.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import stdtr, stdtrit

from .bootstrap import bootstrap_means, draw_weights
from .interval import correlations_without, fisher_z
from .scores import target_scores

FEWEST = 4
"""Stimuli: Williams's t has three degrees of freedom fewer."""
ALPHA = 0.05
"""Share of false discoveries that is accepted."""
RESAMPLES = 1000

_BLOCK_ELEMENTS = 2**20


@dataclass(frozen=True)
class Paired:
    """Two models on the same stimuli, float64 (T,) each, NaN where the response does not vary.

    Args:
        first: Correlations of the one.
        second: Of the other.
        p: Of the hypothesis that the true correlations are equal, two-sided.
    """

    first: np.ndarray
    second: np.ndarray
    p: np.ndarray

    @property
    def difference(self) -> np.ndarray:
        """The second's correlation less the first's."""
        return self.second - self.first


def paired_targets(first: np.ndarray, second: np.ndarray, responses: np.ndarray) -> Paired:
    """Compare two models target by target.

    Args:
        first: Predictions of the one (n, T).
        second: Of the other (n, T).
        responses: (n, T), NaN where not measured.
    """
    n, num_targets = responses.shape
    block = max(_BLOCK_ELEMENTS // max(n, 1), 1)
    parts = []
    for start in range(0, num_targets, block):
        columns = slice(start, start + block)
        own = (first[:, columns], second[:, columns], responses[:, columns])
        one, two = (target_scores(each, own[2]).pearson for each in own[:2])
        parts.append((one, two, np.maximum(_jackknife(*own, one, two), _williams(*own, one, two))))
    one, two, p = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Paired(one, two, p)


def adjusted(p: np.ndarray) -> np.ndarray:
    """p-values adjusted for their number: rejecting those up to q keeps the rate of false discoveries at q.

    Benjamini & Hochberg 1995; it holds where the targets' noise is independent or positively correlated.

    Args:
        p: float64 (T,), NaN where there is none.
    """
    from scipy.stats import false_discovery_control

    q = np.full(len(p), np.nan)
    known = ~np.isnan(p)
    if known.any():
        q[known] = false_discovery_control(p[known])
    return q


@dataclass(frozen=True)
class MeanDifference:
    """How much the mean correlation of a group of targets differs.

    Args:
        first: Mean correlation of the one.
        second: Of the other.
        low: Lower end of the difference's 95 % interval.
        high: Upper end.
    """

    first: float
    second: float
    low: float
    high: float

    @property
    def difference(self) -> float:
        """The second's mean less the first's."""
        return self.second - self.first


def paired_means(
    first: np.ndarray, second: np.ndarray, responses: np.ndarray, groups: np.ndarray, paired: Paired, seed: int = 0
) -> list[MeanDifference | None]:
    """Compare two models by their mean correlation over groups of targets, by a paired bootstrap over stimuli.

    Every resample draws the same stimuli for both. The interval is the difference ± Student's t times the resamples'
    standard deviation: percentiles would be too narrow with few stimuli.

    Args:
        first: Predictions of the one (n, T).
        second: Of the other (n, T).
        responses: (n, T), NaN where not measured.
        groups: bool (T, G), which targets belong to which group.
        paired: From `paired_targets`, of the same arrays.
        seed: Of the draw.

    Returns:
        One per group; None where no target has a correlation.
    """
    scored = groups & ~np.isnan(paired.difference)[:, None]
    n, num_targets = responses.shape
    weights = draw_weights(n, num_targets, RESAMPLES, seed)
    one, two = (bootstrap_means(each, responses, scored, weights) for each in (first, second))
    known = np.flatnonzero(scored.any(axis=0))
    spread = np.zeros(groups.shape[1])
    spread[known] = np.nanstd((two - one)[:, known], axis=0, ddof=1)
    freedom = max(n - 1, 1)  # one stimulus has no correlation, and so no interval
    reach = stdtrit(freedom, 0.975) * spread * np.sqrt(n / freedom)
    found: list[MeanDifference | None] = []
    for members, own in zip(scored.T, reach.tolist(), strict=True):
        if not members.any():
            found.append(None)
            continue
        means = float(paired.first[members].mean()), float(paired.second[members].mean())
        found.append(MeanDifference(*means, means[1] - means[0] - own, means[1] - means[0] + own))
    return found


def _jackknife(
    first: np.ndarray, second: np.ndarray, responses: np.ndarray, one: np.ndarray, two: np.ndarray
) -> np.ndarray:
    """p (T,) from the spread of the difference of Fisher's z when each stimulus is left out."""
    left = fisher_z(correlations_without(second, responses)) - fisher_z(correlations_without(first, responses))
    known = ~np.isnan(left) & ~np.isnan(responses)
    n = known.sum(axis=0)
    difference = fisher_z(two) - fisher_z(one)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.sum(left, axis=0, where=known) / n
        spread = np.sqrt((n - 1) / n * np.sum(np.square(left - mean), axis=0, where=known))
        return _two_sided(difference, difference / spread, n - 1)


def _williams(
    first: np.ndarray, second: np.ndarray, responses: np.ndarray, one: np.ndarray, two: np.ndarray
) -> np.ndarray:
    """p (T,) of Williams's t, from the three correlations of the response and both predictions."""
    n = (~np.isnan(responses)).sum(axis=0)
    between = np.nan_to_num(target_scores(first, np.where(np.isnan(responses), np.nan, second)).pearson)
    with np.errstate(invalid="ignore", divide="ignore"):
        determinant = np.maximum(1 - one**2 - two**2 - between**2 + 2 * one * two * between, 0)
        common = 2 * (n - 1) / (n - 3) * determinant + np.square((one + two) / 2) * (1 - between) ** 3
        return _two_sided(two - one, (two - one) * np.sqrt((n - 1) * (1 + between) / common), n - 3)


def _two_sided(difference: np.ndarray, t: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """p (T,) of Student's t; 1 where both models are the same, NaN where there is no difference to be had."""
    p = 2 * stdtr(np.maximum(freedom, 1), -np.abs(t))
    p = np.where(difference == 0, 1.0, p)
    return np.where(np.isnan(difference) | (freedom < 1), np.nan, p)
