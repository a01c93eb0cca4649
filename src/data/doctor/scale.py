"""On what scale do the responses lie: z-scored or not, in one unit, without numbers that stand for gaps?"""

from collections.abc import Iterator

import numpy as np

from .case import Case, Side, Table
from .symptom import Symptom, several, some

_APART = 1e3
"""Deviation over the median target's, or under it, from which a target is likely in another unit."""

_STANDS_FOR_GAP = (99.0, 999.0, 9999.0, 99999.0)
_EXTREME = 6.0
"""Deviations from the mean beyond which such a number is no measurement."""

_DIGITS_LOST = 1e4
"""Mean over deviation from which float32 rounds by more than a 3,000th of the spread."""


def check(case: Case) -> Iterator[Symptom]:
    """Of every table of responses."""
    for table in case.tables:
        varying = _varying(table)
        if len(varying):
            yield from _codes(table, varying)
            yield from _units(table, varying)
            yield from _digits(table, varying)
    for side in (side for block in case.blocks for side in block.sides()):
        yield from _standardised(side)


def _varying(table: Table) -> np.ndarray:
    return np.flatnonzero(~table.measures.constant & np.isfinite(table.measures.deviation))


def _codes(table: Table, varying: np.ndarray) -> Iterator[Symptom]:
    """Numbers such as -999 that stand for what was not measured."""
    measures = table.measures
    for extremes in (measures.lowest, measures.highest):
        away = np.abs(extremes - measures.mean) / measures.deviation
        coded = varying[np.isin(np.abs(extremes[varying]), _STANDS_FOR_GAP) & (away[varying] > _EXTREME)]
        if len(coded):
            found = f"{several(len(coded), 'target')} with {extremes[coded[0]]:g}, far from all else ({some(coded)})"
            remedy = "where it stands for a gap, write NaN: models would learn it"
            yield Symptom("warning", "scale", table.path, found, remedy)


def _units(table: Table, varying: np.ndarray) -> Iterator[Symptom]:
    deviation = table.measures.deviation[varying]
    middle = float(np.median(deviation))
    far = varying[(deviation > _APART * middle) | (deviation < middle / _APART)]
    if len(far):
        found = (
            f"{several(len(far), 'target')} of {_APART:,.0f} times the median target's deviation, or of as little: "
            f"{deviation.min():.3g} to {deviation.max():.3g} ({some(far)})"
        )
        remedy = "see whether they are in another unit, or broken"
        yield Symptom("warning", "scale", table.path, found, remedy)


def _digits(table: Table, varying: np.ndarray) -> Iterator[Symptom]:
    measures, dtype = table.measures, table.array.dtype
    offset = float((np.abs(measures.mean) / measures.deviation)[varying].max())
    if dtype.kind == "f" and dtype.itemsize <= 4 and offset > _DIGITS_LOST:
        found = f"a mean of up to {offset:,.0f} deviations, beside which {dtype} loses digits of the response"
        remedy = "write them from their source as float64, or less their mean"
        yield Symptom("warning", "scale", table.path, found, remedy)


def _standardised(side: Side) -> Iterator[Symptom]:
    varying = [(table.measures, _varying(table)) for table in side.tables]
    mean = np.concatenate([measures.mean[targets] for measures, targets in varying])
    deviation = np.concatenate([measures.deviation[targets] for measures, targets in varying])
    if not len(mean):
        return
    if np.abs(mean).max() < 0.05 and np.abs(deviation - 1).max() < 0.1:
        found = "z-scored over these rows: each target has mean 0 and deviation 1"
        remedy = "where test rows are among them, their mean and scale are known to what is trained"
    else:
        low, high = deviation.min(), deviation.max()
        found = f"not z-scored: means {mean.min():.3g} to {mean.max():.3g}, deviations {low:.3g} to {high:.3g}"
        remedy = "fine: models standardise by the training split"
    yield Symptom("note", "scale", side.path, found, remedy)
