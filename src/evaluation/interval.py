"""The interval of a mean correlation: the jackknife over stimuli, on Fisher's scale.

Leaving each stimulus out once tells the spread and the bias of a mean correlation, whatever the noise of its targets
has in common (Efron & Tibshirani 1993, chapter 11); on the scale of Fisher's z the spread is nearly the same at every
correlation, and no bound passes −1 or 1. Of normal and of heavy-tailed data (Student's t with 5 degrees of freedom)
95 % intervals hold the truth in 93 to 97 % at 30, 100 and 1,000 stimuli, of one target and of 50 alike; of a single
target with an exponential distribution in 91 to 94 %.
"""

import numpy as np

ROUNDING = 3e-7
"""A spread at or below this share of the mean is the rounding of float32, not variance."""

_BLOCK_ELEMENTS = 2**20
_CONSTANT = 1e-10  # of what is left of a sum of squares, this share is the rounding of float64
_LARGEST = 1 - 1e-12  # a correlation of 1 lies at infinity on Fisher's scale


def fisher_z(correlation: np.ndarray | float) -> np.ndarray:
    """Fisher's z of correlations of any shape, finite at −1 and 1 too."""
    return np.arctanh(np.clip(correlation, -_LARGEST, _LARGEST))


def correlations_without(predictions: np.ndarray, responses: np.ndarray) -> np.ndarray:
    """Each target's Pearson correlation over all stimuli but one, for every one of them.

    Args:
        predictions: (n, T).
        responses: (n, T), NaN where not measured.

    Returns:
        float64 (n, T): over the measured stimuli but the n-th. NaN where the response does not vary over these; 0 where
        it does and the prediction does not.
    """
    missing = np.isnan(responses)
    count = (~missing).sum(axis=0)

    def centred(values: np.ndarray) -> np.ndarray:
        known = np.where(missing, 0.0, values.astype(np.float64))
        mean = known.sum(axis=0) / count
        spread = np.where(missing, 0.0, known - mean)
        noise = ROUNDING * np.abs(mean)
        return np.where(np.square(spread).sum(axis=0) > count * np.square(noise), spread, 0.0)

    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        x, y = centred(predictions), centred(responses)
        gain = count / (count - 1)  # leaving a stimulus out also moves the mean

        def without(product: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            total = product.sum(axis=0)
            return total - gain * product, total

        (xy, _), (xx, sum_xx), (yy, sum_yy) = without(x * y), without(x * x), without(y * y)
        correlation = np.clip(xy / np.sqrt(xx * yy), -1, 1)
        correlation = np.where(xx > _CONSTANT * sum_xx, correlation, 0.0)
        return np.where(yy > _CONSTANT * sum_yy, correlation, np.nan)


def means_without(predictions: np.ndarray, responses: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Mean correlation of each group of targets over all stimuli but one, for every one of them.

    Args:
        predictions: (n, T), may be a memory map.
        responses: (n, T), NaN where not measured.
        groups: bool (T, G), which targets belong to which group.

    Returns:
        float64 (n, G): over the targets whose response varies without the n-th stimulus. NaN where none does, and
        where none of the group's targets was measured at that stimulus.
    """
    n, num_targets = responses.shape
    totals, counts, measured = (np.zeros((n, groups.shape[1])) for _ in range(3))
    block = max(_BLOCK_ELEMENTS // max(n, 1), 1)
    for start in range(0, num_targets, block):
        columns = slice(start, start + block)
        members = groups[columns].astype(np.float64)
        correlation = correlations_without(predictions[:, columns], responses[:, columns])
        known = ~np.isnan(correlation)
        totals += np.where(known, correlation, 0) @ members
        counts += known @ members
        measured += ~np.isnan(responses[:, columns]) @ members
    with np.errstate(invalid="ignore"):
        return np.where(measured > 0, totals / counts, np.nan)


def interval(estimate: float, without: np.ndarray) -> tuple[float, float] | None:
    """The 95 % interval of a mean correlation; None where fewer than three stimuli count.

    Its middle is the estimate less its bias, about r(1 − r²)/2n, which counts where the noise of thousands of targets
    averages out. Where it would then leave out the estimate itself it is widened to it. Its bounds are rounded to
    1e-6, so that the number of threads stays without influence.

    Args:
        estimate: Over all stimuli.
        without: One group's of `means_without`, (n,).
    """
    from scipy.special import stdtrit  # takes as long to import as all of evaluation

    without = without[~np.isnan(without)]
    n = len(without)
    if n < 3:
        return None
    z, left = float(fisher_z(estimate)), fisher_z(without)
    middle = z - (n - 1) * (left.mean() - z)
    spread = np.sqrt((n - 1) / n * np.square(left - left.mean()).sum())
    reach = stdtrit(n - 1, 0.975) * spread
    low, high = np.tanh(middle - reach), np.tanh(middle + reach)
    return round(min(float(low), estimate), 6), round(max(float(high), estimate), 6)
