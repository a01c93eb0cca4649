"""Correlation against the number of training stimuli, beside that of a model whose trunk begins untrained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..learning_curve import CurveMean
from .drawing import GREY, INK, LEFT, PALE, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_X, _Y = "training stimuli of a subject", "Pearson correlation, mean over targets"


@dataclass(frozen=True)
class Series:
    """One curve.

    Args:
        label: For the legend.
        colour: Of its line.
        stimuli: Of its points, float64 (n,).
        means: Mean correlations, float64 (n,).
        low: Lower ends of intervals, float64 (n,), NaN where unknown.
        high: Upper ends.
    """

    label: str
    colour: str
    stimuli: np.ndarray
    means: np.ndarray
    low: np.ndarray
    high: np.ndarray


def series_of(means: Sequence[CurveMean]) -> list[Series]:
    """The run's curve, and where its trunk was trained before, that from scratch."""
    own = [(each.stimuli, each.correlation, each.interval) for each in means]
    scratch = [(each.stimuli, each.scratch, each.scratch_interval) for each in means if each.scratch is not None]
    found = [("this run" if not scratch else "trained trunk", LEFT, own), ("from scratch", GREY, scratch)]
    return [
        Series(
            label,
            colour,
            np.array([stimuli for stimuli, _, _ in points], dtype=np.float64),
            np.array([mean for _, mean, _ in points], dtype=np.float64),
            *np.array([(np.nan, np.nan) if ends is None else ends for _, _, ends in points], dtype=np.float64).T,
        )
        for label, colour, points in found
        if points
    ]


def picture(series: Sequence[Series]) -> Figure:
    """Curves over a logarithmic axis of stimuli, with a tick at each point."""
    figure = new_figure(6.4, 3.6)
    axes = figure.subplots()
    for each in series:
        axes.plot(each.stimuli, each.means, ".-", color=each.colour, linewidth=2, markersize=8, label=each.label)
        axes.vlines(each.stimuli, each.low, each.high, color=each.colour, linewidth=1.2)
    axes.set_xscale("log")
    ticks = np.unique(np.concatenate([each.stimuli for each in series]))
    axes.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel(_X)
    axes.set_ylabel(_Y)
    if len(series) > 1:
        axes.legend(frameon=False)
    plain(axes)
    return figure


def plot(series: Sequence[Series]) -> dict[str, Any]:
    """The same for a page."""
    ticks = np.unique(np.concatenate([each.stimuli for each in series]))
    return {
        "data": [_trace(each) for each in series],
        "layout": {
            "height": 420,
            "hovermode": "closest",
            "showlegend": len(series) > 1,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "xaxis": {
                "title": {"text": _X}, "type": "log", "showgrid": False,
                "tickvals": ticks.tolist(), "ticktext": [f"{tick:,.0f}" for tick in ticks],
            },
            "yaxis": {"title": {"text": _Y}, "zeroline": True},
        },
    }  # fmt: skip


def _trace(series: Series) -> dict[str, Any]:
    known = np.isfinite(series.low) & np.isfinite(series.high)
    above = np.where(known, series.high - series.means, 0.0)
    below = np.where(known, series.means - series.low, 0.0)
    return {
        "type": "scatter", "mode": "lines+markers", "name": series.label,
        "x": series.stimuli.tolist(), "y": series.means.tolist(),
        "marker": {"size": 7, "color": series.colour}, "line": {"color": series.colour},
        "error_y": {
            "type": "data", "symmetric": False, "color": series.colour, "thickness": 1.5, "width": 0,
            "array": above.tolist(), "arrayminus": below.tolist(),
        },
        "hovertemplate": "%{x:,.0f} stimuli<br>" + series.label + " %{y:.3f}<extra></extra>",
    }  # fmt: skip
