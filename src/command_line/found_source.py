"""A folder without the name of its format: the source is found by looking."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import InputError
from .words import config_of, pairs

log = logging.getLogger(__name__)

ROOT = "--data.source.root"
_NAMES = ("--data.source", "--data.source.class_path")


def with_source(args: Sequence[str], say: bool = True) -> list[str]:
    """The flags, with the source that recognises the root where none was named.

    Args:
        args: Flags as typed.
        say: Say what was found.

    Raises:
        InputError: No source recognises it, or several do.
    """
    if not any(each.partition("=")[0] == ROOT for each in args) or any(_asks_help(each) for each in args):
        return list(args)
    typed = list(pairs(args))
    named = [place for place, (flag, _) in enumerate(typed) if flag in _NAMES]
    if named:
        last = next(place for place, (flag, _) in reversed(list(enumerate(typed))) if flag == ROOT)
        # A root before its source's name would be a flag of the source that the default config has.
        return list(args) if named[0] < last else [f"--data.source={typed[named[-1]][1]}", *args]
    if any(flag in ("-c", "--config") and _names_a_source(value) for flag, value in typed):
        return list(args)
    root = next(value for flag, value in reversed(typed) if flag == ROOT)
    name = _recognised(root or "")
    if say:
        log.info("%s %s: read as %s, by what it holds; --data.source says it otherwise", ROOT, root, name)
    return [f"--data.source={name}", *args]


def _asks_help(word: str) -> bool:
    flag = word.partition("=")[0]
    return flag in ("-h", "--help") or flag.endswith(".help")


def _names_a_source(config: str | None) -> bool:
    path = Path(config or "")
    content: Any = config_of(path) if path.is_file() else None
    for part in ("data", "source", "class_path"):
        if part == "class_path" and isinstance(content, str):
            return True  # the short form, `source: Folder`
        content = content.get(part) if isinstance(content, Mapping) else None
    return content is not None


def _recognised(text: str) -> str:
    import yaml

    from ..data.sources.base import known_formats
    from ..yaml_text import read_yaml

    if not text.strip():
        raise InputError(f"{ROOT}: expected a path, found nothing; name the folder or file")
    try:
        roots = [Path(str(each)) for each in read_yaml(text)] if text.startswith("[") else [Path(text)]
    except yaml.YAMLError:
        roots = []
    if not roots:
        raise InputError(f"{ROOT} {text}: expected a path or a list of paths such as [DIR1,DIR2], found neither")
    for root in roots:
        if not root.exists():
            raise InputError(f"{ROOT} {root}: expected a folder or a file of data, found none; correct the path")
    found = [each for each in known_formats() if all(each.recognises(root) for root in roots)]
    if len(found) == 1:
        return found[0].__name__
    if found:
        names = " and ".join(each.__name__ for each in found)
        raise InputError(f"{ROOT} {text}: {names} know what is there; say which with --data.source")
    names = ", ".join(sorted(each.__name__ for each in known_formats()))
    raise InputError(
        f"{ROOT} {text}: expected data of a known format ({names}), found none of them; correct the path, or ask "
        f"calcarine check {text} what each looks like"
    )
