"""What this process may still take of the machine: memory, by every limit that holds for it, and disk.

A job's share of a machine is often far less than the machine: a batch system or a container sets a limit to the job's
control group, or to one above it, and who passes it is killed without a word.
"""

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

UNLIMITED = 2**60
"""Bytes above which a limit is none: the first version of control groups says the largest whole number of pages."""

_NAMES = {1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_"), 2: ("memory.max", "memory.current", "")}
"""By version of control groups: the files of the limit and of what is used, and what statistics are preceded by."""


@dataclass(frozen=True)
class Memory:
    """Bytes of memory.

    Args:
        limit: The least of all limits: the machine's memory where there is no other.
        available: What can still be taken; what the page cache holds of files can.
    """

    limit: int
    available: int


def memory(root: Path = Path("/")) -> Memory | None:
    """Memory that this process may take; None where the system does not say.

    Args:
        root: Where `proc` and `sys` lie.
    """
    found = [*_machine(root), *_groups(root), *_address_space(root)]
    if not found:
        return None
    return Memory(min(each.limit for each in found), max(0, min(each.available for each in found)))


def free_disk(folder: Path) -> int:
    """Free bytes of the file system on which a folder is, or will be."""
    return shutil.disk_usage(_there(folder)).free


def disk_of(folder: Path) -> int:
    """What tells the file system on which a folder is, or will be, from others."""
    return _there(folder).stat().st_dev


def _there(folder: Path) -> Path:
    return next(each for each in (folder.absolute(), *folder.absolute().parents) if each.is_dir())


def resident(root: Path = Path("/")) -> int:
    """Bytes of memory that this process holds for itself: pages of files, which can be read again, are left out."""
    pages = _numbers(root / "proc/self/statm")
    return (pages[1] - pages[2]) * _page() if len(pages) > 2 else 0


def held_at_most(root: Path = Path("/")) -> int:
    """Most bytes of memory that this process has held, pages of files included.

    What the system tells in `getrusage` is the peak of whoever started the process where that was larger: a run that a
    notebook starts would be said to have held what the notebook did.
    """
    for line in _lines(root / "proc/self/status"):
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return 0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def as_bytes(count: float) -> str:
    """A number of bytes for people, in powers of 1,000: "1.6 GB"."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


def _machine(root: Path) -> Iterator[Memory]:
    told = {}
    for line in _lines(root / "proc/meminfo"):
        name, _, value = line.partition(":")
        told[name] = value.split()[:1]
    try:
        total, available = (1024 * int(told[name][0]) for name in ("MemTotal", "MemAvailable"))
        swap, swap_free = (1024 * int((told.get(name) or ["0"])[0]) for name in ("SwapTotal", "SwapFree"))
        total, available = total + swap, available + swap_free
    except (KeyError, IndexError, ValueError):
        total = available = _physical()
    if total:
        yield Memory(total, available)


def _physical() -> int:
    """Bytes of the machine's memory, where there is no /proc; 0 where nothing tells."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _groups(root: Path) -> Iterator[Memory]:
    """The limits of the control groups that this process is in, and of all above them."""
    mounts = dict(_mounts(root))
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, own = [*line.split(":", 2), "", ""][:3]
        version = 2 if not controllers else 1
        if version == 1 and "memory" not in controllers.split(","):
            continue
        if version not in mounts:
            continue
        top, shown = mounts[version]
        # In a container the mount may show a group as its top, or the process's path may be told from another one.
        inside = Path(own).relative_to(shown) if Path(own).is_relative_to(shown) else Path()
        for folder in (top / inside, *(top / inside).parents):
            yield from _group(folder, version)
            if folder == top:
                break


def _mounts(root: Path) -> Iterator[tuple[int, tuple[Path, str]]]:
    """By version of control groups: where the groups that limit memory are mounted, and which one is the top there."""
    for line in _lines(root / "proc/self/mountinfo"):
        own, _, of_system = line.partition(" - ")
        fields, kind = own.split(), of_system.split()
        if len(fields) < 5 or len(kind) < 3:
            continue
        place = (root / fields[4].lstrip("/"), fields[3])
        if kind[0] == "cgroup2":
            yield 2, place
        elif kind[0] == "cgroup" and "memory" in kind[2].split(","):
            yield 1, place


def _group(folder: Path, version: int) -> Iterator[Memory]:
    limit_file, usage_file, prefix = _NAMES[version]
    limit = _numbers(folder / limit_file)  # "max" is no number
    if not limit or limit[0] >= UNLIMITED:
        return
    usage = (_numbers(folder / usage_file) or [0])[0]
    files = 0
    for line in _lines(folder / "memory.stat"):
        name, _, value = line.partition(" ")
        if name in (f"{prefix}inactive_file", f"{prefix}active_file") and value.isdigit():
            files += int(value)
    yield Memory(limit[0], limit[0] - max(usage - files, 0))


def _address_space(root: Path) -> Iterator[Memory]:
    """The limit of `ulimit -v`, which counts what is mapped too."""
    try:
        import resource
    except ImportError:  # Windows
        return
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < UNLIMITED:
        taken = (_numbers(root / "proc/self/statm") or [0])[0] * _page()
        yield Memory(limit, limit - taken)


def _page() -> int:
    return os.sysconf("SC_PAGE_SIZE")


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _numbers(path: Path) -> list[int]:
    """The whole numbers that a file begins with."""
    words = " ".join(_lines(path)).split()
    found = []
    for word in words:
        if not word.isdigit():
            break
        found.append(int(word))
    return found
