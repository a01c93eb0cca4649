"""Recipes: how an object was made, in plain types, so that a checkpoint can have it made again.

A checkpoint comes from anywhere: a recipe names classes, and only those are made that are here already and are
`Remakable`; nothing is imported for a file.
"""

import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .arguments import KeepsArguments, arguments_of, class_path
from .errors import InputError

CLASS, FACTORY, ARGUMENTS = "class_path", "factory", "init_args"


class Remakable:
    """Base of what a file may have made: encoders, models and their parts."""

    @classmethod
    def for_saved_weights(cls, arguments: dict[str, Any]) -> dict[str, Any]:
        """The arguments to make one whose weights are then loaded: without those that only say where training began."""
        return arguments


def recipe_of(value: Any, weights_saved: bool) -> Any:
    """How to make a value again, in plain types that `torch.load(weights_only=True)` admits.

    Args:
        value: A Remakable that keeps its arguments, a class of them with some of its arguments (`functools.partial`),
            a plain value, or lists and dicts of these.
        weights_saved: Whether the weights of what is made again will be loaded.

    Raises:
        TypeError: It is something else, such as a function.
    """
    if value is None:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    for plain in (bool, int, float, str):
        if isinstance(value, plain):  # a parser's own kind of int is none that a checkpoint admits
            return plain(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, (list, tuple)):
        return type(value)(recipe_of(each, weights_saved) for each in value)
    if isinstance(value, Mapping):
        return {key: recipe_of(each, weights_saved) for key, each in value.items()}
    if isinstance(value, Remakable) and isinstance(value, KeepsArguments):
        return _written(CLASS, type(value), arguments_of(value), weights_saved)
    if isinstance(value, type) and issubclass(value, Remakable):
        return _written(FACTORY, value, {}, weights_saved)
    if isinstance(value, partial):  # jsonargparse puts its own function before the class
        kinds = [each for each in (value.func, *value.args) if isinstance(each, type) and issubclass(each, Remakable)]
        if len(kinds) == 1 and (value.func, *value.args)[-1] is kinds[0]:
            return _written(FACTORY, kinds[0], value.keywords, weights_saved)
    raise TypeError(f"expected plain values and classes with their arguments, found {value!r}")


def make(recipe: Any) -> Any:
    """Make what a recipe says.

    Raises:
        InputError: It names a class that is not here or that no file may have made, or arguments that are not its own.
    """
    if isinstance(recipe, (list, tuple)):
        return type(recipe)(make(each) for each in recipe)
    if not isinstance(recipe, Mapping):
        return recipe
    if set(recipe) not in ({CLASS, ARGUMENTS}, {FACTORY, ARGUMENTS}):
        return {key: make(each) for key, each in recipe.items()}
    arguments = {str(name): make(each) for name, each in recipe[ARGUMENTS].items()}
    kind = find_class(str(recipe.get(CLASS, recipe.get(FACTORY))))
    if FACTORY in recipe:
        return partial(kind, **arguments)
    try:
        return kind(**arguments)
    except TypeError as error:
        raise InputError(f"{kind.__name__}: its arguments are others in this version ({error})") from error


def find_class(path: str) -> type[Remakable]:
    """The class of a path; nothing is imported for a file.

    Raises:
        InputError: It is not here, or no file may have it made.
    """
    module, _, name = path.rpartition(".")
    found = vars(sys.modules[module]).get(name) if module in sys.modules else None  # no lazy import either
    if found is None:
        raise InputError(f"{path}: expected a class that is here, found none; import {module or 'its module'} first")
    if not (isinstance(found, type) and issubclass(found, Remakable)):
        raise InputError(f"{path}: refused, because a file may have encoders and parts of models made, and no others")
    return found


def _written(key: str, kind: type[Remakable], arguments: Mapping[str, Any], weights_saved: bool) -> dict[str, Any]:
    given = kind.for_saved_weights(dict(arguments)) if weights_saved else arguments
    return {key: class_path(kind), ARGUMENTS: {name: recipe_of(each, weights_saved) for name, each in given.items()}}
