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
        seen: How often each trial's image had been shown before, int64 (n_trials,), where the format knows of more
            trials than these; counted among these where it is None.
        behaviour: What the subject did in each trial, by the name of the column, float64 (n_trials,), NaN where
            unknown.
    """

    stimulus: np.ndarray
    shown: np.ndarray
    session: np.ndarray
    run: np.ndarray | None = None
    seen: np.ndarray | None = None
    behaviour: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.stimulus)

    def starts(self) -> np.ndarray:
        """The first trial of each trial's run, or of its session where runs are unknown, int64 (n_trials,)."""
        return first_trials(self.session, self.run)

    def time(self) -> np.ndarray:
        """The columns TIME of each trial, float64 (n_trials, 4), NaN where unknown."""
        runs = np.full(len(self), np.nan) if self.run is None else self.run
        seen = times_before(self.shown) if self.seen is None else self.seen
        repetition = np.where(self.shown >= 0, seen, np.nan)
        return np.stack([self.session, runs, times_before(self.session), repetition], axis=1).astype(np.float64)


def first_trials(session: np.ndarray, run: np.ndarray | None) -> np.ndarray:
    """The first trial of each trial's session, or of its run where runs are known, int64 (n_trials,)."""
    changes = np.diff(session, prepend=session[:1]) != 0
    if run is not None:
        changes |= np.diff(run, prepend=run[:1]) != 0
    return np.maximum.accumulate(np.where(changes, np.arange(len(session)), 0))


def comes_again(session: np.ndarray, run: np.ndarray | None = None) -> int | None:
    """The first trial that goes on with a session, or a run of one, which another has interrupted.

    Trials in the order of presentation have none.
    """
    seen = set()
    for trial in np.unique(first_trials(session, run)).tolist():
        own = (int(session[trial]), None if run is None else int(run[trial]))
        if own in seen:
            return int(trial)
        seen.add(own)
    return None


def stimuli_before(trials: np.ndarray, shown: np.ndarray, starts: np.ndarray, count: int) -> np.ndarray:
    """Stimuli that stood before some trials in their session and run, the last one first, int64 (n, count).

    −1 where there was none, or one that the recording does not have.

    Args:
        trials: int64 (n,); −1, which is no trial, has none before it.
        shown: What each of all trials showed, int64 (n_trials,), −1 where nothing that is known.
        starts: As of TrialOrder, int64 (n_trials,).
        count: How many.
    """
    earlier = trials[:, None] - np.arange(1, count + 1)
    return np.where(earlier >= starts[trials][:, None], shown[np.maximum(earlier, 0)], -1)


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
