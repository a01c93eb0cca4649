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
