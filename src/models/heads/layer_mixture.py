"""LayerMixture: which layer each target reads, learnt with the readout."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ...errors import InputError
from ...findings import Findings
from ..regression.penalties import Selection
from .base import Head
from .linear import LinearHead

PACE = 10.0
"""By which logits are multiplied: one has to move by several units to settle, a weight by a small part of one."""


class LayerMixture(Head):
    """Each layer is read out, and each target's prediction is a mixture of theirs: a softmax over layers.

    What is mixed is predictions, not features, so that no target's features are ever held: beside the readouts a layer
    costs (batch, num_targets) numbers. With `shared` one readout serves all layers, which then have the same number of
    channels (a LayerProjection before it sees to that): as many weights as one layer takes, however many there are, and
    where the readout has a place, one place. That is the layer selector of the Memory Encoding Model (Yang, Gee & Shi
    2023). Without, each layer has a readout of its own.

    Mixtures start even. A target that is not explained keeps about the mixture that it started with.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        readout: From one layer to responses.
        shared: Read all layers by the same weights.
        selection: What shares one mixture: each target alone, each ROI, or all targets of a subject. Targets in several
            ROIs count with the smallest.

    Raises:
        InputError: Weights are to be shared by layers of which the readout weights different numbers.
    """

    groups: Tensor

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        readout: Callable[[FeatureShapes, int], Head] = LinearHead,
        shared: bool = False,
        selection: Selection = "target",
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        self.layers = list(feature_shapes)
        readouts = [readout({layer: shape}, num_targets) for layer, shape in feature_shapes.items()]
        if shared:
            if any(_sizes(each) != _sizes(readouts[0]) for each in readouts):
                found = ", ".join(f"{layer} {shape}" for layer, shape in feature_shapes.items())
                raise InputError(
                    f"--model.head.shared true: expected layers that {type(readouts[0]).__name__} reads by as many "
                    f"weights, found {found}; put a LayerProjection before them (--model.head TrunkHead), pool them to "
                    "one grid, or leave it out"
                )
            del readouts[1:]
        self.readouts = nn.ModuleList(readouts)
        self.selection: Selection = selection
        self.independent_targets = selection == "target" and all(each.independent_targets for each in self._readouts())
        self.logits = nn.Parameter(torch.zeros(num_targets, len(self.layers)))
        self.register_buffer("groups", torch.zeros(num_targets, dtype=torch.int64), persistent=False)

    def check(self, facts: Facts) -> None:
        for readout in self._readouts():
            readout.check(facts)

    def fill(self, facts: Facts) -> None:
        self.groups.copy_(facts.groups)
        if self.selection == "all":
            for number, own in enumerate(facts.subjects.values()):
                self.groups[own] = number
        for readout in self._readouts():
            readout.fill(facts)

    def mixture(self) -> Tensor:
        """How much each layer counts, (num_targets, layers); each row sums to 1."""
        logits = self.logits
        if self.selection != "target":
            # Each target keeps logits of its own, whose mean the group has: the number of groups need not be known.
            sums = logits.new_zeros(int(self.groups.max()) + 1, logits.shape[1]).index_add(0, self.groups, logits)
            logits = (sums / self.groups.bincount().clamp_min(1)[:, None])[self.groups]
        return (PACE * logits).softmax(1)

    def forward(self, features: Features) -> Tensor:
        return self._mixed([readout(own) for readout, own in self._pairs(features)])

    def read(self, features: Features, subject: int) -> Tensor:
        return self._mixed([readout.read(own, subject) for readout, own in self._pairs(features)])

    def findings(self) -> Findings:
        weight = self.mixture().detach().float().cpu().numpy()  # (T, layers)
        layer = weight.argmax(1)
        found = [readout.findings() for readout in self._readouts()]
        windows = [each.window for each in found if each is not None and each.window is not None]
        window = None
        if len(windows) == len(found):  # the one through which the target sees the layer that counts most
            window = np.stack(windows)[layer if len(found) > 1 else 0, np.arange(len(layer))]
        first = found[0] if len(found) == 1 and found[0] is not None else Findings()
        return replace(first, layer_weight=dict(zip(self.layers, weight.T, strict=True)), layer=layer, window=window)

    def _readouts(self) -> list[Head]:
        return cast("list[Head]", list(self.readouts))

    def _pairs(self, features: Features) -> list[tuple[Head, Features]]:
        """Each layer's readout, and the layer under the name by which that knows it."""
        readouts = self._readouts()
        if len(readouts) < len(self.layers):
            return [(readouts[0], {self.layers[0]: features[layer]}) for layer in self.layers]
        return [(readout, {layer: features[layer]}) for readout, layer in zip(readouts, self.layers, strict=True)]

    def _mixed(self, predictions: list[Tensor]) -> Tensor:
        """The mixture of each layer's predictions, (batch, num_targets)."""
        mixture = self.mixture().to(predictions[0].dtype)
        mixed = predictions[0] * mixture[:, 0]
        for number, prediction in enumerate(predictions[1:], start=1):
            mixed = torch.addcmul(mixed, prediction, mixture[:, number])
        return mixed


def _sizes(readout: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(each.shape) for name, each in readout.state_dict().items()}
