"""RecurrentHead: frames of a clip are read in their order."""

import torch
from torch import Tensor, nn

from ...batch import Features, FeatureShapes
from ...errors import InputError
from .framewise import FrameHead


class RecurrentHead(FrameHead):
    """Bidirectional LSTM layers over the frames of a clip, then fully connected layers to the targets.

    The fully connected layers predict from every frame's state, and the predictions are averaged over frames, as in
    systems of the Algonauts 2021 challenge.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, each (frames, *shape).
        num_targets: Targets to predict.
        layers: LSTM layers.
        hidden_dim: State of each direction.
        dropout: Share of a layer's states that the next layer is not given.
        fully_connected_dim: Width of the hidden fully connected layer.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        layers: int = 2,
        hidden_dim: int = 512,
        dropout: float = 0.2,
        fully_connected_dim: int = 1024,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        sizes = {"layers": layers, "hidden_dim": hidden_dim, "fully_connected_dim": fully_connected_dim}
        for flag, value in sizes.items():
            if value < 1:
                raise InputError(f"--model.head.{flag} {value}: expected 1 or more")
        if not 0 <= dropout < 1:
            raise InputError(f"--model.head.dropout {dropout:g}: expected a share from 0 to below 1")
        frames = next(iter(feature_shapes.values()))[0]
        self.lstm = nn.LSTM(
            self.num_features // frames,
            hidden_dim,
            layers,
            batch_first=True,
            dropout=dropout if layers > 1 else 0.0,  # between layers; torch warns where there is but one
            bidirectional=True,
        )
        self.readout = nn.Sequential(
            nn.Linear(2 * hidden_dim, fully_connected_dim), nn.ReLU(), nn.Linear(fully_connected_dim, num_targets)
        )

    def forward(self, features: Features) -> Tensor:
        sequence = torch.cat([layer.flatten(2) for layer in features.values()], dim=2)  # (batch, frames, features)
        states, _ = self.lstm(sequence)  # (batch, frames, 2 · hidden_dim)
        return self.readout(states).mean(1)  # (batch, num_targets)
