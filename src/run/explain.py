"""One line out of a parser's message: the flag, what was expected, what was found, and the nearest valid name."""

import inspect
import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module

from jsonargparse import ArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ..data import Reduction, Source
from ..encoders import Encoder
from ..models import EncodingModule, Finetuning, Head, Loss, Regression, Trunk

INJECTED = (
    Source, Encoder, Reduction, EncodingModule, Head, Trunk, Loss, Finetuning, Regression, Optimizer, LRScheduler,
)  # fmt: skip
"""Classes whose subclasses a user names on the command line."""

_LINKED = ("num_targets", "feature_shapes")  # filled from the data, not by users
_UNKNOWN = re.compile(r"Option '([\w.]+)' is not accepted|accept option '([\w.]+)'|unrecognized arguments: -*([\w.]+)")
_OWNER = re.compile(r"given class_path '([\w.]+)'|Got value: Namespace\([^\n]*?class_path='([\w.]+)'")
_ABSTRACT = re.compile(
    r"Parser key \"([\w.]+)\":(?:(?!Parser key)[\s\S])*Expected an instantiatable class, but [\w.]+ is abstract"
)
_CLASS = re.compile(r"Expected a dot import path string: ([\w.]*\w)(?:\. Got value|$)", re.MULTILINE)
_REQUIRED = re.compile(r"the following arguments are required: (.+?)(?:\. Got value|$)", re.MULTILINE)
_EXPECTED = re.compile(r"Expected a <class '([\w.]+)'>")
_WORDS = re.compile(r"Expected a typing\.Literal\[(.+?)\](?:\. Got|$)", re.MULTILINE)
_RESTRICTION = re.compile(r"Not of type \w+: (\S+) does not conform to restriction v(.+)")
_VALUES = re.compile(r"(?:Got value|Given value|val)[:=] ?'?([^'\n]+?)'?\)*$", re.MULTILINE)


def explain(message: str, parser: ArgumentParser) -> str:
    """Rewrite a parser's message as one line for people.

    Args:
        message: What jsonargparse said.
        parser: The parser that said it, for its valid flags.
    """
    flag = _flag(message)
    if found := _ABSTRACT.search(message):
        name = found[1] if "." in found[1] else f"{flag.split('.')[0]}.{found[1]}"
        return f"--{name}: name its class before its own options"
    if found := _UNKNOWN.search(message):
        return _unknown_option(message, flag, next(filter(None, found.groups())), parser)
    if found := _REQUIRED.search(message):
        return f"{' and '.join(f'--{flag}.{name.strip()}' for name in found[1].split(','))}: required, and not given"
    if found := _RESTRICTION.search(message):
        return f"--{flag}: expected a number {found[2]}, found {found[1]!r}"
    expected = _WORDS.findall(message)
    expected = expected or [name for name in _EXPECTED.findall(message) if name not in ("NoneType", "torch.Tensor")]
    values = _VALUES.findall(message)
    if expected and values:
        return f"--{flag}: expected {' or '.join(dict.fromkeys(expected))}, found {values[-1]!r}"
    if found := _CLASS.search(message):
        return f"--{flag}: no class is called {found[1]}{_nearest(found[1], _classes())}"
    return (f"--{flag}: " if flag else "") + " ".join(message.rpartition('":')[2].split())[:300]


def _flag(message: str) -> str:
    """The dotted flag that a message is about."""
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    if nested := re.findall(r"NestedArg\(key='([\w.]+)'", message):
        return f"{keys[0]}.{max(nested, key=len)}"  # the others are parts of it
    return ".".join(keys) or "".join(re.findall(r"Group '([\w.]+)'", message))


def _unknown_option(message: str, flag: str, option: str, parser: ArgumentParser) -> str:
    """An option that nothing takes: valid are its owner's arguments, or the parser's own flags."""
    name = flag if flag.endswith(option) else f"{flag}.{option}".strip(".")
    group = name.rpartition(".")[0]
    owners = [first or second for first, second in _OWNER.findall(message)]
    if owners:
        module, _, class_name = owners[-1].rpartition(".")
        signature = inspect.signature(getattr(import_module(module), class_name))
        arguments = [argument for argument in signature.parameters if argument not in _LINKED]
        return f"--{name}: no such option{_nearest(option, arguments, f'--{group}.')}"
    flags = [text for text in parser._option_string_actions if text.startswith("--")]
    siblings = [text.rpartition(".")[2] for text in flags if text.rpartition(".")[0] == f"--{group}"]
    if siblings:
        return f"--{name}: no such option{_nearest(name.rpartition('.')[2], siblings, f'--{group}.')}"
    return f"--{name}: no such option{_nearest(f'--{name}', flags)}"


def _nearest(name: str, valid: list[str], prefix: str = "") -> str:
    near = get_close_matches(name, valid, n=1)
    if near:
        return f"; did you mean {prefix}{near[0]}?"
    return f"; expected one of {', '.join(prefix + text for text in valid[:12])}" if valid else ", it takes none"


def _classes() -> list[str]:
    """Names of the classes that can be injected."""

    def below(base: type) -> Iterable[type]:
        for child in base.__subclasses__():
            yield child
            yield from below(child)

    found = {child for base in INJECTED for child in (base, *below(base))}
    return sorted(child.__name__ for child in found if not inspect.isabstract(child) and child.__name__[0] != "_")
