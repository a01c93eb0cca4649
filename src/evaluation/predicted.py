"""What a model predicts for held-out stimuli: what evaluation starts from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..recording import Recording
from .scores import ScoreRow, TargetScores, score_rows, target_scores
from .scoring import scoring_of


@dataclass(frozen=True)
class SplitPredictions:
    """What a model predicts for one subject's stimuli of one split.

    Args:
        recording: The subject.
        split: "validation" or "test".
        stimuli: Indices of the stimuli in the recording, int64 (n,).
        predictions: float32 (n, recording.num_targets) in the responses' own units, less their offset where they have
            one; may be a memory map.
        answers: Stimuli whose responses they are held against, int64 (n,): other ones where a control has shuffled
            the pairs of the validation split; None where each is held against its own.
    """

    recording: Recording
    split: str
    stimuli: np.ndarray
    predictions: np.ndarray
    answers: np.ndarray | None = None

    def responses(self, rows: np.ndarray | slice = slice(None)) -> np.ndarray:
        """What some of the predictions are held against, by default all, float32 (n, T)."""
        stimuli = self.stimuli if self.answers is None else self.answers
        return self.recording.responses.gather(stimuli[rows])

    @property
    def names(self) -> list[str]:
        """Of the n stimuli."""
        return [str(self.recording.stimuli.names[index]) for index in self.stimuli.tolist()]

    @cached_property
    def ceilings(self) -> Mapping[str, np.ndarray]:
        """Noise ceilings of exactly these stimuli, each (T,), by what tells them, the best first."""
        return self.recording.ceilings(self.stimuli)

    @property
    def noise_ceiling(self) -> np.ndarray | None:
        """The ceiling (T,) that scores are held against; None where none is known."""
        return next(iter(self.ceilings.values()), None)


def scored(part: SplitPredictions) -> tuple[TargetScores, list[ScoreRow]]:
    """The scores of one subject's and split's targets, and the rows of `scores.csv`."""
    responses = part.responses()
    scores = target_scores(part.predictions, responses, part.noise_ceiling, scoring_of(part.recording))
    return scores, score_rows(part.recording, part.split, part.predictions, responses, targets=scores)
