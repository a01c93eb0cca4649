"""MATLAB's v7.3 files, which are HDF5: axes stand in reverse, and text is one array of characters per cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .hdf5 import dataset_in, is_own

if TYPE_CHECKING:
    import h5py

_LONGEST = 1000
"""Characters of one text: file names are shorter, and what is longer is no text."""


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
