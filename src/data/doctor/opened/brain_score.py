"""Brain-Score's assemblies, laid open."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...sources.brain_score import BrainScore
from ...trials.repeats import gathered, trial_table
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    folder = root if root.is_dir() else root.parent
    return sorted([*folder.glob("*.nc"), *folder.glob("*.csv")])


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """The one recording that the assembly holds."""
    source = chart.attempt("reading", root, lambda: BrainScore(root, images=asked.images))
    read = chart.attempt("reading", source.path, source.read) if source else None
    for recording in read or ():
        if source is None or recording.trials is None:
            continue
        path = source.path
        table = trial_table(recording.trials.stimulus)
        responses = recording.responses.gather(np.arange(len(table)))
        yield Case(
            recording.subject,
            [Block(Gallery(asked.images or root, recording.stimuli), [Table(path / "data", responses)])],
            rois=recording.rois,
            rois_file=path,
            repeats=gathered(recording.trials.responses, table) if table.shape[1] > 1 else None,
            repeats_file=path / "presentations",
        )
