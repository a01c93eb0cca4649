"""Figures of layers: what each explains in each ROI, and how that goes through the network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from ...findings import Findings
from ...recording import Recording
from ..layers import LayerRow, in_series
from ..scores import ALL
from .drawing import (
    EXPLAINED,
    INK,
    MARK,
    PALE,
    SIDES,
    new_figure,
    plain,
    roi_names,
    roi_places,
    rows_of,
    short_number,
    sides_of,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANDOM = "random"

_MOST_WIDE = 11.0  # inches: the width of the report
_LINES = ("-", "-.", ":")


def layer_heat_map(rows: Sequence[LayerRow]) -> Figure | None:
    """R² of each layer (columns, in the order of the network) in each ROI (rows), the best of each ROI framed.

    There is a panel for each hemisphere and series. Several subjects are averaged. Pairs of layers are left out, and
    so are ROIs without any value. Where no R² reaches 0.01, none is framed.

    Returns:
        The figure, or None where there is no ROI.
    """
    from matplotlib.colors import Normalize

    series = in_series(list(dict.fromkeys(row.layer for row in rows)))
    rois = roi_names([row for row in rows if row.r2_mean is not None])
    if rois == [ALL] or not series:
        return None
    sides = sides_of(rows)
    panels = [
        (", ".join(filter(None, (label, name))), list(layers), _values(rows, hemisphere, rois, list(layers.values())))
        for hemisphere, label, _ in sides
        for name, layers in series.items()
    ]
    shown = np.concatenate([values.ravel() for *_, values in panels])
    norm = Normalize(0, max(float(np.nanmax(shown)), 0.01), clip=True)

    beside = 1.6 + 0.075 * max(map(len, rois)) + 0.15 * len(panels)  # what is not cells: names, gaps and the scale
    cell = float(np.clip((_MOST_WIDE - beside) / sum(len(layers) for _, layers, _ in panels), 0.12, 0.42))
    height = 0.23 if len(rois) <= 40 else 0.15
    labels, prefix = short_labels([layer for layers in series.values() for layer in layers])
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
    figure.supxlabel(_axis_label(prefix), fontsize=9, color=INK)
    mesh = grid[0].collections[0]
    bar = figure.colorbar(
        mesh, ax=grid, pad=0.015, aspect=30, shrink=min(1.0, 3 / figure.get_figheight()),
        extend="min" if np.nanmin(shown) < 0 else "neither",
    )  # fmt: skip
    bar.set_label("cross-validated R²", color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, colors=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    return figure


def layer_curves(parts: Sequence[tuple[Recording, Findings]]) -> Figure:
    """Mean R² over all targets of a hemisphere, layer by layer: a line for each hemisphere and series.

    Lines of random weights are dashed; the best layer of each line has a large dot. The shade is the 95 % interval of
    one subject's mean over targets; several subjects have a thin line each.
    """
    series = in_series(list(parts[0][1].layer_r2))
    layers = list(dict.fromkeys(layer for own in series.values() for layer in own))
    solid = [name for name in series if name != RANDOM]
    styles = {name: "--" if name == RANDOM else _LINES[solid.index(name) % len(_LINES)] for name in series}
    found = {side for recording, _ in parts for side in np.unique(recording.hemispheres)}
    sides = [side for side in SIDES[:2] if side[0] in found] or [SIDES[-1]]
    labels, prefix = short_labels(layers)
    figure = new_figure(float(np.clip(0.3 * len(layers) + 2.2, 4.6, _MOST_WIDE)), 3.8)
    axes = figure.subplots()
    for hemisphere, _, colour in sides:
        for name, own in series.items():
            places = [layers.index(layer) for layer in own]
            subjects = [_over_targets(*part, hemisphere, list(own.values())) for part in parts]
            _curve(axes, places, subjects, colour, styles[name])
    handles = [axes.plot(np.nan, np.nan, color=colour, label=label)[0] for _, label, colour in sides if label]
    if len(series) > 1:
        handles += [axes.plot(np.nan, np.nan, styles[name], color=INK, label=name or "other")[0] for name in series]
    if handles:
        figure.legend(handles=handles, frameon=False, ncols=2, loc="outside upper left", fontsize=9, handlelength=2.6)
    crowded = max(map(len, labels.values())) > 4 or len(layers) > 20
    axes.set_xticks(
        range(len(layers)), [labels[layer] for layer in layers],
        rotation=45 if crowded else 0, ha="right" if crowded else "center", rotation_mode="anchor",
        fontsize=8 if len(layers) <= 30 else 6,
    )  # fmt: skip
    axes.set_xlim(-0.5, len(layers) - 0.5)
    axes.set_xlabel(_axis_label(prefix))
    axes.set_ylabel("cross-validated R²,\nmean over targets")
    low, high = axes.get_ylim()
    axes.set_ylim(min(low, 0), max(high, 0.01))
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    plain(axes)
    return figure


def short_labels(layers: Sequence[str]) -> tuple[dict[str, str], str]:
    """Labels by layer without the dotted beginning that all share, and that beginning."""
    distinct = list(dict.fromkeys(layers))
    parents = [layer.split(".")[:-1] for layer in distinct] if len(distinct) > 1 else []
    prefix = ".".join(names[0] for names in takewhile(lambda names: len(set(names)) == 1, zip(*parents, strict=False)))
    return {layer: layer[len(prefix) + 1 :] if prefix else layer for layer in distinct}, prefix


def _axis_label(prefix: str) -> str:
    return f"layer ({prefix}.…)" if prefix else "layer"


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
    compared = ((~np.isnan(values)).sum(axis=1) > 1) & (values >= EXPLAINED).any(axis=1)
    for place, row in zip(places[compared], values[compared], strict=True):
        best = int(np.nanargmax(row))
        for colour, width in (("white", 2.6), (MARK, 1.4)):
            frame = Rectangle((best - 0.5, place - 0.5), 1, 1, fill=False, edgecolor=colour, linewidth=width)
            frame.set(zorder=3, clip_on=False, in_layout=False)
            axes.add_patch(frame)
    axes.set_xlim(across[0], across[-1])
    axes.set_ylim(places[-1] + 0.5, -0.5)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, colors=INK)


def _over_targets(
    recording: Recording, findings: Findings, hemisphere: str, layers: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Mean over a hemisphere's targets and half its 95 % interval, float64 (layers,) each, NaN where unknown."""
    members = recording.hemispheres == hemisphere if hemisphere else np.full(recording.num_targets, True)
    r2 = np.stack([findings.layer_r2[layer][members] for layer in layers]).astype(np.float64)  # (layers, t)
    known = ~np.isnan(r2)
    count = known.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, r2, 0).sum(axis=1) / count
        variance = (np.where(known, r2 - mean[:, None], 0) ** 2).sum(axis=1) / (count - 1)
        return mean, 1.96 * np.sqrt(variance / count)


def _curve(
    axes: Axes, places: Sequence[int], subjects: Sequence[tuple[np.ndarray, np.ndarray]], colour: str, style: str
) -> None:
    """One line: the mean over subjects, its best layer, and one subject's interval or each subject's own line."""
    means = np.stack([mean for mean, _ in subjects])
    known = ~np.isnan(means)
    with np.errstate(invalid="ignore"):
        mean = np.where(known, means, 0).sum(axis=0) / known.sum(axis=0)
    axes.plot(places, mean, style, marker=".", color=colour, linewidth=2)
    if (~np.isnan(mean)).any():
        best = int(np.nanargmax(mean))
        axes.plot(places[best], mean[best], "o", color=colour, markersize=7)
    if len(subjects) > 1:
        axes.plot(places, means.T, style, color=colour, linewidth=0.6, alpha=0.6)
    else:
        half = np.nan_to_num(subjects[0][1])
        axes.fill_between(places, mean - half, mean + half, color=colour, alpha=0.18, linewidth=0)
