"""SubjectHeads: a head of each subject's own, of one kind."""

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ...findings import Attention, Findings
from .base import ALL, Head


class SubjectHeads(Head):
    """A head for each subject's targets, which share no weights: what a model of several subjects makes of any head.

    All start from the same state of the random numbers, each as it would in a run of its own. What subjects shall
    share is a `TrunkHead` or a backbone.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        facts: Which targets are whose; a subject may have none.
        head: From features to one subject's responses.
        random_state: Of torch's generator, from which each head starts.
        apart: Whether nothing before the heads is trained either, so that each subject has a network of its own.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        facts: Facts,
        head: Callable[[FeatureShapes, int], Head],
        random_state: Tensor,
        apart: bool,
    ) -> None:
        super().__init__(feature_shapes, len(facts.groups))
        self.apart = apart
        self.heads = nn.ModuleDict()  # by the subject's number
        self.names = list(facts.subjects)
        self.targets = list(facts.subjects.values())
        for index, own in enumerate(self.targets):
            if own.stop > own.start:
                with torch.random.fork_rng(devices=[]):
                    torch.set_rng_state(random_state)
                    self.heads[str(index)] = head(feature_shapes, own.stop - own.start)
        self.independent_targets = all(each.independent_targets for each in self.own.values())
        self.register_load_state_dict_pre_hook(_divide)

    @property
    def own(self) -> dict[int, Head]:
        """Each subject's head by the subject's number."""
        return {int(index): cast(Head, head) for index, head in self.heads.items()}

    @property
    def of_subjects(self) -> bool:
        return True

    @property
    def networks(self) -> dict[str, Tensor | slice]:
        if not self.apart:
            return super().networks
        return {self.names[index]: self.targets[index] for index in self.own}

    def network_of(self, weight: str) -> str:
        return self.names[self.subject_of(weight)] if self.apart else ALL

    def subject_of(self, weight: str) -> int:
        return int(weight.split(".")[2])  # "head.heads.0.…"

    def feature_statistics(self, facts: Facts) -> tuple[Features, Features] | None:
        return next(iter(self.own.values())).feature_statistics(facts)

    def check(self, facts: Facts) -> None:
        for index, head in self.own.items():
            head.check(facts.of(self.targets[index]))

    def unmade(self, facts: Facts) -> int:
        return sum(head.unmade(facts.of(self.targets[index])) for index, head in self.own.items())

    def fill(self, facts: Facts) -> None:
        for index, head in self.own.items():
            head.fill(facts.of(self.targets[index]))

    def findings(self) -> Findings | None:
        found = [head.findings() for head in self.own.values()]
        known = [each for each in found if each is not None]
        return Findings.joined(known) if known and len(known) == len(found) else None

    def watch(self, features: Features, subject: int) -> None:
        if subject in self.own:
            self.own[subject].watch(features, subject)

    def attention(self) -> Attention | None:
        found = [head.attention() for head in self.own.values()]
        known = [each for each in found if each is not None]
        return Attention.joined(known) if known else None

    def forward(self, features: Features) -> Tensor:
        return torch.cat([head(features) for head in self.own.values()], dim=1)  # (batch, num_targets)

    def read(self, features: Features, subject: int) -> Tensor:
        if subject in self.own:
            return self.own[subject](features)
        first = next(iter(features.values()))
        return first.new_zeros(len(first), 0)


def _divide(heads: SubjectHeads, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Give each head its rows of a checkpoint of earlier versions, which had one head of all subjects' targets."""
    old = {name: rows for name, rows in state.items() if not name.startswith(f"{prefix}heads.")}
    for name, rows in old.items():
        if heads.independent_targets and rows.ndim and len(rows) == heads.num_targets:  # the rest is refused
            del state[name]
            for index in heads.own:
                state[f"{prefix}heads.{index}.{name.removeprefix(prefix)}"] = rows[heads.targets[index]]
