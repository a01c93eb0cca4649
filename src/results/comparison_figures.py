"""Figures of a comparison, as Plotly takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..evaluation.figures.drawing import GREY, INK, LEFT, MARK, SIDES
from ..evaluation.scores import ALL, BOTH
from ..fsaverage import MESH_VERTICES, load_fsaverage5
from ..names import HEMISPHERES
from .comparison import ComparedSubject, Comparison, RoiRow

Spec = dict[str, Any]

BETTER, WORSE = LEFT, MARK
_SHADES = [[0, WORSE], [0.5, "#f7f7f7"], [1, BETTER]]
_MOST_POINTS = 4000  # of each kind of target on a page
_ROW = 26  # pixels of a ROI
_APART = 12.0  # mm between the hemispheres
_ABOVE = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}


def differences_per_roi(comparison: Comparison) -> Spec:
    """The difference of each ROI's mean correlation with its interval, a dot per hemisphere; `all` at the bottom."""
    rows = [row for row in comparison.rows if row.difference is not None]
    several = len(comparison.subjects) > 1
    names = list(dict.fromkeys(_label(row, several) for row in sorted(rows, key=lambda row: row.roi == ALL)))
    place = {name: position for position, name in enumerate(names)}
    traces = []
    for side, label, colour in (*SIDES[:2], (BOTH, "both", INK), ("", "", LEFT)):
        own = [row for row in rows if row.hemisphere == side]
        if own:
            nudge = {"lh": -0.14, "rh": 0.14}.get(side, 0.0)
            traces.append(_intervals(own, [place[_label(row, several)] + nudge for row in own], label, colour))
    axis = {"tickvals": list(place.values()), "ticktext": names, "range": [len(names) - 0.4, -0.6], "zeroline": False}
    zero = {"type": "line", "x0": 0, "x1": 0, "yref": "paper", "y0": 0, "y1": 1, "line": {"color": GREY, "width": 1}}
    layout = {"xaxis": {"title": {"text": "difference of mean correlations"}}, "yaxis": axis, "shapes": [zero]}
    return {"data": traces, "layout": _layout(140 + _ROW * len(names), **layout)}


def targets_against_each_other(comparison: Comparison, seed: int = 0) -> Spec:
    """Each target's correlation in both runs; of many targets of a kind some are drawn."""
    rng = np.random.default_rng(seed)
    first, second, better, worse = (
        np.concatenate(each)
        for each in zip(
            *((s.paired.first, s.paired.second, s.better, s.worse) for s in comparison.subjects), strict=True
        )
    )
    known = ~np.isnan(second - first)
    low, high = _limits(np.concatenate([first[known], second[known]]))
    line = {"color": GREY, "dash": "dot"}
    traces: list[Spec] = [
        {"type": "scatter", "x": [low, high], "y": [low, high], "mode": "lines", "line": line, "name": "equal",
         "hoverinfo": "skip"},
    ]  # fmt: skip
    for name, members, colour in (
        ("no difference shown", known & ~better & ~worse, GREY),
        (f"{comparison.second} better", better, BETTER),
        (f"{comparison.second} worse", worse, WORSE),
    ):
        drawn = np.flatnonzero(members)
        if not len(drawn):
            continue
        if len(drawn) > _MOST_POINTS:
            drawn = np.sort(rng.choice(drawn, _MOST_POINTS, replace=False))
        x, y = (np.round(values[drawn], 4).tolist() for values in (first, second))
        marker = {"color": colour, "size": 4, "opacity": 0.6}
        traces.append(
            {"type": "scattergl", "x": x, "y": y, "mode": "markers", "marker": marker,
             "name": f"{name} ({int(members.sum()):,})"}
        )  # fmt: skip
    axes = {
        "xaxis": {"title": {"text": f"correlation, {comparison.first}"}, "range": [low, high]},
        "yaxis": {"title": {"text": f"correlation, {comparison.second}"}, "range": [low, high]},
    }
    return {"data": traces, "layout": _layout(520, **axes)}


def difference_map(subject: ComparedSubject) -> Spec | None:
    """Each target's difference where it lies: on inflated fsaverage5, or at its coordinates; None where it has none."""
    recording, difference = subject.recording, subject.paired.difference
    known = ~np.isnan(difference)
    if not known.any():
        return None
    top = max(float(np.percentile(np.abs(difference[known]), 98)), 0.02)
    if recording.vertices is not None and (recording.vertices[known] < MESH_VERTICES[5]).any():
        traces = [
            _hemisphere(side, recording.vertices[own], difference[own], top)
            for side in HEMISPHERES
            if (own := recording.hemispheres == side).any()
        ]
        traces.append(_scale_alone(top))
    elif recording.coordinates is not None:
        x, y, z = np.round(recording.coordinates[known], 1).T.tolist()
        values = np.round(difference[known], 4).tolist()
        marker = {"color": values, "size": 3, **_scale(top)}
        traces = [{"type": "scatter3d", "mode": "markers", "x": x, "y": y, "z": z, "marker": marker}]
    else:
        return None
    hidden = {"visible": False}
    scene = {
        "xaxis": hidden,
        "yaxis": hidden,
        "zaxis": hidden,
        "aspectmode": "data",
        "camera": {"eye": {"x": 0, "y": -1.2, "z": 0.3}},
    }
    return {"data": traces, "layout": _layout(520, scene=scene, showlegend=False)}


def is_preview(subject: ComparedSubject) -> bool:
    """Whether a map leaves out vertices, which lie beyond fsaverage5."""
    vertices = subject.recording.vertices
    return vertices is not None and bool((vertices >= MESH_VERTICES[5]).any())


def _label(row: RoiRow, several: bool) -> str:
    return f"{row.roi}, {row.subject}" if several else row.roi


def _intervals(rows: Sequence[RoiRow], places: Sequence[float], label: str, colour: str) -> Spec:
    x = [row.difference for row in rows]
    above = [(row.high or 0) - (row.difference or 0) for row in rows]
    told = [
        f"{row.roi}: {row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f}), {row.better} of {row.n_targets} "
        f"targets better, {row.worse} worse"
        for row in rows
    ]
    error = {"type": "data", "array": above, "color": colour, "thickness": 1.5, "width": 0}
    return {
        "type": "scatter", "mode": "markers", "name": label, "showlegend": bool(label), "x": x, "y": list(places),
        "error_x": error, "marker": {"color": colour, "size": 8}, "text": told, "hoverinfo": "text",
    }  # fmt: skip


def _hemisphere(side: str, vertices: np.ndarray, values: np.ndarray, top: float) -> Spec:
    """One inflated hemisphere; grey where nothing was measured."""
    points, faces = load_fsaverage5("infl", side)
    full = np.full(MESH_VERTICES[5], np.nan)
    inside = vertices < MESH_VERTICES[5]
    full[vertices[inside]] = values[inside]
    x, y, z = np.round(points.astype(np.float64), 1).T
    x = x - x.max() - _APART / 2 if side == "lh" else x - x.min() + _APART / 2
    i, j, k = faces.T.tolist()
    told = ["" if np.isnan(value) else f"{value:+.3f}" for value in full.tolist()]
    return {
        "type": "mesh3d", "x": np.round(x, 1).tolist(), "y": y.tolist(), "z": z.tolist(), "i": i, "j": j, "k": k,
        "vertexcolor": _colours(full, top), "text": told, "hoverinfo": "text",
        "lighting": {"ambient": 0.7, "diffuse": 0.5, "specular": 0.05},
    }  # fmt: skip


def _colours(values: np.ndarray, top: float) -> list[str]:
    """Blue where the second run is better, red where it is worse, grey where unknown; each as "#rrggbb"."""
    ends = np.array([[int(shade[place : place + 2], 16) for place in (1, 3, 5)] for _, shade in _SHADES])  # (3, RGB)
    where = np.nan_to_num(values / (2 * top) + 0.5, nan=0.5).clip(0, 1)
    mixed = np.stack([np.interp(where, [0, 0.5, 1], ends[:, channel]) for channel in range(3)], axis=1)
    mixed[np.isnan(values)] = 204
    red, green, blue = np.rint(mixed).astype(int).T
    return [f"#{colour:06x}" for colour in (red << 16 | green << 8 | blue).tolist()]


def _scale_alone(top: float) -> Spec:
    """A trace without a visible point that carries the colour scale of coloured vertices."""
    marker = {"color": [0], "size": 0.1, "opacity": 0, **_scale(top)}
    return {"type": "scatter3d", "mode": "markers", "x": [0], "y": [0], "z": [0], "marker": marker, "hoverinfo": "skip"}


def _scale(top: float) -> Spec:
    bar = {"title": {"text": "difference", "side": "right"}, "thickness": 12, "outlinewidth": 0}
    return {"cmin": -top, "cmax": top, "colorscale": _SHADES, "colorbar": bar}


def _limits(values: np.ndarray) -> tuple[float, float]:
    if not len(values):
        return -1.0, 1.0
    margin = 0.04 * float(np.ptp(values)) or 0.05
    return float(values.min()) - margin, float(values.max()) + margin


def _layout(height: int, **more: Any) -> Spec:
    return {
        "height": height,
        "margin": {"l": 60, "r": 20, "t": 40, "b": 50},
        "hovermode": "closest",
        "legend": _ABOVE,
        **more,
    }
