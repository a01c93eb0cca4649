"""What an object was made with, so that a config can say how to make it again."""

import functools
import inspect
import sys
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

P = ParamSpec("P")
_KEPT = "_made_with"


class KeepsArguments:
    """Base of the parts that a config names: each keeps the arguments of its construction.

    A constructor's signature is the config's schema; this is the way back, from an object made in Python to the lines
    of a config that make it again.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "__init__" in vars(cls):
            setattr(cls, "__init__", _keeping(cls.__init__))  # noqa: B010 assigned directly, it has another type


def arguments_of(made: KeepsArguments) -> dict[str, Any]:
    """The arguments that an object was made with, by name; those left to their defaults are left out."""
    positional, named = vars(made).get(_KEPT, ((), {}))
    bound = inspect.signature(type(made)).bind(*positional, **named)
    arguments = dict(bound.arguments)
    for name, parameter in bound.signature.parameters.items():
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            arguments |= arguments.pop(name, {})
    return arguments


def class_path(named: type) -> str:
    """The shortest path by which a class is imported, as configs have it: `calcarine.data.Folder`."""
    parts = named.__module__.split(".")
    for length in range(1, len(parts)):
        module = ".".join(parts[:length])
        if vars(sys.modules[module]).get(named.__name__) is named:
            return f"{module}.{named.__name__}"
    return f"{named.__module__}.{named.__qualname__}"


def _keeping(init: Callable[Concatenate[Any, P], None]) -> Callable[Concatenate[Any, P], None]:
    @functools.wraps(init)
    def keeping(self: object, *args: P.args, **named: P.kwargs) -> None:
        vars(self).setdefault(_KEPT, (args, named))  # the outermost of a chain of constructors has the user's
        init(self, *args, **named)

    return keeping
