"""Files of Neurodata Without Borders, laid open."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...sources.nwb import WINDOW, NwbFile, nwb_files
from ...trials.repeats import gathered, trial_table
from ..case import Asked, Block, Case, Table
from ..gallery import Gallery
from ..symptom import Chart


def own_files(root: Path) -> list[Path]:
    """The files and folders that are read."""
    return nwb_files(root)


def cases(root: Path, asked: Asked, chart: Chart) -> Iterator[Case]:
    """One file after another."""
    for path in nwb_files(root):
        recording = chart.attempt(
            "reading", path, lambda own=path: NwbFile(own, asked.images, None, None, WINDOW, None).read()
        )
        if recording is None or recording.trials is None:
            continue
        table = trial_table(recording.trials.stimulus)
        responses = recording.responses.gather(np.arange(len(table)))
        yield Case(
            recording.subject,
            [Block(Gallery(asked.images or path, recording.stimuli), [Table(path / "units", responses)])],
            rois=recording.rois,
            rois_file=path,
            repeats=gathered(recording.trials.responses, table) if table.shape[1] > 1 else None,
            repeats_file=path / "presentations",
        )
