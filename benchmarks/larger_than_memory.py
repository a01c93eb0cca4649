"""An epoch of embeddings that are four times what memory holds of them, against reading the file from end to end.

Rows in a shuffled order, in batches of 128, from a memory-mapped file, as the loader serves them where a run's features
and responses are more than the memory that is free: each batch is asked for while the one before it is trained on, and
nothing is read around it. Beside it is the same loader that leaves all to the system, as a run does while memory holds
everything. A limit that a container sets is not made here, as that takes rights: whenever a quarter of the file has
been read from the disk, all of it is dropped from the page cache, which a limit would not do.

    uv run python benchmarks/larger_than_memory.py [--gigabytes 1.0] [--batches 300] [--folder DIR]

Measured on 2 cores: rows of 7 kB at .47 of the rate of reading end to end, 52 times the system's own, which reads 166
bytes for each that is wanted; rows of 303 kB at .77 of it, 17 times the system's own. The disk's rate varies by half.
"""

import argparse
import mmap
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from calcarine.data.loader import BatchLoader, Rows
from side_by_side import row

BATCH, MANY = 128, 8  # batches between two looks at what was read


def write(path: Path, width: int, size: float) -> int:
    """A file of about so many bytes; returns its number of rows."""
    rows = int(size) // (4 * width)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, width))
    for start in range(0, rows, 1024):
        array[start : start + 1024] = start
    array.flush()
    os.sync()
    return rows


def forget(path: Path) -> None:
    """Drop a file from the page cache; what is mapped stays there."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_from_disk() -> int:
    """Bytes that this process has had read."""
    lines = Path("/proc/self/io").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def end_to_end(path: Path) -> float:
    """Bytes a second of reading the file in its order."""
    forget(path)
    start, buffer = time.perf_counter(), bytearray(1 << 22)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
    return path.stat().st_size / (time.perf_counter() - start)


def epoch(path: Path, batches: int, ahead: bool) -> tuple[float, float]:
    """Bytes a second that the loader serves, and bytes read from the disk for each of them."""
    forget(path)
    array = np.lib.format.open_memmap(path, mode="c")
    rows, limit = Rows([array]), array.nbytes / 4
    if ahead:
        rows.read_at_random()
    nobody = np.zeros(len(array), dtype=np.int64)
    served = np.random.default_rng(0).permutation(len(array))[: batches * BATCH]
    inputs, one = {"features": rows}, [slice(0, 1)]
    loader = BatchLoader(served, inputs, lambda *_: None, one, nobody, None, BATCH, expect=rows.expect)
    seconds, first = 0.0, read_from_disk()
    last, start = first, time.perf_counter()
    for number, _ in enumerate(loader):
        if number % MANY == 0 and read_from_disk() - last > limit:
            seconds += time.perf_counter() - start
            array._mmap.madvise(mmap.MADV_DONTNEED)
            forget(path)
            last, start = read_from_disk(), time.perf_counter()
    seconds += time.perf_counter() - start
    size = len(served) * array[0].nbytes
    return size / seconds, (read_from_disk() - first) / size


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gigabytes", type=float, default=1.0)
    parser.add_argument("--batches", type=int, default=300)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to be measured; default the system's temporary one")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for what, width in (("1,792 features", 1_792), ("197 tokens of 384", 197 * 384)):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            path = Path(folder) / "features.npy"
            rows = write(path, width, options.gigabytes * 1e9)
            batches = min(options.batches, rows // BATCH)
            print(f"{what}: {rows:,} rows of {4 * width / 1000:.0f} kB, {batches} batches")
            shares, gains = [], []
            for _ in range(options.repetitions):
                whole = end_to_end(path)
                (asked, read), (left, read_left) = epoch(path, batches, True), epoch(path, max(batches // 10, 2), False)
                print(
                    f"  end to end {whole / 1e9:.2f} GB/s; asked for {asked / 1e9:.3f} GB/s, {read:.1f} bytes read for "
                    f"each; left to the system {left / 1e9:.3f} GB/s, {read_left:.1f}"
                )
                shares.append(asked / whole)
                gains.append(asked / left)
            row(f"Four times memory, {what}: rate over that of reading end to end", float(np.median(shares)), "stated")
            row(f"Four times memory, {what}: rate over the system's own", float(np.median(gains)), "≥ 1")


if __name__ == "__main__":
    main()
