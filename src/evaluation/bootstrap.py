"""Bootstrap over stimuli of mean correlations, for all targets at once (Efron & Tibshirani 1993)."""

import numpy as np

from .interval import ROUNDING

WORK = 1e10
"""Most stimuli × targets × resamples that one interval may cost; about 3 s on two cores."""

_FEWEST = 200
_BLOCK = 512
# Of float32 sums, this share of the mean square is rounding: a target that spreads less within a resample is constant.
_CONSTANT = 1e-5


def draw_weights(num_stimuli: int, num_targets: int, resamples: int, seed: int) -> np.ndarray:
    """How often each stimulus occurs in each resample; one draw for all targets, which share their stimuli.

    Args:
        num_stimuli: Stimuli n in the split.
        num_targets: Targets T that the weights will serve.
        resamples: Resamples asked for. Where stimuli × targets × resamples passes `WORK` there are fewer, at least
            200: with 39,548 targets, 1,000 of them up to 252 stimuli and 256 of them for 984 stimuli.
        seed: Seed of the draw.

    Returns:
        float32 (resamples, n); each row sums to n.
    """
    affordable = int(WORK / max(num_stimuli * num_targets, 1))
    resamples = min(resamples, max(affordable, _FEWEST))
    rng = np.random.default_rng(seed)
    return rng.multinomial(num_stimuli, np.full(num_stimuli, 1 / max(num_stimuli, 1)), size=resamples).astype(
        np.float32
    )


def bootstrap_means(
    predictions: np.ndarray, responses: np.ndarray, groups: np.ndarray, weights: np.ndarray
) -> np.ndarray:
    """Mean Pearson correlation of each group of targets in each resample of the stimuli.

    A correlation needs five weighted sums per resample and target; over all of them these are matrix products. A
    target whose response does not vary within a resample is left out of that resample's mean; where its prediction
    does not vary its correlation is 0.

    Args:
        predictions: (n, T).
        responses: (n, T), NaN where not measured.
        groups: bool (T, G), which targets belong to which group.
        weights: From `draw_weights`, (resamples, n).

    Returns:
        float64 (resamples, G), NaN where a group has no target that varies.
    """
    totals = np.zeros((len(weights), groups.shape[1]))
    counts = np.zeros_like(totals)
    for start in range(0, responses.shape[1], _BLOCK):
        columns = slice(start, start + _BLOCK)
        members = groups[columns].astype(np.float32)  # (t, G)
        pearson, varies = _resampled_pearson(predictions[:, columns], responses[:, columns], weights)
        totals += pearson @ members
        counts += members.sum(axis=0) if varies.all() else varies.astype(np.float32) @ members
    with np.errstate(invalid="ignore"):
        return totals / counts


def _resampled_pearson(
    predictions: np.ndarray, responses: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Correlations float32 (resamples, t), 0 where undefined, and where the response varies, bool (resamples, t)."""
    missing = np.isnan(responses)
    x, y = _standardised(predictions, missing), _standardised(responses, missing)
    count = weights @ (~missing).astype(np.float32) if missing.any() else np.float32(weights.shape[1])
    sums = weights @ np.concatenate([x, y, x * y, x * x, y * y], axis=1)  # (resamples, 5 t)
    sum_x, sum_y, sum_xy, sum_xx, sum_yy = np.split(sums, 5, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        covariance = sum_xy - sum_x * sum_y / count
        variance_x = sum_xx - sum_x * sum_x / count
        variance_y = sum_yy - sum_y * sum_y / count
        varies = variance_y > _CONSTANT * sum_yy
        defined = varies & (variance_x > _CONSTANT * sum_xx)
        pearson = covariance / np.sqrt(variance_x * variance_y)
    return np.where(defined, pearson, np.float32(0)), varies


def _standardised(values: np.ndarray, missing: np.ndarray) -> np.ndarray:
    """Columns (n, t) with mean 0 and mean square 1, float32; 0 where missing, without spread or not finite."""
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        measured = (~missing).sum(axis=0)
        values = np.where(missing, 0.0, values)
        mean = values.sum(axis=0, dtype=np.float64) / measured
        centred = np.where(missing, 0.0, values - mean).astype(np.float32)  # (n, t), subtracted in float64
        spread = np.sqrt((centred * centred).sum(axis=0) / measured)
        spread[~(spread > ROUNDING * np.abs(mean))] = np.inf
        return np.nan_to_num(centred / spread.astype(np.float32), nan=0.0)
