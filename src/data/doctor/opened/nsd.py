"""The Natural Scenes Dataset as it is downloaded, laid open: headers of everything, and one session of each subject."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...hdf5_images import Brick, BrickImages
from ...sources.nsd.sessions import beta_session
from ...sources.nsd.source import BETAS, NsdSubject
from ...sources.nsd.tree import NsdTree
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart

_SUBJECTS = "nsddata_betas/ppdata/subj[0-9][0-9]"
_TRIALS = 200  # of the session whose images are decoded


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    return sorted(root.glob(_SUBJECTS))


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """One subject after another, those asked for or all that are there."""
    there = [int(path.name[4:]) for path in own_files(root)]
    for number in asked.numbers or there or [1]:
        place = root / _SUBJECTS.replace("subj[0-9][0-9]", f"subj{number:02d}")
        spaces = [space for space in ("fsaverage", "func1pt8mm") if (place / space / BETAS).is_dir()]
        for space in spaces or ["fsaverage"]:
            subject = chart.attempt("reading", place, lambda n=number, s=space: _open(root, n, s))
            if subject is not None:
                case = chart.attempt("reading", place, lambda own=subject: _case(own))
                if case is not None:
                    yield case


def _open(root: Path, number: int, space: str) -> NsdSubject:
    tree = NsdTree(root, number)
    return NsdSubject(
        tree, "fsaverage" if space == "fsaverage" else "func1pt8mm", BETAS, None, ["nsdgeneral"], None, True
    )


def _case(subject: NsdSubject) -> Case:
    """The first session: its trials' images, and its betas."""
    number, files = next(iter(subject.files.items()))
    trials = np.array(subject.design.trials_of(number))[:_TRIALS]
    images, chosen = subject.design.image[trials], subject.targets.chosen
    brick = Brick(subject.tree.stimuli)
    brick.check(np.unique(subject.design.done))
    names = [f"nsd-{image:05d} in trial {trial + 1}" for image, trial in zip(images, trials, strict=True)]
    gallery = Gallery(brick.path, BrickImages([(brick, int(image)) for image in images], names), shows=images)
    betas = beta_session(f"session {number}", files, chosen).read()[: len(trials)]
    tables = [Table(series.path, betas[:, chosen.sides == side] if side else betas, side)
              for side, series in files.items()]  # fmt: skip
    return Case(
        f"{subject.tree.name}, session {number}",
        [Block(gallery, tables)],
        hemispheres=chosen.sides,
        rois=subject.targets.read_rois(),
        rois_file=subject.tree.native / "label",
    )
