"""StackedHead: members' predictions, weighted for each target."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from ...batch import Batch, Facts, Features, FeatureShapes
from ..encoding import EncodingModule
from ..heads.base import Head
from .member import Member, part_of


class StackedHead(Head):
    """Predicts intercept + Σ weight × a member's prediction, each target with weights of its own.

    It is given features as they are served: each member standardises its own.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets to predict.
        members: By name.
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, feature_shapes: FeatureShapes, num_targets: int, members: Mapping[str, Member]) -> None:
        super().__init__(feature_shapes, num_targets)
        self.names = list(members)
        self.targets: list[slice] = []  # of each subject
        self.layers = {name: each.chosen(list(feature_shapes), name) for name, each in members.items()}
        made = [each.make(num_targets, feature_shapes, name) for name, each in members.items()]
        self.members = nn.ModuleList(made)  # a ModuleDict would refuse names such as "v1.5" or "items"
        self.register_buffer("weight", torch.full((len(members), num_targets), 1 / len(members)))
        self.register_buffer("bias", torch.zeros(num_targets))

    def named(self) -> dict[str, EncodingModule]:
        """The members' models by their names."""
        return dict(zip(self.names, cast("list[EncodingModule]", list(self.members)), strict=True))

    def facts_of(self, facts: Facts, name: str) -> Facts:
        """What one member is told of the data."""
        layers = self.layers[name]
        return replace(
            facts,
            feature_mean=part_of(facts.feature_mean, layers),
            feature_scale=part_of(facts.feature_scale, layers),
            intake=None,  # new images come to it through the stack's
        )

    def check(self, facts: Facts) -> None:
        for member in self.named().values():
            member.check(facts)

    @property
    def of_subjects(self) -> bool:
        return True  # a member has a head for each, where it needs one

    def fill(self, facts: Facts) -> None:
        self.targets = list(facts.subjects.values())
        for name, member in self.named().items():
            member.take_facts(self.facts_of(facts, name))
            member.setup("predict")

    def read(self, features: Features, subject: int) -> Tensor:
        return self._combined(features, subject, self.targets[subject], every_target=False)

    def forward(self, features: Features) -> Tensor:
        return self._combined(features, 0, slice(None), every_target=True)

    def _combined(self, features: Features, subject: int, targets: slice, every_target: bool) -> Tensor:
        some = next(iter(features.values()))
        nowhere = torch.zeros(len(some), dtype=torch.int64, device=some.device)
        combined = self.bias[targets].expand(len(some), -1)
        for weight, (name, member) in zip(self.weight[:, targets], self.named().items(), strict=True):
            own = part_of(features, self.layers[name])
            batch = Batch(nowhere, subject, some.new_empty(len(some), 0), own, targets=targets)
            combined = combined + weight * member.standardised(batch, every_target).float()
        return combined
