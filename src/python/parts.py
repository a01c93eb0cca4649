"""From objects made in Python to the values that a config has in their place."""

import functools
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from ..arguments import KeepsArguments, arguments_of, class_path
from ..errors import InputError
from ..models import EncodingModule, Head, Trunk

log = logging.getLogger(__name__)


def as_config(value: object, flag: str) -> Any:
    """What stands in a config for a value given in Python.

    Args:
        value: A plain value; an array; a source, an encoder or another part; a class, or a `functools.partial` of one,
            for what is made when the data are known; or containers of these.
        flag: Where it belongs, for messages.

    Returns:
        Plain JSON types. A part becomes `{class_path, init_args}`, so that a run makes its own from the same
        arguments.

    Raises:
        InputError: A config cannot say it.
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, np.ndarray | np.generic | Tensor):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(key): as_config(each, f"{flag}.{key}") for key, each in value.items()}
    if isinstance(value, list | tuple | range | set | frozenset):
        return [as_config(each, flag) for each in value]
    if isinstance(value, type):
        return _part(value, {}, flag)
    if isinstance(value, functools.partial) and isinstance(value.func, type):
        if value.args:
            raise InputError(f"{flag}: expected partial({value.func.__name__}, NAME=…), found arguments without names")
        return _part(value.func, value.keywords, flag)
    if isinstance(value, KeepsArguments) and not isinstance(value, EncodingModule | Head | Trunk):
        return _part(type(value), arguments_of(value), flag)
    name = type(value).__name__
    if isinstance(value, nn.Module):
        raise InputError(
            f"{flag}: expected the class {name}, or partial({name}, …) with its options, because it is made when the "
            "data are known; found one that is made already"
        )
    raise InputError(f"{flag}: expected what a config can say, found {value!r}; give a class or partial(CLASS, …)")


def _part(made: type, arguments: Mapping[str, Any], flag: str) -> dict[str, Any]:
    if "<locals>" in made.__qualname__:
        raise InputError(f"{flag}: {made.__qualname__} stands in a function, where no config finds it; move it out")
    if made.__module__ == "__main__":
        log.warning("%s %s: config.yaml repeats this run only where the class can be imported", flag, made.__name__)
    return {
        "class_path": class_path(made),
        "init_args": {name: as_config(each, f"{flag}.{name}") for name, each in arguments.items()},
    }
