"""The `calcarine` command: finds the command that was typed, and lists them all."""

import argparse
import sys
from collections.abc import Sequence

from ..front_door import DEBUG, enter
from .check import CHECK
from .command import Command
from .compare import COMPARE
from .ensemble import ENSEMBLE
from .evaluate import EVALUATE
from .export import EXPORT
from .layers import LAYERS
from .predict import PREDICT
from .probe import PROBE
from .runs import RUNS_BELOW
from .score import SCORE
from .simulate import SIMULATE
from .training import ENCODE_AHEAD, TRAIN, TUNE, RunCommand

COMMANDS: tuple[RunCommand | Command, ...] = (
    CHECK,
    TRAIN,
    TUNE,
    RUNS_BELOW,
    COMPARE,
    ENSEMBLE,
    SCORE,
    EVALUATE,
    PREDICT,
    PROBE,
    EXPORT,
    LAYERS,
    ENCODE_AHEAD,
    SIMULATE,
)
"""In the order in which a newcomer needs them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `calcarine` command and return its exit status."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv[:1] == [DEBUG]:
        argv = [*argv[1:], DEBUG]
    for command in COMMANDS:
        if isinstance(command, RunCommand) and argv[:1] == [command.name]:
            return command.main(argv[1:])
    return enter(argv, _run)


def _run(argv: Sequence[str]) -> None:
    options = _parser().parse_args(argv)
    options.__dict__.pop("command").run(options)


def _parser() -> argparse.ArgumentParser:
    examples = "\n".join(f"  {command.example}" for command in COMMANDS)
    parser = argparse.ArgumentParser(
        prog="calcarine",
        description="Visual encoding models: images or clips in, predicted brain responses out.",
        epilog=f"one example each:\n{examples}\n\n"
        "calcarine COMMAND --help shows a command's flags; of a run, `train --help all` every one. Any command "
        "takes --debug, which shows\nwhere in the program an input was refused.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        own = commands.add_parser(command.name, help=command.summary, description=f"{command.summary.capitalize()}.")
        if isinstance(command, Command):
            command.add_arguments(own)
            own.set_defaults(command=command)
    return parser
