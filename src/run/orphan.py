"""A process that another one has started ends when that one is gone: nobody would wait for it, or stop it."""

import os
import signal
import threading
import time

PARENT = "CALCARINE_PARENT"
"""Environment variable that tells a process the number of the one that has started it."""
LOOK_S = 0.5


def orphaned() -> bool:
    """Whether this process was started by another of ours, which is gone."""
    return PARENT in os.environ and os.environ[PARENT] != str(os.getppid())


def end_with_parent() -> None:
    """From now on, interrupt this process as SIGTERM does once it is orphaned."""

    def watch() -> None:
        while not orphaned():
            time.sleep(LOOK_S)
        os.kill(os.getpid(), signal.SIGTERM)

    if PARENT in os.environ:
        threading.Thread(target=watch, daemon=True, name="orphan").start()
