"""Rows of memory-mapped arrays that are larger than memory, read where they are needed and no more.

A page that is touched and is not in memory is read with some hundred kilobytes around it, which the next pages are
expected to be of. Of rows in a shuffled order they are not: 7 kB rows of a file that memory holds a quarter of are read
160 times over, and each waits for the one before (benchmarks/larger_than_memory.py). So the system is told that rows
are read at random, and is asked for all of a batch at once.
"""

import mmap

import numpy as np


def is_mapped(array: np.ndarray) -> bool:
    """Whether the array's rows can be asked for and forgotten: they lie whole in a memory map."""
    return _extent(array) > 0


def read_at_random(array: np.ndarray) -> bool:
    """Have nothing read around what is touched; returns whether rows can be asked for then, as those of a map can."""
    if not is_mapped(array):
        return False
    array._mmap.madvise(mmap.MADV_RANDOM)  # type: ignore[attr-defined]
    return True


def ask_for(array: np.ndarray, rows: np.ndarray) -> None:
    """Have the system begin to read rows, while what it is asked for next goes on.

    Args:
        array: (n_rows, *shape); one that is not mapped is in memory already.
        rows: In any order, int64 (n,).
    """
    extent = _extent(array)
    if not extent or not len(rows):
        return
    mapped = array._mmap  # type: ignore[attr-defined]
    first = array.ctypes.data - np.frombuffer(mapped, np.uint8).ctypes.data  # byte of the map at which rows begin
    ordered = np.unique(rows)
    starts = ordered[np.r_[True, np.diff(ordered) > 1]]  # of runs of rows that lie side by side
    lasts = ordered[np.r_[np.diff(ordered) > 1, True]]
    begin = (first + starts * array.strides[0]) // mmap.PAGESIZE * mmap.PAGESIZE
    end = first + lasts * array.strides[0] + extent
    for start, length in zip(begin.tolist(), (end - begin).tolist(), strict=True):
        mapped.madvise(mmap.MADV_WILLNEED, start, length)


def forget(array: np.ndarray) -> None:
    """Take what was read of a map, to which nobody writes, out of this process's memory.

    The system keeps in its cache what it has room for, and who reads it again finds it there.
    """
    if is_mapped(array):
        array._mmap.madvise(mmap.MADV_DONTNEED)  # type: ignore[attr-defined]


def _extent(array: np.ndarray) -> int:
    """Bytes from a row's begin to its end in a map; 0 where the array is not mapped, or its rows lie scattered."""
    if not hasattr(mmap, "MADV_WILLNEED") or not isinstance(getattr(array, "_mmap", None), mmap.mmap):
        return 0
    if not array.size or min(array.strides) < 0:
        return 0
    within = zip(array.shape[1:], array.strides[1:], strict=True)
    extent = array.itemsize + sum((count - 1) * stride for count, stride in within)
    return extent if extent <= array.strides[0] else 0
