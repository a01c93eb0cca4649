"""What a constructor raised while objects were made, as one line where the user can mend it."""

import sysconfig
from collections.abc import Iterator
from pathlib import Path
from traceback import walk_tb
from types import FrameType

from ..errors import InputError, one_line

_LIBRARIES = [Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")]


def as_input(error: Exception) -> InputError | None:
    """The user's part in an error; None where it is a fault of ours, which keeps its traceback.

    jsonargparse wraps what a constructor raises into a message about types, so its causes are looked at too.
    """
    for cause in _causes(error):
        if isinstance(cause, InputError):
            return cause
    for cause in _causes(error):
        if isinstance(cause, ImportError):  # WandbLogger without wandb
            return InputError(f"{_maker(cause)}: {one_line(cause)}; install what it needs, or leave it out")
        if isinstance(cause, (TypeError, AttributeError)) and (place := _own_line(cause)):
            return InputError(f"{_maker(cause)}: {one_line(cause)} ({place}); correct the class")
    return None


def _causes(error: BaseException | None) -> Iterator[Exception]:
    while isinstance(error, Exception):
        yield error
        error = error.__cause__ or error.__context__


def _maker(error: Exception) -> str:
    """The class whose constructor raised."""
    makers = [frame.f_locals["self"] for frame, _ in walk_tb(error.__traceback__) if _constructs(frame)]
    return type(makers[-1]).__name__ if makers else "a class that was named"


def _constructs(frame: FrameType) -> bool:
    return frame.f_code.co_name == "__init__" and "self" in frame.f_locals


def _own_line(error: Exception) -> str | None:
    """File and line where a class that is neither ours nor a library's raised."""
    for frame, line in reversed(list(walk_tb(error.__traceback__))):
        file = Path(frame.f_code.co_filename)
        ours = str(frame.f_globals.get("__name__", "")).partition(".")[0] == "calcarine"
        if not ours and not any(file.is_relative_to(library) for library in _LIBRARIES) and file.is_file():
            return f"{file}, line {line}"
    return None
