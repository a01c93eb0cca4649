"""Are the noise ceilings shares of variance, all in one unit?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ..noise_ceiling import ceiling_of_mean
from .case import Case
from .symptom import Symptom

_APART = 0.2
"""Mean distance from the ceilings that the repetitions tell, from which these are others."""


def check(case: Case) -> Iterator[Symptom]:
    """Of each file; what its source refuses was said."""
    known = {path: values[np.isfinite(values)] for path, values in case.ceilings.items()}
    for path in [path for path, values in known.items() if not len(values)]:
        yield Symptom("warning", "ceilings", path, "no target's ceiling is known: all are NaN", "write it again")
        del known[path]
    if not known:
        return
    per_cent = {path: values.max() > 1.001 for path, values in known.items()}
    if any(per_cent.values()) and not all(per_cent.values()):
        path = next(path for path, high in per_cent.items() if not high)
        found = f"a maximum of {known[path].max():.3g}, where another file of this subject is in per cent"
        yield Symptom("warning", "ceilings", path, found, "write all in one unit: as it is, both are read as per cent")
    for path, values in known.items():
        yield from _of(path, values, bool(per_cent[path]))
    yield from _beside_repeats(case)


def _of(path: Path, values: np.ndarray, per_cent: bool) -> Iterator[Symptom]:
    above = int((values > 1.001).sum())
    if per_cent and above <= max(1, 0.05 * len(values)) and values.max() < 10:
        found = f"{above} of {len(values)} values above 1, up to {values.max():.3g}, so all are read as per cent"
        remedy = "where they are fractions, cut them at 1"
        yield Symptom("warning", "ceilings", path, found, remedy)
    elif not values.any():
        yield Symptom("warning", "ceilings", path, "all are 0: no target would be scored", "write it again")
    elif len(values) > 2 and np.ptp(values) == 0:
        yield Symptom("warning", "ceilings", path, f"all are {values[0]:.3g}", "write each target's own")
    else:
        unit = "per cent" if per_cent else "fractions"
        found = f"{unit}, {values.min():.3g} to {values.max():.3g}, median {np.median(values):.3g}"
        yield Symptom("note", "ceilings", path, found)


def _beside_repeats(case: Case) -> Iterator[Symptom]:
    told = None if case.repeats is None else ceiling_of_mean(case.repeats)
    if told is None or len(case.ceilings) != 1:
        return
    path, values = next(iter(case.ceilings.items()))
    fractions = values / 100 if np.nanmax(values) > 1.001 else values
    apart = float(np.nanmean(np.abs(fractions - told)))
    if apart > _APART:
        found = f"{apart:.2f} away on average from the ceilings that {case.repeats_file.name} tells"
        remedy = "see that they are shares of variance of the mean response, and these targets' own"
        yield Symptom("warning", "ceilings", path, found, remedy)
