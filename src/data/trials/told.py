"""ToldBeside: noise ceilings that a data set's authors give, beside those that the repeats tell."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...recording import Repeats


@dataclass(frozen=True)
class Told:
    """Noise ceilings of some stimuli's responses, as they were averaged.

    Args:
        name: What tells them, such as "nc_testset of the file".
        ceiling: float64 (n_targets,), a share of variance, NaN where unknown.
        stimuli: Of which stimuli's responses, bool (n_stimuli,).
        together: Whether it is of all of these at once, rather than of any of them.
        path: Where it stands, if in a file of its own.
    """

    name: str
    ceiling: np.ndarray
    stimuli: np.ndarray
    together: bool = False
    path: Path | None = None

    def is_of(self, stimuli: np.ndarray) -> bool:
        """Whether it is of these stimuli (n,)."""
        whole = len(np.unique(stimuli)) == self.stimuli.sum()
        return bool(self.stimuli[stimuli].all()) and (whole or not self.together)


class ToldBeside:
    """Implements `Repeats` of src/recording.py.

    Args:
        repeats: What comes first.
        told: What stands beside it, for exactly the stimuli that it is about.
    """

    def __init__(self, repeats: Repeats, told: Sequence[Told]) -> None:
        self._repeats, self._told = repeats, told

    def ceilings(self, stimuli: np.ndarray) -> Mapping[str, np.ndarray]:
        beside = {each.name: each.ceiling for each in self._told if each.is_of(stimuli)}
        return {**self._repeats.ceilings(stimuli), **beside}

    def presentations(self, stimuli: np.ndarray) -> np.ndarray | None:
        return self._repeats.presentations(stimuli)
