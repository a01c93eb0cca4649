"""MATLAB's files: those of version 5, and those of v7.3, which are HDF5.

In these axes stand in reverse, and text is one array of characters per cell.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, one_line
from .hdf5 import dataset_in, is_own, node_in, opened

if TYPE_CHECKING:
    import h5py

_LONGEST = 1000
"""Characters of one text: file names are shorter, and what is longer is no text."""


_NUMBERS = ("double", "single", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
"""What MATLAB calls matrices of numbers."""


def read_texts(file: h5py.File, name: str) -> list[str]:
    """The texts of a field of a struct array, or of a cell array, in order.

    Each is a reference to an array of uint16 characters, which lies in a group of its own.

    Args:
        file: The file.
        name: Of the dataset of references.

    Raises:
        InputError: It holds no references, or one leads to no text.
    """
    import h5py

    references = dataset_in(file, name)
    if h5py.check_ref_dtype(references.dtype) is not h5py.Reference or references.size == 0:
        raise InputError(
            f"{file.filename}: expected {name} to hold references to texts, as MATLAB writes a list of them, found "
            f"{references.dtype} {references.shape}; copy the file again"
        )
    return [_text(file, name, place, each) for place, each in enumerate(np.ravel(references[()]))]


def _text(file: h5py.File, name: str, place: int, reference: h5py.Reference) -> str:
    node = file[reference] if reference else None
    if not is_own(node) or node.dtype != np.uint16 or not 0 < (node.size or 0) <= _LONGEST:
        found = "nothing" if node is None else f"{node.dtype} {node.shape}" if is_own(node) else "a group or a link"
        raise InputError(
            f"{file.filename}: expected entry {place} of {name} (counted from 0) to be a text, found {found}; copy the "
            "file again"
        )
    return np.ravel(node[()]).astype("<u2").tobytes().decode("utf-16-le", errors="replace")


def find_matrix(path: Path, name: str) -> tuple[str, tuple[int, ...]]:
    """A matrix of a file of any version: the one of this name, or else the only one of numbers.

    Args:
        path: The file.
        name: Its usual name.

    Returns:
        Its name and its shape as MATLAB has it.

    Raises:
        InputError: The file is damaged, or holds none or several.
    """
    shapes = _shapes(path)
    named = [name] if name in shapes else list(shapes)
    if len(named) != 1:
        raise InputError(
            f"{path}: expected a matrix {name} of numbers, found {', '.join(shapes) or 'none'}; save it under this name"
        )
    return named[0], shapes[named[0]]


def read_matrix(path: Path, name: str) -> np.ndarray:
    """A matrix with its axes as MATLAB has them.

    Raises:
        InputError: It cannot be read, or is complex.
    """
    if _is_hdf5(path):
        with opened(path) as file:
            return np.asarray(dataset_in(file, name)[()]).T  # HDF5 has the axes reversed
    from scipy.io import loadmat

    try:
        found = loadmat(path, variable_names=[name])[name]
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(f"{path}: expected a complete MATLAB file, found {one_line(error)}; copy it again") from error
    if np.iscomplexobj(found):
        raise InputError(f"{path}: expected {name} of real numbers, found complex ones; save their real part, or abs")
    return found


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Shapes of all matrices of numbers, as MATLAB has them."""
    if _is_hdf5(path):
        with opened(path) as file:
            nodes = {str(name): node_in(file, str(name)) for name in file}  # "#refs#" is a group
            own = {name: node for name, node in nodes.items() if is_own(node) and _holds_numbers(node)}
            return {name: tuple(node.shape or ())[::-1] for name, node in own.items()}
    from scipy.io import whosmat

    try:
        return {name: tuple(shape) for name, shape, kind in whosmat(path) if kind in _NUMBERS}
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(f"{path}: expected a MATLAB file, found {one_line(error)}; copy it again") from error


def _holds_numbers(dataset: h5py.Dataset) -> bool:
    """Texts and truths are whole numbers too, which an attribute tells."""
    kind = dataset.attrs.get("MATLAB_class", b"double")
    return dataset.dtype.kind in "iuf" and (kind.decode() if isinstance(kind, bytes) else str(kind)) in _NUMBERS


def _is_hdf5(path: Path) -> bool:
    import h5py

    return bool(h5py.is_hdf5(path))
