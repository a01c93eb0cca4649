"""LinearHead: one linear readout per target."""

from typing import Any

import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes, flatten
from .base import Head


class LinearHead(Head):
    """One linear map from all features to each target.

    Targets are independent: with a per-element optimiser, training them together gives each the weights that it
    would get alone, so one run holds a linear layer per ROI. To the bit from 16 targets on; below that the matrix
    product takes other kernels, which round differently.

    It starts at zero, where every target is predicted by its mean: a random start would only be noise that
    early stopping has to outlive.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
    """

    independent_targets = True

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int) -> None:
        super().__init__(feature_shapes, num_targets)
        self.weight = nn.Parameter(torch.zeros(num_targets, self.num_features))
        self.bias = nn.Parameter(torch.zeros(num_targets))

    def forward(self, features: Features) -> Tensor:
        flat = flatten(features)  # (batch, num_features)
        return _Biased.apply(flat @ self.weight.T, self.bias)  # type: ignore[no-any-return]


class _Biased(torch.autograd.Function):
    """Add a bias (num_targets,) to predictions (batch, num_targets) where they lie: of a whole brain, a pass less.

    The bias's gradient is a matrix product. That of a broadcast is a sum whose rounding depends on how many targets
    stand beside each other.
    """

    @staticmethod
    def forward(ctx: Any, prediction: Tensor, bias: Tensor) -> Tensor:
        ctx.mark_dirty(prediction)
        ctx.dtype = bias.dtype
        return prediction.add_(bias)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        (gradient,) = gradients
        return gradient, (gradient.new_ones(1, len(gradient)) @ gradient)[0].to(ctx.dtype)
