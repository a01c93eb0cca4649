"""What a study leaves: its folder with `trials.csv` and `best.yaml`, the best trial's run, and what is said of it."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..atomic import replacing
from ..errors import InputError
from .flags import make_flags
from .queue import DEFAULT, REASON, finished

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from tqdm import tqdm

TRIALS, BEST = "trials.csv", "best.yaml"
TEST_SCORE = "test_score"
"""User attribute of a complete trial: its mean correlation on the test split, by which nothing is chosen."""
SPACE, CONFIG, REFIT = "space", "config", "refit"
"""User attributes of a study: its search space, the resolved config beneath, and [best trial, folder of its run]."""


def best_of(study: Study) -> FrozenTrial | None:
    """The complete trial with the highest validation correlation, the first of equal ones."""
    complete = [trial for trial in finished(study) if trial.state.name == "COMPLETE" and trial.value is not None]
    return max(complete, key=lambda trial: (trial.value, -trial.number), default=None)


def default_of(study: Study) -> FrozenTrial | None:
    """The complete trial with the configuration's own values."""
    own = (trial for trial in finished(study) if DEFAULT in trial.user_attrs and trial.state.name == "COMPLETE")
    return next(own, None)


def write_trials(path: Path, study: Study, parameters: Sequence[str]) -> None:
    """Write `trials.csv`: the finished trials, one row each, empty where a trial has no such figure or value.

    Only a complete trial has a value: what a pruned one had reached by then is not comparable.
    """
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("number", "state", "value", *parameters, TEST_SCORE))
        for trial in finished(study):
            value = trial.value if trial.state.name == "COMPLETE" else None
            values = (_text(trial.params.get(name)) for name in parameters)
            test = trial.user_attrs.get(TEST_SCORE)
            writer.writerow((trial.number, trial.state.name, _text(value), *values, _text(test)))


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def show_progress(study: Study, progress: tqdm) -> None:
    """Bring a progress bar up to date: finished trials, and the best of them."""
    best = best_of(study)
    progress.n = min(len(finished(study)), progress.total)
    progress.set_postfix_str("" if best is None else f"best {best.value:.4f}, trial {best.number}")


def check_any_complete(study: Study) -> None:
    """Say why, where no trial came to a value.

    Raises:
        InputError: All trials failed.
    """
    failed = [trial for trial in finished(study) if REASON in trial.user_attrs]
    if failed and best_of(study) is None:
        reason, count = Counter(trial.user_attrs[REASON] for trial in failed).most_common(1)[0]
        raise InputError(f"--study {study.study_name}: no trial came to a value, {count} of {len(failed)}: {reason}")


def conclusion(study: Study, args: Sequence[str]) -> str:
    """What to say at the end: the best trial beside the default configuration, and the command that repeats it.

    Args:
        study: With its trials.
        args: The `train.py` flags beneath all trials, as typed.
    """
    trials = finished(study)
    states = Counter(trial.state.name for trial in trials)
    counts = ", ".join(f"{states[name]} {name.lower()}" for name in ("COMPLETE", "PRUNED", "FAIL") if states[name])
    lines = [f"study {study.study_name}: {len(trials)} trials ({counts})"]
    best, default = best_of(study), default_of(study)
    if best is None:
        return lines[0]
    lines.append(_figures(f"best, trial {best.number}", best))
    if default is not None:
        lines.append(_figures("default configuration", default))
    if refit := study.user_attrs.get(REFIT):
        lines.append(f"run of the best: {refit[1]}")
    flags = make_flags(best.params, study.user_attrs[CONFIG], study.user_attrs[SPACE])
    lines.append(shlex.join(["uv", "run", "train.py", *args, *flags]))
    return "\n".join(lines)


def _figures(name: str, trial: FrozenTrial) -> str:
    test = trial.user_attrs.get(TEST_SCORE)
    line = f"{name}: validation correlation {trial.value:.4f}"
    return line if test is None else f"{line}, test {test:.4f}"
