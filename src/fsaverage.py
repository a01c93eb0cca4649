"""fsaverage: the average cortical surface that a target's vertex lies on, and the mesh of it that nilearn ships."""

import gzip
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from xml.parsers.expat import ParserCreate

import numpy as np

from .errors import InputError, one_line

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


@cache
def mesh_at_level(hemisphere: str, level: int) -> tuple[np.ndarray, np.ndarray]:
    """Directions of the vertices on the sphere and places on the pial surface (mm), float64 (n_vertices, 3) each.

    fsaverage5 is the mesh that nilearn ships. The finer ones are not to be had without a network: their vertices
    are put at the middle of the edges that they split, in fsaverage's order. On the sphere that is where they are.
    On the pial surface it cuts folds: by 1.8 mm on average where fsaverage5 is made so from the mesh two levels
    below, by 0.7 mm from one level below; by that decrease, fsaverage itself is about 0.3 mm off.

    Args:
        hemisphere: "lh" or "rh".
        level: 5, 6 or 7, as in `MESH_VERTICES`.
    """
    (sphere, faces), (pial, _) = load_fsaverage5("sphere", hemisphere), load_fsaverage5("pial", hemisphere)
    sphere, pial = sphere.astype(np.float64), pial.astype(np.float64)
    for _ in range(level - 5):
        faces, edges = refine_faces(faces)
        sphere = np.concatenate([sphere, sphere[edges].mean(axis=1)])
        pial = np.concatenate([pial, pial[edges].mean(axis=1)])
    return sphere / np.linalg.norm(sphere, axis=1, keepdims=True), pial


def refine_faces(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Split each triangle of a closed icosahedral mesh into four, in the order of FreeSurfer's meshes.

    That order is a rule: new vertices are numbered as the faces first meet their edges, and the new faces at all
    first corners come before the rest. It makes fsaverage5's faces from those of the level below exactly, and so
    on down to the icosahedron, so it is taken to hold upwards too.

    Args:
        faces: (n_faces, 3) vertices.

    Returns:
        The finer faces (4 n_faces, 3), and the edges (n_new_vertices, 2) that the new vertices split.
    """
    first, second, third = faces.T
    count = int(faces.max()) + 1
    edges = np.stack([first, third, second, third, first, second], axis=1).reshape(-1, 2)  # met in this order
    edges = np.sort(edges, axis=1).astype(np.int64)
    _, met, which = np.unique(edges @ [count, 1], return_index=True, return_inverse=True)
    number = np.empty(len(met), dtype=np.int64)
    number[np.argsort(met)] = count + np.arange(len(met))
    third_first, second_third, first_second = number[which].reshape(-1, 3).T
    corners = np.stack([first, first_second, third_first], axis=1)
    rest = np.stack(
        [
            np.stack([third_first, second_third, third], axis=1),
            np.stack([first_second, second_third, third_first], axis=1),
            np.stack([first_second, second, second_third], axis=1),
        ],
        axis=1,
    ).reshape(-1, 3)
    return np.concatenate([corners, rest]).astype(faces.dtype), edges[np.sort(met)]


def pial_file(folder: Path, hemisphere: str) -> Path:
    """The pial surface of a hemisphere in a folder: FreeSurfer's `lh.pial`, or nilearn's `pial_left.gii.gz`.

    Raises:
        InputError: The folder holds neither.
    """
    names = [f"{hemisphere}.pial", *(f"pial_{_SIDES[hemisphere]}{suffix}" for suffix in (".gii.gz", ".gii"))]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(
        f"{folder}: expected a folder with fsaverage's {' or '.join(names)}, found none; give FreeSurfer's "
        "subjects/fsaverage/surf, the folder of nilearn's fsaverage, or one file per hemisphere"
    )


def _check_own_numbers(path: Path) -> None:
    """Raises ValueError where numbers are to come out of another file, which may be any that its author names."""

    def begin(name: str, attributes: dict[str, str]) -> None:
        if attributes.get("Encoding") == "ExternalFileBinary" or attributes.get("ExternalFileName"):
            raise ValueError("it names another file for its numbers")

    parser = ParserCreate()  # as nibabel does, so that no spelling of it is overlooked
    parser.StartElementHandler = begin
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        parser.ParseFile(file)


def read_surface(path: Path) -> np.ndarray:
    """Places of all fsaverage vertices of one hemisphere, from a GIFTI file or one in FreeSurfer's own format.

    Returns:
        float64 (163842, 3), millimetres.

    Raises:
        InputError: The file cannot be read, is not a surface, or is one of another mesh.
    """
    from nibabel.freesurfer.io import read_geometry
    from nibabel.gifti.gifti import GiftiImage

    expected = f"{path}: expected a surface of fsaverage, ({MESH_VERTICES[7]}, 3) in mm"
    try:
        if ".gii" in path.suffixes:
            _check_own_numbers(path)
            points = GiftiImage.from_filename(path).agg_data("NIFTI_INTENT_POINTSET")
        else:
            with np.errstate(over="ignore"):  # a count of vertices that no file has
                points = read_geometry(path)[0]
        places = np.asarray(points, dtype=np.float64)
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(f"{expected}, found a file that cannot be read ({one_line(error)}); copy it again") from error
    if places.shape != (MESH_VERTICES[7], 3):
        raise InputError(f"{expected}, found {places.shape}; give fsaverage's, not a coarser mesh or a person's own")
    if not np.isfinite(places).all():
        raise InputError(f"{expected}, found a place that is not finite; copy it again")
    return places
