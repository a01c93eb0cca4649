"""TrunkHead: one trunk for all, and a readout of each subject's own."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ..trunks.base import Trunk
from .base import Head
from .linear import LinearHead


class TrunkHead(Head):
    """Features go through a trunk, and from there each subject's responses are read out by a head of its own.

    Batches mix the subjects: each stimulus trains the trunk and its own subject's readout.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets of all subjects.
        trunk: What all subjects share.
        readout: From the trunk's representation to one subject's responses.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        trunk: Callable[[FeatureShapes], Trunk],
        readout: Callable[[FeatureShapes, int], Head] = LinearHead,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        self.trunk = trunk(feature_shapes)
        self.make_readout = readout
        self.readouts = nn.ModuleList()
        self.targets: list[slice] = []

    def fill(self, facts: Facts) -> None:
        self.targets = list(facts.subjects.values())
        if not len(self.readouts):
            shapes = self.trunk.feature_shapes()
            self.readouts.extend(self.make_readout(shapes, part.stop - part.start) for part in self.targets)
        for readout, part in zip(self.readouts, self.targets, strict=True):
            assert isinstance(readout, Head)
            readout.fill(facts.of(part))

    def forward(self, features: Features) -> Tensor:
        shared = self.trunk(features)
        return torch.cat([readout(shared) for readout in self.readouts], dim=1)  # (batch, num_targets)

    def read(self, features: Features, subject: Tensor) -> Tensor:
        shared = self.trunk(features)
        if len(self.readouts) == 1:
            return self.readouts[0](shared)
        first = next(iter(shared.values()))
        prediction = first.new_zeros(len(first), self.num_targets)
        for index, (readout, targets) in enumerate(zip(self.readouts, self.targets, strict=True)):
            own = (subject == index).nonzero().squeeze(1)
            # Also where it is empty: under DDP every rank must give every readout a gradient.
            prediction[own, targets] = readout({layer: each[own] for layer, each in shared.items()}).to(first.dtype)
        return prediction
