"""`report.html` of a study: what it found, what that is worth on held-out stimuli, and what went wrong."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...evaluation.report import number, plotly, write_page
from ..ledger.attributes import PER_ROI, REASON, TEST_SCORE
from ..ledger.queue import finished
from ..search.space import SearchSpace
from . import figures
from .results import REPORT, best_of, complete_of, counts, default_of, train_command

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

MEANS = ("best_validation", "validation", "best_test", "test")
_NUMBERS = 12


def write_report(folder: Path, study: Study, space: SearchSpace, args: Sequence[str]) -> None:
    """Write a study's `report.html`, from `templates/study.html`.

    Args:
        folder: The study's.
        study: With at least one trial.
        space: What was searched.
        args: The `train.py` flags beneath all trials, as typed.
    """
    searched = {each.flag: each for each in space.parameters.values() if len(each.extremes()) > 1}
    fixed = [f"{each.flag} {each.extremes()[0]}" for each in space.parameters.values() if each.flag not in searched]
    facts = {"Trials": counts(study), "Searched": f"{len(searched)} flags"}
    best = best_of(study)
    drawn = _figures(study, list(searched))
    write_page(
        folder / REPORT,
        Path(__file__).parent / "templates" / "study.html",
        title=f"Study {study.study_name}",
        plotly=plotly(),
        best=best,
        default=default_of(study),
        facts=facts | ({"In every trial": ", ".join(fixed)} if fixed else {}),
        warnings=list(_warnings(study)),
        command=None if best is None else train_command(study, best, args),
        searched=searched,
        figures={name: [_spec(part) for part in parts] for name, parts in drawn.items()},
        chance=chance(complete_of(study)),
        rois=[
            [each["roi"], each["trial"], *(number(each.get(name)) for name in MEANS)]
            for each in study.user_attrs.get(PER_ROI, {}).get("rois", [])
        ],
        failures=_failures(finished(study)),
    )


def short_names(flags: Sequence[str]) -> dict[str, str]:
    """As many of each flag's last parts as tell it from the others; a place in a list keeps the list's name."""
    short = {}
    for flag in flags:
        parts = flag.split(".")
        count = 2 if parts[-1].isdigit() else 1
        while count < len(parts) and any(
            other != flag and f".{other}".endswith("." + ".".join(parts[-count:])) for other in flags
        ):
            count += 1
        short[flag] = ".".join(parts[-count:])
    return short


def _warnings(study: Study) -> Iterator[str]:
    trials = finished(study)
    complete = len(complete_of(study))
    failed = sum(trial.state.name == "FAIL" for trial in trials)
    if 0 < complete < figures.FEWEST:
        yield f"Only {complete} trials are complete: which flag matters cannot be said, and the best is luck."
    if complete and failed > len(trials) / 4:
        yield f"{failed} of {len(trials)} trials failed; their values are missing from every picture."
    if complete and default_of(study) is None:
        yield "The default configuration is not among the complete trials, so nothing here is compared with it."


def _figures(study: Study, searched: Sequence[str]) -> dict[str, list[Figure]]:
    """Parts of each figure by its name in the template; none of what cannot be drawn."""
    names = short_names(searched)
    shown = figures.renamed(study, names)
    complete = complete_of(study)
    used = {flag for trial in complete for flag in trial.params}
    varied = [names[flag] for flag in searched if flag in used]
    important, traded = figures.importance(shown), figures.pareto_front(shown)
    return {
        "history": [figures.history(shown)],
        "validation_against_test": [figures.validation_against_test(shown)] if chance(complete) else [],
        "importance": [] if important is None else [important],
        "pareto_front": [] if traded is None else [traded],
        "parallel_coordinates": [figures.parallel_coordinates(shown, varied)] if varied else [],
        "slices": figures.slices(shown, varied),
        "timeline": [figures.timeline(shown)],
    }


def _spec(part: Figure) -> dict[str, Any]:
    """A part of a figure as a page takes it; the page has a template of its own."""
    spec = json.loads(str(part.to_json()))
    del spec["layout"]["template"]
    return spec


def chance(complete: Sequence[FrozenTrial]) -> dict[str, float | int | None] | None:
    """What choosing by the validation split costs, of the complete trials with a test score; None where none has.

    Returns:
        The best trial's correlation on `validation` and on `test`; over `count` trials the `median` difference and the
        `rank` correlation of the two; the `highest` test correlation, and the `number` of its trial.
    """
    from scipy.stats import rankdata

    both = [trial for trial in complete if trial.user_attrs.get(TEST_SCORE) is not None]
    if not both:
        return None
    validation = np.array([trial.value for trial in both], dtype=np.float64)
    test = np.array([trial.user_attrs[TEST_SCORE] for trial in both], dtype=np.float64)
    chosen, highest = int(validation.argmax()), int(test.argmax())
    varied = len(both) > 2 and np.ptp(validation) > 0 and np.ptp(test) > 0
    return {
        "validation": validation[chosen],
        "test": test[chosen],
        "count": len(both),
        "median": float(np.median(validation - test)),
        "rank": float(np.corrcoef(rankdata(validation), rankdata(test))[0, 1]) if varied else None,
        "highest": test[highest],
        "number": both[highest].number,
    }


def _failures(trials: Sequence[FrozenTrial]) -> list[tuple[str, int, str]]:
    """Why trials failed, the most frequent reason first, how many, and which."""
    by_reason: dict[str, list[int]] = defaultdict(list)
    for trial in trials:
        if trial.state.name == "FAIL":
            by_reason[trial.user_attrs.get(REASON, "unknown")].append(trial.number)
    lines = []
    for reason, numbers in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        more = f" and {len(numbers) - _NUMBERS} more" if len(numbers) > _NUMBERS else ""
        lines.append((reason[:300], len(numbers), ", ".join(map(str, numbers[:_NUMBERS])) + more))
    return lines
