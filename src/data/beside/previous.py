"""PreviousStimuli: features of what came before, gathered batch by batch from those of each image."""

import numpy as np
import torch
from torch import Tensor

from ...trial_order import stimuli_before
from ..loader import Rows


class PreviousStimuli(Rows):
    """Features of the stimuli before each trial, averaged over a stimulus's trials.

    They are never all made: 30,000 trials with 32 stimuli before them are 30,000 × 32 numbers of images, and the
    features are those of the images themselves, a few numbers each.

    Args:
        features: Of each position's stimulus, float32 (n_positions, width), 0 for what stands where nothing came
            before.
        trials: As in BesideTables.
        shown: See there.
        starts: See there.
        count: How many stimuli before a trial are remembered.
        together: Give their mean, rather than one after another.
    """

    def __init__(
        self,
        features: np.ndarray,
        trials: np.ndarray,
        shown: np.ndarray,
        starts: np.ndarray,
        count: int,
        together: bool,
    ) -> None:
        nothing = np.zeros((1, features.shape[1]), dtype=np.float32)  # found at −1, as is no stimulus
        super().__init__([np.concatenate([features, nothing])])
        self.features = self.arrays[0]
        self.trials, self.shown, self.starts, self.count = trials, shown, starts, count
        self.together = together
        self.shape = (features.shape[1] * (1 if together else count),)
        self.mean = torch.zeros(self.shape)
        """What stands for a stimulus of which no trial is known."""

    def __len__(self) -> int:
        return len(self.trials)

    def gather(self, rows: np.ndarray, out: Tensor) -> None:
        own = self.trials[rows]  # (n, repetitions)
        total = torch.zeros(len(rows), self.count, self.features.shape[1])
        for trials in own.T:
            total += self.features[torch.from_numpy(stimuli_before(trials, self.shown, self.starts, self.count))]
        if self.together:
            total = total.mean(1, keepdim=True)
        counts = torch.from_numpy((own >= 0).sum(axis=1))
        mean = total.flatten(1) / counts.clamp(min=1)[:, None]
        out.copy_(torch.where(counts[:, None] > 0, mean, self.mean))
