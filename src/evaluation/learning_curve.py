"""A run's learning curve: what it predicts after training on fewer stimuli, and how much a trained trunk gains it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from .controls import known, mean_differences
from .differences import MeanDifference
from .predicted import SplitPredictions, scored
from .scores import ALL, BOTH, ScoreRow
from .summary import pooled_interval

LEARNING_CURVE = "learning_curve.csv"
CURVE_FIGURE = "training_stimuli"


@dataclass(frozen=True)
class CurvePoint:
    """What the same model predicts after training on so many stimuli.

    Args:
        stimuli: Training stimuli of each subject, by its name.
        splits: What is predicted, of each subject and split of the run.
        scratch: Likewise by the model whose trunk began untrained; nothing where the run's own did.
    """

    stimuli: Mapping[str, int]
    splits: Sequence[SplitPredictions]
    scratch: Sequence[SplitPredictions] = ()


@dataclass(frozen=True)
class LearningCurve:
    """All points, the fewest stimuli first.

    Args:
        points: The run itself is the last.
        left_out: Why others are not there, a sentence each.
    """

    points: Sequence[CurvePoint] = ()
    left_out: Sequence[str] = ()


@dataclass(frozen=True)
class CurveRow:
    """One row of `learning_curve.csv`; a figure is None where it is unknown. Fields stand in the table's order.

    Args:
        point: Number of the point, from 1.
        training_stimuli: Of the subject.
        split: As in `scores.csv`, and so the next three.
        subject: See there.
        hemisphere: See there.
        roi: See there.
        n_targets: How many targets it has.
        n_scored: Those that have a correlation.
        pearson_mean: Mean correlation.
        pearson_ci_low: Lower end of its 95 % interval.
        pearson_ci_high: Upper end.
        scratch_mean: Of the model whose trunk began untrained.
        scratch_ci_low: Lower end of its 95 % interval.
        scratch_ci_high: Upper end.
        gain: What the trained trunk adds.
        gain_ci_low: Lower end of the 95 % interval of the paired difference.
        gain_ci_high: Upper end.
    """

    point: int
    training_stimuli: int
    split: str
    subject: str
    hemisphere: str
    roi: str
    n_targets: int
    n_scored: int
    pearson_mean: float | None
    pearson_ci_low: float | None
    pearson_ci_high: float | None
    scratch_mean: float | None
    scratch_ci_low: float | None
    scratch_ci_high: float | None
    gain: float | None
    gain_ci_low: float | None
    gain_ci_high: float | None


@dataclass(frozen=True)
class CurveMean:
    """One point over all scored targets of all subjects.

    Args:
        stimuli: Training stimuli, mean over subjects.
        correlation: Mean correlation.
        interval: Its 95 % interval; None where it is unknown, as the others.
        scratch: Mean correlation of the model whose trunk began untrained; None where there is none.
        scratch_interval: Its interval.
        gain_interval: Of the paired difference.
    """

    stimuli: float
    correlation: float
    interval: tuple[float, float] | None
    scratch: float | None
    scratch_interval: tuple[float, float] | None
    gain_interval: tuple[float, float] | None

    @property
    def gains(self) -> bool:
        """Whether the trained trunk is shown to help."""
        return self.gain_interval is not None and self.gain_interval[0] > 0


def curve_rows(parts: Sequence[SplitPredictions], curve: LearningCurve) -> list[CurveRow]:
    """Rows of `learning_curve.csv`: for each point those of `scores.csv`.

    Args:
        parts: What the run predicts of one split, one per subject.
        curve: Its points.
    """
    rows = []
    for number, point in enumerate(curve.points, start=1):
        for part in parts:
            own, scratch = (_same(part, each) for each in (point.splits, point.scratch))
            if own is not None:
                rows += _rows(number, point.stimuli[part.recording.subject], own, scratch)
    return rows


def _same(part: SplitPredictions, others: Sequence[SplitPredictions]) -> SplitPredictions | None:
    """The predictions of another model for the same subject and split."""
    wanted = (part.recording.subject, part.split)
    return next((each for each in others if (each.recording.subject, each.split) == wanted), None)


def _rows(number: int, stimuli: int, own: SplitPredictions, scratch: SplitPredictions | None) -> list[CurveRow]:
    rows = scored(own)[1]
    beside: list[tuple[float | None, ...]] = [(None,) * 6] * len(rows)
    if scratch is not None:
        pairs = zip(scored(scratch)[1], mean_differences(own, scratch), strict=True)
        beside = [(*_figures(other), *_gain(difference)) for other, difference in pairs]
    return [
        CurveRow(
            number, stimuli,
            row.split, row.subject, row.hemisphere, row.roi, row.n_targets, row.n_scored,
            *_figures(row), *figures,
        )
        for row, figures in zip(rows, beside, strict=True)
    ]  # fmt: skip


def _figures(row: ScoreRow) -> tuple[float | None, ...]:
    return row.pearson_mean, row.pearson_ci_low, row.pearson_ci_high


def _gain(difference: MeanDifference | None) -> tuple[float | None, ...]:
    if difference is None:
        return (None,) * 3
    return tuple(known(each) for each in (difference.difference, difference.low, difference.high))


def curve_means(rows: Sequence[CurveRow]) -> list[CurveMean]:
    """The points that have a correlation, from the rows of the whole subjects."""
    whole = [row for row in rows if (row.hemisphere, row.roi) == (BOTH, ALL) and row.n_scored]
    return [_mean(list(own)) for _, own in groupby(whole, key=lambda row: row.point)]


def _mean(subjects: Sequence[CurveRow]) -> CurveMean:
    counts = [row.n_scored for row in subjects]

    def over_targets(means: Sequence[float | None]) -> float | None:
        told = [(count, mean) for count, mean in zip(counts, means, strict=True) if mean is not None]
        return sum(count * mean for count, mean in told) / sum(counts) if len(told) == len(counts) else None

    correlation = over_targets([row.pearson_mean for row in subjects])
    assert correlation is not None  # of scored targets
    return CurveMean(
        sum(row.training_stimuli for row in subjects) / len(subjects),
        correlation,
        pooled_interval(
            [(own.n_scored, own.pearson_mean, own.pearson_ci_low, own.pearson_ci_high) for own in subjects]
        ),
        over_targets([row.scratch_mean for row in subjects]),
        pooled_interval(
            [(own.n_scored, own.scratch_mean, own.scratch_ci_low, own.scratch_ci_high) for own in subjects]
        ),
        pooled_interval([(own.n_scored, own.gain, own.gain_ci_low, own.gain_ci_high) for own in subjects]),
    )


def told_curve(means: Sequence[CurveMean]) -> str:
    """Where a trained trunk helps, in a few words, for the line that a run ends with; "" where none is tried."""
    tried = [each for each in means if each.scratch is not None]
    parts = [
        f"{words} {', '.join(f'{each.stimuli:,.0f}' for each in own)}"
        for words, own in (
            ("gains at", [each for each in tried if each.gains]),
            ("is not shown to gain at", [each for each in tried if not each.gains]),
        )
        if own
    ]
    return f"its trained trunk {', '.join(parts)} training stimuli" if parts else ""
