"""What a run predicts for held-out stimuli, beside the stimuli's names and the recordings that they are of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.arrays import open_array
from ..errors import InputError
from ..names import TEST, VALIDATION
from ..recording import Recording
from .prediction_files import FOLDER, centred, folders_in, has, read_stimuli, stimuli_file, stimuli_of
from .run_folder import FinishedRun


@dataclass(frozen=True)
class HeldOut:
    """One subject's held-out stimuli of one run.

    Args:
        recording: The subject.
        names: The n stimuli's, in the order of the rows.
        predictions: (n, T) in the responses' units, less their offset where they have one.
        seen: Names of the recording's stimuli that the run did not hold out: it may have been trained on them.
        path: Where the predictions lie.
    """

    recording: Recording
    names: list[str]
    predictions: np.ndarray
    seen: frozenset[str]
    path: Path

    def rows(self, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Predictions of, and responses to, some of the stimuli, each (n, T)."""
        place = {name: row for row, name in enumerate(self.names)}
        index = {name: number for number, name in enumerate(self.recording.stimuli.names)}
        responses = self.recording.responses.gather(np.array([index[name] for name in names]))
        return np.asarray(self.predictions[[place[name] for name in names]]), responses


def common_split(runs: Sequence[FinishedRun]) -> str:
    """The split that all runs have predictions of: the test split where it can be.

    Raises:
        InputError: There is none.
    """
    have = [[split for split in (TEST, VALIDATION) if has(run.folder / FOLDER, split)] for run in runs]
    for split in (TEST, VALIDATION):
        if all(split in own for own in have):
            return split
    run, own = next((run, own) for run, own in zip(runs, have, strict=True) if TEST not in own)
    raise InputError(
        f"{run.folder / FOLDER}: expected {TEST}.npy, as other runs have it, found {', '.join(own) or 'none'}; "
        "compare runs that were evaluated on one split"
    )


def read_held_out(run: FinishedRun, recordings: Sequence[Recording], split: str) -> dict[str, HeldOut]:
    """A run's predictions of one split by subject.

    Args:
        run: The run.
        recordings: All of its own.
        split: Such as "test".

    Raises:
        InputError: A file is damaged, or does not belong to these recordings.
    """
    folder, by_name = run.folder / FOLDER, {recording.subject: recording for recording in recordings}
    held = stimuli_of(folder)
    found: dict[str, HeldOut] = {}
    for place, subjects in folders_in(folder, list(by_name)):
        there = any((place / name).is_file() for name in (f"{split}.npy", stimuli_file(split)))
        if there or len(by_name) == 1:  # of several subjects, some may have no such stimuli
            found |= _read(run, place, [by_name[subject] for subject in subjects], split, held)
    if not found:
        raise InputError(f"{folder}: expected predictions of the {split} split, found none; copy it again")
    return found


def _read(
    run: FinishedRun, folder: Path, recordings: Sequence[Recording], split: str, held: Mapping[str, Sequence[str]]
) -> dict[str, HeldOut]:
    """The predictions of one table, whose subjects' targets stand side by side, by subject.

    Args:
        run: The run.
        folder: Where it lies.
        recordings: Of the table.
        split: Such as "test".
        held: Names of all held-out stimuli by subject.
    """
    offset = any(recording.responses.offset is not None for recording in recordings)
    path = folder / f"{centred(split) if offset else split}.npy"
    predictions = open_array(path, ("stimuli", "targets"))
    stimuli = read_stimuli(folder / stimuli_file(split))
    targets = sum(recording.num_targets for recording in recordings)
    if predictions.shape != (len(stimuli), targets):
        raise InputError(
            f"{path}: expected {(len(stimuli), targets)}, the stimuli of {stimuli_file(split)} × the targets of the "
            f"run's data, found {predictions.shape}; have the data changed since it was trained?"
        )
    found, first = {}, 0
    for recording in recordings:
        rows = [row for row, (_, subject) in enumerate(stimuli) if subject == recording.subject]
        names = [stimuli[row][0] for row in rows]
        known = set(recording.stimuli.names)
        if len(known) < len(recording.stimuli):
            raise InputError(
                f"{run.folder}: expected stimuli of {recording.subject} by different names, by which they are matched, "
                "found a name twice; rename the files"
            )
        unknown = [name for name in names if name not in known]
        if unknown:
            raise InputError(
                f"{folder / stimuli_file(split)}: expected stimuli of the run's data, found {unknown[0]!r} "
                f"of {recording.subject}, which is not there; have the data changed since it was trained?"
            )
        block = predictions[:, first : first + recording.num_targets][rows]
        if rows:
            seen = frozenset(known.difference(held[recording.subject]))
            found[recording.subject] = HeldOut(recording, names, block, seen, path)
        first += recording.num_targets
    return found
