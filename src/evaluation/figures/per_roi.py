"""Correlation per ROI: bars beside each other, with intervals and what a perfect model would reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..scores import ScoreRow
from .drawing import INK, MARK, PALE, new_figure, plain, roi_names, roi_places, rows_of, sides_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PERFECT = "perfect model (√ noise ceiling)"
_PIXELS = 17  # of a bar on the page


@dataclass(frozen=True)
class Bar:
    """The mean correlation of one ROI in one hemisphere.

    Args:
        name: The ROI.
        place: Where it stands on the axis of ROIs.
        mean: Over targets; of several subjects the mean over them.
        interval: 95 %, of one subject.
        subjects: Each subject's, of several.
        ceiling: Correlation of a perfect model, the square root of the mean noise ceiling.
        n_scored: Targets.
    """

    name: str
    place: float
    mean: float
    interval: tuple[float, float] | None
    subjects: Sequence[float]
    ceiling: float | None
    n_scored: int


@dataclass(frozen=True)
class Bars:
    """All bars of a figure.

    Args:
        names: ROIs in order, `all` last.
        places: Of the ROIs' names on their axis, float64 (n,).
        width: Of a bar, in places.
        sides: The bars of each hemisphere with its label ("" where there are none) and colour.
    """

    names: Sequence[str]
    places: np.ndarray
    width: float
    sides: Sequence[tuple[str, str, Sequence[Bar]]]


def bars_of(rows: Sequence[ScoreRow]) -> Bars:
    """Bars of the mean correlation per ROI, the hemispheres side by side.

    Args:
        rows: Rows of one split, ROIs in the order in which they shall stand.
    """
    names = roi_names([row for row in rows if row.pearson_mean is not None])
    places, sides = roi_places(names), sides_of(rows)
    width = 0.8 / len(sides)
    found = []
    for index, (hemisphere, label, colour) in enumerate(sides):
        bars = []
        for place, name in zip(places + (index - (len(sides) - 1) / 2) * width, names, strict=True):
            shown = [row for row in rows_of(rows, hemisphere, name) if row.pearson_mean is not None]
            if shown:
                bars.append(_bar(name, float(place), shown))
        found.append((label, colour, bars))
    return Bars(names, places, width, found)


def _bar(name: str, place: float, rows: Sequence[ScoreRow]) -> Bar:
    means = [row.pearson_mean for row in rows if row.pearson_mean is not None]
    ceilings = [row.noise_ceiling_mean**0.5 for row in rows if row.noise_ceiling_mean is not None]
    (first, *others) = rows
    known = not others and first.pearson_ci_low is not None and first.pearson_ci_high is not None
    return Bar(
        name,
        place,
        mean=float(np.mean(means)),
        interval=(first.pearson_ci_low, first.pearson_ci_high) if known else None,  # pyright: ignore[reportArgumentType]
        subjects=means if others else (),
        ceiling=float(np.mean(ceilings)) if ceilings else None,
        n_scored=sum(row.n_scored for row in rows),
    )


def picture(bars: Bars) -> Figure:
    """Upright bars; lines are intervals, dots subjects, ticks the perfect model."""
    named = any(label for label, *_ in bars.sides)
    figure = new_figure(float(np.clip(0.3 * len(bars.names) + 1.6, 6.4 if named else 3.6, 11)), 3.8)
    axes = figure.subplots()
    handles = []
    for label, colour, own in bars.sides:
        for bar in own:
            _draw(axes, bar, bars.width, colour)
        if label:
            handles.append(axes.bar(np.nan, np.nan, color=colour, label=label))
    if any(bar.ceiling is not None for *_, own in bars.sides for bar in own):
        handles += axes.plot(np.nan, np.nan, color=MARK, linewidth=2, label=PERFECT)
    if handles:
        figure.legend(handles=handles, frameon=False, ncols=3, loc="outside upper left", fontsize=9)
    crowded = len(bars.names) > 8
    axes.set_xticks(bars.places, bars.names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
    axes.set_xlim(-0.7, bars.places[-1] + 0.7)
    axes.set_ylabel("Pearson correlation,\nmean over targets")
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    plain(axes)
    return figure


def _draw(axes: Axes, bar: Bar, width: float, colour: str) -> None:
    axes.bar(bar.place, bar.mean, width * 0.92, color=colour)
    if bar.subjects:
        axes.scatter([bar.place] * len(bar.subjects), bar.subjects, s=9, color=INK, linewidths=0, zorder=3)
    if bar.interval is not None:
        axes.vlines(bar.place, *bar.interval, color=INK, linewidth=1.2)
    if bar.ceiling is not None:
        axes.hlines(bar.ceiling, bar.place - width * 0.46, bar.place + width * 0.46, color=MARK, linewidth=2)


def plot(bars: Bars) -> dict[str, Any]:
    """The same for a page, the bars lying, so that any number of ROIs has its names beside it."""
    traces: list[dict[str, Any]] = []
    for label, colour, own in bars.sides:
        ends = [bar.interval or (bar.mean, bar.mean) for bar in own]
        traces.append(
            {
                "type": "bar", "orientation": "h", "name": label or "mean", "showlegend": bool(label),
                "y": [bar.place for bar in own], "x": [bar.mean for bar in own], "width": 0.92 * bars.width,
                "marker": {"color": colour}, "hovertemplate": "%{customdata}<extra></extra>",
                "customdata": [_told(bar, label) for bar in own],
                "error_x": {
                    "type": "data", "symmetric": False, "color": INK, "thickness": 1.5, "width": 0,
                    "array": [high - bar.mean for bar, (_, high) in zip(own, ends, strict=True)],
                    "arrayminus": [bar.mean - low for bar, (low, _) in zip(own, ends, strict=True)],
                },
            }
        )  # fmt: skip
    every = [bar for *_, own in bars.sides for bar in own]
    traces += _marks("subjects", [(value, bar.place) for bar in every for value in bar.subjects], "circle", 5, INK)
    ceilings = [(bar.ceiling, bar.place) for bar in every if bar.ceiling is not None]
    size = 0.8 * bars.width * _PIXELS * len(bars.sides)
    traces += _marks(PERFECT, ceilings, "line-ns", size / 2, MARK)
    return {
        "data": traces,
        "layout": {
            "height": 110 + round(_PIXELS * len(bars.sides) * (bars.places[-1] + 1.4)),
            "hovermode": "closest",
            "xaxis": {"title": {"text": "Pearson correlation, mean over targets"}, "zeroline": True},
            "yaxis": {
                "tickvals": bars.places.tolist(), "ticktext": [escape(name) for name in bars.names],
                "showgrid": False, "zeroline": False, "range": [bars.places[-1] + 0.7, -0.7],
            },
        },
    }  # fmt: skip


def _marks(name: str, points: Sequence[tuple[float, float]], symbol: str, size: float, colour: str) -> list[dict]:
    if not points:
        return []
    x, y = zip(*points, strict=True)
    marker = {"symbol": symbol, "size": size, "color": colour, "line": {"width": 2.5, "color": colour}}
    trace = {"type": "scatter", "mode": "markers", "name": name, "x": x, "y": y, "marker": marker}
    return [trace | {"hovertemplate": "%{x:.3f}"}]


def _told(bar: Bar, label: str) -> str:
    lines = [f"{escape(bar.name)} {label}", f"mean correlation {bar.mean:.3f}"]
    if bar.interval is not None:
        lines.append(f"95 % interval {bar.interval[0]:.3f} to {bar.interval[1]:.3f}")
    if bar.ceiling is not None:
        lines.append(f"perfect model {bar.ceiling:.3f}")
    return "<br>".join([*lines, f"{bar.n_scored:,} targets"])
