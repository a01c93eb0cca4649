"""Single-trial betas, laid open: headers of everything, and one session of each subject."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ....recording import Stimuli
from ...sources.betas.source import Betas
from ...sources.betas.stimuli import open_images
from ...sources.betas.subject import BetasSubject
from ...sources.betas.tree import find_subjects
from ...stimulus_views import StimulusView
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart

_TRIALS = 200  # of the session whose images are decoded


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    return [folder for folders in find_subjects(root).values() for folder in folders] if root.is_dir() else []


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """One subject after another, those asked for or all that are there."""
    there = find_subjects(root)
    for name in [f"{number}" for number in asked.subjects or ()] or list(there):
        place = there.get(name, [root])[0]
        subject = chart.attempt("reading", place, lambda own=name: _open(root, own, asked))
        case = chart.attempt("reading", place, lambda own=subject: _case(own, chart)) if subject else None
        if case is not None:
            yield case


def _open(root: Path, name: str, asked: Asked) -> BetasSubject:
    only = len(find_subjects(root)) == 1
    own = None if only and not asked.subjects else name
    source = Betas(root, own, images=asked.images, noise_ceiling=asked.noise_ceiling, **asked.source)
    return source.subjects[0]


def _case(subject: BetasSubject, chart: Chart) -> Case:
    """The first session: its trials' images, and its betas."""
    key, session = next(iter(subject.each_session().items()))
    trials = subject.trials[key]
    labels, shows = np.unique(trials.label[:_TRIALS], return_inverse=True)
    place, table = subject.images, subject.tables[0]
    images = chart.attempt("pictures", place, lambda: open_images(place, labels.tolist(), table))
    betas = session.read()[:_TRIALS]
    chosen = session.chosen
    tables = [
        Table(series.path, betas[:, chosen.sides == side] if side else betas, side)
        for side, series in session.files.items()
    ]
    gallery = Gallery(place, _in_trials(images, shows, trials.rows), shows=shows) if images else None
    counts = np.ones(1, dtype=np.int64)
    ceilings = chart.attempt("ceilings", subject.files.home, lambda: subject.told(counts, whole=True)) or []
    found = {each.path: 100 * each.ceiling for each in ceilings if each.path is not None}
    return Case(
        f"{subject.name}, session {key}",
        [Block(gallery, tables)],
        hemispheres=subject.targets.hemispheres,
        rois=subject.targets.rois(),
        rois_file=subject.wanted.roi_folder or subject.files.folders[-1],
        ceilings=found,
    )


def _in_trials(images: Stimuli, shows: np.ndarray, rows: np.ndarray) -> StimulusView:
    """Images by their trials, since a session may show one twice."""
    names = [
        f"{images.names[image]} in trial {row + 1}" for image, row in zip(shows.tolist(), rows.tolist(), strict=False)
    ]
    return StimulusView(images, shows, names)
