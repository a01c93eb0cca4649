"""`report.html` of a study: what it found, what that is worth on held-out stimuli, and what went wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from ...evaluation.report import number, write_page
from ..ledger.attributes import PER_ROI, REASON, TEST_SCORE
from ..ledger.queue import finished
from ..search.space import Parameter, SearchSpace
from . import figures
from .results import REPORT, best_of, complete_of, counts, default_of, train_command

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial
    from plotly.graph_objects import Figure

_NUMBERS = 12


@dataclass(frozen=True)
class StudyFigure:
    """A figure of the report: its heading, what to look at, and its parts, which move and zoom without a network."""

    title: str
    caption: str
    parts: Sequence[Figure]

    @property
    def html(self) -> list[Markup]:
        """Each part as a piece of a page that has Plotly already."""
        from plotly.io import to_html

        options = {"displayModeBar": False, "responsive": True}
        return [
            Markup(to_html(part, options, include_plotlyjs=False, full_html=False, div_id=f"{self.title}-{index}"))
            for index, part in enumerate(self.parts)
        ]


def write_report(folder: Path, study: Study, space: SearchSpace, args: Sequence[str]) -> None:
    """Write a study's `report.html`.

    Args:
        folder: The study's.
        study: With at least one trial.
        space: What was searched.
        args: The `train.py` flags beneath all trials, as typed.
    """
    from plotly.offline import get_plotlyjs

    searched = {each.flag: each for each in space.parameters.values() if len(each.extremes()) > 1}
    fixed = [f"{each.flag} {each.extremes()[0]}" for each in space.parameters.values() if each.flag not in searched]
    facts = {"Trials": counts(study), "Searched": f"{len(searched)} flags"}
    best = best_of(study)
    write_page(
        folder / REPORT,
        Path(__file__).parent / "templates" / "study.html",
        title=f"Study {study.study_name}",
        plotly=Markup(get_plotlyjs()),
        best=best,
        default=default_of(study),
        tested=lambda trial: (
            f", test {number(score)}" if (score := trial.user_attrs.get(TEST_SCORE)) is not None else ""
        ),
        facts=facts | ({"In every trial": ", ".join(fixed)} if fixed else {}),
        warnings=_warnings(study),
        command=None if best is None else train_command(study, best, args),
        searched=_searched(study, searched),
        figures=list(_figures(study, list(searched))),
        rois=[_roi_cells(each) for each in study.user_attrs.get(PER_ROI, {}).get("rois", [])],
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


def _warnings(study: Study) -> list[str]:
    trials = finished(study)
    complete = len(complete_of(study))
    failed = sum(trial.state.name == "FAIL" for trial in trials)
    found = []
    if 0 < complete < figures.FEWEST:
        found.append(f"Only {complete} trials are complete: which flag matters cannot be said, and the best is luck.")
    if complete and failed > len(trials) / 4:
        found.append(f"{failed} of {len(trials)} trials failed; their values are missing from every picture.")
    if complete and default_of(study) is None:
        found.append("The default configuration is not among the complete trials, so nothing here is compared with it.")
    return found


def _figures(study: Study, searched: Sequence[str]) -> Iterator[StudyFigure]:
    names = short_names(searched)
    shown = figures.renamed(study, names)
    complete = complete_of(study)
    yield StudyFigure(
        "History",
        "Mean validation correlation of each trial. A pruned trial stands where it was when it ended, and counts for "
        "nothing. The axis leaves out what lies far below the rest, here and in the other figures: double-click to "
        "see all.",
        [figures.history(shown)],
    )
    if any(trial.user_attrs.get(TEST_SCORE) is not None for trial in complete):
        drawn = figures.validation_against_test(shown)
        yield StudyFigure("Validation against test", overfitting(complete), [drawn])
    if (drawn := figures.importance(shown)) is not None:
        yield StudyFigure(
            "Importance",
            "What set the best trials apart from the others, by PED-ANOVA: how differently each flag is distributed "
            "among them. Few trials make small shares chance; a flag that only some trials use counts as often.",
            [drawn],
        )
    used = {flag for trial in complete for flag in trial.params}
    if drawable := [names[flag] for flag in searched if flag in used]:
        yield StudyFigure(
            "Parallel coordinates",
            "One line per complete trial, dark where it did well. A line passes below an axis whose flag it lacks.",
            [figures.parallel_coordinates(shown, drawable)],
        )
        caption = (
            "Validation correlation against each flag alone, of the complete trials that use it; dark ones are late."
        )
        yield StudyFigure("Slices", caption, figures.slices(shown, drawable))
    caption = (
        "When trials ran. Bars that overlap ran on several workers; of a lost trial, grey, the values were tried again."
    )
    yield StudyFigure("Timeline", caption, [figures.timeline(shown)])


def overfitting(complete: Sequence[FrozenTrial]) -> str:
    """What choosing by the validation split costs, in words.

    Args:
        complete: Complete trials, at least one with a test score.
    """
    from scipy.stats import spearmanr

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
        rank = float(spearmanr(validation, test)[0])  # pyright: ignore[reportArgumentType]
        sentences.append(f"Rank correlation of the two over {len(both)} trials: {number(rank, 2)}.")
    if len(both) > 1:
        sentences.append(
            f"The highest test correlation of any trial is {number(test[highest])}, of trial {both[highest].number}; "
            "nothing may be chosen by it."
        )
    return " ".join(sentences)


def _searched(study: Study, searched: dict[str, Parameter]) -> list[list[str]]:
    """Cells of each flag: what it may be, and what the default and the best have."""
    lines = []
    for flag, parameter in searched.items():
        if parameter.type == "categorical":
            may_be = ", ".join(map(str, parameter.choices))
        else:
            may_be = f"{parameter.low:g} to {parameter.high:g}" + (", by its logarithm" if parameter.log else "")
        may_be += "".join(f"; where {other} is {value}" for other, value in parameter.when.items())
        values = [trial.params.get(flag, "") if trial else "" for trial in (default_of(study), best_of(study))]
        lines.append([flag, may_be, *(f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)])
    return lines


def _roi_cells(roi: dict[str, object]) -> list[object]:
    means = (roi[name] for name in ("best_validation", "validation", "best_test", "test"))
    return [roi["roi"], roi["trial"], *map(number, means)]  # pyright: ignore[reportArgumentType]


def _failures(trials: Sequence[FrozenTrial]) -> list[list[object]]:
    """Why trials failed, the most frequent reason first, how many, and which."""
    by_reason: dict[str, list[int]] = defaultdict(list)
    for trial in trials:
        if trial.state.name == "FAIL":
            by_reason[trial.user_attrs.get(REASON, "unknown")].append(trial.number)
    lines = []
    for reason, numbers in sorted(by_reason.items(), key=lambda item: -len(item[1])):
        more = f" and {len(numbers) - _NUMBERS} more" if len(numbers) > _NUMBERS else ""
        lines.append([reason[:300], len(numbers), ", ".join(map(str, numbers[:_NUMBERS])) + more])
    return lines
