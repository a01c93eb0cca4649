"""What challenges take of a run's predictions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from ..evaluation import write_submission_2021, write_submission_2023
from ..names import HEMISPHERES, TEST, WITHHELD
from ..recording import Recording
from .predictions import by_recording

if TYPE_CHECKING:
    from ..data.datamodule import EncodingDataModule

TRACKS: dict[str | None, Literal["mini", "full"]] = {"algonauts2021_mini": "mini", "algonauts2021_full": "full"}


def write_submission(data: EncodingDataModule, predictions: Path, folder: Path) -> str | None:
    """Write the zip of the challenge where the recordings are of one; what became of it, in a line."""
    (challenge, *others) = {recording.submission for recording in data.recordings}
    if challenge is None or others:
        return None
    split = WITHHELD if WITHHELD in data.evaluated else TEST
    if challenge in TRACKS and split == TEST:
        return f"no {TRACKS[challenge]}_track.zip: every video has responses, so there is none to predict"
    parts = [
        (recording, predicted) for recording, _, predicted in by_recording(data, split, predictions, in_units=True)
    ]
    subjects = ", ".join(recording.subject for recording, _ in parts)
    if challenge in TRACKS:
        reason = _unfit_for(TRACKS[challenge], [recording for recording, _ in parts])
        if reason:
            return f"no {TRACKS[challenge]}_track.zip: {reason}"
        by_roi: dict[str, dict[str, np.ndarray]] = {}
        for recording, predicted in parts:
            for roi in recording.rois:
                by_roi.setdefault(roi.name, {})[recording.subject] = predicted[:, roi.targets]
        path = write_submission_2021(folder, TRACKS[challenge], by_roi)
        return f"{path}: predictions of the {split} videos of {subjects}"
    by_subject: dict[str, dict[str, np.ndarray]] = {}
    for recording, predicted in parts:
        hemispheres = {side: recording.hemispheres == side for side in HEMISPHERES}
        if not all(members.any() for members in hemispheres.values()):
            return "no submission.zip: it needs both hemispheres; leave out --data.source.hemisphere"
        by_subject[recording.subject] = {side: predicted[:, members] for side, members in hemispheres.items()}
    write_submission_2023(folder / "submission.zip", by_subject)
    return f"{folder / 'submission.zip'}: predictions of the {split} images of {subjects}"


def _unfit_for(track: Literal["mini", "full"], recordings: Sequence[Recording]) -> str | None:
    """Why the ROIs of these recordings make no submission of a track; None where they do."""
    rois = [[roi.name for roi in recording.rois] for recording in recordings]
    if track == "full" and rois[0] != ["WB"]:
        return f"it takes WB alone, found {', '.join(rois[0])}; set --data.source.rois [WB]"
    common = [name for name in rois[0] if all(name in own for own in rois)]
    if any(len(own) != len(common) for own in rois):
        return f"it takes the same ROIs of every subject, and all have [{','.join(common)}]; set --data.source.rois so"
    return None
