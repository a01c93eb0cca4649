"""The files of `predictions/`: what they are called, and the table that names the rows of their arrays."""

import csv
from collections.abc import Iterable
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


def splits_in(folder: Path) -> list[str]:
    """The splits that a run's predictions are of, those of the format first, then test sets by name.

    Args:
        folder: `predictions/` of the run.
    """
    ending = stimuli_file("")
    found = sorted(path.name.removesuffix(ending) for path in folder.glob(f"*{ending}"))
    return sorted(found, key=lambda split: HELD_OUT.index(split) if split in HELD_OUT else len(HELD_OUT))


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
