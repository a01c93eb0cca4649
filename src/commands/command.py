"""What a command of `calcarine` is."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """A command with flags of its own; its file imports what is slow only when it runs.

    Args:
        name: As typed.
        summary: What it does, in half a line.
        example: A whole line as typed, for `calcarine --help`.
        add_arguments: Puts its arguments into its parser.
        run: Does it. What is wrong with the input is raised as an InputError.
    """

    name: str
    summary: str
    example: str
    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], None]
