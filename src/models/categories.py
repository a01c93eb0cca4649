"""Categories: the second output layer of a hybrid network, which names the object that a stimulus shows."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import MeanMetric

from ..arguments import KeepsArguments
from ..batch import Batch, Facts, Features, flatten
from ..errors import InputError
from ..names import HELD_OUT
from ..recipe import Remakable
from .over_ranks import sum_over_ranks


class CategoryObjective(KeepsArguments, Remakable, nn.Module):
    """A linear classifier on the features that the head reads, trained by cross-entropy beside the responses' loss.

    Where a backbone is trained, both tasks shape its features; cached features make them two models that stop
    together. Training stops by the loss of the responses alone, and what is restored is one epoch of everything.
    Of clips, a backbone sees each frame alone, and the evidence is averaged over frames.

    Args:
        weight: Weight of the cross-entropy in the sum of losses; that of the responses' mean loss is 1.

    Raises:
        InputError: The weight is negative.
    """

    readout: nn.Linear

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        if weight < 0:
            raise InputError(f"--model.categories.weight {weight:g}: expected 0 or more")
        self.weight = weight
        self.right = nn.ModuleDict({split: MeanMetric() for split in HELD_OUT})

    def check(self, facts: Facts) -> None:
        """Raise InputError where the data have no categories."""
        if not facts.categories:
            raise InputError(
                "--model.categories: expected stimuli with categories, such as ItSpikes has, found none; leave it out"
            )

    def fill(self, facts: Facts, num_features: int) -> None:
        """Make the output layer, when the categories are known.

        Args:
            facts: Those of the data.
            num_features: Features of one stimulus, or of one frame, over all layers.

        Raises:
            InputError: The data have no categories.
        """
        self.check(facts)
        if not hasattr(self, "readout"):
            self.readout = nn.Linear(num_features, len(facts.categories))

    def forward(self, features: Features, stimuli: int) -> Tensor:
        """Evidence for each category, (stimuli, categories), from features by layer, each (stimuli [· frames], …)."""
        return self.readout(flatten(features)).unflatten(0, (stimuli, -1)).mean(1)

    def loss(self, features: Features, batch: Batch) -> Tensor:
        """Weighted mean cross-entropy of all ranks' stimuli whose category is known; 0 where none is."""
        assert batch.category is not None
        known = (batch.category >= 0).sum()
        evidence = self(features, len(batch))
        total = F.cross_entropy(evidence, batch.category, ignore_index=-1, reduction="sum")
        total, known = sum_over_ranks(torch.stack([total, known.to(total)]))
        return self.weight * total / known.detach().clamp_min(1)

    def update(self, split: str, features: Features, batch: Batch) -> None:
        """Count which stimuli of a batch are named rightly."""
        assert batch.category is not None
        if split not in self.right:  # a test set, whose stimuli have no categories
            return
        right = self(features, len(batch)).argmax(1) == batch.category
        self._metrics()[split].update(right.float(), (batch.category >= 0).float())

    def accuracies(self) -> dict[str, Tensor]:
        """Share of the stimuli of known category named rightly, of each split seen since the last call, by what to log.

        However a split is batched or shared among ranks; NaN where no category is known.
        """
        seen = {split: metric for split, metric in self._metrics().items() if metric.update_called}
        shares = {f"{split}/category_accuracy": metric.compute() for split, metric in seen.items()}
        for metric in seen.values():
            metric.reset()
        return shares

    def _metrics(self) -> dict[str, MeanMetric]:
        return {split: metric for split, metric in self.right.items() if isinstance(metric, MeanMetric)}
