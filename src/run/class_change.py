"""A class that a flag or a config names starts from its own defaults: the one place that reaches into jsonargparse.

jsonargparse carries over what it was told or knew of the class before, defaults too: AdamW's weight decay goes into
SGD. It offers no setting against that (looked for in 4.53), and its parser classes have no method for it, so its own
function is exchanged while flags are parsed. Whoever raises the bound in `pyproject.toml` runs `tests/run` and reads
that function again; where its signature is another, nothing is parsed at all.
"""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pydoc import ErrorDuringImport, locate
from typing import Any

from jsonargparse import Namespace, _typehints

NAME = "discard_init_args_on_class_path_change"
_SIGNATURE = ["parser_or_action", "prev_val", "value"]


@contextmanager
def fresh_classes() -> Iterator[None]:
    """While flags are parsed, have another class forget the settings of the one before.

    Raises:
        RuntimeError: jsonargparse's function is not the one that this was written for.
    """
    theirs = getattr(_typehints, NAME, None)
    found = None if theirs is None else list(inspect.signature(theirs).parameters)
    if found != _SIGNATURE:
        raise RuntimeError(
            f"jsonargparse's {NAME} takes {found}, expected {_SIGNATURE}: install the release that pyproject.toml names"
        )
    setattr(_typehints, NAME, _forget_settings)
    try:
        yield
    finally:
        setattr(_typehints, NAME, theirs)


def _forget_settings(parser_or_action: Any, prev_val: Any, value: Any) -> None:
    if prev_val and "init_args" in prev_val and not same_class(prev_val["class_path"], value["class_path"]):
        prev_val["init_args"] = Namespace()


def same_class(one: str, other: str) -> bool:
    """Whether two paths lead to one class: a config's `calcarine.encoders.TimmEncoder` is what `TimmEncoder` is."""
    if one == other or one.rpartition(".")[2] != other.rpartition(".")[2]:
        return one == other
    try:
        found = locate(one)
        return found is not None and found is locate(other)
    except ErrorDuringImport:
        return False
