"""Does a picture stand twice, and on both sides of a split?"""

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np
from PIL import Image

from ...names import TEST, UNASSIGNED, WITHHELD
from .case import Case
from .gallery import Gallery
from .glimpse import Glimpse
from .symptom import Severity, Symptom, several

_BITS = 3
"""Of 64, by which the hashes of two nearly equal pictures may differ."""

_APART = 4.0
"""Mean difference of the thumbnails, in grey levels of 255, from which two pictures are others."""

_MOST = 20_000
"""Stimuli that are compared with all others."""

_FAINT = 4.0
"""Standard deviation of a thumbnail, in grey levels, below which its hash says nothing."""

_EVEN = 2
"""Grey levels by which two neighbours may differ and count as even, so that noise on a plain ground flips no bit."""

_ROWS, _MOST_PAIRS = 512, 20_000
"""Stimuli that are compared at a time, and pairs among them that are looked at."""

Shown = tuple[str, Gallery, int]


def check(case: Case) -> Iterator[Symptom]:
    """Equal pictures, by their pixels, and nearly equal ones, by a difference hash of 64 bits."""
    shown = [each for each in case.shown() if each[2] in each[1].firsts and each[1].glimpses[each[2]] is not None]
    groups: dict[str, list[Shown]] = defaultdict(list)
    for each in shown:
        groups[_glimpse(each).digest].append(each)
    equal = [(group[0], other) for group in groups.values() for other in group[1:]]
    yield from _lines(equal, "equal in all pixels")
    firsts = [group[0] for group in groups.values()]
    if len(firsts) > _MOST:
        place = firsts[0][1].place
        yield Symptom("note", "duplicates", place, f"nearly equal pictures: only the first {_MOST:,} were compared")
        firsts = firsts[:_MOST]
    near = [(firsts[one], firsts[other]) for one, other in _near([_glimpse(each) for each in firsts])]
    yield from _lines(near, "nearly equal (resized, compressed or cropped copies)")


def _glimpse(shown: Shown) -> Glimpse:
    glimpse = shown[1].glimpses[shown[2]]
    assert glimpse is not None
    return glimpse


def _lines(pairs: Sequence[tuple[Shown, Shown]], how: str) -> Iterator[Symptom]:
    """One line for pairs across splits, and one for those within."""
    across = [(one, other) for one, other in pairs if _side(one) != _side(other)]
    within = [(one, other) for one, other in pairs if _side(one) == _side(other)]
    lines: list[tuple[list[tuple[Shown, Shown]], Severity, str]] = [
        (across, "warning", "put both in one split, or remove one: what was trained on is no test"),
        (within, "note", "see that both belong here; a seeded split keeps together only files that are equal"),
    ]
    for found, severity, remedy in lines:
        if found:
            (split, gallery, index), (other_split, other, second) = found[0]
            sides = f" in {split or 'training'} and {other_split or 'training'}" if found is across else ""
            names = f"{gallery.stimuli.names[index]} and {other.stimuli.names[second]}"
            text = f"{several(len(found), 'pair')} of stimuli{sides}: {how}, such as {names}"
            yield Symptom(severity, "duplicates", gallery.place, text, remedy)


def _side(shown: Shown) -> str:
    """The split, as far as it must not leak: what is unassigned may become training, test images are test images."""
    return {UNASSIGNED: "train", WITHHELD: TEST}.get(shown[0], shown[0])


def _near(glimpses: Sequence[Glimpse]) -> list[tuple[int, int]]:
    """Pairs whose hashes and thumbnails are nearly equal; what shows nearly nothing is like anything, and left out."""
    places = np.array([index for index, each in enumerate(glimpses) if each.thumbnail.std() > _FAINT], dtype=np.int64)
    hashes = np.array([_hash(glimpses[index]) for index in places], dtype=np.uint64)
    pairs: list[tuple[int, int]] = []
    for start in range(0, len(hashes), _ROWS):
        bits = np.bitwise_count(hashes[start : start + _ROWS, None] ^ hashes[None])  # (rows, n)
        rows, columns = np.nonzero(np.triu(bits <= _BITS, k=start + 1))
        for row, column in zip(rows[:_MOST_PAIRS], columns[:_MOST_PAIRS], strict=True):
            one, other = int(places[start + row]), int(places[column])
            if _alike(glimpses[one], glimpses[other]):
                pairs.append((one, other))
    return pairs


def _hash(glimpse: Glimpse) -> int:
    """Whether each of 8 × 8 places is clearly darker than its right neighbour; a difference hash."""
    grey = np.asarray(Image.fromarray(glimpse.thumbnail).convert("L").resize((9, 8), Image.Resampling.BOX))
    bits = np.packbits(grey[:, 1:] > grey[:, :-1].astype(np.int16) + _EVEN)
    return int.from_bytes(bits.tobytes(), "big")


def _alike(one: Glimpse, other: Glimpse) -> bool:
    first, second = one.thumbnail.astype(np.float32), other.thumbnail.astype(np.float32)
    spread = min(first.std(), second.std())
    apart = np.abs(first - second).mean()
    moved = np.abs(one.motion - other.motion).mean()
    return bool(apart < min(_APART, spread / 4) and moved < _APART)
