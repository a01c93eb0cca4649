"""What a command of `calcarine` is."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Listed:
    """What `calcarine --help` says of a command.

    Args:
        name: As typed.
        summary: What it does, in half a line.
        example: A whole line as typed.
    """

    name: str
    summary: str
    example: str


@dataclass(frozen=True)
class Command(Listed):
    """A command with flags of its own; its file imports what is slow only when it runs.

    Args:
        name: See Listed, and so the next two.
        summary: See there.
        example: See there.
        add_arguments: Puts its arguments into its parser.
        run: Does it. What is wrong with the input is raised as an InputError.
    """

    add_arguments: Callable[[ArgumentParser], None]
    run: Callable[[Namespace], None]


def add_min_ceiling(parser: ArgumentParser) -> None:
    """Add the flag of commands that write `benchmarks.csv`; a run has it as --report.min_ceiling."""
    parser.add_argument(
        "--min_ceiling",
        type=float,
        metavar="SHARE",
        help="leave targets with a noise ceiling below this share of variance, 0 to 1, out of benchmarks.csv",
    )
