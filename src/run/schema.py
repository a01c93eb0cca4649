"""Makes `schema.json`: every flag and class that the real parser knows, for answers before torch is imported.

`python -m calcarine.run.schema` (`make schema`) writes it again; a test compares it with what the parser says now.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jsonargparse import ArgumentParser
from jsonargparse import Namespace as Values
from lightning.pytorch.cli import ReduceLROnPlateau
from torch import Tensor
from torch.nn import Module

from ..command_line.known import OUTSIDE, SCHEMA
from ..models import EncodingModule
from ..models.closed_form.base import ClosedFormModule
from .cli import EncodingCLI

NAMED_IN = (
    "calcarine.data", "calcarine.encoders", "calcarine.models",
    "torch.optim", "torch.optim.lr_scheduler", "torch.optim.swa_utils",
    "lightning.pytorch.callbacks", "lightning.pytorch.loggers",
)  # fmt: skip
"""Modules whose classes a user names; of two that have one, the later's path is given."""

PLAIN = {int: "int", float: "float", bool: "bool", str: "text", Path: "path", NoneType: "null"}
_HANDED = ("num_targets", "feature_shapes", "params")
"""Arguments that are filled from the data and the model, not typed."""


class _ParserAlone(EncodingCLI):
    """The command line without a run."""

    def parse_arguments(self, parser: ArgumentParser, args: Any) -> None:
        self.config = Values(seed_everything=0)

    def before_instantiate_classes(self) -> None: ...

    def instantiate_classes(self) -> None: ...


class Maker:
    """Collects what the parser knows; `content` is the schema."""

    def __init__(self) -> None:
        self.exported = dict(_exported())
        self.slots: dict[str, dict[str, str]] = {}
        self.classes: dict[str, dict[str, Any]] = {}
        self.pending: list[type] = []

    def content(self) -> dict[str, Any]:
        """Flags, slots (names of classes by their base) and classes, as plain types."""
        flags = self.flags_of(_ParserAlone([]).parser)
        while self.pending:
            self.add_class(self.pending.pop())
        made_with = {name: version(name) for name in OUTSIDE}
        slots = {name: dict(sorted(self.slots[name].items())) for name in sorted(self.slots)}
        classes = {path: self.classes[path] for path in sorted(self.classes)}
        return {"made_with": made_with, "flags": flags, "slots": slots, "classes": classes}

    def flags_of(self, parser: ArgumentParser, skip: Sequence[str] = ()) -> dict[str, Any]:
        """What one parser's flags take, by their dotted name."""
        flags = {}
        for action in parser._actions:
            name = action.dest
            typed = any(text in parser._option_string_actions for text in action.option_strings)  # linked ones are not
            hint = getattr(action, "_typehint", None) or action.type
            if typed and hint is not None and name not in skip and not name.endswith("help"):
                flags[name] = self.parameter(hint, action)
        return flags

    def parameter(self, hint: Any, action: Any) -> dict[str, Any]:
        """One flag: the kinds of its value, the classes that it takes, its default and its help."""
        kinds: dict[str, None] = {}
        choices: list[Any] = []
        entry: dict[str, Any] = {}
        for part in _members(hint):
            base = _class_of(part)
            if get_origin(part) is Literal:
                choices += get_args(part)
            elif base is not None:
                if self.slot(base):
                    entry["slot"] = base.__name__
                elif base is not Tensor:
                    kinds["any"] = None
                if _is_sequence(part):
                    kinds["list"] = None
            else:
                kinds[_kind(part)] = None
        if not kinds and not choices and "slot" not in entry:
            kinds["any"] = None
        entry = {"kinds": list(kinds), **entry}
        if choices:
            entry["choices"] = list(dict.fromkeys(map(str, choices)))
        default = self.plain(action.default)
        if action.required:
            entry["required"] = True
        elif default is not None:
            entry["default"] = default
        text = " ".join(str(action.help or "").split())
        return {**entry, "help": text} if text and not text.startswith("==SUPPRESS") else entry

    def slot(self, base: type) -> bool:
        """List the classes below a base; False where there is none that users name."""
        if base.__name__ not in self.slots:
            named = [child for child in _below(base) if child in self.exported and not inspect.isabstract(child)]
            if not named or base in (Tensor, Module):
                return False
            self.slots[base.__name__] = {child.__name__: self.exported[child] for child in named}
            self.pending += named
        return True

    def add_class(self, named: type) -> None:
        """A class that users name, with its flags; nested ones are queued."""
        parser = ArgumentParser(exit_on_error=False)
        parser.add_class_arguments(named, None, fail_untyped=False)
        about = " ".join((inspect.getdoc(named) or "").split("\n\n")[0].split())
        skip = _HANDED if issubclass(named, EncodingModule) else (*_HANDED, "optimizer")
        entry: dict[str, Any] = {"about": about, "flags": self.flags_of(parser, skip)}
        if issubclass(named, ClosedFormModule):
            entry["closed_form"] = True
        self.classes[self.exported[named]] = entry

    def plain(self, value: Any) -> Any:
        """A default as JSON; a class as the path that users write."""
        if isinstance(value, (Mapping, Values)):
            path = str(value.get("class_path", ""))
            known = {named.__name__: each for named, each in self.exported.items() if each.startswith("calcarine.")}
            return known.get(path.rpartition(".")[2], path or None)
        if isinstance(value, (list, tuple)):
            return [self.plain(item) for item in value]
        if value is None or isinstance(value, (bool, int, float, str)):
            return None if value == "==SUPPRESS==" else value
        return str(value) if isinstance(value, Path) else None


def _exported() -> Iterator[tuple[type, str]]:
    """Every class that users name, with the path that they write."""
    yield ReduceLROnPlateau, "lightning.pytorch.cli.ReduceLROnPlateau"  # Lightning's, which is told what to watch
    for module in NAMED_IN:
        content = import_module(module)
        for name in getattr(content, "__all__", dir(content)):
            each = getattr(content, name)
            if inspect.isclass(each):
                yield each, f"{module}.{name}"


def _members(hint: Any) -> list[Any]:
    """The members of a union, unions within unions too."""
    if get_origin(hint) in (Union, UnionType):
        return [part for member in get_args(hint) for part in _members(member)]
    return [hint]


def _is_callable(hint: Any) -> bool:
    return getattr(get_origin(hint), "__name__", "") == "Callable"


def _is_sequence(hint: Any) -> bool:
    return getattr(get_origin(hint), "__name__", "") in ("list", "tuple", "set", "Sequence", "Iterable")


def _class_of(hint: Any) -> type | None:
    """The base class whose subclasses may be named here; in a list of them, too."""
    if _is_callable(hint):
        made = _members(get_args(hint)[-1])[0] if get_args(hint) else None
        return made if inspect.isclass(made) and made not in PLAIN else None
    if _is_sequence(hint):
        items = [_class_of(part) for item in get_args(hint) for part in _members(item)]
        return next((item for item in items if item is not None), None)
    if not inspect.isclass(hint) or get_origin(hint) is not None or hint.__module__ in ("builtins", "datetime"):
        return None
    return None if issubclass(hint, (int, float, str, Path, Mapping)) else hint


def _kind(hint: Any) -> str:
    """A word for a plain type; "any" where nothing is known that could be checked."""
    for plain, word in PLAIN.items():
        if hint is plain:
            return word
    if inspect.isclass(hint) and get_origin(hint) is None and issubclass(hint, (int, float)):
        return "int" if issubclass(hint, int) else "float"
    name = getattr(get_origin(hint) or hint, "__name__", "")
    return "list" if _is_sequence(hint) or hint is list else {"dict": "dict", "Mapping": "dict"}.get(name, "any")


def _below(base: type) -> Iterator[type]:
    """A class and all that are derived from it, but those of tests and private ones."""
    if base.__module__.startswith("calcarine."):  # of other libraries the base is not what users name
        yield base
    for child in base.__subclasses__():
        if child.__name__[0] != "_" and child.__module__.partition(".")[0] in _HOMES:
            yield child
            yield from _below(child)


_HOMES = ("calcarine", "torch", "lightning")


def main() -> None:
    """Write the schema beside this file."""
    SCHEMA.write_text(json.dumps(Maker().content(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
