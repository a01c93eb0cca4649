"""On which stimuli two runs can be compared: those that both held out, and whose responses are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError
from ..evaluation.differences import FEWEST
from ..recording import Recording
from .held_out import HeldOut


@dataclass(frozen=True)
class Shared:
    """What two runs predict for the stimuli of one subject that both held out.

    Args:
        recording: The subject, as the first run has it.
        first: Predictions of the first run (n, T).
        second: Of the second (n, T).
        responses: (n, T), NaN where not measured.
        notes: What a reader must know, a sentence each: of stimuli that are not shared.
    """

    recording: Recording
    first: np.ndarray
    second: np.ndarray
    responses: np.ndarray
    notes: list[str]


def share(first: Mapping[str, HeldOut], second: Mapping[str, HeldOut], names: tuple[str, str]) -> list[Shared]:
    """Pair two runs' predictions subject by subject, stimulus by stimulus.

    Args:
        first: One run's, by subject.
        second: Another's.
        names: What messages call them.

    Raises:
        InputError: They share no subject or too few stimuli, or what was measured is not the same.
    """
    subjects = [subject for subject in first if subject in second]
    if not subjects:
        raise InputError(
            f"{names[1]}: expected a subject of {names[0]} ({', '.join(first)}), found {', '.join(second)}; compare "
            "runs of the same subjects"
        )
    shared = [_share(first[subject], second[subject], names) for subject in subjects]
    for left, right, own, other in ((first, second, *names), (second, first, names[1], names[0])):
        alone = [subject for subject in left if subject not in right]
        if alone:
            shared[0].notes.append(f"{', '.join(alone)}: in {own} alone, {other} was not evaluated on them.")
    return shared


def _share(first: HeldOut, second: HeldOut, names: tuple[str, str]) -> Shared:
    subject, others = first.recording.subject, set(second.names)
    common = [name for name in first.names if name in others]
    if len(common) < FEWEST:
        raise InputError(
            f"{names[1]}: expected test stimuli of {subject} that {names[0]} was evaluated on too, found {len(common)} "
            f"of {len(first.names)}; evaluate both on the same test set (the same data, --seed_everything and shares)"
        )
    one, two, measured = paired(first, second, common, names)
    return Shared(first.recording, one, two, measured, _notes(first, second, len(common), names))


def paired(
    first: HeldOut, second: HeldOut, common: Sequence[str], names: tuple[str, str]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Both runs' predictions of some stimuli, and the responses, each (n, T).

    Args:
        first: One run's of a subject.
        second: Another's of the same.
        common: Names of stimuli that both have.
        names: What messages call the runs.

    Raises:
        InputError: They are not of the same targets, or what was measured is not the same.
    """
    subject = first.recording.subject
    if first.recording.num_targets != second.recording.num_targets:
        raise InputError(
            f"{names[1]}: expected the {first.recording.num_targets:,} targets of {subject} that {names[0]} has, found "
            f"{second.recording.num_targets:,}; take runs of the same hemispheres and ROIs"
        )
    (one, measured), (two, again) = first.rows(common), second.rows(common)
    if not np.array_equal(_with_offset(first, measured), _with_offset(second, again), equal_nan=True):
        raise InputError(
            f"{names[1]}: expected the responses of {subject} that {names[0]} was evaluated on, found others to the "
            "same stimuli; take runs of the same data"
        )
    return one, two, measured


def _with_offset(held_out: HeldOut, responses: np.ndarray) -> np.ndarray:
    offset = held_out.recording.responses.offset
    return responses if offset is None else responses + offset


def _notes(first: HeldOut, second: HeldOut, common: int, names: tuple[str, str]) -> list[str]:
    """What is to be said where the two runs' stimuli are not the same."""
    subject, notes = first.recording.subject, []
    if common < len(first.names) or common < len(second.names):
        notes.append(
            f"{subject}: the runs were not evaluated on the same stimuli. They are compared on the {common:,} that "
            f"both were, of {len(first.names):,} of {names[0]} and {len(second.names):,} of {names[1]}; so the "
            "correlations here are not those of their reports."
        )
    for held, other, own, others in ((first, second, *names), (second, first, names[1], names[0])):
        seen = sum(name in other.seen for name in held.names)
        if seen:
            notes.append(
                f"{subject}: {seen:,} of the {len(held.names):,} stimuli that {own} was evaluated on were not held out "
                f"in {others}, which may have been trained on them; they are left out here."
            )
    return notes
