"""HDF5 files from anywhere: opened with one-line errors, and read only where their data lie in the file itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ..errors import InputError, one_line

if TYPE_CHECKING:
    import h5py


_SMALL = 1 << 26
_DENSEST = 100
"""How many times larger than the whole file a dataset may be, beyond 64 MB: numbers that were measured are not even
ten times smaller when they are compressed, and zeros are a thousand times."""


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; what the library finds wrong is one line."""
    import h5py

    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError, OverflowError) as error:
        # TypeError: of a kind that NumPy has not
        raise InputError(
            f"{path}: expected a complete HDF5 file, found one that cannot be read ({one_line(error)}); copy it again"
        ) from error


def dataset_in(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset that lies in the file itself: a link would open whatever file its author names.

    Args:
        file: The file.
        name: Of the dataset, with the groups above it, such as "train_imgs/things_path".

    Raises:
        InputError: There is none, it lies elsewhere, or the file is far too small for it.
    """
    node = node_in(file, name)
    if not is_own(node):
        found = "a group or a link" if node is not None or name in file else ", ".join(file) or "nothing"
        raise InputError(
            f"{file.filename}: expected a dataset {name} in the file itself, found {found}; copy the file again"
        )
    _check_size(file, name, node)
    return node


def _check_size(file: h5py.File, name: str, dataset: h5py.Dataset) -> None:
    """Refuse what is of no size that the file could hold: of what was never written nothing is on disk."""
    held = file.id.get_filesize()
    if (dataset.nbytes if dataset.shape is not None else 0) > _SMALL + _DENSEST * held:
        raise InputError(
            f"{file.filename}: expected {name} of a size that a file of {held:,} bytes can hold, found "
            f"{dataset.dtype} {dataset.shape}, {dataset.nbytes:,} bytes; copy the file again, or write it with less "
            "compression"
        )


def node_in(file: h5py.File, name: str) -> Any:
    """A dataset or group that is reached without any link out of the file; None where there is none."""
    import h5py

    node: Any = file
    for part in name.split("/"):
        there = isinstance(node, h5py.Group) and isinstance(node.get(part, getlink=True), h5py.HardLink)
        node = node[part] if there else None
    return node


def is_own(node: Any) -> TypeGuard[h5py.Dataset]:
    """Whether it is a dataset whose values lie in the file itself."""
    import h5py

    return isinstance(node, h5py.Dataset) and not node.is_virtual and not node.external
