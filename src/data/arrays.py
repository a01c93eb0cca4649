"""Arrays on disk: `.npy` files of numbers, mapped and checked."""

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import InputError, one_line

VALUES_PER_CHUNK = 1 << 20  # 4 MB of float32: at 2 threads 12 GB/s from the page cache, half of that in chunks of 1 MB


def open_array(path: Path, axes: tuple[str, ...]) -> np.memmap:
    """Map a `.npy` file of real numbers; only its header is read.

    Args:
        path: The file.
        axes: What each axis counts, such as ("stimuli", "targets").

    Returns:
        The array, mapped read-only, with at least one entry along each axis.

    Raises:
        InputError: The file is missing, damaged, empty, or has another dtype or number of axes.
    """
    expected = f"expected an array ({', '.join(axes)})"
    if not path.is_file():
        raise InputError(f"{path}: {expected}, found no such file; put it there or correct the folder")
    try:
        with np.errstate(over="ignore"):  # a shape that no file has
            array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # NumPy's header parser raises many kinds on a damaged file
        raise InputError(
            f"{path}: {expected}, found a damaged file ({one_line(error)}); copy it again or write it with numpy.save"
        ) from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"{path}: {expected} of integers or floats, found dtype {array.dtype}; convert it to float32")
    if array.ndim != len(axes) or array.size == 0:
        raise InputError(f"{path}: {expected}, none of them 0, found shape {array.shape}; reshape or write it again")
    return array


def check_finite(array: np.memmap, allow_nan: bool = False, if_nan: str = "") -> None:
    """Check that all values are finite as float32, at the speed of the disk.

    The file is read in chunks beside the memory map, so that the process's memory does not grow with the file.

    Args:
        array: As `open_array` returns it.
        allow_nan: Whether NaN is legal (what was not measured).
        if_nan: What else a user can do where the fault is NaN, for the message.

    Raises:
        InputError: Names the first faulty entry and how many there are.
    """
    if array.dtype.kind != "f":
        return
    starts = range(0, array.size, VALUES_PER_CHUNK)
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        faults = list(pool.map(partial(_faults_in_chunk, array, allow_nan), starts))
    positions = [start + first for start, (_, first) in zip(starts, faults, strict=True) if first >= 0]
    if not positions:
        return
    order = "C" if array.flags.c_contiguous else "F"
    index = tuple(int(i) for i in np.unravel_index(positions[0], array.shape, order=order))
    place = f"row {index[0]}, column {index[1]}" if array.ndim == 2 else f"index {', '.join(map(str, index))}"
    expected = "finite float32 values" + (" or NaN" if allow_nan else "")
    raise InputError(
        f"{array.filename}: expected {expected}, found {array[index]} at {place} (counted from 0) and "
        f"{sum(count for count, _ in faults)} such entries in all; remove or correct them"
        f"{if_nan if np.isnan(array[index]) else ''}"
    )


def _faults_in_chunk(array: np.memmap, allow_nan: bool, start: int) -> tuple[int, int]:
    """How many values from `start` on are at fault, and the first one's place in the chunk (-1 where none is)."""
    values = np.fromfile(
        str(array.filename),
        array.dtype,
        count=min(VALUES_PER_CHUNK, array.size - start),
        offset=array.offset + start * array.itemsize,
    )
    with np.errstate(over="ignore", invalid="ignore"):  # a float64 beyond float32 becomes infinite, and is a fault
        values = values.astype(np.float32, copy=False)
    good = np.isfinite(values)
    if good.all():
        return 0, -1
    bad = np.isinf(values) if allow_nan else ~good
    return int(bad.sum()), int(bad.argmax()) if bad.any() else -1
