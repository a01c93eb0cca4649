"""Losses: per target, over the stimuli for which it was measured."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ..batch import Facts


class Loss(nn.Module, ABC):
    """From predictions and responses to one loss per target."""

    def fill(self, facts: Facts) -> None:
        """Take what the loss needs of the data, such as noise ceilings, before the first batch."""

    @abstractmethod
    def forward(self, prediction: Tensor, response: Tensor) -> Tensor:
        """Compare standardised predictions with standardised responses.

        Args:
            prediction: (batch, num_targets).
            response: (batch, num_targets), NaN where a target was not measured.

        Returns:
            (num_targets,); 0 for a target that no stimulus of the batch measured.
        """


class MeanSquaredError(Loss):
    """Mean squared error."""

    def forward(self, prediction: Tensor, response: Tensor) -> Tensor:
        measured = ~response.isnan()
        error = torch.where(measured, prediction - response, 0.0)
        return error.square().sum(0) / measured.sum(0).clamp_min(1)


class LossMeter(Metric):
    """Mean loss of each target over a split, however the split is batched or shared among ranks.

    Args:
        num_targets: Targets.
    """

    total: Tensor
    count: Tensor

    def __init__(self, num_targets: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(num_targets, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(num_targets, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, loss: Tensor, response: Tensor) -> None:
        """Add one batch's losses (num_targets,), weighted by how often `response` (batch, num_targets) is measured."""
        measured = (~response.isnan()).sum(0)
        self.total += loss * measured
        self.count += measured

    def compute(self) -> Tensor:
        """Mean loss, float64 (num_targets,); 0 for a target never measured."""
        return self.total / self.count.clamp_min(1)
