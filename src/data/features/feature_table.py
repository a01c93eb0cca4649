"""FeatureTable: one layer's features as a matrix that is read piece by piece and never held whole."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from ..loader import Rows

PIECE = 1 << 25
"""Numbers per piece: 128 MB."""
NARROWEST = 1 << 13
"""Columns per piece at the least: a memory map is read 16 to 32 KB at a time, not number by number."""


class FeatureTable:
    """The features of N stimuli, flattened to D numbers each: a matrix (N, D) behind memory maps.

    Args:
        rows: Features of all stimuli, each (*shape).
        positions: Those that the table has, int64 (N,).
        frames: Frames of each stimulus, which are then the table's rows, one after another; None for images.
    """

    def __init__(self, rows: Rows, positions: np.ndarray, frames: int | None = None) -> None:
        positions = positions if rows.index is None else rows.index[positions]  # of what several rows are
        if frames is None:
            self._arrays = [array.flatten(1).numpy() for array in rows.arrays]
            self._positions = positions
        else:
            self._arrays = [array.flatten(0, 1).flatten(1).numpy() for array in rows.arrays]
            self._positions = (positions[:, None] * frames + np.arange(frames)).ravel()
        self.shape = (len(self._positions), self._arrays[0].shape[1])

    def by_rows(self) -> Iterator[Tensor]:
        """Pieces of whole rows in order, each float32 (n, D), the caller's to write to."""
        step = max(1, PIECE // self.shape[1])
        for start in range(0, self.shape[0], step):
            yield _gather(self._arrays, self._positions[start : start + step])

    def by_columns(self) -> Iterator[tuple[slice, Tensor]]:
        """Pieces of whole columns in order: which they are, and float32 (N, n), the caller's to write to."""
        step = max(NARROWEST, PIECE // max(self.shape[0], 1))
        for start in range(0, self.shape[1], step):
            columns = slice(start, min(start + step, self.shape[1]))
            yield columns, _gather([array[:, columns] for array in self._arrays], self._positions)

    def mean(self) -> Tensor:
        """Mean over the stimuli, float32 (D,)."""
        total = np.zeros(self.shape[1])
        for piece in self.by_rows():
            total += piece.numpy().sum(0, dtype=np.float64)
        return torch.from_numpy(total / self.shape[0]).float()


def _gather(arrays: Sequence[np.ndarray], positions: np.ndarray) -> Tensor:
    rows = Rows(arrays)
    out = torch.empty((len(positions), *rows.shape), dtype=rows.dtype)
    rows.gather(positions, out)
    return out.float()
