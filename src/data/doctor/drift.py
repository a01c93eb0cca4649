"""Do responses drift over the rows, as from session to session?"""

from collections.abc import Iterator

import numpy as np

from .case import Case, Table
from .symptom import Symptom

_RUNS, _LEAST_ROWS, _TARGETS = 20, 100, 300
_SHARE, _CLEAR = 0.05, 6.0
"""Share of the mean response's variance, and how many times that of shuffled rows, from which a drift is told."""


def check(case: Case) -> Iterator[Symptom]:
    """Of every table of responses."""
    for table in case.tables:
        yield from _of(table)


def _of(table: Table) -> Iterator[Symptom]:
    """The mean over standardised targets, by runs of rows: what stimuli in no order cannot explain."""
    measures = table.measures
    targets = np.flatnonzero(~measures.constant & (measures.gaps < len(table.array)))
    if len(table.array) < _LEAST_ROWS or not len(targets):
        return
    drawn = np.sort(np.random.default_rng(0).permutation(targets)[:_TARGETS])
    values = np.array(table.array[:, drawn], dtype=np.float64)
    values[~np.isfinite(values)] = np.nan
    mean = np.nan_to_num((values - measures.mean[drawn]) / measures.deviation[drawn]).mean(axis=1)  # (rows,)
    length = len(mean) // _RUNS
    runs = mean[: length * _RUNS].reshape(_RUNS, length).mean(axis=1)
    share = float(runs.var() / mean.var())
    if share > max(_SHARE, _CLEAR / length):
        found = (
            f"the mean response differs between runs of {length} rows, {runs.min():.2f} to {runs.max():.2f} deviations: "
            f"{share:.0%} of its variance"
        )
        remedy = "where rows stand in the order of measurement, z-score each target within its session"
        yield Symptom("note", "drift", table.path, found, remedy)
