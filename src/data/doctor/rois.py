"""Do the ROIs name targets once each, and say anything?"""

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from .case import Case
from .symptom import Symptom, several


def check(case: Case) -> Iterator[Symptom]:
    """ROIs without targets, with all, equal ones, rows of the table that stand twice."""
    named = [(f"{roi.hemisphere} {roi.name}".strip(), roi.targets) for roi in case.rois]
    if not named or not case.num_targets:
        return
    empty = [name for name, targets in named if not len(targets)]
    if empty:
        found = f"{len(empty)} of {len(named)} ROIs are empty ({', '.join(empty)})"
        remedy = "usual where a subject lacks an area: they are left out of the tables"
        yield Symptom("note", "rois", case.rois_file, found, remedy)
    for name in (name for name, targets in named if len(targets) == case.num_targets):
        found = f"{name} holds all {case.num_targets:,} targets"
        remedy = "it says no more than 'all' does: see that other areas' rows were not lost"
        yield Symptom("note", "rois", case.rois_file, found, remedy)
    yield from _equal(case, named)
    if case.rois_file.suffix == ".csv":
        yield from _rows(case.rois_file)
    covered = np.unique(np.concatenate([targets for _, targets in named])).size
    if covered < case.num_targets:
        found = f"{case.num_targets - covered:,} of {case.num_targets:,} targets are in no ROI"
        yield Symptom("note", "rois", case.rois_file, found, "they are scored with all, and in no ROI's row")


def _equal(case: Case, named: Sequence[tuple[str, np.ndarray]]) -> Iterator[Symptom]:
    first: dict[bytes, str] = {}
    pairs = []
    for name, targets in named:
        if len(targets):
            other = first.setdefault(targets.tobytes(), name)
            pairs += [f"{other} and {name}"] if other != name else []
    if pairs:
        found = f"{several(len(pairs), 'ROI')} with the very targets of another ({', '.join(pairs)})"
        yield Symptom("note", "rois", case.rois_file, found, "see whether both names were meant")


def _rows(path: Path) -> Iterator[Symptom]:
    """What the source takes in silence: a row that stands twice."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = Counter(tuple(value.strip() for value in row) for row in csv.reader(file) if row)
    twice = [row for row, count in rows.items() if count > 1]
    if twice:
        found = f"{several(len(twice), 'row')} twice or more, such as {','.join(twice[0])}"
        yield Symptom("warning", "rois", path, found, "harmless in itself; see whether another target was meant")
