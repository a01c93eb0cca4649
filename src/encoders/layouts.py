"""Layouts: what each axis of a layer means, read off how it changes with the image's height and width.

Libraries hold maps as (C, H, W) or (H, W, C), tokens with or without class tokens, windows, attention matrices, and
nothing in one shape tells them apart: 96 × 96 × 96 is all of these. A second trace does, at twice the height and
three times the width: rows double, columns triple, tokens become six times as many, and channels stay.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from math import isqrt, prod
from typing import Literal

import torch
from torch import Tensor, nn

from .capture import Tap
from .tracing import Trace, output_shapes

TALLER, WIDER = 2, 3  # of the second trace; a multiple, so that patches and windows still fit
IMAGES = 3  # in the second trace, so that the batch axis is told as well
MAX_PREFIX_TOKENS = 8  # class, distillation and register tokens beside the patches
MOST_LOST = 6  # rows at the edges of a map; 3 are lost before Inception's first block
FIXED = (nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)  # make maps whose size is not the image's, by torch's own word


@dataclass(frozen=True)
class Layout:
    """What the axes of a layer mean.

    Args:
        kind: "map": rows, columns and channels; "tokens": one row of channels for each patch of the image, and perhaps
            for a class; "vector": one axis; "flat": anything else, without a place in the image.
        axes: The captured tensor's axes, the batch left out, in the order in which they are served: of a map channels,
            rows, columns; of tokens tokens, channels. Empty for the others, which are served as one row.
        shape: As it is served.
        grid: Rows and columns of a map or of the tokens; without place (0, 0).
        captured: Shape as the network has it.
    """

    kind: Literal["map", "tokens", "vector", "flat"]
    axes: tuple[int, ...]
    shape: tuple[int, ...]
    grid: tuple[int, int] = (0, 0)
    captured: tuple[int, ...] = ()

    @property
    def prefix(self) -> int:
        """Tokens that are no patches."""
        return self.shape[0] - prod(self.grid) if self.kind == "tokens" else 0

    def serve(self, features: Tensor) -> Tensor:
        """A captured layer (batch, …) as (batch, *shape)."""
        if not self.axes:
            return features.flatten(1)
        return features.permute(0, *(axis + 1 for axis in self.axes)).contiguous()

    def __str__(self) -> str:
        rows, columns = self.grid
        if self.kind == "map":
            return f"{rows} × {columns} map, {self.shape[0]} channels"
        if self.kind == "tokens":
            return f"{rows} × {columns} tokens{f' + {self.prefix}' * (self.prefix > 0)}, {self.shape[1]}"
        return str(self.shape[0]) if self.kind == "vector" else f"{' × '.join(map(str, self.captured))}, flat"


def read_layouts(
    network: nn.Module, traced: Trace, taps: Collection[Tap], size: int, of_size: Callable[[int], nn.Module]
) -> dict[Tap, Layout]:
    """The layout of each tap that has one row per image.

    Args:
        network: As it was traced.
        traced: Its trace, on images of `size`.
        taps: Where to look.
        size: Height and width in pixels.
        of_size: Makes the same network for another size, for one that takes a single size.
    """
    seen = {event.tap: event for event in traced.events if event.tap in set(taps)}
    larger = output_shapes(traced.ran, taps, (IMAGES, 3, TALLER * size, WIDER * size))
    square: dict[Tap, tuple[int, ...]] = {}
    # A network that brings all images to its own size shows nothing of places either.
    missing = [tap for tap, event in seen.items() if not _tells(event.shape, larger.get(tap))]
    if missing:
        with suppress(Exception), torch.device("meta"):  # a network that can be made for one size only
            square = output_shapes(of_size(TALLER * size).eval(), missing, (IMAGES, 3, TALLER * size, TALLER * size))
    found: dict[Tap, Layout] = {}
    for tap, event in seen.items():
        shape = (event.shape or ())[1:]
        growth = (TALLER, WIDER) if tap not in square else (TALLER, TALLER)
        after = square.get(tap) or larger.get(tap)
        layout = None
        if after is not None and len(after) == len(shape) + 1 and after[0] == IMAGES:
            layout = layout_of(shape, after[1:], growth, event.grid)
        if layout is None and len(shape) == 3 and shape[1] == shape[2] > 1:
            module = network.get_submodule(tap.module)
            if tap.side == "output" and isinstance(module, FIXED):
                layout = _map(shape, (0, 1, 2))
        found[tap] = layout or _placeless(shape)
    return found


def _tells(shape: tuple[int, ...] | None, larger: tuple[int, ...] | None) -> bool:
    """Whether a larger image has shown what can be shown: an axis that grows, or no axes to be told apart."""
    return shape is not None and larger is not None and (shape[1:] != larger[1:] or _single(shape[1:]))


def _single(shape: tuple[int, ...]) -> bool:
    return sum(length != 1 for length in shape) <= 1


def layout_of(
    shape: tuple[int, ...], larger: tuple[int, ...], growth: tuple[int, int], grid: tuple[int, int] | None = None
) -> Layout | None:
    """The layout of a layer whose shapes on two images are known; None where they tell of no place.

    Args:
        shape: On a square image, without the batch.
        larger: On an image so many times as high and as wide.
        growth: How many times: rows, columns.
        grid: Rows and columns of its tokens, where the module itself names them.
    """
    changed = [axis for axis, (before, after) in enumerate(zip(shape, larger, strict=True)) if before != after]
    if len(shape) == 3 and len(changed) == 2 and shape[changed[0]] == shape[changed[1]]:
        (channels,) = {0, 1, 2}.difference(changed)
        rows, columns = changed
        if growth[0] != growth[1] and larger[rows] > larger[columns]:
            rows, columns = columns, rows
        if _grow(shape[rows], (larger[rows], larger[columns]), growth):
            return _map(shape, (channels, rows, columns))
    if len(shape) == 2 and len(changed) == 1:
        (tokens,) = changed
        found = grid or _token_grid(shape[tokens], larger[tokens], prod(growth))
        if found and 0 <= shape[tokens] - prod(found) <= MAX_PREFIX_TOKENS:
            axes = (tokens, 1 - tokens)
            return Layout("tokens", axes, (shape[tokens], shape[1 - tokens]), found, shape)
    return None


def _grow(side: int, larger: tuple[int, int], growth: tuple[int, int]) -> bool:
    """Whether rows and columns grow as those of a map do, and not as an attention matrix.

    Convolutions without padding lose as many rows of a large map as of a small one.
    """
    lost = [(after - times * side) / (times - 1) for after, times in zip(larger, growth, strict=True)]
    told_apart = growth[0] == growth[1] or larger[0] < larger[1]
    return told_apart and max(lost) - min(lost) <= 2 and min(lost) >= -2 and max(lost) <= MOST_LOST


def _token_grid(before: int, after: int, times: int) -> tuple[int, int] | None:
    """Rows and columns of tokens that become so many times as many, but for those that are no patches."""
    patches, rest = divmod(after - before, times - 1)
    side = isqrt(max(patches, 0))
    return (side, side) if not rest and side > 0 and side**2 == patches else None


def _map(shape: tuple[int, ...], axes: tuple[int, ...]) -> Layout:
    channels, rows, columns = (shape[axis] for axis in axes)
    return Layout("map", axes, (channels, rows, columns), (rows, columns), shape)


def _placeless(shape: tuple[int, ...]) -> Layout:
    return Layout("vector" if _single(shape) else "flat", (), (prod(shape),), captured=shape)
