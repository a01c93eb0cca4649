"""Parsing flags: from what was typed to values, with nothing instantiated."""

from argparse import ArgumentError
from collections.abc import Sequence
from typing import Any
from unittest.mock import patch

from jsonargparse import ArgumentParser, Namespace

from ..errors import InputError
from .explain import explain


def parse_flags(parser: ArgumentParser, args: Sequence[str]) -> Namespace:
    """Parse flags, and instantiate nothing.

    Raises:
        InputError: A flag, a config file or a value is not valid.
    """
    try:
        with patch("jsonargparse._typehints.discard_init_args_on_class_path_change", _forget_settings):
            return parser.parse_args(args)
    except ArgumentError as error:
        raise InputError(explain(str(error), parser)) from error


def _forget_settings(_parser: Any, before: Any, now: Any) -> None:
    """Have a class that a flag or a config names start from its own defaults.

    jsonargparse carries over what it was told or knew of the class before, defaults too: AdamW's weight decay into SGD.
    """
    if before and "init_args" in before and before["class_path"] != now["class_path"]:
        before["init_args"] = Namespace()
