"""Pickles from the internet, read without running anything they bring.

The allow-list is NumPy arrays, NumPy scalars and plain containers. NumPy's own constructors are not called either:
a crafted dtype state makes them read raw bytes as object pointers, so each is replaced by a stand-in that keeps
what it is given, and arrays are built from checked parts at the end.
"""

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, BinaryIO

import numpy as np

from ..errors import InputError, one_line

_SAFE_DTYPE = re.compile(r"[biufc](1|2|4|8|16)|[SU][0-9]+|O8?")


_LARGE = 1 << 20  # bytes of an array that are left in the file and mapped where that is wanted


@dataclass(frozen=True)
class _InFile:
    """Stands in for an array's raw data, which stay in the file.

    Args:
        offset: Where they begin.
        size: How many bytes.
    """

    offset: int
    size: int


class _Leaving:
    """A file from which large pieces are not read but stand-ins of them.

    A pickle keeps an array's data as one string of bytes, outside its frames where it is large.
    """

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.readline = file.readline
        self._end = file.seek(0, 2)
        file.seek(0)

    def seek(self, offset: int) -> None:
        self._file.seek(offset)

    def read(self, size: int) -> Any:
        if size < _LARGE:
            return self._file.read(size)
        offset = self._file.tell()
        if offset + size > self._end:
            raise EOFError("it ends early")
        self._file.seek(size, 1)
        return _InFile(offset, size)


class _Dtype:
    """Stands in for numpy.dtype: a plain type code and its byte order, never fields or flags."""

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not isinstance(code, str) or not _SAFE_DTYPE.fullmatch(code):
            raise pickle.UnpicklingError(f"arrays of dtype {code!r} are not admitted")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        if state[1] in ("<", ">"):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array:
    """Stands in for numpy.ndarray: keeps the parts of an array until it is built."""

    __hash__ = None  # type: ignore[assignment]  # as with an array, so that it can be no key

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran_order, data = state
        self.keep(data, dtype, shape, "F" if fortran_order else "C")

    def keep(self, data: Any, dtype: _Dtype, shape: Any, order: str, axes: Any = None) -> "_Array":
        self.data, self.dtype, self.shape, self.order, self.axes = data, dtype.dtype, shape, order, axes
        return self

    def build(self, built: Callable[[Any], Any], path: Path) -> np.ndarray:
        """The array; `built` makes its elements where they are objects, `path` is where large data were left."""
        if isinstance(self.data, _InFile):
            return self._map(path, self.data)
        if self.dtype.hasobject:
            flat = np.empty(len(self.data), dtype=object)
            for index, value in enumerate(self.data):
                flat[index] = built(value)
        else:
            flat = np.frombuffer(_bytes(self.data), self.dtype).copy()
        if self.order == "K":  # protocol 5: neither C nor Fortran order, stored as C with its axes permuted
            return flat.reshape(self.shape).transpose(self.axes)
        return flat.reshape(self.shape, order="F" if self.order == "F" else "C")

    def _map(self, path: Path, data: _InFile) -> np.ndarray:
        if self.dtype.hasobject or self.order == "K" or math.prod(self.shape) * self.dtype.itemsize != data.size:
            raise pickle.UnpicklingError(f"{data.size} bytes are no array {self.dtype} {self.shape}")
        order = "F" if self.order == "F" else "C"
        return np.memmap(path, self.dtype, mode="r", offset=data.offset, shape=tuple(self.shape), order=order)


class _Reconstruct:
    """Stands in for numpy's `_reconstruct`, which makes an empty array for the state that follows."""

    def __new__(cls, subtype: type, shape: Any, code: Any) -> _Array:
        return _Array()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a function has no state")


class _FromBuffer(_Reconstruct):
    """Stands in for numpy's `_frombuffer`, which protocol 5 uses in place of `_reconstruct`."""

    def __new__(cls, buffer: Any, dtype: _Dtype, shape: Any, order: str, axes: Any = None) -> _Array:
        return _Array().keep(buffer, dtype, shape, order, axes)


class _Scalar(_Reconstruct):
    """Stands in for numpy's `scalar`."""

    def __new__(cls, dtype: _Dtype, data: Any) -> Any:
        return data if dtype.dtype.hasobject else np.frombuffer(_bytes(data), dtype.dtype, count=1)[0]


class _Encode(_Reconstruct):
    """Stands in for `_codecs.encode`, by which protocol 2 writes bytes."""

    def __new__(cls, text: str, encoding: str) -> Any:
        if encoding != "latin1":
            raise pickle.UnpicklingError(f"bytes written as {encoding!r} are not admitted")
        return text.encode("latin1")


class _NoBytes(_Reconstruct):
    """Stands in for bytes(), by which protocol 2 writes the data of an empty array."""

    def __new__(cls) -> Any:
        return b""


_ADMITTED: dict[tuple[str, str], type] = {
    ("numpy", "dtype"): _Dtype,
    ("numpy", "ndarray"): _Array,
    ("_codecs", "encode"): _Encode,
    ("collections", "OrderedDict"): OrderedDict,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): _Reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): _Scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): _FromBuffer for core in ("core", "_core")},
    **{
        (builtins, name): kind
        for builtins in ("builtins", "__builtin__")
        for name, kind in {"set": set, "frozenset": frozenset, "complex": complex, "bytes": _NoBytes}.items()
    },
}


class _Unpickler(pickle._Unpickler):
    """Finds nothing but what is admitted.

    It is Python's own Unpickler, not the faster one in C: that one keeps its memo in an array, for which eleven bytes
    that name a vast index take gigabytes.
    """

    def __init__(self, file: IO[bytes], path: Path, encoding: str) -> None:
        super().__init__(file, encoding=encoding)
        self.path = path

    def find_class(self, module: str, name: str) -> type:
        if (module, name) not in _ADMITTED:
            raise InputError(
                f"{self.path}: expected a pickle of NumPy arrays, scalars and plain containers, found "
                f"{_printable(module)}.{_printable(name)}; it was not run, do not trust this file"
            )
        return _ADMITTED[module, name]


def load_pickle(path: Path, encoding: str = "latin1") -> Any:
    """Read a pickle of NumPy arrays, scalars and plain containers.

    Args:
        path: The file.
        encoding: How the byte strings of Python 2 are read.

    Raises:
        InputError: The file is missing or damaged, or holds anything else; nothing of it was run.
    """
    with _opened(path) as file:
        return read_pickle(file, path, encoding)


def load_pickled_npy(path: Path, mapped: bool = False) -> Any:
    """Read the one object that `numpy.save` pickled into a `.npy` file, such as a mapping of labels to names.

    Args:
        path: The file.
        mapped: Leave the data of large arrays in the file, and map them read-only: then a dict of arrays of many
            gigabytes is opened at once.

    Raises:
        InputError: The file is missing or damaged, or holds anything but plain data; nothing of it was run.
    """
    with _opened(path) as file:
        try:
            version = np.lib.format.read_magic(file)
            read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
            shape, _, dtype = read(file)  # refuses a header of over 10,000 characters
        except Exception as error:  # NumPy's header parser raises many kinds on a damaged file
            raise InputError(
                f"{path}: expected a .npy file, found a damaged one ({one_line(error)}); copy it again"
            ) from error
        if shape != () or not dtype.hasobject:
            raise InputError(
                f"{path}: expected one object saved by numpy.save, found an array of dtype {dtype} and shape {shape}; "
                "copy the file again"
            )
        array = read_pickle(_left(file) if mapped else file, path)
    if not isinstance(array, np.ndarray) or array.shape != () or not array.dtype.hasobject:
        raise InputError(f"{path}: expected one object in an array, found {type(array).__name__}; copy the file again")
    return array.item()


def _left(file: IO[bytes]) -> Any:
    """The rest of a file, whose large pieces are left in it."""
    start = file.tell()
    leaving = _Leaving(file)
    leaving.seek(start)
    return leaving


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, found {error.strerror}; put it there") from error


def read_pickle(file: IO[bytes], path: Path, encoding: str = "latin1") -> Any:
    """As `load_pickle`, from an open file; `path` is what messages call it."""
    try:
        return _built(_Unpickler(file, path, encoding).load(), path)
    except InputError:
        raise
    except Exception as error:  # a damaged or hostile pickle fails anywhere
        raise InputError(
            f"{path}: expected a pickle of plain data, found one that cannot be read ({_printable(one_line(error))}); "
            "copy the file again"
        ) from error


def _built(loaded: Any, path: Path) -> Any:
    """The same value with arrays where their stand-ins were."""
    known: dict[int, Any] = {}  # what stands in many places is built once: nested tenfold, it would never end

    def build(value: Any) -> Any:
        if id(value) not in known:
            known[id(value)] = make(value)
        return known[id(value)]

    def make(value: Any) -> Any:
        if isinstance(value, _Array):
            return value.build(build, path)
        if isinstance(value, dict):
            return type(value)((build(key), build(item)) for key, item in value.items())
        if isinstance(value, list | tuple | set | frozenset):
            return type(value)(build(item) for item in value)
        if value is None or isinstance(value, bool | int | float | complex | str | bytes | np.generic):
            return value
        raise pickle.UnpicklingError(f"{type(value).__name__} is not plain data")

    return build(loaded)


def _bytes(data: bytes | bytearray | str) -> bytes | bytearray:
    """Raw data; Python 2 wrote it as a string, read here as latin-1."""
    return data.encode("latin1") if isinstance(data, str) else data


def _printable(text: str) -> str:
    return text.encode("unicode_escape").decode("ascii")[:200]
