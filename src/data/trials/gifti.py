"""GiftiSeries: single-trial betas of one hemisphere in a GIfTI file, read trial by trial.

GIfTI is XML with an element for each trial. nibabel's own parser decodes them; here each is taken out as it comes, so
that memory holds one trial beside what was asked for, and a file's first trials cost no more than themselves.
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, one_line
from .series import Series

Visit = Callable[[int, Any], bool]
"""Is given each array's number and the array; whether it wants more."""


class _EnoughError(Exception):
    """All that was asked for has been read."""


class GiftiSeries(Series):
    """A GIfTI file: a data array (vertices,) for each trial, or one of (vertices, trials).

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        expected = f"{path}: expected a series of trials, one data array each"
        if not path.is_file():
            raise InputError(f"{expected}, found no such file; put it there or leave its session out")
        seen: list[Any] = []

        def first(_: int, array: Any) -> bool:
            seen.append(array)
            return False

        arrays = visit_arrays(path, first)
        data = seen[0].data if seen else None
        if data is None or data.ndim not in (1, 2) or not data.size or data.dtype.kind not in "iuf":
            found = "no data array" if data is None else f"{data.dtype} {data.shape}"
            raise InputError(f"{expected}, found {found}; give the single-trial betas of one hemisphere")
        if data.ndim == 2 and arrays != 1:
            raise InputError(f"{expected}, found {arrays} arrays of {data.shape}; write one array for each trial")
        self.dtype, self._table = data.dtype, data.ndim == 2
        self.shape, self.num_trials = (len(data), 1, 1), data.shape[1] if self._table else arrays

    def read(self, values: np.ndarray, trials: range | None = None) -> np.ndarray:
        """See `Series`."""
        own = range(self.num_trials) if trials is None else trials
        kept = np.empty((len(own), len(values)), dtype=np.float32)
        got = 0

        def take(number: int, array: Any) -> bool:
            nonlocal got
            if len(array.data) != self.size or array.data.ndim != (2 if self._table else 1):
                raise InputError(
                    f"{self.path}: expected {self.size} vertices in each array, found {array.data.shape} in array "
                    f"{number} (counted from 0); write it again"
                )
            if self._table:
                kept[:] = array.data[values, own.start : own.stop].T
                got = own.stop
            else:
                if number in own:
                    kept[number - own.start] = array.data[values]
                got = number + 1
            return got < own.stop

        visit_arrays(self.path, take)
        if got < own.stop:
            raise InputError(
                f"{self.path}: expected {self.num_trials} trials, as its first line says, found the end after {got}; a "
                "broken download: fetch it again, or leave its session out"
            )
        return kept


def visit_arrays(path: Path, visit: Visit) -> int:
    """Show the arrays of a GIfTI file one after another; how many there are by its first line.

    Raises:
        InputError: The file is damaged, or keeps its values in another file.
    """
    from nibabel.gifti.parse_gifti_fast import GiftiImageParser

    class Parser(GiftiImageParser):
        """Lets go of each array when it has been shown."""

        seen = promised = 0

        def StartElementHandler(self, name: str, attrs: dict[str, str]) -> None:
            if name == "DataArray" and attrs.get("ExternalFileName"):
                raise InputError(
                    f"{path}: expected values in the file itself, found that it names another one; convert it to "
                    "GZipBase64Binary"
                )
            super().StartElementHandler(name, attrs)
            if name == "GIFTI":  # nibabel would count the arrays that are left, and warn
                self.promised = self.__dict__.pop("expected_numDA", 0)

        def EndElementHandler(self, name: str) -> None:
            super().EndElementHandler(name)
            if name == "DataArray":
                array = self.img.darrays.pop()  # type: ignore[union-attr]
                self.seen += 1
                if not visit(self.seen - 1, array):
                    raise _EnoughError

    parser = Parser()
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            parser.parse(fptr=file)
    except _EnoughError:
        pass
    except InputError:
        raise
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(
            f"{path}: expected a complete GIfTI file, found {one_line(error)}; fetch it again, or leave its session out"
        ) from error
    return parser.promised or parser.seen
