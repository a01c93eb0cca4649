"""The tables of a run's folder: `scores.csv`, `targets.csv` and those of what a model found."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..atomic import replacing
from ..errors import InputError, one_line
from ..findings import Findings
from ..recording import Recording
from .scores import ScoreRow, TargetScores

if TYPE_CHECKING:
    import pandas as pd
    from _typeshed import DataclassInstance

SCORE_COLUMNS = tuple(field.name for field in fields(ScoreRow))
TARGET_FIGURES = (
    "pearson", "r2", "explained_variance", "mse", "rmse", "mae", "smooth_l1", "noise_ceiling", "score",
)  # fmt: skip

_TEXT = ("split", "subject", "hemisphere", "roi")
_COUNTS = ("n_targets", "n_scored")


def write_rows(path: Path, rows: Sequence[DataclassInstance]) -> None:
    """Write a table whose columns are its rows' fields: `scores.csv` and others.

    Unknown figures are empty, and numbers read back as the same numbers.

    Args:
        path: The file.
        rows: At least one, all of one class.
    """
    import pandas as pd

    _write(path, pd.DataFrame(list(rows), dtype=object))  # a count stays whole beside an unknown one


def read_scores(path: Path) -> list[ScoreRow]:
    """Read `scores.csv`.

    Raises:
        InputError: The file is missing or not such a table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            head, *lines = csv.reader(file)
        if tuple(head) != SCORE_COLUMNS:
            raise InputError(f"{path}: expected the columns {','.join(SCORE_COLUMNS)}, found {','.join(head)}")
        values: list[dict[str, Any]] = [dict(_typed(*cell) for cell in zip(head, line, strict=True)) for line in lines]
        return [ScoreRow(**row) for row in values]
    except FileNotFoundError:
        raise InputError(f"{path}: expected a run's scores, found no such file; has the run finished?") from None
    except InputError:
        raise
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path}: expected a table of scores as train.py writes it, found {one_line(error)}"
        ) from error


def _typed(name: str, text: str) -> tuple[str, str | int | float | None]:
    """A column's name and a cell's value; a figure that is unknown is empty, a ROI may be called NA."""
    if name in _TEXT:
        return name, text
    if name in _COUNTS:
        return name, int(text)
    return name, float(text) if text else None


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
    import pandas as pd

    found = {subject: finding_columns(each) for subject, each in findings.items()}
    parts = [_targets(*table, found.get(table[0].subject, {})) for table in tables]
    _write(path, pd.concat(parts))


def finding_columns(findings: Findings) -> dict[str, list[float] | list[str]]:
    """What a model says of each target, by the column of `targets.csv` in which it stands."""
    columns: dict[str, list[float] | list[str]] = {}
    for name in ("penalty", "cv_r2", "component_share"):
        if (values := getattr(findings, name)) is not None:
            columns[name] = _as_typed(values)
    if findings.layer is not None:
        columns["layer"] = chosen_layers(findings).tolist()
    if findings.window is not None:
        columns |= zip(("window_x", "window_y", "window_size"), map(_as_typed, findings.window.T), strict=True)
    of_parts = ("band_r2", "band_weight", "unique_r2", "member_r2", "unique_member_r2", "layer_weight")
    for name in of_parts:
        columns |= {f"{name}_{part}": _as_typed(values) for part, values in getattr(findings, name).items()}
    return columns | {f"weight_{member}": _as_typed(values) for member, values in findings.member_weight.items()}


def chosen_layers(findings: Findings) -> np.ndarray:
    """Name of the layer that each target chose, or that counts most for it, str (T,).

    "" where its R² or its weight is unknown and the choice means nothing.
    """
    assert findings.layer is not None
    told = np.stack(list((findings.layer_r2 or findings.layer_weight).values()))  # (layers, T)
    known = ~np.isnan(told[findings.layer, np.arange(len(findings.layer))])
    return np.where(known, np.array(findings.layers)[findings.layer], "")


def _targets(
    recording: Recording, split: str, scores: TargetScores, found: Mapping[str, Sequence[Any]]
) -> pd.DataFrame:
    """A row per target of one subject and split, with what is known of it."""
    import pandas as pd

    rois: list[list[str]] = [[] for _ in range(recording.num_targets)]
    for roi in recording.rois:
        for target in roi.targets:
            rois[target].append(roi.name)
    names = {
        "split": split,
        "subject": recording.subject,
        "hemisphere": recording.hemispheres,
        "target": range(recording.num_targets),
        "rois": [";".join(own) for own in rois],
        "vertex": "" if recording.vertices is None else recording.vertices.astype(object),  # whole, beside unknown ones
    }
    return pd.DataFrame(names | {name: getattr(scores, name) for name in TARGET_FIGURES} | dict(found))


def _as_typed(values: np.ndarray) -> list[float]:
    """float32 values (T,) as the numbers that people typed and read: 0.1, not 0.10000000149011612."""
    return [float(str(value)) for value in values]


def _write(path: Path, table: pd.DataFrame) -> None:
    with replacing(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n")
