"""Several workers on one machine: as many processes of the same command, spread over the GPUs and cores."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from ..errors import InputError
from ..front_door import WRONG_INPUT
from ..run.orphan import PARENT
from .ledger.queue import bury
from .ledger.storage import Storage, open_storage, place_of
from .outcome.results import show_progress
from .search.options import Options

if TYPE_CHECKING:
    from optuna import Study

MEMBER = "CALCARINE_WORKER"
"""Environment variable that tells a worker that another process speaks for it, and what that one calls it."""
CREW = "CALCARINE_WORKERS"
"""Environment variable that tells a worker how many there are on its machine."""
LOOK_S = 1.0
PATIENCE_S = 60.0  # for what an interrupted worker has to put in order

log = logging.getLogger(__name__)


def run_crew(options: Options, argv: Sequence[str]) -> Study:
    """Start the workers, show how far they are, and wait for all of them.

    A worker that dies leaves its trial to the others; only where all end badly does the study.

    Args:
        options: With the number of workers.
        argv: The command line, which each worker gets.

    Raises:
        InputError: All workers say that the input is wrong; the message is theirs.
        SystemExit: All workers ended badly.
        KeyboardInterrupt: So were the workers, and their trials are back in the queue.
    """
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    log.info("study %s is kept in %s", options.study, place_of(options.storage))
    logs = options.folder / "workers"
    logs.mkdir(parents=True, exist_ok=True)
    with _started(options, argv, logs) as workers:
        said: set[int] = set()
        buried: set[int] = set()
        opened: tuple[Study, Storage] | None = None
        needs = None
        with tqdm(total=options.trials, desc=options.study, unit="trial") as progress:
            while any(worker.poll() is None for worker in workers):
                time.sleep(LOOK_S)
                if needs is None and (needs := _needs(logs / "0.log")) is not None:
                    progress.write(needs)
                ended = {index for index, worker in enumerate(workers) if worker.poll() not in (None, 0)}
                for index in ended - said:
                    progress.write(
                        f"worker {index} ended with status {workers[index].returncode}: see {logs}/{index}.log"
                    )
                said |= ended
                opened = opened or _open(options)
                if opened is not None:
                    for index in ended - buried:
                        bury(*opened, _name(index))
                    buried |= ended
                    show_progress(opened[0], progress)
    statuses = [worker.returncode for worker in workers]
    if all(statuses):
        last = [_last_line(logs / f"{index}.log") for index in range(len(workers))]
        message = "; ".join(dict.fromkeys(last))
        if set(statuses) == {WRONG_INPUT}:
            raise InputError(message)
        print("error:", message, file=sys.stderr)  # noqa: T201
        raise SystemExit(1)
    opened = opened or _open(options)
    assert opened is not None
    return opened[0]


def _name(index: int) -> str:
    """What a worker is called in its trials, unlike any other study's process calls its own."""
    return f"{socket.gethostname()} {os.getpid()} {index}"


@contextmanager
def _started(options: Options, argv: Sequence[str], logs: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    count = options.workers or 1
    devices = _devices()
    threads = str(max(_cores() // count, 1))
    workers = []
    for index in range(count):
        own = {MEMBER: _name(index), CREW: str(count), PARENT: str(os.getpid())}
        environment = {"OMP_NUM_THREADS": threads, **os.environ, **own}
        if devices:
            environment["CUDA_VISIBLE_DEVICES"] = devices[index % len(devices)]
        with (logs / f"{index}.log").open("wb") as file:
            command = [sys.executable, "-m", "calcarine", "tune", *argv]
            # Their own session: an interrupt at the terminal reaches them once, through us.
            workers.append(subprocess.Popen(command, env=environment, stdout=file, stderr=file, start_new_session=True))
    try:
        yield workers
    except BaseException:
        for worker in workers:
            worker.terminate()  # a shell that starts us in the background has them ignore SIGINT
        end = time.monotonic() + PATIENCE_S
        for worker in workers:
            try:
                worker.wait(max(end - time.monotonic(), 0))
            except subprocess.TimeoutExpired:
                worker.kill()
        raise


def _cores() -> int:
    """The cores that this process may use, which a scheduler's share of a machine may be fewer than all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _devices() -> list[str]:
    """The GPUs that workers may use, by what CUDA_VISIBLE_DEVICES calls them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [device for device in visible.split(",") if device.strip() not in ("", "-1")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return [str(index) for index, line in enumerate(listed.stdout.splitlines()) if line.startswith("GPU ")]


def _open(options: Options) -> tuple[Study, Storage] | None:
    """The study and its storage, where a worker has made it already."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = open_storage(options.storage, options.study)
    try:
        return optuna.load_study(study_name=options.study, storage=storage.trials), storage
    except KeyError:
        return None


def _needs(path: Path) -> str | None:
    """The line in which a worker has said what all of them need."""
    lines = path.read_text(errors="replace").splitlines()
    return next((line for line in lines if line.startswith("needs: ")), None)


def _last_line(path: Path) -> str:
    lines = path.read_text(errors="replace").strip().splitlines() or ["nothing was said"]
    return lines[-1].removeprefix("error: ")
