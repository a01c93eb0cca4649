"""Targets in chunks: what is made for a chunk is made again for the gradient, so that it is never all held."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

HELD_AT_ONCE = 1 << 25  # numbers, 128 MB: what is made for a chunk of targets beside their predictions


def in_chunks(
    read: Callable[..., Tensor],
    held: int,
    of_targets: Sequence[Tensor],
    of_all: Sequence[Tensor],
    random: bool = False,
) -> Tensor:
    """Predictions (B, num_targets) of all targets.

    Args:
        read: From some targets' part of each of `of_targets`, and all of `of_all`, to their predictions (B, t).
        held: Numbers that it makes for each target.
        of_targets: Each (num_targets, …).
        of_all: What is the same for every chunk.
        random: Whether it draws random numbers, which the second pass has to draw again.
    """
    size, num_targets = max(1, HELD_AT_ONCE // max(1, held)), len(of_targets[0])
    if num_targets <= size:
        return read(*of_targets, *of_all)
    pieces = zip(*(each.split(size) for each in of_targets), strict=True)
    made = [checkpoint(read, *piece, *of_all, use_reentrant=False, preserve_rng_state=random) for piece in pieces]
    return torch.cat(made, dim=1)
