"""Training and evaluation modes that are put back as they were."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def keeping_modes(network: nn.Module) -> Iterator[None]:
    """Put back each module's mode afterwards; a frozen batch norm, or a stage at rest, has one of its own."""
    modes = [(module, module.training) for module in network.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
