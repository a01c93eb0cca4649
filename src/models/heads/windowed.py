"""Heads whose every target looks through windows of its own: linear, or with an RBF kernel."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes
from ..regression.dual_ridge import center
from ..regression.rbf_ridge import rbf
from ..regression.window_ridge import WindowFit
from .stored import StoredHead
from .window_pool import WindowPool


class WindowedHead(StoredHead):
    """Each target's mean prediction under its best windows.

    What a window shows is its pooled features, beside those of the whole image if `surround`.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        windows: Candidates, (W, 3), the whole image first.
        best: Windows B of each target.
        surround: Show the whole image beside each window.
    """

    window: Tensor

    def __init__(
        self, feature_shapes: FeatureShapes, num_targets: int, windows: Tensor, best: int, surround: bool
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        self.pool = WindowPool(feature_shapes, windows)
        self.best = best
        self.surround = surround
        self.bias = nn.Parameter(torch.zeros(num_targets))
        self.register_buffer("window", torch.zeros(num_targets, best, dtype=torch.int64))

    def view(self, pooled: Tensor, window: int) -> Tensor:
        """What one window shows, (batch, D), of what the pool makes, (batch, W, channels)."""
        if not self.surround:
            return pooled[:, window]
        return torch.cat([pooled[:, window], pooled[:, 0]], dim=1)

    @property
    def view_size(self) -> int:
        """Number D of features that a window shows."""
        return sum(self.pool.channels) * (2 if self.surround else 1)

    def write(self, fit: WindowFit) -> None:
        """Take the windows of the targets, and the mean of their intercepts."""
        self.window.copy_(fit.window)
        self.bias.copy_(fit.bias.mean(1))

    def uses(self) -> Iterator[tuple[int, Tensor, Tensor]]:
        """The windows in use: each one's number, the targets that look through it and at which place among theirs."""
        for window in self.window.unique().tolist():
            target, place = (self.window == window).nonzero().T
            yield window, target, place


class LinearWindowedHead(WindowedHead):
    """A linear readout of each target under each of its windows.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        windows: Candidates, (W, 3), the whole image first.
        best: Windows B of each target.
        surround: Show the whole image beside each window.
    """

    def __init__(
        self, feature_shapes: FeatureShapes, num_targets: int, windows: Tensor, best: int, surround: bool
    ) -> None:
        super().__init__(feature_shapes, num_targets, windows, best, surround)
        self.weight = nn.Parameter(torch.zeros(num_targets, best, self.view_size))

    def write(self, fit: WindowFit) -> None:
        super().write(fit)
        self.weight.copy_(fit.weight)

    def forward(self, features: Features) -> Tensor:
        pooled = self.pool(features)
        total = pooled.new_zeros(len(pooled), self.num_targets)
        for window, target, place in self.uses():
            shown = self.view(pooled, window) @ self.weight[target, place].T
            total.index_add_(1, target, shown.to(total.dtype))  # autocast's products are narrower
        return total / self.best + self.bias  # (batch, num_targets)


class KernelWindowedHead(WindowedHead):
    """A weighted sum, for each target and window, of how near a stimulus is to each training stimulus.

    Nearness is a radial basis function of the window's features, in which each layer counts alike. It holds the
    pooled features of all training stimuli, (N, W, channels).

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        windows: Candidates, (W, 3), the whole image first.
        best: Windows B of each target.
        surround: Show the whole image beside each window.
    """

    examples: Tensor
    mean: Tensor
    scale: Tensor
    weight: Tensor
    sizes: Tensor

    def __init__(
        self, feature_shapes: FeatureShapes, num_targets: int, windows: Tensor, best: int, surround: bool
    ) -> None:
        super().__init__(feature_shapes, num_targets, windows, best, surround)
        shape = (len(windows), sum(self.pool.channels))
        # Scaled training stimuli, their mean and scale before, and for each target its windows' weights of these
        # stimuli, (T, B, N) in a row; then how many stimuli and targets these are, once they are known.
        self.register_buffer("examples", torch.empty(0, *shape))
        self.register_buffer("mean", torch.empty(0, *shape))
        self.register_buffer("scale", torch.empty(0, *shape))
        self.register_buffer("weight", torch.empty(0))
        self.register_buffer("sizes", torch.empty(0, 2, dtype=torch.int64))

    def spread(self, length_scale: float) -> Tensor:
        """Length scale of each feature in a view (D,), so that each layer counts alike.

        Args:
            length_scale: Of the mean, over layers, of the mean squared difference between two stimuli's features.
        """
        layers = [self.bias.new_full((channels,), channels) for channels in self.pool.channels]
        share = torch.cat(layers * (2 if self.surround else 1)) * len(layers) * (2 if self.surround else 1)
        return length_scale * share.sqrt()

    def keep(self, pooled: Tensor, length_scale: float, fit: WindowFit) -> None:
        """Take the training stimuli, and their weights.

        Args:
            pooled: Of the stimuli, (N, W, channels).
            length_scale: See `spread`.
            fit: Of the targets.
        """
        self.write(fit)
        everything = torch.arange(len(pooled), device=pooled.device)
        examples, mean, scale = center(pooled.flatten(1), everything, standardize=True)
        spread = self.spread(length_scale)[: pooled.shape[2]]
        new = {
            "examples": examples.view(pooled.shape) / spread,
            "mean": mean.view(1, *pooled.shape[1:]),
            "scale": scale.view(1, *pooled.shape[1:]) * spread,
            "weight": fit.weight.flatten(),
            "sizes": self.sizes.new_tensor([[len(pooled), len(fit.window)]]),
        }
        for name, value in new.items():
            setattr(self, name, value.to(self.get_buffer(name).dtype))

    def forward(self, features: Features) -> Tensor:
        pooled = self.pool(features)
        total = pooled.new_zeros(len(pooled), self.num_targets)
        if len(self.sizes):
            weight = self.weight.view(self.num_targets, self.best, -1)
            scaled = (pooled - self.mean) / self.scale
            for window, target, place in self.uses():
                kernel = rbf(self.view(scaled, window), self.view(self.examples, window))  # (batch, N)
                shown = kernel @ weight[target, place].T
                total.index_add_(1, target, shown.to(total.dtype))  # autocast's products are narrower
        return total / self.best + self.bias  # (batch, num_targets)
