"""StimulusTable: the stimuli of all recordings one after another, in which split each is, and what it evoked."""

from collections.abc import Sequence
from copy import copy

import numpy as np

from ..names import FOLD, HELD_OUT, OWN_SPLITS, TRAIN, UNASSIGNED, VALIDATION
from ..recording import Recording


class StimulusTable:
    """All recordings' stimuli in one row of positions, and all their targets in one row of columns.

    Args:
        recordings: All of them.
        splits: Split of each recording's stimuli, from `split_stimuli`.
        shuffle: Seed with which each recording's responses are permuted over its training stimuli, and over its
            validation stimuli, so that nothing is chosen by true pairs either; None leaves them.

    Attributes:
        splits: Of each position, str (n_stimuli,).
        response_rows: Position whose responses each position has, int64 (n_stimuli,): its own, unless shuffled.
        subject: Recording of each position, int64 (n_stimuli,).
        categories: Names of the objects that stimuli show; empty where the recordings know none.
        category: Category of each position, int64 (n_stimuli,), -1 where unknown; None where there are none.
        offset: What is taken from each target's responses, float64 (num_targets,); None where nothing is.
    """

    def __init__(self, recordings: Sequence[Recording], splits: Sequence[np.ndarray], shuffle: int | None) -> None:
        self.recordings = recordings
        self._stimulus_starts = np.cumsum([0, *(len(recording.stimuli) for recording in recordings)])
        self._target_starts = np.cumsum([0, *(recording.num_targets for recording in recordings)])
        self._assign(np.concatenate(splits))
        self.subject = self.locate(np.arange(len(self.splits)))[0]
        self.response_rows = np.arange(len(self.splits))
        if shuffle is not None:
            self._shuffle(shuffle)
        self.categories = category_names(recordings)
        self.category = category_indices(recordings, self.categories) if self.categories else None
        offsets = [(each.responses.offset, each.num_targets) for each in recordings]
        self.offset: np.ndarray | None = None
        if any(offset is not None for offset, _ in offsets):
            self.offset = np.concatenate([np.zeros(count) if own is None else own for own, count in offsets])

    def positions(self, split: str) -> np.ndarray:
        """Positions of a split's stimuli, int64 (n,)."""
        return self._positions[split]

    def of_fold(self, fold: np.ndarray) -> "StimulusTable":
        """The same with a part of the training split held out as the split FOLD; no other but validation is.

        Args:
            fold: Positions, int64 (n,); none leaves the training split whole.
        """
        part = copy(self)
        splits = np.where(np.isin(self.splits, (TRAIN, VALIDATION)), self.splits, UNASSIGNED)
        splits[fold] = FOLD
        part._assign(splits)
        return part

    def digests(self) -> list[str]:
        """Content hash of each position's stimulus."""
        return [digest for recording in self.recordings for digest in recording.stimuli.digests()]

    def locate(self, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Recording, and index in that recording's stimuli, of positions (n,)."""
        recording = np.searchsorted(self._stimulus_starts, positions, side="right") - 1
        return recording, positions - self._stimulus_starts[recording]

    @property
    def evaluated(self) -> list[str]:
        """The held-out splits that have stimuli, the withheld ones of a challenge and named test sets included."""
        return [split for split in self._held_out if len(self.positions(split))]

    def positions_of(self, recording: int, split: str) -> np.ndarray:
        """Positions of a split's stimuli that are one recording's, int64 (n,)."""
        positions = self.positions(split)
        return positions[self.subject[positions] == recording]

    def of_each_recording(self, split: str) -> list[np.ndarray]:
        """Indices of a split's stimuli in each recording's own, int64 (n_i,)."""
        recording, local = self.locate(self.positions(split))
        return [local[recording == index] for index in range(len(self.recordings))]

    def answers(self, split: str) -> dict[str, np.ndarray]:
        """Indices of the stimuli whose responses each recording's stimuli of a split have, int64 (n_i,), by subject."""
        found = {}
        for index, recording in enumerate(self.recordings):
            found[recording.subject] = self.locate(self.response_rows[self.positions_of(index, split)])[1]
        return found

    def targets_of(self, recording: int) -> slice:
        """Columns of one recording among all targets."""
        return slice(int(self._target_starts[recording]), int(self._target_starts[recording + 1]))

    def respond(self, recording: int, positions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Responses of a recording's own positions (n,) less `offset`, float32 (n, targets), into `out` if given."""
        local = self.response_rows[positions] - self._stimulus_starts[recording]
        return self.recordings[recording].responses.gather(local, out)

    def expect(self, positions: np.ndarray) -> None:
        """Begin to read the responses of positions (n,) that are asked for soon; see `Responses.expect`."""
        recording_of, local = self.locate(self.response_rows[positions])
        for index, recording in enumerate(self.recordings):
            recording.responses.expect(local[recording_of == index])

    def _assign(self, splits: np.ndarray) -> None:
        """Say in which split each position is, str (n_stimuli,)."""
        self.splits = splits
        self._held_out = (*HELD_OUT, *sorted(set(splits.tolist()) - set(OWN_SPLITS)))
        self._positions = {name: np.flatnonzero(splits == name) for name in (TRAIN, *self._held_out)}

    def _shuffle(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        for split in (TRAIN, VALIDATION):
            for index in range(len(self.recordings)):
                own = self.positions_of(index, split)
                self.response_rows[own] = rng.permutation(own)


def category_names(recordings: Sequence[Recording]) -> list[str]:
    """Sorted names of all categories that the stimuli have; "" is none."""
    named = [recording.categories for recording in recordings if recording.categories is not None]
    return sorted({str(name) for names in named for name in names} - {""})


def category_indices(recordings: Sequence[Recording], names: Sequence[str]) -> np.ndarray:
    """Index of each stimulus's category among the names, int64 (n_stimuli of all recordings,), -1 where unknown."""
    index = {name: number for number, name in enumerate(names)}
    return np.concatenate(
        [
            np.full(len(recording.stimuli), -1)
            if recording.categories is None
            else np.array([index.get(str(name), -1) for name in recording.categories])
            for recording in recordings
        ]
    )
