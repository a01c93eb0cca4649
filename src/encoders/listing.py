"""The table that `calcarine layers` prints."""

from collections import Counter
from collections.abc import Mapping

import torch

from ..errors import InputError
from .capture import Tap, did_you_mean
from .layouts import Layout
from .open_clip_encoder import OpenClipEncoder
from .pooling import pool_features
from .pretrained import EMBEDDING, PretrainedEncoder, trace_model
from .timm_encoder import TimmEncoder
from .torchvision_encoder import TorchvisionEncoder
from .tracing import Event, tap_problem
from .vone import VOneEncoder

LIBRARIES: dict[str, type[PretrainedEncoder]] = {
    encoder.library: encoder for encoder in (TorchvisionEncoder, TimmEncoder, OpenClipEncoder, VOneEncoder)
}


def layers_table(spec: str, image_size: int | None = None) -> str:
    """Layers of a model with what their axes mean, from dry forwards with random weights.

    Args:
        spec: Library and model, such as "timm:resnet50".
        image_size: Input size in pixels; without, the model's own.

    Returns:
        One line per layer in the order of running, such as "14 × 14 tokens + 5, 768"; "embedding" first where there
        is one.
        Modules that cannot be layers are listed with the reason.

    Raises:
        InputError: No such library or model.
    """
    library, separator, model = spec.partition(":")
    if not separator or library not in LIBRARIES:
        raise InputError(
            f"expected LIBRARY:MODEL with a library of {', '.join(LIBRARIES)}, found '{spec}'"
            f"{did_you_mean(library, LIBRARIES)}; give a name such as timm:resnet50"
        )
    encoder = LIBRARIES[library]
    encoder.check_model(model)
    with torch.random.fork_rng(devices=[]):
        network, input_spec = encoder.build(model, None, image_size)
    traced = trace_model(network, input_spec, spec)
    taps = [event.tap for event in traced.events if not tap_problem(1, event)]
    layouts = encoder.read_layouts(model, network, traced, taps, input_spec.size, {})
    rows = [("layer", "what it holds", "")]
    embedding = encoder.embedding_tap(network, traced.events)
    if embedding in layouts:
        layout = layouts[embedding]
        pooled = pool_features(torch.empty(1, *layout.shape, device="meta"), layout, "avg")
        rows.append((EMBEDDING, str(pooled.shape[1]), "the default"))
    rows += _module_rows(traced.events, layouts)
    names, shapes = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{name:<{names}}  {shape:<{shapes}}  {note}".rstrip() for name, shape, note in rows]
    size = input_spec.size
    return "\n".join([f"{spec}, input {size} × {size}; choose with --data.encoder.layers [NAME,…]", "", *lines])


def _module_rows(events: list[Event], layouts: Mapping[Tap, Layout]) -> list[tuple[str, str, str]]:
    """Name, layout and note of every module that ran, once each."""
    outputs = {event.tap: event for event in events if event.tap.side == "output" and event.tap.module}
    count = Counter(event.tap for event in events)
    rows = []
    for tap, event in outputs.items():
        problem = tap_problem(count[tap], event)
        rows.append((tap.module, "" if problem else str(layouts[tap]), f"no layer: {problem}" if problem else ""))
    return rows
