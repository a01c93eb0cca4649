"""What fits in memory and on the disk here?"""

from collections.abc import Iterator
from pathlib import Path

from ...space import as_bytes, free_disk, memory
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
    room, disk = memory(), free_disk(Path.cwd())
    free = None if room is None else room.available
    features = ", ".join(f"{name} {as_bytes(4 * stimuli * numbers)}" for name, numbers in _NUMBERS.items())
    found = f"responses {as_bytes(responses)}; features of {stimuli:,} stimuli: {features}; "
    found += f"free here: {as_bytes(disk)} of disk"
    found += "" if free is None else f" and {as_bytes(free)} of memory"
    remedy = ""
    if free is not None and responses > free:
        remedy = "ridge holds the responses in memory: take one hemisphere or subject at a time"
    elif 4 * stimuli * max(_NUMBERS.values()) > min(disk, free or disk):
        remedy = "the widest want a reduction: --data.reduction PrincipalComponents"
    yield Symptom("note", "room", root, found, remedy)
