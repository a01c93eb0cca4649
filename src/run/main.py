"""The `train.py` command."""

import logging
import sys
import warnings
from collections.abc import Sequence

from ..command_line.found_source import with_source
from ..command_line.help import USUAL, answer
from ..command_line.typed import check
from ..command_line.words import with_shipped
from ..front_door import enter


def main(args: Sequence[str] | None = None) -> int:
    """One run from its flags; returns the exit status."""
    return enter(args, _run)


def _run(args: Sequence[str]) -> None:
    if answered(args):
        return
    from .cli import build_cli
    from .stages import run
    from .together import ending_together_from_start

    quieten()
    with ending_together_from_start():
        run(build_cli(args))


def answered(args: Sequence[str], usual: str = USUAL, program: str = "train.py", own: Sequence[str] = ()) -> bool:
    """Answer what needs no run, help above all, before torch is imported; False where a run is asked for.

    Args:
        args: Flags as typed.
        usual: The answer to a bare --help.
        program: The command's name.
        own: Flags of the command itself beside those of a run.

    Raises:
        InputError: A flag, a class or a value is wrong.
    """
    text = answer(args, usual)
    if text is None:
        check(with_source(with_shipped(args), say=False), own, program)
        return False
    sys.stdout.write(text)
    return True


def quieten() -> None:
    """Say what a run does, once per run, and leave out what Lightning says of itself."""
    from .folder import rank

    leading = rank() == 0
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("calcarine").setLevel(logging.INFO if leading else logging.ERROR)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # everything is logged per epoch
    warnings.filterwarnings("ignore", "Total length of .* is zero")  # no validation split, as asked
    warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # a frozen trunk, as asked
    warnings.filterwarnings("ignore", ".*sync_dist=True.*")  # what is logged is over all ranks already
    warnings.filterwarnings("ignore", ".*treespec.*")  # a deprecation inside Lightning
    warnings.filterwarnings("ignore", ".*dirpath has changed.*|.*exists and is not empty.*")  # resuming means that
