"""LayerProjection: every layer to one number of channels."""

from torch import Tensor, nn

from ...batch import Features, FeatureShapes
from ...errors import InputError
from .base import Trunk


class LayerProjection(Trunk):
    """A linear map of each layer's channels to as many for all layers, the same at every place, then a layer norm.

    So a readout's weights do not grow with the network's width or its layers, and one readout can serve them all
    (LayerMixture). Maps stay maps, tokens tokens and vectors vectors.

    Args:
        feature_shapes: Shape of one stimulus's features by layer: maps (channels, rows, columns), tokens (tokens,
            channels) or vectors (channels,).
        width: Channels that each layer is brought to.

    Raises:
        InputError: The width is below 1.
    """

    def __init__(self, feature_shapes: FeatureShapes, width: int = 256) -> None:
        super().__init__(feature_shapes)
        if width < 1:
            raise InputError(f"--model.head.trunk.width {width}: expected 1 or more")
        self.width, self.shapes = width, feature_shapes
        self.projections = nn.ModuleList(
            nn.Sequential(nn.Linear(shape[0] if len(shape) == 3 else shape[-1], width), nn.LayerNorm(width))
            for shape in feature_shapes.values()
        )

    def feature_shapes(self) -> FeatureShapes:
        return {
            layer: (self.width, *shape[1:]) if len(shape) == 3 else (*shape[:-1], self.width)
            for layer, shape in self.shapes.items()
        }

    def forward(self, features: Features) -> Features:
        return {
            layer: _projected(projection, each)
            for projection, (layer, each) in zip(self.projections, features.items(), strict=True)
        }


def _projected(projection: nn.Module, layer: Tensor) -> Tensor:
    """A layer (batch, *shape) with its channels projected."""
    if layer.ndim == 4:
        projected: Tensor = projection(layer.permute(0, 2, 3, 1))
        return projected.permute(0, 3, 1, 2)
    return projection(layer)
