"""Columns of a table of trials that hold numbers: what a subject did, where it is told in figures."""

from collections.abc import Mapping, Sequence

import numpy as np

_UNKNOWN = ("", "n/a", "na", "nan", "none", "null")
"""Texts of a value that is not known, in lower case."""


def numeric_columns(columns: Mapping[str, Sequence[str]]) -> dict[str, np.ndarray]:
    """Those columns of texts that hold numbers and nothing else, float64 (n_trials,) each, NaN where unknown.

    An index that pandas wrote, a column without a name, is none of them.
    """
    columns = {name: texts for name, texts in columns.items() if name and not name.startswith("Unnamed:")}
    found = {name: _numbers(texts) for name, texts in columns.items()}
    return {name: numbers for name, numbers in found.items() if numbers is not None}


def _numbers(texts: Sequence[str]) -> np.ndarray | None:
    """None where a text is neither a number nor unknown."""
    plain = [text.strip() for text in texts]
    try:
        return np.array([np.nan if text.lower() in _UNKNOWN else float(text) for text in plain])
    except ValueError:
        return None
