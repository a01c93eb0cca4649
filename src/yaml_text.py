"""YAML from anywhere: read in time and memory that grow with the text, or refused."""

from collections.abc import Callable
from typing import Any

from .errors import one_line

_DEEPEST = 100
_MOST = 1_000_000
"""Values that a text may stand for: ten lines of aliases of aliases stand for 10¹⁰, over which programs hang."""


def read_yaml(text: str, load: Callable[[str], Any] | None = None) -> Any:
    """The plain value that a text stands for.

    Args:
        text: The text.
        load: Reads it; PyYAML's safe loader where not given.

    Raises:
        yaml.YAMLError: It is no YAML, is nested too deep, or stands for too much.
    """
    import yaml

    try:
        _check(text)
        return yaml.load(text, Loader=_loader()) if load is None else load(text)
    except yaml.YAMLError:
        raise
    except Exception as error:  # PyYAML makes dates and numbers without asking whether they are some
        raise yaml.YAMLError(one_line(error)) from error


def _check(text: str) -> None:
    import yaml

    total = 0
    sizes: dict[str, int] = {}  # values that an anchor stands for
    begun: list[tuple[str | None, int]] = []  # what is open, and the values before it
    for event in yaml.parse(text, Loader=_loader()):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = begun.pop()
            if anchor is not None:
                sizes[anchor] = total - before
            continue
        if isinstance(event, yaml.CollectionStartEvent):
            begun.append((event.anchor, total))
            if event.anchor is not None:
                sizes.pop(event.anchor, None)
        elif isinstance(event, yaml.ScalarEvent) and event.anchor is not None:
            sizes[event.anchor] = 1
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                raise yaml.YAMLError(f"*{event.anchor} stands for nothing, or for what it is in")
            total += sizes[event.anchor]
        elif isinstance(event, yaml.NodeEvent):
            total += 1
        if len(begun) > _DEEPEST or total > _MOST:
            raise yaml.YAMLError(f"more than {_DEEPEST} levels, or {_MOST:,} values")


def _loader() -> Any:
    """libyaml's, where it is there: it is ten times as fast."""
    import yaml

    return getattr(yaml, "CSafeLoader", yaml.SafeLoader)
