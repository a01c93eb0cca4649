"""Storages of studies for the tests: a real PostgreSQL server, and a study of forked workers."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a fresh database on a server of our own, which ends with the context."""
    initdb = shutil.which("initdb") or next((str(folder / "initdb") for folder in BINARIES[::-1]), None)
    if initdb is None:
        pytest.skip("needs a PostgreSQL server: apt-get install postgresql")
    # The server refuses to run as root, and pytest's folders are closed to others.
    user = [] if os.getuid() else ["runuser", "-u", "postgres", "--"]
    if user and (shutil.which("runuser") is None or subprocess.run([*user, "true"], check=False).returncode):
        pytest.skip("needs a user other than root for the PostgreSQL server: postgres")
    folder = Path(tempfile.mkdtemp(prefix="postgresql"))
    if user:
        shutil.chown(folder, "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data, binaries = folder / "data", Path(initdb).parent
    options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1 -c fsync=off"
    control = [*user, str(binaries / "pg_ctl"), "-D", str(data), "-w"]
    try:
        subprocess.run(
            [*user, initdb, "-D", str(data), "-U", "tester", "-A", "trust"], check=True, capture_output=True, cwd="/"
        )
        log = ["-l", str(folder / "log"), "-o", options, "start"]
        subprocess.run([*control, *log], check=True, stdout=subprocess.DEVNULL, cwd="/")
        try:
            yield f"postgresql://tester@127.0.0.1:{port}/postgres"
        finally:
            subprocess.run([*control, "-m", "immediate", "stop"], check=True, stdout=subprocess.DEVNULL, cwd="/")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def storage_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty storage of a kind."""
    if kind == "postgresql":
        with postgresql() as url:
            yield url
    else:
        yield f"{kind}:///{folder / 'study'}"
