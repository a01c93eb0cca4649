"""The tables of a run's folder: `scores.csv` and `targets.csv`."""

import csv
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from pathlib import Path

from ..atomic import replacing
from ..errors import InputError
from ..recording import Recording
from .scores import ScoreRow, TargetScores

SCORE_COLUMNS = tuple(field.name for field in fields(ScoreRow))
TARGET_FIGURES = (
    "pearson", "r2", "explained_variance", "mse", "rmse", "mae", "smooth_l1", "noise_ceiling", "score",
)  # fmt: skip
TARGET_COLUMNS = ("split", "subject", "hemisphere", "target", "rois", "vertex", *TARGET_FIGURES)

_TEXT = ("split", "subject", "hemisphere", "roi")
_COUNTS = ("n_targets", "n_scored")


def write_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Write `scores.csv`; unknown figures are empty, and numbers read back as the same numbers."""
    _write(path, SCORE_COLUMNS, (map(_text, astuple(row)) for row in rows))


def read_scores(path: Path) -> list[ScoreRow]:
    """Read `scores.csv`.

    Raises:
        InputError: The file is missing or not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            header, *lines = list(csv.reader(file)) or [[]]
        if tuple(header) != SCORE_COLUMNS:
            raise InputError(f"{path}: expected the columns {','.join(SCORE_COLUMNS)}, found {','.join(header)}")
        return [_row(dict(zip(SCORE_COLUMNS, line, strict=True))) for line in lines]
    except FileNotFoundError:
        raise InputError(f"{path}: expected a run's scores, found no such file; has the run finished?") from None
    except (ValueError, csv.Error) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: expected a table of scores as train.py writes it, found {error}") from error


def write_targets(path: Path, tables: Sequence[tuple[Recording, str, TargetScores]]) -> None:
    """Write `targets.csv`: one row per split, subject and target.

    Args:
        path: The file.
        tables: Recording, split and scores of its targets.
    """
    _write(path, TARGET_COLUMNS, (line for table in tables for line in _target_lines(*table)))


def _target_lines(recording: Recording, split: str, scores: TargetScores) -> Iterable[Sequence[str]]:
    rois: list[list[str]] = [[] for _ in range(recording.num_targets)]
    for roi in recording.rois:
        for target in roi.targets:
            rois[target].append(roi.name)
    vertices = [""] * recording.num_targets if recording.vertices is None else map(str, recording.vertices.tolist())
    figures = zip(*(getattr(scores, name).tolist() for name in TARGET_FIGURES), strict=True)
    for target, (hemisphere, vertex, values) in enumerate(zip(recording.hemispheres, vertices, figures, strict=True)):
        names = ";".join(rois[target])
        yield (split, recording.subject, hemisphere, str(target), names, vertex, *map(_text, values))


def _text(value: str | int | float | None) -> str:
    """Shortest text that reads back as the same value; empty where unknown."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value)


def _row(cells: dict[str, str]) -> ScoreRow:
    values: dict[str, str | int | float | None] = {}
    for name, cell in cells.items():
        if name in _TEXT:
            values[name] = cell
        elif name in _COUNTS:
            values[name] = int(cell)
        else:
            values[name] = float(cell) if cell else None
    return ScoreRow(**values)  # pyright: ignore[reportArgumentType]


def _write(path: Path, columns: Sequence[str], lines: Iterable[Iterable[str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(lines)
