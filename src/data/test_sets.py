"""Test sets by name: stimuli of other sources that a model of the same subjects is scored on."""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..names import OWN_SPLITS, TEST
from ..recording import Part, Recording, Repeats, Responses
from .sources.base import Source
from .stimulus_views import JoinedStimuli, StimulusView

log = logging.getLogger(__name__)


def check_names(names: Sequence[str], flag: str = "") -> None:
    """Raise InputError where a test set has a name that stands for something else, or cannot name a file.

    Args:
        names: Of test sets.
        flag: That was given the name, where it is no part of the flag itself.
    """
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name) or name in OWN_SPLITS or name.endswith("_centred"):
            where = f"{flag} {name}" if flag else f"--data.test_sets.{name}"
            raise InputError(
                f"{where}: expected a name of letters, digits, - and _ that is no split's own "
                f"({', '.join(filter(None, OWN_SPLITS))}); give another"
            )


def with_test_sets(recordings: Sequence[Recording], sources: Mapping[str, Source]) -> Sequence[Recording]:
    """Recordings with the stimuli of each test set behind their own, in splits of those names.

    Args:
        recordings: The subjects that a model is trained on.
        sources: By the test set's name.

    Raises:
        InputError: A test set has none of the subjects, or other targets.
    """
    for name, source in sources.items():
        flag = f"--data.test_sets.{name}"
        own = by_subject(source.read(), [each.subject for each in recordings], source, flag)
        recordings = [
            _joined(each, own[each.subject], name, flag) if each.subject in own else each for each in recordings
        ]
    return recordings


def by_subject(
    recordings: Sequence[Recording], subjects: Sequence[str], source: Source, flag: str
) -> dict[str, Recording]:
    """Recordings of some subjects, by their names.

    A format that names no subjects, as a folder does, may call the one subject that it holds what it likes.

    Args:
        recordings: What the source read.
        subjects: That are sought.
        source: Whose names they are.
        flag: That named the source, for messages.

    Raises:
        InputError: There is none of them.
    """
    own = {each.subject: each for each in recordings}
    if len(own) == len(subjects) == 1 and not source.own_subjects:
        (name,) = own
        if name != subjects[0]:
            log.info("%s: %s is taken as %s", flag, name, subjects[0])
        return {subjects[0]: own[name]}
    found = {subject: own[subject] for subject in subjects if subject in own}
    if not found:
        raise InputError(f"{flag}: expected {', '.join(subjects)}, found {', '.join(own)}; read the same subjects")
    return found


def scored_part(recording: Recording) -> np.ndarray:
    """Stimuli of a recording that test: its test split, or all that were measured where it has none, int64 (n,)."""
    test = np.flatnonzero((recording.splits == TEST) & recording.responses.measured)
    return test if len(test) else np.flatnonzero(recording.responses.measured)


def columns_of(recording: Recording, other: Recording, flag: str) -> np.ndarray:
    """Where the targets of a recording stand among another's, int64 (num_targets,); −1 where it lacks one.

    They are matched by vertex or voxel where both know these; otherwise they are the same in number and order.

    Args:
        recording: Whose targets are sought.
        other: The other recording.
        flag: That named the other, for the message.

    Raises:
        InputError: They have no target in common, or another number of them.
    """
    places, others = _places(recording), _places(other)
    if places is not None and others is not None:
        column = {place: index for index, place in enumerate(others)}
        found = np.array([column.get(place, -1) for place in places])
        if (found < 0).all():
            raise InputError(f"{flag}: expected some of the {len(places)} targets of {recording.subject}, found none")
        return found
    if recording.num_targets != other.num_targets:
        raise InputError(
            f"{flag}: expected the {recording.num_targets} targets of {recording.subject}, found {other.num_targets}; "
            "read the same targets"
        )
    return np.arange(recording.num_targets)


def _places(recording: Recording) -> list[tuple[object, ...]] | None:
    """What tells one target from another, where the format knows: hemisphere and vertex, or voxel."""
    if recording.vertices is not None:
        return places_of(recording.vertices[:, None], recording.hemispheres)
    if recording.grid is not None:
        return [(recording.grid.shape, *voxel) for voxel in recording.grid.voxels.tolist()]
    return None


def places_of(numbers: np.ndarray, sides: np.ndarray) -> list[tuple[object, ...]]:
    """Hemisphere and numbers (n, k) of each target, as one key."""
    return [(str(side), *own) for side, own in zip(sides, numbers.tolist(), strict=True)]


def aligned(recording: Recording, stimuli: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Responses of a recording in its own units with the columns of another's targets, float64 (n, columns)."""
    responses = recording.responses.gather(stimuli).astype(np.float64)
    if recording.responses.offset is not None:
        responses += recording.responses.offset
    return np.where(columns < 0, np.nan, responses[:, columns])


def _joined(recording: Recording, other: Recording, name: str, flag: str) -> Recording:
    if recording.stimuli.frames != other.stimuli.frames:
        raise InputError(f"{flag}: expected stimuli of one kind, found images and clips, or clips of another length")
    columns = columns_of(recording, other, flag)
    chosen, before = scored_part(other), len(recording.stimuli)
    if not len(chosen):
        raise InputError(f"{flag}: expected measured responses of {recording.subject}, found none; give other data")
    responses = aligned(other, chosen, columns)
    if recording.responses.offset is None:
        responses = responses.astype(np.float32)
    names = [f"{name}/{other.stimuli.names[index]}" for index in chosen]
    own = recording.responses
    categories = None  # those of the test set are other names, of which the model has learnt none
    if recording.categories is not None:
        categories = np.concatenate([recording.categories, np.full(len(chosen), "")])
    return replace(
        recording,
        stimuli=JoinedStimuli([recording.stimuli, StimulusView(other.stimuli, chosen, names)]),
        responses=Responses(
            (before + len(chosen), recording.num_targets),
            [*own.parts, Part(before, 0, responses)],
            own.offset,
        ),
        splits=np.concatenate([recording.splits, np.full(len(chosen), name)]),
        repeats=_JoinedRepeats(recording, other, before, chosen, columns),
        categories=categories,
    )


class _JoinedRepeats(Repeats):
    """Noise ceilings and presentations of a recording's own stimuli, or of a test set's behind them."""

    def __init__(
        self, recording: Recording, other: Recording, before: int, chosen: np.ndarray, columns: np.ndarray
    ) -> None:
        self._recording, self._other, self._before = recording, other, before
        self._chosen, self._columns = chosen, columns

    def ceilings(self, stimuli: np.ndarray) -> Mapping[str, np.ndarray]:
        if (stimuli < self._before).all():
            return self._recording.ceilings(stimuli)
        if (stimuli < self._before).any():
            return {}
        told = self._other.ceilings(self._chosen[stimuli - self._before])
        told = told or {"nothing": np.full(self._other.num_targets, np.nan)}  # and not the recording's own
        return {name: np.where(self._columns < 0, np.nan, ceiling[self._columns]) for name, ceiling in told.items()}

    def presentations(self, stimuli: np.ndarray) -> np.ndarray | None:
        if (stimuli < self._before).all():
            return self._recording.presentations(stimuli)
        if (stimuli < self._before).any():
            return None
        presented = self._other.presentations(self._chosen[stimuli - self._before])
        return None if presented is None else np.where(self._columns < 0, np.nan, presented[:, :, self._columns])
