"""The loader: batches of one subject, gathered into two reused buffers, in the training process, without workers.

A per-item DataLoader costs six times a memcpy on cached embeddings; gathering whole batches costs one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

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
    """Iterates over stimuli in batches of one subject and of nearly equal size.

    All ranks make the same steps, each stimulus is served exactly once per epoch over all ranks, and no batch is
    padded; where stimuli are fewer than ranks a rank's batch may be empty. What the ranks are served in a step is
    together the batch of one process whose batches are as much larger, so a run has the same steps on any number of
    ranks.

    A subject's steps are those that it has alone, in the same order. In training, where there is an order, the steps of
    several are mixed, each subject's spread over the epoch; otherwise one subject follows the other.

    Args:
        stimuli: Positions to serve (n,).
        inputs: What a model sees, by layer; the key "images" alone means raw images.
        respond: Writes the responses of a recording's positions (n,) into a float32 array (n, its targets).
        targets: Which of all targets are each recording's.
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
        respond: Callable[[int, np.ndarray, np.ndarray], object],
        targets: Sequence[slice],
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
        self.targets = targets
        self.category = category
        self.rank = rank
        self.world_size = world_size
        self.order = order
        self.expect = expect
        self.own = [self.stimuli[subject[self.stimuli] == index] for index in range(len(targets))]
        self.sizes = [Sizes(len(own), batch_size, world_size) for own in self.own]
        self.steps = sum(each.steps for each in self.sizes)
        largest = max(each.largest for each in self.sizes)
        widest = max(each.largest * (own.stop - own.start) for each, own in zip(self.sizes, targets, strict=True))
        self._buffers = [
            (
                torch.empty(widest, dtype=torch.float32),
                {layer: torch.empty((largest, *rows.shape), dtype=rows.dtype) for layer, rows in inputs.items()},
            )
            for _ in range(min(2, self.steps))
        ]

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        dealt = self._dealt(None if self.order is None else self.order())
        own = [(subject, np.array_split(served, self.world_size)[self.rank]) for subject, served in dealt]
        for step, (subject, positions) in enumerate(own):
            if self.expect is not None:
                for _, coming in own[step + 1 : step + 2] if step else own[:2]:
                    self.expect(coming)
            yield self._gather(subject, positions, step % 2)

    def _dealt(self, seed: Sequence[int] | None) -> Iterator[tuple[int, np.ndarray]]:
        """Subject and stimuli of each step, those of all ranks together."""
        waiting = []
        for own, sizes in zip(self.own, self.sizes, strict=True):
            if seed is not None:
                own = np.random.default_rng(seed).permutation(own)
            # Splitting evenly over all steps, and each step over the ranks, leaves no tiny last batch, which would
            # weigh as much as a full one in the gradient and break batch norm.
            waiting.append(iter(np.array_split(own, sizes.steps) if sizes.steps else []))
        for subject in self._turns(seed).tolist():
            yield subject, next(waiting[subject])

    def _turns(self, seed: Sequence[int] | None) -> np.ndarray:
        """Subject of each step, int64 (steps,)."""
        subjects = np.repeat(np.arange(len(self.sizes)), [each.steps for each in self.sizes])
        if seed is None:
            return subjects
        drawn = np.random.default_rng([*seed, 1]).random(len(subjects))
        place = np.concatenate([np.arange(each.steps) / max(each.steps, 1) for each in self.sizes])  # in the epoch
        width = np.array([1 / max(each.steps, 1) for each in self.sizes])[subjects]
        return subjects[np.argsort(place + drawn * width, kind="stable")]

    def _gather(self, subject: int, stimuli: np.ndarray, buffer: int) -> Batch:
        count, targets = len(stimuli), self.targets[subject]
        responses, inputs = self._buffers[buffer]
        width = targets.stop - targets.start
        response = responses[: count * width].view(count, width)
        self.respond(subject, stimuli, response.numpy())
        for layer, rows in self.inputs.items():
            rows.gather(stimuli, inputs[layer][:count])
        served = {layer: tensor[:count] for layer, tensor in inputs.items()}
        images = served.pop("images", None)
        category = None if self.category is None else torch.from_numpy(self.category[stimuli])
        return Batch(torch.from_numpy(stimuli), subject, response, served or None, images, category, targets)


@dataclass(frozen=True)
class Sizes:
    """Into how many steps one subject's stimuli are dealt, and how many stimuli a rank has in each.

    Args:
        stimuli: How many there are.
        batch_size: Most stimuli per batch and rank.
        world_size: Ranks.
    """

    stimuli: int
    batch_size: int
    world_size: int

    @property
    def steps(self) -> int:
        """Of an epoch."""
        return -(-self.stimuli // (self.batch_size * self.world_size))

    @property
    def smallest(self) -> int:
        """Fewest stimuli of a batch; 0 where there are none."""
        return self.stimuli // max(self.steps * self.world_size, 1)

    @property
    def largest(self) -> int:
        """Most stimuli of a batch; 0 where there are none."""
        return -(-self.stimuli // max(self.steps * self.world_size, 1))
