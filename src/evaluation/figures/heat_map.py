"""What each layer explains in each ROI: a heat map."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from ..layers import LayerRow, in_series
from ..scores import ALL
from .drawing import EXPLAINED, INK, MARK, new_figure, roi_names, roi_places, rows_of, short_number, sides_of
from .layers import MOST_WIDE, axis_label, short_labels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class HeatMap:
    """R² of each layer (columns, in the order of the network) in each ROI (rows).

    Args:
        rois: Names of the rows, `all` last.
        panels: Of each hemisphere and series a title, the layers, and float64 (ROIs, layers), NaN where there is none.
        top: Where the colour scale ends; it starts at 0.
    """

    rois: Sequence[str]
    panels: Sequence[tuple[str, Sequence[str], np.ndarray]]
    top: float


def heat_map_of(rows: Sequence[LayerRow]) -> HeatMap | None:
    """The heat map of some rows; several subjects are averaged, and pairs of layers and ROIs without value left out.

    Returns:
        It, or None where there is no ROI.
    """
    series = in_series(list(dict.fromkeys(row.layer for row in rows)))
    rois = roi_names([row for row in rows if row.r2_mean is not None])
    if rois == [ALL] or not series:
        return None
    panels = [
        (", ".join(filter(None, (label, name))), list(layers), _values(rows, hemisphere, rois, list(layers.values())))
        for hemisphere, label, _ in sides_of(rows)
        for name, layers in series.items()
    ]
    return HeatMap(rois, panels, max(float(np.nanmax(np.concatenate([values.ravel() for *_, values in panels]))), 0.01))


def picture(shown: HeatMap) -> Figure:
    """A panel for each hemisphere and series, the best layer of each ROI framed where one reaches 0.01."""
    from matplotlib.colors import Normalize

    rois, panels, norm = shown.rois, shown.panels, Normalize(0, shown.top, clip=True)

    beside = 1.6 + 0.075 * max(map(len, rois)) + 0.15 * len(panels)  # what is not cells: names, gaps and the scale
    cell = float(np.clip((MOST_WIDE - beside) / sum(len(layers) for _, layers, _ in panels), 0.12, 0.42))
    height = 0.23 if len(rois) <= 40 else 0.15
    labels, prefix = short_labels([layer for _, layers, _ in panels for layer in layers])
    below = 0.7 + 0.06 * max(map(len, labels.values()))
    figure = new_figure(
        beside + cell * sum(len(layers) for _, layers, _ in panels), 0.5 + below + height * (len(rois) + 0.4)
    )
    grid = figure.subplots(
        1, len(panels), sharey=True, squeeze=False, width_ratios=[len(layers) for _, layers, _ in panels]
    )[0]
    for axes, (title, layers, values) in zip(grid, panels, strict=True):
        _cells(axes, values, roi_places(rois), norm, numbers=cell >= 0.2 and height >= 0.2)
        axes.set_title(title, fontsize=9, color=INK)
        size = 8 if cell >= 0.2 else 6
        axes.set_xticks(range(len(layers)), [labels[layer] for layer in layers], rotation=90, fontsize=size)
    grid[0].set_yticks(roi_places(rois), rois, fontsize=8 if height >= 0.2 else 6)
    figure.supxlabel(axis_label(prefix), fontsize=9, color=INK)
    mesh = grid[0].collections[0]
    bar = figure.colorbar(
        mesh, ax=grid, pad=0.015, aspect=30, shrink=min(1.0, 3 / figure.get_figheight()),
        extend="min" if any((values < 0).any() for *_, values in panels) else "neither",
    )  # fmt: skip
    bar.set_label("cross-validated R²", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def plot(shown: HeatMap) -> dict[str, Any]:
    """The same for a page, the panels below each other."""
    labels, prefix = short_labels([layer for _, layers, _ in shown.panels for layer in layers])
    rows, count = len(shown.rois), len(shown.panels)
    gap = min(0.5 / count, 0.16)
    tall = (1 - gap * (count - 1)) / count
    layout: dict[str, Any] = {
        "height": 130 + (17 * rows + 90) * count,
        "coloraxis": {
            "colorscale": "Viridis", "cmin": 0, "cmax": shown.top,
            "colorbar": {"title": {"text": "R²"}, "thickness": 12, "outlinewidth": 0, "len": 260, "lenmode": "pixels"},
        },
        "annotations": [],
    }  # fmt: skip
    traces: list[dict[str, Any]] = []
    names = [escape(roi) for roi in shown.rois]
    for index, (title, layers, values) in enumerate(shown.panels):
        number, bottom = str(index + 1) if index else "", 1 - index * (tall + gap) - tall
        traces.append(
            {
                "type": "heatmap", "coloraxis": "coloraxis", "xaxis": f"x{number}", "yaxis": f"y{number}", "xgap": 1,
                "ygap": 1, "x": list(range(len(layers))), "y": list(range(rows)),
                "text": [list(map(escape, layers))] * rows,
                "z": [[None if np.isnan(value) else round(value, 4) for value in row] for row in values.tolist()],
                "customdata": [[name] * len(layers) for name in names],
                "hovertemplate": "%{customdata}, layer %{text}<br>R² %{z:.3f}<extra></extra>",
            }
        )  # fmt: skip
        best = [(int(np.nanargmax(row)), place) for place, row in enumerate(values) if _compared(row)]
        marker = {"symbol": "circle", "size": 6, "color": MARK, "line": {"width": 1, "color": "#ffffff"}}
        traces.append(
            {
                "type": "scatter", "mode": "markers", "xaxis": f"x{number}", "yaxis": f"y{number}", "marker": marker,
                "x": [column for column, _ in best], "y": [place for _, place in best], "hoverinfo": "skip",
                "name": "best layer of the ROI", "showlegend": False,
            }
        )  # fmt: skip
        layout[f"xaxis{number}"] = {
            "tickvals": list(range(len(layers))), "ticktext": [escape(labels[layer]) for layer in layers],
            "tickangle": -90 if len(layers) > 8 else -45, "anchor": f"y{number}", "showgrid": False, "zeroline": False,
            "title": {"text": escape(axis_label(prefix)) if index == count - 1 else ""},
        }  # fmt: skip
        layout[f"yaxis{number}"] = {
            "domain": [max(bottom, 0), bottom + tall], "anchor": f"x{number}", "tickvals": list(range(rows)),
            "ticktext": names, "range": [rows - 0.5, -0.5], "showgrid": False, "zeroline": False,
        }  # fmt: skip
        where = {"x": 0, "y": bottom + tall, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
        layout["annotations"].append({"text": escape(title), "showarrow": False, **where})
    return {"data": traces, "layout": layout}


def _values(rows: Sequence[LayerRow], hemisphere: str, rois: Sequence[str], layers: Sequence[str]) -> np.ndarray:
    """Mean R² over subjects, float64 (ROIs, layers), NaN where there is none."""
    values = np.full((len(rois), len(layers)), np.nan)
    for place, roi in zip(values, rois, strict=True):
        of_layer: Mapping[str, list[float]] = {layer: [] for layer in layers}
        for row in rows_of(rows, hemisphere, roi):
            if row.layer in of_layer and row.r2_mean is not None:
                of_layer[row.layer].append(row.r2_mean)
        place[:] = [np.mean(found) if found else np.nan for found in of_layer.values()]
    return values


def _compared(row: np.ndarray) -> bool:
    """Whether one of a ROI's layers is the best of several, and explains anything."""
    return bool((~np.isnan(row)).sum() > 1 and (row >= EXPLAINED).any())


def _cells(axes: Axes, values: np.ndarray, places: np.ndarray, norm, numbers: bool) -> None:
    """One panel of a heat map: values (ROIs, layers), the rows at `places` from above."""
    from matplotlib.patches import Rectangle

    across = np.arange(values.shape[1] + 1) - 0.5
    down = np.unique(np.concatenate([places - 0.5, places + 0.5]).round(6))
    cells = np.full((len(down) - 1, values.shape[1]), np.nan)  # with the gap before `all`
    cells[np.searchsorted(down, places) - 1] = values
    axes.pcolormesh(
        across, down, np.ma.masked_invalid(cells), norm=norm, cmap="viridis", edgecolors="white", linewidth=0.4
    )
    size = 6.5 if values.shape[1] <= 12 else 5.5
    for (row, column), value in np.ndenumerate(values if numbers else np.empty((0, 0))):
        if not np.isnan(value):
            axes.text(
                column, float(places[row]), short_number(value), ha="center", va="center", fontsize=size,
                color="white" if norm(value) < 0.6 else "black", in_layout=False,
            )  # fmt: skip
    for place, row in zip(places, values, strict=True):
        if not _compared(row):
            continue
        best = int(np.nanargmax(row))
        for colour, width in (("white", 2.6), (MARK, 1.4)):
            frame = Rectangle((best - 0.5, place - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=width)
            frame.set(zorder=3, clip_on=False, in_layout=False)
            axes.add_patch(frame)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(places[-1] + 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK)
