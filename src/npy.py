"""New `.npy` files, with their space reserved before anything is written through a memory map."""

import errno
import os
import shutil
from pathlib import Path

import numpy as np

from .errors import FullDisk
from .space import as_bytes


def create_array(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.memmap:
    """Make an array on disk and map it.

    A sparse file that meets a full disk while it is written through a map kills the process without a word
    (SIGBUS), so the space is taken first.

    Raises:
        FullDisk: The disk has too little space.
    """
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    size = path.stat().st_size
    if not hasattr(os, "posix_fallocate"):  # macOS
        return array
    try:
        with path.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, size)
    except OSError as error:
        path.unlink()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        free = as_bytes(shutil.disk_usage(path.parent).free)
        raise FullDisk(
            f"{path.parent}: expected {as_bytes(size)} of space, found {free}; make room, or choose "
            "another place (--data.cache_dir for embeddings)"
        ) from error
    return array
