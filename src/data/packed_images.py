"""Stimuli that are image files packed into one HDF5 file: the bytes of each, and a table of their names."""

import csv
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ..errors import InputError, one_line
from .digests import digest_bytes, remembered_digests
from .hdf5 import dataset_in, opened
from .stimuli import decode

DATASET = "images"
NAME = "image_name"
ENDING = "_stimuli.h5"


class PackedImages:
    """Some of the images of a file; implements `Stimuli` of src/recording.py.

    A file is opened for every read and kept by none, as in `BrickImages`.

    Args:
        path: The file, whose dataset `images` (n,) holds the bytes of one image file each.
        names: Of the images that are wanted.

    Raises:
        InputError: The file or its table is damaged, they disagree, or an image is not there.
    """

    frames: int | None = None

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self.path, self.names = path, list(names)
        table = path.with_name(path.name.removesuffix(ENDING) + "_metadata.csv")
        place = {name: row for row, name in enumerate(_read_names(table))}
        with opened(path) as file:
            dataset = dataset_in(file, DATASET)
            shape = dataset.shape or ()
        if shape != (len(place),):
            raise InputError(
                f"{path}: expected {len(place)} {DATASET}, one for each row of {table.name}, found {shape}; use the "
                "two files of one data set"
            )
        missing = [name for name in self.names if name not in place]
        if missing:
            raise InputError(
                f"{table}: expected the image of every trial, found no {missing[0]!r}, and {len(missing)} missing in "
                "all; use the file of the images that were shown, or correct the trials' labels"
            )
        self._rows = [place[name] for name in self.names]
        self._digests: list[str] = []

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> np.ndarray:
        """Decode one image to uint8 (height, width, 3).

        Raises:
            InputError: It cannot be decoded.
        """
        with opened(self.path) as file:
            content = _bytes(dataset_in(file, DATASET)[self._rows[index]])
        return decode(self.path / self.names[index], content)

    def digests(self, memo: Path | None = None) -> list[str]:
        """BLAKE2b of each image file's bytes, computed once; see `StimulusFiles` of src/data/stimuli.py."""
        if not self._digests:
            part = digest_bytes(np.array(self._rows).tobytes())
            self._digests = remembered_digests([self.path], partial(_digest, self._rows), memo, part)[0].split()
        return self._digests


def _digest(rows: Sequence[int], path: Path) -> str:
    with opened(path) as file:
        dataset = dataset_in(file, DATASET)
        return " ".join(digest_bytes(_bytes(dataset[row])) for row in rows)


def _bytes(value: object) -> bytes:
    """The bytes of one image, which files hold as numbers of any length, or as text without an encoding."""
    return value if isinstance(value, bytes) else np.asarray(value).tobytes()


def _read_names(table: Path) -> list[str]:
    """Names of the images, in the order of the file."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            if NAME not in (reader.fieldnames or ()):
                raise InputError(
                    f"{table}: expected the column {NAME}, found {', '.join(reader.fieldnames or ())}; copy it again"
                )
            names = [row[NAME] or "" for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table}: expected the names of the images, found {one_line(error)}; put it there") from error
    if len(set(names)) < len(names):
        raise InputError(f"{table}: expected each {NAME} once, found some again; copy it again")
    return names
