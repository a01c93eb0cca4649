"""The loader: batches gathered into two reused buffers, in the training process, without workers.

A per-item DataLoader costs six times a memcpy on cached embeddings; gathering whole batches costs one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from ..batch import Batch
from ..mapped import ask_for, forget, is_mapped, read_at_random

LARGE = 2**30  # bytes of a memory map of which no more than LEFT are left in a process's memory
LEFT = 2**28


class Rows:
    """Arrays stacked along their first axis, gathered by row without being joined in memory.

    What was read of large memory maps is taken out of the process's memory from time to time, for a model that keeps
    what it is given. The system keeps in its cache what it has room for, and who reads it again finds it there.

    Args:
        arrays: Each (n_i, *shape) of one dtype, often memory maps; at least one.
        index: Which of their rows each row here is, int64 (n,), where several may be one; None where they are all.
    """

    def __init__(self, arrays: Sequence[np.ndarray], index: np.ndarray | None = None) -> None:
        self.index = index
        self.own = arrays
        self.at_random = False
        self.arrays = [torch.from_numpy(array) for array in arrays]
        self.starts = np.cumsum([0, *(len(array) for array in arrays)])
        self.shape = tuple(arrays[0].shape[1:])
        self.dtype = self.arrays[0].dtype
        self.large = [array for array in arrays if array.nbytes >= LARGE and is_mapped(array)]
        self.unreleased = 0  # bytes

    def __len__(self) -> int:
        return int(self.starts[-1]) if self.index is None else len(self.index)

    def read_at_random(self) -> None:
        """Say that all of them are more than memory holds: see src/mapped.py."""
        told = [read_at_random(array) for array in self.own]
        self.at_random = any(told)

    def expect(self, rows: np.ndarray) -> None:
        """Begin to read rows (n,) that are gathered soon, where they are read at random."""
        if not self.at_random:
            return
        rows = rows if self.index is None else self.index[rows]
        for array, start, stop in zip(self.own, self.starts[:-1], self.starts[1:], strict=True):
            ask_for(array, rows[(rows >= start) & (rows < stop)] - start)

    def gather(self, rows: np.ndarray, out: Tensor) -> None:
        """Copy rows (n,) into `out` (n, *shape)."""
        if self.large and self.unreleased + out.nbytes > LEFT:
            self.release()
        self.unreleased += out.nbytes
        self.expect(rows)
        rows = rows if self.index is None else self.index[rows]
        if len(self.arrays) == 1:
            torch.index_select(self.arrays[0], 0, torch.from_numpy(rows), out=out)
            return
        for array, start, stop in zip(self.arrays, self.starts[:-1], self.starts[1:], strict=True):
            own = (rows >= start) & (rows < stop)
            if own.any():
                out[torch.from_numpy(own)] = torch.index_select(array, 0, torch.from_numpy(rows[own] - start))

    def release(self) -> None:
        """Take the large memory maps, to which nobody writes, out of this process's memory."""
        for each in self.large:
            forget(each)
        self.unreleased = 0


class BatchLoader:
    """Iterates over stimuli in batches of nearly equal size.

    All ranks make the same number of steps, each stimulus is served exactly once per epoch over all ranks, and
    no batch is padded; where stimuli are fewer than ranks a rank's batch may be empty. What the ranks are served in a
    step is together the batch of one process whose batches are as much larger, so a run has the same steps on any
    number of ranks.

    Args:
        stimuli: Positions to serve (n,).
        inputs: What a model sees, by layer; the key "images" alone means raw images.
        respond: Writes the responses of positions (n,) into a float32 array (n, num_targets).
        num_targets: Columns of the responses.
        subject: Recording of each position, int64.
        category: Category of each position, int64, -1 where unknown; None where there are none.
        batch_size: Most stimuli per batch and rank.
        rank: This process's rank, of `world_size`.
        world_size: Number of processes that share the stimuli.
        order: Seed of the present epoch's order, asked at the start of each epoch; None keeps the given order.
        expect: Told the positions of the batch after the one that is gathered next; None where nobody wants to know.
    """

    def __init__(
        self,
        stimuli: np.ndarray,
        inputs: Mapping[str, Rows],
        respond: Callable[[np.ndarray, np.ndarray], object],
        num_targets: int,
        subject: np.ndarray,
        category: np.ndarray | None,
        batch_size: int,
        rank: int = 0,
        world_size: int = 1,
        order: Callable[[], Sequence[int]] | None = None,
        expect: Callable[[np.ndarray], object] | None = None,
    ) -> None:
        self.stimuli = np.asarray(stimuli, dtype=np.int64)
        self.inputs = inputs
        self.respond = respond
        self.subject = subject
        self.category = category
        self.rank = rank
        self.world_size = world_size
        self.order = order
        self.expect = expect
        self.steps = num_steps(len(self.stimuli), batch_size, world_size)
        largest = -(-len(self.stimuli) // max(self.steps * world_size, 1))
        self._buffers = [
            (
                torch.empty((largest, num_targets), dtype=torch.float32),
                {layer: torch.empty((largest, *rows.shape), dtype=rows.dtype) for layer, rows in inputs.items()},
            )
            for _ in range(min(2, self.steps))
        ]

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        stimuli = self.stimuli
        if self.order is not None:
            stimuli = np.random.default_rng(self.order()).permutation(stimuli)
        # Splitting evenly over all steps, and each step over the ranks, leaves no tiny last batch, which would weigh as
        # much as a full one in the gradient and break batch norm.
        steps = np.array_split(stimuli, self.steps) if self.steps else []
        own = [np.array_split(served, self.world_size)[self.rank] for served in steps]
        for step, positions in enumerate(own):
            if self.expect is not None:
                for coming in own[step + 1 : step + 2] if step else own[:2]:
                    self.expect(coming)
            yield self._gather(positions, step % 2)

    def _gather(self, stimuli: np.ndarray, buffer: int) -> Batch:
        count = len(stimuli)
        responses, inputs = self._buffers[buffer]
        response = responses[:count]
        self.respond(stimuli, response.numpy())
        for layer, rows in self.inputs.items():
            rows.gather(stimuli, inputs[layer][:count])
        served = {layer: tensor[:count] for layer, tensor in inputs.items()}
        images = served.pop("images", None)
        subject = torch.from_numpy(self.subject[stimuli])
        category = None if self.category is None else torch.from_numpy(self.category[stimuli])
        return Batch(torch.from_numpy(stimuli), subject, response, served or None, images, category)


def num_steps(stimuli: int, batch_size: int, world_size: int) -> int:
    """Batches of each rank in an epoch."""
    return -(-stimuli // (batch_size * world_size))
