"""An epoch of cached embeddings from the loader, against memcpy of the same bytes and a DataLoader of single stimuli.

9,000 stimuli of 1,792 features and 4,000 responses in shuffled batches of 64, in memory as a second epoch has them.
memcpy copies the same rows in the same order, in numpy's C loop; beside it is what rows in the order in which they lie
would take, which no shuffled epoch has. The DataLoader is PyTorch's own with the default collation over a dataset that
is asked for one stimulus at a time, in the training process and with two workers.

    uv run python benchmarks/loader.py [--repetitions 5] [--threads 2]

Measured on 2 cores, other work stopped: 1.34 of memcpy, since the gather takes two threads, 3.5 to 7.3 times the
DataLoader; on one thread .92 and 5.0. Predicted: .9 of memcpy, since a gather reads whole rows of 7 and 16 kB; 8 times
the DataLoader, which makes a tensor of every row and copies each twice.
"""

import argparse

import numpy as np
import torch
from calcarine.data.loader import BatchLoader, Rows
from side_by_side import in_turn, ratio, row, told
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

STIMULI, FEATURES, TARGETS, BATCH = 9_000, 1_792, 4_000, 64


class Stimuli(Dataset):
    """Each stimulus's features and responses."""

    def __init__(self, *tables: Tensor) -> None:
        self.tables = tables

    def __len__(self) -> int:
        return len(self.tables[0])

    def __getitem__(self, index: int) -> list[Tensor]:
        return [table[index] for table in self.tables]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rng = np.random.default_rng(0)
    features = rng.standard_normal((STIMULI, FEATURES), dtype=np.float32)
    responses = rng.standard_normal((STIMULI, TARGETS), dtype=np.float32)
    served = Rows([responses])
    loader = BatchLoader(
        np.arange(STIMULI),
        {"features": Rows([features])},
        lambda _, rows, out: served.gather(rows, torch.from_numpy(out)),
        [slice(0, TARGETS)],
        np.zeros(STIMULI, dtype=np.int64),
        None,
        BATCH,
        order=lambda: [0],
    )
    stimuli = Stimuli(torch.from_numpy(features), torch.from_numpy(responses))
    buffers = [np.empty((BATCH, width), dtype=np.float32) for width in (FEATURES, TARGETS)]
    shuffled = np.random.default_rng([0]).permutation(STIMULI)

    def memcpy(order: np.ndarray) -> None:
        for rows in np.array_split(order, loader.steps):
            for table, buffer in zip((features, responses), buffers, strict=True):
                np.take(table, rows, axis=0, out=buffer[: len(rows)], mode="clip")

    def ours() -> None:
        for _ in loader:
            pass

    def one_by_one(workers: int) -> None:
        for _ in DataLoader(stimuli, batch_size=BATCH, shuffle=True, num_workers=workers):
            pass

    ways = {
        "memcpy": lambda: memcpy(shuffled),
        "memcpy, unshuffled": lambda: memcpy(np.arange(STIMULI)),
        "BatchLoader": ours,
        "DataLoader": lambda: one_by_one(0),
        "DataLoader, 2 workers": lambda: one_by_one(2),
    }
    seconds = in_turn(ways, options.repetitions)
    told(seconds, f"{STIMULI:,} stimuli, {FEATURES:,} features, {TARGETS:,} targets", options.threads)
    row("Cached epoch: memcpy's time over the loader's", ratio(seconds, "memcpy", "BatchLoader"), "≥ 0.90")
    row(
        "Cached epoch: a DataLoader's time over the loader's",
        ratio(seconds, "DataLoader", "BatchLoader"),
        "≥ 5",
    )


if __name__ == "__main__":
    main()
