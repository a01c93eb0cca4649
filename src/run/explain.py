"""One line out of the real parser's message, about what the schema had to leave to it: a user's own classes, lists.

The texts are those of the jsonargparse that `pyproject.toml` bounds; `tests/run` holds each against the real command.
"""

import inspect
import re
from difflib import get_close_matches
from importlib import import_module

from ..command_line.known import schema
from ..command_line.meant import no_such_class

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


def explain(message: str) -> str:
    """Rewrite what jsonargparse said as one line for people."""
    flag = _flag(message)
    if found := _ABSTRACT.search(message):
        name = found[1] if "." in found[1] else f"{flag.split('.')[0]}.{found[1]}"
        return f"--{name}: name its class before its own options"
    if found := _UNKNOWN.search(message):
        return _unknown_option(message, flag, next(filter(None, found.groups())))
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
        everywhere = sorted({name for slot in schema()["slots"].values() for name in slot})
        return f"--{flag}: {no_such_class(flag, found[1], everywhere)}"
    return (f"--{flag}: " if flag else "") + " ".join(message.rpartition('":')[2].split())[:300]


def _flag(message: str) -> str:
    """The dotted flag that a message is about."""
    keys = re.findall(r'Parser key "([\w.]+)"', message)
    if nested := re.findall(r"NestedArg\(key='([\w.]+)'", message):
        return f"{keys[0]}.{max(nested, key=len)}"  # the others are parts of it
    return ".".join(keys) or "".join(re.findall(r"Group '([\w.]+)'", message))


def _unknown_option(message: str, flag: str, option: str) -> str:
    """An option that nothing takes: valid are its owner's arguments."""
    name = flag if flag.endswith(option) else f"{flag}.{option}".strip(".")
    owners = [first or second for first, second in _OWNER.findall(message)]
    if not owners:
        return f"--{name}: no such option"
    module, _, class_name = owners[-1].rpartition(".")
    signature = inspect.signature(getattr(import_module(module), class_name))
    arguments = [argument for argument in signature.parameters if argument not in _LINKED]
    group = f"--{name.rpartition('.')[0]}."
    if near := get_close_matches(option.rpartition(".")[2], arguments, n=1):
        return f"--{name}: no such option; did you mean {group}{near[0]}?"
    expected = ", ".join(group + argument for argument in arguments[:12])
    return f"--{name}: no such option{f'; expected one of {expected}' if expected else ', it takes none'}"
