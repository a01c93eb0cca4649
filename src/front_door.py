"""What `train.py` and `calcarine` share: exit statuses and one-line errors."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import traceback
from _thread import interrupt_main
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from .errors import InputError, one_line

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

DONE, FAULT, WRONG_INPUT, INTERRUPTED = 0, 1, 2, 130

DEBUG = "--debug"
AGAIN_S = 0.05
"""Seconds until an interruption that Python has dropped is made again."""


def enter(args: Sequence[str] | None, command: Callable[[list[str]], object]) -> int:
    """Run a command and return the exit status that its end means.

    Args:
        args: Flags as typed; None takes them from the command line. With --debug among them, which every command
            takes, what is wrong with the input shows its traceback too.
        command: Is given the other flags.

    0 done; 2 the user's input is wrong, said in one line on standard error; 130 interrupted, by Ctrl-C or SIGTERM. A
    fault of ours keeps its traceback and ends with 1.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names of files may be no text, as on standard error
    typed = list(sys.argv[1:] if args is None else args)
    try:
        with _interruptible():
            command([each for each in typed if each != DEBUG])
    except (InputError, OSError) as error:
        message = of_input(error)
        if message is None:
            raise
        if DEBUG in typed:
            traceback.print_exc()
        if _leads():
            say(message)
        return WRONG_INPUT
    except KeyboardInterrupt:
        return INTERRUPTED
    return DONE


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let SIGTERM, by which schedulers and other programs end a process, be what Ctrl-C is; and let neither be lost.

    Python drops an exception that is raised while it finalises an object or calls back a weak reference, and goes on:
    an interruption that met one is made again.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    def dropped(unraisable: UnraisableHookArgs) -> None:
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(AGAIN_S, interrupt_main, [signal.SIGTERM]).start()
        else:
            tell(unraisable)

    before, tell = signal.signal(signal.SIGTERM, interrupt), sys.unraisablehook
    sys.unraisablehook = dropped
    try:
        yield
    finally:
        sys.unraisablehook = tell
        signal.signal(signal.SIGTERM, before)


def of_input(error: BaseException) -> str | None:
    """The one line that a user is told of an error; None where it is no fault of the input but ours."""
    if isinstance(error, InputError):
        return one_line(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"  # a folder that cannot be written
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{error.strerror}: make room, and give the command again"
    return None


def say(message: str) -> None:
    """One line on standard error."""
    print("error:", message, file=sys.stderr, flush=True)  # noqa: T201


def _leads() -> bool:
    """Whether this is the first of a machine's processes, which before they train all meet the same faults."""
    return os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"
