"""Source: the reader of one on-disk format."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from ...arguments import KeepsArguments
from ...errors import InputError
from ...recording import Recording

OWN_NAMES = ("all", "none")
"""No ROI's name: rows of all targets in scores.csv, and the targets that are in no ROI."""


class Source(KeepsArguments, ABC):
    """Reads one on-disk format.

    Construction checks the flags and reads headers only, so that a model's sizes are known before any array is.

    Args:
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.
            The data module applies it, because only it knows which stimuli are in which.
    """

    layout: ClassVar[str] = ""
    """What a root of this format holds, in a few words; "" where the source reads no root."""

    own_subjects: bool = True
    """Whether the format names its subjects: then another name is another subject."""

    frames: int | None = None
    """Frames of each clip; None where stimuli are images."""

    def __init__(self, shuffle: bool = False) -> None:
        self.shuffle = shuffle

    @property
    @abstractmethod
    def num_targets(self) -> int:
        """Targets of all recordings together, from file headers."""

    @classmethod
    def recognises(cls, root: Path) -> bool:
        """Whether a folder or a file is of this format, by the names of files alone."""
        return False

    def trial_columns(self) -> Sequence[str] | None:
        """What the format tells of the subject's behaviour in each trial, by the names of its columns.

        None where it does not tell in which order stimuli were presented; empty where it tells that alone. Known before
        responses are read. Of several subjects, those columns that all have.
        """
        return None

    def keep_in(self, cache_dir: Path) -> None:
        """Be told the cache's folder, for what the source makes itself. Most make nothing."""

    def prepare(self) -> None:
        """Write what the format needs on disk before it can be read; called in one process per machine.

        Most formats need nothing.
        """

    @abstractmethod
    def read(self) -> Sequence[Recording]:
        """Read and check everything; one recording per subject.

        Raises:
            InputError: A file is missing, extra, or not what the format says.
        """


def subject_numbers(subject: int | list[int]) -> list[int]:
    """The subjects that a flag names.

    Raises:
        InputError: One is named twice, or none is.
    """
    numbers = [subject] if isinstance(subject, int) else list(subject)
    if not numbers or len(set(numbers)) < len(numbers):
        raise InputError(f"--data.source.subject {subject}: expected each subject once, found {numbers}; name them")
    return numbers


def common_columns(subjects: Sequence[Sequence[str] | None]) -> list[str] | None:
    """What the trials of all subjects tell, in the order of the first; None where the order of one's is unknown."""
    known = [each for each in subjects if each is not None]
    if len(known) < len(subjects):
        return None
    return [name for name in known[0] if all(name in each for each in known)]


def known_formats() -> list[type[Source]]:
    """The sources that read a root."""
    return [source for source in Source.__subclasses__() if source.layout]


def layouts() -> str:
    """What a root of each format holds, for people."""
    return "; ".join(f"{source.__name__}: {source.layout}" for source in known_formats())
