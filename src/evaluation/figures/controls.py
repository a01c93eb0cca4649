"""A run beside its controls: a row of dots for each ROI, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..controls import ControlRow
from .drawing import GREY, INK, LEFT, MARK, NEGATIVE, PALE, RIGHT, new_figure, plain, roi_names, rows_of, sides_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUN = "this run"
_COLOURS = (LEFT, MARK, RIGHT, GREY, NEGATIVE)
_ROW = 22  # pixels of a ROI in one hemisphere
_STEP = 0.16  # between the dots of a row


@dataclass(frozen=True)
class Series:
    """The run, or one of its controls.

    Args:
        label: For the legend.
        colour: Of its dots.
        places: Of its dots on the axis of ROIs, float64 (n,).
        means: Mean correlations, over subjects where there are several, float64 (n,).
        low: Lower ends of intervals, of one subject; NaN where unknown.
        high: Upper ends.
    """

    label: str
    colour: str
    places: np.ndarray
    means: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Dots:
    """All dots of a figure.

    Args:
        names: Of the rows.
        places: Of the rows, float64 (n,).
        series: The run first.
    """

    names: Sequence[str]
    places: np.ndarray
    series: Sequence[Series]


def dots_of(rows: Sequence[ControlRow], labels: Mapping[str, str]) -> Dots:
    """Dots of each ROI and hemisphere that has a correlation.

    Args:
        rows: Of `controls.csv`.
        labels: What people call the controls, by name.
    """
    known = [row for row in rows if row.result_mean is not None and row.pearson_mean is not None]
    sides = sides_of(known)
    lines = [
        (name + (f", {label.partition(' ')[0]}" if label else ""), side, name)
        for name in roi_names(known)
        for side, label, _ in sides
        if rows_of(known, side, name)
    ]
    places = np.arange(len(lines), dtype=np.float64)
    names = [name for name in labels if any(row.control == name for row in known)]
    whose = [(RUN, names[0], "result"), *((labels[name], name, "pearson") for name in names)]
    series = []
    for index, (label, name, figures) in enumerate(whose):
        own = [row for row in known if row.control == name]
        found = [[_figures(row, figures) for row in rows_of(own, side, roi)] for _, side, roi in lines]
        means, low, high = np.array([_together(each) for each in found]).T
        series.append(Series(label, _COLOURS[index], places + (index - len(names) / 2) * _STEP, means, low, high))
    return Dots([line[0] for line in lines], places, series)


def _figures(row: ControlRow, prefix: str) -> tuple[float, float, float]:
    """Mean and ends of the interval, NaN where unknown, of the run ("result") or the control ("pearson")."""
    mean, low, high = (getattr(row, f"{prefix}_{name}") for name in ("mean", "ci_low", "ci_high"))
    return mean, np.nan if low is None else low, np.nan if high is None else high


def _together(subjects: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    """One subject's mean and interval; of several the mean over them."""
    return subjects[0] if len(subjects) == 1 else (float(np.mean([each[0] for each in subjects])), np.nan, np.nan)


def picture(dots: Dots) -> Figure:
    """ROIs from top to bottom."""
    figure = new_figure(6.4, float(np.clip(0.28 * len(dots.names) + 1.3, 2.4, 14)))
    axes = figure.subplots()
    for each in dots.series:
        axes.hlines(each.places, each.low, each.high, color=each.colour, linewidth=1.2)
        axes.scatter(each.means, each.places, s=22, color=each.colour, linewidths=0, zorder=3, label=each.label)
    figure.legend(frameon=False, ncols=4, loc="outside upper left", fontsize=9)
    axes.set_yticks(dots.places, dots.names)
    axes.set_ylim(len(dots.names) - 0.4, -0.6)
    axes.axvline(0, color=INK, linewidth=0.8)
    axes.grid(axis="x", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.set_xlabel("Pearson correlation, mean over targets")
    plain(axes)
    return figure


def plot(dots: Dots) -> dict[str, Any]:
    """The same for a page."""
    return {
        "data": [_trace(each, dots.names) for each in dots.series],
        "layout": {
            "height": 150 + _ROW * len(dots.names),
            "hovermode": "closest",
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
            "xaxis": {"title": {"text": "Pearson correlation, mean over targets"}, "zeroline": True},
            "yaxis": {
                "tickvals": dots.places.tolist(), "ticktext": [escape(name) for name in dots.names],
                "showgrid": False, "zeroline": False, "range": [len(dots.names) - 0.4, -0.6],
            },
        },
    }  # fmt: skip


def _trace(series: Series, names: Sequence[str]) -> dict[str, Any]:
    known = np.isfinite(series.low) & np.isfinite(series.high)
    above = np.where(known, series.high - series.means, 0.0)
    below = np.where(known, series.means - series.low, 0.0)
    return {
        "type": "scatter", "mode": "markers", "name": series.label,
        "x": series.means.tolist(), "y": series.places.tolist(),
        "marker": {"size": 8, "color": series.colour},
        "error_x": {
            "type": "data", "symmetric": False, "color": series.colour, "thickness": 1.5, "width": 0,
            "array": above.tolist(), "arrayminus": below.tolist(),
        },
        "customdata": [escape(name) for name in names],
        "hovertemplate": "%{customdata}<br>" + escape(series.label) + " %{x:.3f}<extra></extra>",
    }  # fmt: skip
