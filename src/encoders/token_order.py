"""The order of tokens, found by moving a bright patch over the image and asking which tokens answer.

Most networks hold their patches row by row, behind the class token. Hiera does not: it unrolls the grid, so that
windows lie in one piece. A grid that is read in the wrong order is scrambled, and looks like features all the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..errors import InputError
from .capture import Tap, run_taps
from .layouts import Layout
from .modes import keeping_modes

Order = slice | Tensor
"""Which of a layer's tokens are the patches, row by row."""

LATTICE = 4  # the patch's side is this part of the image's
PLACES = ((0, 1), (1, 3), (3, 3), (2, 0), (3, 1), (0, 3))  # row and column of the patch; no two orders agree on all
BRIGHT = 2.0  # standard deviations of a normalised image
LEAST_AGREEMENT = 0.3  # mean correlation between where the patch is and where tokens answer, of the right order
LEAST_LEAD = 0.1  # over the next order's
LOCAL = 0.75  # correlation, were the tokens sorted to fit, from which on they do answer to places
LEAST_TOKENS = 16  # fewer could be sorted to fit by chance


@dataclass(frozen=True)
class TokenOrder:
    """The order that moved patches show.

    Args:
        name: What it is called.
        order: Which tokens are the patches, row by row; None where the answers do not tell.
        agreement: Correlation of where the patches are and where the tokens answer, of the best order.
        local: Whether tokens answer to places at all, in whatever order; attention may hand all that it sees to all.
    """

    name: str
    order: Order | None
    agreement: float
    local: bool


def token_orders(
    network: nn.Module, layers: Mapping[str, Tap], tokens: Mapping[Tap, Layout], size: int
) -> dict[str, Order]:
    """The order of some layers' tokens.

    Args:
        network: With the weights that will be used; its modes are left as they were.
        layers: The layers to look at.
        tokens: All taps that hold tokens, in the order of running; what comes after the last layer's is left out.
        size: Height and width in pixels that the network takes.

    Raises:
        InputError: No order that is known puts the answers where the patch is.
    """
    last = max(list(tokens).index(tap) for tap in layers.values())
    told = tell_orders(network, dict(list(tokens.items())[: last + 1]), size)
    orders: dict[str, Order] = {}
    for layer, tap in layers.items():
        order = told[tap].order
        if order is None:
            raise InputError(
                f"layer '{layer}' ({tokens[tap]}): its tokens are in no order that is known, so that they cannot be "
                f"put on a grid (moved patches are found in place with a correlation of {told[tap].agreement:.2f}); "
                "leave out --data.encoder.pool, or choose another layer"
            )
        orders[layer] = order
    return orders


def tell_orders(network: nn.Module, tokens: Mapping[Tap, Layout], size: int) -> dict[Tap, TokenOrder]:
    """What moved patches show of each tap.

    Tokens that answer to no place have the order of the last tap before them that holds as many and told one: what
    attention returns is for the tokens that it was given.

    Args:
        network: With the weights that will be used; its modes are left as they were.
        tokens: Taps that hold tokens, in the order of running.
        size: Height and width in pixels that the network takes.
    """
    images, masks = _patches(size, next(network.parameters()).device)
    taps = {f"{tap.side} {tap.module}": tap for tap in tokens}

    def answers(name: str, seen: Tensor) -> Tensor:
        served = tokens[taps[name]].serve(seen).float()
        return (served[1:] - served[0]).norm(dim=2)  # (P, N)

    with keeping_modes(network), torch.no_grad():
        network.eval()
        answered = run_taps(network, taps, images, answers)
    last: dict[tuple[int, ...], TokenOrder] = {}
    found: dict[Tap, TokenOrder] = {}
    for name, tap in taps.items():
        told = tell_order(answered[name], masks, tokens[tap])
        held = (tokens[tap].shape[0], *tokens[tap].grid)
        if told.order is not None or told.local:
            last[held] = told
        found[tap] = last.get(held, told)
    return found


def tell_order(answers: Tensor, masks: Tensor, layout: Layout) -> TokenOrder:
    """The order in which answers lie best where the patches were.

    Args:
        answers: How far each token moved for each patch, (P, N).
        masks: Where the patches were, (P, 1, rows, columns) of the image.
        layout: Of the tokens.
    """
    # Some tokens answer to anything, such as those that a trained transformer keeps for itself: each is measured by
    # its own mean, so that it tells of a place only where it answers to one.
    answers = answers / answers.mean(0).clamp_min(torch.finfo(answers.dtype).tiny)
    expected = F.adaptive_avg_pool2d(masks, layout.grid).flatten(1)  # (P, patches)
    orders = known_orders(layout)
    agreements = {name: float(_correlation(answers[:, order], expected).mean()) for name, order in orders.items()}
    (best, agreement), *others = sorted(agreements.items(), key=lambda item: -item[1])
    patches = answers[:, layout.prefix :]
    sorted_to_fit = float(_correlation(patches.sort(1).values, expected.sort(1).values).mean())
    local = sorted_to_fit >= LOCAL and patches.shape[1] >= LEAST_TOKENS
    told = agreement >= LEAST_AGREEMENT and (not others or agreement - others[0][1] >= LEAST_LEAD)
    return TokenOrder(best, orders[best] if told else None, agreement, local)


def _patches(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """An image of noise, then one for each place of a bright patch, (1 + P, 3, size, size); masks (P, 1, size, size).

    Of a plain image layer norms would make noise of their own, everywhere.
    """
    cells = torch.zeros(len(PLACES), 1, LATTICE, LATTICE, device=device)
    for cell, (row, column) in zip(cells, PLACES, strict=True):
        cell[0, row, column] = 1
    masks = F.interpolate(cells, size=(size, size))
    noise = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    background, bright = noise[:1] / 2, BRIGHT * (1 + noise[1:] / 2)
    return torch.cat([background, masks * bright + (1 - masks) * background]), masks


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
