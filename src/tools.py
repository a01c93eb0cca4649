"""The `calcarine` command: training, studies, and everything beside them."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from .front_door import enter

EXAMPLES = """\
one example each:
  calcarine train --data.source Folder --data.source.root DIR
  calcarine tune --config configs/X.yaml --search configs/search/Y.yaml --trials 50
  calcarine layers timm:resnet50
  calcarine encode --data.source.root DIR --data.encoder TimmEncoder --data.encoder.model resnet50
  calcarine simulate OUT --format folder --images 200 --targets 100

calcarine COMMAND --help shows a command's flags; of a run, `train --help all` every one.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one `calcarine` command and return its exit status."""
    argv = sys.argv[1:] if argv is None else argv
    if argv[:1] == ["train"]:
        from .run.main import main as train

        return train(argv[1:])
    if argv[:1] == ["tune"]:
        from .study.front import main as tune

        return tune(argv[1:])
    if argv[:1] == ["encode"]:  # its flags are train.py's, parsed by train.py's own parser
        return enter(lambda: _encode(argv[1:]))
    options = _parser().parse_args(argv)
    return enter(lambda: options.run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="calcarine",
        description="Visual encoding models: images or clips in, predicted brain responses out.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    commands.add_parser("train", help="train a model, evaluate it and report; the same as train.py")
    commands.add_parser("tune", help="search train's flags for the best validation correlation; the same as tune.py")

    layers = commands.add_parser("layers", help="list a model's layers with their output shapes")
    layers.add_argument("model", metavar="LIBRARY:MODEL", help="LIBRARY is torchvision, timm, open_clip or vone")
    layers.set_defaults(run=_layers)

    commands.add_parser("encode", help="fill the embedding cache ahead of training; takes train.py's flags")

    simulate = commands.add_parser("simulate", help="write a data set with planted truth")
    simulate.add_argument("out", type=Path, metavar="OUT", help="folder to write; new or empty")
    simulate.add_argument("--format", choices=("algonauts2023", "folder"), default="algonauts2023")
    simulate.add_argument("--images", type=int, default=1000, help="training images per subject; default %(default)s")
    simulate.add_argument("--targets", type=int, default=39548, help="of both hemispheres; default %(default)s")
    simulate.add_argument("--subjects", type=int, default=1, help="default %(default)s")
    simulate.add_argument("--seed", type=int, default=0, help="default %(default)s")
    simulate.add_argument(
        "--test_responses", action="store_true", help="algonauts2023: also write the test responses, which it withholds"
    )
    simulate.set_defaults(run=_simulate)
    return parser


def _layers(options: argparse.Namespace) -> None:
    from .encoders.listing import layers_table

    sys.stdout.write(layers_table(options.model) + "\n")


def _simulate(options: argparse.Namespace) -> None:
    from .data.simulation.write import simulate

    arguments = vars(options)
    del arguments["run"]
    simulate(**arguments)


def _encode(argv: Sequence[str]) -> None:
    from .command_line.help import ENCODE
    from .run.main import answered, quieten

    if answered(argv, ENCODE, "calcarine encode"):
        return
    from .run.cli import build_cli
    from .run.stages import encode

    quieten()
    encode(build_cli(argv))


if __name__ == "__main__":
    sys.exit(main())
