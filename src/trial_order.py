"""TrialOrder: in which order a subject saw its stimuli, when, and what it did: what stands beside the image."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

TIME = ("session", "run", "trial", "repetition")
"""What is known of a trial's time: its session and run, its place in the session, how often its image had been seen."""


@dataclass(frozen=True)
class TrialOrder:
    """The trials behind a recording's responses, in the order in which they were presented.

    It holds no responses: what came before a trial is an image, and what the subject did is its behaviour.

    Args:
        stimulus: The recording's stimulus whose response each trial is part of, int64 (n_trials,); −1 where of none.
        shown: The first stimulus of the recording that shows the trial's image, int64 (n_trials,); −1 where none does.
        session: In which each was presented, int64 (n_trials,).
        run: Likewise; None where the format does not tell.
        behaviour: What the subject did in each trial, by the name of the column, float64 (n_trials,), NaN where
            unknown.
    """

    stimulus: np.ndarray
    shown: np.ndarray
    session: np.ndarray
    run: np.ndarray | None = None
    behaviour: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stimulus)

    def previous(self, count: int) -> np.ndarray:
        """Stimuli that stood before each trial in its session and run, the last one first, int64 (n_trials, count).

        −1 where there was none, or one that the recording does not have.
        """
        place = np.arange(len(self))
        changes = np.diff(self.session, prepend=self.session[:1]) != 0
        if self.run is not None:
            changes |= np.diff(self.run, prepend=self.run[:1]) != 0
        start = np.maximum.accumulate(np.where(changes, place, 0))
        before = place[:, None] - np.arange(1, count + 1)
        return np.where(before >= start[:, None], self.shown[np.maximum(before, 0)], -1)

    def time(self) -> np.ndarray:
        """The columns TIME of each trial, float64 (n_trials, 4), NaN where unknown."""
        runs = np.full(len(self), np.nan) if self.run is None else self.run
        repetition = np.where(self.shown >= 0, times_before(self.shown), np.nan)
        return np.stack([self.session, runs, times_before(self.session), repetition], axis=1).astype(np.float64)


def times_before(values: np.ndarray) -> np.ndarray:
    """How often each value (n,) stands before its own place, int64 (n,)."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    counts = np.diff(np.r_[starts, len(ordered)])
    before = np.empty(len(values), dtype=np.int64)
    before[order] = np.arange(len(values)) - np.repeat(starts, counts)
    return before


def first_that_shows(images: np.ndarray, stimuli: np.ndarray) -> np.ndarray:
    """The first stimulus that shows each trial's image, int64 (n_trials,); −1 where none does.

    Args:
        images: Image of each trial, by number or name (n_trials,).
        stimuli: Image of each stimulus, likewise (n_stimuli,).
    """
    known, first = np.unique(stimuli, return_index=True)
    place = np.minimum(np.searchsorted(known, images), len(known) - 1)
    return np.where(known[place] == images, first[place], -1)
