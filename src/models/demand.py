"""What a model takes of memory and of the disk while it is trained, from its sizes alone."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from .regression.gram import ROW_BLOCK
from .regression.penalties import TARGET_BLOCK

Part = TypeVar("Part", bound=nn.Module)

STEP = 8
"""Float32 tensors (batch, num_targets) that a step of a linear head holds at once: predictions, responses, their
difference, its square, what of it was measured, and gradients. What a deeper head adds only its first step tells."""


@dataclass(frozen=True)
class ModelDemand:
    """Bytes that a model takes, beside the batches.

    Args:
        weights: Parameters and buffers as they will be.
        made: Of these, what is in memory already.
        gradients: Of what is trained.
        optimizer: Its state.
        kept: Best rows so far, on the processor.
        step: What one step makes of a batch, but for activations inside a deep head or a backbone.
        gathered: Sums or rows from which a closed form is solved, and what solving takes beside them.
        stored: Training data that the solved model keeps.
        members: Of the disk, what a stack keeps of its members' trainings until its own checkpoint is whole.
    """

    weights: int
    made: int = 0
    gradients: int = 0
    optimizer: int = 0
    kept: int = 0
    step: int = 0
    gathered: int = 0
    stored: int = 0
    members: int = 0

    @property
    def last(self) -> int:
        """The checkpoint from which a run goes on."""
        return self.weights + self.optimizer + self.kept + self.stored

    @property
    def best(self) -> int:
        """The checkpoint of the restored model."""
        return self.weights + self.stored

    @property
    def trained(self) -> int:
        """What lies where the model is trained."""
        return self.weights + self.gradients + self.optimizer + self.step + self.gathered + self.stored


def state_share(make_optimizer: OptimizerCallable) -> float:
    """Numbers that an optimiser keeps of each weight: 2 of Adam and its kin, 1 of momentum, 0 of plain descent."""
    weight = nn.Parameter(torch.zeros(16, 16))
    weight.grad = torch.zeros_like(weight)
    try:
        optimizer = make_optimizer([{"params": [weight]}])
        optimizer.step()
    except (TypeError, ValueError, RuntimeError):  # it evaluates the loss again, as LBFGS does, or refuses its settings
        return 2.0
    state = optimizer.state[weight].values()
    return sum(each.numel() for each in state if isinstance(each, Tensor) and each.numel() > 1) / weight.numel()


def size_of(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors."""
    return sum(each.nbytes for each in tensors)


def size_of_made(make: Callable[[], nn.Module]) -> int:
    """Bytes of a part's parameters and buffers, of which none is made."""
    part = sketched(make)
    return size_of([*part.parameters(), *part.buffers()])


def sketched(make: Callable[[], Part]) -> Part:
    """A part whose tensors have their shapes and take no memory; no random numbers are used up."""
    with torch.random.fork_rng(devices=[]), torch.device("meta"):
        return make()


def ridge_from_sums(features: int, targets: int, folds: int) -> int:
    """Bytes of what ridge gathers and solves where it sums: Gram matrices in float64, products in float32, waiting
    stimuli, joined and apart."""
    products = 8 * folds * features**2 + 4 * folds * features * targets
    return products + 2 * 4 * ROW_BLOCK * (features + targets) + _decomposed(features, folds)


def ridge_from_rows(stimuli: int, features: int, targets: int, folds: int) -> int:
    """Bytes of what ridge gathers and solves where it keeps the stimuli themselves, in either of its two forms."""
    rows = 4 * stimuli * (features + targets)
    if features > stimuli:  # a kernel, and the weights of the stimuli
        return rows + _decomposed(stimuli, 1) + 4 * stimuli * targets
    block = 2 * 4 * folds * features * min(TARGET_BLOCK, targets)
    return rows + 4 * stimuli * features + 8 * folds * features**2 + block + _decomposed(features, folds)


def kernels_of_bands(stimuli: int, features: int, targets: int, folds: int, bands: int) -> int:
    """Bytes of what banded ridge gathers and solves where features outnumber stimuli: a kernel of each band, for each
    fold and for all."""
    kernels = 8 * bands * (folds + 1) * stimuli**2
    return 4 * stimuli * (features + targets) + kernels + _decomposed(stimuli, folds)


def _decomposed(side: int, folds: int) -> int:
    """Bytes of the axes of matrices of so many rows, of each fold and of all stimuli: in float64, and in float32 beside
    what is compared in them; and what one decomposition works in."""
    return (folds + 1) * (8 + 4 + 4) * side**2 + 3 * 8 * side**2
