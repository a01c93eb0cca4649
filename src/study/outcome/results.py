"""What a study leaves: its folder with `trials.csv` and `best.yaml`, the best trial's run, and what is said of it."""

from __future__ import annotations

import csv
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...atomic import replacing
from ...errors import InputError
from ..ledger.attributes import CONFIG, DEFAULT, PER_ROI, REASON, REFIT, SPACE, TEST_SCORE
from ..ledger.queue import finished
from ..search.flags import make_flags

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from tqdm import tqdm

TRIALS, BEST, REPORT = "trials.csv", "best.yaml", "report.html"


def complete_of(study: Study) -> list[FrozenTrial]:
    """The trials that came to a value."""
    return [trial for trial in finished(study) if trial.state.name == "COMPLETE"]


def best_of(study: Study) -> FrozenTrial | None:
    """The complete trial with the highest validation correlation, the first of equal ones."""
    return max(complete_of(study), key=lambda trial: (trial.value, -trial.number), default=None)


def default_of(study: Study) -> FrozenTrial | None:
    """The complete trial with the configuration's own values."""
    return next((trial for trial in complete_of(study) if DEFAULT in trial.user_attrs), None)


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


def conclusion(study: Study, folder: Path, args: Sequence[str]) -> str:
    """What to say at the end: the best trial beside the default configuration, and the command that repeats it.

    Args:
        study: With its trials.
        folder: The study's.
        args: The `train.py` flags beneath all trials, as typed.
    """
    lines = [f"study {study.study_name}: {counts(study)}"]
    best, default = best_of(study), default_of(study)
    if best is None:
        return lines[0]
    lines.append(_figures(f"best, trial {best.number}", best))
    if default is not None:
        lines.append(_figures("default configuration", default))
    if refit := study.user_attrs.get(REFIT):
        lines.append(f"run of the best: {refit[1]}")
    if per_roi := study.user_attrs.get(PER_ROI, {}).get("folder"):
        lines.append(f"model of each ROI's best rows: {per_roi}")
    lines += [f"report: {folder / REPORT}", train_command(study, best, args)]
    return "\n".join(lines)


def counts(study: Study) -> str:
    """How many trials have finished, and how."""
    trials = finished(study)
    states = Counter(trial.state.name for trial in trials)
    by_state = (f"{states[name]} {name.lower()}" for name in ("COMPLETE", "PRUNED", "FAIL") if states[name])
    return f"{len(trials)} trials ({', '.join(by_state)})"


def train_command(study: Study, trial: FrozenTrial, args: Sequence[str]) -> str:
    """The command that repeats a trial.

    Args:
        study: The trial's.
        trial: With its values.
        args: The `train.py` flags beneath all trials, as typed.
    """
    flags = make_flags(trial.params, study.user_attrs[CONFIG], study.user_attrs[SPACE])
    return shlex.join(["uv", "run", "train.py", *args, *flags])


def _figures(name: str, trial: FrozenTrial) -> str:
    test = trial.user_attrs.get(TEST_SCORE)
    line = f"{name}: validation correlation {trial.value:.4f}"
    return line if test is None else f"{line}, test {test:.4f}"
