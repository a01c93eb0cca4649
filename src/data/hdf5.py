"""HDF5 files from anywhere: opened with one-line errors, and read only where their data lie in the file itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

from ..errors import InputError, one_line

if TYPE_CHECKING:
    import h5py


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """The file, open for reading; what the library finds wrong is one line."""
    import h5py

    try:
        with h5py.File(path, "r", locking="best-effort") as file:
            yield file
    except InputError:
        raise
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:  # TypeError: of a kind NumPy has not
        raise InputError(
            f"{path}: expected a complete HDF5 file, found one that cannot be read ({one_line(error)}); copy it again"
        ) from error


def dataset_in(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset that lies in the file itself: a link would open whatever file its author names.

    Args:
        file: The file.
        name: Of the dataset, with the groups above it, such as "train_imgs/things_path".

    Raises:
        InputError: There is none, or it lies elsewhere.
    """
    node = node_in(file, name)
    if not is_own(node):
        found = "a group or a link" if node is not None or name in file else ", ".join(file) or "nothing"
        raise InputError(
            f"{file.filename}: expected a dataset {name} in the file itself, found {found}; copy the file again"
        )
    return node


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
