"""CorticalNetwork: some numbers of each target, by where it lies on cortex."""

import torch
from torch import Tensor, nn

from ...batch import Facts
from .positional import check_places, sinusoids

FREQUENCIES = 8
"""Wavelengths by which each dimension of a place is encoded, from 4 to 400 mm."""


class CorticalNetwork(nn.Module):
    """From each target's place on cortex, and its hemisphere, to some numbers: one small network for all targets.

    So what it gives is alike for neighbours, and targets with little signal follow those with much. Places are encoded
    by sinusoids, because visual areas mirror each other within millimetres. Hemispheres are told apart by a sign, since
    on a sphere both lie at the same places.

    Args:
        num_targets: Targets.
        outputs: Numbers of each target; all are 0 at the start.
        width: Of both hidden layers.
    """

    encoding: Tensor

    def __init__(self, num_targets: int, outputs: int, width: int) -> None:
        super().__init__()
        encoded = 3 * 2 * FREQUENCIES + 1
        self.register_buffer("encoding", torch.zeros(num_targets, encoded))
        self.layers = nn.Sequential(
            nn.Linear(encoded, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, outputs)
        )
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)

    def fill(self, facts: Facts, head: str) -> None:
        """Take the targets' places.

        Raises:
            InputError: One is unknown; the line names the head.
        """
        check_places(facts, head)
        side = torch.tensor([-1.0, 1.0, 0.0])[facts.hemispheres]  # left, right, unknown
        self.encoding.copy_(torch.cat([sinusoids(facts.coordinates, FREQUENCIES), side[:, None]], dim=1))

    def forward(self) -> Tensor:
        """Numbers of each target, (num_targets, outputs)."""
        return self.layers(self.encoding)  # type: ignore[no-any-return]
