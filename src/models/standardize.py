"""Standardising with the training split's statistics, inside the model, so that a checkpoint carries them."""

import torch
from torch import Tensor, nn

from ..batch import Features, FeatureShapes


class FeatureStandardizer(nn.Module):
    """Subtracts each feature's training mean and divides by its training scale.

    Args:
        shapes: Shape of one stimulus's features by layer.
    """

    def __init__(self, shapes: FeatureShapes) -> None:
        super().__init__()
        self.layers = list(shapes)
        # Layer names hold dots, which buffers may not, so buffers are numbered.
        for number, layer in enumerate(self.layers):
            self.register_buffer(f"mean_{number}", torch.zeros(shapes[layer]))
            self.register_buffer(f"scale_{number}", torch.ones(shapes[layer]))

    def fill(self, mean: Features, scale: Features) -> None:
        """Take the training split's statistics, by layer, each (*shape)."""
        for number, layer in enumerate(self.layers):
            self.get_buffer(f"mean_{number}").copy_(mean[layer])
            self.get_buffer(f"scale_{number}").copy_(scale[layer])

    def statistics(self) -> tuple[Features, Features]:
        """Mean and scale by layer, as `fill` takes them."""
        mean, scale = (
            {layer: self.get_buffer(f"{name}_{number}") for number, layer in enumerate(self.layers)}
            for name in ("mean", "scale")
        )
        return mean, scale

    def forward(self, features: Features) -> Features:
        return {
            layer: (features[layer].float() - self.get_buffer(f"mean_{number}")) / self.get_buffer(f"scale_{number}")
            for number, layer in enumerate(self.layers)
        }


class ResponseStandardizer(nn.Module):
    """Between responses in the recording's units and standardised ones.

    Args:
        num_targets: Targets.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, num_targets: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_targets))
        self.register_buffer("scale", torch.ones(num_targets))

    def fill(self, mean: Tensor, scale: Tensor) -> None:
        """Take the training split's statistics, each (num_targets,)."""
        self.mean.copy_(mean)
        self.scale.copy_(scale)

    def forward(self, response: Tensor, targets: slice = slice(None)) -> Tensor:
        """Standardise responses of some targets, (batch, targets)."""
        return (response - self.mean[targets]).div_(self.scale[targets])

    def invert(self, standardised: Tensor, targets: slice = slice(None)) -> Tensor:
        """Back to the recording's units, (batch, targets)."""
        return standardised * self.scale[targets] + self.mean[targets]
