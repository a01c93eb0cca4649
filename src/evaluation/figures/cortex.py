"""The cortex to be turned by hand: a value per vertex on both inflated hemispheres, for a page."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

from ...recording import Recording
from .drawing import NEGATIVE
from .mesh import Mesh
from .surface import SIDES, Values, vertex_colours

_APART = 12.0  # mm between the hemispheres
_EYES = {
    "behind": ((0, -1.5, 0.35), (0, 0, 1)),
    "left": ((-1.5, 0, 0), (0, 0, 1)),
    "right": ((1.5, 0, 0), (0, 0, 1)),
    "below": ((0, 0, -1.5), (0, 1, 0)),
    "above": ((0, 0, 1.5), (0, 1, 0)),
}


def plot(meshes: Mapping[str, Mesh], maps: Values, names: Mapping[str, Sequence[str]], top: float) -> dict[str, Any]:
    """Both hemispheres side by side, with buttons for views; a vertex tells its value and its ROIs.

    Args:
        meshes: By hemisphere.
        maps: The values.
        names: By hemisphere, what each of the values' vertices is called.
        top: Where the colour scale ends.
    """
    traces: list[dict[str, Any]] = []
    for side in (side for side in SIDES if side in maps):
        mesh, (vertices, values) = meshes[side], maps[side]
        full = mesh.spread(vertices, values)
        texts = [""] * len(mesh)
        for vertex, name in zip(vertices.tolist(), names[side], strict=True):
            if vertex < len(mesh) and not np.isnan(full[vertex]):
                texts[vertex] = f"{full[vertex]:.3f} {escape(name)}".strip()
        x, y, z = mesh.points.T
        beside = -x.max() - _APART / 2 if side == "lh" else -x.min() + _APART / 2
        i, j, k = mesh.faces.T
        traces.append(
            {
                "type": "mesh3d", "name": SIDES[side], "showlegend": True,
                "x": _packed(x + beside), "y": _packed(y), "z": _packed(z),
                "i": _indices(i, len(mesh)), "j": _indices(j, len(mesh)), "k": _indices(k, len(mesh)),
                "vertexcolor": _hex(vertex_colours(mesh, full, top)), "text": texts,
                "hovertemplate": "%{text}<extra></extra>",
                "lighting": {"ambient": 0.7, "diffuse": 0.5, "specular": 0.05, "roughness": 0.9},
                "lightposition": {"x": 0, "y": -1000, "z": 1000},
            }
        )  # fmt: skip
    hidden = {"visible": False}
    buttons = [{"label": name, "method": "relayout", "args": [{"scene.camera": _camera(name)}]} for name in _EYES]
    return {
        "data": [*traces, _legend(top)],
        "layout": {
            "height": 520, "hovermode": "closest", "margin": {"l": 0, "r": 0, "t": 70, "b": 0},
            "scene": {
                "xaxis": hidden, "yaxis": hidden, "zaxis": hidden, "aspectmode": "data", "camera": _camera("behind"),
                "domain": {"y": [0.1, 1]},
            },
            "updatemenus": [
                {
                    "type": "buttons", "direction": "right", "buttons": buttons, "showactive": False,
                    "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom", "pad": {"b": 28},
                }
            ],
        },
    }  # fmt: skip


def vertex_names(recording: Recording) -> list[str]:
    """The ROIs of each target, joined, (n_targets,)."""
    names: list[list[str]] = [[] for _ in range(recording.num_targets)]
    for roi in recording.rois:
        for target in roi.targets.tolist():
            names[target].append(roi.name)
    return [", ".join(each) for each in names]


def _camera(name: str) -> dict[str, Any]:
    eye, up = (dict(zip("xyz", values, strict=True)) for values in _EYES[name])
    return {
        "eye": eye,
        "up": up,
        "center": {"x": 0, "y": 0, "z": 0},
    }


def _legend(top: float) -> dict[str, Any]:
    """A trace without a visible point that carries the colour scale, what is below 0 at its end."""
    viridis = ["#440154", "#3b528b", "#21918c", "#5ec962", "#fde725"]
    edge = 0.08
    shades = [[0, NEGATIVE], [edge, NEGATIVE]]
    shades += [[edge + (1 - edge) * step / 4, colour] for step, colour in enumerate(viridis)]
    low = -edge / (1 - edge) * top
    ticks = [low / 2, *np.linspace(0, top, 5)[1:].tolist()]
    bar = {
        "orientation": "h", "y": 0, "yanchor": "bottom", "thickness": 12, "len": 0.7, "lenmode": "fraction",
        "tickvals": ticks, "ticktext": ["< 0", *(f"{value:.2f}" for value in ticks[1:])], "outlinewidth": 0,
        "title": {"text": "Pearson correlation", "side": "bottom"},
    }  # fmt: skip
    marker = {"color": [0], "cmin": low, "cmax": top, "colorscale": shades, "colorbar": bar, "size": 0.1, "opacity": 0}
    point = {"x": [0], "y": [0], "z": [0]}
    return {"type": "scatter3d", "mode": "markers", "marker": marker, "showlegend": False, "hoverinfo": "skip", **point}


def _hex(colours: np.ndarray) -> list[str]:
    red, green, blue = np.rint(255 * colours).astype(int).T
    return [f"#{value:06x}" for value in (red << 16 | green << 8 | blue).tolist()]


def _packed(values: np.ndarray) -> dict[str, str]:
    """Numbers as Plotly reads them fastest, and in the least space."""
    return {"dtype": "f4", "bdata": base64.b64encode(values.astype("<f4").tobytes()).decode()}


def _indices(values: np.ndarray, count: int) -> dict[str, str]:
    dtype = "u2" if count <= 2**16 else "u4"
    return {"dtype": dtype, "bdata": base64.b64encode(values.astype(f"<{dtype}").tobytes()).decode()}
