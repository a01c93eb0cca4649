"""The cortex that maps are drawn on: fsaverage5, which nilearn ships, or a FreeSurfer fsaverage of the reader's own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, one_line
from ...fsaverage import MESH_VERTICES, load_fsaverage5, refine_faces
from ...names import HEMISPHERES

FLAT = ("{}.full.flat.patch.3d", "{}.flat.patch")
"""Names of a hemisphere's flat map, in FreeSurfer's patch format."""
_PATCH_POINT = np.dtype([("vertex", ">i4"), ("place", ">f4", 3)])


@dataclass(frozen=True)
class Mesh:
    """One hemisphere.

    Args:
        points: On the inflated surface, float64 (n_vertices, 3), x to the right, y to the front, z up.
        faces: int (n_faces, 3).
        sulcal_depth: float64 (n_vertices,), positive in sulci.
        flat: On the flat map, float64 (n_vertices, 2), NaN at vertices that were cut out; None where there is none.
    """

    points: np.ndarray
    faces: np.ndarray
    sulcal_depth: np.ndarray
    flat: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.points)

    def spread(self, vertices: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Values (k,) of some vertices (k,) on all of them, float64 (n_vertices,), NaN where there is none.

        Meshes are prefixes of finer ones: vertices beyond this one's are left out.
        """
        full = np.full(len(self), np.nan)
        inside = vertices < len(self)
        full[vertices[inside]] = values[inside]
        return full


def load_meshes(folder: Path | None) -> dict[str, Mesh]:
    """Both hemispheres by "lh" and "rh": fsaverage's 163,842 vertices each from a folder, else fsaverage5's 10,242.

    Args:
        folder: FreeSurfer's `subjects/fsaverage`, or None.

    Raises:
        InputError: A file is missing, damaged, or not fsaverage's.
    """
    if folder is None:
        return {hemisphere: _fsaverage5(hemisphere) for hemisphere in HEMISPHERES}
    return {hemisphere: _freesurfer(folder / "surf", hemisphere) for hemisphere in HEMISPHERES}


def coarsened(mesh: Mesh) -> Mesh:
    """fsaverage as fsaverage6, 1 vertex in 4, which a browser still turns; a coarser mesh as it is."""
    if len(mesh) <= MESH_VERTICES[6]:
        return mesh
    faces, _ = refine_faces(load_fsaverage5("infl", "lh")[1])  # both hemispheres have the same
    count = MESH_VERTICES[6]
    return Mesh(mesh.points[:count], faces, mesh.sulcal_depth[:count])


def _fsaverage5(hemisphere: str) -> Mesh:
    (points, faces), (depth,) = load_fsaverage5("infl", hemisphere), load_fsaverage5("sulc", hemisphere)
    return Mesh(points.astype(float), faces, depth.astype(float))


def _freesurfer(folder: Path, hemisphere: str) -> Mesh:
    from nibabel.freesurfer.io import read_geometry, read_morph_data

    path = folder / f"{hemisphere}.inflated"
    points, faces = (np.asarray(array) for array in _read(path, read_geometry)[:2])
    _check(path, points, (MESH_VERTICES[7], 3))
    if not len(faces) or faces.min() < 0 or faces.max() >= len(points):
        raise InputError(f"{path}: expected faces of vertices 0 to {len(points) - 1}, found others; copy it again")
    depth = np.asarray(_read(folder / f"{hemisphere}.sulc", read_morph_data), np.float64)
    _check(folder / f"{hemisphere}.sulc", depth, (MESH_VERTICES[7],))
    names = [name.format(hemisphere) for name in FLAT]
    flat = next((folder / name for name in names if (folder / name).is_file()), None)
    places = None if flat is None else read_flat_patch(flat, len(points))
    return Mesh(points.astype(np.float64), faces, depth, places)


def _read(path: Path, read: Callable[[Path], Any]) -> Any:
    if not path.is_file():
        raise InputError(
            f"--report.fsaverage: expected FreeSurfer's subjects/fsaverage, found no {path}; correct the path"
        )
    try:
        with np.errstate(over="ignore"):  # a count of vertices that no file has
            return read(path)
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(
            f"{path}: expected a file in FreeSurfer's format, found one that cannot be read ({one_line(error)}); copy "
            "it again"
        ) from error


def _check(path: Path, values: np.ndarray, shape: tuple[int, ...]) -> None:
    if values.shape != shape or not np.isfinite(values).all():
        found = f"{len(values):,}" if values.shape != shape else "a number that is not finite"
        raise InputError(
            f"{path}: expected fsaverage's {MESH_VERTICES[7]:,} vertices, found {found}; give FreeSurfer's "
            "subjects/fsaverage, not a coarser mesh or a person's own"
        )


def read_flat_patch(path: Path, num_vertices: int) -> np.ndarray:
    """Places on a flat map, from a patch in FreeSurfer's binary format (as in its `matlab/read_patch.m`).

    Big-endian: −1, the number of points, and for each the vertex and its x, y and z in mm. Vertices are counted from
    1, and those on the patch's edge are negative.

    Args:
        path: The file.
        num_vertices: Vertices of the hemisphere.

    Returns:
        float64 (num_vertices, 2), NaN at vertices that are not in the patch.

    Raises:
        InputError: It is no such file.
    """
    expected = f"{path}: expected a flat patch of FreeSurfer of at most {num_vertices:,} vertices"
    content = path.read_bytes()
    magic, count = np.frombuffer(content[:8].ljust(8, b"\0"), ">i4")
    if magic != -1 or not 0 < count <= num_vertices or len(content) != 8 + count * _PATCH_POINT.itemsize:
        raise InputError(f"{expected}, found {len(content):,} bytes of something else; copy it again, or move it away")
    points = np.frombuffer(content, _PATCH_POINT, offset=8)
    vertices = np.abs(points["vertex"].astype(np.int64)) - 1
    places = points["place"][:, :2].astype(np.float64)
    if vertices.min() < 0 or vertices.max() >= num_vertices or not np.isfinite(places).all():
        raise InputError(f"{expected}, found a vertex or a place out of range; copy it again, or move it away")
    flat = np.full((num_vertices, 2), np.nan)
    flat[vertices] = places
    return flat
