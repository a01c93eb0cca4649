"""The files of a submission, in a zip or in a folder, read where they are: nothing is unpacked."""

import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import IO

from ..errors import InputError, one_line

_DESKTOP_FILES = (".ds_store", "thumbs.db", "desktop.ini")  # what desktops leave, in zips too
_DESKTOP_FOLDER = "__MACOSX"


class Archive(ABC):
    """Named files.

    Args:
        path: Of the whole.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def sizes(self) -> dict[str, int]:
        """Bytes of each file by its name, such as "subj01/lh_pred_test.npy"."""

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A file, to be read from its beginning."""

    @contextmanager
    def reading(self, name: str) -> Iterator[IO[bytes]]:
        """A file while it is read; what is wrong with its bytes is said in one line."""
        try:
            with self.open(name) as file:
                yield file
        except InputError:
            raise
        except (
            zipfile.BadZipFile,
            zlib.error,
            LZMAError,
            EOFError,
            NotImplementedError,
            RuntimeError,
            ValueError,
        ) as error:
            # zipfile says so of compressors that are not here, of passwords, and of places before the file's beginning
            raise InputError(f"{self.place(name)}: found a damaged file ({one_line(error)}); make it again") from error

    def place(self, name: str) -> Path:
        """How messages call a file."""
        return self.path / name


class Folder(Archive):
    """The files below a folder."""

    def sizes(self) -> dict[str, int]:
        files = [path for path in sorted(self.path.rglob("*")) if path.is_file()]
        names = {path.relative_to(self.path).as_posix(): path.stat().st_size for path in files}
        return {name: size for name, size in names.items() if _is_content(name)}

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")


class Zip(Archive):
    """The files in a zip.

    Raises:
        InputError: It is no zip, or a name stands twice in it.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        try:
            self.archive = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            raise InputError(
                f"{path}: expected a zip, or a folder of the same layout, found {one_line(error)}; make it again"
            ) from error

    def sizes(self) -> dict[str, int]:
        entries = [entry for entry in self.archive.infolist() if not entry.is_dir() and _is_content(entry.filename)]
        sizes = {entry.filename: entry.file_size for entry in entries}
        if len(sizes) < len(entries):
            names = [entry.filename for entry in entries]
            twice = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{self.path}: expected each file once, found {twice!r} twice; make the zip again")
        return sizes

    def open(self, name: str) -> IO[bytes]:
        if self.archive.getinfo(name).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            # zipfile lets LZMA and bzip2 blow 4 KB up to any size at once
            raise zipfile.BadZipFile("compressed otherwise than by deflate")
        return self.archive.open(name)


def open_archive(path: Path) -> Archive:
    """A submission as it was given.

    Raises:
        InputError: There is none, or it is neither a zip nor a folder.
    """
    if path.is_dir():
        return Folder(path)
    if not path.is_file():
        raise InputError(f"{path}: expected a submission, a zip or a folder, found none; correct the path")
    return Zip(path)


def _is_content(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return parts[:1] != (_DESKTOP_FOLDER,) and (not parts or parts[-1].lower() not in _DESKTOP_FILES)
