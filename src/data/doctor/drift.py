"""Do responses drift over the rows, as from session to session?"""

from collections.abc import Iterator

import numpy as np

from .case import Case, Side
from .symptom import Symptom

_RUNS, _LEAST_ROWS, _TARGETS = 20, 100, 300
_SHARE, _CLEAR = 0.05, 6.0
"""Share of the mean response's variance, and how many times that of shuffled rows, from which a drift is told."""


def check(case: Case) -> Iterator[Symptom]:
    """The mean over standardised targets, by runs of rows: what stimuli in no order cannot explain."""
    for side in (side for block in case.blocks for side in block.sides()):
        if side.rows >= _LEAST_ROWS:
            responses = np.nan_to_num(side.standardised(_TARGETS))  # (rows, targets)
            if responses.shape[1]:
                yield from _of(side, responses.mean(axis=1))


def _of(side: Side, mean: np.ndarray) -> Iterator[Symptom]:
    length = len(mean) // _RUNS
    runs = mean[: length * _RUNS].reshape(_RUNS, length).mean(axis=1)
    share = float(runs.var() / mean.var())
    if share > max(_SHARE, _CLEAR / length):
        found = (
            f"the mean response differs between runs of {length} rows, {runs.min():.2f} to {runs.max():.2f} "
            f"deviations: {share:.0%} of its variance"
        )
        remedy = "where rows stand in the order of measurement, z-score each target within its session"
        yield Symptom("note", "drift", side.path, found, remedy)
