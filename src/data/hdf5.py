"""HDF5 files from anywhere: opened with one-line errors, and read only where their data lie in the file itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

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
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise InputError(
            f"{path}: expected a complete HDF5 file, found one that cannot be read ({one_line(error)}); copy it again"
        ) from error


def dataset_in(file: h5py.File, name: str) -> h5py.Dataset:
    """A dataset that lies in the file itself: a link would open whatever file its author names."""
    import h5py

    linked = isinstance(file.get(name, getlink=True), h5py.HardLink)
    dataset = file[name] if linked else None
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        found = "a group or a link" if name in file else ", ".join(file) or "nothing"
        raise InputError(
            f"{file.filename}: expected a dataset {name} in the file itself, found {found}; copy the file again"
        )
    return dataset
