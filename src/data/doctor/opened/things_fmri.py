"""THINGS-fMRI's tables, laid open at some of the voxels: all of them are more than a check can hold."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....names import TEST, UNASSIGNED
from ...sources.things_fmri import FOLDER, RESPONSES, ThingsSubject
from ...sources.things_images import FOLDER as IMAGES
from ...sources.things_images import things_folder
from ...stimuli import ImageFiles
from ...trials.prepared import mean_over_trials, standardise
from ...trials.repeats import gathered, trial_table
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart

_VOXELS = 500
"""That are looked at, evenly spread."""


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    return [root / name for name in (FOLDER, IMAGES) if (root / name).exists() or (root / name).is_symlink()]


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """One subject after another, those asked for or all that are there."""
    images = chart.attempt("pictures", root / IMAGES, lambda: things_folder(root, asked.images))
    names = [path.name for path in (root / FOLDER).iterdir()] if (root / FOLDER).is_dir() else []
    there = sorted(int(match[1]) for name in names if (match := RESPONSES.fullmatch(name)))
    for number in asked.numbers or there or [1]:
        place = root / FOLDER / f"sub-{number:02d}_ResponseData.h5"
        subject = chart.attempt("reading", place, lambda own=number: ThingsSubject(root, own, most=_VOXELS))
        trials = chart.attempt("reading", place, lambda own=subject: _standardised(own)) if subject else None
        if subject is not None and trials is not None:
            yield _case(subject, trials, images, chart)


def _standardised(subject: ThingsSubject) -> np.ndarray:
    """Single trials of all sessions, as the source prepares them, (n_trials, voxels)."""
    sessions = [session.read() for session in subject.sessions()]
    for responses in sessions:
        standardise(responses)
    return np.concatenate(sessions)


def _case(subject: ThingsSubject, trials: np.ndarray, images: Path | None, chart: Chart) -> Case:
    table = trial_table(subject.stimulus)
    tested, mean = subject.tested(table), mean_over_trials(trials, table)
    paths = None
    if images is not None:
        paths = chart.attempt("pictures", subject.trials_file, lambda: subject.image_paths(images, table))
    blocks = []
    for own, split in ((~tested, UNASSIGNED), (tested, TEST)):
        shown = [paths[row] for row in np.flatnonzero(own)] if paths else []
        gallery = Gallery(images, ImageFiles(shown)) if images and shown else None
        blocks.append(Block(gallery, [Table(subject.path / (split or "training"), mean[own])], split))
    return Case(
        subject.name,
        blocks,
        rois=subject.rois(),
        rois_file=subject.voxels_file,
        ceilings={subject.voxels_file / "nc_testset": 100 * subject.told("nc_testset")},
        repeats=gathered(trials, table[tested]),
        repeats_file=subject.path / "repeats",
    )
