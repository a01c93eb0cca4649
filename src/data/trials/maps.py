"""Maps: one value for each voxel, vertex or grayordinate, such as masks, atlases and noise ceilings."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, one_line
from .arrays import CiftiSeries, open_cifti
from .endings import MAPS, ending_of
from .gifti import visit_arrays
from .grayordinates import Grayordinates
from .series import ImageSeries, Series, same_affine

_TABLES = (".tsv", ".csv", ".ctab", ".lut", ".txt")
"""Endings of tables of labels."""


class OtherGridError(InputError):
    """A map lies on another grid than the betas."""


@dataclass(frozen=True)
class ImageMap:
    """One map.

    Args:
        path: The file.
        values: float64 (n,), in the C order of the grid; NaN where it says nothing.
        shape: Of that grid, such as (X, Y, Z).
        names: Of the numbers that are labels, where the file itself tells them.
        affine: From voxels to millimetres, float64 (4, 4), of a volume.
        step: Between the values that the file can hold, where it stores whole numbers with a scale; else 0.
    """

    path: Path
    values: np.ndarray
    shape: tuple[int, ...]
    names: dict[int, str] | None = None
    affine: np.ndarray | None = None
    step: float = 0

    @property
    def mask(self) -> np.ndarray:
        """Where a map of 0 and 1 is 1, bool (n,); where it was stored as whole numbers with a scale, nearly so."""
        return np.nan_to_num(self.values) > 0.5

    def labels(self, meaning: str) -> np.ndarray:
        """Whole numbers, int64 (n,); what is not above 0 is in no label.

        Args:
            meaning: For the message.

        Raises:
            InputError: Some values are no whole numbers.
        """
        values = np.clip(np.nan_to_num(self.values, nan=0, posinf=np.inf, neginf=-np.inf), -1, 2**31)
        labels = np.rint(values)
        wrong = values[np.abs(labels - values) > np.clip(_half(self.step), 1e-3, 0.25)]
        if len(wrong):
            raise InputError(
                f"{self.path}: expected {meaning} of whole numbers, found {wrong[0]:.6g}; give a mask or an atlas"
            )
        return np.maximum(labels, 0).astype(np.int64)


def read_map(path: Path, like: Series) -> ImageMap:
    """Read a map that lies on the same grid as betas.

    Args:
        path: The file.
        like: The betas.

    Raises:
        InputError: The file is missing, damaged, or of another grid.
    """
    ending = ending_of(path)
    if ending not in MAPS:
        raise InputError(f"{path}: expected a map, found a file that is none of {' '.join(MAPS)}; convert it")
    if not path.is_file():
        raise InputError(f"{path}: expected a map, found no such file; put it there or correct the flag")
    if ending in (".dscalar.nii", ".dtseries.nii", ".dlabel.nii"):
        return _read_cifti(path, like)
    found = _read_gifti(path) if ".gii" in ending else _read_volume(path)
    _check_grid(found, like)
    return found


def _read_volume(path: Path) -> ImageMap:
    import nibabel

    try:
        image: Any = nibabel.load(path)  # type: ignore[attr-defined]
        proxy = image.dataobj
        values, step = _values(proxy)
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(
            f"{path}: expected a map, found a file that cannot be read ({one_line(error)}); copy it again"
        ) from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise InputError(f"{path}: expected one volume or surface map, found {values.shape}; give one map per file")
    affine = None if ending_of(path) in (".mgh", ".mgz") else np.asarray(image.affine, dtype=np.float64)
    return ImageMap(path, values.ravel(), values.shape, None, affine, step)


def _values(proxy: Any) -> tuple[np.ndarray, float]:
    """What nibabel reads, float64, and `ImageMap.step`; 0 and NaN, which a scale has made almost 0, are 0."""
    values = np.asarray(proxy, dtype=np.float64)
    slope, intercept = float(getattr(proxy, "slope", 1)), float(getattr(proxy, "inter", 0))
    if np.dtype(proxy.dtype).kind not in "iu" or (slope, intercept) == (1, 0):
        return values, 0
    values[np.abs(values) <= _half(slope)] = 0
    return values, abs(slope)


def _half(step: float) -> float:
    """Half of a step between stored values, with room for rounding where a value lies halfway between two."""
    return abs(step) / 2 * 1.001


def _read_gifti(path: Path) -> ImageMap:
    import nibabel

    arrays: list[np.ndarray] = []
    count = visit_arrays(path, lambda _, array: bool(arrays.append(array.data)) or len(arrays) < 2)
    if count != 1 or len(arrays) != 1 or arrays[0].ndim != 1:
        raise InputError(f"{path}: expected one map, found {count} arrays; give one map per file")
    image: Any = nibabel.load(path)  # type: ignore[attr-defined]
    names = {int(key): name for key, name in image.labeltable.get_labels_as_dict().items()}
    return ImageMap(path, arrays[0].astype(np.float64), arrays[0].shape, names or None)


def _read_cifti(path: Path, like: Series) -> ImageMap:
    if not isinstance(like, CiftiSeries):
        raise OtherGridError(
            f"{path}: expected a map of the same kind as {like.path.name}, found a CIFTI file; convert it"
        )
    image, axes = open_cifti(path)
    own = Grayordinates.of(axes[-1], path)
    values, step = _values(image.dataobj)
    if values.shape != (1, len(own)):
        raise InputError(f"{path}: expected one map, found {values.shape[0]}; give one map per file")
    table = getattr(axes[0], "label", None)
    names = None if table is None else {int(key): name for key, (name, _) in table[0].items()}
    places = own.find(like.grayordinates)
    if (places < 0).all():
        raise OtherGridError(
            f"{path}: expected grayordinates of {like.path.name}, found none of {len(places)}; use one space"
        )
    return ImageMap(path, np.where(places >= 0, values[0][places], np.nan), like.shape, names, step=step)


def _check_grid(found: ImageMap, like: Series) -> None:
    expected = f"{found.path}: expected the grid of {like.path.name}"
    if isinstance(like, CiftiSeries):
        raise OtherGridError(f"{expected}, grayordinates, found a volume or a surface; convert it to CIFTI")
    if _without_ones(found.shape) != _without_ones(like.shape):
        raise OtherGridError(
            f"{expected}, {like.shape}, found {found.shape}; give one of the same space and resolution"
        )
    affine = like.affine if isinstance(like, ImageSeries) else None
    if not same_affine(affine, found.affine):
        raise OtherGridError(f"{expected}, found another affine; give one of the same space and resolution")


def _without_ones(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the axes of size 1 at its end: vertices are (n,) in one format and (n, 1, 1) in another."""
    return _without_ones(shape[:-1]) if shape[-1:] == (1,) else shape


def map_on(path: Path, like: Series) -> ImageMap | None:
    """As `read_map`; None where the map is of another grid."""
    try:
        return read_map(path, like)
    except OtherGridError:
        return None


def read_names(path: Path) -> dict[int, str] | None:
    """Names of an atlas's labels in a table beside it; None where there is none.

    Tables are BIDS's (`index` and `name` in a `.tsv` of the same name) and FreeSurfer's (a number and a name in each
    line of `.ctab`, `.lut` or `.txt`).

    Raises:
        InputError: The table cannot be read.
    """
    stems = (path.name, path.name[: len(path.name) - len(ending_of(path))])
    for table in (path.with_name(f"{stem}{end}") for stem in stems for end in _TABLES):
        if table.is_file():
            return _names_in(table)
    return None


def _names_in(table: Path) -> dict[int, str]:
    lines = table.read_text(encoding="utf-8-sig", errors="replace").splitlines()
    kept = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    number, name = 0, 1
    if table.suffix.lower() in (".tsv", ".csv"):
        rows = list(csv.reader(kept, delimiter="\t" if table.suffix.lower() == ".tsv" else ","))
        header = [word.strip().lower() for word in rows.pop(0)] if rows else []
        if not {"index", "name"} <= set(header):
            raise InputError(f"{table}: expected the columns index and name, found {', '.join(header)}; correct them")
        number, name = header.index("index"), header.index("name")
    else:
        rows = [line.split() for line in kept]
    names: dict[int, str] = {}
    for row in rows:
        if len(row) <= max(number, name) or not re.fullmatch(r"-?[0-9]+", row[number].strip()):
            raise InputError(f"{table}: expected a number and a name in each line, found {' '.join(row)!r}; correct it")
        names[int(row[number])] = row[name].strip()
    return names
