"""Parsing flags: from what was typed to values, with nothing instantiated."""

from argparse import ArgumentError
from collections.abc import Sequence
from typing import Any

import yaml
from jsonargparse import ArgumentParser, Namespace, get_loader, set_loader

from ..command_line.found_source import with_source
from ..command_line.renamed import advised
from ..command_line.typed import check
from ..command_line.words import with_shipped
from ..errors import InputError
from ..yaml_text import read_yaml
from .class_change import fresh_classes
from .explain import explain

MODE = "yaml_of_all_times"
"""The parsers' mode: YAML, in which the class paths of earlier releases are read as today's."""


def _load(text: str) -> Any:
    if text.strip() == "None":  # jsonargparse (4.53) writes null so, of a class within a class, and reads it again
        return None
    return read_yaml(advised(text), get_loader("yaml"))


set_loader(MODE, _load, exceptions=(yaml.YAMLError,))


def parse_flags(parser: ArgumentParser, args: Sequence[str]) -> Namespace:
    """Parse flags, and instantiate nothing.

    Raises:
        InputError: A flag, a config file or a value is not valid.
    """
    args = with_source([advised(each) for each in with_shipped(args)])
    try:
        with fresh_classes():
            return parser.parse_args(args)
    except ArgumentError as error:
        check(args)  # it knows more of what was typed
        raise InputError(explain(str(error))) from error
