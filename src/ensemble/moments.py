"""Sums over held-out stimuli, from which stacks are learnt and judged: they add up, so folds cost no second pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_BLOCK_ELEMENTS = 2**22


@dataclass(frozen=True)
class Moments:
    """Sums over the stimuli that were measured of each target; M members' predictions, then the response.

    Args:
        count: Measured stimuli, float64 (T,).
        total: Sums, float64 (T, M + 1).
        cross: Sums of products, float64 (T, M + 1, M + 1).
    """

    count: np.ndarray
    total: np.ndarray
    cross: np.ndarray

    @classmethod
    def of(cls, predictions: Sequence[np.ndarray], responses: np.ndarray, origin: np.ndarray) -> Moments:
        """Sums of some stimuli.

        Args:
            predictions: Each member's (n, T).
            responses: (n, T), NaN where not measured.
            origin: What is taken from predictions and responses alike, (T,): the nearer to them, the more digits are
                left.
        """
        size = responses.shape[1]
        step = max(_BLOCK_ELEMENTS // max(len(responses) * (len(predictions) + 1), 1), 1)
        blocks = [slice(start, start + step) for start in range(0, size, step)]
        parts = [_sums([*(each[:, own] for each in predictions), responses[:, own]], origin[own]) for own in blocks]
        return cls(*(np.concatenate(each) for each in zip(*parts, strict=True)))

    def __add__(self, other: Moments) -> Moments:
        return Moments(self.count + other.count, self.total + other.total, self.cross + other.cross)

    def __sub__(self, other: Moments) -> Moments:
        return Moments(self.count - other.count, self.total - other.total, self.cross - other.cross)

    def of_members(self, chosen: Sequence[int]) -> Moments:
        """The sums of some members alone, and of the response."""
        kept = [*chosen, self.total.shape[1] - 1]
        return Moments(self.count, self.total[:, kept], self.cross[:, kept][:, :, kept])

    @property
    def mean(self) -> np.ndarray:
        """Float64 (T, M + 1); 0 where nothing was measured."""
        return self.total / np.maximum(self.count, 1)[:, None]

    @property
    def centred(self) -> np.ndarray:
        """Sums of products of what is left of each when its mean is taken off, float64 (T, M + 1, M + 1)."""
        return self.cross - self.total[:, :, None] * self.mean[:, None, :]

    def squared_error(self, weights: np.ndarray, intercept: np.ndarray) -> np.ndarray:
        """Sum over stimuli of (intercept + weights · predictions − response)², float64 (T,).

        Args:
            weights: (T, M).
            intercept: (T,).
        """
        signed = np.concatenate([weights, np.full((len(weights), 1), -1.0)], axis=1)  # (T, M + 1)
        squares = np.einsum("tm,tmk,tk->t", signed, self.cross, signed)
        return squares + 2 * intercept * (signed * self.total).sum(axis=1) + intercept**2 * self.count


def summed(parts: Sequence[Moments]) -> Moments:
    """Of all stimuli together; one part at least."""
    whole = parts[0]
    for part in parts[1:]:
        whole = whole + part
    return whole


def _sums(values: Sequence[np.ndarray], origin: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, sums and sums of products of a block of targets; the last of the values (n, T) are the responses."""
    measured = ~np.isnan(values[-1])  # (n, T)
    table = np.stack([np.where(measured, each - origin, 0.0) for each in values], axis=-1)  # (n, T, M + 1)
    by_target = table.transpose(1, 2, 0)  # (T, M + 1, n)
    return measured.sum(axis=0).astype(np.float64), table.sum(axis=0), by_target @ by_target.transpose(0, 2, 1)
