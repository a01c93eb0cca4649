"""`calcarine compare`: whether one run predicts better than another."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("first", type=Path, metavar="RUN", help="a run's folder, such as runs/default/version_0")
    parser.add_argument("others", type=Path, nargs="+", metavar="RUN", help="what is compared with it")
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the page and the tables; default comparisons/RUN_vs_RUN"
    )


def _run(options: Namespace) -> None:
    from ..results.comparison import compare_runs
    from ..results.comparison_page import REPORT, folder_for, printed, write_comparison
    from ..results.configuration import differing
    from ..results.run_folder import FinishedRun, run_names

    runs = [FinishedRun(folder) for folder in (options.first, *options.others)]
    folder = options.out or folder_for(run_names(runs))
    comparisons = compare_runs(runs)
    write_comparison(folder, runs, comparisons)
    sys.stdout.write(printed(comparisons, differing([run.config for run in runs])) + "\n\n")
    sys.stdout.write(f"{folder / REPORT}: page with figures; beside it rois.csv and targets.csv\n")


COMPARE = Command(
    "compare",
    "compare runs on the same stimuli",
    "calcarine compare runs/one/version_0 runs/two/version_0",
    _add_arguments,
    _run,
)
