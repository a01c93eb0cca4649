"""NSD: the Natural Scenes Dataset as it is downloaded, from single-trial betas to averaged responses."""

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from ....errors import InputError
from ....names import TEST, UNASSIGNED
from ....recording import Recording, Responses, Trials
from ....trial_order import TrialOrder, first_that_shows, times_before
from ...hdf5_images import Brick, BrickImages
from ...noise_ceiling import ceiling_of_snr
from ...stimulus_views import StimulusView
from ...trials.prepared import PreparedTrials
from ...trials.repeats import TrialRepeats, trial_table
from ..base import Source, common_columns, subject_numbers
from .behaviour import read_behaviour
from .design import Design, read_design
from .sessions import beta_session, find_sessions
from .splits import Split, split_trials
from .targets import NsdTargets
from .tree import LAYOUT, NsdTree, Space

BETAS = "betas_fithrf_GLMdenoise_RR"
"""The betas that are usually taken."""

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
            of those, or all. Where not given, nsdgeneral; of the split algonauts2023 on
            fsaverage that and nsdgeneralRSC.
        split: What tests. shared1000: the images that every subject sees. shared515: those of them with three repeats
            in every subject. algonauts2023: as in that challenge, whose tree it makes to the bit.
        rois: Atlases whose ROIs are scored. Where not given, those of prf-visualrois, floc-bodies, floc-faces,
            floc-places, floc-words and streams that are there.
        average_repeats: Train on the mean over an image's repeats, rather than on single trials. Tests are on means.
        zscore: Standardise each target within each session.
        shuffle: Permute the responses within the training and the validation split: a control that must score about 0.

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
        betas: str = BETAS,
        sessions: list[int] | None = None,
        targets: list[str] | str | None = None,
        split: Split = "shared1000",
        rois: list[str] | None = None,
        average_repeats: bool = True,
        zscore: bool = True,
        shuffle: bool = False,
    ) -> None:
        super().__init__(shuffle)
        numbers = subject_numbers(subject)
        if targets is None:
            targets = list(_CHALLENGE) if split == "algonauts2023" and space == "fsaverage" else "nsdgeneral"
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

    def trial_columns(self) -> list[str] | None:
        records = [read_behaviour(subject.tree) for subject in self.subjects]
        return common_columns([[] if record is None else list(record.columns) for record in records])

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
        self.tree, self.zscore = tree, zscore
        folder = tree.betas(space, betas)
        self.files = find_sessions(folder, space, sessions)
        first = next(iter(next(iter(self.files.values())).values()))
        self.design: Design = read_design(tree, first.num_trials)
        beyond = [number for number in self.files if number > self.design.sessions]
        if beyond:
            raise InputError(
                f"{folder}: expected sessions 1 to {self.design.sessions}, as {tree.name} did, found session "
                f"{beyond[0]}; remove it, or name others with --data.source.sessions"
            )
        self.targets = NsdTargets(tree, space, folder, list(self.files.values()), targets, rois)

    @property
    def num_targets(self) -> int:
        return self.targets.num_targets

    def prepared(self, cache_dir: Path) -> PreparedTrials:
        """The trials of all sessions in the cache."""
        chosen = self.targets.chosen
        sessions = [beta_session(f"session {number}", files, chosen) for number, files in self.files.items()]
        return PreparedTrials(cache_dir, sessions, self.num_targets, self.zscore)

    def read(self, cache_dir: Path, split: Split, average_repeats: bool) -> Recording:
        """Read everything about this subject."""
        planned = np.concatenate([list(self.design.trials_of(number)) for number in self.files])
        session = np.repeat(list(self.files), self.design.trials_per_session)
        train, test = split_trials(self.design, planned, session, split)
        image = self.design.image[planned]
        # Rows: what trains, sorted by image, then what tests. A row is an image, or in training a trial.
        stimulus = np.full(len(planned), -1)
        stimulus[train] = np.unique((image if average_repeats else planned)[train], return_inverse=True)[1]
        training = int(stimulus.max()) + 1
        stimulus[test] = np.unique(image[test], return_inverse=True)[1] + training
        table = trial_table(stimulus)
        prepared = self.prepared(cache_dir)
        responses = prepared.mean(table)
        trials = Trials(prepared.load(), stimulus, session)
        log.info(
            "%s: sessions %s, %d trials of %d images to train on, %d of %d to test on, %d targets",
            self.tree.name, _spans(list(self.files)), train.sum(), len(np.unique(image[train])), test.sum(),
            len(np.unique(image[test])), self.num_targets,
        )  # fmt: skip
        is_test = np.arange(len(table)) >= training
        snr = self.targets.snr
        return self.targets.recording(
            stimuli=self._stimuli(image[table[:, 0]], planned[table[:, 0]], is_test | average_repeats),
            responses=Responses.of(responses),
            splits=np.where(is_test, TEST, UNASSIGNED),
            noise_ceiling=None if snr is None else ceiling_of_snr(snr, float((1 / (table >= 0).sum(axis=1)).mean())),
            trials=trials,
            order=partial(self._order, stimulus, planned, session, image[table[:, 0]]),
            repeats=TrialRepeats(trials.responses, stimulus, snr),
        )

    def _order(self, stimulus: np.ndarray, planned: np.ndarray, session: np.ndarray, images: np.ndarray) -> TrialOrder:
        """What came before each trial, and what the subject did in it, as far as the record of behaviour goes.

        Args:
            stimulus: The row that each trial is part of, int64 (n_trials,).
            planned: Its place in the design, int64 (n_trials,).
            session: Its session, int64 (n_trials,).
            images: Image of each row, int64 (n_stimuli,).
        """
        shown, record = first_that_shows(self.design.image[planned], images), read_behaviour(self.tree)
        seen = times_before(self.design.image)[planned]  # in sessions that are not read too
        if record is None:
            return TrialOrder(stimulus, shown, session, seen=seen)
        there = planned < record.trials
        if not there.all():
            log.info("%s: no behaviour is recorded of %d trials", self.tree.name, (~there).sum())
        place = np.where(there, planned, 0)
        behaviour = {name: np.where(there, values[place], np.nan) for name, values in record.columns.items()}
        run = record.run[place] if record.run is not None and there.all() else None
        return TrialOrder(stimulus, shown, session, run, seen, behaviour)

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


def _spans(numbers: Sequence[int]) -> str:
    """Numbers with runs joined, such as "1–37, 40"."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(f"{run[0]}–{run[-1]}" if len(run) > 1 else str(run[0]) for run in runs)
