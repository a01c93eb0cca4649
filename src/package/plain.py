"""Plain types and tensors as JSON and safetensors, and back: nothing in either can run anything."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

TENSOR, SPARSE, TUPLE, NUMBER = "$tensor", "$sparse", "$tuple", "$number"
"""What JSON has no word for: a tensor's name in the other file, a sparse one, a tuple, a float that is not finite."""


def to_json(value: Any, tensors: dict[str, Tensor], name: str) -> Any:
    """A value for JSON; the tensors in it are put into a dict.

    Args:
        value: Tensors and plain types, in lists, tuples and dicts with text as keys.
        tensors: Where the tensors go, by their place in the value.
        name: The value's own.

    Raises:
        TypeError: It holds something else.
    """
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {NUMBER: str(value)}
    if isinstance(value, Tensor) and value.is_sparse:
        value = value.detach().coalesce()
        parts = {"indices": value.indices(), "values": value.values(), "size": list(value.shape)}
        return {SPARSE: to_json(parts, tensors, name)}
    if isinstance(value, Tensor):
        tensors[name] = value.detach().cpu().contiguous().clone()  # no two of a file may share memory
        return {TENSOR: name}
    if isinstance(value, (list, tuple)):
        each = [to_json(item, tensors, f"{name}/{index}") for index, item in enumerate(value)]
        return {TUPLE: each} if isinstance(value, tuple) else each
    if isinstance(value, Mapping) and all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: to_json(item, tensors, f"{name}/{key}") for key, item in value.items()}
    raise TypeError(f"{name}: expected tensors and plain types, found {type(value).__name__}")


def from_json(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Undo `to_json`.

    Raises:
        KeyError: A tensor is missing.
    """
    if isinstance(value, list):
        return [from_json(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {TENSOR}:
        return tensors[value[TENSOR]]
    if set(value) == {SPARSE}:
        parts = from_json(value[SPARSE], tensors)
        return torch.sparse_coo_tensor(parts["indices"], parts["values"], parts["size"], check_invariants=True)
    if set(value) == {TUPLE}:
        return tuple(from_json(item, tensors) for item in value[TUPLE])
    if set(value) == {NUMBER}:
        return float(value[NUMBER])
    return {key: from_json(item, tensors) for key, item in value.items()}
