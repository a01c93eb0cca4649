"""`calcarine evaluate`: a trained model scored on other data."""

from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from ..front_door import enter
from .command import add_min_ceiling
from .training import RunCommand

_SUMMARY = "score a trained model on other data of its subjects"
_EXAMPLE = "calcarine evaluate runs/NAME/version_0 --data.source NsdSynthetic --data.source.root DIR"


def _main(args: Sequence[str]) -> int:
    return enter(args, _evaluate)


def _evaluate(args: Sequence[str]) -> None:
    parser = ArgumentParser(
        "calcarine evaluate",
        description=f"{_SUMMARY.capitalize()}. Stimuli that it was trained or selected on are left out.",
        epilog=f"example: {_EXAMPLE}; the flags of sources are those of train",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, metavar="RUN", help="a run's folder, a package, or a checkpoint")
    parser.add_argument("--name", default="test", help="of the test set in scores.csv; default %(default)s")
    parser.add_argument(
        "--out", type=Path, help="folder to write, new or empty; default evaluated-NAME in the current folder"
    )
    parser.add_argument("--batch_size", type=int, help="images at a time; without, as many as in training")
    add_min_ceiling(parser)
    options, flags = parser.parse_known_args(args)
    from ..python.evaluating import evaluate_model
    from ..run.main import quieten

    quieten()
    out = options.out or Path(f"evaluated-{options.name}")
    evaluate_model(options.model, flags, options.name, out, options.batch_size, options.min_ceiling)


EVALUATE = RunCommand("evaluate", _SUMMARY, _EXAMPLE, _main)
