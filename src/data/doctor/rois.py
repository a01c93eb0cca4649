"""Do the ROIs name targets once each, and say anything?"""

import csv
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .case import Case
from .symptom import Symptom


def check(case: Case) -> Iterator[Symptom]:
    """ROIs without targets, with all, equal ones, rows of the table that stand twice."""
    for roi in case.rois:
        name = f"{roi.hemisphere} {roi.name}".strip()
        if not len(roi.targets):
            remedy = "usual where a subject lacks an area; it is left out of the tables"
            yield Symptom("note", "rois", case.rois_file, f"{name} is empty", remedy)
        elif len(roi.targets) == case.num_targets:
            found = f"{name} holds all {case.num_targets:,} targets"
            remedy = "it says no more than 'all' does; see that other areas' rows were not lost"
            yield Symptom("note", "rois", case.rois_file, found, remedy)
    yield from _equal(case)
    if case.rois and case.rois_file.suffix == ".csv" and case.rois_file.is_file():
        yield from _rows(case.rois_file)
    if case.rois and case.num_targets:
        covered = np.unique(np.concatenate([roi.targets for roi in case.rois])).size
        if covered < case.num_targets:
            found = f"{case.num_targets - covered:,} of {case.num_targets:,} targets are in no ROI"
            yield Symptom("note", "rois", case.rois_file, found, "they are scored with all, and in no ROI's row")


def _equal(case: Case) -> Iterator[Symptom]:
    members: dict[bytes, str] = {}
    for roi in case.rois:
        name = f"{roi.hemisphere} {roi.name}".strip()
        other = members.setdefault(roi.targets.tobytes(), name) if len(roi.targets) > 1 else name
        if other != name:
            found = f"{name} holds the very targets that {other} holds"
            yield Symptom("warning", "rois", case.rois_file, found, "see which of the two names was meant")


def _rows(path: Path) -> Iterator[Symptom]:
    """What the source takes in silence: a row that stands twice."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        rows = Counter(tuple(value.strip() for value in row) for row in csv.reader(file) if row)
    twice = [row for row, count in rows.items() if count > 1]
    if twice:
        found = f"{len(twice)} rows stand twice or more, such as {','.join(twice[0])}"
        yield Symptom("warning", "rois", path, found, "harmless in itself; see whether another target was meant")
