"""Walk through a model of the zoo: every layer's layout, held against moved patches and the library's own maps."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from calcarine.encoders import OpenClipEncoder, TimmEncoder, TorchvisionEncoder
from calcarine.encoders.capture import tap_problem
from calcarine.encoders.layouts import Layout
from calcarine.encoders.pretrained import PretrainedEncoder, trace_model
from calcarine.encoders.token_order import Order, token_orders
from torch import Tensor

LIBRARIES: dict[str, type[PretrainedEncoder]] = {
    each.library: each for each in (TimmEncoder, TorchvisionEncoder, OpenClipEncoder)
}
PLACES = ((0.1, 0.4), (0.35, 0.9), (0.85, 0.65), (0.6, 0.15), (0.9, 0.1))  # centres of the patch, down and across


@dataclass
class Walk:
    """What was seen.

    Args:
        layouts: By layer, but for those that cannot be captured.
        orders: Name of the order of each token layer.
        agreements: Correlation of where the patch was and where a layer answers, by layer.
        turned: The same with rows and columns exchanged.
        confirmed: Layers whose numbers are the library's own maps, in their places.
        wrong: Layers whose numbers are the library's, elsewhere.
    """

    layouts: dict[str, Layout]
    orders: dict[str, str] = field(default_factory=dict)
    agreements: dict[str, float] = field(default_factory=dict)
    turned: dict[str, float] = field(default_factory=dict)
    confirmed: set[str] = field(default_factory=set)
    wrong: set[str] = field(default_factory=set)
    own_maps: int = 0


def walk(library: str, model: str, image_size: int | None) -> Walk:
    """Look at every layer of a model with random weights."""
    kind = LIBRARIES[library]
    encoder = kind(model, "random", layers_of(kind, model, image_size), image_size=image_size).eval()
    found = Walk(encoder.layouts)
    tokens = {layer: tap for layer, tap in encoder.taps.items() if encoder.layouts[layer].kind == "tokens"}
    orders: dict[str, Order] = {}
    if tokens:
        witnesses = {tap: encoder.layouts[layer] for layer, tap in tokens.items()}
        for layer, told in token_orders(encoder.network, tokens, witnesses, encoder.spec.size).items():
            assert told.order is not None
            found.orders[layer], orders[layer] = told.name, told.order
    images, masks = patches(encoder.spec.size)
    with torch.no_grad():
        maps = {
            layer: on_grid(each, encoder.layouts[layer], orders.get(layer))
            for layer, each in run(encoder, images).items()
            if encoder.layouts[layer].axes
        }
        for layer, each in maps.items():
            found.agreements[layer] = agreement(each, masks)
            found.turned[layer] = agreement(each.mT, masks)
        for own in own_maps(encoder.network, images):
            found.own_maps += 1
            compare(found, maps, own)
    return found


def layers_of(kind: type[PretrainedEncoder], model: str, image_size: int | None) -> list[str]:
    """Names of all modules that can be layers."""
    with torch.device("meta"):
        network, spec = kind.build(model, None, image_size)
    outputs = [event for event in trace_model(network, spec, model).events if event.tap.side == "output"]
    count = Counter(event.tap.module for event in outputs)
    return [e.tap.module for e in outputs if e.tap.module and not tap_problem(count[e.tap.module], e)]


def run(encoder: PretrainedEncoder, pixels: Tensor) -> dict[str, Tensor]:
    """Layers of normalised images, as they are served."""
    from calcarine.encoders.capture import run_taps

    return run_taps(encoder.network, encoder.taps, pixels, lambda layer, seen: encoder.layouts[layer].serve(seen))


def patches(size: int) -> tuple[Tensor, Tensor]:
    """A grey image and one for each place of a patch of noise; masks of the patches (P, 1, size, size)."""
    masks = torch.zeros(len(PLACES), 1, size, size)
    half = max(size // 8, 1)
    for mask, (down, across) in zip(masks, PLACES, strict=True):
        row, column = int(down * size), int(across * size)
        mask[0, max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 1
    noise = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    return torch.cat([torch.zeros(1, 3, size, size), masks * (1.5 + noise)]), masks


def on_grid(served: Tensor, layout: Layout, order: Order | None) -> Tensor:
    """Maps (B, C, rows, columns) of a layer with places."""
    if layout.kind == "map":
        return served
    return served[:, order].mT.unflatten(2, layout.grid)


def agreement(maps: Tensor, masks: Tensor) -> float:
    """Correlation over the grid of where the patch was and where the maps differ from those of the grey image."""
    answers = (maps[1:] - maps[0]).norm(dim=1).flatten(1)
    if not answers.any() or answers.shape[1] == 1:
        return float("nan")
    answers = answers / answers.mean(0).clamp_min(1e-30)
    expected = F.adaptive_avg_pool2d(masks, maps.shape[-2:]).flatten(1)
    pairs = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(answers, expected, strict=True)]
    return float(torch.stack(pairs).nanmean())


def own_maps(network: Any, images: Tensor) -> list[Tensor]:
    """The library's own feature maps (B, C, rows, columns), where it has them."""
    trunk = getattr(network, "trunk", network)
    if not hasattr(trunk, "forward_intermediates"):
        return []
    options = {"coarse": False} if type(trunk).__name__ == "Hiera" else {}
    try:
        found = trunk.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True, **options)
    except TypeError:
        found = trunk.forward_intermediates(images, intermediates_only=True)
    found = found["image_intermediates"] if isinstance(found, dict) else found
    return [each for each in found if each.ndim == 4]


def compare(found: Walk, maps: dict[str, Tensor], own: Tensor) -> None:
    """Every layer that holds the numbers of one of the library's maps must hold them in its places."""
    values = own.flatten().sort().values
    tolerance = 1e-4 * float(own.std())
    for layer, each in maps.items():
        if each.numel() == own.numel() and torch.allclose(each.flatten().sort().values, values, 0, tolerance):
            same = each.shape == own.shape and torch.allclose(each, own, 0, 10 * tolerance)
            (found.confirmed if same else found.wrong).add(layer)
