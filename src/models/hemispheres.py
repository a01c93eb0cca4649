"""One network per hemisphere: two copies of a backbone, and two heads, in one model."""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ..batch import Facts, Features, FeatureShapes
from ..encoders import Encoder
from ..errors import InputError
from ..findings import Attention, Findings
from ..names import HEMISPHERES
from .demand import size_of_made
from .finetuning import Finetuning
from .heads.base import ALL, Head
from .heads.subjects import SubjectHeads

Each = TypeVar("Each")


class HemisphereEncoder(Encoder):
    """Two copies of an encoder, which start alike; layers are named "lh:LAYER" and "rh:LAYER".

    Args:
        encoder: What is copied.
    """

    def __init__(self, encoder: Encoder) -> None:
        super().__init__()
        self.encoders = nn.ModuleDict(dict(zip(HEMISPHERES, (encoder, deepcopy(encoder)), strict=True)))

    def forward(self, images: Tensor) -> Features:
        return {
            f"{side}:{layer}": features
            for side, encoder in self.encoders.items()
            for layer, features in encoder(images).items()
        }

    def token_places(self) -> dict[str, Tensor]:
        """Of either copy, under the names by which its head knows the layers."""
        encoder = self.encoders[HEMISPHERES[0]]
        assert isinstance(encoder, Encoder)
        return encoder.token_places()

    def settings(self) -> dict[str, object]:
        return {side: encoder.identity() for side, encoder in self.encoders.items() if isinstance(encoder, Encoder)}


class HemisphereFinetuning(Finetuning):
    """The same policy for each copy of the backbone.

    Args:
        finetuning: What is copied.
    """

    def __init__(self, finetuning: Finetuning) -> None:
        super().__init__(finetuning.rate)
        self.policies = {side: deepcopy(finetuning) for side in HEMISPHERES}

    def prepare(self, backbone: nn.Module) -> None:
        random_state = torch.get_rng_state()  # of which each copy takes what it would take alone: adapters are random
        for policy, encoder in self._pairs(backbone):
            torch.set_rng_state(random_state)
            policy.prepare(encoder)

    def parameter_groups(self, backbone: nn.Module) -> list[dict[str, Any]]:
        return [group for policy, encoder in self._pairs(backbone) for group in policy.parameter_groups(encoder)]

    def train(self, backbone: nn.Module, epoch: int) -> None:
        for policy, encoder in self._pairs(backbone):
            policy.train(encoder, epoch)

    def _pairs(self, backbone: nn.Module) -> list[tuple[Finetuning, nn.Module]]:
        assert isinstance(backbone, HemisphereEncoder)
        return [(policy, backbone.encoders[side]) for side, policy in self.policies.items()]


class HemisphereHead(Head):
    """A head for each hemisphere's targets, which share no weights.

    The heads are made when the targets' hemispheres are known, both from the same state of the random numbers: each
    starts as it would in a run of its own.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, of a HemisphereEncoder or shared by both.
        num_targets: Targets of both hemispheres.
        head: From one hemisphere's features to its responses.
        shared: Whether both hemispheres read the same features; otherwise each reads its own encoder's.
    """

    lh: Tensor
    rh: Tensor
    order: Tensor

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        head: Callable[[FeatureShapes, int], Head],
        shared: bool,
    ) -> None:
        super().__init__(feature_shapes, num_targets)
        self.shapes = feature_shapes
        self.make_head = head
        self.shared = shared
        self.random_state = torch.get_rng_state()
        sample = self._make(HEMISPHERES[0], num_targets)  # a wrong flag is told before data are read
        self.made_for_subjects = sample.of_subjects
        if shared and sample.independent_targets:
            raise InputError(
                f"--model.hemisphere_networks true: every target of {type(sample).__name__} has weights of its own "
                "already; leave it out"
            )
        self.heads = nn.ModuleDict()
        # Not in checkpoints: they are the data's, which a resumed run has again.
        self.register_buffer("lh", torch.empty(0, dtype=torch.int64), persistent=False)
        self.register_buffer("rh", torch.empty(0, dtype=torch.int64), persistent=False)
        self.register_buffer("order", torch.empty(0, dtype=torch.int64), persistent=False)

    @property
    def targets(self) -> list[Tensor]:
        """Targets of the left hemisphere and of the right one, int64."""
        return [self.lh, self.rh]

    @property
    def of_subjects(self) -> bool:
        return True

    @property
    def networks(self) -> dict[str, Tensor | slice]:
        return {
            _network(side, name): own[inner]
            for side, own in zip(HEMISPHERES, self.targets, strict=True)
            for name, inner in self._head(side).networks.items()
        }

    def network_of(self, weight: str) -> str:
        part, _, side, rest = weight.split(".", 3)  # "backbone.encoders.lh.…", "head.heads.rh.…"
        return _network(side, self._head(side).network_of(f"head.{rest}") if part == "head" else ALL)

    def subject_of(self, weight: str) -> int | None:
        _, _, side, rest = weight.split(".", 3)  # "head.heads.rh.…"
        return self._head(side).subject_of(f"head.{rest}")

    def feature_statistics(self, facts: Facts) -> tuple[Features, Features] | None:
        self._make_heads(facts)
        return self._head("lh").feature_statistics(facts)

    def check(self, facts: Facts) -> None:
        _sides(facts)

    def unmade(self, facts: Facts) -> int:
        if len(self.heads):
            return 0
        sides = zip(HEMISPHERES, _sides(facts), strict=True)
        return sum(size_of_made(partial(self._made_for, side, facts.of(own))) for side, own in sides)

    def fill(self, facts: Facts) -> None:
        self._make_heads(facts)
        for side, own in zip(HEMISPHERES, self.targets, strict=True):
            self._head(side).fill(facts.of(own.cpu()))

    def findings(self) -> Findings | None:
        found = [self._head(side).findings() for side in HEMISPHERES]
        known = [each for each in found if each is not None]
        return Findings.joined(known).of(self.order.cpu().numpy()) if len(known) == len(HEMISPHERES) else None

    def watch(self, features: Features, subject: int) -> None:
        for side in HEMISPHERES:
            self._head(side).watch(self._of(side, features), subject)

    def attention(self) -> Attention | None:
        found = [self._head(side).attention() for side in HEMISPHERES]
        known = [each for each in found if each is not None]
        return Attention.joined(known) if known else None

    def _make_heads(self, facts: Facts) -> None:
        lh, rh = _sides(facts)
        self.lh, self.rh = lh.to(self.lh.device), rh.to(self.rh.device)
        self.order = torch.cat(self.targets).argsort()
        for index, part in enumerate(facts.subjects.values()):
            sides = [own[(own >= part.start) & (own < part.stop)] for own in self.targets]
            self.register_buffer(_order_of(index), torch.cat(sides).argsort(), persistent=False)
        for side, own in zip(HEMISPHERES, (lh, rh), strict=True):
            if side not in self.heads:
                self.heads[side] = self._made_for(side, facts.of(own))

    def _made_for(self, side: str, facts: Facts) -> Head:
        """The head of a hemisphere's targets, or of each subject's of them."""
        if len(facts.subjects) == 1 or self.made_for_subjects:
            return self._make(side, len(facts.groups))
        return SubjectHeads(self._of(side, self.shapes), facts, self.make_head, self.random_state, self.shared)

    def _make(self, side: str, num_targets: int) -> Head:
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(self.random_state)
            return self.make_head(self._of(side, self.shapes), num_targets)

    def forward(self, features: Features) -> Tensor:
        sides = [self._head(side)(self._of(side, features)) for side in HEMISPHERES]
        return torch.cat(sides, dim=1).index_select(1, self.order)  # (batch, num_targets)

    def read(self, features: Features, subject: int) -> Tensor:
        sides = [self._head(side).read(self._of(side, features), subject) for side in HEMISPHERES]
        return torch.cat(sides, dim=1).index_select(1, self.get_buffer(_order_of(subject)))

    def _head(self, side: str) -> Head:
        head = self.heads[side]
        assert isinstance(head, Head)
        return head

    def _of(self, side: str, by_layer: dict[str, Each]) -> dict[str, Each]:
        """What one hemisphere's head is given of features, or of their shapes, by layer."""
        if self.shared:
            return by_layer
        prefix = f"{side}:"
        return {layer.removeprefix(prefix): value for layer, value in by_layer.items() if layer.startswith(prefix)}


def _network(side: str, inner: str) -> str:
    """Name of a network of one hemisphere: of all subjects, or of one."""
    return side if inner == ALL else f"{inner}.{side}"


def _order_of(subject: int) -> str:
    """Name of the buffer that holds where each target of a subject stands in its left and then its right ones."""
    return f"order_{subject}"


def _sides(facts: Facts) -> list[Tensor]:
    """Targets of the left and of the right hemisphere, each int64 (n,).

    Raises:
        InputError: A hemisphere has none, or a target is in neither.
    """
    lh, rh = ((facts.hemispheres == index).nonzero().squeeze(1) for index in range(len(HEMISPHERES)))
    unknown = len(facts.hemispheres) - len(lh) - len(rh)
    if not len(lh) or not len(rh) or unknown:
        raise InputError(
            "--model.hemisphere_networks true: expected targets of both hemispheres and no others, found "
            f"{len(lh)} left, {len(rh)} right and {unknown} unknown; leave it out"
        )
    return [lh, rh]
