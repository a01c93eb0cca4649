"""Tracing: one pass through a network shows what runs, how often, in which order, and with which shapes.

`resolve` turns the asked layers into taps, `prune` removes what the taps do not need, and `run_taps` is the forward
pass from then on.
"""

import copy
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node, saved_tensors_hooks

from ..errors import InputError
from .capture import Stop, Tap, did_you_mean, hook, named_grid, single_tensor

BATCH = 2  # images in a trace: enough to tell rows of images from rows of windows or tokens


@dataclass(frozen=True)
class Event:
    """A tensor seen in a trace, in the order of running.

    Args:
        tap: Where it was seen.
        shape: Its shape, or None where the module has no single tensor there.
        found: What was there instead, for the error message.
        node: The autograd node that made the tensor.
        grid: Rows and columns of the tokens, where the module names them beside the tensor.
    """

    tap: Tap
    shape: tuple[int, ...] | None
    found: str
    node: Node | None
    grid: tuple[int, int] | None = None


@dataclass(frozen=True)
class Trace:
    """What one pass through a network showed.

    Args:
        events: In the order of running.
        parameters: Name of each parameter by the identity of the tensor that ran.
        ran: The network that ran: a shadow, where that is enough.
    """

    events: list[Event]
    parameters: dict[int, str]
    ran: nn.Module

    def until(self, taps: Collection[Tap]) -> list[Tap]:
        """All taps that can be read, in the order of running, as far as the last of these."""
        count = Counter(event.tap for event in self.events)
        last = max(index for index, event in enumerate(self.events) if event.tap in taps)
        return [event.tap for event in self.events[: last + 1] if not tap_problem(count[event.tap], event)]


def trace(network: nn.Module, images: Tensor) -> Trace:
    """Run the whole network once and record what every module was given and what it returned.

    A shadow of the network runs, whose tensors have shapes but no content: SAM at 1,024 pixels takes no time and no
    memory. A network that looks at its numbers cannot run so, and runs as it is.

    Args:
        network: In evaluation mode.
        images: float (BATCH, 3, size, size); two images, so that shapes tell which axis is the batch.
    """
    try:
        return _trace(_shadow(network), images.to("meta"))
    except Exception:  # whatever an operation without a shadow raises; a true fault is raised again here
        return _trace(network, images)


def _shadow(network: nn.Module) -> nn.Module:
    """A copy of a network with all its parameters trainable, all tensors on the meta device."""
    tensors: dict[int, Any] = {id(buffer): buffer.to("meta") for buffer in network.buffers()}
    for parameter in network.parameters():
        tensors[id(parameter)] = nn.Parameter(parameter.detach().to("meta"), parameter.is_floating_point())
    return copy.deepcopy(network, tensors)


def _trace(network: nn.Module, images: Tensor) -> Trace:
    events: list[Event] = []

    def record(tap: Tap) -> Callable[[Any], None]:
        def see(value: Any) -> None:
            tensor = single_tensor(value)
            shape = None if tensor is None else tuple(tensor.shape)
            node = None if tensor is None else tensor.grad_fn
            events.append(Event(tap, shape, type(value).__name__, node, named_grid(value)))

        return see

    frozen = [parameter for parameter in network.parameters() if not parameter.requires_grad]
    with ExitStack() as stack:
        for parameter in frozen:
            if parameter.is_floating_point():
                parameter.requires_grad_(True)
                stack.callback(parameter.requires_grad_, False)
        for name, module in network.named_modules():
            stack.enter_context(hook(module, "input", record(Tap(name, "input"))))
            stack.enter_context(hook(module, "output", record(Tap(name, "output"))))
        # The graph is walked, never differentiated: nothing needs saving, so memory stays that of inference.
        stack.enter_context(saved_tensors_hooks(lambda _: None, lambda _: torch.empty(0)))
        stack.enter_context(torch.enable_grad())
        network(images)
    return Trace(events, {id(parameter): name for name, parameter in network.named_parameters()}, network)


@torch.no_grad()
def output_shapes(network: nn.Module, taps: Collection[Tap], images: Sequence[int]) -> dict[Tap, tuple[int, ...]]:
    """What shapes the taps have on images of another size, as far as the network runs on them.

    Args:
        network: In evaluation mode.
        taps: Where to look.
        images: Shape of the images, (batch, 3, height, width).
    """
    shapes: dict[Tap, tuple[int, ...]] = {}

    def record(tap: Tap) -> Callable[[Any], None]:
        def see(value: Any) -> None:
            tensor = single_tensor(value)
            if tensor is not None:
                shapes[tap] = tuple(tensor.shape)
            if len(shapes) == len(taps):
                raise Stop

        return see

    device = next((tensor.device for tensor in network.state_dict().values()), None)
    with ExitStack() as stack:
        for tap in taps:
            stack.enter_context(hook(network.get_submodule(tap.module), tap.side, record(tap)))
        with suppress(Stop, Exception):  # whatever a network raises on a size that it cannot take
            network(torch.zeros(*images, device=device))
    return shapes


def resolve(
    network: nn.Module, events: Sequence[Event], layers: Sequence[str], named_taps: Mapping[str, Tap], what: str
) -> dict[str, Tap]:
    """Find where each asked layer is read.

    Args:
        network: The traced network.
        events: Its trace.
        layers: Module names, or keys of `named_taps`.
        named_taps: Layers with a name of our own, such as "embedding".
        what: The model as errors name it, such as "timm:resnet50".

    Returns:
        Taps by layer, in the order of running.

    Raises:
        InputError: No such layer; it never runs, runs more than once, or does not give one row per image.
    """
    modules = [name for name, _ in network.named_modules() if name]
    position = {event.tap: index for index, event in enumerate(events)}
    count = Counter(event.tap for event in events)
    taps: dict[str, Tap] = {}
    for layer in layers:
        tap = named_taps.get(layer, Tap(layer))
        if layer not in named_taps and layer not in modules:
            raise InputError(
                f"{what} has no layer '{layer}'{did_you_mean(layer, [*named_taps, *modules])}; "
                f"`calcarine layers {what}` lists them"
            )
        problem = tap_problem(count[tap], events[position[tap]] if tap in position else None)
        if problem:
            raise InputError(f"{what}: layer '{layer}' {problem}; choose another from `calcarine layers {what}`")
        taps[layer] = tap
    return dict(sorted(taps.items(), key=lambda item: position[item[1]]))


def tap_problem(count: int, event: Event | None) -> str:
    """Why a module cannot be a layer, or "" if it can."""
    if event is None:
        return "never runs"
    if count > 1:
        return f"runs {count} times in one pass, so that its output is ambiguous"
    if event.shape is None:
        return f"returns a {event.found}, not one tensor"
    if len(event.shape) < 2 or event.shape[0] != BATCH:
        return f"does not give one row per image (shape {event.shape} for {BATCH} images)"
    return ""


def prune(network: nn.Module, traced: Trace, taps: Mapping[str, Tap]) -> list[str]:
    """Replace the modules that the taps do not need by identities, and freeze parameters left without gradient.

    A classifier that never runs would cost memory, change the fingerprint, demand matching checkpoints and stall
    DDP, which waits for a gradient of every trainable parameter.

    Returns:
        Names of the replaced modules.
    """
    wanted = set(taps.values())
    last = max(index for index, event in enumerate(traced.events) if event.tap in wanted)
    entered = {event.tap.module for event in traced.events[:last] if event.tap.side == "input"}
    # Attention uses `out_proj.weight` without calling `out_proj`: only the graph shows such a use.
    leaves = _leaves_behind(event.node for event in traced.events if event.tap in wanted)
    reached = {name for identity, name in traced.parameters.items() if identity in leaves}
    removed: list[str] = []
    for name, module in list(network.named_modules()):
        if not name or any(name.startswith(f"{parent}.") for parent in removed) or not module.state_dict():
            continue
        runs = any(child == name or child.startswith(f"{name}.") for child in entered)
        if not runs and not any(own in reached for own, _ in module.named_parameters(name)):
            parent, _, child = name.rpartition(".")
            setattr(network.get_submodule(parent), child, nn.Identity())
            removed.append(name)
    for name, parameter in network.named_parameters():
        if name not in reached:
            parameter.requires_grad_(False)
    return removed


def _leaves_behind(nodes: Iterable[Node | None]) -> set[int]:
    """Identities of the tensors whose gradients these nodes make."""
    waiting = [node for node in nodes if node is not None]
    seen = set(waiting)
    found: set[int] = set()
    while waiting:
        node = waiting.pop()
        if hasattr(node, "variable"):  # AccumulateGrad: the graph's leaf
            found.add(id(node.variable))  # type: ignore[attr-defined]
        for earlier, _ in node.next_functions:
            if earlier is not None and earlier not in seen:
                seen.add(earlier)
                waiting.append(earlier)
    return found
