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

    def forward(self, prediction: Tensor) -> Tensor:
        """Raw predictions (batch, num_targets) on the scale of standardised responses."""
        return prediction * self.slope + self.offset

    def fit(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Find the lines.

        Args:
            pairs: Raw predictions and standardised responses, each (batch, num_targets), NaN where a target was not
                measured; of several ranks each gives its own.
        """
        meter = LineMeter(len(self.slope)).to(self.slope.device)
        for prediction, response in pairs:
            meter.update(prediction, response)
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

    def update(self, prediction: Tensor, response: Tensor) -> None:
        """Add one batch, each (batch, num_targets)."""
        measured = ~response.isnan()
        p = torch.where(measured, prediction, 0.0).double()
        y = torch.where(measured, response, 0.0).double()
        self.sums += torch.stack([measured.sum(0).double(), p.sum(0), y.sum(0), (p * p).sum(0), (p * y).sum(0)])

    def compute(self) -> tuple[Tensor, Tensor]:
        """Slope and offset, float64 (num_targets,) each: 0 and the mean response where predictions do not vary."""
        mean = self.sums / self.sums[_COUNT].clamp_min(1)  # (5, num_targets)
        variance = mean[_PP] - mean[_P].square()
        covariance = mean[_PY] - mean[_P] * mean[_Y]
        slope = torch.where(variance > 1e-12 * mean[_PP], covariance.abs() / variance, 0.0)
        return slope, mean[_Y] - slope * mean[_P]
