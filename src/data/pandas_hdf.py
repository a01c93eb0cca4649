"""Frames that pandas wrote to HDF5 (`DataFrame.to_hdf`, format "fixed"), read without pandas.

`pandas.read_hdf` runs what it finds: names of columns that are no plain texts are pickles, and a pickle may call
anything. Here numbers are read as HDF5 arrays, and names by the restricted unpickler.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from .hdf5 import dataset_in, is_own, node_in, opened
from .unpickle import read_pickle

if TYPE_CHECKING:
    import h5py

_VALUES = 1 << 23  # read at a time: 64 MB of float64
_GAP = 32  # rows between two that are wanted, up to which they are read in one go


@dataclass(frozen=True)
class Block:
    """Columns of one dtype, which lie in one array.

    Args:
        path: The file.
        name: Of the array (rows, columns), with its group.
        columns: Names, in order.
        rows: How many there are.
    """

    path: Path
    name: str
    columns: tuple[str, ...]
    rows: int

    def read(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Some values, as they are stored.

        Args:
            rows: Sorted, int64 (n,).
            columns: Places in `columns`, int64 (m,).

        Returns:
            (n, m).

        Raises:
            InputError: The file is damaged.
        """
        low, high = int(columns.min()), int(columns.max()) + 1
        with opened(self.path) as file:
            dataset = dataset_in(file, self.name)
            found = np.empty((len(rows), len(columns)), dtype=dataset.dtype)
            for own in _runs(rows, max(1, _VALUES // (high - low))):
                start, stop = rows[own.start], rows[own.stop - 1] + 1
                found[own] = dataset[start:stop, low:high][np.ix_(rows[own] - start, columns - low)]
        return found


def _runs(rows: np.ndarray, most: int) -> Iterator[slice]:
    """Places of rows that are read in one go."""
    start = 0
    for place in range(1, len(rows) + 1):
        if place == len(rows) or rows[place] - rows[place - 1] > _GAP or rows[place] - rows[start] >= most:
            yield slice(start, place)
            start = place


def read_blocks(path: Path) -> list[Block]:
    """The blocks of the one frame that a file holds; headers and names alone are read.

    Raises:
        InputError: The file is damaged, or holds no such frame.
    """
    with opened(path) as file:
        kinds = {str(name): _says(node_in(file, str(name))) for name in file}
        frames = [name for name, kind in kinds.items() if kind == "frame"]
        if len(frames) != 1:
            found = ", ".join(f"{name} ({kind or 'no frame'})" for name, kind in kinds.items()) or "nothing"
            raise InputError(
                f'{path}: expected one pandas DataFrame, written by to_hdf in format "fixed", found {found}; copy it '
                "again, or write it so"
            )
        group = node_in(file, frames[0])
        rows = (dataset_in(file, f"{frames[0]}/axis1").shape or (0,))[0]
        places = [str(each).removesuffix("_values") for each in group if str(each).endswith("_values")]
        return [_block(file, path, f"{frames[0]}/{place}", rows) for place in sorted(places)]


def _says(node: Any) -> str:
    """What pandas says of a group, in plain bytes or text."""
    said = getattr(node, "attrs", {}).get("pandas_type", b"")
    return said.decode(errors="replace") if isinstance(said, bytes) else str(said)


def _block(file: h5py.File, path: Path, place: str, rows: int) -> Block:
    values = dataset_in(file, f"{place}_values")
    columns = _names(dataset_in(file, f"{place}_items"), path)
    if values.shape != (rows, len(columns)) or values.dtype.kind not in "iuf":
        raise InputError(
            f"{path}: expected {place}_values ({rows}, {len(columns)}) of numbers, one row per row of the frame and "
            f"one column per name, found {values.dtype} {values.shape}; copy it again"
        )
    return Block(path, f"{place}_values", columns, rows)


def _names(items: h5py.Dataset, path: Path) -> tuple[str, ...]:
    """Names of columns: bytes, numbers, or one pickle of both."""
    import h5py

    if h5py.check_vlen_dtype(items.dtype) == np.uint8 and items.shape == (1,) and is_own(items):
        found = read_pickle(io.BytesIO(items[0].tobytes()), path)
    else:
        found = items[()] if items.dtype.kind in "iuS" else None
    if not isinstance(found, np.ndarray | list | tuple) or np.ndim(found) != 1:
        raise InputError(f"{path}: expected names of columns, found {items.dtype} {items.shape}; copy it again")
    return tuple(each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in found)
