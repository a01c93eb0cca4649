"""Calibration: the scale and offset of predictions whose loss is blind to them."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torchmetrics import Metric

_COUNT, _P, _Y, _PP, _PY = range(5)


class Calibration(nn.Module):
    """A line per target from raw predictions to standardised responses.

    It is the least-squares line, but that its slope is never negative: a target that is predicted the wrong way round
    keeps its negative correlation.

    Args:
        num_targets: Targets.
    """

    slope: Tensor
    offset: Tensor

    def __init__(self, num_targets: int) -> None:
        super().__init__()
        self.register_buffer("slope", torch.ones(num_targets))
        self.register_buffer("offset", torch.zeros(num_targets))

    def forward(self, prediction: Tensor, targets: slice = slice(None)) -> Tensor:
        """Raw predictions of some targets (batch, targets) on the scale of standardised responses."""
        return prediction * self.slope[targets] + self.offset[targets]

    def fit(self, batches: Iterable[tuple[Tensor, Tensor, slice]]) -> None:
        """Find the lines.

        Args:
            batches: Raw predictions and standardised responses, each (batch, targets), NaN where a target was not
                measured, and which targets these are; of several ranks each gives its own.
        """
        meter = LineMeter(len(self.slope)).to(self.slope.device)
        for prediction, response, targets in batches:
            meter.update(prediction, response, targets)
        slope, offset = meter.compute()
        self.slope.copy_(slope)
        self.offset.copy_(offset)


class LineMeter(Metric):
    """Line of each target from predictions to responses, however they are batched or shared among ranks.

    Args:
        num_targets: Targets.
    """

    full_state_update = False
    sums: Tensor

    def __init__(self, num_targets: int) -> None:
        super().__init__()
        self.add_state("sums", torch.zeros(5, num_targets, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, prediction: Tensor, response: Tensor, targets: slice = slice(None)) -> None:
        """Add one batch of some targets, each (batch, targets)."""
        measured = ~response.isnan()
        p = torch.where(measured, prediction, 0.0).double()
        y = torch.where(measured, response, 0.0).double()
        added = torch.stack([measured.sum(0).double(), p.sum(0), y.sum(0), (p * p).sum(0), (p * y).sum(0)])
        self.sums[:, targets] += added

    def compute(self) -> tuple[Tensor, Tensor]:
        """Slope and offset, float64 (num_targets,) each: 0 and the mean response where predictions do not vary."""
        mean = self.sums / self.sums[_COUNT].clamp_min(1)  # (5, num_targets)
        variance = mean[_PP] - mean[_P].square()
        covariance = mean[_PY] - mean[_P] * mean[_Y]
        slope = torch.where(variance > 1e-12 * mean[_PP], covariance.abs() / variance, 0.0)
        return slope, mean[_Y] - slope * mean[_P]
