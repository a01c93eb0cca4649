"""Content hashes of files, remembered between runs."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from ..atomic import replacing
from ..errors import InputError

_blake2b = partial(hashlib.blake2b, digest_size=16)

MemoEntry = list[str]
"""Stamp and digest of one file."""


def digest_file(path: Path) -> str:
    """BLAKE2b of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, _blake2b).hexdigest()


def digest_bytes(content: bytes | memoryview) -> str:
    """BLAKE2b of what is in memory, by which whatever is remembered in the cache is named."""
    return _blake2b(content).hexdigest()


def remembered_digests(
    paths: Sequence[Path], digest: Callable[[Path], str], memo: Path | None = None, part: str = ""
) -> list[str]:
    """Digest every file that is new or changed since its digest was remembered.

    Args:
        paths: The files.
        digest: What to remember of one file; one function per kind of file, as entries are kept by path.
        memo: Where digests are remembered between runs, so that a second start need not read every file again;
            recordings, and processes, may share it.
        part: Which part of the files is digested, where it is not the whole.

    Raises:
        InputError: A file cannot be read.
    """
    known = _load_memo(memo)
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        entries = dict(pool.map(partial(_entry, digest=digest, known=known, part=part), paths))
    if memo is not None and any(known.get(key) != entry for key, entry in entries.items()):
        # Another process may have written since: what it added is kept, what two of them add at once is not.
        with replacing(memo) as temporary:
            temporary.write_text(json.dumps(_load_memo(memo) | entries))
    return [entries[_key(path, part)][1] for path in paths]


def _key(path: Path, part: str) -> str:
    return f"{path.absolute()}#{part}" if part else str(path.absolute())


def _entry(path: Path, digest: Callable[[Path], str], known: dict[str, MemoEntry], part: str) -> tuple[str, MemoEntry]:
    """The memo's key and entry of one file, which is read only where it is new or changed."""
    key = _key(path, part)
    try:
        stat = path.stat()
        # The change time betrays a file exchanged for one of equal size and modification time (cp -p, unzip).
        stamp = f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
        entry = known.get(key)
        if entry is not None and entry[0] == stamp:
            return key, entry
        return key, [stamp, digest(path)]
    except OSError as error:
        raise InputError(f"{path}: expected a readable file, found {error.strerror}; put it back") from error


def _load_memo(memo: Path | None) -> dict[str, MemoEntry]:
    """What is remembered; a missing or damaged memo costs time, no more."""
    try:
        entries = json.loads(memo.read_bytes()) if memo else {}
        return {key: [str(stamp), str(digest)] for key, (stamp, digest) in entries.items()}
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return {}
