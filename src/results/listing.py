"""`calcarine runs`: every finished run below a folder, in one table."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from ..atomic import replacing
from ..data.stimuli import natural_key
from ..errors import InputError
from ..evaluation.scores import ALL, BOTH, ScoreRow
from ..evaluation.tables import read_scores
from ..names import TEST
from .run_folder import CONFIG, SCORES, FinishedRun
from .text_table import text_table


@dataclass(frozen=True)
class RunRow:
    """A finished run in one line; None is unknown.

    Args:
        run: Its folder below the one that was listed.
        date: When it began, in UTC.
        data: Its source and encoder.
        model: Its model.
        split: What the figures are of: "test" where it has responses, else "validation".
        correlation: Mean Pearson correlation over the scored targets of all subjects.
        ceiling_share: Correlation over that of a perfect model, as the report has it.
        score: The challenge's.
        time: Seconds of training and prediction.
    """

    run: str
    date: str | None
    data: str | None
    model: str | None
    split: str
    correlation: float | None
    ceiling_share: float | None
    score: float | None
    time: float | None


COLUMNS = tuple(field.name for field in fields(RunRow))
_WORDS = ("run", "data", "model", "split")


@dataclass(frozen=True)
class Listing:
    """The runs below a folder.

    Args:
        folder: The folder.
        rows: A row per finished run.
        unfinished: Folders of runs that have no scores: they go on, or were ended.
        unreadable: Why others are left out, a line each.
    """

    folder: Path
    rows: list[RunRow]
    unfinished: list[Path]
    unreadable: list[str]

    def text(self) -> str:
        """The table, and a line for what is not in it."""
        heads = ["run", "date", "data", "model", "split", "correlation", "of ceiling", "score", "time"]
        lines = [
            [
                row.run,
                row.date and row.date[:16].replace("T", " "),
                row.data,
                row.model,
                row.split,
                row.correlation,
                None if row.ceiling_share is None else f"{100 * row.ceiling_share:.0f} %",
                row.score,
                None if row.time is None else _duration(row.time),
            ]
            for row in self.rows
        ]
        parts = [text_table(heads, lines)] if lines else [f"{self.folder}: no finished run"]
        if self.unfinished:
            some = ", ".join(str(path.relative_to(self.folder)) for path in self.unfinished[:3])
            more = ", …" if len(self.unfinished) > 3 else ""
            parts.append(f"{len(self.unfinished)} not finished: {some}{more}")
        parts += [f"left out: {reason}" for reason in self.unreadable]
        return "\n".join(parts)


def list_runs(folder: Path, sort: str = "run") -> Listing:
    """Find the runs below a folder, those of studies too.

    Args:
        folder: Such as `runs`; links are not followed.
        sort: A column: figures from the highest, words and dates from the first; what has none comes last.

    Raises:
        InputError: There is no such folder or column.
    """
    if sort not in COLUMNS:
        raise InputError(f"--sort {sort}: expected a column of {', '.join(COLUMNS)}, found none; name one of them")
    if not folder.is_dir():
        raise InputError(f"{folder}: expected a folder of runs, found none; correct the path, or train one first")
    rows, unfinished, unreadable = [], [], []
    for path in _run_folders(folder):
        if not (path / SCORES).is_file():
            unfinished.append(path)
            continue
        try:
            rows.append(_row(folder, path))
        except InputError as error:
            unreadable.append(str(error))
    rows.sort(key=lambda row: natural_key(row.run))
    return Listing(folder, _sorted(rows, sort), unfinished, unreadable)


def _run_folders(folder: Path) -> Iterator[Path]:
    """Folders of runs, finished or not, in the order of their names."""
    for place, inside, files in os.walk(folder):
        inside.sort(key=natural_key)
        if CONFIG in files or SCORES in files:
            yield Path(place)
            inside.clear()


def _sorted(rows: Sequence[RunRow], column: str) -> list[RunRow]:
    known = [row for row in rows if getattr(row, column) is not None]
    unknown = [row for row in rows if getattr(row, column) is None]
    if column == "run":
        return list(rows)
    if column in _WORDS or column == "date":
        return [*sorted(known, key=lambda row: getattr(row, column)), *unknown]
    return [*sorted(known, key=lambda row: -getattr(row, column)), *unknown]


def _row(folder: Path, path: Path) -> RunRow:
    run = FinishedRun(path)
    rows = read_scores(path / SCORES)
    split = TEST if any(row.split == TEST for row in rows) else rows[-1].split if rows else ""
    whole = [row for row in rows if (row.split, row.hemisphere, row.roi) == (split, BOTH, ALL)]
    about = run.provenance
    result = about.get("result")
    result = result if isinstance(result, dict) else {}
    return RunRow(
        run=path.relative_to(folder).as_posix(),
        date=_text(about.get("date")),
        data=_text(about.get("data")),
        model=_text(about.get("model")),
        split=split,
        correlation=_correlation(whole),
        ceiling_share=_number(result.get("ceiling_share")),
        score=_number(result.get("score")),
        time=_number(about.get("wall_time_s")),
    )


def _correlation(whole: Sequence[ScoreRow]) -> float | None:
    """Mean over the scored targets of all subjects."""
    scored = [(row.n_scored, row.pearson_mean) for row in whole if row.pearson_mean is not None]
    total = sum(count for count, _ in scored)
    return math.fsum(count * mean for count, mean in scored) / total if total else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _duration(seconds: float) -> str:
    """A time for people: 47 s, 12 min, 3.4 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


def write_listing(path: Path, listing: Listing) -> None:
    """Write the table as CSV; its head stands there where there is no run, too."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(["" if value is None else value for value in astuple(row)] for row in listing.rows)
