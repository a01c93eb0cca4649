"""A run beside its controls: what each control predicts, and whether the run predicts more, on the same stimuli."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .differences import MeanDifference, paired_means, paired_targets
from .predicted import SplitPredictions, scored
from .scores import ALL, BOTH, ScoreRow, groups_of
from .summary import pooled_interval

CONTROLS = "controls.csv"
CONTROLS_FIGURE = "controls"


@dataclass(frozen=True)
class Control:
    """The same model trained on what should predict less.

    Args:
        name: In `controls.csv`.
        label: For people: "shuffled responses".
        doubt: What follows where the run does not beat it, as the end of a sentence.
        splits: What it predicts, of each subject and split of the run.
        left_out: Why there is none; "" where there is one.
    """

    name: str
    label: str
    doubt: str
    splits: Sequence[SplitPredictions] = ()
    left_out: str = ""


@dataclass(frozen=True)
class ControlRow:
    """One row of `controls.csv`; a figure is None where it is unknown. Fields stand in the table's order.

    Args:
        control: Its name.
        split: As in `scores.csv`, and so the next three.
        subject: See there.
        hemisphere: See there.
        roi: See there.
        n_targets: How many targets it has.
        n_scored: Those that have a correlation.
        result_mean: Mean correlation of the run.
        result_ci_low: Lower end of its 95 % interval.
        result_ci_high: Upper end.
        pearson_mean: Of the control.
        pearson_ci_low: Lower end of its 95 % interval.
        pearson_ci_high: Upper end.
        difference: The run's less the control's.
        difference_ci_low: Lower end of the 95 % interval of the paired difference.
        difference_ci_high: Upper end.
    """

    control: str
    split: str
    subject: str
    hemisphere: str
    roi: str
    n_targets: int
    n_scored: int
    result_mean: float | None
    result_ci_low: float | None
    result_ci_high: float | None
    pearson_mean: float | None
    pearson_ci_low: float | None
    pearson_ci_high: float | None
    difference: float | None
    difference_ci_low: float | None
    difference_ci_high: float | None


@dataclass(frozen=True)
class Verdict:
    """Whether a run beats a control, over all scored targets of all subjects.

    Args:
        control: Which.
        result: Mean correlation of the run; None where the control was left out or nothing is scored, as the others.
        correlation: Of the control.
        interval: 95 %, of the run's less the control's.
    """

    control: Control
    result: float | None = None
    correlation: float | None = None
    interval: tuple[float, float] | None = None

    @property
    def known(self) -> bool:
        """Whether there is a control to be beaten."""
        return self.correlation is not None

    @property
    def beaten(self) -> bool:
        """Whether the run is shown to predict more."""
        return self.interval is not None and self.interval[0] > 0

    def short(self) -> str:
        """The control and its figure."""
        return f"{self.control.label} ({_number(self.correlation)})" if self.known else self.control.label

    def sentence(self) -> str:
        """The verdict in words."""
        label = self.control.label
        if self.control.left_out:
            return f"There is no control with {label}: {self.control.left_out}."
        if self.result is None or self.correlation is None:
            return f"No target of the control with {label} has a correlation."
        figures = f"{_number(self.result)} against {_number(self.correlation)}"
        if self.interval is not None:
            ends = " to ".join(_number(end, sign=True) for end in self.interval)
            figures += f", a difference of {_number(self.result - self.correlation, sign=True)} (95 % interval {ends})"
        if self.beaten:
            return f"The result beats the control with {label}: {figures}."
        if self.interval is not None and self.interval[1] < 0:
            return f"The control with {label} predicts better: {figures}; {self.control.doubt}."
        return f"The result does not beat the control with {label}: {figures}; {self.control.doubt}."


def told(verdicts: Sequence[Verdict]) -> str:
    """Verdicts in a few words, for the line that a run ends with; "" where there is no control."""
    parts = [
        f"{words} {', '.join(own)}"
        for words, own in (
            ("beats", [each.short() for each in verdicts if each.known and each.beaten]),
            ("does not beat", [each.short() for each in verdicts if each.known and not each.beaten]),
        )
        if own
    ]
    return ", ".join(parts)


def control_rows(parts: Sequence[SplitPredictions], controls: Sequence[Control]) -> list[ControlRow]:
    """Rows of `controls.csv`: for each control those of `scores.csv`.

    Args:
        parts: What the run predicts of one split, one per subject.
        controls: Those that were left out have no rows.
    """
    rows = []
    for part in parts:
        _, own = scored(part)
        for control in controls:
            for other in control.splits:
                if (other.recording.subject, other.split) == (part.recording.subject, part.split):
                    rows += _rows(control.name, part, own, other)
    return rows


def _rows(name: str, part: SplitPredictions, own: Sequence[ScoreRow], control: SplitPredictions) -> list[ControlRow]:
    _, others = scored(control)
    return [
        ControlRow(
            name,
            row.split, row.subject, row.hemisphere, row.roi, row.n_targets, row.n_scored,
            row.pearson_mean, row.pearson_ci_low, row.pearson_ci_high,
            other.pearson_mean, other.pearson_ci_low, other.pearson_ci_high,
            *((None,) * 3 if mean is None else map(known, (mean.difference, mean.low, mean.high))),
        )
        for row, other, mean in zip(own, others, mean_differences(part, control), strict=True)
    ]  # fmt: skip


def mean_differences(part: SplitPredictions, control: SplitPredictions) -> list[MeanDifference | None]:
    """What a run has more than another on the same stimuli, of each group of targets, as in `scores.csv`."""
    responses = part.responses()
    named = groups_of(part.recording)
    groups = np.zeros((part.recording.num_targets, len(named)), dtype=bool)
    for column, (_, _, members) in enumerate(named):
        groups[members, column] = True
    paired = paired_targets(control.predictions, part.predictions, responses)
    return paired_means(control.predictions, part.predictions, responses, groups, paired)


def verdicts_of(rows: Sequence[ControlRow], controls: Sequence[Control]) -> list[Verdict]:
    """A verdict on each control, from the rows of the whole subjects."""
    whole = [row for row in rows if (row.hemisphere, row.roi) == (BOTH, ALL) and row.n_scored]
    return [_verdict(each, [row for row in whole if row.control == each.name]) for each in controls]


def _verdict(control: Control, subjects: Sequence[ControlRow]) -> Verdict:
    total = sum(row.n_scored for row in subjects)
    if not total:
        return Verdict(control)
    result = sum(row.n_scored * (row.result_mean or 0.0) for row in subjects) / total
    correlation = sum(row.n_scored * (row.pearson_mean or 0.0) for row in subjects) / total
    parts = [(row.n_scored, row.difference, row.difference_ci_low, row.difference_ci_high) for row in subjects]
    return Verdict(control, result, correlation, pooled_interval(parts))


def known(value: float) -> float | None:
    """A figure for a table, which leaves out what is not finite."""
    return value if math.isfinite(value) else None


def _number(value: float | None, sign: bool = False) -> str:
    if value is None:
        return "–"
    return f"{value:{'+' if sign else ''}.3f}".replace("-", "−")
