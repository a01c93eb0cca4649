"""What challenges take of predictions: the zip that a run's folder holds."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from ..names import HEMISPHERES, TEST, WITHHELD
from ..recording import Recording
from .challenge import write_submission_2021, write_submission_2023

TRACKS: dict[str | None, Literal["mini", "full"]] = {"algonauts2021_mini": "mini", "algonauts2021_full": "full"}


def write_submission(
    folder: Path,
    recordings: Sequence[Recording],
    evaluated: Sequence[str],
    predictions: Callable[[str], Iterable[tuple[Recording, np.ndarray]]],
) -> str | None:
    """Write the zip of the challenge where the recordings are of one; what became of it, in a line.

    Args:
        folder: The run's.
        recordings: All that were read.
        evaluated: The splits that there are predictions of.
        predictions: Of a split, each recording with stimuli in it and its predictions (n, T), in the responses' units.
    """
    (challenge, *others) = {recording.submission for recording in recordings}
    if challenge is None or others:
        return None
    split = WITHHELD if WITHHELD in evaluated else TEST
    if challenge in TRACKS and split == TEST:
        return f"no {TRACKS[challenge]}_track.zip: every video has responses, so there is none to predict"
    parts = list(predictions(split))
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
