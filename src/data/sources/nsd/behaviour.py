"""The record of behaviour: in which run each trial of the Natural Scenes Dataset was, and what the subject did."""

from dataclasses import dataclass

import numpy as np

from ....table_file import reading_table
from ...trials.columns import numeric_columns
from .tree import NsdTree

_NO_BEHAVIOUR = ("SUBJECT", "SESSION", "RUN", "TRIAL", "73KID", "10KID", "TIME", "MISSINGDATA")
"""Columns that say which trial it is, and which image it shows."""


@dataclass(frozen=True)
class Behaviour:
    """The record of the first trials, as many as it has.

    Args:
        trials: How many it has.
        run: Of each trial within its session, int64 (n,); None where it does not tell.
        columns: What the subject did, by name, float64 (n,), NaN where unknown.
    """

    trials: int
    run: np.ndarray | None
    columns: dict[str, np.ndarray]


def read_behaviour(tree: NsdTree) -> Behaviour | None:
    """Read the record, which `read_design` holds against the design; None where there is none.

    Raises:
        InputError: It is no table.
    """
    import pandas

    path = tree.behaviour
    if not path.is_file():
        return None
    with reading_table(path, "a table of numbers with the column RUN", "\t"):
        table = pandas.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
        columns = numeric_columns({str(name): table[name].tolist() for name in table.columns})
    run = columns.get("RUN")
    return Behaviour(
        len(table),
        None if run is None or not np.isfinite(run).all() else run.astype(np.int64),
        {name: values for name, values in columns.items() if name not in _NO_BEHAVIOUR},
    )
