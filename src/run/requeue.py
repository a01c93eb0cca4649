"""A SLURM job whose time is nearly over goes back into the queue; its next start goes on from the last checkpoint.

Lightning does so too, and in the signal's handler writes a checkpoint, at which all ranks must arrive, into the working
directory; whatever is fitted or tested there next, in whichever job, takes that checkpoint for its own. Here nothing is
written: `last.ckpt` is a minute old at most, or an epoch where that is longer.
"""

import logging
import os
import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from .folder import rank
from .resume import NEWEST, NEWEST_OR_NEW

log = logging.getLogger(__name__)

INTERACTIVE = ("bash", "interactive")
"""Names of jobs in which somebody types, by which Lightning goes too."""


@contextmanager
def requeued_on_signal(folder: Path, args: Sequence[str]) -> Iterator[None]:
    """Within a SLURM job, take SIGUSR1 as its notice that the time is nearly over: `#SBATCH --signal=USR1@120`.

    Args:
        folder: Of the runs of this name.
        args: Flags as typed, which the job's next start has again.
    """
    job = _job()
    if job is None:
        yield
        return

    def requeue(signum: int, frame: object) -> None:
        if rank() != 0:
            return
        if any(word in args or f"--ckpt_path={word}" in args for word in (NEWEST, NEWEST_OR_NEW)):
            log.warning("SIGUSR1: job %s is queued again, and goes on from the last checkpoint in %s", job, folder)
        else:
            log.warning(
                "SIGUSR1: job %s is queued again, and will start anew; --ckpt_path %s would go on", job, NEWEST_OR_NEW
            )
        status = subprocess.run(["scontrol", "requeue", job], check=False).returncode  # which ends this process soon
        if status:
            log.warning("`scontrol requeue %s` failed with status %d: the job ends with its time", job, status)

    before = signal.signal(signal.SIGUSR1, requeue)  # Lightning leaves a handler that is there
    try:
        yield
    finally:
        signal.signal(signal.SIGUSR1, before)


def _job() -> str | None:
    """The job's number, or its number in an array; None outside of a job, and where somebody types."""
    if os.environ.get("SLURM_JOB_NAME") in INTERACTIVE:
        return None
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID")
