"""`calcarine score`: what a challenge makes of a submission."""

import json
import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

from .command import Command


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "submission", type=Path, metavar="SUBMISSION", help="submission.zip, mini_track.zip, or a folder of the same"
    )
    parser.add_argument(
        "--truth",
        type=Path,
        required=True,
        metavar="DIR",
        help="the test responses: a tree of Algonauts 2023 with test_fmri, or a folder of subNN/ROI.pkl for 2021",
    )
    parser.add_argument(
        "--ceiling", type=Path, metavar="DIR", help="noise ceilings for 2023: subjNN/{lh,rh}.npy, per cent or fraction"
    )
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table to this file, too")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the table")


def _run(options: Namespace) -> None:
    from ..evaluation.tables import write_rows
    from ..results.score import score_submission

    scored = score_submission(options.submission, options.truth, options.ceiling)
    if options.csv is not None:
        write_rows(options.csv, scored.rows)
    text = json.dumps(scored.as_json(), indent=2) if options.json else scored.text()
    sys.stdout.write(text + "\n")


SCORE = Command(
    "score",
    "score a submission against test responses",
    "calcarine score submission.zip --truth DIR --ceiling DIR",
    _add_arguments,
    _run,
)
