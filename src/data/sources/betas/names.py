"""What the name of a file tells: whether it holds betas, of which session and hemisphere, in which space.

Names are read as BIDS writes them, `sub-01_ses-02_hemi-L_space-fsaverage_desc-SingletrialBetas_statmap.func.gii`, and
as FreeSurfer and laboratories do, `lh.betas_session02.mgh`.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ....names import HEMISPHERES
from ...trials.endings import ending_of

_SMALLER = {".nii.gz": ".nii", ".gii.gz": ".gii", ".mgz": ".mgh", ".h5": ".hdf5"}
_SESSION = re.compile(r"(?:^|[._-])(?:ses-([0-9A-Za-z]+)|ses(?:sion)?[-_]?([0-9]+))(?=[._-]|$)", re.IGNORECASE)
_SIDE = re.compile(r"(?:^|[._])(?:hemi-)?([lr])h?(?=[._]|$)", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """A file, by its name.

    Args:
        path: The file.
        top: The folder above it whose own name, and those above, tell nothing.
    """

    path: Path
    top: Path

    @cached_property
    def ending(self) -> str:
        """As `ending_of` has it."""
        return ending_of(self.path)

    @cached_property
    def stem(self) -> str:
        """The name without its ending."""
        return self.path.name[: len(self.path.name) - len(self.ending)] if self.ending else self.path.stem

    @cached_property
    def session(self) -> str:
        """As `session_key` has it, by the name or else by the folders; "" where nothing tells."""
        for part in (self.stem, *reversed(self.path.relative_to(self.top).parts[:-1])):
            match = _SESSION.search(part)
            if match:
                return session_key(match[1] or match[2])
        return ""

    @cached_property
    def side(self) -> str:
        """Hemisphere, or ""."""
        match = _SIDE.search(self.stem)
        return {"l": HEMISPHERES[0], "r": HEMISPHERES[1]}[match[1].lower()] if match else ""

    def entity(self, key: str) -> str:
        """What stands after `key-`, or ""."""
        match = re.search(rf"(?:^|_){key}-([^_]+)", self.stem)
        return match[1] if match else ""

    @cached_property
    def variety(self) -> str:
        """What files of all sessions and both hemispheres have in common."""
        plain = _SIDE.sub("", _SESSION.sub("", re.sub(r"(?:^|_)sub-[^_]+", "", self.stem)))
        return plain.strip("._-") + self._larger

    @cached_property
    def content(self) -> Path:
        """The path of the same file were it not compressed."""
        return self.path.with_name(self.stem + self._larger)

    @property
    def _larger(self) -> str:
        return _SMALLER.get(self.ending, self.ending)


def of_space(named: Sequence[Named], space: str) -> list[Named]:
    """Maps for betas of a space: those whose names say it, or none; all where the betas' names say none."""
    return [each for each in named if not space or each.entity("space") in ("", space)]


def of_both(path: Path) -> list[Path]:
    """A map, and that of the other hemisphere where its name tells its own and the other is there."""
    match = _SIDE.search(Named(path, path.parent).stem)
    if match is None:
        return [path]
    letter = match[1].translate(str.maketrans("lrLR", "rlRL"))
    other = path.with_name(path.name[: match.start(1)] + letter + path.name[match.end(1) :])
    return [path, other] if other.is_file() else [path]


def session_key(text: str) -> str:
    """A session as files and tables may write it, "ses-01", "01", "1" or "1.0", in one way."""
    bare = re.sub(r"^ses(?:sion)?[-_]?", "", text.strip())
    match = re.fullmatch(r"0*([0-9]+)(?:\.0+)?", bare)
    return match[1] if match else bare


def in_order(sessions: list[str]) -> list[str]:
    """Sessions by number, those that have none after them by name."""
    return sorted(sessions, key=lambda key: (not key.isdecimal(), int(key) if key.isdecimal() else 0, key))
