"""Files and folders that appear whole or not at all."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from .errors import FullDisk

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_FELL_SHORT = "unexpected pos"
"""What torch.save says where fewer bytes were written than it gave."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends, and goes when the block fails.

    Args:
        path: The file to make or replace; its folder is made.

    Raises:
        FullDisk: There is no space for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid4().hex}{path.suffix}")
    try:
        with _space_for(path):
            yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def remove_partials(path: Path) -> None:
    """Remove what processes left beside `path` that were killed while they replaced it; none may be doing so now."""
    hidden = re.compile(rf"\.{re.escape(path.stem)}\.[0-9a-f]{{32}}{re.escape(path.suffix)}")
    for each in path.parent.iterdir() if path.parent.is_dir() else ():
        if hidden.fullmatch(each.name):
            each.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well: others see all of it or nothing.

    A killed process leaves its temporary folder, hidden beside `path`, and no `path`. Where another process was
    first, its folder stays and ours goes.

    Args:
        path: The folder to make, without symbolic links; an empty one may be there.

    Raises:
        FullDisk: There is no space for it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid4().hex}.partial"
    temporary.mkdir()
    try:
        with _space_for(path):
            yield temporary
        if path == Path.cwd():  # a folder put in its place would stay invisible to the shell that stands in it
            for entry in temporary.iterdir():
                entry.rename(path / entry.name)
            return
        try:
            temporary.rename(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # those say that another process was first
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def _space_for(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:
        if not out_of_space(error, path.parent):
            raise
        raise FullDisk(
            f"{path}: expected space to write it, found a full disk or quota; make room, and give the command again"
        ) from error


def out_of_space(error: Exception, folder: Path) -> bool:
    """Whether an error says that a folder's disk is full, asked while what was written still takes the space.

    NumPy and torch say so in words of their own, without the system's number. Of the latter's archives, a write that
    fell short is enough to know: by now another process may have made room.
    """
    if isinstance(error, RuntimeError) and _FELL_SHORT in str(error):
        return True
    number = getattr(error, "errno", None)
    return number in _NO_SPACE or (number is None and shutil.disk_usage(folder).free < 2**20)
