"""The learning curve: the same run on fewer training stimuli, in folders of their own inside the run's.

Where the run's trunk was trained by another run, each point has the same model beside it whose trunk begins untrained:
what is adapted to a new subject, against what is trained on that subject alone.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import InputError
from ..evaluation import CurvePoint, LearningCurve, SplitPredictions
from .cli import EncodingCLI
from .inside import run_inside
from .training import predicted_splits

FOLDER = "learning_curve"
"""Folder inside the run's, with a folder for each number of stimuli: 50, and 50_scratch."""

log = logging.getLogger(__name__)


def plan_curve(cli: EncodingCLI) -> list[int]:
    """How many training stimuli of each subject the points have, ascending; nothing where no curve is asked for.

    Raises:
        InputError: There is nothing to score.
    """
    counts = cli.config.learning_curve
    if counts is None:
        return []
    if not counts:
        raise InputError("--learning_curve []: expected numbers of stimuli, such as [50,100,200,500]; or leave it out")
    if cli.config.trainer.fast_dev_run:
        raise InputError(
            "--learning_curve: a rehearsal has no scores to draw a curve of; leave out --trainer.fast_dev_run or it"
        )
    return sorted({int(count) for count in counts})


def run_curve(cli: EncodingCLI, folder: Path, counts: Sequence[int]) -> LearningCurve:
    """Train the run with so many stimuli, or go on with it, on all ranks.

    A point that the run's other flags do not allow, as more components than it has stimuli, is left out.

    Args:
        cli: The run, trained.
        folder: The run's.
        counts: From `plan_curve`.

    Returns:
        Its points, of which the run itself is the last; without predictions on other ranks than the first.
    """
    left_out: list[str] = []

    def train(count: int, *flags: str, name: str, label: str) -> Sequence[SplitPredictions] | None:
        log.info("the same run on %s", label)
        found = run_inside(cli, folder, FOLDER, name, [f"--data.training_stimuli={count}", *flags])
        if not isinstance(found, str):
            return found
        left_out.append(f"There is no point of {label}: its training says {found!r}.")
        log.info("%s", left_out[-1])
        return None

    whole, from_scratch = cli.datamodule.facts.training_stimuli, _from_scratch(cli)
    itself = predicted_splits(cli, folder) if cli.trainer.is_global_zero else []
    points: list[CurvePoint] = []
    for count in counts:
        label = f"{count:,} training stimuli"
        of_all = set(whole.values()) == {count}
        own = itself if of_all else train(count, name=str(count), label=label)
        if own is None:
            continue
        scratch = None
        if from_scratch:
            scratch = train(count, *from_scratch, name=f"{count}_scratch", label=f"{label} from scratch")
        points.append(CurvePoint(dict.fromkeys(whole, count), own, scratch or ()))
    if not counts or set(whole.values()) != {counts[-1]}:
        points.append(CurvePoint(whole, itself))
    return LearningCurve(points, left_out)


def _from_scratch(cli: EncodingCLI) -> list[str]:
    """Flags of the same model whose trunks begin untrained; none where they do anyway."""
    model = yaml.safe_load(cli.parser.dump(cli.config, skip_link_targets=True))["model"]
    untrained = _untrained(model)
    return [] if untrained == model else [f"--model={json.dumps(untrained)}"]


def _untrained(part: Any) -> Any:
    """A part of a config without the weights of trunks, wherever in it they stand."""
    if isinstance(part, list):
        return [_untrained(each) for each in part]
    if not isinstance(part, dict):
        return part
    found = {name: _untrained(each) for name, each in part.items()}
    return {**found, "trunk_weights": None, "freeze_trunk": False} if found.get("trunk_weights") else found
