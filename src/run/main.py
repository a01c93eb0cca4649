"""The `train.py` command."""

import logging
import warnings
from collections.abc import Sequence

from ..front_door import enter
from .cli import build_cli
from .folder import rank
from .stages import run


def main(args: Sequence[str] | None = None) -> int:
    """One run from its flags; returns the exit status."""
    quieten()
    return enter(lambda: run(build_cli(args)))


def quieten() -> None:
    """Say what a run does, once per run, and leave out what Lightning says of itself."""
    leading = rank() == 0
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("calcarine").setLevel(logging.INFO if leading else logging.WARNING)
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", ".*smaller than the logging interval.*")  # everything is logged per epoch
    warnings.filterwarnings("ignore", "Total length of .* is zero")  # no validation split, as asked
    warnings.filterwarnings("ignore", ".*in eval mode at the start of training.*")  # a frozen trunk, as asked
    warnings.filterwarnings("ignore", ".*treespec.*")  # a deprecation inside Lightning
    warnings.filterwarnings("ignore", ".*dirpath has changed.*|.*exists and is not empty.*")  # resuming means that
