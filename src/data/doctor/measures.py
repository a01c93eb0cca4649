"""Measures: what one pass over a table of responses finds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..digests import digest_bytes

_VALUES_PER_READ = 1 << 22  # 32 MB of float64
_CONSTANT = 1e-6
"""Deviation over mean below which a target does not vary, as far as float32 holds."""


@dataclass(frozen=True)
class Measures:
    """What one pass over a table finds.

    Args:
        mean: Of each target over its measured rows, float64 (targets,), NaN where there are none.
        deviation: Likewise, the population standard deviation.
        lowest, highest: Likewise, the extremes.
        gaps: NaN of each target, int64 (targets,).
        row_gaps: NaN of each row, int64 (rows,).
        infinite: How many values are infinite; the measures of a target are those of its other values.
        digests: Of each row's bytes.
    """

    mean: np.ndarray
    deviation: np.ndarray
    lowest: np.ndarray
    highest: np.ndarray
    gaps: np.ndarray
    row_gaps: np.ndarray
    infinite: int
    digests: Sequence[str]

    @property
    def constant(self) -> np.ndarray:
        """Whether each target is measured and does not vary, bool (targets,)."""
        return self.deviation <= _CONSTANT * np.abs(self.mean)


def measure(array: np.ndarray) -> Measures:
    """Read a table (rows, targets) once, some rows at a time."""
    rows, targets = array.shape
    count, column_gaps, infinite = np.zeros(targets, dtype=np.int64), np.zeros(targets, dtype=np.int64), 0
    total, squares, shift = np.zeros(targets), np.zeros(targets), np.zeros(targets)
    lowest, highest = np.full(targets, np.inf), np.full(targets, -np.inf)
    row_gaps, digests = np.zeros(rows, dtype=np.int64), list[str]()
    step = max(1, _VALUES_PER_READ // targets)
    for start in range(0, rows, step):
        chunk = np.ascontiguousarray(array[start : start + step])
        digests += [digest_bytes(row.tobytes()) for row in chunk]
        values = chunk.astype(np.float64)
        gaps = np.isnan(values)
        unbounded = np.isinf(values)
        infinite += int(unbounded.sum())
        row_gaps[start : start + len(chunk)] = gaps.sum(axis=1)
        column_gaps += gaps.sum(axis=0)
        there = ~(gaps | unbounded)
        lowest = np.minimum(lowest, values.min(axis=0, where=there, initial=np.inf))
        highest = np.maximum(highest, values.max(axis=0, where=there, initial=-np.inf))
        values[~there] = 0
        if not start:  # sums about a value of the target's own cost no digits
            shift = values.sum(axis=0) / np.maximum(there.sum(axis=0), 1)
        values -= shift
        values[~there] = 0
        count += there.sum(axis=0)
        total += values.sum(axis=0)
        squares += np.einsum("rt,rt->t", values, values)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - np.square(mean), 0))
    return Measures(shift + mean, deviation, lowest, highest, column_gaps, row_gaps, infinite, digests)
