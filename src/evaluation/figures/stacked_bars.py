"""Stacked bars: what makes up a value in each ROI."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from .drawing import INK, PALE, AnyRow, new_figure, plain, roi_names, roi_places, rows_of, short_number, sides_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#1b4f8a", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c510a")  # told apart by the colour-blind too


def colours_of(names: Sequence[str]) -> dict[str, str]:
    """A colour for each part: distinct ones while they last, else steps of a scale in the parts' order."""
    if len(names) <= len(_COLOURS):
        return dict(zip(names, _COLOURS, strict=False))
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    steps = colormaps["viridis"](np.linspace(0, 0.95, len(names)))
    return dict(zip(names, map(to_hex, steps), strict=True))


def stacked_bars(
    rows: Sequence[AnyRow],
    colours: Mapping[str, str],
    part_of: Callable[[AnyRow], tuple[str, float | None]],
    parts_of: Callable[[Mapping[str, float]], Mapping[str, float]],
    label: str,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Figure | None:
    """Stacked bars per ROI, a panel for each hemisphere below each other.

    Args:
        rows: In the order of ROIs.
        colours: Of each part by its name, from below.
        part_of: Which part a row has, and its value.
        parts_of: From the parts' values in one ROI, the mean over subjects, to the heights of their bars; nothing
            where there is no bar.
        label: What the heights are.
        limits: Where bars are cut at the latest.
    """
    names = roi_names([row for row in rows if part_of(row)[1] is not None])
    sides = sides_of(rows)
    values = {
        (hemisphere, name): _means(rows_of(rows, hemisphere, name), part_of)
        for hemisphere, *_ in sides
        for name in names
    }
    if not any(map(parts_of, values.values())):
        return None
    places = roi_places(names)
    figure = new_figure(float(np.clip(0.36 * len(names) + 1.4, 4.6, 11)), 2.1 * len(sides) + 1.5)
    panels = figure.subplots(len(sides), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    for axes, (hemisphere, title, _) in zip(panels, sides, strict=True):
        found = {
            place: values[hemisphere, name]
            for place, name in zip(places, names, strict=True)
            if parts_of(values[hemisphere, name])
        }
        tops = _bars(axes, list(found), [parts_of(parts) for parts in found.values()], colours)
        for (place, parts), top in zip(found.items(), tops, strict=True):
            axes.annotate(
                short_number(sum(parts.values())), (place, min(top, limits[1])), xytext=(0, 2),
                textcoords="offset points", ha="center", fontsize=7, color=INK,
            )  # fmt: skip
        axes.set_title(title, fontsize=9, color=INK, loc="left")
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.grid(axis="y", color=PALE, linewidth=0.8)
        axes.set_axisbelow(True)
        axes.margins(y=0.1)
        axes.set_ylim(np.clip(axes.get_ylim(), *limits))
        axes.tick_params(axis="x", length=0)
        plain(axes)
    figure.supylabel(label, fontsize=10, color=INK)
    crowded = len(names) > 8
    panels[-1].set_xticks(places, names, rotation=45 if crowded else 0, ha="right" if crowded else "center")
    if crowded:
        for tick in panels[-1].get_xticklabels():
            tick.set_rotation_mode("anchor")
    beside = max(0.7, 2 - len(names) / 2)
    panels[-1].set_xlim(-beside, places[-1] + beside)
    handles = [panels[0].bar(np.nan, np.nan, color=colour, label=name) for name, colour in colours.items()]
    columns = max(1, int(figure.get_figwidth() / (0.6 + 0.085 * max(map(len, colours)))))
    figure.legend(handles=handles, frameon=False, ncols=columns, loc="outside upper left", fontsize=9)
    return figure


def _means(rows: Sequence[AnyRow], part_of: Callable[[AnyRow], tuple[str, float | None]]) -> dict[str, float]:
    """Mean over the subjects' rows of one ROI, by part."""
    found: dict[str, list[float]] = {}
    for name, value in map(part_of, rows):
        if value is not None:
            found.setdefault(name, []).append(value)
    return {name: float(np.mean(values)) for name, values in found.items()}


def _bars(
    axes: Axes, places: Sequence[float], parts: Sequence[Mapping[str, float]], colours: Mapping[str, str]
) -> np.ndarray:
    """Stack what is over 0 upwards and what is below 0 downwards; the upper ends, float64 (bars,)."""
    heights = np.array([[own.get(name, 0.0) for name in colours] for own in parts]).reshape(len(places), len(colours))
    above, below = np.maximum(heights, 0).cumsum(axis=1), np.minimum(heights, 0).cumsum(axis=1)
    bottoms = np.where(heights >= 0, above, below) - heights
    for height, bottom, colour in zip(heights.T, bottoms.T, colours.values(), strict=True):
        axes.bar(places, height, 0.78, bottom=bottom, color=colour, edgecolor="white", linewidth=0.5)
    return above[:, -1]
