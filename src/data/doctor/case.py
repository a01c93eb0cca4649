"""Case: what could be opened of one subject, whatever of the rest could not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from ...errors import InputError
from ...names import UNASSIGNED
from ...recording import Roi
from .gallery import Gallery
from .measures import Measures, measure


@dataclass(frozen=True)
class Asked:
    """What the user adds to the folder's name; None where nothing was said.

    Args:
        subjects: Numbers of the subjects, or their names.
        noise_ceiling: As the source takes it.
        missing: As `Folder` takes it.
        unlisted: As `Folder` takes it.
        images: The folder of stimuli, where a format does not hold them itself.
        source: Other arguments of the source, by their names.
    """

    subjects: list[int | str] | None = None
    noise_ceiling: Path | None = None
    images: Path | None = None
    missing: Literal["refuse", "allow"] = "refuse"
    unlisted: Literal["refuse", "drop"] = "refuse"
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def numbers(self) -> list[int]:
        """The subjects, of a format that counts them.

        Raises:
            InputError: One is named.
        """
        for each in self.subjects or ():
            if isinstance(each, str):
                raise InputError(f"--subject {each}: expected numbers of subjects, found a name; give its number")
        return [each for each in self.subjects or () if isinstance(each, int)]


@dataclass(frozen=True)
class Table:
    """Responses that lie in one file.

    Args:
        path: The file.
        array: (rows, targets), a memory map where it can be one; NaN is not measured.
        hemisphere: "lh", "rh" or "" where the file does not say.
    """

    path: Path
    array: np.ndarray
    hemisphere: str = ""

    @cached_property
    def measures(self) -> Measures:
        """What one pass over the array finds."""
        return measure(self.array)


@dataclass(frozen=True)
class Side:
    """Tables side by side, of as many rows.

    Args:
        tables: One or several.
    """

    tables: Sequence[Table]

    @property
    def path(self) -> Path:
        """The file, or the folder of several."""
        return self.tables[0].path if len(self.tables) == 1 else self.tables[0].path.parent

    @property
    def rows(self) -> int:
        """Those that all tables have."""
        return min(len(table.array) for table in self.tables)

    def standardised(self, most: int) -> np.ndarray:
        """Targets that vary and are mostly measured, of mean 0 and deviation 1.

        Args:
            most: How many; of more so many are drawn, with a fixed seed.

        Returns:
            float64 (rows, targets), at most `most` targets, NaN where not measured; may have none.
        """
        places = [
            (table, target)
            for table in self.tables
            for target in np.flatnonzero(~table.measures.constant & (table.measures.gaps < len(table.array) / 2))
        ]
        chosen = np.sort(np.random.default_rng(0).permutation(len(places))[:most])
        out = np.empty((self.rows, len(chosen)))
        for table in self.tables:
            columns = [column for column, place in enumerate(chosen) if places[place][0] is table]
            targets = np.array([places[chosen[column]][1] for column in columns], dtype=np.int64)
            if len(targets):
                values = np.array(table.array[: self.rows, targets], dtype=np.float64)
                out[:, columns] = (values - table.measures.mean[targets]) / table.measures.deviation[targets]
        out[~np.isfinite(out)] = np.nan
        return out


@dataclass(frozen=True)
class Block:
    """Stimuli, and the tables whose rows are responses to them, in the same order.

    Args:
        gallery: The stimuli; None where their folder cannot be read.
        tables: Side by side they hold all targets; none where responses are withheld or cannot be read.
        split: The split that all of them are in, as in `Recording`.
    """

    gallery: Gallery | None
    tables: Sequence[Table] = ()
    split: str = UNASSIGNED

    def sides(self) -> list["Side"]:
        """Its tables, those of one hemisphere together: many small files of ROIs are asked as one."""
        sides: dict[str, list[Table]] = {}
        for table in self.tables:
            sides.setdefault(table.hemisphere, []).append(table)
        return [Side(tables) for tables in sides.values()]


@dataclass
class Case:
    """One subject.

    Args:
        subject: Its name.
        blocks: Its stimuli and responses.
        splits: The split of each of the first block's stimuli where a file says it, str (n,).
        splits_file: That file.
        hemispheres: Of each target, str (n_targets,).
        rois: Named sets of targets.
        rois_file: Where they stand.
        coordinates: Each target's place, (n_targets, 3).
        coordinates_file: Where they stand.
        ceilings: Noise ceilings as they stand in their files, each (targets of the file,).
        repeats: Single presentations (stimuli, repetitions, targets), beside a table of responses.
        repeats_file: Where they stand.
    """

    subject: str
    blocks: Sequence[Block]
    splits: np.ndarray | None = None
    splits_file: Path = Path()
    hemispheres: np.ndarray | None = None
    rois: Sequence[Roi] = ()
    rois_file: Path = Path()
    coordinates: np.ndarray | None = None
    coordinates_file: Path = Path()
    ceilings: dict[Path, np.ndarray] = field(default_factory=dict)
    repeats: np.ndarray | None = None
    repeats_file: Path = Path()

    @property
    def tables(self) -> list[Table]:
        """Of all blocks."""
        return [table for block in self.blocks for table in block.tables]

    @property
    def num_targets(self) -> int:
        """Of the first block that has responses; 0 where none has."""
        measured = [block for block in self.blocks if block.tables]
        return sum(table.array.shape[1] for table in measured[0].tables) if measured else 0

    def shown(self) -> list[tuple[str, Gallery, int]]:
        """Every stimulus that can be read: its split, and its gallery and index there."""
        every = []
        for block in self.blocks:
            if block.gallery is None:
                continue
            own = self.splits if self.splits is not None and block is self.blocks[0] else None
            for index in range(len(block.gallery)):
                split = str(own[index]) if own is not None and index < len(own) else block.split
                every.append((split, block.gallery, index))
        return every
