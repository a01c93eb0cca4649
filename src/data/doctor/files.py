"""Can the files be read at all, and are they what they were meant to be?"""

import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from .symptom import Symptom

_MOST = 200_000
"""Files that are looked at."""

_POINTERS = {
    b"version https://git-lfs": ("a Git LFS pointer, not the file itself", "fetch it: git lfs pull"),
    b"/annex/objects": ("a git-annex pointer, not the file itself", "fetch it: git annex get"),
    b"<!doctype html": ("a web page, not data", "the download failed: fetch it again, signed in where that is needed"),
    b"<html": ("a web page, not data", "the download failed: fetch it again, signed in where that is needed"),
}


def check(places: Iterable[Path]) -> Iterator[Symptom]:
    """Files that cannot be read, are empty, or stand in for another.

    Args:
        places: The files and folders that the format reads.
    """
    for looked, path in enumerate(_walk(places)):
        if looked == _MOST:
            yield Symptom("note", "files", path.parent, f"more than {_MOST:,} files: only so many were looked at")
            return
        yield from _of(path)


def blocking(places: Iterable[Path]) -> list[Symptom]:
    """Pipes, sockets and devices: whoever reads one may wait for ever, so nothing else is asked."""
    return [
        Symptom("error", "files", path, "neither a file nor a folder (a pipe, a socket or a device)", "remove it")
        for path in _walk(places)
        if path.exists() and not (path.is_file() or path.is_dir())
    ]


def _walk(places: Iterable[Path]) -> Iterator[Path]:
    """Every folder and file, links followed once."""
    seen: set[tuple[int, int]] = set()
    for place in places:
        yield place
        for folder, folders, files in os.walk(place, followlinks=True):
            status = Path(folder).stat()
            if (status.st_dev, status.st_ino) in seen:
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            yield from (Path(folder, name) for name in sorted([*folders, *files]))


def _of(path: Path) -> Iterator[Symptom]:
    if path.name.startswith("."):
        return
    if not path.exists():
        yield Symptom(
            "error", "files", path, f"a link to {path.readlink()}, where there is nothing", "restore its file"
        )
        return
    right = os.R_OK | (os.X_OK if path.is_dir() else 0)
    if not os.access(path, right):
        owner, mode = path.stat().st_uid, stat.filemode(path.stat().st_mode)
        kind, letters = ("folder", "rx") if path.is_dir() else ("file", "r")
        found = f"a {kind} that you may not read ({mode}, owner {owner})"
        yield Symptom("error", "files", path, found, f"ask its owner for: chmod a+{letters} {path.name}")
        return
    if not path.is_file():
        return
    if path.stat().st_size == 0:
        yield Symptom("error", "files", path, "an empty file of 0 bytes", "copy it again")
        return
    with path.open("rb") as file:
        head = file.read(64).lstrip().lower()
    for mark, (found, remedy) in _POINTERS.items():
        if head.startswith(mark):
            yield Symptom("error", "files", path, found, remedy)
