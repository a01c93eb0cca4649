"""`calcarine export`: a trained model as a folder that needs nothing else."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..package.files import NO_LICENCE
from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run, RUNS/NAME/version_N")
    parser.add_argument("--out", type=Path, help="folder to write, new or empty; default exported/NAME/version_N")
    parser.add_argument(
        "--licence", default=NO_LICENCE, help="under which the model may be used, for its card; default %(default)s"
    )


def _run(options: Namespace) -> None:
    from ..package.write import export

    run: Path = options.run
    out: Path = options.out or Path("exported", *run.resolve().parts[-2:])
    export(run, out, options.licence)
    sys.stdout.write(f"{out}: model, tables and card; calcarine predict {out} --images DIR\n")


EXPORT = Command(
    "export",
    "write a run's model as a folder that predicts anywhere, without the data",
    "calcarine export runs/NAME/version_0 --out my_model --licence CC-BY-4.0",
    _add_arguments,
    _run,
)
