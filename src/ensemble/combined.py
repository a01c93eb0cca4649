"""What an ensemble predicts: its members' predictions, averaged or stacked, subject by subject."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from ..atomic import replacing
from ..errors import InputError
from ..evaluation import SplitPredictions
from ..names import VALIDATION
from ..recording import Recording
from ..results.held_out import HeldOut
from ..results.prediction_files import centred, folder_of_subject, stimuli_file, write_stimuli
from .members import Members
from .stacking import FEWEST, Combination, average, stack

Combined = Mapping[str, Sequence[SplitPredictions]]
"""Predictions by split, of each subject with stimuli in it; less the responses' offset where they have one."""


def averaged(members: Members) -> dict[str, Combination]:
    """Equal weights of every member, by subject."""
    return {each.subject: average(len(members.runs), each.num_targets) for each in members.recordings}


def stacked(members: Members) -> dict[str, Combination]:
    """Weights that the validation split alone teaches, by subject.

    Of controls on shuffled responses it teaches shuffled pairs, too: true ones would choose among what chance made.

    Raises:
        InputError: A subject has too few validation stimuli.
    """
    found = {}
    for recording in members.recordings:
        held = members.splits[VALIDATION].get(recording.subject, ())
        names = held[0].names if held else []
        if len(names) < FEWEST:
            raise InputError(
                f"--stack: expected {FEWEST} validation stimuli of {recording.subject} or more, from which weights are "
                f"learnt, found {len(names)}; leave --stack out, or train with a larger --data.validation"
            )
        rows = [each.rows(names) for each in held]
        responses = rows[0][1]
        if members.shuffled:
            responses = np.random.default_rng(0).permutation(responses)
        found[recording.subject] = stack([predictions for predictions, _ in rows], responses)
    return found


def combined(
    members: Members, combinations: Mapping[str, Combination], splits: Sequence[str] | None = None
) -> Combined:
    """The ensemble's predictions of some splits, of every one where none is named."""
    return {
        split: [
            _part(held, split, combinations[subject].predict([own.predictions for own in held]))
            for subject, held in members.splits[split].items()
        ]
        for split in (members.splits if splits is None else splits)
    }


def of_member(members: Members, index: int, split: str) -> list[SplitPredictions]:
    """One member's predictions of a split, as those of an ensemble."""
    return [_part(held, split, held[index].predictions) for held in members.splits[split].values()]


def _part(held: Sequence[HeldOut], split: str, predictions: np.ndarray) -> SplitPredictions:
    recording = held[0].recording
    place = {name: index for index, name in enumerate(recording.stimuli.names)}
    return SplitPredictions(recording, split, np.array([place[name] for name in held[0].names]), predictions)


def in_units(part: SplitPredictions) -> np.ndarray:
    """Predictions (n, T) in the recording's units, float32."""
    offset = part.recording.responses.offset
    return part.predictions if offset is None else (part.predictions + offset).astype(np.float32)


def write_predictions(folder: Path, recordings: Sequence[Recording], predicted: Combined) -> None:
    """Write each subject's `SPLIT.npy` as a run does, and where responses have an offset `SPLIT_centred.npy`.

    Args:
        folder: It is made.
        recordings: All subjects.
        predicted: What to write.
    """
    for split, parts in predicted.items():
        for part in parts:
            own = folder_of_subject(folder, part.recording.subject, len(recordings))
            own.mkdir(parents=True, exist_ok=True)
            write_stimuli(own / stimuli_file(split), ((name, part.recording.subject) for name in part.names))
            files = {split: in_units(part)}
            if part.recording.responses.offset is not None:
                files[centred(split)] = part.predictions
            for name, values in files.items():
                with replacing(own / f"{name}.npy") as partial:
                    np.save(partial, np.asarray(values, dtype=np.float32))
