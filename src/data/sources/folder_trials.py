"""The table of a user's folder that tells in which order its images were presented: `trials.csv`."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import InputError
from ...trial_order import TrialOrder, comes_again
from ..trials.columns import numeric_columns
from .folder_tables import read_columns, read_rows

TRIALS = "trials.csv"

_TOLD = ("stimulus", "session", "run")


@dataclass(frozen=True)
class FolderTrials:
    """A row per presentation, in the order in which they were.

    Args:
        stimulus: File name of each image (n_trials,); "" where something else was shown.
        lines: Of the table, for messages, int64 (n_trials,).
        session: int64 (n_trials,); 1 where the table has no such column.
        run: int64 (n_trials,); None where the table has no such column.
        behaviour: Its other columns that hold numbers, by name, float64 (n_trials,), NaN where unknown.
    """

    stimulus: Sequence[str]
    lines: np.ndarray
    session: np.ndarray
    run: np.ndarray | None
    behaviour: Mapping[str, np.ndarray]


def read_order(path: Path, names: Sequence[str], kept: np.ndarray) -> TrialOrder:
    """In which order a recording's stimuli were presented.

    Args:
        path: The table.
        names: File names of all images.
        kept: Which of them are the recording's, int64 (n_stimuli,).

    Raises:
        InputError: As `read_trials`, or a row names no image.
    """
    table = read_trials(path)
    place = np.full(len(names) + 1, -1)  # the last one stands for nothing
    place[kept] = np.arange(len(kept))
    numbers = {"": len(names), **{name: number for number, name in enumerate(names)}}
    for line, stimulus in zip(table.lines.tolist(), table.stimulus, strict=True):
        if stimulus not in numbers:
            near = difflib.get_close_matches(stimulus, names, n=1, cutoff=0.0)[0]
            raise InputError(
                f"{path}, line {line}: expected the file name of an image, or nothing, found {stimulus!r}; did you "
                f"mean {near!r}?"
            )
    shown = place[[numbers[stimulus] for stimulus in table.stimulus]]
    return TrialOrder(shown, shown, table.session, table.run, behaviour=table.behaviour)


def read_trials(path: Path) -> FolderTrials:
    """Read `trials.csv`: stimulus, and beside it session, run, and columns of behaviour, as far as they are known.

    Raises:
        InputError: It is no table, has no rows, a session or run is no whole number, or sessions or the runs of
            one are mixed.
    """
    header = read_columns(path)
    told = [name for name in _TOLD if name in header or name == _TOLD[0]]
    columns = list(dict.fromkeys([*told, *header]))
    rows = list(read_rows(path, columns))
    if not rows:
        raise InputError(f"{path}: expected a row for each presentation, found none; write them, or remove the file")
    lines = np.array([line for line, _ in rows])
    texts = {name: [values[place] for _, values in rows] for place, name in enumerate(columns)}
    numbers = {name: _whole(path, name, texts[name], lines) for name in told[1:]}
    session = numbers.get("session", np.ones(len(rows), dtype=np.int64))
    run = numbers.get("run")
    again = comes_again(session)
    found = "" if again is None else f"session after session, found session {session[again]}"
    if again is None and run is not None:
        again = comes_again(session, run)
        found = "" if again is None else f"run after run, found run {run[again]} of session {session[again]}"
    if again is not None:
        raise InputError(
            f"{path}, line {lines[again]}: expected rows in the order of presentation, {found} again; sort them"
        )
    behaviour = numeric_columns({name: texts[name] for name in columns if name not in _TOLD})
    return FolderTrials(texts["stimulus"], lines, session, run, behaviour)


def _whole(path: Path, name: str, texts: Sequence[str], lines: np.ndarray) -> np.ndarray:
    """A column of whole numbers, int64 (n_trials,)."""
    for line, text in zip(lines.tolist(), texts, strict=True):
        if not text.isdecimal() or len(text) > 9:
            raise InputError(f"{path}, line {line}: expected a whole number as {name}, found {text!r}; correct it")
    return np.array([int(text) for text in texts])
