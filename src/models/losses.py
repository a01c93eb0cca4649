"""Losses: per target, over the stimuli for which it was measured."""

from abc import ABC, abstractmethod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics import Metric

from ..arguments import KeepsArguments
from ..batch import Facts
from ..errors import InputError
from ..recipe import Remakable
from .over_ranks import ranks, sum_over_ranks

FLAT = 1e-6
"""Variance below which a standardised prediction or response counts as constant."""


class Loss(KeepsArguments, Remakable, nn.Module, ABC):
    """From predictions and responses to one loss per target.

    Attributes:
        complete: Whether no response is NaN, so that none is looked for.
    """

    complete: bool = False
    scale_free: bool = False
    """Whether it is blind to the scale and offset of predictions, which are then found when training has ended."""

    def check(self, facts: Facts) -> None:
        """Raise InputError where the data lack what the loss needs; called before the first image is read."""

    def fill(self, facts: Facts) -> None:
        """Take what the loss needs of the data, such as noise ceilings, before the first batch."""
        self.complete = facts.complete

    def measured(self, response: Tensor) -> Tensor:
        """How many stimuli of a batch (batch, num_targets) were measured, float32 (num_targets,)."""
        if self.complete:
            return response.new_full(response.shape[1:], len(response))
        return (~response.isnan()).sum(0).to(response)

    def of_targets(self, prediction: Tensor, response: Tensor, targets: slice) -> Tensor:
        """As `forward`, of one subject's targets, for a loss that keeps something of each target.

        Args:
            prediction: (batch, n).
            response: (batch, n).
            targets: Which of all targets they are.
        """
        return self(prediction, response)

    @abstractmethod
    def forward(self, prediction: Tensor, response: Tensor) -> Tensor:
        """Compare standardised predictions with standardised responses.

        Args:
            prediction: (batch, num_targets).
            response: (batch, num_targets), NaN where a target was not measured.

        Returns:
            (num_targets,); 0 for a target that no stimulus of the batch measured.
        """

    def squared_errors(self, prediction: Tensor, response: Tensor) -> Tensor:
        """Mean squared error of each target, (num_targets,)."""
        if self.complete and len(response):
            return _MeanSquares.apply(prediction, response)  # type: ignore[no-any-return]
        error, measured = _errors(prediction, response)
        return error.square().sum(0) / measured.sum(0).clamp_min(1)

    def over_ranks(self, losses: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
        """Loss over the batches of all ranks: for what is a mean over stimuli, the mean, so that every measurement
        weighs the same on whichever rank it is.

        Args:
            losses: Of this rank's batch, (num_targets,).
            measured: How many of its stimuli were measured, (num_targets,).

        Returns:
            Loss, and how many stimuli were measured, over all ranks, (num_targets,) each.
        """
        if ranks() == 1:
            return losses, measured
        total, everywhere = sum_over_ranks(torch.stack([losses * measured, measured.to(losses)]))
        return total / everywhere.clamp_min(1), everywhere.detach()

    def over_split(self, mean: Tensor, pearson: Tensor) -> Tensor:
        """Loss over a whole split, however it is batched: for what is a mean over stimuli, the mean.

        Args:
            mean: Mean of the batches' losses, weighted by how often each target was measured, (num_targets,).
            pearson: Correlation over the split, (num_targets,), NaN where a response does not vary.

        Returns:
            (num_targets,).
        """
        return mean


class MeanSquaredError(Loss):
    """Mean squared error."""

    def forward(self, prediction: Tensor, response: Tensor) -> Tensor:
        return self.squared_errors(prediction, response)


class SmoothL1(Loss):
    """Mean squared error for small errors, mean absolute error for large ones (Girshick 2015, "Fast R-CNN").

    Args:
        beta: Error, in standard deviations of the response, at which one becomes the other; 0 is absolute error.
    """

    def __init__(self, beta: float = 1.0) -> None:
        super().__init__()
        if beta < 0:
            raise InputError(f"--model.loss.beta {beta:g}: expected 0 or more")
        self.beta = beta

    def forward(self, prediction: Tensor, response: Tensor) -> Tensor:
        error, measured = _errors(prediction, response)
        loss = F.smooth_l1_loss(error, torch.zeros_like(error), reduction="none", beta=self.beta)
        return loss.sum(0) / measured.sum(0).clamp_min(1)


class OneMinusCorrelation(Loss):
    """One minus Pearson's correlation over the batch's stimuli: the dissimilarity of prediction and response.

    It is 1 for a target that is constant in the batch or is predicted by a constant, with a finite gradient. Of n
    stimuli a correlation is known to 1/√n, so batches should be large. On several ranks it is the correlation over the
    batches of all of them, as one process has it whose batches are as much larger. Validation takes the correlation
    over the whole split.

    Correlation leaves the scale and offset of predictions undetermined. When training has ended, a line per target
    brings them to the responses' units (`Calibration`).
    """

    scale_free = True

    def forward(self, prediction: Tensor, response: Tensor) -> Tensor:
        measured = ~response.isnan()
        p, y = (torch.where(measured, each.to(response.dtype), 0.0) for each in (prediction, response))
        # Means are constants to the gradient: what is centred has a sum of 0, so nothing flows through them. On one
        # rank of several that sum is not 0, but over all of them it is.
        count, *sums = sum_over_ranks(torch.stack([each.detach().sum(0) for each in (measured.to(y), p, y)]))
        stimuli = count.clamp_min(1)  # (num_targets,)
        p, y = (torch.where(measured, each - total / stimuli, 0.0) for each, total in zip((p, y), sums, strict=True))
        moments = sum_over_ranks(torch.stack([(a * b).sum(0) for a, b in ((p, y), (p, p), (y, y))]))
        covariance, variance_p, variance_y = moments / stimuli
        # FLAT inside the root, rather than a case for constants: heads that start at zero predict a constant, and
        # have to get a gradient that leads away from it.
        correlation = covariance / ((variance_p + FLAT) * (variance_y + FLAT)).sqrt()
        return torch.where(count > 0, 1 - correlation, 0.0)

    def over_ranks(self, losses: Tensor, measured: Tensor) -> tuple[Tensor, Tensor]:
        return losses, sum_over_ranks(measured)

    def over_split(self, mean: Tensor, pearson: Tensor) -> Tensor:
        loss = 1 - pearson.nan_to_num(0.0)
        return loss.where(mean.isfinite(), mean)  # a diverged prediction has no correlation either


class NoiseCeilingWeightedMse(Loss):
    """Mean squared error, weighted by each target's noise ceiling: what cannot be explained is not fitted.

    Weights are ceilings divided by their mean over the targets that have one, so their mean is 1. A target of unknown
    ceiling has weight 1, one of ceiling 0 has weight 0.

    Raises:
        InputError: No target has a ceiling above 0.
    """

    weight: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.empty(0), persistent=False)  # (num_targets,), from the facts

    def check(self, facts: Facts) -> None:
        if not facts.noise_ceiling.clamp_min(0).nansum() > 0:
            raise InputError(
                "--model.loss NoiseCeilingWeightedMse: expected noise ceilings, found none above 0; set "
                "--data.source.noise_ceiling, give repeats, or leave the loss out"
            )

    def fill(self, facts: Facts) -> None:
        super().fill(facts)
        self.check(facts)
        ceiling = facts.noise_ceiling.clamp_min(0)
        self.weight = (ceiling / ceiling.nanmean()).nan_to_num(1.0).to(self.weight.device)

    def of_targets(self, prediction: Tensor, response: Tensor, targets: slice) -> Tensor:
        return self.weight[targets] * self.squared_errors(prediction, response)

    def forward(self, prediction: Tensor, response: Tensor) -> Tensor:
        return self.of_targets(prediction, response, slice(None))


class _MeanSquares(torch.autograd.Function):
    """Mean over the batch of squared errors: the errors are the only pass that is written, and the only one kept.

    Of a whole brain every other pass costs as much as a tenth of the head's product.
    """

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, response: Tensor) -> Tensor:
        error = prediction - response
        ctx.save_for_backward(error)
        ctx.dtype = prediction.dtype
        return torch.linalg.vector_norm(error, dim=0).square() / len(error)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (error,), (gradient,) = ctx.saved_tensors, gradients
        return (error * (gradient * (2 / len(error)))).to(ctx.dtype), None


def _errors(prediction: Tensor, response: Tensor) -> tuple[Tensor, Tensor]:
    """Prediction minus response, 0 where a target was not measured; and where it was, both (batch, num_targets)."""
    measured = ~response.isnan()
    return torch.where(measured, prediction - response, 0.0), measured


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

    def update(self, loss: Tensor, measured: Tensor, targets: slice = slice(None)) -> None:
        """Add one batch's losses of some targets (n,), weighted by how many stimuli were measured (n,)."""
        self.total[targets] += loss * measured
        self.count[targets] += measured

    def compute(self) -> Tensor:
        """Mean loss, float64 (num_targets,); 0 for a target never measured."""
        return self.total / self.count.clamp_min(1)
