"""What `train.py` and `calcarine` share: exit statuses and one-line errors."""

import os
import sys
from collections.abc import Callable

from .errors import InputError, one_line

DONE, FAULT, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def enter(command: Callable[[], object]) -> int:
    """Run a command and return the exit status that its end means.

    0 done; 2 the user's input is wrong, said in one line on standard error; 130 interrupted. A fault of ours
    keeps its traceback and ends with 1.
    """
    try:
        command()
    except InputError as error:
        _say(one_line(error))
        return WRONG_INPUT
    except OSError as error:
        if error.filename is None:
            raise
        _say(f"{error.filename}: {error.strerror}")  # a folder that cannot be written, a full disk
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


def _say(message: str) -> None:
    """One line on standard error, from one of the processes that all meet the same fault."""
    if os.environ.get("LOCAL_RANK", "0") == "0":
        print("error:", message, file=sys.stderr)  # noqa: T201
