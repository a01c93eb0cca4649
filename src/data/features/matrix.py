"""PiecewiseMatrix: a matrix that is read piece by piece and never held whole."""

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

PIECE = 1 << 25
"""Numbers per piece: 128 MB."""
NARROWEST = 1 << 13
"""Columns per piece at the least: a memory map is read 16 to 32 KB at a time, not number by number."""


class PiecewiseMatrix(ABC):
    """N rows of D numbers, behind memory maps.

    Attributes:
        shape: (N, D).
    """

    shape: tuple[int, int]

    @abstractmethod
    def by_rows(self) -> Iterator[Tensor]:
        """Pieces of whole rows in order, each float32 (n, D), the caller's to write to."""

    @abstractmethod
    def by_columns(self) -> Iterator[tuple[slice, Tensor]]:
        """Pieces of whole columns in order: which they are, and float32 (N, n), the caller's to write to."""

    def mean(self) -> Tensor:
        """Mean over the rows, float32 (D,)."""
        total = np.zeros(self.shape[1])
        for piece in self.by_rows():
            total += piece.numpy().sum(0, dtype=np.float64)
        return torch.from_numpy(total / self.shape[0]).float()

    def rows_at_once(self) -> int:
        """Of a piece."""
        return max(1, PIECE // max(self.shape[1], 1))

    def columns_of_pieces(self) -> Iterator[slice]:
        """Columns of each piece of whole columns."""
        step = max(NARROWEST, PIECE // max(self.shape[0], 1))
        for start in range(0, self.shape[1], step):
            yield slice(start, min(start + step, self.shape[1]))
