"""Which penalty: the candidates, how they are judged without folds, and the choice."""

from collections.abc import Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ...errors import InputError

Selection = Literal["target", "roi", "all"]
"""What shares one choice: each target alone, each ROI, or all targets of a subject."""

PENALTIES = (1e1, 5e1, 2e2, 1e3, 5e3, 2e4, 1e5, 5e5, 2e6, 1e7)
TARGET_BLOCK = 1024  # what the work on one block touches, a few float32 matrices of (512, 1024), stays in cache


def sort_penalties(penalties: Sequence[float] | Tensor, device: torch.device, flag: str = "penalties") -> Tensor:
    """Penalties as float64 (P,), largest first, so that a tie goes to the largest; `flag` is where they were given.

    Raises:
        InputError: There is none, or one is negative or not finite.
    """
    found = torch.as_tensor(penalties, dtype=torch.float64, device=device).flatten()
    if not len(found) or not (found.isfinite() & (found >= 0)).all():
        raise InputError(f"{flag}: expected one or more finite numbers of at least 0, found {found.tolist()}")
    return found.sort(descending=True).values


def generalized_errors(
    eigenvalues: Tensor, projected: Tensor, variation: Tensor, count: float, penalties: Tensor
) -> tuple[Tensor, Tensor]:
    """Generalised cross-validation (Golub, Heath & Wahba 1979), the intercept counted as a degree of freedom.

    Args:
        eigenvalues: Of the centred features' scatter, float64 (R,).
        projected: X'Y in its axes, (R, T).
        variation: Each target's sum of squares about its mean, float64 (T,).
        count: Number n of stimuli.
        penalties: float64 (P,).

    Returns:
        n ‖residual‖² / (n − degrees of freedom)², float64 (P, T), and the same without features, (T,).
    """
    damped = eigenvalues + penalties[:, None]  # (P, R)
    squared = projected.double().square_()
    # Sums of positive terms only: y'y − explained would cancel where a wide fit leaves nearly no residual.
    beyond = (variation - (1 / eigenvalues) @ squared).clamp(min=0)  # what no weight reaches
    if len(eigenvalues) >= count - 1:
        beyond.zero_()
    residual = beyond + ((penalties[:, None] / damped).square() / eigenvalues) @ squared  # (P, T)
    freedom = count - 1 - len(eigenvalues) + (penalties[:, None] / damped).sum(1, keepdim=True)  # (P, 1)
    interpolates = freedom <= count * torch.finfo(freedom.dtype).eps
    errors = (count * residual / freedom.square()).masked_fill(interpolates, torch.inf)
    return errors, count * variation / (count - 1) ** 2


def pooled(errors: Tensor, groups: Tensor | None) -> Tensor:
    """Errors (P, T); where groups of targets, int64 (T,), share a choice, with the group's sum in place of its own."""
    if groups is None:
        return errors
    per_group = errors.new_zeros(len(errors), int(groups.max()) + 1).index_add_(1, groups, errors)
    return per_group[:, groups]


def choose(errors: Tensor, groups: Tensor | None) -> Tensor:
    """Index of the penalty with the least error, for each target or for the mean of each group of targets.

    Args:
        errors: (P, T).
        groups: Group of each target, int64 (T,), or None for a choice per target.

    Returns:
        int64 (T,).
    """
    return pooled(errors, groups).argmin(0)


def target_blocks(num_targets: int) -> Iterator[slice]:
    """Slices that cover the targets, of a size whose matrices stay in cache."""
    for first in range(0, num_targets, TARGET_BLOCK):
        yield slice(first, min(first + TARGET_BLOCK, num_targets))
