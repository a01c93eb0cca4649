"""Views of stimuli: some of them, in another order, or several times."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..recording import Stimuli


class StimulusView:
    """Stimuli of another list, under names of their own; implements `Stimuli` of src/recording.py.

    Args:
        stimuli: The list.
        index: Which of them, int64 (n,).
        names: One per row (n,); those of the list where not given.
    """

    def __init__(self, stimuli: Stimuli, index: np.ndarray, names: Sequence[str] | None = None) -> None:
        self._stimuli, self._index = stimuli, index
        self.names = [stimuli.names[int(row)] for row in index] if names is None else list(names)
        self.frames = stimuli.frames

    def __len__(self) -> int:
        return len(self._index)

    def read(self, index: int) -> np.ndarray:
        """As the list's."""
        return self._stimuli.read(int(self._index[index]))

    def digests(self, memo: Path | None = None) -> list[str]:
        """As the list's."""
        digests = self._stimuli.digests(memo)
        return [digests[int(row)] for row in self._index]


class JoinedStimuli:
    """Lists of stimuli one after another; implements `Stimuli` of src/recording.py.

    Args:
        parts: The lists, of one kind.
    """

    def __init__(self, parts: Sequence[Stimuli]) -> None:
        self.parts = list(parts)
        self.names = [name for part in parts for name in part.names]
        self.frames = parts[0].frames
        self._starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def read(self, index: int) -> np.ndarray:
        """As the list's that it is of."""
        part = int(np.searchsorted(self._starts, index, side="right")) - 1
        return self.parts[part].read(index - int(self._starts[part]))

    def digests(self, memo: Path | None = None) -> list[str]:
        """As the lists'."""
        return [digest for part in self.parts for digest in part.digests(memo)]


def apart(stimuli: Stimuli) -> list[Stimuli]:
    """The lists that stimuli were joined of."""
    return stimuli.parts if isinstance(stimuli, JoinedStimuli) else [stimuli]


def each_once(lists: Sequence[Stimuli]) -> tuple[list[Stimuli], np.ndarray | None]:
    """Each list without the stimuli that it repeats, as single trials do.

    Args:
        lists: One per recording; a stimulus of two recordings stays in both.

    Returns:
        The lists, and where each stimulus of all lists, one after another, stands among what is left of them, int64
        (n,); None where no list repeats any.
    """
    left: list[Stimuli] = []
    index, start = [], 0
    for stimuli in lists:
        _, first, same = np.unique(np.asarray(stimuli.digests()), return_index=True, return_inverse=True)
        order = np.argsort(first)  # of first appearance
        place = np.empty_like(order)
        place[order] = np.arange(len(order))
        index.append(start + place[same])
        left.append(stimuli if len(first) == len(stimuli) else StimulusView(stimuli, first[order]))
        start += len(first)
    joined = np.concatenate(index)
    return left, None if start == len(joined) else joined
