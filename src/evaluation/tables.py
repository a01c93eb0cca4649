"""The tables of a run's folder: `scores.csv`, `targets.csv` and those of what a model found."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import replacing
from ..errors import InputError
from ..findings import Findings
from ..recording import Recording
from .scores import ScoreRow, TargetScores

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

SCORE_COLUMNS = tuple(field.name for field in fields(ScoreRow))
TARGET_FIGURES = (
    "pearson", "r2", "explained_variance", "mse", "rmse", "mae", "smooth_l1", "noise_ceiling", "score",
)  # fmt: skip
TARGET_COLUMNS = ("split", "subject", "hemisphere", "target", "rois", "vertex", *TARGET_FIGURES)

_TEXT = ("split", "subject", "hemisphere", "roi")
_COUNTS = ("n_targets", "n_scored")


def write_rows(path: Path, rows: "Sequence[DataclassInstance]") -> None:
    """Write a table whose columns are its rows' fields: `scores.csv` and others.

    Unknown figures are empty, and numbers read back as the same numbers.

    Args:
        path: The file.
        rows: At least one, all of one class.
    """
    _write(path, [field.name for field in fields(rows[0])], (map(_text, astuple(row)) for row in rows))


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


def write_targets(
    path: Path,
    tables: Sequence[tuple[Recording, str, TargetScores]],
    findings: Mapping[str, Findings],
) -> None:
    """Write `targets.csv`: one row per split, subject and target.

    Args:
        path: The file.
        tables: Recording, split and scores of its targets.
        findings: What the model found, by subject: a column for each thing known, after the scores.
    """
    found = {subject: finding_columns(each) for subject, each in findings.items()}
    names = list(dict.fromkeys(name for columns in found.values() for name in columns))
    lines = (
        line
        for recording, split, scores in tables
        for line in _target_lines(recording, split, scores, found.get(recording.subject, {}), names)
    )
    _write(path, [*TARGET_COLUMNS, *names], lines)


def finding_columns(findings: Findings) -> dict[str, list[float] | list[str]]:
    """What a model says of each target, by the column of `targets.csv` in which it stands."""
    columns: dict[str, list[float] | list[str]] = {}
    for name in ("penalty", "cv_r2"):
        if (values := getattr(findings, name)) is not None:
            columns[name] = _as_typed(values)
    if findings.layer is not None:
        columns["layer"] = chosen_layers(findings).tolist()
    if findings.window is not None:
        columns |= zip(("window_x", "window_y", "window_size"), map(_as_typed, findings.window.T), strict=True)
    of_bands = [field.name for field in fields(findings) if field.name.startswith(("band_", "unique_"))]
    for name in of_bands:
        columns |= {f"{name}_{band}": _as_typed(values) for band, values in getattr(findings, name).items()}
    return columns


def chosen_layers(findings: Findings) -> np.ndarray:
    """Name of the layer that each target chose, str (T,); "" where its R² is unknown and the choice means nothing."""
    assert findings.layer is not None
    r2 = np.stack(list(findings.layer_r2.values()))  # (layers, T)
    known = ~np.isnan(r2[findings.layer, np.arange(len(findings.layer))])
    return np.where(known, np.array(list(findings.layer_r2))[findings.layer], "")


def _target_lines(
    recording: Recording, split: str, scores: TargetScores, found: Mapping[str, Sequence[Any]], names: Sequence[str]
) -> Iterable[Sequence[str]]:
    rois: list[list[str]] = [[] for _ in range(recording.num_targets)]
    for roi in recording.rois:
        for target in roi.targets:
            rois[target].append(roi.name)
    vertices = [""] * recording.num_targets if recording.vertices is None else map(str, recording.vertices.tolist())
    unknown = [None] * recording.num_targets
    columns = [getattr(scores, name).tolist() for name in TARGET_FIGURES] + [found.get(name, unknown) for name in names]
    figures = zip(*columns, strict=True)
    for target, (hemisphere, vertex, values) in enumerate(zip(recording.hemispheres, vertices, figures, strict=True)):
        own = ";".join(rois[target])
        yield (split, recording.subject, hemisphere, str(target), own, vertex, *map(_text, values))


def _as_typed(values: np.ndarray) -> list[float]:
    """float32 values (T,) as the numbers that people typed and read: 0.1, not 0.10000000149011612."""
    return [float(str(value)) for value in values]


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
