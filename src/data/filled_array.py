"""FilledArray: an array in the cache that is filled piece by piece, and survives a kill at any moment.

It is named by the hash of what determines its numbers, so whatever changes makes a new one and nothing is ever stale:

    CACHE/KIND/3f9c…/manifest.json     what it holds
    CACHE/KIND/3f9c…/NAME.npy          (rows, *shape)
    CACHE/KIND/3f9c….partial/          the same while it is being filled, with a marker per finished piece

A piece's marker is written after its rows are on disk, and the folder is renamed once every piece has one. Killed at
any moment, the array is absent and the next run computes the missing pieces only. Two processes that fill the same
array write the same numbers to the same places, and the first rename ends it for both.
"""

import json
import os
import shutil
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Literal
from uuid import uuid4

import numpy as np

from ..errors import InputError, one_line
from ..npy import create_array
from .digests import digest_bytes

MANIFEST = "manifest.json"


class FilledArray:
    """One array, complete or being filled.

    Args:
        kind: Folder of all arrays of its kind.
        name: Of the file, without its suffix.
        manifest: What determines the numbers, as plain JSON types.
        shape: (rows, *shape).
        dtype: On disk.
    """

    def __init__(
        self, kind: Path, name: str, manifest: Mapping[str, object], shape: tuple[int, ...], dtype: np.dtype
    ) -> None:
        self.name, self.shape, self.dtype = name, shape, dtype
        self.manifest = {**manifest, "dtype": dtype.name, "shape": list(shape)}
        text = json.dumps(self.manifest, sort_keys=True)
        self.folder = kind / digest_bytes(text.encode())
        self.partial = self.folder.with_suffix(".partial")

    @property
    def complete(self) -> bool:
        return self.folder.is_dir()

    @property
    def missing(self) -> int:
        """Bytes that filling it will take of the disk: 0 where it is complete, or an earlier process began it."""
        if self.complete or (self.partial / f"{self.name}.npy").exists():
            return 0
        return prod(self.shape) * self.dtype.itemsize

    def load(self) -> np.ndarray:
        """Map the array, copy on write so that torch takes it as it is.

        Raises:
            InputError: The file was damaged after it had been written.
        """
        return self._map(self.folder, "c")

    def begin(self) -> None:
        """Make the partial array, or find the one that an earlier or a concurrent process made."""
        self.partial.mkdir(parents=True, exist_ok=True)
        file = self.partial / f"{self.name}.npy"
        if file.exists() or self.complete:
            return
        own = self.partial / f".{uuid4().hex}.npy"
        try:
            create_array(own, self.dtype, self.shape)
        except FileNotFoundError:
            if self.complete:  # another process finished it meanwhile
                return
            raise
        try:
            os.link(own, file)  # unlike a rename, never replaces the file that another process writes to
        except FileExistsError:
            pass
        except OSError:  # a file system without links: only two processes at the very same moment could collide
            if not self.complete:
                own.rename(file)
        finally:
            own.unlink(missing_ok=True)

    def has(self, piece: int) -> bool:
        return self._marker(piece).exists() or self.complete

    def write(self, piece: int, rows: range, values: np.ndarray) -> None:
        """Write one piece's rows, then its marker."""
        if self.has(piece):
            return
        try:
            array = self._map(self.partial, "r+")
            array[rows.start : rows.stop] = values
            array.flush()
            self._marker(piece).touch()
        except FileNotFoundError:
            if not self.complete:  # otherwise another process finished it meanwhile
                raise

    def finish(self, notes: Mapping[str, object] | None = None) -> None:
        """Turn the partial array, all pieces of which are written, into the array.

        Args:
            notes: What else is told of it, in plain JSON types, by names that the manifest has not.
        """
        try:
            (self.partial / MANIFEST).write_text(json.dumps({**self.manifest, **(notes or {})}, indent=1))
            self.partial.rename(self.folder)
        except OSError:
            if not self.complete:  # otherwise another process finished it meanwhile
                raise
            shutil.rmtree(self.partial, ignore_errors=True)  # which this one has begun a moment later
        for leftover in self.folder.glob("done.*"):
            leftover.unlink(missing_ok=True)

    def noted(self, name: str) -> object:
        """What was told of it by this name when it was finished; None where nothing was, or no more."""
        try:
            told = json.loads((self.folder / MANIFEST).read_text())
        except (OSError, ValueError):
            return None
        return told.get(name) if isinstance(told, dict) else None

    def _map(self, folder: Path, mode: Literal["c", "r+"]) -> np.memmap:
        path = folder / f"{self.name}.npy"
        try:
            with np.errstate(over="ignore"):  # a shape that no file has
                array = np.lib.format.open_memmap(path, mode=mode)
            if (array.shape, array.dtype) != (self.shape, self.dtype):
                raise ValueError(f"{array.dtype} {array.shape}")
        except FileNotFoundError:
            raise
        except Exception as error:  # NumPy's header parser raises many kinds on a damaged file
            raise InputError(
                f"{path}: expected {self.dtype} {self.shape}, as it was written, found a damaged file "
                f"({one_line(error)}); delete its folder, and it is made anew"
            ) from error
        return array

    def _marker(self, piece: int) -> Path:
        return self.partial / f"done.{piece}"
