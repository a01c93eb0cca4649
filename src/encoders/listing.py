"""The table that `calcarine layers` prints."""

from collections import Counter

import torch

from ..errors import InputError
from .capture import Event, did_you_mean, tap_problem
from .open_clip_encoder import OpenClipEncoder
from .pooling import pool_features
from .pretrained import EMBEDDING, PretrainedEncoder, trace_model
from .timm_encoder import TimmEncoder
from .torchvision_encoder import TorchvisionEncoder
from .vone import VOneEncoder

LIBRARIES: dict[str, type[PretrainedEncoder]] = {
    encoder.library: encoder for encoder in (TorchvisionEncoder, TimmEncoder, OpenClipEncoder, VOneEncoder)
}


def layers_table(spec: str, image_size: int | None = None) -> str:
    """Layers of a model with their shapes, from one dry forward with random weights.

    Args:
        spec: Library and model, such as "timm:resnet50".
        image_size: Input size in pixels; without, the model's own.

    Returns:
        One line per layer in the order of running, the batch axis omitted; "embedding" first where there is one.
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
    events = trace_model(network, input_spec, spec).events
    rows = [("layer", "shape", "")]
    embedding = encoder.embedding_tap(network, events)
    for event in events:
        if event.tap == embedding and event.shape:
            pooled = pool_features(torch.empty(event.shape, device="meta"), "avg")
            rows.append((EMBEDDING, _shape(tuple(pooled.shape)), "the default"))
    rows += _module_rows(events)
    names, shapes = (max(len(row[column]) for row in rows) for column in (0, 1))
    lines = [f"{name:<{names}}  {shape:<{shapes}}  {note}".rstrip() for name, shape, note in rows]
    size = input_spec.size
    return "\n".join([f"{spec}, input {size} × {size}; choose with --data.encoder.layers [NAME,…]", "", *lines])


def _module_rows(events: list[Event]) -> list[tuple[str, str, str]]:
    """Name, shape and note of every module that ran, once each."""
    outputs = {event.tap: event for event in events if event.tap.side == "output" and event.tap.module}
    count = Counter(event.tap for event in events)
    rows = []
    for tap, event in outputs.items():
        problem = tap_problem(count[tap], event)
        rows.append(
            (tap.module, "" if problem else _shape(event.shape or ()), f"no layer: {problem}" if problem else "")
        )
    return rows


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape[1:]))
