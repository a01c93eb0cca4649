"""Parts of a decoder: an image's tokens, queries that attend to them, and where they looked."""

from itertools import accumulate
from math import prod

import numpy as np
import torch
from torch import Tensor, nn
from torchmetrics import Metric

from ...batch import Features, FeatureShapes
from ...errors import InputError


class Tokens(nn.Module):
    """All layers as one row of tokens: the values that each holds, and keys, which know their place too.

    A layer's channels are brought to one width. Each token has a position that is learnt, so that the order of a
    network's tokens need not be known, and class tokens, which have no place, have one as well.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        width: Of keys and values.

    Attributes:
        counts: Tokens of each layer.
        ends: Where each layer's tokens end.
        count: All of them.

    Raises:
        InputError: A layer has more axes than a map.
    """

    def __init__(self, feature_shapes: FeatureShapes, width: int) -> None:
        super().__init__()
        for layer, shape in feature_shapes.items():
            if len(shape) > 3:
                raise InputError(
                    "--model.head QueryDecoder: expected tokens (tokens, channels), maps (channels, rows, columns) or "
                    f"vectors, found layer {layer} of shape {shape}; choose other layers"
                )
        self.shapes = feature_shapes
        self.counts = {
            layer: prod(shape[1:]) if len(shape) == 3 else prod(shape[:-1]) for layer, shape in feature_shapes.items()
        }
        self.ends = list(accumulate(self.counts.values()))
        self.count = self.ends[-1]
        self.projections = nn.ModuleList(
            nn.Linear(shape[0] if len(shape) == 3 else shape[-1], width) for shape in feature_shapes.values()
        )
        self.norm = nn.LayerNorm(width)
        self.position = nn.Parameter(torch.randn(self.count, width))

    def forward(self, features: Features) -> tuple[Tensor, Tensor]:
        """Keys and values, each (B, tokens, width)."""
        found = []
        for projection, layer in zip(self.projections, features.values(), strict=True):
            tokens = layer.flatten(2).mT if layer.ndim == 4 else layer if layer.ndim == 3 else layer[:, None]
            found.append(projection(tokens))
        values = torch.cat(found, dim=1)
        return self.norm(values) + self.position, values

    def places(self) -> dict[str, np.ndarray]:
        """Row and column of each token, int64 (tokens, 2), of layers that are maps; of vectors -1."""
        found = {}
        for layer, shape in self.shapes.items():
            if len(shape) == 3:
                found[layer] = np.stack(np.unravel_index(np.arange(self.counts[layer]), shape[1:]), axis=1)
            elif len(shape) == 1:
                found[layer] = np.full((1, 2), -1)
        return found


class CrossAttention(nn.Module):
    """Attention to tokens, then a perceptron: torch's decoder layer with norms first, but for the self-attention.

    Attention weights are not dropped, so that they need not be held.

    Args:
        width: Of queries, keys and values.
        heads: Of the attention.
        dropout: Share of what either part adds that training drops.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm, self.norm_inside = nn.LayerNorm(width), nn.LayerNorm(width)
        self.perceptron = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """What queries (B, q, width) are, once they have attended to keys and values (B, tokens, width)."""
        seen, _ = self.attention(self.norm(query), keys, values, need_weights=False)
        query = query + self.dropout(seen)
        return query + self.dropout(self.perceptron(self.norm_inside(query)))

    def looked(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Weights of the tokens, mean over heads, (B, q, tokens)."""
        weights: Tensor = self.attention(self.norm(query), keys, values)[1]
        return weights


class MeanAttention(Metric):
    """Mean attention of each ROI, however the stimuli are batched or shared among ranks.

    Args:
        rois: How many.
        tokens: How many.
    """

    total: Tensor
    count: Tensor

    def __init__(self, rois: int, tokens: int) -> None:
        super().__init__()
        self.add_state("total", torch.zeros(rois, tokens, dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(rois, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, looked: Tensor, roi: Tensor, stimuli: int) -> None:
        """Add where queries (q, tokens) looked, summed over so many stimuli, and the ROI of each, int64 (q,)."""
        self.total.index_add_(0, roi, looked.double())
        self.count += stimuli * roi.bincount(minlength=len(self.count))

    def compute(self) -> Tensor:
        """Mean weights, float64 (ROIs, tokens); 0 for a ROI that has not looked."""
        return self.total / self.count.clamp_min(1)[:, None]
