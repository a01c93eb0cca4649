"""Which voxels, vertices or grayordinates are targets, and all that is known of them."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import InputError
from ....names import HEMISPHERES
from ....recording import Recording, Roi
from ...trials.arrays import CiftiSeries
from ...trials.maps import ImageMap, map_on, read_map
from ...trials.places import coordinates_of, grid_of, sides_of, vertices_of
from ...trials.series import Series, same_affine
from ...trials.session import Chosen, SeriesSession
from .names import Named, of_both, of_space
from .rois import read_rois
from .tree import SubjectFiles

_FEW = 0.1
"""Share of the targets that may be left out without a warning."""

log = logging.getLogger(__name__)


class Targets:
    """The chosen targets of one subject.

    Args:
        subject: The subject's files.
        sessions: The files of each session by hemisphere, and its trials (see `SeriesSession`); targets that are not
            measured in any are left out.
        space: Of the betas, as their names tell it; "" where they do not.
        targets: As in Betas, and so the others.
        mask: See there.
        rois: See there.
        roi_folder: See there.

    Raises:
        InputError: There is no such ROI or mask, or nothing is left.
    """

    def __init__(
        self,
        subject: SubjectFiles,
        sessions: Sequence[tuple[Mapping[str, Series], np.ndarray]],
        space: str,
        targets: Sequence[str] | None,
        mask: Path | None,
        rois: Sequence[str] | None,
        roi_folder: Path | None,
    ) -> None:
        self.subject, self.space = subject, space
        self.files = sessions[0][0]
        self._maps: list[ImageMap] = []
        self._members = read_rois(subject, self.files, space, roi_folder)
        names = list(dict.fromkeys(each.name for each in self._members))
        asked = {"rois": list(rois or ()), "targets": [] if targets == ["all"] else list(targets or ())}
        for flag, own in asked.items():
            unknown = [name for name in own if name not in names]
            if unknown:
                raise InputError(
                    f"--data.source.{flag} {unknown[0]}: expected a ROI of {subject.name}, found "
                    f"{', '.join(names) or 'none'}; name some of these"
                )
        self._scored = [each for each in self._members if rois is None or each.name in rois]
        places = self._choose(targets, mask)
        self._affine = _affine_of([*self._maps, *(each.source for each in self._members)])
        there = ~np.logical_or.reduce(
            [SeriesSession("", files, places, rows).missing(still=True) for files, rows in sessions]
        )
        if not there.any():
            raise InputError(
                f"{subject.home}: expected voxels or vertices that are measured in all sessions, found none of "
                f"{len(there)}; choose others with --data.source.targets, or leave sessions out"
            )
        gone = int((~there).sum())
        if gone:
            level = logging.WARNING if gone > _FEW * len(there) else logging.INFO
            log.log(
                level, "%s: left out %d of %d targets, which some session did not measure: NaN, or the same number in "
                "trial after trial", subject.name, gone, len(there),
            )  # fmt: skip
        self.chosen = Chosen(places.places[there], places.sides[there])

    @property
    def num_targets(self) -> int:
        return len(self.chosen.places)

    def recording(self, **known: Any) -> Recording:
        """A recording of these targets.

        Args:
            known: What the targets do not tell: stimuli, responses, splits and so on.
        """
        vertices = vertices_of(self.files, self.chosen, self.space)
        grid = grid_of(self.files, self.chosen, self._affine)
        return Recording(
            subject=self.subject.name,
            hemispheres=self.hemispheres,
            rois=self.rois(),
            vertices=vertices,
            grid=grid,
            coordinates=coordinates_of(self.chosen, vertices, grid),
            **known,
        )

    @property
    def hemispheres(self) -> np.ndarray:
        """Of each target, str (num_targets,): by its file, its structure, or else by ROIs of one hemisphere."""
        if "" not in self.files or isinstance(self.files[""], CiftiSeries):
            return sides_of(self.files, self.chosen)
        found = np.full(self.num_targets, "", dtype="<U2")
        for side in HEMISPHERES:
            own = [each.of(self.chosen) for each in self._members if each.side == side]
            if own:
                inside = np.logical_or.reduce(own)
                found[inside] = np.where(found[inside] == "", side, "")
        return found

    def rois(self) -> list[Roi]:
        """The ROIs that are scored, each in the hemispheres that it has targets in."""
        sides, found = self.hemispheres, []
        for name in dict.fromkeys(each.name for each in self._scored):
            inside = np.logical_or.reduce([each.of(self.chosen) for each in self._scored if each.name == name])
            own = list(dict.fromkeys(sides[inside].tolist())) or sorted(set(sides.tolist()))[:1]
            found += [Roi(name, side, np.flatnonzero(inside & (sides == side))) for side in sorted(own)]
        return found

    def values(self, path: Path, side: str) -> np.ndarray:
        """A map's values of the targets of one file, float64 (n,)."""
        found = read_map(path, self.files[side])
        return found.values[self.chosen.on(side) if side else self.chosen.places]

    def _choose(self, targets: Sequence[str] | None, mask: Path | None) -> Chosen:
        """The places that are asked for, within the mask."""
        inside, told = self._mask(mask)
        if targets is None:
            wanted = [] if told else self._members
        else:
            wanted = [] if list(targets) == ["all"] else [each for each in self._members if each.name in targets]
        for side in inside if wanted else ():
            own = [each.masks[side] for each in wanted if side in each.masks]
            inside[side] = inside[side] & (np.logical_or.reduce(own) if own else False)
        places = {side: np.flatnonzero(own) for side, own in inside.items()}
        chosen = Chosen(
            np.concatenate(list(places.values())), np.repeat(list(places), [len(own) for own in places.values()])
        )
        if not len(chosen.places):
            raise InputError(
                f"--data.source.targets {' '.join(targets or ['all'])}: expected some voxels or vertices within the "
                "mask, found none; choose others"
            )
        return chosen

    def _mask(self, flag: Path | None) -> tuple[dict[str, np.ndarray], bool]:
        """Where targets may be, by side, and whether a mask says it."""
        everywhere = {side: np.ones(series.size, dtype=bool) for side, series in self.files.items()}
        if flag is not None:
            named = [Named(path, path.parent) for path in of_both(flag)]
        else:
            named = of_space(self.subject.masks, self.space)
            if self.subject.masks and not named:
                log.warning(
                    "%s: left aside, since its name says another space than that of the betas, %s; name it with "
                    "--data.source.mask where it is theirs", self.subject.masks[0].path, self.space,
                )  # fmt: skip
        masks = self._by_side(named)
        if masks:
            for side, found in masks.items():
                self._maps.append(found)
                everywhere[side] = found.mask
            return everywhere, True
        for side, found in self._by_side(self.subject.fits).items():
            self._maps.append(found)
            everywhere[side] = np.nan_to_num(found.values) > 0
        return everywhere, False

    def _by_side(self, named: Sequence[Named]) -> dict[str, ImageMap]:
        """One map for each file of a session, of those that lie on its grid; none where there is none."""
        found: dict[str, ImageMap] = {}
        for side, series in self.files.items():
            own = [each for each in named if side in ("", each.side)]
            if len(own) == 1:
                found[side] = read_map(own[0].path, series)
                continue
            fitting = [each for each in (map_on(each.path, series) for each in own) if each is not None]
            if len(fitting) > 1:
                raise InputError(
                    f"{self.subject.home}: expected one mask, found "
                    f"{', '.join(each.path.name for each in fitting[:4])}; name one with --data.source.mask"
                )
            if fitting:
                found[side] = fitting[0]
        if named and len(found) < len(self.files):
            raise InputError(
                f"{named[0].path}: expected a mask of {' and of '.join(filter(None, self.files)) or 'the betas'} on "
                f"their grid, found {' and '.join(found) or 'none'}; name one with --data.source.mask"
            )
        return found


def _affine_of(maps: Sequence[ImageMap]) -> np.ndarray | None:
    """From voxels to millimetres, as maps tell it where betas do not; None where none does.

    Raises:
        InputError: They tell different ones.
    """
    there = [each for each in maps if each.affine is not None]
    for each in there:
        if not same_affine(each.affine, there[0].affine):
            raise InputError(
                f"{each.path}: expected the affine of {there[0].path}, for the betas have none, found another; give "
                "maps of one space"
            )
    return there[0].affine if there else None
