"""LinearHead: one linear readout per target."""

from typing import Any

import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes, flatten
from ...errors import InputError
from ...space import as_bytes, memory
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
        _check_memory(num_targets, self.num_features)
        self.weight = nn.Parameter(torch.zeros(num_targets, self.num_features))
        self.bias = nn.Parameter(torch.zeros(num_targets))

    def forward(self, features: Features) -> Tensor:
        flat = flatten(features)  # (batch, num_features)
        return _Biased.apply(flat @ self.weight.T, self.bias)  # type: ignore[no-any-return]


def _check_memory(num_targets: int, num_features: int) -> None:
    """Refuse weights that no memory holds: who asks for them is killed without a word, or by torch in many."""
    size, room = 4 * num_targets * num_features, memory()
    if room is not None and size > room.limit:
        raise InputError(
            f"--model.head: expected {as_bytes(size)} of memory for the weights of {num_features:,} features × "
            f"{num_targets:,} targets, found {as_bytes(room.limit)}; take fewer features (--data.reduction "
            "PrincipalComponents, pooled layers), or a subject or hemisphere a run"
        )


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
