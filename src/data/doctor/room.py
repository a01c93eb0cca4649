"""What fits in memory and on the disk here?"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .case import Case
from .symptom import Symptom

_NUMBERS = {
    "ResNet-50 after pooling": 2_048,
    "AlexNet features.2": 192 * 27 * 27,
    "ViT-B/16 block": 197 * 768,
    "ResNet-50 layer3": 1024 * 14 * 14,
}
"""Numbers per image of layers that are often taken, at 224 pixels."""


def check(case: Case, root: Path) -> Iterator[Symptom]:
    """Responses, decoded images and usual features against what is free."""
    stimuli = sum(len(block.gallery) for block in case.blocks if block.gallery)
    if not stimuli:
        return
    responses = 4 * sum(table.array.size for table in case.tables)
    memory, disk = free_memory(), shutil.disk_usage(Path.cwd()).free
    features = ", ".join(f"{name} {_bytes(4 * stimuli * numbers)}" for name, numbers in _NUMBERS.items())
    found = (
        f"responses {_bytes(responses)}; features of {stimuli:,} stimuli: {features}; free here: {_bytes(disk)} of disk"
    )
    found += "" if memory is None else f" and {_bytes(memory)} of memory"
    remedy = ""
    if memory is not None and responses > memory:
        remedy = "ridge holds the responses in memory: take one hemisphere or subject at a time"
    elif 4 * stimuli * max(_NUMBERS.values()) > min(disk, memory or disk):
        remedy = "the widest want a reduction: --data.reduction PrincipalComponents"
    yield Symptom("note", "room", root, found, remedy)


def free_memory() -> int | None:
    """Bytes that a new process may take; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"
