"""Does the split leave something to train on and enough to test?"""

from collections import Counter
from collections.abc import Iterator

from ...names import TEST, TRAIN, UNASSIGNED, VALIDATION
from .case import Asked, Case
from .symptom import Symptom, several

_FEW, _TOO_FEW = 20, 3
"""Test stimuli of which a correlation says little, and of which it says nothing."""


def check(case: Case, asked: Asked) -> Iterator[Symptom]:
    """Of a folder's `split.csv`."""
    if case.splits is None:
        return
    counts = Counter(case.splits.tolist())
    path, unlisted = case.splits_file, counts[UNASSIGNED]
    if unlisted and asked.unlisted == "drop":
        found = f"{unlisted} of {len(case.splits)} images not named"
        yield Symptom("note", "splits", path, found, "they and their responses are left out (--data.source.unlisted)")
    if not counts[TRAIN]:
        yield Symptom("error", "splits", path, "no image is in train: nothing is left to train on", "name some")
    tests = counts[TEST]
    if not tests:
        found = "no image is in test: a run would be judged on validation images, by which training was stopped"
        yield Symptom("warning", "splits", path, found, "put a fifth of the images into test, or remove the file")
    elif tests < _TOO_FEW:
        found = f"{several(tests, 'image')} in test, of which a correlation says nothing"
        yield Symptom("warning", "splits", path, found, f"put at least {_FEW} there")
    elif tests < _FEW:
        found = f"only {several(tests, 'image')} in test: intervals of a correlation will be wide"
        yield Symptom("note", "splits", path, found, f"put at least {_FEW} there where you can")
    if 0 < counts[VALIDATION] < _TOO_FEW:
        found = f"{several(counts[VALIDATION], 'image')} in validation, by which training is stopped"
        yield Symptom("warning", "splits", path, found, "put more there, or none: a seeded tenth is drawn then")
