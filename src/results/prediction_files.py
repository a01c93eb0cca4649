"""The files of `predictions/`: where they lie, what they are called, and the table that names an array's rows.

One subject's are `SPLIT.npy` (stimuli, targets) and `SPLIT_stimuli.csv`; where a run has several subjects, each has a
folder SUBJECT with these. Earlier versions wrote one table of several subjects, NaN at the others' targets: it is read.
"""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..atomic import replacing
from ..errors import InputError, one_line
from ..names import HELD_OUT

FOLDER = "predictions"

_COLUMNS = ["stimulus", "subject"]


def centred(split: str) -> str:
    """Name of a split's predictions less the responses' offset."""
    return f"{split}_centred"


def stimuli_file(split: str) -> str:
    """Name of the table of a split's stimuli."""
    return f"{split}_stimuli.csv"


def folder_of_subject(folder: Path, subject: str, subjects: int) -> Path:
    """Where a subject's predictions are written.

    Args:
        folder: `predictions/` of the run.
        subject: Its name.
        subjects: How many the run has.
    """
    return folder / subject if subjects > 1 else folder


def folders_in(folder: Path, subjects: Sequence[str]) -> list[tuple[Path, Sequence[str]]]:
    """Where predictions are read: folders, and the subjects of each, whose targets stand there side by side.

    Args:
        folder: `predictions/` of the run.
        subjects: All of the run's.
    """
    if len(subjects) == 1 or any(folder.glob(stimuli_file("*"))):
        return [(folder, subjects)]
    return [(folder_of_subject(folder, subject, len(subjects)), [subject]) for subject in subjects]


def has(folder: Path, split: str) -> bool:
    """Whether there are predictions of a split, of any subject, in `predictions/` of a run."""
    return any(_found(folder, f"{split}.npy"))


def splits_in(folder: Path) -> list[str]:
    """The splits that a run's predictions are of, those of the format first, then test sets by name.

    Args:
        folder: `predictions/` of the run.
    """
    ending = stimuli_file("")
    found = sorted({path.name.removesuffix(ending) for path in _found(folder, f"*{ending}")})
    return sorted(found, key=lambda split: HELD_OUT.index(split) if split in HELD_OUT else len(HELD_OUT))


def _found(folder: Path, name: str) -> list[Path]:
    """Files of some name in `predictions/`, of a run of one subject or of several."""
    return sorted(folder.glob(name)) + sorted(folder.glob(f"*/{name}"))


def write_stimuli(path: Path, stimuli: Iterable[tuple[str, str]]) -> None:
    """Write name and subject of each row of predictions."""
    with replacing(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(stimuli)


def read_stimuli(path: Path) -> list[tuple[str, str]]:
    """Name and subject of each row of predictions.

    Raises:
        InputError: The table is missing or damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *rows = list(csv.reader(file))
    except FileNotFoundError:
        raise InputError(f"{path}: expected the stimuli of the predictions, found no such file") from None
    except (ValueError, csv.Error) as error:
        raise InputError(f"{path}: expected a table of stimuli, found {one_line(error)}; copy it again") from error
    if head != _COLUMNS or any(len(row) != len(_COLUMNS) for row in rows):
        raise InputError(f"{path}: expected the columns {','.join(_COLUMNS)}, found {','.join(head)}; copy it again")
    return [(name, subject) for name, subject in rows]


def stimuli_of(folder: Path, split: str = "*") -> dict[str, list[str]]:
    """Names of a split's stimuli by subject, in the order of the rows; of all splits where none is named.

    Args:
        folder: `predictions/` of the run.
        split: Such as "test".

    Raises:
        InputError: A table is missing or damaged.
    """
    found: dict[str, list[str]] = {}
    for table in _found(folder, stimuli_file(split)) or [folder / stimuli_file(split)]:
        for name, subject in read_stimuli(table):
            found.setdefault(subject, []).append(name)
    return found
