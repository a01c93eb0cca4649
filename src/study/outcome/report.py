"""`report.html` of a study: what it found, what that is worth on held-out stimuli, and what went wrong."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...evaluation.figures.drawing import save_figure
from ...evaluation.report import ReportFigure, facts_list, figure_section, number, warnings_box, write_page
from ..ledger.attributes import PER_ROI, REASON, TEST_SCORE
from ..ledger.queue import finished
from ..per_roi import RoiResult
from ..search.space import Parameter, SearchSpace
from .figures import history, importance, timeline, validation_against_test
from .results import REPORT, best_of, complete_of, counts, default_of, train_command
from .space_figures import parallel_coordinates, slices

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

FEWEST = 6
"""Complete trials below which importances are chance."""
_NUMBERS = 12


def write_report(folder: Path, study: Study, space: SearchSpace, args: Sequence[str]) -> None:
    """Write a study's `report.html` and the pictures in it.

    Args:
        folder: The study's.
        study: With at least one trial.
        space: What was searched.
        args: The `train.py` flags beneath all trials, as typed.
    """
    trials = finished(study)
    searched = {each.flag: each for each in space.parameters.values() if len(each.extremes()) > 1}
    names = short_names(list(searched))
    named = {names[flag]: each for flag, each in searched.items()}
    best = best_of(study)
    sections = [
        _headline(study),
        facts_list({"Trials": counts(study), "Searched": f"{len(searched)} flags", **_constants(space)}),
        warnings_box(_warnings(study)),
    ]
    if best is not None:
        sections.append(f"<h2>The best again</h2><pre>{escape(train_command(study, best, args))}</pre>")
        sections.append(_space_table(study, searched))
    sections += map(figure_section, _figures(folder / "figures", study, named))
    results = [RoiResult(**each) for each in study.user_attrs.get(PER_ROI, {}).get("rois", [])]
    sections += [_per_roi(results), _failures(trials)]
    write_page(folder / REPORT, f"Study {study.study_name}", sections)


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


def importances(study: Study) -> dict[str, float]:
    """Share of each flag in what set the best trials apart, by PED-ANOVA; nothing where trials are too few.

    Watanabe, Bansal & Hutter, IJCAI 2023; of flags that only some trials have, as in its conditional extension.
    """
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    complete = complete_of(study)
    if len(complete) < FEWEST or len({trial.value for trial in complete}) < 2:
        return {}
    top = min(max(0.1, 5 / len(complete)), 0.5)  # the estimate wants five trials or more
    with warnings.catch_warnings(action="ignore"):  # of regimes with a single trial
        raw = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=top), normalize=False)
    total = sum(raw.values())
    return {flag: value / total for flag, value in raw.items()} if total > 0 else {}


def _headline(study: Study) -> str:
    best, default = best_of(study), default_of(study)
    if best is None:
        return '<section class="headline"><div>no trial came to a value</div></section>'
    lines = [f"validation correlation of the best, trial {best.number}"]
    for name, trial in (("best", best), ("default configuration", default)):
        test = None if trial is None else trial.user_attrs.get(TEST_SCORE)
        if trial is not None and trial is not best:
            lines.append(f"{name}: validation {number(trial.value)}")
        if test is not None:
            lines[-1] += f", test {number(test)}"
    text = "<br>".join(map(escape, lines))
    value = f"<strong>{number(best.value)}</strong>"
    return f'<section class="headline" aria-label="Headline"><div>{value}{text}</div></section>'


def _constants(space: SearchSpace) -> dict[str, str]:
    fixed = {each.flag: each.extremes()[0] for each in space.parameters.values() if len(each.extremes()) == 1}
    return {"In every trial": ", ".join(f"{flag} {value}" for flag, value in fixed.items())} if fixed else {}


def _warnings(study: Study) -> list[str]:
    trials = finished(study)
    complete = len(complete_of(study))
    failed = sum(trial.state.name == "FAIL" for trial in trials)
    found = []
    if 0 < complete < FEWEST:
        found.append(f"Only {complete} trials are complete: which flag matters cannot be said, and the best is luck.")
    if complete and failed > len(trials) / 4:
        found.append(f"{failed} of {len(trials)} trials failed; their values are missing from every picture.")
    if complete and default_of(study) is None:
        found.append("The default configuration is not among the complete trials, so nothing here is compared with it.")
    return found


def _figures(folder: Path, study: Study, named: dict[str, Parameter]) -> list[ReportFigure]:
    trials = finished(study)
    complete = complete_of(study)
    figures = [
        ReportFigure(
            "History",
            "Mean validation correlation of each trial. A pruned trial stands where it was when it ended, and counts "
            "for nothing. Arrows at the lower end lie below it, here and in the other pictures.",
            save_figure(history(trials), folder / "history.png"),
        )
    ]
    if any(trial.user_attrs.get(TEST_SCORE) is not None for trial in complete):
        path = save_figure(validation_against_test(trials), folder / "validation_test.png")
        figures.append(ReportFigure("Validation against test", overfitting(complete), path))
    if shares := importances(study):
        flags = {each.flag: name for name, each in named.items()}
        drawn = importance({flags[flag]: share for flag, share in shares.items() if flag in flags})
        caption = (
            "What set the best trials apart from the others, by PED-ANOVA: how differently each flag is distributed "
            "among them. Few trials make small shares chance; a flag that is used in some trials alone counts as often."
        )
        figures.append(ReportFigure("Importance", caption, save_figure(drawn, folder / "importance.png")))
    if complete and named:
        caption = "One line per complete trial, dark where it did well. A line leaves the scales where it lacks a flag."
        path = save_figure(parallel_coordinates(trials, named), folder / "parallel_coordinates.png")
        figures.append(ReportFigure("Parallel coordinates", caption, path))
        caption = "Validation correlation against each flag alone, of the complete trials that use it."
        figures.append(ReportFigure("Slices", caption, save_figure(slices(trials, named), folder / "slices.png")))
    caption = "When trials ran. Bars that overlap ran on several workers; of a lost trial the values were tried again."
    everything = [trial for trial in study.get_trials(deepcopy=False) if trial.state.is_finished()]
    figures.append(ReportFigure("Timeline", caption, save_figure(timeline(everything), folder / "timeline.png")))
    return figures


def overfitting(complete: Sequence[FrozenTrial]) -> str:
    """What choosing by the validation split costs, in words.

    Args:
        complete: Complete trials, at least one with a test score.
    """
    from scipy.stats import rankdata

    both = [trial for trial in complete if trial.user_attrs.get(TEST_SCORE) is not None]
    validation = np.array([trial.value for trial in both], dtype=np.float64)
    test = np.array([trial.user_attrs[TEST_SCORE] for trial in both], dtype=np.float64)
    chosen, highest = int(validation.argmax()), int(test.argmax())
    gap = validation[chosen] - test[chosen]
    sentences = [
        f"The best trial has {number(validation[chosen])} on the validation split, by which it was chosen, and "
        f"{number(test[chosen])} on the test split: {number(abs(gap))} {'less' if gap >= 0 else 'more'}."
    ]
    if len(both) > 2:
        sentences.append(f"The median trial's difference is {number(float(np.median(validation - test)))}.")
    if len(both) > 2 and np.ptp(validation) > 0 and np.ptp(test) > 0:
        rank = float(np.corrcoef(rankdata(validation), rankdata(test))[0, 1])
        sentences.append(f"Rank correlation of the two over {len(both)} trials: {number(rank, 2)}.")
    if len(both) > 1:
        sentences.append(
            f"The highest test correlation of any trial is {number(test[highest])}, of trial {both[highest].number}; "
            "nothing may be chosen by it."
        )
    return " ".join(sentences)


def _space_table(study: Study, searched: dict[str, Parameter]) -> str:
    best, default = best_of(study), default_of(study)
    assert best is not None
    lines = []
    for flag, parameter in searched.items():
        if parameter.type == "categorical":
            may_be = ", ".join(map(str, parameter.choices))
        else:
            may_be = f"{parameter.low:g} to {parameter.high:g}" + (", by its logarithm" if parameter.log else "")
        may_be += "".join(f"; where {other} is {value}" for other, value in parameter.when.items())
        own = "" if default is None else _cell(default.params.get(flag, ""))
        lines.append((flag, escape(may_be), own, _cell(best.params.get(flag, ""))))
    return "<h2>What was searched</h2>" + _table(("flag", "what it may be", "default", "best"), lines, names=2)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else escape(str(value))


def _failures(trials: Sequence[FrozenTrial]) -> str:
    """Why trials failed, the most frequent reason first."""
    by_reason: dict[str, list[int]] = defaultdict(list)
    for trial in trials:
        if trial.state.name == "FAIL":
            by_reason[trial.user_attrs.get(REASON, "unknown")].append(trial.number)
    lines = []
    for reason, numbers in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        more = f" and {len(numbers) - _NUMBERS} more" if len(numbers) > _NUMBERS else ""
        lines.append((reason[:300], str(len(numbers)), ", ".join(map(str, numbers[:_NUMBERS])) + more))
    return "<h2>Failed trials</h2>" + _table(("reason", "trials", "which"), lines, names=1) if lines else ""


def _per_roi(results: Sequence[RoiResult]) -> str:
    if not results:
        return ""
    lines = [
        (
            each.roi, str(each.trial), number(each.best_validation), number(each.validation),
            number(each.best_test), number(each.test),
        )
        for each in results
    ]  # fmt: skip
    caption = (
        "Mean correlation over each ROI's own targets (those in no smaller ROI), of the best single trial and of the "
        "model that has each ROI's rows from the trial that did best there on validation. That choice is one more "
        "that validation overfits: compare on test."
    )
    heads = ("ROI", "from trial", "validation, best trial", "validation, per ROI", "test, best trial", "test, per ROI")
    return "<h2>One trial, or one per ROI</h2>" + _table(heads, lines, names=1, caption=caption)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]], names: int, caption: str = "") -> str:
    """A table whose first columns are words; cells but for the first column are HTML."""

    def kind(index: int) -> str:
        return ' class="name"' if index < names else ""

    head = "".join(f'<th{kind(index)} scope="col">{escape(text)}</th>' for index, text in enumerate(heads))
    rows = (
        f'<tr><th class="name" scope="row">{escape(line[0])}</th>'
        + "".join(f"<td{kind(index)}>{cell}</td>" for index, cell in enumerate(line[1:], 1))
        + "</tr>"
        for line in lines
    )
    above = f"<caption>{escape(caption)}</caption>" if caption else ""
    return f'<div class="wide"><table>{above}<thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'
