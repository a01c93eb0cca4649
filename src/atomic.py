"""Files and folders that appear whole or not at all."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends, and goes when the block fails.

    Args:
        path: The file to make or replace; its folder is made.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{uuid4().hex}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends well: others see all of it or nothing.

    A killed process leaves its temporary folder, hidden beside `path`, and no `path`. Where another process was
    first, its folder stays and ours goes.

    Args:
        path: The folder to make, without symbolic links; an empty one may be there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid4().hex}.partial"
    temporary.mkdir()
    try:
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
