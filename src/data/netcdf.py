"""netCDF-4 files, which are HDF5: variables on named axes, read where they lie in the file itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from .hdf5 import dataset_in, is_own, node_in

if TYPE_CHECKING:
    import h5py

_PACKED = ("scale_factor", "add_offset")


def axes_of(file: h5py.File, name: str) -> tuple[str, ...]:
    """The names of a variable's axes.

    Raises:
        InputError: There is no such variable, or its axes have no names.
    """
    variable = dataset_in(file, name)
    try:
        labels = [list(axis.values()) for axis in variable.dims]
    except (KeyError, RuntimeError, ValueError):
        labels = []
    if len(labels) != variable.ndim or any(len(own) != 1 for own in labels):
        raise InputError(
            f"{file.filename}: expected {name} on named axes, as netCDF-4 has them, found {variable.shape} without; "
            "write it with xarray"
        )
    return tuple(str(own[0].name).strip("/") for own in labels)


def read_variable(file: h5py.File, name: str) -> np.ndarray:
    """A variable's numbers, its fill value as NaN, or its texts, str.

    Raises:
        InputError: There is no such variable, or it is packed.
    """
    variable = dataset_in(file, name)
    if any(word in variable.attrs for word in _PACKED):
        raise InputError(f"{file.filename}: expected {name} as plain numbers, found them packed; write it unpacked")
    values = variable[()]
    if values.dtype.kind in "OS":
        flat = [each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in values.ravel()]
        return np.array(flat, dtype=str).reshape(values.shape)
    fill = variable.attrs.get("_FillValue")
    if values.dtype.kind == "f" and fill is not None:
        values[values == np.ravel(fill)[0]] = np.nan
    return values


def names_on(file: h5py.File, axis: str) -> list[str]:
    """The variables that have one axis alone, this one."""
    found = []
    for each in file:
        name = str(each)
        node = node_in(file, name)
        if is_own(node) and node.ndim == 1 and "DIMENSION_LIST" in node.attrs and axes_of(file, name) == (axis,):
            found.append(name)
    return found
