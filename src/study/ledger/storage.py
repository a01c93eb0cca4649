"""Where a study is kept, and the lock that lets one worker at a time take its next trial.

Optuna's storages are safe for single operations, but "count the trials, then begin one" is several. It is done under
a lock of the same kind as the storage itself relies on, which ends with its holder: at once where the operating
system or the database sees it die, else after a minute.
"""

from __future__ import annotations

import fcntl
import logging
import os
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import InputError, one_line

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

SQLITE, JOURNAL, POSTGRESQL = "sqlite:///", "journal:///", "postgresql://"
DRIVER = "postgresql+psycopg2://"  # the one that we depend on; SQLAlchemy 2.1 would look for another
BUSY_S = 120
"""Seconds for which SQLite waits for another worker's write."""
HELD_S = 60
"""Seconds after which a lock is taken from a holder of whom nothing is heard."""

WRITTEN_S = 30
"""The same of the lock on a journal's single writes."""

_FOREIGN = (ValueError, KeyError, TypeError, AttributeError, AssertionError)
"""What Optuna raises on a journal that it has not written."""

log = logging.getLogger(__name__)

Lock = Callable[[], AbstractContextManager[object]]


@dataclass(frozen=True)
class Storage:
    """An opened storage.

    Args:
        trials: As Optuna uses it.
        lock: Makes the context in which this worker alone takes or finishes trials.
    """

    trials: BaseStorage
    lock: Lock


def open_storage(url: str, study: str) -> Storage:
    """Open a storage, and make it where it is not there yet.

    Args:
        url: sqlite:///FILE, journal:///FILE, or postgresql://USER@HOST/DB.
        study: Name of the study whose trials the lock is about.

    Raises:
        InputError: It is of another kind, or cannot be opened.
    """
    import sqlalchemy.exc
    from optuna.exceptions import OptunaError

    try:
        if url.startswith(JOURNAL):
            return _open_journal(_file(url, JOURNAL))
        if url.startswith(SQLITE):
            return _open_sqlite(_file(url, SQLITE))
        if url.startswith(POSTGRESQL):
            return _open_postgresql(url.replace(POSTGRESQL, DRIVER, 1), study)
    except (OptunaError, sqlalchemy.exc.SQLAlchemyError, RuntimeError, *_FOREIGN) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"--storage {_shown(url)}: cannot be opened ({one_line(error)})") from error
    raise InputError(f"--storage {_shown(url)}: expected sqlite:///FILE, journal:///FILE or postgresql://USER@HOST/DB")


def _file(url: str, scheme: str) -> Path:
    path = Path(url.removeprefix(scheme))
    if path.name in ("", ".."):
        raise InputError(f"--storage {url}: expected {scheme}FILE, found no file")
    if not path.is_absolute() and Path("/", path.parts[0]).is_dir() and not Path(path.parts[0]).exists():
        log.warning(
            "--storage %s: is below %s, where each worker has its own; a path from the root has four slashes: %s/%s",
            url, Path.cwd(), scheme, path,
        )  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def place_of(url: str) -> str:
    """Where a storage is, for people: a file's whole path, and a database without its password."""
    for scheme in (SQLITE, JOURNAL):
        if url.startswith(scheme):
            return f"{scheme}{Path(url.removeprefix(scheme)).resolve()}"
    return _shown(url)


def _shown(url: str) -> str:
    """A URL without its password."""
    before, at, host = url.rpartition("@")
    scheme, separator, user = before.partition("://")
    return f"{scheme}{separator}{user.partition(':')[0]}{at}{host}"


def _open_sqlite(path: Path) -> Storage:
    lock = partial(file_lock, path.with_name(f"{path.name}.lock"))
    with lock():  # tables made by two workers at once collide
        # Connected to by path: in a URL a "?" would begin options, and Optuna fills in what stands in braces.
        connect = partial(_WriteAhead, str(path), timeout=BUSY_S, check_same_thread=False)
        return Storage(_relational(f"{SQLITE}study.db", creator=connect), lock)


class _WriteAhead(sqlite3.Connection):
    """Readers do not wait for writers, and commits not for the disk.

    After a kill nothing is lost; after a power cut the last commits may be, and the file is whole.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.execute("PRAGMA journal_mode=WAL")
        self.execute("PRAGMA synchronous=NORMAL")


def _open_postgresql(url: str, study: str) -> Storage:
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool)
    key = zlib.crc32(f"calcarine {study}".encode())

    @contextmanager
    def lock() -> Iterator[None]:
        with engine.connect() as connection, connection.begin():
            # The server ends a transaction whose client has gone silent, and with it the lock.
            connection.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout = '{HELD_S}s'")
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({key})")
            yield

    with lock():
        trials = _relational(url, pool_pre_ping=True)
    return Storage(trials, lock)


def _relational(url: str, **options: Any) -> BaseStorage:
    from optuna.storages import RDBStorage, get_storage

    return get_storage(RDBStorage(url, options))


def _open_journal(path: Path) -> Storage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock

    class Repairing(JournalFileSymlinkLock):
        """Cuts off what a killed writer left of a line; with a line after it nobody could read the journal again."""

        def acquire(self) -> bool:
            super().acquire()
            _cut_to_whole_lines(path)
            return True

    _check_journal(path)
    path.touch()
    claims = path.with_name(f"{path.name}.claims")
    claims.touch()

    @contextmanager
    def lock() -> Iterator[None]:
        symlink = JournalFileSymlinkLock(str(claims), grace_period=HELD_S)
        symlink.acquire()
        try:
            os.utime(claims)  # by this those who wait tell a new holder from one that died
            yield
        finally:
            symlink.release()

    with lock():
        return Storage(JournalStorage(JournalFileBackend(str(path), Repairing(str(path), WRITTEN_S))), lock)


def _check_journal(path: Path) -> None:
    """Refuse a file that is no journal: its last line would be cut off."""
    if not path.exists():
        return
    with path.open("rb") as file:
        begin = file.read(64)
    if begin and b'{"op_code":' not in begin:
        raise InputError(f"--storage {JOURNAL}{path}: expected a study's journal, found another file; name a new one")


def _cut_to_whole_lines(path: Path) -> None:
    with path.open("rb+") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 1, 0))
        if size and file.read() != b"\n":
            file.seek(0)
            file.truncate(file.read().rfind(b"\n") + 1)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """The operating system's lock on a file, waited for, which ends with the process.

    Args:
        path: The file; it is made, and stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
