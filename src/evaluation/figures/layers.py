"""How what layers explain goes through the network: curves over layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING

import numpy as np

from ...findings import Findings
from ...recording import Recording
from ..layers import in_series
from .drawing import INK, PALE, SIDES, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANDOM = "random"

MOST_WIDE = 11.0  # inches: the width of the report
_LINES = ("-", "-.", ":")


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
    figure = new_figure(float(np.clip(0.3 * len(layers) + 2.2, 4.6, MOST_WIDE)), 3.8)
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
    axes.set_xlabel(axis_label(prefix))
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


def axis_label(prefix: str) -> str:
    """What an axis of such labels is called."""
    return f"layer ({prefix}.…)" if prefix else "layer"


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
