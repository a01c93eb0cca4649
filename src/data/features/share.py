"""Share: how processes divide work, wait for each other, and agree on what went wrong."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch

from ...errors import InputError

T = TypeVar("T")


def _raise_own(error: InputError | None) -> None:
    if error is not None:
        raise error


@dataclass(frozen=True)
class Share:
    """How processes divide an extraction: each takes every `world_size`-th chunk.

    Args:
        rank: This process's rank.
        world_size: Number of processes.
        agree: A barrier at which each hands in its error or None, and all raise where one had an error. A process
            that left alone would keep the others waiting.
    """

    rank: int = 0
    world_size: int = 1
    agree: Callable[[InputError | None], None] = _raise_own


ALONE = Share()


def agree_among_ranks(error: InputError | None) -> None:
    """Wait for every rank, and raise on all of them what one of them met."""
    if not torch.distributed.is_initialized():
        return _raise_own(error)
    errors: list[str | None] = [None] * torch.distributed.get_world_size()
    torch.distributed.all_gather_object(errors, None if error is None else str(error))
    for message in filter(None, errors):
        raise InputError(message)
    return None


def first_rank_first(share: Share, recall_or_make: Callable[[], T]) -> T:
    """What the first rank makes and the others read.

    Their own would differ in the last digits. One that shares no disk with the first finds nothing, and makes it.

    Args:
        share: How ranks wait for each other.
        recall_or_make: Reads what is there, or makes it and writes it for the others.

    Raises:
        InputError: It could not be made, by this rank or another.
    """
    done: list[T] = []
    for own_turn in (share.rank == 0, share.rank != 0):
        error: InputError | None = None
        try:
            if own_turn:
                done.append(recall_or_make())
        except InputError as raised:
            error = raised
        share.agree(error)
    return done[0]
