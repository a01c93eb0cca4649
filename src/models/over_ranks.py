"""Sums over ranks, with gradients that data-parallel training makes those of the sum."""

import torch
from torch import Tensor


def ranks() -> int:
    """How many processes train together; 1 for one alone."""
    together = torch.distributed.is_available() and torch.distributed.is_initialized()
    return torch.distributed.get_world_size() if together else 1


def sum_over_ranks(own: Tensor) -> Tensor:
    """Sum of a tensor over all ranks, the same on each; all must ask together.

    Its gradient flows into this rank's own part, times the number of ranks. DDP, FSDP and DeepSpeed take the mean of
    the ranks' gradients, which then is the gradient of the sum, and nothing more need be sent backwards.
    """
    if ranks() == 1:
        return own
    total = own.detach().clone()
    torch.distributed.all_reduce(total)
    if not own.requires_grad:
        return total
    scaled = own * ranks()
    return total + (scaled - scaled.detach())
