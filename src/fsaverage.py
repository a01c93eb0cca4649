"""fsaverage: the average cortical surface that a target's vertex lies on, and the mesh of it that nilearn ships."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np

MESH_VERTICES = {5: 10_242, 6: 40_962, 7: 163_842}
"""Vertices of one hemisphere of fsaverage5, fsaverage6 and fsaverage itself; the coarser are prefixes of the finer.

The icosahedron divided n times has 10 × 4ⁿ + 2.
"""

_SIDES = {"lh": "left", "rh": "right"}


def load_fsaverage5(what: str, hemisphere: str) -> list[np.ndarray]:
    """The arrays of one file of fsaverage5, found without the seconds that importing nilearn takes.

    Args:
        what: "sphere", "pial" or "infl", which hold points (n_vertices, 3) and faces (n_faces, 3), or "sulc", which
            holds a depth per vertex (n_vertices,).
        hemisphere: "lh" or "rh".
    """
    from nibabel.gifti.gifti import GiftiImage

    spec = find_spec("nilearn")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("nilearn is not installed")
    folder = Path(spec.origin).parent / "datasets" / "data" / "fsaverage5"
    return [array.data for array in GiftiImage.from_filename(folder / f"{what}_{_SIDES[hemisphere]}.gii.gz").darrays]
