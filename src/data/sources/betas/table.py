"""The table of trials: which stimulus each trial of each session showed."""

from __future__ import annotations

import csv
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ....errors import InputError, one_line
from ...trials.columns import numeric_columns
from .names import Named, in_order, session_key

if TYPE_CHECKING:
    import pandas as pd

_NONE = ("", "n/a", "nan")
"""Labels of trials that showed nothing, in lower case."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Columns:
    """What the table's columns are called.

    Args:
        session: Which session a trial is of.
        run: Which run; the table need not have it.
        index: Which of its session's trials a row is.
        label: Which stimulus it showed.
    """

    session: str = "session"
    run: str = "run"
    index: str = "beta_index"
    label: str = "label"


@dataclass(frozen=True)
class SessionTrials:
    """The trials of one session that showed a stimulus, in their order in the file.

    Args:
        rows: Which trials of the file, from 0, ascending, int64 (n,).
        label: The stimulus of each, str (n,).
        run: int64 (n,); None where the table does not tell.
        behaviour: Its other columns that hold numbers, by name, float64 (n,), NaN where unknown.
    """

    rows: np.ndarray
    label: np.ndarray
    run: np.ndarray | None
    behaviour: Mapping[str, np.ndarray] = field(default_factory=dict)


def read_tables(
    paths: Sequence[Path], columns: Columns, counts: Mapping[str, int], first: int, top: Path
) -> tuple[dict[str, SessionTrials], list[str]]:
    """Read the tables of trials of some sessions.

    Args:
        paths: One table or several, with a row for each trial.
        columns: Their names.
        counts: How many trials each session's file has; under "" the one file of all sessions, through which the
            table counts.
        first: What the first trial of a file is called, 0 or 1.
        top: The subject's folder, below which folders may name the session.

    Returns:
        The trials of each session, in order, and the other sessions that the tables name.

    Raises:
        InputError: A column is missing, or rows and files disagree.
    """
    if not paths:
        raise InputError(
            f"{top}: expected a table of trials, trials.tsv or *_trials.tsv, found none; write one with the columns "
            f"{columns.session}, {columns.run}, {columns.index} and {columns.label}, or name it with "
            "--data.source.trials"
        )
    parts: dict[str, list[tuple[Path, pd.DataFrame]]] = {}
    for path in paths:
        for key, rows in _by_session(path, _read(path, columns), columns, list(counts), top).items():
            parts.setdefault(key, []).append((path, rows))
    whole = list(counts) == [""]  # one file, of whatever sessions the table names
    found = {}
    for key in in_order(list(parts)) if whole else counts:
        own = parts.get(key, [])
        if len(own) != 1:
            raise InputError(
                f"{(own or [(paths[0], None)])[0][0]}: expected rows of session {key}, whose betas are there, found "
                f"{'none' if not own else f'them in {own[1][0]} too'}; see --data.source.trials and "
                "--data.source.sessions"
            )
        found[key] = _session(*own[0], columns, key, counts["" if whole else key], first)
    rows = np.concatenate([trials.rows for trials in found.values()])
    if whole and len(np.unique(rows)) < len(rows):
        raise InputError(
            f"{paths[0]}: expected {columns.index} to count through the one file of all sessions, found "
            f"{int(np.flatnonzero(np.bincount(rows) > 1)[0]) + first} in several; add the trials of the sessions before"
        )
    return found, [key for key in in_order(list(parts)) if key not in found]


def _read(path: Path, columns: Columns) -> pd.DataFrame:
    """A table as texts, with the columns that are needed."""
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: expected a table of trials, found no such file; correct --data.source.trials")
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter="\t" if path.suffix.lower() == ".tsv" else ",")
            header = [name.strip() for name in next(reader, [])]
            rows = [_row(path, reader.line_num, row, header) for row in reader if any(row)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: expected a table of trials, found {one_line(error)}; write it again") from error
    table = pd.DataFrame(rows, columns=header, dtype=str)
    for name in (columns.session, columns.run, columns.index, columns.label):
        if header.count(name) > 1:
            raise InputError(f"{path}: expected one column {name}, found {header.count(name)}; rename the others")
    if columns.label not in table.columns or not len(table):
        raise InputError(
            f"{path}: expected a row for each trial and the column {columns.label}, found {len(table)} rows of "
            f"{', '.join(table.columns)}; say what it is called with --data.source.label_column"
        )
    return table


def _row(path: Path, line: int, row: list[str], header: Sequence[str]) -> list[str]:
    """A row's values, one for each column; separators at its end, which some programs write, are no more values."""
    if len(row) < len(header) or any(row[len(header) :]):
        raise InputError(
            f"{path}, line {line}: expected {len(header)} values, one for each column, found {len(row)}; correct it"
        )
    return row[: len(header)]


def _by_session(
    path: Path, table: pd.DataFrame, columns: Columns, there: Sequence[str], top: Path
) -> dict[str, pd.DataFrame]:
    """A table's rows by session, by its column or else by the file's name."""
    named = Named(path, top if path.is_relative_to(top) else path.parent).session
    if columns.session not in table.columns:
        if columns.session != Columns.session or not (named or len(there) == 1):
            raise InputError(
                f"{path}: expected the column {columns.session}, found {', '.join(table.columns)}; say what it is "
                "called with --data.source.session_column"
            )
        return {named or there[0] or "1": table}
    keys = table[columns.session].map(session_key)
    others = sorted(set(keys) - {named})
    if named and others:
        raise InputError(
            f"{path}: expected rows of session {named}, as its name says, found session {others[0]} in column "
            f"{columns.session}; rename the file, or correct the column"
        )
    return {str(key): rows for key, rows in table.groupby(keys.to_numpy(), sort=False)}


def _session(path: Path, table: pd.DataFrame, columns: Columns, key: str, count: int, first: int) -> SessionTrials:
    """One session's trials that showed a stimulus."""
    label = table[columns.label].str.strip().to_numpy(dtype=str)
    shown = ~np.isin(np.char.lower(label), _NONE)
    if not shown.any():
        raise InputError(f"{path}: expected stimuli in column {columns.label}, found none in session {key}; name them")
    if shown.sum() < count:
        log.info("%s: session %s: %d of %d trials have a stimulus, and are read", path, key, shown.sum(), count)
    index = _indices(path, table, shown, columns, key, count, first)
    order = np.argsort(index, kind="stable")
    run = None
    if columns.run in table.columns:
        expected = f"{path}: expected column {columns.run} to count runs"
        texts = table[columns.run].str.strip().str.replace(r"^run-?", "", regex=True).to_numpy(dtype=str)
        run = _whole(texts[shown], expected, "name another with --data.source.run_column")[order]
    own = (columns.session, columns.run, columns.index, columns.label)
    others = {str(name): table[name].to_numpy()[shown][order].tolist() for name in table.columns if name not in own}
    return SessionTrials(index[order], label[shown][order], run, numeric_columns(others))


def _indices(
    path: Path, table: pd.DataFrame, shown: np.ndarray, columns: Columns, key: str, count: int, first: int
) -> np.ndarray:
    """The trial of each row that showed a stimulus, from 0, checked."""
    if columns.index not in table.columns:
        if columns.index != Columns.index or len(table) != count:
            raise InputError(
                f"{path}: expected the column {columns.index}, or a row for each of {count} trials of session {key}, "
                f"found {len(table)} rows of {', '.join(table.columns)}; say what it is called with "
                "--data.source.index_column"
            )
        return np.flatnonzero(shown)
    expected = f"{path}: expected whole numbers in column {columns.index}"
    numbers = _whole(table[columns.index].str.strip().to_numpy(dtype=str)[shown], expected, "correct them")
    index = numbers - first
    if index.min() < 0 or index.max() >= count:
        shifted = index.max() - index.min() < count
        beyond = ": it may count from the other one, see --data.source.first_index" if shifted else ""
        raise InputError(
            f"{path}: expected {columns.index} from {first} to {count - 1 + first}, as session {key} has {count} "
            f"trials, found {numbers.min()} to {numbers.max()}{beyond}; use the table that belongs to the betas"
        )
    if len(np.unique(index)) < len(index):
        twice = int(np.flatnonzero(np.bincount(index) > 1)[0]) + first
        raise InputError(
            f"{path}: expected each {columns.index} once in session {key}, found {twice} again; correct the rows"
        )
    return index


def _whole(texts: np.ndarray, expected: str, remedy: str) -> np.ndarray:
    """Texts as whole numbers, int64 (n,).

    Raises:
        InputError: One is none: what was expected, which was found, and the remedy.
    """
    numbers = np.array([_number(text) for text in texts.tolist()])
    wrong = ~((numbers == np.rint(numbers)) & (np.abs(numbers) < 2**53))
    if wrong.any():
        raise InputError(f"{expected}, found {str(texts[wrong][0])!r}; {remedy}")
    return numbers.astype(np.int64)


def _number(text: str) -> float:
    """NaN of what is none."""
    try:
        return float(text)
    except ValueError:
        return np.nan
