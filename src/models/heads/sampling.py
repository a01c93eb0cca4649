"""Maps read at one point of each target, cell by cell: what all targets that look at a cell need is one product."""

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def read_at(maps: Tensor, where: Tensor, weight: Tensor) -> Tensor:
    """Weighted channels of maps at the targets' points, between cells bilinearly, (B, t).

    What `grid_sample` with `padding_mode="border"` and no aligned corners, and then a product with the weights, give.
    But the samples, (B, t, C), are never made: the targets that look at a cell are multiplied with its (B, C) at once.
    That is as many operations and a small part of the memory traffic. (4 t, B) numbers are kept for the gradient, which
    for a moment takes (4 t, C).

    Args:
        maps: (B, C, rows, columns).
        where: Points (t, 2): x from the left and y from the top, in image widths.
        weight: (t, C).
    """
    rows, columns = maps.shape[2:]
    left, right, across = _between(where[:, 0], columns)
    top, bottom, down = _between(where[:, 1], rows)
    cells = torch.stack([y * columns + x for y in (top, bottom) for x in (left, right)], dim=1).flatten()  # (4 t,)
    shares = torch.stack([v * h for v in (1 - down, down) for h in (1 - across, across)], dim=1)  # (t, 4)
    order = cells.argsort(stable=True)
    sizes = cells.bincount(minlength=rows * columns).tolist()
    table = maps.permute(2, 3, 0, 1).flatten(0, 1).contiguous()  # (cells, B, C)
    with torch.autocast(maps.device.type, enabled=False):
        read: Tensor = _Read.apply(table.to(weight.dtype), weight, shares.to(weight.dtype), order, sizes)
    return read.T


def _between(place: Tensor, cells: int) -> tuple[Tensor, Tensor, Tensor]:
    """The cells before and behind places (t,) along one axis, int64, and how far on the way from one to the other."""
    position = (place * cells - 0.5).clamp(0, cells - 1)
    before = position.detach().floor().clamp_max(max(cells - 2, 0))
    behind = (before + 1).clamp_max(cells - 1)
    return before.long(), behind.long(), position - before


class _Read(torch.autograd.Function):
    """Σ over a target's four cells of share × table · weight, (t, B).

    Args: table (cells, B, C), weight (t, C), shares (t, 4), what sorts these by cell, int64 (4 t,), and how many of
    them there are of each cell.
    """

    @staticmethod
    def forward(ctx: Any, table: Tensor, weight: Tensor, shares: Tensor, order: Tensor, sizes: list[int]) -> Tensor:
        products = weight.new_empty(len(order), table.shape[1])  # (4 t, B), sorted by cell
        for cell, own, looking in _pieces(order // 4, sizes):
            torch.mm(weight.index_select(0, looking), table[cell].T, out=products[own])
        ctx.save_for_backward(table, weight, shares, order, products)
        ctx.sizes = sizes
        return _summed(products, order, shares)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        table, weight, shares, order, products = ctx.saved_tensors
        target = order // 4
        pull = gradients[0].to(weight.dtype).index_select(0, target)  # (4 t, B)
        to_shares = torch.empty_like(shares)
        to_shares.view(-1)[order] = torch.einsum("nb,nb->n", pull, products)
        pull = pull * shares.flatten()[order, None]
        to_table = torch.zeros_like(table) if ctx.needs_input_grad[0] else None
        to_weights = weight.new_empty(len(order), weight.shape[1])  # (4 t, C), of each share
        for cell, own, looking in _pieces(target, ctx.sizes):
            torch.mm(pull[own], table[cell], out=to_weights[own])
            if to_table is not None:
                torch.mm(pull[own].T, weight.index_select(0, looking), out=to_table[cell])
        return to_table, _summed(to_weights, order), to_shares, None, None


def _summed(rows: Tensor, order: Tensor, shares: Tensor | None = None) -> Tensor:
    """Sum of each target's four rows (4 t, n), which are sorted by cell, weighted by its shares (t, 4): (t, n)."""
    place = torch.empty_like(order)
    place[order] = torch.arange(len(order), device=order.device)
    return F.embedding_bag(place.view(-1, 4), rows, per_sample_weights=shares, mode="sum")


def _pieces(target: Tensor, sizes: list[int]) -> Iterator[tuple[int, slice, Tensor]]:
    """Each cell at which someone looks, its part of what is sorted by cell, and who looks."""
    start = 0
    for cell, size in enumerate(sizes):
        if size:
            own = slice(start, start + size)
            yield cell, own, target[own]
            start += size
