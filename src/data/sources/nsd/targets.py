"""Which vertices or voxels of the Natural Scenes Dataset are targets, and all that is known of them."""

import logging
import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ....errors import InputError, one_line
from ....fsaverage import mesh_at_level, pial_file, read_surface
from ....names import HEMISPHERES
from ....recording import Grid, Recording, Roi
from ...trials.series import ImageSeries, Series
from ...trials.session import Chosen
from .labels import members, read_atlas, read_values, rois_of
from .sessions import beta_session
from .tree import NsdTree, Space, one_of

ROIS = ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", "streams")
"""Atlases whose ROIs are scored, of those that are there."""

log = logging.getLogger(__name__)


class NsdTargets:
    """The chosen targets of one subject.

    Args:
        tree: The subject's files.
        space: Of the betas.
        folder: Of the betas.
        sessions: The files of each session, by hemisphere; targets that are NaN in any are left out.
        targets: As in NSD, and so the next.
        rois: See there.

    Raises:
        InputError: There is no such atlas or ROI, or nothing is left.
    """

    def __init__(
        self,
        tree: NsdTree,
        space: Space,
        folder: Path,
        sessions: Sequence[Mapping[str, Series]],
        targets: Sequence[str],
        rois: Sequence[str] | None,
    ) -> None:
        self.tree, self.folder, self.rois = tree, folder, rois
        self.space: Space = space
        self._first = sessions[0]
        places = self._choose(targets)
        there = ~np.logical_or.reduce([beta_session("", files, places).missing() for files in sessions])
        if not there.any():
            raise InputError(
                f"--data.source.targets {' '.join(targets)}: expected targets that are measured in all sessions, found "
                f"none of {len(there)}; choose others"
            )
        if not there.all():
            log.info("%s: left out %d targets that are NaN in some session", tree.name, int((~there).sum()))
        self.chosen = Chosen(places.places[there], places.sides[there])

    @property
    def num_targets(self) -> int:
        return len(self.chosen.places)

    def recording(self, **known: Any) -> Recording:
        """A recording of these targets.

        Args:
            known: What the targets do not tell: stimuli, responses, splits and so on.
        """
        surface = self.space == "fsaverage"
        return Recording(
            subject=self.tree.name,
            hemispheres=self.chosen.sides,
            rois=self.read_rois(),
            coordinates=self._coordinates(),
            vertices=self.chosen.places if surface else None,
            grid=None if surface else self._grid(),
            **known,
        )

    def _choose(self, targets: Sequence[str]) -> Chosen:
        """The places that are asked for."""
        size = next(iter(self._first.values())).size
        masks: dict[str, np.ndarray] = {}
        for target in targets:
            name, _, rois = target.partition(":")
            found = (
                self._everywhere(size)
                if target == "all"
                else members(read_atlas(self.tree, self.space, name), [roi for roi in rois.split(",") if roi])
            )
            for side, mask in found.items():
                if len(mask) != size:
                    raise InputError(
                        f"--data.source.targets {target}: expected {size} labels, one per value of a trial, found "
                        f"{len(mask)}; use the files of one subject and space"
                    )
                masks[side] = masks.get(side, False) | mask
        if self.space == "fsaverage":
            places = [np.flatnonzero(masks[side]) for side in HEMISPHERES]
            sides = np.repeat(np.array(HEMISPHERES), [len(own) for own in places])
            return _some(Chosen(np.concatenate(places), sides), targets)
        anywhere = np.flatnonzero(np.logical_or.reduce(list(masks.values())))
        side = np.full(size, "", dtype="U2")
        for hemisphere in HEMISPHERES:
            if hemisphere in masks:
                side[masks[hemisphere]] = hemisphere
        return _some(Chosen(anywhere, side[anywhere]), targets)

    def _everywhere(self, size: int) -> dict[str, np.ndarray]:
        """All vertices, or all voxels of the brain."""
        if self.space == "fsaverage":
            return {side: np.ones(size, dtype=bool) for side in HEMISPHERES}
        return {
            "": read_values(one_of(self.tree.prepared / self.space, "brainmask", (".nii.gz", ".nii")), "the brain") > 0
        }

    def read_rois(self) -> list[Roi]:
        found = []
        for name in ROIS if self.rois is None else self.rois:
            try:
                atlas = read_atlas(self.tree, self.space, name)
            except InputError:
                if self.rois or not _is_absent(self.tree, self.space, name):
                    raise
                continue
            found += rois_of(self.chosen, atlas)
        return found

    @cached_property
    def snr(self) -> np.ndarray | None:
        """`ncsnr` of each target, float64 (num_targets,); None where there are no files of it."""
        surface = self.space == "fsaverage"
        suffixes = (".mgh", ".mgz") if surface else (".nii.gz", ".nii")
        paths = {side: one_of(self.folder, f"{side}.ncsnr" if side else "ncsnr", suffixes) for side in self._first}
        if not all(path.is_file() for path in paths.values()):
            return None
        parts = []
        for side, path in paths.items():
            values = read_values(path, "ncsnr").astype(np.float64)
            if len(values) != next(iter(self._first.values())).size:
                raise InputError(f"{path}: expected one value per vertex or voxel, found {len(values)}; copy it again")
            parts.append(values[self.chosen.on(side) if side else self.chosen.places])
        return np.concatenate(parts)

    def _coordinates(self) -> np.ndarray:
        """Places of the targets in mm, float32 (num_targets, 3)."""
        if self.space != "fsaverage":
            grid = self._grid()
            if grid.affine is None:
                return grid.voxels.astype(np.float32)
            return (grid.voxels @ grid.affine[:3, :3].T + grid.affine[:3, 3]).astype(np.float32)
        surfaces = self.tree.fsaverage / "surf"
        shipped = all((surfaces / f"{side}.pial").is_file() for side in HEMISPHERES)
        places = {
            side: read_surface(pial_file(surfaces, side)) if shipped else mesh_at_level(side, 7)[1]
            for side in HEMISPHERES
        }
        return np.concatenate([places[side][self.chosen.on(side)] for side in HEMISPHERES]).astype(np.float32)

    def _grid(self) -> Grid:
        series = next(iter(self._first.values()))
        voxels = np.stack(np.unravel_index(self.chosen.places, series.shape), axis=1)
        affine = series.affine if isinstance(series, ImageSeries) else self._affine()
        return Grid(tuple(series.shape), voxels, affine)  # type: ignore[arg-type]

    def _affine(self) -> np.ndarray | None:
        """Where voxels lie, from a volume of the same space: HDF5 files do not tell."""
        import nibabel

        beside = sorted((self.tree.prepared / self.space / "roi").glob("*.nii.gz"))
        if not beside:
            return None
        try:
            return np.asarray(nibabel.load(beside[0]).affine)  # type: ignore[attr-defined]
        except Exception as error:  # parsers of foreign formats raise many kinds
            raise InputError(
                f"{beside[0]}: expected a volume, which tells where voxels lie, found {one_line(error)}; copy it again"
            ) from error


def _some(chosen: Chosen, targets: Sequence[str]) -> Chosen:
    if not len(chosen.places):
        raise InputError(f"--data.source.targets {' '.join(targets)}: expected some vertices or voxels, found none")
    return chosen


def _is_absent(tree: NsdTree, space: Space, name: str) -> bool:
    """Whether there is no file of an atlas."""
    pattern = re.compile(rf"(?:[lr]h\.)?{re.escape(name)}\.(?:mgz|mgh|nii\.gz|nii)")
    folders = (
        (tree.fsaverage / "label", tree.native / "label") if space == "fsaverage" else (tree.prepared / space / "roi",)
    )
    return not any(pattern.fullmatch(path.name) for folder in folders if folder.is_dir() for path in folder.iterdir())
