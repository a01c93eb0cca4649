"""Maps on the cortex as pictures: a value per vertex on the inflated hemispheres, and on flat maps.

They are drawn here: importing nilearn's plotting takes 9 s and each of its views 0.35 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from .drawing import GREY, INK, NEGATIVE
from .mesh import Mesh

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIDES = {"lh": "left hemisphere", "rh": "right hemisphere"}
_UP, _FORWARD, _OUT_OF_LEFT = np.array([0, 0, 1.0]), np.array([0, 1.0, 0]), np.array([-1.0, 0, 0])
_PIXELS = 420  # the longer side of a view
_HEIGHT = 2.1  # inches of a row of views

Values = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""By hemisphere ("lh", "rh"), fsaverage vertices int (k,) and their values (k,), NaN where unknown."""


def top_of(maps: Values) -> float | None:
    """Where the colour scale of a map ends, the 99th percentile; it starts at 0. None where no value is known."""
    shown = np.concatenate([values[~np.isnan(values)] for _, values in maps.values()] or [np.empty(0)])
    return max(float(np.percentile(shown, 99)), 0.05) if len(shown) else None


def vertex_colours(mesh: Mesh, values: np.ndarray, top: float) -> np.ndarray:
    """Red, green and blue of each vertex, float64 (n_vertices, 3) from 0 to 1.

    Viridis from 0 to `top`, one colour below 0, and where no value is known the anatomy in grey, sulci darker.

    Args:
        mesh: The hemisphere.
        values: (n_vertices,), NaN where unknown.
        top: Where the scale ends.
    """
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    depth = np.tanh(mesh.sulcal_depth - np.median(mesh.sulcal_depth))  # from ridges to sulci −1 to 1
    colours = np.repeat((0.72 - 0.12 * depth)[:, None], 3, axis=1)
    known = ~np.isnan(values)
    colours[known] = colormaps["viridis"](np.clip(values[known] / top, 0, 1))[:, :3]
    with np.errstate(invalid="ignore"):
        colours[values < 0] = to_rgb(NEGATIVE)
    return colours


def brain_maps(meshes: Mapping[str, Mesh], maps: Values, label: str, top: float) -> Figure | None:
    """A value per vertex on the inflated hemispheres, seen from outside, inside, below and behind.

    Args:
        meshes: By hemisphere.
        maps: The values. Vertices beyond the meshes' are left out and the figure says so.
        label: What the values are, with their unit.
        top: Where the colour scale ends.

    Returns:
        The figure, or None where no vertex with a value lies on the mesh.
    """
    from matplotlib.figure import Figure

    shown = {side: meshes[side].spread(*maps[side]) for side in SIDES if side in maps}
    if all(np.isnan(values).all() for values in shown.values()):
        return None
    figure = Figure(figsize=(9.6, _HEIGHT * len(shown) + 0.8))
    bottom = 0.75 / figure.get_figheight()
    grid = figure.subplots(len(shown), 4, squeeze=False, width_ratios=(1.5, 1.5, 0.8, 0.8))
    figure.subplots_adjust(left=0.03, right=0.995, top=0.95, bottom=bottom, wspace=0.04, hspace=0.1)
    for row, (hemisphere, values) in zip(grid, shown.items(), strict=True):
        mesh, outward = meshes[hemisphere], _OUT_OF_LEFT * (1 if hemisphere == "lh" else -1)
        colours = vertex_colours(mesh, values, top)
        views = {"lateral": outward, "medial": -outward, "ventral": -_UP, "posterior": -_FORWARD}
        for axes, (name, towards_viewer) in zip(row, views.items(), strict=True):
            _show(axes, _seen(mesh, colours, towards_viewer, _FORWARD if name == "ventral" else _UP))
            if row is grid[0]:
                axes.set_title(name, fontsize=9, color=GREY, pad=2)
        place = row[0].transAxes
        row[0].text(-0.02, 0.5, SIDES[hemisphere], rotation=90, va="center", ha="right", color=INK, transform=place)
    _scale(figure, bottom, label, top, any((values < 0).any() for values in shown.values()))
    left_out = {side: int((maps[side][0] >= len(meshes[side])).sum()) for side in shown}
    if any(left_out.values()):
        figure.text(0.995, 0.02, "fsaverage5 preview: 1 vertex in 16", ha="right", fontsize=8, color=GREY)
    return figure


def flat_maps(meshes: Mapping[str, Mesh], maps: Values, label: str, top: float) -> Figure | None:
    """The same on flat maps, the hemispheres side by side; None where no hemisphere with values has one."""
    from matplotlib.figure import Figure

    sides = [side for side in SIDES if side in maps and meshes[side].flat is not None]
    if not sides:
        return None
    figure = Figure(figsize=(4.8 * len(sides), 4.8))
    bottom = 0.75 / figure.get_figheight()
    row = figure.subplots(1, len(sides), squeeze=False)[0]
    figure.subplots_adjust(left=0.01, right=0.99, top=0.94, bottom=bottom, wspace=0.02)
    negative = False
    for axes, side in zip(row, sides, strict=True):
        mesh, values = meshes[side], meshes[side].spread(*maps[side])
        negative |= bool((values < 0).any())
        flat = np.asarray(mesh.flat)
        kept = mesh.faces[np.isfinite(flat[mesh.faces]).all(axis=(1, 2))]
        _show(axes, _painted(np.nan_to_num(flat), kept, vertex_colours(mesh, values, top)))
        axes.set_title(SIDES[side], fontsize=9, color=INK, pad=2)
    _scale(figure, bottom, label, top, negative)
    return figure


def _seen(mesh: Mesh, colours: np.ndarray, towards_viewer: np.ndarray, up: np.ndarray) -> np.ndarray:
    """One view as an image: the faces that look at the viewer, the farthest first, without perspective."""
    corners = mesh.points[mesh.faces]  # (n_faces, 3 corners, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    facing = normals @ towards_viewer / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)  # cosine, (n_faces,)
    order = np.argsort(corners.mean(axis=1) @ towards_viewer)
    order = order[facing[order] > 0]
    screen = np.stack([np.cross(up, towards_viewer), up], axis=1)  # (3, 2)
    around = np.bincount(mesh.faces.ravel(), np.repeat(facing.clip(0), 3), len(mesh))
    faces = np.bincount(mesh.faces.ravel(), minlength=len(mesh))
    light = 0.72 + 0.28 * around / np.maximum(faces, 1)  # from the viewer: it gives the surface its shape
    return _painted(mesh.points @ screen, mesh.faces[order], colours * light[:, None])


def _painted(places: np.ndarray, faces: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Triangles as an image uint8 (rows, columns, 4), the first row at the top, transparent where there is none.

    Each triangle is sampled as finely as the long sides in pixels ask for, and each sample has the colour of the
    nearest corner; a later triangle covers an earlier.

    Args:
        places: Of the vertices, float64 (n_vertices, 2), x to the right and y up.
        faces: In the order of painting, (n_faces, 3).
        colours: Of the vertices, (n_vertices, 3).
    """
    low, high = places[faces].min(axis=(0, 1)), places[faces].max(axis=(0, 1))
    scale = (_PIXELS - 1) / max(float((high - low).max()), 1e-9)
    columns, rows = np.ceil((high - low) * scale).astype(int) + 1
    corners = ((places - low) * scale).astype(np.float32)[faces]  # (n_faces, 3, 2)
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    steps = max(int(np.ceil(1.2 * np.percentile(sides, 99.9))), 1)  # a few torn triangles of a flat map stay dotted
    shares = [(a / steps, b / steps, 1 - (a + b) / steps) for a in range(steps + 1) for b in range(steps + 1 - a)]
    weights = np.array(shares, dtype=np.float32)  # (samples, 3)
    nearest = weights.argmax(axis=1)
    opaque = np.concatenate([np.rint(255 * colours), np.full((len(colours), 1), 255)], axis=1).astype(np.uint8)
    packed = opaque.view(np.uint32)[:, 0]  # four bytes of a vertex's colour as one number
    image = np.zeros((rows, columns), np.uint32)
    block = max(2_000_000 // len(weights), 1)
    for start in range(0, len(faces), block):
        own = slice(start, start + block)
        x, y = (np.rint(corners[own, :, axis] @ weights.T).astype(np.intp) for axis in (0, 1))  # (f, samples) each
        image[rows - 1 - y, x] = packed[faces[own][:, nearest]]
    return image.view(np.uint8).reshape(rows, columns, 4)


def _show(axes: Axes, image: np.ndarray) -> None:
    axes.imshow(image, interpolation="antialiased")
    axes.set_axis_off()


def _scale(figure: Figure, bottom: float, label: str, top: float, negative: bool) -> None:
    """The colour scale below the views, with the colour of what is below 0 where there is any."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colours = ScalarMappable(Normalize(0, top), "viridis")
    place = figure.add_axes((0.36, 0.62 * bottom, 0.28, 0.1 * bottom))
    bar = figure.colorbar(colours, cax=place, orientation="horizontal")
    bar.set_label(label, color=INK)
    bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue]
    if negative:
        wide = figure.get_figwidth()
        swatch = figure.add_axes((0.36 - 0.6 / wide, 0.62 * bottom, 0.3 / wide, 0.1 * bottom))
        swatch.axvspan(0, 1, color=NEGATIVE, linewidth=0)
        swatch.set(xlim=(0, 1), xticks=[0.5], xticklabels=["< 0"], yticks=[])
        swatch.spines[:].set_visible(False)
        swatch.tick_params(length=0)
