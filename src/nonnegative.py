"""Least squares with weights that are not negative, for all targets at once."""

import numpy as np

_RIDGE = 1e-12
"""Of the mean of a target's diagonal: a predictor that repeats others would leave no unique solution."""
_SLACK = 1e-10
"""Of the same: a gradient below it is rounding."""


def nonnegative_least_squares(gram: np.ndarray, product: np.ndarray) -> np.ndarray:
    """Minimise w'Gw − 2c'w over w ≥ 0 for each target, by active sets (Lawson & Hanson 1974, chapter 23).

    All targets take their steps together: a step lets in, for each target, the predictor with the steepest descent,
    and puts out those that the solution without bounds would make negative.

    Args:
        gram: G = X'X of each target, float64 (T, M, M).
        product: c = X'y of each target, float64 (T, M).

    Returns:
        float64 (T, M); zeros where no predictor varies.
    """
    count = product.shape[1]
    scale = np.trace(gram, axis1=1, axis2=2) / count  # (T,)
    scale = np.where(scale > 0, scale, 1.0)
    gram = gram / scale[:, None, None] + _RIDGE * np.eye(count)
    product = product / scale[:, None]
    weights, inside = np.zeros_like(product), np.zeros(product.shape, dtype=bool)
    for _ in range(3 * count):  # as scipy's; a target takes as many steps as it has predictors, and seldom more
        gradient = product - np.einsum("tmk,tk->tm", gram, weights)
        eligible = ~inside & (gradient > _SLACK * np.abs(product).max(axis=1, keepdims=True, initial=0))
        (rows,) = np.nonzero(eligible.any(axis=1))
        if not len(rows):
            break
        steepest = np.where(eligible, gradient, -np.inf)[rows].argmax(axis=1)
        inside[rows, steepest] = True
        weights[rows], inside[rows] = _within_bounds(gram[rows], product[rows], weights[rows], inside[rows])
    return weights


def simplex_weights(errors: np.ndarray) -> np.ndarray:
    """Weights w ≥ 0 that sum to 1 and minimise w'Sw for each target: the stack of the least squared error.

    With a multiplier for the sum, the conditions of the minimum are those of least squares with c = 1 and w ≥ 0, but
    for the weights' scale.

    Args:
        errors: S, sums of products of the members' errors, float64 (T, M, M).

    Returns:
        float64 (T, M).
    """
    weights = nonnegative_least_squares(errors, np.ones(errors.shape[:2]))
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), 1 / errors.shape[1])


def _within_bounds(
    gram: np.ndarray, product: np.ndarray, weights: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The best weights (T, M) of the predictors inside that are not negative, and which of these stay inside."""
    while True:
        best = _solve(gram, product, inside)
        negative = inside & (best <= 0)
        if not negative.any():
            return best, inside
        with np.errstate(divide="ignore", invalid="ignore"):
            shares = np.where(negative, weights / (weights - best), 1.0)
        step = np.nan_to_num(shares, nan=0.0).min(axis=1, keepdims=True)  # (T, 1) of the way, until the first is 0
        weights = weights + step * (best - weights)
        inside = inside & ~(negative & (shares <= step)) & (weights > 0)
        weights = np.where(inside, weights, 0.0)


def _solve(gram: np.ndarray, product: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Least squares by the predictors inside, bool (T, M), zero at the others."""
    pairs = inside[:, :, None] & inside[:, None, :]
    system = np.where(pairs, gram, np.eye(gram.shape[1]))
    return np.linalg.solve(system, np.where(inside, product, 0.0)[..., None])[..., 0]
