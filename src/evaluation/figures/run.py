"""Figures of a run, drawn from plain data: learning curves, correlation per ROI, residuals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..scores import ScoreRow
from .drawing import INK, LEFT, MARK, PALE, RIGHT, new_figure, plain, roi_names, roi_places, rows_of, sides_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_POINTS = 200_000


def learning_curves(
    train_loss: Sequence[float], validation_loss: Sequence[float], validation_correlation: Sequence[float]
) -> Figure:
    """Loss and validation correlation over epochs.

    Args:
        train_loss: One value per epoch; NaN or nothing where there is none, here and below.
        validation_loss: The same loss on the validation split.
        validation_correlation: Mean Pearson correlation over targets.
    """
    figure = new_figure(8.6, 3.2)
    left, right = figure.subplots(1, 2)
    for values, name, colour in ((train_loss, "training", RIGHT), (validation_loss, "validation", LEFT)):
        if len(values):
            left.plot(range(1, len(values) + 1), values, ".-", color=colour, linewidth=2, label=name)
    if left.lines:
        left.legend(frameon=False)
    if len(validation_correlation):
        epochs = range(1, len(validation_correlation) + 1)
        right.plot(epochs, validation_correlation, ".-", color=LEFT, linewidth=2)
        best = int(np.argmax(np.nan_to_num(validation_correlation, nan=-np.inf)))
        right.plot(best + 1, validation_correlation[best], "o", color=LEFT, markersize=6)
        highest = f"highest: {validation_correlation[best]:.3f} in epoch {best + 1}".replace("-", "−")
        right.set_title(highest, loc="right", fontsize=9, color=INK)  # above, where no curve runs through it
    left.set_ylabel("loss")
    right.set_ylabel("validation correlation")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.set_xlim(0.5, max(len(train_loss), len(validation_loss), len(validation_correlation), 1) + 0.5)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", color=PALE, linewidth=0.8)
        plain(axes)
    return figure


def pearson_per_roi(rows: Sequence[ScoreRow]) -> Figure:
    """Bars of the mean correlation per ROI, the hemispheres side by side.

    One subject's bars carry the 95 % interval; those of several are means over subjects with a dot for each. Ticks
    mark the square root of the mean noise ceiling, the correlation of a perfect model.

    Args:
        rows: Rows of one split, ROIs in the order in which they shall stand.
    """
    names = roi_names([row for row in rows if row.pearson_mean is not None])
    sides = sides_of(rows)
    named = len(sides) > 1 or bool(sides[0][1])
    positions = roi_places(names)
    figure = new_figure(float(np.clip(0.3 * len(names) + 1.6, 6.4 if named else 3.6, 11)), 3.8)
    axes = figure.subplots()
    width = 0.8 / len(sides)
    handles = []
    for index, (hemisphere, label, colour) in enumerate(sides):
        for position, name in zip(positions, names, strict=True):
            shown = [row for row in rows_of(rows, hemisphere, name) if row.pearson_mean is not None]
            if shown:
                _bar(axes, position + (index - (len(sides) - 1) / 2) * width, width, shown, colour)
        if label:
            handles.append(axes.bar(np.nan, np.nan, color=colour, label=label))
    if any(row.noise_ceiling_mean is not None for row in rows):
        handles += axes.plot(np.nan, np.nan, color=MARK, linewidth=2, label="perfect model (√ noise ceiling)")
    if handles:
        figure.legend(handles=handles, frameon=False, ncols=3, loc="outside upper left", fontsize=9)
    crowded = len(names) > 8
    axes.set_xticks(positions, names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.7, positions[-1] + 0.7)
    axes.set_ylabel("Pearson correlation,\nmean over targets")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    plain(axes)
    return figure


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
    # The outermost 0.05 % on each side would shrink the rest to a blot.
    x_low, x_high = _limits(predicted)
    y_low, y_high = _limits(residual)
    if len(predicted) > 10_000:
        hexes = main.hexbin(
            predicted, residual, gridsize=60, bins="log", mincnt=1, cmap="Blues", linewidths=0.1,
            extent=(x_low, x_high, y_low, y_high),
        )  # fmt: skip
        bar = figure.colorbar(hexes, ax=main, location="top", aspect=40, pad=0.02)
        bar.set_label("stimulus × target pairs")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    else:
        main.scatter(predicted, residual, s=6, color=LEFT, alpha=0.35, linewidths=0)
    main.set_xlim(x_low, x_high)
    main.set_ylim(y_low, y_high)
    side.hist(
        residual, bins=50, range=(y_low, y_high), orientation="horizontal", color=RIGHT,
        weights=np.full(len(residual), 1 / len(residual)),
    )  # fmt: skip
    spread = f"mean {residual.mean():.2g}\nstandard deviation {residual.std():.2g}".replace("-", "−")
    side.set_title(spread, fontsize=9, color=INK)
    return figure


def _bar(axes: Axes, x: float, width: float, rows: Sequence[ScoreRow], colour: str) -> None:
    """One bar: the mean over the subjects' rows, its interval or their dots, and the ceiling."""
    means = [row.pearson_mean for row in rows if row.pearson_mean is not None]
    axes.bar(x, np.mean(means), width * 0.92, color=colour)
    (first, *others) = rows
    if others:
        axes.scatter([x] * len(means), means, s=9, color=INK, linewidths=0, zorder=3)
    elif first.pearson_ci_low is not None and first.pearson_ci_high is not None:
        axes.vlines(x, first.pearson_ci_low, first.pearson_ci_high, color=INK, linewidth=1.2)
    ceilings = [row.noise_ceiling_mean**0.5 for row in rows if row.noise_ceiling_mean is not None]
    if ceilings:
        axes.hlines(np.mean(ceilings), x - width * 0.46, x + width * 0.46, color=MARK, linewidth=2)


def _pairs(predictions: np.ndarray, responses: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and residuals of measured pairs, float64 (pairs,) each; a random draw where there are many."""
    if predictions.size <= _MOST_POINTS:
        predicted, measured = predictions.ravel(), responses.ravel()
    else:
        flat = np.random.default_rng(seed).integers(0, predictions.size, _MOST_POINTS)
        stimuli, targets = np.unravel_index(np.sort(flat), predictions.shape)
        predicted, measured = predictions[stimuli, targets], responses[stimuli, targets]
    predicted, measured = predicted.astype(np.float64), measured.astype(np.float64)
    known = np.isfinite(predicted) & np.isfinite(measured)
    return predicted[known], (measured - predicted)[known]


def _limits(values: np.ndarray) -> tuple[float, float]:
    low, high = np.percentile(values, [0.05, 99.95])
    margin = 0.04 * (high - low) or max(abs(high), 1.0) * 0.5
    return float(low - margin), float(high + margin)
