"""MlpHead and ResidualMlpHead: blocks of Linear → batch norm → LeakyReLU, then a linear output."""

from torch import Tensor, nn

from ...batch import Features, FeatureShapes, flatten
from ...errors import InputError
from ..batch_norm import BatchNorm
from .base import Head


class MlpHead(Head):
    """Blocks of one width, each Linear → batch norm → LeakyReLU, then a linear output.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        width: Of each block.
        blocks: How many.
    """

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int, width: int = 512, blocks: int = 4) -> None:
        super().__init__(feature_shapes, num_targets)
        if width < 1:
            raise InputError(f"--model.head.width {width}: expected 1 or more")
        _check_blocks(blocks)
        inputs = [self.num_features, *[width] * (blocks - 1)]
        self.layers = nn.Sequential(*(_block(each, width) for each in inputs), nn.Linear(width, num_targets))

    def forward(self, features: Features) -> Tensor:
        return self.layers(flatten(features))  # (batch, num_targets)


class ResidualMlpHead(Head):
    """Blocks as in MlpHead, with dropout: by turns one that widens and a residual one, which keeps the width.

    The first block widens the features, so this is for embeddings of some hundred numbers: wider layers are reduced
    first, with --data.reduction.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        blocks: How many, of both kinds together.
        dropout: Share of each block's outputs that training drops.
        widening: Width after a widening block as a multiple of the width before it.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        blocks: int = 4,
        dropout: float = 0.05,
        widening: float = 1.25,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        _check_blocks(blocks)
        if not 0 <= dropout < 1:
            raise InputError(f"--model.head.dropout {dropout:g}: expected a share from 0 to below 1")
        if widening < 1:
            raise InputError(f"--model.head.widening {widening:g}: expected 1 or more")
        self.layers = nn.Sequential()
        width = self.num_features
        for index in range(blocks):
            if index % 2:
                self.layers.append(_Residual(_block(width, width, dropout)))
            else:
                wider = round(width * widening)
                self.layers.append(_block(width, wider, dropout))
                width = wider
        self.layers.append(nn.Linear(width, num_targets))

    def forward(self, features: Features) -> Tensor:
        return self.layers(flatten(features))  # (batch, num_targets)


class _Residual(nn.Module):
    """What a block makes of its input, added to it (He et al. 2016, "Deep residual learning")."""

    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, input: Tensor) -> Tensor:
        return input + self.block(input)


def _block(inputs: int, outputs: int, dropout: float = 0.0) -> nn.Sequential:
    layers = [nn.Linear(inputs, outputs), BatchNorm(outputs), nn.LeakyReLU()]
    return nn.Sequential(*layers, nn.Dropout(dropout)) if dropout else nn.Sequential(*layers)


def _check_blocks(blocks: int) -> None:
    if blocks < 1:
        raise InputError(f"--model.head.blocks {blocks}: expected 1 or more")
