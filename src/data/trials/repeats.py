"""Repeats: what presentations of one stimulus after another tell of the noise; implements `Repeats` of recording.py."""

from collections.abc import Mapping

import numpy as np

from ..noise_ceiling import ceiling_of_chunks, ceiling_of_mean, ceiling_of_snr
from ..statistics import in_chunks

REPEATS = "the repeats of these stimuli"


class ArrayRepeats:
    """Repetitions in a rectangle, as a `Folder` has them.

    Args:
        repeats: (rows, repetitions, targets), NaN where missing; may be a memory map.
        rows: Its row of each stimulus, int64 (n_stimuli,); −1 where it has none.
    """

    def __init__(self, repeats: np.ndarray, rows: np.ndarray) -> None:
        self._repeats, self._rows = repeats, rows

    def ceilings(self, stimuli: np.ndarray) -> Mapping[str, np.ndarray]:
        rows = self._rows[stimuli]
        if (rows < 0).any():  # of those that were shown once nothing is known
            return {}
        ceiling = ceiling_of_mean(self._repeats, rows)
        return {} if ceiling is None else {REPEATS: ceiling}

    def presentations(self, stimuli: np.ndarray) -> np.ndarray | None:
        rows = self._rows[stimuli]
        if (rows < 0).any():
            return None
        return np.asarray(self._repeats[rows], dtype=np.float64)


class TrialRepeats:
    """Single trials, any number of each stimulus.

    Args:
        trials: Responses, (n_trials, targets), NaN where not measured; may be a memory map.
        stimulus: Which one each trial showed, int64 (n_trials,); −1 where none of the recording's.
        snr: `ncsnr` of each target from a file (targets,); it stands in where no stimulus is repeated.
    """

    def __init__(self, trials: np.ndarray, stimulus: np.ndarray, snr: np.ndarray | None = None) -> None:
        self._trials, self._snr = trials, snr
        self._table = trial_table(stimulus)

    def ceilings(self, stimuli: np.ndarray) -> Mapping[str, np.ndarray]:
        table = self._table[stimuli]
        counts = (table >= 0).sum(axis=1)
        table = table[:, : counts.max(initial=0)]
        found: dict[str, np.ndarray] = {}
        if (counts > 1).any():
            width = table.shape[1] * self._trials.shape[1]
            chunks = in_chunks(lambda rows: gathered(self._trials, table[rows]), np.arange(len(table)), width)
            ceiling = ceiling_of_chunks(chunks)
            found |= {} if ceiling is None else {REPEATS: ceiling}
        if self._snr is not None:
            found["the files of ncsnr"] = ceiling_of_snr(self._snr, _mean_inverse(counts))
        return found

    def presentations(self, stimuli: np.ndarray) -> np.ndarray | None:
        return gathered(self._trials, self._table[stimuli])


def trial_table(stimulus: np.ndarray) -> np.ndarray:
    """Trials of each stimulus in the order of presentation, int64 (n_stimuli, most repetitions); −1 is none.

    Args:
        stimulus: Which one each trial showed, int64 (n_trials,), from 0; −1 where none.
    """
    trials = np.flatnonzero(stimulus >= 0)
    counts = np.bincount(stimulus[trials])
    order = trials[np.argsort(stimulus[trials], kind="stable")]
    table = np.full((len(counts), counts.max(initial=0)), -1)
    table[np.arange(table.shape[1]) < counts[:, None]] = order
    return table


def gathered(trials: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Trials of some stimuli (n, repetitions): float64 (n, repetitions, targets), NaN where there is none."""
    values = np.asarray(trials[table.ravel()], dtype=np.float64).reshape(*table.shape, -1)
    values[table < 0] = np.nan
    return values


def _mean_inverse(counts: np.ndarray) -> float:
    return float((1 / counts[counts > 0]).mean()) if (counts > 0).any() else np.nan
