"""Ranks end together: what ends one of them ends all of them, soon, and is said once.

A rank that fails while the others wait for it in a collective leaves them waiting: half an hour on gloo, ten minutes on
NCCL, and then each says something of its own. So every rank holds a line to rank 0, a socket, which the system closes
when a process is killed. It is quicker than a heartbeat, and a rank that computes for long is not taken for dead.
"""

from __future__ import annotations

import os
import secrets
import signal
import socket
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import torch
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from lightning.pytorch import Trainer
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from ..errors import InputError
from ..front_door import FAULT, INTERRUPTED, WRONG_INPUT, of_input, say
from .folder import rank
from .orphan import PARENT, orphaned

GRACE = 10.0
"""Seconds that a rank has to end by itself, once another one has ended."""
PATIENCE = 5.0
"""Seconds to find out whether a fault is another rank's: a collective fails a moment before the line tells why."""
SILENCE = (15, 5, 3)
"""Seconds of silence until a line is tried, seconds between tries, and tries until it is dead: a node without power."""


def interrupt_on_sigterm(trainer: Trainer) -> None:
    """Let SIGTERM be to a trainer what Ctrl-C is.

    Lightning's handler has it wait for the next step of training, which is hours away while features are extracted or
    a ridge is solved. And on several ranks it broadcasts: one that is signalled in the middle of a step then sends to
    ranks that wait for another collective, and all of them wait for ever.
    """

    def interrupt(signum: int, frame: object) -> None:
        raise KeyboardInterrupt

    trainer._signal_connector._sigterm_notifier_fn = interrupt  # type: ignore[method-assign]


def check_processes(trainer: Trainer) -> None:
    """Whether as many processes were started as the trainer has ranks.

    Raises:
        InputError: Ranks are missing, for which the others would wait; or several processes would each train alone.
    """
    if torch.distributed.is_torchelastic_launched():
        launcher, started = "torchrun", int(os.environ["WORLD_SIZE"])
    elif SLURMEnvironment.detect():
        launcher, started = "srun", int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))  # a job has SLURM_NTASKS
    else:
        return
    if started == 1 < trainer.world_size and launcher == "srun":
        raise InputError(
            f"--trainer.devices {trainer.num_devices}, --trainer.num_nodes {trainer.num_nodes}: expected "
            f"{trainer.world_size} processes, found this one alone; start the run with srun"
        )
    if started != trainer.world_size:
        raise InputError(
            f"--trainer.devices {trainer.num_devices}, --trainer.num_nodes {trainer.num_nodes}: expected as many "
            f"processes as {launcher} has, {started}, found {trainer.world_size}; set both flags to what it was given, "
            "and --trainer.strategy ddp"
        )


@contextmanager
def ending_together_from_start() -> Iterator[None]:
    """Where torchrun started the ranks, end with them even before they have met: one may lack a file.

    The others would wait for it to come to their meeting, half an hour long.
    """
    if _met_by_torchrun():
        with ending_together(int(os.environ["WORLD_SIZE"])):
            yield
    else:
        yield


@contextmanager
def ending_together(world_size: int) -> Iterator[None]:
    """End with the other ranks, if there are any, and if this process does not do so already.

    Args:
        world_size: Processes of the run.

    Raises:
        SystemExit: A rank has ended badly, and it is said why.
        KeyboardInterrupt: This rank or another was interrupted.
    """
    global _present
    if world_size == 1 or _present is not None:
        yield
        return
    _present = line = _Hub(world_size) if rank() == 0 else _Line()
    if rank() == 0:
        os.environ[PARENT] = str(os.getpid())  # which the ranks that Lightning starts are told
    line.start()
    try:
        yield
    except BaseException as error:
        if isinstance(error, SystemExit) and error.code in (None, 0):  # --print_config, which all ranks answer
            raise
        line.fail(error)
    finally:
        line.finish()
        _present = None
        if rank() == 0:
            os.environ.pop(PARENT, None)


def ends_by_itself() -> None:
    """What ended this rank is in hand: it may take a while, as the last checkpoint does, and is not to be forced."""
    if _present is not None:
        _present.ending.set()


def _met_by_torchrun() -> bool:
    """Whether torchrun's agent keeps a store, from before the ranks start."""
    own = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return torch.distributed.is_torchelastic_launched() and own


_present: _End | None = None
"""This rank's end of the line, while there is one."""


class _End(threading.Thread):
    """One end of a line.

    Attributes:
        ended: Set once another rank has ended badly, with the exit status that this one ends with then.
        ending: Set once this rank ends by itself.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True, name="line")
        self.ended = threading.Event()
        self.ending = threading.Event()
        self.status = FAULT
        self.finished = False
        self.interruption = signal.getsignal(signal.SIGINT)

    def run(self) -> None:
        while not (torch.distributed.is_initialized() or _met_by_torchrun()):
            if self.finished:
                return
            if rank() and orphaned():  # before the ranks have met, and waits for that half an hour long
                say(_gone(0))
                self.other_ended(FAULT)
                return
            time.sleep(0.05)
        with suppress(OSError, RuntimeError):  # without a line there is what the launcher does
            address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            self.serve(TCPStore(address, port, is_master=False, wait_for_workers=False), address)

    @property
    def key(self) -> str:
        """Under which rank 0 says where its end is; torchrun starts a failed group again with the same store."""
        return f"calcarine/line/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}"

    def serve(self, store: TCPStore, address: str) -> None:
        raise NotImplementedError

    def report(self, status: int) -> bool:
        """Tell the others of an end of this rank's own; whether it is this rank that says why."""
        raise NotImplementedError

    def finish(self) -> None:
        """The run has come to its end."""
        self.finished = True

    def fail(self, error: BaseException) -> None:
        """Tell the others, or learn that they have told; say the error where that falls to this rank.

        Raises:
            SystemExit: Always, but for an interruption.
            KeyboardInterrupt: This rank or another was interrupted, after which rank 0 says how to go on.
        """
        if isinstance(error, RuntimeError):  # which collectives raise when a rank is gone
            self.ended.wait(PATIENCE)
        status = self.status if self.ended.is_set() else _status(error)
        speaks = not self.ended.is_set() and self.report(status)
        self.finish()
        if status == INTERRUPTED:
            raise KeyboardInterrupt from None
        # At once, and not where the error would come to in the end: Lightning kills rank 0 once another one is gone.
        message = of_input(error)
        if speaks and message is not None:
            say(f"rank {rank()}: {message}" if rank() else message)
        elif speaks:
            traceback.print_exception(error)
        raise SystemExit(status) from None

    def other_ended(self, status: int) -> None:
        """Another rank has ended: so does this one, by itself or else by force."""
        if self.ended.is_set():
            return
        self.status = status
        self.ended.set()
        threading.Thread(target=self._leave, daemon=True).start()

    def _leave(self) -> None:
        time.sleep(GRACE)
        if not self.ending.is_set():
            os._exit(self.status)  # the main thread waits in a collective that nothing interrupts

    def interrupted(self) -> bool:
        """Whether Lightning ends this rank after Ctrl-C, and its processes with it."""
        return signal.getsignal(signal.SIGINT) != self.interruption


class _Line(_End):
    """The end of a rank above 0."""

    def __init__(self) -> None:
        super().__init__()
        self.socket: socket.socket | None = None
        self.connected, self.speaks = threading.Event(), threading.Event()

    def serve(self, store: TCPStore, address: str) -> None:
        port, token = store.get(self.key).decode().split()
        with socket.create_connection((address, int(port)), timeout=60) as self.socket:
            self.socket.settimeout(None)
            _keep_alive(self.socket)
            _send(self.socket, f"{token} {rank()}")
            self.connected.set()
            for word in _words(self.socket):
                if word == "speak":
                    self.speaks.set()
                else:
                    self.other_ended(int(word))
        if self.finished or self.ended.is_set() or self.interrupted():
            return
        if rank() == 1:  # one of those that are left
            say(_gone(0))
        self.other_ended(FAULT)

    def report(self, status: int) -> bool:
        if not self.connected.wait(PATIENCE) or self.socket is None:
            return True
        _send(self.socket, f"failed {status}")
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until and not self.ended.is_set():
            if self.speaks.wait(0.05):
                return True
        return not self.ended.is_set()

    def finish(self) -> None:
        super().finish()
        if self.socket is not None and not self.ended.is_set():
            _send(self.socket, "done")


class _Hub(_End):
    """The end of rank 0, at which all lines meet.

    Args:
        world_size: Processes of the run.
    """

    def __init__(self, world_size: int) -> None:
        super().__init__()
        self.world_size = world_size
        self.lines: dict[int, socket.socket] = {}  # by rank, those that are open
        self.told = False  # whether some rank says, or has said, why the run ends
        self.lock = threading.Lock()

    def serve(self, store: TCPStore, address: str) -> None:
        token, missing = secrets.token_hex(16), set(range(1, self.world_size))
        both = socket.has_dualstack_ipv6()
        family = socket.AF_INET6 if both else socket.AF_INET
        with socket.create_server(("", 0), family=family, dualstack_ipv6=both) as server:
            store.set(self.key, f"{server.getsockname()[1]} {token}")
            while missing:
                connection, _ = server.accept()
                connection.settimeout(PATIENCE)
                words = _words(connection)
                given, _, number = next(words, "").partition(" ")
                if not secrets.compare_digest(given.encode(), token.encode()):
                    connection.close()  # somebody else's
                    continue
                connection.settimeout(None)
                _keep_alive(connection)
                self.lines[int(number)] = connection
                missing.discard(int(number))
                threading.Thread(target=self._listen, args=(int(number), words), daemon=True).start()

    def _listen(self, other: int, words: Iterator[str]) -> None:
        word = next(words, None)
        if word is None:
            self._other_killed(other)
        elif word != "done":
            self._other_failed(other, int(word.removeprefix("failed ")))
        for _ in words:
            pass  # until it is closed
        del self.lines[other]

    def _other_failed(self, other: int, status: int) -> None:
        if self._take_word():
            _send(self.lines[other], "speak")
            self._end_others(status, but=other)
            self.other_ended(status)
        else:
            _send(self.lines[other], str(status))

    def _other_killed(self, other: int) -> None:
        if not (self.finished or self.interrupted()) and self._take_word():
            say(_gone(other))
            self._end_others(FAULT)
            self.other_ended(FAULT)

    def _take_word(self) -> bool:
        with self.lock:
            free, self.told = not self.told, True
        return free

    def _end_others(self, status: int, but: int = 0) -> None:
        for other, line in list(self.lines.items()):
            if other != but:
                _send(line, str(status))

    def report(self, status: int) -> bool:
        if not self._take_word():
            return False
        self._end_others(status)
        return True


def _status(error: BaseException) -> int:
    """The exit status that an error means."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, SystemExit) and isinstance(error.code, int):
        return error.code
    return FAULT if of_input(error) is None else WRONG_INPUT


def _gone(other: int) -> str:
    return f"rank {other} is gone without a word, killed perhaps: the run ends; --ckpt_path last goes on with it"


def _send(connection: socket.socket, word: str) -> None:
    with suppress(OSError):  # who is gone need not be told
        connection.sendall(f"{word}\n".encode())


def _words(connection: socket.socket) -> Iterator[str]:
    """What comes over a line, until it is closed."""
    with suppress(OSError), connection.makefile("r", encoding="ascii", errors="replace") as file:
        while word := file.readline(64):
            yield word.rstrip("\n")


def _keep_alive(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), SILENCE, strict=True):
        if hasattr(socket, name):  # macOS has no TCP_KEEPIDLE
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
