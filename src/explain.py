"""One line out of a parser's message: the flag, what was expected, what was found, and the nearest valid name."""

import inspect
import re
from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from jsonargparse import ArgumentParser
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from .data import Reduction, Source
from .encoders import Encoder
from .models import EncodingModule, Head, Loss

INJECTED = (Source, Encoder, Reduction, EncodingModule, Head, Loss, Optimizer, LRScheduler)
"""Classes whose subclasses a user names on the command line."""

UNKNOWN_OPTION = re.compile(r"[Oo]ption '([^']+)' is not accepted|not accept option '([^']+)'|arguments: --([\w.]+)")
UNKNOWN_CLASS = re.compile(r"Expected a dot import path string: (\w+)$", re.MULTILINE)
MISSING = re.compile(r"the following arguments are required: (.+)")
EXPECTED = re.compile(r"Expected a <class '([\w.]+)'>|Expected (?!a path|a dot import|a <class)(.+?)(?:\. Got|$)", re.M)
VALUE = re.compile(r"(?:Got value|Given value|val)[:=] ?'?([^'\n]+?)'?\)*$", re.MULTILINE)


def explain(message: str, parser: ArgumentParser, argv: Sequence[str]) -> str:
    """Rewrite a parser's message as one line for people.

    Args:
        message: What jsonargparse said.
        parser: The parser that said it, for its valid flags.
        argv: What the user typed.
    """
    flag = _flag(message, argv)
    if found := UNKNOWN_OPTION.search(message):
        option = next(group for group in found.groups() if group)
        name = f"{flag}.{option}" if flag and not option.startswith(flag) else option
        return f"--{name.lstrip('-')}: no such option{_nearest(option, _options(parser))}"
    if found := MISSING.search(message):
        missing = " and ".join(f"--{flag}.{name.strip()}" for name in found[1].split(","))
        return f"{missing}: required, and not given"
    classes = _classes()
    if (found := UNKNOWN_CLASS.search(message)) and not _primitive(message):
        return f"--{flag}: no class is called {found[1]}{_nearest(found[1], classes)}"
    if (expected := _primitive(message)) and (value := VALUE.findall(message)):
        return f"--{flag}: expected {expected}, found {value[-1]!r}"
    return " ".join(message.split())[:300]


def _flag(message: str, argv: Sequence[str]) -> str:
    """The dotted flag that a message is about: its nested keys, completed by the longest flag typed below them."""
    if nested := re.search(r"NestedArg\(key='([\w.]+)'", message):
        first = re.search(r'Parser key "([\w.]+)"', message)
        return f"{first[1]}.{nested[1]}" if first else nested[1]
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    return ".".join(keys) or next((group[1] for group in re.finditer(r"Group '([\w.]+)'", message)), "")


def _primitive(message: str) -> str:
    names = [first or second for first, second in EXPECTED.findall(message)]
    return next((name for name in names if name not in ("NoneType", "torch.Tensor")), "")


def _nearest(name: str, valid: Iterable[str]) -> str:
    last = name.rsplit(".", 1)[-1]
    by_last: dict[str, str] = {}
    for candidate in valid:
        by_last.setdefault(candidate.rsplit(".", 1)[-1], candidate)
    near = get_close_matches(last, by_last, n=1, cutoff=0.5)
    return f"; did you mean {by_last[near[0]]}?" if near else f"; valid: {', '.join(sorted(by_last)[:12])}"


def _classes() -> list[str]:
    def below(base: type) -> Iterable[type]:
        for child in base.__subclasses__():
            yield child
            yield from below(child)

    return sorted({child.__name__ for base in INJECTED for child in (base, *below(base)) if child.__name__[0] != "_"})


def _options(parser: ArgumentParser) -> list[str]:
    """Every flag of the parser, and every argument of a class that can be injected."""
    flags = [option.removeprefix("--") for option in parser._option_string_actions if option.startswith("--")]
    return flags
