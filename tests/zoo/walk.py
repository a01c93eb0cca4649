"""Walk through a model of the zoo: what every layer's axes mean, and on a sample whether it is so.

A sample of the maps and tokens is held against the library's own maps (`forward_intermediates`), number by number, and
against moved patches: where a patch of noise lies in the image, there the layer must answer.
"""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from calcarine.encoders import OpenClipEncoder, TimmEncoder, TorchvisionEncoder
from calcarine.encoders.capture import run_taps
from calcarine.encoders.layouts import Layout
from calcarine.encoders.pretrained import PretrainedEncoder, trace_model
from calcarine.encoders.token_order import tell_orders
from torch import Tensor

from .families import Member

LIBRARIES: dict[str, type[PretrainedEncoder]] = {
    each.library: each for each in (TimmEncoder, TorchvisionEncoder, OpenClipEncoder)
}
SAMPLE = 12  # maps that are run, and tokens, shallow names first: those are what the libraries' own maps are made of
PLACES = ((0.1, 0.4), (0.35, 0.9), (0.85, 0.65), (0.6, 0.15), (0.9, 0.1))  # centres of the patch, down and across
TURNED = 0.3  # by how much better a layer answers with rows and columns exchanged, if they are
LEAST_SIDE = 4  # rows from which on that is no chance


@dataclass
class Walk:
    """What was seen of a model.

    Args:
        size: Of its images, in pixels.
        layouts: By layer: every module that can be one.
        orders: How often each order of tokens was found.
        located: Sampled layers that answer where the patch is, by their correlation.
        spread: Those that answer everywhere or not at all, such as what attention makes with random weights.
        confirmed: Those that hold the numbers of one of the library's own maps, in the same places.
        wrong: What contradicts a layout, in words.
    """

    size: int
    layouts: dict[str, Layout]
    orders: Counter[str] = field(default_factory=Counter)
    located: dict[str, float] = field(default_factory=dict)
    spread: list[str] = field(default_factory=list)
    confirmed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def walk(member: Member) -> Walk:
    """Look at every layer of a model with random weights."""
    encoder = LIBRARIES[member.library]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network, spec = encoder.build(member.model, None, member.image_size)
    traced = trace_model(network, spec, member.model)
    outputs = [tap for tap in traced.until([traced.events[-1].tap]) if tap.side == "output" and tap.module]
    layouts = encoder.read_layouts(member.model, network, traced, outputs, spec.size, {})
    found = Walk(spec.size, {tap.module: layout for tap, layout in layouts.items()})
    placed = [
        layer
        for kind in ("map", "tokens")
        for layer in sample([tap.module for tap, layout in layouts.items() if layout.kind == kind])
    ]
    taps = {tap.module: tap for tap in layouts if tap.module in placed}
    tokens = {tap: layout for tap, layout in layouts.items() if layout.kind == "tokens"}
    told = tell_orders(network, tokens, spec.size) if tokens else {}
    # With random weights attention hands all that it sees to all: what is new after it has no place to tell.
    taps = {layer: tap for layer, tap in taps.items() if tap not in told or told[tap].order is not None}
    found.orders.update(told[tap].name for tap in taps.values() if tap in told)

    def on_grid(layer: str, seen: Tensor) -> Tensor:
        layout = layouts[taps[layer]]
        served = layout.serve(seen)
        return served if layout.kind == "map" else served[:, told[taps[layer]].order].mT.unflatten(2, layout.grid)

    images, masks = patches(spec.size)
    with torch.no_grad():
        maps = run_taps(network.eval(), taps, images, on_grid)
        for layer, each in maps.items():
            judge(found, layer, each, masks)
        for own in own_maps(network, images):
            compare(found, maps, own)
    return found


def sample(layers: list[str]) -> list[str]:
    """Some of the layers, in the order of running."""
    shallow = [layer for layer in layers if layer.count(".") <= 1]
    chosen = {*_evenly(shallow, SAMPLE // 2)}
    return [layer for layer in layers if layer in chosen or layer in _evenly(layers, SAMPLE - len(chosen))]


def _evenly(layers: list[str], number: int) -> list[str]:
    step = max(len(layers) / number, 1)
    return [layers[-1 - int(place * step)] for place in range(min(number, len(layers)))]


def patches(size: int) -> tuple[Tensor, Tensor]:
    """An image of noise and one for each place of a bright patch in it; masks of the patches (P, 1, size, size)."""
    masks = torch.zeros(len(PLACES), 1, size, size)
    half = max(size // 8, 1)
    for mask, (down, across) in zip(masks, PLACES, strict=True):
        row, column = int(down * size), int(across * size)
        mask[0, max(row - half, 0) : row + half, max(column - half, 0) : column + half] = 1
    noise = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(1))
    return torch.cat([noise[:1], masks * (2 + noise[1:]) + (1 - masks) * noise[:1]]), masks


def judge(found: Walk, layer: str, maps: Tensor, masks: Tensor) -> None:
    """Whether a layer answers where the patch was, and not where it would be with rows and columns exchanged."""
    upright, turned = agreement(maps, masks), agreement(maps.mT, masks)
    if turned > max(upright, 0) + TURNED and maps.shape[-1] >= LEAST_SIDE:
        found.wrong.append(f"{layer} answers in turned places ({turned:.2f}, upright {upright:.2f})")
    elif upright >= 0.3:
        found.located[layer] = upright
    else:
        found.spread.append(layer)


def agreement(maps: Tensor, masks: Tensor) -> float:
    """Correlation over the grid of where the patch was and where the maps differ from those without it."""
    answers = (maps[1:] - maps[0]).norm(dim=1).flatten(1).double()
    if answers.shape[1] == 1 or not answers.isfinite().all() or not answers.any():
        return 0.0
    answers = answers / answers.mean(0).clamp_min(1e-30)
    expected = F.adaptive_avg_pool2d(masks, maps.shape[-2:]).flatten(1).double()
    pairs = [torch.corrcoef(torch.stack(pair))[0, 1] for pair in zip(answers, expected, strict=True)]
    return float(torch.stack(pairs).nanmean().nan_to_num())


def own_maps(network: Any, images: Tensor) -> list[Tensor]:
    """The library's own feature maps (B, C, rows, columns), where it has them."""
    trunk = getattr(network, "trunk", network)
    if not hasattr(trunk, "forward_intermediates"):
        return []
    options: dict[str, Any] = {"coarse": False} if type(trunk).__name__ == "Hiera" else {}
    try:
        own = trunk.forward_intermediates(images, output_fmt="NCHW", intermediates_only=True, **options)
    except (
        TypeError,
        AttributeError,
    ):  # other arguments; or a part that was pruned away, as no layer of it was asked for
        return []
    own = own["image_intermediates"] if isinstance(own, dict) else own
    return [each for each in own if each.ndim == 4]


def compare(found: Walk, maps: dict[str, Tensor], own: Tensor) -> None:
    """A layer that holds the numbers of one of the library's maps must hold them in the same places."""
    scale = float(own.std())
    values = own.flatten().sort().values
    for layer, each in maps.items():
        if each.numel() == own.numel() and torch.allclose(each.flatten().sort().values, values, 0, 1e-4 * scale):
            if each.shape == own.shape and torch.allclose(each, own, 0, 1e-3 * scale):
                found.confirmed.append(layer)
            else:
                found.wrong.append(f"{layer} holds the library's own numbers, elsewhere")
