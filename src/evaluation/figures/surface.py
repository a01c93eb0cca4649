"""Heat maps on the fsaverage5 surface.

The meshes are those that nilearn ships. They are drawn here: importing nilearn's plotting takes 9 s and each of its
views 0.35 s, all eight views of this figure take about 1.5 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ...fsaverage import MESH_VERTICES, load_fsaverage5

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure

_SIDES = {"lh": "left hemisphere", "rh": "right hemisphere"}
_UP, _FORWARD, _OUT_OF_LEFT = np.array([0, 0, 1.0]), np.array([0, 1.0, 0]), np.array([-1.0, 0, 0])


@dataclass(frozen=True)
class Mesh:
    """One inflated hemisphere.

    Args:
        points: float64 (n_vertices, 3), x to the right, y to the front, z up.
        faces: int (n_faces, 3).
        sulcal_depth: float64 (n_vertices,), positive in sulci.
    """

    points: np.ndarray
    faces: np.ndarray
    sulcal_depth: np.ndarray


def load_mesh(hemisphere: str) -> Mesh:
    """The inflated fsaverage5 hemisphere, "lh" or "rh"."""
    (points, faces), (depth,) = load_fsaverage5("infl", hemisphere), load_fsaverage5("sulc", hemisphere)
    return Mesh(points.astype(float), faces, depth.astype(float))


def brain_maps(maps: Mapping[str, tuple[np.ndarray, np.ndarray]], label: str) -> Figure | None:
    """A value per vertex on both inflated hemispheres, seen from outside, inside, below and behind.

    The scale starts at 0: negative values are drawn as 0. It ends at the 99th percentile.

    Args:
        maps: By hemisphere ("lh", "rh"), fsaverage vertices int (k,) and their values (k,), NaN where unknown.
            Vertices beyond fsaverage5's are left out and the figure says so.
        label: What the values are, with their unit.

    Returns:
        The figure, or None where no vertex with a value lies on fsaverage5.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    known = {hemisphere: _on_fsaverage5(*maps[hemisphere]) for hemisphere in _SIDES if hemisphere in maps}
    shown = np.concatenate([values[~np.isnan(values)] for values in known.values()] or [np.empty(0)])
    if not len(shown):
        return None
    top = max(float(np.percentile(shown, 99)), 0.05)
    norm, colours = Normalize(0, top, clip=True), colormaps["viridis"]
    figure = Figure(figsize=(9.6, 2.1 * len(known) + 0.8))
    bottom = 0.75 / figure.get_figheight()
    grid = figure.subplots(len(known), 4, squeeze=False, width_ratios=(1.5, 1.5, 0.8, 0.8))
    figure.subplots_adjust(left=0.03, right=0.995, top=0.95, bottom=bottom, wspace=0.04, hspace=0.1)
    for row, (hemisphere, values) in zip(grid, known.items(), strict=True):
        mesh, outward = load_mesh(hemisphere), _OUT_OF_LEFT * (1 if hemisphere == "lh" else -1)
        views = {"lateral": outward, "medial": -outward, "ventral": -_UP, "posterior": -_FORWARD}
        for axes, (name, towards_viewer) in zip(row, views.items(), strict=True):
            _draw(axes, mesh, norm(values), colours, towards_viewer, _FORWARD if name == "ventral" else _UP)
            axes.set_title(name, fontsize=9, color="#666666", pad=2)
        row[0].text(-0.02, 0.5, _SIDES[hemisphere], rotation=90, va="center", ha="right", transform=row[0].transAxes)
    place = figure.add_axes((0.36, 0.62 * bottom, 0.28, 0.1 * bottom))
    bar = figure.colorbar(ScalarMappable(norm, colours), cax=place, orientation="horizontal")
    bar.set_label(label)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if any((vertices >= MESH_VERTICES[5]).any() for vertices, _ in maps.values()):
        figure.text(0.995, 0.02, "fsaverage5 preview: 1 vertex in 16", ha="right", fontsize=8, color="#666666")
    return figure


def _on_fsaverage5(vertices: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Values on all fsaverage5 vertices, NaN where there is none; they are the first of fsaverage's."""
    full = np.full(MESH_VERTICES[5], np.nan)
    inside = vertices < MESH_VERTICES[5]
    full[vertices[inside]] = values[inside]
    return full


def _draw(
    axes: Axes, mesh: Mesh, values: np.ndarray, colours: Colormap, towards_viewer: np.ndarray, up: np.ndarray
) -> None:
    """Draw the faces that look at the viewer, the farthest first, without perspective.

    Args:
        values: Place on the colour scale of each vertex, 0 to 1, NaN where the anatomy shows.
    """
    from matplotlib.collections import PolyCollection

    corners = mesh.points[mesh.faces]  # (n_faces, 3 corners, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = normals @ towards_viewer / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)  # cosine, (n_faces,)
    order = np.argsort(corners.mean(axis=1) @ towards_viewer)
    order = order[facing[order] > 0]
    screen = np.stack([np.cross(up, towards_viewer), up], axis=1)  # (3, 2)
    depth = np.tanh(mesh.sulcal_depth[mesh.faces].mean(axis=1))  # (n_faces,), from ridges to sulci −1 to 1
    rgb = np.repeat((0.78 - 0.16 * depth)[:, None], 3, axis=1)  # (n_faces, 3)
    corner_values = np.ma.masked_invalid(values[mesh.faces])
    face_values = corner_values.mean(axis=1)
    coloured = ~np.ma.getmaskarray(face_values)
    rgb[coloured] = colours(face_values[coloured].filled(0))[:, :3]
    rgb *= 0.72 + 0.28 * facing[:, None].clip(0)  # a light at the viewer gives the surface its shape
    axes.add_collection(
        PolyCollection(list(corners[order] @ screen), facecolors=rgb[order], edgecolors="face", linewidths=0.3)
    )
    axes.set_aspect("equal")
    axes.autoscale_view()
    axes.set_axis_off()
