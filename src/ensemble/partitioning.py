"""Structured variance partitioning: what a stack's members explain alone, beyond each other, and in common.

Lin, Naselaris, Kay & Wehbe 2024, Stacked regressions and structured variance partitioning for interpretable brain maps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .moments import Moments
from .stacking import cross_validated_r2


@dataclass(frozen=True)
class Partition:
    """Shares of the responses' variance, cross-validated, float64, NaN where a response does not vary.

    Args:
        whole: What the stack of all members explains, (T,).
        alone: What each member explains, brought to scale, (M, T).
        unique: What the stack loses when it is learnt without a member, (M, T).
        shared: What is left of the whole when all unique parts are taken off, (T,): what two members or more explain.
            Below 0 where members explain more together than each adds.
    """

    whole: np.ndarray
    alone: np.ndarray
    unique: np.ndarray
    shared: np.ndarray


def partition(parts: Sequence[Moments], pull: float) -> Partition:
    """Partition the variance that a stack explains.

    Args:
        parts: Sums over the stimuli of each fold, of two members or more.
        pull: The stack's strength of the pull towards common weights.
    """
    members = range(parts[0].total.shape[1] - 1)

    def explained(chosen: Sequence[int]) -> np.ndarray:
        return cross_validated_r2([part.of_members(chosen) for part in parts], pull)

    whole = explained(members)
    alone = np.stack([explained([member]) for member in members])
    unique = np.stack([whole - explained([each for each in members if each != member]) for member in members])
    return Partition(whole, alone, unique, whole - unique.sum(axis=0))
