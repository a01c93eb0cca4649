"""Which files of a tree are of one subject, and which of them are betas, tables, masks, ROIs and ceilings."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ....errors import InputError
from ...trials.endings import MAPS, SERIES, ending_of
from .names import Named

_DEPTH = 6
"""Folders below a subject's own that are looked into."""
_PICTURES = ("images", "stimuli", "object_images")
"""Folders of stimuli, which are many."""
_GLMSINGLE = re.compile(r"TYPE[BCD]_FIT", re.IGNORECASE)
_TABLE = re.compile(r"(?:^|[._])trials\.(?:tsv|csv)$", re.IGNORECASE)
_ROI_FOLDERS = ("rois", "roi", "labels", "atlases")


def is_betas(path: Path) -> bool:
    """Whether a file holds single-trial betas, by its name."""
    return ending_of(path) in SERIES and ("betas" in path.name.lower() or bool(_GLMSINGLE.search(path.name)))


def is_table(path: Path) -> bool:
    """Whether a file is a table of trials, by its name."""
    return bool(_TABLE.search(path.name))


def find_subjects(root: Path) -> dict[str, list[Path]]:
    """The folders of each subject that has betas, by its name; of a root that names none, the root under its own name.

    Subjects' folders are `sub-*`, in the root or in its derivatives.
    """
    return _named_subjects(root) or {root.resolve().name: [root]}


def holds_betas(root: Path) -> bool:
    """Whether a folder is a tree of single-trial betas with their table of trials, by the names of files alone.

    A root that names no subjects is not searched below its sessions: it may be any folder.
    """
    if not root.is_dir() or (root / "nsddata_betas").is_dir():  # the Natural Scenes Dataset has no such table
        return False
    named = _named_subjects(root)
    own = [path for path in root.iterdir() if path.is_file()]
    sessions = [] if named else [folder for folder in _folders(root) if Named(folder / "-", root).session]
    files = own + list(_walk_all([folder for folders in named.values() for folder in folders] + sessions))
    return any(map(is_betas, files)) and any(map(is_table, files))


def _named_subjects(root: Path) -> dict[str, list[Path]]:
    derivatives = root / "derivatives"
    above = [root, derivatives, *(_folders(derivatives) if derivatives.is_dir() else [])]
    found: dict[str, list[Path]] = {}
    for folder in (each for place in above if place.is_dir() for each in _folders(place)):
        if folder.name.startswith("sub-"):
            found.setdefault(folder.name, []).append(folder)
    return {name: folders for name, folders in found.items() if any(map(is_betas, _walk_all(folders)))}


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _walk_all(folders: Sequence[Path]) -> Iterator[Path]:
    for folder in folders:
        yield from _walk(folder)


def _walk(folder: Path) -> Iterator[Path]:
    """The files of a folder and of those below it, links followed once."""
    seen: set[Path] = set()
    for place, folders, files in os.walk(folder, followlinks=True):
        depth = len(Path(place).relative_to(folder).parts)
        if Path(place).resolve() in seen or depth > _DEPTH:
            folders.clear()
            continue
        seen.add(Path(place).resolve())
        folders[:] = sorted(name for name in folders if name not in _PICTURES and not name.startswith("."))
        yield from (Path(place) / name for name in sorted(files) if not name.startswith("."))


@dataclass(frozen=True)
class SubjectFiles:
    """One subject's files.

    Args:
        root: Of the data set.
        name: The subject's.
        folders: Its own.
        chosen: That of them whose betas are read; None before these are chosen.
    """

    root: Path
    name: str
    folders: Sequence[Path]
    chosen: Path | None = None

    @classmethod
    def find(cls, root: Path, subject: int | str | None) -> "SubjectFiles":
        """The files of a subject, or of the only one that is there.

        Raises:
            InputError: There is no such subject, or several and none is named.
        """
        if not root.is_dir():
            raise InputError(f"--data.source.root {root}: expected a folder with betas, found no folder; correct it")
        there = find_subjects(root)
        names = [name for name in there if subject is None or _same(name, subject)]
        if len(names) != 1:
            raise InputError(
                f"--data.source.subject {subject}: expected one of {', '.join(there)} in {root}, found "
                f"{'none' if not names else f'{len(names)} that it may be'}; name it"
            )
        return cls(root, names[0], there[names[0]])

    @cached_property
    def _files(self) -> list[Path]:
        return list(_walk_all(self.folders))

    @cached_property
    def betas(self) -> list[Named]:
        """Files of single-trial betas; a link to nothing is one that was not downloaded."""
        return [Named(path, self._top(path)) for path in self._files if is_betas(path) and path.is_file()]

    @property
    def home(self) -> Path:
        """The subject's folder that holds the betas, or else its first."""
        return self.chosen or (self.betas[0].top if self.betas else self.folders[0])

    def below(self, path: Path) -> str:
        """A path as seen from the root."""
        return path.relative_to(self.root).as_posix()

    @cached_property
    def tables(self) -> list[Path]:
        """Tables of trials: those with the betas, or else the subject's, or else those beside all subjects."""
        own = [path for path in self._files if is_table(path)]
        beside = [path for path in own if self._top(path) == self.home]
        return beside or own or sorted(filter(self._is_own_table, self.root.iterdir()))

    def _is_own_table(self, path: Path) -> bool:
        """Whether a file beside all subjects is a table that names none, or this one."""
        subject = Named(path, self.root).entity("sub")
        return path.is_file() and is_table(path) and (not subject or _same(self.name, subject))

    @cached_property
    def _maps(self) -> list[Named]:
        """Images that are of the subject as a whole."""
        named = (Named(path, self._top(path)) for path in self._files if not is_betas(path))
        return [each for each in named if each.ending in MAPS and not each.session]

    @cached_property
    def _beside(self) -> list[Named]:
        """Those that lie with the betas: other derivatives have masks of their own, of other grids."""
        return [each for each in self._maps if each.top == self.home and not self._is_roi(each)]

    @cached_property
    def masks(self) -> list[Named]:
        """Of the brain, or of whatever was modelled."""
        return [each for each in self._beside if each.stem.endswith("mask")]

    @cached_property
    def fits(self) -> list[Named]:
        """Maps of variance explained, above 0 where something was modelled."""
        return [each for each in self._beside if "R2mean" in each.entity("desc")]

    @cached_property
    def ceilings(self) -> list[Named]:
        """Noise ceilings."""
        return [each for each in self._beside if "noiseceiling" in re.sub("[_-]", "", each.stem.lower())]

    @cached_property
    def rois(self) -> list[Named]:
        """Masks and atlases of ROIs, of any derivative."""
        return [each for each in self._maps if self._is_roi(each)]

    def _is_roi(self, named: Named) -> bool:
        above = named.path.relative_to(self.root).parts[:-1]
        labelled = bool(named.entity("label")) and named.stem.endswith("mask")
        return labelled or any(part.lower() in _ROI_FOLDERS for part in above)

    def _top(self, path: Path) -> Path:
        """The subject's folder that a file is in."""
        return next(folder for folder in self.folders if path.is_relative_to(folder))


def _same(name: str, subject: int | str) -> bool:
    """Whether a name such as "sub-01" is meant."""
    bare = name.removeprefix("sub-")
    if isinstance(subject, int) or subject.isdecimal():
        return bare.isdecimal() and int(bare) == int(subject)
    return subject in (name, bare)
