"""SeriesSession: one session's trials in files of images, one or one for each hemisphere."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ...errors import InputError
from ..digests import digest_bytes
from .series import Series, spanned

_SIEVE, _ENOUGH = 8, 100
"""Trials in which no measured response is the same number: the first few tell it of nearly all targets, and so many of
the others. All trials would be a pass over every file, whenever a data set is opened."""


@dataclass(frozen=True)
class Chosen:
    """Which places of the grid are targets, in their order.

    Args:
        places: In the C order of the grid, on a surface of the target's hemisphere, int64 (num_targets,).
        sides: Hemisphere of each, "" where nothing tells, str (num_targets,).
    """

    places: np.ndarray
    sides: np.ndarray

    def on(self, side: str) -> np.ndarray:
        """Places of one hemisphere's targets, int64 (n,)."""
        return self.places[self.sides == side]


@dataclass(frozen=True)
class SeriesSession:
    """One session's trials at the chosen places; implements `Session` of prepared.py.

    Args:
        name: For people.
        files: By hemisphere, the left one first; "" is a file of both.
        chosen: Which places of them are targets.
        rows: Which of the file's trials are the session's, ascending, int64 (num_trials,); all where not given.
        per_unit: What whole numbers without a scale in their header stand for: so many are one unit.
    """

    name: str
    files: Mapping[str, Series]
    chosen: Chosen
    rows: np.ndarray | None = None
    per_unit: float = 1

    @property
    def num_trials(self) -> int:
        return next(iter(self.files.values())).num_trials if self.rows is None else len(self.rows)

    def identity(self) -> object:
        arrays = [self.chosen.places] if self.rows is None else [self.chosen.places, self.rows]
        digests = [digest_bytes(np.ascontiguousarray(array).data) for array in arrays]
        left = self.chosen.sides.tolist().count("lh")
        return [*(series.stamp() for series in self.files.values()), *digests, left]

    def read(self) -> np.ndarray:
        """See `Session`.

        Raises:
            InputError: A file is damaged, or a target is not measured in some of the session's trials only.
        """
        found = self._read(None)
        faults = ~np.isfinite(found)
        if faults.any():
            trial, target = np.argwhere(faults)[0].tolist()
            number = trial if self.rows is None else int(self.rows[trial])
            raise InputError(
                f"{self._path(target)}: expected each target to be measured in all trials of a session or in none, "
                f"found {found[trial, target]} in trial {number} (counted from 0) and {int(faults.sum())} such values "
                f"in all; copy it again, or leave {self.name} out with --data.source.sessions"
            )
        return found

    def missing(self, still: bool = False) -> np.ndarray:
        """Which targets were not measured in this session, bool (num_targets,): those that are NaN in its first trial.

        Args:
            still: Count those too that are the same number in the first 100 trials: where whole numbers are stored,
                NaN has become one.
        """
        first = self._read(min(_SIEVE, self.num_trials) if still else 1)
        missing = np.isnan(first[0])
        if len(first) > 1:
            suspects = np.flatnonzero((first == first[0]).all(axis=0))
            missing[suspects] = self._still(suspects)
        return missing

    def _still(self, targets: np.ndarray) -> np.ndarray:
        """Which of some targets (n,) have one number in the session's trials, bool (n,)."""
        places, sides = self.chosen.places[targets], self.chosen.sides[targets]
        rows = (np.arange(self.num_trials) if self.rows is None else self.rows)[:_ENOUGH]
        found = np.zeros(len(targets), dtype=bool)
        for side, series in self.files.items():
            own = sides == side if side else np.ones(len(targets), dtype=bool)
            if own.any():
                found[own] = series.still(places[own], rows)
        return found

    def _path(self, target: int) -> Path:
        return (self.files.get(str(self.chosen.sides[target])) or next(iter(self.files.values()))).path

    def _read(self, trials: int | None) -> np.ndarray:
        with ThreadPoolExecutor(len(self.files)) as pool:
            parts = list(pool.map(partial(self._read_side, trials), self.files))
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)

    def _read_side(self, trials: int | None, side: str) -> np.ndarray:
        series = self.files[side]
        rows = np.arange(series.num_trials)[:trials] if self.rows is None else self.rows[:trials]
        span = spanned(rows)
        values = series.read(self.chosen.on(side) if side else self.chosen.places, span)
        if len(rows) < len(span):
            values = values[rows - span.start]
        if series.dtype.kind in "iu" and not series.scaled:
            values /= self.per_unit
        return values
