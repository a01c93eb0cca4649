"""What was typed, held against the schema that the package carries: a typo is answered before torch is imported.

Whatever the schema does not know (a user's own classes, lists, values in braces) is left to the real parser.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..where import DEFAULT_CONFIG
from .known import Parameter, same_libraries, schema
from .meant import did_you_mean, no_such_class, no_such_flag
from .renamed import current_names
from .slots import Slots
from .words import BARE, config_of, existing_config, pairs

_GROUPS = ("--data", "--trainer", "--early_stopping", "--checkpoint")
_NULL = ("null", "~", "none")
_BOOLEANS = ("true", "false", "yes", "no", "on", "off")
_WORDS = {"bool": "true or false", "list": "a list such as [1,10]"}


def check(args: Sequence[str], own: Sequence[str] = (), program: str = "train.py") -> None:
    """Refuse what no run can take, in the order in which it was typed.

    Args:
        args: Flags as typed.
        own: Flags of the command itself beside those of a run, such as "--trials".
        program: The command's name.

    Raises:
        InputError: A flag, a class or a value is wrong; the line names the nearest that is right.
    """
    if any(flag in ("-h", "--help") or flag.endswith(".help") for flag in args):
        return
    settled(args, own, program)


def settled(args: Sequence[str], own: Sequence[str] = (), program: str = "train.py") -> Typed:
    """The classes that stand after all that was typed; arguments and errors as of `check`."""
    typed = Typed(own=own)
    typed.read_config(DEFAULT_CONFIG)
    for flag, value in pairs(args, program):
        if flag in ("-c", "--config"):
            typed.read_config(existing_config(value))
        elif flag not in BARE:
            typed.check(flag, value)
    return typed


@dataclass
class Typed(Slots):
    """What stands so far: which class each slot has, in the order of configs and flags.

    Args:
        own: Flags of the command itself beside those of a run.
    """

    own: Sequence[str] = ()

    def read_config(self, path: Path) -> None:
        """Check a config's names and values as if they were typed, where it is a file.

        Raises:
            InputError: It is no YAML, or something in it is wrong; the line names the file.
        """
        if not path.is_file():  # a config in the flag itself
            return
        content = config_of(path)
        try:
            for name, value in content.items():
                self._read(str(name), value)
        except InputError as error:
            raise error if path == DEFAULT_CONFIG else InputError(f"--config {path}: {error}") from error

    def _read(self, name: str, value: Any) -> None:
        if isinstance(value, Mapping):
            if "class_path" in value:
                self.check(f"--{name}", str(value["class_path"]))
            parameter = self.find(name.split("."))
            if parameter is not None and "slot" not in parameter:
                return  # a dictionary of the user's own
            settings = value.get("init_args") or {} if {"class_path", "init_args"} & set(value) else value
            for key, each in settings.items() if isinstance(settings, Mapping) else ():
                self._read(f"{name}.{key}", each)
        elif not isinstance(value, list):
            self.check(f"--{name}", _text(value))

    def check(self, flag: str, value: str | None) -> None:
        """Check one flag and its value, and remember the class that it names.

        Raises:
            InputError: There is no such flag or class, or the value is of another kind.
        """
        if flag in self.own or flag.endswith(("+", ".help")) or ".dict_kwargs" in flag:
            return
        if flag in _GROUPS and (value or "").endswith((".yaml", ".yml", "}")):  # a config of the group alone
            return
        name = flag.lstrip("-").replace(".init_args", "").removesuffix(".class_path")
        parameter = None if flag[:2] != "--" else self.find(name.split("."))
        if parameter is None:
            raise InputError(no_such_flag(self, flag, self.own))
        if value is None:
            raise InputError(f"--{name}: expected a value, found none; write --{name} VALUE")
        if "slot" in parameter:
            self._check_class(name, parameter, value)
        else:
            check_value(name, parameter, value)

    def _check_class(self, name: str, parameter: Parameter, value: str) -> None:
        text = current_names(value).strip()
        classes = schema()["slots"][parameter["slot"]]
        kinds = set(parameter["kinds"])
        path: str | None = ""
        if text.lower() in _NULL:
            if text == "null" and "null" not in kinds:
                raise InputError(f"--{name}: expected {_article(parameter['slot'])}, found null; name one")
            path = None
        elif text in classes:
            path = classes[text]
        elif text in classes.values():
            path = text
        elif text.startswith("calcarine.") and text.rpartition(".")[2] in classes:  # by a longer or a shorter path
            path = classes[text.rpartition(".")[2]]
        elif "." in text or text[:1] in ("{", "["):
            path = ""
        elif not ({"text", "any"} & kinds or ("bool" in kinds and text.lower() in _BOOLEANS)) and (
            same_libraries() or any(each.startswith("calcarine.") for each in classes.values())
        ):
            raise InputError(f"--{name}: {no_such_class(name, text, classes)}")
        self.choose(name, path)


def check_value(name: str, parameter: Parameter, value: str) -> None:
    """Refuse a value that is of none of its flag's kinds, as far as its text tells.

    Raises:
        InputError: It is not; the line says what was expected.
    """
    kinds, choices = parameter["kinds"], parameter.get("choices", [])
    text = value.strip()
    if not text and "path" in kinds:
        raise InputError(f"--{name}: expected a path, found nothing; name the folder or file")
    if value in choices or text[:1] in ("'", '"') or any(_may_be(kind, text) for kind in kinds):
        return
    if kinds and kinds[0] == "list" and "," in text:
        raise InputError(f"--{name}: expected a list such as [1,10], found {value!r}; did you mean [{text}]?")
    words = [str(_WORDS.get(kind, kind)) for kind in kinds if kind != "null"]
    near = get_close_matches(text, choices, n=1)
    raise InputError(f"--{name}: expected {' or '.join([*words, *choices])}, found {value!r}{did_you_mean(near)}")


def _may_be(kind: str, text: str) -> bool:
    if kind in ("int", "float"):
        try:
            float(text)
        except ValueError:
            return text[:2].lower() in ("0x", "0o", "0b") or text.lstrip("+-").lower() in (".inf", ".nan")
        return True
    if kind == "bool":
        return text.lower() in _BOOLEANS
    if kind == "null":
        return text.lower() in _NULL
    if kind in ("list", "dict"):
        return text.startswith("[" if kind == "list" else "{") or "\n" in text
    return True


def _article(base: str) -> str:
    return f"{'an' if base[0] in 'AEIOU' else 'a'} {base}"


def _text(value: Any) -> str:
    """A config's value as it would be typed."""
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
