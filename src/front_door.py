"""What `train.py` and `calcarine` share: exit statuses and one-line errors."""

import io
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from .errors import InputError, one_line

DONE, FAULT, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


DEBUG = "--debug"


def enter(args: Sequence[str] | None, command: Callable[[list[str]], object]) -> int:
    """Run a command and return the exit status that its end means.

    Args:
        args: Flags as typed; None takes them from the command line. With --debug among them, which every command
            takes, what is wrong with the input shows its traceback too.
        command: Is given the other flags.

    0 done; 2 the user's input is wrong, said in one line on standard error; 130 interrupted. A fault of ours
    keeps its traceback and ends with 1.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text, as on standard error
    typed = list(sys.argv[1:] if args is None else args)
    try:
        command([each for each in typed if each != DEBUG])
    except InputError as error:
        if DEBUG in typed:
            traceback.print_exc()
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
