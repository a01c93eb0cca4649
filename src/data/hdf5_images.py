"""Stimuli that are rows of HDF5 datasets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import InputError
from .digests import digest_bytes, remembered_digests
from .hdf5 import dataset_in, opened

Prepare = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Brick:
    """Images in one dataset.

    Args:
        path: The file.
        name: Of the dataset, uint8 (images, height, width, 3).
    """

    path: Path
    name: str = "imgBrick"

    def check(self, rows: np.ndarray) -> int:
        """Check by the header that these rows (n,) are there; how many images there are.

        Raises:
            InputError: The file is damaged, or holds other arrays or fewer images.
        """
        with opened(self.path) as file:
            dataset = dataset_in(file, self.name)
            shape, dtype = dataset.shape or (), dataset.dtype
        if len(shape) != 4 or shape[3] != 3 or dtype != np.uint8:
            raise InputError(
                f"{self.path}: expected {self.name} (images, height, width, 3) of uint8, found {dtype} {shape}; copy "
                "it again"
            )
        if len(rows) and rows.max() >= shape[0]:
            raise InputError(
                f"{self.path}: expected image {rows.max()} (counted from 0), found {shape[0]} images; copy it again"
            )
        return int(shape[0])


class BrickImages:
    """Images in rows of one or several files, read one at a time; implements `Stimuli` of src/recording.py.

    A file is opened for every read and kept by none: a handle that lived on would be shared after a fork, where two
    processes would work on one state of the library.

    Args:
        rows: The files and the row of each stimulus.
        names: One per stimulus.
        prepare: From what a file holds to the image as it was seen, uint8 (height, width, 3); nothing is done where
            not given.
    """

    frames: int | None = None

    def __init__(self, rows: Sequence[tuple[Brick, int]], names: Sequence[str], prepare: Prepare | None = None) -> None:
        self._rows, self.names, self._prepare = list(rows), list(names), prepare
        self._digests: list[str] = []

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, index: int) -> np.ndarray:
        """One image, uint8 (height, width, 3).

        Raises:
            InputError: The row cannot be read.
        """
        brick, row = self._rows[index]
        with opened(brick.path) as file:
            image = dataset_in(file, brick.name)[row]
        return self._seen(image)

    def digests(self, memo: Path | None = None) -> list[str]:
        """BLAKE2b of each image as it is read, computed once; see `StimulusFiles` of src/data/stimuli.py."""
        if not self._digests:
            found: dict[tuple[Brick, int], str] = {}
            for brick in dict.fromkeys(brick for brick, _ in self._rows):
                own = sorted({row for each, row in self._rows if each == brick})
                seen = "" if self._prepare is None else f"{self._prepare.__module__}.{self._prepare.__qualname__}"
                part = digest_bytes(np.array(own).tobytes() + seen.encode())
                text = remembered_digests([brick.path], partial(self._digest_rows, brick.name, own), memo, part)[0]
                found |= dict(zip(((brick, row) for row in own), text.split(), strict=True))
            self._digests = [found[each] for each in self._rows]
        return self._digests

    def _digest_rows(self, name: str, rows: Sequence[int], path: Path) -> str:
        with opened(path) as file:
            dataset = dataset_in(file, name)
            images = (dataset[row] for row in rows)
            return " ".join(digest_bytes(np.ascontiguousarray(self._seen(image)).data) for image in images)

    def _seen(self, image: np.ndarray) -> np.ndarray:
        return image if self._prepare is None else self._prepare(image)
