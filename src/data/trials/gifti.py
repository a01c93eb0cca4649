"""GiftiSeries: single-trial betas of one hemisphere in a GIfTI file, read trial by trial.

GIfTI is XML with an element for each trial. nibabel's own parser decodes them; here each is taken out as it comes, so
that memory holds one trial beside what was asked for, and a file's first trials cost no more than themselves. Of what
is compressed no more is made than the header of its array says.
"""

import base64
import gzip
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import InputError, one_line
from .series import Series

_MOST, _LONGEST = 10_000, 64
"""Characters of an array, and beyond these of each of its values, of which the longest are numbers in words."""

Visit = Callable[[int, Any], bool]
"""Is given each array's number and the array; whether more is wanted."""


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
            raise InputError(f"{expected}, found no such file; put it there or do without it")
        seen: list[Any] = []

        def first(_: int, array: Any) -> bool:
            seen.append(array)
            return False

        arrays = visit_arrays(path, begin=first)
        dims = seen[0].dims if seen else []
        self.dtype = _dtype(seen[0]) if seen else np.dtype(np.float32)
        if len(dims) not in (1, 2) or min(dims) < 1 or self.dtype.kind not in "iuf":
            found = f"{self.dtype} {tuple(dims)}" if seen else "no data array"
            raise InputError(f"{expected}, found {found}; give the single-trial betas of one hemisphere")
        if len(dims) == 2 and arrays != 1:
            raise InputError(f"{expected}, found {arrays} arrays of {tuple(dims)}; write one array for each trial")
        self._dims = dims
        self.shape, self.num_trials = (dims[0], 1, 1), dims[1] if len(dims) == 2 else arrays

    def read(self, values: np.ndarray, trials: range | None = None) -> np.ndarray:
        """See `Series`."""
        own = range(self.num_trials) if trials is None else trials
        kept = np.empty((len(own), len(values)), dtype=np.float32)
        got = 0

        def check(number: int, array: Any) -> bool:
            if array.dims != self._dims:
                raise InputError(
                    f"{self.path}: expected {self._dims} values in each array, found {array.dims} in array {number} "
                    "(counted from 0); write it again"
                )
            return True

        def take(number: int, array: Any) -> bool:
            nonlocal got
            if len(self._dims) == 2:
                kept[:] = array.data[values, own.start : own.stop].T
                got = own.stop
            else:
                if number in own:
                    kept[number - own.start] = array.data[values]
                got = number + 1
            return got < own.stop

        visit_arrays(self.path, take, check)
        if got < own.stop:
            raise InputError(
                f"{self.path}: expected {self.num_trials} trials, as its first line says, found the end after {got}; a "
                "broken download: fetch it again, or do without it"
            )
        return kept


def visit_arrays(path: Path, visit: Visit | None = None, begin: Visit | None = None) -> int:
    """Show the arrays of a GIfTI file one after another.

    Args:
        path: The file.
        visit: Is shown each array.
        begin: Is shown each before its values are read, which then may be left.

    Returns:
        How many there are, by the file's first line.

    Raises:
        InputError: The file is damaged, or keeps its values in another file.
    """
    from nibabel.gifti.parse_gifti_fast import GiftiImageParser
    from nibabel.gifti.util import gifti_encoding_codes

    compressed = gifti_encoding_codes.code["GZipBase64Binary"]

    class Parser(GiftiImageParser):
        """Lets go of each array when it has been shown."""

        seen = promised = length = 0

        def StartElementHandler(self, name: str, attrs: dict[str, str]) -> None:
            if name == "DataArray" and attrs.get("ExternalFileName"):
                raise InputError(
                    f"{path}: expected values in the file itself, found that it names another one; convert it to "
                    "GZipBase64Binary"
                )
            super().StartElementHandler(name, attrs)
            if name == "GIFTI":  # nibabel would count the arrays that are left, and warn
                self.promised = self.__dict__.pop("expected_numDA", 0)
            if name == "DataArray" and begin is not None and not begin(self.seen, self.da):
                raise _EnoughError
            self.length = 0

        def CharacterDataHandler(self, data: str) -> None:
            super().CharacterDataHandler(data)
            self.length += len(data)
            if self.write_to == "Data" and self.da and self.length > _MOST + _LONGEST * math.prod(self.da.dims):
                raise ValueError(f"more text than {self.da.dims} values take in an array")

        def flush_chardata(self) -> None:
            blocks, array = self._char_blocks, self.da
            if self.write_to == "Data" and blocks and array is not None and array.encoding == compressed:
                self._char_blocks = None
                array.data = _inflated(array, "".join(blocks))
            else:
                super().flush_chardata()

        def EndElementHandler(self, name: str) -> None:
            super().EndElementHandler(name)
            if name == "DataArray":
                array = self.img.darrays.pop()  # type: ignore[union-attr]
                self.seen += 1
                if visit is not None and not visit(self.seen - 1, array):
                    raise _EnoughError

    parser = Parser()
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
            parser.parse(fptr=file)
    except _EnoughError:
        pass
    except InputError:
        raise
    except Exception as error:  # parsers of foreign formats raise many kinds
        raise InputError(
            f"{path}: expected a complete GIfTI file, found {one_line(error)}; fetch it again, or do without it"
        ) from error
    return parser.promised or parser.seen


def _dtype(array: Any) -> np.dtype:
    """Of an array's values, in the file's order of bytes."""
    from nibabel.gifti.util import gifti_endian_codes
    from nibabel.nifti1 import data_type_codes

    dtype: Any = data_type_codes.dtype[array.datatype]
    return dtype.newbyteorder(gifti_endian_codes.byteorder[array.endian])


def _inflated(array: Any, text: str) -> np.ndarray:
    """The values of a compressed array, of which no more is made than its header says."""
    from nibabel.gifti.util import array_index_order_codes

    dtype = _dtype(array)
    size = math.prod(array.dims) * dtype.itemsize
    content = zlib.decompressobj().decompress(base64.b64decode(text), size + 1)
    if len(content) != size:
        raise ValueError(f"{'more' if len(content) > size else 'fewer'} values than {array.dims} in an array")
    order: Any = array_index_order_codes.npcode[array.ind_ord]
    return np.frombuffer(bytearray(content), dtype).reshape(array.dims, order=order)
