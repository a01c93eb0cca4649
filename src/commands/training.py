"""`calcarine train`, `tune` and `encode`, whose flags are a run's and are parsed by a run's own parser."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..front_door import enter
from .command import Listed


@dataclass(frozen=True)
class RunCommand(Listed):
    """A command that takes a run's flags.

    Args:
        name: See Listed, and so the next two.
        summary: See there.
        example: See there.
        main: Takes the flags, returns the exit status.
    """

    main: Callable[[Sequence[str]], int]


def _train(args: Sequence[str]) -> int:
    from ..run.main import main

    return main(args)


def _tune(args: Sequence[str]) -> int:
    from ..study.front import main

    return main(args)


def _encode(args: Sequence[str]) -> int:
    return enter(args, _encode_for)


def _encode_for(args: Sequence[str]) -> None:
    from ..command_line.help import ENCODE
    from ..run.main import answered, quieten

    if answered(args, ENCODE, "calcarine encode"):
        return
    from ..run.cli import build_cli
    from ..run.together import ending_together_from_start
    from ..run.training import encode

    quieten()
    with ending_together_from_start():
        encode(build_cli(args))


TRAIN = RunCommand(
    "train",
    "train a model, evaluate it and report; the same as train.py",
    "calcarine train --data.source Folder --data.source.root DIR",
    _train,
)
TUNE = RunCommand(
    "tune",
    "search train's flags for the best validation correlation; the same as tune.py",
    "calcarine tune --config configs/X.yaml --search configs/search/Y.yaml --trials 50",
    _tune,
)
ENCODE_AHEAD = RunCommand(
    "encode",
    "fill the embedding cache ahead of training; takes train's flags",
    "calcarine encode --data.source.root DIR --data.encoder TimmEncoder --data.encoder.model resnet50",
    _encode,
)
