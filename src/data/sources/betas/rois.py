"""ROIs: masks of one, and atlases of several whose labels a table names."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ....errors import InputError
from ...trials.endings import MAPS
from ...trials.maps import ImageMap, map_on, read_names
from ...trials.series import Series
from ...trials.session import Chosen
from ..base import OWN_NAMES
from .names import Named, of_space
from .tree import SubjectFiles

_NOWHERE = "???"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Members:
    """Which places of a session's files are in a ROI.

    Args:
        name: The ROI's.
        side: Its hemisphere, where the file's name tells it; "" else.
        masks: By the side of the session's files, bool, in the C order of the grid.
        source: The map that it is from.
    """

    name: str
    side: str
    masks: Mapping[str, np.ndarray]
    source: ImageMap

    def of(self, chosen: Chosen) -> np.ndarray:
        """Which targets are in it, bool (num_targets,)."""
        inside = np.zeros(len(chosen.places), dtype=bool)
        for side, mask in self.masks.items():
            own = chosen.sides == side
            inside[own] = mask[chosen.places[own]]
        return inside


def read_rois(subject: SubjectFiles, files: Mapping[str, Series], space: str, folder: Path | None) -> list[Members]:
    """Read the ROIs of a subject that lie on the grid of its betas.

    Args:
        subject: The subject's files.
        files: Of one session, by side.
        space: Of the betas; files of another one are left alone.
        folder: Where the ROIs are; those among the subject's files where None.

    Raises:
        InputError: A file is damaged, or an atlas has no names.
    """
    named = of_space(subject.rois if folder is None else _named_in(folder), space)
    found: list[Members] = []
    elsewhere: list[Named] = []
    for each in named:
        sides = [side for side in files if side in ("", each.side)]
        own = [(side, map_on(each.path, files[side])) for side in sides]
        parts = [_members(each, side, labels) for side, labels in own if labels is not None]
        found += [members for part in parts for members in part]
        elsewhere += [] if parts else [each]
    if elsewhere and not found:
        raise InputError(
            f"{elsewhere[0].path}: expected ROIs on the grid of the betas, {_grids(files)}, in a file named for its "
            "hemisphere where these are, found none among "
            f"{len(elsewhere)}; give those of the same space and resolution, or move them elsewhere"
        )
    if elsewhere:
        log.info("%s: left out %d ROI files of another grid", subject.name, len(elsewhere))
    _check_once(found)
    return found


def _check_once(found: Sequence[Members]) -> None:
    """Check that no two files have a ROI of one name in one hemisphere."""
    first: dict[tuple[object, ...], Path] = {}
    for each in found:
        path = first.setdefault((each.name, each.side, *each.masks), each.source.path)
        if path != each.source.path:
            raise InputError(
                f"{each.source.path}: expected each ROI in one file, found {each.name} in {path} too; rename one, or "
                "give a folder of those that are meant with --data.source.roi_folder"
            )


def _grids(files: Mapping[str, Series]) -> str:
    return " and ".join(f"{side} {series.shape}".strip() for side, series in files.items())


def _named_in(folder: Path) -> list[Named]:
    if not folder.is_dir():
        raise InputError(f"--data.source.roi_folder {folder}: expected a folder of ROIs, found none; correct it")
    named = (Named(path, folder) for path in sorted(folder.rglob("*")) if path.is_file())
    found = [each for each in named if each.ending in MAPS]
    if not found:
        raise InputError(f"--data.source.roi_folder {folder}: expected maps ({' '.join(MAPS)}), found none; correct it")
    return found


def _members(named: Named, side: str, found: ImageMap) -> list[Members]:
    """The ROIs of one file: one of a mask, those of an atlas."""
    labels = found.labels("a mask or an atlas")
    names = (found.names if _regions(found.names) else read_names(named.path)) or {}
    if not _regions(names) and labels.max(initial=0) <= 1:
        return [Members(_name(named), named.side, {side: labels == 1}, found)]
    unnamed = np.setdiff1d(labels[labels > 0], list(names))
    if len(unnamed):
        raise InputError(
            f"{named.path}: expected a name for each label, found none of {unnamed[0]}; put a table of index and name "
            f"beside it, {named.stem}.tsv"
        )
    chosen = _regions(names)
    _check_names(named.path, list(chosen.values()))
    return [Members(name, named.side, {side: labels == label}, found) for label, name in chosen.items()]


def _regions(names: Mapping[int, str] | None) -> dict[int, str]:
    """The labels that are of a region: above 0, and not what FreeSurfer's tables call what is in none."""
    return {label: name for label, name in (names or {}).items() if label > 0 and name != _NOWHERE}


def _name(named: Named) -> str:
    """A mask's ROI, by its name: BIDS's label, or what is left without the hemisphere."""
    name = named.entity("label") or named.entity("desc")
    if not name:
        name = named.variety.removesuffix(named.ending).removesuffix(".nii").removesuffix(".mgh").removesuffix(".gii")
        for word in ("_mask", "_roi", ".mask", ".roi"):
            name = name.removesuffix(word)
    _check_names(named.path, [name])
    return name


def _check_names(path: Path, names: Sequence[str]) -> None:
    own = [name for name in names if name in OWN_NAMES or ";" in name or not name]
    if own:
        raise InputError(
            f"{path}: expected ROIs' names without ';' and other than {' and '.join(OWN_NAMES)}, which the program "
            f"uses itself, found {own[0]!r}; rename it"
        )
