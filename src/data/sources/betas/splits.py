"""Which stimuli train, and which test: lists that a data set brings, or a table."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ....errors import InputError, one_line
from ....names import TEST, TRAIN, UNASSIGNED
from ..folder_tables import read_splits

FOLDER, TABLE = "splits", "split.csv"

_POOLED = "shared"


def find_split(root: Path, subject: str, split: str | None) -> tuple[Path, int] | None:
    """The file of a split and which of its variants is meant; None where none is asked for and none is there.

    Args:
        root: Of the data set.
        subject: The subject's name, which a folder of splits may have.
        split: A file, or the name of one in the root's `splits/`, or `FOLDER/NAME` there; `NAME:2` is its variant 2.
            Where None, the root's `split.csv`.

    Raises:
        InputError: There is no such split.
    """
    if split is None:
        return (root / TABLE, 0) if (root / TABLE).is_file() else None
    name, _, variant = split.rpartition(":") if split.rpartition(":")[2].isdecimal() else (split, "", "")
    folder = root / FOLDER
    tried = [*(folder / pool / f"{name}.json" for pool in (subject, "", _POOLED)), Path(name)]
    found = next((path for path in tried if path.is_file()), None)
    if found is None:
        there = sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.json"))
        raise InputError(
            f"--data.source.split {split}: expected a file, or one of {', '.join(there[:12]) or 'none'} in {folder}, "
            "found neither; correct it"
        )
    return found, int(variant or 0)


def assign(path: Path, variant: int, labels: Sequence[str]) -> np.ndarray:
    """The split of each stimulus, str (n,); "" of one that the file does not name.

    Args:
        path: The file: JSON with variants of `train_ids` and `test_ids`, or a CSV table of stimulus and split.
        variant: Which of its variants.
        labels: The stimuli that are there; the file may name others.

    Raises:
        InputError: The file is damaged, or none of its test stimuli is there.
    """
    if path.suffix.lower() == ".csv":
        splits = read_splits(path, labels, "drop", others=True)
    else:
        train, test = _read_variant(path, variant)
        splits = np.full(len(labels), UNASSIGNED, dtype="<U10")
        splits[np.isin(labels, train)] = TRAIN
        splits[np.isin(labels, test)] = TEST
    for word in (TRAIN, TEST):
        if not (splits == word).any():
            raise InputError(
                f"{path}: expected stimuli of the {word} split among the {len(labels)} that trials showed, found none; "
                "choose another with --data.source.split, or get more sessions"
            )
    return splits


def _read_variant(path: Path, variant: int) -> tuple[list[str], list[str]]:
    try:
        variants = json.loads(path.read_text(encoding="utf-8"))["variants"]
        own = {int(each.get("variant_id", place)): each for place, each in enumerate(variants)}
        lists = {number: (each["train_ids"], each["test_ids"]) for number, each in own.items()}
        good = all(isinstance(name, str) for pair in lists.values() for ids in pair for name in ids)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise InputError(
            f'{path}: expected {{"variants": [{{"train_ids": …, "test_ids": …}}]}}, found {one_line(error)}; copy it '
            "again"
        ) from error
    if variant not in lists or not good:
        raise InputError(
            f"{path}: expected variant {variant} with lists of names, found variants "
            f"{', '.join(map(str, lists)) or 'none'}; see --data.source.split"
        )
    train, test = lists[variant]
    both = sorted(set(train) & set(test))
    if both:
        raise InputError(
            f"{path}: expected each stimulus in one of train_ids and test_ids, found {both[0]!r} in both; correct it"
        )
    return train, test
