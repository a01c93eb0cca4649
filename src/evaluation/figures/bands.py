"""Figures of bands: their shares of what the model explains in each ROI, and what two of them explain alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ...findings import SHARED
from ..bands import BandRow
from .drawing import EXPLAINED, INK, PALE, new_figure, plain, roi_names, roi_places, rows_of, short_number, sides_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = ("#1b4f8a", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#8c510a")  # told apart by the colour-blind too
_SHARED = "#b9bec4"


def band_shares(rows: Sequence[BandRow]) -> Figure | None:
    """Bars of the bands' shares of explained variance per ROI, a panel for each hemisphere.

    The number on a bar is the R² that is shared out. Parts below 0 hang below the axis, and the others then reach
    above 1; they are cut at −0.5 and 1.5. Several subjects are averaged before sharing. ROIs with an R² below 0.01
    have no bar.

    Returns:
        The figure, or None where no ROI has an R² of 0.01.
    """
    bands = list(dict.fromkeys(row.band for row in rows if row.r2_mean is not None))

    def shares(parts: Mapping[str, float]) -> Mapping[str, float]:
        total = sum(parts.values())
        return {band: part / total for band, part in parts.items()} if total >= EXPLAINED else {}

    return _stacked(
        rows, dict(zip(bands, _colours(len(bands)), strict=True)), lambda row: row.r2_mean, shares,
        "share of explained variance", (-0.5, 1.5),
    )  # fmt: skip


def variance_partition(rows: Sequence[BandRow]) -> Figure | None:
    """Bars of what each of two bands explains alone and what both explain, per ROI, a panel for each hemisphere.

    The number on a bar is their sum, the R² of both together. Parts below 0 hang below the axis.

    Returns:
        The figure, or None where no ROI has such parts.
    """
    known = list(dict.fromkeys(row.band for row in rows if row.unique_r2_mean is not None))
    bands = [band for band in known if band != SHARED]
    colours = dict(zip(bands, _colours(len(bands)), strict=True))
    if SHARED in known:
        first, *rest = colours.items()
        colours = dict([first, (SHARED, _SHARED), *rest])
    return _stacked(rows, colours, lambda row: row.unique_r2_mean, dict, "cross-validated R²")


def _stacked(
    rows: Sequence[BandRow],
    colours: Mapping[str, str],
    value_of: Callable[[BandRow], float | None],
    parts_of: Callable[[Mapping[str, float]], Mapping[str, float]],
    label: str,
    limits: tuple[float, float] = (-np.inf, np.inf),
) -> Figure | None:
    """Stacked bars per ROI, a panel for each hemisphere below each other.

    Args:
        rows: In the order of ROIs.
        colours: By band, from below.
        value_of: What a row has of the R².
        parts_of: From the bands' values in one ROI, the mean over subjects, to the heights of their bars; nothing
            where there is no bar.
        label: What the heights are.
        limits: Where bars are cut at the latest.
    """
    names = roi_names([row for row in rows if value_of(row) is not None])
    sides = sides_of(rows)
    values = {
        (hemisphere, name): _means(rows_of(rows, hemisphere, name), value_of)
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
    handles = [panels[0].bar(np.nan, np.nan, color=colour, label=band) for band, colour in colours.items()]
    columns = max(1, int(figure.get_figwidth() / (0.6 + 0.085 * max(map(len, colours)))))
    figure.legend(handles=handles, frameon=False, ncols=columns, loc="outside upper left", fontsize=9)
    return figure


def _means(rows: Sequence[BandRow], value_of: Callable[[BandRow], float | None]) -> dict[str, float]:
    """Mean over the subjects' rows of one ROI, by band."""
    found: dict[str, list[float]] = {}
    for row in rows:
        if (value := value_of(row)) is not None:
            found.setdefault(row.band, []).append(value)
    return {band: float(np.mean(values)) for band, values in found.items()}


def _bars(
    axes: Axes, places: Sequence[float], parts: Sequence[Mapping[str, float]], colours: Mapping[str, str]
) -> np.ndarray:
    """Stack what is over 0 upwards and what is below 0 downwards; the upper ends, float64 (bars,)."""
    heights = np.array([[part.get(band, 0.0) for band in colours] for part in parts]).reshape(len(places), len(colours))
    above, below = np.maximum(heights, 0).cumsum(axis=1), np.minimum(heights, 0).cumsum(axis=1)
    bottoms = np.where(heights >= 0, above, below) - heights
    for height, bottom, colour in zip(heights.T, bottoms.T, colours.values(), strict=True):
        axes.bar(places, height, 0.78, bottom=bottom, color=colour, edgecolor="white", linewidth=0.5)
    return above[:, -1]


def _colours(count: int) -> list[str]:
    """Colours of some bands: distinct ones while they last, else steps of a scale in the bands' order."""
    if count <= len(_COLOURS):
        return list(_COLOURS[:count])
    from matplotlib import colormaps
    from matplotlib.colors import to_hex

    return [to_hex(colour) for colour in colormaps["viridis"](np.linspace(0, 0.95, count))]
