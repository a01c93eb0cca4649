"""Finetuning: what of a backbone is trained, when, and how fast."""

from abc import ABC, abstractmethod
from typing import Any

from torch import nn

from ..errors import InputError


class Finetuning(ABC):
    """Policy for the backbone's weights.

    Args:
        rate: The backbone's learning rate as a share of the head's.
    """

    def __init__(self, rate: float = 1.0) -> None:
        if rate < 0:
            raise InputError(f"--model.finetuning.rate {rate:g}: expected a share of the head's rate, 0 or more")
        self.rate = rate

    @abstractmethod
    def prepare(self, backbone: nn.Module) -> None:
        """Make the backbone ready when the model is built: freeze, or insert what is trained in its place."""

    def parameter_groups(self, backbone: nn.Module) -> list[dict[str, Any]]:
        """Groups for the optimiser; "rate" is a group's share of the learning rate."""
        return [{"params": [each for each in backbone.parameters() if each.requires_grad], "rate": self.rate}]

    def train(self, backbone: nn.Module, epoch: int) -> None:
        """Put the backbone into training mode as far as it is trained in this epoch; called at the epoch's start."""
        backbone.train()


class Full(Finetuning):
    """All of the backbone is trained from the first epoch."""

    def prepare(self, backbone: nn.Module) -> None:
        pass


class Frozen(Finetuning):
    """Nothing of the backbone is trained, and its batch norm keeps its statistics.

    The same features through --data.encoder are computed once rather than each epoch; this is for backbones behind
    which something random stands, or whose features do not fit on disk.
    """

    def __init__(self) -> None:
        super().__init__(0.0)

    def prepare(self, backbone: nn.Module) -> None:
        backbone.requires_grad_(False)

    def train(self, backbone: nn.Module, epoch: int) -> None:
        backbone.eval()
