"""Stacked regression: how much each member counts for each target, learnt from predictions of the validation split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..nonnegative import nonnegative_least_squares
from .moments import Moments, summed

FOLDS = 10
FEWEST = 2 * FOLDS
"""Validation stimuli of which a stack is learnt at least."""
PULLS = (0.0, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 100.0)
"""Strengths of the pull towards common weights that are tried; the last leaves each target hardly more than a scale."""


@dataclass(frozen=True)
class Combination:
    """How members' predictions become one: intercept + Σ weight × prediction.

    Args:
        weights: float64 (M, T).
        intercept: float64 (T,), in the units of the predictions.
        pull: Strength of the pull towards common weights; None where nothing was learnt.
    """

    weights: np.ndarray
    intercept: np.ndarray
    pull: float | None = None

    def predict(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """The combined predictions, float32 (n, T), of the members' (n, T) each."""
        combined = np.tile(self.intercept, (len(predictions[0]), 1))
        for weight, own in zip(self.weights, predictions, strict=True):
            combined += weight * own
        return combined.astype(np.float32)


def average(members: int, targets: int) -> Combination:
    """Every member counts alike."""
    return Combination(np.full((members, targets), 1 / members), np.zeros(targets))


def stack(predictions: Sequence[np.ndarray], responses: np.ndarray) -> Combination:
    """Learn weights ≥ 0 and an intercept for each target (Breiman 1996, Stacked regressions).

    Minimised is Σ (y − b − Σ w p)² + pull × s × |w − (w·c) c|², in which c are the weights, of length 1, that serve all
    targets best, and s is the mean of the members' sums of squares about their means. So with few validation stimuli
    targets share their weights but for the scale, and with many each has its own. One pull holds for all targets. It is
    the one of `PULLS` with the least error in cross-validation within these stimuli, each target's in shares of its
    variance. The weights' sum is free.

    A target whose response does not vary here has the average and no intercept.

    Args:
        predictions: Each member's of the validation stimuli (n, T), in the units of the responses; n is `FEWEST` or
            more.
        responses: (n, T), NaN where not measured.
    """
    measured = ~np.isnan(responses)
    origin = np.where(measured, responses, 0).sum(axis=0, dtype=np.float64) / np.maximum(measured.sum(axis=0), 1)
    fold = np.random.default_rng(0).permutation(len(responses)) % FOLDS
    parts = [
        Moments.of([own[fold == number] for own in predictions], responses[fold == number], origin)
        for number in range(FOLDS)
    ]
    return learn(parts, origin)


def learn(parts: Sequence[Moments], origin: np.ndarray) -> Combination:
    """The stack of stimuli of which the sums are known, as `stack` learns it; the folds are the parts.

    Args:
        parts: Two or more, each of stimuli of its own.
        origin: What was taken from predictions and responses before they were summed, (T,).
    """
    whole = summed(parts)
    pull = min(PULLS, key=lambda each: _error(parts, whole, each))
    weights, intercept = _fit(whole, pull)
    intercept = intercept + np.where(_varies(whole), origin * (1 - weights.sum(axis=1)), 0.0)
    return Combination(weights.T, intercept, pull)


def cross_validated_r2(parts: Sequence[Moments], pull: float) -> np.ndarray:
    """Share of the responses' variance that the stack explains of each part when the others teach it, float64 (T,).

    NaN where a response does not vary.

    Args:
        parts: As in `learn`.
        pull: Strength of the pull towards common weights.
    """
    whole = summed(parts)
    error = np.sum([part.squared_error(*_fit(whole - part, pull)) for part in parts], axis=0)
    varies = _varies(whole)
    return np.where(varies, 1 - error / np.where(varies, whole.centred[:, -1, -1], 1.0), np.nan)


def _fit(moments: Moments, pull: float) -> tuple[np.ndarray, np.ndarray]:
    """Weights (T, M), and intercepts (T,) about the origin."""
    centred, varies = moments.centred, _varies(moments)
    gram, product = centred[:, :-1, :-1], centred[:, :-1, -1]
    count = product.shape[1]
    strength = pull * np.trace(gram, axis1=1, axis2=2) / count  # (T,)
    common = _common_weights(centred[varies])
    away = np.eye(count) - np.outer(common, common)  # (M, M), takes what lies along the common weights off
    fitted = nonnegative_least_squares(gram + strength[:, None, None] * away, product)
    weights = np.where(varies[:, None], fitted, 1 / count)
    mean = moments.mean
    return weights, np.where(varies, mean[:, -1] - (weights * mean[:, :-1]).sum(axis=1), 0.0)


def _common_weights(centred: np.ndarray) -> np.ndarray:
    """The weights (M,) ≥ 0, of length 1, that explain most over all targets, each in shares of its variance.

    Args:
        centred: Of the targets that vary, (T, M + 1, M + 1).
    """
    pooled = (centred / centred[:, -1:, -1:]).sum(axis=0, keepdims=True)
    (weights,) = nonnegative_least_squares(pooled[:, :-1, :-1], pooled[:, :-1, -1])
    weights = weights if weights.any() else np.ones_like(weights)
    return weights / np.linalg.norm(weights)


def _error(parts: Sequence[Moments], whole: Moments, pull: float) -> float:
    """Squared error of held-out folds, mean over targets of its share of the response's variance."""
    varies = _varies(whole)
    if not varies.any():
        return 0.0
    errors = np.sum([part.squared_error(*_fit(whole - part, pull)) for part in parts], axis=0)  # (T,)
    return float(np.mean(errors[varies] / whole.centred[varies, -1, -1]))


def _varies(moments: Moments) -> np.ndarray:
    """Targets whose response varies, bool (T,): rounding of a constant is no variance."""
    squares = moments.centred[:, -1, -1]
    return squares > 1e-12 * np.maximum(moments.cross[:, -1, -1], np.finfo(np.float64).tiny)
