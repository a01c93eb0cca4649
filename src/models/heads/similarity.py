"""SimilarityHead: predicts by the training stimuli that a stimulus resembles."""

from math import prod

import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes, flatten
from ..regression.similarity import similarity_weights, unit_patterns
from .stored import StoredHead


class SimilarityHead(StoredHead):
    """Each target's training mean, plus the similarity-weighted mean of the training responses about it.

    It holds the N × D features and the N × T responses of the training split.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
    """

    patterns: Tensor
    responses: Tensor
    sizes: Tensor

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int) -> None:
        super().__init__(feature_shapes, num_targets)
        self.widths = [prod(shape) for shape in feature_shapes.values()]
        self.bias = nn.Parameter(torch.zeros(num_targets))
        # Training stimuli as unit patterns, their responses about the bias row by row, and how many stimuli and targets
        # these are, once they are known.
        self.register_buffer("patterns", torch.empty(0, self.num_features))
        self.register_buffer("responses", torch.empty(0))
        self.register_buffer("sizes", torch.empty(0, 2, dtype=torch.int64))

    def write(self, features: Tensor, responses: Tensor) -> None:
        """Take the training stimuli.

        Args:
            features: (N, num_features).
            responses: (N, num_targets).
        """
        mean = responses.mean(0)
        self.bias.copy_(mean)
        self.patterns = unit_patterns(features, self.widths)
        self.responses = (responses - mean).flatten()
        self.sizes = self.sizes.new_tensor([responses.shape])

    def forward(self, features: Features) -> Tensor:
        patterns = unit_patterns(flatten(features), self.widths)  # (batch, num_features)
        if not len(self.sizes):
            return self.bias.expand(len(patterns), -1)
        responses = self.responses.view(len(self.patterns), -1)
        return similarity_weights(patterns, self.patterns) @ responses + self.bias  # (batch, num_targets)
