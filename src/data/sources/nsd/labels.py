"""ROIs of the Natural Scenes Dataset: labels on fsaverage, on a subject's own surface, and in volumes.

What is defined on a subject's own surface is carried to fsaverage by the vertex that is nearest. Labels count from 1;
0 is cortex without a label, and −1 stands outside cortex, so that only what is above 0 is in an atlas.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import InputError, one_line
from ....fsaverage import MESH_VERTICES
from ....names import HEMISPHERES
from ....recording import Roi
from ...trials.session import Chosen
from .tree import NsdTree, Space, one_of

_SURFACE, _VOLUME = (".mgz", ".mgh"), (".nii.gz", ".nii")


@dataclass(frozen=True)
class Atlas:
    """A class of ROIs.

    Args:
        name: Such as "prf-visualrois".
        labels: By hemisphere ("" where the file is of both), int64 in the C order of the grid.
        names: Of the labels above 0; None where no file tells.
    """

    name: str
    labels: dict[str, np.ndarray]
    names: dict[int, str] | None


def read_atlas(tree: NsdTree, space: Space, name: str) -> Atlas:
    """Read an atlas.

    Raises:
        InputError: There is none of this name, or a file of it is damaged.
    """
    if space == "fsaverage":
        return _surface_atlas(tree, name)
    folder = tree.prepared / space / "roi"
    sides = {side: one_of(folder, f"{side}.{name}", _VOLUME) for side in HEMISPHERES}
    if not all(path.is_file() for path in sides.values()):
        sides = {"": one_of(folder, name, _VOLUME)}
    labels = {side: read_values(path, f"the atlas {name}") for side, path in sides.items()}
    return Atlas(name, {side: _whole(sides[side], own) for side, own in labels.items()}, _names(tree, name))


def _surface_atlas(tree: NsdTree, name: str) -> Atlas:
    """An atlas on fsaverage: the one that is defined there, or else the subject's own, carried over."""
    labels = {}
    own = {side: one_of(tree.fsaverage / "label", f"{side}.{name}", _SURFACE) for side in HEMISPHERES}
    carried = not all(path.is_file() for path in own.values())
    for side in HEMISPHERES:
        path = one_of(tree.native / "label", f"{side}.{name}", _SURFACE) if carried else own[side]
        found = _whole(path, read_values(path, f"the atlas {name}"))
        if carried:
            found = found[_nearest(tree, side, len(found))]
        if len(found) != MESH_VERTICES[7]:
            raise InputError(
                f"{path}: expected {MESH_VERTICES[7]} labels, one per fsaverage vertex, found {len(found)}; copy it "
                "again"
            )
        labels[side] = found
    return Atlas(name, labels, _names(tree, name))


def _nearest(tree: NsdTree, hemisphere: str, native: int) -> np.ndarray:
    """The native vertex of this hemisphere, from 0, that each fsaverage vertex is nearest to."""
    path = tree.transform(hemisphere)
    vertex = _whole(path, read_values(path, "the way from the subject's surface to fsaverage"))
    if len(vertex) != MESH_VERTICES[7] or vertex.min() < 1 or vertex.max() > native:
        raise InputError(
            f"{path}: expected {MESH_VERTICES[7]} vertices from 1 to {native}, as many as the subject's labels of "
            f"{hemisphere}, found {len(vertex)} from {vertex.min()} to {vertex.max()}; use the files of one subject "
            "and hemisphere"
        )
    return vertex - 1


def read_values(path: Path, meaning: str) -> np.ndarray:
    """All values of a surface map or a volume, in the C order of its grid."""
    import nibabel

    expected = f"{path}: expected {meaning}"
    if not path.is_file():
        beside = sorted({_atlas_of(each) for each in path.parent.glob("*.*") if each.suffix != ".ctab"} - {""})
        there = ", ".join(beside) if len(beside) <= 20 else f"{', '.join(beside[:20])} and {len(beside) - 20} others"
        raise InputError(f"{expected}, found no such file{f'; there are {there}' if there else ''}; download it")
    try:
        with np.errstate(over="ignore"):  # a size that no file has
            image: Any = nibabel.load(path)
            values = np.asarray(image.dataobj).ravel()
        if not values.size:
            raise ValueError("it holds no values")
        return values
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(f"{expected}, found a file that cannot be read ({one_line(error)}); copy it again") from error


def _atlas_of(path: Path) -> str:
    match = re.fullmatch(r"(?:[lr]h\.)?(.+?)(?:\.mgz|\.mgh|\.nii\.gz|\.nii)", path.name)
    return match[1] if match else ""


def _whole(path: Path, values: np.ndarray) -> np.ndarray:
    """Labels as whole numbers; NaN is outside."""
    labels = np.where(np.isnan(values), -1, values).astype(np.int64) if values.dtype.kind == "f" else values
    if values.dtype.kind not in "iuf" or (labels != np.nan_to_num(values, nan=-1)).any():
        raise InputError(f"{path}: expected whole numbers, found {values.dtype} that are not; copy it again")
    return labels.astype(np.int64)


def _names(tree: NsdTree, name: str) -> dict[int, str] | None:
    """Names of an atlas's labels, from whichever table of it is there."""
    folders = (tree.fsaverage / "label", tree.native / "label")
    path = next((folder / f"{name}.mgz.ctab" for folder in folders if (folder / f"{name}.mgz.ctab").is_file()), None)
    if path is None:
        return None
    names = {}
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) < 2 or not re.fullmatch(r"-?[0-9]+", parts[0]):
            raise InputError(f"{path}: expected a number and a name in each line, found {line!r}; copy it again")
        if int(parts[0]) > 0:
            names[int(parts[0])] = parts[1]
    return names


def rois_of(chosen: Chosen, atlas: Atlas) -> list[Roi]:
    """An atlas's ROIs among the targets, the empty ones too.

    Raises:
        InputError: A label has no name.
    """
    rois = []
    for side in dict.fromkeys(chosen.sides.tolist()):
        targets = np.flatnonzero(chosen.sides == side)
        # Where the one is known by hemisphere and the other is not, each place has the one label that is there.
        either = atlas.labels.get(side, atlas.labels.get(""))
        labels = (np.maximum.reduce(list(atlas.labels.values())) if either is None else either)[chosen.on(side)]
        names = atlas.names or {}
        unnamed = np.setdiff1d(labels[labels > 0], list(names))
        if len(unnamed):
            raise InputError(
                f"{atlas.name}.mgz.ctab: expected names of the labels of the atlas {atlas.name}, found none of "
                f"{unnamed[0]}; download it, or leave the atlas out of --data.source.rois"
            )
        rois += [Roi(name, side, targets[labels == label]) for label, name in names.items()]
    return rois


def members(atlas: Atlas, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Which places are in some ROIs of an atlas, or in any of them, by hemisphere, bool in the C order of the grid.

    Args:
        atlas: The atlas.
        names: Of its ROIs; all of them where empty.

    Raises:
        InputError: It has no such ROI.
    """
    if not names:
        return {side: labels > 0 for side, labels in atlas.labels.items()}
    known = {name: label for label, name in (atlas.names or {}).items()}
    missing = [name for name in names if name not in known]
    if missing:
        raise InputError(
            f"--data.source.targets {atlas.name}:{missing[0]}: expected a ROI of {atlas.name}, which has "
            f"{', '.join(known) or 'no names'}; correct it"
        )
    wanted = [known[name] for name in names]
    return {side: np.isin(labels, wanted) for side, labels in atlas.labels.items()}
