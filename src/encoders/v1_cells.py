"""Tuning of cells in primary visual cortex, drawn as physiologists measured it in macaques."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Degrees; cardinal orientations have more cells than oblique ones (De Valois, Yund & Hepler 1982).
ORIENTATION_EDGES = (-22.5, 22.5, 67.5, 112.5, 157.5)
ORIENTATION_CELLS = (66, 49, 77, 54)

# Cycles per degree (De Valois, Albrecht & Thorell 1982). They have two bins more, of 12 cells up to 8 and of 8 up to
# 11.2; the published networks end here, because finer stripes are too fine for their pixels.
FREQUENCY_EDGES = (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0, 5.6)
FREQUENCY_CELLS = (4, 4, 8, 25, 32, 26, 28)

# Standard deviation of the window in cycles, across the stripes (rows) and along them (columns); Ringach 2002. The bins
# are five of equal ratio from 0.1 to 1.58.
WIDTH_EDGES = tuple(10 ** (-1 + 0.24 * edge) for edge in range(6))
WIDTH_CELLS = (
    (2, 0, 1, 0, 0),
    (8, 9, 4, 1, 0),
    (1, 2, 19, 17, 3),
    (0, 0, 1, 7, 4),
    (0, 0, 0, 0, 0),
)

# Of normal scores: cells of higher frequency see more cycles (Schiller, Finlay & Volman 1976).
FREQUENCY_WIDTH_CORRELATION = 0.75


@dataclass(frozen=True)
class Tuning:
    """Gabor parameters of cells, each float64 (cells,).

    Args:
        frequency: Preferred spatial frequency in cycles per degree.
        orientation: Direction across the stripes in radians: 0 is down the image, π / 2 to the right.
        phase: In radians; 0 is even.
        across: Standard deviation of the Gaussian window across the stripes, in cycles.
        along: The same along the stripes.
    """

    frequency: Tensor
    orientation: Tensor
    phase: Tensor
    across: Tensor
    along: Tensor


def draw_tuning(cells: int) -> Tuning:
    """Draw cells as Dapello, Marques et al. 2020 do, with PyTorch's generator.

    Within a bin of orientations all are alike, within the others all logarithms are.
    """
    scores = torch.randn(2, cells, dtype=torch.float64)
    rest = (1 - FREQUENCY_WIDTH_CORRELATION**2) ** 0.5
    for_across = torch.special.ndtr(scores[0])
    for_frequency = torch.special.ndtr(FREQUENCY_WIDTH_CORRELATION * scores[0] + rest * scores[1])
    for_along, for_orientation, for_phase = torch.rand(3, cells, dtype=torch.float64)

    widths = torch.tensor(WIDTH_CELLS)
    log_edges = torch.tensor(WIDTH_EDGES, dtype=torch.float64).log()
    across = _quantile(widths.sum(1), log_edges, for_across)
    by_row = torch.stack([_quantile(row, log_edges, for_along) for row in widths[:-1]])  # the last has no cells
    row = (torch.searchsorted(log_edges, across) - 1).clamp(0, len(by_row) - 1)
    along = by_row.gather(0, row[None])[0]
    log_frequencies = torch.tensor(FREQUENCY_EDGES, dtype=torch.float64).log()
    orientations = torch.tensor(ORIENTATION_EDGES, dtype=torch.float64).deg2rad()
    return Tuning(
        frequency=_quantile(torch.tensor(FREQUENCY_CELLS), log_frequencies, for_frequency).exp(),
        orientation=_quantile(torch.tensor(ORIENTATION_CELLS), orientations, for_orientation),
        phase=2 * torch.pi * for_phase,
        across=across.exp(),
        along=along.exp(),
    )


def _quantile(counts: Tensor, edges: Tensor, share: Tensor) -> Tensor:
    """Values below which these shares of the cells lie, in a histogram of bins between edges; each (cells,)."""
    below = torch.cat([torch.zeros(1, dtype=torch.int64), counts.cumsum(0)]).double() / counts.sum()  # (edges,)
    bin_ = (torch.searchsorted(below, share, right=True) - 1).clamp(0, len(counts) - 1)
    fraction = (share - below[bin_]) / (below[bin_ + 1] - below[bin_])
    return torch.lerp(edges[bin_], edges[bin_ + 1], fraction.clamp(0, 1))
