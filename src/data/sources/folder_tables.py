"""The tables of a user's folder: `split.csv` and `rois.csv`."""

import csv
import difflib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np

from ...errors import InputError, one_line
from ...names import HEMISPHERES, TEST, TRAIN, UNASSIGNED, VALIDATION
from ...recording import Roi
from .base import OWN_NAMES

SPLIT_WORDS = (TRAIN, VALIDATION, TEST)

Unlisted = Literal["refuse", "drop"]


def read_splits(path: Path, names: Sequence[str], unlisted: Unlisted, others: bool = False) -> np.ndarray:
    """Read `split.csv`: stimulus, split.

    Args:
        path: The file; where there is none, no stimulus is assigned.
        names: File names of the stimuli.
        unlisted: Whether a stimulus that the file does not name is refused, or to be dropped by the caller.
        others: Whether the file may name stimuli that are not there.

    Returns:
        str (n_stimuli,): "train", "validation" or "test", or "" for a stimulus to be dropped; all of them "" where
        there is no file.

    Raises:
        InputError: A row names no stimulus, one that stands above, or an unknown split; or a stimulus is in no row,
            or every one of them is.
    """
    splits = np.full(len(names), UNASSIGNED, dtype="<U10")
    if not os.path.lexists(path):  # a link to nothing is there, and refused
        return splits
    positions = {name: position for position, name in enumerate(names)}
    for line, (stimulus, split) in read_rows(path, ("stimulus", "split")):
        if stimulus not in positions and others:
            continue
        if stimulus not in positions:
            near = difflib.get_close_matches(stimulus, names, n=1, cutoff=0.0)[0]
            raise InputError(
                f"{path}, line {line}: expected the file name of an image, found {stimulus!r}; did you mean {near!r}?"
            )
        if split not in SPLIT_WORDS:
            raise InputError(
                f"{path}, line {line}: expected one of {', '.join(SPLIT_WORDS)}, found {split!r}; correct the split"
            )
        if splits[positions[stimulus]] != UNASSIGNED:
            raise InputError(
                f"{path}, line {line}: expected each stimulus once, found {stimulus!r} again; remove one of its rows"
            )
        splits[positions[stimulus]] = split
    missing = [name for name, split in zip(names, splits, strict=True) if split == UNASSIGNED]
    if missing and (unlisted == "refuse" or len(missing) == len(names)):
        raise InputError(
            f"{path}: expected a split for each of {len(names)} images, found none for {len(missing)} "
            f"({', '.join(missing[:3])}{', …' if len(missing) > 3 else ''}); name them, or leave them out with "
            "--data.source.unlisted drop"
        )
    return splits


def read_rois(path: Path, num_targets: int) -> tuple[np.ndarray, list[Roi]]:
    """Read `rois.csv`: target (counted from 0), hemisphere, roi; a target may stand in several rows.

    Args:
        path: The file; where there is none, there are no ROIs.
        num_targets: How many targets there are.

    Returns:
        The hemisphere of each target, str (n_targets,), "" where not given; and the ROIs in order of appearance.

    Raises:
        InputError: A row names no target, no ROI or one of the program's own, an unknown hemisphere, or another one
            than above.
    """
    hemispheres = np.full(num_targets, "", dtype="<U2")
    if not os.path.lexists(path):  # a link to nothing is there, and refused
        return hemispheres, []
    members: dict[tuple[str, str], set[int]] = {}
    seen: dict[int, str] = {}
    for line, (text, hemisphere, roi) in read_rows(path, ("target", "hemisphere", "roi")):
        target = int(text) if text.isdecimal() and len(text) < 19 else -1
        if not 0 <= target < num_targets:
            raise InputError(
                f"{path}, line {line}: expected a target from 0 to {num_targets - 1}, found {text!r}; targets are "
                "columns of the responses, counted from 0"
            )
        if hemisphere not in (*HEMISPHERES, ""):
            raise InputError(
                f"{path}, line {line}: expected hemisphere lh, rh or nothing, found {hemisphere!r}; correct it"
            )
        if not roi:
            raise InputError(f"{path}, line {line}: expected the name of a ROI, found none; name it or remove the row")
        if roi in OWN_NAMES or ";" in roi:
            raise InputError(
                f"{path}, line {line}: expected a ROI's name without ';' and other than {' and '.join(OWN_NAMES)}, "
                f"which the program uses itself, found {roi!r}; rename it"
            )
        if seen.setdefault(target, hemisphere) != hemisphere:
            raise InputError(
                f"{path}, line {line}: expected hemisphere {seen[target]!r} for target {target} as above, found "
                f"{hemisphere!r}; a target lies in one hemisphere"
            )
        hemispheres[target] = hemisphere
        members.setdefault((roi, hemisphere), set()).add(target)
    rois = [
        Roi(name, hemisphere, np.array(sorted(targets), dtype=np.int64))
        for (name, hemisphere), targets in members.items()
    ]
    return hemispheres, rois


def read_columns(path: Path) -> list[str]:
    """Names of a table's columns.

    Raises:
        InputError: It is no table.
    """
    with _open_table(path) as reader:
        return [name.strip() for name in reader.fieldnames or ()]


def read_rows(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, tuple[str, ...]]]:
    """The line number and the values of these columns, row by row; columns beyond them are left alone.

    Raises:
        InputError: It is no table, lacks a column, or a row has another number of values.
    """
    with _open_table(path) as reader:
        header = [name.strip() for name in reader.fieldnames or ()]
        if not set(columns) <= set(header):
            raise InputError(
                f"{path}, line 1: expected the columns {','.join(columns)}, found {','.join(header)!r}; "
                "correct the first line"
            )
        reader.fieldnames = header
        for row in reader:
            values = tuple((row[column] or "").strip() for column in columns)
            if None in row or None in row.values():
                raise InputError(
                    f"{path}, line {reader.line_num}: expected {len(header)} values, found "
                    f"{'more' if None in row else 'fewer'}; a value that holds a comma stands in quotes"
                )
            yield reader.line_num, values


@contextmanager
def _open_table(path: Path) -> Iterator["csv.DictReader[str]"]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            yield csv.DictReader(file, skipinitialspace=True, strict=True)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"{path}: expected a table of comma-separated values in UTF-8, found {one_line(error)}; save it again"
        ) from error
