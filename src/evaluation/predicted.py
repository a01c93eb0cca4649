"""What a model predicts for held-out stimuli: what evaluation starts from."""

from dataclasses import dataclass

import numpy as np

from ..recording import Recording


@dataclass(frozen=True)
class SplitPredictions:
    """What a model predicts for one subject's stimuli of one split.

    Args:
        recording: The subject.
        split: "validation" or "test".
        stimuli: Indices of the stimuli in the recording, int64 (n,).
        predictions: float32 (n, recording.num_targets) in the responses' own units, less their offset where they have
            one; may be a memory map.
    """

    recording: Recording
    split: str
    stimuli: np.ndarray
    predictions: np.ndarray

    @property
    def names(self) -> list[str]:
        """Of the n stimuli."""
        return [str(self.recording.stimuli.names[index]) for index in self.stimuli.tolist()]
