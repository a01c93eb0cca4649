"""The order of tokens, found by moving a bright patch over the image and asking which tokens answer.

Most networks hold their patches row by row, behind the class token. Hiera does not: it unrolls the grid, so that
windows lie in one piece. A grid that is read in the wrong order is scrambled, and looks like features all the same.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .capture import Tap, run_taps
from .layouts import Layout

Order = slice | Tensor
"""Which of a layer's tokens are the patches, row by row."""

LATTICE = 4  # the patch's side is this part of the image's
PLACES = ((0, 1), (1, 3), (3, 3), (2, 0), (3, 1), (0, 3))  # row and column of the patch; no two orders agree on all
BRIGHT = 2.0  # standard deviations of a normalised image
LEAST_AGREEMENT = 0.3  # mean correlation between where the patch is and where tokens answer, of the right order
LEAST_LEAD = 0.1  # over the next order's


def token_orders(
    network: nn.Module, taps: Mapping[str, Tap], layouts: Mapping[str, Layout], size: int
) -> dict[str, tuple[str, Order]]:
    """Name and order of each layer's tokens.

    Args:
        network: With the weights that will be used; its modes are left as they were.
        taps: Of the layers to look at, all of them tokens, in the order of running.
        layouts: By layer.
        size: Height and width in pixels that the network takes.

    Raises:
        InputError: No order that is known puts the answers where the patch is.
    """
    device = next(network.parameters()).device
    masks = torch.zeros(len(PLACES), 1, LATTICE, LATTICE, device=device)
    for mask, (row, column) in zip(masks, PLACES, strict=True):
        mask[0, row, column] = 1
    texture = torch.randn(3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    masks = F.interpolate(masks, size=(size, size))  # (P, 1, size, size)
    images = torch.cat([torch.zeros_like(texture)[None], masks * BRIGHT * (1 + texture / 2)])
    with _at_rest(network):
        tokens = run_taps(network, taps, images, lambda layer, captured: layouts[layer].serve(captured).float())
    found: dict[str, tuple[str, Order]] = {}
    for layer, each in tokens.items():
        answers = (each[1:] - each[0]).norm(dim=2)  # (P, N)
        name, order, agreement = _best_order(answers, masks, layouts[layer])
        if order is None:
            raise InputError(
                f"layer '{layer}' ({layouts[layer]}): its tokens are in no order that is known, so that they cannot "
                f"be put on a grid (patches of light are found where they are with a correlation of {agreement:.2f}); "
                "leave out --data.encoder.pool, or choose another layer"
            )
        found[layer] = name, order
    return found


def _best_order(answers: Tensor, masks: Tensor, layout: Layout) -> tuple[str, Order | None, float]:
    """The order in which the answers (P, N) lie best where the patches were; None where none does."""
    # Some tokens answer to anything, such as those that a trained transformer keeps for itself: each is measured by
    # its own mean, so that it tells of a place only where it answers to one.
    answers = answers / answers.mean(0).clamp_min(torch.finfo(answers.dtype).tiny)
    expected = F.adaptive_avg_pool2d(masks, layout.grid).flatten(1)  # (P, patches)
    agreements = {
        name: float(_correlation(answers[:, order], expected).mean()) for name, order in known_orders(layout).items()
    }
    (best, agreement), *others = sorted(agreements.items(), key=lambda item: -item[1])
    if agreement < LEAST_AGREEMENT or (others and agreement - others[0][1] < LEAST_LEAD):
        return best, None, agreement
    return best, known_orders(layout)[best], agreement


def known_orders(layout: Layout) -> dict[str, Order]:
    """Orders that libraries use, each once, by what they are called."""
    (rows, columns), prefix = layout.grid, layout.prefix
    places = torch.arange(rows * columns).view(rows, columns)
    held = {"row by row": places.flatten(), "column by column": places.T.flatten()}
    times = 1
    while rows % 2**times == 0 and columns % 2**times == 0:
        held[f"unrolled {times} ×"] = _unrolled(places, times)
        times += 1
    orders: dict[str, Order] = {"row by row": slice(prefix, None)}
    if prefix:
        orders["row by row, class last"] = slice(0, -prefix)
    seen = [held["row by row"]]
    for name, order in held.items():
        if not any(torch.equal(order, other) for other in seen):  # small grids look alike in several orders
            orders[name] = prefix + order.argsort()
            seen.append(order)
    return orders


def _unrolled(places: Tensor, times: int) -> Tensor:
    """Places (rows, columns) as Hiera's tokens have them: every second row and column, and those again so.

    Ryali et al. 2023, "Hiera: a hierarchical vision transformer without the bells-and-whistles".
    """
    parts = places[None]  # (parts, rows, columns)
    for _ in range(times):
        rows, columns = parts.shape[1:]
        halved = parts.view(-1, rows // 2, 2, columns // 2, 2)
        parts = halved.permute(0, 2, 4, 1, 3).flatten(0, 2)
    return parts.flatten()


def _correlation(left: Tensor, right: Tensor) -> Tensor:
    """Pearson's correlation of each row; 0 where a row does not vary."""
    left, right = (each - each.mean(1, keepdim=True) for each in (left, right))
    norm = left.norm(dim=1) * right.norm(dim=1)
    return torch.where(norm > 0, (left * right).sum(1) / norm.clamp_min(torch.finfo(norm.dtype).tiny), 0)


@contextmanager
def _at_rest(network: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients, for as long as the context lasts."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
