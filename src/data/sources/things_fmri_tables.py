"""The tables of THINGS-fMRI: which stimulus each trial showed, and what is known of each voxel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import InputError
from ...table_file import reading_table
from ..noise_ceiling import share_of
from .base import OWN_NAMES

if TYPE_CHECKING:
    import pandas as pd

_NO_ROI = ("nc_", "splithalf_", "prf-", "voxel_", "subject_id")
"""How the names of columns of other figures begin."""

_TRIAL_COLUMNS = ("trial_type", "session", "run", "trial_id", "stimulus", "concept")


@dataclass(frozen=True)
class TrialTable:
    """Single trials, in the order of their ids.

    Args:
        ids: int64 (n_trials,), ascending.
        session: int64 (n_trials,).
        run: int64 (n_trials,).
        name: Concept and file of the stimulus, such as "dog/dog_12s.jpg", str (n_trials,).
        test: Which belong to the test, bool (n_trials,).
    """

    ids: np.ndarray
    session: np.ndarray
    run: np.ndarray
    name: np.ndarray
    test: np.ndarray


@dataclass(frozen=True)
class VoxelTable:
    """Voxels, in the order of the table.

    Args:
        ids: int64 (n_voxels,).
        members: Which voxels are in each ROI, bool (n_voxels,), by its name.
        ceilings: `nc_singletrial` and `nc_testset` as shares of variance, float64 (n_voxels,), NaN where unknown.
        places: Indices in the volume, int64 (n_voxels, 3); None where the table does not tell.
    """

    ids: np.ndarray
    members: dict[str, np.ndarray]
    ceilings: dict[str, np.ndarray]
    places: np.ndarray | None

    def named(self, flag: str, names: Sequence[str], path: Path) -> dict[str, np.ndarray]:
        """Some of the ROIs.

        Raises:
            InputError: There is no such ROI.
        """
        for name in names:
            if name not in self.members:
                raise InputError(
                    f"--data.source.{flag} {name}: expected a ROI of {path.name}, found {', '.join(self.members)}; "
                    "name some of these"
                )
        return {name: self.members[name] for name in names}


def read_trials(path: Path) -> TrialTable:
    """Read `sub-NN_StimulusMetadata.csv`.

    Raises:
        InputError: A column is missing, a trial stands twice, or its type is neither train nor test.
    """
    table = _read(path, _TRIAL_COLUMNS)
    numbers = {name: _whole(path, table, name) for name in ("trial_id", "session", "run")}
    kinds = table["trial_type"].astype(str).to_numpy(dtype=str)
    if set(kinds) != {"train", "test"}:
        found = ", ".join(sorted(set(kinds))[:4])
        raise InputError(f"{path}: expected trials of trial_type train and of test, found {found}; copy it again")
    order = np.argsort(numbers["trial_id"], kind="stable")
    ids = numbers["trial_id"][order]
    twice = ids[1:][np.diff(ids) == 0]
    if len(twice):
        raise InputError(f"{path}: expected each trial_id once, found {twice[0]} again; copy it again")
    name = (table["concept"].astype(str) + "/" + table["stimulus"].astype(str)).to_numpy(dtype=str)[order]
    return TrialTable(ids, numbers["session"][order], numbers["run"][order], name, (kinds == "test")[order])


def read_voxels(path: Path) -> VoxelTable:
    """Read `sub-NN_VoxelMetadata.csv`. Columns that hold 0 and 1 alone are ROIs.

    Raises:
        InputError: A column is missing, a voxel stands twice, or a ceiling is no per cent.
    """
    table = _read(path, ("voxel_id", "nc_singletrial", "nc_testset"))
    ids = _whole(path, table, "voxel_id")
    if len(np.unique(ids)) < len(ids):
        raise InputError(f"{path}: expected each voxel_id once, found some again; copy it again")
    columns = {str(name): table[name].to_numpy() for name in table.columns if not str(name).startswith(_NO_ROI)}
    members = {name: values == 1 for name, values in columns.items() if np.isin(values, (0, 1)).all()}
    own = [name for name in members if name in OWN_NAMES or ";" in name]
    if own:
        raise InputError(
            f"{path}: expected ROIs' names without ';' and other than {' and '.join(OWN_NAMES)}, which the program "
            f"uses itself, found {own[0]!r}; rename the column"
        )
    axes = [f"voxel_{axis}" for axis in "xyz"]
    there = all(axis in table.columns for axis in axes)
    return VoxelTable(
        ids,
        members,
        {name: _ceiling(path, table, name) for name in ("nc_singletrial", "nc_testset")},
        np.stack([_whole(path, table, axis) for axis in axes], axis=1) if there else None,
    )


def _read(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """A table that has these columns."""
    import pandas as pd

    if not path.is_file():
        raise InputError(f"{path}: expected a table with {', '.join(columns)}, found no such file; put it there")
    with reading_table(path, "a CSV file"):
        table = pd.read_csv(path, encoding="utf-8-sig", skipinitialspace=True, keep_default_na=False, na_values=[""])
    missing = [name for name in columns if name not in table.columns]
    if missing or not len(table):
        found = f"no column {missing[0]}" if missing else "no row"
        raise InputError(f"{path}: expected rows of {', '.join(columns)}, found {found}; copy it again")
    return table


def _whole(path: Path, table: pd.DataFrame, name: str) -> np.ndarray:
    """A column of whole numbers, int64 (rows,)."""
    values = table[name].to_numpy()
    if values.dtype.kind == "f" and np.isfinite(values).all() and (values == np.rint(values)).all():
        values = values.astype(np.int64)
    if values.dtype.kind not in "iu" or (values < 0).any():
        raise InputError(f"{path}: expected {name} to be whole numbers from 0 on, found other values; copy it again")
    return values.astype(np.int64)


def _ceiling(path: Path, table: pd.DataFrame, name: str) -> np.ndarray:
    """A column of per cents as shares, float64 (rows,)."""
    values = table[name].to_numpy()
    where = f"{path}: expected {name}"
    if values.dtype.kind not in "iuf":
        raise InputError(f"{where} in per cent, 0 to 100, found other values; copy it again")
    return share_of(values, where, 100, "multiply by 100", "copy it again")
