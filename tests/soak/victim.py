"""A command in processes of its own: started, watched, disturbed at a moment, and waited for with all it started."""

from __future__ import annotations

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from calcarine.commands.main import main

LOG = "log.txt"
MARK = "CALCARINE_SOAK"
"""Environment variable by which all processes of one command are known, in whatever session they are."""
MINUTE = 60.0
FORK = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Blow:
    """How a command is disturbed.

    Args:
        name: As the table has it.
        signals: Sent one after the other, with up to a second between.
        whom: The process that was started, all of its group as a terminal does, or one of its processes by chance.
    """

    name: str
    signals: Sequence[signal.Signals]
    whom: str = "main"

    @property
    def kills(self) -> bool:
        return self.signals[0] == signal.SIGKILL


BLOWS = [
    Blow("SIGKILL", [signal.SIGKILL]),
    Blow("SIGKILL of all", [signal.SIGKILL], "group"),
    Blow("SIGTERM", [signal.SIGTERM]),
    Blow("SIGINT", [signal.SIGINT]),
    Blow("Ctrl-C", [signal.SIGINT], "group"),
    Blow("Ctrl-C twice", [signal.SIGINT, signal.SIGINT], "group"),
]
ONE_KILLED = Blow("SIGKILL of one", [signal.SIGKILL], "one")


class Victim:
    """A running command; its output is in the folder's log.

    Args:
        words: What follows `calcarine`.
        folder: Its working folder.
        forked: Begin in a copy of this process, which has imported torch, in place of starting Python.
    """

    def __init__(self, words: Sequence[str], folder: Path, forked: bool = False) -> None:
        self.mark, self.since = uuid4().hex, time.time() - 0.01  # files' times go by the kernel's ticks
        self.log = folder / LOG
        self.before = self.log.stat().st_size if self.log.exists() else 0
        self.process = Forked(words, folder, self.mark) if forked else Started(words, folder, self.mark)
        self.began = time.monotonic()

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    @property
    def status(self) -> int | None:
        """Exit status, or less than 0 by a signal; None while it runs."""
        return self.process.status()

    @property
    def entered(self) -> bool:
        """Whether it takes SIGTERM itself by now; before, it is Python that starts."""
        with suppress(OSError):
            status = Path(f"/proc/{self.process.pid}/status").read_text()
            caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt"))
            return bool(int(caught, 16) >> (signal.SIGTERM - 1) & 1)
        return False

    @property
    def over(self) -> bool:
        return self.status is not None

    def said(self) -> str:
        """What it has said so far."""
        with self.log.open("rb") as file:
            file.seek(self.before)
            return file.read().decode(errors="replace")

    def members(self) -> list[int]:
        """Its processes that are alive, itself included."""
        found = []
        for each in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                state, _, _, session = (each / "stat").read_text().rpartition(")")[2].split()[:4]
                named = f"{MARK}={self.mark}".encode() in (each / "environ").read_bytes().split(b"\0")
                if state != "Z" and (named or int(session) == self.process.pid):
                    found.append(int(each.name))
        return sorted(found)

    def strike(self, blow: Blow, chance: random.Random) -> str:
        """Send the signals; returns who was hit."""
        members = self.members()
        target = chance.choice(members or [self.process.pid]) if blow.whom == "one" else self.process.pid
        for number, each in enumerate(blow.signals):
            if number:
                time.sleep(chance.uniform(0, 1))
            with suppress(ProcessLookupError):
                os.killpg(target, each) if blow.whom == "group" else os.kill(target, each)
        return "main" if target == self.process.pid else f"process {members.index(target)} of {len(members)}"

    def end(self, within: float) -> float | None:
        """Seconds until it and all that it started had ended; None where some had not, which are then killed."""
        start = time.monotonic()
        while time.monotonic() - start < within:
            if self.over and not self.members():
                return time.monotonic() - start
            time.sleep(0.05)
        self.kill()
        return None

    def kill(self) -> None:
        for each in self.members():
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        while not self.over:
            time.sleep(0.01)


class Started:
    """A command as users start it."""

    def __init__(self, words: Sequence[str], folder: Path, mark: str) -> None:
        with (folder / LOG).open("ab") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "calcarine", *words],
                cwd=folder,
                env={**os.environ, MARK: mark},
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid

    def status(self) -> int | None:
        return self.process.poll()


class Forked:
    """A command in a copy of this process."""

    def __init__(self, words: Sequence[str], folder: Path, mark: str) -> None:
        sys.stdout.flush()
        self.process = FORK.Process(target=_body, args=(list(words), folder, mark))
        self.process.start()
        assert self.process.pid is not None
        self.pid = self.process.pid

    def status(self) -> int | None:
        return self.process.exitcode


def _body(words: list[str], folder: Path, mark: str) -> None:
    os.setsid()
    os.chdir(folder)
    with Path(LOG).open("ab") as file:
        for each in (1, 2):
            os.dup2(file.fileno(), each)
    os.environ[MARK] = mark
    sys.exit(main(words))


def stages_begun(folder: Path, stages: dict[str, str], since: float) -> list[str]:
    """Those stages whose sign is there, and not from before."""
    begun = []
    for name, sign in stages.items():
        with suppress(FileNotFoundError):  # what is being replaced
            if not sign or any(path.stat().st_mtime >= since for path in folder.glob(sign)):
                begun.append(name)
    return begun
