"""Series: single-trial betas of one session as fMRI toolboxes write them, read trial by trial.

A trial is one volume, or one value per vertex. NIfTI and FreeSurfer's MGH keep each trial's values together, so
compressed files are read once from front to back, and plain ones at the speed of the disk; memory holds one trial
beside what was asked for.
"""

import gzip
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, one_line
from ..hdf5 import dataset_in, opened

_MEGABYTE = 1 << 20
_BLOCK = 1 << 22  # values that are compared at a time: 16 MB of float32

_MGH_HEADER = 284  # bytes
_MOST_COMPRESSED = 1032
"""Bytes that one byte of gzip can stand for at the most."""
_MGH_TYPES = {0: ">u1", 1: ">i4", 3: ">f4", 4: ">i2"}


class Series(ABC):
    """One file of single trials.

    Args:
        path: The file.

    Attributes:
        shape: Of a trial's grid, such as (X, Y, Z) or (vertices, 1, 1).
        num_trials: In the file, by its header.
        dtype: Of the values on disk.
        scaled: Whether the header says how stored numbers become values.
    """

    shape: tuple[int, ...]
    num_trials: int
    dtype: np.dtype
    scaled = False

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def size(self) -> int:
        """Values of a trial."""
        return math.prod(self.shape)

    def stamp(self) -> list[object]:
        """What tells this file from another: its place, for files of other subjects have its name; size and time."""
        stat = self.path.stat()
        return [str(self.path.resolve()), stat.st_size, stat.st_mtime_ns]

    @abstractmethod
    def read(self, values: np.ndarray, trials: range | None = None) -> np.ndarray:
        """Read trials one after another at some places.

        Args:
            values: Places in the grid, counted in C order (last axis fastest), int64 (n,).
            trials: Which, counted from 0, in steps of 1; all where not given.

        Returns:
            float32 (trials, n), in the file's own scale.

        Raises:
            InputError: The file is damaged or ends early.
        """

    def still(self, values: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """Which places have one number in all of some trials.

        Args:
            values: As of `read`.
            trials: Which, ascending, int64 (trials,).

        Returns:
            bool (n,).
        """
        span = spanned(trials)
        step = max(1, _BLOCK // len(span))
        found = np.empty(len(values), dtype=bool)
        for start in range(0, len(values), step):
            own = self.read(values[start : start + step], span)[trials - span.start]
            found[start : start + step] = (own == own[0]).all(axis=0)
        return found


def same_affine(one: np.ndarray | None, other: np.ndarray | None) -> bool:
    """Whether two affines (4, 4) agree to a thousandth of a millimetre; what is not known agrees with any."""
    return one is None or other is None or np.allclose(one, other, atol=1e-3)


def spanned(trials: np.ndarray) -> range:
    """From the first of some trials to the last, which are ascending, int64 (n,)."""
    return range(int(trials[0]), int(trials[-1]) + 1)


class VolumeSeries(Series):
    """A file that keeps each trial's values together."""

    def read(self, values: np.ndarray, trials: range | None = None) -> np.ndarray:
        """See `Series`."""
        own = range(self.num_trials) if trials is None else trials
        places = self._in_file(values)
        kept = np.empty((len(own), len(values)), dtype=np.float32 if self.scaled else self.dtype)
        bits = f"u{kept.dtype.itemsize}"  # taken as they lie, and turned into numbers of this machine at once
        for row, volume in enumerate(self._volumes(own)):
            np.take(volume.view(bits), places, out=kept[row].view(bits), mode="clip")
        return kept.astype(np.float32)

    def still(self, values: np.ndarray, trials: np.ndarray) -> np.ndarray:
        """See `Series`; read from front to back, up to the trial where no place is left."""
        found, first = np.ones(len(values), dtype=bool), None
        places, span, wanted = self._in_file(values), spanned(trials), set(trials.tolist())
        for trial, volume in zip(span, self._volumes(span), strict=True):
            if trial in wanted:
                own = volume[places]
                first = own if first is None else first
                found &= own == first
            if not found.any():
                break
        return found

    def _in_file(self, values: np.ndarray) -> np.ndarray:
        """Where places stand in a volume: the files have the first axis fastest, HDF5 files of reversed axes too."""
        return np.ravel_multi_index(np.unravel_index(values, self.shape), self.shape, order="F")

    @abstractmethod
    def _volumes(self, trials: range) -> Iterator[np.ndarray]:
        """The values (size,) of trials one after another, the grid's first axis fastest."""


class ImageSeries(VolumeSeries):
    """A NIfTI or MGH file whose last axis is trials.

    Attributes:
        affine: From voxels to millimetres, float64 (4, 4); None of an MGH file, whose values here are vertices.
    """

    affine: np.ndarray | None = None
    _slope, _intercept = 1.0, 0.0

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        expected = f"{path}: expected a series of trials, one volume each"
        try:
            shape = self._read_mgh() if path.suffix.lower() in (".mgh", ".mgz") else self._read_nifti()
        except FileNotFoundError:
            raise InputError(f"{expected}, found no such file; put it there or do without it") from None
        except Exception as error:  # parsers of foreign formats raise many kinds
            raise InputError(f"{expected}, found a damaged file ({one_line(error)}); copy it again") from error
        if len(shape) != 4 or min(shape) < 1 or self.dtype.kind not in "iuf":
            raise InputError(f"{expected}, found {self.dtype} {shape}; give the single-trial betas")
        self.shape, self.num_trials = shape[:3], shape[3]
        needed = self._offset + math.prod(shape) * self.dtype.itemsize
        there = path.stat().st_size
        if needed > there * (_MOST_COMPRESSED if self._compressed else 1):
            raise InputError(
                f"{path}: expected {needed:,} bytes by its header, found {there:,}: a broken download; fetch it again, "
                "or do without it"
            )

    def _read_nifti(self) -> tuple[int, ...]:
        import nibabel

        image: Any = nibabel.load(self.path)
        proxy = image.dataobj
        self.affine = np.asarray(image.affine, dtype=np.float64)
        self._offset, self.dtype = int(proxy.offset), np.dtype(proxy.dtype)
        self._slope, self._intercept = float(proxy.slope), float(proxy.inter)
        self.scaled = (self._slope, self._intercept) != (1.0, 0.0)
        return tuple(int(size) for size in proxy.shape)

    def _read_mgh(self) -> tuple[int, ...]:
        """The first words of FreeSurfer's format.

        nibabel reads what stands behind the values too, for which it decompresses all of them: three seconds for each
        of a subject's 80 files.
        """
        with gzip.open(self.path) if self._compressed else self.path.open("rb") as file:
            words = np.frombuffer(file.read(24), dtype=">i4").tolist()
        version, *shape, kind = words
        if version != 1 or kind not in _MGH_TYPES:
            raise ValueError(f"no header of an MGH file: {words}")
        self._offset, self.dtype = _MGH_HEADER, np.dtype(_MGH_TYPES[kind])
        return tuple(shape)

    @property
    def _compressed(self) -> bool:
        return self.path.suffix.lower() in (".gz", ".mgz")

    def _volumes(self, trials: range) -> Iterator[np.ndarray]:
        block = bytearray(self.size * self.dtype.itemsize)
        buffer = np.frombuffer(block, dtype=self.dtype)
        with _reading(self.path, self._compressed) as file:
            file.seek(self._offset + trials.start * len(block))
            for trial in trials:
                if file.readinto(block) < len(block):
                    raise InputError(
                        f"{self.path}: expected {self.num_trials} trials, found the file's end in trial {trial + 1}: a "
                        "broken download; fetch it again, or do without it"
                    )
                if self.scaled:
                    yield (buffer * self._slope + self._intercept).astype(np.float32)
                else:
                    yield buffer


class Hdf5Series(VolumeSeries):
    """An HDF5 file with a dataset (trials, Z, Y, X): the axes of the NIfTI file reversed.

    Args:
        path: The file.
        name: Of the dataset.
    """

    def __init__(self, path: Path, name: str = "betas") -> None:
        super().__init__(path)
        self._name = name
        with opened(path) as file:
            dataset = dataset_in(file, name)
            shape, self.dtype = dataset.shape or (), dataset.dtype
        if len(shape) != 4 or min(shape) < 1 or self.dtype.kind not in "iuf":
            raise InputError(
                f"{path}: expected {name} (trials, Z, Y, X) of numbers, found {self.dtype} {shape}; give the "
                "single-trial betas"
            )
        self.num_trials, self.shape = shape[0], shape[:0:-1]

    def _volumes(self, trials: range) -> Iterator[np.ndarray]:
        step = max(1, 16 * _MEGABYTE // (self.size * self.dtype.itemsize))
        with opened(self.path) as file:
            dataset = dataset_in(file, self._name)
            for start in range(trials.start, trials.stop, step):
                yield from dataset[start : min(start + step, trials.stop)].reshape(-1, self.size)


@contextmanager
def _reading(path: Path, compressed: bool) -> Iterator[Any]:
    """A file read from front to back; what is wrong with it is one line."""
    try:
        with gzip.open(path, "rb") if compressed else path.open("rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path}: expected a complete file, found {one_line(error)}: a broken download; fetch it again, or leave "
            "its session out"
        ) from error
