"""Scoring: how a challenge makes one score of correlations and noise ceilings."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..recording import Recording
from .challenge import algonauts2021_score, algonauts2023_score, noise_normalised, reliability_normalised

Arrays = Sequence[np.ndarray]


@dataclass(frozen=True)
class Scoring:
    """One challenge's score.

    Args:
        name: What people call it.
        meaning: What it says of a target, for the caption of a table.
        scale: Its highest value where it is not 1, as in "40.97 of 100".
        digits: Decimals that are shown.
        by_roi: Whether the score of a subject goes over its ROIs, or over all targets at once.
        of_targets: From correlations (T,) and noise ceilings (T,) to each target's score, NaN where it has none.
        of_sets: From the correlations and noise ceilings of sets of targets, each (T_i,), to the score; NaN where no
            target has one.
    """

    name: str
    meaning: str
    scale: str
    digits: int
    by_roi: bool
    of_targets: Callable[[np.ndarray, np.ndarray], np.ndarray]
    of_sets: Callable[[Arrays, Arrays], float]

    def overall(self, subjects: Sequence[tuple[Recording, np.ndarray, np.ndarray]]) -> float | None:
        """Score of whole subjects; None where no target has one.

        Args:
            subjects: Of each its recording, and its targets' correlations and noise ceilings, each (T,).
        """
        pearsons, ceilings = [], []
        for recording, pearson, ceiling in subjects:
            for members in [roi.targets for roi in recording.rois] if self.by_roi else [slice(None)]:
                pearsons.append(pearson[members])
                ceilings.append(ceiling[members])
        score = self.of_sets(pearsons, ceilings)
        return None if math.isnan(score) else score

    def text(self, score: float) -> str:
        """The score with its name."""
        return f"{self.name} {score:.{self.digits}f}{self.scale}"


NOISE_NORMALISED = Scoring(
    name="noise-normalised score",
    meaning="squared correlation over the noise ceiling, at most 1, in per cent; a correlation below 0 counts as 0",
    scale=" of 100",
    digits=2,
    by_roi=False,
    of_targets=lambda pearson, ceiling: 100 * noise_normalised(pearson, ceiling),
    of_sets=algonauts2023_score,
)


def _algonauts2021(track: str, by_roi: bool) -> Scoring:
    return Scoring(
        name=f"Algonauts 2021 {track}-track score",
        meaning="correlation as a share of the highest that its reliability admits"
        + (", of several ROIs the mean over them" if by_roi else ""),
        scale="",
        digits=3,
        by_roi=by_roi,
        of_targets=reliability_normalised,
        of_sets=lambda pearsons, reliabilities: algonauts2021_score(pearsons, reliabilities).score,
    )


_OF_CHALLENGES = {
    "algonauts2023": replace(NOISE_NORMALISED, name="Algonauts 2023 score"),
    "algonauts2021_mini": _algonauts2021("mini", by_roi=True),
    "algonauts2021_full": _algonauts2021("full", by_roi=False),
}


def scoring_of(recording: Recording) -> Scoring:
    """The score of the challenge that a recording is of; where it is of none, computed as in 2023."""
    return _OF_CHALLENGES.get(recording.submission or "", NOISE_NORMALISED)
