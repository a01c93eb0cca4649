"""What is wrong with the responses' numbers: their kind, gaps, targets that never vary, what stands twice?"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from .case import Asked, Case, Table
from .symptom import Symptom, several, some

_COMPARED = 64
"""Rows in which targets of the very same mean and deviation are compared."""

_FEW = 5
"""Targets below which two rows may be equal by chance, where responses are counts."""


def check(case: Case, asked: Asked) -> Iterator[Symptom]:
    """Of every table of responses."""
    for table in case.tables:
        yield from _kind(table)
        yield from _gaps(table, asked)
        yield from _constant(table)
        yield from _equal_targets(table)
        yield from _equal_rows(table)


def _kind(table: Table) -> Iterator[Symptom]:
    dtype = table.array.dtype
    if dtype == np.float16:
        found = "float16, which keeps three digits and ends at 65,504"
        yield Symptom("warning", "numbers", table.path, found, "write them from their source as float32")
    elif dtype.kind in "iu":
        found = f"whole numbers ({dtype})"
        yield Symptom("note", "numbers", table.path, found, "counts are fine; see that nothing was rounded")


def _gaps(table: Table, asked: Asked) -> Iterator[Symptom]:
    """Which rows and targets have NaN: a source that refuses them names the first alone."""
    measures, (rows, targets) = table.measures, table.array.shape
    if measures.infinite:
        found = f"{several(measures.infinite, 'infinite value')}"
        remedy = "find the division by 0, or the number too large for its type"
        yield Symptom("error", "gaps", table.path, found, remedy)
    gaps = int(measures.row_gaps.sum())
    if not gaps:
        return
    whole_rows, whole = np.flatnonzero(measures.row_gaps == targets), np.flatnonzero(measures.gaps == rows)
    scattered = gaps - len(whole_rows) * targets - len(whole) * (rows - len(whole_rows))
    parts = [f"{several(len(whole_rows), 'whole row')} ({some(whole_rows)})"] if len(whole_rows) else []
    parts += [f"{several(len(whole), 'whole target')} ({some(whole)})"] if len(whole) else []
    parts += [f"{scattered:,} here and there"] if scattered else []
    found = f"{gaps:,} of {rows * targets:,} responses are NaN: {', '.join(parts)}"
    if len(whole):
        remedy = "remove targets that were never measured, and count those of rois.csv and the like anew"
        yield Symptom("warning", "gaps", table.path, found, remedy)
        return
    remedy = "a folder's may be NaN where nothing was measured (--data.source.missing allow)"
    yield Symptom("note" if asked.missing == "allow" else "warning", "gaps", table.path, found, remedy)


def _constant(table: Table) -> Iterator[Symptom]:
    constant = np.flatnonzero(table.measures.constant)
    if len(constant):
        found = (
            f"{len(constant):,} of {several(table.array.shape[1], 'target')} without any variation ({some(constant)})"
        )
        remedy = "they are never scored: remove them, or see whether their measurement was lost"
        yield Symptom("warning", "constant", table.path, found, remedy)


def _equal_targets(table: Table) -> Iterator[Symptom]:
    measures, array = table.measures, table.array
    groups: dict[tuple[float, float], list[int]] = defaultdict(list)
    for target in np.flatnonzero(~measures.constant & (measures.gaps < len(array))).tolist():
        groups[float(measures.mean[target]), float(measures.deviation[target])].append(target)
    first = np.array(array[:_COMPARED], dtype=np.float64)  # a column of a file costs reading all of it
    copies = [
        (group[0], other)
        for group in groups.values()
        for other in group[1:]
        if np.array_equal(first[:, group[0]], first[:, other], equal_nan=True)
    ]
    if copies:
        one, other = copies[0]
        found = f"{several(len(copies), 'target')} equal to another in every row, such as {one} and {other}"
        remedy = "usual where voxels were resampled; else a column was written twice"
        yield Symptom("note", "copies", table.path, found, remedy)


def _equal_rows(table: Table) -> Iterator[Symptom]:
    measures = table.measures
    rows: Sequence[int] = np.flatnonzero(measures.row_gaps < table.array.shape[1]).tolist()
    groups: dict[str, list[int]] = defaultdict(list)
    for row in rows:
        groups[measures.digests[row]].append(row)
    copies = [(group[0], other) for group in groups.values() for other in group[1:]]
    if not copies or len(groups) == 1:  # where all are equal, no target varies, which was said
        return
    one, other = copies[0]
    found = f"{several(len(copies), 'row')} equal to another in every target, such as {one} and {other}"
    remedy = "one stimulus's responses stand in another's place: write the responses again"
    severity = "note" if int((~measures.constant).sum()) < _FEW else "warning"
    yield Symptom(severity, "copies", table.path, found, remedy)
