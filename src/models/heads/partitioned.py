"""PartitionedHead: a head for each of several sets of targets, which share no weights."""

from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import TypeVar

import torch
from torch import Tensor, nn

from ...batch import Facts, Features, FeatureShapes
from ...findings import Attention, Findings
from ..demand import sketched
from .base import ALL, Head, seen_before_by
from .subjects import SubjectHeads

Each = TypeVar("Each")


class PartitionedHead(Head):
    """A head of one kind for each part of the targets.

    The heads are made when the targets' parts are known, all from the same state of the random numbers: each starts as
    it would in a run of its own. Of several subjects each part has a head for each, unless the head is for several.

    Args:
        feature_shapes: Shape of one stimulus's features by layer.
        num_targets: Targets of all parts.
        head: From features to one part's responses.
    """

    order: Tensor

    made_for_subjects: bool = False
    """Whether the head that all parts have is for several subjects."""

    def __init__(
        self, feature_shapes: FeatureShapes, num_targets: int, head: Callable[[FeatureShapes, int], Head]
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        self.shapes = feature_shapes
        self.make_head = head
        self.random_state = torch.get_rng_state()
        self.targets: dict[str, Tensor] = {}  # of each part by its name, rising, int64, on the processor
        self.heads = nn.ModuleDict()
        # Not in checkpoints: it is the data's, which a resumed run has again.
        self.register_buffer("order", torch.empty(0, dtype=torch.int64), persistent=False)

    @abstractmethod
    def parts(self, facts: Facts) -> dict[str, Tensor]:
        """Targets of each part by its name, each rising, int64 (n,): every target in one part, none of them empty.

        Raises:
            InputError: The targets cannot be divided so.
        """

    def seen_by(self, part: str, by_layer: dict[str, Each]) -> dict[str, Each]:
        """What a part's head is given of features, or of their shapes, by layer."""
        return by_layer

    @property
    def apart(self) -> bool:
        """Whether parts share nothing before their heads either, so that each is a network of its own."""
        return True

    @property
    def of_subjects(self) -> bool:
        return True

    @property
    def networks(self) -> dict[str, Tensor | slice]:
        if not self.apart:
            return super().networks
        return {
            _network(part, name): own[inner]
            for part, own in self.targets.items()
            for name, inner in self.own(part).networks.items()
        }

    def network_of(self, weight: str) -> str:
        if not self.apart:
            return ALL
        place, _, part, rest = weight.split(".", 3)  # "backbone.encoders.lh.…", "head.heads.rh.…"
        return _network(part, self.own(part).network_of(f"head.{rest}") if place == "head" else ALL)

    def subject_of(self, weight: str) -> int | None:
        _, _, part, rest = weight.split(".", 3)  # "head.heads.rh.…"
        return self.own(part).subject_of(f"head.{rest}")

    def feature_statistics(self, facts: Facts) -> tuple[Features, Features] | None:
        self._make_heads(facts)
        return self.own(next(iter(self.targets))).feature_statistics(facts)

    def check(self, facts: Facts) -> None:
        for head, own in self._sketches(facts):
            head.check(own)

    def unmade(self, facts: Facts) -> int:
        if len(self.heads):
            return 0
        return sum(head.size(own) for head, own in self._sketches(facts))

    def fill(self, facts: Facts) -> None:
        self._make_heads(facts)
        for part, own in self.targets.items():
            self.own(part).fill(facts.of(own))

    def findings(self) -> Findings | None:
        found = [self.own(part).findings() for part in self.targets]
        known = [each for each in found if each is not None]
        return Findings.joined(known).of(self.order.cpu().numpy()) if len(known) == len(found) else None

    def watch(self, features: Features, subject: int) -> None:
        for part in self.targets:
            self.own(part).watch(self.seen_by(part, features), subject)

    def attention(self) -> Attention | None:
        found = [self.own(part).attention() for part in self.targets]
        known = [each for each in found if each is not None]
        return Attention.joined(known) if known else None

    def forward(self, features: Features) -> Tensor:
        parts = [self.own(part)(self.seen_by(part, features)) for part in self.targets]
        return torch.cat(parts, dim=1).index_select(1, self.order)  # (batch, num_targets)

    def read(self, features: Features, subject: int) -> Tensor:
        parts = [self.own(part).read(self.seen_by(part, features), subject) for part in self.targets]
        return torch.cat(parts, dim=1).index_select(1, self.get_buffer(_order_of(subject)))

    def own(self, part: str) -> Head:
        """The head of a part."""
        head = self.heads[part]
        assert isinstance(head, Head)
        return head

    def _make_heads(self, facts: Facts) -> None:
        self.targets = self.parts(facts)
        device = self.order.device
        self.order = torch.cat(list(self.targets.values())).argsort().to(device)
        for index, subject in enumerate(facts.subjects.values()):
            whose = [own[(own >= subject.start) & (own < subject.stop)] for own in self.targets.values()]
            self.register_buffer(_order_of(index), torch.cat(whose).argsort().to(device), persistent=False)
        for part, own in self.targets.items():
            if part not in self.heads:
                self.heads[part] = self._made_for(part, facts.of(own))

    def _sketches(self, facts: Facts) -> list[tuple[Head, Facts]]:
        """Of each part a head without memory, and the part's facts."""
        parts = [(part, facts.of(own)) for part, own in self.parts(facts).items()]
        return [(sketched(partial(self._made_for, part, own)), own) for part, own in parts]

    def _made_for(self, part: str, facts: Facts) -> Head:
        """The head of a part's targets, or of each subject's of them."""
        if len(facts.subjects) == 1 or self.made_for_subjects:
            return self._make(part, len(facts.groups))
        return SubjectHeads(self.seen_by(part, self.shapes), facts, self.make_head, self.random_state, self.apart)

    def _make(self, part: str, num_targets: int) -> Head:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random_state)
            return self.make_head(self.seen_by(part, self.shapes), num_targets)

    def sample(self, part: str) -> Head:
        """A head of all targets, given what a part's is: to be made at once, so that a wrong flag is told early."""
        sample = self._make(part, self.num_targets)
        self.made_for_subjects = sample.of_subjects
        self.seen_before = seen_before_by(sample)
        return sample


def _network(part: str, inner: str) -> str:
    """Name of a network of one part: of all subjects, or of one."""
    return part if inner == ALL else f"{inner}.{part}"


def _order_of(subject: int) -> str:
    """Name of the buffer that holds where each target of a subject stands among its own, part after part."""
    return f"order_{subject}"
