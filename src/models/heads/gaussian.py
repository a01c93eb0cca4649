"""Readouts whose targets each have a Gaussian place in the image: one samples it, the other averages under it."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ...batch import FeatureShapes
from ...errors import InputError
from .spatial import ChunkedReadout, MaskedReadout
from .window_pool import window_weights


class GaussianReadout(ChunkedReadout):
    """Each target reads the maps at one point (Lurz et al. 2021).

    In training the point is drawn for each stimulus anew from the target's Gaussian, whose mean and covariance are
    learnt through the draw; in evaluation it is the mean. Between cells, maps are interpolated; outside of the image
    they go on as they end.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (channels, rows, columns).
        num_targets: Targets to predict.
        width: Standard deviation that training starts with, in image widths.

    Raises:
        InputError: A layer is no map, or the width is not above 0.
    """

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int, width: float = 0.15) -> None:
        super().__init__(feature_shapes, num_targets)
        if not width > 0:
            raise InputError(f"--model.head.width {width:g}: expected a standard deviation above 0, in image widths")
        self.x = nn.Parameter(torch.zeros(num_targets))  # see `centers`
        self.y = nn.Parameter(torch.zeros(num_targets))
        # Lower triangular root of the covariance, in widths as at the start.
        self.spread_x = nn.Parameter(torch.ones(num_targets))
        self.spread_y = nn.Parameter(torch.ones(num_targets))
        self.shear = nn.Parameter(torch.zeros(num_targets))
        self.width = width

    def places(self, batch: int) -> Tensor:
        """Points from -1 to 1 over the image, (num_targets, batch, 2): x from the left, y from the top."""
        middle = centers(self.x, self.y)[:, None].expand(-1, batch, -1)
        if not self.training:
            return 2 * middle
        across, down = torch.randn(self.num_targets, batch, 2, device=middle.device).unbind(2)
        drawn_x = self.spread_x[:, None] * across
        drawn_y = self.shear[:, None] * across + self.spread_y[:, None] * down
        return 2 * (middle + self.width * torch.stack([drawn_x, drawn_y], dim=2))

    def held(self, layers: Sequence[Tensor]) -> int:
        return len(layers[0]) * self.weight.shape[1]

    def read_chunk(self, where: Tensor, weight: Tensor, *layers: Tensor) -> Tensor:
        points = where.transpose(0, 1)[:, :, None].to(layers[0].dtype)  # (B, t, 1, 2)
        sampled = [F.grid_sample(maps, points, padding_mode="border", align_corners=False)[..., 0] for maps in layers]
        return torch.einsum("bct,tc->bt", torch.cat(sampled, dim=1), weight)


class GaussianMaskReadout(MaskedReadout):
    """Each target reads the means of the maps under Gaussians of its own.

    The factorised readout with the masks of a receptive field: each has a learnt centre and standard deviation, and a
    sum of 1 over the cells of each layer. Narrow and wide ones see what is in the receptive field and what surrounds
    it, by weights of their own.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (channels, rows, columns).
        num_targets: Targets to predict.
        widths: Standard deviations that training starts with, one of each Gaussian, in image widths.

    Raises:
        InputError: A layer is no map, there is no width, or one is not above 0.
    """

    starts: Tensor

    def __init__(
        self, feature_shapes: FeatureShapes, num_targets: int, widths: Sequence[float] = (0.15, 0.3, 0.6)
    ) -> None:
        super().__init__(feature_shapes, num_targets, looks=len(widths))
        if not widths or not min(widths) > 0:
            raise InputError(
                f"--model.head.widths: expected standard deviations above 0, in image widths, found {list(widths)}"
            )
        # Vectors, target by target, because --model.l1 counts matrices.
        self.x = nn.Parameter(torch.zeros(num_targets * len(widths)))  # see `centers`
        self.y = nn.Parameter(torch.zeros(num_targets * len(widths)))
        self.log_spread = nn.Parameter(torch.zeros(num_targets * len(widths)))  # in widths as at the start
        self.register_buffer("starts", torch.tensor(widths).repeat(num_targets), persistent=False)

    def places(self, batch: int) -> Tensor:
        """Windows (num_targets, Gaussians, 3), each as `candidate_windows` makes them."""
        spread = self.starts * self.log_spread.exp()
        windows = torch.cat([centers(self.x, self.y) + 0.5, spread[:, None]], dim=1)
        return windows.unflatten(0, (self.num_targets, -1))

    def masks(self, where: Tensor, rows: int, columns: int) -> Tensor:
        return window_weights(where.flatten(0, 1), rows, columns).unflatten(0, where.shape[:2])


def centers(x: Tensor, y: Tensor) -> Tensor:
    """Places (targets, 2) in image widths from the middle, which stay inside of the image: beyond it nothing pulls."""
    return torch.stack([x, y], dim=1).mul(2).tanh() / 2
