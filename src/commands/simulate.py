"""`calcarine simulate`: data with planted truth."""

import shlex
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to write; new or empty")
    formats = ("algonauts2023", "folder", "nsd", "nsd-synthetic", "betas", "tvsd", "things-fmri")
    parser.add_argument("--format", choices=formats, default=formats[0], help="default %(default)s")
    parser.add_argument("--images", type=int, help="training images per subject; default 1000, of single trials fewer")
    parser.add_argument("--targets", type=int, help="of both hemispheres; default 39548, of single trials fewer")
    parser.add_argument("--subjects", type=int, help="default 1, of tvsd both monkeys")
    parser.add_argument("--seed", type=int, default=0, help="default %(default)s")
    parser.add_argument(
        "--test_responses", action="store_true", help="algonauts2023: also write the test responses, which it withholds"
    )
    parser.add_argument(
        "--volumes_alone",
        action="store_false",
        dest="surfaces",
        help="nsd: no betas on fsaverage, 1.3 MB for each trial",
    )


def _run(options: Namespace) -> None:
    from ..data.simulation.write import simulate

    simulate(**vars(options))
    root = shlex.quote(str(options.out))
    sys.stdout.write(f"{options.out}: {options.format}, planted truth included; next:\n")
    one = " --data.source.subject 1" if options.format == "betas" and (options.subjects or 1) > 1 else ""
    flags = f"{one} --data.encoder GaborEncoder --model RidgeModule"
    sys.stdout.write(f"  calcarine train --data.source.root {root}{flags}\n")


SIMULATE = Command(
    "simulate",
    "write a data set with planted truth",
    "calcarine simulate OUT --format folder --images 200 --targets 100",
    _add_arguments,
    _run,
)
