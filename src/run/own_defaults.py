"""Where another class than a config has starts from its own defaults, and what is said of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

from jsonargparse import ArgumentParser

from ..errors import InputError
from .class_change import same_class
from .flags import parse_flags

Config = Mapping[str, Any]
"""A resolved config as nested plain types, as `config.yaml` holds it."""


def typed_changes(parser: ArgumentParser, args: Sequence[str], whole: Config, also: Collection[str] = ()) -> list[str]:
    """A line for each class that was typed in place of a config's and starts from its own defaults.

    Args:
        parser: Of a run.
        args: Flags as typed.
        whole: What they were parsed to.
        also: Further flags whose values need no telling.
    """
    if not any(_may_name_a_class(before, flag) for before, flag in pairwise(["", *args])):
        return []  # parsing takes a third of a second
    files = [flag for before, flag in pairwise(["", *args]) if flag.startswith("--config") or before == "--config"]
    try:
        before = parse_flags(parser, files).as_dict()
    except InputError:  # settings of a class that only a flag names
        return []
    changes = class_changes(before, whole, typed_flags(args) | set(also))
    return [line for line in changes if not line.startswith("data.source ")]  # another format has no settings in common


def _may_name_a_class(before: str, typed: str) -> bool:
    """Whether a part of what was typed may give a class or a config of one, `data.source` aside."""
    flag, given, value = typed.partition("=") if typed.startswith("--") else (before, "=", typed)
    other = flag in ("--config", "--data.source") or not given
    return not other and re.search(r"[A-Z]|class_path|\.yaml$", value) is not None


def typed_flags(args: Sequence[str]) -> set[str]:
    """What was typed, "FLAG" or "FLAG=VALUE", however it was typed."""
    return {part.removeprefix("--") for pair in pairwise(["", *args, ""]) for part in (pair[1], "=".join(pair))}


def class_changes(before: Config, now: Config, asked: Collection[str] = (), flag: str = "") -> Iterator[str]:
    """Where another class starts from its own defaults, and so without what was set for the one before it.

    Args:
        before: Plain types, as both.
        now: The config whose classes are meant.
        asked: What needs no telling, "FLAG" or "FLAG=VALUE".
        flag: Of the two, where they are parts of a config.

    Yields:
        A line for each such class.
    """
    if "class_path" in now and not same_class(before.get("class_path", now["class_path"]), now["class_path"]):
        old, new = ((each.get("init_args") or {}) for each in (before, now))
        changed = [
            f"{name} {as_typed(new[name])} ({as_typed(value)})"
            for name, value in old.items()
            if value is not None
            and new.get(name, value) != value
            and not isinstance(value, Mapping)
            and not {f"{flag}.{name}", f"{flag}.{name}={as_typed(new[name])}"} & set(asked)
        ]
        if changed:
            one, other = (each["class_path"].rpartition(".")[2] for each in (now, before))
            yield f"{flag} {one}: has its own defaults, not what {other} had: {', '.join(changed)}"
        return
    for part, value in now.items():
        if isinstance(value, Mapping) and isinstance(before.get(part), Mapping):
            inner = flag if part == "init_args" else f"{flag}.{part}".strip(".")
            yield from class_changes(before[part], value, asked, inner)


def as_typed(value: Any) -> str:
    """A value as it is typed on the command line."""
    if isinstance(value, list):
        return f"[{', '.join(as_typed(item) for item in value)}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)
