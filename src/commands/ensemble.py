"""`calcarine ensemble`: finished runs made one."""

import shlex
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..where import RUNS
from .command import Command, add_min_ceiling


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="RUN", help="a run's folder, such as runs/default/version_0")
    parser.add_argument("others", type=Path, nargs="+", metavar="RUN", help="what is combined with it")
    parser.add_argument(
        "--stack",
        action="store_true",
        help="learn weights per target from the validation split; without, predictions are averaged",
    )
    parser.add_argument(
        "--refitted",
        type=Path,
        nargs="+",
        metavar="RUN",
        default=[],
        help="the same models trained again on the validation stimuli too, in the members' order: with --stack they "
        "predict all else, by the weights that the members learnt",
    )
    parser.add_argument("--name", default="ensemble", help="of the new run; default %(default)s")
    parser.add_argument(
        "--runs", type=Path, default=RUNS, metavar="DIR", help="folder of all runs; default %(default)s"
    )
    parser.add_argument(
        "--fsaverage", type=Path, metavar="DIR", help="FreeSurfer's subjects/fsaverage, to draw all its vertices"
    )
    add_min_ceiling(parser)


def _run(options: Namespace) -> None:
    from ..ensemble.beside import printed
    from ..ensemble.run import make_ensemble
    from ..results.run_folder import FinishedRun

    folders = [options.first, *options.others]
    again = ["--refitted", *map(str, options.refitted)] if options.refitted else []
    flags = [*(["--stack"] if options.stack else []), *again, f"--name={options.name}", f"--runs={options.runs}"]
    if options.fsaverage is not None:
        flags.append(f"--fsaverage={options.fsaverage}")
    if options.min_ceiling is not None:
        flags.append(f"--min_ceiling={options.min_ceiling}")
    command = shlex.join(["calcarine", "ensemble", *map(str, folders), *flags])
    runs = [FinishedRun(folder) for folder in folders]
    refitted = [FinishedRun(folder) for folder in options.refitted]
    made = make_ensemble(
        runs,
        options.stack,
        options.name,
        options.runs,
        command,
        options.fsaverage,
        refitted,
        options.min_ceiling,
    )
    sys.stdout.write(printed(made.contenders) + "\n\n")
    if made.submission is not None:
        sys.stdout.write(made.submission + "\n")
    sys.stdout.write(f"{made.folder}: {made.summary.headline()}\n")


ENSEMBLE = Command(
    "ensemble",
    "average runs, or stack them with weights learnt on the validation split",
    "calcarine ensemble runs/one/version_0 runs/two/version_0 --stack",
    _add_arguments,
    _run,
)
