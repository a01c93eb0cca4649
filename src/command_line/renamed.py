"""Class paths of the time when the package was called `src`, read as today's with one line of advice."""

import logging
import re
from functools import cache

from .known import schema

log = logging.getLogger(__name__)

_OLD = re.compile(r"(?<![\w./])src\.(data|encoders|models)\.(?:\w+\.)*(\w+)\b")


def current_names(text: str) -> str:
    """A config or a flag's value with old class paths as they are called now.

    Only classes that calcarine exports are meant: a user's own project may have a `src` of its own.
    """
    if "src." not in text:
        return text
    return _OLD.sub(lambda found: _paths().get((found[1], found[2]), found[0]), text)


def advised(text: str) -> str:
    """The same, and once in a process a line that says what to change."""
    current = current_names(text)
    if current != text:
        _advise()
    return current


@cache
def _advise() -> None:
    log.info("class paths that begin with src. are read as calcarine.; write calcarine. in your configs and flags")


@cache
def _paths() -> dict[tuple[str, str], str]:
    """Class path by room and name, of what calcarine exports."""
    ours = (path.split(".") for path in schema()["classes"] if path.startswith("calcarine."))
    return {(room, name): f"calcarine.{room}.{name}" for _, room, name in ours}
