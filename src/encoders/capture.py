"""Capture: read the layers of any network with forward hooks, and stop after the last.

Layers have the names of `named_modules()`: the one way that works on torchvision, timm and open_clip alike. What runs,
and whether it can be a layer, is seen in a trace beforehand (`tracing.py`).
"""

import difflib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from ..batch import Features
from ..errors import InputError

Side = Literal["input", "output"]


@dataclass(frozen=True)
class Tap:
    """Where a layer is read: what a module returns, or what it is given.

    Args:
        module: The module's name; "" is the whole network.
        side: "output", or "input".
    """

    module: str
    side: Side = "output"


class Stop(BaseException):
    """Ends a forward pass after the last tap; no `except Exception` inside a network may swallow it."""


def single_tensor(value: Any) -> Tensor | None:
    """The tensor itself, or the only one in a tuple, list or dict.

    Attention returns (tensor, None), and a block of MViT (tensor, [rows, columns]).
    """
    if isinstance(value, Tensor):
        return value
    items = [item for item in _items(value) if item is not None and not _is_grid(item)]
    return items[0] if len(items) == 1 and isinstance(items[0], Tensor) else None


def named_grid(value: Any) -> tuple[int, int] | None:
    """Rows and columns that a module returns beside its tensor, if any."""
    grids = [item for item in _items(value) if _is_grid(item)]
    return (grids[0][0], grids[0][1]) if len(grids) == 1 else None


def _items(value: Any) -> list[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    return list(value) if isinstance(value, (tuple, list)) else []


def _is_grid(item: Any) -> bool:
    return isinstance(item, (tuple, list)) and len(item) == 2 and all(type(length) is int for length in item)


def run_taps(
    network: nn.Module,
    taps: Mapping[str, Tap],
    images: Tensor,
    reduce: Callable[[str, Tensor], Tensor] = lambda layer, tensor: tensor,
) -> Features:
    """Run the network as far as the last tap and return what the taps saw.

    Args:
        network: Any module.
        taps: By layer, in the order of running.
        images: float (batch, 3, size, size).
        reduce: Applied to each layer's tensor as soon as it is there, so that large maps do not pile up.

    Raises:
        InputError: A tapped module ran twice, never, or gave no tensor.
    """
    features: Features = {}
    last = list(taps)[-1]

    def keep(layer: str) -> Callable[[Any], None]:
        def see(value: Any) -> None:
            tensor = single_tensor(value)
            if tensor is None or layer in features:
                raise InputError(f"layer '{layer}' ran twice or returned no single tensor; choose another layer")
            # An in-place activation further on would overwrite what was captured; nothing runs after the last.
            features[layer] = reduce(layer, tensor if layer == last else tensor.clone())
            if layer == last:
                raise Stop

        return see

    with ExitStack() as stack:
        for layer, tap in taps.items():
            stack.enter_context(hook(network.get_submodule(tap.module), tap.side, keep(layer)))
        with suppress(Stop):
            network(images)
    missing = [layer for layer in taps if layer not in features]
    if missing:
        raise InputError(f"layer '{missing[0]}' never ran; choose another layer")
    return features


def did_you_mean(name: str, valid: Iterable[str]) -> str:
    """The valid names nearest to a wrong one, as the next words of an error message; "" if none is near."""
    near = difflib.get_close_matches(name, list(valid), n=3, cutoff=0.5)
    return f" (did you mean {' or '.join(repr(other) for other in near)}?)" if near else ""


@contextmanager
def hook(module: nn.Module, side: Side, see: Callable[[Any], None]) -> Iterator[None]:
    """Show `see` what a module is given or returns, for as long as the context lasts."""
    if side == "output":
        handle = module.register_forward_hook(lambda _module, _args, output: see(output))
    else:
        handle = module.register_forward_pre_hook(
            lambda _module, args, kwargs: see(args[0] if args else tuple(kwargs.values())), with_kwargs=True
        )
    try:
        yield
    finally:
        handle.remove()
