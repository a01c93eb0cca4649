"""Are the responses the mean of the single presentations that stand beside them?"""

from collections.abc import Iterator

import numpy as np

from .case import Case
from .symptom import Symptom, several, some

_ALIKE = 0.98
"""Correlation of responses and mean from which they are the same measurement, standardised or not."""

_SHIFTS = (1, -1, 2, -2)
_TARGETS = 300


def check(case: Case) -> Iterator[Symptom]:
    """Responses against the mean over repetitions, target by target, and the repetitions' own gaps."""
    repeats = case.repeats
    if repeats is None:
        return
    yield from _presentations(case, repeats)
    alike = [table for table in case.tables if table.array.shape == repeats.shape[::2]]
    if not alike or alike[0].path == case.repeats_file:
        return
    table = alike[0]
    varying = np.flatnonzero(~table.measures.constant & (table.measures.gaps < len(table.array) / 2))
    targets = np.sort(np.random.default_rng(0).permutation(varying)[:_TARGETS])
    if not len(targets):
        return
    responses = np.array(table.array[:, targets], dtype=np.float64)
    single = np.array(repeats[:, :, targets], dtype=np.float64)
    there = np.isfinite(single)
    with np.errstate(invalid="ignore"):
        mean = np.where(there, single, 0).sum(axis=1) / there.sum(axis=1)  # (stimuli, targets)
    correlation = _correlation(responses, mean)
    strange = targets[correlation < _ALIKE]
    if not len(strange):
        return
    shifts = {shift: float(np.nanmean(_correlation(responses, np.roll(mean, shift, axis=0)))) for shift in _SHIFTS}
    best = max(shifts, key=lambda shift: shifts[shift])
    if shifts[best] > _ALIKE:
        found = f"responses are the mean of {case.repeats_file.name} {best:+d} rows away: one of the two is shifted"
        yield Symptom("error", "repeats", table.path, found, "write both again from the same list of stimuli")
        return
    found = (
        f"{len(strange)} of {len(targets)} targets are not the mean of {case.repeats_file.name} ({some(strange)}): "
        f"correlation {float(np.nanmin(correlation)):.2f} and up"
    )
    remedy = "write both again from the same stimuli, targets and presentations; a run reads the noise ceiling from it"
    yield Symptom("warning", "repeats", table.path, found, remedy)


def _presentations(case: Case, repeats: np.ndarray) -> Iterator[Symptom]:
    """How often each stimulus was presented, of the first targets."""
    counts = np.isfinite(np.asarray(repeats[:, :, :_TARGETS], dtype=np.float64)).any(axis=2).sum(axis=1)  # (stimuli,)
    if not counts.all():
        never = np.flatnonzero(counts == 0)
        found = f"{several(len(never), 'row')} without any presentation ({some(never)})"
        yield Symptom("warning", "repeats", case.repeats_file, found, "leave them out, or --data.source.missing allow")
    if counts.max() < 2:
        found = "no stimulus has a second presentation: it tells no noise ceiling"
        yield Symptom("warning", "repeats", case.repeats_file, found, "give the presentations one by one")
    else:
        found = f"{counts.min()} to {counts.max()} presentations of a stimulus"
        yield Symptom("note", "repeats", case.repeats_file, found)


def _correlation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Of each column of two arrays (n, targets), over the rows that both have; NaN where one does not vary."""
    there = np.isfinite(one) & np.isfinite(other)
    count = there.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        first, second = (
            np.where(there, each - np.where(there, each, 0).sum(axis=0) / count, 0) for each in (one, other)
        )
        return (first * second).sum(axis=0) / np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
