"""Residuals: what predictions leave of the responses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .drawing import INK, LEFT, RIGHT, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_POINTS = 200_000


def residuals(predictions: np.ndarray, responses: np.ndarray, seed: int = 0) -> Figure:
    """Density of residual (response − prediction) against prediction, with the residuals' histogram beside it.

    Args:
        predictions: (n, T); of more than 200,000 pairs as many are drawn at random.
        responses: (n, T), NaN where not measured.
        seed: Seed of the draw.
    """
    predicted, residual = _pairs(predictions, responses, seed)
    figure = new_figure(7.6, 4.0)
    main, side = figure.subplots(1, 2, sharey=True, width_ratios=(3, 1))
    main.set_xlabel("prediction")
    main.set_ylabel("residual (response − prediction)")
    side.set_xlabel("share of pairs")
    for axes in (main, side):
        axes.axhline(0, color=INK, linewidth=0.8)
        plain(axes)
    if not len(predicted):
        return figure
    x_low, x_high = limits(predicted)
    y_low, y_high = limits(residual)
    if len(predicted) > 10_000:
        hexes = main.hexbin(
            predicted, residual, gridsize=60, bins="log", mincnt=1, cmap="Blues", linewidths=0.1, rasterized=True,
            extent=(x_low, x_high, y_low, y_high),
        )  # fmt: skip
        bar = figure.colorbar(hexes, ax=main, location="top", aspect=40, pad=0.02)
        bar.set_label("stimulus × target pairs")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    else:
        main.scatter(predicted, residual, s=6, color=LEFT, alpha=0.35, linewidths=0, rasterized=True)
    main.set_xlim(x_low, x_high)
    main.set_ylim(y_low, y_high)
    side.hist(
        residual, bins=50, range=(y_low, y_high), orientation="horizontal", color=RIGHT,
        weights=np.full(len(residual), 1 / len(residual)),
    )  # fmt: skip
    spread = f"mean {residual.mean():.2g}\nstandard deviation {residual.std():.2g}".replace("-", "−")
    side.set_title(spread, fontsize=9, color=INK)
    return figure


def _pairs(predictions: np.ndarray, responses: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and residuals of measured pairs, float64 (pairs,) each; a random draw where there are many."""
    if predictions.size <= MOST_POINTS:
        predicted, measured = predictions.ravel(), responses.ravel()
    else:
        flat = np.random.default_rng(seed).integers(0, predictions.size, MOST_POINTS)
        stimuli, targets = np.unravel_index(np.sort(flat), predictions.shape)
        predicted, measured = predictions[stimuli, targets], responses[stimuli, targets]
    predicted, measured = predicted.astype(np.float64), measured.astype(np.float64)
    known = np.isfinite(predicted) & np.isfinite(measured)
    return predicted[known], (measured - predicted)[known]


def limits(values: np.ndarray) -> tuple[float, float]:
    """Ends of an axis: the outermost 0.05 % on each side would shrink the rest to a blot."""
    low, high = np.percentile(values, [0.05, 99.95])
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.5
    return float(low - margin), float(high + margin)
