"""NSD: the Natural Scenes Dataset as it is downloaded, from single-trial betas to averaged responses."""

import logging
import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from ....errors import InputError
from ....fsaverage import mesh_at_level, pial_file, read_surface
from ....names import HEMISPHERES, TEST, UNASSIGNED
from ....recording import Grid, Recording, Responses, Roi, Trials
from ...hdf5_images import Brick, BrickImages
from ...noise_ceiling import ceiling_of_snr
from ...stimulus_views import StimulusView
from ...trials.prepared import PreparedTrials
from ...trials.repeats import TrialRepeats, trial_table
from ...trials.series import ImageSeries, Series
from ..base import Source
from .design import Design, read_design
from .labels import Chosen, members, read_atlas, read_values
from .sessions import BetaSession, find_sessions
from .splits import Split, split_trials
from .tree import LAYOUT, NsdTree, Space, one_of

ROIS = ("prf-visualrois", "floc-bodies", "floc-faces", "floc-places", "floc-words", "streams")
"""Atlases whose ROIs are scored, of those that are there."""

_CHALLENGE = ("nsdgeneral", "nsdgeneralRSC")

log = logging.getLogger(__name__)


class NSD(Source):
    """Reads the Natural Scenes Dataset as it is downloaded: `nsddata/`, `nsddata_betas/`, `nsddata_stimuli/`.

    Each target is standardised within each session, and averaged over the repeats of an image. What is prepared so is
    kept in the cache, session by session, so that a second run reads no betas. Only the sessions that are there are
    read, but they do not decide on which side of a split an image falls. Vertices that are NaN in any session are
    left out. Noise ceilings are those of the repeats of the scored images, and beside them of the files of `ncsnr`.

    Args:
        root: The folder that holds `nsddata`, `nsddata_betas` and `nsddata_stimuli`.
        subject: One subject's number, or a list of several.
        space: Surface vertices of both hemispheres, or the voxels of the 1.8 mm volume.
        betas: Which of the betas, by the name of their folder.
        sessions: Sessions to read, counted from 1; all that are there where not given.
        targets: Which vertices or voxels: an atlas, such as nsdgeneral, ROIs of one, such as streams:ventral, a list
            of those, or all. Where not given, nsdgeneral; of the split algonauts2023 that and nsdgeneralRSC.
        split: What tests. shared1000: the images that every subject sees. shared515: those of them with three repeats
            in every subject. algonauts2023: as in that challenge, whose tree it makes to the bit.
        rois: Atlases whose ROIs are scored. Where not given, those of prf-visualrois, floc-bodies, floc-faces,
            floc-places, floc-words and streams that are there.
        average_repeats: Train on the mean over an image's repeats, rather than on single trials. Tests are on means.
        zscore: Standardise each target within each session.
        shuffle: Permute the responses over the training stimuli: a control that must score about 0.

    Raises:
        InputError: A file is missing or damaged, or a flag names what is not there.
    """

    layout = LAYOUT

    @classmethod
    def recognises(cls, root: Path) -> bool:
        return (root / "nsddata").is_dir() and (root / "nsddata_betas").is_dir()

    def __init__(
        self,
        root: Path,
        subject: int | list[int] = 1,
        space: Space = "fsaverage",
        betas: str = "betas_fithrf_GLMdenoise_RR",
        sessions: list[int] | None = None,
        targets: list[str] | str | None = None,
        split: Split = "shared1000",
        rois: list[str] | None = None,
        average_repeats: bool = True,
        zscore: bool = True,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        numbers = [subject] if isinstance(subject, int) else list(subject)
        if not numbers or len(set(numbers)) < len(numbers):
            raise InputError(f"--data.source.subject {subject}: expected each subject once, found {numbers}; name them")
        if targets is None:
            targets = list(_CHALLENGE) if split == "algonauts2023" else "nsdgeneral"
        self.split: Split = split
        self.average_repeats = average_repeats
        wanted = [targets] if isinstance(targets, str) else list(targets)
        self.subjects = [
            NsdSubject(NsdTree(Path(root), number), space, betas, sessions, wanted, rois, zscore) for number in numbers
        ]
        self._num_targets = sum(each.num_targets for each in self.subjects)
        self.keep_in(Path("cache"))

    @property
    def num_targets(self) -> int:
        return self._num_targets

    def keep_in(self, cache_dir: Path) -> None:
        self.cache_dir = Path(cache_dir)

    def prepare(self) -> None:
        for subject in self.subjects:
            subject.prepared(self.cache_dir).prepare()

    def read(self) -> Sequence[Recording]:
        return [subject.read(self.cache_dir, self.split, self.average_repeats) for subject in self.subjects]


class NsdSubject:
    """One subject's betas at the chosen targets.

    Args:
        tree: The subject's files.
        space: As in NSD, and so the others.
        betas: See there.
        sessions: See there.
        targets: See there.
        rois: See there.
        zscore: See there.
    """

    def __init__(
        self,
        tree: NsdTree,
        space: Space,
        betas: str,
        sessions: Sequence[int] | None,
        targets: Sequence[str],
        rois: Sequence[str] | None,
        zscore: bool,
    ) -> None:
        self.tree, self.zscore, self.rois = tree, zscore, rois
        self.space: Space = space
        self.folder = tree.betas(space, betas)
        self.files = find_sessions(self.folder, space, sessions)
        self.design: Design = read_design(tree, next(iter(self._first.values())).num_trials)
        beyond = [number for number in self.files if number > self.design.sessions]
        if beyond:
            raise InputError(
                f"{self.folder}: expected sessions 1 to {self.design.sessions}, as {tree.name} did, found session "
                f"{beyond[0]}; remove it, or name others with --data.source.sessions"
            )
        places = self._choose(targets)
        there = ~np.logical_or.reduce([session.missing() for session in self._sessions(places)])
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

    def prepared(self, cache_dir: Path) -> PreparedTrials:
        """The trials of all sessions in the cache."""
        return PreparedTrials(cache_dir, self._sessions(self.chosen), self.num_targets, self.zscore)

    def read(self, cache_dir: Path, split: Split, average_repeats: bool) -> Recording:
        """Read everything about this subject."""
        planned = np.concatenate([np.arange(*self._range(number)) for number in self.files])
        session = np.repeat(list(self.files), self.design.trials_per_session)
        train, test = split_trials(self.design, planned, session, split)
        image = self.design.image[planned]
        # Rows: what trains, sorted by image, then what tests. A row is an image, or in training a trial.
        key = image if average_repeats else planned
        stimulus = np.full(len(planned), -1)
        first = np.unique(key[train], return_inverse=True)[1]
        stimulus[train] = first
        stimulus[test] = np.unique(image[test], return_inverse=True)[1] + first.max() + 1
        table = trial_table(stimulus)
        prepared = self.prepared(cache_dir)
        responses = prepared.mean(table)
        trials = Trials(prepared.load(), stimulus, session)
        snr = self._read_snr()
        log.info(
            "%s: sessions %s, %d trials of %d images to train on, %d of %d to test on, %d targets",
            self.tree.name, _spans(list(self.files)), train.sum(), len(np.unique(image[train])), test.sum(),
            len(np.unique(image[test])), self.num_targets,
        )  # fmt: skip
        is_test = np.arange(len(table)) > first.max()
        return Recording(
            subject=self.tree.name,
            stimuli=self._stimuli(image[table[:, 0]], planned[table[:, 0]], is_test | average_repeats),
            responses=Responses.of(responses),
            splits=np.where(is_test, TEST, UNASSIGNED),
            hemispheres=self.chosen.sides,
            rois=self._read_rois(),
            noise_ceiling=None if snr is None else ceiling_of_snr(snr, float((1 / (table >= 0).sum(axis=1)).mean())),
            trials=trials,
            repeats=TrialRepeats(trials.responses, stimulus, snr),
            coordinates=self._coordinates(),
            vertices=self.chosen.places if self.space == "fsaverage" else None,
            grid=self._grid() if self.space != "fsaverage" else None,
        )

    @cached_property
    def _first(self) -> dict[str, Series]:
        return next(iter(self.files.values()))

    def _range(self, session: int) -> tuple[int, int]:
        trials = self.design.trials_of(session)
        return trials.start, trials.stop

    def _sessions(self, chosen: Chosen) -> list[BetaSession]:
        return [BetaSession(f"session {number}", files, chosen) for number, files in self.files.items()]

    def _stimuli(self, image: np.ndarray, trial: np.ndarray, averaged: np.ndarray) -> StimulusView:
        """The image of each row, which may show one several times."""
        brick = Brick(self.tree.stimuli)
        ids = np.unique(image)
        brick.check(ids)
        images = BrickImages([(brick, int(row)) for row in ids], [f"nsd-{row:05d}" for row in ids])
        names = [
            f"nsd-{row:05d}" if mean else f"nsd-{row:05d} in trial {number + 1}"
            for row, number, mean in zip(image, trial, averaged, strict=True)
        ]
        return StimulusView(images, np.searchsorted(ids, image), names)

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

    def _read_rois(self) -> list[Roi]:
        found = []
        for name in self.rois or ROIS:
            try:
                atlas = read_atlas(self.tree, self.space, name)
            except InputError:
                if self.rois or not _is_absent(self.tree, self.space, name):
                    raise
                continue
            found += self.chosen.rois(atlas)
        return found

    def _read_snr(self) -> np.ndarray | None:
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
        return np.asarray(nibabel.load(beside[0]).affine) if beside else None  # type: ignore[attr-defined]


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


def _spans(numbers: Sequence[int]) -> str:
    """Numbers with runs joined, such as "1–37, 40"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
