"""What `train.py` and `calcarine` share: exit statuses and one-line errors."""

import sys
from collections.abc import Callable

from .errors import InputError

DONE, FAULT, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130


def enter(command: Callable[[], object]) -> int:
    """Run a command and return the exit status that its end means.

    0 done; 2 the user's input is wrong, said in one line on standard error; 130 interrupted. A fault of ours
    keeps its traceback and ends with 1.
    """
    try:
        command()
    except InputError as error:
        print("error:", " ".join(str(error).split()), file=sys.stderr)  # noqa: T201
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE
