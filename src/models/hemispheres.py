"""One network per hemisphere: two copies of a backbone, and two heads, in one model."""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ..batch import Facts, Features, FeatureShapes
from ..encoders import Encoder
from ..errors import InputError
from ..names import HEMISPHERES
from .finetuning import Finetuning
from .heads.base import Head
from .heads.partitioned import Each, PartitionedHead


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


class HemisphereHead(PartitionedHead):
    """A head for each hemisphere's targets, which share no weights.

    Args:
        feature_shapes: Shape of one stimulus's features by layer, of a HemisphereEncoder or shared by both.
        num_targets: Targets of both hemispheres.
        head: From one hemisphere's features to its responses.
        shared: Whether both hemispheres read the same features; otherwise each reads its own encoder's.
    """

    def __init__(
        self,
        feature_shapes: FeatureShapes,
        num_targets: int,
        head: Callable[[FeatureShapes, int], Head],
        shared: bool,
    ) -> None:
        super().__init__(feature_shapes, num_targets, head)
        self.shared = shared
        sample = self.sample(HEMISPHERES[0])
        if shared and sample.independent_targets:
            raise InputError(
                f"--model.hemisphere_networks true: every target of {type(sample).__name__} has weights of its own "
                "already; leave it out"
            )

    def parts(self, facts: Facts) -> dict[str, Tensor]:
        return dict(zip(HEMISPHERES, _sides(facts), strict=True))

    def seen_by(self, part: str, by_layer: dict[str, Each]) -> dict[str, Each]:
        if self.shared:
            return by_layer
        prefix = f"{part}:"
        return {layer.removeprefix(prefix): value for layer, value in by_layer.items() if layer.startswith(prefix)}


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
