"""Windows: where in the image a target may look, and feature maps averaged there."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes
from ...errors import InputError

WHOLE_IMAGE = (0.5, 0.5, math.inf)


def candidate_windows(centers: int, widths: Sequence[float]) -> Tensor:
    """The whole image, then Gaussians of each width on a regular grid of centres.

    Args:
        centers: Rows and columns of the grid; a centre lies in the middle of its cell.
        widths: Standard deviations in image widths.

    Returns:
        float64 (W, 3): x from the left, y from the top, and standard deviation, in image widths.
    """
    middles = [(index + 0.5) / centers for index in range(centers)]
    windows = [WHOLE_IMAGE, *((x, y, width) for width in widths for y in middles for x in middles)]
    return torch.tensor(windows, dtype=torch.float64)


def window_weights(windows: Tensor, rows: int, columns: int) -> Tensor:
    """What each cell of a map counts in each window.

    Args:
        windows: (W, 3), as `candidate_windows` makes them.
        rows: Of the map.
        columns: Of the map.

    Returns:
        (W, rows · columns), each row sums to 1; a window much narrower than a cell is its nearest cell.
    """
    x, y, width = windows.T[..., None]  # each (W, 1)
    across = ((torch.arange(columns, dtype=windows.dtype) + 0.5) / columns - x) / width  # (W, columns)
    down = ((torch.arange(rows, dtype=windows.dtype) + 0.5) / rows - y) / width  # (W, rows)
    exponent = -(down[:, :, None].square() + across[:, None, :].square()) / 2
    return exponent.flatten(1).softmax(1)


class WindowPool(nn.Module):
    """Averages every layer under every window.

    A layer that is a map, (channels, rows, columns), is averaged under each window; layers may differ in their
    grids. Any other layer is the same in every window.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        windows: (W, 3), as `candidate_windows` makes them.

    Raises:
        InputError: No layer is a map.
    """

    def __init__(self, feature_shapes: FeatureShapes, windows: Tensor) -> None:
        super().__init__()
        if not any(len(shape) == 3 for shape in feature_shapes.values()):
            raise InputError(
                "--data.encoder: receptive-field windows need a layer that is a map (channels, rows, columns), found "
                + ", ".join(f"{layer} {shape}" for layer, shape in feature_shapes.items())
                + "; leave out --data.reduction, or choose layers before the last pooling"
            )
        self.num_windows = len(windows)
        self.channels = [shape[0] if len(shape) == 3 else math.prod(shape) for shape in feature_shapes.values()]
        for number, shape in enumerate(feature_shapes.values()):
            weights = window_weights(windows, *shape[1:]).float() if len(shape) == 3 else None
            self.register_buffer(f"weights_{number}", weights, persistent=False)  # derived from the settings

    def forward(self, features: Features) -> Tensor:
        """From features by layer, each (batch, *shape), to (batch, windows, channels of all layers)."""
        layers = []
        for number, layer in enumerate(features.values()):
            weights = getattr(self, f"weights_{number}")
            if weights is None:
                layers.append(layer.flatten(1)[:, None].expand(-1, self.num_windows, -1))
            else:
                layers.append((layer.flatten(2) @ weights.T).transpose(1, 2))  # (batch, W, channels)
        return torch.cat(layers, dim=2)
