"""ArraySeries: single-trial betas in files that keep the trials of each voxel together: GLMsingle's, and CIFTI.

Where such a file is neither compressed nor in pieces it is mapped, so that a few voxels cost no more than their own
trials; memory holds one block of voxels beside what was asked for.
"""

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, one_line
from ..hdf5 import dataset_in, opened
from ..unpickle import load_pickled_npy
from .series import Series

GLMSINGLE = "betasmd"
"""What GLMsingle calls its single-trial betas."""

_BLOCK = 1 << 22  # values that are read at a time: 16 MB of float32

Take = Callable[[np.ndarray, slice], np.ndarray]
"""Values of some places (n,) in some trials, (n, trials), as they are stored."""


class ArraySeries(Series):
    """A file that keeps each place's trials together."""

    _slope, _intercept = 1.0, 0.0

    def read(self, values: np.ndarray, trials: range | None = None) -> np.ndarray:
        """See `Series`."""
        own = range(self.num_trials) if trials is None else trials
        kept = np.empty((len(own), len(values)), dtype=np.float32)
        step = max(1, _BLOCK // len(own))
        with self._open() as take:
            for start in range(0, len(values), step):
                found = take(values[start : start + step], slice(own.start, own.stop)).T
                if self.scaled:
                    found = found * self._slope + self._intercept
                with np.errstate(over="ignore"):
                    kept[:, start : start + step] = found
        return kept

    @abstractmethod
    def _open(self) -> Any:
        """A context in which the file can be read, as `Take`."""


class GlmsingleSeries(ArraySeries):
    """GLMsingle's `betasmd` (X, Y, Z, trials) or (V, 1, 1, trials), in `.hdf5` or a pickled dict in `.npy`.

    Prince et al. 2022, "Improving the accuracy of single-trial fMRI response estimates using GLMsingle".

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._array() as array:
            shape = list(array.shape or ())
            self.dtype = np.dtype(array.dtype)
        if len(shape) not in (2, 4) or 0 in shape or self.dtype.kind not in "iuf":
            raise InputError(
                f"{path}: expected {GLMSINGLE} (X, Y, Z, trials) of numbers, found {self.dtype} {tuple(shape)}; give "
                "GLMsingle's single-trial betas, of type B, C or D"
            )
        *grid, self.num_trials = shape
        self.shape = (*grid, *(1,) * (3 - len(grid)))

    @contextmanager
    def _array(self) -> Iterator[Any]:
        """The array, mapped where its values stand in the file one after another, or else the file's dataset."""
        if self.path.suffix.lower() == ".npy":
            content = load_pickled_npy(self.path, mapped=True)
            betas = content.get(GLMSINGLE) if isinstance(content, dict) else None
            if not isinstance(betas, np.ndarray):
                found = ", ".join(map(str, content)) if isinstance(content, dict) else type(content).__name__
                raise InputError(f"{self.path}: expected a dict with {GLMSINGLE}, as GLMsingle saves it, found {found}")
            yield betas
            return
        with opened(self.path) as file:
            dataset = dataset_in(file, GLMSINGLE)
            offset = dataset.id.get_offset() if dataset.chunks is None and dataset.dtype.kind in "iuf" else None
            plain = offset is not None and dataset.size
            yield np.memmap(self.path, dataset.dtype, "r", int(offset or 0), dataset.shape) if plain else dataset

    @contextmanager
    def _open(self) -> Iterator[Take]:
        with self._array() as array:
            if isinstance(array, np.ndarray):
                grid = array.shape[:-1]
                yield lambda values, trials: array[(*np.unravel_index(values, grid), trials)]
            else:
                yield lambda values, trials: _by_plane(array, values, trials)


def _by_plane(dataset: Any, values: np.ndarray, trials: slice) -> np.ndarray:
    """Values of some places in some trials, from a dataset in pieces, plane by plane of its first axis."""
    count = trials.stop - trials.start
    size = math.prod(dataset.shape[1:-1])  # places of a plane
    found = np.empty((len(values), count), dtype=dataset.dtype)
    planes = values // size
    for plane in np.unique(planes).tolist():
        own = planes == plane
        found[own] = dataset[plane, ..., trials].reshape(-1, count)[values[own] - plane * size]
    return found


class CiftiSeries(ArraySeries):
    """A CIFTI-2 file of dense scalars or a dense series: trials × grayordinates.

    Args:
        path: The file.

    Attributes:
        grayordinates: What each value is of.
    """

    def __init__(self, path: Path) -> None:
        from .grayordinates import Grayordinates

        super().__init__(path)
        image, axes = open_cifti(path)
        proxy = image.dataobj
        self.dtype = np.dtype(proxy.dtype)
        self.grayordinates = Grayordinates.of(axes[-1], path)
        if len(axes) != 2 or 0 in proxy.shape or self.dtype.kind not in "iuf":
            raise InputError(
                f"{path}: expected trials × grayordinates, found {self.dtype} {tuple(proxy.shape)}; give a dense "
                "scalar or a dense series file"
            )
        self._slope, self._intercept = float(proxy.slope), float(proxy.inter)
        self.scaled = (self._slope, self._intercept) != (1.0, 0.0)
        self.num_trials, self.shape = int(proxy.shape[0]), (int(proxy.shape[1]),)

    @contextmanager
    def _open(self) -> Iterator[Take]:
        try:
            stored = np.asanyarray(open_cifti(self.path)[0].dataobj.get_unscaled())  # mapped
        except OSError as error:
            raise InputError(
                f"{self.path}: expected a complete file, found {one_line(error)}: a broken download; fetch it again, "
                "or do without it"
            ) from error
        rows = stored.T  # (grayordinates, trials)
        yield lambda values, trials: rows[values, trials]


def open_cifti(path: Path) -> tuple[Any, list[Any]]:
    """A CIFTI-2 file, of which its header is read, and what its axes count.

    Raises:
        InputError: It is missing, damaged, or no CIFTI-2 file.
    """
    import nibabel
    from nibabel.cifti2.cifti2 import Cifti2Image

    if not path.is_file():
        raise InputError(f"{path}: expected a CIFTI-2 file, found no such file; put it there")
    try:
        image: Any = nibabel.load(path)  # type: ignore[attr-defined]
        cifti = isinstance(image, Cifti2Image)
        axes = [image.header.get_axis(axis) for axis in range(len(image.shape))] if cifti else []
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(
            f"{path}: expected a CIFTI-2 file, found one that cannot be read ({one_line(error)}); copy it again"
        ) from error
    if not cifti:
        raise InputError(f"{path}: expected a CIFTI-2 file, found {type(image).__name__}; give a dense scalar file")
    return image, axes
