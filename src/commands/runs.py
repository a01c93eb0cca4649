"""`calcarine runs`: every finished run below a folder."""

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from ..where import RUNS
from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("folder", type=Path, nargs="?", default=RUNS, metavar="DIR", help="default %(default)s")
    parser.add_argument(
        "--sort", default="run", metavar="COLUMN", help="such as correlation, score, time or date; default %(default)s"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table to this file, too")


def _run(options: Namespace) -> None:
    from ..results.listing import list_runs, write_listing

    listing = list_runs(options.folder, options.sort)
    if options.csv is not None:
        write_listing(options.csv, listing)
    sys.stdout.write(listing.text() + "\n")


RUNS_BELOW = Command(
    "runs",
    "list every finished run below a folder",
    "calcarine runs --sort correlation",
    _add_arguments,
    _run,
)
