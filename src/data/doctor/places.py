"""Can the targets lie where their coordinates say?"""

from collections.abc import Iterator

import numpy as np

from .case import Case
from .symptom import Symptom

_METRES, _HEAD = 0.25, 250.0
"""Extents in mm: a patch of cortex smaller than the one, or larger than the other, is likely in another unit."""

_APART, _MIXED = 0.95, 0.75
"""How often a right target lies right of a left one where an axis tells hemispheres apart, and where it does not."""


def check(case: Case) -> Iterator[Symptom]:
    """Units, targets at one place, hemispheres on their sides, axes in their order."""
    places = case.coordinates
    if places is None or len(places) < 2:
        return
    path = case.coordinates_file
    extent = float(np.ptp(places, axis=0).max())
    distinct = len(np.unique(places, axis=0))
    if distinct == 1:
        yield Symptom("warning", "places", path, "all targets lie at one place", "write each target's own, or no file")
        return
    if distinct < len(places):
        found = f"{len(places) - distinct:,} of {len(places):,} targets share a place with another"
        severity = "warning" if distinct < len(places) / 2 else "note"
        yield Symptom(severity, "places", path, found, "usual for neurons of one electrode; else write each its own")
    if extent < _METRES:
        found = f"they extend over {extent:.3g} mm in all: metres?"
        yield Symptom("warning", "places", path, found, "write millimetres: times 1,000")
    elif extent > _HEAD:
        found = f"they extend over {extent:,.0f} mm, more than a head: micrometres?"
        yield Symptom("warning", "places", path, found, "write millimetres")
    elif np.all(places == np.rint(places)) and places.min() >= 0 and places.max() > 10:
        found = f"whole numbers from {places.min():.0f} to {places.max():.0f}: indices of voxels?"
        yield Symptom("warning", "places", path, found, "write millimetres: apply the volume's affine")
    if not np.ptp(places, axis=0).all():
        flat = "xyz"[int(np.argmin(np.ptp(places, axis=0)))]
        yield Symptom("note", "places", path, f"{flat} is the same for all targets: they lie in a plane")
    yield from _sides(case, places)


def _sides(case: Case, places: np.ndarray) -> Iterator[Symptom]:
    """The left hemisphere lies at negative x."""
    if case.hemispheres is None:
        return
    left, right = places[case.hemispheres == "lh"], places[case.hemispheres == "rh"]
    path = case.coordinates_file
    if not (len(left) and len(right)):
        return
    rightwards = [_larger(right[:, axis], left[:, axis]) for axis in range(3)]
    apart = [max(share, 1 - share) for share in rightwards]
    other = int(np.argmax(apart))
    if other and apart[0] < _MIXED and apart[other] > _APART:
        found = f"{'xyz'[other]} tells the hemispheres apart, and x does not: columns look swapped"
        yield Symptom("warning", "places", path, found, "write them as x (left to right), y, z")
        return
    for name, wrong in (("lh", float(np.mean(left[:, 0] > 0))), ("rh", float(np.mean(right[:, 0] < 0)))):
        if wrong > 0.5:
            found = f"{wrong:.0%} of the targets in {name} at {'positive' if name == 'lh' else 'negative'} x"
            remedy = "left is negative: flip the sign (LPS to RAS), or see that rois.csv does not swap the hemispheres"
            yield Symptom("warning", "places", path, found, remedy)
            return


def _larger(one: np.ndarray, other: np.ndarray) -> float:
    """How often a value of the one lies above a value of the other."""
    place = np.searchsorted(np.sort(other), one)
    return float(place.mean() / len(other))
