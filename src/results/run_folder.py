"""FinishedRun: what a finished run left in its folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from ..errors import InputError, one_line
from ..table_file import reading_table
from ..yaml_text import read_yaml

if TYPE_CHECKING:
    import pandas as pd

CONFIG, SCORES, PROVENANCE = "config.yaml", "scores.csv", "run.json"
BESIDE = "beside"
"""Of a configuration's data, and of a member of an ensemble: what stands beside the image, or whether anything does."""
MEMBERS = "members"
"""Of `run.json`, where an ensemble says what it was made of."""

WORDS = ("split", "subject", "hemisphere", "roi", "rois", "layer", "band", "member", "control")
"""Columns of text, in any table: a ROI may be called NA."""


class FinishedRun:
    """A finished run's tables and settings.

    Args:
        folder: RUNS/NAME/version_N.

    Raises:
        InputError: It is no folder of a finished run.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        if not (self.folder / SCORES).is_file():
            raise InputError(
                f"{self.folder}: expected the folder of a finished run, found no {SCORES} in it{_nearby(self.folder)}"
            )

    @property
    def scores(self) -> pd.DataFrame:
        """`scores.csv`: a row for each split, subject, hemisphere and ROI; roi "all" is all targets."""
        return self.table("scores")

    @property
    def targets(self) -> pd.DataFrame:
        """`targets.csv`: a row for each split and target."""
        return self.table("targets")

    @property
    def history(self) -> pd.DataFrame:
        """`history.csv`: losses and correlation by epoch."""
        return self.table("history").set_index("epoch")

    def table(self, name: str) -> pd.DataFrame:
        """Any table of the folder by its file's name: "layers", "bands" of the models that have them.

        Raises:
            InputError: The run has no such table, or it is damaged.
        """
        import pandas as pd

        path = self.folder / f"{name}.csv"
        if not path.is_file():
            have = ", ".join(sorted(each.stem for each in self.folder.glob("*.csv")))
            raise InputError(f"{path}: this run has no such table, it has {have}")
        with reading_table(path, "a run's table"):
            figures = [column for column in pd.read_csv(path, nrows=0) if column not in WORDS]
            return pd.read_csv(path, keep_default_na=False, na_values=dict.fromkeys(figures, ("", "nan")))

    @property
    def config(self) -> dict[str, Any]:
        """`config.yaml`: every setting of the run.

        Raises:
            InputError: It is missing or no mapping.
        """
        path = self.folder / CONFIG
        return _mapping(path, read_yaml, "settings as train.py writes them")

    @property
    def beside(self) -> bool:
        """Whether its model, or a member of its ensemble, has inputs beside the image."""
        members = (self.config.get("ensemble") or {}).get("members") or []
        own = [self.config.get("data") or {}, *members]
        return any(each.get(BESIDE) for each in own)

    @property
    def provenance(self) -> dict[str, Any]:
        """`run.json`: what made the run, when, of which data and model.

        Raises:
            InputError: It is missing or no mapping.
        """
        return _mapping(self.folder / PROVENANCE, json.loads, "a run's provenance as train.py writes it")


def run_names(runs: Sequence[FinishedRun]) -> list[str]:
    """What tables call runs: NAME/version_N, or the whole path where that is no name for one alone.

    Raises:
        InputError: A run stands twice.
    """
    folders = [run.folder.resolve() for run in runs]
    for index, folder in enumerate(folders):
        if folder in folders[:index]:
            raise InputError(f"{runs[index].folder}: expected different runs, found this one twice; name it once")
    short = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    return short if len(set(short)) == len(short) else [str(folder) for folder in folders]


def _mapping(path: Path, parse: Any, expected: str) -> dict[str, Any]:
    try:
        content = parse(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path}: expected {expected}, found no such file; is this a run's whole folder?") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise InputError(f"{path}: expected {expected}, found {one_line(error)}; copy it again") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: expected {expected}, found {type(content).__name__}; copy it again")
    return content


def _nearby(folder: Path) -> str:
    """The versions below a folder that is a run's name alone, for the message."""
    versions = sorted(path.parent for path in folder.glob(f"*/{SCORES}"))
    return f"; give one of its versions, such as {versions[-1]}" if versions else "; has the run ended?"
