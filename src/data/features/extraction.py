"""Extraction: which features a run serves, where they lie in the cache, and what filling it takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np

from ...encoders.base import part_layer
from ...recording import Stimuli
from .batch_that_fits import AT_ONCE, BatchThatFits
from .cache_entry import CHUNK, Entry
from .embeddings import Entries


@dataclass(frozen=True)
class Extraction:
    """What is to be served of stimuli.

    Args:
        stimuli: Lists of them, each without what it repeats.
        index: Where each stimulus stands among those of all lists, int64 (n,); None where it is in order.
        entries: Of each list, where its features or decoded images lie or will lie.
    """

    stimuli: Sequence[Stimuli]
    index: np.ndarray | None
    entries: Sequence[Entries]

    @property
    def missing(self) -> dict[str, int]:
        """Bytes that the cache lacks, by layer; lists of the same stimuli share an entry."""
        found: dict[str, int] = {}
        for layer, entry in {entry.folder: (layer, entry) for layer, entry in self._all()}.values():
            if entry.missing:
                found[layer] = found.get(layer, 0) + entry.missing
        return found

    @property
    def to_encode(self) -> int:
        """Stimuli of which something is not complete."""
        return sum(len(own) for own, entries in zip(self.stimuli, self.entries, strict=True) if _incomplete(entries))

    @property
    def stimulus_bytes(self) -> int:
        """Bytes that the cache holds of one stimulus, over all layers."""
        own = [entry for of_part in self.entries[0].values() for entry in of_part.values()]
        return sum(prod(entry.shape[1:]) * entry.dtype.itemsize for entry in own)

    @property
    def bytes(self) -> int:
        """Bytes of all entries, complete or not."""
        return sum({entry.folder: prod(entry.shape) * entry.dtype.itemsize for _, entry in self._all()}.values())

    @property
    def working_bytes(self) -> int:
        """Bytes of memory while it is filled, beside the encoder: two chunks decoded, one of features some times over.

        Features are float32 by batch, joined, and cut to the cache's precision.
        """
        for own, entries in zip(self.stimuli, self.entries, strict=True):
            if _incomplete(entries):
                stimuli = max(1, CHUNK // (own.frames or 1))
                return stimuli * (2 * own.read(0).nbytes + 5 * self.stimulus_bytes)
        return 0

    def at_once(self, asked: int | None) -> int:
        """Images that were encoded at a time: as many as asked for, or else as the cache remembers.

        Args:
            asked: Images per forward pass; None where nobody said.
        """
        usual = BatchThatFits(asked).size
        if asked is not None:
            return usual
        noted = (entry.noted(AT_ONCE) for _, entry in self._all())
        return min((size for size in noted if isinstance(size, int) and size > 0), default=usual)

    def _all(self) -> Iterator[tuple[str, Entry]]:
        for entries in self.entries:
            for part, of_part in entries.items():
                for layer, entry in of_part.items():
                    yield part_layer(part, layer), entry


def _incomplete(entries: Entries) -> bool:
    return not all(entry.complete for of_part in entries.values() for entry in of_part.values())
