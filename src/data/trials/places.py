"""Where targets lie: voxels of a grid, vertices of fsaverage, and places in millimetres."""

import re
from collections.abc import Mapping

import numpy as np

from ...fsaverage import MESH_VERTICES, mesh_at_level
from ...recording import Grid
from .arrays import CiftiSeries
from .series import ImageSeries, Series
from .session import Chosen

_FS_LR = re.compile("fs_?lr", re.IGNORECASE)


def sides_of(files: Mapping[str, Series], chosen: Chosen) -> np.ndarray:
    """Hemisphere of each target, by its file or its structure; "" where neither tells, str (num_targets,)."""
    both = files.get("")
    return both.grayordinates.sides[chosen.places] if isinstance(both, CiftiSeries) else chosen.sides


def vertices_of(files: Mapping[str, Series], chosen: Chosen, space: str) -> np.ndarray | None:
    """fsaverage vertices of the targets, int64 (num_targets,); None where the files lie on another surface.

    Args:
        files: By hemisphere; "" is a file of both.
        chosen: The targets.
        space: As the files' names tell it; "" where they do not: then a surface of fsaverage's size is fsaverage,
            unless a name says fsLR, whose finest mesh has that size too.
    """
    sizes = {series.size for series in files.values()}
    surface = "" not in files and sizes <= set(MESH_VERTICES.values())
    other = any(_FS_LR.search(series.path.name) for series in files.values())
    return chosen.places if surface and (space.startswith("fsaverage") or not (space or other)) else None


def grid_of(files: Mapping[str, Series], chosen: Chosen, affine: np.ndarray | None) -> Grid | None:
    """Voxels of the targets; None where the files are no volumes.

    Args:
        files: By hemisphere; "" is a file of both.
        chosen: The targets.
        affine: From voxels to millimetres, where the files themselves do not tell it.
    """
    series = files.get("")
    if series is None or len(series.shape) != 3 or series.shape[1:] == (1, 1):
        return None
    voxels = np.stack(np.unravel_index(chosen.places, series.shape), axis=1)
    own = series.affine if isinstance(series, ImageSeries) else affine
    return Grid((series.shape[0], series.shape[1], series.shape[2]), voxels, own)


def coordinates_of(chosen: Chosen, vertices: np.ndarray | None, grid: Grid | None) -> np.ndarray | None:
    """Places of the targets in millimetres, float32 (num_targets, 3); None where nothing tells them."""
    if grid is not None and grid.affine is not None:
        return (grid.voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]).astype(np.float32)
    if vertices is None:
        return None
    places = [mesh_at_level(side, 7)[1][chosen.on(side)] for side in dict.fromkeys(chosen.sides.tolist())]
    return np.concatenate(places).astype(np.float32)
