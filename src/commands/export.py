"""`calcarine export`: a trained model as a folder that needs nothing else, or its predictions for other programs."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..package.files import NO_LICENCE, check_free
from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished run, RUNS/NAME/version_N")
    parser.add_argument("--out", type=Path, help="folder to write, new or empty; default exported/NAME/version_N")
    parser.add_argument(
        "--format",
        choices=("package", "brainscore-assembly"),
        default="package",
        help="package: the model; brainscore-assembly: its predictions, as netCDF; default %(default)s",
    )
    parser.add_argument(
        "--licence", default=NO_LICENCE, help="under which the model may be used, for its card; default %(default)s"
    )


def _run(options: Namespace) -> None:
    run: Path = options.run
    out: Path = options.out or Path("exported", *run.resolve().parts[-2:])
    if options.format == "brainscore-assembly":
        from ..results.assembly import export_assemblies

        check_free(out, run)
        sys.stdout.write(f"{out}: {', '.join(export_assemblies(run, out))}; xarray.open_dataarray opens each\n")
        return
    from ..package.write import export

    export(run, out, options.licence)
    sys.stdout.write(f"{out}: model, tables and card; calcarine predict {out} --images DIR\n")


EXPORT = Command(
    "export",
    "write a run's model as a folder that predicts anywhere, without the data",
    "calcarine export runs/NAME/version_0 --out my_model --licence CC-BY-4.0",
    _add_arguments,
    _run,
)
